//! Many clients that wait for what many others push: each element comes to one of them, also when some hang up and when the node is
//! killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;

const KEYS: usize = 8;
const PRODUCERS: usize = 4;
const CONSUMERS: usize = 12;
/// Elements of each producer.
const ELEMENTS: usize = 200;

fn key(number: usize) -> String {
    format!("queue:{number}")
}

/// Elements by what has become of them.
#[derive(Default)]
struct Ledger {
    /// Acknowledged pushes.
    pushed: Mutex<BTreeSet<String>>,
    /// Pushes of which nothing was heard.
    unknown: Mutex<BTreeSet<String>>,
    /// Times that each was given to a client.
    given: Mutex<BTreeMap<String, usize>>,
    /// Pops that were under way when their connection ended.
    cut_off: AtomicUsize,
}

impl Ledger {
    fn give(&self, elements: &[Reply]) {
        let mut given = self.given.lock().expect("no thread has panicked");
        elements.iter().for_each(|element| *given.entry(element.text()).or_default() += 1);
    }

    fn given_count(&self) -> usize {
        self.given.lock().expect("no thread has panicked").values().sum()
    }
}

/// Pushes a producer's elements, one or two at a time, until the node is gone.
fn produce(mut client: Client, ledger: &Ledger, name: &str, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut next = 0;
    while next < ELEMENTS {
        let count = random.random_range(1..3).min(ELEMENTS - next);
        let elements: Vec<String> = (next..next + count).map(|number| format!("{name}:{number}")).collect();
        next += count;
        let side = if random.random_range(0..2) == 0 { "LPUSH" } else { "RPUSH" };
        let mut words = vec![side.to_owned(), key(random.random_range(0..KEYS))];
        words.extend(elements.iter().cloned());
        let outcome = client.try_call(&words);
        let is_done = matches!(outcome, Ok(Reply::Integer(_)));
        let heard = if is_done { &ledger.pushed } else { &ledger.unknown };
        heard.lock().expect("no thread has panicked").extend(elements);
        if outcome.is_err() {
            return;
        }
    }
}

/// The next command of a consumer.
fn wish(random: &mut SmallRng) -> String {
    let keys = |count: usize, random: &mut SmallRng| {
        let first = random.random_range(0..KEYS);
        (0..count).map(|step| key((first + step) % KEYS)).collect::<Vec<_>>().join(" ")
    };
    match random.random_range(0..5) {
        0 => format!("BLPOP {} 0.05", keys(1, random)),
        1 => format!("BRPOP {} 0.3", keys(3, random)),
        2 => format!("BLMPOP 1 {KEYS} {} LEFT COUNT 3", keys(KEYS, random)),
        _ => format!("BLPOP {} 1", keys(KEYS, random)),
    }
}

/// Notes the elements in the reply to a wish.
fn take(ledger: &Ledger, reply: &Reply) {
    match reply {
        Reply::Null => {}
        Reply::Array(items) if matches!(items[1], Reply::Array(_)) => ledger.give(items[1].elements()),
        Reply::Array(items) => ledger.give(&items[1..]),
        other => assert!(other.is_error("UNBLOCKED ") || other.is_error("UNCERTAIN "), "{other:?}"),
    }
}

