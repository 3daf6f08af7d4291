"""What the workers of the task queues execute; they import it by name, in processes of their own."""

import os
import time

from celery import Celery

URL = f"redis://127.0.0.1:{os.environ['PROGRAMS_PORTS']}"

app = Celery("jobs", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"priority_steps": [0, 5], "queue_order_strategy": "priority"},
    result_extended=True,
    redbeat_redis_url=f"{URL}/2",
)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("on purpose")


@app.task(bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task
def when():
    return time.time()


def multiply(a, b):
    return a * b


def broken():
    raise ValueError("on purpose")


def second_time(path):
    """Fails the first time, which it notes in a file."""
    if not os.path.exists(path):
        open(path, "w").close()
        raise ValueError("the first time")
    return "done"
