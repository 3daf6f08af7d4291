//! Clients that wait for elements, in one shard.

use std::sync::Arc;

use basalt_raft::ProposeError;
use basalt_storage::keyspace::{StreamId, Type};

use super::*;
use crate::entry::waiting::{Claim, Claimed, Pop, WaitOrder, Wanted};

const UNBLOCKED: &str =
    "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

/// Has a client wait for lists as BLPOP does; gives its claim.
pub(super) fn wait(shard: &mut Shard, host: &mut Host, ticket: u32, keys: &[&str]) -> Arc<Claim> {
    wait_in(shard, host, ticket, 0, keys)
}

/// The same in database `db`.
fn wait_in(shard: &mut Shard, host: &mut Host, ticket: u32, db: u8, keys: &[&str]) -> Arc<Claim> {
    let claim = Arc::new(Claim::new(1));
    wait_with(shard, host, ticket, (db, keys), &claim);
    claim
}

/// The same with a claim that is there.
pub(super) fn wait_with(
    shard: &mut Shard,
    host: &mut Host,
    ticket: u32,
    (db, keys): (u8, &[&str]),
    claim: &Arc<Claim>,
) {
    let pop = Pop {
        command: table::lookup(b"blpop").unwrap().id,
        call: table::lookup(b"blpop").unwrap().id,
        protocol: Protocol::Resp2,
        db,
        kind: Type::List,
        has_destination: false,
        is_counted: false,
        before: Vec::new(),
        after: vec![Box::from(&b"0"[..])],
    };
    let keys = keys.iter().map(|key| Box::from(key.as_bytes())).collect();
    shard.wait(origin(ticket), WaitOrder { pop, keys, wanted: Wanted::Elements, claim: claim.clone() }, 1, host);
}

fn write(shard: &mut Shard, host: &mut Host, ticket: u32, words: &[&str]) {
    shard.submit(origin(ticket), Mode::Write, &command(words), 1, host);
}

pub(super) fn popped(key: &str, value: &str) -> String {
    format!("*2\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
}

/// The replies to clients since this was asked last.
fn replies(host: &mut Host) -> Vec<(u32, String)> {
    std::mem::take(&mut host.replies)
}

fn is_waited_for(shard: &Shard) -> bool {
    let machine = shard.machine.borrow();
    assert_eq!(machine.scratch.is_watching(), !shard.waiting.is_empty(), "keys are watched for those who wait");
    !shard.waiting.is_empty()
}

#[test]
fn a_push_brings_what_it_gives_to_those_who_came_first_in_its_own_entry() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let claims = [1, 2, 3].map(|ticket| wait(&mut shard, &mut host, ticket, &["other", "key"]));
        assert!(claims.iter().all(|claim| claim.is_waiting()) && host.replies.is_empty());
        assert_eq!(shard.batches.open.operations.len(), 0, "who finds nothing writes nothing");

        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a", "b"]);
        write(&mut shard, &mut host, 8, &["LPOP", "key"]);
        assert_eq!(shard.batches.open.operations.len(), 4, "as many calls as there are elements");
        settle(&mut shard, &mut host).await;
        let expected =
            [(9, ":2\r\n".to_owned()), (1, popped("key", "a")), (2, popped("key", "b")), (8, "$-1\r\n".to_owned())];
        assert_eq!(replies(&mut host), expected);
        assert_eq!(shard.waiting.len(), 1);

        claims[2].end();
        shard.end_wait(origin(3), &mut host);
        assert_eq!(replies(&mut host), [(3, String::new())]);
        assert!(!is_waited_for(&shard) && shard.waiting.bytes() == 0);
    });
}

