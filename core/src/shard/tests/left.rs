//! The rest of transactions over several shards: asked for in turn, fetched from disk, given up.

use std::collections::HashSet;
use std::path::Path;

use basalt_raft::Error;
use basalt_storage::keyspace::{VersionSource, prepared};

use super::holding::{OK, apply_all, coordinator, hold, prepare, reply, step};
use super::transactions::of;
use super::*;
use crate::commands::table::{STEP_COMMIT, STEP_PREPARE};
use crate::entry::spanning::{Left, SpanningOrder, encode_step};

#[test]
fn what_cannot_be_settled_hides_nothing_else() {
    const COUNT: usize = limits::SETTLED_AT_ONCE + 6;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        for transaction in 1..=COUNT as u128 {
            let order = SpanningOrder::Leave(transaction, Left::Part(ShardId(3)));
            shard.order(coordinator(0, 0), order, &mut host);
        }
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let tried: Vec<u128> = (0..limits::SETTLED_AT_ONCE).map(|_| shard.next_left().unwrap().0).collect();
            tried.iter().for_each(|transaction| shard.leave_for_later(*transaction));
            seen.extend(tried);
        }
        assert_eq!(seen.len(), COUNT);
    });
}

/// Has a shard stopped by what it was given last, and opens it again without that entry.
async fn stop_and_skip(mut shard: Shard, host: &mut Host, server: &Arc<Server>, path: &Path) -> (Shard, LogSyncer) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while !shard.has_failed() {
        assert!(Instant::now() < deadline, "it executes what cannot be executed");
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, host);
        shard.group.drain_completions();
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
    drop(shard.end(true).await);
    let directory = path.join("0");
    let Err(Error::Fatal(fault)) = open_again(ShardId(0), &directory, server, None).await else { panic!("it opens") };
    let index = fault.text.split_once("entry ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    open_again(ShardId(0), &directory, server, index).await.expect("it opens without it")
}

#[test]
fn a_part_whose_commit_is_skipped_beside_what_stops_its_shard_is_executed_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let mut host = Host::default();
        for (transaction, key) in [(5, "a"), (6, "b")] {
            shard.order(coordinator(0, 1), hold(transaction, &[(key, true)], None), &mut host);
            shard.order(coordinator(0, 2), prepare(transaction, &[&["SET", key, "1"]]), &mut host);
        }
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 3), step(STEP_COMMIT, 5), &mut host);
        shard.order(coordinator(0, 3), step(STEP_COMMIT, 6), &mut host);
        // In the same entry as something that nobody can execute.
        shard.write(None, |out| out.extend_from_slice(&[0xff; 64]));
        let (mut shard, _syncer) = stop_and_skip(shard, &mut host, &server, &path).await;
        assert_eq!(
            (shard.transaction_rows(), shard.holds_keys()),
            ((2, 0), true),
            "they are decided, and are executed yet"
        );
        let mut host = Host::default();
        shard.submit(of(1, 4), Mode::Write, &command(&["SET", "other", "1"]), 1, &mut host);
        shard.order(coordinator(0, 5), step(STEP_COMMIT, 5), &mut host);
        shard.order(coordinator(0, 6), step(STEP_COMMIT, 6), &mut host);
        shard.submit(of(1, 7), Mode::Write, &command(&["SET", "another", "1"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        let batches: Vec<usize> = shard.batches.in_flight.borrow().iter().map(|batch| batch.operations.len()).collect();
        assert_eq!(batches, [2, 1, 1], "each of them alone");
        apply_all(&mut shard, &mut host).await;
        assert_eq!([5, 6].map(|ticket| reply(&host, ticket)), [Some("*1\r\n+OK\r\n"); 2]);
        for transaction in [5, 6] {
            shard.order(coordinator(0, 0), SpanningOrder::Release(transaction), &mut host);
        }
        assert_eq!((shard.transaction_rows(), shard.holds_keys(), shard.has_left()), ((0, 0), false, false));
        assert_eq!(["a", "b"].map(|key| shard.now(&["GET", key], &mut host)), ["$1\r\n1\r\n"; 2]);
    });
}

#[test]
fn a_part_that_stops_its_shard_by_itself_is_given_up_when_it_is_skipped_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let mut host = Host::default();
        let mut unknown = Vec::new();
        request::encode(&mut unknown, RequestHeader::new(Protocol::Resp2, 0, 9999), [&b"a"[..]].into_iter());
        let part = transaction(None, &[unknown]);
        let args: [&[u8]; 3] = [&5u128.to_le_bytes(), &3u16.to_le_bytes(), &part];
        shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
        let write = encode_step(STEP_PREPARE, 0, &args);
        shard.order(coordinator(0, 2), SpanningOrder::Write(Some(5), write), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 3), step(STEP_COMMIT, 5), &mut host);
        let (mut shard, _syncer) = stop_and_skip(shard, &mut host, &server, &path).await;
        assert_eq!((shard.transaction_rows(), shard.has_left()), ((1, 0), true), "it may have been somebody else");
        shard.order(coordinator(0, 4), step(STEP_COMMIT, 5), &mut host);
        shard.submit(of(1, 5), Mode::Write, &command(&["SET", "other", "1"]), 1, &mut host);
        let (mut shard, _syncer) = stop_and_skip(shard, &mut host, &server, &path).await;
        assert!(!shard.has_left() && !shard.holds_keys(), "nobody commits it again");
        assert_eq!(shard.transaction_rows(), (0, 0));
        assert_eq!(shard.now(&["GET", "other"], &mut host), "$1\r\n1\r\n", "what stood beside it is executed");
    });
}

