//! Keys that transactions over several shards hold, and their parts, which outlive the node.

use basalt_storage::keyspace::prepared;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::transactions::{of, watch};
use super::*;
use crate::commands::table::{STEP_ABORT, STEP_COMMIT, STEP_DECIDE, STEP_FORGET, STEP_PREPARE, STEP_TRY};
use crate::entry::request::Moment;
use crate::entry::script_trial::{NOT_KEPT, TrialTerms, encode as encode_trial};
use crate::entry::spanning::{HeldKeys, HoldOrder, Left, SpanningOrder, encode_step, shards_arg};

pub(super) const OK: &str = "+OK\r\n";
const NOBODY: u16 = 0;

/// An order of the coordinator of a transaction, which has the place `client`.
pub(super) fn coordinator(client: u32, ticket: u32) -> Origin {
    of(limits::SPANNING_CLIENTS + client, ticket)
}

pub(super) fn hold(transaction: u128, keys: &[(&str, bool)], watch: Option<u64>) -> SpanningOrder {
    let mut held = HeldKeys::default();
    keys.iter().for_each(|(key, is_exclusive)| held.add(0, key.as_bytes(), *is_exclusive));
    held.settle();
    let (keys, keeps_time, deaf_client) = (held, false, None);
    SpanningOrder::Hold(Box::new(HoldOrder { transaction, keys, watch, keeps_time, deaf_client, is_more: false }))
}

pub(super) fn part(commands: &[&[&str]]) -> Vec<u8> {
    transaction(None, &commands.iter().map(|words| command(words)).collect::<Vec<_>>())
}

pub(super) fn prepare(transaction: u128, commands: &[&[&str]]) -> SpanningOrder {
    let decided_by = 3u16.to_le_bytes();
    let step = encode_step(STEP_PREPARE, 1102, &[&transaction.to_le_bytes(), &decided_by, &part(commands)]);
    SpanningOrder::Write(Some(transaction), step)
}

pub(super) fn decide(transaction: u128, others: &[ShardId], commands: &[&[&str]]) -> SpanningOrder {
    let args: [&[u8]; 3] = [&transaction.to_le_bytes(), &shards_arg(others), &part(commands)];
    SpanningOrder::Write(Some(transaction), encode_step(STEP_DECIDE, 1102, &args))
}

pub(super) fn step(command: u16, transaction: u128) -> SpanningOrder {
    SpanningOrder::Write(None, encode_step(command, NOBODY, &[&transaction.to_le_bytes()]))
}

pub(super) fn reply(host: &Host, ticket: u32) -> Option<&str> {
    host.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply.as_str())
}

impl Shard {
    /// The transactions whose parts are prepared.
    pub(crate) fn prepared_parts(&self) -> Vec<u128> {
        prepared::all_prepared(&self.machine.borrow().store).unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// Parts that are prepared, and decisions, among its rows.
    pub(crate) fn transaction_rows(&self) -> (usize, usize) {
        let machine = self.machine.borrow();
        let (parts, decisions) = (prepared::all_prepared(&machine.store), prepared::all_decisions(&machine.store));
        (parts.unwrap().len(), decisions.unwrap().len())
    }

    pub(super) fn order(&mut self, origin: Origin, order: SpanningOrder, host: &mut Host) {
        self.take_order(origin, order, 1, host);
    }

    /// The reply to a request that is answered at once.
    pub(super) fn now(&mut self, words: &[&str], host: &mut Host) -> String {
        host.replies.retain(|(ticket, _)| *ticket != 9999);
        self.submit(of(99, 9999), Mode::Read, &command(words), 1, host);
        reply(host, 9999).unwrap_or("nothing").to_owned()
    }
}

/// Has all batches applied; what waits for keys goes on waiting.
pub(super) async fn apply_all(shard: &mut Shard, host: &mut Host) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while shard.batches.open.write_count > 0 || !shard.batches.in_flight.borrow().is_empty() || shard.has_replies() {
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, host);
        assert!(Instant::now() < deadline, "{} batches have no outcome", shard.batches.in_flight.borrow().len());
        shard.group.drain_completions();
        glommio::timer::sleep(Duration::from_millis(1)).await;
        shard.take_outcomes(1, host);
    }
}

