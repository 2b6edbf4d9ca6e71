// Command franz runs franz-go against a broker: franz FEATURE BOOTSTRAP, status 0 if the feature holds.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 30 * time.Second

var (
	bootstrap, topic string
	ctx              context.Context
	admin            *kadm.Client
)

func main() {
	feature := os.Args[1]
	bootstrap = os.Args[2]
	topic = "franz-" + strings.TrimSuffix(strings.TrimSuffix(feature, "-before"), "-after")
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 110*time.Second)
	defer cancel()
	admin = kadm.NewClient(client())
	tests := map[string]func(){
		"idempotent": idempotent, "headers": headers, "large-message": largeMessage, "max-message-bytes": maxMessageBytes,
		"log-append-time": logAppendTime, "seek-by-time": seekByTime, "compaction": compaction,
		"group-rebalance":         func() { rebalance(kgo.Balancers(kgo.RangeBalancer())) },
		"group-cooperative":       func() { rebalance(kgo.Balancers(kgo.CooperativeStickyBalancer())) },
		"group-consumer-protocol": consumerProtocol,
		"group-static":            groupStatic, "offsets-resume-before": offsetsBefore, "offsets-resume-after": offsetsAfter,
		"transactions": transactions, "txn-fencing": txnFencing, "txn-timeout": txnTimeout, "txn-offsets": txnOffsets,
		"txn-resume-before": txnBefore, "txn-resume-after": txnAfter, "admin-topics": adminTopics,
		"admin-partitions": adminPartitions, "admin-configs": adminConfigs, "delete-records": deleteRecords,
		"admin-groups": adminGroups, "admin-log-dirs": adminLogDirs, "admin-transactions": adminTransactions,
	}
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		tests["codec-"+name] = func() { codecTest(codec) }
	}
	tests[feature]()
}

// ---- tools of the tests

func check(holds bool, facts ...any) {
	if !holds {
		panic(fmt.Sprint(facts...))
	}
}

func must[T any](value T, err error) T {
	ok(err)
	return value
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func refused(err, expected error) {
	check(errors.Is(err, expected), "expected ", expected, ", got ", err)
}

func until(holds func() bool, what func() any) {
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		check(time.Now().Before(deadline), "not in time: ", what())
	}
}

func client(options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(250 * time.Millisecond)}, options...)...))
}

func create(name string, partitions int32, config ...string) string {
	configs := map[string]*string{}
	for at := 0; at < len(config); at += 2 {
		configs[config[at]] = &config[at+1]
	}
	ok(must(admin.CreateTopic(ctx, partitions, 1, configs, name)).Err)
	return name
}

func numbers(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return
}

func produce(c *kgo.Client, name string, partition int32, values ...string) error {
	records := []*kgo.Record{}
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: name, Partition: partition, Value: []byte(value)})
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// All records up to the end; control records are counted, not answered.
func read(name string, partition int32) (found []*kgo.Record) {
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {partition: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	defer c.Close()
	end, _ := must(admin.ListEndOffsets(ctx, name)).Lookup(name, partition)
	start, _ := must(admin.ListStartOffsets(ctx, name)).Lookup(name, partition)
	next := start.Offset
	for next < end.Offset {
		fetches := c.PollFetches(ctx)
		ok(fetches.Err0())
		check(ctx.Err() == nil, "read up to ", next, " of ", end.Offset)
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				found = append(found, r)
			}
		})
	}
	return
}

var readCommitted = kgo.FetchIsolationLevel(kgo.ReadCommitted())

