"""kafka-python against a broker: `kafka_python.py FEATURE BOOTSTRAP`, status 0 if the feature holds."""
import functools
import os
import sys
import threading
import time
import traceback

import kafka.errors as errors
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener

SECONDS = 30
FEATURE, BOOTSTRAP = sys.argv[1], sys.argv[2]
TOPIC = f"kafka-python-{FEATURE}".removesuffix("-before").removesuffix("-after")


def check(condition, *facts):
    if not condition:
        raise AssertionError(" ".join(str(fact) for fact in facts))


@functools.cache
def admin():
    return KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(topic=TOPIC, partitions=1, **config):
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    admin().create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])
    admin().wait_for_topics([topic])
    return topic


def producer(**config):
    return KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", **config)


def consumer(group=None, *topics, **config):
    config = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 10000,
              "heartbeat_interval_ms": 500, "metadata_max_age_ms": 1000, **config}
    return KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group and f"{TOPIC}-{group}", **config)


def produce(p, topic, values, **fields):
    sent = [p.send(topic, value=value, **fields) for value in values]
    p.flush(SECONDS)
    return [each.get(SECONDS) for each in sent]


def until(condition, what, step=lambda: time.sleep(0.1), seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, "not in time:", what() if callable(what) else what)
        step()


def read(topic, partitions=1, **config):
    """All records up to the end, per partition."""
    c = consumer(**config)
    parts = [TopicPartition(topic, partition) for partition in range(partitions)]
    c.assign(parts)
    c.seek_to_beginning(*parts)
    ends, found = c.end_offsets(parts), {partition: [] for partition in range(partitions)}

    def step():
        for part, messages in c.poll(200).items():
            found[part.partition] += messages
    until(lambda: all(c.position(part) >= ends[part] for part in parts), lambda: {p: len(r) for p, r in found.items()}, step)
    c.close()
    return found


def values(messages):
    return [message.value for message in messages]


def refused(error, action, *arguments, **fields):
    try:
        action(*arguments, **fields)
    except error:
        return
    raise AssertionError(f"was accepted: {arguments}")


class Member(ConsumerRebalanceListener):
    """A group member polled by its own thread."""

    def __init__(self, group, topic, **config):
        config.setdefault("enable_auto_commit", True)
        self.seen, self.assigned, self.revoked, self.rebalances, self.error = [], set(), [], 0, None
        self.closing, self.consumer = threading.Event(), consumer(group, auto_commit_interval_ms=100, **config)
        self.consumer.subscribe([topic], listener=self)
        self.thread = threading.Thread(target=self._poll, daemon=True)
        self.thread.start()

    def on_partitions_assigned(self, _):
        self.rebalances += 1

    def on_partitions_revoked(self, revoked):
        self.revoked.append({each.partition for each in revoked})

    def on_partitions_lost(self, _):
        pass

    def _poll(self):
        try:
            while not self.closing.is_set():
                for part, messages in self.consumer.poll(100).items():
                    self.seen += [(part.partition, message.offset, message.value) for message in messages]
                self.assigned = {part.partition for part in self.consumer.assignment()}
        except Exception as error:
            self.error, self.assigned = error, set()
            return
        self.consumer.close()
        self.assigned = set()

    def close(self):
        self.closing.set()
        self.thread.join(SECONDS)
        check(not self.thread.is_alive(), "the consumer did not close")


def balanced(partitions, *members):
    parts = [member.assigned for member in members]
    return set().union(*parts) == set(range(partitions)) and sum(map(len, parts)) == partitions and \
        max(map(len, parts)) - min(map(len, parts)) <= 1


# ---- produce and consume

def codec(name):
    create(partitions=2)
    sent = [f"{number:06d}-{'x' * (number % 90)}".encode() for number in range(2000)]
    for partition in range(2):
        p = producer(compression_type=None if name == "none" else name, linger_ms=50)
        produce(p, TOPIC, sent[partition * 1000:][:1000], partition=partition)
        p.close()
    found = read(TOPIC, 2)
    check(values(found[0]) == sent[:1000] and values(found[1]) == sent[1000:], "other records came back")


def idempotent():
    create(partitions=3)
    p = producer(enable_idempotence=True)
    for partition in range(3):
        produce(p, TOPIC, [str(number).encode() for number in range(1000)], partition=partition)
    found = read(TOPIC, 3)
    for partition in range(3):
        check(values(found[partition]) == [str(number).encode() for number in range(1000)], "lost, twice or reordered")


