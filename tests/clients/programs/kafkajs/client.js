// KafkaJS against a broker: `node client.js FEATURE BOOTSTRAP`, status 0 if the feature holds.
'use strict'

const assert = require('assert/strict')
const crypto = require('crypto')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const [feature, bootstrap] = process.argv.slice(2)
const topic = 'kafkajs-' + feature.replace(/-(before|after)$/, '')
const kafka = new Kafka({ clientId: 'test', brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 8, initialRetryTime: 100 } })
const admin = kafka.admin()
const LIMIT = 30000

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(holds, what) {
  const deadline = Date.now() + LIMIT
  while (!(await holds())) {
    assert(Date.now() < deadline, 'not in time: ' + JSON.stringify(await what()))
    await sleep(50)
  }
}

async function create(name = topic, numPartitions = 1, config = {}) {
  const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value: String(value) }))
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: name, numPartitions, configEntries }] })
  return name
}

async function producer(options = {}) {
  const p = kafka.producer({ allowAutoTopicCreation: false, ...options })
  await p.connect()
  return p
}

const records = (values, partition = 0) => values.map((value) => ({ partition, value: String(value) }))
const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => String(from + n))

// Reads with a group of its own until `done(seen)` holds.
async function consume(done, { name = topic, group = 'read-' + crypto.randomUUID(), readUncommitted = true, ...options } = {}) {
  const c = kafka.consumer({ groupId: `${topic}-${group}`, readUncommitted, sessionTimeout: 10000, heartbeatInterval: 300, ...options })
  const seen = []
  await c.connect()
  await c.subscribe({ topic: name, fromBeginning: true })
  await c.run({ autoCommitThreshold: 1, eachMessage: async ({ partition, message }) => { seen.push({ partition, ...message }) } })
  try {
    await until(() => done(seen), () => seen.slice(-5).map((m) => [m.partition, m.offset, String(m.value)]))
  } finally {
    await c.disconnect()
  }
  return seen
}

const values = (seen) => seen.map((m) => m.value && String(m.value))

async function committed(expected, name = topic) {
  const seen = await consume((all) => all.length >= expected.length, { name, readUncommitted: false })
  assert.deepEqual(values(seen), expected)
}

async function codec(compression) {
  await create()
  const sent = numbers(0, 1000).map((n) => n + '-' + 'x'.repeat(n % 90))
  await (await producer()).send({ topic, compression, acks: -1, messages: records(sent) })
  assert.deepEqual(values(await consume((seen) => seen.length >= 1000)), sent)
}

async function member(options = {}) {
  const c = kafka.consumer({ groupId: topic + '-g', sessionTimeout: 10000, rebalanceTimeout: 10000, heartbeatInterval: 200, metadataMaxAge: 500, ...options })
  const self = { c, seen: new Set(), assigned: [] }
  c.on(c.events.GROUP_JOIN, ({ payload }) => { self.assigned = payload.memberAssignment[topic] || [] })
  await c.connect()
  await c.subscribe({ topic, fromBeginning: true })
  await c.run({ autoCommitInterval: 100, eachMessage: async ({ partition, message }) => { self.seen.add(partition + '@' + message.offset) } })
  return self
}

const balanced = (count, ...members) => {
  const all = members.flatMap((m) => m.assigned)
  return new Set(all).size === count && all.length === count && members.every((m) => m.assigned.length === count / members.length)
}

