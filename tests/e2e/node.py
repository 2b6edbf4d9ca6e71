"""A node under test: a `highwater serve` process, its endpoints, and small clients."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
START_SECONDS = 60


def binary():
    """The program under test: $HIGHWATER_BIN, else what cargo built."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    path = os.environ.get("HIGHWATER_BIN", os.path.join(target, "debug", "highwater"))
    if not os.path.exists(path):
        raise RuntimeError(f"{path} does not exist: build it, or set HIGHWATER_BIN")
    return path


def shared(*parts):
    """A path below the shared test data, or a skip that says what is missing."""
    root = os.environ.get("HIGHWATER_SHARED", os.path.join(ROOT, "..", "shared"))
    path = os.path.join(root, *parts)
    if not os.path.exists(path):
        raise unittest.SkipTest(f"no {os.path.join(*parts)} (set HIGHWATER_SHARED)")
    return os.path.abspath(path)


def tool(name):
    """A program of this machine, or a skip."""
    path = shutil.which(name)
    if not path:
        raise unittest.SkipTest(f"{name} is not installed")
    return path


def count_from_env(name, default):
    return int(os.environ.get(name, default))


class Answer:
    def __init__(self, status, body):
        self.status, self.body = status, body

    def json(self):
        return json.loads(self.body)


class Node:
    """Starts with free ports and keeps them over restarts, so that clients find it again."""

    def __init__(self, data_dir=None, wrapper=(), env=None):
        self.own_dir = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="highwater-e2e-")
        self.wrapper, self.env = list(wrapper), env
        self.http_port = self.kafka_port = 0
        self.process, self.messages = None, []
        self.start()

    def start(self):
        command = self.wrapper + [binary(), "serve", "--data-dir", self.data_dir,
                                  "--http-port", str(self.http_port), "--kafka-port", str(self.kafka_port)]
        self.messages = []
        ready = threading.Event()
        environment = dict(os.environ, **(self.env or {}))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env=environment)
        self.listener = threading.Thread(target=self._listen, args=(self.process, ready), daemon=True)
        self.listener.start()
        if not ready.wait(START_SECONDS) or self.process.poll() is not None:
            self.kill()
            raise RuntimeError("the node did not start; it said:\n" + "".join(self.messages))

    def _listen(self, process, ready):
        for line in process.stderr:
            self.messages.append(line)
            if "http listening on " in line:
                self.http_port = urllib.parse.urlparse(line.split("http listening on ")[1].strip()).port
            elif "kafka listening on " in line:
                self.kafka_port = int(line.strip().rsplit(":", 1)[1])
            elif line.strip() == "ready":
                ready.set()
        ready.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def kafka(self):
        return f"127.0.0.1:{self.kafka_port}"

    def pid(self):
        """The node's process, also when it runs below a wrapper."""
        if not self.wrapper:
            return self.process.pid
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            return int(children.read().split()[0])

    def kill(self):
        """kill -9."""
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; answers the exit status."""
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
        return self.process.wait(timeout=40)

    def close(self):
        self.kill()
        self.process.stderr.close()
        if self.own_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- HTTP

    def client(self, timeout=90):
        return Client(self.http_port, timeout)

    def get(self, path):
        return self.client().request("GET", path)

    def get_json(self, path):
        answer = self.get(path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}: {answer.body[:500]!r}")
        return answer.json()

    def create_topic(self, name, partitions=1):
        body = json.dumps({"name": name, "partitions": partitions})
        answer = self.client().request("POST", "/v1/topics", body, "application/json")
        if answer.status // 100 != 2:
            raise RuntimeError(f"topic {name}: {answer.status}: {answer.body!r}")

    def submit(self, name, sql):
        answer = self.client().request("POST", f"/v1/pipelines?name={name}", sql, "application/sql")
        if answer.status // 100 != 2:
            raise RuntimeError(f"pipeline {name}: {answer.status}: {answer.body!r}")

    def partition_ends(self, topic):
        """The high watermark of each partition."""
        described = self.get_json(f"/v1/topics/{topic}")
        return {p["partition"]: p["high_watermark"] for p in described["partitions"]}

    def records(self, topic, partition, start, end):
        """(offset, value as JSON) of the records [start, end)."""
        while start < end:
            page = self.get_json(f"/v1/topics/{topic}/records?partition={partition}&from={start}&limit=1000")
            rows = page["records"]
            if not rows:
                raise RuntimeError(f"{topic}/{partition} ends at {start}, its high watermark is {end}")
            for row in rows:
                value = row["value"]
                yield row["offset"], json.loads(value) if isinstance(value, str) else value
            start = rows[-1]["offset"] + 1

    def table(self, name, after=None):
        """All rows; with `after`, once a committed epoch covers that position."""
        query = f"&timeout_ms=60000&after={urllib.parse.quote(after)}" if after else ""
        page = self.get_json(f"/v1/tables/{name}?limit=10000{query}")
        if page["more"]:
            raise RuntimeError(f"table {name} has more rows than one page")
        return page["rows"]

    def position(self, topic):
        ends = self.partition_ends(topic)
        return f"{topic}:" + ",".join(f"{p}@{end}" for p, end in sorted(ends.items()) if end > 0)


class Client:
    """One kept-alive connection."""

    def __init__(self, port, timeout=60):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def request(self, method, path, body=None, content_type=None):
        headers = {"content-type": content_type} if content_type else {}
        if isinstance(body, str):
            body = body.encode()
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.read())

    def post_events(self, topic, lines, key=None):
        query = f"?key={key}" if key else ""
        body = "\n".join(lines)
        return self.request("POST", f"/v1/topics/{topic}/events{query}", body, "application/x-ndjson")


def run(*arguments, timeout=120, **options):
    """Runs the program to its end; answers (status, stdout, stderr)."""
    done = subprocess.run([binary(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, **options)
    return done.returncode, done.stdout, done.stderr
