"""arq, which wants redis-py 5: jobs of an asyncio worker, at once, deferred and tried again."""

import asyncio

from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from harness import HOST, PORT, check, run, same


async def add(context, a, b):
    return a + b


async def second_time(context):
    if context["job_try"] == 1:
        raise Retry(defer=0.1)
    return context["job_try"]


@check
def jobs():
    async def scenario():
        pool = await create_pool(RedisSettings(host=HOST, port=PORT))
        jobs = [await pool.enqueue_job("add", number, 1) for number in range(10)]
        same(await pool.enqueue_job("add", 1, 1, _job_id=jobs[0].job_id), None)
        late = await pool.enqueue_job("add", 1, 2, _defer_by=1)
        again = await pool.enqueue_job("second_time")
        same(len(await pool.queued_jobs()), 12)
        worker = Worker([add, second_time], redis_pool=pool, burst=True, handle_signals=False, poll_delay=0.05)
        await worker.main()
        same([await job.result(60) for job in jobs], list(range(1, 11)))
        same((await late.result(60), await again.result(60)), (3, 2))
        same(worker.jobs_failed, 0)

    asyncio.run(scenario())


run()
