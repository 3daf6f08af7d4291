"""redis-py's `RedisCluster`: commands over the slots of all nodes, and a leader that is killed under writers and comes back."""

import redis
from redis.exceptions import (
    ClusterDownError,
    ClusterError,
    ConnectionError,
    ExecAbortError,
    RedisClusterException,
    RedisError,
    TimeoutError,
    TryAgainError,
    WatchError,
)

from cluster import FAILOVER_SECONDS, LOSES_NOTHING, Writers, keys_of_leaders, leader_of, order
from harness import HOST, PORT, PORTS, call, check, eventually, run, same

# Earlier ones have no transactions in clusters, and threads get into each other's way where a node is lost.
IS_OLD = int(redis.__version__.split(".")[0]) < 6

NUMBERS = range(300)


def connect(**options):
    return redis.RedisCluster(HOST, PORT, decode_responses=True, **options)


client = connect()


def is_of_failover(error):
    """Whether an error may come where a node is lost: those of connections, those that say that nobody leads, and UNCERTAIN.

    A transaction whose commands were told so, or to go elsewhere, is discarded.
    """
    told = (ClusterDownError, TryAgainError, ExecAbortError)
    met = (ConnectionError, TimeoutError, ClusterError, RedisClusterException)
    return isinstance(error, told + met) or isinstance(error, RedisError) and str(error).startswith("UNCERTAIN ")


def get_all(reader, keys):
    """Values of keys in whatever slots."""
    with reader.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        return pipe.execute()


@check
def strings_over_all_slots():
    for number in NUMBERS:
        assert client.set(f"key:{number}", number)
    same([client.get(f"key:{number}") for number in NUMBERS], [str(number) for number in NUMBERS])
    assert client.mset_nonatomic({f"other:{number}": number for number in NUMBERS})
    same(client.mget_nonatomic([f"other:{number}" for number in NUMBERS]), [str(number) for number in NUMBERS])
    # Each of three has some, and they are all.
    sizes = [client.dbsize(target_nodes=node) for node in client.get_primaries()]
    same((len(sizes), sum(sizes), min(sizes) > 0), (3, 2 * len(NUMBERS), True))
    same({key for key in client.scan_iter("key:*", count=50)}, {f"key:{number}" for number in NUMBERS})
    same(client.delete(*(f"key:{number}" for number in NUMBERS)), len(NUMBERS))


@check
def slots_and_redirects():
    keys = keys_of_leaders("moved")
    same({client.get_node_from_key(key).port for key in keys.values()}, set(keys))
    same({port: client.get_node_from_key(key).port for port, key in keys.items()}, {port: port for port in keys})
    for port, key in keys.items():
        same(client.keyslot(key), client.cluster_keyslot(key))
        for other in set(PORTS) - {port}:
            same(call(f"SET {key} 1", other), f"-MOVED {client.keyslot(key)} {HOST}:{port}\r\n".encode())
    # A client whose map is wrong goes where it is told to, and learns from that.
    own = connect()
    first, second = list(keys)[:2]
    slot = own.keyslot(keys[first])
    own.nodes_manager.slots_cache[slot] = own.nodes_manager.slots_cache[own.keyslot(keys[second])]
    same(own.get_node_from_key(keys[first]).port, second)
    assert own.set(keys[first], "found")
    same((own.get_node_from_key(keys[first]).port, client.get(keys[first])), (first, "found"))
    info = client.cluster_info(target_nodes=client.get_random_node())
    same((info["cluster_state"], info["cluster_slots_ok"]), ("ok", "16384"))


@check
def values_of_all_types():
    for key in keys_of_leaders("type").values():
        same(client.hset(f"{{{key}}}:hash", mapping={"a": 1, "b": 2}), 2)
        same(client.hgetall(f"{{{key}}}:hash"), {"a": "1", "b": "2"})
        same(client.rpush(f"{{{key}}}:list", 1, 2, 3), 3)
        same(client.lmove(f"{{{key}}}:list", f"{{{key}}}:other"), "1")
        same(client.lrange(f"{{{key}}}:list", 0, -1), ["2", "3"])
        same(client.sadd(f"{{{key}}}:set", "x", "y"), 2)
        same(client.zadd(f"{{{key}}}:zset", {"m": 1.5, "n": 2}), 2)
        same(client.zrange(f"{{{key}}}:zset", 0, -1), ["m", "n"])
        assert client.mset({f"{{{key}}}:1": "one", f"{{{key}}}:2": "two"})
        same(client.mget(f"{{{key}}}:1", f"{{{key}}}:2"), ["one", "two"])
        id = client.xadd(f"{{{key}}}:stream", {"f": "v"})
        same(client.xrange(f"{{{key}}}:stream"), [(id, {"f": "v"})])
        same(list(client.blpop(f"{{{key}}}:other", timeout=60)), [f"{{{key}}}:other", "1"])


@check
def pipelines():
    with client.pipeline(transaction=False) as pipe:
        for number in NUMBERS:
            pipe.set(f"key:{number}", number).hset(f"hash:{number}", "f", number)
        same(pipe.execute(), [True, 1] * len(NUMBERS))
    same(get_all(client, (f"key:{number}" for number in NUMBERS)), [str(number) for number in NUMBERS])
    with client.pipeline(transaction=False) as pipe:
        value, error = pipe.get("key:1").lpush("key:2", "x").execute(raise_on_error=False)
    same((value, str(error)[:9]), ("1", "WRONGTYPE"))


