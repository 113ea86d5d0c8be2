// The unmodified socket.io-client, driven line by line: one JSON command a line on standard
// input, one JSON report a line on standard output. Several sockets at once, by name.
//   {do: "open", as, url, options, counts}   connect; `options` are socket.io-client's; one that
//                                    counts sends the last `seq` it has as auth.lastSeq
//   {do: "say", as, name, args, id}  emit and wait for the acknowledgement
//   {do: "drop", as}                 lose the connection the hard way; the client comes back
//   {do: "auth", as, auth}           what the next CONNECT of the socket carries
//   {do: "reopen", as}               disconnect and connect again, with the same Socket object
//   {do: "leave", as}                disconnect on purpose
//   {do: "back", as}                 connect again after that
//   {do: "close", as}                close for good
import { createInterface } from 'node:readline'
import { io } from 'socket.io-client'

const sockets = new Map()
const report = (as, what, more = {}) => process.stdout.write(JSON.stringify({ as, what, ...more }) + '\n')

function open({ as, url, options, counts }) {
  let last = null
  const auth = counts ? (give) => give({ ...options.auth, lastSeq: last }) : options.auth
  const socket = io(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 200, ...options, auth })
  sockets.set(as, socket)
  socket.on('connect', () =>
    report(as, 'connect', {
      recovered: Boolean(socket.recovered),
      sid: socket.io.engine.id,
      transport: socket.io.engine.transport.name,
    }),
  )
  socket.on('connect_error', (error) =>
    report(as, 'connect_error', { message: error.message, data: error.data ?? null, active: socket.active }),
  )
  socket.on('disconnect', (reason) => report(as, 'disconnect', { reason, active: socket.active }))
  socket.onAny((name, ...args) => {
    report(as, 'heard', { name, args })
    last = args[0].seq ?? last ?? args[0].head ?? null
  })
  socket.io.on('open', () => socket.io.engine.on('upgrade', (to) => report(as, 'upgrade', { transport: to.name })))
}

const commands = {
  open,
  say: ({ as, name, args, id }) =>
    sockets.get(as).emit(name, ...args, (...answer) => report(as, 'answer', { id, answer })),
  drop({ as }) {
    const { transport } = sockets.get(as).io.engine
    if (transport.ws) transport.ws.terminate()
    else transport.onError('dropped on purpose')
  },
  auth({ as, auth }) {
    sockets.get(as).auth = auth
  },
  reopen({ as }) {
    sockets.get(as).disconnect().connect()
  },
  leave({ as }) {
    sockets.get(as).disconnect()
  },
  back({ as }) {
    sockets.get(as).connect()
  },
  close({ as }) {
    sockets.get(as).disconnect()
    sockets.delete(as)
    report(as, 'closed')
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  commands[command.do](command)
}
process.exit(0)
