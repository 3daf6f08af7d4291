//! Connections that a ring makes itself.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use basalt_net::{
    ring::{CloseReason, Event, Ring, RingOptions},
    socket,
};

use super::core::{PATIENCE, pattern};

fn ring() -> Ring {
    Ring::new(&RingOptions::default()).expect("ring")
}

fn listener(backlog: u32) -> (TcpListener, SocketAddr) {
    let listener = socket::listen("127.0.0.1:0".parse().expect("address"), backlog).expect("listener");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

/// Turns the ring until `done` has seen what it waits for among the events.
fn until(what: &str, ring: &mut Ring, mut done: impl FnMut(&mut Ring, Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "{what}");
        ring.turn(Some(Duration::from_millis(1))).expect("turn");
        let mut is_done = false;
        while let Some(event) = ring.next_event() {
            is_done |= done(ring, event);
        }
        if is_done {
            return;
        }
    }
}

/// Turns the ring until it has no more than `count` connections.
fn until_left(count: u64, ring: &mut Ring) {
    let deadline = Instant::now() + PATIENCE;
    while ring.counters().connections > count {
        assert!(Instant::now() < deadline, "{} connections", ring.counters().connections);
        ring.turn(Some(Duration::from_millis(1))).expect("turn");
        assert!(ring.next_event().is_none(), "nothing comes for a connection that is closed");
    }
}

#[test]
fn a_connection_that_is_made_sends_what_waited_for_it_and_receives() {
    let (mut ring, (listener, address)) = (ring(), listener(16));
    let id = ring.connect(address).expect("socket");
    ring.output(id).expect("takes output before it is made").extend_from_slice(&pattern(1, 300_000));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut came = vec![0; 300_000];
        stream.read_exact(&mut came).expect("read");
        stream.write_all(b"answer").expect("write");
        came
    });
    let (mut is_made, mut answer) = (false, Vec::new());
    until("the answer", &mut ring, |_, event| match event {
        Event::Connected(made) => {
            assert!(made == id && !std::mem::replace(&mut is_made, true), "made once");
            false
        }
        Event::Received(from, input) => {
            assert!(from == id && is_made);
            answer.extend_from_slice(&input);
            answer == b"answer"
        }
        Event::Closed(..) => answer == b"answer",
        other => panic!("{other:?}"),
    });
    assert!(server.join().expect("server") == pattern(1, 300_000));
    ring.close(id, false);
    until_left(0, &mut ring);
}

#[test]
fn a_connection_that_is_refused_is_reported_and_stays_until_it_is_closed() {
    let (mut ring, (refusing, address)) = (ring(), listener(16));
    drop(refusing);
    let id = ring.connect(address).expect("socket");
    until("the refusal", &mut ring, |_, event| match event {
        Event::Closed(closed, reason) => {
            assert_eq!((closed, reason), (id, CloseReason::Error(nix::libc::ECONNREFUSED)));
            true
        }
        other => panic!("{other:?}"),
    });
    assert!(ring.output(id).is_none() && ring.socket(id).is_some() && !ring.release(id));
    ring.close(id, true);
    until_left(0, &mut ring);
}

#[test]
fn a_connection_may_be_closed_while_it_is_being_made() {
    // A backlog of one takes two; the kernel lets others wait.
    let (mut ring, (listener, address)) = (ring(), listener(1));
    for after_flush in [false, true] {
        let ids = [(); 6].map(|()| ring.connect(address).expect("socket"));
        let mut made = Vec::new();
        until("those that fit", &mut ring, |_, event| match event {
            Event::Connected(id) => {
                made.push(id);
                true
            }
            other => panic!("{other:?}"),
        });
        for id in ids {
            if after_flush && let Some(output) = ring.output(id) {
                output.extend_from_slice(b"last words");
            }
            assert!(made.contains(&id) || !ring.release(id), "what is not made cannot leave");
            ring.close(id, after_flush);
            if after_flush {
                ring.close(id, false);
            }
        }
        assert!(made.len() < ids.len(), "some were still being made");
        until_left(0, &mut ring);
        // There is room again.
        let mut waiting = std::iter::from_fn(|| {
            listener.set_nonblocking(true).expect("a listener may be asked without waiting");
            listener.accept().ok()
        });
        while waiting.next().is_some() {}
    }
}

#[test]
fn a_connection_that_is_closed_after_a_flush_before_it_is_made_says_its_last_words() {
    let (mut ring, (listener, address)) = (ring(), listener(16));
    let id = ring.connect(address).expect("socket");
    ring.output(id).expect("open").extend_from_slice(b"last words");
    ring.close(id, true);
    until_left(0, &mut ring);
    let (mut stream, _) = listener.accept().expect("accept");
    let mut came = String::new();
    stream.read_to_string(&mut came).expect("read");
    assert_eq!(came, "last words");
}
