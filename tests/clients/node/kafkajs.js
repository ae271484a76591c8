// What kafkajs does: node kafkajs.js BOOTSTRAP [BEGINNING].
const { randomBytes } = require('node:crypto')
const {
  AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel
} = require('kafkajs')
const lz4 = require('lz4-napi')
const snappy = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')
const { PARTITIONS, churn } = require('./churn.js')
const { Report, fails, same, until } = require('./report.js')

const TIME = 1_700_000_000_000 // of the first record; each further one is a second later

// Of the codecs it has gzip only; the others are packages of their own.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrameSync(encoder.buffer),
  decompress: async buffer => lz4.decompressFrameSync(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer))
})
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const kafka = new Kafka({
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  requestTimeout: 60_000,
  retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 }
})
const admin = kafka.admin()

async function create(topic, numPartitions = 1, settings = {}, more = {}) {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
  const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries, ...more }]
  return admin.createTopics({ topics })
}

function sample(i) {
  return {
    key: i % 3 === 0 ? null : `key-${i}`,
    value: i % 51 === 49 ? null : `value-${i}-${'x'.repeat(i % 200)}`,
    partition: 0,
    timestamp: `${TIME + i * 1000}`,
    headers: i % 2 === 0 ? { h: `header-${i}` } : {}
  }
}

const samples = count => Array.from({ length: count }, (_, i) => sample(i))

function compare(records, first = 0) {
  const text = bytes => (bytes === null ? null : `${bytes}`)
  for (const [i, { offset, key, value, timestamp, headers, partition }] of records.entries()) {
    const texts = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, text(v)]))
    const got = { key: text(key), value: text(value), partition, timestamp, headers: texts }
    same({ offset: `${first + i}`, ...sample(first + i) }, { offset, ...got }, `record ${i}`)
  }
}

async function send(topic, messages, { acks = -1, compression, ...settings } = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...settings })
  await producer.connect()
  for (let i = 0; i < messages.length; i += 100) {
    const part = messages.slice(i, i + 100)
    const [answer] = await producer.send({ topic, acks, compression, messages: part })
    if (acks !== 0) same(`${i}`, answer.baseOffset, 'acknowledged offset')
  }
  await producer.disconnect()
}

let readers = 0

// So many records, and the fetches after them show that there are no others. `ready` is called with
// the consumer once it runs.
async function take(topic, count, { ready = () => {}, fromBeginning = true, ...settings } = {}) {
  const groupId = `reader-${readers++}`
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, ...settings })
  const records = []
  let fetches = 0
  consumer.on(consumer.events.FETCH, () => fetches++)
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message, partition }) => { records.push({ ...message, partition }) }
  })
  await ready(consumer, () => fetches)
  const enough = seen => until(`${count} records of ${topic}`, () => records.length >= count &&
    fetches >= seen)
  await enough(0)
  await enough(fetches + 2)
  await consumer.disconnect()
  same(count, records.length, 'number of records')
  return records
}

const seekTo = (topic, offset) => consumer => consumer.seek({ topic, partition: 0, offset })

async function cluster() {
  const { brokers, controller, clusterId } = await admin.describeCluster()
  same([controller], brokers.map(broker => broker.nodeId), 'brokers')
  same(22, clusterId.length, "length of the cluster's id")
}

