//! Reads that need much from disk: another thread executes each of them once, on a view of the rows at one moment.
//!
//! A read that meets the disk is run again when its rows were fetched. For a few rows that is the shortest way, and leaves them in
//! the caches. For many it costs a run for each part, and the caches, which are smaller than what it needs, drop one part for the
//! next. So a read that [`ColdProgress`](super::progress::ColdProgress) calls long goes another way. A thread first takes hold of
//! what is on disk ([`basalt_storage::ColdReader::view`]) and says that it is ready; the core gives it a copy of what memory knows
//! of the keys that the read names, which takes as long as a read of them in memory; and the thread executes the read and sends the
//! reply. However much is written meanwhile, the reply is of the moment at which the copy was made. Nothing but the reply is kept:
//! a row is let go when the next one is read.
//!
//! A read that must see writes which are not applied yet stands in a batch between them. It gets its view when its turn comes
//! ([`Deferral`]), and the batch goes on without it.
//!
//! Replies that were made and that the core has not taken have a budget of their own ([`ReplyBudget`]), and so have the copies:
//! while those of a shard take as much as a command may have pinned, other clients' reads wait, and entries go without.
//!
//! The one thing a newcomer would get wrong: the copy is made when a thread is ready, not when the read is queued. So reads that
//! wait for a thread hold no memory, and what the two halves show is never far apart.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use basalt_raft::Later;
use basalt_storage::keyspace::{Accesses, EventClasses, KeyCounts, Scratch, VersionSource, rows_of_key};
use basalt_storage::{ColdRead, ColdReader, Error as StorageError, RowRange, Rows, Store, View, ViewAnswer};
use crossbeam_queue::ArrayQueue;

use super::lookahead::reads_only_metadata;
use super::parked::ParkedRequest;
use super::reply_budget::{MeteredRows, ReplyBudget, Reservation};
use crate::commands::{Args, Command, CommandError, Kind, Random, ReplyBounds, table};
use crate::entry::request::{self, ArgList, Mode, RequestHeader};
use crate::ids::{CoreId, Origin};
use crate::limits;
use crate::node::Background;
use crate::shard::execution::{Call, TOO_MUCH_TO_KEEP, is_elsewhere, send_back};
use crate::shard::timing::note_slow;
use crate::shard::{Shard, ShardHost, ShardMachine};

/// The reply to a read whose thread has panicked.
const NOT_EXECUTED: &[u8] = b"-ERR The read could not be executed, the log says why\r\n";

/// A connection, by its core and its place there.
type Client = (CoreId, u32);

/// Wakes the core of the shard.
pub(in crate::shard) type Wake = Arc<dyn Fn() + Send + Sync>;

/// The views of one shard.
pub(in crate::shard) struct Views {
    /// For clients' reads.
    threads: Background,
    /// For reads between writes, behind which all other entries of the shard wait until a thread is ready.
    entry_threads: Background,
    wake: Wake,
    /// Events from the threads, each with the id of its view.
    events: Arc<ArrayQueue<(u64, Event)>>,
    /// The same, taken out while an entry was applied.
    seen: VecDeque<(u64, Event)>,
    next_id: u64,
    running: HashMap<u64, Running>,
    client_count: usize,
    /// Clients whose reads wait until fewer run, or copies of others have gone.
    waiting: VecDeque<Client>,
    /// The one for the next read that an entry meets, and whether its thread is ready.
    for_entry: Option<(u64, bool)>,
    /// Tells an entry that waits for it.
    entry_bell: Rc<EntryBell>,
    /// Replies that find no room in the outbox.
    untaken: VecDeque<(Purpose, Viewed)>,
    budget: Arc<ReplyBudget>,
}

