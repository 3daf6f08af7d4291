//! Tests of a core without its loop.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use basalt_net::ring::{Ring, RingOptions};
use basalt_storage::ColdRead;

use super::Groups;
use super::core::Core;
use super::isolation_tests::{Client, key_of, turn, until};
use super::outbox::Warm;
use super::sync_placement::SyncPlacement;
use crate::commands::CommandError;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId, Ticket};
use crate::limits;
use crate::mail::{Message, ReplyBatch, RequestBatch, RequestHead};
use crate::node::Background;
use crate::shard::tests::{command, log_options, open_another, with_server, with_shards};

const SELF: CoreId = CoreId(0);
const OTHER: CoreId = CoreId(1);

/// Requests of another core for the first shard, one ticket after the other from `first` on.
fn batch(requests: &[(Mode, Vec<u8>)], first: u32) -> Message {
    batch_for(ShardId(0), requests, first)
}

fn batch_for(shard: ShardId, requests: &[(Mode, Vec<u8>)], first: u32) -> Message {
    let mut batch = RequestBatch::default();
    for (ticket, (mode, bytes)) in (first..).zip(requests) {
        batch.bytes.extend_from_slice(bytes);
        let end = batch.bytes.len();
        batch.heads.push(RequestHead { ticket: Ticket(ticket), client: 3, shard, mode: *mode, end });
    }
    Message::Batch(batch)
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
        let opened = Groups::new(vec![shard], drop);
        let mut core = Core::new(SELF, server.clone(), ring, opened, readers, SyncPlacement::of(None));
        core.seat_opened();
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
        let opened = Groups::new(vec![shard], drop);
        let mut core = Core::new(SELF, server.clone(), ring, opened, readers, SyncPlacement::of(None));
        core.seat_opened();
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
            let waits = server.mailboxes.has_requests(OTHER, SELF) && core.takes_requests_of(OTHER);
            assert!(!waits || core.has_work(), "a core with mail that it can take must not sleep");
            if let Some(replies) = server.mailboxes.next_replies(SELF, OTHER) {
                assert!(
                    replies.bytes.len() <= limits::OUTBOX_REPLY_BYTES_MAX + VALUE_BYTES + 16,
                    "too much for a turn"
                );
                if tickets.is_empty() {
                    // The write is there. The first batches end just as the outbox is full.
                    for (from, to) in [(0, 11), (11, 22), (22, 61), (61, 100)] {
                        let sent = server.mailboxes.send_request(OTHER, SELF, batch(&reads[from..to], 1 + from as u32));
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
            assert!(core.inbox.half_run[OTHER.index()].is_none() || core.has_work(), "a core with work must not sleep");
            glommio::timer::sleep(Duration::from_micros(50)).await;
        }
        assert_eq!(tickets, (0..=READS).collect::<Vec<_>>());
    });
}

