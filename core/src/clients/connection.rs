//! A client connection on its core: what it has sent and not been answered.
//!
//! Replies leave in the order of the requests, whichever shard answers first: each request that cannot be answered at once
//! has a place, and a place's reply waits until those before it are out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use basalt_net::resp::Decoder;
use basalt_net::ring::ConnId;
use basalt_storage::keyspace::Slot;

use super::input_buffer::InputBuffer;
use super::replica_wait::ReplicaWait;
use super::session::Session;
use super::stalled::WaitsFor;
use super::traffic::HeardIn;
use super::wait::{Wait, WaitStage};
use crate::commands::{Args, Command};
use crate::ids::ShardId;
use crate::limits;
use crate::multi_shard::{Coordinator, Part};

/// A request's place in the order of replies.
enum Place {
    /// Not answered yet.
    Waiting {
        /// The kind of reply that is expected.
        expects: Expects,
        /// True if the client does not want the reply (`CLIENT REPLY OFF`).
        silent: bool,
    },
    /// Answered by many parts.
    Coordinated {
        /// Makes one reply of them.
        coordinator: Box<dyn Coordinator>,
        /// Parts asked for so far.
        part_count: usize,
        /// A part of the reply that is to be sent before the rest, once it is this place's turn.
        piece: Option<Box<Piece>>,
        /// The id of the command the client asked for.
        asked: u16,
        /// The kind of reply that is expected.
        expects: Expects,
        /// See [`Place::Waiting`].
        silent: bool,
    },
    /// Answered; waits for the places before it.
    Ready(Box<[u8]>),
}

/// A piece of a reply.
#[derive(Default)]
pub struct Piece {
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// Parts to ask for then.
    pub parts: Vec<Part>,
}

/// A piece whose turn it is, and what it belongs to.
pub struct DuePiece {
    /// The piece.
    pub piece: Piece,
    /// The place of its request.
    pub place: u64,
    /// Parts asked for before.
    pub first_part: usize,
    /// The id of the command the client asked for.
    pub asked: u16,
    /// True if the client does not want it.
    pub silent: bool,
}

/// The size that is expected of the reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// A few bytes, as most writes have.
    Word,
    /// Values, which may be large: reads, and writes that return what they remove or replace.
    Values,
}

impl Expects {
    /// The expectation for `command`, called with `args`.
    pub fn of(command: &Command, args: Args<'_>) -> Expects {
        if command.returns_values(args) { Expects::Values } else { Expects::Word }
    }
}

/// Number of requests of a connection that may be on their way: few while their replies are large, which nobody knows before they
/// come, and most when they are small.
#[derive(Debug, Clone, Copy)]
struct Window {
    on_their_way: usize,
    size: usize,
}

impl Window {
    fn new(size: usize) -> Window {
        Window { on_their_way: 0, size }
    }

    fn is_full(&self) -> bool {
        self.on_their_way >= self.size
    }

    fn has_room_again(&self) -> bool {
        self.on_their_way <= self.size / 2
    }

    /// Takes note of a reply of `bytes`. The window grows only for a client that would send more if it might (`wanted`): else
    /// small replies would let a burst of large ones through.
    fn answered(&mut self, bytes: usize, wanted: bool) {
        self.on_their_way -= 1;
        if bytes.saturating_mul(self.size) > limits::REPLY_BYTES_EXPECTED {
            self.size = (limits::REPLY_BYTES_EXPECTED / bytes).max(1);
        } else if wanted {
            // By two: a connection goes on when half of its requests are answered, so this doubles the window each time.
            self.size = (self.size + 2).min(limits::REQUESTS_PER_CONNECTION);
        }
    }
}

/// A request to this node's own shards, kept so that it can be passed on if these have ceased to lead.
pub struct Kept {
    /// The place of its reply.
    pub place: u64,
    /// The slot of its keys.
    pub slot: Slot,
    /// True if it may change something.
    pub writes: bool,
    /// The request in RESP; empty if it is too long to be kept.
    pub bytes: Vec<u8>,
}