/// Tells an entry that waits for a thread, or for a turn of its core, when to look again.
#[derive(Default)]
pub(in crate::shard) struct EntryBell {
    is_rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl EntryBell {
    pub(in crate::shard) fn ring(&self) {
        self.is_rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the next ring.
    pub(in crate::shard) fn wait(self: &Rc<EntryBell>) -> Later {
        let bell = self.clone();
        bell.is_rung.set(false);
        Later::new(std::future::poll_fn(move |context| {
            if bell.is_rung.get() {
                return Poll::Ready(());
            }
            bell.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        }))
    }
}

impl Drop for Views {
    /// Nobody takes anything any more: an entry that waits goes on without, threads that wait end.
    fn drop(&mut self) {
        // First: what is said from now on lies in a queue that a thread which waits for room keeps itself.
        self.budget.close();
        // With the senders, threads that wait for an answer end.
        self.running.clear();
        while self.events.pop().is_some() {}
        self.entry_bell.ring();
    }
}

/// A view whose thread works on it.
struct Running {
    purpose: Purpose,
    /// True if it is one of those for parked requests.
    is_clients: bool,
    /// Of when the thread took hold of what is on disk.
    reader: ColdReader,
    /// None once nobody needs it any more.
    answer: Option<SyncSender<Answer>>,
    #[cfg(test)]
    is_given: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// For the first of this client's parked requests.
    Parked(Client),
    /// For a read that stands between writes, once one is met.
    Entry,
    /// For such a read, which waits for its reply.
    Deferred(Origin),
    /// Nobody needs it any more.
    Dismissed,
}

impl Purpose {
    /// The core that gets the reply.
    fn core(self) -> Option<CoreId> {
        match self {
            Purpose::Parked((core, _)) => Some(core),
            Purpose::Deferred(origin) => Some(origin.core),
            Purpose::Entry | Purpose::Dismissed => None,
        }
    }
}

/// A word from a thread to its core.
enum Event {
    /// It has taken hold of what is on disk, and waits for an [`Answer`].
    Ready,
    /// It has executed the read; or not, since nobody needed it any more or it has panicked.
    Done(Option<Viewed>),
}

/// A word from the core to a thread. None means that nobody needs it any more.
enum Answer {
    Go(Box<View>, Job),
    Again(ColdReader),
}

/// A read to be executed.
struct Job {
    request: Vec<u8>,
    now_ms: u64,
    bounds: ReplyBounds,
    reservation: Reservation,
    /// Events of keys that are told: of a read, keys that are not there.
    told: EventClasses,
}

/// The outcome of a read.
#[derive(Default)]
struct Viewed {
    reply: Vec<u8>,
    /// True if it read rows that none of its arguments names, so that there is no reply.
    has_strayed: bool,
    has_failed: bool,
    asked: u16,
    /// The read, encoded.
    request: Vec<u8>,
    counts: KeyCounts,
    /// Keys that it has looked for in vain, if that is told, by database.
    misses: Vec<(u8, Box<[u8]>)>,
    /// Keys that it has used.
    accesses: Accesses,
    time: Duration,
    /// The reply's part of the budget, until it is taken.
    reservation: Reservation,
}

/// A core's next step for a view.
enum Due {
    /// A thread is ready for the first parked request of this client.
    View(u64, Client),
    /// A read was executed.
    Reply(Purpose, Viewed),
}

/// The way in which a read is answered that stands between writes and needs much from disk.
pub(in crate::shard) enum Deferral {
    /// It has its view, and will be answered.
    Deferred,
    /// No thread is ready for it before this has ended.
    Soon(Later),
    /// There is no view of what it reads.
    Never,
}

impl Views {
    /// Sets how many bytes of replies its threads may hold from now on.
    pub(in crate::shard) fn set_reply_bytes_max(&self, bytes: usize) {
        self.budget.set_bytes_max(bytes);
    }

    /// The views of a shard whose threads may hold so many bytes of replies, and one.
    pub(in crate::shard) fn new(
        threads: Background,
        entry_threads: Background,
        wake: Wake,
        reply_bytes_max: usize,
    ) -> Views {
        Views {
            threads,
            entry_threads,
            wake,
            // Each says once more that it is done, when nobody takes what it has said before.
            events: Arc::new(ArrayQueue::new(2 * (limits::VIEWS_MAX + limits::ENTRY_VIEWS_MAX))),
            seen: VecDeque::new(),
            next_id: 0,
            running: HashMap::new(),
            client_count: 0,
            waiting: VecDeque::new(),
            for_entry: None,
            entry_bell: Rc::default(),
            untaken: VecDeque::new(),
            budget: ReplyBudget::new(reply_bytes_max),
        }
    }

    /// Bytes of replies that are being made or were not taken.
    pub(in crate::shard) fn reply_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Returns whether a thread executes a read.
    #[cfg(test)]
    pub(in crate::shard) fn has_given(&self) -> bool {
        self.running.values().any(|running| running.is_given)
    }

    /// The number of threads that work for clients, and of clients that wait for one.
    #[cfg(test)]
    pub(in crate::shard) fn client_counts(&self) -> (usize, usize) {
        (self.client_count, self.waiting.len())
    }

    /// The threads for reads of entries.
    #[cfg(test)]
    pub(in crate::shard) fn entry_threads(&self) -> &Background {
        &self.entry_threads
    }

    /// Returns whether there is something to take.
    pub(in crate::shard) fn has_some(&self) -> bool {
        !self.untaken.is_empty() || !self.seen.is_empty() || !self.events.is_empty()
    }

    /// Returns whether somebody waits for a reply, beside the parked requests.
    pub(in crate::shard) fn are_awaited(&self) -> bool {
        let running = self.running.values().map(|running| running.purpose);
        let untaken = self.untaken.iter().map(|(purpose, _)| *purpose);
        running.chain(untaken).any(|purpose| matches!(purpose, Purpose::Deferred(_)))
    }

    /// Has a thread get ready for the first parked request of the client that has waited longest, if there is room.
    fn start_next(&mut self, store: &Store) -> bool {
        if self.client_count >= limits::VIEWS_MAX {
            return false;
        }
        let Some(client) = self.waiting.pop_front() else { return false };
        self.client_count += 1;
        self.submit(Purpose::Parked(client), store);
        true
    }

    fn submit(&mut self, purpose: Purpose, store: &Store) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let reader = store.cold_reader();
        // One answer at a time: the thread asks again before there is another.
        let (answer, answers) = sync_channel(1);
        let job = job(id, reader.clone(), answers, self.events.clone(), self.wake.clone());
        let threads = if purpose == Purpose::Entry { &self.entry_threads } else { &self.threads };
        let is_refused = threads.submit(job).is_err();
        assert!(!is_refused, "the queues have room for all views of all shards");
        let is_clients = matches!(purpose, Purpose::Parked(_));
        let running = Running {
            purpose,
            is_clients,
            reader,
            answer: Some(answer),
            #[cfg(test)]
            is_given: false,
        };
        self.running.insert(id, running);
        id
    }

    /// Takes the next thing that a thread said.
    fn next_event(&mut self) -> Option<(u64, Event)> {
        self.seen.pop_front().or_else(|| self.events.pop())
    }

    /// Says to a thread that is ready to execute `job` on the rows as they are, or, if what it has taken hold of is of the past, to
    /// do so again. Whether it executes it.
    fn offer(&mut self, id: u64, store: &Store, ranges: Vec<RowRange>, job: impl FnOnce() -> Job) -> bool {
        let running = self.running.get_mut(&id).expect("a thread that is ready has not ended");
        let view = store.view(&running.reader, ranges);
        let goes = view.is_some();
        #[cfg(test)]
        {
            running.is_given |= goes;
        }
        let answer = view.map(|view| Answer::Go(Box::new(view), job())).unwrap_or_else(|| {
            running.reader = store.cold_reader();
            Answer::Again(running.reader.clone())
        });
        // A thread that has panicked has said that it is done.
        if let Some(thread) = &running.answer {
            let _ = thread.try_send(answer);
        }
        goes
    }

    /// Takes the next reply that `has_room` has room for.
    fn next_untaken(&mut self, has_room: &dyn Fn(CoreId) -> bool) -> Option<(Purpose, Viewed)> {
        let index = self.untaken.iter().position(|(purpose, _)| purpose.core().is_none_or(has_room))?;
        self.untaken.remove(index)
    }

    /// Tells a thread that waits for an answer that nobody needs the view any more.
    fn dismiss(&mut self, id: u64) {
        if let Some(running) = self.running.get_mut(&id) {
            (running.purpose, running.answer) = (Purpose::Dismissed, None);
        }
    }

    /// Takes note that a thread is done with a view; says what it was for.
    fn end(&mut self, id: u64) -> Option<Purpose> {
        let ended = self.running.remove(&id)?;
        if !ended.is_clients {
            self.entry_bell.ring();
        }
        if self.for_entry.is_some_and(|(of, _)| of == id) {
            // Its thread has failed before it was given anything: the next read of an entry has another.
            self.for_entry = None;
        }
        if ended.is_clients {
            self.client_count -= 1;
        }
        Some(ended.purpose)
    }

    /// Notes that the thread for the next read of an entry is ready, if that is what was said.
    fn note_ready(&mut self, id: u64) -> bool {
        match &mut self.for_entry {
            Some((of, is_ready)) if *of == id => {
                *is_ready = true;
                self.entry_bell.ring();
                true
            }
            _ => false,
        }
    }

    /// Gives a view to a read that stands between writes, if a thread is ready; else has one get ready.
    fn defer(
        &mut self,
        store: &Store,
        origin: Origin,
        ranges: impl FnOnce() -> Vec<RowRange>,
        job: impl FnOnce() -> Job,
    ) -> Deferral {
        while let Some((id, event)) = self.events.pop() {
            if !(matches!(event, Event::Ready) && self.note_ready(id)) {
                self.seen.push_back((id, event));
            }
        }
        let for_entry = self.for_entry;
        match for_entry {
            Some((id, true)) if self.offer(id, store, ranges(), job) => {
                self.running.get_mut(&id).expect("it was offered the read").purpose = Purpose::Deferred(origin);
                self.for_entry = None;
                return Deferral::Deferred;
            }
            Some((id, _)) => self.for_entry = Some((id, false)),
            None if self.running.len() - self.client_count < limits::ENTRY_VIEWS_MAX => {
                self.for_entry = Some((self.submit(Purpose::Entry, store), false));
            }
            None => {}
        }
        Deferral::Soon(self.entry_bell.wait())
    }

    /// Lets the thread go that waits for a read of an entry, when there is none.
    fn dismiss_for_entry(&mut self) {
        if let Some((id, true)) = self.for_entry {
            self.for_entry = None;
            self.dismiss(id);
        }
    }
}

/// The work of a thread for one view.
fn job(
    id: u64,
    reader: ColdReader,
    answers: Receiver<Answer>,
    events: Arc<ArrayQueue<(u64, Event)>>,
    wake: Wake,
) -> crate::node::Job {
    let say = move |event| {
        let pushed = events.push((id, event));
        assert!(pushed.is_ok(), "the queue has room for what each view says");
        wake();
    };
    Box::new(move || {
        let job = RefCell::new(None);
        let ask = || {
            say(Event::Ready);
            match answers.recv() {
                Ok(Answer::Go(view, next)) => {
                    *job.borrow_mut() = Some(next);
                    ViewAnswer::Go(view)
                }
                Ok(Answer::Again(reader)) => ViewAnswer::Again(reader),
                Err(_) => ViewAnswer::Stop,
            }
        };
        let view = || reader.view(ask, |rows| job.take().map(|job| job.execute(rows))).flatten();
        // Whoever waits for it is told, and the thread goes on.
        say(Event::Done(catch_unwind(AssertUnwindSafe(view)).unwrap_or_default()));
    })
}

impl Job {
    fn execute(mut self, rows: &mut dyn Rows) -> Viewed {
        let began = Instant::now();
        let mut rows = MeteredRows::new(rows, std::mem::take(&mut self.reservation), self.bounds.one_bytes_max);
        let mut args = ArgList::new();
        let (header, command) = decode(&self.request, &mut args).expect("it was decoded before");
        let mut viewed = Viewed { asked: header.asked, ..Viewed::default() };
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else { return viewed };
        let mut reply = self.bounds.reply(&mut viewed.reply, header.protocol);
        let (mut scratch, mark) = (Scratch::default(), reply.mark());
        scratch.tell(self.told);
        scratch.collect_accesses(self.now_ms);
        let before = scratch.mark();
        let call = Call { handler, header, args: &args, now_ms: self.now_ms, string_bytes_max: 0 };
        let (mut versions, mut random) = (VersionSource::none(), Random::new(0));
        // What is bounded by a trial elsewhere is bounded here.
        let outcome = match command.is_undoable {
            true => call.run_or_undo(&mut rows, &mut scratch, &mut versions, &mut random, &mut reply),
            false => call.run(&mut rows, &mut scratch, &mut versions, &mut random, &mut reply),
        };
        match outcome {
            Ok(()) if reply.is_over() => {
                reply.truncate(mark);
                reply.error(self.bounds.too_large(false));
            }
            Ok(()) => {}
            Err(CommandError::Storage(StorageError::Cold(_))) => viewed.has_strayed = true,
            Err(CommandError::Piecemeal) => {
                reply.truncate(mark);
                scratch.rewind(before);
                reply.error_display(CommandError::Piecemeal);
            }
            Err(error) if is_elsewhere(&error) => {
                reply.truncate(mark);
                send_back(header, &args, &mut viewed.reply);
            }
            Err(error) => {
                reply.truncate(mark);
                reply.error_display(&error);
                viewed.has_failed = table::is_whole(header.asked, header.command);
            }
        }
        (viewed.counts, viewed.time) = (scratch.counts(), began.elapsed());
        viewed.accesses = scratch.take_accesses();
        if !viewed.has_strayed {
            while scratch.take_event(&mut |event| viewed.misses.push((event.db, event.key.into()))) {}
        }
        viewed.reservation = rows.into_reservation();
        drop(args);
        viewed.request = self.request;
        viewed.reply.shrink_to_fit();
        viewed.reservation.settle(viewed.reply.capacity());
        viewed
    }
}

fn decode<'a>(request: &'a [u8], args: &mut ArgList<'a>) -> Option<(RequestHeader, &'static Command)> {
    args.push(b"");
    let header = request::decode(request, args)?;
    let command = table::by_id(header.command)?;
    args[0] = command.name().as_bytes();
    Some((header, command))
}