const tests = {
  'codec-none': () => codec(CompressionTypes.None),
  'codec-gzip': () => codec(CompressionTypes.GZIP),
  'codec-snappy': () => codec(CompressionTypes.Snappy),

  async idempotent() {
    await create()
    const p = await producer({ idempotent: true, maxInFlightRequests: 1 })
    for (let at = 0; at < 1000; at += 100) await p.send({ topic, messages: records(numbers(at, at + 100)) })
    assert.deepEqual(values(await consume((seen) => seen.length >= 1000)), numbers(0, 1000))
  },

  async headers() {
    await create()
    await (await producer()).send({ topic, messages: [
      { key: 'k', value: 'v', headers: { a: ['1', '2'], empty: '' } }, { key: 'tombstone', value: null }, { key: '', value: '' }, { value: 'no key' }] })
    const [first, second, third, fourth] = await consume((seen) => seen.length >= 4)
    assert.deepEqual(first.headers.a.map(String), ['1', '2'])
    assert.equal(String(first.headers.empty), '')
    assert.equal(second.value, null)
    assert.equal(third.key.length + third.value.length, 0)
    assert.equal(fourth.key, null)
  },

  async 'large-message'() {
    await create(topic, 1, { 'max.message.bytes': 8000000 })
    const value = crypto.randomBytes(5000000)
    await (await producer()).send({ topic, messages: [{ value }] })
    const [seen] = await consume((all) => all.length >= 1, { maxBytesPerPartition: 100000, maxBytes: 1000000 })
    assert(value.equals(seen.value))
  },

  async 'max-message-bytes'() {
    await create(topic, 1, { 'max.message.bytes': 10000 })
    await assert.rejects((await producer()).send({ topic, messages: [{ value: crypto.randomBytes(50000) }] }), (error) => /larger|MESSAGE_TOO_LARGE/.test(error.type + error.message))
  },

  async 'log-append-time'() {
    await create(topic, 1, { 'message.timestamp.type': 'LogAppendTime' })
    const before = Date.now() - 1000
    await (await producer()).send({ topic, messages: [{ value: 'x', timestamp: String(before - 86400000) }] })
    const [seen] = await consume((all) => all.length >= 1)
    assert(Number(seen.timestamp) >= before, seen.timestamp)
  },

  async 'seek-by-time'() {
    await create()
    const p = await producer()
    const start = Date.now() - 3600000
    for (let n = 0; n < 10; n++) await p.send({ topic, messages: [{ value: String(n), timestamp: String(start + n * 1000) }] })
    for (const [at, expected] of [[-5, '0'], [4500, '5'], [5000, '5'], [99000, '10']]) {
      const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, start + at)
      assert.equal(found.offset, expected, `at ${at}`)
    }
  },

  async 'group-rebalance'() {
    await create(topic, 4)
    const p = await producer()
    const send = () => Promise.all([0, 1, 2, 3].map((partition) => p.send({ topic, messages: records(['x'], partition) })))
    const a = await member()
    await until(() => balanced(4, a), () => a.assigned)
    await send()
    await until(() => a.seen.size === 4, () => [...a.seen])
    const b = await member()
    await until(() => balanced(4, a, b), () => [a.assigned, b.assigned])
    await send()
    await until(() => new Set([...a.seen, ...b.seen]).size === 8, () => [...a.seen, ...b.seen])
    await b.c.disconnect()
    await until(() => balanced(4, a), () => a.assigned)
    await send()
    await until(() => new Set([...a.seen, ...b.seen]).size === 12, () => [...a.seen, ...b.seen])
    await a.c.disconnect()
  },

  async 'offsets-resume-before'() {
    await create()
    await (await producer()).send({ topic, messages: records(numbers(0, 100)) })
    await admin.setOffsets({ groupId: topic + '-g', topic, partitions: [{ partition: 0, offset: '40', metadata: 'half way' }] })
  },

  async 'offsets-resume-after'() {
    const [found] = await admin.fetchOffsets({ groupId: topic + '-g', topics: [topic] })
    assert.equal(found.partitions[0].offset, '40')
    assert.deepEqual(values(await consume((seen) => seen.length >= 60, { group: 'g' })), numbers(40, 100))
  },

  async transactions() {
    await create()
    const p = await producer({ transactionalId: topic, maxInFlightRequests: 1, idempotent: true })
    for (const outcome of ['commit', 'abort', 'commit']) {
      const t = await p.transaction()
      await t.send({ topic, messages: records([outcome + 1, outcome + 2]) })
      await t[outcome]()
    }
    await committed(['commit1', 'commit2', 'commit1', 'commit2'])
    await consume((seen) => seen.length >= 6)
  },

  async 'txn-fencing'() {
    await create()
    const options = { transactionalId: topic, maxInFlightRequests: 1, idempotent: true, retry: { retries: 2 } }
    const old = await (await producer(options)).transaction()
    await old.send({ topic, messages: records(['old']) })
    const fresh = await (await producer(options)).transaction()
    await fresh.send({ topic, messages: records(['new']) })
    await assert.rejects(old.commit())
    await fresh.commit()
    await committed(['new'])
  },

  async 'txn-offsets'() {
    const [source, target, groupId] = [await create(topic + '-in'), await create(topic + '-out'), topic + '-g']
    await (await producer()).send({ topic: source, messages: records(numbers(0, 100)) })
    const p = await producer({ transactionalId: topic, maxInFlightRequests: 1, idempotent: true })
    const offset = async () => (await admin.fetchOffsets({ groupId, topics: [source] }))[0].partitions[0].offset
    for (const outcome of ['abort', 'commit']) {
      const t = await p.transaction()
      await t.send({ topic: target, messages: records(numbers(0, 50).map((n) => 'out-' + n)) })
      await t.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions: [{ partition: 0, offset: '50' }] }] })
      await t[outcome]()
      const expected = outcome === 'commit' ? '50' : '-1'
      await until(async () => (await offset()) === expected, offset)
    }
    await committed(numbers(0, 50).map((n) => 'out-' + n), target)
  },

  async 'admin-topics'() {
    await create(topic, 3)
    assert.equal(await admin.createTopics({ topics: [{ topic }] }), false)
    assert((await admin.listTopics()).includes(topic))
    const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [topic] })
    assert.equal(described.partitions.length, 3)
    const cluster = await admin.describeCluster()
    assert(cluster.brokers.length === 1 && cluster.clusterId)
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic), () => 'still listed')
  },

  async 'admin-partitions'() {
    await create()
    const p = await producer({ metadataMaxAge: 500 })
    const a = await member()
    const sent = new Set()
    let stop = false
    const work = (async () => {
      for (let n = 0; !stop; n++) {
        for (const said of await p.send({ topic, messages: [{ key: String(n), value: 'x' }] })) sent.add(said.partition + '@' + said.baseOffset)
        await sleep(5)
      }
    })()
    await until(() => a.seen.size > 20, () => a.seen.size)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    await until(() => new Set([...a.seen].map((at) => at[0])).size === 4, () => a.assigned)
    stop = true
    await work
    await until(() => [...sent].every((at) => a.seen.has(at)), () => [a.seen.size, sent.size])
    await a.c.disconnect()
  },

  async 'admin-configs'() {
    await create(topic, 1, { 'retention.ms': 123456 })
    const config = async (name) => {
      const { resources: [found] } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
      return found.configEntries.find((entry) => entry.configName === name).configValue
    }
    assert.equal(await config('retention.ms'), '123456')
    assert.equal(await config('cleanup.policy'), 'delete')
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }] })
    // AlterConfigs replaces: what it does not name goes back to its default.
    await until(async () => (await config('cleanup.policy')) === 'compact' && (await config('retention.ms')) === '604800000', () => config('retention.ms'))
  },

  async 'delete-records'() {
    await create()
    await (await producer()).send({ topic, messages: records(numbers(0, 100)) })
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '60' }] })
    const [found] = await admin.fetchTopicOffsets(topic)
    assert.equal(found.low, '60')
    assert.equal((await consume((seen) => seen.length >= 40))[0].offset, '60')
  },

  async 'admin-groups'() {
    await create()
    await (await producer()).send({ topic, messages: records(['a', 'b', 'c']) })
    const groupId = topic + '-g'
    const a = await member()
    await until(() => a.seen.size === 3, () => a.seen.size)
    assert((await admin.listGroups()).groups.some((group) => group.groupId === groupId))
    const { groups: [described] } = await admin.describeGroups([groupId])
    assert(described.state === 'Stable' && described.members.length === 1, described.state)
    const offset = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset
    await until(async () => (await offset()) === '3', offset)
    await a.c.disconnect()
    await admin.resetOffsets({ groupId, topic, earliest: true })
    await until(async () => (await offset()) === '0' || (await offset()) === '-2', offset)
    await admin.deleteGroups([groupId])
    assert(!(await admin.listGroups()).groups.some((group) => group.groupId === groupId), 'still listed')
  },
}

async function main() {
  await admin.connect()
  await tests[feature]()
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
