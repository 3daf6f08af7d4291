//! The queue of those who wait for held keys: turns, limits, and what comes of many at once.

use super::holding::{OK, apply_all, coordinator, decide, hold, part, prepare, reply, step};
use super::transactions::{of, watch};
use super::*;
use crate::commands::scripts::{Reach, Terms};
use crate::commands::table::{STEP_COMMIT, STEP_SCRIPT, STEP_SCRIPT_RO};
use crate::entry::spanning::{HeldKeys, HoldOrder, Left, SpanningOrder};

fn guarded(number: u64) -> Vec<u8> {
    transaction(Some(Guard::of(number)), &[command(&["INCR", "own"])])
}

fn hold_all(transaction: u128) -> SpanningOrder {
    let keys = HeldKeys { whole: Some(true), ..HeldKeys::default() };
    let (watch, keeps_time, deaf_client) = (None, false, None);
    SpanningOrder::Hold(Box::new(HoldOrder { transaction, keys, watch, keeps_time, deaf_client, is_more: false }))
}

#[test]
fn a_transaction_waits_for_holders_of_what_it_watches_and_of_nothing_else() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(of(1, 1), Mode::Read, &watch(7, &["w"]), 1, &mut host);
        shard.submit(of(2, 1), Mode::Read, &watch(8, &["held"]), 1, &mut host);
        shard.order(coordinator(0, 2), hold(1, &[("held", true), ("read", false)], None), &mut host);
        shard.submit(of(1, 3), Mode::Guarded, &guarded(7), 1, &mut host);
        shard.submit(of(2, 4), Mode::Guarded, &guarded(8), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 3), reply(&host, 4)), (Some("*1\r\n:1\r\n"), None));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 4), Some("*1\r\n:2\r\n"), "nothing has changed what it watches");
    });
}

#[test]
fn steps_of_others_on_their_way_are_no_change_of_what_is_watched() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        shard.order(coordinator(1, 2), hold(2, &[("b", true)], None), &mut host);
        shard.order(coordinator(1, 3), prepare(2, &[&["SET", "b", "1"]]), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.submit(of(1, 4), Mode::Read, &watch(7, &["w"]), 1, &mut host);
        shard.submit(of(2, 5), Mode::Read, &watch(8, &["b"]), 1, &mut host);
        shard.order(coordinator(0, 6), decide(1, &[ShardId(2)], &[&["SET", "a", "1"]]), &mut host);
        shard.order(coordinator(1, 7), step(STEP_COMMIT, 2), &mut host);
        shard.submit(of(1, 8), Mode::Guarded, &guarded(7), 1, &mut host);
        assert!(shard.guarded.is_empty(), "it joins the same batch");
        // As one would that has joined before the keys were held.
        shard.join_guarded(of(2, 9), &guarded(8), true, 1, &mut host).unwrap();
        assert_eq!(shard.guarded.len(), 1, "it waits for what is about to change its key");
        shard.order(coordinator(1, 0), SpanningOrder::Release(2), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 8), reply(&host, 9)), (Some("*1\r\n:1\r\n"), Some("*-1\r\n")));
    });
}

#[test]
fn holds_that_overlap_starve_nobody() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(1, 1), hold(1, &[("k", false)], None), &mut host);
        shard.submit(of(1, 2), Mode::Write, &command(&["SET", "k", "1"]), 1, &mut host);
        shard.order(coordinator(2, 3), hold(2, &[("k", false)], None), &mut host);
        shard.submit(of(2, 4), Mode::Write, &command(&["FLUSHALL"]), 1, &mut host);
        shard.order(coordinator(3, 5), hold(3, &[("other", true)], None), &mut host);
        shard.order(coordinator(4, 6), hold_all(4), &mut host);
        shard.order(coordinator(5, 7), hold(5, &[("third", false)], None), &mut host);
        shard.submit(of(3, 8), Mode::Read, &command(&["GET", "k"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        let answered = |host: &Host| [2, 3, 4, 5, 6, 7, 8].map(|ticket| reply(host, ticket).is_some());
        let [set, second, flush, third, all, fifth, get] = answered(&host);
        assert_eq!((set, second, flush, third, all, fifth), (false, false, false, false, false, false));
        assert!(get, "a read passes those who wait");
        for (ends, told) in [(1, 2), (2, 4), (3, 5), (4, 6)] {
            shard.order(coordinator(0, 0), SpanningOrder::Release(ends), &mut host);
            apply_all(&mut shard, &mut host).await;
            let count = answered(&host)[..6].iter().take_while(|is_answered| **is_answered).count();
            assert_eq!(count, told, "after {ends}, in their order: {:?}", host.replies);
        }
        shard.order(coordinator(0, 0), SpanningOrder::Release(5), &mut host);
        assert!(!shard.holds_keys() && shard.parking.parked.is_empty());
    });
}

