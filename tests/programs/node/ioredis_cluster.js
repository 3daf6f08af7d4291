// ioredis' `Cluster`: commands over the slots of all nodes, and a leader that is killed under writers and comes back.
const assert = require('node:assert/strict');
const { FAILOVER_MS, Writers, keysOfLeaders, leaderOf, losesNothing, order } = require('./cluster');
const { call, check, eventually, host, module: name, port, ports, run } = require('./harness');

const { Cluster, Redis } = require(name);
const connect = (options = {}) => {
  const cluster = new Cluster([{ host, port }], options);
  // Who has no listener has them on the console.
  cluster.on('error', () => {});
  return cluster;
};
const client = connect();
const numbers = Array.from({ length: 300 }, (_, number) => number);

check('strings over all slots', async () => {
  assert.deepEqual(new Set(await Promise.all(numbers.map((n) => client.set(`key:${n}`, n)))), new Set(['OK']));
  assert.deepEqual(await Promise.all(numbers.map((n) => client.get(`key:${n}`))), numbers.map(String));
  // Each of three has some, and they are all.
  const sizes = await Promise.all(client.nodes('master').map((node) => node.dbsize()));
  assert.equal(sizes.length, 3);
  assert.ok(Math.min(...sizes) > 0, JSON.stringify(sizes));
  assert.equal(sizes.reduce((sum, size) => sum + size), numbers.length);
  const found = [];
  for (const node of client.nodes('master')) {
    for await (const some of node.scanStream({ match: 'key:*', count: 20 })) found.push(...some);
  }
  assert.deepEqual(new Set(found), new Set(numbers.map((n) => `key:${n}`)));
  await assert.rejects(client.mget('a', 'b', 'c'), /CROSSSLOT/);
});

check('slots and redirects', async () => {
  const keys = await keysOfLeaders('moved');
  for (const [leader, key] of keys) {
    const slot = await client.cluster('KEYSLOT', key);
    for (const other of ports.filter((one) => one !== leader)) {
      assert.equal(await call(`SET ${key} 1`, other), `-MOVED ${slot} ${host}:${leader}\r\n`);
    }
    assert.equal(client.slots[slot][0], `${host}:${leader}`);
  }
  // A client whose map is wrong goes where it is told to.
  const own = connect();
  await own.ping();
  const [[leader, key], [other]] = keys;
  own.slots[await own.cluster('KEYSLOT', key)] = [`${host}:${other}`];
  assert.equal(await own.set(key, leader), 'OK');
  assert.equal(await client.get(key), String(leader));
  assert.match(await client.cluster('INFO'), /cluster_state:ok\r\n/);
  own.disconnect();
});

check('values of all types', async () => {
  for (const key of (await keysOfLeaders('type')).values()) {
    assert.equal(await client.hset(`{${key}}:hash`, { a: 1, b: 2 }), 2);
    assert.deepEqual({ ...(await client.hgetall(`{${key}}:hash`)) }, { a: '1', b: '2' });
    assert.equal(await client.rpush(`{${key}}:list`, 1, 2, 3), 3);
    assert.equal(await client.lmove(`{${key}}:list`, `{${key}}:other`, 'LEFT', 'RIGHT'), '1');
    assert.deepEqual(await client.lrange(`{${key}}:list`, 0, -1), ['2', '3']);
    assert.equal(await client.sadd(`{${key}}:set`, 'x', 'y'), 2);
    assert.equal(await client.zadd(`{${key}}:zset`, 1.5, 'm', 2, 'n'), 2);
    assert.deepEqual(await client.zrange(`{${key}}:zset`, 0, -1), ['m', 'n']);
    assert.equal(await client.mset(`{${key}}:1`, 'one', `{${key}}:2`, 'two'), 'OK');
    assert.deepEqual(await client.mget(`{${key}}:1`, `{${key}}:2`), ['one', 'two']);
    const id = await client.xadd(`{${key}}:stream`, '*', 'f', 'v');
    assert.deepEqual(await client.xrange(`{${key}}:stream`, '-', '+'), [[id, ['f', 'v']]]);
    assert.deepEqual(await client.blpop(`{${key}}:other`, 60), [`{${key}}:other`, '1']);
  }
});

check('pipelines', async () => {
  // Those of all slots are made of themselves, one for each node.
  const own = connect({ enableAutoPipelining: true });
  await Promise.all(numbers.map((n) => own.set(`key:${n}`, n)));
  assert.deepEqual(await Promise.all(numbers.map((n) => own.get(`key:${n}`))), numbers.map(String));
  own.disconnect();
  for (const key of (await keysOfLeaders('pipeline')).values()) {
    const replies = await client.pipeline().set(key, 'x').get(key).lpush(key, 'y').exec();
    assert.deepEqual(replies.slice(0, 2), [[null, 'OK'], [null, 'x']]);
    assert.match(replies[2][0].message, /^WRONGTYPE/);
  }
});

check('transactions', async () => {
  for (const key of (await keysOfLeaders('transaction')).values()) {
    const replies = await client.multi().set(`{${key}}:a`, 1).incr(`{${key}}:b`).get(`{${key}}:a`).exec();
    assert.deepEqual(replies, [[null, 'OK'], [null, 1], [null, '1']]);
  }
  const [first, second] = (await keysOfLeaders('transaction')).values();
  await assert.rejects(client.multi().set(first, 1).set(second, 1).exec(), /slot/);
});