// What read_committed sees until nothing more comes.
func committed(name string) []string {
	c := client(readCommitted, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	seen := []string{}
	for {
		short, cancel := context.WithTimeout(ctx, time.Second)
		fetches := c.PollFetches(short)
		cancel()
		if fetches.Empty() {
			return seen
		}
		fetches.EachRecord(func(r *kgo.Record) { seen = append(seen, string(r.Value)) })
	}
}

func values(records []*kgo.Record) (all []string) {
	for _, r := range records {
		all = append(all, string(r.Value))
	}
	return
}

// ---- produce and consume

func codecTest(codec kgo.CompressionCodec) {
	create(topic, 2)
	sent := numbers(0, 2000)
	for n := range sent {
		sent[n] += "-" + strings.Repeat("x", n%90)
	}
	c := client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
	for partition := range int32(2) {
		ok(produce(c, topic, partition, sent...))
	}
	for partition := range int32(2) {
		check(slices.Equal(values(read(topic, partition)), sent), "other records came back")
	}
}

func idempotent() {
	create(topic, 3)
	c := client(kgo.ProducerBatchMaxBytes(4096))
	for partition := range int32(3) {
		ok(produce(c, topic, partition, numbers(0, 2000)...))
	}
	for partition := range int32(3) {
		check(slices.Equal(values(read(topic, partition)), numbers(0, 2000)), "lost, twice or reordered")
	}
}

func headers() {
	create(topic, 1)
	ok(client().ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null"}}},
		&kgo.Record{Topic: topic, Key: []byte("tombstone")}, &kgo.Record{Topic: topic, Key: []byte{}, Value: []byte{}},
		&kgo.Record{Topic: topic, Value: []byte("no key")}).FirstErr())
	found := read(topic, 0)
	h := found[0].Headers
	check(len(h) == 4 && string(h[0].Value) == "1" && string(h[1].Value) == "2" && h[2].Value != nil && h[3].Value == nil, h)
	check(string(found[1].Key) == "tombstone" && found[1].Value == nil, "tombstone")
	check(found[2].Key != nil && len(found[2].Key) == 0 && found[2].Value != nil && len(found[2].Value) == 0, "empty")
	check(found[3].Key == nil, "no key")
}

func largeMessage() {
	create(topic, 1, "max.message.bytes", "8000000")
	body := make([]byte, 5_000_000)
	must(rand.Read(body))
	ok(client(kgo.ProducerBatchMaxBytes(8_000_000), kgo.ProducerBatchCompression(kgo.NoCompression())).ProduceSync(ctx,
		&kgo.Record{Topic: topic, Value: body}).FirstErr())
	ok(produce(client(), topic, 0, "small"))
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxPartitionBytes(100_000), kgo.FetchMaxBytes(1_000_000))
	found := c.PollFetches(ctx).Records()
	check(bytes.Equal(found[0].Value, body), "another record came back")
}

func maxMessageBytes() {
	create(topic, 1, "max.message.bytes", "10000")
	body := make([]byte, 50_000)
	must(rand.Read(body))
	refused(client().ProduceSync(ctx, &kgo.Record{Topic: topic, Value: body}).FirstErr(), kerr.MessageTooLarge)
	ok(produce(client(), topic, 0, "small"))
	check(slices.Equal(values(read(topic, 0)), []string{"small"}))
}

func logAppendTime() {
	create(topic, 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now().Add(-time.Second)
	ok(client().ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("a"), Timestamp: before.Add(-24 * time.Hour)}).FirstErr())
	r := read(topic, 0)[0]
	check(r.Attrs.TimestampType() == 1 && r.Timestamp.After(before), r.Attrs.TimestampType(), r.Timestamp)
}

func seekByTime() {
	create(topic, 1)
	start, c := time.Now().Add(-time.Hour).Truncate(time.Second), client()
	for n := range 100 {
		c.Produce(ctx, &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: start.Add(time.Duration(n) * time.Second)}, nil)
		if n%10 == 9 {
			ok(c.Flush(ctx))
		}
	}
	for at, expected := range map[int64]int64{-5: 0, 49_500: 50, 50_000: 50, 99_001: 100} {
		found, _ := must(admin.ListOffsetsAfterMilli(ctx, start.UnixMilli()+at, topic)).Lookup(topic, 0)
		check(found.Offset == expected, "at ", at, " expected ", expected, " found ", found.Offset)
	}
	found, _ := must(admin.ListMaxTimestampOffsets(ctx, topic)).Lookup(topic, 0)
	check(found.Offset == 99, "max timestamp: ", found)
}

