//! No request and no timer waits long on a core that is busy beside a busy neighbour.
//!
//! What this would catch is a core that goes to sleep with work to do, or that goes round without looking after its
//! timers and wakers (see `core::core_loop`): then something waits until something else happens.
//!
//! `make stall` runs it for a minute with the limit of 50 ms on a machine that has nothing else to do. Here it is
//! short, the limits on what happens once allow for neighbours that are no part of the test, and one of a few attempts
//! is enough. What happens again and again has tighter limits. They are for the median of the seconds' worst times, which
//! one disturbance cannot change, and allow for what the machine itself does to threads, which the probes see in their own
//! sleeps.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Reply, in_some_attempt};

use crate::alone::Alone;

/// Sleep of a probe between two requests.
const PAUSE: Duration = Duration::from_millis(1);

/// Most that a timer and an answer which waits for nothing but its core may take once.
const CORE_MAX: Duration = Duration::from_secs(2);

/// The same for an answer that waits for the disk too, which stands still for seconds on some machines.
const DISK_MAX: Duration = Duration::from_secs(10);

/// Most that a timer and an answer which waits for nothing but its core may usually take in a second's worst case.
const CORE_USUAL_MAX: Duration = Duration::from_millis(100);

/// The same for an answer that waits for the disk too, which the tests beside this one write to.
const DISK_USUAL_MAX: Duration = Duration::from_millis(500);

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
fn load(mut client: Client, id: usize, end: &AtomicBool) {
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

/// One request of a probe.
struct Sample {
    /// The moment at which it was sent, from the test's begin on.
    asked: Duration,
    took: Duration,
    /// True if the answer waits for the disk.
    is_write: bool,
    /// Time by which the machine woke the probe too late just before.
    woken_late: Duration,
}

/// Asks now and then, and notes how long each answer took.
fn probe(mut client: Client, number: usize, begin: Instant, end: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut count = 0;
    let mut before = Instant::now();
    while before < end {
        thread::sleep(PAUSE);
        let asked = Instant::now();
        let woken_late = (asked - before).saturating_sub(PAUSE);
        count += 1;
        let is_write = count % 2 == 1;
        let expected = if is_write { Reply::Integer(count / 2 + 1) } else { Reply::Simple("PONG".into()) };
        let command = if is_write { format!("INCR probe:{number}") } else { "PING".to_owned() };
        assert_eq!(client.ask(&command), expected);
        before = Instant::now();
        samples.push(Sample { asked: asked - begin, took: before - asked, is_write, woken_late });
    }
    samples
}

/// Of each second, how late the node's timers were at worst, and how long its longest turn took.
fn watch(mut client: Client, begin: Instant, seconds: u64) -> Vec<[Duration; 2]> {
    let look = |second| {
        thread::sleep((begin + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        // In one piece: what happens between the two is lost.
        let replies = client.pipeline([["INFO", "everything"], ["CONFIG", "RESETSTAT"]]);
        assert_eq!(replies[1], Reply::ok());
        let info = replies[0].text();
        ["timer_late_us_max=", "stall_us_max="].map(|name| Duration::from_micros(greatest(&info, name)))
    };
    (1..=seconds).map(look).collect()
}

#[test]
fn no_request_and_no_timer_waits_long_on_a_busy_core() {
    let seconds = number("STALL_SECONDS", 4);
    // A limit that is asked for holds for everything, and at the first attempt.
    if env::var_os("STALL_LIMIT_MS").is_some() {
        let limit = Duration::from_millis(number("STALL_LIMIT_MS", 0));
        return nothing_waits_long(seconds, limit, limit).unwrap_or_else(|reason| panic!("{reason}"));
    }
    in_some_attempt("nothing waits long", || nothing_waits_long(seconds, CORE_MAX, DISK_MAX));
}

/// Keeps two cores busy, and says what waited longer than it may: `core_once_max` is for PINGs and timers, `disk_once_max` for
/// writes.
fn nothing_waits_long(seconds: u64, core_once_max: Duration, disk_once_max: Duration) -> Result<(), String> {
    let alone = Alone::new(|options| options.set("--shards", "2").set("--timer-probe", "yes"));
    let node = &alone.node;
    let clients = |count: usize| (0..count).map(|_| node.client()).collect::<Vec<_>>();
    // Cores are dealt connections in turn: of these, each of two cores has a load and two probes.
    let (loads, probes, mut watcher) = (clients(2), clients(4), node.client());
    assert_eq!(watcher.ask("CONFIG RESETSTAT"), Reply::ok());
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let (samples, watched): (Vec<Sample>, Vec<[Duration; 2]>) = thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || neighbour(stop));
        for (id, client) in loads.into_iter().enumerate() {
            scope.spawn(move || load(client, id, stop));
        }
        let watcher = scope.spawn(move || watch(watcher, begin, seconds));
        let probes: Vec<_> = probes
            .into_iter()
            .enumerate()
            .map(|(number, client)| scope.spawn(move || probe(client, number, begin, end)))
            .collect();
        let samples = probes.into_iter().map(|probe| probe.join()).collect::<Vec<_>>();
        let watched = watcher.join();
        stop.store(true, Ordering::Relaxed);
        let samples = samples.into_iter().flat_map(|samples| samples.expect("the probe is answered")).collect();
        (samples, watched.expect("the node tells its figures"))
    });

    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let most = at(1.0);
    let worst = |which: usize| watched.iter().map(|second| second[which]).max().unwrap_or_default();
    let (timer, turn) = (worst(0), worst(1));
    println!(
        "{} requests in {seconds} s beside a busy neighbour: p50 {:?}, p99 {:?}, p99.9 {:?}, at most {most:?}; \
         a timer of 1 ms was late by {timer:?} at most, the longest turn took {turn:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
    let usual = |is_write: bool| {
        let samples = samples.iter().filter(|sample| sample.is_write == is_write);
        usual_worst(seconds, samples.map(|sample| (sample.asked, sample.took)))
    };
    let (write, ping) = (usual(true), usual(false));
    let usual_timer = median(watched.iter().map(|second| second[0]).collect());
    let sleeps = samples.iter().map(|sample| (sample.asked.saturating_sub(sample.woken_late), sample.woken_late));
    let machine = usual_worst(seconds, sleeps);
    println!(
        "the worst of a usual second: {write:?} for a write, {ping:?} for a PING, {usual_timer:?} for a timer, \
         {machine:?} for a thread that slept beside them"
    );
    assert!(!timer.is_zero(), "the timers were not looked at");
    let longest = |is_write: bool| {
        let samples = samples.iter().filter(|sample| sample.is_write == is_write);
        samples.map(|sample| sample.took).max().unwrap_or_default()
    };
    let (write_once, ping_once) = (longest(true), longest(false));
    if ping_once.max(timer) >= core_once_max {
        return Err(format!("{ping_once:?} for a PING or {timer:?} for a timer is more than {core_once_max:?}"));
    }
    if write_once >= disk_once_max {
        return Err(format!("{write_once:?} for a write is more than {disk_once_max:?}"));
    }
    // A request wakes two threads, the core and the client.
    let (core_max, disk_max) = (CORE_USUAL_MAX + 2 * machine, DISK_USUAL_MAX + 2 * machine);
    if ping.max(usual_timer) >= core_max {
        return Err(format!("{ping:?} or {usual_timer:?} is usual, and more than {core_max:?}"));
    }
    if write >= disk_max {
        return Err(format!("{write:?} is usual for a write, and more than {disk_max:?}"));
    }
    Ok(())
}

/// The median of the seconds' greatest times, of times given by their begin and their length. Each counts in every
/// second that it is part of: long ones leave no second in which there was nothing.
fn usual_worst(seconds: u64, times: impl Iterator<Item = (Duration, Duration)>) -> Duration {
    let mut worst = vec![Duration::ZERO; seconds as usize];
    for (begun, took) in times {
        for second in begun.as_secs()..=(begun + took).as_secs() {
            if let Some(worst) = worst.get_mut(second as usize) {
                *worst = took.max(*worst);
            }
        }
    }
    median(worst)
}

/// Of an even number, the lower of the two in the middle: half of the seconds may be disturbed.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) / 2]
}

/// The greatest of the numbers that follow `name` in `text`.
fn greatest(text: &str, name: &str) -> u64 {
    let numbers = text
        .split(name)
        .skip(1)
        .filter_map(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok());
    numbers.max().unwrap_or_else(|| panic!("no {name} in {text}"))
}
