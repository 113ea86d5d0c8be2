// The words of every script here: JSON objects line by line, on standard input and output. The
// first that comes in are the options.
import { createInterface } from 'node:readline'

export const say = (object) => process.stdout.write(JSON.stringify(object) + '\n')

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function next() {
  const { value, done } = await lines.next()
  return done ? undefined : JSON.parse(value)
}

export const options = await next()

// What is said after the options, until the input ends.
export async function* commands() {
  for (let command; (command = await next()); ) yield command
}

// The value below which a share of them lie (0.5: the median).
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
}
