//! The queue of those who wait for held keys: turns, limits, and what comes of many at once.

use super::holding::{OK, apply_all, coordinator, decide, hold, part, prepare, reply, step};
use super::transactions::{of, watch};
use super::*;
use crate::commands::table::STEP_COMMIT;
use crate::entry::spanning::{HeldKeys, HoldOrder, SpanningOrder};

fn guarded(number: u64) -> Vec<u8> {
    transaction(Some(Guard::of(number)), &[command(&["INCR", "own"])])
}

fn hold_all(transaction: u128) -> SpanningOrder {
    let keys = HeldKeys { whole: Some(true), ..HeldKeys::default() };
    SpanningOrder::Hold(Box::new(HoldOrder { transaction, keys, watch: None }))
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
        shard.give_up_holds(later, Duration::from_secs(60), 1, &mut host);
        assert_eq!(host.replies.len(), 2, "{:?}", host.replies);
        shard.give_up_holds(later, Duration::from_secs(1), 1, &mut host);
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
        shard.order(coordinator(0, 4), SpanningOrder::Read(1, part(&[&["GET", "a"]])), &mut host);
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
