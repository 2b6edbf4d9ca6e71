import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.*;

/** kafka-clients against a broker: {@code JavaClient FEATURE BOOTSTRAP}, status 0 if the feature holds. */
public class JavaClient {
    static final long SECONDS = 30;
    static String bootstrap, topic;
    static Admin admin;

    interface Test { void run() throws Exception; }

    public static void main(String[] args) {
        String feature = args[0];
        bootstrap = args[1];
        topic = "java-" + feature.replaceAll("-(before|after)$", "");
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        Map<String, Test> tests = new HashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) tests.put("codec-" + codec, () -> codec(codec));
        tests.put("idempotent", JavaClient::idempotent);
        tests.put("headers", JavaClient::headers);
        tests.put("large-message", JavaClient::largeMessage);
        tests.put("max-message-bytes", JavaClient::maxMessageBytes);
        tests.put("log-append-time", JavaClient::logAppendTime);
        tests.put("seek-by-time", JavaClient::seekByTime);
        tests.put("compaction", JavaClient::compaction);
        tests.put("retention", JavaClient::retention);
        tests.put("group-rebalance", () -> rebalance(Map.of(), false));
        tests.put("group-cooperative", () -> rebalance(Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName()), true));
        tests.put("group-consumer-protocol", () -> rebalance(Map.of("group.protocol", "consumer"), true));
        tests.put("group-static", JavaClient::groupStatic);
        tests.put("offsets-resume-before", JavaClient::offsetsBefore);
        tests.put("offsets-resume-after", JavaClient::offsetsAfter);
        tests.put("transactions", JavaClient::transactions);
        tests.put("txn-fencing", JavaClient::txnFencing);
        tests.put("txn-timeout", JavaClient::txnTimeout);
        tests.put("txn-offsets", JavaClient::txnOffsets);
        tests.put("txn-resume-before", JavaClient::txnBefore);
        tests.put("txn-resume-after", JavaClient::txnAfter);
        tests.put("admin-topics", JavaClient::adminTopics);
        tests.put("admin-partitions", JavaClient::adminPartitions);
        tests.put("admin-configs", JavaClient::adminConfigs);
        tests.put("delete-records", JavaClient::deleteRecords);
        tests.put("admin-groups", JavaClient::adminGroups);
        tests.put("admin-log-dirs", JavaClient::adminLogDirs);
        tests.put("admin-transactions", JavaClient::adminTransactions);
        tests.put("admin-features", JavaClient::adminFeatures);
        try {
            tests.get(feature).run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.err.flush();
            Runtime.getRuntime().halt(1);
        }
        Runtime.getRuntime().halt(0);
    }

    // ---- tools of the tests

    static void check(boolean holds, Object... facts) {
        if (!holds) throw new AssertionError(Arrays.stream(facts).map(String::valueOf).collect(Collectors.joining(" ")));
    }

    static void until(BooleanSupplier holds, Supplier<Object> what, Runnable step, long seconds) {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, "not in time:", what.get());
            step.run();
        }
    }

    static void until(BooleanSupplier holds, Supplier<Object> what) { until(holds, what, () -> sleep(50), SECONDS); }

    static void sleep(long ms) {
        try { Thread.sleep(ms); } catch (InterruptedException error) { throw new IllegalStateException(error); }
    }

    static void refused(Class<? extends Throwable> expected, Test test) throws Exception {
        try {
            test.run();
        } catch (Throwable error) {
            Throwable cause = error;
            while (cause != null && !expected.isInstance(cause)) cause = cause.getCause();
            if (cause == null) throw new AssertionError("refused for another reason than " + expected, error);
            return;
        }
        throw new AssertionError("was accepted, expected " + expected);
    }

    static <T> T get(KafkaFuture<T> future) {
        try { return future.get(SECONDS, TimeUnit.SECONDS); } catch (ExecutionException error) {
            throw error.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(error.getCause());
        } catch (Exception error) { throw new IllegalStateException(error); }
    }

    static String create(String name, int partitions, String... config) {
        Map<String, String> configs = new HashMap<>();
        for (int at = 0; at < config.length; at += 2) configs.put(config[at], config[at + 1]);
        get(admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all());
        return name;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... config) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 30000, "request.timeout.ms", 20000, "max.block.ms", 30000));
        for (int at = 0; at < config.length; at += 2) all.put((String) config[at], config[at + 1]);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String group, Object... config) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", topic + "-" + group,
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "metadata.max.age.ms", 500));
        for (int at = 0; at < config.length; at += 2) all.put((String) config[at], config[at + 1]);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] bytes(String text) { return text == null ? null : text.getBytes(); }

    static List<String> numbers(int from, int to) { return IntStream.range(from, to).mapToObj(String::valueOf).toList(); }

    static void produce(KafkaProducer<byte[], byte[]> p, String name, Integer partition, Collection<String> values) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String value : values) sent.add(p.send(new ProducerRecord<>(name, partition, null, bytes(value))));
        p.flush();
        for (Future<RecordMetadata> each : sent) each.get(SECONDS, TimeUnit.SECONDS);
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String name, int partition, Object... config) {
        try (var c = consumer("unused", config)) {
            var part = new TopicPartition(name, partition);
            c.assign(List.of(part));
            c.seekToBeginning(List.of(part));
            long end = c.endOffsets(List.of(part)).get(part);
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            until(() -> c.position(part) >= end, () -> found.size(), () -> c.poll(Duration.ofMillis(100)).forEach(found::add), SECONDS);
            return found;
        }
    }

    static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> r.value() == null ? null : new String(r.value())).toList();
    }

    static List<String> committed(String name) { return values(read(name, 0, "isolation.level", "read_committed")); }

    // ---- produce and consume

    static void codec(String codec) throws Exception {
        create(topic, 2);
        List<String> sent = numbers(0, 2000).stream().map(n -> n + "-" + "x".repeat(Integer.parseInt(n) % 90)).toList();
        for (int partition = 0; partition < 2; partition++)
            try (var p = producer("compression.type", codec, "linger.ms", 50)) { produce(p, topic, partition, sent); }
        for (int partition = 0; partition < 2; partition++) check(values(read(topic, partition)).equals(sent), "other records came back");
    }

    static void idempotent() throws Exception {
        create(topic, 3);
        var p = producer("enable.idempotence", true, "batch.size", 200, "max.in.flight.requests.per.connection", 5);
        for (int partition = 0; partition < 3; partition++) produce(p, topic, partition, numbers(0, 2000));
        for (int partition = 0; partition < 3; partition++) check(values(read(topic, partition)).equals(numbers(0, 2000)), "lost, twice or reordered");
    }

    static void headers() throws Exception {
        create(topic, 1);
        var p = producer();
        var record = new ProducerRecord<>(topic, 0, bytes("k"), bytes("v"));
        record.headers().add("a", bytes("1")).add("a", bytes("2")).add("empty", new byte[0]).add("null", null);
        p.send(record).get();
        p.send(new ProducerRecord<>(topic, bytes("tombstone"), null)).get();
        p.send(new ProducerRecord<>(topic, new byte[0], new byte[0])).get();
        p.send(new ProducerRecord<>(topic, null, bytes("no key"))).get();
        var found = read(topic, 0);
        String seen = Arrays.stream(found.get(0).headers().toArray()).map((Header h) -> h.key() + "=" + (h.value() == null ? "null" : new String(h.value()))).collect(Collectors.joining(","));
        check(seen.equals("a=1,a=2,empty=,null=null"), seen);
        check(new String(found.get(1).key()).equals("tombstone") && found.get(1).value() == null, "tombstone");
        check(found.get(2).key().length == 0 && found.get(2).value().length == 0, "empty key and value");
        check(found.get(3).key() == null, "no key");
    }

    static void largeMessage() throws Exception {
        create(topic, 1, "max.message.bytes", "8000000");
        byte[] body = new byte[5_000_000];
        new Random(7).nextBytes(body);
        var p = producer("max.request.size", 9_000_000);
        p.send(new ProducerRecord<>(topic, body)).get(SECONDS, TimeUnit.SECONDS);
        p.send(new ProducerRecord<>(topic, bytes("small"))).get(SECONDS, TimeUnit.SECONDS);
        var found = read(topic, 0, "max.partition.fetch.bytes", 100_000, "fetch.max.bytes", 1_000_000);
        check(found.size() == 2 && Arrays.equals(found.get(0).value(), body), found.size(), "records");
    }

    static void maxMessageBytes() throws Exception {
        create(topic, 1, "max.message.bytes", "10000");
        refused(RecordTooLargeException.class, () -> producer().send(new ProducerRecord<>(topic, new byte[50_000])).get());
        produce(producer(), topic, 0, List.of("small"));
        check(values(read(topic, 0)).equals(List.of("small")));
    }

    static void logAppendTime() throws Exception {
        create(topic, 1, "message.timestamp.type", "LogAppendTime");
        long before = System.currentTimeMillis();
        for (String codec : List.of("none", "lz4")) {
            var said = producer("compression.type", codec).send(new ProducerRecord<>(topic, 0, before - 86_400_000, null, bytes("a"))).get();
            check(said.timestamp() >= before - 1000, "the answer's time:", said.timestamp() - before);
        }
        for (var record : read(topic, 0))
            check(record.timestampType() == TimestampType.LOG_APPEND_TIME && record.timestamp() >= before - 1000, record.timestampType(), record.timestamp() - before);
    }

    static void seekByTime() throws Exception {
        create(topic, 1);
        var p = producer();
        long start = System.currentTimeMillis() - 3_600_000;
        for (int n = 0; n < 100; n++) {
            p.send(new ProducerRecord<>(topic, 0, start + n * 1000L, null, bytes("" + n)));
            if (n % 10 == 9) p.flush();
        }
        var part = new TopicPartition(topic, 0);
        try (var c = consumer("unused")) {
            for (long[] each : new long[][] {{start - 5, 0}, {start + 49_500, 50}, {start + 50_000, 50}, {start + 99_001, -1}}) {
                var found = c.offsetsForTimes(Map.of(part, each[0])).get(part);
                check((found == null ? -1 : found.offset()) == each[1], "at", each[0] - start, "expected", each[1], "found", found);
            }
        }
        for (var each : Map.of(OffsetSpec.maxTimestamp(), 99L, OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 100L, OffsetSpec.earliestLocal(), 0L).entrySet()) {
            long found = get(admin.listOffsets(Map.of(part, each.getKey())).partitionResult(part)).offset();
            check(found == each.getValue(), each.getKey(), found);
        }
    }

    static void compaction() throws Exception {
        create(topic, 1, "cleanup.policy", "compact", "segment.ms", "500", "min.cleanable.dirty.ratio", "0.001", "delete.retention.ms", "100", "max.compaction.lag.ms", "1000");
        var p = producer("transactional.id", topic, "linger.ms", 0);
        p.initTransactions();
        Map<String, String> expected = new TreeMap<>();
        for (int round = 0; round < 6; round++) {
            p.beginTransaction();
            for (int key = 0; key < 20; key++) p.send(new ProducerRecord<>(topic, bytes("" + key), bytes(key + "-" + round)));
            // The last round is aborted: the fifth stays the latest value.
            if (round == 5) p.abortTransaction(); else p.commitTransaction();
            if (round == 4) for (int key = 0; key < 20; key++) expected.put("" + key, key + "-4");
        }
        var plain = producer();
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        until(() -> !found.isEmpty() && found.size() <= 20, () -> found.size() + " records left", () -> {
            sleep(600);
            plain.send(new ProducerRecord<>(topic, bytes("tick"), bytes("tick")));
            plain.flush();
            found.clear();
            for (var record : read(topic, 0, "isolation.level", "read_committed")) if (!"tick".equals(new String(record.key()))) found.add(record);
            Map<String, String> latest = new TreeMap<>();
            for (var record : found) latest.put(new String(record.key()), new String(record.value()));
            check(latest.equals(expected), "a latest value is lost, or an aborted one read:", latest);
        }, 90);
        refused(InvalidRecordException.class, () -> producer().send(new ProducerRecord<>(topic, bytes("no key"))).get());
    }

    static void retention() throws Exception {
        create(topic, 1, "retention.ms", "1000", "segment.ms", "500");
        var p = producer();
        produce(p, topic, 0, numbers(0, 100));
        var part = new TopicPartition(topic, 0);
        until(() -> get(admin.listOffsets(Map.of(part, OffsetSpec.earliest())).partitionResult(part)).offset() >= 100, () -> "old records are still there", () -> {
            sleep(600);
            p.send(new ProducerRecord<>(topic, bytes("tick")));
            p.flush();
        }, 60);
    }

    // ---- groups

    static class Member extends Thread implements ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Set<String> seen = ConcurrentHashMap.newKeySet();
        final List<Set<Integer>> revoked = new CopyOnWriteArrayList<>();
        volatile Set<Integer> assigned = Set.of();
        volatile int rebalances;
        volatile Throwable error;
        volatile boolean closing;

        Member(Object... config) {
            consumer = consumer("g", Stream.concat(Stream.of("enable.auto.commit", true, "auto.commit.interval.ms", 100), Arrays.stream(config)).toArray());
            consumer.subscribe(List.of(topic), this);
            setDaemon(true);
            start();
        }

        public void onPartitionsAssigned(Collection<TopicPartition> parts) { rebalances++; }

        public void onPartitionsRevoked(Collection<TopicPartition> parts) {
            revoked.add(parts.stream().map(TopicPartition::partition).collect(Collectors.toSet()));
        }

        public void run() {
            try (consumer) {
                while (!closing) {
                    for (var record : consumer.poll(Duration.ofMillis(50))) seen.add(record.partition() + "@" + record.offset());
                    assigned = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
                }
            } catch (Throwable failed) { error = failed; }
            assigned = Set.of();
        }

        void end() throws Exception {
            closing = true;
            join(SECONDS * 1000);
            check(!isAlive(), "the consumer did not close");
        }
    }

    static boolean balanced(int partitions, Member... members) {
        Set<Integer> all = new HashSet<>();
        int total = 0;
        for (Member member : members) {
            if (member.assigned.size() < partitions / members.length) return false;
            all.addAll(member.assigned);
            total += member.assigned.size();
        }
        return all.size() == partitions && total == partitions;
    }

    static void everyoneSees(int round, Member... members) throws Exception {
        var p = producer();
        for (int partition = 0; partition < 4; partition++) produce(p, topic, partition, List.of("x"));
        until(() -> Arrays.stream(members).flatMap(m -> m.seen.stream()).distinct().count() == 4L * round, () -> Arrays.stream(members).map(m -> m.seen + " " + m.error).toList());
    }

    static void rebalance(Map<String, Object> config, boolean incremental) throws Exception {
        Object[] options = config.entrySet().stream().flatMap(e -> Stream.of(e.getKey(), e.getValue())).toArray();
        create(topic, 4);
        Member a = new Member(options);
        until(() -> balanced(4, a), () -> a.assigned + " " + a.error);
        everyoneSees(1, a);
        Member b = new Member(options);
        until(() -> balanced(4, a, b), () -> a.assigned + " " + b.assigned + " " + a.error + " " + b.error);
        everyoneSees(2, a, b);
        if (incremental) check(a.revoked.stream().allMatch(gone -> gone.size() <= 2), "revoked more than had to move:", a.revoked);
        b.end();
        until(() -> balanced(4, a), () -> a.assigned + " " + a.error);
        everyoneSees(3, a, b);
        a.end();
        check(a.error == null && b.error == null, a.error, b.error);
    }

    static void groupStatic() throws Exception {
        create(topic, 4);
        Member a = new Member("group.instance.id", "a"), b = new Member("group.instance.id", "b");
        until(() -> balanced(4, a, b), () -> a.assigned + " " + b.assigned);
        Set<Integer> had = a.assigned;
        int rebalances = b.rebalances;
        a.end();
        Member again = new Member("group.instance.id", "a");
        until(() -> again.assigned.equals(had), () -> had + " " + again.assigned);
        check(b.rebalances == rebalances, "a static member's restart rebalanced the group");
        Member thief = new Member("group.instance.id", "a");
        until(() -> again.error instanceof FencedInstanceIdException, () -> again.error);
        until(() -> thief.assigned.equals(had), () -> had + " " + thief.assigned);
        get(admin.removeMembersFromConsumerGroup(topic + "-g", new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("b")))).all());
        until(() -> b.rebalances > rebalances || b.error != null, () -> "the removed member noticed nothing");
    }

    static void offsetsBefore() throws Exception {
        create(topic, 2);
        produce(producer(), topic, 1, numbers(0, 100));
        try (var c = consumer("g", "max.poll.records", 10)) {
            c.subscribe(List.of(topic));
            List<String> seen = new ArrayList<>();
            until(() -> seen.size() >= 40, () -> seen.size(), () -> c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(new String(r.value()))), SECONDS);
            c.commitSync(Map.of(new TopicPartition(topic, 1), new OffsetAndMetadata(40, Optional.of(0), "half way")));
        }
    }

    static void offsetsAfter() throws Exception {
        try (var c = consumer("g")) {
            var parts = Set.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            var committed = c.committed(parts);
            var one = committed.get(new TopicPartition(topic, 1));
            check(one != null && one.offset() == 40 && one.metadata().equals("half way"), committed);
            check(committed.get(new TopicPartition(topic, 0)) == null, committed);
            c.subscribe(List.of(topic));
            List<String> seen = new ArrayList<>();
            until(() -> seen.size() >= 60, () -> seen.size(), () -> c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(new String(r.value()))), SECONDS);
            check(seen.equals(numbers(40, 100)), "resumed at", seen.get(0));
        }
    }

    // ---- transactions

    static KafkaProducer<byte[], byte[]> transactional(Object... config) {
        var p = producer(Stream.concat(Stream.of("transactional.id", topic + "-t"), Arrays.stream(config)).toArray());
        p.initTransactions();
        return p;
    }

    static void transactions() throws Exception {
        create(topic, 2);
        var p = transactional();
        List<String> expected = new ArrayList<>();
        for (String outcome : List.of("commit", "abort", "commit")) {
            p.beginTransaction();
            List<String> sent = numbers(0, 10).stream().map(n -> outcome + n).toList();
            for (int partition = 0; partition < 2; partition++) produce(p, topic, partition, sent);
            if (outcome.equals("commit")) { p.commitTransaction(); expected.addAll(sent); } else p.abortTransaction();
        }
        p.beginTransaction();
        produce(p, topic, 0, List.of("open"));
        produce(producer(), topic, 0, List.of("behind it"));
        check(committed(topic).equals(expected), "read_committed:", committed(topic));
        check(values(read(topic, 1, "isolation.level", "read_committed")).equals(expected), "partition 1");
        check(values(read(topic, 0)).size() == 32, "read_uncommitted:", values(read(topic, 0)));
        var part = new TopicPartition(topic, 0);
        for (var level : IsolationLevel.values()) {
            long end = get(admin.listOffsets(Map.of(part, OffsetSpec.latest()), new ListOffsetsOptions(level)).partitionResult(part)).offset();
            check(end == (level == IsolationLevel.READ_COMMITTED ? 33 : 35), level, end);
        }
        p.commitTransaction();
        expected.addAll(List.of("open", "behind it"));
        until(() -> committed(topic).equals(expected), () -> committed(topic));
    }

    static void txnFencing() throws Exception {
        create(topic, 1);
        var old = transactional();
        old.beginTransaction();
        produce(old, topic, 0, List.of("old"));
        var fresh = transactional();
        refused(ProducerFencedException.class, old::commitTransaction);
        fresh.beginTransaction();
        produce(fresh, topic, 0, List.of("new"));
        fresh.commitTransaction();
        until(() -> committed(topic).equals(List.of("new")), () -> committed(topic));
        fresh.beginTransaction();
        produce(fresh, topic, 0, List.of("fenced by the administrator"));
        get(admin.fenceProducers(List.of(topic + "-t")).all());
        refused(ProducerFencedException.class, fresh::commitTransaction);
    }

    static void txnTimeout() throws Exception {
        create(topic, 1);
        var p = transactional("transaction.timeout.ms", 2000);
        p.beginTransaction();
        produce(p, topic, 0, List.of("left open"));
        produce(producer(), topic, 0, List.of("behind it"));
        until(() -> committed(topic).equals(List.of("behind it")), () -> "the transaction's timeout");
        refused(KafkaException.class, p::commitTransaction);
    }

    static void txnOffsets() throws Exception {
        String source = create(topic + "-in", 1), target = create(topic + "-out", 1);
        produce(producer(), source, 0, numbers(0, 100));
        var part = new TopicPartition(source, 0);
        var p = transactional();
        var c = consumer("g", "max.poll.records", 50, "isolation.level", "read_committed");
        c.subscribe(List.of(source));
        for (int step = 0; step < 3; step++) {
            int start = step == 2 ? 50 : 0;
            List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
            until(() -> seen.size() >= 50, () -> seen.size(), () -> c.poll(Duration.ofMillis(100)).forEach(seen::add), SECONDS);
            check(seen.get(0).offset() == start && seen.size() == 50, "started at", seen.get(0).offset());
            p.beginTransaction();
            produce(p, target, 0, values(seen).stream().map(value -> "out-" + value).toList());
            p.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(start + 50)), c.groupMetadata());
            if (step == 0) p.abortTransaction(); else p.commitTransaction();
            var committed = c.committed(Set.of(part)).get(part);
            check(step == 0 ? committed == null : committed.offset() == start + 50, "step", step, "committed", committed);
            if (step == 0) c.seek(part, 0);
        }
        check(committed(target).equals(numbers(0, 100).stream().map(n -> "out-" + n).toList()), committed(target));
        // A zombie of an older generation must not commit.
        p.beginTransaction();
        refused(KafkaException.class, () -> {
            p.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(7)), new ConsumerGroupMetadata(topic + "-g", 0, "nobody", Optional.empty()));
            p.commitTransaction();
        });
    }

    static void txnBefore() throws Exception {
        create(topic, 1);
        var p = transactional();
        p.beginTransaction();
        produce(p, topic, 0, List.of("committed"));
        p.commitTransaction();
        p.beginTransaction();
        produce(p, topic, 0, List.of("open when the broker was killed"));
    }

    static void txnAfter() throws Exception {
        check(committed(topic).equals(List.of("committed")), "before the transaction's end:", committed(topic));
        var p = transactional();
        p.beginTransaction();
        produce(p, topic, 0, List.of("after"));
        p.commitTransaction();
        until(() -> committed(topic).equals(List.of("committed", "after")), () -> committed(topic));
    }

    // ---- administration

    static void adminTopics() throws Exception {
        create(topic, 3);
        refused(TopicExistsException.class, () -> create(topic, 1));
        refused(InvalidTopicException.class, () -> create("bad name", 1));
        refused(InvalidPartitionsException.class, () -> create(topic + "-0", 0));
        refused(InvalidConfigurationException.class, () -> create(topic + "-1", 1, "no.such.config", "1"));
        get(admin.createTopics(List.of(new NewTopic(topic + "-dry", 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all());
        check(!get(admin.listTopics().names()).contains(topic + "-dry"), "validateOnly made a topic");
        var described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        check(described.partitions().size() == 3 && described.partitions().get(0).leader() != null, described);
        check(get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds()).get(described.topicId()).name().equals(topic), "by id");
        check(get(admin.describeCluster().nodes()).size() == 1 && get(admin.describeCluster().clusterId()) != null, "cluster");
        get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).all());
        until(() -> !get(admin.listTopics().names()).contains(topic), () -> "still listed");
        refused(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(topic)).all()));
        refused(UnknownTopicOrPartitionException.class, () -> get(admin.describeTopics(List.of(topic)).allTopicNames()));
    }

    static void adminPartitions() throws Exception {
        create(topic, 1);
        var p = producer("metadata.max.age.ms", 500);
        List<Future<RecordMetadata>> sent = new CopyOnWriteArrayList<>();
        boolean[] stop = {false};
        Thread work = new Thread(() -> {
            for (int n = 0; !stop[0]; n++) { sent.add(p.send(new ProducerRecord<>(topic, bytes("" + n), bytes("" + n)))); sleep(5); }
        });
        work.start();
        Member member = new Member();
        until(() -> member.seen.size() > 20, () -> "the first records");
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
        until(() -> member.seen.stream().map(s -> s.charAt(0)).distinct().count() == 4, () -> "all partitions");
        stop[0] = true;
        work.join();
        p.flush();
        Set<String> places = new HashSet<>();
        for (var each : sent) { var at = each.get(SECONDS, TimeUnit.SECONDS); places.add(at.partition() + "@" + at.offset()); }
        until(() -> member.seen.equals(places), () -> member.seen.size() + " of " + places.size());
        member.end();
        refused(InvalidPartitionsException.class, () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all()));
    }

    static ConfigEntry config(String name) {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return get(admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all()).get(resource).get(name);
    }

    static void alter(String name, String value, AlterConfigOp.OpType kind) {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        get(admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), kind)))).all());
    }

    static void adminConfigs() throws Exception {
        create(topic, 1, "retention.ms", "123456");
        check(config("retention.ms").value().equals("123456") && config("retention.ms").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config("retention.ms"));
        check(config("retention.ms").type() == ConfigEntry.ConfigType.LONG, config("retention.ms").type());
        check(config("cleanup.policy").value().equals("delete") && config("cleanup.policy").isDefault(), config("cleanup.policy"));
        alter("retention.ms", "654321", AlterConfigOp.OpType.SET);
        until(() -> config("retention.ms").value().equals("654321"), () -> config("retention.ms"));
        alter("cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        until(() -> Set.of(config("cleanup.policy").value().split(",")).equals(Set.of("compact", "delete")), () -> config("cleanup.policy"));
        alter("cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        until(() -> config("cleanup.policy").value().equals("compact"), () -> config("cleanup.policy"));
        alter("retention.ms", null, AlterConfigOp.OpType.DELETE);
        until(() -> config("retention.ms").value().equals("604800000"), () -> config("retention.ms"));
        refused(InvalidConfigurationException.class, () -> alter("retention.ms", "soon", AlterConfigOp.OpType.SET));
        refused(InvalidConfigurationException.class, () -> alter("no.such.config", "1", AlterConfigOp.OpType.SET));
        var broker = new ConfigResource(ConfigResource.Type.BROKER, get(admin.describeCluster().nodes()).iterator().next().idString());
        check(get(admin.describeConfigs(List.of(broker)).all()).get(broker).entries().size() > 5, "the broker's configs");
        check(get(admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all()).stream().anyMatch(r -> r.name().equals(topic)), "listConfigResources");
    }

    static void deleteRecords() throws Exception {
        create(topic, 1);
        produce(producer(), topic, 0, numbers(0, 100));
        var part = new TopicPartition(topic, 0);
        check(get(admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(60))).lowWatermarks().get(part)).lowWatermark() == 60, "low watermark");
        check(values(read(topic, 0)).equals(numbers(60, 100)), "reads", values(read(topic, 0)).get(0));
        refused(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> get(admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(101))).all()));
        try (var c = consumer("unused", "auto.offset.reset", "none")) {
            c.assign(List.of(part));
            c.seek(part, 10);
            refused(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> c.poll(Duration.ofSeconds(10)));
        }
        get(admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(-1))).all());
        check(get(admin.listOffsets(Map.of(part, OffsetSpec.earliest())).partitionResult(part)).offset() == 100, "all are deleted");
    }

    static void adminGroups() throws Exception {
        create(topic, 2);
        for (int partition = 0; partition < 2; partition++) produce(producer(), topic, partition, List.of("a", "b", "c"));
        String group = topic + "-g";
        Member member = new Member("client.id", "the-client");
        until(() -> member.seen.size() == 6, () -> member.seen);
        Supplier<ConsumerGroupDescription> described = () -> get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        Supplier<Map<Integer, Long>> offsets = () -> get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).entrySet().stream()
            .collect(Collectors.toMap(e -> e.getKey().partition(), e -> e.getValue().offset()));
        check(get(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all()).stream().anyMatch(g -> g.groupId().equals(group)), "not listed");
        check(described.get().groupState() == GroupState.STABLE && described.get().members().iterator().next().clientId().equals("the-client"), described.get());
        until(() -> offsets.get().equals(Map.of(0, 3L, 1, 3L)), () -> offsets.get());
        refused(GroupNotEmptyException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
        refused(GroupSubscribedToTopicException.class, () -> get(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).all()));
        member.end();
        until(() -> described.get().groupState() == GroupState.EMPTY, () -> described.get());
        get(admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1), new TopicPartition(topic, 1), new OffsetAndMetadata(0))).all());
        check(offsets.get().equals(Map.of(0, 1L, 1, 0L)), "after the reset:", offsets.get());
        get(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).all());
        check(offsets.get().equals(Map.of(1, 0L)), "after deleting one:", offsets.get());
        get(admin.deleteConsumerGroups(List.of(group)).all());
        refused(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
        refused(GroupIdNotFoundException.class, () -> described.get());
    }

    static void adminLogDirs() throws Exception {
        create(topic, 2);
        producer().send(new ProducerRecord<>(topic, 1, null, new byte[100_000])).get();
        int node = get(admin.describeCluster().nodes()).iterator().next().id();
        Supplier<Map<Integer, Long>> sizes = () -> get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node).values().stream()
            .flatMap(dir -> dir.replicaInfos().entrySet().stream()).filter(e -> e.getKey().topic().equals(topic))
            .collect(Collectors.toMap(e -> e.getKey().partition(), e -> e.getValue().size()));
        until(() -> sizes.get().getOrDefault(0, -1L) == 0 && sizes.get().getOrDefault(1, 0L) >= 100_000, () -> sizes.get());
    }

    static void adminTransactions() throws Exception {
        create(topic, 1);
        var p = transactional();
        p.beginTransaction();
        produce(p, topic, 0, List.of("x"));
        var part = new TopicPartition(topic, 0);
        var producers = get(admin.describeProducers(List.of(part)).partitionResult(part)).activeProducers();
        check(producers.size() == 1 && producers.get(0).currentTransactionStartOffset().orElse(-1) == 0 && producers.get(0).lastSequence() == 0, producers);
        var listed = get(admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all());
        check(listed.stream().anyMatch(t -> t.transactionalId().equals(topic + "-t") && t.producerId() == producers.get(0).producerId()), listed);
        var one = get(admin.describeTransactions(List.of(topic + "-t")).all()).get(topic + "-t");
        check(one.state() == TransactionState.ONGOING && one.topicPartitions().equals(Set.of(part)) && one.transactionTimeoutMs() == 60000, one);
        // As an operator ends a transaction whose producer is gone.
        get(admin.abortTransaction(new AbortTransactionSpec(part, producers.get(0).producerId(), (short) producers.get(0).producerEpoch(), producers.get(0).coordinatorEpoch().orElse(0))).all());
        produce(producer(), topic, 0, List.of("y"));
        until(() -> committed(topic).equals(List.of("y")), () -> committed(topic));
        refused(TransactionalIdNotFoundException.class, () -> get(admin.describeTransactions(List.of("no such id")).all()));
    }

    static void adminFeatures() {
        var features = get(admin.describeFeatures().featureMetadata()).finalizedFeatures();
        check(features.containsKey("transaction.version") && features.get("transaction.version").maxVersionLevel() == 2, features);
    }
}
