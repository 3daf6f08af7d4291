//! Snapshots that arrive, and those that are refused.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use basalt_net::peer::{GroupNumber, NodeNumber, Recipient, UnableReason};

use super::node::{ANSWER, Node, receiver_options};
use super::proxy::{Fate, Proxy};
use super::source::{GROUP, RECEIVER, Source, patient, rows, sender, until, wait};
use crate::limits::snapshots::{DAMAGED_FILE_MAX, UNFINISHED_KEPT, WINDOW_BYTES};
use crate::snapshots::failpoint::arm;
use crate::snapshots::{Bandwidth, Progress, ReceiverOptions, SendError, SendOrder, SenderOptions};

/// Returns the names of all that is in `directory`.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_arrives_as_it_was_and_its_rows_take_the_place_of_all() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(5000, 9);
    let options = SenderOptions { bandwidth: Arc::new(Bandwidth::new(0, 0)), ..patient() };
    let sender = sender(&options);

    let vote = wait(sender.send(source.order(node.address))).unwrap();

    assert_eq!(vote, ANSWER);
    assert_eq!(options.bandwidth.taken_bytes(), source.total(), "each byte is sent once");
    assert_eq!((node.group.begun.load(Ordering::SeqCst), names(&node.received())), (1, Vec::new()));
    assert!(sender.progress().is_empty() && node.receiver.progress().is_empty());
    let store = node.end();
    assert!(rows(&store) == source.rows && store.applied().index == 5000);
}

#[test]
fn a_snapshot_for_another_member_than_the_one_here_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(1000, 9);
    let sender = sender(&patient());
    let (earlier, now) = (NodeNumber(0xe5), NodeNumber(0xf6));
    let send = |member| wait(sender.send(SendOrder { member, ..source.order(node.address) }));
    let asked = || node.group.asked.lock().unwrap().last().copied();

    *node.group.replica.lock().unwrap() = now;
    for (member, recipient) in [(RECEIVER, Recipient::Node), (earlier, Recipient::Member(earlier))] {
        let error = send(member).unwrap_err();
        assert!(matches!(error, SendError::Unable { reason: UnableReason::NotHere, .. }), "{error}");
        assert_eq!((asked(), node.received().exists()), (Some(recipient), false));
    }
    assert_eq!(send(now).unwrap(), ANSWER);
    assert_eq!((asked(), node.group.installed.load(Ordering::SeqCst)), (Some(Recipient::Member(now)), 1));

    // The one under its node's number is not meant by another's.
    *node.group.replica.lock().unwrap() = RECEIVER;
    assert!(matches!(send(now), Err(SendError::Unable { reason: UnableReason::NotHere, .. })));
}

#[test]
fn progress_is_told_while_it_lasts_and_a_caller_that_goes_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(4000, 1);
    let total = source.total();
    let proxy = Proxy::new(node.address, move |_| Fate::Stall(total / 2), |_| ());
    let sender = sender(&patient());
    let sending = sender.send(source.order(proxy.address));
    let is_half = |progress: Vec<Progress>| {
        progress.iter().any(|progress| {
            assert_eq!((progress.group, progress.total_bytes <= total), (GROUP, true));
            assert!(progress.done_bytes <= total / 2);
            progress.total_bytes == total && progress.done_bytes > total / 8
        })
    };
    until("half of it here", || is_half(node.receiver.progress()));
    until("half of it there", || is_half(sender.progress()));
    assert_eq!(sender.progress()[0].node, RECEIVER);

    drop(sending);

    until("its end there", || sender.progress().is_empty());
    proxy.cut_all();
    until("its end here", || node.receiver.progress().is_empty());
    assert!(node.received_bytes() > 0, "what has come stays");
    assert_eq!(proxy.forwarded().len(), 1);
}

#[test]
fn both_ends_stop_at_once_and_what_has_come_is_not_sent_again() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(4000, 1);
    let total = source.total();
    let proxy = Proxy::new(node.address, move |at| if at == 0 { Fate::Stall(total / 2) } else { Fate::Lasts }, |_| ());
    let options = patient();
    let sender = sender(&options);
    let sending = sender.send(source.order(proxy.address));
    until("a part of it", || node.receiver.progress().iter().any(|progress| progress.done_bytes > total / 8));

    drop(node.end());
    let had = fs::read_dir(home.path().join("received/files")).unwrap();
    let had: u64 = had.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let node = Node::new(home.path());
    proxy.set_target(node.address);

    assert_eq!(wait(sending).unwrap(), ANSWER);
    let again = proxy.forwarded().into_iter().max().unwrap();
    assert!(had > 0 && again < total - had + total / 100 + 10_000, "{again} of {total} bytes after {had} had come");
    assert!(rows(&node.end()) == source.rows);

    // The same of a sender.
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let proxy = Proxy::new(node.address, move |_| Fate::Stall(total / 2), |_| ());
    let waiting: Vec<_> = (0..3).map(|_| sender.send(source.order(proxy.address))).collect();
    until("a part of it", || node.received_bytes() > 0);
    sender.stop();
    for sending in waiting {
        assert!(matches!(wait(sending), Err(SendError::Cancelled)));
    }
    assert!(matches!(wait(sender.send(source.order(proxy.address))), Err(SendError::Refused { .. })));
}