/// A script has read a key at a time at which that was there, and what it writes is executed at the same one.
#[test]
fn no_key_of_a_script_expires_between_what_it_has_read_and_what_it_writes() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        for (ticket, words) in [(1, ["SET", "early", "1", "PXAT", "40"]), (2, ["SET", "late", "1", "PXAT", "100"])] {
            shard.submit(of(1, ticket), Mode::Write, &command(&words), 1, &mut host);
        }
        apply_all(&mut shard, &mut host).await;
        assert_eq!(shard.machine.borrow_mut().advance_time(50), 50);
        let SpanningOrder::Hold(mut order) = hold(1, &[("late", true)], None) else { unreachable!("it is one") };
        order.keeps_time = true;
        shard.order(coordinator(0, 4), SpanningOrder::Hold(order), &mut host);
        assert_eq!(reply(&host, 4), Some(OK));
        for expected in [":1\r\n", ":0\r\n"] {
            shard.delete_expired(1000, &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(shard.now(&["DBSIZE"], &mut host), expected);
            shard.order(coordinator(0, 5), SpanningOrder::Release(1), &mut host);
        }
    });
}

fn trial_terms(transaction: u128, before: u32, kept: u32) -> TrialTerms {
    TrialTerms { transaction, time_ms: 7, string_bytes_max: 5, work: 1000, reply_bytes_max: 100, before, kept }
}

#[test]
fn what_a_script_has_written_on_trial_is_kept_until_it_lets_go() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let moment = Moment { time_ms: 7, string_bytes_max: 5 };
        let encoded = |words: &[&str]| {
            let mut bytes = command(words);
            request::set_moment(&mut bytes, moment);
            bytes
        };
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        let (set, append, get) = (encoded(&["SET", "a", "1"]), encoded(&["APPEND", "a", "2"]), command(&["GET", "a"]));
        let mut ticket = 1;
        let mut tried = |shard: &mut Shard, terms: TrialTerms, commands: &[&[u8]]| {
            ticket += 1;
            let trial = encode_trial(STEP_TRY, terms, commands.iter().copied());
            shard.order(coordinator(0, ticket), SpanningOrder::Read(Some(1), trial), &mut host);
            reply(&host, ticket).unwrap().to_owned()
        };
        for (terms, commands, kept, replied) in [
            (trial_terms(1, 0, 0), &[&set[..]][..], 0, "+OK\r\n"),
            (trial_terms(1, 1, 0), &[&set, &append], 1, ":2\r\n"),
            (trial_terms(1, 2, 1), &[&append, &get], 2, "$2\r\n12\r\n"),
            (trial_terms(1, 2, 2), &[&get], 2, "$2\r\n12\r\n"),
            // Asked again, as a trial is that has met the disk.
            (trial_terms(1, 2, 1), &[&append, &get], 2, "$2\r\n12\r\n"),
            // A call that was taken back: it begins anew.
            (trial_terms(1, 1, 0), &[&set, &get], 1, "$1\r\n1\r\n"),
        ] {
            let reply = tried(&mut shard, terms, commands);
            assert!(reply.ends_with(&format!(":{kept}\r\n*1\r\n{replied}")), "{terms:?}: {reply}");
        }
        let not_kept = String::from_utf8_lossy(NOT_KEPT);
        assert_eq!(tried(&mut shard, trial_terms(1, 3, 2), &[&append, &get]), not_kept);
        assert_eq!(tried(&mut shard, trial_terms(1, 1, 1), &[&get]), not_kept, "it is forgotten by then");
        let _ = tried(&mut shard, trial_terms(1, 1, 0), &[&set, &get]);
        assert_eq!(shard.machine.borrow().kept_trials.len(), 1);
        let mut host = Host::default();
        shard.order(coordinator(0, 1), SpanningOrder::Release(1), &mut host);
        assert_eq!(shard.machine.borrow().kept_trials.len(), 0);
        assert_eq!(shard.now(&["EXISTS", "a"], &mut host), ":0\r\n");
    });
}