/// A core that is behind does not make elements that are there none.
#[test]
fn who_comes_when_its_time_is_over_gets_what_is_there_and_waits_no_more() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a"]);
        write(&mut shard, &mut host, 9, &["SET", "text", "a"]);
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        for (ticket, key) in [(1, "list"), (2, "text"), (3, "none")] {
            let claim = Arc::new(Claim::new(1));
            claim.run_out();
            // The word that it ends may come before it.
            shard.end_wait(origin(ticket), &mut host);
            wait_with(&mut shard, &mut host, ticket, (0, &[key]), &claim);
        }
        assert_eq!(replies(&mut host), [(3, String::new())], "nothing is there for it, and it waits no more");
        settle(&mut shard, &mut host).await;
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_owned();
        assert_eq!(replies(&mut host), [(1, popped("list", "a")), (2, wrong)]);
        assert!(!is_waited_for(&shard) && shard.waiting.bytes() == 0);

        // Its own command finds that another has taken it: it leaves.
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a"]);
        settle(&mut shard, &mut host).await;
        write(&mut shard, &mut host, 9, &["DEL", "list"]);
        let claim = wait(&mut shard, &mut host, 1, &["list"]);
        claim.run_out();
        shard.end_wait(origin(1), &mut host);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host)[1..], [(9, ":1\r\n".to_owned()), (1, String::new())]);

        // One that has left for good gets nothing, whatever is there.
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a"]);
        settle(&mut shard, &mut host).await;
        let claim = Arc::new(Claim::new(1));
        claim.end();
        wait_with(&mut shard, &mut host, 1, (0, &["list"]), &claim);
        assert_eq!(replies(&mut host), [(8, ":1\r\n".to_owned()), (1, String::new())]);
        assert!(!is_waited_for(&shard));
    });
}

#[test]
fn a_key_that_comes_to_have_something_in_any_way_serves_who_waits_before_others_that_came_meanwhile() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a", "b", "c"]);
        settle(&mut shard, &mut host).await;
        wait(&mut shard, &mut host, 1, &["key"]);
        wait(&mut shard, &mut host, 2, &["key"]);
        replies(&mut host);

        write(&mut shard, &mut host, 9, &["RENAME", "list", "key"]);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        // It comes while the entry is on its way.
        write(&mut shard, &mut host, 8, &["LRANGE", "key", "0", "-1"]);
        settle(&mut shard, &mut host).await;
        let expected = [
            (9, "+OK\r\n".to_owned()),
            (1, popped("key", "a")),
            (2, popped("key", "b")),
            (8, "*1\r\n$1\r\nc\r\n".to_owned()),
        ];
        assert_eq!(replies(&mut host), expected);
        assert!(!is_waited_for(&shard));
    });
}

#[test]
fn elements_that_nobody_could_foresee_are_seen_when_they_are_there() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 8, &["RPUSH", "list", "a", "b", "c"]);
        settle(&mut shard, &mut host).await;
        for ticket in [1, 2] {
            wait_in(&mut shard, &mut host, ticket, 3, &["key"]);
        }
        replies(&mut host);

        write(&mut shard, &mut host, 9, &["COPY", "list", "key", "DB", "3"]);
        assert_eq!(shard.batches.open.operations.len(), 1);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while !shard.machine.borrow().scratch.has_written() {
            assert!(Instant::now() < deadline, "the copy is not applied");
            shard.group.drain_completions();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        // It comes when the key has something, and before the shard has looked.
        write(&mut shard, &mut host, 8, &["FLUSHALL"]);
        settle(&mut shard, &mut host).await;
        let expected =
            [(9, ":1\r\n".to_owned()), (1, popped("key", "a")), (2, popped("key", "b")), (8, "+OK\r\n".to_owned())];
        assert_eq!(replies(&mut host), expected);
        assert!(!is_waited_for(&shard));
    });
}

#[test]
fn who_finds_something_at_once_writes_once_and_who_finds_another_type_hears_so() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        write(&mut shard, &mut host, 9, &["SET", "text", "a"]);
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        wait(&mut shard, &mut host, 1, &["none", "key", "text"]);
        wait(&mut shard, &mut host, 2, &["text", "key"]);
        wait(&mut shard, &mut host, 3, &["key"]);
        assert_eq!(shard.batches.open.operations.len(), 3);
        settle(&mut shard, &mut host).await;
        let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_owned();
        assert_eq!(replies(&mut host), [(1, popped("key", "a")), (2, wrong_type)]);
        assert!(is_waited_for(&shard), "who found nothing after all waits");
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "b"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned()), (3, popped("key", "b"))]);
    });
}

