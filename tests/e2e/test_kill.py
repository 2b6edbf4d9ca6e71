"""kill -9 at random moments during HTTP ingest with a running pipeline.

What this shows: after each kill, every acknowledged event lies in the log at the offset its answer
named, no event lies there twice, and the table equals a recomputation from the log. What it cannot
show: that the data reached the disk (the page cache outlives a killed process); for that see
test_sync.py and the simulation in crates/sim.
"""
import hashlib
import json
import random
import threading
import time
import unittest

from node import Node, count_from_env

ROUNDS = count_from_env("HIGHWATER_E2E_KILLS", 20)
SEED = count_from_env("HIGHWATER_E2E_SEED", 20261120)
COMPARE_EVERY = 10
PARTITIONS = 3
SQL = """
CREATE TABLE readings (id BIGINT, sensor STRING, amount BIGINT, event_time BIGINT,
  ts AS TO_TIMESTAMP_LTZ(event_time, 3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE MATERIALIZED TABLE sensors AS
SELECT sensor, COUNT(*) AS events, SUM(amount) AS amount, MAX(id) AS last_id FROM readings GROUP BY sensor;
"""


class Sender(threading.Thread):
    """Posts batches until the node is gone; remembers what was acknowledged."""

    def __init__(self, node, first_id, rng):
        super().__init__(daemon=True)
        self.node, self.next_id, self.rng = node, first_id, rng
        self.acknowledged = []
        self.refusals = []

    def run(self):
        try:
            client = self.node.client()
            while True:
                events = [self.event() for _ in range(self.rng.randint(1, 60))]
                answer = client.post_events("readings", [json.dumps(event) for event in events], key="sensor")
                if answer.status != 200:
                    self.refusals.append((answer.status, answer.body[:200]))
                    continue
                self.acknowledged.append((events, answer.json()))
        except (OSError, ValueError, Exception) as error:  # noqa: BLE001: any break ends the round
            self.ended_by = error

    def event(self):
        number, self.next_id = self.next_id, self.next_id + 1
        return {"id": number, "sensor": f"s{self.rng.randint(0, 40)}", "amount": self.rng.randint(-5, 5),
                "event_time": 1_700_000_000_000 + number}


class Kept:
    """What the log held when it was last read: enough to notice any later change."""

    def __init__(self):
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self.digests = {partition: hashlib.sha256() for partition in range(PARTITIONS)}
        self.ids, self.sensors = set(), {}

    def add(self, test, partition, offset, event):
        test.assertEqual(offset, self.ends[partition], "offsets have no gaps")
        test.assertNotIn(event["id"], self.ids, "an event is twice in the log")
        self.ends[partition] += 1
        self.digests[partition].update(json.dumps(event).encode())
        self.ids.add(event["id"])
        row = self.sensors.setdefault(event["sensor"], [0, 0, 0])
        row[0] += 1
        row[1] += event["amount"]
        row[2] = max(row[2], event["id"])

    def read_on(self, test, node):
        """Reads what is new; answers it as {(partition, offset): event}."""
        fresh = {}
        for partition, end in node.partition_ends("readings").items():
            test.assertGreaterEqual(end, self.ends[partition], "the log became shorter")
            for offset, event in node.records("readings", partition, self.ends[partition], end):
                self.add(test, partition, offset, event)
                fresh[partition, offset] = event
        return fresh


class Kill(unittest.TestCase):
    def test_no_acknowledged_event_is_lost(self):
        print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
        rng = random.Random(SEED)
        kept = Kept()
        next_id, acknowledged, recoveries = 0, 0, []
        with Node() as node:
            node.create_topic("readings", PARTITIONS)
            node.submit("sensors", SQL)
            for round_number in range(1, ROUNDS + 1):
                sender = Sender(node, next_id, random.Random(rng.random()))
                sender.start()
                time.sleep(rng.uniform(0.05, 1.2))
                node.kill()
                sender.join(30)
                self.assertFalse(sender.is_alive(), "the sender hangs although the node is gone")
                self.assertEqual(sender.refusals, [], "the node refused events")
                begun = time.monotonic()
                node.start()
                recoveries.append(time.monotonic() - begun)
                next_id = sender.next_id
                acknowledged += self.check_acknowledged(sender, kept.read_on(self, node), round_number)
                if round_number % COMPARE_EVERY == 0 or round_number == ROUNDS:
                    self.check_table(node, kept, round_number)
            # Every kill also had the chance to damage what earlier rounds wrote: read all of it again.
            again = Kept()
            again.read_on(self, node)
            for partition, digest in kept.digests.items():
                self.assertEqual(again.digests[partition].digest(), digest.digest(), "old records changed")
        print(f"{ROUNDS} kills: {acknowledged} events acknowledged, {len(kept.ids)} in the log, lost 0, doubled 0; "
              f"restart took {max(recoveries):.2f} s at most", flush=True)

    def check_acknowledged(self, sender, fresh, round_number):
        count = 0
        for events, answer in sender.acknowledged:
            self.assertEqual(answer["accepted"], len(events))
            named = {}
            for place in answer["positions"]:
                for offset in range(place["base_offset"], place["last_offset"] + 1):
                    record = fresh.get((place["partition"], offset))
                    self.assertIsNotNone(record, f"round {round_number}: {place} is not in the log")
                    named[record["id"]] = record
            for event in events:
                self.assertEqual(named.get(event["id"]), event, f"round {round_number}: not at its offset")
            count += len(events)
        return count

    def check_table(self, node, kept, round_number):
        rows = node.table("sensors", after=node.position("readings"))
        found = {row["sensor"]: [row["events"], row["amount"], row["last_id"]] for row in rows}
        self.assertEqual(found, kept.sensors, f"round {round_number}: the table differs from a recomputation")
