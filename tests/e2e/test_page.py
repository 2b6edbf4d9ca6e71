"""The page in a real browser: charts are drawn, and they move."""
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest

from node import Node, tool

SQL = """
CREATE TABLE pulse (name STRING, amount BIGINT, event_time BIGINT, ts AS TO_TIMESTAMP_LTZ(event_time, 3),
  WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'pulse', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE MATERIALIZED TABLE pulse_rates AS
SELECT name, window_start, window_end, COUNT(*) AS events, SUM(amount) AS amount
FROM TABLE(TUMBLE(TABLE pulse, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY name, window_start, window_end;
"""


class Page(unittest.TestCase):
    def test_charts_move_in_a_browser(self):
        chromium = tool("chromium")
        with Node() as node, tempfile.TemporaryDirectory() as directory:
            node.create_topic("pulse")
            node.submit("pulse", SQL)
            ended = threading.Event()
            sender = threading.Thread(target=send, args=(node, ended))
            sender.start()
            try:
                time.sleep(3)
                dom = self.browse(chromium, directory, node.url, "--dump-dom")
                first = self.screenshot(chromium, directory, node.url, "first.png")
                time.sleep(2)
                second = self.screenshot(chromium, directory, node.url, "second.png")
            finally:
                ended.set()
                sender.join()
        for word in (b"<canvas", b"pulse", b"pulse_rates"):
            self.assertIn(word, dom)
        self.assertGreater(len(first), 5_000, "the picture is empty")
        self.assertNotEqual(first, second, "the page stands still")

    def screenshot(self, chromium, directory, url, name):
        path = os.path.join(directory, name)
        self.browse(chromium, directory, url, f"--screenshot={path}", "--window-size=1400,1000")
        with open(path, "rb") as file:
            picture = file.read()
        keep = os.environ.get("HIGHWATER_E2E_SCREENSHOTS")
        if keep:
            with open(os.path.join(keep, name), "wb") as file:
                file.write(picture)
        return picture

    def browse(self, chromium, directory, url, *arguments):
        # --timeout: the page keeps a stream open, so it never becomes idle by itself.
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={directory}/profile", "--timeout=6000", *arguments, url]
        done = subprocess.run(command, capture_output=True, timeout=90)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout


def send(node, ended):
    client, number = node.client(), 0
    while not ended.wait(0.05):
        now = int(time.time() * 1000)
        lines = [json.dumps({"name": f"n{n % 3}", "amount": (number * 7 + n) % 50, "event_time": now})
                 for n in range(10 + number % 30)]
        client.post_events("pulse", lines)
        number += 1
