//! Clients that wait for an element which their core moves to another shard, as the shard of the source knows them.

use std::sync::Arc;

use basalt_storage::keyspace::Type;

use super::waiting::{popped, wait};
use super::*;
use crate::entry::waiting::{Claim, Pop, WaitOrder, Wanted};
use crate::shard::{FOUND, NO_LIST};

/// Has a client wait for an element of `key` that goes to another shard; gives its claim.
fn wait_to_move(shard: &mut Shard, host: &mut Host, ticket: u32, key: &str) -> Arc<Claim> {
    let claim = Arc::new(Claim::new(1));
    wait_to_move_with(shard, host, ticket, key, &claim);
    claim
}

/// The same with a claim that is there.
fn wait_to_move_with(shard: &mut Shard, host: &mut Host, ticket: u32, key: &str, claim: &Arc<Claim>) {
    let pop = Pop {
        command: table::lookup(b"blmove").unwrap().id,
        call: table::STEP_MOVE,
        protocol: Protocol::Resp2,
        db: 0,
        kind: Type::List,
        has_destination: false,
        is_counted: false,
        before: Vec::new(),
        after: ["elsewhere", "LEFT", "RIGHT", "0"].map(|word| Box::from(word.as_bytes())).into(),
    };
    let keys = vec![Box::from(key.as_bytes())];
    let order = WaitOrder { pop, keys, wanted: Wanted::ElementsToMove, claim: claim.clone() };
    shard.wait(origin(ticket), order, 1, host);
}

fn write(shard: &mut Shard, host: &mut Host, ticket: u32, words: &[&str]) {
    shard.submit(origin(ticket), Mode::Write, &command(words), 1, host);
}

fn replies(host: &mut Host) -> Vec<(u32, String)> {
    std::mem::take(&mut host.replies)
}

fn said(ticket: u32, what: &[u8]) -> (u32, String) {
    (ticket, String::from_utf8_lossy(what).into_owned())
}

#[test]
fn its_core_is_told_of_an_element_and_nobody_behind_it_is_called_before_that_says_what_has_come_of_it() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let claim = wait_to_move(&mut shard, &mut host, 1, "key");
        wait(&mut shard, &mut host, 2, &["key"]);
        assert!(claim.is_waiting() && host.replies.is_empty());
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a", "b"]);
        assert_eq!(shard.batches.open.operations.len(), 1, "nothing is in the log for either");
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":2\r\n".to_owned()), said(1, FOUND)]);

        // Its core has found nothing, as if another had taken it: it is told again, since there is something.
        shard.wait_on_to_move(origin(1), false, 1, &mut host);
        assert_eq!(replies(&mut host), [said(1, FOUND)]);
        shard.wait_on_to_move(origin(1), true, 1, &mut host);
        assert!(host.replies.is_empty(), "only with the next tick");
        shard.tick(Instant::now(), 1, None, &mut host);
        assert_eq!(replies(&mut host), [said(1, FOUND)]);

        // It has taken one, and leaves the other to who waits behind it.
        write(&mut shard, &mut host, 9, &["LPOP", "key"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, "$1\r\na\r\n".to_owned())]);
        claim.end();
        shard.end_wait(origin(1), &mut host);
        // As its core does in each turn.
        shard.take_outcomes(1, &mut host);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(1, String::new()), (2, popped("key", "b"))]);
        assert!(shard.waiting.is_empty() && shard.waiting.bytes() == 0);
        shard.wait_on_to_move(origin(1), false, 1, &mut host);
        assert!(host.replies.is_empty(), "it has left");
    });
}

#[test]
fn who_comes_to_move_when_its_time_is_over_is_told_of_what_is_there_and_leaves_when_its_core_says_so() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a"]);
        write(&mut shard, &mut host, 9, &["SET", "text", "a"]);
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        let claims = [1, 2, 3].map(|_| Arc::new(Claim::new(1)));
        for ((ticket, key), claim) in [(1, "list"), (2, "text"), (3, "none")].into_iter().zip(&claims) {
            claim.run_out();
            wait_to_move_with(&mut shard, &mut host, ticket, key, claim);
        }
        assert_eq!(replies(&mut host), [said(1, FOUND), said(2, NO_LIST), (3, String::new())]);
        // Its core has yet to hear that there is something.
        shard.end_wait(origin(1), &mut host);
        shard.end_wait(origin(2), &mut host);
        assert!(host.replies.is_empty());
        claims.iter().for_each(|claim| assert!(!claim.end()));
        shard.end_wait(origin(1), &mut host);
        shard.end_wait(origin(2), &mut host);
        assert_eq!(replies(&mut host), [(1, String::new()), (2, String::new())]);
        assert!(shard.waiting.is_empty() && shard.waiting.bytes() == 0);
    });
}

#[test]
fn who_comes_to_move_is_told_at_once_if_nobody_waits_before_it() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        for (ticket, words) in [(7, ["RPUSH", "list", "a"]), (8, ["SET", "text", "a"]), (9, ["SADD", "set", "a"])] {
            write(&mut shard, &mut host, ticket, &words);
        }
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        for (ticket, key) in [(1, "list"), (2, "list"), (3, "text"), (4, "set"), (5, "none")] {
            wait_to_move(&mut shard, &mut host, ticket, key);
        }
        assert_eq!(replies(&mut host), [said(1, FOUND), said(3, NO_LIST), said(4, NO_LIST)]);
        // What was no list is none any more.
        write(&mut shard, &mut host, 9, &["DEL", "text"]);
        settle(&mut shard, &mut host).await;
        shard.wait_on_to_move(origin(3), false, 1, &mut host);
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned())]);
        write(&mut shard, &mut host, 9, &["RPUSH", "text", "b"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned()), said(3, FOUND)]);
    });
}

#[test]
fn who_moves_is_told_when_nobody_may_wait_here_any_more_whatever_it_has_come_to() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        settle(&mut shard, &mut host).await;
        wait_to_move(&mut shard, &mut host, 1, "key");
        wait_to_move(&mut shard, &mut host, 2, "key");
        replies(&mut host);
        shard.close_to_clients();
        shard.end_waits_if_lost(&mut host);
        let all = replies(&mut host);
        assert!(all.len() == 2 && all.iter().all(|(_, reply)| reply.starts_with("-UNBLOCKED ")), "{all:?}");
        assert!(shard.waiting.is_empty());
    });
}
