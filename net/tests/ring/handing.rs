//! Connections that go from one ring to another.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use basalt_net::ring::{CloseReason, ConnId, Event, Ring, RingOptions};

use super::core::{PATIENCE, pattern};

fn ring() -> Ring {
    Ring::new(&RingOptions::default()).expect("ring")
}

/// Both ends of a connection, one of them in `ring`.
fn connected(ring: &mut Ring) -> (ConnId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let stream = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let (accepted, _) = listener.accept().expect("accept");
    (ring.add(OwnedFd::from(accepted)), stream)
}

/// Gives the next event of the ring, in time.
fn next(what: &str, ring: &mut Ring) -> Event {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        assert!(Instant::now() < deadline, "{what}");
        ring.turn(Some(Duration::from_millis(1))).expect("turn");
    }
}

#[test]
fn bytes_keep_their_order_while_a_connection_goes_from_ring_to_ring() {
    const BYTES: usize = 24 << 20;
    const EACH: usize = 500_000;
    let mut rings = [ring(), ring()];
    let (mut id, mut stream) = connected(&mut rings[0]);
    let writer = std::thread::spawn(move || {
        stream.write_all(&pattern(7, BYTES)).expect("write");
        stream
    });
    let (mut came, mut at, mut moves, mut kept_bytes) = (Vec::new(), 0, 0, 0);
    while came.len() < BYTES {
        let before = came.len();
        while came.len() < (before + EACH).min(BYTES) {
            match next("bytes", &mut rings[at]) {
                Event::Received(from, input) => {
                    assert_eq!(from, id);
                    came.extend_from_slice(&input);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(rings[at].release(id) && !rings[at].release(id), "once");
        assert!(rings[at].output(id).is_none());
        let (socket, kept) = match next("the release", &mut rings[at]) {
            Event::Released(released, socket, kept) => {
                assert_eq!(released, id);
                (socket, kept)
            }
            other => panic!("{other:?}"),
        };
        kept_bytes += kept.len();
        came.extend_from_slice(&kept);
        assert!(rings[at].socket(id).is_none() && rings[at].counters().connections == 0);
        at = 1 - at;
        id = rings[at].add(socket);
        moves += 1;
    }
    assert!(came == pattern(7, BYTES), "{} bytes after {moves} moves, {kept_bytes} of them on the way", came.len());
    assert!(moves >= 3 && kept_bytes > 0, "{moves} moves, {kept_bytes} bytes");

    // The other direction is as it was.
    let mut stream = writer.join().expect("writer");
    rings[at].output(id).expect("open").extend_from_slice(b"answer");
    rings[at].turn(None).expect("turn");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"answer");
    drop(stream);
    assert!(matches!(next("the end", &mut rings[at]), Event::Closed(closed, CloseReason::Eof) if closed == id));
}

#[test]
fn a_connection_leaves_when_its_output_is_sent() {
    const BYTES: usize = 16 << 20;
    let mut ring = ring();
    let (id, mut stream) = connected(&mut ring);
    ring.output(id).expect("open").extend_from_slice(&pattern(8, BYTES));
    assert!(ring.release(id));
    for _ in 0..20 {
        ring.turn(None).expect("turn");
        assert!(ring.next_event().is_none(), "the peer has not read");
    }
    let reader = std::thread::spawn(move || {
        let mut came = vec![0; BYTES];
        stream.read_exact(&mut came).expect("read");
        (stream, came)
    });
    let socket = match next("the release", &mut ring) {
        Event::Released(released, socket, kept) => {
            assert!(released == id && kept.is_empty());
            socket
        }
        other => panic!("{other:?}"),
    };
    let (mut stream, came) = reader.join().expect("reader");
    assert!(came == pattern(8, BYTES));
    // It is a socket like any other.
    (&TcpStream::from(socket)).write_all(b"by hand").expect("write");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "by hand");
}

#[test]
fn a_peer_that_breaks_a_connection_on_its_way_out_is_reported() {
    let mut ring = ring();
    let (id, stream) = connected(&mut ring);
    ring.output(id).expect("open").extend_from_slice(&pattern(9, 32 << 20));
    assert!(ring.release(id));
    ring.turn(None).expect("turn");
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).expect("linger");
    drop(stream);
    assert!(matches!(next("the end", &mut ring), Event::Closed(closed, CloseReason::Reset) if closed == id));
    ring.close(id, false);
    ring.turn(None).expect("turn");
    assert!(ring.next_event().is_none() && ring.counters().connections == 0);
}

#[test]
fn a_connection_on_its_way_out_may_be_closed_and_an_ended_one_leaves() {
    let mut ring = ring();
    let (id, mut stuck) = connected(&mut ring);
    ring.output(id).expect("open").extend_from_slice(&pattern(9, 32 << 20));
    assert!(ring.release(id));
    ring.turn(None).expect("turn");
    ring.close(id, false);
    let deadline = Instant::now() + PATIENCE;
    while ring.counters().connections > 0 {
        assert!(Instant::now() < deadline);
        ring.turn(Some(Duration::from_millis(1))).expect("turn");
        assert!(ring.next_event().is_none());
    }
    assert!(stuck.read_to_end(&mut Vec::new()).is_ok_and(|bytes| bytes < 32 << 20));

    let (id, mut stream) = connected(&mut ring);
    stream.write_all(b"last").expect("write");
    drop(stream);
    assert!(ring.release(id));
    let Event::Released(_, socket, kept) = next("the release", &mut ring) else { panic!("it leaves") };
    let mut kept = kept.into_vec();
    TcpStream::from(socket).read_to_end(&mut kept).expect("read");
    assert_eq!(kept, b"last");
}

/// Connections that come in the same turn may be told of first. They do not get the place of one that is still thought to be there.
#[test]
fn a_connection_has_its_place_until_its_release_is_told() {
    let mut ring = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = listener.local_addr().expect("address");
    ring.listen(listener);
    for _ in 0..100 {
        let (id, _stream) = connected(&mut ring);
        ring.turn(Some(Duration::ZERO)).expect("turn");
        assert!(ring.release(id));
        // The first cancellation is often told of before the receive has ended, and then there is a second one.
        ring.turn(Some(Duration::ZERO)).expect("turn");
        let mut is_told = matches!(ring.next_event(), Some(Event::Released(..)));
        // The kernel has let go of it now, which nobody has looked at when the next one comes.
        ring.turn(Some(Duration::ZERO)).expect("turn");
        let _other = TcpStream::connect(address).expect("connect");
        ring.turn(Some(PATIENCE)).expect("turn");
        let mut added = None;
        while added.is_none() || !is_told {
            match next("both events", &mut ring) {
                Event::Accepted(_, socket) => {
                    let new = ring.add(socket);
                    assert!(is_told || new.index() != id.index(), "it is told of {new:?} before {id:?} has left");
                    added = Some(new);
                }
                Event::Released(released, ..) => is_told = released == id,
                other => panic!("{other:?}"),
            }
        }
        ring.close(added.expect("it was added"), false);
    }
}
