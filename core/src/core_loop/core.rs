//! One core: its connections, its shards, its outbox, and what happens to each event of a turn.
//!
//! Nothing here waits. [`crate::core_loop`] decides when a turn happens and when the core sleeps.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use basalt_net::resp::{Argv, Decoded, Protocol, Reply, value};
use basalt_net::ring::{CloseReason, ConnId, Event, Ring};
use basalt_net::socket;
use basalt_storage::Warmed as WarmedRows;
use crossbeam_queue::ArrayQueue;
use futures_util::future::join_all;
use smallvec::SmallVec;

use super::outbox::Outbox;
use super::pending::PendingRequests;
use super::set_aside::{Aside, SetAside};
use super::sync_placement::SyncPlacement;
use crate::clients::{ClientFilter, Connection, Session, Stalled, Started, Traffic, Turns};
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin, ShardId};
use crate::limits;
use crate::mail::{Control, ReplyBatch, Request, RequestBatch};
use crate::node::{Background, CoreStats, LiveSettings, RateMeter, Server};
use crate::session_commands::{ClientBuffers, client_line};
use crate::shard::Shard;

/// A connection for whose parked request a reader thread has read rows, and those rows.
type Warmed = (ShardId, (CoreId, u32), WarmedRows);

/// One core of the node.
pub struct Core {
    pub(crate) id: CoreId,
    pub(crate) server: Arc<Server>,
    pub(crate) ring: Ring,
    pub(crate) outbox: Outbox,
    pub(crate) pending: PendingRequests,
    /// By the ring's index of the connection.
    pub(crate) connections: Vec<Option<Box<Connection>>>,
    /// By shard; `None` where another core runs it.
    pub(crate) shards: Vec<Option<Shard>>,
    pub(crate) now_ms: u64,
    pub(crate) now: Instant,
    pub(crate) argv: Argv,
    pub(crate) traffic: Traffic,
    sync_placement: SyncPlacement,
    live: LiveSettings,
    /// Bytes that clients were answered or have sent since it was last looked at what they all hold.
    pub(crate) handed_over_bytes: usize,
    pub(crate) stalled: Stalled,
    /// What other cores want of shards that take no more right now.
    pub(crate) set_aside: SetAside,
    /// Whether that is run before this core's own connections go on when there is room again: they take turns.
    runs_aside_first: bool,
    pub(crate) turns: Turns,
    /// Connections with more unread output than the soft limit allows for long.
    unread: Vec<ConnId>,
    next_core: u16,
    warmed: Arc<ArrayQueue<Warmed>>,
    warming: usize,
    readers: Background,
    /// By the core they came from.
    half_run: Vec<Option<HalfRun>>,
    stopping: Option<Stopping>,
    last_tick: Instant,
    /// Parks in a row that nothing but the clock has ended.
    idle_parks: u32,
    /// Commands, bytes received and bytes sent per second.
    rates: [RateMeter; 3],
}

/// Requests of another core that were run up to `next`, for want of room.
struct HalfRun {
    batch: RequestBatch,
    next: usize,
    /// Where the bytes of `next` begin.
    start: usize,
}

/// Whether what was set aside for `shard` can be run: there is room for it, and for a reply that is made at once.
fn may_run(request: &Aside, shard: &Shard, outbox: &Outbox) -> bool {
    let is_write = request.mode == Mode::Write;
    shard.has_room_for(request.mode) && (is_write || outbox.has_room_for_replies(request.origin.core))
}

/// How far a stop has come.
struct Stopping {
    since: Instant,
    quiet: bool,
}

impl Core {
    /// A core with its ring and shards, to be run by the thread that calls this.
    pub fn new(
        id: CoreId,
        server: Arc<Server>,
        ring: Ring,
        shards: Vec<Shard>,
        readers: Background,
        sync_placement: SyncPlacement,
    ) -> Core {
        let mut by_shard: Vec<Option<Shard>> = server.router.shards().map(|_| None).collect();
        let shard_count = by_shard.len();
        for shard in shards {
            let index = shard.id().index();
            by_shard[index] = Some(shard);
        }
        let (now, now_ms) = (Instant::now(), server.clock.unix_ms());
        let live = LiveSettings::of(&server.settings);
        let half_run = (0..server.mailboxes.core_count()).map(|_| None).collect();
        server.cores[id.index()].thread_id.set(nix::unistd::gettid().as_raw() as u64);
        Core {
            id,
            outbox: Outbox::new(id, server.mailboxes.clone()),
            server,
            ring,
            pending: PendingRequests::default(),
            connections: Vec::new(),
            shards: by_shard,
            now_ms,
            now,
            argv: Argv::new(),
            traffic: Traffic::new(now),
            sync_placement,
            live,
            handed_over_bytes: 0,
            stalled: Stalled::new(shard_count),
            set_aside: SetAside::new(shard_count),
            runs_aside_first: true,
            turns: Turns::default(),
            unread: Vec::new(),
            next_core: 0,
            warmed: Arc::new(ArrayQueue::new(limits::COLD_READS_IN_FLIGHT)),
            warming: 0,
            readers,
            half_run,
            stopping: None,
            last_tick: now,
            idle_parks: 0,
            rates: Default::default(),
        }
    }

    pub(crate) fn stats(&self) -> &CoreStats {
        &self.server.cores[self.id.index()]
    }