/// The rows that a read may need: those of the keys that its arguments name, where their database is at the moment.
fn ranges(store: &Store, request: &[u8]) -> Vec<RowRange> {
    let mut args = ArgList::new();
    let Some((header, command)) = decode(request, &mut args) else { return Vec::new() };
    let args: Args<'_> = &args;
    let with_elements = !reads_only_metadata(command, args);
    let keys = command.keys(args).filter_map(|position| args.get(position));
    keys.flat_map(|key| rows_of_key(store.counters(), header.db, key, with_elements)).collect()
}

/// Returns whether `request` is a read that names the keys whose rows it needs.
fn is_viewable(request: &[u8]) -> bool {
    let mut args = ArgList::new();
    let decoded = decode(request, &mut args);
    decoded.is_some_and(|(_, command)| matches!(command.kind, Kind::Read(_)) && command.keys(&args).next().is_some())
}

impl ShardMachine {
    /// Has the read `request`, which stands between the writes of an entry and waits for `origin`, executed on another thread as
    /// of this moment.
    pub(in crate::shard) fn defer(&mut self, origin: Option<Origin>, request: &[u8], now_ms: u64) -> Deferral {
        // Its rows are pinned then: it must not wait until clients' views have gone.
        let has_large_views = self.has_large_views();
        let (Some(views), Some(origin)) = (&mut self.views, origin) else { return Deferral::Never };
        if has_large_views || !is_viewable(request) {
            return Deferral::Never;
        }
        let reservation = Reservation::impatient(&views.budget);
        let (bounds, told) = (self.bounds, self.scratch.told());
        let job = || Job { request: request.to_vec(), now_ms, bounds, reservation, told };
        views.defer(&self.store, origin, || ranges(&self.store, request), job)
    }

