//! Slow readers, paused writers and too few buffers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use basalt_net::ring::{CloseReason, ConnId, Event, RingOptions};

use super::core::{Core, PATIENCE, echo, pattern};

/// Bytes of the reply that a slow reader asks for.
const REPLY_BYTES: usize = 8 << 20;

/// Answers every byte received with `REPLY_BYTES` bytes.
fn amplify() -> impl FnMut(&mut basalt_net::ring::Ring, Event) {
    let mut echo = echo();
    move |ring, event| match event {
        Event::Received(id, input) => {
            for &seed in input.iter() {
                if let Some(output) = ring.output(id) {
                    output.extend_from_slice(&pattern(seed.into(), REPLY_BYTES));
                }
            }
        }
        other => echo(ring, other),
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_huge_reply_and_holds_nobody_up() {
    let core = Core::start(RingOptions::default(), amplify);
    let (mut slow, mut quick) = (core.connect(), core.connect());
    slow.write_all(&[1, 2]).expect("write");
    core.wait_for("the reply is under way", |counters| counters.bytes_out > 0);
    quick.write_all(&[3]).expect("write");
    let mut answer = vec![0; REPLY_BYTES];
    quick.read_exact(&mut answer).expect("read");
    assert!(answer == pattern(3, REPLY_BYTES));
    let mut answer = Vec::new();
    let mut piece = vec![0; 70_000];
    while answer.len() < 2 * REPLY_BYTES {
        let len = 1 + answer.len() % piece.len();
        let read = slow.read(&mut piece[..len]).expect("read");
        assert!(read > 0, "closed after {} bytes", answer.len());
        answer.extend_from_slice(&piece[..read]);
    }
    assert!(answer[..REPLY_BYTES] == pattern(1, REPLY_BYTES) && answer[REPLY_BYTES..] == pattern(2, REPLY_BYTES));
    assert_eq!(core.call(|ring| ring.memory().outputs), 0, "huge buffers go back to the allocator");
}

#[test]
fn writable_comes_once_the_output_has_drained_below_the_low_mark() {
    let (writable, news) = channel::<usize>();
    let options = RingOptions { output_high_bytes: 1 << 20, output_low_bytes: 100_000, ..RingOptions::default() };
    let core = Core::start(options, move || {
        let mut amplify = amplify();
        move |ring, event| match event {
            Event::Writable(id) => writable.send(ring.output_bytes(id)).expect("test listens"),
            other => amplify(ring, other),
        }
    });
    let mut client = core.connect();
    client.write_all(&[1]).expect("write");
    core.wait_for("the reply is under way", |counters| counters.bytes_out > 0);
    assert!(news.try_recv().is_err(), "nothing was read yet");
    let mut answer = vec![0; REPLY_BYTES];
    client.read_exact(&mut answer).expect("read");
    assert!(news.recv_timeout(PATIENCE).expect("an event") < 100_000);
    client.write_all(&[]).expect("write");
    assert!(news.recv_timeout(Duration::from_millis(50)).is_err(), "only once");
}

#[test]
fn a_connection_with_too_much_output_is_given_up() {
    let (closed, news) = channel();
    let options = RingOptions { output_bytes_max: 4 << 20, ..RingOptions::default() };
    let core = Core::start(options, move || {
        let mut amplify = amplify();
        move |ring, event| {
            if let Event::Closed(id, reason) = event {
                closed.send((reason, ring.output(id).is_some(), ring.output_bytes(id))).expect("test listens");
            }
            amplify(ring, event);
        }
    });
    let mut client = core.connect();
    client.write_all(&[1]).expect("write");
    assert_eq!(news.recv_timeout(PATIENCE), Ok((CloseReason::OutputLimit, false, 0)));
    assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0);
    core.wait_for("the connection is released", |counters| counters.connections == 0);
}

#[test]
fn few_buffers_and_many_writers_lose_nothing() {
    let options = RingOptions { buffers: 2, buffer_bytes: 256, ..RingOptions::default() };
    let core = Core::start(options, echo);
    let mut clients: Vec<TcpStream> = (0..100).map(|_| core.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(index as u32, 5000)).expect("write");
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let mut answer = vec![0; 5000];
        client.read_exact(&mut answer).expect("read");
        assert!(answer == pattern(index as u32, 5000), "client {index}");
    }
    assert!(core.stop().enobufs > 0, "the test meant to run out of buffers");
}