#[test]
fn who_is_called_in_vain_waits_on_at_its_old_place() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait(&mut shard, &mut host, 1, &["key"]);
        wait(&mut shard, &mut host, 2, &["key"]);
        write(&mut shard, &mut host, 9, &["SET", "key", "text"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        settle(&mut shard, &mut host).await;
        let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_owned();
        assert_eq!(replies(&mut host), [(9, "+OK\r\n".to_owned()), (9, wrong_type)], "nobody waits for that");
        write(&mut shard, &mut host, 9, &["DEL", "key"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "b"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host)[2..], [(1, popped("key", "b"))]);
        assert_eq!(shard.waiting.len(), 1);
    });
}

#[test]
fn nothing_is_taken_for_who_has_gone() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let first = wait(&mut shard, &mut host, 1, &["key"]);
        wait(&mut shard, &mut host, 2, &["key"]);
        // Its core knows, this shard has yet to hear.
        first.end();
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned()), (2, popped("key", "a"))]);
        shard.end_wait(origin(1), &mut host);
        assert_eq!(replies(&mut host), [(1, String::new())]);

        // Something is on its way for it already.
        let third = wait(&mut shard, &mut host, 3, &["key"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "b"]);
        third.end();
        shard.end_wait(origin(3), &mut host);
        assert_eq!(replies(&mut host), []);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host)[1..], [(3, popped("key", "b"))], "and it is told what");
        let late = Arc::new(Claim::new(1));
        late.end();
        assert!(!is_waited_for(&shard));
    });
}

#[test]
fn who_waits_in_two_shards_is_served_by_one_and_looked_at_again_if_that_finds_nothing() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let claim = wait(&mut shard, &mut host, 1, &["key"]);
        assert_eq!(claim.take(), Claimed::Yes, "by another shard");
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        settle(&mut shard, &mut host).await;
        shard.serve_ready(1, &mut host);
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned())]);
        assert!(shard.looks_later());
        assert!(claim.release(), "which has found nothing");
        shard.tick(Instant::now(), 1, None, &mut host);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(1, popped("key", "a"))]);
    });
}

#[test]
fn a_call_that_is_in_no_log_is_made_again_and_one_whose_outcome_is_unknown_is_told() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait(&mut shard, &mut host, 1, &["key"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        let batch = shard.take_open_batch(Instant::now(), 1, STRING_BYTES_MAX, Place::Open).0;
        shard.refuse(&batch, &[], &ProposeError::DiskFull, &mut host);
        assert!(matches!(&replies(&mut host)[..], [(9, reply)] if reply.starts_with("-MISCONF ")));
        assert!(is_waited_for(&shard));
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned()), (1, popped("key", "a"))]);

        wait(&mut shard, &mut host, 2, &["key"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "b"]);
        let start = Instant::now();
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        let timeout = Some(Duration::from_secs(60));
        (0..=61).for_each(|second| shard.abandon_overdue(start + Duration::from_secs(second), timeout, &mut host));
        assert!(matches!(&replies(&mut host)[..], [(9, push), (2, pop)]
                if push.starts_with("-UNCERTAIN ") && pop.starts_with("-UNCERTAIN ")));
        assert!(!is_waited_for(&shard));
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), []);
    });
}

#[test]
fn who_waits_where_nobody_may_wait_any_more_is_unblocked() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait(&mut shard, &mut host, 1, &["key"]);
        wait(&mut shard, &mut host, 2, &["key"]);
        write(&mut shard, &mut host, 9, &["RPUSH", "key", "a"]);
        shard.end_waits_if_lost(&mut host);
        assert_eq!(replies(&mut host), []);
        shard.close_to_clients();
        shard.end_waits_if_lost(&mut host);
        assert_eq!(replies(&mut host), [(2, UNBLOCKED.to_owned())]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned()), (1, popped("key", "a"))], "it was under way");

        let mut shard_of_failed = shard;
        wait(&mut shard_of_failed, &mut host, 3, &["key"]);
        shard_of_failed.group.shutdown().await.unwrap();
        write(&mut shard_of_failed, &mut host, 9, &["RPUSH", "key", "a"]);
        shard_of_failed.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        assert_eq!(replies(&mut host).len(), 2, "the push is refused, and who waits is unblocked");
        assert!(!is_waited_for(&shard_of_failed));
    });
}