@check
def transactions():
    if IS_OLD:
        return
    for key in keys_of_leaders("transaction").values():
        with client.pipeline(transaction=True) as pipe:
            pipe.incr(f"{{{key}}}:a").incr(f"{{{key}}}:b").get(f"{{{key}}}:a")
            same(pipe.execute(), [1, 1, "1"])
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(f"{{{key}}}:a")
            client.set(f"{{{key}}}:a", "changed meanwhile")
            pipe.multi()
            pipe.set(f"{{{key}}}:a", 2)
            try:
                pipe.execute()
                raise AssertionError("a watched key was changed")
            except WatchError:
                pass
    try:
        with client.pipeline(transaction=True) as pipe:
            pipe.set("a", 1).set("b", 1).execute()
        raise AssertionError("the keys are in two slots")
    except redis.exceptions.CrossSlotTransactionError:
        pass


@check
def scripts():
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for key in keys_of_leaders("script").values():
        same([add([key], [5]), add([key], [6])], [5, 11])
    assert client.script_flush()
    for key in keys_of_leaders("script").values():
        same(add([key], [1]), 12)
        same(client.eval("return redis.call('MGET', KEYS[1], KEYS[2])", 2, key, f"{{{key}}}:none"), ["12", None])


@check
def channels_of_shards():
    keys = keys_of_leaders("channel").values()
    with client.pubsub() as subscriber:
        subscriber.ssubscribe(*keys)

        def hears_all():
            for key in keys:
                client.spublish(key, "hello")
            while message := subscriber.get_sharded_message(timeout=0.1):
                if message["type"] == "smessage":
                    heard.add((message["channel"], message["data"]))
            return len(heard) == 3

        heard = set()
        eventually(hears_all)
        same(heard, {(key, "hello") for key in keys})
        # Each is heard by whom is there, and by nobody else.
        same([client.spublish(key, "x") for key in keys], [1, 1, 1])
        subscriber.sunsubscribe(*keys)
        eventually(lambda: [client.spublish(key, "x") for key in keys] == [0, 0, 0])


@check
def reads_from_replicas():
    keys = keys_of_leaders("replica")
    # Replicas are told of once they have heard of themselves that they follow.
    # Some slots may be told of with their leader alone.
    eventually(lambda: sum(len(nodes) > 1 for nodes in connect().nodes_manager.slots_cache.values()) > 16000)
    own = connect(read_from_replicas=True)
    for key in keys.values():
        client.set(key, "here")
        # Turns go over the leader and its replicas, each of which has it a moment later.
        eventually(lambda: [own.get(key) for _ in range(6)] == ["here"] * 6)


def readable_at(port, values):
    """Whether a node has these values itself, as who says READONLY sees it; a redis-server has those of its leader."""
    with redis.Redis(HOST, port, decode_responses=True).pipeline(transaction=False) as pipe:
        pipe.execute_command("READONLY")
        for key in values:
            pipe.get(key)
        found = dict(zip(values, pipe.execute(raise_on_error=False)[1:]))
    if not LOSES_NOTHING:
        found = {key: value for key, value in found.items() if not isinstance(value, RedisError)}
        values = {key: values[key] for key in found}
    return bool(found) and found == values


@check
def writers_go_on_while_a_leader_is_killed():
    def own():
        return connect() if IS_OLD else client

    def write_string(number, client=own()):
        assert client.set(f"string:{number}", number)

    def write_hash(number, client=own()):
        client.hset("{writers}:hash", number, number)

    def write_pipeline(number, client=own()):
        with client.pipeline(transaction=False) as pipe:
            for part in range(10):
                pipe.set(f"part:{part}:{number}", number)
            same(pipe.execute(), [True] * 10)

    def write_transaction(number):
        with client.pipeline(transaction=True) as pipe:
            pipe.sadd("{writers}:set", number).incr("{writers}:count").execute()

    add = own().register_script("redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")

    def write_script(number):
        add(["{writers}:scripts:set", "{writers}:scripts:count"], [number])

    writes = {"string": write_string, "hash": write_hash, "pipeline": write_pipeline, "script": write_script}
    if not IS_OLD:
        writes["transaction"] = write_transaction
    writers = Writers(writes, is_of_failover)
    writers.go_on(50)
    victim = leader_of("{writers}")
    order(f"kill {victim}")
    # The first write that counts: none of those on their way at that moment.
    first = {name: 0 if LOSES_NOTHING else done + 1 for name, done in writers.counts.items()}
    # Three of them need another leader for that, the others sooner or later.
    writers.go_on(50)
    assert leader_of("{writers}") != victim
    order(f"start {victim}")
    if LOSES_NOTHING:
        eventually(lambda: leader_of("{writers}") == victim, FAILOVER_SECONDS)
    writers.go_on(50)
    counts = writers.end()
    order("whole")

    # What was acknowledged is there, seen by a client that was there throughout, and by another one.
    strings = {f"string:{number}": str(number) for number in range(first["string"], counts["string"])}
    parts = {f"part:{part}:{n}": str(n) for n in range(first["pipeline"], counts["pipeline"]) for part in range(10)}
    for reader in (client, connect()):
        same(get_all(reader, strings), list(strings.values()))
        same(get_all(reader, parts), list(parts.values()))
        same({str(number) for number in range(first["hash"], counts["hash"])} - set(reader.hkeys("{writers}:hash")), set())
        for name, prefix in (("transaction", "{writers}"), ("script", "{writers}:scripts")):
            if name not in writes:
                continue
            members = reader.smembers(f"{prefix}:set")
            same({str(number) for number in range(first[name], counts[name])} - members, set())
            # One that was executed twice, since its first answer was lost, counts twice and is one member.
            assert int(reader.get(f"{prefix}:count")) >= len(members), (name, len(members))
    # Whom they have killed has it as well.
    eventually(lambda: readable_at(victim, strings | parts))


run()
