//! Requests whose rows are on disk.

use super::holding::coordinator;
use super::*;
use crate::commands::CommandError;
use crate::commands::table::STEP_TRY;
use crate::entry::script_trial::{TrialTerms, encode as encode_trial};
use crate::entry::spanning::SpanningOrder;

#[test]
fn requests_behind_a_cold_read_are_bounded_by_count_and_by_bytes() {
    for (count, value_bytes) in [(limits::WAITING_REQUESTS_MAX, 1), (4, limits::WAITING_BYTES_MAX / 4)] {
        with_shard(log_options(), |mut shard| async move {
            let (mut host, client) = (Host::default(), (CORE, 7));
            shard.parking.parked.insert(client, Parked::default());
            let get = command(&["SET", "key", &"v".repeat(value_bytes)]);
            for number in 0..count as u32 {
                assert!(!shard.is_backlogged(), "after {number} of {count}");
                shard.submit(origin(number), Mode::Write, &get, 1, &mut host);
            }
            assert!(shard.is_backlogged(), "{count} requests of {value_bytes} bytes");

            shard.warmed(client, Fetched::default(), 1, &mut host);

            assert_eq!((shard.parking.waiting, shard.batches.open.write_count), (Waiting::default(), count));
        });
    }
}

#[test]
fn what_has_to_wait_for_rows_queues_up_behind_what_holds_the_place_of_its_connection() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        // More than the block cache holds.
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["SET", "a", &value], &["SET", "b", &value], &["SET", "c", &value]]).await;
        shard.submit(origin(1), Mode::Read, &command(&["GET", "a"]), 1, &mut host);
        let [(_, read, false)] = &host.warms[..] else { panic!("{:?}", host.warms) };
        let read = read.clone();

        // As of another connection that has the place now: it has not asked who is parked.
        shard.park(origin(2), Mode::Read, &command(&["GET", "b"]), read, &mut host);
        assert_eq!((host.warms.len(), host.replies.len()), (1, 0), "rows are fetched for one request at a time");
        run_until_replied(&mut shard, &mut host, 2).await;

        let reply = format!("$20000\r\n{value}\r\n");
        assert!(host.replies == [(1, reply.clone()), (2, reply)], "each once, in their order");
        assert_eq!((shard.parking.waiting, shard.parking.parked.len()), (Waiting::default(), 0));
    });
}

#[test]
fn rows_are_kept_for_one_write_at_a_time_and_each_has_its_turn() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        // More than the block cache holds.
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["SET", "a", &value], &["SET", "b", &value], &["SET", "c", &value]]).await;
        let clients = [1, 2, 3].map(|client| (CORE, client));
        for (client, name) in clients.into_iter().zip(["a", "b", "c"]) {
            let origin = Origin { core: CORE, client: client.1, ticket: Ticket(client.1) };
            shard.submit(origin, Mode::Write, &command(&["APPEND", name, "!"]), 1, &mut host);
            // Whatever is fetched is evicted before it is read.
            for _ in 0..limits::COLD_READ_ATTEMPTS {
                assert!(host.warms.iter().any(|warm| warm.0 == client), "{:?}", host.warms);
                host.warms.retain(|warm| warm.2);
                shard.warmed(client, Fetched::default(), 1, &mut host);
            }
        }
        let turn = |host: &mut Host, of: (CoreId, u32)| {
            let warms = std::mem::take(&mut host.warms);
            let [(client, read, true)] = &warms[..] else { panic!("{warms:?}") };
            assert_eq!(*client, of);
            read.clone()
        };

        let read = turn(&mut host, clients[0]);
        let rows = shard.cold_reader().pin(&read).unwrap();
        shard.warmed(clients[0], rows, 1, &mut host);
        assert_eq!(shard.batches.open.write_count, 1);

        // What cannot be fetched ends its turn too: the entry meets the error, if there is one.
        turn(&mut host, clients[1]);
        shard.warmed(clients[1], Fetched::default(), 1, &mut host);
        assert_eq!(shard.batches.open.write_count, 2);

        let read = turn(&mut host, clients[2]);
        let rows = shard.cold_reader().pin(&read).unwrap();
        shard.warmed(clients[2], rows, 1, &mut host);
        assert_eq!(
            (shard.batches.open.write_count, shard.parking.pin_holder, shard.parking.waiting),
            (3, None, Waiting::default())
        );
        assert_eq!(shard.machine.borrow().store.disk_waits(), 0);
    });
}

