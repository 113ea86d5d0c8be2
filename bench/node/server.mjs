// The other side of the question about sockets: Socket.IO 4.8 as a Node program has it, every
// socket in the room of its account.
//   options: {port}
//   {emit: n, name, body}   send n events, each to the room of any one account
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { commands, options, say } from './lines.mjs'

const AT_ONCE = 100
const accounts = []
const http = createServer()
const io = new Server(http, { serveClient: false })

io.on('connection', (socket) => {
  const { token } = socket.handshake.auth
  socket.join(`user:${token}`)
  accounts.push(token)
})

function emit(left, name, body) {
  for (let n = 0; n < Math.min(left, AT_ONCE); n++) {
    const account = accounts[Math.floor(Math.random() * accounts.length)]
    io.to(`user:${account}`).emit(name, body)
  }
  if (left > AT_ONCE) setImmediate(emit, left - AT_ONCE, name, body)
}

http.listen(options.port, '127.0.0.1', 4096, () => say({ ready: true }))

for await (const command of commands()) {
  emit(command.emit, command.name, command.body)
}
process.exit(0)
