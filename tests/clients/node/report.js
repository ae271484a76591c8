// Runs checks and prints a line for each: its name, a tab, and `ok` or `FAILED: what happened`.
const { isDeepStrictEqual, inspect } = require('node:util')

const PATIENCE_MS = 120_000 // only what hangs meets it

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

class Report {
  constructor(only = '') {
    this.only = only
    this.failed = false
  }

  async check(name, body) {
    if (!name.startsWith(this.only)) return
    console.error(`--- ${name}`) // where its part of the log begins
    let verdict = 'ok'
    try {
      await body()
    } catch (error) {
      console.error(error)
      this.failed = true
      verdict = `FAILED: ${error.name}: ${error.message}`.replace(/\s+/g, ' ')
    }
    console.log(`${name}\t${verdict}`)
  }
}

function same(expected, got, what) {
  if (isDeepStrictEqual(expected, got)) return
  const short = value => inspect(value, { depth: 5, breakLength: Infinity }).slice(0, 300)
  throw new Error(`${what}: expected ${short(expected)}, got ${short(got)}`)
}

// The body must fail with an error of this type of Kafka's, which some errors carry in a list.
async function fails(type, what, body) {
  try {
    await body()
  } catch (error) {
    const parts = [error, error.cause].filter(each => each).flatMap(each => [each,
      ...(each.errors ?? []), ...(each.groups ?? []).map(group => group.error),
      ...(each.partitions ?? []).map(partition => partition.error)])
    if (parts.some(part => part?.type === type)) return
    throw new Error(`${what}: expected ${type}, got ${error}`)
  }
  throw new Error(`${what}: expected ${type}, but it went well`)
}

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await pause(20)
  }
}

module.exports = { Report, fails, pause, same, until }
