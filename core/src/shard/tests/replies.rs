//! Replies that wait until the core takes them, and their bound.

use super::*;

#[test]
fn reads_behind_one_write_are_refused_when_their_replies_would_fill_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(machine.bounds.shard_bytes_max / 4);
    let mut batch = pending(0, 1);
    batch.reads = command(&["GET", "key"]);
    batch.operations.extend((1..8).map(|number| Operation {
        origin: Some(origin(number)),
        read: Some(0..batch.reads.len()),
        returns_values: true,
    }));
    machine.in_flight.borrow_mut().push_back(batch);

    let entry = entry(&[&["SET", "key", &value]]);
    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry, Some(0)).unwrap());

    let mut start = 0;
    let kinds: Vec<u8> = replies.ends.iter().map(|&end| replies.bytes[std::mem::replace(&mut start, end)]).collect();
    assert_eq!(kinds, b"+$$$$---");
}

#[test]
fn a_write_is_executed_though_its_reply_is_dropped_and_the_client_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(machine.bounds.shard_bytes_max / 2);
    machine.in_flight.borrow_mut().extend([pending(0, 7), pending(1, 2)]);
    let set = ["SET", "key", &value];
    let set_get = ["SET", "key", &value, "GET"];
    let commands: [&[&str]; 7] = [
        &set,
        &["GETEX", "key"],
        &set_get,
        &["GETEX", "key"],
        &["SET", "other", "1"],
        &["GETDEL", "key"],
        &["EXPIRE", "other", "100"],
    ];

    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry(&commands), Some(0)).unwrap());
    let next = whole(
        machine.apply(EntryId { term: 1, index: 2 }, &entry(&[&["GETDEL", "other"], &set_get]), Some(1)).unwrap(),
    );

    let split = |replies: &Replies| -> Vec<String> {
        let mut start = 0;
        let pieces = replies.ends.iter().map(|&end| &replies.bytes[std::mem::replace(&mut start, end)..end]);
        pieces.map(|reply| String::from_utf8_lossy(&reply[..reply.len().min(30)]).trim_end().to_owned()).collect()
    };
    let (first, second) = (split(&replies), split(&next));
    let dropped = &format!("-{TOO_MUCH_TO_REPLY}")[..30];
    assert_eq!(first[0], "+OK");
    assert!(first[1].starts_with('$') && first[2].starts_with('$'), "{first:?}");
    assert_eq!(first[3..], [dropped, "+OK", dropped, ":1"], "what is small comes all the same");
    // Nobody has taken them yet.
    assert_eq!(second, ["$1\r\n1", "$-1"]);
    assert_eq!(machine.untaken_bytes, replies.bytes.len() + next.bytes.len());
    assert!(replies.bytes.len() <= machine.bounds.shard_bytes_max + 1000);
}

#[test]
fn writes_with_large_replies_wait_for_the_next_batch_and_are_all_answered_in_full() {
    const READS: u32 = 12;
    with_shard(log_options(), |mut shard| async move {
        shard.batches.replies.bytes_max = 40_000;
        let (mut host, value) = (Host::default(), "v".repeat(10_000));
        shard.submit(origin(0), Mode::Write, &command(&["SET", "key", &value]), 1, &mut host);
        settle(&mut shard, &mut host).await;
        let mut batches = 0;
        for number in 1..=READS {
            assert!(!shard.is_backlogged());
            shard.submit(origin(number), Mode::Write, &command(&["GETEX", "key"]), 1, &mut host);
            if shard.is_backlogged() || number == READS {
                batches += 1;
                settle(&mut shard, &mut host).await;
            }
        }
        assert_eq!(batches, 3);
        let whole = host.replies.iter().filter(|(_, reply)| reply.starts_with('$')).count();
        assert_eq!(whole, READS as usize, "none was dropped");
    });
}

