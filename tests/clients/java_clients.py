"""Java's kafka-clients and Kafka Streams: small programs of ours, compiled when the tests run."""
import collections
import os
import random
import shutil
import subprocess
import tempfile
import time

import fetch
from python_clients import CODECS
from suite import Client, Program, check, run
from tools import command as tool


class JavaClients(Program):
    name = "Java kafka-clients"
    features = (*CODECS, "idempotent", "headers", "large-message", "max-message-bytes", "log-append-time", "seek-by-time",
                "compaction", "retention", "group-rebalance", "group-cooperative", "group-static", "group-consumer-protocol",
                "offsets-resume", "transactions", "txn-fencing", "txn-timeout", "txn-offsets", "txn-resume", "admin-topics",
                "admin-partitions", "admin-configs", "delete-records", "admin-groups", "admin-log-dirs",
                "admin-transactions", "admin-features")
    restarts = frozenset({"offsets-resume", "txn-resume"})

    def prepare(self):
        self.classpath = fetch.java("kafka", "JavaClient.java", "WordCount.java")
        return fetch.pom_property("kafka", "kafka.version")

    def command(self):
        return ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                "-cp", self.classpath, "JavaClient"]


class Streams(Client):
    """Word count with exactly_once_v2, killed with -9 and started again while words come in: each counts once."""

    name = "Kafka Streams"
    alone = frozenset({"word-count-broker-killed"})

    def prepare(self):
        self.classpath = fetch.java("kafka", "JavaClient.java", "WordCount.java")
        return fetch.pom_property("kafka", "kafka.version")

    def tests(self):
        return [("word-count-exactly-once-v2", self.word_count), ("word-count-broker-killed", self.broker_killed)]

    def word_count(self, target):
        self._count(target, "streams", kill_broker=False)

    def broker_killed(self, target):
        self._count(target, "streams-broker", kill_broker=True)

    def _count(self, target, name, kill_broker):
        source, counts = f"{name}-in", f"{name}-out"
        for topic in (source, counts):
            run(tool(self.classpath, "kafka-topics", "--bootstrap-server", target.bootstrap, "--create", "--topic", topic, "--partitions", "2"))
        dice, expected = random.Random(7), collections.Counter()
        folder = tempfile.mkdtemp(prefix="streams-")
        app = None
        try:
            for part in range(3):
                app = app or self._start(target, name, source, counts, folder)
                lines = [" ".join(dice.choice(("tide", "ebb", "flow", "moon", "sea", "foam")) for _ in range(6)) for _ in range(400)]
                for line in lines:
                    expected.update(line.split())
                run(tool(self.classpath, "kafka-console-producer", "--bootstrap-server", target.bootstrap, "--topic", source),
                    input="".join(f"{line}\n" for line in lines).encode())
                if part == 0:
                    # Killed in the midst of its work, not before it.
                    self._await(target, counts, lambda seen: seen)
                if part < 2:
                    app.kill()
                    app.wait()
                    app = None
                    if kill_broker:
                        target.kill()
                        target.start()
            seen = self._await(target, counts, lambda seen: {word: max(each) for word, each in seen.items()} == dict(expected))
            for word, each in seen.items():
                check(each == sorted(set(each)), f"{word} was counted twice or backwards: {each}")
            check({word: max(each) for word, each in seen.items()} == dict(expected), f"{expected} expected")
        finally:
            if app:
                app.kill()
                app.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, target, name, source, counts, folder):
        log = open(os.path.join(folder, "log"), "ab")
        with log:
            return subprocess.Popen(["java", "-Xmx256M", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp",
                                     self.classpath, "WordCount", target.bootstrap, name, source, counts, folder],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _await(self, target, topic, done, seconds=90):
        """Committed counts, word -> counts in order, once `done` says so or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            said = run(tool(self.classpath, "kafka-console-consumer", "--bootstrap-server", target.bootstrap, "--topic", topic,
                            "--from-beginning", "--isolation-level", "read_committed", "--timeout-ms", "3000",
                            "--formatter-property", "print.key=true",
                            "--formatter-property", "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer"))
            seen = collections.defaultdict(list)
            for line in said.splitlines():
                word, _, count = line.partition("\t")
                seen[word].append(int(count))
            if done(seen) or time.monotonic() > deadline:
                return seen
