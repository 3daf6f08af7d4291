//! Transactions: one operation each, and executed only while what they watch is as it was.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::scripts::script_of;
use super::*;
use crate::commands::table::{STEP_SCRIPT, STEP_UNWATCH, STEP_WATCH};
use crate::entry::transaction::fill_in;

const NULL: &str = "*-1\r\n";

/// A request of another client than the others.
pub(super) fn of(client: u32, ticket: u32) -> Origin {
    Origin { client, ..origin(ticket) }
}

pub(super) fn watch(watch: u64, keys: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let watch = watch.to_le_bytes();
    let args = std::iter::once(&watch[..]).chain(keys.iter().map(|key| key.as_bytes())).collect::<Vec<_>>();
    let step = if keys.is_empty() { STEP_UNWATCH } else { STEP_WATCH };
    request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 0, step), args.into_iter());
    bytes
}

pub(super) fn exec(guard: Option<Guard>, commands: &[&[&str]]) -> Vec<u8> {
    transaction(guard, &commands.iter().map(|words| command(words)).collect::<Vec<_>>())
}

pub(super) fn guarded(watch: u64, commands: &[&[&str]]) -> Vec<u8> {
    exec(Some(Guard::of(watch)), commands)
}

impl Shard {
    fn watches(&self) -> bool {
        !self.machine.borrow().store.watched().is_empty()
    }

    /// Has the group run until the batches on their way have been applied.
    async fn settle(&mut self, host: &mut Host) {
        settle(self, host).await;
    }
}

fn reply(host: &Host, ticket: u32) -> Option<&str> {
    host.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply.as_str())
}

#[test]
fn a_transaction_is_one_operation_that_sees_what_its_commands_wrote() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let commands: [&[&str]; 5] =
            [&["SET", "a", "1"], &["INCR", "a"], &["LPUSH", "a", "x"], &["GET", "a"], &["DEL", "a"]];
        shard.submit(of(1, 1), Mode::Write, &exec(None, &commands), 1, &mut host);
        shard.submit(of(2, 2), Mode::Write, &command(&["EXISTS", "a"]), 1, &mut host);
        shard.submit(of(3, 3), Mode::Write, &exec(None, &[]), 1, &mut host);
        assert_eq!((shard.batches.open.write_count, shard.batches.open.member_count), (3, 5));
        shard.settle(&mut host).await;
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(reply(&host, 1), Some(&*format!("*5\r\n+OK\r\n:2\r\n{wrong}\r\n$1\r\n2\r\n:1\r\n")));
        assert_eq!((reply(&host, 2), reply(&host, 3)), (Some(":0\r\n"), Some("*0\r\n")));
        shard.submit(of(1, 4), Mode::Read, &exec(None, &[&["GET", "a"], &["TYPE", "a"]]), 1, &mut host);
        assert_eq!(reply(&host, 4), Some("*2\r\n$-1\r\n+none\r\n"), "reads alone need no entry");
        assert_eq!(shard.batches.open.member_count, 0);
    });
}

