"""kcat, from Debian. Topics are made by its own produce: it has no admin commands, brokers create on first use."""
import re
import time

import fetch
from suite import Client, check, run


class Kcat(Client):
    name = "kcat"
    quick = True
    alone = frozenset({"offsets-resume"})

    def prepare(self):
        self.kcat = fetch.need("kcat", "kcat")
        words = re.search(r"Version (\S+) .*librdkafka (\S+)", run([self.kcat, "-V"]))
        return f"{words.group(1)} librdkafka {words.group(2)}"

    def tests(self):
        codecs = [(f"codec-{name}", lambda target, name=name: self.codec(target, name))
                  for name in ("none", "gzip", "snappy", "lz4", "zstd")]
        return codecs + [("idempotent", self.idempotent), ("headers", self.headers), ("seek-by-time", self.seek_by_time),
                         ("group-rebalance", self.group), ("offsets-resume", self.resume), ("transactions", self.transaction),
                         ("metadata", self.metadata)]

    def produce(self, target, topic, text, *options):
        run([self.kcat, "-P", "-b", target.bootstrap, "-t", topic, "-X", "acks=all", *options], input=text.encode(), timeout=60)

    def consume(self, target, topic, *options, text="%s\n"):
        return run([self.kcat, "-C", "-q", "-e", "-b", target.bootstrap, "-t", topic, "-f", text, *options], timeout=60)

    def codec(self, target, name):
        topic, lines = f"kcat-codec-{name}", "".join(f"line {number} {'y' * 80}\n" for number in range(3000))
        # The first record makes the topic, so that the batch behind it is one batch.
        self.produce(target, topic, "first\n")
        self.produce(target, topic, lines, "-z", name, "-X", "linger.ms=100")
        got = self.consume(target, topic, "-o", "beginning", "-X", "check.crcs=true")
        check(got == "first\n" + lines, f"{len(got.splitlines())} lines came back")

    def idempotent(self, target):
        lines = "".join(f"{number}\n" for number in range(5000))
        self.produce(target, "kcat-idempotent", lines, "-X", "enable.idempotence=true", "-X", "batch.num.messages=50")
        check(self.consume(target, "kcat-idempotent", "-o", "beginning") == lines, "lost, twice or reordered")

    def headers(self, target):
        topic = "kcat-headers"
        self.produce(target, topic, "k|v\n", "-K", "|", "-H", "a=1", "-H", "a=2", "-H", "empty=")
        self.produce(target, topic, "tombstone|\n", "-K", "|", "-Z")
        got = self.consume(target, topic, "-o", "beginning", text="%k:%S:%h\n")
        check(got == "k:1:a=1,a=2,empty=\ntombstone:-1:\n", got)

    def seek_by_time(self, target):
        topic = "kcat-time"
        for number in range(4):
            self.produce(target, topic, f"{number}\n")
            time.sleep(0.05)
        lines = self.consume(target, topic, "-o", "beginning", text="%T %s\n").split("\n")
        third = lines[2].split()[0]
        check(self.consume(target, topic, "-o", f"s@{third}") == "2\n3\n", "from the third record's time")
        asked = run([self.kcat, "-Q", "-b", target.bootstrap, "-t", f"{topic}:0:{third}"])
        check("offset 2" in asked, asked)

    def group(self, target):
        topic = "kcat-group"
        self.produce(target, topic, "".join(f"{number}\n" for number in range(100)))
        group = [self.kcat, "-b", target.bootstrap, "-G", "kcat-group", "-q", "-e", "-X", "auto.offset.reset=earliest", topic]
        check(len(run(group, timeout=60).split()) == 100, "the group read other records")
        self.produce(target, topic, "more\n")
        check(run(group, timeout=60).split() == ["more"], "did not go on behind the committed offset")

    def resume(self, target):
        topic = "kcat-resume"
        self.produce(target, topic, "a\nb\n")
        group = [self.kcat, "-b", "", "-G", "kcat-resume", "-q", "-e", "-X", "auto.offset.reset=earliest", topic]
        group[2] = target.bootstrap
        check(run(group, timeout=60).split() == ["a", "b"], "the group read other records")
        target.kill()
        target.start()
        self.produce(target, topic, "c\n")
        check(run(group, timeout=60).split() == ["c"], "did not go on behind the committed offset")

    def transaction(self, target):
        topic = "kcat-txn"
        self.produce(target, topic, "a\nb\n", "-X", "transactional.id=kcat")
        got = self.consume(target, topic, "-o", "beginning", "-X", "isolation.level=read_committed")
        check(got == "a\nb\n", got)

    def metadata(self, target):
        self.produce(target, "kcat-metadata", "x\n")
        listed = run([self.kcat, "-L", "-J", "-b", target.bootstrap, "-t", "kcat-metadata"])
        check('"partition":0' in listed and '"leader"' in listed, listed)
