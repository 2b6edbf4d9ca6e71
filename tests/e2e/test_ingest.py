"""A million records through each door arrive complete."""
import collections
import hashlib
import os
import subprocess
import tempfile
import threading
import unittest

from node import Node, count_from_env, tool

RECORDS = count_from_env("HIGHWATER_E2E_RECORDS", 1_000_000)
BATCH = 5_000
CLIENTS = 2


class Ingest(unittest.TestCase):
    def test_kcat_round_trip(self):
        kcat = tool("kcat")
        with Node() as node, tempfile.TemporaryDirectory() as directory:
            node.create_topic("round-trip")
            sent = os.path.join(directory, "sent")
            with open(sent, "w") as lines:
                for number in range(RECORDS):
                    lines.write(f"record {number} {number * 2654435761 % 2**32:08x}\n")
            subprocess.run([kcat, "-P", "-b", node.kafka, "-t", "round-trip", "-X", "acks=all", "-l", sent],
                           check=True, timeout=300)
            received = os.path.join(directory, "received")
            with open(received, "w") as lines:
                subprocess.run([kcat, "-C", "-b", node.kafka, "-t", "round-trip", "-o", "beginning", "-e", "-q"],
                               stdout=lines, check=True, timeout=300)
            self.assertEqual(digest(received), digest(sent))
            self.assertEqual(sum(node.partition_ends("round-trip").values()), RECORDS)

    def test_compressed_kcat_round_trip(self):
        kcat = tool("kcat")
        with Node() as node:
            for codec in ("gzip", "snappy", "lz4", "zstd"):
                topic = f"round-trip-{codec}"
                node.create_topic(topic)
                sent = "".join(f"{codec} {number}\n" for number in range(2000))
                subprocess.run([kcat, "-P", "-b", node.kafka, "-t", topic, "-z", codec], input=sent, text=True,
                               check=True, timeout=60)
                received = subprocess.run([kcat, "-C", "-b", node.kafka, "-t", topic, "-e", "-q"], check=True,
                                          capture_output=True, text=True, timeout=60).stdout
                self.assertEqual(received, sent, codec)

    def test_http_events_arrive_complete(self):
        with Node() as node:
            node.create_topic("events", 4)
            problems = []

            def send(first):
                client = node.client()
                for start in range(first * BATCH, RECORDS, CLIENTS * BATCH):
                    numbers = range(start, min(start + BATCH, RECORDS))
                    lines = [f'{{"id":{n},"key":"k{n % 97}","text":"ä{n}"}}' for n in numbers]
                    answer = client.post_events("events", lines, key="key")
                    if answer.status != 200 or answer.json()["accepted"] != len(lines):
                        problems.append((answer.status, answer.body[:300]))
                        return

            senders = [threading.Thread(target=send, args=(first,)) for first in range(CLIENTS)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            self.assertEqual(problems, [])
            seen = bytearray(RECORDS)
            partitions = collections.defaultdict(set)
            for partition, end in node.partition_ends("events").items():
                for _, event in node.records("events", partition, 0, end):
                    seen[event["id"]] += 1
                    partitions[event["key"]].add(partition)
            self.assertEqual(seen.count(1), RECORDS, "each event once")
            self.assertEqual({len(where) for where in partitions.values()}, {1}, "a key stays in one partition")

    def test_bad_lines_are_refused_and_good_ones_kept(self):
        with Node() as node:
            node.create_topic("mixed")
            lines = ['{"id":1}', '{"id":', '{"id":3}', "no json", "[1]"]
            answer = node.client().post_events("mixed", lines)
            told = answer.json()
            self.assertEqual(told["accepted"], 2, told)
            self.assertEqual(told["rejected"], 3, told)
            self.assertEqual([error["line"] for error in told["errors"]], [2, 4, 5])
            kept = [event["id"] for _, event in node.records("mixed", 0, 0, 2)]
            self.assertEqual(kept, [1, 3])


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as lines:
        for block in iter(lambda: lines.read(1 << 20), b""):
            whole.update(block)
    return whole.hexdigest()
