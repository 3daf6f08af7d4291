//! A node from its start to its end, and what the next one finds.

use std::env;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually, in_some_attempt};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::load::Load;

/// Factor of its target that a start may take. Targets hold on a machine that has nothing else to do; machines that run tests
/// are shared. `make start` sets it to 1.
fn patience() -> u32 {
    env::var("START_PATIENCE").map_or(10, |text| text.parse().expect("START_PATIENCE is a number"))
}

fn place() -> (TempDir, NodeOptions) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"));
    (temporary, options)
}

fn stop_under_load(options: &NodeOptions, end: impl Fn(&Node)) {
    let mut load = Load::new();
    in_some_attempt("a stop under load has time enough", || {
        let mut node = options.start();
        load.check(&node);
        load.run(&node, 10_000, &end);

        let status = node.wait();

        node.stopped_in_time(status)
    });
    load.check(&options.start());
    println!("stopped: {load}");
}

#[test]
fn sigterm_under_load_ends_a_node_with_status_0_and_loses_nothing() {
    let (_temporary, options) = place();
    stop_under_load(&options, |node| node.signal(Signal::SIGTERM));
}

#[test]
fn shutdown_under_load_ends_a_node_with_status_0_and_loses_nothing() {
    let (_temporary, options) = place();
    stop_under_load(&options, |node| {
        let mut client = node.client();
        client.send("SHUTDOWN\r\n").expect("the node reads");
        assert_eq!(client.read_to_end(), b"", "it answers by going");
    });
}

/// Entries that a node applied from its logs when it started, and keys it has.
fn replayed(node: &Node) -> (u64, i64) {
    let info = node.client().ask("INFO persistence").text();
    let number = info.lines().find_map(|line| line.strip_prefix("entries_replayed_at_start:")?.trim().parse().ok());
    (number.unwrap_or_else(|| panic!("no such number in {info}")), node.client().ask("DBSIZE").integer())
}

#[test]
fn a_start_after_a_stop_replays_nothing_and_one_after_a_kill_does() {
    let (_temporary, options) = place();
    // Two shards on each core: they are written out at once.
    let options = options.set("--cores", "2").set("--shards", "4");
    let write = |node: &Node, name: &str| {
        let commands = (0..200).map(|number| ["SET".to_owned(), format!("{name}:{number}"), "value".to_owned()]);
        assert!(node.client().pipeline(commands).iter().all(|reply| *reply == Reply::ok()));
    };
    let mut node = options.start();
    assert_eq!(replayed(&node), (0, 0));
    write(&node, "stopped");
    node.stop_written();
    let mut node = options.start();
    assert_eq!(replayed(&node), (0, 200), "{:#?}", node.said());
    write(&node, "killed");
    node.kill_9();
    let mut node = options.start();
    let (count, keys) = replayed(&node);
    assert!(count > 0 && keys == 400, "{count} entries were replayed, {keys} keys are there");
    // What is replayed is in memory only, and a stop writes it too.
    node.stop_written();
    assert_eq!(replayed(&options.start()), (0, 400));
}

const KEYS_TO_REPLAY: usize = 60_000;

/// The value of the key with this number.
fn value_to_replay(number: usize) -> String {
    format!("{number:0>120}")
}

/// Has a node set keys, and ends it so that the next one finds them in its logs only: more than these keep in memory.
fn leave_much_to_replay(options: &NodeOptions) {
    let mut node = options.start();
    let commands =
        (0..KEYS_TO_REPLAY).map(|number| ["SET".to_owned(), format!("key:{number}"), value_to_replay(number)]);
    assert!(node.client().pipeline(commands).iter().all(|reply| *reply == Reply::ok()));
    node.kill_9();
}

#[test]
fn a_node_that_loads_says_so_and_never_that_a_key_is_not_there() {
    let (_temporary, options) = place();
    // Two groups, which need not be ready together.
    let options = options.set("--shards", "2").set("--memory", "128mb");
    leave_much_to_replay(&options);
    let node = options.launch();
    let mut client = Client::connect(node.wait_for_address()).expect("it listens");
    let (mut refused, mut answered) = (0, 0);
    // A hundred answers behind one another, of both groups.
    while answered < 100 {
        assert_eq!(client.ask("PING").text(), "PONG");
        assert!(client.ask("INFO persistence").text().contains("loading:"));
        let number = (refused + answered) * 7 % KEYS_TO_REPLAY;
        match client.call(["GET", &format!("key:{number}")]) {
            Reply::Error(text) => {
                assert_eq!(text, "LOADING Basalt is loading the dataset in memory");
                (refused, answered) = (refused + 1, 0);
            }
            reply => {
                assert_eq!(reply.text(), value_to_replay(number));
                answered += 1;
            }
        }
    }
    println!("{refused} reads were refused while the node loaded");
    let keys = eventually("the other group is ready too", DEADLINE, || match node.client().ask("DBSIZE") {
        Reply::Integer(keys) => Ok(keys),
        other => Err(other),
    });
    assert_eq!(keys, KEYS_TO_REPLAY as i64);
}

