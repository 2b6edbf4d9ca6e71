"""A real Chromium, driven over its DevTools protocol. Just enough of a WebSocket client (RFC 6455)."""
import base64
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import urllib.request


class Browser:
    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="highwater-browser-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             f"--user-data-dir={self.profile.name}", "--window-size=1400,1000", "--hide-scrollbars", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        port = next(found.group(1) for found in (re.search(r"DevTools listening on ws://[^:]+:(\d+)/", line)
                                                 for line in self.process.stderr) if found)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self.socket = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
        path = page["webSocketDebuggerUrl"].split(port, 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
                            .encode())
        self.reader = self.socket.makefile("rb")
        while self.reader.readline() not in (b"\r\n", b""):
            pass
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.profile.cleanup()

    def open(self, url):
        self.ask("Page.navigate", url=url)

    def evaluate(self, script):
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def screenshot(self):
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def ask(self, method, **parameters):
        self.number += 1
        self.send(json.dumps({"id": self.number, "method": method, "params": parameters}).encode())
        while True:
            answer = json.loads(self.receive())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def send(self, payload):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81" + (
            struct.pack(">BH", 0xFE, size) if size < 65536 else struct.pack(">BQ", 0xFF, size))
        self.socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def receive(self):
        """The next message; fragments are joined."""
        message = b""
        while True:
            first, second = self.reader.read(2)
            size = second & 0x7F
            if size == 126:
                size, = struct.unpack(">H", self.reader.read(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.reader.read(8))
            payload = self.reader.read(size)
            if first & 0x0F in (0, 1, 2):
                message += payload
                if first & 0x80:
                    return message
