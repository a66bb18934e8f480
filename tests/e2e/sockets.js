// The real JavaScript client, driven by the tests: commands come in as JSON lines, what happens goes out as JSON lines.
//   {"do": "open", "id": 1, "url": "http://127.0.0.1:3001", "options": {"transports": ["websocket"]}}
//   {"do": "emit", "id": 1, "event": "authenticate", "args": ["eyJ..."]}      {"do": "close", "id": 1}
// Out come the server's events as {"id", "event", "args"}; what the client itself notices has its name in parentheses.
const readline = require('readline');
const { io } = require('socket.io-client');

const sockets = new Map();

function say(id, event, ...args) {
  process.stdout.write(JSON.stringify({ id, event, args }) + '\n');
}

function open({ id, url, options }) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500, ...options });
  sockets.set(id, socket);
  socket.onAny((event, ...args) => say(id, event, ...args));
  socket.io.engine.on('upgrade', (transport) => say(id, '(upgrade)', transport.name));
  socket.on('connect', () => say(id, '(connect)'));
  socket.on('disconnect', (reason) => say(id, '(disconnect)', reason));
  socket.on('connect_error', (error) => {
    const answer = error.context && error.context.responseText; // long polling only
    say(id, '(connect_error)', error.message, error.description, answer);
  });
}

const commands = {
  open,
  emit: ({ id, event, args }) => sockets.get(id).emit(event, ...args),
  close: ({ id }) => sockets.get(id).close(),
};

const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
input.on('close', () => process.exit(0));
