// The words of every script here: options as JSON in the first argument, JSON objects line by
// line on standard input and output.
import { createInterface } from 'node:readline'

export const options = JSON.parse(process.argv[2] ?? '{}')

export const say = (object) => process.stdout.write(JSON.stringify(object) + '\n')

export const commands = createInterface({ input: process.stdin })

// The value below which a share of them lie (0.5: the median).
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
}
