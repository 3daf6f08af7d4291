//! Tests of a core without its loop.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use basalt_net::ring::{Ring, RingOptions};

use super::core::Core;
use super::sync_placement::SyncPlacement;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId, Ticket};
use crate::limits;
use crate::mail::{Request, RequestBatch, RequestHead};
use crate::node::Background;
use crate::shard::tests::{command, log_options, with_server};

const SELF: CoreId = CoreId(0);
const OTHER: CoreId = CoreId(1);

/// Requests of another core, one ticket after the other from `first` on.
fn batch(requests: &[(Mode, Vec<u8>)], first: u32) -> Request {
    let mut batch = RequestBatch::default();
    for (ticket, (mode, bytes)) in (first..).zip(requests) {
        batch.bytes.extend_from_slice(bytes);
        let end = batch.bytes.len();
        batch.heads.push(RequestHead { ticket: Ticket(ticket), client: 3, shard: ShardId(0), mode: *mode, end });
    }
    Request::Batch(batch)
}

#[test]
fn no_more_connections_are_dealt_to_a_core_that_is_behind_than_there_may_be() {
    const CLIENTS_MAX: usize = 5;
    const COUNT: usize = 40;
    with_server(2, log_options(), |server, shard| async move {
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 8).unwrap();
        server.settings.set_parameters(&[("maxclients", &CLIENTS_MAX.to_string())]).unwrap();
        // The other core takes nothing.
        let mut core = Core::new(SELF, server.clone(), ring, vec![shard], readers, SyncPlacement::of(None));
        let mut peers = Vec::new();
        for _ in 0..COUNT {
            let (ours, peer) = UnixStream::pair().unwrap();
            peer.set_nonblocking(true).unwrap();
            core.deal(OwnedFd::from(ours));
            peers.push(peer);
        }
        assert_eq!(server.client_count.load(Ordering::Relaxed), CLIENTS_MAX);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut refused = 0;
        while refused < COUNT - CLIENTS_MAX {
            assert!(Instant::now() < deadline, "{refused} were told that there are too many");
            core.ring.turn(None).unwrap();
            core.take_ring_events();
            core.finish_turn();
            let mut text = String::new();
            for peer in &mut peers {
                text.clear();
                let _ = peer.read_to_string(&mut text);
                refused += usize::from(text.starts_with("-ERR max number of clients reached"));
            }
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(refused, COUNT - CLIENTS_MAX);
    });
}

#[test]
fn requests_of_another_core_whose_replies_are_large_are_run_a_few_at_a_time_and_in_order() {
    const READS: u32 = 100;
    const VALUE_BYTES: usize = 100_000;
    with_server(2, log_options(), |server, shard| async move {
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 8).unwrap();
        let mut core = Core::new(SELF, server.clone(), ring, vec![shard], readers, SyncPlacement::of(None));
        let set = (Mode::Write, command(&["SET", "key", &"v".repeat(VALUE_BYTES)]));
        let get = |number: u32| (Mode::Read, command(&["GETRANGE", "key", &number.to_string(), "-1"]));
        let reads: Vec<_> = (0..READS).map(get).collect();
        let sent = server.mailboxes.send_request(OTHER, SELF, batch(&[set], 0));
        assert!(sent.is_ok());
        let (mut tickets, mut turns, deadline) = (Vec::new(), 0, Instant::now() + Duration::from_secs(20));
        while tickets.len() < 1 + READS as usize {
            assert!(Instant::now() < deadline, "{} replies after {turns} turns", tickets.len());
            core.start_turn();
            core.take_mail();
            core.take_outcomes();
            core.finish_turn();
            turns += 1;
            if let Some(replies) = server.mailboxes.next_replies(SELF, OTHER) {
                assert!(
                    replies.bytes.len() <= limits::OUTBOX_REPLY_BYTES_MAX + VALUE_BYTES + 16,
                    "too much for a turn"
                );
                if tickets.is_empty() {
                    // The write is there; half of the reads in one batch, half in the next.
                    for (part, first) in reads.chunks(50).zip([1, 51]) {
                        let sent = server.mailboxes.send_request(OTHER, SELF, batch(part, first));
                        assert!(sent.is_ok());
                    }
                }
                let mut start = 0;
                for (ticket, end) in replies.heads {
                    let length = VALUE_BYTES + 1 - ticket.0 as usize;
                    let expected = if ticket.0 == 0 { "+OK".to_owned() } else { format!("${length}\r\nv") };
                    assert!(replies.bytes[start..end].starts_with(expected.as_bytes()), "ticket {ticket:?}");
                    start = end;
                    tickets.push(ticket.0);
                }
            }
            assert!(core.half_run[OTHER.index()].is_none() || core.has_work(), "a core with work must not sleep");
            glommio::timer::sleep(Duration::from_micros(50)).await;
        }
        assert_eq!(tickets, (0..=READS).collect::<Vec<_>>());
    });
}
