"""The real system calls: an fdatasync that covers an event ends before its acknowledgement begins.

kill -9 leaves the page cache intact, so a program that never syncs would pass every kill test.
This one fails if fdatasync is taken out, or if an answer is sent before it.
"""
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from node import Node, tool

ROUNDS = 10
CALLS = "fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg"
LINE = re.compile(r"^(\d+)\s+(\d+\.\d+) (.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")


class Call:
    """One system call: when it began and ended (positions in the trace), and its text."""

    def __init__(self, name, text, begun, ended):
        self.name, self.text, self.begun, self.ended = name, text, begun, ended

    def file(self):
        match = re.match(r"\w+\(\d+<([^>]*)>", self.text)
        return match.group(1) if match else ""

    def is_socket(self):
        return self.file().startswith(("TCP", "socket"))


def parse(trace):
    """Joins the halves of calls that strace split; the order of lines is the order of events."""
    calls, pending = [], {}
    for number, line in enumerate(trace.splitlines()):
        match = LINE.match(line)
        if not match:
            continue
        thread, rest = match.group(1), match.group(3)
        resumed = RESUMED.match(rest)
        if resumed:
            if thread in pending:
                begun, text = pending.pop(thread)
                calls.append(Call(resumed.group(1), text + resumed.group(2), begun, number))
        elif rest.endswith("<unfinished ...>"):
            pending[thread] = (number, rest[: -len("<unfinished ...>")])
        elif "(" in rest:
            calls.append(Call(rest.split("(", 1)[0], rest, number, number))
    # A call without an end (the process was stopped in it) has begun nevertheless.
    for begun, text in pending.values():
        calls.append(Call(text.split("(", 1)[0], text, begun, float("inf")))
    return calls


def check(test, calls, marker, is_answer):
    """write of `marker` to a file < fdatasync of that file < answer on a socket."""
    writes = [c for c in calls if marker in c.text and c.name.startswith(("pwrite", "write")) and not c.is_socket()]
    test.assertTrue(writes, f"{marker} was not seen being written to a file")
    first = min(writes, key=lambda call: call.ended)
    answers = [c for c in calls if c.is_socket() and c.begun > first.begun and is_answer(c)]
    test.assertTrue(answers, f"no answer after {marker} was written")
    answer = min(answers, key=lambda call: call.begun)
    syncs = [c for c in calls if c.name in ("fdatasync", "fsync") and c.file() == first.file()
             and c.begun > first.ended and c.ended < answer.begun and c.text.rstrip().endswith("= 0")]
    test.assertTrue(syncs, f"no fdatasync of {first.file()} between\n{first.text[:200]}\nand\n{answer.text[:200]}")


class Sync(unittest.TestCase):
    def test_sync_precedes_each_acknowledgement(self):
        with tempfile.TemporaryDirectory() as directory:
            self.check_all(self.trace(directory))
        print(f"{2 * ROUNDS} acknowledgements traced, each after its fdatasync", flush=True)

    def test_without_fdatasync_the_check_fails(self):
        """The same program with fdatasync and fsync turned into nothing must be caught."""
        compiler = tool("cc")
        with tempfile.TemporaryDirectory() as directory:
            source, shim = os.path.join(directory, "shim.c"), os.path.join(directory, "shim.so")
            with open(source, "w") as file:
                file.write("int fdatasync(int f) { (void)f; return 0; }\nint fsync(int f) { (void)f; return 0; }\n")
            subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source], check=True)
            calls = self.trace(directory, ["-E", f"LD_PRELOAD={shim}"])
            self.assertFalse([call for call in calls if call.name == "fdatasync"], "the shim has no effect")
            with self.assertRaisesRegex(AssertionError, "no fdatasync"):
                self.check_all(calls)

    def trace(self, directory, options=()):
        """Sends events over both protocols, one after the other, and answers the node's calls."""
        trace = os.path.join(directory, "trace")
        wrapper = [tool("strace"), "-f", "-ttt", "-yy", "-s", "2000", *options, "-e", f"trace={CALLS}", "-o", trace]
        try:
            node = Node(wrapper=wrapper)
        except RuntimeError as error:
            if "ptrace" in str(error) or "Operation not permitted" in str(error):
                self.skipTest("this machine does not allow ptrace")
            raise
        with node:
            node.create_topic("traced")
            client = node.client()
            for number in range(ROUNDS):
                answer = client.post_events("traced", [json.dumps({"marker": f"http-marker-{number:04}-end"})])
                self.assertEqual(answer.status, 200, answer.body)
            with socket.create_connection(("127.0.0.1", node.kafka_port), timeout=30) as connection:
                for number in range(ROUNDS):
                    produce(self, connection, "traced", f"kafka-marker-{number:04}-end".encode(), number)
            node.stop()
        with open(trace, errors="replace") as lines:
            return parse(lines.read())

    def check_all(self, calls):
        for number in range(ROUNDS):
            check(self, calls, f"http-marker-{number:04}-end", lambda call: "HTTP/1.1 200" in call.text)
            # The connection is used for one request at a time: the next bytes sent are its answer.
            check(self, calls, f"kafka-marker-{number:04}-end", lambda call: "HTTP/1.1" not in call.text)

    def test_the_check_itself_can_fail(self):
        def trace(*lines):
            return parse("\n".join(f"1 {number}.0 {line}" for number, line in enumerate(lines)))

        write = 'pwrite64(5</d/wal>, "marker", 6, 0) = 6'
        sync = "fdatasync(5</d/wal>) = 0"
        answer = 'sendto(9<TCP:[a->b]>, "HTTP/1.1 200 OK", 15, 0, NULL, 0) = 15'
        is_answer = lambda call: "HTTP" in call.text  # noqa: E731
        check(self, trace(write, sync, answer), "marker", is_answer)
        for wrong in [(write, answer), (write, answer, sync), (sync, write, answer),
                      (write, sync.replace("= 0", "= -1 EIO"), answer), (write, sync.replace("wal", "x"), answer)]:
            with self.assertRaises(AssertionError):
                check(self, trace(*wrong), "marker", is_answer)
        begun, ended = "fdatasync(5</d/wal> <unfinished ...>", "<... fdatasync resumed>) = 0"
        with self.assertRaises(AssertionError):
            check(self, parse(f"1 0.0 {write}\n2 1.0 {begun}\n1 2.0 {answer}\n2 3.0 {ended}\n"), "marker", is_answer)


# ---- the least of a Kafka producer: Produce v7, one record

def crc32c(data):
    """RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def record_batch(value):
    record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    records = varint(len(record)) + record
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + records
    tail = struct.pack(">ibI", 0, 2, crc32c(body)) + body
    return struct.pack(">qi", 0, len(tail)) + tail


def produce(test, connection, topic, value, correlation):
    def text(name):
        return struct.pack(">h", len(name)) + name.encode()

    batch = record_batch(value)
    body = struct.pack(">hhii", -1, -1, 30_000, 1) + text(topic)
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    request = struct.pack(">hhi", 0, 7, correlation) + text("e2e") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    size, = struct.unpack(">i", receive(connection, 4))
    answer = receive(connection, size)
    error, = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
    test.assertEqual((struct.unpack_from(">i", answer)[0], error), (correlation, 0), answer)


def receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("the node closed the connection")
        data += more
    return data
