//! Shards that fail, on a core with others and with clients.

use std::cell::RefCell;
use std::rc::Rc;

use basalt_net::ring::{Ring, RingOptions};
use basalt_raft::{Error, Reach};

use super::Groups;
use super::core::Core;
use super::isolation_tests::{Client, key_of, until};
use super::sync_placement::SyncPlacement;
use crate::commands::CommandError;
use crate::ids::{CoreId, ShardId};
use crate::node::{Background, GroupState};
use crate::shard::Shard;
use crate::shard::tests::{log_options, open_again, with_shards_in};

const SELF: CoreId = CoreId(0);
const GOOD: ShardId = ShardId(0);
const BAD: ShardId = ShardId(1);

/// Puts a command that nobody can execute into the batch that the shard collects.
fn poison(core: &mut Core) {
    let shard = core.shards[BAD.index()].as_mut().expect("it is here");
    shard.write(None, |out| out.extend_from_slice(&[0xff; 64]));
}

#[test]
fn a_shard_that_fails_refuses_what_concerns_it_and_leaves_and_comes_back_without_the_entry() {
    let directory = tempfile::tempdir().unwrap();
    let of_bad = directory.path().join(BAD.to_string());
    with_shards_in(directory.path(), 2, 1, log_options(), |server, shards| async move {
        let (good, bad) = (key_of(&server, "key", GOOD), key_of(&server, "key", BAD));
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let left: Rc<RefCell<Vec<Shard>>> = Rc::default();
        let groups = {
            let left = left.clone();
            Groups::new(shards, move |shard| left.borrow_mut().push(shard))
        };
        let readers = Background::start("test", 1, 8).unwrap();
        let mut core = Core::new(SELF, server.clone(), ring, groups.clone(), readers, SyncPlacement::of(None));
        core.seat_opened();
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        let refused = format!("-{}\r\n", CommandError::SHARD_FAILED);
        clients[0].ask(&["SET", &bad, "kept"]);
        until("written", &mut core, &mut clients, |_, clients| clients[0].has("+OK\r\n")).await;

        poison(&mut core);
        clients[0].ask(&["SET", &bad, "lost"]);
        clients[0].ask(&["GET", &bad]);
        clients[1].ask(&["SET", &good, "1"]);
        clients[1].ask(&["GET", &good]);
        until("the others go on", &mut core, &mut clients, |_, clients| clients[1].has("+OK\r\n$1\r\n1\r\n")).await;
        until("it has left", &mut core, &mut clients, |_, _| !left.borrow().is_empty()).await;
        // The first may be on its way with the entry, or come after it.
        until("all are answered", &mut core, &mut clients, |_, clients| {
            clients[0].received.ends_with(refused.as_bytes())
        })
        .await;
        let said = String::from_utf8_lossy(&clients[0].received[5..]).into_owned();
        let (first, last) = said.split_at(said.len() - refused.len());
        assert!((first.starts_with("-UNCERTAIN ") || first == refused) && last == refused, "{said}");

        assert!(core.shards[BAD.index()].is_none() && !server.is_loading() && server.stop.failure().is_none());
        clients[2].ask(&["SET", &bad, "no"]);
        for words in
            [&["GET", &*bad][..], &["MGET", &good, &bad], &["DBSIZE"], &["SCAN", "0"], &["RENAME", &good, &bad]]
        {
            clients[2].ask(words);
        }
        clients[2].ask(&["GET", &good]);
        let replies = format!("{}$1\r\n1\r\n", refused.repeat(6));
        until("refused in order", &mut core, &mut clients, |_, clients| clients[2].has(&replies)).await;

        // Its files are free, and it fails again for as long as the entry is in the way.
        let shard = left.borrow_mut().pop().expect("it has left");
        let (log, store) = shard.end(true).await;
        assert!(log.is_some() && store.is_some(), "nothing of it is in use");
        drop((log, store));
        let Err(Error::Fatal(fault)) = open_again(BAD, &of_bad, &server, None).await else { panic!("it opens") };
        assert_eq!(fault.reach, Reach::Group, "{fault}");
        let index = fault.text.split_once("entry ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let (shard, _syncer) = open_again(BAD, &of_bad, &server, index).await.expect("it opens without the entry");
        groups.add(shard);
        core.seat_opened();
        assert_eq!(server.shards[BAD.index()].state.get(), GroupState::Leader);
        clients[2].received.clear();
        for words in [&["GET", &*bad][..], &["SET", &bad, "2"], &["MGET", &good, &bad]] {
            clients[2].ask(words);
        }
        let replies = "$4\r\nkept\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n";
        until("all is as before", &mut core, &mut clients, |_, clients| clients[2].has(replies)).await;
    });
}

#[test]
fn who_waits_for_elements_of_a_shard_that_is_given_up_is_told_and_the_shard_leaves() {
    let directory = tempfile::tempdir().unwrap();
    with_shards_in(directory.path(), 2, 1, log_options(), |server, shards| async move {
        let key = key_of(&server, "key", BAD);
        let left: Rc<RefCell<Vec<Shard>>> = Rc::default();
        let groups = {
            let left = left.clone();
            Groups::new(shards, move |shard| left.borrow_mut().push(shard))
        };
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 8).unwrap();
        let mut core = Core::new(SELF, server.clone(), ring, groups.clone(), readers, SyncPlacement::of(None));
        core.seat_opened();
        let mut clients = vec![Client::connect(&server)];
        clients[0].ask(&["BLPOP", &key, "0"]);
        clients[0].ask(&["PING"]);
        until("it waits", &mut core, &mut clients, |_, _| server.shards[BAD.index()].waits_begun.get() == 1).await;

        groups.leave(BAD);
        until("it has left", &mut core, &mut clients, |_, _| !left.borrow().is_empty()).await;
        until("who waited is told", &mut core, &mut clients, |_, clients| clients[0].received.ends_with(b"+PONG\r\n"))
            .await;
        let said = String::from_utf8_lossy(&clients[0].received).into_owned();
        assert!(said.starts_with("-UNBLOCKED "), "{said}");
    });
}
