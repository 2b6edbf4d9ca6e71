"""Runs the end-to-end tests: `python3 tests/e2e [PATTERN]`.

Ends with one line per skipped test and a line of counts that `tests/run` adds up.
"""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


class Result(unittest.TextTestResult):
    def getDescription(self, test):  # noqa: N802 (unittest's name)
        return test.id()


def main():
    loader = unittest.TestLoader()
    if len(sys.argv) > 1:
        loader.testNamePatterns = [f"*{pattern}*" for pattern in sys.argv[1:]]
    suite = loader.discover(HERE, pattern="test_*.py", top_level_dir=HERE)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    bad = len(result.failures) + len(result.errors)
    for test, reason in result.skipped:
        print(f"SKIPPED: {test.id()}: {reason}")
    passed = result.testsRun - bad - len(result.skipped)
    print(f"e2e result: {passed} passed; {bad} failed; {len(result.skipped)} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
