"""The examples over real files give what a plain loop over the same file gives.

The loop knows the rule for lateness and nothing else: after each row the watermark becomes
max(so far, the row's time - delay); a row is late if its window's last millisecond is not after
the watermark before it.
"""
import csv
import datetime
import json
import math
import os
import re
import unittest

from node import ROOT, run, shared

UTC = datetime.timezone.utc


def windows(rows, size_ms, delay_ms):
    """rows: (time in ms, key, value) in file order. -> {(key, window start): values}, late rows."""
    used, late, watermark = {}, 0, -(10**18)
    for time, key, value in rows:
        start = time - time % size_ms
        if start + size_ms - 1 <= watermark:
            late += 1
        else:
            used.setdefault((key, start), []).append(value)
        watermark = max(watermark, time - delay_ms)
    return used, late


def csv_rows(*parts):
    with open(shared(*parts), newline="") as lines:
        return list(csv.DictReader(lines))


def ms(text):
    """ISO 8601 with or without offset; without one it is UTC."""
    time = datetime.datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


class Examples(unittest.TestCase):
    def test_machine_temperature(self):
        parts = ("data", "nab", "data", "realKnownCause", "machine_temperature_system_failure.csv")
        rows = csv_rows(*parts)
        expected, late = windows([(ms(r["timestamp"]), None, float(r["value"])) for r in rows], 3_600_000, 600_000)
        result, messages = self.run_example("machine_temperature.sql", os.path.dirname(shared(*parts)))
        found = {(None, ms(row["window_start"])): row for row in result}
        self.assertEqual(found.keys(), expected.keys())
        self.assertEqual(len(result), len(found), "one row per window")
        for window, values in expected.items():
            row = found[window]
            self.assertEqual(row["readings"], len(values))
            self.assertEqual((row["min_temperature"], row["max_temperature"]), (min(values), max(values)))
            self.assertTrue(math.isclose(row["avg_temperature"], sum(values) / len(values), rel_tol=1e-9), row)
            self.assertEqual(row["fault"], min(values) < 45 or max(values) > 105, row)
        self.check_balance(len(rows), sum(row["readings"] for row in result), late, messages)
        self.assertTrue(0 < sum(row["fault"] for row in result) < len(result))

    def test_bus_speed(self):
        rows = csv_rows("data", "capmetro", "2015-03-18.csv")
        events = [(ms(r["timestamp"]), r["route_id"], float(r["speed"])) for r in rows]
        expected, late = windows(events, 300_000, 18 * 3_600_000)
        self.assertGreater(late, 0, "the file is genuinely out of order")
        result, messages = self.run_example("bus_speed.sql", shared("data", "capmetro"))
        found = {(row["route_id"], ms(row["window_start"])): row for row in result}
        self.assertEqual(found.keys(), expected.keys())
        self.assertEqual(len(result), len(found), "one row per route and window")
        for window, values in expected.items():
            row = found[window]
            self.assertEqual(row["reports"], len(values), row)
            self.assertEqual(row["max_speed"], max(values), row)
            self.assertTrue(math.isclose(row["avg_speed"], sum(values) / len(values), rel_tol=1e-9), row)
        self.check_balance(len(rows), sum(row["reports"] for row in result), late, messages)

    def run_example(self, name, data):
        status, out, messages = run("run", os.path.join(ROOT, "examples", name), "--var", f"DATA={data}",
                                    "--output", "jsonl")
        self.assertEqual(status, 0, messages)
        return [json.loads(line) for line in out.splitlines()], messages

    def check_balance(self, rows, used, late, messages):
        """input = used + late, and the program says the same number of late rows."""
        self.assertEqual(rows, used + late)
        said = re.search(r"(\d+) late", messages)
        self.assertEqual(int(said.group(1)) if said else 0, late, messages)