#[test]
fn a_commit_for_itself_that_cannot_be_proposed_waits_beside_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 2), prepare(5, &[&["SET", "a", "1"]]), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 3), step(STEP_COMMIT, 5), &mut host);
        shard.write(None, |out| out.extend_from_slice(&[0xff; 64]));
        let (mut shard, _syncer) = stop_and_skip(shard, &mut host, &server, &path).await;
        let mut host = Host::default();
        shard.get_stuck();
        // As one joins whose rows were fetched in vain.
        let commit = encode_step(STEP_COMMIT, 0, &[&5u128.to_le_bytes()]);
        shard.write(Some(coordinator(0, 4)), |out| out.extend_from_slice(&commit));
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        assert_eq!((shard.batches.open.write_count, shard.batches.own_entries.len()), (0, 1));
        assert!(shard.is_busy());
        shard.submit(of(1, 5), Mode::Write, &command(&["SET", "other", "1"]), 1, &mut host);
        shard.get_free(&mut host);
        apply_all(&mut shard, &mut host).await;
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 4), reply(&host, 5)), (Some("*1\r\n+OK\r\n"), Some(OK)));
        assert!(shard.batches.own_entries.is_empty());
    });
}

#[test]
fn a_commit_that_would_find_too_few_versions_stands_in_the_next_entry() {
    let versions = |commands: usize| commands as u64 * limits::VERSIONS_PER_COMMAND + limits::VERSIONS_FOR_OTHERS;
    let of_entry = VersionSource::entry(0).left();
    assert!(
        (versions(limits::TRANSACTION_COMMANDS_MAX)..versions(2 * limits::TRANSACTION_COMMANDS_MAX))
            .contains(&of_entry)
    );
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        for (transaction, key) in [(5, "a"), (6, "b"), (7, "c")] {
            shard.order(coordinator(0, 1), hold(transaction, &[(key, true)], None), &mut host);
            shard.order(coordinator(0, 2), prepare(transaction, &[&["SET", key, "1"], &["INCR", key]]), &mut host);
        }
        apply_all(&mut shard, &mut host).await;
        shard.submit(of(1, 4), Mode::Write, &command(&["SET", "other", "1"]), 1, &mut host);
        // As if there were so many in it by now.
        shard.batches.open.member_count = limits::TRANSACTION_COMMANDS_MAX - 3;
        for transaction in [5, 6, 7] {
            shard.order(coordinator(0, transaction as u32), step(STEP_COMMIT, transaction), &mut host);
        }
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        let batches: Vec<usize> = shard.batches.in_flight.borrow().iter().map(|batch| batch.operations.len()).collect();
        assert_eq!(batches, [2, 2], "one fits, the others follow together");
        apply_all(&mut shard, &mut host).await;
        assert_eq!([5, 6, 7].map(|ticket| reply(&host, ticket)), [Some("*2\r\n+OK\r\n:2\r\n"); 3]);
    });
}

/// Writers are slowed down, and the commit of a part waits beside the batch that some of them have written.
async fn commit_beside_slow_writers(shard: &mut Shard, host: &mut Host) {
    shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), host);
    shard.order(coordinator(0, 2), prepare(5, &[&["SET", "a", "1"], &["INCR", "a"]]), host);
    apply_all(shard, host).await;
    shard.submit(of(1, 3), Mode::Write, &command(&["SET", "other", "1"]), 1, host);
    // As if there were so many in it by now.
    shard.batches.open.member_count = limits::TRANSACTION_COMMANDS_MAX - 1;
    shard.order(coordinator(0, 4), step(STEP_COMMIT, 5), host);
    assert_eq!((shard.batches.open.write_count, shard.batches.own_entries.len()), (1, 1));
    shard.batches.pressure.slow_down_by(Duration::from_millis(1), Instant::now());
}

#[test]
fn a_step_that_waits_beside_the_batch_has_its_turn_while_writers_are_slowed_down() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        commit_beside_slow_writers(&mut shard, &mut host).await;
        let (mut now, mut left) = (Instant::now(), Vec::new());
        for turn in 0..1000 {
            let before = (shard.batches.in_flight.borrow().len(), shard.batches.own_entries.len());
            shard.propose(now, 1, STRING_BYTES_MAX, &mut host);
            if shard.batches.in_flight.borrow().len() > before.0 {
                left.push(shard.batches.own_entries.len() < before.1);
            }
            if left.len() == 3 {
                break;
            }
            assert!(turn > 0 || shard.is_held(), "the core looks again soon");
            // Whenever a batch may leave, there is one.
            shard.submit(of(1, 10 + turn), Mode::Write, &command(&["SET", "other", "2"]), 1, &mut host);
            now += limits::HELD_RETRY;
        }
        assert_eq!(left, [false, true, false], "in turns with what writers have collected");
        let numbers: Vec<u64> = shard.batches.in_flight.borrow().iter().map(|batch| batch.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        now += limits::SLOW_DOWN_MAX;
        shard.propose(now, 1, STRING_BYTES_MAX, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(
            (reply(&host, 3), reply(&host, 4), reply(&host, 10)),
            (Some(OK), Some("*2\r\n+OK\r\n:2\r\n"), Some(OK))
        );
        assert_eq!(shard.batches.replies.expected_bytes, 0);
    });
}

