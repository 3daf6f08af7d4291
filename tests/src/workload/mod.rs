//! Clients of a cluster that write and read a few keys at the same time, and note what they were answered.
//!
//! Some follow redirects and go elsewhere when a node does not answer; *watchers* stay with one node and send it reads one after
//! the other without waiting for answers. So a node that stands still has reads before it that came after others have taken its
//! place.
//!
//! What a newcomer would get wrong: a key is used for some dozens of operations and then left for a new one of the same slot, so
//! that histories stay short, and few operations of one have an unknown end.

mod seeker;
mod watcher;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::history::{Action, Operation, Outcome, Verdict, check};
use crate::reply::Reply;
use crate::wait::{DEADLINE, eventually};
pub use seeker::{Asked, Seeker};

/// Clients that follow redirects.
const CLIENTS: usize = 6;

/// Keys in use at a time, each of another slot.
const TAGS: usize = 12;

/// Operations after which a key is left for another one.
const KEY_OPERATIONS: usize = 120;

/// Time between two operations of a client.
const PAUSE: Duration = Duration::from_millis(1);

/// Time before what was refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Times that an operation is tried, before its client turns to another key: those of one group may have to wait.
const TRIES: usize = 40;

/// Time that the clients wait for an answer, in turn: some give up while others are elected, some wait for longer.
const PATIENCE: [Duration; 2] = [Duration::from_millis(700), Duration::from_secs(8)];

/// A running workload.
pub struct Workload {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Operation>>>,
    nodes: Vec<SocketAddr>,
}

/// Knowledge that all clients of a workload share.
struct Shared {
    name: String,
    started: Instant,
    stop: AtomicBool,
    /// Operations begun on keys of each tag.
    begun: [AtomicUsize; TAGS],
    /// Operations of each tag that were answered.
    answered: [AtomicUsize; TAGS],
    wrong: Mutex<Vec<String>>,
}

impl Shared {
    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn answered(&self) -> [usize; TAGS] {
        self.answered.each_ref().map(|answered| answered.load(Ordering::Relaxed))
    }

    fn has_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The tag with this number, and the key that is used for its operation `number`.
    fn key(&self, tag: usize, number: usize) -> (String, String) {
        let name = format!("{}:{tag}", self.name);
        let key = format!("{{{name}}}:{}", number / KEY_OPERATIONS);
        (name, key)
    }

    fn note_wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// An operation on a key of the tag, by chance; `unique` is written nowhere else. Each tag has strings, counters, texts or lists.
fn draw(tag: usize, unique: &str, random: &mut SmallRng) -> Action {
    let reads = random.random_ratio(2, 5);
    match (tag % 4, reads) {
        (0, false) => Action::Set(unique.to_owned()),
        (1, false) => Action::Incr,
        (2, false) => Action::Append(format!("{unique},")),
        (3, false) => Action::Push(unique.to_owned()),
        _ => read_of(tag),
    }
}

fn read_of(tag: usize) -> Action {
    if tag % 4 == 3 { Action::Range } else { Action::Get }
}

/// The answer to an action; `None` if it can be none.
fn outcome(action: &Action, reply: &Reply) -> Option<Outcome> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match (action, reply) {
        (Action::Set(_), Reply::Simple(ok)) => (ok == "OK").then_some(Outcome::Done),
        (Action::Get, Reply::Null) => Some(Outcome::Value(None)),
        (Action::Get, Reply::Bulk(bytes)) => Some(Outcome::Value(Some(text(bytes)?))),
        (Action::Range, Reply::Array(elements)) => {
            let elements = elements.iter().map(|element| match element {
                Reply::Bulk(bytes) => text(bytes),
                _ => None,
            });
            Some(Outcome::Elements(elements.collect::<Option<_>>()?))
        }
        (Action::Incr | Action::Append(_) | Action::Push(_), Reply::Integer(number)) => Some(Outcome::Number(*number)),
        _ => None,
    }
}