#[test]
fn reads_of_much_that_is_on_disk_read_each_row_about_once() {
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        let with_names = |command: &'static str| -> Vec<String> {
            [command.to_owned()].into_iter().chain(names.iter().cloned()).collect()
        };
        let of_hash = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (exists, strings) = (format!(":{FIELDS}\r\n"), format!("*{FIELDS}\r\n$300\r\n"));
        let rows_of_hash = format!("*{}\r\n", 2 * FIELDS);
        for mode in [Mode::Read, Mode::ReadInOrder] {
            for (words, expected) in [
                (with_names("EXISTS"), &exists),
                (with_names("TOUCH"), &exists),
                (with_names("MGET"), &strings),
                (of_hash("HGETALL hash"), &rows_of_hash),
                (of_hash("HKEYS hash"), &format!("*{FIELDS}\r\n")),
                (of_hash("HRANDFIELD hash 1000000 WITHVALUES"), &rows_of_hash),
            ] {
                let mut host = Host::default();
                let before = shard.machine.borrow().store.cold_rows_read();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if mode == Mode::ReadInOrder {
                    shard.submit(origin(1), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
                }
                shard.submit(origin(2), mode, &command(&words), 1, &mut host);
                let count = if mode == Mode::ReadInOrder { 2 } else { 1 };
                run_until_replied(&mut shard, &mut host, count).await;

                let (_, reply) = host.replies.iter().find(|(ticket, _)| *ticket == 2).unwrap();
                assert!(reply.starts_with(expected.as_str()), "{}: {:.80}", words[0], reply);
                assert!(host.replies.iter().all(|(_, reply)| !reply.starts_with('-')), "the write was taken");
                let read = shard.machine.borrow().store.cold_rows_read() - before;
                // A scan brings its first rows into a cache before it turns out to be long; a command that waits for a thread may
                // do so again.
                let rows = FIELDS as u64..=2 * FIELDS as u64;
                assert!(rows.contains(&read), "{} {mode:?} read {read} rows of {FIELDS}", words[0]);
            }
        }
        assert_eq!(shard.machine.borrow().store.disk_waits(), 0, "of the core itself");
        assert!(!shard.is_busy());
    });
}

/// One row at a time would be more rounds than a read may have.
#[test]
fn rows_on_disk_that_a_script_names_on_trial_are_fetched_many_at_a_time() {
    const NAMES: usize = 2000;
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        for head in [&["HMGET", "hash"][..], &["MGET"]] {
            let words: Vec<&str> = head.iter().copied().chain(names[..NAMES].iter().map(String::as_str)).collect();
            let commands = [command(&["SET", "before", "1"]), command(&words)];
            let terms = TrialTerms {
                transaction: 0,
                time_ms: 7,
                string_bytes_max: 100,
                work: 1_000_000,
                reply_bytes_max: 1 << 20,
                before: 1,
                kept: 0,
            };
            let trial = encode_trial(STEP_TRY, terms, commands.iter().map(Vec::as_slice));
            let mut host = Host::default();
            shard.order(coordinator(0, 1), SpanningOrder::Read(None, trial), &mut host);
            run_until_replied(&mut shard, &mut host, 1).await;
            let (_, tried) = &host.replies[0];
            assert!(tried.starts_with("*4\r\n:7\r\n:"), "{}: {tried:.80}", head[0]);
            assert!(tried.contains(&format!("*1\r\n*{NAMES}\r\n$300\r\n")), "{}: {tried:.80}", head[0]);
        }
        assert!(!shard.is_busy());
    });
}

