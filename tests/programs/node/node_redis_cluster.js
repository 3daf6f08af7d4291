// node-redis' `createCluster`: commands over the slots of all nodes, and a leader that is killed under writers and comes back.
const assert = require('node:assert/strict');
const { FAILOVER_MS, Writers, keysOfLeaders, leaderOf, losesNothing, order } = require('./cluster');
const { call, check, eventually, host, module: name, ports, run } = require('./harness');

const redis = require(name);
// These wait for a node that is gone until it is back, wherever its slots are by then: who uses them takes a new client.
const isOld = name !== 'redis';
const script = (count, text) => redis.defineScript({
  NUMBER_OF_KEYS: count,
  FIRST_KEY_INDEX: 0,
  SCRIPT: text,
  transformArguments: (...words) => words.map(String),
  parseCommand: (parser, ...words) => {
    words.forEach((word, index) => (index < count ? parser.pushKey(word) : parser.push(String(word))));
  },
  transformReply: (reply) => reply,
});
const scripts = {
  add: script(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])"),
  addMember: script(2, "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])"),
};
const connect = async (options = {}) => {
  const rootNodes = ports.map((port) => ({ url: `redis://${host}:${port}` }));
  const cluster = redis.createCluster({ rootNodes, scripts, ...options });
  // Who has no listener ends with them.
  cluster.on('error', () => {});
  await cluster.connect();
  return cluster;
};
const numbers = Array.from({ length: 300 }, (_, number) => number);
// Version 4 has one for each range of slots.
const masters = (cluster) => {
  const nodes = new Map(cluster.masters.map((node) => [node.address, node]));
  return Promise.all([...nodes.values()].map((node) => cluster.nodeClient(node)));
};
const slotOf = async (key) => Number((await call(`CLUSTER KEYSLOT ${key}`)).slice(1));

check('strings over all slots', async () => {
  const client = await connect();
  assert.deepEqual(new Set(await Promise.all(numbers.map((n) => client.set(`key:${n}`, String(n))))), new Set(['OK']));
  assert.deepEqual(await Promise.all(numbers.map((n) => client.get(`key:${n}`))), numbers.map(String));
  // Each of three has some, and they are all.
  const nodes = await masters(client);
  const sizes = await Promise.all(nodes.map((node) => node.dbSize()));
  assert.equal(sizes.length, 3);
  assert.ok(Math.min(...sizes) > 0, JSON.stringify(sizes));
  assert.equal(sizes.reduce((sum, size) => sum + size), numbers.length);
  const found = [];
  for (const node of nodes) {
    for await (const some of node.scanIterator({ MATCH: 'key:*' })) found.push(...[some].flat());
  }
  assert.deepEqual(new Set(found), new Set(numbers.map((n) => `key:${n}`)));
});

check('slots and redirects', async () => {
  const client = await connect();
  const keys = await keysOfLeaders('moved');
  for (const [leader, key] of keys) {
    const slot = await slotOf(key);
    for (const other of ports.filter((one) => one !== leader)) {
      assert.equal(await call(`SET ${key} 1`, other), `-MOVED ${slot} ${host}:${leader}\r\n`);
    }
    assert.equal(client.slots[slot].master.address, `${host}:${leader}`);
  }
  // A client whose map is wrong goes where it is told to, and learns from that.
  const [[leader, key], [, other]] = keys;
  const slot = await slotOf(key);
  client.slots[slot] = client.slots[await slotOf(other)];
  assert.equal(await client.set(key, String(leader)), 'OK');
  assert.equal(await client.get(key), String(leader));
  assert.equal(client.slots[slot].master.address, `${host}:${leader}`);
});

