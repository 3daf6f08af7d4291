//! Ends of connections: descriptors and places are neither lost nor confused.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, TryRecvError, channel},
    time::{Duration, Instant},
};

use basalt_net::ring::{CloseReason, ConnId, Event, Ring, RingOptions};

use super::core::{Core, PATIENCE, echo, pattern};

/// More than the sockets' buffers take: a send of it is stuck until the peer reads.
const STUCK_BYTES: usize = 32 << 20;

/// Makes the kernel answer with a reset when the stream is closed.
fn reset_on_close(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).expect("linger");
}

/// The notes of these tests' core.
#[derive(Debug, PartialEq)]
enum News {
    Opened(ConnId),
    Closed(ConnId, CloseReason),
}

/// An echoing core that tells of every connection that begins and ends, and leaves it to the test to close those that
/// ended. Each is greeted with `greeting` bytes.
fn watched(greeting: usize) -> (Core, Receiver<News>) {
    let (tell, news) = channel();
    let core = Core::start(RingOptions::default(), move || {
        let mut echo = echo();
        move |ring: &mut Ring, event| match event {
            Event::Accepted(_, socket) => {
                let id = ring.add(socket);
                ring.output(id).expect("open").extend_from_slice(&pattern(5, greeting));
                let _ = tell.send(News::Opened(id)); // the test may be over
            }
            Event::Closed(id, reason) => drop(tell.send(News::Closed(id, reason))),
            other => echo(ring, other),
        }
    });
    (core, news)
}

fn opened(news: &Receiver<News>) -> ConnId {
    match news.recv_timeout(PATIENCE) {
        Ok(News::Opened(id)) => id,
        other => panic!("expected a new connection, not {other:?}"),
    }
}

/// Waits for the end of `id` and nothing else.
fn closed(news: &Receiver<News>, id: ConnId) -> CloseReason {
    match news.recv_timeout(PATIENCE) {
        Ok(News::Closed(closed, reason)) if closed == id => reason,
        other => panic!("expected the end of {id:?}, not {other:?}"),
    }
}

/// Bytes that still come until the connection ends, by an end of file or a reset.
fn rest(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error} after {} bytes", bytes.len()),
        _ => bytes.len(),
    }
}

fn assert_released(core: &Core, id: ConnId) {
    core.wait_for("released", |counters| counters.connections == 0);
    assert!(core.call(move |ring| ring.socket(id).is_none()));
}

#[test]
fn a_peer_that_closes_in_the_middle_of_a_reply_is_reported_once() {
    let (core, news) = watched(8 << 20);
    let mut client = core.connect();
    let id = opened(&news);
    client.read_exact(&mut [0; 1000]).expect("read");
    reset_on_close(&client);
    drop(client);
    assert_eq!(closed(&news, id), CloseReason::Reset);
    assert!(core.call(move |ring| ring.output(id).is_none()), "nobody takes output any more");
    assert!(core.call(move |ring| ring.socket(id).is_some()), "the connection stays until the core closes it");
    core.call(move |ring| ring.close(id, true));
    assert_released(&core, id);
    assert_eq!(news.try_recv(), Err(TryRecvError::Empty), "reported once");
}

#[test]
fn a_peer_that_resets_while_idle_is_reported() {
    let (core, news) = watched(0);
    let client = core.connect();
    let id = opened(&news);
    reset_on_close(&client);
    drop(client);
    assert_eq!(closed(&news, id), CloseReason::Reset);
}

