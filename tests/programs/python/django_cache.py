"""Django: django-redis and Django's own backend as caches, sessions in them."""

import threading

import django
from django.conf import settings

from harness import URL, check, eventually, run, same

settings.configure(
    CACHES={
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{URL}/1"},
        "builtin": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{URL}/2"},
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 (Django has to be set up first)
from django.core.cache import caches  # noqa: E402


def use(cache):
    cache.set("key", {"a": [1, 2]}, 60)
    same(cache.get("key"), {"a": [1, 2]})
    same(cache.get("none", "default"), "default")
    same((cache.add("key", 1), cache.add("new", 1)), (False, True))
    same((cache.incr("new"), cache.incr("new", 5), cache.decr("new", 2)), (2, 7, 5))
    assert not cache.set_many({f"key:{index}": index for index in range(20)})
    same(cache.get_many([f"key:{index}" for index in range(20)]), {f"key:{index}": index for index in range(20)})
    cache.delete_many([f"key:{index}" for index in range(10)])
    same(len(cache.get_many([f"key:{index}" for index in range(20)])), 10)
    same((cache.touch("key", 100), cache.touch("none", 100), cache.has_key("key")), (True, False, True))
    same(cache.get_or_set("computed", lambda: 7, 60), 7)
    cache.set("short", 1, timeout=1)
    eventually(lambda: cache.get("short") is None)
    same((cache.delete("key"), cache.delete("key")), (True, False))
    cache.set("versioned", "one", version=1)
    same(cache.incr_version("versioned"), 2)
    same(cache.get("versioned", version=2), "one")


@check
def own_backend():
    use(caches["builtin"])
    caches["builtin"].clear()
    same(caches["builtin"].get("computed"), None)


@check
def django_redis():
    cache = caches["default"]
    use(cache)
    assert 50 <= cache.ttl("computed") <= 60
    assert cache.persist("computed") and cache.ttl("computed") is None
    assert cache.expire("computed", 100) and cache.pttl("computed") > 90000
    same(len(cache.keys("key:*")), 10)
    same(sorted(cache.iter_keys("key:1*")), [f"key:1{index}" for index in range(10)])
    same(cache.delete_pattern("key:*"), 10)
    cache.set("nx", 1, nx=True)
    assert not cache.set("nx", 2, nx=True)
    order = []

    def take(name):
        with cache.lock("lock", timeout=60):
            order.extend([name, name])

    threads = [threading.Thread(target=take, args=(index,)) for index in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(order[index] == order[index + 1] for index in range(0, 8, 2)), order
    same((cache.sadd("set", 1, 2), cache.smembers("set")), (2, {1, 2}))
    cache.clear()
    assert not cache.keys("*")


@check
def sessions():
    session = SessionStore()
    session["user"] = 7
    session.save()
    again = SessionStore(session_key=session.session_key)
    same(again["user"], 7)
    old = again.session_key
    again.cycle_key()
    same(SessionStore().exists(old), False)
    same(SessionStore(session_key=again.session_key)["user"], 7)
    again.flush()
    same(SessionStore(session_key=old).get("user"), None)


run()
