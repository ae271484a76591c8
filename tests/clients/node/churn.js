// A group whose members come and go under load: every offset must lie in exactly one committed
// range, and no committed offset may ever decrease.
const { pause, same, until } = require('./report.js')

const PARTITIONS = 8

class Ranges {
  constructor() {
    this.committed = Array.from({ length: PARTITIONS }, () => [])
  }

  cover(partition, end) {
    let next = 0
    for (const range of this.committed[partition].sort((a, b) => a.from - b.from)) {
      const what = range.from < next ? 'committed twice' : 'never committed'
      const at = `partition ${partition} at ${Math.min(range.from, next)} was ${what}`
      same(next, range.from, `${at}: the range [${range.from}, ${range.to}) of ${range.name}`)
      next = range.to
    }
    same(end, next, `committed end of partition ${partition}`)
  }

  members() {
    return new Set(this.committed.flat().map(range => range.name)).size
  }
}

class Member {
  constructor(kafka, group, name, ranges) {
    Object.assign(this, { group, name, ranges, owned: [], failure: null })
    this.consumer = kafka.consumer({
      groupId: group,
      heartbeatInterval: 200,
      sessionTimeout: 20_000,
      maxWaitTimeInMs: 100
    })
    const { GROUP_JOIN, REBALANCING, CRASH } = this.consumer.events
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.owned = payload.memberAssignment[group] ?? []
    })
    this.consumer.on(REBALANCING, () => { this.owned = [] })
    this.consumer.on(CRASH, ({ payload }) => { this.failure ??= payload.error })
    this.start().catch(error => { this.failure ??= error })
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: this.group, fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: payload => this.take(payload)
    })
  }

  // Checks what came, commits it, and notes that. A commit that is refused throws: the client joins
  // again, and whoever owns the partition then reads on from what is committed.
  async take({ batch, commitOffsetsIfNecessary, resolveOffset }) {
    const { partition, messages } = batch
    const from = Number(batch.firstOffset())
    const to = from + messages.length
    try {
      same(true, this.owned.includes(partition), `partition ${partition} is its own`)
      messages.forEach(({ offset, value }, i) => {
        same([`${from + i}`, `${partition}:${from + i}`], [offset, `${value}`], 'offset and value')
      })
    } catch (error) {
      this.failure ??= error
      throw error
    }
    const partitions = [{ partition, offset: `${to}` }]
    await commitOffsetsIfNecessary({ topics: [{ topic: this.group, partitions }] })
    this.ranges.committed[partition].push({ from, to, name: this.name })
    resolveOffset(batch.lastOffset())
  }

  check() {
    if (this.failure) throw new Error(`${this.name} failed: ${this.failure}`)
  }

  async end() {
    await this.consumer.disconnect()
    this.check()
  }
}

// Repeats a step until it is told to stop; an error ends it, and comes out of check and stop.
class Task {
  constructor(step) {
    this.going = true
    this.ended = this.run(step).catch(error => { this.failure = error })
  }

  async run(step) {
    while (this.going) {
      await step()
      await pause(20)
    }
  }

  check() {
    if (this.failure) throw this.failure
  }

  async stop() {
    this.going = false
    await this.ended
    this.check()
  }
}

// The committed offsets, asked for again and again; gives a function that tells their sum.
function watching(committed) {
  let last = Array(PARTITIONS).fill(-1)
  let asking = Promise.resolve()
  const ask = async () => {
    const now = await committed()
    const back = now.findIndex((offset, partition) => offset < last[partition])
    if (back >= 0) {
      throw new Error(`the offset of partition ${back} went from ${last[back]} to ${now[back]}`)
    }
    last = now
    return now.reduce((sum, offset) => sum + Math.max(offset, 0), 0)
  }
  return () => (asking = asking.then(ask)) // one at a time, so that answers stay in order
}

// send([{ partition, value }]) sends and waits; committed() gives an offset a partition, -1 where
// there is none; settled(count): the group is stable and has so many members.
async function churn(kafka, group, { send, committed, settled }) {
  const ranges = new Ranges()
  const members = []
  const ends = Array(PARTITIONS).fill(0)
  const load = new Task(() =>
    send(Array.from({ length: 5 * PARTITIONS }, (_, i) => {
      const partition = i % PARTITIONS
      return { partition, value: `${partition}:${ends[partition]++}` }
    })))
  const sum = watching(committed)
  const watch = new Task(sum)
  const check = () => [load, watch, ...members].forEach(each => each.check())
  let born = 0
  for (const wanted of [1, 2, 5, 3, 5, 1]) {
    while (members.length < wanted) {
      members.push(new Member(kafka, group, `member-${born++}`, ranges))
    }
    while (members.length > wanted) await members.shift().end()
    await until(`a stable group of ${wanted} that owns each partition once`, async () => {
      check()
      const owned = members.flatMap(member => member.owned).length
      return owned === PARTITIONS && settled(wanted)
    })
    const target = (await sum()) + 300
    await until('300 more records committed', async () => check() ?? (await sum()) >= target)
  }
  await load.stop()
  const all = ends.reduce((sum, end) => sum + end)
  await until(`all ${all} records committed`, async () => check() ?? (await sum()) === all)
  await members.pop().end()
  await watch.stop()
  same(ends, await committed(), 'committed at the end')
  ends.forEach((end, partition) => ranges.cover(partition, end))
  same(true, ranges.members() >= 5, `${ranges.members()} members committed, which is enough`)
}

module.exports = { PARTITIONS, churn }
