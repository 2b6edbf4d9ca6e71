"""What is refused is refused in one clear line, with the right exit status, and never by a panic."""
import os
import re
import tempfile
import unittest

from node import Node, run

PANIC = re.compile(r"panicked at|RUST_BACKTRACE|stack backtrace")


class Refusals(unittest.TestCase):
    def check_sql(self, sql, place, *words):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "bad.sql")
            with open(path, "w") as file:
                file.write(sql)
            for command in ("run", "check"):
                status, out, messages = run(command, path)
                self.assertEqual((status, out), (2, ""), messages)
                self.assertIn(f"bad.sql:{place}", messages)
                self.assertNotRegex(messages, PANIC)
                for word in words:
                    self.assertIn(word, messages)

    def test_unknown_sql_names_its_place(self):
        self.check_sql("SELECT 1 FROM;", "1:")
        self.check_sql("CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\n\nFROBNICATE t;\n", "3:1", "FROBNICATE")
        self.check_sql("CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\nSELECT nope FROM t;\n", "2:8", "nope")
        self.check_sql("CREATE TABLE t (a INT)\n  WITH ('connector' = 'abacus');\nSELECT a FROM t;\n", "2:", "abacus")

    def test_no_file_is_one_line(self):
        status, _, messages = run("run", "no-such-file.sql")
        self.assertEqual(status, 2)
        self.assertEqual(len(messages.strip().splitlines()), 1, messages)

    def test_no_transaction_is_one_line(self):
        with Node() as node:
            status, out, messages = run("transaction", "list", "--open", "--url", node.url)
            self.assertEqual((status, out), (0, ""), messages)
            status, _, messages = run("transaction", "abort", "nope", "--url", node.url)
            self.assertEqual(status, 1, messages)
            self.assertIn("transaction nope does not exist", messages)
            self.assertNotRegex(messages, PANIC)

    def test_a_locked_directory_is_refused(self):
        with Node() as node:
            self.check_one_line(node.data_dir, "lock", "use", "another process")

    def test_a_newer_version_is_refused(self):
        with Node() as node:
            node.create_topic("kept")
            node.client().post_events("kept", ['{"a":1}'])
            self.assertEqual(node.stop(), 0, "".join(node.messages))
            self.assertIsNotNone(raise_version(node.data_dir), "no file says what the directory is")
            self.check_one_line(node.data_dir, "version")

    def check_one_line(self, data_dir, *any_of):
        status, out, messages = run("serve", "--data-dir", data_dir, "--http-port", "0", "--kafka-port", "0",
                                    timeout=60)
        lines = [line for line in messages.strip().splitlines() if line]
        self.assertEqual((status, out, len(lines)), (1, "", 1), messages)
        self.assertTrue(any(word in messages for word in any_of), messages)
        self.assertNotRegex(messages, PANIC)


def raise_version(data_dir):
    """Sets the version in the file that says what the directory is far up."""
    for name in os.listdir(data_dir):
        path = os.path.join(data_dir, name)
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        if re.match(rb"[ -~]+\nversion 1\n", content):
            with open(path, "wb") as file:
                file.write(content.replace(b"\nversion 1\n", b"\nversion 99\n", 1))
            return path
    return None
