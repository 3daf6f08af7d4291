//! Channels between tasks of one executor: watch, oneshot, bounded mpsc and mutex, all `Rc` and `Cell`.
//!
//! openraft asks its runtime for channels. Those of tokio pay for threads that a core does not have; these do not, and
//! so none of them may ever be touched from another thread (they are not `Send`). What comes from another thread, a
//! finished sync for example, enters through [`crate::completions`].
//!
//! No waker is ever run while a `RefCell` is borrowed: waking may run arbitrary code of the executor.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use openraft_rt::{self as rt, OptionalSend, OptionalSync};

/// Tasks that wait for something, each at most once.
#[derive(Default)]
pub(crate) struct Waiters(RefCell<Vec<Waker>>);

impl Waiters {
    /// Adds the task of `context`.
    pub(crate) fn add(&self, context: &Context<'_>) {
        let mut waiters = self.0.borrow_mut();
        if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
            waiters.push(context.waker().clone());
        }
    }

    /// Wakes and forgets them all.
    pub(crate) fn wake_all(&self) {
        if self.0.borrow().is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut *self.0.borrow_mut());
        for waker in waiters {
            waker.wake();
        }
    }
}

/// The family of watch channels: one value, its newest version seen by every receiver.
pub struct Watch;

struct WatchInner<T> {
    value: RefCell<T>,
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiters: Waiters,
}

impl<T> WatchInner<T> {
    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        self.waiters.wake_all();
    }
}

/// Sets the value of a watch channel.
pub struct WatchSender<T>(Rc<WatchInner<T>>);

/// Sees the newest value of a watch channel.
pub struct WatchReceiver<T> {
    inner: Rc<WatchInner<T>>,
    seen: u64,
}

/// The value of a watch channel, borrowed.
pub struct WatchRef<'a, T>(Ref<'a, T>);

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        WatchSender(self.0.clone())
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.waiters.wake_all();
        }
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.inner.receivers.set(self.inner.receivers.get() + 1);
        WatchReceiver { inner: self.inner.clone(), seen: self.seen }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.inner.receivers.set(self.inner.receivers.get() - 1);
    }
}

impl<T> Deref for WatchRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = WatchRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let inner = Rc::new(WatchInner {
            value: RefCell::new(init),
            version: Cell::new(0),
            senders: Cell::new(1),
            receivers: Cell::new(1),
            waiters: Waiters::default(),
        });
        (WatchSender(inner.clone()), WatchReceiver { inner, seen: 0 })
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchSender<Watch, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), rt::watch::SendError<T>> {
        if self.0.receivers.get() == 0 {
            return Err(rt::watch::SendError(value));
        }
        let old = self.0.value.replace(value);
        self.0.changed();
        drop(old);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut self.0.value.borrow_mut());
        if modified {
            self.0.changed();
        }
        modified
    }

    fn borrow_watched(&self) -> WatchRef<'_, T> {
        WatchRef(self.0.value.borrow())
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        self.0.receivers.set(self.0.receivers.get() + 1);
        WatchReceiver { inner: self.0.clone(), seen: self.0.version.get() }
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchReceiver<Watch, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), rt::watch::RecvError> {
        poll_fn(|context| {
            let version = self.inner.version.get();
            if version != self.seen {
                self.seen = version;
                return Poll::Ready(Ok(()));
            }
            if self.inner.senders.get() == 0 {
                return Poll::Ready(Err(rt::watch::RecvError(())));
            }
            self.inner.waiters.add(context);
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> WatchRef<'_, T> {
        WatchRef(self.inner.value.borrow())
    }

    fn borrow_and_update(&mut self) -> WatchRef<'_, T> {
        self.seen = self.inner.version.get();
        WatchRef(self.inner.value.borrow())
    }
}

/// The family of oneshot channels.
pub struct Oneshot;

struct OneshotInner<T> {
    value: Cell<Option<T>>,
    receiver: Cell<Option<Waker>>,
    sender_gone: Cell<bool>,
    receiver_gone: Cell<bool>,
}

/// Sends the one value.
pub struct OneshotSender<T>(Rc<OneshotInner<T>>);

/// Waits for the one value.
pub struct OneshotReceiver<T>(Rc<OneshotInner<T>>);

/// The sender went away without sending.
#[derive(Debug, thiserror::Error)]
#[error("the sender of a oneshot channel was dropped")]
pub struct OneshotClosed;

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.set(true);
        if let Some(waker) = self.0.receiver.take() {
            waker.wake();
        }
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
        drop(self.0.value.take());
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, OneshotClosed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.0.value.take() {
            return Poll::Ready(Ok(value));
        }
        if self.0.sender_gone.get() {
            return Poll::Ready(Err(OneshotClosed));
        }
        self.0.receiver.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl rt::Oneshot for Oneshot {
    type Sender<T: OptionalSend> = OneshotSender<T>;
    type Receiver<T: OptionalSend> = OneshotReceiver<T>;
    type ReceiverError = OneshotClosed;

    fn channel<T: OptionalSend>() -> (OneshotSender<T>, OneshotReceiver<T>) {
        let inner = Rc::new(OneshotInner {
            value: Cell::new(None),
            receiver: Cell::new(None),
            sender_gone: Cell::new(false),
            receiver_gone: Cell::new(false),
        });
        (OneshotSender(inner.clone()), OneshotReceiver(inner))
    }
}