    /// Takes the core's next step for its views. Replies for whom there is no room wait.
    fn next_due_view(&mut self, has_room: &dyn Fn(CoreId) -> bool) -> Option<Due> {
        if let Some((purpose, viewed)) = self.views.as_mut()?.next_untaken(has_room) {
            return Some(Due::Reply(purpose, viewed));
        }
        self.start_waiting_views();
        while let Some((id, event)) = self.views.as_mut()?.next_event() {
            let views = self.views.as_mut()?;
            match event {
                Event::Ready if views.note_ready(id) => {}
                Event::Ready => {
                    if let Some(Purpose::Parked(client)) = views.running.get(&id).map(|running| running.purpose) {
                        return Some(Due::View(id, client));
                    }
                }
                Event::Done(viewed) => {
                    let purpose = views.end(id).filter(|purpose| *purpose != Purpose::Dismissed);
                    self.start_waiting_views();
                    let Some(purpose) = purpose else { continue };
                    let lost = || Viewed { reply: NOT_EXECUTED.to_vec(), ..Viewed::default() };
                    let viewed = viewed.unwrap_or_else(lost);
                    self.count_viewed(&viewed);
                    if purpose.core().is_none_or(has_room) {
                        return Some(Due::Reply(purpose, viewed));
                    }
                    self.views.as_mut()?.untaken.push_back((purpose, viewed));
                }
            }
        }
        if self.paused.is_none()
            && let Some(views) = &mut self.views
        {
            views.dismiss_for_entry();
        }
        None
    }