    /// Whether a batch of a shard is likely to come out of the log in a moment.
    pub fn commits_soon(&self) -> bool {
        self.shards.iter().flatten().any(|shard| shard.commits_soon(self.now))
    }

    /// For how many clients to wait in the ring, and for how long, if that is worth while.
    pub fn gathers(&self) -> Option<(u32, Duration)> {
        let clients = self.traffic.gathers(self.pending.len())?;
        let shards = || self.shards.iter().flatten();
        if !shards().any(|shard| shard.expects_many_writes(self.now)) {
            return Some((clients, limits::GATHER));
        }
        // Enough for the batch that waits; more would only delay its sync.
        let missing = shards().filter_map(Shard::missing_writes).max();
        let clients = missing.map_or(clients, |missing| clients.min(missing as u32));
        Some((clients, limits::GATHER_WRITES))
    }

    /// Whether a batch of a shard waits for nothing but the clients.
    pub fn waits_for_clients(&self) -> bool {
        self.shards.iter().flatten().any(Shard::waits_for_clients)
    }

    /// Takes connections from `listener`, for all cores.
    pub fn listen(&mut self, listener: TcpListener) {
        self.ring.listen(listener);
    }

    /// Reads the clocks, once a turn.
    pub fn start_turn(&mut self) {
        self.now = Instant::now();
        self.now_ms = self.server.clock.unix_ms();
        self.traffic.turn(self.now);
        self.stats().turns.add(1);
        // Each turn, so that what a client has set is in force when it hears of it, whichever core it then talks to.
        self.live.refresh(&self.server.settings);
    }

    /// Handles everything the ring has collected; returns how many events there were.
    pub fn take_ring_events(&mut self) -> usize {
        let mut count = 0;
        while let Some(event) = self.ring.next_event() {
            count += 1;
            match event {
                Event::Accepted(_, socket) => self.deal(socket),
                Event::AcceptFailed(_, errno) => {
                    let error = std::io::Error::from_raw_os_error(errno);
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                }
                Event::Received(connection, input) => self.received(connection, &input),
                Event::Closed(connection, reason) => self.closed(connection, reason),
                Event::Writable(connection) => self.stalled.push(connection),
                Event::Woken => {}
            }
        }
        count
    }

    /// Takes what other cores and threads have left; returns how much there was.
    pub fn take_mail(&mut self) -> usize {
        let server = self.server.clone();
        let mut count = 0;
        if self.runs_aside_first || !self.stalled.has_waiting() {
            count += self.run_set_aside();
        }
        for from in 0..server.mailboxes.core_count() {
            let from = CoreId(from as u16);
            let mut reply_bytes = 0;
            while reply_bytes < limits::REPLY_BYTES_PER_TURN
                && let Some(replies) = server.mailboxes.next_replies(from, self.id)
            {
                count += 1;
                reply_bytes += replies.bytes.len();
                self.deliver(&replies);
                self.outbox.recycle_replies(replies);
            }
            if let Some(half_run) = self.half_run[from.index()].take() {
                count += self.run_batch(from, half_run);
            }
            // What is not taken now stays in the mailbox: the sender notices when it is full. This core does not sleep before it
            // has looked again, since this turn was no idle one.
            let mut requests = 0;
            while requests < limits::REQUESTS_PER_TURN
                && self.half_run[from.index()].is_none()
                && self.takes_requests_of(from)
                && let Some(request) = server.mailboxes.next_request(from, self.id)
            {
                count += 1;
                match request {
                    Request::Batch(batch) => {
                        requests += batch.heads.len();
                        self.run_batch(from, HalfRun { batch, next: 0, start: 0 });
                    }
                    Request::Connection(socket) => self.adopt(socket),
                    Request::Control(ticket, control) => {
                        let reply = run_control(self, &control);
                        self.outbox.reply_to(from, ticket, &reply);
                    }
                }
            }
        }
        // Their replies are bounded by the turn: what is left is taken in the next one.
        while self.outbox.has_room_for_replies(self.id)
            && let Some((shard, client, rows)) = self.warmed.pop()
        {
            count += 1;
            self.warming -= 1;
            let shard = self.shards[shard.index()].as_mut().expect("a shard stays on its core");
            shard.warmed(client, rows, self.now_ms, &mut self.outbox);
        }
        for shard in self.shards.iter_mut().flatten() {
            shard.group().drain_completions();
        }
        self.tell_what_shards_take();
        count
    }

    /// Whether requests of `from` are taken now: there is room for their replies, and to set them aside if need be.
    fn takes_requests_of(&self, from: CoreId) -> bool {
        !self.set_aside.is_full() && self.outbox.has_room_for_replies(from)
    }

    /// Runs what was set aside for shards that have room again. Returns how many requests were run.
    fn run_set_aside(&mut self) -> usize {
        if self.set_aside.is_empty() {
            return 0;
        }
        let mut count = 0;
        for shard in self.shards.iter_mut().flatten() {
            // The rest has its turn in the next one.
            for _ in 0..limits::REQUESTS_PER_TURN {
                let may_run = |request: &Aside| may_run(request, shard, &self.outbox);
                let Some(request) = self.set_aside.pop_if(shard.id(), may_run) else { break };
                shard.submit(request.origin, request.mode, &request.bytes, self.now_ms, &mut self.outbox);
                count += 1;
            }
        }
        if count > 0 {
            self.runs_aside_first = false;
        }
        count
    }