func compaction() {
	create(topic, 1, "cleanup.policy", "compact", "segment.ms", "500", "min.cleanable.dirty.ratio", "0.001", "max.compaction.lag.ms", "1000")
	c := client()
	for round := range 5 {
		for key := range 20 {
			c.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(key)), Value: []byte(fmt.Sprint(key, "-", round))}, nil)
		}
		ok(c.Flush(ctx))
	}
	count := 0
	deadline := time.Now().Add(80 * time.Second)
	for count == 0 || count > 20 {
		check(time.Now().Before(deadline), count, " records left")
		time.Sleep(600 * time.Millisecond)
		ok(c.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte("tick"), Value: []byte("tick")}).FirstErr())
		latest := map[string]string{}
		count = 0
		for _, r := range read(topic, 0) {
			if string(r.Key) != "tick" {
				latest[string(r.Key)] = string(r.Value)
				count++
			}
		}
		for key := range 20 {
			check(latest[strconv.Itoa(key)] == fmt.Sprint(key, "-", 4), "lost a latest value: ", latest)
		}
	}
	refused(produce(c, topic, 0, "no key"), kerr.InvalidRecord)
}

// ---- groups

type member struct {
	*kgo.Client
	lock       sync.Mutex
	seen       map[string]bool
	assigned   map[int32]bool
	rebalances int
	revoked    [][]int32
	err        error
	done       chan struct{}
}

func join(options ...kgo.Opt) *member {
	m := &member{seen: map[string]bool{}, assigned: map[int32]bool{}, done: make(chan struct{})}
	change := func(add bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(ctx context.Context, c *kgo.Client, parts map[string][]int32) {
			m.lock.Lock()
			defer m.lock.Unlock()
			if add {
				m.rebalances++
			} else if len(parts[topic]) > 0 {
				m.revoked = append(m.revoked, parts[topic])
			}
			for _, p := range parts[topic] {
				if add {
					m.assigned[p] = true
				} else {
					delete(m.assigned, p)
				}
			}
		}
	}
	m.Client = client(append([]kgo.Opt{kgo.ConsumerGroup(topic + "-g"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(200 * time.Millisecond), kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)), kgo.HeartbeatInterval(500 * time.Millisecond)}, options...)...)
	go func() {
		defer close(m.done)
		for {
			fetches := m.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			m.lock.Lock()
			fetches.EachError(func(_ string, _ int32, err error) { m.err = err })
			fetches.EachRecord(func(r *kgo.Record) { m.seen[fmt.Sprint(r.Partition, "@", r.Offset)] = true })
			m.lock.Unlock()
		}
	}()
	return m
}

func (m *member) end() { m.Close(); <-m.done }

func (m *member) has() (parts []int32) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for p := range m.assigned {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	return
}

func balanced(members ...*member) func() bool {
	return func() bool {
		all := []int32{}
		for _, m := range members {
			has := m.has()
			if len(has) != 4/len(members) {
				return false
			}
			all = append(all, has...)
		}
		slices.Sort(all)
		return slices.Equal(all, []int32{0, 1, 2, 3})
	}
}

func assignments(members ...*member) func() any {
	return func() any {
		all := ""
		for _, m := range members {
			all += fmt.Sprint(m.has(), m.err, " ")
		}
		return all
	}
}

func everyoneSees(round int, members ...*member) {
	for partition := range int32(4) {
		ok(produce(client(), topic, partition, "x"))
	}
	count := func() int {
		all := map[string]bool{}
		for _, m := range members {
			m.lock.Lock()
			for at := range m.seen {
				all[at] = true
			}
			m.lock.Unlock()
		}
		return len(all)
	}
	until(func() bool { return count() == 4*round }, func() any { return count() })
}

func rebalance(options ...kgo.Opt) {
	create(topic, 4)
	a := join(options...)
	until(balanced(a), assignments(a))
	everyoneSees(1, a)
	b := join(options...)
	until(balanced(a, b), assignments(a, b))
	everyoneSees(2, a, b)
	b.end()
	until(balanced(a), assignments(a))
	everyoneSees(3, a, b)
	a.end()
}

