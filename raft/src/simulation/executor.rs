//! Tasks in virtual time, on one thread, in an order that a seed decides.
//!
//! A step polls one of the tasks that can run, drawn by chance, and takes a moment, so that something else may happen in between.
//! When none can run, time jumps to the next alarm. Each owner's clock has a pace of its own.
//! Each task belongs to an owner, inherited by those that it spawns, so that all of a member's can be dropped at once, as by a
//! crash.
//!
//! What a newcomer would get wrong: a run is only repeatable if all that it does follows from the seed. No `HashMap` is walked, no
//! address compared, no clock asked.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

thread_local! {
    /// The simulation that runs on this thread.
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
    /// Number of simulations that were begun on this thread.
    static BEGUN: Cell<u64> = const { Cell::new(0) };
}

/// The simulation that runs on this thread, if one does.
pub(crate) fn current() -> Option<Rc<Executor>> {
    CURRENT.with_borrow(Option::clone)
}

/// The virtual time of this thread, if it has one.
pub(crate) fn now() -> Option<Duration> {
    CURRENT.with_borrow(|current| current.as_ref().map(|executor| executor.now()))
}

/// The same by the clock of who runs now.
pub(crate) fn own_now() -> Option<Duration> {
    CURRENT.with_borrow(|current| current.as_ref().map(|executor| executor.own_now()))
}

/// The one that a task belongs to: a member's number, or 0 for the world around them.
pub(crate) type Owner = u64;

const MILLION: u128 = 1_000_000;

/// The world around the members.
pub(crate) const WORLD: Owner = 0;

struct Slot {
    /// Distinguishes it from tasks that had its place before.
    number: u64,
    owner: Owner,
    waker: Arc<TaskWaker>,
    /// Away while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// The moment until which an owner stands still, and places and numbers of the tasks that wait for it.
type Paused = (Duration, Vec<(usize, u64)>);

/// Runs tasks in virtual time.
pub(crate) struct Executor {
    number: u64,
    now: Cell<Duration>,
    random: RefCell<Xoshiro256PlusPlus>,
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
    spawned: Cell<u64>,
    /// Places and numbers of the tasks that can run.
    ready: RefCell<Vec<(usize, u64)>>,
    /// Those that could, if their owners did not stand still until a moment.
    paused: RefCell<BTreeMap<Owner, Paused>>,
    alarms: RefCell<BinaryHeap<Reverse<Due>>>,
    alarms_set: Cell<u64>,
    owner: Cell<Owner>,
    /// The longest time of a step.
    step_time: Cell<Duration>,
    /// Seconds that an owner's clock counts in a million; as many where there is none.
    paces: RefCell<BTreeMap<Owner, u64>>,
    steps: Cell<u64>,
    /// Sum over all that was chosen: equal for two runs that are.
    digest: Cell<u64>,
}

/// Ends the simulation of a thread when it is dropped.
pub(crate) struct Running(Rc<Executor>);

impl std::ops::Deref for Running {
    type Target = Rc<Executor>;