#[test]
fn rows_on_disk_are_fetched_before_a_transaction_joins_a_batch() {
    with_shard(log_options(), |mut shard| async move {
        let value = "v".repeat(5000);
        let fillers: Vec<String> = (0..50).map(|number| format!("filler:{number}")).collect();
        let mut rows: Vec<Vec<&str>> = fillers.iter().map(|key| vec!["SET", key, &value]).collect();
        rows.push(vec!["RPUSH", "list", &value, "b", "c"]);
        rows.push(vec!["SET", "n", "1"]);
        put_on_disk(&mut shard, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
        let mut host = Host::default();
        // The second element shows only when the first has gone.
        let commands: [&[&str]; 4] = [&["INCR", "n"], &["LPOP", "list"], &["LPOP", "list"], &["INCR", "n"]];
        shard.submit(of(1, 1), Mode::Write, &exec(None, &commands), 1, &mut host);
        assert_eq!((shard.batches.open.write_count, host.warms.len()), (0, 1), "it is parked");
        run_until_replied(&mut shard, &mut host, 1).await;
        assert_eq!(reply(&host, 1), Some(&*format!("*4\r\n:2\r\n$5000\r\n{value}\r\n$1\r\nb\r\n:3\r\n")));
        assert_eq!(shard.machine.borrow().store.disk_waits(), 0);
    });
}

#[test]
fn what_is_watched_and_changed_meanwhile_keeps_a_transaction_from_being_executed() {
    let cases: [(&[&str], &[&str], bool); 14] = [
        (&["SET", "k", "1"], &["SET", "k", "1"], true),
        (&["SET", "k", "1"], &["SETNX", "k", "2"], false),
        (&["SET", "k", "1"], &["DEL", "k"], true),
        (&["SET", "other", "1"], &["DEL", "k"], false),
        (&["SET", "k", "1"], &["FLUSHALL"], true),
        (&["SET", "other", "1"], &["FLUSHALL"], false),
        (&["SET", "k", "1"], &["RENAME", "k", "l"], true),
        (&["SET", "l", "1"], &["RENAME", "l", "k"], true),
        (&["SET", "k", "1"], &["COPY", "k", "l"], false),
        (&["HSET", "k", "f", "1"], &["HSET", "k", "f", "2"], true),
        (&["HSET", "k", "f", "1"], &["HDEL", "k", "none"], false),
        (&["SADD", "k", "a"], &["SUNIONSTORE", "l", "k"], false),
        (&["SET", "k", "1"], &["EXPIRE", "k", "100"], true),
        (&["SET", "k", "1"], &["GET", "k"], false),
    ];
    for (before, change, is_change) in cases {
        for is_transaction in [false, true] {
            with_shard(log_options(), |mut shard| async move {
                let mut host = Host::default();
                shard.submit(of(1, 1), Mode::Write, &command(before), 1, &mut host);
                shard.settle(&mut host).await;
                shard.submit(of(1, 2), Mode::Read, &watch(9, &["k", "none"]), 1, &mut host);
                assert_eq!(reply(&host, 2), Some("+OK\r\n"));
                let changing = if is_transaction { exec(None, &[change]) } else { command(change) };
                shard.submit(of(2, 3), Mode::Write, &changing, 1, &mut host);
                shard.settle(&mut host).await;
                shard.submit(of(1, 4), Mode::Guarded, &guarded(9, &[&["SET", "done", "1"]]), 1, &mut host);
                assert_eq!(
                    reply(&host, 4).is_some(),
                    is_change,
                    "{before:?}, {change:?}: it needs no entry to be refused"
                );
                shard.settle(&mut host).await;
                let expected = if is_change { NULL } else { "*1\r\n+OK\r\n" };
                assert_eq!(reply(&host, 4), Some(expected), "{before:?}, {change:?}");
                assert!(!shard.watches());
                shard.submit(of(1, 5), Mode::Read, &command(&["EXISTS", "done"]), 1, &mut host);
                assert_eq!(reply(&host, 5), Some(if is_change { ":0\r\n" } else { ":1\r\n" }));
            });
        }
    }
}

#[test]
fn a_write_on_its_way_to_a_watched_key_is_waited_for_and_no_other() {
    // A script may change more than it has declared.
    let declares_another = script_of(STEP_SCRIPT, "return redis.call('INCR', 'k')", &["other"]);
    let changes = [
        (command(&["INCR", "k"]), true, false),
        (command(&["SETNX", "k", "5"]), false, false),
        (command(&["FLUSHDB"]), true, true),
        (declares_another, true, true),
    ];
    for (change, is_change, is_of_all) in changes {
        for is_proposed in [false, true] {
            let change = change.clone();
            with_shard(log_options(), |mut shard| async move {
                let mut host = Host::default();
                shard.submit(of(1, 1), Mode::Write, &command(&["SET", "k", "1"]), 1, &mut host);
                shard.settle(&mut host).await;
                shard.submit(of(1, 2), Mode::Read, &watch(9, &["k"]), 1, &mut host);
                shard.submit(of(3, 3), Mode::Read, &watch(10, &["other"]), 1, &mut host);
                // One that is there when the batch is empty waits for nothing in it.
                shard.submit(of(2, 4), Mode::Write, &change, 1, &mut host);
                if is_proposed {
                    shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
                    shard.submit(of(2, 5), Mode::Write, &command(&["SET", "else", "1"]), 1, &mut host);
                }
                shard.submit(of(1, 6), Mode::Guarded, &guarded(9, &[&["SET", "done", "1"]]), 1, &mut host);
                assert_eq!((shard.guarded.len(), reply(&host, 6)), (1, None), "nobody knows yet");
                assert!(shard.is_busy());
                if !is_of_all && is_proposed {
                    shard.submit(of(3, 7), Mode::Guarded, &guarded(10, &[&["INCR", "n"]]), 1, &mut host);
                    assert_eq!(shard.guarded.len(), 1, "the other's key is not concerned");
                }
                shard.settle(&mut host).await;
                let expected = if is_change { NULL } else { "*1\r\n+OK\r\n" };
                assert_eq!(reply(&host, 6), Some(expected), "{}", String::from_utf8_lossy(&change));
                assert!(shard.guarded.is_empty() && shard.parking.waiting == Waiting::default());
            });
        }
    }
}

#[test]
fn a_watched_key_that_expires_is_changed_and_one_that_had_expired_is_not() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        for (ticket, words) in
            [["SET", "early", "1", "PXAT", "1000"], ["SET", "late", "1", "PXAT", "5000"]].iter().enumerate()
        {
            shard.submit(of(1, ticket as u32), Mode::Write, &command(words), 1, &mut host);
        }
        shard.settle(&mut host).await;
        let now_ms = 2000;
        shard.submit(of(1, 2), Mode::Read, &watch(1, &["early"]), now_ms, &mut host);
        shard.submit(of(2, 3), Mode::Read, &watch(2, &["early", "late"]), now_ms, &mut host);
        shard.submit(of(3, 4), Mode::Read, &watch(3, &["late"]), now_ms, &mut host);
        // What is due is deleted.
        shard.tick(Instant::now(), now_ms, None, &mut host);
        shard.settle(&mut host).await;
        shard.submit(of(1, 5), Mode::Guarded, &guarded(1, &[&["INCR", "n"]]), now_ms, &mut host);
        shard.submit(of(2, 6), Mode::Guarded, &guarded(2, &[&["INCR", "n"]]), 5000, &mut host);
        // In its last millisecond it is there, but not when its entry is made.
        shard.submit(of(3, 7), Mode::Guarded, &guarded(3, &[&["INCR", "n"]]), 5000, &mut host);
        assert_eq!(shard.guarded.len(), 0);
        shard.propose(Instant::now(), 5001, STRING_BYTES_MAX, &mut host);
        shard.settle(&mut host).await;
        assert_eq!([5, 6, 7].map(|ticket| reply(&host, ticket).unwrap()), ["*1\r\n:1\r\n", NULL, NULL]);
        shard.submit(of(1, 8), Mode::Read, &watch(4, &["early"]), 5002, &mut host);
        shard.submit(of(1, 9), Mode::Guarded, &guarded(4, &[&["INCR", "n"]]), 6000, &mut host);
        shard.submit(of(2, 10), Mode::Read, &watch(5, &["k"]), 5002, &mut host);
        shard.submit(of(2, 11), Mode::Read, &guarded(5, &[&["GET", "k"]]), 6000, &mut host);
        shard.settle(&mut host).await;
        assert_eq!([9, 11].map(|ticket| reply(&host, ticket).unwrap()), ["*1\r\n:2\r\n", "*1\r\n$-1\r\n"]);
        assert!(!shard.watches());
    });
}