// KIP-848. A client that is told that it is not served falls back to the classic protocol.
func consumerProtocol() {
	rebalance(kgo.WithContext(context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
	types := must(admin.ListGroupsByType(ctx, []string{"consumer"}))
	check(slices.Contains(types.Groups(), topic+"-g"), "not a group of that protocol")
}

func groupStatic() {
	create(topic, 4)
	a, b := join(kgo.InstanceID("a")), join(kgo.InstanceID("b"))
	until(balanced(a, b), assignments(a, b))
	had, rebalances := a.has(), b.rebalances
	a.end()
	again := join(kgo.InstanceID("a"))
	until(func() bool { return slices.Equal(again.has(), had) }, assignments(again, b))
	check(b.rebalances == rebalances, "a static member's restart rebalanced the group")
	left := must(admin.LeaveGroup(ctx, kadm.LeaveGroup(topic+"-g").InstanceIDs("a")))
	ok(left.Error())
}

func offsetsBefore() {
	create(topic, 2)
	ok(produce(client(), topic, 1, numbers(0, 100)...))
	c := client(kgo.ConsumerGroup(topic+"-g"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	c.PollRecords(ctx, 40)
	ok(c.CommitRecords(ctx, &kgo.Record{Topic: topic, Partition: 1, Offset: 39}))
	c.Close()
}

func offsetsAfter() {
	found := must(admin.FetchOffsets(ctx, topic+"-g"))
	one, there := found.Lookup(topic, 1)
	check(there && one.At == 40, "committed: ", one)
	c := client(kgo.ConsumerGroup(topic+"-g"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := []string{}
	for len(seen) < 60 && ctx.Err() == nil {
		seen = append(seen, values(c.PollFetches(ctx).Records())...)
	}
	check(slices.Equal(seen, numbers(40, 100)), "resumed at ", seen)
}

// ---- transactions

func transactional(options ...kgo.Opt) *kgo.Client {
	return client(append(options, kgo.TransactionalID(topic+"-t"))...)
}

func transactions() {
	create(topic, 1)
	c, expected := transactional(), []string{}
	for _, outcome := range []string{"commit", "abort", "commit"} {
		ok(c.BeginTransaction())
		sent := []string{}
		for n := range 10 {
			sent = append(sent, fmt.Sprint(outcome, n))
		}
		ok(produce(c, topic, 0, sent...))
		ok(c.EndTransaction(ctx, outcome == "commit"))
		if outcome == "commit" {
			expected = append(expected, sent...)
		}
	}
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "open"))
	ok(produce(client(), topic, 0, "behind it"))
	check(slices.Equal(committed(topic), expected), "read_committed: ", committed(topic))
	check(len(read(topic, 0)) == 32, "read_uncommitted")
	stable, _ := must(admin.ListCommittedOffsets(ctx, topic)).Lookup(topic, 0)
	check(stable.Offset == 33, "last stable offset ", stable.Offset)
	ok(c.EndTransaction(ctx, kgo.TryCommit))
	expected = append(expected, "open", "behind it")
	until(func() bool { return slices.Equal(committed(topic), expected) }, func() any { return committed(topic) })
}

func txnFencing() {
	create(topic, 1)
	old := transactional()
	ok(old.BeginTransaction())
	ok(produce(old, topic, 0, "old"))
	fresh := transactional()
	ok(fresh.BeginTransaction())
	ok(produce(fresh, topic, 0, "new"))
	err := old.EndTransaction(ctx, kgo.TryCommit)
	check(err != nil, "a fenced producer committed")
	ok(fresh.EndTransaction(ctx, kgo.TryCommit))
	until(func() bool { return slices.Equal(committed(topic), []string{"new"}) }, func() any { return committed(topic) })
}

func txnTimeout() {
	create(topic, 1)
	c := transactional(kgo.TransactionTimeout(2 * time.Second))
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "left open"))
	ok(produce(client(), topic, 0, "behind it"))
	until(func() bool { return slices.Equal(committed(topic), []string{"behind it"}) }, func() any { return committed(topic) })
	check(c.EndTransaction(ctx, kgo.TryCommit) != nil, "committed after its timeout")
}

func txnOffsets() {
	source, target := create(topic+"-in", 1), create(topic+"-out", 1)
	ok(produce(client(), source, 0, numbers(0, 100)...))
	s := must(kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(topic+"-t"), kgo.ConsumerGroup(topic+"-g"),
		kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), readCommitted, kgo.RequireStableFetchOffsets()))
	committedAt := func() int64 {
		one, _ := must(admin.FetchOffsets(ctx, topic+"-g")).Lookup(source, 0)
		return one.At
	}
	for step, done := 0, 0; done < 100; step++ {
		fetches := s.PollRecords(ctx, 50)
		ok(fetches.Err0())
		ok(s.Begin())
		for _, r := range fetches.Records() {
			s.Produce(ctx, &kgo.Record{Topic: target, Value: append([]byte("out-"), r.Value...)}, nil)
		}
		ended, err := s.End(ctx, kgo.TransactionEndTry(step > 0))
		ok(err)
		check(ended == (step > 0), "step ", step, " ended ", ended)
		if step > 0 {
			done += len(fetches.Records())
		}
		until(func() bool { return committedAt() == int64(done) }, func() any { return committedAt() })
	}
	expected := numbers(0, 100)
	for n := range expected {
		expected[n] = "out-" + expected[n]
	}
	check(slices.Equal(committed(target), expected), committed(target))
	s.Close()
}

