"""Smaller Python libraries on Redis: limits, locks, caches, sessions, task queues, containers, channel layers."""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import redis

from harness import HOST, PORT, URL, check, eventually, run, same

client = redis.Redis(HOST, PORT, decode_responses=True, protocol=2)


@check
def limits_of_rates():
    from limits import parse, storage, strategies

    where = storage.storage_from_string(URL)
    limit = parse("3 per hour")
    for name in ("FixedWindow", "MovingWindow", "SlidingWindowCounter"):
        limiter = getattr(strategies, f"{name}RateLimiter")(where)
        same([limiter.hit(limit, name) for _ in range(4)], [True, True, True, False])
        same((limiter.test(limit, name), limiter.get_window_stats(limit, name).remaining), (False, 0))
        limiter.clear(limit, name)
    same(strategies.FixedWindowRateLimiter(where).hit(limit, "FixedWindow"), True)
    assert where.check()


@check
def python_redis_lock():
    import redis_lock

    own = redis.Redis(HOST, PORT)
    lock = redis_lock.Lock(own, "name", expire=60, auto_renewal=True)
    assert lock.acquire(blocking=False)
    assert not redis_lock.Lock(own, "name").acquire(blocking=False)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(redis_lock.Lock(redis.Redis(HOST, PORT), "name", expire=60).acquire, timeout=60)
        lock.release()
        same(waiting.result(), True)
    redis_lock.reset_all(own)
    assert redis_lock.Lock(own, "name").acquire(blocking=False)


@check
def pottery_containers():
    from pottery import NextID, RedisCounter, RedisDeque, RedisDict, RedisList, RedisSet, Redlock, redis_cache

    own = redis.Redis(HOST, PORT, protocol=2)
    dictionary = RedisDict({"a": 1}, redis=own, key="dict")
    dictionary["b"] = [2]
    same(dict(dictionary), {"a": 1, "b": [2]})
    assert RedisSet({1, 2}, redis=own, key="set") == {1, 2}
    numbers = RedisList([1, 2, 3], redis=own, key="list")
    numbers.insert(1, 9)
    same(list(numbers), [1, 9, 2, 3])
    queue = RedisDeque([1, 2, 3], maxlen=3, redis=own, key="deque")
    queue.append(4)
    same(list(queue), [2, 3, 4])
    counter = RedisCounter("aab", redis=own, key="counter")
    same(counter.most_common(1), [("a", 2)])
    same([next(ids) for ids in [NextID(key="ids", masters={own})] * 3], [1, 2, 3])
    lock = Redlock(key="lock", masters={own}, auto_release_time=60)
    with lock:
        assert not Redlock(key="lock", masters={own}).acquire(blocking=False)

    @redis_cache(redis=own, key="cache", timeout=60)
    def expensive(number):
        return number * 2

    same((expensive(2), expensive(2), expensive.cache_info().hits), (4, 4, 1))


@check
def walrus_containers():
    from walrus import Database, IntegerField, Model, TextField

    database = Database(HOST, PORT, protocol=2)

    class User(Model):
        __database__ = database
        name = TextField(primary_key=True)
        age = IntegerField(index=True)

    for name, age in (("ann", 30), ("bob", 40), ("eve", 50)):
        User.create(name=name, age=age)
    same(sorted(user.name for user in User.query(User.age >= 40)), ["bob", "eve"])
    same(User.load("ann").age, 30)
    with database.lock("lock", ttl=60000):
        pass
    limiter = database.rate_limit("limit", limit=2, per=3600)
    same([limiter.limit("x") for _ in range(3)], [False, False, True])
    cache = database.cache()
    same(cache.cached()(lambda: 7)(), 7)
    database.autocomplete().store("1", "basalt rock")
    same(database.List("list").append(1), 1)
    same(len(list(database.autocomplete().search("bas"))), 1)


@check
def dramatiq_tasks():
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.rate_limits import ConcurrentRateLimiter
    from dramatiq.rate_limits.backends import RedisBackend as LimitBackend
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker = RedisBroker(url=URL)
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
    dramatiq.set_broker(broker)
    tries = []

    @dramatiq.actor(store_results=True)
    def add(a, b):
        return a + b

    @dramatiq.actor(store_results=True, min_backoff=1, max_backoff=1)
    def second_time():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("the first time")
        return len(tries)

    worker = dramatiq.Worker(broker, worker_timeout=100)
    worker.start()
    message, again, late = add.send(1, 2), second_time.send(), add.send_with_options(args=(3, 4), delay=300)
    same([m.get_result(block=True, timeout=60000) for m in (message, again, late)], [3, 2, 7])
    broker.join("default", timeout=60000)
    worker.stop()
    with ConcurrentRateLimiter(LimitBackend(url=URL), "limit", limit=1).acquire() as acquired:
        assert acquired


@check
def huey_tasks():
    from huey import PriorityRedisHuey, RedisHuey
    from huey.consumer import Consumer

    for kind in (RedisHuey, PriorityRedisHuey):
        huey = kind(f"huey-{kind.__name__}", url=URL)

        @huey.task(retries=1)
        def add(a, b):
            return a + b

        consumer = Consumer(huey, workers=2, periodic=False, initial_delay=0.05, scheduler_interval=1)
        consumer.start()
        results = [add(number, 1) for number in range(5)] + [add.schedule((10, 1), delay=1)]
        same([result.get(blocking=True, timeout=60) for result in results], [1, 2, 3, 4, 5, 11])
        with huey.lock_task("lock"):
            assert huey.is_locked("lock")
        consumer.stop(graceful=True)