    /// Whether something that was set aside can be run.
    fn may_run_aside(&self) -> bool {
        let may_run = |shard: &Shard| {
            self.set_aside.front(shard.id()).is_some_and(|request| may_run(request, shard, &self.outbox))
        };
        !self.set_aside.is_empty() && self.shards.iter().flatten().any(may_run)
    }

    /// Tells the other cores which shards they should send no more for, and which they may again.
    fn tell_what_shards_take(&mut self) {
        for (shard, takes) in self.set_aside.changes() {
            self.server.set_shard_takes(shard, takes);
        }
    }

    /// Runs requests of another core's connections. Those that their shards have no room for are set aside; if there is no room for
    /// that, or for replies, the rest of the batch waits. Returns how many were taken.
    fn run_batch(&mut self, from: CoreId, mut run: HalfRun) -> usize {
        let first = run.next;
        while let Some(head) = run.batch.heads.get(run.next) {
            if !self.takes_requests_of(from) {
                let done = run.next - first;
                self.half_run[from.index()] = Some(run);
                return done;
            }
            let bytes = &run.batch.bytes[run.start..head.end];
            (run.start, run.next) = (head.end, run.next + 1);
            let origin = Origin { core: from, client: head.client, ticket: head.ticket };
            let shard = self.shards[head.shard.index()].as_mut().expect("requests are routed to the shard's core");
            if self.set_aside.is_ahead_of(head.shard, head.mode) || !shard.has_room_for(head.mode) {
                self.set_aside.push(head.shard, origin, head.mode, bytes);
            } else {
                shard.submit(origin, head.mode, bytes, self.now_ms, &mut self.outbox);
            }
        }
        self.outbox.recycle_requests(run.batch);
        run.next - first
    }

    /// Takes the outcomes of this core's batches, and gives the replies that are due to its own connections.
    pub fn take_outcomes(&mut self) -> usize {
        let mut count = 0;
        for shard in self.shards.iter_mut().flatten() {
            count += shard.take_outcomes(self.now_ms, &mut self.outbox);
        }
        // Only once a turn: the steps of a long walk take turns with everything else.
        if let Some(replies) = self.outbox.take_local_replies() {
            count += replies.heads.len();
            self.deliver(&replies);
            self.outbox.recycle_local_replies(replies);
        }
        self.give_turns();
        count
    }

    /// Proposes what the turn collected, starts disk reads, hands over what is for others. True if something was sent.
    pub fn finish_turn(&mut self) -> bool {
        let mut proposed_bytes = 0;
        for shard in self.shards.iter_mut().flatten() {
            let bytes_max = self.live.resp_limits.bulk_bytes_max;
            proposed_bytes += shard.propose(self.now, self.now_ms, bytes_max, &mut self.outbox);
        }
        if proposed_bytes > 0 {
            self.sync_placement.place(proposed_bytes);
        }
        self.start_warming();
        self.outbox.flush() > 0
    }

    /// Hands over the requests for other cores, which begin with them while this one runs theirs. True if something was sent.
    pub fn hand_over_requests(&mut self) -> bool {
        self.outbox.flush_requests() > 0
    }

    fn start_warming(&mut self) {
        while self.warming < limits::COLD_READS_IN_FLIGHT
            && let Some(warm) = self.outbox.warms.pop_front()
        {
            let reader =
                self.shards[warm.shard.index()].as_ref().expect("cold reads are of this core's shards").cold_reader();
            let (server, warmed, core) = (self.server.clone(), self.warmed.clone(), self.id);
            let (shard, client) = (warm.shard, warm.client);
            let (read, keeps) = (warm.read.clone(), warm.keeps);
            let job = Box::new(move || {
                let rows = if keeps { reader.keep(&read) } else { reader.warm(&read) };
                let rows = rows.unwrap_or_else(|error| {
                    // The command itself meets the same error and reports it to its client.
                    tracing::warn!(shard = shard.0, %error, "a read from disk failed");
                    WarmedRows::default()
                });
                let pushed = warmed.push((shard, client, rows));
                assert!(pushed.is_ok(), "there are no more cold reads in flight than their queue holds");
                server.mailboxes.bell(core).ring();
            });
            if self.readers.submit(job).is_err() {
                self.outbox.warms.push_front(warm);
                return;
            }
            self.warming += 1;
        }
    }

    /// Gives replies to the connections that wait for them.
    fn deliver(&mut self, replies: &ReplyBatch) {
        let mut start = 0;
        for &(ticket, end) in &replies.heads {
            self.answer(ticket, &replies.bytes[start..end]);
            start = end;
        }
    }