#[test]
fn writes_that_name_very_many_rows_on_disk_look_for_each_a_few_times() {
    const NAMES: usize = 30 * limits::NAMES_AT_ONCE;
    let names: Vec<String> = (0..NAMES).map(|number| format!("name:{number}")).collect();
    let pairs = || names.iter().flat_map(|name| [name.as_str(), "value"]);
    let with_pairs = |words: &[&'static str]| words.iter().copied().chain(pairs()).collect::<Vec<&str>>();
    let with_names =
        |words: &[&'static str]| words.iter().copied().chain(names.iter().map(String::as_str)).collect::<Vec<&str>>();
    let (strings, hash, all) = (with_pairs(&["MSET"]), with_pairs(&["HSET", "hash"]), format!(":{NAMES}\r\n"));
    for (fill, change, expected) in [
        (&strings, with_names(&["DEL"]), &*all),
        (&strings, strings.clone(), "+OK\r\n"),
        (&hash, hash.clone(), ":0\r\n"),
        (&hash, with_names(&["HDEL", "hash"]), &*all),
    ] {
        with_shard(log_options(), |mut shard| async move {
            let count = look_ups_of(&mut shard, fill, &change, expected).await;
            // Before it joins a batch, and then, since no cache holds its rows: when its entry meets the first that was evicted, up
            // to where rows are kept, for that, on trial, and for good.
            assert!(count < 20 * NAMES as u64, "{} looked for {count} rows of {NAMES}", change[0]);
            // A few rows were in a cache each time that they were to be pinned.
            let waits = shard.machine.borrow().store.disk_waits();
            assert!(waits < NAMES as u64 / 100, "{} had its core wait {waits} times", change[0]);
        });
    }
}

#[test]
fn a_read_on_a_view_shows_its_moment_and_what_follows_on_its_connection_comes_behind_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mset = |value: &'static str| -> Vec<String> {
            ["MSET".to_owned()].into_iter().chain(names.iter().flat_map(|name| [name.clone(), value.into()])).collect()
        };
        let submit = |shard: &mut Shard, ticket: u32, mode: Mode, words: &[String], host: &mut Host| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            shard.submit(origin(ticket), mode, &command(&words), 1, host);
        };
        submit(&mut shard, 1, Mode::Write, &["SET", "name:0", "first"].map(str::to_owned), &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        submit(&mut shard, 3, Mode::Write, &mset("later"), &mut host);
        shard.submit(origin(4), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 4).await;

        let reply = |ticket| &host.replies.iter().find(|(of, _)| *of == ticket).unwrap().1;
        assert_eq!((reply(1).as_str(), reply(3).as_str()), ("+OK\r\n", "+OK\r\n"));
        let (old, later) = (format!("$300\r\n{}\r\n", "v".repeat(300)), "$5\r\nlater\r\n");
        let expected = format!("*{FIELDS}\r\n$5\r\nfirst\r\n{}", old.repeat(FIELDS - 1));
        assert!(*reply(2) == expected, "{:.80}", reply(2));
        assert!(*reply(4) == format!("*{FIELDS}\r\n{}", later.repeat(FIELDS)), "{:.80}", reply(4));
    });
}

#[test]
fn keys_that_a_view_reads_are_used_and_those_that_it_only_looks_for_are_not() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let now_ms = shard.server.clock.unix_ms() + 100_000;
        let mut ticket = 0;
        for (name, is_use) in [("EXISTS", false), ("MGET", true)] {
            let words: Vec<&str> = [name].into_iter().chain(names.iter().map(String::as_str)).collect();
            for words in [&words[..], &["OBJECT", "IDLETIME", "name:5"]] {
                ticket += 1;
                shard.submit(origin(ticket), Mode::Read, &command(words), now_ms, &mut host);
                run_until_replied(&mut shard, &mut host, ticket as usize).await;
            }
            let idle = host.replies.last().unwrap().1.trim_start_matches(':').trim_end();
            assert_eq!(idle.parse::<u64>().unwrap() < 100, is_use, "{idle} s after {name}");
        }
    });
}

#[test]
fn a_reply_of_a_view_is_of_the_request_it_was_for_though_another_one_came_before_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        shard.submit(origin(1), Mode::Read, &command(&mget), 1, &mut host);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        let is_given = |shard: &Shard| shard.machine.borrow().views.as_ref().is_some_and(Views::has_given);
        while !is_given(&shard) {
            assert!(Instant::now() < deadline, "no thread is ready");
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        }
        // A read of a refused batch, which stands before all that is parked.
        shard.run_refused_read(origin(2), Mode::ReadInOrder, &command(&["GET", "name:0"]), &mut host);
        run_until_replied(&mut shard, &mut host, 2).await;

        for (ticket, reply) in &host.replies {
            let expected = if *ticket == 1 { format!("*{FIELDS}\r\n") } else { "$300\r\n".to_owned() };
            assert!(reply.starts_with(&expected), "{ticket}: {reply:.80}");
        }
        assert_eq!(shard.parking.waiting, Waiting::default());
    });
}

