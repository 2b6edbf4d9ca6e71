"""The page in a real browser: charts are drawn, and they move."""
import json
import os
import threading
import time
import unittest

from browser import Browser
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
        with Node() as node, Browser(tool("chromium")) as browser:
            node.create_topic("pulse")
            node.submit("pulse", SQL)
            ended = threading.Event()
            sender = threading.Thread(target=send, args=(node, ended))
            sender.start()
            try:
                browser.open(node.url)
                self.wait_for(browser, "pulse_rates")
                time.sleep(3)
                first, text = browser.screenshot(), browser.evaluate("document.body.innerText")
                chart = browser.evaluate(CHART)
                time.sleep(3)
                second, chart_later = browser.screenshot(), browser.evaluate(CHART)
                keep(first, second)
            finally:
                ended.set()
                sender.join()
        for word in ("pulse", "rows in", "late", "watermark"):
            self.assertIn(word, text.lower())
        self.assertGreater(len(first), 20_000, "the picture is empty")
        self.assertNotEqual(chart, chart_later, "the chart stands still")

    def wait_for(self, browser, word):
        for _ in range(100):
            if word in (browser.evaluate("document.body ? document.body.innerHTML : ''") or ""):
                return
            time.sleep(0.2)
        self.fail(f"{word} does not appear on the page")


CHART = "document.querySelector('canvas').toDataURL()"


def keep(*pictures):
    """For people: set HIGHWATER_E2E_SCREENSHOTS to a folder."""
    folder = os.environ.get("HIGHWATER_E2E_SCREENSHOTS")
    for number, picture in enumerate(pictures if folder else ()):
        with open(os.path.join(folder, f"page-{number}.png"), "wb") as file:
            file.write(picture)


def send(node, ended):
    client, number = node.client(), 0
    while not ended.wait(0.05):
        now = int(time.time() * 1000)
        lines = [json.dumps({"name": f"n{n % 3}", "amount": (number * 7 + n) % 50, "event_time": now})
                 for n in range(10 + number % 30)]
        client.post_events("pulse", lines)
        number += 1