def headers():
    create()
    # This client refuses a header whose value is null.
    p, sent = producer(), [("a", b"1"), ("a", b"2"), ("empty", b"")]
    produce(p, TOPIC, [b"v"], key=b"k", headers=sent)
    produce(p, TOPIC, [None], key=b"tombstone")
    produce(p, TOPIC, [b""], key=b"")
    produce(p, TOPIC, [b"no key"])
    first, second, third, fourth = read(TOPIC)[0]
    check(list(first.headers) == sent, "headers:", first.headers)
    check(second.key == b"tombstone" and second.value is None, "tombstone:", second)
    check(third.key == b"" and third.value == b"", "empty:", third)
    check(fourth.key is None and not fourth.headers, "no key:", fourth)


def large_message():
    create(max_message_bytes=8_000_000)
    body = os.urandom(5_000_000)
    produce(producer(max_request_size=9_000_000), TOPIC, [body, b"small"])
    found = values(read(TOPIC, max_partition_fetch_bytes=100_000, fetch_max_bytes=1_000_000)[0])
    check(found == [body, b"small"], "sizes", [len(value) for value in found])


def max_message_bytes():
    create(max_message_bytes=10_000)
    refused(errors.MessageSizeTooLargeError, produce, producer(), TOPIC, [os.urandom(50_000)])
    produce(producer(), TOPIC, [b"small"])
    check(values(read(TOPIC)[0]) == [b"small"])