    fn answer(&mut self, ticket: crate::ids::Ticket, reply: &[u8]) {
        let request = self.pending.take(ticket);
        let index = request.connection.index();
        let Some(mut connection) = self.connections.get_mut(index).and_then(Option::take) else { return };
        if connection.ring != request.connection {
            self.connections[index] = Some(connection);
            return;
        }
        connection.ordered_unanswered -= u32::from(request.ordered);
        if connection.coordinator(request.slot).is_some() {
            self.advance(&mut connection, request.slot, request.part as usize, reply);
        } else {
            self.fill(&mut connection, request.slot, reply);
        }
        if connection.has_piece() {
            self.send_pieces(&mut connection);
        }
        let waits_for_client = connection.paused && !self.takes_replies(&connection);
        let may_go_on = connection.stalled && (waits_for_client || self.may_go_on(&mut connection));
        let unread = self.ring.output_bytes(connection.ring) + connection.ready_bytes();
        let is_over = self.live.output_is_newly_over(unread, connection.output_over_since);
        if may_go_on || is_over || (connection.session.closing && connection.is_caught_up()) {
            self.stalled.push(connection.ring);
        }
        self.connections[index] = Some(connection);
    }

    /// Fills a slot. The replies of a connection that takes none any more are dropped, but counted: it is closed once it has
    /// none to come.
    pub(crate) fn fill(&mut self, connection: &mut Connection, slot: u64, reply: &[u8]) {
        self.stats().note_reply(reply);
        self.handed_over_bytes += reply.len();
        let mut nowhere = Vec::new();
        connection.fill(slot, reply, self.ring.output(connection.ring).unwrap_or(&mut nowhere));
    }

    /// Takes up decoding where it was stopped for want of room.
    pub fn resume_stalled(&mut self) -> usize {
        let mut resumed = 0;
        if !self.stalled.is_empty() && !self.outbox.is_backlogged() {
            resumed += self.resume_ready();
            resumed += self.resume_waiting();
        }
        // However full the outbox is: cores whose outboxes wait for each other must not wait with this too.
        if !self.runs_aside_first {
            resumed += self.run_set_aside();
            self.tell_what_shards_take();
        }
        resumed
    }

    /// Goes on with connections that may have room again, or must be looked at for another reason.
    fn resume_ready(&mut self) -> usize {
        let mut resumed = 0;
        for _ in 0..self.stalled.ready_count() {
            let Some(id) = self.stalled.pop() else { break };
            let Some(mut connection) = self.take_connection(id) else { continue };
            resumed += 1;
            let waits = connection.waits_for.is_some();
            connection.stalled = waits;
            self.send_pieces(&mut connection);
            if !waits {
                self.decode_kept(&mut connection);
            }
            self.put_connection(connection);
        }
        resumed
    }

    /// Goes on with connections that wait for shards which have room again.
    fn resume_waiting(&mut self) -> usize {
        let waiting: SmallVec<[_; 8]> = self.stalled.waiting().collect();
        let mut resumed = 0;
        for (shard, mode, count) in waiting {
            // Who finds no room again waits behind the others, and has its next turn in a later one.
            for _ in 0..count {
                if !self.shard_has_room(shard, mode) || self.outbox.is_backlogged() {
                    break;
                }
                let Some(id) = self.stalled.pop_waiting(shard, mode) else { break };
                let Some(mut connection) = self.take_connection(id) else { continue };
                resumed += 1;
                connection.waits_for = None;
                connection.stalled = false;
                self.send_pieces(&mut connection);
                self.decode_kept(&mut connection);
                self.put_connection(connection);
            }
        }
        if resumed > 0 {
            self.runs_aside_first = true;
        }
        resumed
    }

    /// Whether a connection that waits for a shard can go on.
    fn may_resume_waiting(&self) -> bool {
        self.stalled.waiting().any(|(shard, mode, _)| self.shard_has_room(shard, mode))
    }

    /// Whether a request of `mode` may be sent to `shard`, of this core or another.
    pub(crate) fn shard_has_room(&self, shard: ShardId, mode: Mode) -> bool {
        match &self.shards[shard.index()] {
            Some(local) => local.has_room_for(mode),
            None => self.server.shard_takes(shard, mode),
        }
    }

    pub(crate) fn take_connection(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let place = self.connections.get_mut(id.index())?;
        if place.as_ref().is_some_and(|connection| connection.ring == id) { place.take() } else { None }
    }

    /// Puts a connection back after a change, or closes it if that is due.
    pub(crate) fn put_connection(&mut self, mut connection: Box<Connection>) {
        let id = connection.ring;
        if connection.session.closing && connection.is_caught_up() {
            self.forget(connection);
            self.ring.close(id, true);
            return;
        }
        let output = self.ring.output_bytes(id) + connection.ready_bytes();
        let was_over = connection.output_over_since.is_some();
        if self.live.output_is_over(output, &mut connection.output_over_since, self.now) {
            self.connections[id.index()] = Some(connection);
            return self.close_over_limit(id, output);
        }
        if connection.output_over_since.is_some() && !was_over {
            self.unread.push(id);
        }
        let pause = connection.stalled && connection.input.len() >= self.input_bytes_max(&connection);
        if pause != connection.paused {
            connection.paused = pause;
            if pause { self.ring.pause(id) } else { self.ring.resume(id) }
        }
        self.connections[id.index()] = Some(connection);
    }

    /// How much a connection may have sent that is not decoded. Whoever has not read its replies may be about to send all of its
    /// requests first: they are taken, as far as there is memory for them, or neither side would ever go on.
    fn input_bytes_max(&self, connection: &Connection) -> usize {
        if self.takes_replies(connection) {
            return limits::INPUT_BYTES_STALLED;
        }
        let all: u64 = self.server.cores.iter().map(CoreStats::client_bytes).sum();
        let has_memory = all + self.handed_over_bytes as u64 <= self.live.client_bytes_max / 4 * 3;
        if has_memory { self.live.query_bytes_max } else { limits::INPUT_BYTES_STALLED }
    }