/// One client connection.
pub struct Connection {
    /// The connection in the core's ring.
    pub ring: ConnId,
    /// State that its commands read and set.
    pub session: Session,
    /// The place that decoding has come to in `input`.
    pub decoder: Decoder,
    /// Bytes received and not decoded yet.
    pub input: InputBuffer,
    /// Requests sent to shards to be run in their place among the writes, and not answered. A later read must not overtake
    /// one of them: neither a write, which it must see, nor a read, which may have seen more than is applied yet.
    pub ordered_unanswered: u32,
    /// The request number that all before must be answered before another is decoded.
    pub barrier: bool,
    /// True if decoding stopped for want of room and is to be taken up again.
    pub stalled: bool,
    /// The shard whose room it waits for, if that is why.
    pub waits_for: Option<WaitsFor>,
    /// Since when the unread output is above the soft limit.
    pub output_over_since: Option<Instant>,
    /// The place of its transaction that waits until fewer published messages are on their way.
    pub waits_to_publish: Option<u64>,
    /// The wait of its client for elements, if that waits. Nothing comes behind it.
    pub wait: Option<Box<Wait>>,
    /// Its wait until replicas have what it has written, if it does. Nothing comes behind it.
    pub replica_wait: Option<Box<ReplicaWait>>,
    /// The shards that it has written to, the first time of each.
    pub written: Vec<ShardId>,
    /// True if it has written to a shard whose lead has gone since, and nothing after it was told so.
    pub has_lost_writes: bool,
    /// True if commands of it were passed on to other nodes.
    pub has_relays: bool,
    /// True if some of them may have changed something there.
    pub has_relayed_writes: bool,
    /// True if another node's reply is kept back until those before it are taken.
    pub has_paused_relays: bool,
    /// True if it waits for elements of keys that another node leads. Nothing comes behind it.
    pub is_relayed_wait: bool,
    /// Bytes of requests that were passed on to other nodes and are not answered.
    pub relayed_bytes: usize,
    /// Requests to this node's own shards that may have to be passed on, in the order of their places.
    pub kept: VecDeque<Kept>,
    /// Number of routings that there were before the one by which its requests on their way were sent, where nodes pass them on.
    pub sent_under: u64,
    /// True if receiving is paused in the ring.
    pub paused: bool,
    /// True if the peer sends no more.
    pub ended: bool,
    /// The window in which it was heard last, for the core's traffic.
    pub heard_in: HeardIn,
    places: VecDeque<Place>,
    first: u64,
    /// Requests of scripts that were sent back, by their places.
    sent_back: BTreeMap<u64, Box<[u8]>>,
    /// The number behind the newest place of a write.
    writes_end: u64,
    ready_bytes: usize,
    values: Window,
    words: Window,
}

impl Connection {
    /// A fresh connection.
    pub fn new(ring: ConnId, session: Session) -> Connection {
        Connection {
            ring,
            session,
            decoder: Decoder::default(),
            input: InputBuffer::default(),
            ordered_unanswered: 0,
            barrier: false,
            stalled: false,
            waits_for: None,
            output_over_since: None,
            waits_to_publish: None,
            wait: None,
            replica_wait: None,
            written: Vec::new(),
            has_lost_writes: false,
            has_relays: false,
            has_relayed_writes: false,
            has_paused_relays: false,
            is_relayed_wait: false,
            relayed_bytes: 0,
            kept: VecDeque::new(),
            sent_under: 0,
            paused: false,
            ended: false,
            heard_in: HeardIn::default(),
            places: VecDeque::new(),
            first: 0,
            sent_back: BTreeMap::new(),
            writes_end: 0,
            ready_bytes: 0,
            values: Window::new(limits::VALUES_ON_THEIR_WAY_AT_FIRST),
            words: Window::new(limits::REQUESTS_PER_CONNECTION),
        }
    }

