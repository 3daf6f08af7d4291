//! No request and no timer waits long on a core that is busy beside a busy neighbour.
//!
//! What this would catch is a core that goes to sleep with work to do, or that goes round without looking after its timers and
//! wakers (see `core::core_loop`): then something waits until something else happens. `make stall` runs it for a minute with the limit of 50 ms on a machine that has nothing else to
//! do; here it is short, and the limit allows for neighbours that are no part of the test.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, Reply};

use crate::alone::Alone;

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
fn no_request_and_no_timer_waits_long_on_a_busy_core() {
    let (seconds, limit_ms) = (number("STALL_SECONDS", 4), number("STALL_LIMIT_MS", 2_000));
    let alone = Alone::new(|options| options.set("--shards", "2").set("--timer-probe", "yes"));
    let node = &alone.node;
    assert_eq!(node.client().ask("CONFIG RESETSTAT"), Reply::ok());
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
    let info = node.client().ask("INFO everything").text();
    let timer = Duration::from_micros(greatest(&info, "timer_late_us_max="));
    let turn = Duration::from_micros(greatest(&info, "stall_us_max="));
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let most = at(1.0);
    println!(
        "{} requests in {seconds} s beside a busy neighbour: p50 {:?}, p99 {:?}, p99.9 {:?}, at most {most:?}; a timer of 1 ms was \
         late by {timer:?} at most, the longest turn took {turn:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
    assert!(!timer.is_zero(), "the timers were not looked at");
    assert!(most.max(timer) < Duration::from_millis(limit_ms), "{most:?} or {timer:?} is more than {limit_ms} ms");
}

/// The greatest of the numbers that follow `name` in `text`.
fn greatest(text: &str, name: &str) -> u64 {
    let numbers = text
        .split(name)
        .skip(1)
        .filter_map(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok());
    numbers.max().unwrap_or_else(|| panic!("no {name} in {text}"))
}