#[test]
fn fields_past_their_deadline_are_no_change_when_they_are_removed_and_those_that_were_there_are() {
    let long = "x".repeat(100);
    for value in ["v", &*long] {
        with_shard(log_options(), |mut shard| async move {
            let mut host = Host::default();
            let deadlines = [("early", "1000"), ("late", "5000")];
            shard.submit(
                of(1, 0),
                Mode::Write,
                &command(&["HSET", "h", "early", value, "late", value, "f", value]),
                1,
                &mut host,
            );
            for (field, deadline) in deadlines {
                let words = ["HPEXPIREAT", "h", deadline, "FIELDS", "1", field];
                shard.submit(of(1, 0), Mode::Write, &command(&words), 1, &mut host);
            }
            shard.settle(&mut host).await;
            let now_ms = 2000;
            for client in [1, 2, 3] {
                shard.submit(of(client, 1), Mode::Read, &watch(client.into(), &["h"]), now_ms, &mut host);
            }
            shard.tick(Instant::now(), now_ms, None, &mut host);
            shard.settle(&mut host).await;
            shard.submit(of(4, 2), Mode::Read, &command(&["HLEN", "h"]), now_ms, &mut host);
            assert_eq!(reply(&host, 2), Some(":2\r\n"), "one is removed");
            shard.submit(of(1, 3), Mode::Guarded, &guarded(1, &[&["INCR", "n"]]), 5000, &mut host);
            shard.settle(&mut host).await;
            // The second has come to its deadline since it was watched, whether or not it is removed.
            shard.submit(of(2, 4), Mode::Guarded, &guarded(2, &[&["INCR", "n"]]), 5001, &mut host);
            shard.tick(Instant::now(), 5001, None, &mut host);
            shard.settle(&mut host).await;
            shard.submit(of(3, 5), Mode::Guarded, &guarded(3, &[&["INCR", "n"]]), 5001, &mut host);
            shard.settle(&mut host).await;
            assert_eq!([3, 4, 5].map(|ticket| reply(&host, ticket).unwrap()), ["*1\r\n:1\r\n", NULL, NULL]);
            assert!(!shard.watches());
        });
    }
}

