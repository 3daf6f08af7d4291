//! A node that may have few files open: it serves as many clients as fit.

use basalt_tests::{DEADLINE, NodeOptions, Reply, eventually};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A hard limit that is enough for two shards, but not for ten thousand clients.
const OPEN_FILES_MAX: u64 = 1024;

fn number(text: &str, name: &str) -> usize {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {text}"))
}

#[test]
fn as_many_clients_are_let_in_as_fit_in_the_limit_and_served() {
    // This process has a file for each client too.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be raised to the hard one");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path()).set("--shards", "2").set("--memtable-bytes", "256kb");
    let node = options.with_open_files_max(OPEN_FILES_MAX).start();
    let mut first = node.client();

    let fitting = number(&first.ask("INFO clients").text(), "maxclients");
    assert!((16..OPEN_FILES_MAX as usize).contains(&fitting), "{fitting}");
    assert_eq!(first.ask("CONFIG GET maxclients"), Reply::bulks(["maxclients", &fitting.to_string()]));
    node.wait_for_line("the hard limit of open files is too low for maxclients");
    node.wait_for_line(&format!("maxclients={fitting} wanted=10000"));

    let mut clients = vec![first];
    clients.resize_with(fitting, || node.client());
    // Enough for tables of rows and of the log, each of which is an open file.
    let value = "v".repeat(2000);
    for (index, client) in clients.iter_mut().enumerate() {
        for round in 0..3 {
            assert_eq!(client.ask(&format!("SET key:{index}:{round} {value}")), Reply::ok());
        }
    }
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("GET key:{index}:1")).text(), value);
    }
    let refused = node.client().read().expect("it is told before it is disconnected");
    assert!(refused.is_error("ERR max number of clients reached"), "{refused:?}");
    drop(clients.split_off(fitting / 2));
    eventually("there is room again", DEADLINE, || match node.client().try_call(["PING"]) {
        Ok(Reply::Simple(pong)) if pong == "PONG" => Ok(()),
        other => Err(other),
    });
}

#[test]
fn more_clients_than_fit_are_refused_in_the_words_of_redis() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path()).set("--shards", "1").set("--maxclients", "20");
    let node = options.with_open_files_max(4096).start();
    let mut client = node.client();
    assert_eq!(number(&client.ask("INFO clients").text(), "maxclients"), 20, "they fit");

    let refusal = format!("{:?}", client.ask("CONFIG SET maxclients 5000"));

    let words = "CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the \
                 specified number of clients, try with ";
    let fitting = refusal.split_once(words).unwrap_or_else(|| panic!("{refusal}")).1;
    let fitting: usize = fitting.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("it is a number");
    assert!((1000..4096).contains(&fitting), "{refusal}");
    assert_eq!(number(&client.ask("INFO clients").text(), "maxclients"), 20, "nothing was changed");
    let one_more = client.ask(&format!("CONFIG SET maxclients {}", fitting + 1));
    assert!(one_more.is_error("ERR CONFIG SET failed"), "{one_more:?}");
    assert_eq!(client.ask(&format!("CONFIG SET maxclients {fitting}")), Reply::ok());
    assert_eq!(number(&client.ask("INFO clients").text(), "maxclients"), fitting);
}

#[test]
fn a_limit_that_is_too_low_for_a_node_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path()).set("--shards", "4");

    let refusal = options.with_open_files_max(256).try_start().expect_err("it needs more");

    assert_eq!(refusal.status, Some(1));
    let sentence = refusal.sentence();
    assert!(sentence.contains("the open files limit is 256 where ") && sentence.contains("LimitNOFILE="), "{sentence}");
}
