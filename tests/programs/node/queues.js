// Bull and Bee-Queue, which take jobs with BRPOPLPUSH.
const assert = require('node:assert/strict');
const { check, eventually, host, port, run } = require('./harness');

check('Bull', async () => {
  const Bull = require('bull');
  const queue = new Bull('queue', { redis: { host, port } });
  let failed;
  queue.on('error', (error) => { failed ??= error; });
  queue.process(3, async (job) => {
    if (job.name === '__default__' && job.data.fails && job.attemptsMade < 1) throw new Error('try again');
    return job.data.n * 2;
  });
  const jobs = await Promise.all([1, 2, 3].map((n) => queue.add({ n })));
  jobs.push(await queue.add({ n: 4 }, { delay: 500 }), await queue.add({ n: 5, fails: true }, { attempts: 3 }));
  const done = Promise.all(jobs.map((job) => job.finished()));
  const values = await Promise.race([done, eventually(() => failed, 100_000).then((error) => { throw error; })]);
  assert.deepEqual(values, [2, 4, 6, 8, 10]);
  await queue.close(true);
});

check('Bee-Queue', async () => {
  const BeeQueue = require('bee-queue');
  const queue = new BeeQueue('queue', { redis: { host, port }, activateDelayedJobs: true });
  let failed;
  queue.on('error', (error) => { failed ??= error; });
  queue.process(3, async (job) => job.data.n * 2);
  const results = [];
  const make = async (n, job = queue.createJob({ n })) => {
    job.on('succeeded', (result) => results.push(result));
    if (n === 4) job.delayUntil(Date.now() + 500);
    await job.save();
  };
  await Promise.all([1, 2, 3, 4].map((n) => make(n)));
  await eventually(() => { if (failed) throw failed; return results.length === 4; });
  assert.deepEqual(results.sort(), [2, 4, 6, 8]);
  await queue.close();
});

run();
