//! Shards that take no more, on a core with others and with clients: who is held up, and who is not.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use basalt_net::ring::{Ring, RingOptions};

use super::Groups;
use super::core::Core;
use super::sync_placement::SyncPlacement;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId, Ticket};
use crate::mail::{Message, RequestBatch, RequestHead, Takes};
use crate::node::{Background, Server};
use crate::shard::Shard;
use crate::shard::tests::{command, log_options, with_shards};

const SELF: CoreId = CoreId(0);
const OTHER: CoreId = CoreId(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn start(server: &Arc<Server>, shards: Vec<Shard>) -> Core {
    let ring = Ring::new(&RingOptions::default()).unwrap();
    let readers = Background::start("test", 1, 8).unwrap();
    let opened = Groups::new(shards, drop);
    let mut core = Core::new(SELF, server.clone(), ring, opened, readers, SyncPlacement::of(None));
    core.seat_opened();
    core
}

/// A client of the core, which sends and receives between its turns.
pub(super) struct Client {
    stream: UnixStream,
    unsent: Vec<u8>,
    pub(super) received: Vec<u8>,
}

impl Client {
    pub(super) fn connect(server: &Server) -> Client {
        let (stream, other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        assert!(server.mailboxes.send_request(SELF, SELF, Message::Connection(other.into())).is_ok());
        Client { stream, unsent: Vec::new(), received: Vec::new() }
    }

    pub(super) fn ask(&mut self, words: &[&str]) {
        write!(self.unsent, "*{}\r\n", words.len()).unwrap();
        words.iter().for_each(|word| write!(self.unsent, "${}\r\n{word}\r\n", word.len()).unwrap());
    }

    pub(super) fn has(&self, replies: &str) -> bool {
        self.received == replies.as_bytes()
    }

    fn move_on(&mut self) {
        match self.stream.write(&self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let mut bytes = vec![0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// One turn of the core, as `core_loop` drives it.
pub(super) async fn turn(core: &mut Core, clients: &mut [Client]) {
    clients.iter_mut().for_each(Client::move_on);
    core.ring.turn(None).unwrap();
    core.start_turn();
    core.take_ring_events();
    core.hand_over_requests();
    core.take_mail();
    core.take_outcomes();
    core.resume_stalled();
    core.tick();
    core.finish_turn();
    glommio::timer::sleep(Duration::from_micros(50)).await;
}

/// Turns until `is_so`.
pub(super) async fn until(
    what: &str,
    core: &mut Core,
    clients: &mut [Client],
    is_so: impl Fn(&Core, &[Client]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(core, clients) {
        let received: Vec<_> = clients.iter().map(|client| client.received.len()).collect();
        assert!(Instant::now() < deadline, "not so: {what}; the clients have received {received:?} bytes");
        turn(core, clients).await;
    }
}

/// The name of a key of `shard`, which begins with `name`.
pub(super) fn key_of(server: &Server, name: &str, shard: ShardId) -> String {
    let mut names = (0..).map(|number| format!("{name}:{number}"));
    let routing = server.routes.now();
    names.find(|name| routing.router.shard_of(name.as_bytes()) == shard).unwrap()
}

fn get_free(core: &mut Core, shard: ShardId) {
    core.shards[shard.index()].as_mut().unwrap().get_free(&mut core.outbox);
}

#[test]
fn a_shard_that_takes_no_more_holds_up_nobody_who_does_not_need_it() {
    const WRITES: usize = 40;
    const FREE: ShardId = ShardId(0);
    const STUCK: ShardId = ShardId(1);
    const WRITER: usize = 0;
    const SPLITTER: usize = 1;
    const USER: usize = 2;
    with_shards(2, 1, log_options(), |server, shards| async move {
        let (free, stuck, value) = (key_of(&server, "key", FREE), key_of(&server, "key", STUCK), "v".repeat(10_000));
        let written = key_of(&server, "written", STUCK);
        let mut core = start(&server, shards);
        core.shards[STUCK.index()].as_mut().unwrap().get_stuck();
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        // More than a batch holds, and a read that must see the last of them.
        (0..WRITES).for_each(|_| clients[WRITER].ask(&["SET", &written, &value]));
        clients[WRITER].ask(&["STRLEN", &written]);
        until("the shard is full", &mut core, &mut clients, |core, _| {
            !core.shard_has_room(STUCK, Mode::Write) && core.clients.stalled.has_waiting()
        })
        .await;

        clients[USER].ask(&["PING"]);
        clients[USER].ask(&["GET", &free]);
        clients[USER].ask(&["SET", &free, "1"]);
        let mut expected = "+PONG\r\n$-1\r\n+OK\r\n".to_owned();
        until("others are answered", &mut core, &mut clients, |_, clients| clients[USER].has(&expected)).await;
        clients[SPLITTER].ask(&["MSET", &free, "2", &stuck, "2"]);
        until("both wait", &mut core, &mut clients, |core, _| {
            core.clients.stalled.waiting().any(|waiting| waiting == (STUCK, Mode::Write, 2))
        })
        .await;
        clients[USER].ask(&["GET", &stuck]);
        clients[USER].ask(&["MGET", &free, &stuck]);
        clients[USER].ask(&["DBSIZE"]);
        expected.push_str("$-1\r\n*2\r\n$1\r\n1\r\n$-1\r\n:1\r\n");
        until("reads of it go on", &mut core, &mut clients, |_, clients| clients[USER].has(&expected)).await;
        // This one becomes a plain read when the write before it is answered.
        clients[USER].ask(&["SET", &free, "1"]);
        clients[USER].ask(&["GET", &stuck]);
        expected.push_str("+OK\r\n$-1\r\n");
        until("so does one behind a write", &mut core, &mut clients, |_, clients| clients[USER].has(&expected)).await;
        clients[USER].ask(&["INFO", "server"]);
        until("INFO is answered", &mut core, &mut clients, |_, clients| {
            clients[USER].received.windows(8).any(|part| part == b"# Server")
        })
        .await;
        assert!(clients[WRITER].received.is_empty() && clients[SPLITTER].received.is_empty());
        until("the core may sleep", &mut core, &mut clients, |core, _| !core.has_work()).await;

        get_free(&mut core, STUCK);
        let expected = "+OK\r\n".repeat(WRITES) + ":10000\r\n";
        let deadline = Instant::now() + PATIENCE;
        while !(clients[WRITER].has(&expected) && clients[SPLITTER].has("+OK\r\n")) {
            assert!(Instant::now() < deadline, "{}", clients[WRITER].received.escape_ascii());
            let may_go_on = core.clients.stalled.has_waiting() && core.shard_has_room(STUCK, Mode::Write);
            assert!(!may_go_on || core.has_work(), "a core with work must not sleep");
            turn(&mut core, &mut clients).await;
        }
        assert!(core.clients.stalled.is_empty());
        clients[USER].received.clear();
        clients[USER].ask(&["MGET", &free, &stuck]);
        let expected = "*2\r\n$1\r\n2\r\n$1\r\n2\r\n";
        until("it was written whole", &mut core, &mut clients, |_, clients| clients[USER].has(expected)).await;
    });
}

/// A batch of requests of the other core's connections, one ticket after the other from `first` on.
fn batch(requests: &[(ShardId, Mode, Vec<u8>)], first: usize) -> Message {
    let mut batch = RequestBatch::default();
    for (ticket, (shard, mode, bytes)) in (first as u32..).zip(requests) {
        batch.bytes.extend_from_slice(bytes);
        let end = batch.bytes.len();
        // Nobody sends a plain read behind a write of its own.
        let client = if *mode == Mode::Read { 4 } else { 3 };
        batch.heads.push(RequestHead { ticket: Ticket(ticket), client, shard: *shard, mode: *mode, end });
    }
    Message::Batch(batch)
}

#[test]
fn other_cores_are_told_to_send_no_more_for_a_shard_that_has_much_set_aside() {
    const WRITES: usize = 600;
    const FREE: ShardId = ShardId(0);
    const STUCK: ShardId = ShardId(2);
    with_shards(3, 2, log_options(), |server, shards| async move {
        let mut core = start(&server, shards);
        core.shards[STUCK.index()].as_mut().unwrap().get_stuck();
        let (free, stuck, value) = (key_of(&server, "key", FREE), key_of(&server, "key", STUCK), "v".repeat(1000));
        let mut requests: Vec<_> =
            (0..WRITES).map(|_| (STUCK, Mode::Write, command(&["APPEND", &stuck, &value]))).collect();
        requests.push((FREE, Mode::Write, command(&["APPEND", &free, "v"])));
        requests.push((STUCK, Mode::Read, command(&["STRLEN", &stuck])));
        for (number, part) in requests.chunks(100).enumerate() {
            assert!(server.mailboxes.send_request(OTHER, SELF, batch(part, 100 * number)).is_ok());
        }
        let mut replies = HashMap::new();
        let mut order = Vec::new();
        let take_replies = |replies: &mut HashMap<usize, String>, order: &mut Vec<usize>| {
            while let Some(batch) = server.mailboxes.next_replies(SELF, OTHER) {
                let mut start = 0;
                for (ticket, end) in batch.heads {
                    let text = String::from_utf8_lossy(&batch.bytes[start..end]).into_owned();
                    start = end;
                    order.push(ticket.0 as usize);
                    replies.insert(ticket.0 as usize, text);
                }
            }
        };

        let deadline = Instant::now() + PATIENCE;
        while replies.len() < 2 {
            assert!(Instant::now() < deadline, "{replies:?}, set aside: {}", !core.inbox.set_aside.is_empty());
            turn(&mut core, &mut []).await;
            take_replies(&mut replies, &mut order);
        }
        let expected = [(WRITES, ":1\r\n".to_owned()), (WRITES + 1, ":0\r\n".to_owned())];
        assert_eq!(replies, HashMap::from(expected));
        let told = [Mode::Write, Mode::ReadInOrder, Mode::Read].map(|mode| server.shard_takes(STUCK, mode));
        assert_eq!((told, server.some_shard_is_full()), ([false, false, true], true));
        assert!(server.shard_takes(FREE, Mode::Write));
        until("the core may sleep", &mut core, &mut [], |core, _| !core.has_work()).await;

        server.mailboxes.bell(OTHER).answer();
        get_free(&mut core, STUCK);
        while replies.len() < WRITES + 2 {
            assert!(Instant::now() < deadline + PATIENCE, "{} replies", replies.len());
            let may_go_on = !core.inbox.set_aside.is_empty() && core.shard_has_room(STUCK, Mode::Write);
            assert!(!may_go_on || core.has_work(), "a core with work must not sleep");
            turn(&mut core, &mut []).await;
            take_replies(&mut replies, &mut order);
        }
        assert_eq!(order[2..], (0..WRITES).collect::<Vec<_>>());
        assert!((0..WRITES).all(|number| replies[&number] == format!(":{}\r\n", 1000 * (number + 1))));
        assert!(server.shard_takes(STUCK, Mode::Write) && !server.some_shard_is_full());
        assert!(server.mailboxes.bell(OTHER).answer(), "who waits for it is told");
    });
}

#[test]
fn a_core_sends_nothing_that_the_shard_of_another_core_does_not_take_and_goes_on() {
    const THERE: ShardId = ShardId(1);
    const WRITER: usize = 0;
    const LEAVER: usize = 1;
    const USER: usize = 2;
    with_shards(2, 2, log_options(), |server, shards| async move {
        let (here, there) = (key_of(&server, "key", ShardId(0)), key_of(&server, "key", THERE));
        let mut core = start(&server, shards);
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        server.set_shard_takes(THERE, Takes::Reads);
        clients[WRITER].ask(&["SET", &there, "1"]);
        clients[LEAVER].ask(&["MSET", &here, "2", &there, "2"]);
        until("both wait", &mut core, &mut clients, |core, _| {
            core.clients.stalled.waiting().any(|waiting| waiting == (THERE, Mode::Write, 2))
        })
        .await;
        clients[USER].ask(&["SET", &here, "1"]);
        clients[USER].ask(&["GET", &here]);
        until("others are answered", &mut core, &mut clients, |_, clients| clients[USER].has("+OK\r\n$1\r\n1\r\n"))
            .await;
        assert!(server.mailboxes.next_request(SELF, OTHER).is_none() && !core.has_work());

        let sent = |server: &Server| -> Vec<Mode> {
            let left = std::iter::from_fn(|| server.mailboxes.next_request(SELF, OTHER));
            left.flat_map(|request| match request {
                Message::Batch(batch) => batch.heads.iter().map(|head| head.mode).collect(),
                _ => Vec::new(),
            })
            .collect()
        };
        clients[USER].ask(&["GET", &there]);
        until("the read is sent", &mut core, &mut clients, |core, _| core.pending.len() == 1).await;
        assert_eq!(sent(&server), [Mode::Read]);
        // The connections come in the order of their sockets.
        let leaver = core.clients.connections[LEAVER].as_ref().unwrap().ring;
        core.close(leaver, false);
        assert_eq!(core.clients.stalled.waiting().collect::<Vec<_>>(), [(THERE, Mode::Write, 1)]);

        server.set_shard_takes(THERE, Takes::All);
        assert!(core.has_work(), "a core with work must not sleep");
        until("the write is sent", &mut core, &mut clients, |core, _| core.pending.len() == 2).await;
        assert_eq!(sent(&server), [Mode::Write]);
        assert!(core.clients.stalled.is_empty() && clients[WRITER].received.is_empty());
    });
}

#[test]
fn a_shard_that_is_to_leave_while_it_is_opened_leaves_once_it_is_there() {
    with_shards(2, 1, log_options(), |server, mut shards| async move {
        let left = Rc::new(Cell::new(0));
        let counting = left.clone();
        let groups = Groups::new(Vec::new(), move |_| counting.set(counting.get() + 1));
        let ring = Ring::new(&RingOptions::default()).unwrap();
        let readers = Background::start("test", 1, 8).unwrap();
        let mut core = Core::new(SELF, server.clone(), ring, groups.clone(), readers, SyncPlacement::of(None));
        let (second, first) = (shards.pop().unwrap(), shards.pop().unwrap());
        // The mark of another shard that had the number before is none of this one.
        groups.leave(first.id());
        groups.come(first.id());
        groups.add(first);
        core.seat_opened();
        groups.come(second.id());
        groups.leave(second.id());
        turn(&mut core, &mut []).await;
        groups.add(second);
        core.seat_opened();
        until("it has left", &mut core, &mut [], |core, _| left.get() == 1 && core.shards[1].is_none()).await;
        assert!(core.shards[0].is_some());
    });
}