#[test]
fn an_entry_that_waits_for_a_thread_is_not_executed_again_meanwhile_and_holds_up_no_stop() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let (go, wait_go) = std::sync::mpsc::channel::<()>();
        let threads = shard.machine.borrow().views.as_ref().unwrap().entry_threads().clone();
        threads.submit(Box::new(move || wait_go.recv().unwrap_or_default())).map_err(drop).unwrap();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        let pauses = |shard: &Shard| shard.machine.borrow().pauses;
        let mut turn = async |shard: &mut Shard| {
            fetch_all(shard, &mut host);
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        };
        while pauses(&shard) == 0 {
            assert!(Instant::now() < deadline, "it does not wait");
            turn(&mut shard).await;
        }
        for _ in 0..100 {
            turn(&mut shard).await;
        }
        assert_eq!(pauses(&shard), 1, "it was executed again, though no thread was ready");

        // Nobody turns any more, and no thread will be ready.
        shard.close(false).await.unwrap();

        assert_eq!(shard.machine.borrow().store.disk_waits(), 0);
        drop(go);
    });
}

#[test]
fn cold_reads_of_a_refused_batch_go_before_what_their_connection_has_parked_and_keep_their_order() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, client) = (Host::default(), (CORE, 7));
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["HSET", "a", "field", &value], &["HSET", "b", "field", &value]]).await;
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        // When they came, their rows were in memory.
        for (ticket, line) in [(2, ["HGETALL", "a"]), (3, ["HGETALL", "b"]), (4, ["HGETALL", "c"])] {
            let (start, bytes) = (shard.batches.open.reads.len(), command(&line));
            shard.batches.open.reads.extend_from_slice(&bytes);
            let read = Some(start..start + bytes.len());
            shard.batches.open.operations.push(Operation { origin: Some(origin(ticket)), read, returns_values: true });
        }
        shard.parking.parked.insert(client, Parked::default());
        shard.submit(origin(5), Mode::Write, &command(&["DEL", "a", "b"]), 1, &mut host);

        let batch = shard.take_open_batch(Instant::now(), 1, STRING_BYTES_MAX, Place::Open).0;
        shard.refuse(&batch, &[], &ProposeError::WriteStall, &mut host);
        assert_eq!((host.replies.len(), shard.parking.waiting.count), (1, 4));
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        shard.warmed(client, Fetched::default(), 1, &mut host);
        while !shard.parking.parked.is_empty() {
            assert!(Instant::now() < deadline, "{} replies", host.replies.len());
            let Some((_, read, pins)) = host.warms.pop() else {
                // It has a view.
                shard.take_outcomes(1, &mut host);
                glommio::timer::sleep(limits::HELD_RETRY).await;
                continue;
            };
            let reader = shard.cold_reader();
            let fetched = if pins { reader.pin(&read) } else { reader.fetch(&read) }.unwrap();
            shard.warmed(client, fetched, 1, &mut host);
        }

        let hash = format!("*2\r\n$5\r\nfield\r\n$20000\r\n{value}\r\n");
        let replies: Vec<_> = host.replies[1..].iter().map(|(ticket, reply)| (*ticket, reply.as_str())).collect();
        assert!(replies == [(2, &*hash), (3, &*hash), (4, "*0\r\n")], "{} replies", replies.len());
        assert_eq!((shard.batches.open.write_count, shard.parking.waiting), (1, Waiting::default()));
    });
}