#[test]
fn an_entry_is_executed_only_in_the_term_of_the_look_and_before_the_deadline() {
    for (term, time_ms, runs) in [(3, 1, true), (4, 1, false), (3, 50, true), (3, 51, false)] {
        let directory = tempfile::tempdir().unwrap();
        let mut machine = ShardMachine::new(store(directory.path()));
        let mut bytes = guarded(1, &[&["INCR", "n"]]);
        fill_in(&mut bytes, Guard { watch: 1, term: 3, deadline_ms: 50 });
        let mut entry = Vec::new();
        batch::begin(&mut entry);
        batch::push(&mut entry, |out| out.extend_from_slice(&bytes));
        batch::push(&mut entry, |out| out.extend_from_slice(&command(&["INCR", "m"])));
        batch::seal(&mut entry, time_ms, 1, STRING_BYTES_MAX);
        machine.in_flight.borrow_mut().push_back(pending(0, 2));
        let replies = whole(machine.apply(EntryId { term, index: 1 }, &entry, Some(0)).unwrap());
        let expected = if runs { "*1\r\n:1\r\n:1\r\n" } else { "*-1\r\n:1\r\n" };
        assert_eq!(String::from_utf8(replies.bytes).unwrap(), expected);
    }
}

#[test]
fn a_watch_waits_for_its_rows_and_ends_when_it_is_told() {
    with_shard(log_options(), |mut shard| async move {
        let value = "v".repeat(5000);
        let names: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
        let rows: Vec<Vec<&str>> = names.iter().map(|key| vec!["SET", key, &value]).collect();
        put_on_disk(&mut shard, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
        let mut host = Host::default();
        shard.submit(of(1, 1), Mode::Read, &watch(7, &["key:5", "key:25"]), 1, &mut host);
        assert!(!shard.watches() && !host.warms.is_empty(), "nobody knows if they are there");
        // It comes behind, however soon.
        shard.submit(of(1, 2), Mode::Read, &watch(7, &[]), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 2).await;
        assert!(!shard.watches());
        shard.submit(of(2, 3), Mode::Guarded, &guarded(7, &[&["INCR", "n"]]), 1, &mut host);
        assert_eq!(reply(&host, 3), Some(NULL), "there is no such watch any more");
    });
}

#[test]
fn a_transaction_that_waits_for_a_log_that_stands_still_is_given_up() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(of(1, 1), Mode::Read, &watch(7, &["k"]), 1, &mut host);
        shard.submit(of(2, 2), Mode::Write, &command(&["SET", "k", "1"]), 1, &mut host);
        shard.submit(of(1, 3), Mode::Guarded, &guarded(7, &[&["INCR", "n"]]), 1, &mut host);
        assert_eq!(shard.guarded.len(), 1);
        let now = Instant::now();
        shard.give_up_guarded(now + Duration::from_secs(5), Duration::from_secs(10), &mut host);
        assert_eq!(shard.guarded.len(), 1);
        shard.give_up_guarded(now + Duration::from_secs(11), Duration::from_secs(10), &mut host);
        assert!(reply(&host, 3).unwrap().starts_with("-BUSY "), "{:?}", host.replies);
        assert!(shard.guarded.is_empty() && !shard.watches() && shard.parking.waiting == Waiting::default());
    });
}