check('values of all types', async () => {
  const client = await connect();
  for (const key of (await keysOfLeaders('type')).values()) {
    assert.equal(await client.hSet(`{${key}}:hash`, { a: '1', b: '2' }), 2);
    assert.deepEqual({ ...(await client.hGetAll(`{${key}}:hash`)) }, { a: '1', b: '2' });
    assert.equal(await client.rPush(`{${key}}:list`, ['1', '2', '3']), 3);
    assert.equal(await client.lMove(`{${key}}:list`, `{${key}}:other`, 'LEFT', 'RIGHT'), '1');
    assert.deepEqual(await client.lRange(`{${key}}:list`, 0, -1), ['2', '3']);
    assert.equal(await client.sAdd(`{${key}}:set`, ['x', 'y']), 2);
    assert.equal(await client.zAdd(`{${key}}:zset`, [{ score: 1.5, value: 'm' }, { score: 2, value: 'n' }]), 2);
    assert.deepEqual(await client.zRange(`{${key}}:zset`, 0, -1), ['m', 'n']);
    assert.equal(await client.mSet({ [`{${key}}:1`]: 'one', [`{${key}}:2`]: 'two' }), 'OK');
    assert.deepEqual(await client.mGet([`{${key}}:1`, `{${key}}:2`]), ['one', 'two']);
    const id = await client.xAdd(`{${key}}:stream`, '*', { f: 'v' });
    assert.equal((await client.xRange(`{${key}}:stream`, '-', '+'))[0].id, id);
    assert.deepEqual({ ...(await client.blPop(`{${key}}:other`, 60)) }, { key: `{${key}}:other`, element: '1' });
  }
});

check('transactions and pipelines', async () => {
  const client = await connect();
  for (const key of (await keysOfLeaders('transaction')).values()) {
    const commands = () => client.multi().set(`{${key}}:a`, '1').incr(`{${key}}:b`).get(`{${key}}:a`);
    assert.deepEqual(await commands().exec(), ['OK', 1, '1']);
    assert.deepEqual(await commands().execAsPipeline(), ['OK', 2, '1']);
  }
  const [first, second] = (await keysOfLeaders('transaction')).values();
  await assert.rejects(client.multi().set(first, '1').set(second, '1').exec(), /MOVED|CROSSSLOT|EXECABORT|redirections|queuing/);
});

check('scripts', async () => {
  const client = await connect();
  const keys = [...(await keysOfLeaders('script')).values()];
  for (const key of keys) {
    assert.equal(await client.add(key, 5), 5);
    assert.equal(await client.add(key, 5), 10);
  }
  await Promise.all((await masters(client)).map((node) => node.scriptFlush()));
  for (const key of keys) {
    assert.equal(await client.add(key, 1), 11);
    const text = "return redis.call('MGET', KEYS[1], KEYS[2])";
    assert.deepEqual(await client.eval(text, { keys: [key, `{${key}}:none`] }), ['11', null]);
    await assert.rejects(client.eval(text, { keys: [key, 'elsewhere'] }), /CROSSSLOT/);
  }
});

check('channels of shards', async () => {
  const client = await connect();
  const subscriber = await connect();
  const keys = [...(await keysOfLeaders('channel')).values()];
  const heard = new Set();
  for (const key of keys) await subscriber.sSubscribe(key, (message, channel) => heard.add(`${channel} ${message}`));
  await eventually(async () => {
    for (const key of keys) await client.sPublish(key, 'hello');
    return heard.size === 3;
  });
  assert.deepEqual(heard, new Set(keys.map((key) => `${key} hello`)));
  // Each is heard by whom is there, and by nobody else.
  const count = () => Promise.all(keys.map((key) => client.sPublish(key, 'x')));
  assert.deepEqual(await count(), [1, 1, 1]);
  for (const key of keys) await subscriber.sUnsubscribe(key);
  await eventually(async () => (await count()).join() === '0,0,0');
});

check('reads from replicas', async () => {
  // Version 4 says READONLY only to nodes that lead nothing, and of three nodes of Basalt each leads something.
  if (name === 'redis4' && losesNothing) return;
  const client = await connect();
  const keys = [...(await keysOfLeaders('replica')).values()];
  // Replicas are told of once they have heard of themselves that they follow; some slots may be told of with their leader alone.
  const own = await eventually(async () => {
    const reader = await connect({ useReplicas: true });
    return reader.slots.filter((shard) => shard.replicas?.length).length > 16000 && reader;
  });
  for (const key of keys) {
    await client.set(key, 'here');
    // Turns go over the leader and its replicas, each of which has it a moment later.
    await eventually(async () => (await Promise.all([1, 2, 3, 4].map(() => own.get(key)))).every((value) => value === 'here'));
  }
});

