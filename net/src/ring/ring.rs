//! The ring: turns, and what each completion means.

#![allow(unsafe_code, reason = "requests to the kernel")]

use std::{
    collections::VecDeque,
    io, mem,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use io_uring::{
    opcode,
    types::{CancelBuilder, Fd},
};

use crate::limits::{DROP_WAIT, WAKE_BYTES};

use super::{
    buffers::BufferPool,
    connection::{Connection, Cut},
    connections::Connections,
    counters::{Counters, Memory},
    error::RingError,
    event::{CloseReason, Event, TurnStats},
    handing::keep_for_next,
    ids::{ConnId, ListenerId},
    listener::Listener,
    options::RingOptions,
    queue::{Completion, Finish, Queue},
    spare_buffers::SpareBuffers,
    token::{Kind, Token},
    waker::Waker,
};

/// The reason that the connection of a completion is in the table; if it were not, the kernel would have worked on
/// memory and a descriptor that are someone else's by now.
pub(super) const OUTLIVES: &str = "a connection outlives its requests";

/// A connection that closes once its output is sent.
struct Flush {
    id: ConnId,
    /// The time of the next look: if it has made no progress then, it is cut off.
    deadline: Instant,
    /// [`Connection::progress`] as it was at the last look.
    progress: u64,
}

/// The sockets of one core. See the [module](super) for how to drive it.
pub struct Ring {
    /// First, so that it is dropped before the memory that its requests refer to.
    pub(super) queue: Queue,
    buffers: Rc<BufferPool>,
    pub(super) connections: Connections,
    listeners: Vec<Listener>,
    /// Connections with new output.
    dirty: Vec<ConnId>,
    /// Connections whose receive stopped for want of a buffer, first come first served.
    starved: VecDeque<ConnId>,
    /// Connections closing after a flush, in the order of their deadlines.
    flushing: VecDeque<Flush>,
    /// Connections on their way out of the ring, with what they have received since that began.
    pub(super) leaving: Vec<(ConnId, Vec<u8>)>,
    /// Events that come from no completion.
    pub(super) ready: VecDeque<Event>,
    pub(super) spare: SpareBuffers,
    waker: Waker,
    /// The buffer that the read of the wake-up pipe writes to.
    wake_scratch: Box<[u8; WAKE_BYTES]>,
    options: RingOptions,
    counters: Counters,
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// A [`RingError`] that says what the system lacks or forbids, or which option is out of range.
    pub fn new(options: &RingOptions) -> Result<Ring, RingError> {
        options.check()?;
        let queue = Queue::new(options.entries, options.completions)?;
        let io = |what| move |source| RingError::Io { what, source };
        let buffers =
            BufferPool::new(options.buffers, options.buffer_bytes).map_err(io("cannot map receive buffers"))?;
        // SAFETY: the pool's entries are page-aligned, and the pool is dropped after the queue (field order, and `drop`
        // leaks it if the kernel may still use it).
        unsafe { queue.register_buffers(buffers.entries(), buffers.count()) }.map_err(RingError::of_buffers)?;
        let mut ring = Ring {
            queue,
            buffers,
            connections: Connections::default(),
            listeners: Vec::new(),
            dirty: Vec::new(),
            starved: VecDeque::new(),
            flushing: VecDeque::new(),
            leaving: Vec::new(),
            ready: VecDeque::new(),
            spare: SpareBuffers::new(options.spare_bytes_max),
            waker: Waker::new().map_err(io("cannot make the wake-up pipe"))?,
            wake_scratch: Box::new([0; WAKE_BYTES]),
            options: options.clone(),
            counters: Counters::default(),
        };
        ring.read_wakes();
        Ok(ring)
    }

    // ---- the turn

    /// Submits everything queued and takes what has completed, waiting at most `wait` if nothing has.
    ///
    /// At most one system call (more only if more than [`entries`](RingOptions::entries) requests are queued), none if
    /// there is nothing to submit or to fetch and no `wait`. Sends that complete at once do not end the wait; a send to a
    /// full socket may delay other events by up to `wait`, so keep it short (100 µs) while output is queued. Take all
    /// events with [`next_event`](Self::next_event) before the next turn; a turn with events left does not wait.
    ///
    /// # Errors
    /// The kernel refused to work on the ring. It cannot be used any more.
    pub fn turn(&mut self, wait: Option<Duration>) -> Result<TurnStats, RingError> {
        self.turn_for(1, wait)
    }

    /// A [`turn`](Self::turn) that waits for `events` completions rather than for one, or until `wait` is over: one wake-up for
    /// all that comes meanwhile. `timed_out` then says that there were fewer, perhaps none. Does not wait if there is one already.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn gather(&mut self, events: u32, wait: Duration) -> Result<TurnStats, RingError> {
        self.turn_for(events, Some(wait))
    }

    fn turn_for(&mut self, events: u32, wait: Option<Duration>) -> Result<TurnStats, RingError> {
        self.flush_outputs();
        self.cut_off_late_flushes();
        self.feed_starved();
        self.buffers.publish();
        let wait = wait.filter(|_| self.ready.is_empty());
        self.queue.enter(events, wait).map_err(RingError::of_enter)
    }

    /// The next event, in the order of completion; `None` ends the turn.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.ready.pop_front().or_else(|| self.next_completed())?;
        self.counters.events += 1;
        if let Event::Released(id, ..) = event {
            self.connections.vacate(id);
        }
        Some(event)
    }

    fn next_completed(&mut self) -> Option<Event> {
        while let Some(completion) = self.queue.pop() {
            let event = self.complete(completion);
            if event.is_some() {
                return event;
            }
        }
        self.ready.pop_front()
    }

    fn complete(&mut self, completion: Completion) -> Option<Event> {
        let token = completion.token;
        match token.kind {
            Kind::Receive => self.complete_receive(token.connection(), completion),
            Kind::Send => self.complete_send(token.connection(), completion.result),
            Kind::Cancel => {
                let id = token.connection();
                let done = self.connections.get_mut(id).expect(OUTLIVES).cancelled(id, &mut self.queue);
                self.release_if(done, id);
                None
            }
            Kind::Accept => self.complete_accept(ListenerId(token.index), completion),
            Kind::AcceptRetry => {
                let id = ListenerId(token.index);
                self.listeners[id.index()].arm(id, &mut self.queue);
                None
            }
            Kind::Wake => {
                self.read_wakes();
                self.counters.wakes += 1;
                Some(Event::Woken)
            }
            Kind::Ignored => None,
            Kind::Connect => self.complete_connect(token.connection(), completion.result),
        }
    }

    /// Returns true if a turn would do or bring something without waiting. To be asked after enabling the park eventfd and a
    /// SeqCst fence, before sleeping.
    pub fn has_work(&mut self) -> bool {
        !self.ready.is_empty()
            || !self.dirty.is_empty()
            || (!self.starved.is_empty() && self.buffers.free() > 0)
            || self.queue.has_work()
    }

    /// Returns whether the next turn has output to send.
    pub fn has_output(&self) -> bool {
        !self.dirty.is_empty()
    }

    // ---- listeners

    /// Accepts connections from this listening TCP or Unix socket until [`stop_listening`](Self::stop_listening).
    pub fn listen(&mut self, listener: impl Into<OwnedFd>) -> ListenerId {
        let id = ListenerId(self.listeners.len() as u32);
        self.listeners.push(Listener::new(listener.into(), self.options.accept_retry));
        self.listeners[id.index()].arm(id, &mut self.queue);
        id
    }

    /// Stops all listeners. What was accepted before still comes; the sockets close within the next turns.
    pub fn stop_listening(&mut self) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.stop(ListenerId(index as u32), &mut self.queue);
        }
    }

    fn complete_accept(&mut self, id: ListenerId, completion: Completion) -> Option<Event> {
        let listener = &mut self.listeners[id.index()];
        if !completion.more() {
            listener.disarmed();
        }
        if completion.result >= 0 {
            listener.arm(id, &mut self.queue);
            self.counters.accepted += 1;
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            return Some(Event::Accepted(id, unsafe { OwnedFd::from_raw_fd(completion.result) }));
        }
        match -completion.result {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EINVAL | libc::EBADF => {
                listener.arm_later(id, &mut self.queue);
                self.counters.accept_failures += 1;
                Some(Event::AcceptFailed(id, -completion.result))
            }
            // the peer gave up, or the network did: accept(2) says to go on
            _ => {
                listener.arm(id, &mut self.queue);
                None
            }
        }
    }

    // ---- connections

    /// Takes a connected stream socket (TCP or Unix, accepted or connected) and receives from it.
    pub fn add(&mut self, socket: OwnedFd) -> ConnId {
        let id = self.connections.insert(Connection::new(socket));
        if let Some((connection, queue)) = self.connection(id) {
            connection.receive(id, queue);
        }
        id
    }

    /// The socket of a connection, for its addresses and options; `None` once [`close`](Self::close)d and released.
    pub fn socket(&self, id: ConnId) -> Option<BorrowedFd<'_>> {
        self.connections.get(id).map(Connection::socket)
    }

    /// Returns the buffer to append to what is to be sent; submitted by the next turn. Only append: what is there is not yet sent.
    ///
    /// `None` if nothing can be sent any more: [`close`](Self::close) was called, or the peer has reset the connection.
    #[inline]
    pub fn output(&mut self, id: ConnId) -> Option<&mut Vec<u8>> {
        let (output, newly_dirty) = self.connections.get_mut(id)?.output(&mut self.spare)?;
        if newly_dirty {
            self.dirty.push(id);
        }
        Some(output)
    }

    /// Output queued and in flight, in bytes; what one send in flight has already got rid of is still counted.
    #[inline]
    pub fn output_bytes(&self, id: ConnId) -> usize {
        self.connections.get(id).map_or(0, Connection::output_bytes)
    }

    /// Memory of the output queued and in flight, in bytes: this connection's part of [`Memory::outputs`].
    pub fn output_capacity(&self, id: ConnId) -> usize {
        self.connections.get(id).map_or(0, Connection::output_capacity)
    }

    /// Stops receiving, so that the peer feels backpressure. What the kernel has already received may still come.
    pub fn pause(&mut self, id: ConnId) {
        if let Some((connection, queue)) = self.connection(id) {
            connection.pause(id, queue);
        }
    }

    /// Receives again after [`pause`](Self::pause).
    pub fn resume(&mut self, id: ConnId) {
        if let Some((connection, queue)) = self.connection(id) {
            connection.resume(id, queue);
        }
    }

    /// Closes a connection: at once, dropping its output, or when all output is sent, which a peer that reads nothing for
    /// [`flush_wait`](RingOptions::flush_wait) does not hold up any longer. No event comes for it any more.
    ///
    /// Must be called once for every connection [`add`](Self::add)ed, also after [`Event::Closed`]; further calls and
    /// stale ids do nothing. The descriptor is closed when no request in the kernel refers to it.
    pub fn close(&mut self, id: ConnId, after_flush: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let done = connection.close(after_flush, id, &mut self.queue, &mut self.spare);
        if after_flush && !done {
            let deadline = Instant::now() + self.options.flush_wait;
            self.flushing.push_back(Flush { id, deadline, progress: connection.progress() });
        }
        self.release_if(done, id);
    }

    /// Cuts a peer off that does not take its output, and tells it why: drops what it has not got the beginning of, ends with
    /// `last`, and closes as [`close`](Self::close) does after a flush. `end_of` says where in the output the first message ends
    /// that ends at or behind a position. If much of the message being sent is left, closes at once.
    pub fn cut(&mut self, id: ConnId, last: &[u8], end_of: fn(&[u8], usize) -> Option<usize>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let done = connection.cut(Cut { last: last.to_vec(), end_of }, id, &mut self.queue, &mut self.spare);
        if !done {
            let deadline = Instant::now() + self.options.flush_wait;
            self.flushing.push_back(Flush { id, deadline, progress: connection.progress() });
        }
        self.send(id);
        self.settle(id);
        self.release_if(done, id);
    }

    fn complete_receive(&mut self, id: ConnId, completion: Completion) -> Option<Event> {
        let result = completion.result;
        // made first, so that the buffer goes back whatever becomes of it
        let input = completion.buffer().map(|buffer| self.buffers.take(buffer, result.max(0) as u32));
        let (connection, queue) = (self.connections.get_mut(id).expect(OUTLIVES), &mut self.queue);
        match result {
            1.. => {
                let wanted = connection.wants_input();
                if let Some(input) = input.as_ref().filter(|_| connection.is_leaving()) {
                    keep_for_next(&mut self.leaving, id, input);
                }
                let done = connection.received(completion.more(), id, queue);
                self.counters.receives += 1;
                self.counters.bytes_in += result as u64;
                self.release_if(done, id);
                input.filter(|_| wanted).map(|input| Event::Received(id, input))
            }
            0 => {
                connection.receive_ended();
                if connection.is_leaving() {
                    // Whoever gets the socket finds its end by itself.
                    self.settle(id);
                    return None;
                }
                self.report_closed(id, CloseReason::Eof)
            }
            _ => match -result {
                libc::ENOBUFS => {
                    self.counters.enobufs += 1;
                    if connection.receive_starved() {
                        self.starved.push_back(id);
                    }
                    self.settle(id);
                    None
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                    let done = connection.receive_stopped(id, queue);
                    self.release_if(done, id);
                    None
                }
                errno => {
                    connection.receive_ended();
                    connection.break_off(&mut self.spare);
                    self.report_closed(id, CloseReason::of_errno(errno))
                }
            },
        }
    }

    fn complete_send(&mut self, id: ConnId, result: i32) -> Option<Event> {
        let connection = self.connections.get_mut(id).expect(OUTLIVES);
        match result {
            1.. => {
                let bytes = result as usize;
                self.counters.bytes_out += bytes as u64;
                connection.sent(bytes);
                connection.finish_cut();
                let drained = connection.drained(bytes, self.options.output_high_bytes, self.options.output_low_bytes);
                self.send(id);
                self.settle(id);
                drained.then_some(Event::Writable(id))
            }
            _ if matches!(-result, libc::EINTR | libc::EAGAIN)
                || (-result == libc::ECANCELED && connection.is_being_cut()) =>
            {
                connection.send_failed();
                connection.finish_cut();
                self.send(id);
                self.settle(id);
                None
            }
            _ => {
                connection.send_failed();
                connection.break_off(&mut self.spare);
                // a stream never takes nothing of something: 0 is as good as a broken pipe
                self.report_closed(id, CloseReason::of_errno(if result == 0 { libc::EPIPE } else { -result }))
            }
        }
    }

    /// Tells the core, once, that the peer has closed; or goes on with closing if it was the core that closed.
    pub(super) fn report_closed(&mut self, id: ConnId, reason: CloseReason) -> Option<Event> {
        let first = self.connections.get_mut(id)?.report();
        self.settle(id);
        first.then_some(Event::Closed(id, reason))
    }

    // ---- before the turn

    /// Queues a send for every connection with new output.
    fn flush_outputs(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.clean();
            if connection.output_bytes() > self.options.output_bytes_max {
                self.give_up(id);
            } else {
                self.send(id);
            }
        }
        self.dirty = dirty; // keeps its capacity
    }

    /// Too much is queued for this connection.
    fn give_up(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.break_off(&mut self.spare);
        }
        let event = self.report_closed(id, CloseReason::OutputLimit);
        self.ready.extend(event);
    }

    pub(super) fn send(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.send(self.options.send_bytes_max, id, &mut self.queue, &mut self.spare) {
            self.counters.sends += 1;
        }
    }

    /// Closes at once what should be flushed and has made no progress in its time. A slow peer gets everything.
    fn cut_off_late_flushes(&mut self) {
        while let Some(&Flush { id, deadline, progress }) = self.flushing.front() {
            if let Some(connection) = self.connections.get(id) {
                let now = Instant::now();
                if now < deadline {
                    return;
                }
                match connection.progress() {
                    now_at if now_at == progress => self.close(id, false),
                    progress => {
                        self.flushing.push_back(Flush { id, deadline: now + self.options.flush_wait, progress })
                    }
                }
            }
            self.flushing.pop_front();
        }
    }

    /// Lets as many starved connections receive again as there are buffers.
    fn feed_starved(&mut self) {
        let mut free = self.buffers.free();
        while free > 0 {
            let Some(id) = self.starved.pop_front() else { return };
            if let Some((connection, queue)) = self.connection(id) {
                free -= u32::from(connection.receive_fed(id, queue));
            }
        }
    }

    // ---- the table

    pub(super) fn connection(&mut self, id: ConnId) -> Option<(&mut Connection, &mut Queue)> {
        Some((self.connections.get_mut(id)?, &mut self.queue))
    }

    pub(super) fn settle(&mut self, id: ConnId) {
        if let Some((connection, queue)) = self.connection(id) {
            let done = connection.settle(id, queue);
            self.release_if(done, id);
        }
    }

    /// Takes a connection out of the table, and closes its descriptor or gives it away.
    pub(super) fn release_if(&mut self, done: bool, id: ConnId) {
        if !done {
            return;
        }
        // The core has a leaving one in its tables until it hears of it, and may hear of others before.
        let is_leaving = self.connections.get(id).is_some_and(Connection::is_leaving);
        let connection = if is_leaving { self.connections.take(id) } else { self.connections.remove(id) };
        if let Some(mut connection) = connection {
            assert!(connection.is_quiet(), "a descriptor is closed only when no request refers to it");
            connection.drop_output(&mut self.spare);
            let kept = self.leaving.iter().position(|(leaving, _)| *leaving == id);
            let kept = kept.map(|at| self.leaving.swap_remove(at).1).unwrap_or_default();
            if is_leaving {
                self.ready.push_back(Event::Released(id, connection.into_socket(), kept.into_boxed_slice()));
            }
        }
    }

    // ---- waking and parking

    /// Wakes this core while it waits in a turn, from other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Registers the eventfd that the kernel signals when the ring has work while [`enable_park`](Self::enable_park) is
    /// on. Once per ring.
    ///
    /// # Errors
    /// The kernel refused the descriptor, or there is one already.
    pub fn register_park_eventfd(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.queue.register_eventfd(fd)
    }

    /// Switches the park eventfd on before the core sleeps outside the ring, and off when it is back.
    pub fn enable_park(&mut self, enabled: bool) {
        self.queue.enable_eventfd(enabled);
    }

    fn read_wakes(&mut self) {
        let read =
            opcode::Read::new(Fd(self.waker.reader()), self.wake_scratch.as_mut_ptr(), WAKE_BYTES as u32).build();
        // SAFETY: nobody else touches the scratch bytes. They and the pipe live as long as the ring, or longer if the
        // kernel does not let go of them (`drop`).
        unsafe { self.queue.push(read, Token::plain(Kind::Wake, 0), Finish::WhileWaiting) }
    }

    // ---- figures

    /// Running totals.
    pub fn counters(&self) -> Counters {
        Counters {
            enters: self.queue.enters,
            blocks: self.queue.blocks,
            connections: self.connections.len() as u64,
            ..self.counters
        }
    }

    /// Returns where the ring's memory is. Looks at every connection: for INFO, not for every turn.
    pub fn memory(&self) -> Memory {
        Memory {
            receive_buffers: self.buffers.bytes(),
            connections: self.connections.bytes(),
            outputs: self.connections.iter().map(Connection::output_capacity).sum(),
            spare: self.spare.bytes(),
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Drop for Ring {
    /// Cancels every request and waits until the kernel has let go of all memory, then closes all sockets.
    fn drop(&mut self) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        // SAFETY: the request refers to no memory.
        unsafe { self.queue.push(cancel, Token::plain(Kind::Ignored, 0), Finish::AtOnce) }
        let deadline = Instant::now() + DROP_WAIT;
        loop {
            while let Some(completion) = self.queue.pop() {
                if completion.token.kind == Kind::Accept && completion.result >= 0 {
                    // SAFETY: as in `complete_accept`; nobody takes this event any more.
                    drop(unsafe { OwnedFd::from_raw_fd(completion.result) });
                }
            }
            if self.queue.in_flight() == 0 {
                return;
            }
            if Instant::now() > deadline || self.queue.enter(1, Some(Duration::from_millis(1))).is_err() {
                break;
            }
        }
        tracing::warn!(
            in_flight = self.queue.in_flight(),
            "the kernel holds on to memory of a closed ring, leaking it"
        );
        mem::forget(mem::take(&mut self.connections));
        mem::forget(mem::replace(&mut self.wake_scratch, Box::new([0; WAKE_BYTES])));
        mem::forget(mem::take(&mut self.listeners));
        mem::forget(Rc::clone(&self.buffers));
    }
}