#[test]
fn a_barrier_comes_before_a_look_where_others_may_lead() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.reading.is_forced = true;
        shard.submit(of(1, 1), Mode::Read, &watch(7, &["k"]), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 1).await;
        shard.submit(of(1, 2), Mode::Guarded, &guarded(7, &[&["INCR", "n"]]), 1, &mut host);
        assert_eq!((shard.batches.open.write_count, shard.reading.is_empty()), (0, false));
        run_until_replied(&mut shard, &mut host, 2).await;
        assert_eq!(reply(&host, 2), Some("*1\r\n:1\r\n"));
    });
}

#[test]
fn replies_of_a_transaction_are_bounded_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    machine.bounds = ReplyBounds { one_bytes_max: 10_000, shard_bytes_max: 1 << 20 };
    let value = "v".repeat(4000);
    let members: [&[&str]; 6] = [
        &["RPUSH", "list", &value, &value],
        &["LRANGE", "list", "0", "-1"],
        &["LRANGE", "list", "0", "-1"],
        &["SET", "a", "1"],
        &["LPOP", "list", "2"],
        &["EXISTS", "list"],
    ];
    let mut entry = Vec::new();
    batch::begin(&mut entry);
    batch::push(&mut entry, |out| out.extend_from_slice(&exec(None, &members)));
    batch::seal(&mut entry, 1, 1, STRING_BYTES_MAX);
    machine.in_flight.borrow_mut().push_back(pending(0, 1));
    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry, Some(0)).unwrap());
    let (text, bulk) = (String::from_utf8(replies.bytes).unwrap(), format!("$4000\r\n{value}\r\n"));
    let bounds = machine.bounds;
    let expected = format!(
        "*6\r\n:2\r\n*2\r\n{bulk}{bulk}-{}\r\n+OK\r\n-{}\r\n:0\r\n",
        bounds.too_large(false),
        bounds.too_large(true)
    );
    assert_eq!(text, expected);
}

