"""The demo without a terminal: it kills its node, recovers, and its balance is exact."""
import json
import re
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

from node import binary

SECONDS = 25


class Demo(unittest.TestCase):
    def test_killed_demo_loses_and_doubles_nothing(self):
        command = [binary(), "demo", "--seconds", str(SECONDS), "--kill-every", "8", "--rate", "1000",
                   "--http-port", "0", "--kafka-port", "0"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        last = done.stdout.strip().splitlines()[-2:]
        balance = re.search(r"acknowledged (\d+)   processed (\d+)   lost 0   doubled 0", "\n".join(last))
        self.assertIsNotNone(balance, done.stdout)
        acknowledged, processed = map(int, balance.groups())
        self.assertEqual(acknowledged, processed)
        self.assertGreater(acknowledged, 1000)
        self.assertRegex(last[-1], r"kill -9: [2-9] times; last time healthy again after \d+ ms")

    def test_the_kill_button(self):
        command = [binary(), "demo", "--rate", "500", "--http-port", "0", "--kafka-port", "0"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        lines = []
        threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
        try:
            console = self.wait_for(lambda: next((re.search(r"http://127.0.0.1:\d+", line).group() for line in lines
                                                  if line.startswith("console")), None))
            demo = self.wait_for(lambda: demo_url(console))
            figures = self.wait_for(lambda: read(demo + "/v1/demo"))
            self.assertEqual((figures["kills"], figures["lost"], figures["doubled"]), (0, 0, 0))
            with self.assertRaises(urllib.error.HTTPError) as refused:
                read(demo + "/v1/demo/kill", method="POST", origin="http://evil.test")
            self.assertEqual(refused.exception.code, 403)
            read(demo + "/v1/demo/kill", method="POST", origin=console)
            after = self.wait_for(lambda: (lambda f: f if f["recoveries"] and f["comparisons"] else None)(
                read(demo + "/v1/demo")))
            self.assertEqual((after["kills"], after["lost"], after["doubled"]), (1, 0, 0))
        finally:
            process.terminate()
            self.assertEqual(process.wait(60), 0)

    def wait_for(self, look, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                found = look()
            except (OSError, ValueError):
                found = None
            if found:
                return found
            time.sleep(0.1)
        self.fail("did not happen in time")


def demo_url(console):
    """The page may talk to the demo's own endpoint: its security policy names it."""
    with urllib.request.urlopen(console + "/", timeout=5) as answer:
        policy = answer.headers["content-security-policy"]
    found = re.search(r"connect-src 'self' (http://127\.0\.0\.1:\d+)", policy)
    return found and found.group(1)


def read(url, method="GET", origin=None):
    request = urllib.request.Request(url, method=method, headers={"origin": origin} if origin else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read() or b"null")