#[test]
fn a_node_that_is_stopped_while_it_loads_ends_and_loses_nothing() {
    let (_temporary, options) = place();
    let options = options.set("--memory", "128mb");
    leave_much_to_replay(&options);
    let mut node = options.launch();
    node.wait_for_address();
    let (status, _) = node.stop();
    // A stop that is cut short has nothing to write out either.
    let _ = node.stopped_in_time(status);
    assert_eq!(options.start().client().ask("DBSIZE").integer(), KEYS_TO_REPLAY as i64);
}

#[test]
fn a_stop_under_load_takes_5_s_at_most() {
    in_some_attempt("a stop under load has time enough", || {
        let (_temporary, options) = place();
        let mut load = Load::new();
        let mut node = options.start();
        let mut asked = None;
        load.run(&node, 20_000, |node| {
            asked = Some(std::time::Instant::now());
            node.signal(Signal::SIGTERM);
        });

        let status = node.wait();

        let took = asked.expect("it was asked").elapsed();
        println!("a stop under load took {took:?}");
        node.stopped_in_time(status)?;
        // One second is for who is told late that the node has ended.
        assert!(took < Duration::from_secs(6), "after {took:?}");
        Ok::<(), Vec<String>>(())
    });
}

#[test]
fn a_stop_does_not_wait_for_clients_that_do_not_read() {
    in_some_attempt("a stop has time enough", || {
        let (_temporary, options) = place();
        let mut node = options.start();
        let mut client = node.client();
        assert_eq!(client.call(["SET", "large", &"v".repeat(8 << 20)]), Reply::ok());
        (0..4).for_each(|_| client.send("GET large\r\n").expect("the node reads"));
        node.client().ask("PING");

        let (status, took) = node.stop();

        node.stopped_in_time(status)?;
        assert!(took < Duration::from_secs(6), "after {took:?}");
        Ok::<(), Vec<String>>(())
    });
}

#[test]
fn a_node_may_go_on_with_another_number_of_cores() {
    let (_temporary, options) = place();
    let options = options.set("--shards", "4");
    let mut load = Load::new();
    for cores in ["2", "1", "2"] {
        let options = options.clone().set("--cores", cores);
        let mut node = options.start();
        load.check(&node);
        load.run(&node, 3_000, Node::kill);
        node.kill_9();
    }
    load.check(&options.start());
}

#[test]
fn an_empty_directory_is_served_within_a_second() {
    const TARGET: Duration = Duration::from_secs(1);
    let most = patience() * TARGET;
    let mut times: Vec<Duration> = (0..3)
        .map(|_| {
            let (_temporary, options) = place();
            options.start().start_time()
        })
        .collect();
    println!("from nothing to the first answer: {times:?}, of {most:?}");
    times.sort_unstable();
    assert!(times[1] < most, "{times:?}, of {most:?}");
}

/// `make start` runs it with the million keys that the target is for.
#[test]
fn a_hundred_thousand_keys_are_served_soon_after_a_kill() {
    let count: usize = env::var("RECOVERY_KEYS").map_or(100_000, |text| text.parse().expect("a number of keys"));
    /// For a million keys.
    const TARGET: Duration = Duration::from_secs(3);
    let most = patience() * TARGET;
    let (_temporary, options) = place();
    let mut node = options.start();
    let mut client = node.client();
    let value = |number: usize| format!("value of {number} {}", "x".repeat(50));
    for first in (0..count).step_by(1000) {
        let set = |number| ["SET".to_owned(), format!("key:{number}"), value(number)];
        let replies = client.pipeline_patiently((first..count.min(first + 1000)).map(set));
        assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    }
    node.kill_9();

    let node = options.start();

    let numbers: Vec<usize> = (0..count).step_by(97).collect();
    let took = node.start_time();
    println!("from a kill with {count} keys to the first answer: {took:?}, of {most:?}");
    assert!(took < most, "{took:?}, of {most:?}");
    let mut client = node.client();
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(count as i64));
    let replies = client.pipeline(numbers.iter().map(|number| ["GET".to_owned(), format!("key:{number}")]));
    for (number, reply) in numbers.into_iter().zip(replies) {
        assert_eq!(reply, Reply::bulk(value(number)));
    }
}