func txnBefore() {
	create(topic, 1)
	c := transactional()
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "committed"))
	ok(c.EndTransaction(ctx, kgo.TryCommit))
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "open when the broker was killed"))
}

func txnAfter() {
	c := transactional()
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "after"))
	ok(c.EndTransaction(ctx, kgo.TryCommit))
	until(func() bool { return slices.Equal(committed(topic), []string{"committed", "after"}) }, func() any { return committed(topic) })
}

// ---- administration

func adminTopics() {
	create(topic, 3)
	refused(must(admin.CreateTopics(ctx, 1, 1, nil, topic))[topic].Err, kerr.TopicAlreadyExists)
	refused(must(admin.CreateTopics(ctx, 1, 1, nil, "bad name"))["bad name"].Err, kerr.InvalidTopicException)
	check(len(must(admin.ListTopics(ctx, topic))[topic].Partitions) == 3, "partitions")
	check(must(admin.BrokerMetadata(ctx)).Cluster != "", "cluster id")
	ok(must(admin.DeleteTopics(ctx, topic))[topic].Err)
	until(func() bool { return !must(admin.ListTopics(ctx)).Has(topic) }, func() any { return "still listed" })
	refused(must(admin.DeleteTopics(ctx, topic))[topic].Err, kerr.UnknownTopicOrPartition)
}

func adminPartitions() {
	create(topic, 1)
	c := client(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	a, stop, sent := join(), make(chan struct{}), make(chan map[string]bool)
	go func() {
		places, lock := map[string]bool{}, sync.Mutex{}
		for n := 0; ; n++ {
			select {
			case <-stop:
				ok(c.Flush(ctx))
				sent <- places
				return
			case <-time.After(5 * time.Millisecond):
				c.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(n)), Value: []byte("x")}, func(r *kgo.Record, err error) {
					ok(err)
					lock.Lock()
					places[fmt.Sprint(r.Partition, "@", r.Offset)] = true
					lock.Unlock()
				})
			}
		}
	}()
	time.Sleep(time.Second)
	ok(must(admin.UpdatePartitions(ctx, 4, topic))[topic].Err)
	until(func() bool {
		a.lock.Lock()
		defer a.lock.Unlock()
		parts := map[byte]bool{}
		for at := range a.seen {
			parts[at[0]] = true
		}
		return len(parts) == 4
	}, func() any { return a.has() })
	close(stop)
	places := <-sent
	until(func() bool {
		a.lock.Lock()
		defer a.lock.Unlock()
		return len(a.seen) == len(places)
	}, func() any { return fmt.Sprint(len(a.seen), " of ", len(places)) })
	a.end()
	refused(must(admin.UpdatePartitions(ctx, 2, topic))[topic].Err, kerr.InvalidPartitions)
}

func config(name string) string {
	described := must(must(admin.DescribeTopicConfigs(ctx, topic)).On(topic, nil))
	for _, each := range described.Configs {
		if each.Key == name {
			return each.MaybeValue()
		}
	}
	return "not described"
}