/// Changes a byte in the middle of the file, if it is there.
fn damage(path: &Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_file_that_was_damaged_on_its_way_is_asked_for_again_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(12_000, 1);
    let files: Vec<_> = source.files().into_iter().filter(|(_, bytes)| *bytes > 100_000).collect();
    // Two of them, with others between and behind them, so that the sender has to jump.
    assert!(files.len() > 3, "{files:?}");
    let names: Vec<_> = [0, 2].map(|at| files[at].0.file_name().unwrap().to_owned()).into();
    let bytes = files[0].1 + files[2].1;
    let (received, times) = (node.received(), AtomicU64::new(0));
    let directory = received.join("files");
    let _armed = arm("check due", &received, move || {
        if times.fetch_add(1, Ordering::SeqCst) == 0 {
            names.iter().for_each(|name| damage(&directory.join(name)));
        }
        Ok(())
    });
    let options = patient();

    wait(sender(&options).send(source.order(node.address))).unwrap();

    let sent = options.bandwidth.taken_bytes();
    let total = source.total();
    assert!(sent >= total + bytes, "{sent} bytes were sent");
    assert!(sent < total + bytes + 2 * WINDOW_BYTES, "{sent} bytes were sent");
    assert!(rows(&node.end()) == source.rows);
}

#[test]
fn a_file_that_is_damaged_each_time_is_given_up_and_nothing_is_installed() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(1000, 1);
    let name = source.files().into_iter().max_by_key(|(_, bytes)| *bytes).unwrap().0.file_name().unwrap().to_owned();
    let received = node.received();
    let directory = received.join("files");
    let times = Arc::new(AtomicU64::new(0));
    let counted = times.clone();
    let _armed = arm("check due", &received, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        damage(&directory.join(&name));
        Ok(())
    });

    let error = wait(sender(&patient()).send(source.order(node.address))).unwrap_err();

    assert!(matches!(&error, SendError::Unable { reason: UnableReason::Damaged, .. }), "{error}");
    assert_eq!(times.load(Ordering::SeqCst), u64::from(DAMAGED_FILE_MAX) + 1);
    assert_eq!(node.group.begun.load(Ordering::SeqCst), 0);
}

#[test]
fn a_disk_without_room_refuses_before_it_begins_and_while_it_writes_and_keeps_nothing() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::with(home.path(), ReceiverOptions { reserve_bytes: u64::MAX, ..receiver_options() });
    let source = Source::new(3000, 1);
    let sender = sender(&patient());
    let refused = |node: &Node| {
        let error = wait(sender.send(source.order(node.address))).unwrap_err();
        assert!(matches!(&error, SendError::Unable { reason: UnableReason::NoSpace, .. }), "{error}");
        assert_eq!(names(&node.received()), Vec::<String>::new(), "the node itself needs the room");
        error.to_string()
    };
    let text = refused(&node);
    assert!(text.contains(&source.total().to_string()) && text.contains("are free"), "{text}");
    drop(node);

    let node = Node::new(home.path());
    let written = AtomicU64::new(0);
    let full = arm("piece due", &node.received(), move || {
        if written.fetch_add(1, Ordering::SeqCst) < 20 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    });
    refused(&node);
    drop(full);

    assert_eq!(wait(sender.send(source.order(node.address))).unwrap(), ANSWER, "once there is room");
    assert!(rows(&node.end()) == source.rows);
}

#[test]
fn a_newer_leader_s_snapshot_takes_the_place_of_an_older_one_s_and_not_the_reverse() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let (old, new) = (Source::new(3000, 1), Source::new(2000, 2));
    let half = old.total() / 2;
    let proxy = Proxy::new(node.address, move |at| if at == 0 { Fate::Stall(half) } else { Fate::Lasts }, |_| ());
    let sender = sender(&patient());
    let old_sending = sender.send(old.order(proxy.address));
    until("a part of the old one", || node.received_bytes() > half / 2);
    // It is held while it is installed: the old one comes again meanwhile.
    node.group.holds.store(true, Ordering::SeqCst);

    let new_sending = sender.send(new.order(node.address));

    until("the new one", || node.group.begun.load(Ordering::SeqCst) == 1);
    until("the old one once more", || proxy.forwarded().len() > 1);
    drop(old_sending);
    node.group.holds.store(false, Ordering::SeqCst);
    assert_eq!(wait(new_sending).unwrap(), ANSWER);
    let store = node.end();
    assert!(rows(&store) == new.rows, "{}", store.applied().index);
}

