// The other side of the question about sockets: Socket.IO 4.8 as a Node program has it, every
// socket in the room of its account.
//   options: {port}
//   {emit: [n, …], name, body}   send an event to the room of the n-th account to come, of each
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { commands, options, say } from './lines.mjs'

const accounts = []
const http = createServer()
const io = new Server(http, { serveClient: false })

io.on('connection', (socket) => {
  const { token } = socket.handshake.auth
  socket.join(`user:${token}`)
  accounts.push(token)
})

http.listen(options.port, '127.0.0.1', 4096, () => say({ ready: true }))

for await (const command of commands()) {
  for (const n of command.emit) io.to(`user:${accounts[n]}`).emit(command.name, command.body)
}
process.exit(0)
