"""The Python clients: confluent-kafka (librdkafka) and kafka-python."""
import fetch
from suite import Program, run

CODECS = ("codec-none", "codec-gzip", "codec-snappy", "codec-lz4", "codec-zstd")


class Confluent(Program):
    name = "confluent-kafka"
    quick = True
    features = (*CODECS, "idempotent", "headers", "large-message", "max-message-bytes", "log-append-time", "seek-by-time",
                "out-of-range", "compaction", "group-rebalance", "group-cooperative", "group-static",
                "group-consumer-protocol", "offsets-resume", "transactions", "txn-fencing", "txn-timeout", "txn-offsets",
                "txn-resume", "admin-topics", "admin-partitions", "admin-configs", "delete-records", "admin-groups")
    restarts = frozenset({"offsets-resume", "txn-resume"})

    def prepare(self):
        self.python = fetch.python()
        version = run([self.python, "-c", "import confluent_kafka as c; print(c.version(), 'librdkafka', c.libversion()[0])"])
        return " ".join(part.strip("(',)") for part in version.split() if not part.isdigit())

    def command(self):
        return [self.python, fetch.source("programs", "confluent.py")]


class KafkaPython(Program):
    name = "kafka-python"
    quick = True
    features = (*CODECS, "idempotent", "headers", "large-message", "max-message-bytes", "log-append-time", "seek-by-time",
                "compaction", "group-rebalance", "group-cooperative", "group-static", "offsets-resume", "transactions",
                "txn-fencing", "txn-timeout", "txn-offsets", "txn-resume", "admin-topics", "admin-partitions",
                "admin-configs", "delete-records", "admin-groups", "admin-log-dirs", "admin-transactions")
    restarts = frozenset({"offsets-resume", "txn-resume"})

    def prepare(self):
        self.python = fetch.python()
        return fetch.requirement("kafka-python")

    def command(self):
        return [self.python, fetch.source("programs", "kafka_python.py")]
