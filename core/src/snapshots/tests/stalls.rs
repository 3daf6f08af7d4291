//! Peers that stand still.

use std::cell::Cell;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use basalt_net::peer::{Message, RequestId, SnapshotPosition};

use super::node::{ANSWER, Node, greet_by_hand, receiver_options};
use super::proxy::{Fate, Proxy};
use super::source::{GROUP, PATIENCE, RECEIVER, Source, impatient, patient, rows, sender, until, wait};
use crate::limits::snapshots::READ_BYTES;
use crate::snapshots::wire::Wire;
use crate::snapshots::{ReceiverOptions, SendError, Sender, SenderOptions};

#[test]
fn a_sender_that_stalls_is_let_go_and_what_it_brought_stays() {
    let home = tempfile::tempdir().unwrap();
    let silence_wait = Duration::from_millis(200);
    let node = Node::with(home.path(), ReceiverOptions { silence_wait, ..receiver_options() });
    let source = Source::new(3000, 1);
    let half = source.total() / 2;
    let proxy = Proxy::new(node.address, move |at| if at == 0 { Fate::Stall(half) } else { Fate::Lasts }, |_| ());
    // This one would wait for ever.
    let sender = sender(&SenderOptions { silence_wait: PATIENCE, ..patient() });

    let vote = wait(sender.send(source.order(proxy.address))).unwrap();

    assert_eq!((vote, proxy.forwarded().len()), (ANSWER, 2));
    assert!(proxy.forwarded()[1] < source.total() * 3 / 4, "{:?}", proxy.forwarded());
    assert!(rows(&node.end()) == source.rows);
}

#[test]
fn a_receiver_that_stalls_is_tried_again_and_then_given_up() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(3000, 1);
    let proxy = Proxy::new(node.address, |at| Fate::Stall([500_000, 1, 150, 2000][at % 4]), |_| ());

    let error = wait(sender(&impatient()).send(source.order(proxy.address))).unwrap_err();

    assert!(matches!(&error, SendError::Stuck { .. }), "{error}");
    assert!(proxy.forwarded().len() >= 2, "{:?}", proxy.forwarded());
}

/// A receiver that takes the list of files, and then does as `then` says until the sender has gone.
fn false_receiver(then: fn(&mut Wire)) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, is_told) = channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let Some((stream, session, unread)) = greet_by_hand(stream, RECEIVER) else { continue };
            let mut left = stream.try_clone().unwrap();
            let mut wire = Wire::new(stream, session, Default::default(), unread, PATIENCE).unwrap();
            let begun = wire.receive(std::time::Instant::now() + PATIENCE);
            if !begun.is_ok_and(|begun| matches!(begun.unwrap().message, Message::SnapshotBegin(_))) {
                continue;
            }
            then(&mut wire);
            // It does not matter what comes, as long as there is somebody.
            left.set_read_timeout(None).unwrap();
            while left.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
            let _ = told.send(());
        }
    });
    (address, is_told)
}

fn resume(wire: &mut Wire) {
    let begin = SnapshotPosition { file: 0, offset: 0 };
    let _ = wire.send(GROUP, RequestId(1), Message::SnapshotResume(begin));
}

#[test]
fn a_receiver_that_never_moves_on_is_given_up_whatever_it_says() {
    let source = Source::new(1000, 1);
    let silent: fn(&mut Wire) = |_| ();
    let takes_and_says_nothing: fn(&mut Wire) = resume;
    let says_the_same_for_ever: fn(&mut Wire) = |wire| {
        let mut position = SnapshotPosition { file: 0, offset: 0 };
        resume(wire);
        // Signs of life before all has come are none; later the sender takes no more than the place that it knows.
        while wire.send(GROUP, RequestId(1), Message::SnapshotAck(position)).is_ok() {
            position.offset = 0;
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let begins_again_for_ever: fn(&mut Wire) = |wire| {
        loop {
            let begin = Message::SnapshotResume(SnapshotPosition { file: 0, offset: 0 });
            if wire.send(GROUP, RequestId(1), begin).is_err() {
                return;
            }
            while wire.poll().is_ok_and(|incoming| incoming.is_some()) {}
        }
    };
    let lies: fn(&mut Wire) = |wire| {
        resume(wire);
        let beyond = SnapshotPosition { file: 1, offset: 0 };
        let _ = wire.send(GROUP, RequestId(1), Message::SnapshotResume(SnapshotPosition { file: 999, offset: 3 }));
        let _ = wire.send(GROUP, RequestId(1), Message::SnapshotAck(beyond));
    };
    let all = [silent, takes_and_says_nothing, says_the_same_for_ever, begins_again_for_ever, lies];
    let sender = Sender::start(impatient()).unwrap();
    let sendings: Vec<_> = all
        .map(|then| {
            let (address, has_gone) = false_receiver(then);
            (sender.send(source.order(address)), has_gone)
        })
        .into();
    for (sending, has_gone) in sendings {
        let error = wait(sending).unwrap_err();
        assert!(matches!(&error, SendError::Stuck { .. } | SendError::Endless { .. }), "{error}");
        has_gone.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_receiver_that_installs_is_heard_of_and_one_that_says_nothing_is_not() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(1000, 1);
    node.group.holds.store(true, Ordering::SeqCst);
    let (group, heard) = (node.group.clone(), Cell::new(0));
    let waiting = sender(&patient());
    let sending = waiting.send(source.order(node.address)).on_sign(move || {
        if group.begun.load(Ordering::SeqCst) == 1 {
            heard.set(heard.get() + 1);
            group.holds.store(heard.get() < 5, Ordering::SeqCst);
        }
    });
    assert_eq!(wait(sending).unwrap(), ANSWER, "without signs it is held for ever");

    let (address, _has_gone) = false_receiver(resume);
    let proxy = Proxy::new(address, |_| Fate::Lasts, |_| ());
    let heard = Rc::new(Cell::new(0));
    let count = heard.clone();
    let leaving = sender(&impatient());
    let sending = leaving.send(source.order(proxy.address)).on_sign(move || count.set(count.get() + 1));
    wait(sending).unwrap_err();
    // Its greeting and the place that it wants, but nothing of all that was sent to it.
    let read = source.files().iter().map(|(_, bytes)| bytes.div_ceil(READ_BYTES as u64)).sum::<u64>();
    let most = read + 2 * proxy.forwarded().len() as u64;
    assert!((1..=most).contains(&heard.get()), "{} signs, {most} at most", heard.get());
}

#[test]
fn a_receiver_that_does_not_read_holds_no_thread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let source = Source::new(100, 1);
    let sender = sender(&impatient());
    let sendings: Vec<_> = (0..8).map(|_| sender.send(source.order(address))).collect();
    for sending in sendings {
        assert!(matches!(wait(sending), Err(SendError::Stuck { .. })));
    }
    until("the end of all", || sender.progress().is_empty());
}
