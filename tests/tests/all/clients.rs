//! Clients that misbehave: too many, too slow, too quiet, gone without a word.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::alone::Alone;

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.ask("INFO").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in {text}"))
}

#[test]
fn one_client_too_many_is_told_so() {
    let alone = Alone::new(|options| options.set("--maxclients", "10"));
    let mut clients: Vec<Client> = (0..10).map(|_| alone.node.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING").text(), "PONG");
    }

    let mut refused = alone.node.client();

    assert_eq!(refused.read_to_end(), b"-ERR max number of clients reached\r\n");
    clients.pop();
    eventually("there is room again", DEADLINE, || match alone.node.client().try_call(["PING"]) {
        Ok(Reply::Simple(pong)) => Ok(pong),
        other => Err(other),
    });
    assert_eq!(clients[0].ask("CONFIG SET maxclients 20"), Reply::ok());
    let mut more: Vec<Client> = (0..8).map(|_| alone.node.client()).collect();
    assert!(more.iter_mut().all(|client| client.ask("PING").text() == "PONG"));
}

#[test]
fn an_idle_client_is_disconnected_and_an_active_one_is_not() {
    let alone = Alone::new(|options| options.set("--timeout", "3"));
    let (mut idle, mut active) = (alone.node.client(), alone.node.client());
    let since = Instant::now();
    idle.ask("PING");
    let closed = eventually("the idle client is closed", DEADLINE, || {
        active.ask("PING");
        if idle.is_closed_within(Duration::from_millis(20)) { Ok(since.elapsed()) } else { Err("open") }
    });
    assert!(closed > Duration::from_millis(2900), "after {closed:?}");
    assert_eq!(active.ask("PING").text(), "PONG");
}

#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    // The disk, which may stand still, holds up nobody either.
    let alone = Alone::new(|options| options.set("--shards", "2").set("--durability", "none"));
    let value = "v".repeat(1 << 20);
    let mut other = alone.node.client();
    assert_eq!(other.call(["SET", "large", &value]), Reply::ok());
    let mut slow = alone.node.client();
    for _ in 0..60 {
        slow.send("GET large\r\n").expect("the node reads");
    }

    let begun = Instant::now();
    for number in 1..=200 {
        assert_eq!(other.ask("INCR counter"), Reply::Integer(number));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?} for 200 commands", begun.elapsed());

    for _ in 0..60 {
        assert!(slow.read().expect("a reply") == Reply::bulk(&value));
    }
}

#[test]
fn a_client_that_never_reads_is_disconnected_at_the_hard_output_limit() {
    // A client may ask for no more once it has 1 MB unread, so that only large replies get there.
    disconnects_who_never_reads("4mb 0 0", "MGET large large large large large large large large large large\r\n");
}

#[test]
fn a_client_that_never_reads_is_disconnected_some_time_above_the_soft_output_limit() {
    // Less than one send takes: what the kernel has no room for is at least the rest of one.
    disconnects_who_never_reads("0 200kb 1", &"GET large\r\n".repeat(20));
}

fn disconnects_who_never_reads(limit: &str, commands: &str) {
    let alone = Alone::new(|options| options.set("--client-output-buffer-limit", limit));
    let mut other = alone.node.client();
    assert_eq!(other.call(["SET", "large", &"v".repeat(1 << 20)]), Reply::ok());
    let mut silent = alone.node.client();
    silent.send(commands).expect("the node reads");

    eventually("the client is gone", DEADLINE, || match info(&mut other, "connected_clients") {
        1 => Ok(()),
        count => Err(count),
    });
    assert_eq!(other.ask("STRLEN large"), Reply::Integer(1 << 20));
}

