"""Every `sql` block of docs/sql is a script that this version accepts.

A block that shows one statement without its tables is marked ```sql fragment and left out; the others run through
`highwater check`. A block followed by one marked ```json result runs over the ```json FILE blocks in front of it and
must give these rows, in any order.
"""
import glob
import json
import os
import re
import tempfile
import unittest

from node import ROOT, run

BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.S | re.M)


def blocks(path):
    """(number of the line, words behind the backticks, text) of each block."""
    with open(path) as file:
        text = file.read()
    return [(text.count("\n", 0, found.start()) + 1, found.group(1).split(), found.group(2)) for found in BLOCK.finditer(text)]


class SqlDocs(unittest.TestCase):
    def test_examples(self):
        pages = sorted(glob.glob(os.path.join(ROOT, "docs", "sql", "*.md")))
        self.assertTrue(pages, "docs/sql has pages")
        scripts = 0
        for page in pages:
            found = blocks(page)
            for index, (line, words, text) in enumerate(found):
                if words[:1] != ["sql"] or words[1:] == ["fragment"]:
                    continue
                scripts += 1
                after = found[index + 1] if index + 1 < len(found) else (0, [], "")
                with self.subTest(f"{os.path.basename(page)}:{line}"):
                    if after[1] == ["json", "result"]:
                        self.gives(text, found[:index], after[2])
                    else:
                        self.accepted(text)
        print(f"{scripts} scripts of docs/sql", flush=True)

    def accepted(self, script):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "example.sql")
            with open(path, "w") as file:
                file.write(script)
            status, _, said = run("check", path, "--var", f"INPUT={folder}")
            self.assertEqual(status, 0, said)

    def gives(self, script, before, expected):
        with tempfile.TemporaryDirectory() as folder:
            for _, words, text in before:
                if words[:1] == ["json"] and len(words) == 2 and words[1] != "result":
                    with open(os.path.join(folder, words[1]), "w") as file:
                        file.write(text)
            path = os.path.join(folder, "example.sql")
            with open(path, "w") as file:
                file.write(script)
            status, out, said = run("run", path, "--var", f"INPUT={folder}", "--output", "changelog")
            self.assertEqual(status, 0, said)
            rows = {}
            for change in map(json.loads, out.splitlines()):
                row = json.dumps(change["row"], sort_keys=True)
                rows[row] = rows.get(row, 0) + (1 if change["op"] in ("+I", "+U") else -1)
            found = sorted(row for row, count in rows.items() for _ in range(count))
            wanted = sorted(json.dumps(json.loads(line), sort_keys=True) for line in expected.splitlines() if line.strip())
            self.assertEqual(found, wanted)


if __name__ == "__main__":
    unittest.main()
