// Two shells on one WebSocket, the plain way: node-pty and ws. Each binary message is a shell's number and its bytes.
'use strict'
const { WebSocketServer } = require('ws')
const pty = require('node-pty')

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
server.on('listening', () => console.log(server.address().port))
server.on('connection', (socket) => {
  socket._socket.setNoDelay(true)
  const shells = [0, 1].map((number) => {
    const shell = pty.spawn('sh', ['-i'], { cols: 120, rows: 40, encoding: null, name: 'xterm-256color' })
    const tag = Buffer.from([number])
    shell.onData((bytes) => socket.send(Buffer.concat([tag, bytes])))
    return shell
  })
  socket.on('message', (message) => shells[message[0]]?.write(message.subarray(1)))
  socket.on('close', () => shells.forEach((shell) => shell.kill()))
})
process.stdin.on('end', () => process.exit(0)).resume()
