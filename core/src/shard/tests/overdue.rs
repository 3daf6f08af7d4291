//! Batches whose log says nothing for too long.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Has the shard look at its batches as a core that runs does, for so long from `start` on.
fn wait_for(shard: &mut Shard, start: Instant, seconds: u64, host: &mut Host) {
    (0..=seconds).for_each(|second| shard.abandon_overdue(start + Duration::from_secs(second), Some(TIMEOUT), host));
}

/// Nothing of batches that are over is kept.
fn is_empty(shard: &Shard) -> bool {
    let replies = &shard.batches.replies;
    shard.batches.in_flight.borrow().is_empty()
        && (replies.expected_bytes, shard.batches.reads_behind) == (0, Waiting::default())
        && shard.machine.borrow().untaken_bytes == 0
}

#[test]
fn a_write_that_the_log_keeps_for_too_long_is_uncertain_and_its_outcome_answers_nobody() {
    // Nobody tells the group what is synced, until `settle` does.
    with_shard(log_options(), |mut shard| async move {
        let (mut host, now) = (Host::default(), Instant::now());
        let take = |shard: &mut Shard, host: &mut Host, ticket, mode, words: &[&str]| {
            shard.submit(origin(ticket), mode, &command(words), 1, host);
            shard.propose(now, 1, STRING_BYTES_MAX, host);
        };
        take(&mut shard, &mut host, 1, Mode::Write, &["SET", "key", "1"]);
        take(&mut shard, &mut host, 2, Mode::ReadInOrder, &["GET", "key"]);
        let start = Instant::now();
        wait_for(&mut shard, start, 59, &mut host);
        assert_eq!(host.replies, [], "a slow disk is waited for");

        wait_for(&mut shard, start + Duration::from_secs(60), 1, &mut host);
        assert_eq!(host.replies.len(), 2, "{:?}", host.replies);
        assert!(host.replies[0].1.starts_with("-UNCERTAIN "), "{:?}", host.replies);
        assert_eq!(host.replies[1], (2, "$-1\r\n".to_owned()), "a read waits for what is uncertain no longer");
        assert_eq!(shard.server.shards[0].writes_uncertain.get(), 1);

        // Its connection goes on, and the log as well.
        host.replies.clear();
        take(&mut shard, &mut host, 3, Mode::Write, &["APPEND", "key", "2"]);
        take(&mut shard, &mut host, 4, Mode::ReadInOrder, &["GET", "key"]);
        settle(&mut shard, &mut host).await;
        assert_eq!(host.replies, [(3, ":2\r\n".to_owned()), (4, "$2\r\n12\r\n".to_owned())]);
        assert!(is_empty(&shard));
    });
}

#[test]
fn time_in_which_the_core_did_not_run_makes_no_write_uncertain() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host::default(), Instant::now());
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        wait_for(&mut shard, start, 30, &mut host);
        let later = start + Duration::from_secs(3600);
        wait_for(&mut shard, later, 20, &mut host);
        assert_eq!(host.replies, []);
        // A batch of after that time has its own.
        shard.submit(origin(2), Mode::Write, &command(&["SET", "key", "2"]), 1, &mut host);
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        shard.batches.in_flight.borrow_mut()[1].since = later + Duration::from_secs(20);
        wait_for(&mut shard, later + Duration::from_secs(21), 38, &mut host);
        assert_eq!(host.replies.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1]);
        wait_for(&mut shard, later + Duration::from_secs(60), 20, &mut host);
        assert_eq!(host.replies.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 2]);
        settle(&mut shard, &mut host).await;
        assert_eq!((host.replies.len(), is_empty(&shard)), (2, true));
    });
}