    /// Returns whether the copies of views take as much as they may.
    fn has_large_views(&self) -> bool {
        self.store.memory().view_bytes >= self.kept_bytes_max()
    }

    /// Has threads get ready for clients that wait for one. A copy goes before its thread says that it is done.
    fn start_waiting_views(&mut self) {
        if self.has_large_views() {
            return;
        }
        while self.views.as_mut().is_some_and(|views| views.start_next(&self.store)) {}
    }

    /// Counts what became of a read, as if it had been executed here.
    fn count_viewed(&self, viewed: &Viewed) {
        let mut counts = self.scratch.counts();
        counts.hits += viewed.counts.hits;
        counts.misses += viewed.counts.misses;
        self.scratch.set_counts(counts);
        viewed.misses.iter().for_each(|(db, key)| self.scratch.note_miss(*db, key));
        self.scratch.note_collected(&viewed.accesses);
        let Some((server, core)) = &self.core else { return };
        let Some(stats) = server.cores[core.index()].by_command.get(usize::from(viewed.asked)) else { return };
        if stats.time.start().is_some()
            && let Some(began) = Instant::now().checked_sub(viewed.time)
        {
            stats.time.stop(began);
        }
        stats.failed.add(u64::from(viewed.has_failed));
    }
}

impl ShardMachine {
    /// Notes a read that took long, for the client that waits for it.
    fn note_slow_view(&self, client: Origin, viewed: &Viewed) {
        let Some((server, core)) = &self.core else { return };
        let (core, ns) = (&server.cores[core.index()], viewed.time.as_nanos() as u64);
        let mut args = ArgList::new();
        if core.slow.is_slow(ns)
            && !viewed.has_strayed
            && let Some((header, _)) = decode(&viewed.request, &mut args)
        {
            core.slow.serve(Some(client));
            note_slow(core, ns, header, &args);
        }
    }
}

