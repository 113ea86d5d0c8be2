// One change of a quantity, over a connection that is kept.
import { request } from 'node:http'
import { randomUUID } from 'node:crypto'

// Resolves when it was answered with a 2xx.
export function change(agent, { url, base, token, keyed }, item, quantity) {
  const body = JSON.stringify({ quantity, reason: 'benchmark' })
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  }
  if (keyed) headers['idempotency-key'] = randomUUID()
  return new Promise((resolve, reject) => {
    const sending = request(`${url}${base}/${item}/quantity`, { method: 'PATCH', agent, headers }, (answer) => {
      let said = ''
      answer.setEncoding('utf8')
      answer.on('data', (text) => (said += text))
      answer.on('end', () => {
        if (answer.statusCode < 300) resolve()
        else reject(new Error(`${answer.statusCode} ${said.slice(0, 300)}`))
      })
    })
    sending.on('error', reject)
    sending.end(body)
  })
}