#[test]
fn a_script_holds_more_keys_if_nobody_is_in_the_way() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let more = |transaction: u128, key: &str| {
            let SpanningOrder::Hold(mut order) = hold(transaction, &[(key, true)], None) else {
                unreachable!("it is one")
            };
            order.is_more = true;
            SpanningOrder::Hold(order)
        };
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 2), hold(2, &[("b", true)], None), &mut host);
        shard.order(coordinator(0, 3), more(1, "c"), &mut host);
        shard.order(coordinator(0, 4), more(1, "b"), &mut host);
        assert_eq!((reply(&host, 3), reply(&host, 4)), (Some(OK), Some("*-1\r\n")));
        shard.order(coordinator(0, 5), SpanningOrder::Release(2), &mut host);
        shard.order(coordinator(0, 6), more(1, "b"), &mut host);
        // It may be the first thing that a transaction holds in a shard.
        shard.order(coordinator(0, 7), more(3, "d"), &mut host);
        assert_eq!((reply(&host, 6), reply(&host, 7)), (Some(OK), Some(OK)));
        for (ticket, key) in [(10, "a"), (11, "b"), (12, "c"), (13, "d")] {
            shard.submit(of(ticket, ticket), Mode::Read, &command(&["GET", key]), 1, &mut host);
            assert_eq!(reply(&host, ticket), None, "{key} is held");
        }
        shard.order(coordinator(0, 8), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        let answered = |host: &Host| (10..=13).filter(|ticket| reply(host, *ticket).is_some()).collect::<Vec<_>>();
        assert_eq!(answered(&host), [10, 11, 12]);
        shard.order(coordinator(0, 9), SpanningOrder::Release(3), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((answered(&host).len(), shard.holds_keys()), (4, false));
    });
}

#[test]
fn what_a_script_tries_is_seen_by_itself_and_stays_nowhere() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let moment = Moment { time_ms: 7, string_bytes_max: 5 };
        let writes: [&[&str]; 2] = [&["SET", "k", "abc", "PX", "10"], &["APPEND", "k", "def"]];
        let mut commands = writes.map(command);
        commands.iter_mut().for_each(|bytes| request::set_moment(bytes, moment));
        let reads: [&[&str]; 2] = [&["GET", "k"], &["PEXPIRETIME", "k"]];
        let terms = trial_terms(0, 2, 0);
        let reads = reads.map(command);
        let all = commands.iter().chain(&reads).map(Vec::as_slice);
        shard.order(coordinator(0, 1), SpanningOrder::Read(None, encode_trial(STEP_TRY, terms, all)), &mut host);
        let tried = reply(&host, 1).unwrap();
        assert!(tried.starts_with("*4\r\n:7\r\n:") && tried.ends_with("*2\r\n$3\r\nabc\r\n:17\r\n"), "{tried}");
        assert_eq!(shard.now(&["DBSIZE"], &mut host), ":0\r\n");
        // Who holds nothing tries nothing that is to stay.
        let lost = SpanningOrder::Read(Some(9), encode_trial(STEP_TRY, terms, commands.iter().map(Vec::as_slice)));
        shard.order(coordinator(0, 2), lost, &mut host);
        assert!(reply(&host, 2).unwrap().starts_with("-BUSY"));
        // The same once it is executed, whatever the time of its entry.
        shard.order(coordinator(0, 3), hold(1, &[("k", true)], None), &mut host);
        let write = transaction(None, &commands);
        shard.order(coordinator(0, 4), SpanningOrder::Write(Some(1), write), &mut host);
        apply_all(&mut shard, &mut host).await;
        let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
        assert_eq!(reply(&host, 4).unwrap(), format!("*2\r\n+OK\r\n{error}"));
        shard.order(coordinator(0, 5), SpanningOrder::Release(1), &mut host);
        assert_eq!(shard.now(&["PEXPIRETIME", "k"], &mut host), ":17\r\n");
    });
}

#[test]
fn requests_for_held_keys_wait_until_they_are_let_go_of_in_their_order() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(1, &[("a", true), ("r", false)], None), &mut host);
        assert_eq!(reply(&host, 1), Some(OK), "nothing is before it");
        let requests: [(u32, u32, Mode, &[&str]); 7] = [
            (1, 10, Mode::Write, &["SET", "a", "1"]),
            (1, 11, Mode::Read, &["GET", "free"]),
            (2, 12, Mode::Read, &["GET", "a"]),
            (3, 13, Mode::Read, &["GET", "r"]),
            (4, 14, Mode::Write, &["APPEND", "r", "x"]),
            (5, 15, Mode::Write, &["SET", "free", "1"]),
            (6, 16, Mode::Write, &["FLUSHALL"]),
        ];
        for (client, ticket, mode, words) in requests {
            shard.submit(of(client, ticket), mode, &command(words), 1, &mut host);
        }
        apply_all(&mut shard, &mut host).await;
        let answered = |host: &Host| (10..=16).filter(|ticket| reply(host, *ticket).is_some()).collect::<Vec<_>>();
        assert_eq!(answered(&host), [13, 15], "what is behind one of its connection waits with it");
        shard.order(coordinator(0, 2), SpanningOrder::Write(Some(1), part(&[&["SET", "a", "own"]])), &mut host);
        shard.order(coordinator(0, 3), SpanningOrder::Read(Some(1), part(&[&["GET", "r"]])), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 2), reply(&host, 3)), (Some("*1\r\n+OK\r\n"), Some("*1\r\n$-1\r\n")));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(answered(&host).len(), 7);
        assert_eq!(reply(&host, 12), Some("$3\r\nown\r\n"), "it comes before the write is applied");
        assert!(!shard.holds_keys() && shard.parking.parked.is_empty());
        assert_eq!(shard.parking.waiting, Waiting::default());
    });
}