#[test]
fn output_can_follow_the_peers_end_of_file() {
    let (core, news) = watched(0);
    let mut client = core.connect();
    let id = opened(&news);
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(closed(&news, id), CloseReason::Eof);
    core.call(move |ring| {
        ring.output(id).expect("still writable").extend_from_slice(&pattern(6, 3 << 20));
        ring.close(id, true);
        assert!(ring.output(id).is_none(), "no more output after close");
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    assert!(answer == pattern(6, 3 << 20), "{} bytes", answer.len());
    assert_released(&core, id);
}

#[test]
fn close_after_flush_sends_everything_first() {
    let (core, news) = watched(5 << 20);
    let mut client = core.connect();
    let id = opened(&news);
    core.call(move |ring| ring.close(id, true));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    assert!(answer == pattern(5, 5 << 20), "{} bytes", answer.len());
    assert_released(&core, id);
    assert_eq!(news.try_recv(), Err(TryRecvError::Empty), "no event for what the core closed itself");
}

/// Waits until the kernel has taken all output that it takes from a peer that does not read.
fn wait_until_stuck(core: &Core) {
    let (mut bytes_out, mut since) = (0, Instant::now());
    while bytes_out == 0 || since.elapsed() < Duration::from_millis(50) {
        let now = core.call(|ring| ring.counters()).bytes_out;
        if now != bytes_out {
            (bytes_out, since) = (now, Instant::now());
        }
        assert!(bytes_out < STUCK_BYTES as u64, "the kernel takes everything");
    }
}

#[test]
fn close_at_once_ends_a_send_that_is_stuck_whatever_went_before() {
    type Act = fn(&mut Ring, ConnId);
    let before: [(&str, Act); 4] = [
        ("nothing", |_, _| {}),
        ("a flush", |ring, id| ring.close(id, true)),
        ("a pause", |ring, id| ring.pause(id)),
        ("a pause taken back", |ring, id| (ring.pause(id), ring.resume(id)).1),
    ];
    for (what, act) in before {
        for at_once in [true, false] {
            let (core, news) = watched(STUCK_BYTES);
            let mut client = core.connect();
            let id = opened(&news);
            wait_until_stuck(&core);
            core.call(move |ring| {
                act(ring, id);
                if at_once {
                    ring.close(id, false); // what went before is still queued
                }
            });
            core.call(move |ring| ring.close(id, false));
            core.wait_for(&format!("released after {what}, {at_once}"), |counters| counters.connections == 0);
            assert!(rest(&mut client) < STUCK_BYTES);
            assert_eq!(news.try_recv(), Err(TryRecvError::Empty), "no event for what the core closed itself");
        }
    }
}

#[test]
fn a_flush_that_takes_too_long_is_cut_off() {
    let (tell, news) = channel();
    let core = Core::start(RingOptions { flush_wait: Duration::from_millis(50), ..RingOptions::default() }, || {
        let mut echo = echo();
        move |ring: &mut Ring, event| match event {
            Event::Accepted(_, socket) => {
                let id = ring.add(socket);
                ring.output(id).expect("open").extend_from_slice(&pattern(5, STUCK_BYTES));
                ring.close(id, true);
                let _ = tell.send(id);
            }
            other => echo(ring, other),
        }
    });
    let start = Instant::now();
    let mut client = core.connect();
    let id = news.recv_timeout(PATIENCE).expect("accepted");
    assert_released(&core, id);
    assert!(start.elapsed() >= Duration::from_millis(50), "it had its time");
    assert!(rest(&mut client) < STUCK_BYTES);
}

#[test]
fn a_flush_to_a_peer_that_reads_slowly_is_not_cut_off() {
    const FLUSH_WAIT: Duration = Duration::from_millis(300);
    const ATTEMPTS: usize = 4;
    let core = Core::start(RingOptions { flush_wait: FLUSH_WAIT, ..RingOptions::default() }, || {
        let mut echo = echo();
        move |ring: &mut Ring, event| match event {
            Event::Accepted(_, socket) => {
                let id = ring.add(socket);
                ring.output(id).expect("open").extend_from_slice(&pattern(5, STUCK_BYTES));
                ring.close(id, true);
            }
            other => echo(ring, other),
        }
    });
    for _ in 0..ATTEMPTS {
        let mut client = core.connect();
        let (start, mut read, mut piece) = (Instant::now(), 0, vec![0; 128 << 10]);
        let (mut before, mut gap) = (start, Duration::ZERO);
        let last = loop {
            match client.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => read += count,
                Err(error) => break Err(error),
            }
            gap = gap.max(before.elapsed());
            before = Instant::now();
            std::thread::sleep(Duration::from_millis(10));
        };
        gap = gap.max(before.elapsed());
        core.wait_for("released", |counters| counters.connections == 0);
        if read == STUCK_BYTES && last.is_ok() {
            assert!(start.elapsed() > 4 * FLUSH_WAIT, "read too quickly to show anything: {:?}", start.elapsed());
            return;
        }
        // Where the machine gave this thread no turn for so long, it did not read slowly but not at all.
        let seen = format!("{read} bytes after {:?}, then {last:?}; {gap:?} between two reads", start.elapsed());
        assert!(gap > FLUSH_WAIT / 2, "{seen}");
        println!("{seen}");
    }
    panic!("the machine did not let this thread read often enough");
}

#[test]
fn a_stale_id_does_nothing_to_the_next_owner_of_its_slot() {
    let (core, news) = watched(0);
    let client = core.connect();
    let old = opened(&news);
    drop(client);
    assert_eq!(closed(&news, old), CloseReason::Eof);
    core.call(move |ring| ring.close(old, false));
    assert_released(&core, old);
    let mut client = core.connect();
    let new = opened(&news);
    assert_eq!((new.index(), new.generation()), (old.index(), old.generation() + 1));
    core.call(move |ring| {
        assert!(ring.output(old).is_none());
        assert_eq!(ring.output_bytes(old), 0);
        ring.pause(old);
        ring.close(old, false);
    });
    client.write_all(b"still here").expect("write");
    let mut answer = [0; 10];
    client.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"still here");
}