#[test]
fn inputs_that_are_kept_stop_receiving_and_their_return_resumes_it() {
    let options = RingOptions { buffers: 2, buffer_bytes: 64, ..RingOptions::default() };
    let (received, news) = channel();
    let core = Core::start(options, move || {
        let (mut echo, mut kept) = (echo(), Vec::new());
        move |ring, event| match event {
            Event::Received(_, input) => {
                received.send(input.to_vec()).expect("test listens");
                kept.push(input);
            }
            Event::Woken => kept.clear(),
            other => echo(ring, other),
        }
    });
    let mut client = core.connect();
    let sent = pattern(9, 64 * 5);
    client.write_all(&sent).expect("write");
    let mut got: Vec<u8> = Vec::new();
    for _ in 0..2 {
        got.extend(news.recv_timeout(PATIENCE).expect("a piece"));
    }
    // nothing is received while both are kept, nor does the ring spin: every call wakes it and gives both back
    assert!(news.recv_timeout(Duration::from_millis(50)).is_err());
    while got.len() < sent.len() {
        core.call(|_| ());
        while let Ok(piece) = news.recv_timeout(Duration::from_millis(20)) {
            got.extend(piece);
        }
    }
    assert_eq!(got, sent);
}

#[test]
fn a_paused_connection_receives_nothing_until_it_is_resumed() {
    let (received, news) = channel::<(ConnId, usize)>();
    let core = Core::start(RingOptions::default(), move || {
        let mut echo = echo();
        move |ring, event| match event {
            Event::Received(id, input) => received.send((id, input.len())).expect("test listens"),
            other => echo(ring, other),
        }
    });
    let mut client = core.connect();
    client.write_all(b"first").expect("write");
    let (id, len) = news.recv_timeout(PATIENCE).expect("input");
    assert_eq!(len, 5);
    core.call(move |ring| ring.pause(id));
    core.call(|_| ()); // one more turn: the cancellation has been submitted
    client.set_nonblocking(true).expect("nonblocking");
    let mut accepted = 0;
    let deadline = Instant::now() + PATIENCE;
    let piece = vec![7; 1 << 16];
    let mut stuck_since = None;
    while stuck_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(100)) {
        match client.write(&piece) {
            Ok(bytes) => (accepted, stuck_since) = (accepted + bytes, None),
            Err(_) => stuck_since = stuck_since.or_else(|| Some(Instant::now())),
        }
        assert!(Instant::now() < deadline, "the peer feels no backpressure after {accepted} bytes");
    }
    assert!(news.try_recv().is_err(), "paused");
    core.call(move |ring| ring.resume(id));
    let mut received = 0;
    while received < accepted {
        received += news.recv_timeout(PATIENCE).expect("input").1;
    }
    assert_eq!(received, accepted);
}

#[test]
fn pausing_and_resuming_at_any_moment_loses_nothing() {
    // every input pauses or resumes (or both) while the peer keeps writing
    let core = Core::start(RingOptions { buffer_bytes: 512, ..RingOptions::default() }, || {
        let (mut echo, mut turn) = (echo(), 0);
        let mut paused = Vec::new();
        move |ring, event| {
            match &event {
                Event::Received(id, _) => {
                    turn += 1;
                    match turn % 5 {
                        0 => ring.pause(*id),
                        1 => (ring.pause(*id), ring.resume(*id)).1,
                        2 => (ring.pause(*id), ring.pause(*id), ring.resume(*id), ring.pause(*id)).3,
                        3 => ring.resume(*id),
                        _ => {}
                    }
                    paused.push(*id);
                }
                Event::Woken => paused.drain(..).for_each(|id| ring.resume(id)),
                _ => {}
            }
            echo(ring, event);
        }
    });
    let mut client = core.connect();
    let sent = pattern(3, 200_000);
    let mut writer = client.try_clone().expect("clone");
    let bytes = sent.clone();
    let thread = std::thread::spawn(move || writer.write_all(&bytes).expect("write"));
    client.set_read_timeout(Some(Duration::from_millis(1))).expect("timeout");
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    let deadline = Instant::now() + PATIENCE;
    while got.len() < sent.len() {
        match client.read(&mut piece) {
            Ok(bytes) => got.extend_from_slice(&piece[..bytes]),
            Err(_) => core.call(|_| ()), // wakes the core, which resumes
        }
        assert!(Instant::now() < deadline, "stuck after {} bytes", got.len());
    }
    thread.join().expect("writer");
    assert!(got == sent);
}