    fn forget(&mut self, connection: Box<Connection>) {
        if let Some(waits_for) = connection.waits_for {
            self.stalled.leave(waits_for);
        }
        drop(connection);
        self.server.client_count.fetch_sub(1, Ordering::Relaxed);
        let clients = &self.stats().clients;
        clients.set(clients.get() - 1);
    }

    /// Deals an accepted connection to the next core.
    fn deal(&mut self, socket: OwnedFd) {
        let to = CoreId(self.next_core);
        self.next_core = (self.next_core + 1) % self.server.router.core_count();
        // Here and not where it is adopted: a core that is behind must not be dealt more than there may be.
        let count = self.server.client_count.fetch_add(1, Ordering::Relaxed) + 1;
        if count > self.live.clients_max {
            self.server.client_count.fetch_sub(1, Ordering::Relaxed);
            return self.reject(socket);
        }
        if to == self.id { self.adopt(socket) } else { self.outbox.control(to, Request::Connection(socket)) }
    }

    /// Tells a client that there are as many as there may be, and closes its connection.
    fn reject(&mut self, socket: OwnedFd) {
        self.stats().connections.add(1);
        self.stats().rejected_connections.add(1);
        let id = self.ring.add(socket);
        if let Some(out) = self.ring.output(id) {
            out.extend_from_slice(b"-ERR max number of clients reached\r\n");
        }
        self.ring.close(id, true);
    }

    /// Makes a connection, which was counted when it was dealt, this core's own.
    fn adopt(&mut self, socket: OwnedFd) {
        self.stats().connections.add(1);
        if let Err(error) = socket::configure_client(socket.as_fd(), self.live.keepalive_s) {
            tracing::debug!(%error, "socket options of a connection could not be set");
        }
        let peer = socket::peer_address(socket.as_fd()).ok().flatten();
        let local = socket::local_address(socket.as_fd()).ok().flatten();
        let fd = socket.as_raw_fd();
        let id = self.ring.add(socket);
        let client_id = self.server.next_client_id.fetch_add(1, Ordering::Relaxed);
        let session = Session { fd, ..Session::new(client_id, peer, local, self.now) };
        let connection = Box::new(Connection::new(id, session));
        if self.connections.len() <= id.index() {
            self.connections.resize_with(id.index() + 1, || None);
        }
        self.connections[id.index()] = Some(connection);
        let clients = &self.stats().clients;
        clients.set(clients.get() + 1);
    }

    /// The peer has closed its end.
    fn closed(&mut self, id: ConnId, reason: CloseReason) {
        tracing::trace!(?reason, "connection closed by the peer");
        let Some(mut connection) = self.take_connection(id) else { return self.ring.close(id, false) };
        if reason == CloseReason::Eof {
            // The peer sends no more but may still read: what it has sent is run, and it gets the replies it waits for.
            connection.ended = true;
            connection.session.closing |= !connection.stalled;
            self.put_connection(connection);
        } else {
            self.forget(connection);
            self.ring.close(id, false);
        }
    }

    /// Closes a connection, after what is queued for it if `after_flush`.
    pub(crate) fn close(&mut self, id: ConnId, after_flush: bool) {
        if let Some(connection) = self.take_connection(id) {
            self.forget(connection);
        }
        self.ring.close(id, after_flush);
    }

    /// Decodes what a connection sent.
    fn received(&mut self, id: ConnId, data: &[u8]) {
        self.stats().bytes_in.add(data.len() as u64);
        let Some(mut connection) = self.take_connection(id) else { return };
        connection.session.active = self.now;
        self.traffic.heard(&mut connection.heard_in);
        if connection.session.closing {
            // What comes after QUIT or after bytes that made no sense is not looked at.
            self.connections[id.index()] = Some(connection);
            return;
        }
        if connection.input.is_empty() && !connection.stalled {
            let consumed = self.decode(&mut connection, data);
            connection.input.push(&data[consumed..]);
        } else {
            self.handed_over_bytes += data.len();
            connection.input.push(data);
            if !connection.stalled {
                self.decode_kept(&mut connection);
            }
        }
        self.put_connection(connection);
    }

    /// Decodes from a connection's own input buffer.
    fn decode_kept(&mut self, connection: &mut Connection) {
        let mut input = std::mem::take(&mut connection.input);
        let consumed = self.decode(connection, input.unread());
        input.consume(consumed);
        connection.input = input;
    }