#[test]
fn a_push_costs_as_many_calls_as_it_brings_elements_however_many_wait() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        (0..5000).for_each(|ticket| drop(wait(&mut shard, &mut host, ticket, &["key"])));
        for round in 0..50 {
            write(&mut shard, &mut host, 9999, &["RPUSH", "key", "a", "b"]);
            assert_eq!(shard.batches.open.operations.len(), 3);
            settle(&mut shard, &mut host).await;
            let expected =
                [(9999, ":2\r\n".to_owned()), (2 * round, popped("key", "a")), (2 * round + 1, popped("key", "b"))];
            assert_eq!(replies(&mut host), expected);
        }
        assert_eq!(shard.server.shards[0].writes.get(), 150);
    });
}

/// Has a client wait for an element of `source` as `BLMOVE source destination LEFT RIGHT 0` does.
pub(super) fn wait_to_move(shard: &mut Shard, host: &mut Host, ticket: u32, source: &str, destination: &str) {
    let pop = Pop {
        command: table::lookup(b"blmove").unwrap().id,
        call: table::STEP_MOVE,
        protocol: Protocol::Resp2,
        db: 0,
        kind: Type::List,
        has_destination: true,
        is_counted: false,
        before: Vec::new(),
        after: [destination, "LEFT", "RIGHT", "0"].map(|word| Box::from(word.as_bytes())).into(),
    };
    let keys = vec![Box::from(source.as_bytes())];
    let order = WaitOrder { pop, keys, wanted: Wanted::Elements, claim: Arc::new(Claim::new(1)) };
    shard.wait(origin(ticket), order, 1, host);
}

#[test]
fn what_is_moved_for_a_waiter_is_seen_by_who_watches_the_destination() {
    use super::transactions::{guarded, of, watch};
    const NULL: &str = "*-1\r\n";
    for is_transaction in [false, true] {
        with_shard(log_options(), |mut shard| async move {
            let mut host = Host::default();
            wait_to_move(&mut shard, &mut host, 1, "source", "destination");
            shard.submit(of(2, 2), Mode::Read, &watch(7, &["destination"]), 1, &mut host);
            let push = command(&["RPUSH", "source", "x"]);
            let push = if is_transaction { transaction(None, &[push]) } else { push };
            shard.submit(of(3, 3), Mode::Write, &push, 1, &mut host);
            // On its way, or, of a transaction, not even foreseen before it is applied.
            let exec = guarded(7, &[&["LLEN", "destination"], &["SET", "k", "1"]]);
            if !is_transaction {
                shard.submit(of(2, 4), Mode::Guarded, &exec, 1, &mut host);
            }
            settle(&mut shard, &mut host).await;
            if is_transaction {
                shard.submit(of(2, 4), Mode::Guarded, &exec, 1, &mut host);
            }
            settle(&mut shard, &mut host).await;
            let replies = replies(&mut host);
            let reply = |ticket| replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply.as_str());
            assert_eq!(reply(1), Some("$1\r\nx\r\n"), "{is_transaction}: {replies:?}");
            assert_eq!(reply(4), Some(NULL), "{is_transaction}: {replies:?}");
        });
    }
}

/// Has a client wait for entries of `key`.
fn wait_for_entries(shard: &mut Shard, host: &mut Host, ticket: u32, key: &str, wanted: Wanted) {
    let is_of_group = matches!(wanted, Wanted::EntriesFor(_));
    let command = table::lookup(if is_of_group { b"xreadgroup" } else { b"xread" }).unwrap().id;
    let before: &[&str] =
        if is_of_group { &["GROUP", "g", "c", "BLOCK", "0", "STREAMS"] } else { &["BLOCK", "0", "STREAMS"] };
    let pop = Pop {
        command,
        call: if is_of_group { table::STEP_READ_GROUP } else { command },
        protocol: Protocol::Resp2,
        db: 0,
        kind: Type::Stream,
        has_destination: false,
        is_counted: false,
        before: before.iter().map(|word| Box::from(word.as_bytes())).collect(),
        after: Vec::new(),
    };
    let order = WaitOrder { pop, keys: vec![Box::from(key.as_bytes())], wanted, claim: Arc::new(Claim::new(1)) };
    shard.wait(origin(ticket), order, 1, host);
}

fn entry(key: &str, id: &str) -> String {
    format!("*1\r\n*2\r\n${}\r\n{key}\r\n*1\r\n*2\r\n${}\r\n{id}\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n", key.len(), id.len())
}