#[test]
fn a_client_goes_on_once_its_own_keys_are_free_whoever_waits_before_it() {
    for first in [["MSET", "k", "1", "other", "1"].as_slice(), &["MGET", "k", "other"]] {
        with_shard(log_options(), |mut shard| async move {
            let mut host = Host::default();
            shard.order(coordinator(0, 0), hold(1, &[("k", true)], None), &mut host);
            shard.order(coordinator(1, 0), hold(2, &[("other", true)], None), &mut host);
            let mode = if first[0] == "MGET" { Mode::Read } else { Mode::Write };
            shard.submit(of(1, 1), mode, &command(first), 1, &mut host);
            shard.submit(of(2, 2), Mode::Read, &command(&["GET", "k"]), 1, &mut host);
            shard.submit(of(3, 3), Mode::Write, &command(&["SET", "k", "2"]), 1, &mut host);
            shard.submit(of(4, 4), Mode::Read, &command(&["GET", "k"]), 1, &mut host);
            shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!([2, 3, 4].map(|ticket| reply(&host, ticket).is_some()), [true; 3], "{:?}", host.replies);
            assert_eq!(reply(&host, 1), None, "its other key is held");
            shard.order(coordinator(1, 0), SpanningOrder::Release(2), &mut host);
            apply_all(&mut shard, &mut host).await;
            assert!(reply(&host, 1).is_some() && !shard.holds_keys());
            assert_eq!(shard.holding.waiting, Waiting::default());
        });
    }
}

#[test]
fn a_client_comes_to_its_turn_though_transactions_pass_its_keys_between_each_other() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 0), hold(2, &[("b", true)], None), &mut host);
        shard.submit(of(1, 9), Mode::Write, &command(&["MSET", "a", "1", "b", "1"]), 1, &mut host);
        for (number, key) in [(3, "a"), (4, "b"), (5, "a"), (6, "b")] {
            shard.order(coordinator(0, number), hold(number.into(), &[(key, true)], None), &mut host);
        }
        // Each of them is let go of while the other one is held.
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        assert_eq!((reply(&host, 3), reply(&host, 9)), (None, None), "who comes later leaves it what it has met");
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 9), reply(&host, 3), reply(&host, 4)), (Some(OK), Some(OK), Some(OK)));
        for transaction in 3..=6 {
            shard.order(coordinator(0, 0), SpanningOrder::Release(transaction), &mut host);
            apply_all(&mut shard, &mut host).await;
        }
        assert!(!shard.holds_keys() && reply(&host, 6) == Some(OK));
    });
}

#[test]
fn a_crowd_behind_a_key_goes_on_in_portions_of_a_turn_and_each_is_looked_at_once() {
    const READERS: usize = limits::WAITING_REQUESTS_MAX;
    const TRANSACTIONS: u32 = 1000;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("hot", true)], None), &mut host);
        shard.order(coordinator(0, 0), hold(2, &[("other", true)], None), &mut host);
        for number in 0..TRANSACTIONS {
            let keys = [("hot", false), ("other", false)];
            shard.order(coordinator(number, 0), hold((1000 + number).into(), &keys, None), &mut host);
        }
        host.replies.clear();
        for number in 0..READERS as u32 {
            let request = if number % 2 == 0 { command(&["GET", "hot"]) } else { command(&["EXISTS", "hot"]) };
            shard.submit(of(number, number), Mode::Read, &request, 1, &mut host);
        }
        assert!(host.replies.is_empty());
        shard.holding.begin_turn();
        let looks = shard.holding.looks();
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        for turn in 1..=READERS / limits::REQUESTS_PER_TURN {
            assert_eq!(host.replies.len(), turn * limits::REQUESTS_PER_TURN, "a turn is short");
            assert!(shard.has_replies() || host.replies.len() == READERS, "the core does not sleep");
            shard.take_outcomes(1, &mut host);
        }
        // All that wait for the key, for each of those who do, would be 134 million.
        let looks = shard.holding.looks() - looks;
        assert!(looks < 3 * READERS + 3 * TRANSACTIONS as usize, "{looks} looks");
        assert!(shard.parking.parked.is_empty() && shard.holding.waiting == Waiting::default());
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        assert_eq!(host.replies.len(), READERS + TRANSACTIONS as usize);
    });
}