#[test]
fn replies_wait_in_the_shard_while_the_core_takes_none() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host { is_full: true, ..Host::default() };
        for number in 0..3 {
            shard.submit(origin(number), Mode::Write, &command(&["INCR", "key"]), 1, &mut host);
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        }
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while shard.batches.outcomes.borrow().len() + usize::from(shard.batches.replies.answering.is_some()) < 3 {
            assert!(Instant::now() < deadline, "no outcome");
            shard.group.drain_completions();
            glommio::timer::sleep(std::time::Duration::from_millis(1)).await;
            shard.take_outcomes(1, &mut host);
        }
        assert_eq!((host.replies.len(), shard.has_replies(), shard.is_busy()), (0, true, true));

        host.is_full = false;
        shard.take_outcomes(1, &mut host);

        let replies: Vec<_> = host.replies.iter().map(|(ticket, reply)| (*ticket, reply.as_str())).collect();
        assert_eq!(replies, [(0, ":1\r\n"), (1, ":2\r\n"), (2, ":3\r\n")]);
        assert_eq!((shard.has_replies(), shard.machine.borrow().untaken_bytes), (false, 0));
    });
}

#[test]
fn replies_of_views_are_counted_and_wait_while_the_core_takes_none() {
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut host = Host { is_full: true, ..Host::default() };
        shard.submit(origin(1), Mode::Read, &command(&mget), 1, &mut host);
        shard.submit(origin(2), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
        let reply_bytes = |shard: &Shard| shard.machine.borrow().reply_bytes();
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        loop {
            assert!(Instant::now() < deadline, "{} bytes", reply_bytes(&shard));
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
            assert_eq!(host.replies.len(), 0, "there is no room for it");
            if shard.has_replies() && reply_bytes(&shard) >= 300 * FIELDS {
                break;
            }
        }

        host.is_full = false;
        run_until_replied(&mut shard, &mut host, 2).await;

        let replies: Vec<_> = host.replies.iter().map(|(ticket, reply)| (*ticket, &reply[..2])).collect();
        assert_eq!(replies, [(1, "*1"), (2, "+O")]);
        assert_eq!((reply_bytes(&shard), shard.has_replies()), (0, false));
    });
}

#[test]
fn a_reply_of_a_view_that_nobody_takes_costs_nobody_beside_it_a_reply() {
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        // Of another connection: what follows the view on its own is parked, and applied when the view's reply is gone.
        let beside = |ticket: u32| Origin { client: 8, ..origin(ticket) };
        let (mut host, small, large) = (Host::default(), "s".repeat(300), "l".repeat(10_000));
        for (ticket, line) in [(1, ["SET", "small", &*small]), (2, ["SET", "large", &*large])] {
            shard.submit(beside(ticket), Mode::Write, &command(&line), 1, &mut host);
        }
        run_until_replied(&mut shard, &mut host, 2).await;

        let mut host = Host { is_full: true, ..Host::default() };
        shard.submit(origin(1), Mode::Read, &command(&mget), 1, &mut host);
        let view_bytes = |shard: &Shard| shard.machine.borrow().views.as_ref().map_or(0, Views::reply_bytes);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while view_bytes(&shard) < 300 * FIELDS {
            assert!(Instant::now() < deadline, "{} bytes", view_bytes(&shard));
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        }
        let bound = 300 * FIELDS / 2;
        shard.machine.borrow_mut().bounds.shard_bytes_max = bound;
        shard.submit(beside(2), Mode::Write, &command(&["GETDEL", "small"]), 1, &mut host);
        shard.submit(beside(3), Mode::ReadInOrder, &command(&["GET", "large"]), 1, &mut host);
        shard.submit(beside(4), Mode::Write, &command(&["GETDEL", "large"]), 1, &mut host);
        while shard.has_unapplied() {
            assert!(Instant::now() < deadline, "they are not applied");
            fetch_all(&mut shard, &mut host);
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
        }
        assert!(view_bytes(&shard) > bound && host.replies.is_empty(), "the view's reply was there all the time");

        host.is_full = false;
        run_until_replied(&mut shard, &mut host, 4).await;

        host.replies.sort_unstable();
        let heads = host.replies.iter().map(|(ticket, reply)| (*ticket, reply.split('\r').next().unwrap_or_default()));
        let expected = [(1, "*10000"), (2, "$300"), (3, "$10000"), (4, "$10000")];
        assert_eq!(heads.collect::<Vec<_>>(), expected);
        assert_eq!(view_bytes(&shard), 0);
    });
}