#[test]
fn an_answer_that_was_lost_is_no_second_transfer() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(1000, 1);
    let proxy = Proxy::new(node.address, |_| Fate::Lasts, |_| ());
    node.group.holds.store(true, Ordering::SeqCst);
    let options = patient();
    let sender = sender(&options);
    let sending = sender.send(source.order(proxy.address));
    until("its install", || node.group.begun.load(Ordering::SeqCst) == 1);

    proxy.cut_all();
    until("the next connection", || proxy.forwarded().len() == 2);
    node.group.holds.store(false, Ordering::SeqCst);

    assert_eq!(wait(sending).unwrap(), ANSWER);
    assert_eq!(node.group.installed.load(Ordering::SeqCst), 1);
    assert_eq!(options.bandwidth.taken_bytes(), source.total());
}

#[test]
fn what_no_node_would_take_ends_at_once_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(10, 1);
    let sender = sender(&patient());
    let mut order = source.order(node.address);
    order.group = GroupNumber(6);
    let error = wait(sender.send(order)).unwrap_err();
    assert!(matches!(&error, SendError::Unable { reason: UnableReason::NotHere, .. }), "{error}");

    let mut order = source.order(node.address);
    order.wanted.node = NodeNumber(0xc3);
    let error = wait(sender.send(order)).unwrap_err();
    assert!(matches!(&error, SendError::Peer(_)) && error.to_string().contains("other-node"), "{error}");

    let mut order = source.order(node.address);
    order.vote.is_committed = false;
    let error = wait(sender.send(order)).unwrap_err().to_string();
    assert!(error.contains("cannot come from a leader"), "{error}");

    let mut order = source.order(node.address);
    order.meta[0] = 99;
    let error = wait(sender.send(order)).unwrap_err().to_string();
    assert!(error.contains("a log id has format 99"), "{error}");

    let mut order = source.order(node.address);
    order.directory = PathBuf::from("/nowhere");
    assert!(matches!(wait(sender.send(order)).unwrap_err(), SendError::Local { .. }));
    assert_eq!(node.group.begun.load(Ordering::SeqCst), 0);
}

#[test]
fn a_bound_on_the_bandwidth_holds_for_all_that_is_sent_together() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodes = [Node::new(home.path()), Node::new(other.path())];
    let sources = [Source::new(700, 1), Source::new(900, 2)];
    let bandwidth = Arc::new(Bandwidth::new(8 << 20, 64 << 10));
    let sender = sender(&SenderOptions { bandwidth: bandwidth.clone(), ..patient() });
    let begun = std::time::Instant::now();
    let sendings: Vec<_> =
        nodes.iter().zip(&sources).map(|(node, source)| sender.send(source.order(node.address))).collect();
    for sending in sendings {
        wait(sending).unwrap();
    }
    let total: u64 = sources.iter().map(Source::total).sum();
    assert_eq!(bandwidth.taken_bytes(), total);
    // It cannot have been quicker: each waited until its bytes were there.
    let least = Duration::from_secs_f64((total - (64 << 10)) as f64 / (8 << 20) as f64);
    assert!(begun.elapsed() >= least, "{total} bytes in {:?}", begun.elapsed());
}

#[test]
fn what_nobody_has_added_to_for_long_is_removed_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(home.path());
    let source = Source::new(2000, 1);
    let half = source.total() / 2;
    let proxy = Proxy::new(node.address, move |_| Fate::Stall(half), |_| ());
    let sender = sender(&patient());
    let later = SystemTime::now() + UNFINISHED_KEPT + Duration::from_secs(3600);
    let remove = |now| node.receiver.remove_old(GROUP, &node.received(), now).unwrap();
    assert!(!remove(later), "there is nothing");
    let sending = sender.send(source.order(proxy.address));
    until("a part of it", || node.received_bytes() > 0);
    assert!(!remove(later), "it is being received");
    drop(sending);
    proxy.cut_all();
    until("the end of it", || node.receiver.progress().is_empty());
    assert!(!remove(SystemTime::now()), "it is young");

    assert!(remove(later));

    assert_eq!(names(&node.received()), Vec::<String>::new());
}
