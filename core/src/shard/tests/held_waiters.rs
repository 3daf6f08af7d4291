//! Clients that wait for elements of keys that transactions over several shards hold.

use std::sync::Arc;

use super::held_queue::cannot_be_settled;
use super::holding::{OK, apply_all, coordinator, hold, part, reply};
use super::waiting::{popped, wait, wait_to_move, wait_with};
use super::*;
use crate::entry::spanning::SpanningOrder;
use crate::entry::waiting::{Claim, Claimed};

fn push(key: &str) -> Vec<u8> {
    part(&[&["LPUSH", key, "x"]])
}

#[test]
fn what_a_transaction_has_pushed_goes_to_who_waits_before_the_next_one_holds_its_key() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait(&mut shard, &mut host, 1, &["q"]);
        shard.order(coordinator(0, 2), hold(1, &[("q", true)], None), &mut host);
        for next in 2..=4 {
            shard.order(coordinator(next, 10 + next), hold(next.into(), &[("q", true)], None), &mut host);
        }
        shard.order(coordinator(0, 3), SpanningOrder::Write(Some(1), push("q")), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 12)), (None, None), "the transaction is not over");
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        assert_eq!(shard.batches.open.write_count, 1, "what is taken for it is on its way");
        assert_eq!(reply(&host, 12), None, "the next one is told behind that");
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 12)), (Some(&*popped("q", "x")), Some(OK)));
        for next in 2..=4 {
            shard.order(coordinator(0, 0), SpanningOrder::Release(next), &mut host);
            apply_all(&mut shard, &mut host).await;
        }
        assert_eq!(reply(&host, 14), Some(OK));
        assert!(!shard.holds_keys() && shard.waiting.is_empty());
    });
}

#[test]
fn who_comes_to_wait_at_a_held_key_has_its_turn_when_that_is_let_go_of() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(origin(9), Mode::Write, &command(&["RPUSH", "q", "x"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 2), hold(1, &[("q", true)], None), &mut host);
        shard.order(coordinator(1, 3), hold(2, &[("q", true)], None), &mut host);
        wait(&mut shard, &mut host, 1, &["q"]);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 3)), (None, None));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 3)), (Some(&*popped("q", "x")), Some(OK)));
    });
}

#[test]
fn what_is_to_be_moved_waits_for_who_holds_the_key_that_it_goes_to() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait_to_move(&mut shard, &mut host, 1, "q", "to");
        shard.order(coordinator(0, 2), hold(1, &[("q", true)], None), &mut host);
        shard.order(coordinator(0, 3), hold(2, &[("to", true)], None), &mut host);
        shard.order(coordinator(0, 4), hold(3, &[("q", true)], None), &mut host);
        shard.order(coordinator(0, 5), hold(4, &[("to", true)], None), &mut host);
        shard.order(coordinator(0, 6), SpanningOrder::Write(Some(1), push("q")), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 4)), (None, Some(OK)), "it keeps nobody from where it is not");
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 5)), (None, Some(OK)), "the key itself is held by now");
        for transaction in [3, 4] {
            assert_eq!(reply(&host, 1), None);
            shard.order(coordinator(0, 0), SpanningOrder::Release(transaction), &mut host);
            apply_all(&mut shard, &mut host).await;
        }
        assert_eq!(reply(&host, 1), Some("$1\r\nx\r\n"));
        assert!(!shard.holds_keys() && shard.waiting.is_empty() && shard.holding.waiting == Waiting::default());
    });
}

#[test]
fn one_that_cannot_move_what_it_takes_keeps_nobody_else_from_it() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 3), hold(2, &[("to", true)], None), &mut host);
        wait_to_move(&mut shard, &mut host, 1, "q", "to");
        wait(&mut shard, &mut host, 2, &["q"]);
        shard.order(coordinator(0, 4), hold(1, &[("q", true)], None), &mut host);
        shard.order(coordinator(0, 5), SpanningOrder::Write(Some(1), push("q")), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2)), (None, None));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2)), (None, Some(&*popped("q", "x"))));
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        shard.submit(origin(6), Mode::Write, &command(&["RPUSH", "q", "y"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 1), Some("$1\r\ny\r\n"));
        assert!(!shard.holds_keys() && shard.waiting.is_empty() && shard.holding.waiting == Waiting::default());
    });
}

#[test]
fn who_moves_elsewhere_is_served_when_that_key_is_let_go_of() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        wait_to_move(&mut shard, &mut host, 1, "q", "first");
        wait_to_move(&mut shard, &mut host, 2, "q", "second");
        for (transaction, key) in [(1, "first"), (2, "second")] {
            shard.order(coordinator(0, 3), hold(transaction, &[(key, true)], None), &mut host);
        }
        shard.submit(origin(4), Mode::Write, &command(&["RPUSH", "q", "x", "y"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2)), (None, None));
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 2)), (Some("$1\r\nx\r\n"), None));
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 2), Some("$1\r\ny\r\n"));
        assert!(!shard.holds_keys() && shard.waiting.is_empty() && shard.holding.waiting == Waiting::default());
    });
}