impl Shard {
    /// Returns whether `request`, which has just met `cold`, is to be executed on a view.
    pub(in crate::shard) fn wants_view(&self, request: &ParkedRequest, cold: &ColdRead) -> bool {
        matches!(request.mode, Mode::Read | Mode::ReadInOrder)
            && request.progress.is_long(cold)
            && self.machine.borrow().views.is_some()
            && is_viewable(&request.bytes)
    }

    /// Has a thread get ready for the first parked request of `client`, now or when there is room.
    pub(in crate::shard) fn start_view(&mut self, client: Client) {
        let machine = &mut *self.machine.borrow_mut();
        machine.views.as_mut().expect("who wants a view knows that there may be one").waiting.push_back(client);
        machine.start_waiting_views();
    }

    /// Gives threads that are ready their views, and replies of others to whoever waits for them. Returns how many replies there
    /// were.
    pub(in crate::shard) fn take_views(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let mut count = 0;
        loop {
            let due = self.machine.borrow_mut().next_due_view(&|core| host.has_room_for_replies(core));
            match due {
                None => return count,
                Some(Due::View(id, client)) => self.give_view(id, client, now_ms, host),
                Some(Due::Reply(purpose, viewed)) => {
                    count += 1;
                    self.take_viewed(purpose, viewed, now_ms, host);
                }
            }
        }
    }

