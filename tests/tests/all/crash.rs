//! A node killed under load: everything it acknowledged is there afterwards, and nothing is half there.
//!
//! kill -9 keeps the page cache of the kernel: it is the crash of a process. `power_loss` is about the crash of a machine.

use std::env;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, eventually};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _, SeedableRng as _};

use crate::lane::{Lane, Unanswered};

const CONNECTIONS: usize = 50;

/// Lanes that one connection writes to.
const LANES: usize = 4;

/// Commands after which a lane is left alone, so that reading it back stays cheap.
const LANE_COMMANDS: u64 = 150;

/// One in so many lanes that are left alone is kept to the end; the others are deleted when a start has found them whole.
const KEPT_LANES: usize = 10;

/// Kept lanes of one connection.
const KEPT_LANES_MAX: usize = 10;

/// One connection's lanes through all lives of the node.
struct Writer {
    id: usize,
    random: SmallRng,
    lane_count: usize,
    active: Vec<Lane>,
    /// Left alone since the last start, and those that were deleted since then.
    resting: Vec<Lane>,
    kept: Vec<Lane>,
}

impl Writer {
    fn new(id: usize, seed: u64) -> Writer {
        let random = SmallRng::seed_from_u64(seed.wrapping_add(id as u64));
        let mut writer =
            Writer { id, random, lane_count: 0, active: Vec::new(), resting: Vec::new(), kept: Vec::new() };
        writer.fill();
        writer
    }

    fn fill(&mut self) {
        while self.active.len() < LANES {
            self.active.push(Lane::new(format!("{}-{}", self.id, self.lane_count)));
            self.lane_count += 1;
        }
    }

    /// Compares what the node has with what it acknowledged.
    fn check(&mut self, client: &mut Client) -> Result<Unanswered, String> {
        let mut sum = Unanswered::default();
        for lane in self.active.iter_mut().chain(&mut self.resting).chain(&mut self.kept) {
            let unanswered = lane.check(client).map_err(|error| format!("reading back: {error}"))??;
            sum.count += unanswered.count;
            sum.survived += unanswered.survived;
        }
        for mut lane in std::mem::take(&mut self.resting) {
            if lane.is_cleared() {
                continue;
            }
            if self.kept.len() < KEPT_LANES_MAX && self.random.random_range(0..KEPT_LANES) == 0 {
                self.kept.push(lane);
                continue;
            }
            lane.clear(client).map_err(|error| format!("deleting: {error}"))?;
            self.resting.push(lane);
        }
        Ok(sum)
    }

    /// Sends pipelines of commands until the node is gone or `enough`.
    fn load(&mut self, client: &mut Client, acknowledged: &AtomicU64, enough: &AtomicBool) -> Result<(), String> {
        while !enough.load(Ordering::Relaxed) {
            match self.send_pipeline(client, acknowledged) {
                Ok(outcome) => outcome?,
                // Killed.
                Err(_) => return Ok(()),
            }
            for index in (0..self.active.len()).rev() {
                if self.active[index].acknowledged_count() >= LANE_COMMANDS {
                    self.resting.push(self.active.swap_remove(index));
                }
            }
            self.fill();
        }
        Ok(())
    }

    fn send_pipeline(&mut self, client: &mut Client, acknowledged: &AtomicU64) -> io::Result<Result<(), String>> {
        let depth = [1, 2, 8, 32, 100][self.random.random_range(0..5)];
        let mut bytes = Vec::new();
        let lanes: Vec<usize> = (0..depth).map(|_| self.random.random_range(0..self.active.len())).collect();
        for &lane in &lanes {
            self.active[lane].send(&mut self.random, &mut bytes);
        }
        client.send(&bytes)?;
        for &lane in &lanes {
            let reply = client.read()?;
            if let Err(reason) = self.active[lane].acknowledge(&reply) {
                return Ok(Err(reason));
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Ok(()))
    }
}

/// The clients of one node, and what they know it has acknowledged.
struct Load {
    seed: u64,
    random: SmallRng,
    writers: Vec<Writer>,
    acknowledged: AtomicU64,
    unanswered: Unanswered,
}

impl Load {
    fn new() -> Load {
        let seed =
            env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| rand::rng().next_u64());
        println!("CRASH_SEED={seed}");
        let writers = (0..CONNECTIONS).map(|id| Writer::new(id, seed)).collect();
        Load {
            seed,
            random: SmallRng::seed_from_u64(seed),
            writers,
            acknowledged: AtomicU64::new(0),
            unanswered: Unanswered::default(),
        }
    }

