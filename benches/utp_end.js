'use strict'
// One end of benches.utp_speed for systems of Node.js: node utp_end.js NODE_MODULES udx|libutp|libutp-tuned
// Commands are JSON lines on its input, answers JSON lines on its output; see child.py for the near end.

const path = require('path')
const readline = require('readline')

const [modules, name] = process.argv.slice(2)
const CHUNK = Buffer.alloc(64 * 1024, 1) // sizes from 16 KiB to 1 MiB made no difference to either
const SOCKET_BUFFER = 4 * 1024 * 1024
const UDX_ID = { listener: 1, dialler: 2 } // udx has no handshake: both ends are told both numbers

/** @param {object} fields */
function answer (fields) { process.stdout.write(JSON.stringify(fields) + '\n') }

/** udx-native: a C library, streams without a handshake. */
class Udx {
  constructor () {
    const UDX = require(path.join(modules, 'udx-native'))
    this.udx = new UDX()
    this.socket = this.udx.createSocket()
    this.socket.bind(0, '127.0.0.1')
  }

  bind () { return { port: this.socket.address().port } }
  listen () { return this.bind() }
  accepted ({ port }) { return this.open(UDX_ID.listener, UDX_ID.dialler, port) }
  connect ({ port }) { return this.open(UDX_ID.dialler, UDX_ID.listener, port) }

  open (own, other, port) {
    this.stream = this.udx.createStream(own)
    this.stream.connect(this.socket, other, port, '127.0.0.1')
    return this.stream
  }

  packets () { return this.stream.packetsTransmitted }
}

/** utp-native: libutp. With the system's socket buffers its window outgrows them; so there are two of it. */
class Libutp {
  constructor (tuned) {
    this.utp = require(path.join(modules, 'utp-native'))
    this.tuned = tuned
  }

  /** @param {object} socket whose buffers are to hold more than a window of 1 MiB, which is libutp's largest */
  prepare (socket) {
    if (!this.tuned) return
    socket.setRecvBufferSize(SOCKET_BUFFER)
    socket.setSendBufferSize(SOCKET_BUFFER)
  }

  bind () { return { port: 0 } }

  listen () {
    return new Promise(resolve => {
      this.waiting = new Promise(connected => {
        const server = this.utp.createServer(stream => connected(stream))
        server.listen(0, '127.0.0.1', () => {
          this.prepare(server)
          resolve({ port: server.address().port })
        })
      })
    })
  }

  accepted () { return this.waiting }

  connect ({ port }) {
    const socket = this.utp()
    const stream = socket.connect(port, '127.0.0.1')
    this.prepare(socket)
    return new Promise(resolve => stream.on('connect', () => resolve(stream)))
  }

  packets () { return 0 }
}

const system = name === 'udx' ? new Udx() : new Libutp(name === 'libutp-tuned')
let stream = null
let got = 0
let want = 0
let start = null

/** Count what comes; answer "receive" when it is all there. */
function count (data) {
  if (want && start === null) start = process.hrtime.bigint()
  got += data.length
  finish()
}

function finish () {
  if (!want || got < want) return
  const seconds = start === null ? 0 : Number(process.hrtime.bigint() - start) / 1e9
  got -= want
  want = 0
  start = null
  answer({ seconds })
}

function send (left) {
  while (left > 0) {
    const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK
    left -= chunk.length
    if (!stream.write(chunk) && left > 0) return stream.once('drain', () => send(left))
  }
  answer({})
}

const commands = {
  bind: async () => answer(system.bind()),
  listen: async () => answer(await system.listen()),
  accepted: async fields => use(await system.accepted(fields)),
  connect: async fields => use(await system.connect(fields)),
  receive: async ({ bytes }) => { want = bytes; finish() },
  send: async ({ bytes }) => send(bytes),
  state: async () => {
    const { user, system: kernel } = process.cpuUsage()
    answer({ cpu: (user + kernel) / 1e6, packets: system.packets() })
  },
  stop: async () => { answer({}); setTimeout(() => process.exit(0), 50) }
}

function use (opened) {
  stream = opened
  stream.on('data', count)
  answer({})
}

answer({})
readline.createInterface({ input: process.stdin })
  .on('line', line => { const fields = JSON.parse(line); commands[fields.do](fields).catch(error => answer({ error: String(error) })) })
  .on('close', () => process.exit(0))