impl Workload {
    /// Starts the clients. `name` is that of no workload before, and a `seed` draws the same operations each time.
    pub fn start(nodes: &[SocketAddr], name: &str, seed: u64) -> Workload {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            started: Instant::now(),
            stop: AtomicBool::new(false),
            begun: Default::default(),
            answered: Default::default(),
            wrong: Mutex::default(),
        });
        let mut threads = Vec::new();
        for client in 0..CLIENTS {
            let seeker = Seeker::new(nodes, client, PATIENCE[client % PATIENCE.len()]);
            let (shared, random) = (Arc::clone(&shared), SmallRng::seed_from_u64(seed ^ ((client as u64) << 32)));
            threads.push(thread::spawn(move || run_client(client, seeker, random, &shared)));
        }
        for (number, node) in nodes.iter().copied().enumerate() {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || watcher::run(CLIENTS + number, node, &shared)));
        }
        Workload { shared, threads, nodes: nodes.to_vec() }
    }

    /// Waits until so many more operations were answered.
    pub fn go_on(&self, more: usize) {
        let wanted = self.shared.answered().iter().sum::<usize>() + more;
        eventually("operations go on", 4 * DEADLINE, || {
            let answered = self.shared.answered();
            if answered.iter().sum::<usize>() >= wanted { Ok(()) } else { Err(answered) }
        });
    }

    /// Waits until operations were answered on every key in use that began after this was called.
    pub fn go_on_everywhere(&self) {
        let before = self.shared.answered();
        eventually("operations go on on all keys", 4 * DEADLINE, || {
            let answered = self.shared.answered();
            // More than there are clients: one of them has begun since.
            let has = answered.iter().zip(&before).all(|(now, before)| *now > before + CLIENTS);
            if has { Ok(()) } else { Err([before, answered].concat()) }
        });
    }

    /// Ends the clients, reads each key once more, and checks what all were answered.
    ///
    /// # Panics
    /// When a key cannot be read.
    pub fn end(mut self) -> Verdict {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut operations: Vec<Operation> = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            operations.extend(thread.join().expect("a client ends"));
        }
        let mut seeker = Seeker::new(&self.nodes, 0, PATIENCE[1]);
        let keys: BTreeSet<(usize, usize)> = (0..TAGS)
            .flat_map(|tag| (0..=self.shared.begun[tag].load(Ordering::Relaxed)).map(move |number| (tag, number)))
            .filter(|(_, number)| number % KEY_OPERATIONS == 0)
            .collect();
        for (tag, number) in keys {
            let (name, key) = self.shared.key(tag, number);
            let client = CLIENTS + self.nodes.len();
            let read = eventually("a key is read at the end", 4 * DEADLINE, || {
                run(client, &name, &key, &read_of(tag), &mut seeker, &self.shared)
                    .filter(|read| read.ended.is_some())
                    .ok_or(&key)
            });
            operations.push(read);
        }
        let mut verdict = check(&operations);
        let wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.anomalies.extend(wrong.iter().cloned());
        verdict
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn run_client(client: usize, mut seeker: Seeker, mut random: SmallRng, shared: &Shared) -> Vec<Operation> {
    let mut operations = Vec::new();
    for number in 0.. {
        if shared.has_ended() {
            break;
        }
        let tag = random.random_range(0..TAGS);
        let action = draw(tag, &format!("{client}-{number}"), &mut random);
        let (name, key) = shared.key(tag, shared.begun[tag].fetch_add(1, Ordering::Relaxed));
        for _ in 0..TRIES {
            if let Some(operation) = run(client, &name, &key, &action, &mut seeker, shared) {
                if operation.ended.is_some() {
                    shared.answered[tag].fetch_add(1, Ordering::Relaxed);
                }
                operations.push(operation);
                break;
            }
            if shared.has_ended() {
                break;
            }
            thread::sleep(REFUSED_PAUSE);
        }
        thread::sleep(PAUSE);
    }
    operations
}

/// Asks once; gives nothing if that was refused, so that there was no operation.
fn run(
    client: usize,
    tag: &str,
    key: &str,
    action: &Action,
    seeker: &mut Seeker,
    shared: &Shared,
) -> Option<Operation> {
    let called = shared.now();
    let asked = seeker.ask(tag, &action.words(key));
    let ended = match asked {
        Asked::Refused => return None,
        Asked::Unknown => None,
        Asked::Wrong(text) => {
            shared.note_wrong(format!("{action:?} of {key}: {text}"));
            None
        }
        Asked::Done(reply) => {
            let ended = shared.now();
            match outcome(action, &reply) {
                Some(outcome) => Some((ended, outcome)),
                None => {
                    shared.note_wrong(format!("{action:?} of {key}: {reply:?}"));
                    None
                }
            }
        }
    };
    Some(Operation { client, key: key.to_owned(), action: action.clone(), called, ended })
}