// Errors that may come where a node is lost: those of connections, those that say that nobody leads, and UNCERTAIN. A transaction
// whose commands were told so, or to go elsewhere, is discarded.
const isOfFailover = (error) => /^(Socket|Client|Connection|Disconnect|Timeout)/.test(error.constructor.name)
  || /^(UNCERTAIN|CLUSTERDOWN|TRYAGAIN|EXECABORT|connect E|read E|write E|Socket|The client is|Connection)/.test(error.message);

// Whether a node has these values itself, as who says READONLY sees it; a redis-server has those of its leader.
async function isReadableAt(port, values) {
  const reader = redis.createClient({ url: `redis://${host}:${port}`, readonly: true });
  reader.on('error', () => {});
  await reader.connect();
  const found = await Promise.allSettled([...values.keys()].map((key) => reader.get(key)));
  await reader.disconnect();
  const wanted = [...values.values()];
  const seen = found.map(({ reason, value }, index) => [reason, value === wanted[index]]);
  const own = losesNothing ? seen : seen.filter(([error]) => !error?.message.startsWith('MOVED'));
  return own.length > 0 && own.every(([error, isThere]) => !error && isThere);
}

check('writers go on while a leader is killed', async () => {
  const client = await connect();
  const set = (one, key, value) => one.set(key, String(value));
  const writes = {
    string: (one, n) => set(one, `string:${n}`, n),
    strings: (one, n) => Promise.all(Array.from({ length: 10 }, (_, part) => set(one, `part:${part}:${n}`, n))),
    hash: (one, n) => one.hSet('{writers}:hash', String(n), String(n)),
    transaction: (one, n) => one.multi().sAdd('{writers}:transaction:set', String(n)).incr('{writers}:transaction:count').exec(),
    script: (one, n) => one.addMember('{writers}:script:set', '{writers}:script:count', n),
  };
  const onNewClients = (write) => {
    let own;
    return async (n) => {
      try {
        own ??= await connect({ minimizeConnections: true, defaults: { socket: { reconnectStrategy: false } } });
        await write(own, n);
      } catch (error) {
        await own?.disconnect().catch(() => {});
        own = undefined;
        throw error;
      }
    };
  };
  const onOneClient = (write) => (n) => write(client, n);
  const on = isOld ? onNewClients : onOneClient;
  const writers = new Writers(Object.fromEntries(Object.entries(writes).map(([key, write]) => [key, on(write)])), isOfFailover);
  await writers.goOn(50);
  const victim = await leaderOf('{writers}');
  await order(`kill ${victim}`);
  // The first write that counts: none of those on their way at that moment.
  const first = Object.fromEntries(Object.entries(writers.counts).map(([key, done]) => [key, losesNothing ? 0 : done + 1]));
  // Three of them need another leader for that, the others sooner or later.
  await writers.goOn(50);
  assert.notEqual(await leaderOf('{writers}'), victim);
  await order(`start ${victim}`);
  if (losesNothing) await eventually(async () => (await leaderOf('{writers}')) === victim, FAILOVER_MS);
  await writers.goOn(50);
  const counts = await writers.end();
  await order('whole');

  // What was acknowledged is there, seen by a client that was there throughout, and by another one.
  const values = new Map();
  for (let n = first.string; n < counts.string; n++) values.set(`string:${n}`, String(n));
  for (let n = first.strings; n < counts.strings; n++) {
    for (let part = 0; part < 10; part++) values.set(`part:${part}:${n}`, String(n));
  }
  for (const reader of [client, await connect()]) {
    assert.deepEqual(await Promise.all([...values.keys()].map((key) => reader.get(key))), [...values.values()]);
    const fields = new Set(await reader.hKeys('{writers}:hash'));
    for (let n = first.hash; n < counts.hash; n++) assert.ok(fields.has(String(n)), `hash ${n}`);
    for (const way of ['transaction', 'script']) {
      const members = new Set(await reader.sMembers(`{writers}:${way}:set`));
      for (let n = first[way]; n < counts[way]; n++) assert.ok(members.has(String(n)), `${way} ${n}`);
      // One that was executed twice, since its first answer was lost, counts twice and is one member.
      const count = Number(await reader.get(`{writers}:${way}:count`));
      assert.ok(count >= members.size, `${way}: ${count} of ${members.size}`);
    }
  }
  // Whom they have killed has it as well.
  await eventually(() => isReadableAt(victim, values));
});

run();
