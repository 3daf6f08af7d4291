// Runs the checks of a scenario, each on an empty node, and prints a line for each: `ok NAME` or `failed NAME: why`.
//
// A scenario is a script: it gives its checks to `check` and ends with `run()`. The node's port is in PROGRAMS_PORTS, or those of
// all nodes of a cluster, the library under test, of those that run with several versions, in PROGRAMS_MODULE.
const assert = require('node:assert/strict');
const net = require('node:net');

const ports = process.env.PROGRAMS_PORTS.split(',').map(Number);
const [port] = ports;
const host = '127.0.0.1';

// Far longer than any check takes on a machine that is busy with builds; the nodes of a cluster share it.
const CHECK_MS = ports.length === 1 ? 120_000 : 360_000;

const checks = [];

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Sends one inline command over a connection of its own, past all libraries.
const call = (line, to = port) => new Promise((done, fail) => {
  const socket = net.connect(to, host, () => socket.write(`${line}\r\n`));
  socket.on('error', fail);
  socket.once('data', (reply) => { socket.destroy(); done(reply.toString()); });
});

// Empties the nodes; one that follows others does not do it itself.
async function empty() {
  for (const one of ports) assert.match(await call('FLUSHALL', one), /^(\+OK|-READONLY .*)\r\n$/);
}

const check = (name, body) => checks.push([name, body]);

// Waits until `condition` is truthy, and returns what it is then.
async function eventually(condition, ms = 60_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(value)} after ${ms} ms`);
    await sleep(50);
  }
}

async function run() {
  const words = process.argv.slice(2);
  let failures = 0;
  let lost;
  // Errors that a library throws where nobody waits for them fail the check during which they come.
  const escaped = (error) => lost?.(error);
  process.on('unhandledRejection', escaped);
  process.on('uncaughtException', escaped);
  for (const [name, body] of checks) {
    if (words.length && !words.some((word) => name.includes(word))) continue;
    try {
      await empty();
      await new Promise((done, fail) => {
        lost = fail;
        setTimeout(() => fail(new Error(`not done after ${CHECK_MS} ms`)), CHECK_MS).unref();
        Promise.resolve().then(body).then(done, fail);
      });
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.error(error);
      console.log(`failed ${name}: ${String(error?.message ?? error).replaceAll('\n', ' ')}`);
    }
  }
  // Connections that libraries have left open do not hold the scenario up.
  process.exit(failures ? 1 : 0);
}

const url = `redis://${host}:${port}`;
module.exports = { call, check, eventually, host, module: process.env.PROGRAMS_MODULE, port, ports, run, sleep, url };
