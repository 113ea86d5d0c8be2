// So many changes a second, evenly, whether or not earlier ones were answered: a load that is the
// same for whoever bears it. Until standard input ends; then {sent, failed}.
//   options: {url, base, token, items, rate, keyed}
import { Agent } from 'node:http'
import { performance } from 'node:perf_hooks'
import { commands, options, say } from './lines.mjs'
import { change } from './change.mjs'

const agent = new Agent({ keepAlive: true, maxSockets: 16 })
const began = performance.now()
let sent = 0
let failed = 0

const timer = setInterval(() => {
  const due = ((performance.now() - began) / 1e3) * options.rate
  while (sent < due) {
    sent++
    const item = options.items[Math.floor(Math.random() * options.items.length)]
    const quantity = 1000 + Math.floor(Math.random() * 9000)
    change(agent, options, item, quantity).catch(() => failed++)
  }
}, 2)

say({ begun: true })
for await (const _ of commands());
clearInterval(timer)
say({ sent, failed })
process.exit(0)