#[test]
fn clients_that_hold_too_much_together_are_disconnected_but_for_those_that_may_not_be() {
    // One client's reply and the half of another's, as their buffers grow by doubling.
    const MOST: u64 = 24 << 20;
    const REPLY_BYTES: usize = 10 << 20;
    let two = |options: NodeOptions| options.set("--cores", "2").set("--shards", "2");
    let alone = Alone::new(|options| two(options).set("--maxmemory-clients", MOST.to_string()));
    let mut other = alone.node.client();
    assert_eq!(other.call(["SET", "large", &"v".repeat(1 << 20)]), Reply::ok());
    let mut kept = alone.node.client();
    assert_eq!(kept.ask("CLIENT NO-EVICT ON"), Reply::ok());
    let ask = ["MGET", &["large"; REPLY_BYTES >> 20].join(" "), "\r\n"].join(" ");
    kept.send(&ask).expect("the node reads");
    // Several times as many as hold that much together, however much of their replies the kernel takes.
    let silent: Vec<Client> = (0..12)
        .map(|_| {
            let mut client = alone.node.client();
            client.send(&ask).expect("the node reads");
            client
        })
        .collect();

    eventually("some are gone", DEADLINE, || match info(&mut other, "evicted_clients") {
        0 => Err("none"),
        _ => Ok(()),
    });
    eventually("what is left is little", DEADLINE, || match info(&mut other, "memory_clients") {
        bytes if bytes <= MOST => Ok(()),
        bytes => Err(bytes),
    });
    let Reply::Array(values) = kept.read().expect("it may not be disconnected") else { panic!("MGET gives an array") };
    assert_eq!(values.len(), REPLY_BYTES >> 20);
    assert_eq!(info(&mut other, "memory_clients_max"), MOST);
    assert_eq!(other.ask("STRLEN large"), Reply::Integer(1 << 20));
    drop(silent);
}

/// Length of a large value, and how many of it a client asks for without reading.
const LARGE_BYTES: usize = 4 << 20;
const LARGE_COUNT: usize = 2_000;

/// Reads a tenth of what a loopback connection carries, for as long as the others do; the last thing a client of large values does.
fn read_slowly(client: &Client, end: &AtomicBool) -> usize {
    let (mut piece, mut count) = (vec![0; 256 << 10], 0);
    while !end.load(Ordering::Relaxed) {
        let read = client.stream().read(&mut piece).expect("the node neither closes nor stops");
        assert!(read > 0, "the client was disconnected after {count} bytes");
        count += read;
        thread::sleep(Duration::from_millis(2));
    }
    count
}