#[test]
fn a_core_whose_group_is_not_ready_says_so_and_answers_what_needs_no_group() {
    with_shards(2, 1, log_options(), |server, mut shards| async move {
        let second = shards.pop().unwrap();
        let (ring, readers) = (Ring::new(&RingOptions::default()).unwrap(), Background::start("test", 1, 8).unwrap());
        let opened = Groups::new(shards, drop);
        let mut core = Core::new(SELF, server.clone(), ring, opened.clone(), readers, SyncPlacement::of(None));
        assert_eq!(core.seat_opened(), 1);
        let (here, to_come) = (key_of(&server, "key", ShardId(0)), key_of(&server, "key", ShardId(1)));
        let mut clients = [Client::connect(&server)];
        clients[0].ask(&["SET", &here, "1"]);
        clients[0].ask(&["SET", &to_come, "1"]);
        for command in [&["GET", &*to_come][..], &["MSET", &here, "2", &to_come, "2"], &["RENAME", &here, &to_come]] {
            clients[0].ask(command);
        }
        // They ask every group.
        for command in [&["DBSIZE"][..], &["FLUSHALL"], &["KEYS", "*"], &["SCAN", "0"], &["RANDOMKEY"]] {
            clients[0].ask(command);
        }
        clients[0].ask(&["PING"]);
        clients[0].ask(&["GET", &here]);
        let refused = format!("-{}\r\n", CommandError::LOADING);
        let replies = format!("+OK\r\n{}+PONG\r\n$1\r\n1\r\n", refused.repeat(9));
        until("refused in order", &mut core, &mut clients, |_, clients| clients[0].has(&replies)).await;
        clients[0].received.clear();
        clients[0].ask(&["INFO", "persistence"]);
        until("INFO says it", &mut core, &mut clients, |_, clients| clients[0].received.ends_with(b"\r\n\r\n")).await;
        assert!(String::from_utf8_lossy(&clients[0].received).contains("loading:1\r\n"));

        opened.add(second);
        assert_eq!(core.seat_opened(), 1);
        clients[0].received.clear();
        clients[0].ask(&["MSET", &here, "2", &to_come, "2"]);
        clients[0].ask(&["DBSIZE"]);
        until("all is there", &mut core, &mut clients, |_, clients| clients[0].has("+OK\r\n:2\r\n")).await;
        assert!(!server.is_loading());
    });
}

#[test]
fn a_group_that_comes_while_the_core_runs_has_its_place_beside_those_of_the_start() {
    const LATE: ShardId = ShardId(5);
    const WRITES: usize = 60;
    with_shards(1, 2, log_options(), |server, shards| async move {
        let directory = tempfile::tempdir().unwrap();
        let (ring, readers) = (Ring::new(&RingOptions::default()).unwrap(), Background::start("test", 1, 8).unwrap());
        let opened = Groups::new(shards, drop);
        let mut core = Core::new(SELF, server.clone(), ring, opened.clone(), readers, SyncPlacement::of(None));
        core.seat_opened();
        assert!(!server.is_loading() && server.shards.get(LATE).is_none());
        let ask = |shard, mode, words: &[&str], count: usize| {
            let requests = vec![(mode, command(words)); count];
            assert!(server.mailboxes.send_request(OTHER, SELF, batch_for(shard, &requests, 0)).is_ok());
        };
        let mut clients = [Client::connect(&server)];
        let replies = async |core: &mut Core, clients: &mut [Client], count| {
            let (mut text, mut have) = (String::new(), 0);
            let deadline = Instant::now() + Duration::from_secs(60);
            while have < count {
                assert!(Instant::now() < deadline, "{have} replies: {text}");
                turn(core, clients).await;
                while let Some(batch) = server.mailboxes.next_replies(SELF, OTHER) {
                    have += batch.heads.len();
                    text.push_str(&String::from_utf8_lossy(&batch.bytes));
                }
            }
            text
        };
        let loading = format!("-{}\r\n", CommandError::LOADING);
        ask(LATE, Mode::Write, &["SET", "key", "1"], 1);
        assert_eq!(replies(&mut core, &mut clients, 1).await, loading, "nobody has it");

        let (late, _syncer) = open_another(LATE, directory.path(), &server).await;
        assert!(server.is_loading() && server.why_away(LATE).is_some() && server.why_away(ShardId(0)).is_none());
        opened.add(late);
        assert_eq!(core.seat_opened(), 1);
        assert!(!server.is_loading() && server.why_away(LATE).is_none());
        ask(LATE, Mode::Write, &["SET", "key", "1"], 1);
        ask(ShardId(0), Mode::Read, &["GET", "key"], 1);
        assert_eq!(replies(&mut core, &mut clients, 2).await.len(), "+OK\r\n$-1\r\n".len());
        // It takes no more for a while: what comes for it waits, in a place of its own.
        core.shards[LATE.index()].as_mut().unwrap().get_stuck();
        let value = "v".repeat(10_000);
        ask(LATE, Mode::Write, &["SET", "key", &value], WRITES);
        ask(ShardId(0), Mode::Write, &["SET", "key", "2"], 1);
        assert_eq!(replies(&mut core, &mut clients, 1).await, "+OK\r\n");
        assert!(!core.inbox.set_aside.is_empty() && !server.shard_takes(LATE, Mode::Write));
        clients[0].ask(&["INFO", "shards"]);
        until("INFO has it", &mut core, &mut clients, |_, clients| {
            let info = String::from_utf8_lossy(&clients[0].received);
            info.contains("shard_0:") && info.contains("shard_5:core=0,state=leader,") && !info.contains("shard_1:")
        })
        .await;
    });
}