    /// Returns whether a reply may be written straight to the output: none before it is missing.
    pub fn is_caught_up(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of the next place that is opened.
    pub fn next_place(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Returns whether place `number` waits for its reply.
    pub fn awaits(&self, number: u64) -> bool {
        let place = number.checked_sub(self.first).and_then(|index| self.places.get(index as usize));
        matches!(place, Some(Place::Waiting { .. } | Place::Coordinated { .. }))
    }

    /// Keeps a request until it is answered.
    pub fn keep(&mut self, kept: Kept) {
        self.relayed_bytes += kept.bytes.len();
        let at = self.kept.partition_point(|other| other.place < kept.place);
        self.kept.insert(at, kept);
    }

    /// Takes back what was kept of the request of place `number`.
    pub fn take_kept(&mut self, number: u64) -> Option<Kept> {
        let at = self.kept.binary_search_by_key(&number, |kept| kept.place).ok()?;
        let kept = self.kept.remove(at)?;
        self.relayed_bytes = self.relayed_bytes.saturating_sub(kept.bytes.len());
        Some(kept)
    }

    /// Returns whether place `number` waits for a reply and is the next to be answered, and then whether its client wants that.
    pub fn is_first(&self, number: u64) -> Option<bool> {
        match self.places.front() {
            Some(Place::Waiting { silent, .. }) if number == self.first => Some(!silent),
            _ => None,
        }
    }

    /// Returns whether another request may be sent on its way.
    pub fn may_send(&self) -> bool {
        self.places.len() < limits::REQUESTS_PER_CONNECTION && !self.values.is_full() && !self.words.is_full()
    }

    /// Returns whether so few are on their way that it is worth while to go on after they were too many.
    pub fn may_send_again(&self) -> bool {
        self.places.len() <= limits::REQUESTS_PER_CONNECTION / 2
            && self.values.has_room_again()
            && self.words.has_room_again()
    }

    /// Bytes of replies that wait for those before them.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Bytes of replies that wait for those before them, for their other parts, or for the client to take what it was sent.
    pub fn held_bytes(&self) -> usize {
        let held = |place: &Place| match place {
            Place::Coordinated { coordinator, piece, .. } => {
                coordinator.held_bytes() + piece.as_ref().map_or(0, |piece| piece.bytes.capacity())
            }
            Place::Waiting { .. } | Place::Ready(_) => 0,
        };
        let subscriptions = self.session.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.bytes());
        let waiting = self.wait.as_ref().map_or(0, |wait| wait.bytes())
            + self.replica_wait.as_ref().map_or(0, |wait| wait.bytes());
        subscriptions
            + waiting
            + self.session.transaction_bytes()
            + self.ready_bytes
            + self.relayed_bytes
            + self.sent_back.values().map(|request| request.len()).sum::<usize>()
            + self.places.iter().map(held).sum::<usize>()
    }

    /// Returns whether writes behind place `number` were started, answered or not.
    pub fn has_writes_behind(&self, number: u64) -> bool {
        self.writes_end > number + 1
    }

    /// Takes note that it writes to `shard`: mostly the one that it wrote to before.
    #[inline]
    pub fn note_written(&mut self, shard: ShardId) {
        self.has_lost_writes = false;
        if self.written.last() != Some(&shard) && !self.written.contains(&shard) {
            self.written.push(shard);
        }
    }

    /// Forgets what it has written to: it begins anew.
    pub fn forget_writes(&mut self) {
        self.written.clear();
        self.has_lost_writes = false;
    }

    /// Returns whether its client waits for something that others do.
    pub fn is_waiting(&self) -> bool {
        self.wait.is_some() || self.replica_wait.is_some() || self.is_relayed_wait
    }

    /// Returns whether what the client has not asked for may be written straight to the output: no reply is missing, or the first
    /// that is comes when others do something, which may be never. A reply that is on its way must not be overtaken: it may be
    /// older than what is told, and a part of it may have been written.
    pub fn may_be_told(&self) -> bool {
        let Some(first) = self.places.front() else { return true };
        let is_first = |place: u64| place == self.first;
        let awaits_others = self.wait.as_ref().is_some_and(|wait| {
            let is_open = wait.stage == WaitStage::Waiting && wait.reply.is_none() && !wait.is_moving;
            is_open && is_first(wait.place)
        });
        awaits_others
            || self.replica_wait.as_ref().is_some_and(|wait| is_first(wait.place))
            || (self.is_relayed_wait && matches!(first, Place::Waiting { .. }))
    }

    /// Moves what the client has not asked for from behind its wait to `out`, if it may be told that now. There is nothing else.
    pub fn release_behind_wait(&mut self, out: &mut Vec<u8>) {
        if !self.may_be_told() {
            return;
        }
        while self.places.len() > 1
            && let Some(Place::Ready(_)) = self.places.get(1)
            && let Some(Place::Ready(bytes)) = self.places.remove(1)
        {
            out.extend_from_slice(&bytes);
            self.ready_bytes -= bytes.len();
        }
    }

    /// Takes note that the place opened last is a write's, if it is.
    fn note_write(&mut self, write: bool) {
        if write {
            self.writes_end = self.first + self.places.len() as u64;
        }
    }

    /// Keeps a piece of the reply of place `number` until it may be sent.
    pub fn hold(&mut self, number: u64, held: Piece) {
        if let Some(Place::Coordinated { piece, .. }) = self.places.get_mut((number - self.first) as usize) {
            *piece = Some(Box::new(held));
        }
    }

    /// The piece of a reply whose turn it is; its parts count as asked for.
    pub fn take_piece(&mut self) -> Option<DuePiece> {
        match self.places.front_mut() {
            Some(Place::Coordinated { piece, part_count, asked, silent, .. }) => {
                let piece = *piece.take()?;
                let (first_part, asked, silent) = (*part_count, *asked, *silent);
                *part_count += piece.parts.len();
                Some(DuePiece { piece, place: self.first, first_part, asked, silent })
            }
            _ => None,
        }
    }

    /// Returns whether a piece of a reply waits whose turn it is.
    pub fn has_piece(&self) -> bool {
        matches!(self.places.front(), Some(Place::Coordinated { piece: Some(_), .. }))
    }

    /// Opens a place for a request answered later, and gives its number.
    pub fn open_place(&mut self, expects: Expects, write: bool, silent: bool) -> u64 {
        self.window(expects).on_their_way += 1;
        self.places.push_back(Place::Waiting { expects, silent });
        self.note_write(write);
        self.first + self.places.len() as u64 - 1
    }

    /// Opens a place whose reply to the command with the id `asked` `coordinator` makes of `part_count` parts.
    pub fn open_coordinated(
        &mut self,
        coordinator: Box<dyn Coordinator>,
        part_count: usize,
        asked: u16,
        expects: Expects,
        write: bool,
        silent: bool,
    ) -> u64 {
        self.window(expects).on_their_way += 1;
        self.places.push_back(Place::Coordinated { coordinator, part_count, piece: None, asked, expects, silent });
        self.note_write(write);
        self.first + self.places.len() as u64 - 1
    }

    fn window(&mut self, expects: Expects) -> &mut Window {
        match expects {
            Expects::Word => &mut self.words,
            Expects::Values => &mut self.values,
        }
    }

    /// Adds a reply that is there already, behind those that are missing.
    pub fn push_ready(&mut self, reply: &[u8]) {
        self.ready_bytes += reply.len();
        self.places.push_back(Place::Ready(reply.into()));
    }

    /// Fills place `number` and moves every reply that is due to `out`.
    pub fn fill(&mut self, number: u64, reply: &[u8], out: &mut Vec<u8>) {
        let index = (number - self.first) as usize;
        let (expects, silent) = match &self.places[index] {
            Place::Waiting { expects, silent, .. } | Place::Coordinated { expects, silent, .. } => (*expects, *silent),
            Place::Ready(_) => unreachable!("a request is answered once"),
        };
        let wanted = self.stalled;
        self.window(expects).answered(reply.len(), wanted);
        let reply = if silent { &[] } else { reply };
        if index > 0 {
            self.ready_bytes += reply.len();
            self.places[index] = Place::Ready(reply.into());
            return;
        }
        out.extend_from_slice(reply);
        self.places.pop_front();
        self.first += 1;
        while let Some(Place::Ready(reply)) = self.places.front() {
            out.extend_from_slice(reply);
            self.ready_bytes -= reply.len();
            self.places.pop_front();
            self.first += 1;
        }
        if self.places.is_empty() && self.places.capacity() > limits::PLACES_KEPT {
            self.places = VecDeque::new();
        }
    }

    /// Keeps the request of the script in place `number`, which was sent back, until all before it is answered. Nothing that is
    /// not on its way overtakes it.
    pub fn keep_sent_back(&mut self, number: u64, request: &[u8]) {
        self.barrier = true;
        self.sent_back.insert(number, request.into());
    }

    /// The place and the request of a script that was sent back, if all before it is answered.
    pub fn take_sent_back(&mut self) -> Option<(u64, Box<[u8]>)> {
        let first = self.sent_back.first_entry().filter(|first| *first.key() == self.first)?;
        Some(first.remove_entry())
    }

    /// The coordinator of place `number`, if it has one, and the id of its command.
    pub fn coordinator(&mut self, number: u64) -> Option<(&mut dyn Coordinator, u16)> {
        match self.places.get_mut((number - self.first) as usize) {
            Some(Place::Coordinated { coordinator, asked, .. }) => Some((&mut **coordinator, *asked)),
            _ => None,
        }
    }

    /// Counts `count` more parts of the command in place `number`, and gives the number of the first.
    pub fn count_parts(&mut self, number: u64, count: usize) -> usize {
        match self.places.get_mut((number - self.first) as usize) {
            Some(Place::Coordinated { part_count, .. }) => {
                *part_count += count;
                *part_count - count
            }
            _ => unreachable!("only a command of several parts has parts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;
    use basalt_storage::keyspace::Type;

    use super::*;
    use crate::commands::Merge;
    use crate::entry::waiting::{Pop, Wanted};
    use crate::multi_shard::Gather;

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut connection = Connection::for_tests();
        let (a, b) =
            (connection.open_place(Expects::Values, false, false), connection.open_place(Expects::Word, true, true));
        connection.push_ready(b"c");
        let d = connection.open_place(Expects::Values, false, false);
        let mut out = Vec::new();
        connection.fill(d, b"d", &mut out);
        connection.fill(b, b"b", &mut out);
        assert!(out.is_empty());
        connection.fill(a, b"a", &mut out);
        assert_eq!(out, b"acd", "b was not wanted");
        assert!(connection.is_caught_up());
    }

    /// A wait for entries of a stream, in a place of its own behind all that are open.
    fn open_wait(connection: &mut Connection, stage: WaitStage) -> u64 {
        let place = connection.open_place(Expects::Values, true, false);
        let pop = Pop {
            command: 1,
            call: 1,
            protocol: Protocol::Resp3,
            db: 0,
            kind: Type::Stream,
            has_destination: false,
            is_counted: false,
            before: Vec::new(),
            after: Vec::new(),
        };
        let mut wait = Wait::new(place, pop, &[b"key"], Wanted::Elements, Vec::new());
        wait.stage = stage;
        connection.wait = Some(Box::new(wait));
        place
    }

    #[test]
    fn what_is_told_overtakes_no_reply_but_that_to_a_wait_for_others() {
        let mut connection = Connection::for_tests();
        assert!(connection.may_be_told());
        let read = connection.open_place(Expects::Values, false, false);
        let wait = open_wait(&mut connection, WaitStage::Waiting);
        assert!(!connection.may_be_told(), "an old value may be on its way");
        let mut out = Vec::new();
        connection.fill(read, b"old", &mut out);
        assert!(connection.may_be_told());
        for stage in [WaitStage::Looking, WaitStage::Trying, WaitStage::Reading] {
            connection.wait.as_mut().expect("it waits").stage = stage;
            assert!(!connection.may_be_told(), "{stage:?}: the shards have been asked");
        }
        connection.push_ready(b"told");
        connection.release_behind_wait(&mut out);
        assert_eq!(out, b"old");
        connection.wait.as_mut().expect("it waits").stage = WaitStage::Waiting;
        connection.release_behind_wait(&mut out);
        assert_eq!((&out[..], connection.ready_bytes()), (&b"oldtold"[..], 0), "it may wait for ever");
        connection.fill(wait, b"!", &mut out);
        assert!(out.ends_with(b"!") && connection.is_caught_up());
    }

    #[test]
    fn nothing_is_told_between_the_pieces_of_a_reply() {
        let mut connection = Connection::for_tests();
        let gather = Box::new(Gather::new(Merge::Sum, 2));
        let place = connection.open_coordinated(gather, 2, 7, Expects::Values, false, false);
        open_wait(&mut connection, WaitStage::Waiting);
        connection.hold(place, Piece { bytes: b"*2".to_vec(), parts: Vec::new() });
        connection.take_piece().expect("it is its turn");
        assert!(!connection.may_be_told(), "the rest is to come");
    }

    #[test]
    fn pieces_of_a_reply_leave_in_their_turn_and_count_as_held_until_then() {
        let mut connection = Connection::for_tests();
        let first = connection.open_place(Expects::Word, true, false);
        let gather = Box::new(Gather::new(Merge::Sum, 2));
        let second = connection.open_coordinated(gather, 2, 7, Expects::Values, false, false);
        connection.hold(second, Piece { bytes: vec![b'v'; 1000], parts: Vec::new() });
        assert!(connection.held_bytes() >= 1000 && !connection.has_piece(), "another reply comes first");
        let mut out = Vec::new();
        connection.fill(first, b"a", &mut out);
        assert!(connection.has_piece());
        let due = connection.take_piece().expect("it is its turn");
        assert_eq!((due.place, due.first_part, due.asked, due.piece.bytes.len()), (second, 2, 7, 1000));
        assert!(!connection.has_piece() && connection.held_bytes() < 1000);
        connection.open_place(Expects::Values, false, false);
        assert!(!connection.has_writes_behind(second));
        let write = connection.open_place(Expects::Word, true, false);
        assert!(connection.has_writes_behind(second));
        connection.fill(write, b"OK", &mut out);
        assert!(connection.has_writes_behind(second), "what was written is there, though nobody was told");
    }

    /// Sends as much as may be sent.
    fn send_all(connection: &mut Connection, expects: Expects) -> Vec<u64> {
        let mut places = Vec::new();
        while connection.may_send() {
            places.push(connection.open_place(expects, expects == Expects::Word, false));
        }
        connection.stalled = true;
        places
    }

    #[test]
    fn reads_on_their_way_grow_in_number_while_their_replies_are_small() {
        let (mut connection, mut out, mut rounds) = (Connection::for_tests(), Vec::new(), 0);
        let mut places = send_all(&mut connection, Expects::Values);
        assert_eq!(places.len(), limits::VALUES_ON_THEIR_WAY_AT_FIRST);
        while places.len() < limits::REQUESTS_PER_CONNECTION {
            places.into_iter().for_each(|place| connection.fill(place, b"$1\r\n1\r\n", &mut out));
            places = send_all(&mut connection, Expects::Values);
            rounds += 1;
        }
        assert!(rounds <= 12, "it takes {rounds} rounds");
        connection.stalled = false;
        places.drain(..).for_each(|place| connection.fill(place, &[b'v'; 64 << 10], &mut out));
        let few = limits::REPLY_BYTES_EXPECTED / (64 << 10);
        assert_eq!(send_all(&mut connection, Expects::Values).len(), few, "large replies");
    }

    #[test]
    fn reads_on_their_way_do_not_grow_in_number_for_a_client_that_asks_for_one_at_a_time() {
        let (mut connection, mut out) = (Connection::for_tests(), Vec::new());
        for _ in 0..1000 {
            let place = connection.open_place(Expects::Values, false, false);
            connection.fill(place, b"+OK\r\n", &mut out);
        }
        assert_eq!(send_all(&mut connection, Expects::Values).len(), limits::VALUES_ON_THEIR_WAY_AT_FIRST);
    }

    #[test]
    fn writes_are_few_on_their_way_only_once_their_replies_were_large() {
        let (mut connection, mut out) = (Connection::for_tests(), Vec::new());
        let places = send_all(&mut connection, Expects::Word);
        assert_eq!(places.len(), limits::REQUESTS_PER_CONNECTION);
        // Of a kind that has no values.
        let large = vec![b'v'; 2 * limits::REPLY_BYTES_EXPECTED];
        connection.fill(places[0], &large, &mut out);
        places[1..].iter().for_each(|place| connection.fill(*place, b"+OK\r\n", &mut out));
        assert!(connection.may_send_again());
        let (read, write) =
            (connection.open_place(Expects::Values, false, false), connection.open_place(Expects::Word, true, false));
        assert_eq!(read + 1, write);
        connection.fill(write, &large, &mut out);
        connection.fill(read, &large, &mut out);
        assert_eq!(send_all(&mut connection, Expects::Word).len(), 1);
    }

    impl Connection {
        fn for_tests() -> Connection {
            Connection::new(ConnId::default(), Session::new(1, None, None, Instant::now()))
        }
    }
}