fn after(id: u64) -> Wanted {
    Wanted::EntriesAfter(vec![StreamId { ms: id, sequence: 0 }])
}

fn of_group() -> Wanted {
    Wanted::EntriesFor(Box::from(&b"g"[..]))
}

#[test]
fn an_entry_is_read_by_all_who_wait_behind_it_and_before_what_follows() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 9, &["XGROUP", "CREATE", "key", "g", "$", "MKSTREAM"]);
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        for (ticket, wanted) in [(1, after(0)), (2, of_group()), (3, after(0)), (4, of_group()), (5, after(7))] {
            wait_for_entries(&mut shard, &mut host, ticket, "key", wanted);
        }
        assert_eq!((host.replies.len(), shard.waiting.len()), (0, 5));
        write(&mut shard, &mut host, 9, &["XADD", "key", "1-0", "f", "v"]);
        write(&mut shard, &mut host, 9, &["XDEL", "key", "1-0"]);
        assert_eq!(shard.batches.open.write_count, 3, "of those who wait one of the group alone is in the log");
        settle(&mut shard, &mut host).await;
        let told = |ticket| (ticket, entry("key", "1-0"));
        let all = replies(&mut host);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!([1, 2, 3].iter().all(|ticket| all.contains(&told(*ticket))), "{all:?}");
        assert_eq!(shard.waiting.len(), 2);

        // Seen when it is there: nobody could foresee it.
        write(&mut shard, &mut host, 9, &["XADD", "other", "8-0", "f", "v"]);
        write(&mut shard, &mut host, 9, &["COPY", "other", "key", "REPLACE"]);
        settle(&mut shard, &mut host).await;
        let gone = "-NOGROUP the consumer group this client was blocked on no longer exists\r\n".to_owned();
        let all = replies(&mut host);
        assert!(all.contains(&(5, entry("key", "8-0"))) && all.contains(&(4, gone)), "{all:?}");
        assert!(!is_waited_for(&shard));
    });
}

#[test]
fn who_comes_to_wait_reads_what_has_come_since_it_looked() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        write(&mut shard, &mut host, 9, &["XADD", "key", "5-0", "f", "v"]);
        settle(&mut shard, &mut host).await;
        replies(&mut host);
        wait_for_entries(&mut shard, &mut host, 1, "key", after(4));
        assert_eq!(replies(&mut host), [(1, entry("key", "5-0"))]);
        wait_for_entries(&mut shard, &mut host, 2, "key", after(5));
        assert!(is_waited_for(&shard) && shard.batches.open.operations.is_empty());
        write(&mut shard, &mut host, 9, &["DEL", "key"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(replies(&mut host), [(9, ":1\r\n".to_owned())], "it waits for the next stream");
        assert!(is_waited_for(&shard));
    });
}

#[test]
fn who_reads_waits_on_when_a_batch_is_refused_or_given_up() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait_for_entries(&mut shard, &mut host, 1, "key", after(0));
        write(&mut shard, &mut host, 9, &["XADD", "key", "1-0", "f", "v"]);
        let batch = shard.take_open_batch(Instant::now(), 1, STRING_BYTES_MAX, Place::Open).0;
        shard.refuse(&batch, &[], &ProposeError::DiskFull, &mut host);
        assert!(matches!(&replies(&mut host)[..], [(9, reply)] if reply.starts_with("-MISCONF ")));
        assert!(is_waited_for(&shard));
        write(&mut shard, &mut host, 9, &["XADD", "key", "1-0", "f", "v"]);
        let start = Instant::now();
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        let timeout = Some(Duration::from_secs(60));
        (0..=61).for_each(|second| shard.abandon_overdue(start + Duration::from_secs(second), timeout, &mut host));
        assert!(matches!(&replies(&mut host)[..], [(9, push)] if push.starts_with("-UNCERTAIN ")));
        assert!(is_waited_for(&shard));
        settle(&mut shard, &mut host).await;
        shard.tick(Instant::now(), 1, None, &mut host);
        assert_eq!(replies(&mut host), [(1, entry("key", "1-0"))], "it was executed all the same");
        shard.close_to_clients();
        wait_for_entries(&mut shard, &mut host, 2, "key", after(1));
        shard.end_waits_if_lost(&mut host);
        assert_eq!(replies(&mut host), [(2, UNBLOCKED.to_owned())]);
    });
}