def log_append_time():
    create(message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    answers = produce(producer(), TOPIC, [b"a", b"b"], timestamp_ms=before - 86_400_000)
    for message in [*answers, *read(TOPIC)[0]]:
        check(message.timestamp_type if hasattr(message, "timestamp_type") else 1 == 1)
        check(before - 1000 <= message.timestamp <= before + 60_000, message.timestamp - before)


def seek_by_time():
    create()
    p, start = producer(), int(time.time() * 1000) - 3_600_000
    for number in range(100):
        p.send(TOPIC, b"%d" % number, timestamp_ms=start + number * 1000)
        if number % 10 == 9:
            p.flush(SECONDS)
    c, part = consumer(), TopicPartition(TOPIC, 0)
    for at, expected in ((start - 5, 0), (start + 49_500, 50), (start + 50_000, 50), (start + 99_001, None)):
        found = c.offsets_for_times({part: at})[part]
        check((found and found.offset) == expected, "at", at - start, "expected", expected, "found", found)


def compaction():
    create(cleanup_policy="compact", segment_ms=500, min_cleanable_dirty_ratio="0.001", delete_retention_ms=100,
           max_compaction_lag_ms=1000)
    p = producer()
    for round_number in range(5):
        for key in range(20):
            p.send(TOPIC, key=b"%d" % key, value=b"%d-%d" % (key, round_number))
        p.flush(SECONDS)
    found = []

    def step():
        time.sleep(0.6)
        produce(p, TOPIC, [b"tick"], key=b"tick")
        found[:] = [message for message in read(TOPIC)[0] if message.key != b"tick"]
        latest = {message.key: message.value for message in found}
        check(latest == {b"%d" % key: b"%d-4" % key for key in range(20)}, "lost a latest value:", latest)
    until(lambda: 0 < len(found) <= 20, lambda: f"{len(found)} records left", step, seconds=90)
    refused(errors.InvalidRecordError, produce, p, TOPIC, [b"no key"])


# ---- groups

def group_rebalance(**config):
    create(partitions=4)
    p, a = producer(), Member("g", TOPIC, **config)
    members = [a]

    def everyone_sees(rounds):
        for partition in range(4):
            produce(p, TOPIC, [b"x"], partition=partition)
        until(lambda: len({x[:2] for m in members for x in m.seen}) == 4 * rounds, lambda: [m.seen for m in members])
    until(lambda: balanced(4, a), lambda: a.assigned)
    everyone_sees(1)
    b = Member("g", TOPIC, **config)
    members.append(b)
    until(lambda: balanced(4, a, b), lambda: (a.assigned, b.assigned, a.error, b.error))
    everyone_sees(2)
    b.close()
    until(lambda: balanced(4, a), lambda: (a.assigned, a.error))
    everyone_sees(3)
    a.close()
    return a


def group_cooperative():
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    group_rebalance(partition_assignment_strategy=[CooperativeStickyAssignor])


def group_static():
    create(partitions=4)
    a, b = (Member("g", TOPIC, group_instance_id=name, session_timeout_ms=30000) for name in "ab")
    until(lambda: balanced(4, a, b), lambda: (a.assigned, b.assigned))
    had, rebalances = set(a.assigned), b.rebalances
    a.close()
    a = Member("g", TOPIC, group_instance_id="a", session_timeout_ms=30000)
    until(lambda: a.assigned == had, lambda: (had, a.assigned))
    check(b.rebalances == rebalances, "a static member's restart rebalanced the group")
    b.close()
    a.close()


def offsets_resume_before():
    create(partitions=2)
    produce(producer(), TOPIC, [b"%d" % number for number in range(100)], partition=1)
    c, seen = consumer("g", TOPIC, max_poll_records=10), []
    until(lambda: len(seen) >= 40, lambda: len(seen), lambda: [seen.extend(m) for m in c.poll(200).values()])
    c.commit({TopicPartition(TOPIC, 1): OffsetAndMetadata(40, "half way", -1)})
    c.close()


def offsets_resume_after():
    c, seen = consumer("g", TOPIC), []
    committed = c.committed(TopicPartition(TOPIC, 1), metadata=True)
    check(committed.offset == 40 and committed.metadata == "half way", "committed:", committed)
    check(c.committed(TopicPartition(TOPIC, 0)) is None, "an offset nobody committed")
    until(lambda: len(seen) >= 60, lambda: len(seen), lambda: [seen.extend(m) for m in c.poll(200).values()])
    check(values(seen) == [b"%d" % number for number in range(40, 100)], "resumed at", seen[0].offset)
    c.close()


# ---- transactions

def transactional(name="t", **config):
    p = producer(transactional_id=f"{TOPIC}-{name}", **config)
    p.init_transactions()
    return p


def committed_values(topic=TOPIC):
    return values(read(topic, isolation_level="read_committed")[0])


def transactions():
    create()
    p = transactional()
    for outcome in ("commit", "abort", "commit"):
        p.begin_transaction()
        produce(p, TOPIC, [b"%s%d" % (outcome.encode(), n) for n in range(10)])
        p.commit_transaction() if outcome == "commit" else p.abort_transaction()
    p.begin_transaction()
    produce(p, TOPIC, [b"open"])
    produce(producer(), TOPIC, [b"behind it"])
    expected = [b"commit%d" % n for n in range(10)] * 2
    part, c = TopicPartition(TOPIC, 0), consumer(isolation_level="read_committed")
    check(c.end_offsets([part])[part] == 33, "last stable offset:", c.end_offsets([part]))
    check(committed_values() == expected, committed_values())
    everything = values(read(TOPIC)[0])
    check(len(everything) == 32 and everything[-2:] == [b"open", b"behind it"], "read_uncommitted:", everything)
    p.commit_transaction()
    until(lambda: committed_values() == expected + [b"open", b"behind it"], committed_values)


def txn_fencing():
    create()
    old = transactional()
    old.begin_transaction()
    produce(old, TOPIC, [b"old"])
    new = transactional()
    refused(errors.KafkaError, old.commit_transaction)
    new.begin_transaction()
    produce(new, TOPIC, [b"new"])
    new.commit_transaction()
    until(lambda: committed_values() == [b"new"], committed_values)


def txn_timeout():
    create()
    p = transactional(transaction_timeout_ms=2000)
    p.begin_transaction()
    produce(p, TOPIC, [b"left open"])
    produce(producer(), TOPIC, [b"behind it"])
    until(lambda: committed_values() == [b"behind it"], "the transaction's timeout", seconds=40)
    refused(errors.KafkaError, p.commit_transaction)


def txn_offsets():
    source, target = create(TOPIC + "-in"), create(TOPIC + "-out")
    produce(producer(), source, [b"%d" % number for number in range(100)])
    c, p, part = consumer("g", source, max_poll_records=50), transactional(), TopicPartition(source, 0)

    def step(start, commits):
        seen = []
        until(lambda: len(seen) >= 50, lambda: len(seen), lambda: [seen.extend(m) for m in c.poll(200).values()])
        check(seen[0].offset == start and len(seen) == 50, "started at", seen[0].offset)
        p.begin_transaction()
        produce(p, target, [b"out-" + message.value for message in seen])
        p.send_offsets_to_transaction({part: OffsetAndMetadata(start + 50, "", -1)}, c.group_metadata())
        p.commit_transaction() if commits else p.abort_transaction()
    step(0, commits=False)
    check(c.committed(part) is None, "an aborted transaction committed offsets:", c.committed(part))
    c.seek(part, 0)
    step(0, commits=True)
    until(lambda: c.committed(part) == 50, lambda: c.committed(part))
    step(50, commits=True)
    until(lambda: c.committed(part) == 100, lambda: c.committed(part))
    check(committed_values(target) == [b"out-%d" % number for number in range(100)], committed_values(target))


def txn_resume_before():
    create()
    p = transactional()
    p.begin_transaction()
    produce(p, TOPIC, [b"committed"])
    p.commit_transaction()
    p.begin_transaction()
    produce(p, TOPIC, [b"open when the broker was killed"])


def txn_resume_after():
    p = transactional()
    p.begin_transaction()
    produce(p, TOPIC, [b"after"])
    p.commit_transaction()
    until(lambda: committed_values() == [b"committed", b"after"], committed_values)


# ---- administration

def admin_topics():
    create(partitions=3)
    refused(errors.TopicAlreadyExistsError, admin().create_topics, [NewTopic(TOPIC, 3, 1)])
    refused(errors.InvalidTopicError, admin().create_topics, [NewTopic("bad name", 1, 1)])
    check(TOPIC in admin().list_topics())
    check(len(admin().describe_topics([TOPIC])[0]["partitions"]) == 3)
    paged = admin().describe_topic_partitions([TOPIC], response_partition_limit=2)
    check(len(paged["topics"][0]["partitions"]) == 2 and paged["next_cursor"]["partition_index"] == 2, paged)
    check(len(admin().describe_cluster()["brokers"]) == 1)
    admin().delete_topics([TOPIC])
    until(lambda: TOPIC not in admin().list_topics(), "the topic is still listed")
    refused(errors.UnknownTopicOrPartitionError, admin().delete_topics, [TOPIC])


def admin_partitions():
    create()
    sent, stop, p = [], threading.Event(), producer(metadata_max_age_ms=500)

    def work():
        while not stop.is_set():
            key = b"%d" % len(sent)
            sent.append(p.send(TOPIC, key=key, value=key))
            time.sleep(0.01)
    thread = threading.Thread(target=work)
    thread.start()
    member = Member("g", TOPIC, metadata_max_age_ms=500)
    until(lambda: len(member.seen) > 20, "the first records")
    admin().create_partitions({TOPIC: 4})
    until(lambda: {x[0] for x in member.seen} == {0, 1, 2, 3}, lambda: {x[0] for x in member.seen})
    stop.set()
    thread.join()
    p.flush(SECONDS)
    places = {(each.get(SECONDS).partition, each.get(SECONDS).offset) for each in sent}
    until(lambda: {x[:2] for x in member.seen} == places, lambda: (len(member.seen), len(sent)))
    member.close()
    refused(errors.InvalidPartitionsError, admin().create_partitions, {TOPIC: 2})


def admin_configs():
    create(retention_ms=123456)

    def described(name):
        answer = admin().describe_configs([ConfigResource("TOPIC", TOPIC)], config_filter="all")
        return next(iter(answer.values()))[TOPIC][name]["value"]
    check(described("retention.ms") == "123456", described("retention.ms"))
    check(described("cleanup.policy") == "delete", described("cleanup.policy"))
    admin().alter_configs([ConfigResource("TOPIC", TOPIC, {"retention.ms": "654321"})])
    until(lambda: described("retention.ms") == "654321", lambda: described("retention.ms"))
    admin().alter_configs([ConfigResource("TOPIC", TOPIC, {"cleanup.policy": ("APPEND", "compact")})])
    until(lambda: set(described("cleanup.policy").split(",")) == {"compact", "delete"}, lambda: described("cleanup.policy"))
    admin().reset_configs([ConfigResource("TOPIC", TOPIC, ["retention.ms"])])
    until(lambda: described("retention.ms") == "604800000", lambda: described("retention.ms"))
    admin().alter_configs([ConfigResource("TOPIC", TOPIC, {"max.message.bytes": "5000"})], incremental=False)
    until(lambda: described("max.message.bytes") == "5000", lambda: described("max.message.bytes"))
    names = admin().list_config_resources(["TOPIC"])
    check(TOPIC in next(iter(names.values())), names)


def delete_records():
    create()
    produce(producer(), TOPIC, [b"%d" % number for number in range(100)])
    part = TopicPartition(TOPIC, 0)
    admin().delete_records({part: 60})
    found = read(TOPIC)[0]
    check(found[0].offset == 60 and len(found) == 40, "reads from", found[0].offset)
    check(consumer().beginning_offsets([part])[part] == 60)
    refused(errors.OffsetOutOfRangeError, admin().delete_records, {part: 101})
    admin().delete_records({part: -1})
    check(consumer().beginning_offsets([part])[part] == 100)


def admin_groups():
    create(partitions=2)
    for partition in range(2):
        produce(producer(), TOPIC, [b"a", b"b", b"c"], partition=partition)
    group, parts = f"{TOPIC}-g", [TopicPartition(TOPIC, partition) for partition in range(2)]
    member = Member("g", TOPIC, client_id="the-client")
    until(lambda: len(member.seen) == 6, lambda: (member.seen, member.error))

    def described():
        return admin().describe_groups([group])[group]

    def offsets():
        return {part.partition: entry.offset for part, entry in admin().list_group_offsets({group: None})[group].items()}
    check(group in [each["group_id"] for each in admin().list_groups()], admin().list_groups())
    now = described()
    check(now["group_state"] == "Stable" and [m["client_id"] for m in now["members"]] == ["the-client"], now)
    until(lambda: offsets() == {0: 3, 1: 3}, offsets)
    member.close()
    until(lambda: described()["group_state"] == "Empty", described)
    admin().alter_group_offsets(group, {parts[0]: OffsetAndMetadata(1, "", -1)})
    admin().reset_group_offsets(group, {parts[1]: 0})
    check(offsets() == {0: 1, 1: 0}, "after the reset:", offsets())
    admin().delete_group_offsets(group, [parts[0]])
    check(offsets().get(0, -1) < 0 and offsets()[1] == 0, "after deleting one offset:", offsets())
    admin().delete_groups([group])
    check(group not in [each["group_id"] for each in admin().list_groups()], "still listed")


def admin_log_dirs():
    create(partitions=2)
    produce(producer(), TOPIC, [os.urandom(100_000)], partition=1)

    def sizes():
        text = admin().describe_log_dirs()
        found = {}

        def walk(node):
            if isinstance(node, dict):
                if node.get("name", node.get("topic")) == TOPIC:
                    for each in node["partitions"]:
                        found[each["partition_index"]] = each.get("partition_size", each.get("size"))
                for value in node.values():
                    walk(value)
            elif isinstance(node, (list, tuple)):
                for value in node:
                    walk(value)
        walk(text)
        return found or text
    until(lambda: isinstance(sizes(), dict) and sizes().get(1, 0) >= 100_000 and sizes().get(0) == 0, sizes)


def admin_transactions():
    create()
    p, name = transactional(), f"{TOPIC}-t"
    p.begin_transaction()
    produce(p, TOPIC, [b"x"])
    part = TopicPartition(TOPIC, 0)
    producers = str(admin().describe_producers([part]))
    check("producer_id" in producers, producers)
    check(name in str(admin().list_transactions()), admin().list_transactions())
    check(TOPIC in str(admin().describe_transactions([name])), admin().describe_transactions([name]))
    p.commit_transaction()


FEATURES = {
    **{f"codec-{name}": lambda name=name: codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")},
    "idempotent": idempotent, "headers": headers, "large-message": large_message, "max-message-bytes": max_message_bytes,
    "log-append-time": log_append_time, "seek-by-time": seek_by_time, "compaction": compaction,
    "group-rebalance": group_rebalance, "group-cooperative": group_cooperative, "group-static": group_static,
    "offsets-resume-before": offsets_resume_before, "offsets-resume-after": offsets_resume_after,
    "transactions": transactions, "txn-fencing": txn_fencing, "txn-timeout": txn_timeout, "txn-offsets": txn_offsets,
    "txn-resume-before": txn_resume_before, "txn-resume-after": txn_resume_after,
    "admin-topics": admin_topics, "admin-partitions": admin_partitions, "admin-configs": admin_configs,
    "delete-records": delete_records, "admin-groups": admin_groups, "admin-log-dirs": admin_log_dirs,
    "admin-transactions": admin_transactions,
}

try:
    FEATURES[FEATURE]()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
# Without waiting for clients that a test left open.
os._exit(0)
