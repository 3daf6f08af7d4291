"""Celery with Redis as broker and result backend: results, chains, groups, chords, ETA, retries, revocation, remote control."""

import os
import subprocess
import sys
import time

import redis
from celery import chain, chord, group
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

from harness import HOST, PORT, URL, check, eventually, run, same
from jobs import add, app, fail, third_time, total, when


class Process:
    """A process of Celery for the time of a check."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        command = [sys.executable, "-m", "celery", "-A", "jobs", *self.arguments]
        self.process = subprocess.Popen(command, cwd=os.path.dirname(os.path.abspath(__file__)), stdout=sys.stderr)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


class Worker(Process):
    """A worker that answers."""

    def __init__(self):
        super().__init__("worker", "--pool", "threads", "--concurrency", "4", "--hostname", f"worker-{time.time()}@%h")

    def __enter__(self):
        super().__enter__()
        try:
            eventually(lambda: app.control.ping(timeout=1))
        except BaseException:
            self.__exit__()
            raise


def get(result):
    return result.get(timeout=60)


@check
def results():
    with Worker():
        same([get(result) for result in [add.delay(number, 1) for number in range(20)]], list(range(1, 21)))
        failed = fail.delay()
        try:
            get(failed)
            raise AssertionError("the task fails")
        except ValueError as error:
            same(str(error), "on purpose")
        same((failed.state, add.apply_async((1, 2), priority=5).get(timeout=60)), ("FAILURE", 3))
        forgotten = add.delay(1, 1)
        get(forgotten)
        forgotten.forget()
        same(redis.Redis(HOST, PORT, db=1).exists(f"celery-task-meta-{forgotten.id}"), 0)


@check
def canvas():
    with Worker():
        same(get(chain(add.s(1, 2), add.s(3), add.s(4))()), 10)
        same(get(group(add.s(number, number) for number in range(10))()), [2 * number for number in range(10)])
        same(get(chord((add.s(number, 1) for number in range(10)), total.s())()), 55)
        same(get(chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(1))()), 7)


@check
def eta_and_retries():
    with Worker():
        asked = time.time()
        assert get(when.apply_async(countdown=2)) >= asked + 2
        same(get(third_time.delay()), 2)
        late = add.apply_async((1, 2), countdown=3600)
        [(_, scheduled)] = eventually(lambda: [item for item in (app.control.inspect().scheduled() or {}).items() if item[1]])
        same(scheduled[0]["request"]["id"], late.id)
        late.revoke()
        eventually(lambda: any(late.id in ids for ids in (app.control.inspect().revoked() or {}).values()))


@check
def unacknowledged_tasks_come_back():
    app.connection_for_write().ensure_connection()
    ids = [add.delay(number, 1).id for number in range(5)]
    with app.connection_for_read() as connection:
        channel = connection.channel()
        message = channel.basic_get("celery")
        assert message.delivery_tag in [tag.decode() for tag in redis.Redis.from_url(URL).hkeys("unacked")]
        message.reject(requeue=True)
        same(redis.Redis.from_url(URL).llen("celery"), 5)
    with Worker():
        same(sorted(get(app.AsyncResult(id)) for id in ids), [1, 2, 3, 4, 5])


@check
def redbeat_schedules():
    entry = RedBeatSchedulerEntry("every second", "jobs.add", schedule(1), args=(1, 2), app=app)
    entry.save()
    with Process("beat", "--scheduler", "redbeat.RedBeatScheduler", "--max-interval", "1", "--pidfile="):
        eventually(lambda: redis.Redis.from_url(URL).llen("celery") >= 2)
    assert RedBeatSchedulerEntry.from_key(entry.key, app=app).total_run_count >= 1
    entry.delete()


run()
