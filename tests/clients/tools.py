"""Kafka's own command-line and performance tools, run by class path."""
import json
import os
import re
import signal
import subprocess
import tempfile
import time

import fetch
from suite import Client, Failed, check, run

TOOLS = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "org.apache.kafka.tools.ConfigCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
}


def command(classpath, tool, *arguments):
    return ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp", classpath, TOOLS[tool], *arguments]


class Tools(Client):
    name = "Kafka's own tools"
    alone = frozenset({"kafka-dump-log"})

    def prepare(self):
        self.classpath = fetch.maven("kafka")
        return fetch.pom_property("kafka", "kafka.version")

    def tests(self):
        return [("kafka-broker-api-versions", self.api_versions), ("kafka-topics", self.topics),
                ("kafka-configs", self.configs), ("kafka-console-producer, -consumer", self.console),
                ("kafka-consumer-groups", self.groups), ("kafka-get-offsets", self.get_offsets),
                ("kafka-delete-records", self.delete_records), ("kafka-log-dirs", self.log_dirs),
                ("kafka-transactions", self.transactions), ("kafka-verifiable-producer, -consumer", self.verifiable),
                ("kafka-producer-perf-test, consumer-perf-test", self.perf), ("kafka-e2e-latency", self.latency),
                ("kafka-dump-log", self.dump_log)]

    def tool(self, name, *arguments, **options):
        return run(command(self.classpath, name, *arguments), **options)

    def on(self, target, name, *arguments, **options):
        return self.tool(name, "--bootstrap-server", target.bootstrap, *arguments, **options)

    def create(self, target, topic, partitions=1, *config):
        options = [word for each in config for word in ("--config", each)]
        self.on(target, "kafka-topics", "--create", "--topic", topic, "--partitions", str(partitions), *options)
        return topic

    def send(self, target, topic, lines, *options):
        self.on(target, "kafka-console-producer", "--topic", topic, *options, input="".join(f"{line}\n" for line in lines).encode())

    def refused(self, target, word, name, *arguments):
        try:
            self.on(target, name, *arguments)
        except Failed as failed:
            check(word in str(failed), f"refused for another reason: {failed}")
            return
        raise Failed(f"was accepted: {name} {arguments}")

    def api_versions(self, target):
        said = self.on(target, "kafka-broker-api-versions")
        # Those a Kafka client needs, at the versions of Kafka 4.
        for api in ("Produce(0)", "Fetch(1)", "ListOffsets(2)", "Metadata(3)", "OffsetCommit(8)", "JoinGroup(11)", "EndTxn(26)"):
            line = next((line for line in said.splitlines() if api in line), "")
            check(line and "UNSUPPORTED" not in line, f"{api}: {line.strip() or 'not listed'}")

    def topics(self, target):
        topic = self.create(target, "tools-topics", 3, "retention.ms=1234567")
        check(topic in self.on(target, "kafka-topics", "--list").split(), "not listed")
        said = self.on(target, "kafka-topics", "--describe", "--topic", topic)
        check("PartitionCount: 3" in said and "retention.ms=1234567" in said and said.count("Leader: ") == 3, said)
        self.on(target, "kafka-topics", "--alter", "--topic", topic, "--partitions", "5")
        check("PartitionCount: 5" in self.on(target, "kafka-topics", "--describe", "--topic", topic), "not altered")
        self.refused(target, "InvalidPartitions", "kafka-topics", "--alter", "--topic", topic, "--partitions", "2")
        self.refused(target, "already exists", "kafka-topics", "--create", "--topic", topic)
        self.on(target, "kafka-topics", "--delete", "--topic", topic)
        deadline = time.monotonic() + 20
        while topic in self.on(target, "kafka-topics", "--list").split():
            check(time.monotonic() < deadline, "still listed")

    def configs(self, target):
        topic = self.create(target, "tools-configs")
        entity = ("--entity-type", "topics", "--entity-name", topic)
        self.on(target, "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=4242,cleanup.policy=[compact,delete]")
        said = self.on(target, "kafka-configs", "--describe", *entity)
        check("retention.ms=4242" in said and "cleanup.policy=compact,delete" in said, said)
        self.on(target, "kafka-configs", "--alter", *entity, "--delete-config", "retention.ms")
        check("retention.ms" not in self.on(target, "kafka-configs", "--describe", *entity), "not deleted")
        everything = self.on(target, "kafka-configs", "--describe", "--all", *entity)
        for name in ("segment.bytes", "max.message.bytes", "min.compaction.lag.ms", "compression.type"):
            check(f"  {name}=" in everything, f"{name} is not described")
        self.refused(target, "InvalidConfiguration", "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=soon")

    def console(self, target):
        topic = self.create(target, "tools-console")
        self.send(target, topic, [f"h:1\tk{n}\tv{n}" for n in range(20)], "--reader-property", "parse.key=true",
                  "--reader-property", "parse.headers=true", "--compression-codec", "zstd")
        said = self.on(target, "kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "20",
                       "--timeout-ms", "20000", "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true")
        check(said.splitlines() == [f"h:1\tk{n}\tv{n}" for n in range(20)], said)

    def groups(self, target):
        topic, group = self.create(target, "tools-groups", 1), "tools-group"
        self.send(target, topic, range(10))
        self.on(target, "kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning", "--max-messages", "10",
                "--timeout-ms", "20000")
        check(group in self.on(target, "kafka-consumer-groups", "--list").split(), "not listed")
        said = self.on(target, "kafka-consumer-groups", "--describe", "--group", group)
        row = next((line.split() for line in said.splitlines() if line.startswith(group)), [])
        check(row[1:6] == [topic, "0", "-", "10", "10"] or row[1:6] == [topic, "0", "10", "10", "0"], said)
        self.on(target, "kafka-consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--shift-by", "-4", "--execute")
        said = self.on(target, "kafka-consumer-groups", "--describe", "--group", group)
        check(re.search(rf"{group}\s+{topic}\s+0\s+(-\s+)?6\s+10\s+4", said), said)
        self.on(target, "kafka-consumer-groups", "--describe", "--state", "--group", group)
        self.on(target, "kafka-consumer-groups", "--describe", "--members", "--group", group)
        self.on(target, "kafka-consumer-groups", "--delete-offsets", "--group", group, "--topic", topic)
        self.on(target, "kafka-consumer-groups", "--delete", "--group", group)
        check(group not in self.on(target, "kafka-consumer-groups", "--list").split(), "still listed")

    def get_offsets(self, target):
        topic = self.create(target, "tools-offsets", 1)
        self.send(target, topic, range(7))
        for at, expected in (("-1", "7"), ("-2", "0"), ("-3", "")):
            said = self.on(target, "kafka-get-offsets", "--topic", topic, "--time", at)
            check(f"{topic}:0:{expected}" in said, f"--time {at}: {said}")

    def delete_records(self, target):
        topic = self.create(target, "tools-delete", 1)
        self.send(target, topic, range(7))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 5}]}, file)
            file.flush()
            said = self.on(target, "kafka-delete-records", "--offset-json-file", file.name)
        check("low_watermark: 5" in said, said)
        check(f"{topic}:0:5" in self.on(target, "kafka-get-offsets", "--topic", topic, "--time", "-2"), "the start did not move")

    def log_dirs(self, target):
        topic = self.create(target, "tools-dirs", 2)
        self.send(target, topic, ["x" * 1000] * 10)
        said = self.on(target, "kafka-log-dirs", "--describe", "--topic-list", topic)
        dirs = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["brokers"][0]["logDirs"]
        sizes = [part["size"] for each in dirs for part in each["partitions"]]
        check(len(sizes) == 2 and sum(sizes) > 10_000 and all(each["error"] is None for each in dirs), said)

    def transactions(self, target):
        topic = self.create(target, "tools-txn")
        self.tool("kafka-producer-perf-test", "--bootstrap-server", target.bootstrap, "--topic", topic, "--num-records", "1000",
                  "--record-size", "100", "--throughput", "1000", "--transactional-id", "tools-txn-id",
                  "--transaction-duration-ms", "100")
        listed = self.on(target, "kafka-transactions", "list")
        check(re.search(r"tools-txn-id\s+\d+\s+\d+\s+CompleteCommit", listed), listed)
        check("CompleteCommit" in self.on(target, "kafka-transactions", "describe", "--transactional-id", "tools-txn-id"), "describe")
        said = self.on(target, "kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0")
        check("ProducerId" in said and len(said.strip().splitlines()) == 2, said)
        self.on(target, "kafka-transactions", "find-hanging", "--broker-id", re.search(r"tools-txn-id\s+(\d+)", listed).group(1))

    def verifiable(self, target):
        topic = self.create(target, "tools-verifiable", 3)
        said = self.on(target, "kafka-verifiable-producer", "--topic", topic, "--max-messages", "3000", "--acks", "-1")
        check(said.count("producer_send_success") == 3000, said[-300:])
        consumer = subprocess.Popen(command(self.classpath, "kafka-verifiable-consumer", "--bootstrap-server", target.bootstrap,
                                            "--topic", topic, "--group-id", "tools-verifiable", "--max-messages", "3000",
                                            "--enable-autocommit"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        timer_end, count, lines = time.monotonic() + 60, 0, []
        try:
            for line in consumer.stdout:
                lines.append(line)
                if '"records_consumed"' in line:
                    count += json.loads(line)["count"]
                if count >= 3000 or time.monotonic() > timer_end:
                    break
        finally:
            consumer.send_signal(signal.SIGTERM)
            try:
                consumer.wait(timeout=20)
            except subprocess.TimeoutExpired:
                consumer.kill()
                consumer.wait()
            consumer.stdout.close()
        check(count == 3000, f"consumed {count}: {''.join(lines)[-500:]}")

    def perf(self, target):
        topic = self.create(target, "tools-perf", 4)
        said = self.tool("kafka-producer-perf-test", "--bootstrap-server", target.bootstrap, "--topic", topic, "--num-records",
                         "50000", "--record-size", "200", "--throughput", "-1", "--command-property", "acks=all",
                         "--command-property", "compression.type=lz4")
        check("50000 records sent" in said, said)
        said = self.on(target, "kafka-consumer-perf-test", "--topic", topic, "--num-records", "50000", "--timeout", "30000")
        check(int(float(said.strip().splitlines()[-1].split(",")[4])) >= 50000, said)

    def latency(self, target):
        topic = self.create(target, "tools-latency")
        said = self.on(target, "kafka-e2e-latency", "--topic", topic, "--num-records", "200", "--producer-acks", "all", "--record-size", "100")
        check("Percentiles" in said, said)

    def dump_log(self, target):
        """Segment files after a clean stop are Kafka's: its own tool reads each record and finds no fault."""
        topic = self.create(target, "tools-dump")
        self.send(target, topic, [f"none-{n}" for n in range(5)])
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            self.send(target, topic, [f"{codec}-{n}" for n in range(5)], "--compression-codec", codec)
        self.tool("kafka-producer-perf-test", "--bootstrap-server", target.bootstrap, "--topic", topic, "--num-records", "20",
                  "--record-size", "50", "--throughput", "-1", "--transactional-id", "dump", "--transaction-duration-ms", "100")
        target.stop()
        files = target.segment_files("tools-dump")
        check(files, "no segment file")
        payloads, control, codecs = [], 0, set()
        for path in files:
            check(os.path.getsize(path) > 0 or target.name == "kafka", f"{path} is empty")
            said = self.tool("kafka-dump-log", "--deep-iteration", "--print-data-log", "--files", path)
            check("isvalid: false" not in said and "Found" not in said, said[:800])
            payloads += re.findall(r"payload: (\S+)", said)
            codecs |= set(re.findall(r"compresscodec: (\S+)", said))
            control += said.count("endTxnMarker: COMMIT")
        # Among those of internal topics.
        ours = [p for p in payloads if re.fullmatch(r"(none|gzip|snappy|lz4|zstd)-\d", p)]
        check(ours == [f"{c}-{n}" for c in ("none", "gzip", "snappy", "lz4", "zstd") for n in range(5)], ours)
        check(codecs == {"none", "gzip", "snappy", "lz4", "zstd"}, codecs)
        check(control >= 1, "no commit marker")
