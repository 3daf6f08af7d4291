// ioredis: pipelines, transactions, scripts as commands, streams, Pub/Sub, blocking pops, scans.
const assert = require('node:assert/strict');
const { check, eventually, host, module: name, port, run } = require('./harness');

const { Redis } = require(name);
const client = new Redis(port, host);

check('pipelines', async () => {
  const pipeline = client.pipeline();
  for (let index = 0; index < 200; index++) pipeline.set(`key:${index}`, index);
  assert.deepEqual(new Set((await pipeline.exec()).map(([, reply]) => reply)), new Set(['OK']));
  const replies = await client.pipeline().get('key:1').lpush('key:1', 1).hset('hash', { a: 1, b: 2 }).hgetall('hash').exec();
  assert.equal(replies[0][1], '1');
  assert.match(replies[1][0].message, /^WRONGTYPE/);
  assert.deepEqual(replies[3], [null, { a: '1', b: '2' }]);
  const keys = [];
  for await (const some of client.scanStream({ match: 'key:1*', count: 20 })) keys.push(...some);
  assert.equal(new Set(keys).size, 111);
});

check('pipelines that are made of themselves', async () => {
  const own = new Redis({ port, host, enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 100 }, (_, index) => own.set(`key:${index}`, index)));
  assert.equal((await own.mget(Array.from({ length: 100 }, (_, index) => `key:${index}`)))[99], '99');
  await own.quit();
});

check('transactions', async () => {
  assert.deepEqual(await client.multi().set('a', 1).incr('b').get('a').exec(), [[null, 'OK'], [null, 1], [null, '1']]);
  const other = client.duplicate();
  await client.watch('a');
  await other.set('a', 2);
  assert.equal(await client.multi().set('a', 3).exec(), null);
  await client.multi({ pipeline: false });
  assert.equal(await client.incr('b'), 'QUEUED');
  assert.deepEqual(await client.exec(), [[null, 2]]);
  await assert.rejects(client.multi().set('a').exec(), /EXECABORT|wrong number/);
  await other.quit();
});

check('scripts of one key', async () => {
  client.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  assert.equal(await client.addTo('sum', 5), 5);
  await client.script('FLUSH');
  assert.equal(await client.addTo('sum', 5), 10);
  assert.deepEqual(await client.pipeline().addTo('sum', 1).get('sum').exec(), [[null, 11], [null, '11']]);
});

check('scripts of two keys', async () => {
  client.defineCommand('swap', {
    numberOfKeys: 2,
    lua: `local left = redis.call('GET', KEYS[1])
      redis.call('SET', KEYS[1], redis.call('GET', KEYS[2]))
      redis.call('SET', KEYS[2], left)`,
  });
  // Four names whose last digits differ so are in four shards, if there are that many.
  for (let index = 0; index < 4; index++) {
    await client.mset(`left:${index}`, 'l', 'right', 'r');
    await client.swap(`left:${index}`, 'right');
    assert.deepEqual(await client.mget(`left:${index}`, 'right'), ['r', 'l']);
  }
});

check('Pub/Sub', async () => {
  const subscriber = client.duplicate();
  const seen = [];
  subscriber.on('message', (channel, message) => seen.push([channel, message]));
  subscriber.on('pmessage', (pattern, channel, message) => seen.push([pattern, channel, message]));
  subscriber.on('smessage', (channel, message) => seen.push(['shard', channel, message]));
  assert.equal(await subscriber.subscribe('news', 'other'), 2);
  assert.equal(await subscriber.psubscribe('user:*'), 3);
  assert.equal(await subscriber.ssubscribe('sharded'), 1);
  assert.equal(await client.publish('news', 'one'), 1);
  assert.equal(await client.publish('user:7', 'two'), 1);
  assert.equal(await client.spublish('sharded', 'three'), 1);
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, [['news', 'one'], ['user:*', 'user:7', 'two'], ['shard', 'sharded', 'three']]);
  assert.deepEqual(await client.pubsub('NUMSUB', 'news'), ['news', 1]);
  await subscriber.quit();
});

check('streams', async () => {
  const id = await client.xadd('stream', '*', 'a', '1');
  await client.xgroup('CREATE', 'stream', 'group', '0');
  const [[key, [[first, fields]]]] = await client.xreadgroup('GROUP', 'group', 'me', 'COUNT', 1, 'STREAMS', 'stream', '>');
  assert.deepEqual([key, first, fields], ['stream', id, ['a', '1']]);
  const reader = client.duplicate();
  const waiting = reader.xread('BLOCK', 60000, 'STREAMS', 'stream', '$');
  await eventually(async () => /blocked_clients:1\r/.test(await client.info('clients')));
  await client.xadd('stream', '*', 'b', '2');
  assert.deepEqual((await waiting)[0][1][0][1], ['b', '2']);
  assert.equal(await client.xack('stream', 'group', id), 1);
  await reader.quit();
});

check('blocking pops', async () => {
  const worker = client.duplicate();
  const waiting = worker.blpop('high', 'low', 60);
  await client.rpush('low', 'x');
  assert.deepEqual(await waiting, ['low', 'x']);
  assert.equal(await worker.blpop('none', 0.1), null);
  const popped = worker.bzpopmin('zset', 60);
  await client.zadd('zset', 1, 'm');
  assert.deepEqual(await popped, ['zset', 'm', '1']);
  await worker.quit();
});

check('connections', async () => {
  const own = new Redis({ port, host, connectionName: 'me', db: 3, lazyConnect: true, maxRetriesPerRequest: null });
  await own.connect();
  await own.set('key', 'x');
  assert.equal(await client.get('key'), null);
  const id = await own.client('ID');
  assert.match(await client.client('LIST'), /name=me .*db=3/);
  await client.client('KILL', 'ID', id);
  // It connects again of itself, with its name and database.
  assert.equal(await own.get('key'), 'x');
  assert.equal(await own.client('GETNAME'), 'me');
  assert.equal((await own.getBuffer('key')).toString(), 'x');
  own.disconnect();
});

run();
