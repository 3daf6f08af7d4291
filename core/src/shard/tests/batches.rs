//! Batches that wait or are refused, and reads in them.

use std::cell::Cell;

use super::*;

#[test]
fn writes_are_refused_and_reads_go_on_when_the_disk_is_full_and_no_more_batches_may_be_in_flight() {
    let free = nix::sys::statvfs::statvfs(&std::env::temp_dir()).unwrap();
    let free_bytes = free.blocks_available() as u64 * free.fragment_size() as u64;
    // What is in the log already may use half of the reserve.
    let options = LogOptions { reserve_bytes: free_bytes / 2 * 3, ..log_options() };
    with_shard(options, |mut shard| async move {
        let mut host = Host::default();
        *shard.batches.in_flight.borrow_mut() = stuck();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "value"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        shard.submit(origin(2), Mode::Read, &command(&["GET", "key"]), 1, &mut host);

        assert!(host.replies[0].1.starts_with("-MISCONF"), "{:?}", host.replies);
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        assert_eq!(
            (shard.batches.open.write_count, shard.batches.in_flight.borrow().len()),
            (0, limits::BATCHES_IN_FLIGHT)
        );
    });
}

#[test]
fn a_batch_waits_for_a_log_that_cannot_take_it_right_now_but_not_for_ever() {
    // A log that never begins a second segment.
    let options = LogOptions { segment_bytes: 4096, segments_waiting_max: 0, ..log_options() };
    with_shard(options, |mut shard| async move {
        let (mut host, start, start_ms) = (Host::default(), Instant::now(), 1_000_000_000);
        // Meanwhile the clock is set back by an hour: how long a batch waits is no business of the clock's.
        let back_ms = start_ms - 3_600_000;
        let value = "v".repeat(8192);
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", &value]), start_ms, &mut host);
        shard.propose(start, start_ms, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.is_held()), (0, true), "refused at once: {:?}", host.replies);
        shard.submit(origin(2), Mode::Write, &command(&["DEL", "key"]), back_ms, &mut host);
        let almost = start + limits::MEMTABLE_WAIT - Duration::from_millis(1);
        shard.propose(almost, back_ms, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.batches.open.write_count), (0, 2));

        shard.propose(start + limits::MEMTABLE_WAIT, back_ms, STRING_BYTES_MAX, &mut host);

        let refused: Vec<_> =
            host.replies.iter().map(|(ticket, reply)| (*ticket, reply.starts_with("-BUSY"))).collect();
        assert_eq!(refused, [(1, true), (2, true)]);
        assert!(!shard.is_held(), "nothing waits any more");
    });
}

const APPENDS: u32 = 200;

/// Number of times that a log may stand still for too long.
const ATTEMPTS: usize = 4;

/// Appends so often to a log that stalls again and again; gives the replies, and the longest time that it was seen to stall.
async fn append_through_stalls(shard: &mut Shard) -> (Vec<(u32, String)>, Duration) {
    let (mut host, mut held_since, mut longest) = (Host::default(), None, Duration::ZERO);
    let value = "v".repeat(8192);
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    for number in 0..APPENDS {
        shard.submit(origin(number), Mode::Write, &command(&["APPEND", "key", &value]), 1, &mut host);
        while shard.batches.open.write_count > 0 {
            let now = Instant::now();
            longest = longest.max(held_since.map_or(Duration::ZERO, |since| now.duration_since(since)));
            shard.propose(now, 1, STRING_BYTES_MAX, &mut host);
            held_since = shard.is_held().then(|| held_since.unwrap_or(now));
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
            assert!(Instant::now() < deadline, "after {number} writes");
        }
    }
    while host.replies.len() < APPENDS as usize {
        shard.group.drain_completions();
        glommio::timer::sleep(limits::HELD_RETRY).await;
        shard.take_outcomes(1, &mut host);
        assert!(Instant::now() < deadline, "{} replies", host.replies.len());
    }
    (host.replies, longest)
}

#[test]
fn a_stall_of_the_log_that_passes_refuses_nothing() {
    let expected: &Vec<_> = &(0..APPENDS).map(|number| (number, format!(":{}\r\n", (number + 1) * 8192))).collect();
    for _ in 0..ATTEMPTS {
        // Every batch needs a new segment, and only one may wait to be written.
        let options = LogOptions { segment_bytes: 4096, segments_waiting_max: 1, ..log_options() };
        let has_passed = &Cell::new(false);
        with_shard(options, |mut shard| async move {
            let (replies, longest) = append_through_stalls(&mut shard).await;
            assert!(longest > Duration::ZERO, "the log never stalled");
            // On a starved machine it may last as long as one that is not borne.
            has_passed.set(replies == *expected);
            assert!(has_passed.get() || longest >= limits::MEMTABLE_WAIT, "{longest:?}: {replies:?}");
        });
        if has_passed.get() {
            return;
        }
    }
    panic!("the log stood still for {:?} in each of {ATTEMPTS} attempts", limits::MEMTABLE_WAIT);
}