    /// Gives a thread that is ready the view for the first parked request of `client`.
    fn give_view(&mut self, id: u64, client: Client, now_ms: u64, host: &mut impl ShardHost) {
        // Not simply the first: reads of a refused batch may have come before it.
        let request = self.parking.parked.get(&client).and_then(|parked| parked.requests.get(parked.fetches_for));
        let may_view = |request: &&ParkedRequest| request.mode == Mode::Read || !self.has_unapplied();
        let first = request.filter(|request| !self.has_failed() && may_view(request));
        let mut machine = self.machine.borrow_mut();
        let now_ms = machine.advance_time(now_ms);
        let has_large_views = machine.has_large_views();
        let ShardMachine { views: Some(views), store, scratch, bounds, .. } = &mut *machine else { return };
        if let Some(request) = first {
            if has_large_views {
                // The thread goes: it is one of those for all shards.
                views.dismiss(id);
                views.waiting.push_front(client);
                return;
            }
            let ranges = ranges(store, &request.bytes);
            let reservation = Reservation::patient(&views.budget);
            let told = scratch.told();
            let job = || Job { request: request.bytes.clone(), now_ms, bounds: *bounds, reservation, told };
            views.offer(id, store, ranges, job);
            return;
        }
        // It gets one behind the writes that it must see.
        views.dismiss(id);
        drop(machine);
        self.resume_in_order(client, now_ms, host);
    }

    /// Puts the parked request of `client` that waits for a view, a read, behind the writes that are not applied yet, and goes on
    /// with the next.
    fn resume_in_order(&mut self, client: Client, now_ms: u64, host: &mut impl ShardHost) {
        let Some(mut parked) = self.take_parked(client) else { return };
        if let Some(request) = parked.take_fetched() {
            match self.has_failed() {
                true => self.refuse_failed(request.origin, host),
                false => self.read_in_order(request.origin, &request.bytes),
            }
            self.parking.waiting.remove(request.bytes.len());
        }
        self.resume(client, parked, now_ms, host);
    }

    /// Gives whoever waits for it the reply of a read that was executed on a view.
    fn take_viewed(&mut self, purpose: Purpose, viewed: Viewed, now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        match purpose {
            // It stood in an entry that was not executed to its end.
            Purpose::Deferred(origin) if self.has_failed() => self.refuse_failed(origin, host),
            Purpose::Deferred(origin) if viewed.has_strayed => self.answer(origin, TOO_MUCH_TO_KEEP, host),
            Purpose::Deferred(origin) => {
                self.machine.borrow().note_slow_view(origin, &viewed);
                self.answer(origin, &viewed.reply, host);
            }
            Purpose::Entry | Purpose::Dismissed => {}
            Purpose::Parked(client) => {
                let Some(mut parked) = self.take_parked(client) else { return };
                if viewed.has_strayed {
                    let fetches_for = std::mem::take(&mut parked.fetches_for);
                    if let Some(request) = parked.requests.get_mut(fetches_for) {
                        request.progress.take_no_view();
                    }
                } else if let Some(request) = parked.take_fetched() {
                    self.machine.borrow().note_slow_view(request.origin, &viewed);
                    self.answer(request.origin, &viewed.reply, host);
                    self.parking.waiting.remove(request.bytes.len());
                }
                self.resume(client, parked, now_ms, host);
            }
        }
    }
}