#[test]
fn transactions_of_one_entry_cannot_use_up_its_versions() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let name: Vec<String> = (0..limits::TRANSACTION_COMMANDS_MAX).map(|number| number.to_string()).collect();
    // A small set needs no version.
    let members: Vec<Vec<u8>> = name.iter().map(|name| command(&["XADD", name, "1-1", "f", "v"])).collect();
    let mut entry = Vec::new();
    batch::begin(&mut entry);
    let count = 14;
    for _ in 0..count {
        batch::push(&mut entry, |out| out.extend_from_slice(&transaction(None, &members)));
        batch::push(&mut entry, |out| out.extend_from_slice(&command(&["FLUSHALL"])));
    }
    batch::seal(&mut entry, 1, 1, STRING_BYTES_MAX);
    machine.in_flight.borrow_mut().push_back(pending(0, 2 * count));
    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry, Some(0)).unwrap());
    let mut start = 0;
    let mut refused = 0;
    for end in replies.ends {
        refused += u32::from(replies.bytes[start..end].starts_with(b"-BUSY "));
        start = end;
    }
    assert!(refused > 0 && refused < count, "{refused} of {count}");
}

/// Clients that watch a counter, read it and write its successor, while others add to it, in any order of events: whatever was
/// executed must have been so on the value that its client had read.
#[test]
fn no_write_slips_between_a_look_and_its_transaction() {
    for seed in 0..20 {
        println!("seed {seed}");
        with_shard(log_options(), |mut shard| async move {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut host, mut ticket, mut next_watch) = (Host::default(), 0, 0);
            // Of each client, what it does next, and what it waits for.
            let mut clients: Vec<(u32, Option<u32>, i64)> = vec![(0, None, 0); 6];
            let mut watches = [0; 6];
            let (mut added, mut done, mut refused) = (0, 0, 0);
            for _ in 0..2500 {
                let client = random.random_range(0..clients.len());
                let (step, waits_for, read) = clients[client];
                match waits_for.map(|ticket| reply(&host, ticket).map(str::to_owned)) {
                    Some(None) => {}
                    Some(Some(text)) => {
                        let mut read = read;
                        match step {
                            2 => {
                                let digits = text.split("\r\n").nth(1).filter(|digits| !digits.is_empty());
                                read = digits.map_or(0, |digits| digits.parse().unwrap());
                            }
                            3 if text == NULL => refused += 1,
                            3 => {
                                assert_eq!(text, "*1\r\n+OK\r\n");
                                done += 1;
                            }
                            _ => {}
                        }
                        clients[client] = (step % 3, None, read);
                    }
                    None => {
                        ticket += 1;
                        let origin = of(client as u32, ticket);
                        let (mode, bytes) = match step {
                            // Two of them add, now and then.
                            _ if client > 3 && random.random_ratio(9, 10) => continue,
                            _ if client > 3 => {
                                added += 1;
                                (Mode::Write, command(&["INCR", "n"]))
                            }
                            0 => {
                                next_watch += 1;
                                watches[client] = next_watch;
                                (Mode::Read, watch(next_watch, &["n"]))
                            }
                            1 => (Mode::Read, command(&["GET", "n"])),
                            _ => {
                                let value = (read + 1).to_string();
                                (Mode::Guarded, guarded(watches[client], &[&["SET", "n", &value]]))
                            }
                        };
                        let step = if client > 3 { 0 } else { step + 1 };
                        clients[client] = (step, Some(ticket), read);
                        shard.submit(origin, mode, &bytes, 1, &mut host);
                    }
                }
                if random.random_ratio(1, 3) {
                    shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
                }
                if random.random_ratio(1, 6) {
                    shard.group.drain_completions();
                    glommio::timer::sleep(Duration::from_micros(300)).await;
                    shard.take_outcomes(1, &mut host);
                }
            }
            shard.settle(&mut host).await;
            for (step, waits_for, _) in &clients {
                done += i64::from(
                    *step == 3 && waits_for.is_some_and(|ticket| reply(&host, ticket) == Some("*1\r\n+OK\r\n")),
                );
            }
            host.replies.clear();
            shard.submit(of(9, 1), Mode::Read, &command(&["GET", "n"]), 1, &mut host);
            let value: i64 = reply(&host, 1).unwrap().split("\r\n").nth(1).unwrap().parse().unwrap();
            assert_eq!(value, added + done, "{added} added, {done} done, {refused} refused");
            assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
        });
    }
}
