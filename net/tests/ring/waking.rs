//! Other threads wake a core that waits in its ring, and the kernel one that is parked outside it.

use std::{
    io::Write,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

use basalt_net::ring::{Event, Ring, RingOptions};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

/// Far longer than any wake-up takes.
const LONG: Duration = Duration::from_secs(10);

fn ring() -> Ring {
    Ring::new(&RingOptions::default()).expect("ring")
}

fn events(ring: &mut Ring) -> Vec<Event> {
    std::iter::from_fn(|| ring.next_event()).collect()
}

#[test]
fn a_waker_ends_a_waiting_turn() {
    let mut ring = ring();
    let waker = ring.waker();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    let start = Instant::now();
    let stats = ring.turn(Some(LONG)).expect("turn");
    assert!(start.elapsed() < LONG && !stats.timed_out && stats.events == 1, "{stats:?}");
    assert!(matches!(events(&mut ring)[..], [Event::Woken]));
    thread.join().expect("thread");
}

#[test]
fn wakes_are_never_lost_and_come_together() {
    let mut ring = ring();
    let waker = ring.waker();
    for _ in 0..100_000 {
        waker.wake(); // the pipe is full after 65,536 of them
    }
    let mut turns = 0;
    while !ring.turn(Some(Duration::from_millis(20))).expect("turn").timed_out {
        events(&mut ring);
        turns += 1;
    }
    assert!((1..=1100).contains(&turns), "{turns}");
    waker.wake();
    assert!(!ring.turn(Some(LONG)).expect("turn").timed_out);
    drop(ring);
    waker.wake(); // nobody listens: neither an error nor a SIGPIPE
}

#[test]
fn a_turn_that_nothing_happens_in_times_out_in_time() {
    let mut ring = ring();
    ring.turn(None).expect("turn");
    let start = Instant::now();
    let stats = ring.turn(Some(Duration::from_millis(30))).expect("turn");
    assert!(stats.timed_out && stats.events == 0, "{stats:?}");
    assert!(start.elapsed() >= Duration::from_millis(30) && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_turn_with_nothing_to_do_makes_no_system_call() {
    let mut ring = ring();
    ring.turn(None).expect("turn");
    let enters = ring.counters().enters;
    for _ in 0..100 {
        assert!(!ring.has_work());
        ring.turn(None).expect("turn");
    }
    assert_eq!(ring.counters().enters, enters);
}

#[test]
fn a_ring_that_was_woken_is_ready_for_the_next_time_without_a_system_call_of_its_own() {
    let mut ring = ring();
    let waker = ring.waker();
    for _ in 0..3 {
        waker.wake();
        let mut woken = false;
        while !woken {
            ring.turn(Some(Duration::from_secs(30))).expect("turn");
            woken = std::iter::from_fn(|| ring.next_event()).any(|event| matches!(event, Event::Woken));
        }
        let enters = ring.counters().enters;
        ring.turn(None).expect("turn");
        assert!(!ring.has_work(), "nothing that matters to a ring that does not wait");
        assert_eq!(ring.counters().enters, enters);
    }
}

#[test]
fn a_turn_that_sends_waits_for_the_next_event_not_for_the_send() {
    let mut ring = ring();
    let (mut client, server) = UnixStream::pair().expect("pair");
    let id = ring.add(server.into());
    ring.turn(None).expect("turn");
    let thread = std::thread::spawn(move || {
        let mut byte = [0];
        std::io::Read::read_exact(&mut client, &mut byte).expect("read");
        std::thread::sleep(Duration::from_millis(20));
        client.write_all(b"next").expect("write");
        client
    });
    ring.output(id).expect("open").extend_from_slice(b"x");
    let enters = ring.counters().enters;
    let stats = ring.turn(Some(LONG)).expect("turn");
    assert_eq!((stats.timed_out, ring.counters().enters), (false, enters + 1));
    match &events(&mut ring)[..] {
        [Event::Received(_, input)] => assert_eq!(**input, *b"next"),
        other => panic!("{other:?}"),
    }
    thread.join().expect("thread");
}

/// Takes the signal of the eventfd, if it comes within `wait`.
fn signalled(eventfd: &EventFd, wait: Duration) -> bool {
    let mut fds = [PollFd::new(eventfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(wait).expect("timeout");
    let ready = poll(&mut fds, timeout).expect("poll") == 1;
    ready && eventfd.read().is_ok()
}

#[test]
fn the_park_eventfd_tells_of_work_while_parked_and_only_then() {
    let mut ring = ring();
    let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).expect("eventfd");
    ring.register_park_eventfd(eventfd.as_fd()).expect("register");
    let (mut client, server) = UnixStream::pair().expect("pair");
    ring.add(OwnedFd::from(server));
    let waker = ring.waker();
    ring.turn(None).expect("turn");
    for round in 0..1000 {
        // awake: no signal
        client.write_all(b"awake").expect("write");
        assert!(!ring.turn(Some(LONG)).expect("turn").timed_out);
        assert!(matches!(events(&mut ring)[..], [Event::Received(..)]));
        ring.turn(None).expect("turn");
        // parked: a signal, by a socket or a waker
        ring.enable_park(true);
        fence(Ordering::SeqCst);
        assert!(!ring.has_work() && !signalled(&eventfd, Duration::ZERO), "round {round}");
        match round % 2 {
            0 => client.write_all(b"parked").expect("write"),
            _ => waker.wake(),
        }
        assert!(signalled(&eventfd, LONG), "round {round}: the kernel did not signal");
        ring.enable_park(false);
        assert!(ring.has_work(), "round {round}");
        ring.turn(None).expect("turn");
        match (round % 2, &events(&mut ring)[..]) {
            (0, [Event::Received(_, input)]) => assert_eq!(**input, *b"parked"),
            (1, [Event::Woken]) => {}
            (_, other) => panic!("round {round}: {other:?}"),
        }
        ring.turn(None).expect("turn");
    }
}

#[test]
fn completions_beyond_the_shared_queue_are_fetched_without_waiting() {
    let mut ring = Ring::new(&RingOptions { entries: 8, completions: 16, ..RingOptions::default() }).expect("ring");
    let mut clients = Vec::new();
    for _ in 0..100 {
        let (client, server) = UnixStream::pair().expect("pair");
        ring.add(server.into());
        clients.push(client);
    }
    ring.turn(None).expect("turn");
    clients.iter_mut().for_each(|client| client.write_all(b"x").expect("write"));
    let mut received = 0;
    while ring.has_work() {
        ring.turn(None).expect("turn");
        received += events(&mut ring).len();
    }
    assert_eq!(received, 100);
}

#[test]
fn nothing_comes_for_a_connection_after_the_core_has_closed_it() {
    for after_flush in [true, false] {
        let mut ring = Ring::new(&RingOptions { buffer_bytes: 64, ..RingOptions::default() }).expect("ring");
        let (mut client, server) = UnixStream::pair().expect("pair");
        let id = ring.add(server.into());
        client.write_all(&[7; 640]).expect("write");
        ring.turn(Some(LONG)).expect("turn");
        assert!(matches!(ring.next_event(), Some(Event::Received(..))));
        ring.output(id).expect("open").push(1);
        ring.close(id, after_flush);
        drop(client);
        let deadline = Instant::now() + LONG;
        while ring.socket(id).is_some() {
            if let Some(event) = ring.next_event() {
                panic!("{event:?}");
            }
            ring.turn(Some(Duration::from_millis(1))).expect("turn");
            assert!(Instant::now() < deadline, "never released");
        }
        assert!(events(&mut ring).is_empty());
    }
}