    /// Decodes and starts commands until `input` holds no whole one or there is no room for more; returns how many bytes
    /// were used.
    fn decode(&mut self, connection: &mut Connection, input: &[u8]) -> usize {
        let mut used = 0;
        let mut argv = std::mem::take(&mut self.argv);
        while used < input.len() && !connection.session.closing {
            connection.barrier &= !connection.is_caught_up();
            if !self.may_decode(connection) {
                connection.stalled = true;
                if self.has_room(connection) {
                    // It is not this connection that is full: it goes on when the core has worked something off.
                    self.stalled.push(connection.ring);
                }
                break;
            }
            match connection.decoder.decode(&input[used..], &self.live.resp_limits, &mut argv) {
                Ok(Decoded::Incomplete { missing }) => {
                    let waiting = input.len() - used;
                    if waiting + missing > self.live.query_bytes_max {
                        tracing::warn!(
                            client = connection.session.id,
                            "client closed: its query buffer is over the limit"
                        );
                        connection.session.closing = true;
                        used = input.len();
                    }
                    break;
                }
                Ok(Decoded::Command { consumed }) => {
                    if argv.is_empty() {
                        used += consumed;
                        continue;
                    }
                    match self.command(connection, &argv, &input[used..]) {
                        Started::Yes => used += consumed,
                        // It is decoded again once all before it is answered.
                        Started::WaitsForReplies => connection.barrier = true,
                        // Or once there is room for it.
                        Started::WaitsForShard(shard, mode) => {
                            connection.stalled = true;
                            connection.waits_for = Some(self.stalled.wait(connection.ring, shard, mode));
                            break;
                        }
                    }
                }
                Err(error) => {
                    self.stats().error_replies.count(b"ERR");
                    self.reply_with(connection, |reply| reply.protocol_error(&error));
                    connection.session.closing = true;
                    used = input.len();
                }
            }
        }
        self.argv = argv;
        connection.session.closing |= connection.ended && !connection.stalled;
        used
    }

    /// Whether another command of this connection may be started.
    fn may_decode(&self, connection: &Connection) -> bool {
        self.has_room(connection)
            && self.stopping.is_none()
            && !self.outbox.is_backlogged()
            && !self.has_handed_over_much()
    }

    /// Whether clients were given so much that it must be looked at first what they all hold.
    fn has_handed_over_much(&self) -> bool {
        // However little they may hold, who was given less is not closed for it.
        let much = (self.live.client_bytes_max / limits::CLIENT_LOOKS).max(limits::EVICTED_BYTES_MIN);
        self.handed_over_bytes as u64 >= much
    }

    /// Whether a connection has taken enough of its replies to be sent more.
    pub(crate) fn takes_replies(&self, connection: &Connection) -> bool {
        self.ring.output_bytes(connection.ring) <= limits::OUTPUT_BYTES_STALLED
    }

    /// Whether the connection itself is not full of what it has not been answered or not taken.
    fn has_room(&self, connection: &Connection) -> bool {
        let barred = connection.barrier && !connection.is_caught_up();
        !barred
            && connection.may_send()
            && self.ring.output_bytes(connection.ring) + connection.ready_bytes() <= limits::OUTPUT_BYTES_STALLED
    }

    /// Whether a connection that was stalled should go on now that it has been answered something.
    fn may_go_on(&mut self, connection: &mut Connection) -> bool {
        if let Some(waits_for) = connection.waits_for {
            // The read that waits for a place among the writes of its shard may need none any more.
            if !(waits_for.is_read_in_order() && connection.ordered_unanswered == 0) {
                return false;
            }
            self.stalled.leave(waits_for);
            connection.waits_for = None;
        }
        self.has_room_again(connection)
    }

    /// Whether a connection that was full has so much room again that it is worth while to go on.
    fn has_room_again(&self, connection: &Connection) -> bool {
        self.has_room(connection) && connection.may_send_again()
    }

    /// Whether some shard may have no room for what a command asks of it.
    pub(crate) fn some_shard_is_full(&self) -> bool {
        self.shards.iter().flatten().any(Shard::is_backlogged) || self.server.some_shard_is_full()
    }

    /// Adds a reply that is there at once, in its order.
    pub(crate) fn reply_with(&mut self, connection: &mut Connection, write: impl FnOnce(&mut Reply<'_>)) {
        let protocol = connection.session.protocol;
        if connection.is_caught_up() {
            if let Some(out) = self.ring.output(connection.ring) {
                write(&mut Reply::new(out, protocol));
            }
        } else {
            let mut bytes = Vec::new();
            write(&mut Reply::new(&mut bytes, protocol));
            connection.push_ready(&bytes);
        }
    }

    /// Whether something keeps the core from sleeping.
    pub fn has_work(&self) -> bool {
        let may_resume = || self.stalled.ready_count() > 0 || self.may_resume_waiting();
        !self.outbox.is_empty()
            || (!self.outbox.is_backlogged() && may_resume())
            || self.may_run_on()
            || self.may_run_aside()
            || !self.warmed.is_empty()
            || self.turns.has_next()
            || self.shards.iter().flatten().any(Shard::has_replies)
    }

    /// Whether requests of another core that were run half can go on.
    fn may_run_on(&self) -> bool {
        let cores = (0..self.half_run.len()).map(|core| CoreId(core as u16));
        cores.filter(|core| self.half_run[core.index()].is_some()).any(|core| self.takes_requests_of(core))
    }

    /// Counts a turn that held the core longer than a task may.
    pub fn note_turn_length(&self) {
        let length = self.now.elapsed();
        if length > limits::TURN_MAX {
            let stats = self.stats();
            stats.stalls.add(1);
            stats.stall_us_max.set(stats.stall_us_max.get().max(length.as_micros() as u64));
        }
    }

    /// What is due now and then: expiry, time-outs, figures for `INFO`. Cheap to call every turn.
    pub fn tick(&mut self) {
        if self.has_handed_over_much() {
            self.publish();
            self.evict_clients();
        }
        if self.now.duration_since(self.last_tick) < limits::TICK {
            return;
        }
        self.last_tick = self.now;
        for shard in self.shards.iter_mut().flatten() {
            shard.tick(self.now, self.now_ms, &mut self.outbox);
        }
        self.close_idle();
        self.close_unread();
        self.close_broken();
        self.publish();
        self.evict_clients();
    }

    fn close_idle(&mut self) {
        let Some(timeout) = self.live.idle_max else { return };
        let idle: Vec<ConnId> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| {
                connection.is_caught_up()
                    && connection.waits_for.is_none()
                    && self.now.duration_since(connection.session.active) > timeout
            })
            .map(|connection| connection.ring)
            .collect();
        for id in idle {
            self.close(id, true);
        }
    }