const partitionsOf = async topic =>
  (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions

async function topics() {
  const listed = async () => (await admin.listTopics()).includes('topics')
  await admin.createTopics({ validateOnly: true, waitForLeaders: false,
    topics: [{ topic: 'topics', numPartitions: 3 }] })
  same(false, await listed(), 'listed after a dry run')
  same(true, await create('topics', 3, { 'retention.ms': '123456' }), 'created')
  const { controller } = await admin.describeCluster()
  const told = (await partitionsOf('topics')).map(p => [p.partitionId, p.leader, p.replicas, p.isr])
  const expected = [0, 1, 2].map(p => [p, controller, [controller], [controller]])
  same(expected, told.sort(), 'partitions, their leaders and replicas')
  same(false, await create('topics'), 'created twice')
  await fails('INVALID_TOPIC_EXCEPTION', 'a name with a slash', () => create('a/b'))
  await fails('INVALID_CONFIG', 'an unknown setting', () => create('w', 1, { 'no.such': '1' }))
  const three = () => create('three', 1, {}, { replicationFactor: 3 })
  await fails('INVALID_REPLICATION_FACTOR', 'three replicas on one node', three)
  await admin.deleteTopics({ topics: ['topics'] })
  same(false, await listed(), 'listed after deletion')
  const impatient = kafka.admin({ retry: { retries: 0 } }) // for it asks again and again
  await impatient.connect()
  await fails('UNKNOWN_TOPIC_OR_PARTITION', 'deleted again', () =>
    impatient.deleteTopics({ topics: ['topics'] }))
  await fails('UNKNOWN_TOPIC_OR_PARTITION', 'described after deletion', () =>
    impatient.fetchTopicMetadata({ topics: ['topics'] }))
  await impatient.disconnect()
}

async function partitions() {
  await create('partitions', 2)
  const increase = count => ({ topicPartitions: [{ topic: 'partitions', count }] })
  await admin.createPartitions(increase(5))
  same(5, (await partitionsOf('partitions')).length, 'partitions')
  await fails('INVALID_PARTITIONS', 'fewer', () => admin.createPartitions(increase(3)))
  await send('partitions', [{ value: 'to the new one', partition: 4 }])
}

async function topicConfigs() {
  await create('configs')
  const resource = { type: ConfigResourceTypes.TOPIC, name: 'configs' }
  const config = async (name, topic = 'configs') => {
    const resources = [{ ...resource, name: topic }]
    const [{ configEntries }] = (await admin.describeConfigs({ resources })).resources
    return configEntries.find(entry => entry.configName === name)
  }
  for (const name of ['cleanup.policy', 'compression.type', 'max.message.bytes']) {
    same(5, (await config(name))?.configSource, `source of ${name}`)
  }
  const alter = configEntries =>
    admin.alterConfigs({ resources: [{ ...resource, configEntries }] })
  await alter([{ name: 'retention.ms', value: '86400000' }])
  const { configValue, configSource } = await config('retention.ms')
  same(['86400000', 1], [configValue, configSource], 'retention.ms and its source')
  await alter([]) // what is not named goes back to its default
  same('604800000', (await config('retention.ms')).configValue, 'retention.ms set back')
  await fails('INVALID_CONFIG', 'a retention that is no number', () =>
    alter([{ name: 'retention.ms', value: 'long' }]))
  await fails('UNKNOWN_TOPIC_OR_PARTITION', 'settings of an unknown topic', () =>
    config('retention.ms', 'nowhere'))
}

async function deleteRecords() {
  const topic = 'delete-records'
  await create(topic)
  await send(topic, samples(100))
  const marks = async () =>
    (await admin.fetchTopicOffsets(topic)).map(({ low, high }) => [low, high])
  same([['0', '100']], await marks(), 'marks before') // it must know the leader before it deletes
  const remove = offset =>
    admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] })
  await remove('42')
  same([['42', '100']], await marks(), 'marks after a deletion up to 42')
  compare(await take(topic, 58), 42)
  await fails('OFFSET_OUT_OF_RANGE', 'beyond the end', () => remove('101'))
  await remove('-1')
  same([['100', '100']], await marks(), 'marks after all was deleted')
}

const describe = async group => {
  const [{ state, members }] = (await admin.describeGroups([group])).groups
  const owned = members.map(({ memberAssignment }) =>
    AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {})
  return { state, members, owned }
}

async function groups() {
  await create('groups')
  await send('groups', samples(10))
  const consumer = kafka.consumer({ groupId: 'listed' })
  await consumer.connect()
  await consumer.subscribe({ topic: 'groups', fromBeginning: true })
  await consumer.run({ eachMessage: async () => {} })
  const { state, members, owned } = await describe('listed')
  same(['Stable', 1], [state, members.length], 'state and members')
  const { clientHost, clientId } = members[0]
  same(['/127.0.0.1', 'kafkajs'], [clientHost, clientId], 'host and client')
  same([{ groups: [0] }], owned, 'assignment')
  const listed = async () => (await admin.listGroups()).groups.some(g => g.groupId === 'listed')
  same(true, await listed(), 'listed')
  const impatient = kafka.admin({ retry: { retries: 0 } })
  await impatient.connect()
  await fails('NON_EMPTY_GROUP', 'deleting a group with a member', () =>
    impatient.deleteGroups(['listed']))
  await impatient.disconnect()
  await consumer.disconnect()
  await admin.deleteGroups(['listed'])
  same(false, await listed(), 'listed after deletion')
}

// Committed offsets by partition, of one topic; -1 where nothing is committed.
async function committed(groupId, topic) {
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return partitions.sort((a, b) => a.partition - b.partition).map(p => Number(p.offset))
}

async function groupOffsets() {
  await create('offsets', 2)
  const alter = partitions =>
    admin.setOffsets({ groupId: 'altered', topic: 'offsets', partitions })
  await alter([{ partition: 0, offset: '7' }, { partition: 1, offset: '9' }])
  same([7, 9], await committed('altered', 'offsets'), 'offsets')
  await alter([{ partition: 0, offset: '3' }])
  same([3, 9], await committed('altered', 'offsets'), 'offsets after one was set back')
  await admin.deleteTopics({ topics: ['offsets'] })
  await until('the offsets of a deleted topic to go', async () =>
    (await admin.fetchOffsets({ groupId: 'altered' })).length === 0)
}

async function produce(codec, acks, idempotent) {
  const topic = `produce-${codec}-${acks}-${idempotent}`
  const count = idempotent ? 3000 : 500
  await create(topic)
  await send(topic, samples(count), { acks, idempotent, compression: CODECS[codec] })
  compare(await take(topic, count))
}