#[test]
fn keys_are_held_once_all_before_is_applied() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(of(1, 1), Mode::Write, &command(&["SET", "a", "1"]), 1, &mut host);
        shard.order(coordinator(0, 2), hold(1, &[("a", false)], None), &mut host);
        shard.submit(of(2, 3), Mode::Write, &command(&["SET", "a", "2"]), 1, &mut host);
        assert_eq!(reply(&host, 2), None);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2), reply(&host, 3)), (Some(OK), Some(OK), None));
        assert_eq!(shard.now(&["GET", "a"], &mut host), "$1\r\n1\r\n");
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(shard.now(&["GET", "a"], &mut host), "$1\r\n2\r\n");
    });
}

#[test]
fn what_is_watched_is_looked_at_when_it_is_held() {
    for is_changed in [false, true] {
        with_shard(log_options(), |mut shard| async move {
            let mut host = Host::default();
            shard.submit(of(1, 1), Mode::Read, &watch(7, &["w"]), 1, &mut host);
            if is_changed {
                shard.submit(of(2, 2), Mode::Write, &command(&["SET", "w", "1"]), 1, &mut host);
            }
            shard.order(coordinator(0, 3), hold(1, &[("a", true)], Some(7)), &mut host);
            shard.submit(of(2, 4), Mode::Write, &command(&["SET", "w", "2"]), 1, &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, 3), Some(if is_changed { "*-1\r\n" } else { OK }));
            assert_eq!(reply(&host, 4).is_some(), is_changed, "a watched key is held with the others");
            assert!(shard.machine.borrow().store.watched().is_empty(), "the watch is over");
        });
    }
}

#[test]
fn a_transaction_that_watches_waits_while_others_hold_what_it_may_watch() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let reads = [command(&["GET", "free"])];
        for (client, number) in [(1, 7), (2, 8)] {
            shard.submit(of(client, 1), Mode::Read, &watch(number, &["w"]), 1, &mut host);
        }
        shard.order(coordinator(0, 2), hold(1, &[("w", true)], None), &mut host);
        shard.submit(of(1, 3), Mode::Read, &transaction(Some(Guard::of(7)), &reads), 1, &mut host);
        shard.submit(of(2, 4), Mode::Guarded, &transaction(Some(Guard::of(8)), &reads), 1, &mut host);
        shard.submit(of(3, 5), Mode::Read, &transaction(None, &reads), 1, &mut host);
        assert_eq!((reply(&host, 3), reply(&host, 4)), (None, None));
        assert_eq!(reply(&host, 5), Some("*1\r\n$-1\r\n"), "it watches nothing");
        shard.order(coordinator(0, 6), SpanningOrder::Write(Some(1), part(&[&["SET", "w", "1"]])), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 3), reply(&host, 4)), (Some("*-1\r\n"), Some("*-1\r\n")), "it has changed");
    });
}

