// From a change that takes an item to its threshold, sent, until its alert is heard on a socket.
// Between two samples the stock is put back. Prints {samples, lost, p50, p90, p99, most, answered}
// in milliseconds, `answered` being the median until the change itself was answered.
//   options: {url, base, token, account, items, samples, warmUp, keyed}
import { Agent } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { io } from 'socket.io-client'
import { change } from './change.mjs'
import { options, quantile, say } from './lines.mjs'

const LOW = 5
const HIGH = 5000
const LOST_MS = 5000
const PAUSE_MS = 5
const agent = new Agent({ keepAlive: true, maxSockets: 4 })

const socket = io(options.url, { transports: ['websocket'], auth: { token: options.token } })
await new Promise((resolve, reject) => {
  socket.once('connect', resolve)
  socket.once('connect_error', reject)
})
socket.emit('subscribe', { userId: options.account })
await pause(500) // the other side does not say when it has subscribed

let waiting
socket.on('new_notification', (said) => {
  const at = performance.now()
  if (waiting && said.itemId === waiting.item && said.type === 'low_stock') waiting.hear(at)
})

const alerts = []
const answers = []
let lost = 0
for (let n = 0; n < options.warmUp + options.samples; n++) {
  const item = options.items[n % options.items.length]
  let timer
  const heard = new Promise((hear) => {
    waiting = { item, hear }
    timer = setTimeout(hear, LOST_MS)
  })
  const sent = performance.now()
  const answered = change(agent, options, item, LOW).then(() => performance.now())
  const [heardAt, answeredAt] = await Promise.all([heard, answered])
  clearTimeout(timer)
  waiting = undefined
  if (n >= options.warmUp) {
    if (heardAt === undefined) lost++
    else alerts.push(heardAt - sent)
    answers.push(answeredAt - sent)
  }
  await change(agent, options, item, HIGH)
  await pause(PAUSE_MS)
}
socket.close()
say({
  samples: alerts.length,
  lost,
  p50: quantile(alerts, 0.5),
  p90: quantile(alerts, 0.9),
  p99: quantile(alerts, 0.99),
  most: quantile(alerts, 1),
  answered: quantile(answers, 0.5),
})
process.exit(0)
