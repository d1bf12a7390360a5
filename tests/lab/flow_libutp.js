// What flow_program.py does, with libutp: node flow_libutp.js receive PORT | send HOST PORT SECONDS
'use strict'
const utp = require('utp-native')

const [role, ...rest] = process.argv.slice(2)

// process.hrtime and Python's time.monotonic read the same clock.
const tenth = () => Math.floor(Number(process.hrtime.bigint() / 100000000n))

if (role === 'receive') {
  const arrived = {}
  const server = utp.createServer(connection => {
    connection.on('data', data => { arrived[tenth()] = (arrived[tenth()] || 0) + data.length })
    connection.on('error', () => {})
  })
  server.listen(Number(rest[0]), () => console.log('ready'))
  process.stdin.resume().on('end', () => {
    process.stdout.write(JSON.stringify(arrived) + '\n', () => process.exit(0))
  })
} else {
  const [host, port, seconds] = rest
  const connection = utp.connect(Number(port), host)
  const piece = Buffer.alloc(64 * 1024)
  const fill = () => { while (connection.write(piece)); }
  connection.on('drain', fill)
  connection.on('error', error => { console.error(error); process.exit(1) })
  connection.on('connect', () => {
    console.log('connected')
    setTimeout(() => process.stdout.write('{}\n', () => process.exit(0)), Number(seconds) * 1000)
    fill()
  })
}