impl<T: OptionalSend> rt::OneshotSender<T> for OneshotSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        if self.0.receiver_gone.get() {
            return Err(value);
        }
        self.0.value.set(Some(value));
        Ok(())
    }
}

/// The family of bounded queues with many senders and one receiver.
pub struct Mpsc;

struct MpscInner<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receiver_gone: Cell<bool>,
    receiver: Waiters,
    blocked_senders: Waiters,
}

/// Puts messages into the queue.
pub struct MpscSender<T>(Rc<MpscInner<T>>);

/// Becomes a sender as long as there is another one.
pub struct MpscWeakSender<T>(Rc<MpscInner<T>>);

/// Takes messages from the queue.
pub struct MpscReceiver<T>(Rc<MpscInner<T>>);

impl<T> Clone for MpscSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        MpscSender(self.0.clone())
    }
}

impl<T> Drop for MpscSender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.receiver.wake_all();
        }
    }
}

impl<T> Clone for MpscWeakSender<T> {
    fn clone(&self) -> Self {
        MpscWeakSender(self.0.clone())
    }
}

impl<T> Drop for MpscReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
        // Dropping a message may run code that uses the channel again: not under the borrow.
        let unread = std::mem::take(&mut *self.0.queue.borrow_mut());
        drop(unread);
        self.0.blocked_senders.wake_all();
    }
}

impl rt::Mpsc for Mpsc {
    type Sender<T: OptionalSend> = MpscSender<T>;
    type Receiver<T: OptionalSend> = MpscReceiver<T>;
    type WeakSender<T: OptionalSend> = MpscWeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (MpscSender<T>, MpscReceiver<T>) {
        let inner = Rc::new(MpscInner {
            queue: RefCell::new(VecDeque::new()),
            capacity: buffer.max(1),
            senders: Cell::new(1),
            receiver_gone: Cell::new(false),
            receiver: Waiters::default(),
            blocked_senders: Waiters::default(),
        });
        (MpscSender(inner.clone()), MpscReceiver(inner))
    }
}

impl<T: OptionalSend> rt::MpscSender<Mpsc, T> for MpscSender<T> {
    async fn send(&self, message: T) -> Result<(), rt::SendError<T>> {
        let mut message = Some(message);
        poll_fn(|context| {
            if self.0.receiver_gone.get() {
                return Poll::Ready(message.take().map_or(Ok(()), |message| Err(rt::SendError(message))));
            }
            if self.0.queue.borrow().len() >= self.0.capacity {
                self.0.blocked_senders.add(context);
                return Poll::Pending;
            }
            if let Some(message) = message.take() {
                self.0.queue.borrow_mut().push_back(message);
                self.0.receiver.wake_all();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn downgrade(&self) -> MpscWeakSender<T> {
        MpscWeakSender(self.0.clone())
    }
}

impl<T: OptionalSend> rt::MpscReceiver<T> for MpscReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| match self.try_recv() {
            Ok(message) => Poll::Ready(Some(message)),
            Err(rt::TryRecvError::Disconnected) => Poll::Ready(None),
            Err(rt::TryRecvError::Empty) => {
                self.0.receiver.add(context);
                Poll::Pending
            }
        })
        .await
    }

    fn try_recv(&mut self) -> Result<T, rt::TryRecvError> {
        let message = self.0.queue.borrow_mut().pop_front();
        match message {
            Some(message) => {
                self.0.blocked_senders.wake_all();
                Ok(message)
            }
            None if self.0.senders.get() == 0 => Err(rt::TryRecvError::Disconnected),
            None => Err(rt::TryRecvError::Empty),
        }
    }
}

impl<T: OptionalSend> rt::MpscWeakSender<Mpsc, T> for MpscWeakSender<T> {
    fn upgrade(&self) -> Option<MpscSender<T>> {
        if self.0.senders.get() == 0 {
            return None;
        }
        self.0.senders.set(self.0.senders.get() + 1);
        Some(MpscSender(self.0.clone()))
    }
}

/// A mutex between tasks of one executor.
pub struct Mutex<T> {
    value: RefCell<T>,
    waiters: Waiters,
}

/// The locked value. Unlocks when dropped, then wakes who waits.
pub struct MutexGuard<'a, T> {
    // Fields drop in this order: the value is free again before anyone is woken.
    value: RefMut<'a, T>,
    _wake: WakeOnDrop<'a>,
}

struct WakeOnDrop<'a>(&'a Waiters);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake_all();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: OptionalSend + 'static> rt::Mutex<T> for Mutex<T> {
    type Guard<'a> = MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Mutex { value: RefCell::new(value), waiters: Waiters::default() }
    }

    async fn lock(&self) -> MutexGuard<'_, T> {
        poll_fn(|context| match self.value.try_borrow_mut() {
            Ok(value) => Poll::Ready(MutexGuard { value, _wake: WakeOnDrop(&self.waiters) }),
            Err(_) => {
                self.waiters.add(context);
                Poll::Pending
            }
        })
        .await
    }
}