func adminConfigs() {
	create(topic, 1, "retention.ms", "123456")
	check(config("retention.ms") == "123456" && config("cleanup.policy") == "delete", config("retention.ms"))
	text := func(s string) *string { return &s }
	ok(must(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: text("654321")},
		{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: text("compact")}}, topic))[0].Err)
	until(func() bool {
		return config("retention.ms") == "654321" && strings.Contains(config("cleanup.policy"), ",")
	}, func() any { return config("cleanup.policy") })
	ok(must(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}}, topic))[0].Err)
	until(func() bool { return config("retention.ms") == "604800000" }, func() any { return config("retention.ms") })
	ok(must(admin.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: text("5000")}}, topic))[0].Err)
	until(func() bool { return config("max.message.bytes") == "5000" && config("cleanup.policy") == "delete" }, func() any { return config("cleanup.policy") })
	refused(must(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: text("soon")}}, topic))[0].Err, kerr.InvalidConfig)
}

func deleteRecords() {
	create(topic, 1)
	ok(produce(client(), topic, 0, numbers(0, 100)...))
	remove := func(at int64) kadm.DeleteRecordsResponse {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, at, -1)
		one, _ := must(admin.DeleteRecords(ctx, offsets)).Lookup(topic, 0)
		return one
	}
	check(remove(60).LowWatermark == 60, "low watermark")
	check(slices.Equal(values(read(topic, 0)), numbers(60, 100)), "reads other records")
	refused(remove(101).Err, kerr.OffsetOutOfRange)
	check(remove(-1).LowWatermark == 100, "all are deleted")
}

func adminGroups() {
	create(topic, 4)
	group, a := topic+"-g", join()
	until(balanced(a), assignments(a))
	everyoneSees(1, a)
	listed := must(admin.ListGroups(ctx))
	check(slices.Contains(listed.Groups(), group), "not listed")
	described := must(admin.DescribeGroups(ctx, group))[group]
	check(described.State == "Stable" && len(described.Members) == 1, described.State)
	at := func(partition int32) int64 {
		one, there := must(admin.FetchOffsets(ctx, group)).Lookup(topic, partition)
		if !there {
			return -1
		}
		return one.At
	}
	until(func() bool { return at(0) == 1 && at(3) == 1 }, func() any { return at(0) })
	refused(must(admin.DeleteGroups(ctx, group))[group].Err, kerr.NonEmptyGroup)
	a.end()
	until(func() bool { return must(admin.DescribeGroups(ctx, group))[group].State == "Empty" }, func() any { return "not empty" })
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 0, -1)
	ok(admin.CommitAllOffsets(ctx, group, offsets))
	check(at(0) == 0 && at(1) == 1, "after the reset")
	lag := must(admin.Lag(ctx, group))[group]
	check(lag.Lag.Total() == 1, "lag ", lag.Lag.Total())
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	must(admin.DeleteOffsets(ctx, group, set))
	check(at(0) == -1, "after deleting one")
	ok(must(admin.DeleteGroups(ctx, group))[group].Err)
	check(!slices.Contains(must(admin.ListGroups(ctx)).Groups(), group), "still listed")
}

func adminLogDirs() {
	create(topic, 2)
	body := make([]byte, 100_000)
	must(rand.Read(body))
	ok(client().ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: 1, Value: body}).FirstErr())
	sizes := func() map[int32]int64 {
		found := map[int32]int64{}
		must(admin.DescribeAllLogDirs(ctx, nil)).Each(func(dir kadm.DescribedLogDir) {
			dir.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				if p.Topic == topic {
					found[p.Partition] = p.Size
				}
			})
		})
		return found
	}
	until(func() bool { s := sizes(); return len(s) == 2 && s[0] == 0 && s[1] >= 100_000 }, func() any { return sizes() })
}

func adminTransactions() {
	create(topic, 1)
	c := transactional()
	ok(c.BeginTransaction())
	ok(produce(c, topic, 0, "x"))
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	found := must(admin.DescribeProducers(ctx, set)).SortedProducers()
	check(len(found) == 1 && found[0].CurrentTxnStartOffset == 0, found)
	listed := must(admin.ListTransactions(ctx, nil, []string{"Ongoing"}))
	check(listed[topic+"-t"].ProducerID == found[0].ProducerID, listed)
	one := must(admin.DescribeTransactions(ctx, topic+"-t"))[topic+"-t"]
	check(one.State == "Ongoing" && one.Topics.Lookup(topic, 0), one)
	ok(c.EndTransaction(ctx, kgo.TryCommit))
}
