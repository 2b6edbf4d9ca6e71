"""The conformance kit: results that Apache Flink produced.

Cases named in conformance_required.txt must pass. Every other case must pass as well or be refused
cleanly: exit status 2, a message, no panic. A different answer is never accepted, whether the case
is required or not. The counts are printed.
"""
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

from node import HERE, binary, shared

REQUIRED = os.path.join(HERE, "conformance_required.txt")
REFUSED = re.compile(r"^exit status 2:")


def required():
    with open(REQUIRED) as lines:
        return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


class Conformance(unittest.TestCase):
    def test_cases_pass_or_are_refused(self):
        check = shared("conformance", "check.py")
        engine = f"'{binary()}' run {{sql}} --var INPUT={{input}} --output changelog"
        with tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report.json")
            done = subprocess.run([sys.executable, check, "--engine", engine, "--jobs", "2", "--report", report,
                                   "--allow-extensions", "--failures-only"], capture_output=True, text=True)
            self.assertTrue(os.path.exists(report), done.stdout + done.stderr)
            with open(report) as file:
                cases = json.load(file)
        verdicts = collections.defaultdict(list)
        for case in cases:
            verdicts[self.verdict(case)].append(case["case"])
        print(f"conformance: {len(cases)} cases, {len(verdicts['passed'])} passed, "
              f"{len(verdicts['refused'])} refused cleanly, {len(verdicts['wrong'])} wrong", flush=True)
        print("refused: " + " ".join(verdicts["refused"]), flush=True)
        wrong = [f"{case['case']}: {case['why']}" for case in cases if case["case"] in verdicts["wrong"]]
        missing = sorted(required() - set(verdicts["passed"]))
        self.assertEqual((wrong, missing), ([], []), "wrong answers, and required cases that do not pass")

    @staticmethod
    def verdict(case):
        if case["verdict"] == "pass":
            return "passed"
        clean = REFUSED.match(case["why"]) and "panicked" not in case["why"]
        return "refused" if clean else "wrong"