#[test]
fn holds_and_releases_look_at_no_others_that_wait_for_a_batch() {
    const COUNT: u32 = 2000;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(of(1, 0), Mode::Write, &command(&["SET", "k", "1"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        let looks = shard.holding.looks();
        for number in 1..=COUNT {
            let key = format!("key{number}");
            shard.order(coordinator(number, number), hold(number.into(), &[(&key, true)], None), &mut host);
        }
        for number in COUNT + 1..=2 * COUNT {
            shard.order(coordinator(0, 0), SpanningOrder::Release(number.into()), &mut host);
        }
        let looks = shard.holding.looks() - looks;
        assert!(looks <= 2 * 2 * COUNT as usize, "{looks} looks");
        assert!(host.replies.is_empty(), "they wait for the batch");
        apply_all(&mut shard, &mut host).await;
        assert_eq!(host.replies.len(), 1 + COUNT as usize);
    });
}

#[test]
fn a_request_of_very_many_keys_waits_for_one_of_them() {
    const KEYS: usize = 50_000;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("hot", true)], None), &mut host);
        let names: Vec<String> = (0..KEYS).map(|number| number.to_string()).collect();
        let words: Vec<&str> = ["DEL", "hot"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let request = command(&words);
        shard.submit(of(1, 1), Mode::Write, &request, 1, &mut host);
        let waiting = shard.holding.waiting;
        assert_eq!(waiting.count, 1);
        assert!((request.len() + 100..request.len() + 2000).contains(&waiting.bytes), "{} bytes", waiting.bytes);
        assert_eq!(shard.holding.key_count(), 1);
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 1), Some(":0\r\n"));
        assert_eq!(shard.holding.waiting, Waiting::default());
    });
}

#[test]
fn a_script_waits_until_nobody_holds_a_key_of_its_shard() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let script = |id: u16| {
            let is_read_only = id == STEP_SCRIPT_RO;
            let terms = Terms {
                is_read_only,
                in_cluster: false,
                reach: Reach::All,
                stops_elsewhere: false,
                is_wide: true,
                work: 1000,
                rights: None,
            }
            .encode();
            let (mut out, words) = (Vec::new(), [&terms[..], b"return redis.call('GET', 'held')", b"1", b"own"]);
            request::encode(&mut out, RequestHeader::new(Protocol::Resp2, 0, id), words.into_iter());
            out
        };
        shard.order(coordinator(0, 0), hold(1, &[("held", true)], None), &mut host);
        shard.submit(of(1, 1), Mode::Write, &script(STEP_SCRIPT), 1, &mut host);
        shard.submit(of(2, 2), Mode::Read, &script(STEP_SCRIPT_RO), 1, &mut host);
        shard.submit(of(3, 3), Mode::Read, &command(&["GET", "own"]), 1, &mut host);
        let args: [&[u8]; 5] = [b"eval_ro", b"", b"return 1", b"1", b"own"];
        assert!(shard.bars_read(STEP_SCRIPT_RO, 0, &args));
        apply_all(&mut shard, &mut host).await;
        assert_eq!([1, 2, 3].map(|ticket| reply(&host, ticket).is_some()), [false, false, true]);
        shard.order(coordinator(0, 0), SpanningOrder::Write(Some(1), part(&[&["SET", "held", "x"]])), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!([1, 2].map(|ticket| reply(&host, ticket)), [Some("$1\r\nx\r\n"); 2], "it names another key");
    });
}

/// Leaves a part of a transaction, and has somebody settle it who hears nothing until nobody knows when that will be.
pub(super) fn cannot_be_settled(shard: &mut Shard, transaction: u128, host: &mut Host) {
    shard.order(coordinator(0, 0), SpanningOrder::Leave(transaction, Left::Part(ShardId(3))), host);
    assert_eq!(shard.next_left().map(|(next, _)| next), Some(transaction));
    let begun = Instant::now();
    for second in 0..=limits::SETTLED_IN_VAIN.as_secs() {
        assert!(!shard.holding.has_stuck(), "it may be settled yet");
        shard.tick(begun + Duration::from_secs(second), 1, None, host);
    }
    assert!(shard.holding.has_stuck());
}

