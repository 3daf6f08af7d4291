//! No request waits long on a core that is busy beside a busy neighbour.
//!
//! What this would catch is a core that goes to sleep with work to do: glommio can (see `core::core_loop`), and then a request waits
//! until something else happens. `make stall` runs it for a minute with the limit of 50 ms on a machine that has nothing else to
//! do; here it is short, and the limit allows for neighbours that are no part of the test. That timers come in time is tested
//! where they are made.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, Reply};

use crate::protocol::Alone;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Keeps a processor busy for half of the time, in turns shorter than the scheduler's.
fn neighbour(end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let since = Instant::now();
        while since.elapsed() < Duration::from_micros(500) {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// Keeps a core busy with pipelines of writes and reads.
fn load(node: &Node, id: usize, end: &AtomicBool) {
    let mut client = node.client();
    let mut bytes = Vec::new();
    for number in 0..32 {
        Client::encode(&mut bytes, ["SET", &format!("load:{id}:{number}"), "value"]);
        Client::encode(&mut bytes, ["GET", &format!("load:{number}:{id}")]);
    }
    while !end.load(Ordering::Relaxed) {
        client.send(&bytes).expect("the node reads");
        (0..64).for_each(|_| drop(client.read().expect("the node answers")));
    }
}

/// Asks now and then, and notes how long each answer took.
fn probe(node: &Node, number: usize, end: Instant) -> Vec<Duration> {
    let mut client = node.client();
    let mut times = Vec::new();
    let mut count = 0;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
        count += 1;
        let asked = Instant::now();
        let expected = if count % 2 == 0 { Reply::Simple("PONG".into()) } else { Reply::Integer(count / 2 + 1) };
        let command = if count % 2 == 0 { "PING".to_owned() } else { format!("INCR probe:{number}") };
        assert_eq!(client.ask(&command), expected);
        times.push(asked.elapsed());
    }
    times
}

#[test]
fn no_request_waits_long_on_a_busy_core() {
    let (seconds, limit_ms) = (number("STALL_SECONDS", 4), number("STALL_LIMIT_MS", 2_000));
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let node = &alone.node;
    let stop = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || neighbour(stop));
        (0..2).for_each(|id| drop(scope.spawn(move || load(node, id, stop))));
        // Of four connections, two are on each of two cores.
        let probes: Vec<_> = (0..4).map(|number| scope.spawn(move || probe(node, number, end))).collect();
        let times = probes.into_iter().map(|probe| probe.join()).collect::<Vec<_>>();
        stop.store(true, Ordering::Relaxed);
        times.into_iter().flat_map(|times| times.expect("the probe is answered")).collect()
    });
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let most = at(1.0);
    println!(
        "{} requests in {seconds} s beside a busy neighbour: p50 {:?}, p99 {:?}, p99.9 {:?}, at most {most:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
    assert!(most < Duration::from_millis(limit_ms), "a request took {most:?}, more than {limit_ms} ms");
}
