//! What is left of transactions over several shards: asked for in turn, fetched from disk, given up.

use std::collections::HashSet;

use basalt_raft::Error;

use super::holding::{OK, apply_all, coordinator, hold, prepare, reply, step};
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

#[test]
fn a_part_whose_commit_is_skipped_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 2), prepare(5, &[&["SET", "a", "1"]]), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 3), step(STEP_COMMIT, 5), &mut host);
        // In the same entry as something that nobody can execute.
        shard.write(None, |out| out.extend_from_slice(&[0xff; 64]));
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while !shard.has_failed() {
            assert!(Instant::now() < deadline, "it executes what cannot be executed");
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
            shard.group.drain_completions();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        drop(shard.end(true).await);

        let directory = path.join("0");
        let Err(Error::Fatal(fault)) = open_again(ShardId(0), &directory, &server, None).await else {
            panic!("it opens")
        };
        let index = fault.text.split_once("entry ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let (mut shard, _syncer) =
            open_again(ShardId(0), &directory, &server, index).await.expect("it opens without it");
        assert!(!shard.has_left() && !shard.holds_keys(), "nobody commits it again");
        assert_eq!((shard.transaction_rows(), shard.now(&["GET", "a"], &mut host)), ((0, 0), "$-1\r\n".to_owned()));
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
        put_on_disk(&mut shard, &[&["SET", "other", "1"]]).await;
        // Its rows are on disk, past the group that writes them otherwise.
        shard.end(true).await;
        let (mut shard, _syncer) = open_again(ShardId(0), &path.join("0"), &server, None).await.unwrap();
        let mut host = Host::default();
        shard.order(coordinator(0, 1), SpanningOrder::AskPart(5), &mut host);
        assert_eq!((reply(&host, 1), host.warms.len()), (None, 1));
        run_until_replied(&mut shard, &mut host, 1).await;
        assert_eq!(reply(&host, 1), Some(":1\r\n"));
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