#[test]
fn what_a_transaction_holds_that_cannot_be_settled_is_refused_at_once() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("stuck", true)], None), &mut host);
        shard.submit(of(1, 1), Mode::Write, &command(&["SET", "stuck", "1"]), 1, &mut host);
        shard.order(coordinator(1, 2), hold(2, &[("stuck", true), ("x", true)], None), &mut host);
        shard.submit(of(2, 3), Mode::Read, &command(&["GET", "x"]), 1, &mut host);
        shard.tick(Instant::now(), 1, Some(Duration::from_secs(60)), &mut host);
        assert_eq!(reply(&host, 1), None, "it may be settled yet");
        cannot_be_settled(&mut shard, 1, &mut host);
        shard.submit(of(3, 4), Mode::Read, &command(&["GET", "stuck"]), 1, &mut host);
        shard.order(coordinator(2, 5), hold(3, &[("stuck", false), ("y", true)], None), &mut host);
        shard.submit(of(4, 6), Mode::Write, &command(&["SET", "y", "1"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        for ticket in [1, 2, 4, 5] {
            assert!(reply(&host, ticket).is_some_and(|reply| reply.starts_with("-BUSY ")), "{:?}", host.replies);
        }
        assert_eq!((reply(&host, 3), reply(&host, 6)), (Some("$-1\r\n"), Some(OK)));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        assert!(!shard.holds_keys());
    });
}

#[test]
fn thousands_who_wait_and_have_lost_are_told_one_after_the_other() {
    const WAITERS: u32 = 5000;
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("k", true)], None), &mut host);
        for number in 1..=WAITERS {
            shard.submit(of(number, 0), Mode::Read, &watch(number.into(), &["k"]), 1, &mut host);
            let order = hold(1000 + u128::from(number), &[("k", true)], Some(number.into()));
            shard.order(coordinator(number, number), order, &mut host);
        }
        shard.order(coordinator(0, 0), SpanningOrder::Write(Some(1), part(&[&["SET", "k", "1"]])), &mut host);
        apply_all(&mut shard, &mut host).await;
        host.replies.clear();
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        let expected: Vec<_> = (1..=WAITERS).map(|number| (number, "*-1\r\n".to_owned())).collect();
        assert!(host.replies == expected, "{} replies", host.replies.len());
        assert!(!shard.holds_keys() && !shard.holding.has_waiting());
        assert!(shard.machine.borrow().store.watched().is_empty());
    });
}

#[test]
fn a_request_waits_for_held_keys_for_so_long_and_those_behind_it_go_on() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(of(3, 0), Mode::Read, &watch(7, &["a"]), 1, &mut host);
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        shard.submit(of(1, 2), Mode::Write, &command(&["SET", "a", "1"]), 1, &mut host);
        shard.submit(of(1, 3), Mode::Write, &command(&["SET", "free", "1"]), 1, &mut host);
        shard.submit(of(2, 4), Mode::Read, &command(&["GET", "a"]), 1, &mut host);
        shard.submit(of(3, 5), Mode::Guarded, &guarded(7), 1, &mut host);
        shard.order(coordinator(1, 6), hold(2, &[("a", false)], None), &mut host);
        let later = Instant::now() + Duration::from_secs(2);
        shard.give_up_holds(later, Some(Duration::from_secs(60)), 1, &mut host);
        assert_eq!(host.replies.len(), 2, "{:?}", host.replies);
        shard.give_up_holds(later, Some(Duration::from_secs(1)), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        for ticket in [2, 4, 5, 6] {
            assert!(reply(&host, ticket).is_some_and(|reply| reply.starts_with("-BUSY ")), "{:?}", host.replies);
        }
        assert_eq!(reply(&host, 3), Some(OK), "its key is free");
        assert!(shard.machine.borrow().store.watched().is_empty() && shard.parking.parked.is_empty());
        assert_eq!((shard.holding.waiting, shard.parking.waiting), (Waiting::default(), Waiting::default()));
        assert_eq!(shard.now(&["GET", "a"], &mut host), "nothing", "the key is still held");
    });
}