#[test]
fn a_stall_long_ago_does_not_count() {
    let (since, wait) = (Instant::now(), limits::MEMTABLE_WAIT);
    let (mut hold, some) = (Hold { since, seen: since }, Duration::from_millis(500));
    assert!(hold.bears(since + wait - Duration::from_millis(1)));
    assert!(!hold.bears(since + wait));
    assert!(!hold.bears(since + wait + some), "it lasts");
    assert!(hold.bears(since + 2 * wait + some), "nobody knows whether it lasted");
}

#[test]
fn copies_of_what_is_large_fill_a_batch_as_if_it_stood_there() {
    // All of it together fits into the memtable.
    const VALUE_BYTES: usize = 100_000;
    with_shard(log_options(), |mut shard| async move {
        let (mut host, value) = (Host::default(), "v".repeat(VALUE_BYTES));
        let half = &value[..VALUE_BYTES / 20];
        let elements: Vec<String> = (0..20).map(|number| format!("{number}{half}")).collect();
        let set: Vec<&str> = ["SADD", "set"].into_iter().chain(elements.iter().map(String::as_str)).collect();
        for words in [&["SET", "string", &value][..], &set] {
            shard.submit(origin(1), Mode::Write, &command(words), 1, &mut host);
            settle(&mut shard, &mut host).await;
        }
        let batch_bytes_max = shard.batches.pressure.slow_down().batch_bytes_max();
        for words in [["COPY", "string", "to", "REPLACE"], ["COPY", "set", "to", "REPLACE"]] {
            let mut taken = 0;
            while !shard.is_backlogged() && taken < 1000 {
                shard.submit(origin(1), Mode::Write, &command(&words), 1, &mut host);
                taken += 1;
            }
            assert!(taken <= batch_bytes_max / VALUE_BYTES + 2, "{taken} times {words:?}");
            settle(&mut shard, &mut host).await;
            assert!(host.replies.iter().all(|(_, reply)| !reply.starts_with('-')), "they are executed");
        }
        let weigh = |shard: &Shard, words: &[&str]| shard.weigh_copies(&command(words), 1);
        for words in [&["RENAME", "set", "set"][..], &["COPY", "set", "set", "REPLACE"], &["SET", "set", "1"]] {
            assert_eq!(weigh(&shard, words), 0, "{words:?}");
        }
        for words in [
            &["RENAME", "set", "to"][..],
            &["COPY", "set", "to"],
            &["COPY", "set", "set", "DB", "1"],
            &["MOVE", "set", "1"],
            &["SUNIONSTORE", "to", "set"],
            &["BITOP", "NOT", "to", "string"],
        ] {
            let bytes = weigh(&shard, words);
            assert!((VALUE_BYTES..2 * VALUE_BYTES).contains(&bytes), "{words:?} weighs {bytes}");
        }
    });
}

#[test]
fn what_a_payload_is_uncompressed_fills_a_batch_as_if_it_stood_there() {
    const VALUE_BYTES: usize = 100_000;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let payload = basalt_rdb::write(&basalt_rdb::Value::String(vec![b'v'; VALUE_BYTES]));
        assert!(payload.len() < VALUE_BYTES / 50, "it is compressed");
        let id = table::lookup(b"restore").unwrap().id;
        let mut bytes = Vec::new();
        let args: [&[u8]; 4] = [b"key", b"0", &payload, b"REPLACE"];
        request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 0, id), args.into_iter());
        assert_eq!(shard.weigh_copies(&bytes, 1), VALUE_BYTES);
        let batch_bytes_max = shard.batches.pressure.slow_down().batch_bytes_max();
        let mut taken = 0;
        while !shard.is_backlogged() && taken < 1000 {
            shard.submit(origin(1), Mode::Write, &bytes, 1, &mut host);
            taken += 1;
        }
        assert!(taken <= batch_bytes_max / VALUE_BYTES + 2, "{taken} times");
        settle(&mut shard, &mut host).await;
        assert!(host.replies.iter().all(|(_, reply)| reply == "+OK\r\n"), "{:?}", host.replies);
    });
}