@check
def saq_tasks():
    from saq import Queue, Worker

    async def double(context, *, number):
        return 2 * number

    async def scenario():
        queue = Queue.from_url(URL)
        await queue.connect()
        worker = Worker(queue, functions=[("double", double)], concurrency=4)
        task = asyncio.create_task(worker.start())
        # Its first sweep aborts jobs that it sees between their queue and their start.
        while not await queue.redis.exists("saq:default:sweep"):
            await asyncio.sleep(0.05)
        same(await queue.apply("double", number=4, timeout=60), 8)
        same(await queue.map("double", [{"number": 1}, {"number": 2}], timeout=60), [2, 4])
        job = await queue.enqueue("double", number=9, scheduled=int(time.time()) + 1)
        await job.refresh(60)
        same(job.result, 18)
        assert (await queue.info(jobs=True))["workers"] is not None
        await worker.stop()
        task.cancel()
        await queue.disconnect()

    asyncio.run(scenario())


@check
def channel_layers():
    from channels_redis.core import RedisChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    async def scenario():
        for kind in (RedisChannelLayer, RedisPubSubChannelLayer):
            layer = kind(hosts=[URL])
            first, second = await layer.new_channel(), await layer.new_channel()
            await layer.send(first, {"type": "one"})
            same(await asyncio.wait_for(layer.receive(first), 60), {"type": "one"})
            await layer.group_add("group", first)
            await layer.group_add("group", second)
            await layer.group_send("group", {"type": "all"})
            same([await asyncio.wait_for(layer.receive(channel), 60) for channel in (first, second)], [{"type": "all"}] * 2)
            await layer.group_discard("group", second)
            await layer.flush()

    asyncio.run(scenario())


@check
def caches():
    import aiocache
    from cashews import Cache
    from flask import Flask, session
    from flask_caching import Cache as FlaskCache
    from flask_session import Session

    async def scenario():
        cache = aiocache.RedisCache(endpoint=HOST, port=PORT)
        await cache.set("key", "value", ttl=60)
        await cache.multi_set([("a", "1"), ("b", "2")])
        same((await cache.get("key"), await cache.multi_get(["a", "b"])), ("value", ["1", "2"]))
        async with aiocache.lock.RedLock(cache, "lock", lease=60):
            pass
        await cache.clear()
        await cache.close()
        other = Cache()
        other.setup(URL)
        await other.set("key", {"a": 1}, expire=60)
        same((await other.get("key"), await other.incr("n"), await other.exists("key")), ({"a": 1}, 1, True))
        async with other.lock("lock", expire=60):
            assert await other.is_locked("lock")
        await other.set_add("set", "x", expire=60)
        await other.slice_incr("slice", 0, 100, maxvalue=10, expire=60)
        await other.delete_match("ke*")
        same(await other.get("key"), None)

        @other(ttl="1m", tags=["tag"])
        async def expensive(number):
            return number * 2

        same((await expensive(2), await expensive(2)), (4, 4))
        await other.delete_tags("tag")
        await other.close()

    asyncio.run(scenario())

    app = Flask("app")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(HOST, PORT), CACHE_TYPE="RedisCache", CACHE_REDIS_URL=URL)
    Session(app)
    cache = FlaskCache(app)
    calls = []

    @app.route("/count")
    def count():
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    @app.route("/cached")
    @cache.cached(timeout=60)
    def cached():
        calls.append(1)
        return str(len(calls))

    with app.test_client() as browser:
        same([browser.get("/count").text for _ in range(3)], ["1", "2", "3"])
        same([browser.get("/cached").text for _ in range(3)], ["1", "1", "1"])
    with app.app_context():
        cache.set_many({"a": 1, "b": 2})
        same(cache.get_many("a", "b"), [1, 2])
        cache.delete_many("a", "b")
        cache.clear()


@check
def scheduled_jobs():
    from apscheduler.jobstores.redis import RedisJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    ran = tempfile.NamedTemporaryFile()
    scheduler = BackgroundScheduler(jobstores={"default": RedisJobStore(host=HOST, port=PORT)})
    scheduler.start()
    scheduler.add_job(note, "interval", seconds=1, args=[ran.name], id="job")
    eventually(lambda: len(open(ran.name).read()) >= 2)
    same([job.id for job in scheduler.get_jobs()], ["job"])
    scheduler.remove_job("job")
    scheduler.shutdown()


def note(path):
    with open(path, "a") as file:
        file.write("x")


@check
def coredis_client():
    import coredis

    async def scenario():
        own = coredis.Redis(host=HOST, port=PORT, decode_responses=True)
        async with own:
            await own.set("key", "value")
            same(await own.get("key"), "value")
            await own.hset("hash", {"a": "1"})
            same(await own.hgetall("hash"), {"a": "1"})
            script = own.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
            same(await script(["sum"], [5]), 5)
            same([key async for key in own.scan_iter("key")], ["key"])
            async with own.pipeline(transaction=True) as pipe:
                incremented = pipe.incr("a")
                pipe.incr("a")
            same((await incremented, await own.get("a")), (1, "2"))

    asyncio.run(scenario())


run()