#[test]
fn a_step_that_waits_beside_the_batch_for_too_long_is_in_no_log_and_hears_so() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        commit_beside_slow_writers(&mut shard, &mut host).await;
        let start = Instant::now();
        let tick = |shard: &mut Shard, host: &mut Host, second| {
            shard.tick(start + Duration::from_secs(second), 1, Some(Duration::from_secs(60)), host);
        };
        (0..60).for_each(|second| tick(&mut shard, &mut host, second));
        assert_eq!((reply(&host, 4), shard.batches.own_entries.len()), (None, 1));
        tick(&mut shard, &mut host, 61);
        assert!(reply(&host, 4).is_some_and(|reply| reply.starts_with("-BUSY ")), "{:?}", host.replies);
        assert_eq!((shard.transaction_rows(), shard.batches.own_entries.len()), ((1, 0), 0));
        // Whoever settles it then executes it.
        host.replies.clear();
        shard.propose(start + Duration::from_secs(62), 1, STRING_BYTES_MAX, &mut host);
        shard.order(coordinator(0, 5), step(STEP_COMMIT, 5), &mut host);
        shard.propose(start + Duration::from_secs(63), 1, STRING_BYTES_MAX, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 5), Some("*2\r\n+OK\r\n:2\r\n"));
    });
}

#[test]
fn a_part_with_more_commands_than_an_entry_has_versions_for_is_not_prepared() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let commands = vec![command(&["DEL", "a"]); limits::TRANSACTION_COMMANDS_MAX + 1];
        let args: [&[u8]; 3] = [&5u128.to_le_bytes(), &3u16.to_le_bytes(), &transaction(None, &commands)];
        shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
        let write = encode_step(STEP_PREPARE, 0, &args);
        shard.order(coordinator(0, 2), SpanningOrder::Write(Some(5), write), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert!(reply(&host, 2).is_some_and(|reply| reply.starts_with("-ERR ")), "{:?}", host.replies);
        assert_eq!(shard.transaction_rows(), (0, 0));
    });
}

/// Keys whose values take the place of other rows in the cache.
const OTHERS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];

/// Reads others until the part of a transaction is in memory no more.
async fn evict_part(shard: &mut Shard, transaction: u128) {
    let is_cold = |shard: &Shard| {
        let mut machine = shard.machine.borrow_mut();
        machine.reading(1, |execution| prepared::prepared(execution.store, transaction)).is_err()
    };
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while !is_cold(shard) {
        assert!(Instant::now() < deadline, "the cache keeps it");
        for other in OTHERS {
            let mut host = Host::default();
            shard.submit(of(1, 9), Mode::Read, &command(&["GET", other]), 1, &mut host);
            run_until_replied(shard, &mut host, 1).await;
        }
    }
}

#[test]
fn the_rows_of_a_commit_and_of_questions_are_fetched_by_other_threads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let (mut host, value) = (Host::default(), "v".repeat(20_000));
        shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 2), prepare(5, &[&["APPEND", "a", &value]]), &mut host);
        apply_all(&mut shard, &mut host).await;
        let sets = OTHERS.map(|other| ["SET", other, &value]);
        put_on_disk(&mut shard, &sets.each_ref().map(|set| &set[..])).await;
        // Its rows are on disk, past the group that writes them otherwise.
        shard.end(true).await;
        let (mut shard, _syncer) = open_again(ShardId(0), &path.join("0"), &server, None).await.unwrap();
        evict_part(&mut shard, 5).await;
        let mut host = Host::default();
        shard.order(coordinator(0, 1), SpanningOrder::AskPart(5), &mut host);
        assert_eq!((reply(&host, 1), host.warms.len()), (None, 1));
        run_until_replied(&mut shard, &mut host, 1).await;
        assert_eq!(reply(&host, 1), Some(":1\r\n"));
        evict_part(&mut shard, 5).await;
        host.warms.clear();
        shard.order(coordinator(0, 2), step(STEP_COMMIT, 5), &mut host);
        assert_eq!((shard.batches.open.write_count, host.warms.len()), (0, 1), "before it joins an entry");
        run_until_replied(&mut shard, &mut host, 2).await;
        assert_eq!(reply(&host, 2), Some("*1\r\n:20000\r\n"));
        shard.order(coordinator(0, 0), SpanningOrder::Release(5), &mut host);
        shard.order(coordinator(0, 3), hold(6, &[("a", true)], None), &mut host);
        assert_eq!(reply(&host, 3), Some(OK));
    });
}