#[test]
fn a_write_that_has_not_come_to_a_log_which_stands_still_is_refused_and_not_uncertain() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host::default(), Instant::now());
        *shard.batches.in_flight.borrow_mut() = stuck();
        shard.submit(origin(1001), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        wait_for(&mut shard, start, 58, &mut host);
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        assert_eq!(host.replies, []);

        wait_for(&mut shard, start + Duration::from_secs(59), 2, &mut host);
        let uncertain = host.replies.iter().filter(|(_, reply)| reply.starts_with("-UNCERTAIN ")).count();
        assert_eq!((uncertain, host.replies.len()), (limits::BATCHES_IN_FLIGHT, limits::BATCHES_IN_FLIGHT));
        for ticket in [1001, 1002] {
            host.replies.clear();
            shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
            let (refused, reply) = &host.replies[0];
            assert!(*refused == ticket && reply.starts_with("-BUSY "), "{:?}", host.replies);
            shard.submit(origin(ticket + 1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        }
        // Once the oldest has its outcome, the log moves, and what comes waits again.
        host.replies.clear();
        shard.begin_to_answer(0, Ok(Replies::default()), &mut host);
        shard.batches.in_flight.borrow_mut().front_mut().unwrap().abandoned = None;
        shard.batches.in_flight.borrow_mut().push_back(pending(64, 0));
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        assert_eq!(host.replies, []);
    });
}

#[test]
fn a_write_that_waits_for_a_group_which_has_stopped_is_refused() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host::default(), Instant::now());
        *shard.batches.in_flight.borrow_mut() = stuck();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.group.shutdown().await.unwrap();
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        assert_eq!(host.replies, [(1, "-ERR the group has stopped\r\n".to_owned())]);
    });
}

#[test]
fn what_was_refused_is_answered_before_what_nobody_knows() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.batches.in_flight.borrow_mut().extend([pending(0, 1), pending(1, 2), pending(2, 1)]);
        let not_leader = || Err(ProposeError::NotLeader { leader: None });
        shard.begin_to_answer(1, not_leader(), &mut host);
        assert!(host.replies.iter().all(|(_, reply)| reply.starts_with("-CLUSTERDOWN ")), "{:?}", host.replies);
        shard.begin_to_answer(2, not_leader(), &mut host);
        assert_eq!(host.replies.len(), 3);
        shard.begin_to_answer(0, Err(ProposeError::Unknown { leader: None }), &mut host);
        assert!(host.replies[3].1.starts_with("-UNCERTAIN "), "{:?}", host.replies);
        assert!(is_empty(&shard));
    });
}

/// Applies an entry of three writes and a read behind so many of them, whose batch is abandoned while that read waits for rows.
fn abandon_at_the_read_behind(writes: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(10_000);
    let fillers: Vec<String> = (0..100).map(|number| format!("filler:{number}")).collect();
    let mut fill: Vec<Vec<&str>> = fillers.iter().map(|key| vec!["SET", key, &value]).collect();
    fill.extend([vec!["RPUSH", "list", &value, "b", "c"], vec!["SET", "text", "1"]]);
    let fill = entry(&fill.iter().map(Vec::as_slice).collect::<Vec<_>>());
    whole(machine.apply(EntryId { term: 1, index: 1 }, &fill, None).unwrap());
    machine.core = Some((server_alone(), CORE));
    let mut machine = reopen(machine, directory.path(), 1, 64 << 20);
    let mut batch = pending(0, 3);
    batch.reads = command(&["GET", "text"]);
    let read = Some(0..batch.reads.len());
    batch.operations.insert(writes, Operation { origin: Some(origin(9)), read, returns_values: true });
    machine.in_flight.borrow_mut().push_back(batch);
    let bytes = entry(&[&["INCR", "counter"], &["LPOP", "list"], &["INCR", "counter"]]);
    let id = EntryId { term: 1, index: 2 };
    let apply = |machine: &mut ShardMachine| match machine.apply(id, &bytes, Some(0)).unwrap() {
        Executed::Whole(replies) => Some(replies),
        Executed::Cold { read, pins } => {
            fetch(machine, &read, pins);
            None
        }
        Executed::Later(_) => panic!("there are no views"),
    };

    let mut rounds = 0;
    while machine.paused.as_ref().is_none_or(|position| position.operations < writes) {
        rounds += 1;
        assert!(rounds < 100 && apply(&mut machine).is_none(), "the read between the writes is cold");
    }
    {
        let mut in_flight = machine.in_flight.borrow_mut();
        in_flight[0].operations.clear();
        in_flight[0].abandoned = Some(Abandoned { deletes_expired: false });
    }
    let replies = loop {
        rounds += 1;
        assert!(rounds < 100, "it comes to no end");
        if let Some(replies) = apply(&mut machine) {
            break replies;
        }
    };
    assert_eq!((replies.bytes.len(), replies.ends.len()), (0, 0), "{}", replies.bytes.escape_ascii());
    assert!(machine.in_flight.borrow()[0].applied && machine.untaken_bytes == 0);
    let after = entry(&[&["INCR", "counter"], &["RPUSH", "list", "d"]]);
    machine.in_flight.borrow_mut().push_back(pending(1, 2));
    let replies = whole(machine.apply(EntryId { term: 1, index: 3 }, &after, Some(1)).unwrap());
    assert_eq!(replies.bytes.escape_ascii().to_string(), r":3\r\n:3\r\n", "each command was executed once");
}