#[test]
fn a_stream_that_repeats_its_fields_fills_a_batch_as_if_each_entry_had_them() {
    const FIELD_BYTES: usize = 1000;
    const ENTRIES: u64 = 4000;
    with_shard(log_options(), |mut shard| async move {
        let (mut host, mut stream) = (Host::default(), basalt_rdb::Stream::default());
        let field = vec![b'f'; FIELD_BYTES];
        for ms in 1..=ENTRIES {
            stream.entries.push((basalt_rdb::StreamId { ms, sequence: 0 }, 2));
            stream.strings.push(&field);
            stream.strings.push(b"v");
        }
        (stream.first, stream.last) = (stream.entries[0].0, stream.entries[stream.entries.len() - 1].0);
        stream.entries_added = ENTRIES;
        let payload = basalt_rdb::write(&basalt_rdb::Value::Stream(stream));
        let kept_bytes = ENTRIES as usize * FIELD_BYTES;
        assert!(payload.len() < kept_bytes / 50, "each node has them once");
        let id = table::lookup(b"restore").unwrap().id;
        let mut bytes = Vec::new();
        let args: [&[u8]; 4] = [b"key", b"0", &payload, b"REPLACE"];
        request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 0, id), args.into_iter());
        let weighed = shard.weigh_copies(&bytes, 1);
        assert!(weighed >= kept_bytes, "{weighed} of {kept_bytes}");
        let mut taken = 0;
        while !shard.is_backlogged() && taken < 1000 {
            shard.submit(origin(1), Mode::Write, &bytes, 1, &mut host);
            taken += 1;
        }
        assert!(taken <= 2, "{taken} times");
        settle(&mut shard, &mut host).await;
        assert!(host.replies.iter().all(|(_, reply)| reply == "+OK\r\n"), "{:?}", host.replies);
    });
}

#[test]
fn a_large_element_says_nothing_of_the_small_ones_behind_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, large) = (Host::default(), "l".repeat(2 * limits::WEIGHED_BYTES_MAX));
        let small = ["element"; 1000];
        for words in [&["RPUSH", "list", &large][..], &[&["RPUSH", "list"][..], &small].concat()] {
            shard.submit(origin(1), Mode::Write, &command(words), 1, &mut host);
            settle(&mut shard, &mut host).await;
        }
        let bytes = shard.weigh_copies(&command(&["COPY", "list", "to"]), 1);
        let all = large.len() + small.len() * "element".len();
        assert!((all..2 * all).contains(&bytes), "{bytes} of {all}");
        // One side of a place in it moves, or one of the elements at its ends.
        assert_eq!(shard.weigh_copies(&command(&["LREM", "list", "0", "element"]), 1), bytes / 2);
        assert_eq!(shard.weigh_copies(&command(&["LMOVE", "list", "to", "RIGHT", "LEFT"]), 1), large.len());
        assert_eq!(shard.weigh_copies(&command(&["RPOPLPUSH", "none", "list"]), 1), 0);
    });
}

#[test]
fn reads_that_join_a_batch_in_flight_are_bounded_until_it_is_answered() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        *shard.batches.in_flight.borrow_mut() = stuck();
        let get = command(&["GET", "key"]);
        for number in 0..limits::WAITING_REQUESTS_MAX as u32 {
            assert!(!shard.is_backlogged(), "after {number}");
            shard.submit(origin(number), Mode::ReadInOrder, &get, 1, &mut host);
        }
        assert!(shard.is_backlogged());

        for ticket in 0..limits::BATCHES_IN_FLIGHT as u64 {
            assert!(shard.is_backlogged(), "before the outcome of {ticket}");
            shard.begin_to_answer(ticket, Err(ProposeError::Unknown { leader: None }), &mut host);
        }

        assert!(!shard.is_backlogged());
        let answered = host.replies.iter().filter(|(_, reply)| reply == "$-1\r\n").count();
        assert_eq!(answered, limits::WAITING_REQUESTS_MAX, "reads run when what they waited for is lost");
    });
}

#[test]
fn reads_of_a_refused_batch_see_no_later_write_of_their_connection() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, client) = (Host::default(), (CORE, 7));
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        // The next one waits for rows.
        shard.parking.parked.insert(client, Parked::default());
        shard.submit(origin(3), Mode::Write, &command(&["SET", "key", "2"]), 1, &mut host);

        let batch = shard.take_open_batch(Instant::now(), 1, STRING_BYTES_MAX, Place::Open).0;
        shard.refuse(&batch, &[], &ProposeError::WriteStall, &mut host);

        assert!(host.replies.first().is_some_and(|(ticket, reply)| *ticket == 1 && reply.starts_with("-BUSY")));
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        shard.warmed(client, Fetched::default(), 1, &mut host);
        assert_eq!((shard.batches.open.write_count, shard.parking.parked.len(), host.replies.len()), (1, 0, 2));
    });
}

#[test]
fn a_shard_keeps_to_the_memory_that_it_is_given_while_it_runs() {
    with_server(1, log_options(), |server, mut shard| async move {
        let mut host = Host::default();
        let config = &server.config;
        for shards in [1, 8, 2] {
            let budget = MemoryBudget::new(config, shards, shards);
            server.shares.set(budget);
            shard.tick(Instant::now(), 1, None, &mut host);
            let memory = shard.machine.borrow().store.memory();
            assert_eq!(memory.memtable_bytes, budget.memtable_bytes, "{shards} shards");
            let bounds = shard.machine.borrow().bounds;
            assert_eq!(bounds, ReplyBounds::of(config.memory, usize::from(shards)), "{shards} shards");
            assert_eq!(shard.batches.replies.bytes_max, bounds.shard_bytes_max, "{shards} shards");
        }
    });
}
