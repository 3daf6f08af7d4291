// Rate limits, locks, sessions and caches: rate-limiter-flexible, express-rate-limit, redlock, connect-redis, keyv.
const assert = require('node:assert/strict');
const { Redis } = require('ioredis');
const redis = require('redis');
const { check, host, port, run, url } = require('./harness');

const client = new Redis(port, host, { enableOfflineQueue: true });

check('rate-limiter-flexible', async () => {
  const { BurstyRateLimiter, RateLimiterRedis } = require('rate-limiter-flexible');
  const node = redis.createClient({ url });
  await node.connect();
  for (const [name, store] of [['ioredis', client], ['node-redis', node]]) {
    const common = { storeClient: store, useRedisPackage: store === node, duration: 60 };
    const limiter = new RateLimiterRedis({ ...common, keyPrefix: name, points: 3 });
    for (let left = 2; left >= 0; left--) assert.equal((await limiter.consume('me')).remainingPoints, left);
    await assert.rejects(limiter.consume('me'), (refused) => refused.msBeforeNext > 0 && refused.consumedPoints === 4);
    assert.equal((await limiter.get('me')).consumedPoints, 4);
    await limiter.penalty('you', 2);
    await limiter.reward('you', 1);
    assert.equal((await limiter.get('you')).consumedPoints, 1);
    await limiter.block('bad', 60);
    await assert.rejects(limiter.consume('bad'));
    assert.ok(await limiter.delete('me'));
    const burst = new RateLimiterRedis({ ...common, keyPrefix: `${name}-burst`, points: 1 });
    const bursty = new BurstyRateLimiter(limiter, burst);
    for (let count = 0; count < 4; count++) await bursty.consume('b');
    await assert.rejects(bursty.consume('b'));
  }
});

check('express-rate-limit, sessions', async () => {
  const express = require('express');
  const session = require('express-session');
  const { rateLimit } = require('express-rate-limit');
  const { RedisStore: LimitStore } = require('rate-limit-redis');
  const { RedisStore } = require('connect-redis');
  const node = redis.createClient({ url });
  await node.connect();
  const app = express();
  app.use(rateLimit({
    windowMs: 60_000, limit: 4, store: new LimitStore({ sendCommand: (...args) => node.sendCommand(args) }),
  }));
  app.use(session({ store: new RedisStore({ client: node }), secret: 'x', resave: false, saveUninitialized: false }));
  app.get('/', (request, response) => {
    request.session.count = (request.session.count ?? 0) + 1;
    response.send(String(request.session.count));
  });
  const server = await new Promise((done) => { const it = app.listen(0, '127.0.0.1', () => done(it)); });
  const at = `http://127.0.0.1:${server.address().port}/`;
  const first = await fetch(at);
  const cookie = first.headers.get('set-cookie').split(';')[0];
  assert.equal(await first.text(), '1');
  for (const count of ['2', '3', '4']) assert.equal(await (await fetch(at, { headers: { cookie } })).text(), count);
  assert.equal((await fetch(at, { headers: { cookie } })).status, 429);
  server.closeAllConnections();
  server.close();
});

for (const [name, module] of [['redlock 4', 'redlock'], ['redlock 5', 'redlock5']]) {
  const locks = (keys) => async () => {
    const exported = require(module);
    const Redlock = exported.default ?? exported;
    const { Redis: Older } = require('ioredis5');
    const own = new Older(port, host);
    const redlock = new Redlock([own], { retryCount: 0 });
    redlock.on('error', () => {});
    redlock.on('clientError', () => {});
    const take = (ms) => (redlock.acquire ?? redlock.lock).call(redlock, keys, ms);
    let lock = await take(60_000);
    await assert.rejects(take(60_000));
    lock = await lock.extend(90_000);
    assert.ok(await client.pttl(keys[0]) > 60_000);
    await (lock.release ?? lock.unlock).call(lock);
    assert.equal(await client.exists(...keys), 0);
    await own.quit();
  };
  check(`${name}, one key`, locks(['lock']));
  check(`${name}, three keys`, locks(['lock:a', 'lock:b', 'lock:c']));
}

check('keyv', async () => {
  const { default: Keyv } = require('keyv');
  const { default: KeyvRedis } = require('@keyv/redis');
  const cache = new Keyv({ store: new KeyvRedis(url), namespace: 'cache' });
  await cache.set('key', { a: 1 }, 60_000);
  assert.deepEqual(await cache.get('key'), { a: 1 });
  assert.equal(await cache.has('key'), true);
  await cache.setMany([{ key: 'a', value: 1 }, { key: 'b', value: 2 }]);
  assert.deepEqual(await cache.getMany(['a', 'b', 'c']), [1, 2, undefined]);
  assert.equal(await cache.delete('key'), true);
  await cache.clear();
  assert.equal(await cache.get('a'), undefined);
});

run();
