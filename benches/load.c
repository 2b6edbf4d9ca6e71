/* A load client on librdkafka, for benches/brokers.
 *
 *   load create  BOOTSTRAP TOPIC PARTITIONS
 *   load delete  BOOTSTRAP TOPIC
 *   load produce BOOTSTRAP TOPIC PARTITIONS RECORDS BYTES CODEC RATE   RATE records/s, 0 = as fast as it goes
 *   load consume BOOTSTRAP TOPIC PARTITIONS RECORDS
 *   load first   BOOTSTRAP TOPIC                                       prints "ready", then "acked"
 *
 * produce and consume print one line of JSON. Records go round the partitions in turn; acks=all.
 */
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 120000
#define PAYLOADS 4096

static int64_t now_us(void) {
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void die(const char *what, const char *why) {
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
	char error[512];
	if (rd_kafka_conf_set(conf, key, value, error, sizeof error) != RD_KAFKA_CONF_OK)
		die(key, error);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf, const char *bootstrap) {
	char error[512];
	set(conf, "bootstrap.servers", bootstrap);
	rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
	if (!rk)
		die("client", error);
	return rk;
}

/* ---- topics */

static void administer(const char *bootstrap, const char *topic, int partitions) {
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), bootstrap);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	char error[512];
	if (partitions > 0) {
		rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic, partitions, 1, error, sizeof error);
		if (!made)
			die(topic, error);
		rd_kafka_CreateTopics(rk, &made, 1, NULL, queue);
	} else {
		rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(topic);
		rd_kafka_DeleteTopics(rk, &gone, 1, NULL, queue);
	}
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
	if (!event || rd_kafka_event_error(event))
		die(topic, event ? rd_kafka_event_error_string(event) : "no answer");
	size_t count;
	const rd_kafka_topic_result_t **results = partitions > 0
		? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
		: rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
	if (count != 1 || rd_kafka_topic_result_error(results[0]))
		die(topic, rd_kafka_err2str(rd_kafka_topic_result_error(results[0])));
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

/* ---- produce */

struct delivered {
	int64_t count, failed;
	uint32_t *latency_us; /* NULL: not wanted */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
	struct delivered *delivered = opaque;
	(void)rk;
	if (message->err) {
		if (delivered->failed++ == 0)
			fprintf(stderr, "delivery: %s\n", rd_kafka_err2str(message->err));
		return;
	}
	if (delivered->latency_us)
		delivered->latency_us[delivered->count] = (uint32_t)(now_us() - (int64_t)(intptr_t)message->_private);
	delivered->count++;
}

static int ascending(const void *a, const void *b) {
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return left < right ? -1 : left > right;
}

/* Lines as of a log: random words from a small vocabulary, so that compression has something to do. */
static char *payloads(size_t bytes) {
	char *all = malloc(bytes * PAYLOADS);
	uint64_t state = 88172645463325252ull;
	char words[512][9];
	if (!all)
		die("payloads", "no memory");
	for (int word = 0; word < 512; word++)
		for (int at = 0; at < 8; at++) {
			state ^= state << 13, state ^= state >> 7, state ^= state << 17;
			words[word][at] = at == 7 ? ' ' : (char)('a' + state % 26);
		}
	for (size_t at = 0; at < bytes * PAYLOADS; at++) {
		if (at % 8 == 0)
			state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		all[at] = words[state % 512][at % 8];
	}
	return all;
}

static void produce(const char *bootstrap, const char *topic, int partitions, int64_t records, size_t bytes,
		    const char *codec, int64_t rate) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct delivered delivered = {0};
	if (rate > 0 && !(delivered.latency_us = malloc(sizeof(uint32_t) * (size_t)records)))
		die("latencies", "no memory");
	set(conf, "acks", "all");
	set(conf, "linger.ms", "5");
	set(conf, "compression.codec", codec);
	set(conf, "queue.buffering.max.messages", "2000000");
	set(conf, "queue.buffering.max.kbytes", "262144");
	rd_kafka_conf_set_opaque(conf, &delivered);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf, bootstrap);
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	char *all = payloads(bytes);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t found = rd_kafka_metadata(rk, 0, handle, &metadata, 10000);
	if (found)
		die("metadata", rd_kafka_err2str(found));
	rd_kafka_metadata_destroy(metadata);
	int64_t begun = now_us();
	for (int64_t record = 0; record < records; record++) {
		if (rate > 0)
			for (int64_t due = begun + record * 1000000 / rate, now; (now = now_us()) < due;)
				if (rd_kafka_poll(rk, 0) == 0 && due - now > 200)
					nanosleep(&(struct timespec){0, 100000}, NULL);
		void *sent_at = (void *)(intptr_t)(rate > 0 ? now_us() : 0);
		char *payload = all + bytes * (size_t)(record % PAYLOADS);
		while (rd_kafka_produce(handle, (int32_t)(record % partitions), 0, payload, bytes, NULL, 0, sent_at) == -1) {
			if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
				die("produce", rd_kafka_err2str(rd_kafka_last_error()));
			rd_kafka_poll(rk, 10);
		}
		if (record % 1000 == 0)
			rd_kafka_poll(rk, 0);
	}
	if (rd_kafka_flush(rk, TIMEOUT_MS) || delivered.failed || delivered.count != records)
		die("produce", "not all records were delivered");
	double seconds = (double)(now_us() - begun) / 1e6;
	printf("{\"records\": %lld, \"seconds\": %.4f", (long long)records, seconds);
	if (delivered.latency_us) {
		qsort(delivered.latency_us, (size_t)records, sizeof(uint32_t), ascending);
		printf(", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", delivered.latency_us[records / 2] / 1e3,
		       delivered.latency_us[records * 99 / 100] / 1e3, delivered.latency_us[records - 1] / 1e3);
	}
	printf("}\n");
}

