// What scenarios of clusters share: orders to who runs the nodes, who leads a key, writers that go on while nodes are killed.
const assert = require('node:assert/strict');
const readline = require('node:readline');
const { call, eventually, ports, sleep } = require('./harness');

// A redis-server answers before its replica has what was written, so what it had acknowledged may be lost with it.
const losesNothing = process.env.PROGRAMS_AGAINST !== 'redis';

// Longest time until others lead in the place of a node that is gone, on a machine that is busy with builds.
const FAILOVER_MS = 120_000;

const answers = readline.createInterface({ input: process.stdin });

// Has a node killed, stopped or started (`kill PORT`), or waits until the cluster is whole (`whole`).
async function order(words) {
  const answer = new Promise((done) => { answers.once('line', done); });
  console.log(`order ${words}`);
  assert.equal(await answer, 'done');
}

// The port of the node that serves a key; all others say that it has moved.
const leaderOf = (key) => eventually(async () => {
  for (const port of ports) {
    if ((await call(`TYPE ${key}`, port).catch(() => '')).startsWith('+')) return port;
  }
  return 0;
});

// Three keys, each of which another node serves: by port.
async function keysOfLeaders(prefix) {
  const keys = new Map();
  for (let number = 0; number < 1000; number++) {
    const port = await leaderOf(`${prefix}:${number}`);
    if (!keys.has(port)) keys.set(port, `${prefix}:${number}`);
    if (keys.size === 3) return keys;
  }
  throw new Error(`three nodes lead, and only these have keys: ${JSON.stringify([...keys])}`);
}

// Each has a write done for one number after the other, again and again until it is acknowledged.
class Writers {
  // `writes`: functions of a number; `isOfFailover` says whether an error may come where a node is lost.
  constructor(writes, isOfFailover) {
    this.counts = Object.fromEntries(Object.keys(writes).map((name) => [name, 0]));
    this.errors = new Set();
    this.broken = [];
    this.isOver = false;
    this.isOfFailover = isOfFailover;
    this.loops = Object.entries(writes).map(([name, write]) => this.run(name, write));
  }

  async run(name, write) {
    while (!this.isOver) {
      try {
        await write(this.counts[name]);
        this.counts[name] += 1;
        // Keeps what is to be looked at in the end to some thousand.
        await sleep(2);
      } catch (error) {
        const said = `${error?.name}: ${error?.message}`;
        if (!this.isOfFailover(error)) {
          this.broken.push(`${name}: ${said}`);
          return;
        }
        this.errors.add(said);
        await sleep(50);
      }
    }
  }

  // Waits until each has had so many more writes acknowledged.
  async goOn(count) {
    const wanted = Object.entries(this.counts).map(([name, done]) => [name, done + count]);
    try {
      await eventually(() => {
        assert.deepEqual(this.broken, []);
        return wanted.every(([name, number]) => this.counts[name] >= number);
      }, FAILOVER_MS);
    } catch (error) {
      const seen = `${JSON.stringify(this.counts)} of ${JSON.stringify(wanted)}, ${JSON.stringify([...this.errors])}`;
      throw new Error(`${error.message}: ${seen}`, { cause: error });
    }
  }

  // Ends them, and returns how many writes of each were acknowledged.
  async end() {
    this.isOver = true;
    await Promise.all(this.loops);
    assert.deepEqual(this.broken, []);
    return this.counts;
  }
}

module.exports = { FAILOVER_MS, Writers, keysOfLeaders, leaderOf, losesNothing, order };