check('scripts', async () => {
  const own = connect({ scripts: { addTo: { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" } } });
  const keys = [...(await keysOfLeaders('script')).values()];
  for (const key of keys) {
    assert.equal(await own.addTo(key, 5), 5);
    assert.equal(await own.addTo(key, 5), 10);
  }
  await Promise.all(own.nodes('master').map((node) => node.script('FLUSH')));
  for (const key of keys) {
    assert.equal(await own.addTo(key, 1), 11);
    assert.deepEqual(await own.eval("return redis.call('MGET', KEYS[1], KEYS[2])", 2, key, `{${key}}:none`), ['11', null]);
  }
  own.disconnect();
});

check('channels of shards', async () => {
  const keys = [...(await keysOfLeaders('channel')).values()];
  const subscriber = connect({ shardedSubscribers: true });
  const heard = new Set();
  subscriber.on('smessage', (channel, message) => heard.add(`${channel} ${message}`));
  await subscriber.ping();
  for (const key of keys) await subscriber.ssubscribe(key);
  await eventually(async () => {
    for (const key of keys) await client.spublish(key, 'hello');
    return heard.size === 3;
  });
  assert.deepEqual(heard, new Set(keys.map((key) => `${key} hello`)));
  // Each is heard by whom is there, and by nobody else.
  const count = () => Promise.all(keys.map((key) => client.spublish(key, 'x')));
  assert.deepEqual(await count(), [1, 1, 1]);
  for (const key of keys) await subscriber.sunsubscribe(key);
  await eventually(async () => (await count()).join() === '0,0,0');
  subscriber.disconnect();
});

check('reads from replicas', async () => {
  const keys = [...(await keysOfLeaders('replica')).values()];
  // Replicas are told of once they have heard of themselves that they follow; some slots may be told of with their leader alone.
  await eventually(async () => {
    await client.refreshSlotsCache();
    return client.slots.filter((nodes) => nodes.length > 1).length > 16000;
  });
  const own = connect({ scaleReads: 'slave' });
  // It says READONLY to nodes that lead nothing, and of three nodes of Basalt each leads something.
  own.on('+node', (node) => node.on('ready', () => node.readonly().catch(() => {})));
  for (const key of keys) {
    await client.set(key, 'here');
    // Each replica has it a moment later.
    await eventually(async () => (await Promise.all([1, 2, 3, 4].map(() => own.get(key)))).every((value) => value === 'here'));
  }
  own.disconnect();
});

// Errors that may come where a node is lost: those of connections, those that say that nobody leads, and UNCERTAIN. A transaction
// whose commands were told so, or to go elsewhere, is discarded.
const isOfFailover = (error) => ['ClusterAllFailedError', 'MaxRetriesPerRequestError'].includes(error.name)
  || /^(UNCERTAIN|CLUSTERDOWN|TRYAGAIN|EXECABORT|Connection is closed|Too many Cluster|(connect|read|write) E)/.test(error.message);

// Whether a node has these values itself, as who says READONLY sees it; a redis-server has those of its leader.
async function isReadableAt(at, values) {
  const reader = new Redis(at, host);
  const pipeline = reader.pipeline().readonly();
  for (const key of values.keys()) pipeline.get(key);
  const [, ...replies] = await pipeline.exec();
  reader.disconnect();
  const wanted = [...values.values()];
  const found = replies.map(([error, value], index) => [error, value === wanted[index]]);
  const own = losesNothing ? found : found.filter(([error]) => !error?.message.startsWith('MOVED'));
  return own.length > 0 && own.every(([error, isThere]) => !error && isThere);
}

check('writers go on while a leader is killed', async () => {
  client.defineCommand('addMember', {
    numberOfKeys: 2,
    lua: "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])",
  });
  const all = async (replies) => {
    for (const [error] of await replies) if (error) throw error;
  };
  const writes = {
    string: (n) => client.set(`string:${n}`, n),
    strings: (n) => Promise.all(Array.from({ length: 10 }, (_, part) => client.set(`part:${part}:${n}`, n))),
    hash: (n) => client.hset('{writers}:hash', n, n),
    pipeline: (n) => all(client.pipeline().sadd('{writers}:pipeline:set', n).incr('{writers}:pipeline:count').exec()),
    transaction: (n) => all(client.multi().sadd('{writers}:transaction:set', n).incr('{writers}:transaction:count').exec()),
    script: (n) => client.addMember('{writers}:script:set', '{writers}:script:count', n),
  };
  const writers = new Writers(writes, isOfFailover);
  await writers.goOn(50);
  const victim = await leaderOf('{writers}');
  await order(`kill ${victim}`);
  // The first write that counts: none of those on their way at that moment.
  const first = Object.fromEntries(Object.entries(writers.counts).map(([key, done]) => [key, losesNothing ? 0 : done + 1]));
  // Four of them need another leader for that, the others sooner or later.
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
  for (const reader of [client, connect()]) {
    assert.deepEqual(await Promise.all([...values.keys()].map((key) => reader.get(key))), [...values.values()]);
    const fields = new Set(await reader.hkeys('{writers}:hash'));
    for (let n = first.hash; n < counts.hash; n++) assert.ok(fields.has(String(n)), `hash ${n}`);
    for (const way of ['pipeline', 'transaction', 'script']) {
      const members = new Set(await reader.smembers(`{writers}:${way}:set`));
      for (let n = first[way]; n < counts[way]; n++) assert.ok(members.has(String(n)), `${way} ${n}`);
      // One that was executed twice, since its first answer was lost, counts twice and is one member.
      const count = Number(await reader.get(`{writers}:${way}:count`));
      if (way !== 'pipeline') assert.ok(count >= members.size, `${way}: ${count} of ${members.size}`);
    }
  }
  // Whom they have killed has it as well.
  await eventually(() => isReadableAt(victim, values));
});

run();