async function seek() {
  await create('seek')
  await send('seek', samples(500))
  const [{ low, high }] = await admin.fetchTopicOffsets('seek')
  same(['0', '500'], [low, high], 'watermarks')
  const at = async time => (await admin.fetchTopicOffsetsByTimestamp('seek', time))[0].offset
  for (const i of [0, 1, 37, 249, 499]) {
    for (const before of [0, 999]) same(`${i}`, await at(TIME + i * 1000 - before), 'by time')
  }
  same('500', await at(TIME + 499_001), 'offset after all times')
  compare(await take('seek', 500))
  compare(await take('seek', 458, { ready: seekTo('seek', '42') }), 42)
  compare(await take('seek', 400, { ready: seekTo('seek', await at(TIME + 99_500)) }), 100)
  const sendOne = async (_, fetches) => {
    await until('the first fetch at the end', () => fetches() > 0)
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: 'seek', messages: [sample(500)] })
    await producer.disconnect()
  }
  compare(await take('seek', 1, { ready: sendOne, fromBeginning: false }), 500)
}

async function autoCreate() {
  await send('made-by-send', samples(1), { allowAutoTopicCreation: true })
  compare(await take('made-by-send', 1))
}

async function large(topic, size, settings) {
  await create(topic, 1, settings)
  const values = [1, 2, 3].map(() => randomBytes(size))
  const producer = kafka.producer()
  await producer.connect()
  for (const value of values) await producer.send({ topic, messages: [{ value, partition: 0 }] })
  await producer.disconnect()
  const records = await take(topic, 3, { maxBytesPerPartition: 12_000_000 })
  records.forEach(({ value }, i) => same(true, values[i].equals(value), `value ${i} is the same`))
}

async function tooLarge() {
  await create('too-large')
  const big = [{ value: Buffer.alloc(2 << 20), partition: 0 }]
  await fails('MESSAGE_TOO_LARGE', '2 MiB', () => send('too-large', big))
  await send('too-large', samples(1))
  compare(await take('too-large', 1))
}

async function wide() {
  await create('wide', 1000)
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  for (let round = 0; round < 3; round++) {
    const message = (_, partition) => ({ value: `${partition}:${round}`, partition })
    await producer.send({ topic: 'wide', messages: Array.from({ length: 1000 }, message) })
  }
  await producer.disconnect()
  const next = Array(1000).fill(0)
  for (const { partition, offset, value } of await take('wide', 3000)) {
    const expected = next[partition]++
    same([`${partition}:${expected}`, `${expected}`], [`${value}`, offset], `in ${partition}`)
  }
  same(Array(1000).fill(3), next, 'records by partition')
  const partitions = next.map((offset, partition) => ({ partition, offset: `${offset}` }))
  await admin.setOffsets({ groupId: 'wide', topic: 'wide', partitions })
  same(next, await committed('wide', 'wide'), 'committed offsets')
}

async function groupOf5() {
  await create('churn', PARTITIONS)
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  await churn(kafka, 'churn', {
    send: messages => producer.send({ topic: 'churn', messages }),
    committed: () => committed('churn', 'churn'),
    settled: async count => {
      const { state, members } = await describe('churn')
      return state === 'Stable' && members.length === count
    }
  })
  await producer.disconnect()
}

async function commitMetadata() {
  await create('metadata', 2)
  await send('metadata', samples(5).map(record => ({ ...record, partition: 1 })))
  const offset = { topic: 'metadata', partition: 1, offset: '5', metadata: 'a note' }
  const commit = consumer => consumer.commitOffsets([offset])
  await take('metadata', 0, { groupId: 'metadata', ready: commit, fromBeginning: false })
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'metadata' })
  same([{ partition: 1, offset: '5', metadata: 'a note' }], partitions, 'committed')
}

async function main() {
  const report = new Report(process.argv[3])
  await zstd.init()
  await admin.connect()
  await report.check('cluster', cluster)
  await report.check('topics', topics)
  await report.check('partitions', partitions)
  await report.check('topic configs', topicConfigs)
  await report.check('delete records', deleteRecords)
  await report.check('groups', groups)
  await report.check('group offsets', groupOffsets)
  for (const codec of Object.keys(CODECS)) {
    for (const [name, acks] of [['0', 0], ['1', 1], ['all', -1]]) {
      await report.check(`produce ${codec} acks=${name}`, () => produce(codec, acks, false))
    }
    await report.check(`idempotent ${codec}`, () => produce(codec, -1, true))
  }
  await report.check('seek', seek)
  await report.check('auto-create', autoCreate)
  await report.check('large 900 KiB', () => large('large-900k', 900 << 10, {}))
  await report.check('large 10 MiB', () =>
    large('large-10m', 10 << 20, { 'max.message.bytes': `${11 << 20}` }))
  await report.check('too large', tooLarge)
  await report.check('1000 partitions', wide)
  await report.check('group of 5', groupOf5)
  await report.check('commit metadata', commitMetadata)
  process.exit(report.failed ? 1 : 0)
}

main()