    /// Runs `work` for every connection at once.
    fn with_all<T: Send>(
        writers: &mut [Writer],
        node: &Node,
        work: impl Fn(&mut Writer, &mut Client) -> Result<T, String> + Sync,
    ) -> Vec<Result<T, String>> {
        // All at first: the node may be gone when the last thread starts.
        let clients: Vec<Client> = writers.iter().map(|_| node.client()).collect();
        thread::scope(|scope| {
            let work = &work;
            let pairs = writers.iter_mut().zip(clients);
            let threads: Vec<_> =
                pairs.map(|(writer, mut client)| scope.spawn(move || work(writer, &mut client))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client failed".into()))).collect()
        })
    }

    /// Finds every acknowledged write on a node that has started again.
    fn check(&mut self, node: &Node) {
        for outcome in Load::with_all(&mut self.writers, node, Writer::check) {
            let unanswered = outcome.unwrap_or_else(|reason| panic!("CRASH_SEED={}: {reason}", self.seed));
            self.unanswered.count += unanswered.count;
            self.unanswered.survived += unanswered.survived;
        }
    }

    /// Loads the node from all connections and kills it after `commands` of them were acknowledged.
    fn run_and_kill(&mut self, node: &mut Node, commands: u64) {
        let enough = AtomicBool::new(false);
        let target = self.acknowledged.load(Ordering::Relaxed) + commands;
        let (acknowledged, writers) = (&self.acknowledged, &mut self.writers);
        let pid = nix::unistd::Pid::from_raw(node.pid().cast_signed());
        let outcomes = thread::scope(|scope| {
            let node = &*node;
            let (enough, loaded) = (&enough, &*acknowledged);
            let loading = scope
                .spawn(move || Load::with_all(writers, node, |writer, client| writer.load(client, loaded, enough)));
            let killer = scope.spawn(move || {
                eventually("enough commands are acknowledged", 2 * DEADLINE, || {
                    let count = acknowledged.load(Ordering::Relaxed);
                    // One that found a wrong reply has stopped, and then the others need not go on.
                    if count >= target { Ok(()) } else { Err(count) }
                });
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
            });
            let killed = killer.join();
            enough.store(true, Ordering::Relaxed);
            let outcomes = loading.join().expect("the clients' failures are collected");
            assert!(killed.is_ok(), "CRASH_SEED={}: {outcomes:?}", self.seed);
            outcomes
        });
        node.kill_9();
        for outcome in outcomes {
            outcome.unwrap_or_else(|reason| panic!("CRASH_SEED={}: {reason}", self.seed));
        }
    }
}

fn cycles() -> usize {
    env::var("CRASH_CYCLES").map_or(5, |text| text.parse().expect("CRASH_CYCLES is a number"))
}

/// Kills a node again and again, some of the time while it starts.
fn kill_again_and_again(name: &str, options: &NodeOptions) {
    let cycles = cycles();
    let mut load = Load::new();
    let mut slowest_start = Duration::ZERO;
    for cycle in 0..cycles {
        if cycle % 4 == 3 {
            let mut early = options.launch();
            // A moment of its start, which is all that is wanted of it.
            thread::sleep(Duration::from_millis(load.random.random_range(1..400)));
            early.kill_9();
        }
        let mut node = options.start();
        slowest_start = slowest_start.max(node.start_time());
        load.check(&node);
        let commands = load.random.random_range(500..15_000);
        load.run_and_kill(&mut node, commands);
    }
    let node = options.start();
    load.check(&node);
    let kept: usize = load.writers.iter().map(|writer| writer.kept.len()).sum();
    println!(
        "{name}: {cycles} kills, {} acknowledged writes, all there; of {} without an answer {} had taken effect, none half; \
         {kept} early sequences of writes kept to the end; slowest start {} ms",
        load.acknowledged.load(Ordering::Relaxed),
        load.unanswered.count,
        load.unanswered.survived,
        slowest_start.as_millis(),
    );
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"));

    kill_again_and_again("killed", &options);
}

#[test]
fn acknowledged_writes_survive_kill_9_while_generations_freeze_all_the_time() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--memtable-bytes", "256kb").set("--shards", "4");

    kill_again_and_again("killed, with small memtables", &options);
}

#[test]
fn a_write_lost_doubled_or_halved_is_noticed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = NodeOptions::new(temporary.path().join("data")).start();
    let mut client = node.client();
    let damages = [
        "INCR {t}:counter",
        "APPEND {t}:text 7;",
        "RPOP {t}:list",
        "SET {t}:a 0",
        "HSET {t}:hash 1 0",
        "DEL {t}:stream",
    ];
    for damage in damages {
        let mut random = SmallRng::seed_from_u64(1);
        let mut lane = Lane::new("t".to_owned());
        let mut bytes = Vec::new();
        (0..50).for_each(|_| lane.send(&mut random, &mut bytes));
        client.send(&bytes).expect("the node reads");
        for _ in 0..50 {
            lane.acknowledge(&client.read().expect("the node answers")).expect("the replies are right");
        }
        assert!(lane.check(&mut client).expect("the node answers").is_ok());

        client.ask(damage);

        assert!(lane.check(&mut client).expect("the node answers").is_err(), "{damage}");
        client.ask("FLUSHALL");
    }
}