#[test]
fn an_entry_whose_batch_is_abandoned_while_it_waits_for_rows_is_applied_whole() {
    (1..=3).for_each(abandon_at_the_read_behind);
}

#[test]
fn a_read_of_a_batch_that_is_abandoned_does_not_see_what_its_connection_writes_later() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host::default(), Instant::now());
        let requests = [(Mode::Write, ["SET", "key", "1"].as_slice()), (Mode::ReadInOrder, &["GET", "key"])];
        for (ticket, (mode, words)) in (1..).zip(requests) {
            shard.submit(origin(ticket), mode, &command(words), 1, &mut host);
        }
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        // Of the same connection, five seconds later.
        shard.submit(origin(3), Mode::Write, &command(&["SET", "key", "2"]), 1, &mut host);
        let later = start + Duration::from_secs(5);
        shard.propose(later, 1, STRING_BYTES_MAX, &mut host);
        shard.submit(origin(4), Mode::Write, &command(&["SET", "key", "3"]), 1, &mut host);
        wait_for(&mut shard, start, 61, &mut host);
        assert!(host.replies[0].1.starts_with("-UNCERTAIN "), "{:?}", host.replies);
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        host.replies.clear();
        settle(&mut shard, &mut host).await;
        assert_eq!(host.replies, [(3, "+OK\r\n".to_owned()), (4, "+OK\r\n".to_owned())]);
    });
}

#[test]
fn reads_of_abandoned_batches_wait_until_there_is_room_for_their_replies() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start) = (Host { is_full: true, ..Host::default() }, Instant::now());
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        shard.propose(start, 1, STRING_BYTES_MAX, &mut host);
        wait_for(&mut shard, start, 70, &mut host);
        assert_eq!(host.replies, []);
        host.is_full = false;
        wait_for(&mut shard, start + Duration::from_secs(71), 1, &mut host);
        assert_eq!(host.replies.len(), 2, "{:?}", host.replies);
        settle(&mut shard, &mut host).await;
        assert!(is_empty(&shard));
    });
}

#[test]
fn the_look_that_ends_a_pause_of_the_core_tells_nobody() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, start, timeout) = (Host::default(), Instant::now(), Some(Duration::from_secs(1)));
        let mut look = |shard: &mut Shard, ms| {
            shard.abandon_overdue(start + Duration::from_millis(ms), timeout, &mut host);
            host.replies.len()
        };
        look(&mut shard, 0);
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut Host::default());
        shard.propose(start, 1, STRING_BYTES_MAX, &mut Host::default());
        // The core was stopped: its sync may have ended long ago, and Raft hears of it when this turn has ended.
        assert_eq!(look(&mut shard, 2900), 0);
        assert_eq!(look(&mut shard, 3000), 1, "it has run since");
        settle(&mut shard, &mut Host::default()).await;
    });
}
