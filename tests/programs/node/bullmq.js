// BullMQ: jobs, workers, delays, retries, flows, rate limits, repeated jobs, stalled ones.
const assert = require('node:assert/strict');
const { check, eventually, host, module: name, port, run, sleep } = require('./harness');

const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require(name);
const connection = { host, port, maxRetriesPerRequest: null };

// Runs `body` with a queue, its events and a worker that does `work`, and closes them.
const withQueue = (work, body, options = {}) => async () => {
  const queue = new Queue('queue', { connection });
  const events = new QueueEvents('queue', { connection });
  const worker = new Worker('queue', work, { connection, ...options });
  for (const part of [queue, events, worker]) part.on('error', (error) => console.error(error.message));
  let failed;
  worker.on('error', (error) => { failed ??= error; });
  try {
    await Promise.race([
      body({ queue, events, worker }),
      eventually(() => failed, 110_000).then((error) => { throw error; }),
    ]);
  } finally {
    await Promise.all([worker.close(true), events.close(), queue.close()]);
  }
};

check('jobs', withQueue(async (job) => job.data.n * 2, async ({ queue, events }) => {
  await events.waitUntilReady();
  const job = await queue.add('double', { n: 21 });
  assert.equal(await job.waitUntilFinished(events, 60_000), 42);
  const jobs = await queue.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: 'double', data: { n } })));
  await Promise.all(jobs.map(async (job, n) => assert.equal(await job.waitUntilFinished(events, 60_000), 2 * n)));
  assert.equal(await queue.getCompletedCount(), 51);
  assert.equal((await queue.getJob(job.id)).returnvalue, 42);
}, { concurrency: 5 }));

check('delayed and prior jobs', withQueue(async (job) => Date.now(), async ({ queue, events }) => {
  await events.waitUntilReady();
  const asked = Date.now();
  const late = await queue.add('late', {}, { delay: 1000 });
  assert.equal(await late.getState(), 'delayed');
  assert.ok(await late.waitUntilFinished(events, 60_000) >= asked + 1000);
  const jobs = await Promise.all([3, 1, 2].map((priority) => queue.add('prior', {}, { priority })));
  await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
}));

check('retries', withQueue(async (job) => {
  if (job.name === 'hopeless') throw new UnrecoverableError('hopeless');
  if (job.attemptsMade < 2) throw new Error('try again');
  return job.attemptsMade;
}, async ({ queue, events }) => {
  await events.waitUntilReady();
  const again = await queue.add('again', {}, { attempts: 5, backoff: { type: 'exponential', delay: 100 } });
  assert.equal(await again.waitUntilFinished(events, 60_000), 2);
  const hopeless = await queue.add('hopeless', {}, { attempts: 5 });
  await assert.rejects(hopeless.waitUntilFinished(events, 60_000), /hopeless/);
  assert.equal(await queue.getFailedCount(), 1);
}));

check('flows', withQueue(async (job) => {
  if (job.name !== 'parent') return job.data.n;
  return Object.values(await job.getChildrenValues()).reduce((sum, n) => sum + n, 0);
}, async ({ events }) => {
  await events.waitUntilReady();
  const flows = new FlowProducer({ connection });
  const children = [1, 2, 3].map((n) => ({ name: 'child', queueName: 'queue', data: { n } }));
  const { job } = await flows.add({ name: 'parent', queueName: 'queue', children });
  assert.equal(await job.waitUntilFinished(events, 60_000), 6);
  await flows.close();
}));

check('rate limits', withQueue(async () => Date.now(), async ({ queue, events }) => {
  await events.waitUntilReady();
  const jobs = await queue.addBulk(Array.from({ length: 5 }, () => ({ name: 'job', data: {} })));
  const times = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
  assert.ok(Math.max(...times) - Math.min(...times) >= 400, times.join());
}, { limiter: { max: 2, duration: 300 } }));

check('repeated jobs', async () => {
  let ran = 0;
  await withQueue(async () => { ran += 1; }, async ({ queue }) => {
    await queue.upsertJobScheduler('every', { every: 200 }, { name: 'tick' });
    await eventually(() => ran >= 3);
    assert.equal((await queue.getJobSchedulers()).length, 1);
    assert.ok(await queue.removeJobScheduler('every'));
  })();
});

check('stalled jobs', async () => {
  const queue = new Queue('queue', { connection });
  const options = { connection, lockDuration: 500, stalledInterval: 500 };
  let started;
  const job = await queue.add('job', {});
  // The first worker vanishes in the middle of its job.
  const lost = new Worker('queue', () => { started = true; return new Promise(() => {}); }, { ...options, skipLockRenewal: true });
  lost.on('error', () => {});
  await eventually(() => started, 30_000);
  await lost.disconnect();
  const worker = new Worker('queue', async () => 'done', options);
  worker.on('error', () => {});
  await eventually(async () => (await queue.getJob(job.id)).returnvalue === 'done');
  await worker.close(true);
  await queue.close();
});

check('pause, drain and obliterate', withQueue(async () => 1, async ({ queue, events }) => {
  await events.waitUntilReady();
  await queue.pause();
  const jobs = await queue.addBulk(Array.from({ length: 10 }, (_, n) => ({ name: 'job', data: {}, opts: { jobId: `id-${n}` } })));
  await sleep(200);
  assert.equal(await queue.getCompletedCount(), 0);
  await jobs[0].remove();
  await queue.resume();
  await jobs[9].waitUntilFinished(events, 60_000);
  await eventually(async () => (await queue.getCompletedCount()) === 9);
  assert.equal((await queue.clean(0, 100, 'completed')).length, 9);
  await queue.obliterate({ force: true });
  assert.deepEqual(await queue.getJobCounts('wait', 'completed', 'failed'), { wait: 0, completed: 0, failed: 0 });
}));

check('thousands of jobs', async () => {
  const queue = new Queue('queue', { connection });
  const add = () => queue.addBulk(Array.from({ length: 3000 }, (_, n) => ({ name: 'job', data: { n, text: 'x'.repeat(100) } })));
  await add();
  assert.equal((await queue.getJobs(['wait'])).length, 3000);
  await queue.drain();
  assert.equal(await queue.getWaitingCount(), 0);
  await add();
  await withQueue(async (job) => job.data.n, async ({ queue }) => {
    await eventually(async () => (await queue.getCompletedCount()) === 3000);
  }, { concurrency: 50 })();
  assert.equal((await queue.clean(0, 2000, 'completed')).length, 2000);
  await queue.obliterate();
  assert.equal(await queue.getCompletedCount(), 0);
  await queue.close();
});

run();