    /// Closes clients that have left too much unread for too long: nothing else may happen to them.
    fn close_unread(&mut self) {
        for id in std::mem::take(&mut self.unread) {
            let Some(connection) = self.take_connection(id) else { continue };
            self.put_connection(connection);
            let put = self.connections[id.index()].as_ref();
            if put.is_some_and(|connection| connection.ring == id && connection.output_over_since.is_some()) {
                self.unread.push(id);
            }
        }
    }

    /// Closes half-closed clients that take no replies any more. The ring has told of their end already and tells nothing twice.
    fn close_broken(&mut self) {
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            let id = connection.ring;
            if connection.ended && self.ring.output(id).is_none() {
                self.close(id, false);
            } else if connection.paused && !self.takes_replies(connection) {
                // There may be memory for more of its requests by now.
                self.stalled.push(id);
            }
        }
    }

    /// Closes this core's largest clients while all clients of the node hold more than they may, and none of another core's is
    /// larger. The others' figures are those of their last tick.
    fn evict_clients(&mut self) {
        let all: u64 = self.server.cores.iter().map(CoreStats::client_bytes).sum();
        let Some(mut excess) = all.checked_sub(self.live.client_bytes_max).filter(|&excess| excess > 0) else {
            return self.stats().largest_client_bytes.set(0);
        };
        let mut clients: Vec<(u64, ConnId, u64)> =
            self.connections.iter().flatten().filter_map(|c| self.evictable(c)).collect();
        clients.sort_unstable_by_key(|&(bytes, ..)| std::cmp::Reverse(bytes));
        let others = self.server.cores.iter().enumerate().filter(|(index, _)| *index != self.id.index());
        let others_largest = others.map(|(_, core)| core.largest_client_bytes.get()).max().unwrap_or(0);
        let largest = &self.stats().largest_client_bytes;
        let is_first_look = largest.get() == 0;
        largest.set(clients.first().map_or(0, |&(bytes, ..)| bytes));
        if is_first_look {
            // The other cores have yet to say what theirs hold.
            return self.server.ring_all();
        }
        for (bytes, id, client) in clients {
            if excess == 0 || bytes < others_largest {
                return;
            }
            tracing::warn!(
                client,
                bytes,
                all,
                most = self.live.client_bytes_max,
                "client closed: all clients together hold more than maxmemory-clients, and this one holds most"
            );
            self.stats().evicted_clients.add(1);
            self.cut_off(
                id,
                "the connection is closed: all clients hold more than maxmemory-clients, and this one held most",
            );
            excess = excess.saturating_sub(bytes);
        }
    }

    /// What a client holds, and who it is, if it may be closed for that and is worth it.
    fn evictable(&self, connection: &Connection) -> Option<(u64, ConnId, u64)> {
        let bytes = (connection.held_bytes() + self.ring.output_capacity(connection.ring)) as u64;
        let bytes = bytes + connection.input.capacity() as u64;
        let may_be = !connection.session.no_evict && bytes >= limits::EVICTED_BYTES_MIN;
        may_be.then_some((bytes, connection.ring, connection.session.id))
    }

    /// Closes a client that holds too much, and tells it why, unless it has got the beginning of a long reply.
    fn cut_off(&mut self, id: ConnId, why: &str) {
        if let Some(connection) = self.take_connection(id) {
            self.forget(connection);
        }
        self.ring.cut(id, format!("-ERR {why}\r\n").as_bytes(), end_of_reply);
    }

    fn close_over_limit(&mut self, id: ConnId, bytes: usize) {
        let client = self.connections[id.index()].as_ref().map(|connection| connection.session.id);
        tracing::warn!(client, bytes, "client closed: its output buffer is over the limit");
        self.stats().output_limit_closed.add(1);
        self.cut_off(id, "the connection is closed: more was left unread than client-output-buffer-limit allows");
    }

    /// Publishes the figures of this core and its shards ahead of the tick.
    pub(crate) fn publish_now(&mut self) {
        self.shards.iter_mut().flatten().for_each(Shard::publish_counts);
        self.publish();
    }

    fn publish(&mut self) {
        self.handed_over_bytes = 0;
        let sum = |bytes: fn(&Connection) -> usize| self.connections.iter().flatten().map(|c| bytes(c)).sum::<usize>();
        let (input_bytes, held_bytes) = (sum(|c| c.input.capacity()), sum(Connection::held_bytes));
        let batches = self.half_run.iter().flatten().map(|run| run.batch.bytes.capacity()).sum::<usize>();
        let (requests, replies) = self.outbox.bytes();
        let (stats, ring) = (&self.server.cores[self.id.index()], self.ring.counters());
        stats.bytes_out.set(ring.bytes_out);
        stats.enters.set(ring.enters);
        stats.receives.set(ring.receives);
        stats.sends.set(ring.sends);
        stats.input_bytes.set(input_bytes as u64);
        stats.held_bytes.set(held_bytes as u64);
        stats.outbox_requests_bytes.set((requests + batches) as u64);
        stats.outbox_replies_bytes.set(replies as u64);
        stats.output_bytes.set(self.ring.memory().outputs as u64);
        let [commands, bytes_in, bytes_out] = &mut self.rates;
        stats.commands_per_s.set(commands.feed(self.now, stats.commands.since_start()));
        stats.bytes_in_per_s.set(bytes_in.feed(self.now, stats.bytes_in.since_start()));
        stats.bytes_out_per_s.set(bytes_out.feed(self.now, stats.bytes_out.since_start()));
    }

    /// Moves a stop on. True once this core may end: every request is answered and no other core needs it.
    pub fn may_stop(&mut self) -> bool {
        if self.stopping.is_none() {
            if !self.server.stop.is_requested() {
                return false;
            }
            self.ring.stop_listening();
            self.stopping = Some(Stopping { since: self.now, quiet: false });
        }
        let idle = self.pending.is_empty() && self.outbox.is_empty() && self.ring.memory().outputs == 0;
        let Some(stopping) = &mut self.stopping else { return false };
        let late = self.now.duration_since(stopping.since) > limits::STOP_DRAIN_MAX;
        if !stopping.quiet && (idle || late) {
            stopping.quiet = true;
            self.server.stop.core_is_quiet();
            self.server.ring_all();
        }
        let quiet = self.server.stop.all_quiet(self.server.mailboxes.core_count());
        let failed = self.server.stop.failure().is_some();
        failed || (stopping.quiet && quiet && (late || !self.shards.iter().flatten().any(Shard::is_busy)))
    }

    /// Ends the core's shards, after the loop. Unless the node has failed, what is in memory goes to disk, so that the next
    /// start replays nothing.
    ///
    /// # Errors
    /// The sentence that says what could not be written, of the first shard that failed; the others are ended all the same.
    pub async fn close_shards(&mut self) -> Result<(), String> {
        let failed = self.server.stop.failure().is_some();
        // All at once: what a shard waits for is mostly the disk.
        let closing = self.shards.iter_mut().flatten().map(|shard| async move {
            let id = shard.id();
            shard.close(failed).await.map_err(|error| format!("shard {id}: {error}"))
        });
        join_all(closing).await.into_iter().collect()
    }

    /// The longest the core may sleep in its ring or in glommio before it must look at its clocks.
    pub fn sleep_max(&self) -> Duration {
        if self.stopping.is_some() {
            Duration::from_millis(1)
        } else if self.shards.iter().flatten().any(Shard::is_held) {
            limits::HELD_RETRY
        } else if self.shards.iter().flatten().any(Shard::is_gathering) {
            limits::HOLD_BEHIND
        } else if self.idle_parks < limits::IDLE_PARKS || self.shards.iter().flatten().any(Shard::has_deadlines) {
            limits::TICK
        } else {
            limits::TICK_IDLE
        }
    }

    /// Notes how a park ended: with something to do, or because its time was over.
    pub fn note_park(&mut self, signalled: bool) {
        self.idle_parks = if signalled { 0 } else { self.idle_parks.saturating_add(1) };
    }
}