/// Asks for what takes no time, on this client's core and on the other, and gives the wait of 99 in 100 and the longest.
fn ask_quickly(client: &mut Client, end: &AtomicBool) -> (usize, [Duration; 2]) {
    let mut waits = Vec::new();
    while !end.load(Ordering::Relaxed) {
        for (command, expected) in [("PING", "PONG"), ("GET small:{a}", "value"), ("GET small:{b}", "value")] {
            let asked = Instant::now();
            assert_eq!(client.ask(command).text(), expected);
            waits.push(asked.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    (waits.len(), [99, 100].map(at))
}

#[test]
fn large_replies_asked_for_all_at_once_neither_fill_the_memory_nor_hold_up_others() {
    // Of each client 4 replies of 4 MiB come at first, before the node knows how large they are, and are copied from shard to
    // mailbox to output, in buffers that double as they grow; afterwards one at a time.
    const GROWN_BYTES_MAX: u64 = 512 << 20;
    /// Of 99 in 100, and of those that come while the machine is elsewhere.
    const WAITS_MAX: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
    // Two keys in different shards of two, on different cores.
    let cores = |options: NodeOptions| options.set("--cores", "2").set("--shards", "2");
    let alone = Alone::new(|options| cores(options).set("--maxmemory-clients", "1gb"));
    let mut other = alone.node.client();
    let value = "v".repeat(LARGE_BYTES);
    for tag in ["a", "b"] {
        assert_eq!(other.call(["SET", &format!("large:{{{tag}}}"), &value]), Reply::ok());
        assert_eq!(other.ask(&format!("SET small:{{{tag}}} value")), Reply::ok());
    }
    let before = alone.node.resident_bytes();
    let end = AtomicBool::new(false);

    let (most, asked, read) = thread::scope(|scope| {
        let end = &end;
        let probes: Vec<_> = (0..2)
            .map(|_| {
                let mut client = alone.node.client();
                scope.spawn(move || ask_quickly(&mut client, end))
            })
            .collect();
        let readers: Vec<_> = (0..8)
            .map(|number| {
                let mut client = alone.node.client();
                let tag = if number < 4 { "a" } else { "b" };
                // A write before them makes the first of them wait in order.
                let mut commands = format!("SET small:{{{tag}}} value\r\n");
                commands.push_str(&format!("GET large:{{{tag}}}\r\n").repeat(LARGE_COUNT));
                client.send(commands).expect("the node reads");
                scope.spawn(move || read_slowly(&client, end))
            })
            .collect();
        let (begun, mut most) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(5) {
            most = most.max(alone.node.resident_bytes());
            thread::sleep(Duration::from_millis(5));
        }
        end.store(true, Ordering::Relaxed);
        let asked: Vec<_> = probes.into_iter().map(|probe| probe.join().expect("the probe is answered")).collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("the client reads")).collect();
        (most, asked, read)
    });

    let grown = most.saturating_sub(before);
    println!(
        "{} MiB more memory for 8 clients that read {read:?} bytes; others asked and waited {asked:?}",
        grown >> 20
    );
    assert!(grown <= GROWN_BYTES_MAX, "{grown} bytes");
    let is_quick = |waits: &[Duration; 2]| waits.iter().zip(WAITS_MAX).all(|(wait, most)| *wait < most);
    assert!(asked.iter().all(|(_, waits)| is_quick(waits)), "{asked:?}");
    assert!(read.iter().all(|count| *count > 2 * LARGE_BYTES), "somebody got nothing: {read:?}");
    assert_eq!(other.ask("STRLEN large:{a}"), Reply::Integer(LARGE_BYTES as i64));
}

#[test]
fn clients_that_vanish_are_forgotten() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut other = alone.node.client();
    for round in 0..50 {
        let mut client = alone.node.client();
        let mut bytes = Vec::new();
        (0..200).for_each(|number| Client::encode(&mut bytes, ["SET", &format!("key:{number}"), "value"]));
        // Sometimes in the middle of a command.
        client.send(&bytes[..bytes.len() - round % 7]).expect("the node reads");
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let reset = nix::sys::socket::setsockopt(client.stream(), nix::sys::socket::sockopt::Linger, &linger);
        reset.unwrap_or_else(|errno| panic!("socket {}: {errno}", client.stream().as_raw_fd()));
    }
    eventually("nobody else is connected", DEADLINE, || match info(&mut other, "connected_clients") {
        1 => Ok(()),
        count => Err(count),
    });
    // Not one of their keys: what they sent last may take effect after they are gone.
    assert_eq!(other.ask("SET own after"), Reply::ok());
    assert_eq!(other.ask("GET own"), Reply::bulk("after"));
}

#[test]
fn ten_thousand_idle_clients_take_8_kib_each_at_most() {
    const COUNT: usize = 10_000;
    const BYTES_MAX: u64 = 8 << 10;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel tells");
    let needed = 2 * COUNT as u64 + 1_000;
    assert!(hard >= COUNT as u64 + 1_000, "the open files limit is {hard}: raise it with ulimit -n {needed}");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard), hard).expect("up to the hard limit everybody may");
    let alone = Alone::new(|options| options.set("--maxclients", "10300"));
    let mut other = alone.node.client();
    other.ask("SET key value");
    // The first clients make the tables that all share.
    let warm: Vec<_> = (0..200).map(|_| talked_to(&alone)).collect();
    let before = alone.node.resident_bytes();

    let mut clients: Vec<_> = (0..COUNT).map(|_| talked_to(&alone)).collect();

    let each = alone.node.resident_bytes().saturating_sub(before) / COUNT as u64;
    println!("{COUNT} idle clients take {each} bytes each");
    assert!(each <= BYTES_MAX, "{each} bytes for each of {COUNT} idle clients");
    assert_eq!(info(&mut other, "connected_clients") as usize, COUNT + warm.len() + 1);
    let begun = Instant::now();
    for client in clients.iter_mut().step_by(10) {
        ping(client);
    }
    println!("1000 of them answered again in {:?}", begun.elapsed());
    drop((clients, warm));
    eventually("all of them are forgotten", DEADLINE, || match info(&mut other, "connected_clients") {
        1 => Ok(()),
        count => Err(count),
    });
}

/// A plain socket: a client of the tests has two handles of it.
fn talked_to(alone: &Alone) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(alone.node.address()).expect("the node accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("it is a valid time");
    ping(&mut stream);
    stream
}

fn ping(stream: &mut std::net::TcpStream) {
    stream.write_all(b"GET key\r\n").expect("the node reads");
    let mut reply = [0; 11];
    stream.read_exact(&mut reply).expect("the node answers");
    assert_eq!(&reply, b"$5\r\nvalue\r\n");
}