/// Waits for elements until it is told to end or the node is gone. Now and then it hangs up while it waits, if it `hangs_up`.
fn consume(node: &Node, ledger: &Ledger, is_over: &AtomicBool, seed: u64, hangs_up: bool) {
    let mut random = SmallRng::seed_from_u64(seed);
    let Ok(mut client) = Client::connect(node.address()) else { return };
    while !is_over.load(Ordering::Relaxed) {
        let wish = wish(&mut random);
        if hangs_up && random.random_range(0..4) == 0 {
            let mut bytes = Vec::new();
            Client::encode(&mut bytes, wish.split(' '));
            ledger.cut_off.fetch_add(1, Ordering::Relaxed);
            if client.send(&bytes).is_err() {
                return;
            }
            // Some go at once, some when they wait.
            thread::sleep(Duration::from_micros(random.random_range(0..3000)));
            let Ok(next) = Client::connect(node.address()) else { return };
            client = next;
            continue;
        }
        match client.try_call(wish.split(' ')) {
            Ok(reply) => take(ledger, &reply),
            Err(_) => {
                ledger.cut_off.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Checks that nothing was given twice or was never pushed, and that no more is missing than may be.
fn check(ledger: &Ledger, kept: &BTreeSet<String>) {
    let (pushed, unknown) = (ledger.pushed.lock().expect("no panic"), ledger.unknown.lock().expect("no panic"));
    let given = ledger.given.lock().expect("no panic");
    for (element, times) in given.iter() {
        assert_eq!(*times, 1, "{element} was given so often");
        assert!(!kept.contains(element), "{element} was given, and is there");
        assert!(pushed.contains(element) || unknown.contains(element), "{element} was never pushed");
    }
    let missing: Vec<&String> =
        pushed.iter().filter(|element| !given.contains_key(*element) && !kept.contains(*element)).collect();
    // One pop takes three at most.
    let most = 3 * ledger.cut_off.load(Ordering::Relaxed);
    assert!(missing.len() <= most, "{} are missing and {most} may be: {missing:?}", missing.len());
    println!(
        "{} pushed, {} unknown, {} given, {} kept, {} missing of those that {} pops under way may have taken",
        pushed.len(),
        unknown.len(),
        given.len(),
        kept.len(),
        missing.len(),
        ledger.cut_off.load(Ordering::Relaxed)
    );
}

/// The elements that are in the lists.
fn kept(node: &Node) -> BTreeSet<String> {
    let mut client = node.client();
    let mut all = BTreeSet::new();
    for number in 0..KEYS {
        for element in client.call_patiently(["LRANGE", &key(number), "0", "-1"]).elements() {
            assert!(all.insert(element.text()), "{} is there twice", element.text());
        }
    }
    all
}

/// Has producers and consumers run until all is popped, without or with clients that hang up.
fn run(cores: &str, shards: &str, hangs_up: bool) {
    let alone = Alone::new(|options| options.set("--cores", cores).set("--shards", shards));
    let (ledger, is_over) = (Ledger::default(), AtomicBool::new(false));
    let node = &alone.node;
    thread::scope(|scope| {
        for number in 0..CONSUMERS {
            let (ledger, is_over) = (&ledger, &is_over);
            // Enough are there to the end.
            let hangs_up = hangs_up && number % 2 == 0;
            scope.spawn(move || consume(node, ledger, is_over, 100 + number as u64, hangs_up));
        }
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let (client, ledger) = (node.client(), &ledger);
                scope.spawn(move || produce(client, ledger, &format!("p{number}"), number as u64))
            })
            .collect();
        producers.into_iter().for_each(|producer| producer.join().expect("it has not panicked"));
        let mut client = node.client();
        eventually("all that was pushed is taken", DEADLINE, || {
            let left: i64 = (0..KEYS).map(|number| client.call(["LLEN", &key(number)]).integer()).sum();
            if left == 0 { Ok(()) } else { Err(left) }
        });
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(ledger.pushed.lock().expect("no panic").len(), PRODUCERS * ELEMENTS);
    if !hangs_up {
        assert_eq!(ledger.given_count(), PRODUCERS * ELEMENTS);
    }
    check(&ledger, &BTreeSet::new());
}

#[test]
fn each_element_is_given_to_one_client_of_one_shard() {
    run("1", "1", false);
}

#[test]
fn each_element_is_given_to_one_client_of_two_shards() {
    run("2", "2", false);
}

#[test]
fn each_element_is_given_to_one_client_of_four_shards() {
    run("2", "4", false);
}

#[test]
fn each_element_is_given_to_one_client_at_most_while_others_hang_up() {
    for (cores, shards) in [("1", "1"), ("2", "4")] {
        run(cores, shards, true);
    }
}

#[test]
fn each_element_is_given_to_one_client_or_is_still_there_after_kill_9() {
    for (cores, shards) in [("1", "1"), ("2", "2"), ("2", "4")] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(temporary.path().join("data")).set("--cores", cores).set("--shards", shards);
        let ledger = Ledger::default();
        for life in 0..3 {
            let mut node = options.start();
            let before = ledger.given_count();
            let is_over = AtomicBool::new(false);
            thread::scope(|scope| {
                let (node, ledger, is_over) = (&node, &ledger, &is_over);
                for number in 0..CONSUMERS {
                    scope.spawn(move || consume(node, ledger, is_over, 1000 * life + number as u64, false));
                }
                for number in 0..PRODUCERS {
                    let client = node.client();
                    scope
                        .spawn(move || produce(client, ledger, &format!("l{life}p{number}"), 7 * life + number as u64));
                }
                // In the middle of it.
                eventually("some were given", DEADLINE, || match ledger.given_count() - before {
                    count if count < PRODUCERS * ELEMENTS / 4 => Err(count),
                    _ => Ok(()),
                });
                node.kill();
                is_over.store(true, Ordering::Relaxed);
            });
            node.kill_9();
        }
        let node = options.start();
        check(&ledger, &kept(&node));
    }
}