/// Runs `control` on `core` and gives the reply.
fn run_control(core: &mut Core, control: &Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
    match control {
        Control::ListClients(filter) => {
            let mut text = Vec::new();
            for connection in chosen(core, filter) {
                let buffers = ClientBuffers {
                    input_bytes: connection.input.len(),
                    input_capacity: connection.input.capacity(),
                    output_bytes: core.ring.output_bytes(connection.ring),
                    output_capacity: core.ring.output_capacity(connection.ring),
                };
                client_line(&mut text, &connection.session, buffers, 0, Instant::now());
                text.push(b'\n');
            }
            reply.bulk(&text);
        }
        Control::KillClients(filter) => {
            let victims: Vec<_> = chosen(core, filter).map(|connection| connection.ring).collect();
            for &id in &victims {
                match &mut core.connections[id.index()] {
                    // Who closes itself still gets the reply.
                    Some(connection) if filter.is_asker(&connection.session) => connection.session.closing = true,
                    _ => core.close(id, true),
                }
            }
            reply.integer(victims.len() as i64);
        }
    }
    bytes
}

fn chosen<'a>(core: &'a Core, filter: &'a ClientFilter) -> impl Iterator<Item = &'a Connection> {
    core.connections
        .iter()
        .flatten()
        .map(|connection| &**connection)
        .filter(|connection| filter.matches(&connection.session))
}

/// Where in `output`, which begins with a reply, the first one ends that ends at or behind `position`.
fn end_of_reply(output: &[u8], position: usize) -> Option<usize> {
    let mut end = 0;
    while end < position {
        end += value::skip_value(&output[end..])?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use basalt_net::ring::RingOptions;

    use super::*;
    use crate::ids::Ticket;
    use crate::mail::RequestHead;
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
}
