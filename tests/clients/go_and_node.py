"""franz-go and KafkaJS: one small program each."""
import json
import re

import fetch
from python_clients import CODECS
from suite import Program


class Franz(Program):
    name = "franz-go"
    features = (*CODECS, "idempotent", "headers", "large-message", "max-message-bytes", "log-append-time", "seek-by-time",
                "compaction", "group-rebalance", "group-cooperative", "group-static", "group-consumer-protocol",
                "offsets-resume", "transactions", "txn-fencing", "txn-timeout", "txn-offsets", "txn-resume", "admin-topics",
                "admin-partitions", "admin-configs", "delete-records", "admin-groups", "admin-log-dirs", "admin-transactions")
    restarts = frozenset({"offsets-resume", "txn-resume"})

    def prepare(self):
        self.binary = fetch.go("franz")
        module = fetch.text_of(fetch.source("programs", "franz", "go.mod"))
        return re.search(r"franz-go v(\S+)", module).group(1)

    def command(self):
        return [self.binary]


class KafkaJs(Program):
    name = "KafkaJS"
    # Its lz4 and zstd codecs are addons built from source for other versions of Node.
    features = ("codec-none", "codec-gzip", "codec-snappy", "idempotent", "headers", "large-message", "max-message-bytes",
                "log-append-time", "seek-by-time", "group-rebalance", "offsets-resume", "transactions", "txn-fencing",
                "txn-offsets", "admin-topics", "admin-partitions", "admin-configs", "delete-records", "admin-groups")
    restarts = frozenset({"offsets-resume"})

    def prepare(self):
        self.folder = fetch.npm("kafkajs")
        return json.loads(fetch.text_of(fetch.source("programs", "kafkajs", "package.json")))["dependencies"]["kafkajs"]

    def command(self):
        return ["node", f"{self.folder}/client.js"]