#[test]
fn churn_confuses_no_connection_with_another_and_leaks_no_descriptor() {
    // descriptors and slots are reused at once while requests of their former owners are still completing
    let core = Core::start(RingOptions { entries: 16, completions: 32, ..RingOptions::default() }, || {
        let (mut echo, mut count) = (echo(), 0);
        move |ring: &mut Ring, event| match event {
            Event::Received(id, ref input) => {
                count += 1;
                let ends = input.ends_with(b"!");
                echo(ring, event);
                if ends {
                    match count % 3 {
                        0 => ring.close(id, true),
                        1 => (ring.pause(id), ring.close(id, true)).1,
                        _ => {} // the client closes
                    }
                }
            }
            other => echo(ring, other),
        }
    });
    let clients: Vec<_> = (0..4)
        .map(|thread| {
            let address = core.address;
            std::thread::spawn(move || {
                for round in 0..500 {
                    let mut client = TcpStream::connect(address).expect("connect");
                    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
                    let message = format!("{thread}:{round}:{}!", "x".repeat(round % 100));
                    client.write_all(message.as_bytes()).expect("write");
                    let mut answer = vec![0; message.len()];
                    client.read_exact(&mut answer).expect("read");
                    assert_eq!(answer, message.as_bytes());
                    if round % 7 == 0 {
                        reset_on_close(&client);
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("client"));
    let counters = core.wait_for("released", |counters| counters.connections == 0);
    assert_eq!(counters.accepted, 2000);
}

#[test]
fn a_dropped_ring_closes_its_sockets_whatever_is_in_flight() {
    let (core, news) = watched(STUCK_BYTES);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| core.connect()).collect();
    for _ in &clients {
        opened(&news);
    }
    core.stop();
    for client in &mut clients {
        assert!(rest(client) < STUCK_BYTES);
    }
}

#[test]
fn unix_and_non_blocking_sockets_work_too() {
    let core = Core::start(RingOptions::default(), echo);
    let (mut client, server) = UnixStream::pair().expect("pair");
    server.set_nonblocking(true).expect("nonblocking");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    core.call(move |ring| ring.add(server.into()));
    let sent = pattern(8, 1 << 20);
    let mut writer = client.try_clone().expect("clone");
    let bytes = sent.clone();
    let thread = std::thread::spawn(move || writer.write_all(&bytes).expect("write"));
    let mut answer = vec![0; sent.len()];
    client.read_exact(&mut answer).expect("read");
    thread.join().expect("writer");
    assert!(answer == sent);
}