#[test]
fn a_core_sleeps_while_more_reads_from_disk_wait_than_may_be_under_way() {
    const WAITING: usize = 40;
    with_server(1, log_options(), |server, shard| async move {
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 2 * limits::COLD_READS_IN_FLIGHT).unwrap();
        let (go, wait_go) = channel::<()>();
        readers.submit(Box::new(move || wait_go.recv().unwrap_or_default())).map_err(drop).unwrap();
        let opened = Groups::new(vec![shard], drop);
        let mut core = Core::new(SELF, server.clone(), ring, opened, readers, SyncPlacement::of(None));
        core.seat_opened();
        for client in 0..(limits::COLD_READS_IN_FLIGHT + WAITING) as u32 {
            let read = ColdRead::Key([client as u8].into());
            core.outbox.warms.push_back(Warm { shard: ShardId(0), client: (SELF, client), read, pins: false });
        }
        assert!(core.has_work());

        core.finish_turn();

        assert_eq!(core.outbox.warms.len(), WAITING);
        assert!(!core.has_work(), "there is nothing that the core could do");
        go.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while core.cold_reads.under_way > 0 || !core.outbox.warms.is_empty() {
            assert!(Instant::now() < deadline, "{} reads are left", core.outbox.warms.len());
            core.take_mail();
            core.finish_turn();
            glommio::timer::sleep(Duration::from_micros(50)).await;
        }
    });
}

/// A core that is behind does not make elements that are there none.
#[test]
fn who_waits_in_two_shards_gets_what_is_there_though_its_time_is_over_when_that_is_known() {
    with_shards(2, 2, log_options(), |server, shards| async move {
        let (here, there) = (key_of(&server, "key", ShardId(0)), key_of(&server, "key", ShardId(1)));
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 8).unwrap();
        let groups = Groups::new(shards, drop);
        let mut core = Core::new(SELF, server.clone(), ring, groups, readers, SyncPlacement::of(None));
        core.seat_opened();
        let mut clients = vec![Client::connect(&server)];
        clients[0].ask(&["BLPOP", &here, &there, "0.001"]);
        until("its time is over", &mut core, &mut clients, |core, _| {
            let mut waits = core.clients.connections.iter().flatten().filter_map(|connection| connection.wait.as_ref());
            waits.any(|wait| wait.ending.is_some() && wait.asked == 1)
        })
        .await;
        let popped = "*2\r\n$1\r\nk\r\n$1\r\nx\r\n";
        for (reply, is_last) in [(":0\r\n", false), (popped, true)] {
            let deadline = Instant::now() + Duration::from_secs(60);
            let batch = loop {
                assert!(
                    Instant::now() < deadline,
                    "the other core is not asked; the client has {:?}",
                    clients[0].received
                );
                if let Some(Message::Batch(batch)) = server.mailboxes.next_request(SELF, OTHER) {
                    break batch;
                }
                turn(&mut core, &mut clients).await;
            };
            let mut replies = ReplyBatch { bytes: reply.into(), ..ReplyBatch::default() };
            replies.heads.push((batch.heads[0].ticket, reply.len()));
            assert_eq!(batch.heads[0].mode == Mode::Write, is_last);
            assert!(server.mailboxes.send_replies(OTHER, SELF, replies).is_ok());
        }
        until("it has the element", &mut core, &mut clients, |_, clients| clients[0].has(popped)).await;
    });
}
