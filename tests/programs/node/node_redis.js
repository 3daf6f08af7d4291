// node-redis: transactions, scripts, Pub/Sub, streams, scans, blocking pops, pools.
const assert = require('node:assert/strict');
const { check, eventually, module: name, run, url } = require('./harness');

const redis = require(name);
const scripts = {
  add: redis.defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
    transformArguments: (key, by) => [key, String(by)],
    parseCommand: (parser, key, by) => { parser.pushKey(key); parser.push(String(by)); },
    transformReply: (reply) => reply,
  }),
};
const connect = async (options = {}) => {
  const client = redis.createClient({ url, scripts, ...options });
  client.on('error', () => {});
  await client.connect();
  return client;
};

check('values', async () => {
  const client = await connect();
  const stored = await Promise.all(Array.from({ length: 100 }, (_, n) => client.set(`key:${n}`, n.toString())));
  assert.deepEqual(stored, Array(100).fill('OK'));
  assert.deepEqual(await client.mGet(['key:1', 'none']), ['1', null]);
  assert.equal(await client.set('key:1', 'x', { NX: true }), null);
  await client.hSet('hash', { a: '1', b: '2' });
  assert.deepEqual({ ...(await client.hGetAll('hash')) }, { a: '1', b: '2' });
  await client.zAdd('zset', [{ score: 1.5, value: 'a' }, { score: 2, value: 'b' }]);
  assert.deepEqual(await client.zRangeWithScores('zset', 0, -1), [{ value: 'a', score: 1.5 }, { value: 'b', score: 2 }]);
  await client.sAdd('set', ['1', '2']);
  assert.deepEqual(new Set(await client.sMembers('set')), new Set(['1', '2']));
  await client.geoAdd('geo', { longitude: 13.4, latitude: 52.5, member: 'Berlin' });
  assert.deepEqual(await client.geoSearch('geo', { longitude: 13, latitude: 52 }, { radius: 100, unit: 'km' }), ['Berlin']);
  const keys = [];
  for await (const some of client.scanIterator({ MATCH: 'key:*' })) keys.push(...[some].flat());
  assert.equal(new Set(keys).size, 100);
  client.destroy?.();
});

check('transactions', async () => {
  const client = await connect();
  const other = await connect();
  assert.deepEqual(await client.multi().set('a', '1').incr('b').get('a').exec(), ['OK', 1, '1']);
  await client.watch('a');
  await other.set('a', '2');
  await assert.rejects(client.multi().set('a', '3').exec(), redis.WatchError);
  assert.deepEqual(await client.multi().incr('b').incr('c').execAsPipeline(), [2, 1]);
});

check('scripts', async () => {
  const client = await connect();
  assert.equal(await client.add('sum', 5), 5);
  assert.equal(await client.add('sum', 5), 10);
  assert.deepEqual(await client.multi().add('sum', 1).get('sum').exec(), [11, '11']);
  assert.equal(await client.eval("return redis.call('GET', KEYS[1])", { keys: ['sum'] }), '11');
});

check('Pub/Sub', async () => {
  const client = await connect();
  const subscriber = await connect();
  const seen = [];
  await subscriber.subscribe('news', (message, channel) => seen.push([channel, message]));
  await subscriber.pSubscribe('user:*', (message, channel) => seen.push([channel, message]));
  await subscriber.sSubscribe('shard', (message, channel) => seen.push([channel, message]));
  assert.equal(await client.publish('news', 'one'), 1);
  assert.equal(await client.publish('user:1', 'two'), 1);
  assert.equal(await client.sPublish('shard', 'three'), 1);
  await eventually(() => seen.length === 3);
  assert.deepEqual(seen, [['news', 'one'], ['user:1', 'two'], ['shard', 'three']]);
  await subscriber.unsubscribe('news');
  assert.deepEqual(await client.pubSubChannels(), []);
});

check('streams', async () => {
  const client = await connect();
  const id = await client.xAdd('stream', '*', { a: '1' });
  await client.xGroupCreate('stream', 'group', '0');
  const [{ name: stream, messages }] = await client.xReadGroup('group', 'me', { key: 'stream', id: '>' });
  assert.deepEqual([stream, messages[0].id, { ...messages[0].message }], ['stream', id, { a: '1' }]);
  assert.equal((await client.xPending('stream', 'group')).pending, 1);
  assert.equal((await client.xAutoClaim('stream', 'group', 'other', 0, '0')).messages.length, 1);
  assert.equal(await client.xAck('stream', 'group', id), 1);
  assert.equal((await client.xInfoStream('stream')).length, 1);
  assert.equal((await client.xInfoGroups('stream'))[0].name, 'group');
});

check('blocking pops', async () => {
  const client = await connect();
  const worker = await connect();
  const waiting = worker.blPop(['high', 'low'], 60);
  await client.rPush('low', 'x');
  assert.deepEqual({ ...(await waiting) }, { key: 'low', element: 'x' });
});

check('blocking moves', async () => {
  const client = await connect();
  const worker = await connect();
  // Four names whose last digits differ so are in four shards, if there are that many.
  for (let index = 0; index < 4; index++) {
    const moved = worker.blMove(`inbox:${index}`, 'working', 'LEFT', 'RIGHT', 60);
    await client.rPush(`inbox:${index}`, 'job');
    assert.equal(await moved, 'job');
  }
});

check('RESP3', async () => {
  const client = await connect({ RESP: 3, name: 'me' });
  await client.hSet('hash', { a: '1' });
  assert.deepEqual({ ...(await client.hGetAll('hash')) }, { a: '1' });
  assert.equal(await client.clientGetName(), 'me');
  assert.match(await client.info('server'), /redis_version:/);
  assert.ok(Number(await client.clientId()) > 0);
  assert.equal((await client.clientInfo()).name, 'me');
  assert.equal((await client.configGet('maxmemory'))['maxmemory'], '0');
});

run();