    fn deref(&self) -> &Rc<Executor> {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.drop_tasks(|_| true);
        CURRENT.set(None);
    }
}

impl Executor {
    /// Begins the simulation of `seed` on this thread.
    pub(crate) fn begin(seed: u64) -> Running {
        let number = BEGUN.get() + 1;
        BEGUN.set(number);
        let executor = Rc::new(Executor {
            number,
            now: Cell::default(),
            random: RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed)),
            slots: RefCell::default(),
            free: RefCell::default(),
            spawned: Cell::new(0),
            ready: RefCell::default(),
            paused: RefCell::default(),
            alarms: RefCell::default(),
            alarms_set: Cell::new(0),
            owner: Cell::new(WORLD),
            step_time: Cell::default(),
            paces: RefCell::default(),
            steps: Cell::new(0),
            digest: Cell::new(seed),
        });
        let before = CURRENT.replace(Some(executor.clone()));
        assert!(before.is_none(), "one simulation at a time on a thread");
        Running(executor)
    }

    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// Lets steps take up to so long.
    pub(crate) fn set_step_time(&self, longest: Duration) {
        self.step_time.set(longest);
    }

    /// Has an owner's clock count so many seconds in a million.
    pub(crate) fn set_pace(&self, owner: Owner, pace: u64) {
        self.paces.borrow_mut().insert(owner, pace);
    }

    fn pace(&self) -> u128 {
        self.paces.borrow().get(&self.owner.get()).map_or(MILLION, |pace| u128::from(*pace))
    }

    /// The time by the clock of who runs now.
    pub(crate) fn own_now(&self) -> Duration {
        Duration::from_nanos((self.now().as_nanos() * self.pace() / MILLION) as u64)
    }

    /// Sets an alarm by the clock of who runs now.
    pub(crate) fn own_alarm(&self, after: Duration) -> Alarm {
        // Not a moment too early by that clock.
        let nanos = (after.as_nanos() * MILLION).div_ceil(self.pace()) + 1;
        self.alarm(Duration::from_nanos(nanos as u64))
    }

    /// Number of steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Sum over all that was chosen so far.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.get()
    }

    pub(crate) fn random_u64(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }

    /// Draws a number below `end`, which is not 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.random.borrow_mut().random_range(0..end)
    }

    /// Draws true so many times in a thousand.
    pub(crate) fn happens(&self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// Draws a time between two.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (from.as_micros() as u64, to.as_micros() as u64);
        Duration::from_micros(self.random.borrow_mut().random_range(from..=to.max(from)))
    }

    /// Runs `work` as a part of `owner`: the tasks that it spawns are that one's.
    pub(crate) fn owned<T>(&self, owner: Owner, work: impl FnOnce() -> T) -> T {
        let before = self.owner.replace(owner);
        let result = work();
        self.owner.set(before);
        result
    }

    /// Runs `future` as a task of who runs now.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let number = self.spawned.get() + 1;
        self.spawned.set(number);
        let mut slots = self.slots.borrow_mut();
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        let waker = TaskWaker { executor: self.number, place, number, is_ready: AtomicBool::new(true) };
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
        slots[place] = Some(Slot { number, owner: self.owner.get(), waker: Arc::new(waker), future: Some(future) });
        self.ready.borrow_mut().push((place, number));
    }

    /// Drops the tasks of `owner`, wherever they stand.
    pub(crate) fn kill(&self, owner: Owner) {
        self.drop_tasks(|of| of == owner);
    }

    fn drop_tasks(&self, is_dropped: impl Fn(Owner) -> bool) {
        // As often as it takes: what is dropped may spawn.
        loop {
            let mut dropped = Vec::new();
            let mut slots = self.slots.borrow_mut();
            for (place, slot) in slots.iter_mut().enumerate() {
                if slot.as_ref().is_some_and(|slot| slot.future.is_some() && is_dropped(slot.owner)) {
                    dropped.extend(slot.take().and_then(|slot| slot.future));
                    self.free.borrow_mut().push(place);
                }
            }
            drop(slots);
            if dropped.is_empty() {
                return;
            }
        }
    }

    /// Lets no task of `owner` run for a while.
    pub(crate) fn pause(self: &Rc<Self>, owner: Owner, time: Duration) {
        let until = self.now() + time;
        let mut paused = self.paused.borrow_mut();
        let (latest, _) = paused.entry(owner).or_default();
        *latest = until.max(*latest);
        drop(paused);
        let (executor, alarm) = (self.clone(), self.alarm(time));
        self.owned(WORLD, || {
            self.spawn(async move {
                alarm.await;
                let held = executor.paused.borrow_mut().get_mut(&owner).map(|(_, held)| std::mem::take(held));
                executor.ready.borrow_mut().extend(held.unwrap_or_default());
            });
        });
    }

    /// Lets one task run, and returns whose it was. `None` if none will ever run again.
    pub(crate) fn step(&self) -> Option<Owner> {
        let (place, owner, waker, mut future) = self.choose()?;
        self.steps.set(self.steps.get() + 1);
        let digest = self.digest.get().rotate_left(5) ^ (place as u64) ^ (self.now().as_micros() as u64);
        self.digest.set(digest.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        waker.is_ready.store(false, Ordering::Relaxed);
        let polled = self.owned(owner, || future.as_mut().poll(&mut Context::from_waker(&Waker::from(waker))));
        let ended = {
            let mut slots = self.slots.borrow_mut();
            let slot = slots[place].as_mut().expect("a task that runs has its place");
            slot.future = Some(future);
            if polled.is_ready() { slots[place].take() } else { None }
        };
        if ended.is_some() {
            self.free.borrow_mut().push(place);
        }
        drop(ended);
        let longest = self.step_time.get();
        if !longest.is_zero() {
            self.now.set(self.now() + self.between(Duration::ZERO, longest));
            while self.alarms.borrow().peek().is_some_and(|Reverse(due)| due.at <= self.now()) {
                self.pass_time();
            }
        }
        Some(owner)
    }

    /// Draws one of the tasks that can run; lets time pass until one can.
    #[expect(clippy::type_complexity, reason = "the parts of a slot")]
    fn choose(&self) -> Option<(usize, Owner, Arc<TaskWaker>, Pin<Box<dyn Future<Output = ()>>>)> {
        loop {
            let count = self.ready.borrow().len();
            if count == 0 {
                self.pass_time()?;
                continue;
            }
            let chosen = if count == 1 { 0 } else { self.below(count as u64) as usize };
            let (place, number) = self.ready.borrow_mut().swap_remove(chosen);
            let mut paused = self.paused.borrow_mut();
            let mut slots = self.slots.borrow_mut();
            // It may have been dropped since.
            let slot = slots[place].as_mut().filter(|slot| slot.number == number);
            if let Some((until, held)) = slot.as_ref().and_then(|slot| paused.get_mut(&slot.owner))
                && *until > self.now()
            {
                held.push((place, number));
                continue;
            }
            if let Some((slot, future)) = slot.and_then(|slot| slot.future.take().map(|future| (&*slot, future))) {
                return Some((place, slot.owner, slot.waker.clone(), future));
            }
        }
    }

    /// Jumps to the next alarm. `None` if there is none.
    fn pass_time(&self) -> Option<()> {
        let Reverse(due) = self.alarms.borrow_mut().pop()?;
        if !due.state.is_dropped.get() {
            self.now.set(self.now.get().max(due.at));
            due.state.is_over.set(true);
            if let Some(waker) = due.state.waker.take() {
                waker.wake();
            }
        }
        Some(())
    }

    /// Sets an alarm.
    pub(crate) fn alarm(&self, after: Duration) -> Alarm {
        let number = self.alarms_set.get() + 1;
        self.alarms_set.set(number);
        let state: Rc<AlarmState> = Rc::default();
        self.alarms.borrow_mut().push(Reverse(Due { at: self.now() + after, number, state: state.clone() }));
        Alarm(state)
    }
}

/// An alarm that is set.
struct Due {
    at: Duration,
    number: u64,
    state: Rc<AlarmState>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[derive(Default)]
struct AlarmState {
    is_over: Cell<bool>,
    is_dropped: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// Waits for a moment in virtual time.
pub(crate) struct Alarm(Rc<AlarmState>);

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_over.get() {
            return Poll::Ready(());
        }
        self.0.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.is_dropped.set(true);
        drop(self.0.waker.take());
    }
}

/// Marks a task as one that can run.
struct TaskWaker {
    executor: u64,
    place: usize,
    number: u64,
    is_ready: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_ready.swap(true, Ordering::Relaxed) {
            return;
        }
        // What outlives its simulation wakes nobody.
        if let Some(executor) = current().filter(|executor| executor.number == self.executor) {
            executor.ready.borrow_mut().push((self.place, self.number));
        }
    }
}
