"""RQ: jobs, failures, retries, jobs that wait for others or for a time, and its scheduler."""

import tempfile
from datetime import timedelta

import redis
from rq import Queue, Retry, Worker
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry

from harness import HOST, PORT, check, eventually, run, same

import jobs

client = redis.Redis(HOST, PORT)


def work(scheduler=False, jobs=None):
    Worker([Queue("default", connection=client)], connection=client).work(burst=True, with_scheduler=scheduler, max_jobs=jobs)


@check
def results():
    queue = Queue("default", connection=client)
    job = queue.enqueue(jobs.multiply, 6, 7)
    same((job.get_status().value, queue.count, queue.job_ids), ("queued", 1, [job.id]))
    work()
    job.refresh()
    same((job.get_status().value, job.return_value(), queue.count), ("finished", 42, 0))
    same(FinishedJobRegistry(queue=queue).get_job_ids(), [job.id])
    same(len(queue.enqueue_many([Queue.prepare_data(jobs.multiply, (1, n)) for n in range(20)])), 20)
    work()
    same(queue.count, 0)


@check
def thousands_of_jobs():
    queue = Queue("default", connection=client)
    queue.enqueue_many([Queue.prepare_data(jobs.multiply, (1, n)) for n in range(3000)])
    same((len(queue.get_jobs(0, 100)), queue.count), (100, 3000))
    same((queue.empty(), queue.count), (3000, 0))


@check
def failures_and_retries():
    queue = Queue("default", connection=client)
    broken = queue.enqueue(jobs.broken)
    mark = tempfile.mktemp()
    again = queue.enqueue(jobs.second_time, mark, retry=Retry(max=2))
    work()
    same((broken.get_status().value, again.get_status().value), ("failed", "finished"))
    same(FailedJobRegistry(queue=queue).get_job_ids(), [broken.id])
    assert "on purpose" in broken.latest_result().exc_string
    FailedJobRegistry(queue=queue).requeue(broken.id)
    same(queue.job_ids, [broken.id])
    broken.delete()
    same(queue.count, 0)


@check
def jobs_that_wait_for_others():
    queue = Queue("default", connection=client)
    first = queue.enqueue(jobs.multiply, 1, 2)
    second = queue.enqueue(jobs.multiply, 3, 4, depends_on=first)
    third = queue.enqueue(jobs.multiply, 5, 6, depends_on=[first, second])
    same((second.get_status().value, queue.count), ("deferred", 1))
    work()
    same([job.return_value() for job in (first, second, third)], [2, 12, 30])


@check
def jobs_for_later():
    queue = Queue("default", connection=client)
    job = queue.enqueue_in(timedelta(seconds=1), jobs.multiply, 2, 2)
    queue.enqueue_in(timedelta(hours=1), jobs.multiply, 3, 3)
    same(len(ScheduledJobRegistry(queue=queue).get_job_ids()), 2)

    def done():
        work(scheduler=True)
        return job.get_status(refresh=True).value == "finished"

    eventually(done)
    same(job.return_value(), 4)
    same(len(ScheduledJobRegistry(queue=queue).get_job_ids()), 1)


@check
def rq_scheduler():
    from rq_scheduler import Scheduler

    scheduler = Scheduler(queue_name="default", connection=client)
    job = scheduler.enqueue_in(timedelta(seconds=0), jobs.multiply, 2, 5)
    assert scheduler.acquire_lock()
    scheduler.enqueue_jobs()
    scheduler.remove_lock()
    work()
    same(job.return_value(), 10)


run()