#[test]
fn who_waits_for_what_cannot_be_settled_keeps_no_transaction_from_anything() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("q", true)], None), &mut host);
        shard.order(coordinator(0, 0), hold(2, &[("to", false)], None), &mut host);
        wait_to_move(&mut shard, &mut host, 1, "q", "to");
        shard.order(coordinator(0, 0), SpanningOrder::Write(Some(1), push("q")), &mut host);
        apply_all(&mut shard, &mut host).await;
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        shard.order(coordinator(0, 3), hold(3, &[("q", true)], None), &mut host);
        shard.order(coordinator(0, 4), hold(4, &[("to", false)], None), &mut host);
        assert_eq!((reply(&host, 3), reply(&host, 4)), (Some(OK), None), "it has its turn before this one");
        cannot_be_settled(&mut shard, 2, &mut host);
        assert_eq!(reply(&host, 4), Some(OK), "nobody knows when that is");
        for transaction in 2..=4 {
            assert_eq!(reply(&host, 1), None);
            shard.order(coordinator(0, 0), SpanningOrder::Release(transaction), &mut host);
            apply_all(&mut shard, &mut host).await;
        }
        assert_eq!(reply(&host, 1), Some("$1\r\nx\r\n"));
        assert!(!shard.holds_keys() && shard.waiting.is_empty() && shard.holding.waiting == Waiting::default());
    });
}

#[test]
fn who_waits_no_more_has_no_place_behind_a_holder() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.order(coordinator(0, 0), hold(1, &[("q", true)], None), &mut host);
        let claims = [1, 2].map(|ticket| wait(&mut shard, &mut host, ticket, &["q"]));
        for (ticket, claim) in [1, 2].into_iter().zip(claims) {
            assert!(shard.holding.has_waiting());
            claim.end();
            shard.end_wait(origin(ticket), &mut host);
        }
        assert!(!shard.holding.has_waiting() && shard.holding.waiting == Waiting::default());
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        assert!(!shard.holds_keys());
    });
}

#[test]
fn who_comes_to_wait_at_a_held_key_of_another_type_hears_so_when_that_is_let_go_of() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(origin(9), Mode::Write, &command(&["SET", "text", "x"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        wait(&mut shard, &mut host, 1, &["q"]);
        shard.order(coordinator(0, 2), hold(1, &[("text", true), ("q", true)], None), &mut host);
        wait(&mut shard, &mut host, 3, &["none", "text"]);
        wait_to_move(&mut shard, &mut host, 4, "text", "to");
        wait(&mut shard, &mut host, 5, &["q"]);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 3), reply(&host, 4)), (None, None), "it may become another one");
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        let wrong_type = Some("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
        assert_eq!((reply(&host, 3), reply(&host, 4)), (wrong_type, wrong_type));

        // Who has found nothing waits for what is to come, whatever that is.
        shard.submit(origin(6), Mode::Write, &command(&["SET", "q", "x"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!((reply(&host, 1), reply(&host, 5)), (None, None));
        assert_eq!(shard.waiting.len(), 2);
    });
}

#[test]
fn who_comes_to_wait_hears_of_another_type_also_late_or_from_disk() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let wrong_type = Some("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
        shard.submit(origin(9), Mode::Write, &command(&["SET", "text", "x"]), 1, &mut host);
        apply_all(&mut shard, &mut host).await;
        // Only the destination is held.
        shard.order(coordinator(0, 2), hold(1, &[("to", true)], None), &mut host);
        wait_to_move(&mut shard, &mut host, 4, "text", "to");
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 4), None);
        shard.order(coordinator(0, 0), SpanningOrder::Release(1), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 4), wrong_type);

        // Another shard looks for it at the moment, and finds nothing.
        let claim = Arc::new(Claim::new(2));
        assert_eq!(claim.take(), Claimed::Yes);
        shard.order(coordinator(0, 2), hold(2, &[("text", true)], None), &mut host);
        wait_with(&mut shard, &mut host, 5, (0, &["text"]), &claim);
        shard.order(coordinator(0, 0), SpanningOrder::Release(2), &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 5), None);
        assert!(claim.release() && shard.looks_later());
        shard.tick(Instant::now(), 1, None, &mut host);
        apply_all(&mut shard, &mut host).await;
        assert_eq!(reply(&host, 5), wrong_type);
        assert!(shard.waiting.is_empty() && !shard.holds_keys());

        // Its type is not in memory: its own command finds out.
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["SET", "cold", &value], &["SET", "b", &value], &["SET", "c", &value]]).await;
        shard.order(coordinator(0, 2), hold(3, &[("cold", true)], None), &mut host);
        let before = shard.machine.borrow().store.cold_rows_read();
        wait(&mut shard, &mut host, 6, &["cold"]);
        assert_eq!(reply(&host, 6), None);
        shard.order(coordinator(0, 0), SpanningOrder::Release(3), &mut host);
        let count = host.replies.len();
        run_until_replied(&mut shard, &mut host, count + 1).await;
        assert_eq!(reply(&host, 6), wrong_type);
        assert!(shard.machine.borrow().store.cold_rows_read() > before, "it was on disk");
    });
}
