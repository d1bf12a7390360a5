'use strict'
// A libutp peer for tests: JSON lines come out of it, and it ends when its input does.
//
//   node utp_peer.js NODE_MODULES serve      PLAN [SIZE]             first line: {"port": 1234}
//   node utp_peer.js NODE_MODULES dial PORT  PLAN [SIZE [STREAMS]]
//
// For every stream: {"event": "connected" | "ended", "stream": 0} as it happens, and at last
// {"event": "closed", "stream": 0, "error": "UTP_ECONNRESET" or null, "bytes": 12, "sha256": "..."} about what it read.

const { createHash } = require('crypto')
const path = require('path')

const [modules, role, ...rest] = process.argv.slice(2)
const utp = require(path.join(modules, 'utp-native'))
const port = role === 'dial' ? Number(rest.shift()) : 0
const [plan, size = '0', streams = '1'] = rest

/** @param {object} fields */
function say (fields) { process.stdout.write(JSON.stringify(fields) + '\n') }

/** The same bytes as peer.py's content(). @param {number} length @param {number} stream @returns {Buffer} */
function content (length, stream) {
  return createHash('shake256', { outputLength: length }).update(`libutp ${stream}`).digest()
}

/**
 * What each plan does on a connection, from the moment at which libutp lets it write: at once for the dialler, with
 * the first bytes that came for the acceptor. Half-open ends are allowed: nothing is ended but by the plan.
 * @type {Object<string, (connection: import('stream').Duplex, stream: number) => void>}
 */
const plans = {
  // Send everything back, then end.
  echo (connection) { connection.pipe(connection) },

  // Send messages of the sizes given ("1,100,5000"), each when the one before has come back, then end.
  ask (connection, stream) {
    const sizes = size.split(',').map(Number)
    let sent = Buffer.alloc(0)
    let back = Buffer.alloc(0)
    const next = () => {
      if (!sizes.length) return connection.end()
      sent = content(sizes.shift(), stream)
      back = Buffer.alloc(0)
      connection.write(sent)
    }
    connection.on('data', data => {
      back = Buffer.concat([back, data])
      if (back.length < sent.length) return
      say({ event: 'echoed', stream, bytes: back.length, same: back.equals(sent) })
      next()
    })
    next()
  },

  // Send SIZE bytes and end, while reading.
  exchange (connection, stream) { connection.end(content(Number(size), stream)) },

  // End first, and read on.
  question (connection) { connection.end('question') },

  // Speak only after the other end has ended.
  answer (connection) { connection.on('end', () => connection.end(content(Number(size), 0))) },

  // Say a word, read on, and end when the other end does.
  listen (connection) {
    connection.write('hello')
    connection.on('end', () => connection.end())
  },

  // Go away at the first byte, or at once.
  leave (connection) { connection.destroy() }
}

let connected = 0 // streams are numbered as they become usable: whose dialler was never heard again has no number

/** @param {import('stream').Duplex} connection */
function follow (connection) {
  const digest = createHash('sha256')
  let stream = null
  let bytes = 0
  let error = null
  connection.on('connect', () => {
    stream = connected++
    say({ event: 'connected', stream })
    plans[plan](connection, stream)
  })
  connection.on('data', data => { digest.update(data); bytes += data.length })
  connection.on('end', () => say({ event: 'ended', stream }))
  connection.on('error', problem => { error = problem.code || String(problem) })
  connection.on('close', () => {
    say(stream === null
      ? { event: 'failed', error }
      : { event: 'closed', stream, error, bytes, sha256: digest.digest('hex') })
  })
}

if (role === 'serve') {
  const server = utp.createServer(follow)
  server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))
} else {
  const socket = utp()
  for (let stream = 0; stream < Number(streams); stream++) follow(socket.connect(port, '127.0.0.1'))
}

process.stdin.on('end', () => process.exit(0)).resume()