#[test]
fn reads_wait_for_a_view_while_the_copies_of_others_take_much_and_entries_go_without() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let counts = |shard: &Shard| shard.machine.borrow().views.as_ref().map_or((0, 0), Views::client_counts);
        let client = |client: u32| Origin { client, ..origin(client) };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        shard.submit(client(1), Mode::Read, &command(&mget), 1, &mut host);
        while counts(&shard) != (1, 0) {
            assert!(Instant::now() < deadline, "no thread gets ready");
            fetch_all(&mut shard, &mut host);
        }
        // Its thread has just been told to get ready.
        let copy = {
            let mut machine = shard.machine.borrow_mut();
            let bytes = machine.kept_bytes_max();
            machine.store.put(b"row", &vec![0; bytes]);
            let copy = machine.store.view(&machine.store.cold_reader(), vec![(b"row"[..].into(), b"rox"[..].into())]);
            machine.store.delete(b"row");
            copy.unwrap()
        };
        shard.submit(client(2), Mode::Read, &command(&mget), 1, &mut host);
        while counts(&shard) != (0, 2) {
            assert!(Instant::now() < deadline, "{:?} run and wait", counts(&shard));
            fetch_all(&mut shard, &mut host);
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        }
        assert!(!shard.machine.borrow().views.as_ref().unwrap().has_some(), "the core may sleep meanwhile");
        let beside = |ticket: u32| Origin { client: 3, ..origin(ticket) };
        shard.submit(beside(3), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
        shard.submit(beside(4), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 2).await;
        assert!(host.replies.iter().all(|(ticket, _)| *ticket > 2));
        assert_eq!(counts(&shard), (0, 2));

        drop(copy);
        run_until_replied(&mut shard, &mut host, 4).await;

        let replies = host.replies.iter().map(|(_, reply)| reply.split('\r').next().unwrap_or_default());
        assert_eq!(replies.filter(|head| *head == "*10000").count(), 3);
        assert_eq!((counts(&shard), shard.machine.borrow().store.memory().view_bytes), ((0, 0), 0));
    });
}

/// Rows of the tree of counts that a write of a sorted set reads are in memory before it joins a batch, so nothing behind it
/// waits while it is applied.
#[test]
fn what_writes_of_a_large_sorted_set_count_is_looked_for_before_they_join_a_batch() {
    const COUNT: usize = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    machine.core = Some((server_alone(), CORE));
    let apply = |machine: &mut ShardMachine, index: u64, words: &[&str]| {
        machine.in_flight.borrow_mut().push_back(pending(index, 1));
        let replies = whole(machine.apply(EntryId { term: 1, index }, &entry(&[words]), Some(index)).unwrap());
        String::from_utf8(replies.bytes).unwrap()
    };
    let members: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    let pairs = members.iter().flat_map(|member| [member.as_str(), member.as_str()]);
    let fill: Vec<&str> = ["ZADD", "z"].into_iter().chain(pairs).collect();
    assert_eq!(apply(&mut machine, 1, &fill), format!(":{COUNT}\r\n"));
    let more: Vec<String> = (0..70).map(|number| format!("more:{number}")).collect();
    let many: Vec<&str> = more.iter().flat_map(|member| ["777.5", member.as_str()]).collect();
    let with_many = |words: &[&'static str]| words.iter().copied().chain(many.iter().copied()).collect::<Vec<_>>();
    let gone: Vec<&str> = ["ZREM", "z"].into_iter().chain(members[5000..5100].iter().map(String::as_str)).collect();
    for (index, (words, expected)) in (2..).zip([
        (vec!["ZADD", "z", "4321.5", "one"], ":1\r\n"),
        (vec!["ZADD", "z", "12345.5", "17"], ":0\r\n"),
        (vec!["ZADD", "z", "INCR", "3000", "18"], "$4\r\n3018\r\n"),
        (vec!["ZINCRBY", "z", "9000", "19"], "$4\r\n9019\r\n"),
        (vec!["GEOADD", "z", "13.5", "38.5", "place"], ":1\r\n"),
        (with_many(&["ZADD", "z"]), ":70\r\n"),
        (vec!["ZREM", "z", "15000"], ":1\r\n"),
        (gone, ":100\r\n"),
    ]) {
        machine = reopen(machine, directory.path(), index - 1, 64 << 20);
        let request = command(&words);
        let (mut names, mut rounds) = (NamesLooked::default(), 0);
        while let Err(read) = look(&mut machine, &request, &mut names) {
            fetch(&mut machine, &read, false);
            rounds += 1;
            assert!(rounds < 300, "{} {} is never in memory", words[0], words[2]);
        }
        // The opening may have read the block that has the metadata row.
        assert!(rounds > 0, "{} {} was not on disk", words[0], words[2]);
        assert_eq!(apply(&mut machine, index, &words), expected, "{} {}", words[0], words[2]);
        assert_eq!(machine.store.disk_waits(), 0, "{} {}", words[0], words[2]);
    }
}

fn look(machine: &mut ShardMachine, request: &[u8], names: &mut NamesLooked) -> Result<(), ColdRead> {
    match machine.reading(1, |execution| execution.look_ahead(request, names)) {
        Err(CommandError::Storage(basalt_storage::Error::Cold(read))) => Err(read),
        looked => {
            looked.unwrap();
            Ok(())
        }
    }
}
