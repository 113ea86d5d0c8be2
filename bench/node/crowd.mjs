// Many sockets in one process, each with an account of its own: WebSocket frames of Engine.IO v4
// and Socket.IO v5, answered as a client answers them, nothing else kept.
//   options: {tokens}           a file, one a line
//   {open: n, url}              have n open; answers {open, seconds} when each got its CONNECT
//   {expect: n}                 answers {heard, seconds} when n events have come since asked
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import WebSocket from 'ws'
import { commands, options, say } from './lines.mjs'

const AT_ONCE = 40
const EVENT = `42["new_notification"`
const tokens = readFileSync(options.tokens, 'utf8').split('\n').filter(Boolean)
const sockets = []
let heard = 0
let expected
let closing = false

function fail(why) {
  if (closing) return
  say({ failed: String(why) })
  process.exit(1)
}

function open(url, token) {
  const address = `${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`
  return new Promise((resolve) => {
    const socket = new WebSocket(address, { perMessageDeflate: false })
    socket.on('error', fail)
    socket.on('close', (code) => fail(`closed: ${code}`))
    socket.on('message', (data) => {
      const frame = data.toString('latin1')
      if (frame.startsWith(EVENT)) hear()
      else if (frame === '2') socket.send('3')
      else if (frame.startsWith('0')) socket.send('40' + JSON.stringify({ token }))
      else if (frame.startsWith('40')) resolve()
      else if (frame.startsWith('44')) fail(frame)
    })
    sockets.push(socket)
  })
}

function hear() {
  heard++
  if (expected && heard >= expected.count) {
    say({ heard, seconds: (performance.now() - expected.since) / 1e3 })
    expected = undefined
  }
}

async function openUntil(count, url) {
  const began = performance.now()
  const opener = async () => {
    while (sockets.length < count) await open(url, tokens[sockets.length])
  }
  await Promise.all(Array.from({ length: AT_ONCE }, opener))
  say({ open: sockets.length, seconds: (performance.now() - began) / 1e3 })
}

for await (const command of commands()) {
  if (command.open) await openUntil(command.open, command.url)
  if (command.expect) {
    heard = 0
    expected = { count: command.expect, since: performance.now() }
    say({ expecting: command.expect })
  }
}
closing = true
process.exit(0)