#[test]
fn a_pipeline_behind_a_held_key_waits_no_longer_than_one_request() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("a", true)], None), &mut host);
        host.replies.clear();
        let send = |shard: &mut Shard, tickets: std::ops::RangeInclusive<u32>, host: &mut Host| {
            for ticket in tickets {
                shard.submit(of(1, ticket), Mode::Read, &command(&["GET", "a"]), 1, host);
            }
        };
        send(&mut shard, 2..=9, &mut host);
        let later = Instant::now() + Duration::from_secs(2);
        shard.give_up_holds(later, Some(Duration::from_secs(1)), 1, &mut host);
        assert_eq!(host.replies.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), (2..=9).collect::<Vec<_>>());
        send(&mut shard, 10..=19, &mut host);
        assert_eq!(host.replies.len(), 8, "others may wait for as long");
        cannot_be_settled(&mut shard, 1, &mut host);
        assert!((10..=19).all(|ticket| reply(&host, ticket).is_some_and(|reply| reply.starts_with("-BUSY "))));
        assert!(shard.parking.parked.is_empty() && !shard.holding.has_waiting());
        assert_eq!((shard.holding.waiting, shard.parking.waiting), (Waiting::default(), Waiting::default()));
    });
}

#[test]
fn requests_behind_held_keys_have_a_bound_of_their_own() {
    for (count, bytes) in [(limits::WAITING_REQUESTS_MAX as u32, 1), (16, 1 << 20)] {
        with_shard(log_options(), |mut shard| async move {
            let (mut host, value) = (Host::default(), "v".repeat(bytes));
            shard.order(coordinator(0, 0), hold(1, &[("hot", true)], None), &mut host);
            host.replies.clear();
            for number in 0..count {
                shard.submit(of(number, number), Mode::Write, &command(&["SET", "hot", &value]), 1, &mut host);
            }
            assert!(host.replies.is_empty(), "{:?}", host.replies);
            assert!([Mode::Read, Mode::Write].into_iter().all(|mode| shard.has_room_for(mode)), "others go on");
            shard.submit(of(count, count), Mode::Write, &command(&["SET", "hot", "1"]), 1, &mut host);
            assert!(reply(&host, count).is_some_and(|reply| reply.starts_with("-BUSY ")));
            // Behind one of its own connection.
            shard.submit(of(0, count + 1), Mode::Read, &command(&["GET", "cold"]), 1, &mut host);
            assert!(reply(&host, count + 1).is_some_and(|reply| reply.starts_with("-BUSY ")));
            shard.submit(of(count, count + 2), Mode::Write, &command(&["SET", "cold", "1"]), 1, &mut host);
            apply_all(&mut shard, &mut host).await;
            assert_eq!(reply(&host, count + 2), Some(OK));
        });
    }
}

#[test]
fn what_follows_from_keys_is_refused_once_they_are_not_held_any_more() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 1), hold(1, &[("a", true)], None), &mut host);
        shard.order(coordinator(0, 2), SpanningOrder::CheckHeld(1), &mut host);
        assert_eq!(reply(&host, 2), Some(OK));
        // As if the shard had been opened again.
        shard.holding = Default::default();
        shard.order(coordinator(0, 3), SpanningOrder::CheckHeld(1), &mut host);
        shard.order(coordinator(0, 4), SpanningOrder::Read(Some(1), part(&[&["GET", "a"]])), &mut host);
        shard.order(coordinator(0, 5), SpanningOrder::Write(Some(1), part(&[&["SET", "a", "1"]])), &mut host);
        shard.order(coordinator(0, 6), prepare(1, &[&["SET", "a", "1"]]), &mut host);
        shard.order(coordinator(0, 7), decide(1, &[ShardId(2)], &[&["SET", "a", "1"]]), &mut host);
        apply_all(&mut shard, &mut host).await;
        for ticket in 3..=7 {
            assert!(reply(&host, ticket).is_some_and(|reply| reply.starts_with("-BUSY ")), "{:?}", host.replies);
        }
        assert_eq!((shard.transaction_rows(), shard.now(&["EXISTS", "a"], &mut host)), ((0, 0), ":0\r\n".into()));
    });
}

#[test]
fn reads_take_the_long_way_only_if_their_own_keys_are_held() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let get = table::lookup(b"get").unwrap().id;
        let bars = |shard: &Shard, key: &[u8]| shard.bars_read(get, 0, &[&b"get"[..], key]);
        shard.order(coordinator(0, 1), hold(1, &[("a", false)], None), &mut host);
        assert!(!bars(&shard, b"a"));
        shard.order(coordinator(0, 2), hold(2, &[("b", true)], None), &mut host);
        assert!(!bars(&shard, b"a") && bars(&shard, b"b"));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        shard.order(coordinator(0, 3), hold_all(3), &mut host);
        assert!(bars(&shard, b"a"));
    });
}
