//! Clients that write through all lives of a node, and know what it has acknowledged.

use std::env;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node};
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
            match self.active[lane].acknowledge(&reply) {
                Ok(was_executed) => acknowledged.fetch_add(u64::from(was_executed), Ordering::Relaxed),
                Err(reason) => return Ok(Err(reason)),
            };
        }
        Ok(Ok(()))
    }
}

/// Number of rounds of a test that kills again and again: `make crash CYCLES=200` sets it.
pub fn cycles() -> usize {
    env::var("CRASH_CYCLES").map_or(5, |text| text.parse().expect("CRASH_CYCLES is a number"))
}

/// The clients of one node, and what they know it has acknowledged.
pub struct Load {
    seed: u64,
    /// For what the test itself leaves to chance.
    pub random: SmallRng,
    writers: Vec<Writer>,
    acknowledged: AtomicU64,
    unanswered: Unanswered,
}

impl Load {
    /// 50 clients. `CRASH_SEED` makes them send the same commands again.
    pub fn new() -> Load {
        let seed =
            env::var("CRASH_SEED").map_or_else(|_| rand::rng().next_u64(), |text| text.parse().expect("a number"));
        let writers = (0..CONNECTIONS).map(|id| Writer::new(id, seed)).collect();
        Load {
            seed,
            random: SmallRng::seed_from_u64(seed),
            writers,
            acknowledged: AtomicU64::new(0),
            unanswered: Unanswered::default(),
        }
    }

    /// Commands that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Compares what a node has that has started again with what it has acknowledged.
    ///
    /// # Errors
    /// What is not there, or should not be.
    pub fn try_check(&mut self, node: &Node) -> Result<(), String> {
        for outcome in with_all(&mut self.writers, node, Writer::check) {
            let unanswered = outcome.map_err(|reason| format!("CRASH_SEED={}: {reason}", self.seed))?;
            self.unanswered.count += unanswered.count;
            self.unanswered.survived += unanswered.survived;
        }
        Ok(())
    }

    /// As [`Load::try_check`], for nodes that must have everything.
    pub fn check(&mut self, node: &Node) {
        self.try_check(node).unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Loads the node from all connections, and calls `end` after `commands` of them were acknowledged. Returns when every
    /// client has lost its connection.
    pub fn run(&mut self, node: &Node, commands: u64, end: impl FnOnce(&Node)) {
        let enough = AtomicBool::new(false);
        let target = self.acknowledged() + commands;
        let (acknowledged, writers) = (&self.acknowledged, &mut self.writers);
        let (reached, outcomes) = thread::scope(|scope| {
            let enough = &enough;
            let loading = scope
                .spawn(move || with_all(writers, node, |writer, client| writer.load(client, acknowledged, enough)));
            let (mut seen, mut deadline) = (0, Instant::now() + 2 * DEADLINE);
            let reached = || acknowledged.load(Ordering::Relaxed) >= target;
            while !reached() && !loading.is_finished() && Instant::now() < deadline {
                // However slow the disk is, as long as it goes on.
                let now = acknowledged.load(Ordering::Relaxed);
                if now > seen {
                    (seen, deadline) = (now, Instant::now() + 2 * DEADLINE);
                }
                thread::sleep(Duration::from_millis(1));
            }
            let reached = reached();
            end(node);
            enough.store(!reached, Ordering::Relaxed);
            (reached, loading.join().expect("the clients' failures are collected"))
        });
        for outcome in outcomes {
            outcome.unwrap_or_else(|reason| panic!("CRASH_SEED={}: {reason}", self.seed));
        }
        assert!(
            reached,
            "CRASH_SEED={}: only {} of {target} commands were acknowledged",
            self.seed,
            self.acknowledged()
        );
    }
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept: usize = self.writers.iter().map(|writer| writer.kept.len()).sum();
        let Unanswered { count, survived } = self.unanswered;
        write!(
            out,
            "{} acknowledged writes, all there; of {count} without an answer {survived} had taken effect, none half; {kept} early \
             sequences of writes kept to the end; CRASH_SEED={}",
            self.acknowledged(),
            self.seed
        )
    }
}

/// Runs `work` for every client at once.
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