/* ---- consume */

static void consume(const char *bootstrap, const char *topic, int partitions, int64_t records) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "group.id", "bench");
	set(conf, "enable.auto.commit", "false");
	set(conf, "enable.auto.offset.store", "false");
	/* Never full: librdkafka would pause a full second. */
	set(conf, "queued.min.messages", "10000000");
	set(conf, "queued.max.messages.kbytes", "2097151");
	set(conf, "fetch.message.max.bytes", "4194304");
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf, bootstrap);
	rd_kafka_poll_set_consumer(rk);
	rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
	for (int partition = 0; partition < partitions; partition++)
		rd_kafka_topic_partition_list_add(all, topic, partition)->offset = 0;
	rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
	rd_kafka_message_t **batch = malloc(sizeof(void *) * 10000);
	int64_t seen = 0, bytes = 0, begun = now_us(), first = 0;
	rd_kafka_assign(rk, all);
	while (seen < records) {
		ssize_t count = rd_kafka_consume_batch_queue(queue, 10, batch, 10000);
		for (ssize_t at = 0; at < count; at++) {
			if (batch[at]->err && batch[at]->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
				die("consume", rd_kafka_message_errstr(batch[at]));
			if (!batch[at]->err)
				seen++, bytes += (int64_t)batch[at]->len;
			rd_kafka_message_destroy(batch[at]);
		}
		if (seen && !first)
			first = now_us();
		if (now_us() - begun > (int64_t)TIMEOUT_MS * 1000)
			die("consume", "not in time");
	}
	printf("{\"records\": %lld, \"bytes\": %lld, \"seconds\": %.4f, \"first_seconds\": %.4f}\n", (long long)seen,
	       (long long)bytes, (double)(now_us() - begun) / 1e6, (double)(first - begun) / 1e6);
	/* Without leaving the group: the measurement is over. */
	fflush(stdout);
	_Exit(0);
}

/* ---- the first record that a starting broker acknowledges */

static void first(const char *bootstrap, const char *topic) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct delivered delivered = {0};
	set(conf, "reconnect.backoff.ms", "1");
	set(conf, "reconnect.backoff.max.ms", "5");
	set(conf, "retry.backoff.ms", "5");
	set(conf, "topic.metadata.refresh.fast.interval.ms", "5");
	set(conf, "topic.metadata.propagation.max.ms", "120000");
	set(conf, "linger.ms", "0");
	set(conf, "acks", "all");
	set(conf, "log_level", "0");
	rd_kafka_conf_set_opaque(conf, &delivered);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf, bootstrap);
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	printf("ready\n");
	fflush(stdout);
	/* Asked for: by itself librdkafka looks for a produced topic's leader once a second. */
	const struct rd_kafka_metadata *metadata;
	while (rd_kafka_metadata(rk, 0, handle, &metadata, 20) || metadata->topics[0].err)
		;
	rd_kafka_metadata_destroy(metadata);
	if (rd_kafka_produce(handle, 0, 0, "x", 1, NULL, 0, NULL) == -1)
		die("produce", rd_kafka_err2str(rd_kafka_last_error()));
	for (int64_t begun = now_us(); !delivered.count;) {
		rd_kafka_poll(rk, 10);
		if (delivered.failed || now_us() - begun > (int64_t)TIMEOUT_MS * 1000)
			die("first", "not acknowledged");
	}
	printf("acked\n");
	fflush(stdout);
	_Exit(0);
}

int main(int argc, char **argv) {
	if (argc == 5 && !strcmp(argv[1], "create"))
		administer(argv[2], argv[3], atoi(argv[4]));
	else if (argc == 4 && !strcmp(argv[1], "delete"))
		administer(argv[2], argv[3], 0);
	else if (argc == 9 && !strcmp(argv[1], "produce"))
		produce(argv[2], argv[3], atoi(argv[4]), atoll(argv[5]), (size_t)atoll(argv[6]), argv[7], atoll(argv[8]));
	else if (argc == 6 && !strcmp(argv[1], "consume"))
		consume(argv[2], argv[3], atoi(argv[4]), atoll(argv[5]));
	else if (argc == 4 && !strcmp(argv[1], "first"))
		first(argv[2], argv[3]);
	else
		die("load", "see the head of load.c");
	return 0;
}
