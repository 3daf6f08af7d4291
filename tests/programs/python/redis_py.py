"""redis-py, as applications use it: pipelines, transactions, locks, Pub/Sub, streams, scripts, blocking pops, asyncio."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import redis
import redis.asyncio
from redis.exceptions import LockError, NoScriptError, ResponseError, WatchError

from harness import HOST, PORT, check, eventually, run, same

# redis-py 8 speaks RESP3 of itself; the shapes here are those of RESP2, and `resp3` is a check of its own.
client = redis.Redis(HOST, PORT, decode_responses=True, protocol=2)


@check
def pipelines():
    with client.pipeline(transaction=False) as pipe:
        for index in range(500):
            pipe.set(f"key:{index}", index)
        same(pipe.execute(), [True] * 500)
    with client.pipeline(transaction=False) as pipe:
        pipe.mget([f"key:{index}" for index in range(500)]).incr("key:7").lpush("key:8", "x").ttl("key:9")
        values, incremented, error, ttl = pipe.execute(raise_on_error=False)
    same(values, [str(index) for index in range(500)])
    same((incremented, ttl), (8, -1))
    assert isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"), error
    same(sorted(client.scan_iter("key:1*", count=50)), sorted(f"key:{i}" for i in range(500) if str(i)[0] == "1"))


@check
def transactions():
    with client.pipeline() as pipe:
        pipe.set("from", 10).set("to", 5).decrby("from", 3).incrby("to", 3).mget("from", "to")
        same(pipe.execute(), [True, True, 7, 8, ["7", "8"]])
    with client.pipeline() as pipe:
        pipe.hset("hash", mapping={"a": 1, "b": 2}).hgetall("hash").sadd("set", 1, 2).smembers("set").zadd("zset", {"m": 1.5})
        pipe.zrange("zset", 0, -1, withscores=True).rpush("list", 1, 2).lrange("list", 0, -1).expire("list", 60).delete("hash")
        same(
            pipe.execute(),
            [2, {"a": "1", "b": "2"}, 2, {"1", "2"}, 1, [("m", 1.5)], 2, ["1", "2"], True, 1],
        )


@check
def watch():
    client.set("counter", 1)
    with client.pipeline() as pipe:
        pipe.watch("counter", "other")
        client.set("other", "changed meanwhile")
        pipe.multi()
        pipe.set("counter", 2)
        try:
            pipe.execute()
            raise AssertionError("a watched key was changed")
        except WatchError:
            pass
    # 4 threads count to 40 together; `transaction` tries again whenever another was faster.
    def count():
        for _ in range(10):
            client.transaction(lambda pipe: add_one(pipe), "counter")

    def add_one(pipe):
        value = int(pipe.get("counter"))
        pipe.multi()
        pipe.set("counter", value + 1)
        pipe.incr("mirror")

    threads = [threading.Thread(target=count) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    same(client.mget("counter", "mirror"), ["41", "40"])


@check
def locks():
    lock = client.lock("lock", timeout=60)
    assert lock.acquire()
    assert not client.lock("lock").acquire(blocking=False)
    assert lock.extend(60) and client.pttl("lock") > 60000
    assert lock.reacquire() and client.pttl("lock") <= 60000
    lock.release()
    try:
        lock.release()
        raise AssertionError("it was released twice")
    except LockError:
        pass
    order = []

    def take(name):
        with client.lock("shared", timeout=60, sleep=0.01):
            order.append(name)
            time.sleep(0.01)
            order.append(name)

    threads = [threading.Thread(target=take, args=(index,)) for index in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(order[index] == order[index + 1] for index in range(0, 10, 2)), order


@check
def pubsub():
    messages = []
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(**{"news": messages.append})
    subscriber.psubscribe(**{"user:*": messages.append})
    thread = subscriber.run_in_thread(sleep_time=0.01)
    eventually(lambda: client.pubsub_numsub("news") == [("news", 1)] and client.pubsub_numpat() == 1)
    same(client.publish("news", "first"), 1)
    same(client.publish("user:7", "second"), 1)
    with client.pipeline() as pipe:
        same(pipe.publish("news", "third").publish("nobody", "x").execute(), [1, 0])
    eventually(lambda: len(messages) == 3)
    same([(m["type"], m["pattern"], m["channel"], m["data"]) for m in messages], [
        ("message", None, "news", "first"),
        ("pmessage", "user:*", "user:7", "second"),
        ("message", None, "news", "third"),
    ])
    thread.stop()
    thread.join()
    with client.pubsub() as direct:
        direct.subscribe("a", "b")
        direct.unsubscribe("a")
        same([direct.get_message(timeout=60)["type"] for _ in range(3)], ["subscribe", "subscribe", "unsubscribe"])
        same(client.pubsub_channels(), ["b"])
        direct.ping("hello")
        same(direct.get_message(timeout=60)["data"], "hello")


@check
def consumer_groups():
    client.xgroup_create("orders", "workers", id="0", mkstream=True)
    try:
        client.xgroup_create("orders", "workers")
        raise AssertionError("the group was there")
    except ResponseError as error:
        assert str(error).startswith("BUSYGROUP"), error
    ids = [client.xadd("orders", {"number": number}, maxlen=1000) for number in range(10)]
    [(stream, entries)] = client.xreadgroup("workers", "ann", {"orders": ">"}, count=4)
    same((stream, [fields["number"] for _, fields in entries]), ("orders", ["0", "1", "2", "3"]))
    same(client.xack("orders", "workers", *ids[:2]), 2)
    pending = client.xpending("orders", "workers")
    same(pending, {"pending": 2, "min": ids[2], "max": ids[3], "consumers": [{"name": "ann", "pending": 2}]})
    same([entry["message_id"] for entry in client.xpending_range("orders", "workers", "-", "+", 10)], ids[2:4])
    cursor, claimed, deleted = client.xautoclaim("orders", "workers", "bob", min_idle_time=0)
    same((cursor, [id for id, _ in claimed], deleted), ("0-0", ids[2:4], []))
    same(client.xinfo_groups("orders")[0]["lag"], 6)
    same(client.xinfo_stream("orders")["length"], 10)
    same([c["name"] for c in client.xinfo_consumers("orders", "workers")], ["ann", "bob"])
    answers = []

    def wait():
        answers.append(redis.Redis(HOST, PORT, decode_responses=True, protocol=2).xread({"late": "$"}, block=60000))

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: int(client.info("clients")["blocked_clients"]) == 1)
    id = client.xadd("late", {"a": "b"})
    thread.join()
    same(answers, [[["late", [(id, {"a": "b"})]]]])
    same(client.xtrim("orders", maxlen=3, approximate=False), 7)
    same(client.xdel("orders", ids[9]), 1)


@check
def scripts_of_one_key():
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    same([add(["sum"], [5]), add(["sum"], [6])], [5, 11])
    client.script_flush()
    same(add(keys=["sum"], args=[1]), 12)
    with client.pipeline() as pipe:
        add(keys=["sum"], args=[1], client=pipe)
        pipe.get("sum")
        same(pipe.execute(), [13, "13"])
    try:
        client.evalsha("0" * 40, 0)
        raise AssertionError("there is no such script")
    except NoScriptError:
        pass
    same(client.eval("return {1, 'two', {3}, redis.status_reply('FINE'), false}", 0), [1, "two", [3], "FINE", None])


@check
def scripts_of_two_keys():
    move = client.register_script("""
        local value = redis.call('LPOP', KEYS[1])
        if value then redis.call('RPUSH', KEYS[2], value) end
        return value
    """)
    # Four names whose last digits differ so are in four shards, if there are that many.
    for index in range(4):
        client.rpush(f"todo:{index}", "task")
        same(move(keys=[f"todo:{index}", "done"]), "task")
        same(client.llen("done"), index + 1)


@check
def scripts_of_many_keys():
    with client.pipeline(transaction=False) as pipe:
        for index in range(10000):
            pipe.set(f"page:{index}", index)
        pipe.execute()
    # As those who delete by a pattern do it.
    deleted = client.eval(
        """
        local keys = redis.call('KEYS', ARGV[1])
        for first = 1, #keys, 5000 do
            redis.call('DEL', unpack(keys, first, math.min(first + 4999, #keys)))
        end
        return #keys
        """,
        0,
        "page:*",
    )
    same((deleted, client.dbsize()), (10000, 0))


@check
def blocking_pops():
    taken = []

    def work():
        own = redis.Redis(HOST, PORT, decode_responses=True)
        while (item := own.blpop(["high", "low"], timeout=60))[1] != "stop":
            taken.append(item)

    thread = threading.Thread(target=work)
    thread.start()
    for index in range(5):
        client.rpush("low", index)
        eventually(lambda: len(taken) == index + 1)
    client.rpush("high", "stop")
    thread.join()
    same([list(item) for item in taken], [["low", str(index)] for index in range(5)])
    same(client.blpop("nothing", timeout=0.2), None)
    client.rpush("source", "x")
    same(client.blmpop(60, 2, "none", "source", direction="LEFT"), ["source", ["x"]])
    client.zadd("zset", {"m": 2})
    same(list(client.bzpopmin(["none", "zset"], 60)), ["zset", "m", 2.0])


@check
def blocking_moves():
    for index in range(4):
        client.rpush(f"source:{index}", "x")
        same(client.blmove(f"source:{index}", "target", 60), "x")
        same(client.brpoplpush("target", f"source:{index}", 60), "x")
    for index in range(4):
        with ThreadPoolExecutor() as threads:
            moved = threads.submit(redis.Redis(HOST, PORT).blmove, f"inbox:{index}", "working", 60)
            eventually(lambda: moved.done() or int(client.info("clients")["blocked_clients"]) == 1)
            client.rpush(f"inbox:{index}", "job")
            same(moved.result(), b"job")
        same((client.llen("working"), client.exists(f"inbox:{index}")), (index + 1, 0))


@check
def asyncio_client():
    async def scenario():
        own = redis.asyncio.Redis(host=HOST, port=PORT, decode_responses=True, protocol=2)
        await asyncio.gather(*(own.set(f"key:{index}", index) for index in range(50)))
        same(await own.mget([f"key:{index}" for index in range(50)]), [str(index) for index in range(50)])
        async with own.pipeline(transaction=True) as pipe:
            same(await pipe.incr("a").incr("b").execute(), [1, 1])
        async with own.lock("lock", timeout=60):
            assert await own.exists("lock")
        assert not await own.exists("lock")
        async with own.pubsub() as subscriber:
            await subscriber.subscribe("channel")
            await subscriber.get_message(timeout=60)
            await own.publish("channel", "hello")
            message = await subscriber.get_message(timeout=60, ignore_subscribe_messages=True)
            same(message["data"], "hello")
        popped = asyncio.create_task(own.blpop("queue", timeout=60))
        await own.rpush("queue", "item")
        same(list(await popped), ["queue", "item"])
        same(len([key async for key in own.scan_iter("key:*")]), 50)
        await own.aclose()

    asyncio.run(scenario())


@check
def resp3():
    own = redis.Redis(HOST, PORT, decode_responses=True, protocol=3)
    own.hset("hash", mapping={"a": 1})
    same(own.hgetall("hash"), {"a": "1"})
    own.zadd("zset", {"x": 1, "y": 2.5})
    same([list(pair) for pair in own.zrange("zset", 0, -1, withscores=True)], [["x", 1.0], ["y", 2.5]])
    with own.pubsub() as subscriber:
        subscriber.subscribe("channel")
        subscriber.get_message(timeout=60)
        own.publish("channel", "x")
        same(subscriber.get_message(timeout=60)["data"], "x")
    own.xadd("stream", {"k": "v"}, id="1-1")
    same(own.xrange("stream"), [("1-1", {"k": "v"})])


@check
def node_tells_of_itself():
    info = client.info()
    same(info["redis_mode"], "standalone")
    same(info["role"], "master")
    for name in ("redis_version", "uptime_in_seconds", "connected_clients", "used_memory", "used_memory_human", "used_memory_peak",
                 "total_commands_processed", "instantaneous_ops_per_sec", "keyspace_hits", "keyspace_misses", "expired_keys",
                 "evicted_keys", "maxmemory", "mem_fragmentation_ratio", "rdb_last_save_time", "connected_slaves", "used_cpu_sys"):
        assert name in info, name
    client.set("a", 1, ex=100)
    same({key: client.info("keyspace")["db0"][key] for key in ("keys", "expires")}, {"keys": 1, "expires": 1})
    own = redis.Redis(HOST, PORT, client_name="me", decode_responses=True)
    own.ping()
    assert [c for c in client.client_list() if c["name"] == "me"]
    same(own.client_info()["name"], "me")
    assert client.client_kill_filter(_id=own.client_id()) == 1
    same(client.config_get("maxmemory-policy"), {"maxmemory-policy": "noeviction"})
    assert client.time()[0] > 1_600_000_000
    assert client.command_count() > 100
    same(client.object("encoding", "a"), "int")
    same(client.lastsave().year >= 1970, True)


@check
def dump_and_restore():
    client.rpush("list", 1, 2, 3)
    assert client.restore("copy", 0, redis.Redis(HOST, PORT).dump("list"))
    same(client.lrange("copy", 0, -1), ["1", "2", "3"])


@check
def memory_and_slowlog():
    client.set("key", "x" * 1000)
    assert client.memory_usage("key") > 1000
    assert isinstance(client.slowlog_get(), list)
    assert client.slowlog_reset()


@check
def keyspace_events():
    client.config_set("notify-keyspace-events", "KEA")
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.psubscribe("__keyevent@0__:*")
        eventually(lambda: client.pubsub_numpat() == 1)
        client.set("key", "x", px=50)
        seen = []
        def expired():
            if message := subscriber.get_message(timeout=1):
                seen.append((message["channel"].split(":")[1], message["data"]))
            return ("expired", "key") in seen
        eventually(expired)
    client.config_set("notify-keyspace-events", "")


@check
def functions():
    client.function_load("""#!lua name=mylib
        redis.register_function('add', function(keys) return redis.call('INCR', keys[1]) end)
    """)
    same([client.fcall("add", 1, "sum"), client.fcall("add", 1, "sum")], [1, 2])
    assert client.function_delete("mylib")


run()
