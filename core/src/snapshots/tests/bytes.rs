//! Connections that bring anything but snapshots, and too many of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Instant;

use basalt_net::peer::{
    Acquaintance, GroupNumber, Lane, Message, Outbox, PeerError, RequestId, SnapshotPiece, SnapshotPosition,
};

use super::node::{ANSWER, Node, greet, receiver_options};
use super::source::{GROUP, PATIENCE, RECEIVER, SENDER, Source, own, patient, sender, until, wait};
use crate::limits::snapshots::{CONNECTIONS_MAX, JOINED_BYTES_MAX};
use crate::snapshots::ReceiverOptions;
use crate::snapshots::wire::{Wire, WireError};

/// A connection that has been greeted, and its socket.
fn dial(node: &Node, source: &Source) -> (Wire, TcpStream) {
    let stream = TcpStream::connect(node.address).unwrap();
    let socket = stream.try_clone().unwrap();
    let wanted = source.order(node.address).wanted;
    let wire = Wire::dial(stream, &own(SENDER), wanted, &|_| Acquaintance::Unknown, PATIENCE, PATIENCE).unwrap();
    (wire, socket)
}

/// The reason that the node gives for closing the connection.
fn refusal(wire: &mut Wire) -> String {
    match wire.receive(Instant::now() + PATIENCE) {
        Err(WireError::Peer(PeerError::RefusedByPeer(refusal))) => refusal.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("no refusal"),
    }
}

#[test]
fn bytes_that_are_no_snapshot_end_their_connection_by_name_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(50, 1);
    let (mut wire, mut socket) = dial(&node, &source);
    socket.write_all(&[0xff; 4096]).unwrap();
    assert!(refusal(&mut wire).contains("(protocol)"));
    let (mut wire, _) = dial(&node, &source);
    let position = SnapshotPosition { file: 0, offset: 0 };
    for message in [
        Message::SnapshotEnd,
        Message::SnapshotAck(position),
        Message::SnapshotPiece(SnapshotPiece { position, bytes: vec![1].into() }),
    ] {
        wire.send(GROUP, RequestId(1), message).unwrap();
        assert!(refusal(&mut wire).contains("nothing to say"));
        wire = dial(&node, &source).0;
    }
    assert_eq!(wait(sender(&patient()).send(source.order(node.address))).unwrap(), ANSWER);
}

#[test]
fn messages_that_never_become_whole_take_no_more_memory_than_they_may() {
    let home = tempfile::tempdir().unwrap();
    // Not for its silence.
    let node = Node::with(home.path(), ReceiverOptions { silence_wait: 10 * PATIENCE, ..receiver_options() });
    let source = Source::new(10, 1);
    let (_wire, mut socket) = dial(&node, &source);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let message_bytes = 3 << 20;
    for group in 0..=JOINED_BYTES_MAX / message_bytes {
        let mut outbox = Outbox::new(Lane::Snapshots, 1, own(SENDER).bounds, 0);
        let position = SnapshotPosition { file: 0, offset: 0 };
        let piece = SnapshotPiece { position, bytes: vec![0; message_bytes].into() };
        outbox.push(GroupNumber(group as u64), RequestId(1), Message::SnapshotPiece(piece)).unwrap();
        let mut first = Vec::new();
        outbox.take(1, &mut first);
        socket.write_all(&first).unwrap();
    }
    let read = socket.read(&mut [0; 8]);
    assert!(
        read.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |&read| read == 0),
        "{read:?}"
    );
}

#[test]
fn connections_beyond_the_bound_are_given_back_until_others_have_ended() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(10, 1);
    let mut held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| dial(&node, &source)).collect();
    // The last greeting may be over here and not there yet.
    let begun = |node: &Node| node.port.taken.load(Ordering::SeqCst);
    until("all of them", || begun(&node) == CONNECTIONS_MAX);

    let (_wire, mut socket) = dial(&node, &source);
    assert_eq!(socket.read(&mut [0; 8]).unwrap_or(0), 0, "it is closed");

    held.pop();
    assert_eq!(wait(sender(&patient()).send(source.order(node.address))).unwrap(), ANSWER);
}

#[test]
fn another_lane_is_given_back() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let greeted = std::thread::spawn(move || greet(listener.accept().unwrap().0, RECEIVER).unwrap());
    let mut wanted = Source::new(1, 1).order(address).wanted;
    wanted.route.lane = Lane::Votes;
    let stream = TcpStream::connect(address).unwrap();
    let _wire = Wire::dial(stream, &own(SENDER), wanted, &|_| Acquaintance::Unknown, PATIENCE, PATIENCE).unwrap();
    assert!(node.receiver.take(greeted.join().unwrap()).is_err());
}