#[test]
fn a_part_is_kept_unseen_over_a_restart_and_its_keys_with_it_until_it_is_settled() {
    for is_executed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
            let [mut shard] = shards.try_into().ok().expect("one was asked for");
            let mut host = Host::default();
            shard.order(coordinator(0, 1), hold(5, &[("a", true)], None), &mut host);
            shard.order(coordinator(0, 2), prepare(5, &[&["SET", "a", "1"], &["INCR", "a"]]), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, 2), Some(OK));
            assert_eq!(shard.now(&["DBSIZE"], &mut host), ":0\r\n");
            shard.end(false).await;
            let (mut shard, _syncer) = open_again(ShardId(0), &path.join("0"), &server, None).await.unwrap();
            let mut host = Host::default();
            assert_eq!(shard.now(&["DBSIZE"], &mut host), ":0\r\n");
            shard.submit(of(1, 3), Mode::Read, &command(&["GET", "a"]), 1, &mut host);
            shard.submit(of(2, 4), Mode::Write, &command(&["FLUSHALL"]), 1, &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!((reply(&host, 3), reply(&host, 4)), (None, None), "they wait for what is decided");
            assert!(shard.may_settle());
            assert_eq!(shard.next_left(), Some((5, Left::Part(ShardId(3)))));
            assert_eq!(shard.next_left(), None, "somebody settles it");
            shard.order(coordinator(0, 5), SpanningOrder::AskPart(5), &mut host);
            assert_eq!(reply(&host, 5), Some(":1\r\n"));
            shard.order(coordinator(0, 6), step(if is_executed { STEP_COMMIT } else { STEP_ABORT }, 5), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, 6), Some(if is_executed { "*2\r\n+OK\r\n:2\r\n" } else { OK }));
            shard.order(coordinator(0, 7), step(STEP_COMMIT, 5), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, 7), Some("*-1\r\n"), "what is done is not done twice");
            shard.order(coordinator(0, 0), SpanningOrder::Release(5), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, 3), Some(if is_executed { "$1\r\n2\r\n" } else { "$-1\r\n" }));
            assert_eq!(reply(&host, 4), Some(OK));
            assert!(!shard.has_left() && !shard.holds_keys());
        });
    }
}

#[test]
fn a_decision_is_kept_over_a_restart_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    with_shards_in(directory.path(), 1, 1, log_options(), |server, shards| async move {
        let [mut shard] = shards.try_into().ok().expect("one was asked for");
        let mut host = Host::default();
        shard.order(coordinator(0, 1), decide(5, &[ShardId(2)], &[&["SET", "a", "1"]]), &mut host);
        assert!(reply(&host, 1).is_some_and(|reply| reply.starts_with("-BUSY ")), "it holds no keys");
        shard.order(coordinator(0, 2), hold(5, &[("a", true)], None), &mut host);
        shard.order(coordinator(1, 3), SpanningOrder::AskDecision(5), &mut host);
        assert!(reply(&host, 3).is_some_and(|reply| reply.starts_with("-BUSY ")), "it may be decided yet");
        shard.order(coordinator(1, 4), SpanningOrder::AskDecision(6), &mut host);
        assert_eq!(reply(&host, 4), Some(":0\r\n"), "nobody can decide that any more");
        shard.order(coordinator(0, 5), decide(5, &[ShardId(2)], &[&["SET", "a", "1"]]), &mut host);
        shard.order(coordinator(1, 6), SpanningOrder::AskDecision(5), &mut host);
        assert_eq!(reply(&host, 6), None, "it is on its way");
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 5), reply(&host, 6)), (Some("*1\r\n+OK\r\n"), Some(":1\r\n")));
        shard.end(false).await;
        let (mut shard, _syncer) = open_again(ShardId(0), &path.join("0"), &server, None).await.unwrap();
        let mut host = Host::default();
        assert_eq!(shard.now(&["GET", "a"], &mut host), "$1\r\n1\r\n", "a decision holds nothing");
        assert_eq!(shard.next_left(), Some((5, Left::Decision(vec![ShardId(2)]))));
        shard.leave_for_later(5);
        assert!(shard.next_left().is_some());
        shard.order(coordinator(0, 1), step(STEP_FORGET, 5), &mut host);
        shard.order(coordinator(1, 2), SpanningOrder::AskDecision(5), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2)), (Some(OK), Some(":0\r\n")));
    });
}

#[test]
fn whoever_waits_for_a_shard_that_fails_is_told() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        shard.order(coordinator(1, 2), hold(2, &[("a", true)], None), &mut host);
        shard.submit(of(1, 3), Mode::Write, &command(&["SET", "a", "1"]), 1, &mut host);
        shard.close_to_clients();
        shard.order(coordinator(2, 4), hold(3, &[("b", true)], None), &mut host);
        assert!(reply(&host, 4).is_some_and(|reply| reply.starts_with("-CLUSTERDOWN ")));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        assert_eq!((reply(&host, 2), reply(&host, 3)), (Some(OK), None), "it is closed, and lets go all the same");
        shard.order(coordinator(1, 5), hold(4, &[("a", true)], None), &mut host);
        assert!(reply(&host, 5).is_some_and(|reply| reply.starts_with("-CLUSTERDOWN ")), "it takes no new ones");
        let mut now = Instant::now();
        for _ in 0..PATIENCE_S {
            now += limits::LOOKS_APART_MAX;
            shard.give_up_holds(now, Some(Duration::from_secs(1)), 1, &mut host);
        }
        assert!(reply(&host, 3).is_some_and(|reply| reply.starts_with("-BUSY ")), "{:?}", host.replies);
        assert!(shard.parking.parked.is_empty());
    });
}

