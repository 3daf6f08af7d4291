// Two socket.io servers that reach each other's clients through Redis, over Pub/Sub and over a stream.
const assert = require('node:assert/strict');
const http = require('node:http');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
const streams = require('@socket.io/redis-streams-adapter');
const { Redis } = require('ioredis');
const { Server } = require('socket.io');
const connect = require('socket.io-client');
const { check, eventually, host, port, run, url } = require('./harness');
const redis = require('redis');

const adapters = {
  'Pub/Sub with ioredis': async () => createAdapter(new Redis(port, host), new Redis(port, host)),
  'Pub/Sub with node-redis': async () => {
    const clients = [redis.createClient({ url }), redis.createClient({ url })];
    await Promise.all(clients.map((client) => client.connect()));
    return createAdapter(...clients);
  },
  'sharded Pub/Sub': async () => {
    const clients = [redis.createClient({ url }), redis.createClient({ url })];
    await Promise.all(clients.map((client) => client.connect()));
    return createShardedAdapter(...clients);
  },
  streams: async () => {
    const client = redis.createClient({ url });
    await client.connect();
    return streams.createAdapter(client);
  },
};

async function start(adapter) {
  const server = http.createServer();
  const io = new Server(server, { adapter });
  io.on('connection', (socket) => socket.on('join', (room, done) => { socket.join(room); done(); }));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const socket = connect(`http://127.0.0.1:${server.address().port}`);
  const seen = [];
  socket.onAny((event, data, done) => { seen.push([event, data]); if (typeof done === 'function') done(`answer to ${data}`); });
  await new Promise((done) => socket.on('connect', done));
  return { io, socket, seen, close: () => { socket.close(); io.close(); } };
}

for (const [name, make] of Object.entries(adapters)) {
  check(name, async () => {
    const nodes = [await start(await make()), await start(await make())];
    const [first, second] = nodes;
    // Servers learn of each other by messages.
    await eventually(async () => (await first.io.fetchSockets().catch(() => [])).length === 2);
    first.io.emit('all', 1);
    await eventually(() => first.seen.length === 1 && second.seen.length === 1);
    await new Promise((done) => second.socket.emit('join', 'room', done));
    // Nobody waits until the subscription to a room's own channel has come to the node, which the publisher's message may overtake.
    if (name === 'sharded Pub/Sub') {
      const client = new Redis(port, host);
      await eventually(async () => (await client.pubsub('SHARDNUMSUB', 'socket.io#/#room#'))[1] === 1);
    }
    first.io.to('room').emit('few', 2);
    await eventually(() => second.seen.length === 2);
    assert.deepEqual([first.seen, second.seen], [[['all', 1]], [['all', 1], ['few', 2]]]);
    const answers = await first.io.timeout(60_000).emitWithAck('ask', 3);
    assert.deepEqual(answers, ['answer to 3', 'answer to 3']);
    first.io.in('room').socketsLeave('room');
    await eventually(() => !second.io.sockets.adapter.rooms.has('room'));
    const asked = new Promise((done) => second.io.on('hello', (data, reply) => { reply('hello back'); done(data); }));
    const replies = await first.io.serverSideEmitWithAck('hello', 'hello');
    assert.deepEqual([await asked, replies], ['hello', ['hello back']]);
    nodes.forEach((node) => node.close());
  });
}

run();