/// A transaction of the model: the keys it holds or wants, and whether it was told that it has them.
struct Modelled {
    keys: Vec<(usize, bool)>,
    has_them: bool,
}

#[test]
fn random_holds_exclude_each_other_and_all_come_to_their_turn() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    with_shard(log_options(), |mut shard| async move {
        let (mut random, mut host) = (StdRng::seed_from_u64(seed), Host::default());
        let mut transactions: std::collections::BTreeMap<u32, Modelled> = Default::default();
        let (mut next, mut waiting, mut written) = (1, Vec::<(u32, usize)>::new(), [0; KEYS.len()]);
        for round in 0..600 {
            match random.random_range(0..5) {
                0 | 1 if round < 500 => {
                    let mut keys: Vec<(usize, bool)> =
                        (0..KEYS.len()).map(|key| (key, random.random_range(0..2) == 0)).collect();
                    keys.retain(|_| random.random_range(0..2) == 0);
                    let named: Vec<_> = keys.iter().map(|(key, is_exclusive)| (KEYS[*key], *is_exclusive)).collect();
                    shard.order(coordinator(next, next), hold(next.into(), &named, None), &mut host);
                    transactions.insert(next, Modelled { keys, has_them: false });
                    next += 1;
                }
                2 if round < 500 => {
                    let key = random.random_range(0..KEYS.len());
                    shard.submit(of(next, next), Mode::Write, &command(&["INCR", KEYS[key]]), 1, &mut host);
                    waiting.push((next, key));
                    next += 1;
                }
                _ => {
                    let held: Vec<u32> =
                        transactions.iter().filter(|(_, held)| held.has_them).map(|(id, _)| *id).collect();
                    if let Some(id) = held.first().filter(|_| !held.is_empty()) {
                        let id = held.get(random.random_range(0..held.len())).unwrap_or(id);
                        transactions.remove(id);
                        shard.order(coordinator(0, 0), SpanningOrder::Release((*id).into()), &mut host);
                    }
                }
            }
            if random.random_range(0..4) == 0 || round >= 500 {
                apply_all(&mut shard, &mut host).await;
            }
            for (ticket, text) in std::mem::take(&mut host.replies) {
                if let Some(modelled) = transactions.get_mut(&ticket) {
                    assert_eq!((text.as_str(), modelled.has_them), (OK, false));
                    modelled.has_them = true;
                } else {
                    let place = waiting.iter().position(|(of, _)| *of == ticket).expect("it was asked for");
                    written[waiting.remove(place).1] += 1;
                }
            }
            for (key, name) in KEYS.iter().enumerate() {
                let of_key = transactions.values().filter(|held| held.has_them);
                let ways: Vec<bool> =
                    of_key.flat_map(|held| &held.keys).filter(|(of, _)| *of == key).map(|(_, way)| *way).collect();
                assert!(ways.len() < 2 || ways.iter().all(|is_exclusive| !is_exclusive), "{name}: {ways:?}");
            }
        }
        while let Some(id) = transactions.iter().find(|(_, held)| held.has_them).map(|(id, _)| *id) {
            transactions.remove(&id);
            shard.order(coordinator(0, 0), SpanningOrder::Release(id.into()), &mut host);
            apply_all(&mut shard, &mut host).await;
            for (ticket, _) in std::mem::take(&mut host.replies) {
                match transactions.get_mut(&ticket) {
                    Some(modelled) => modelled.has_them = true,
                    None => waiting.retain(|(of, _)| *of != ticket),
                }
            }
        }
        assert!(transactions.is_empty() && waiting.is_empty(), "everybody has come to his turn");
        assert!(!shard.holds_keys() && shard.parking.parked.is_empty());
        assert!(written.iter().sum::<i32>() > 0);
    });
}
