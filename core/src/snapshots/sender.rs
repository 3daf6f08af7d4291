//! Snapshots that leave: a few threads, a queue, and the handle that waits for one.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use basalt_net::peer::{Acquaintance, GroupNumber, NodeNumber, Own, Wanted};
use basalt_raft::VoteParts;
use futures_channel::oneshot;

use super::bandwidth::Bandwidth;
use super::halt::Halt;
use super::pool::{Halting, Pool};
use super::send_error::SendError;
use super::sending;
use super::signs::{OnSign, Signs};
use super::transfers::{Progress, Transfer, Transfers};
use crate::limits::snapshots as limits;

/// A snapshot to be sent.
#[derive(Debug)]
pub struct SendOrder {
    /// The address of the node that is to have it.
    pub to: SocketAddr,
    /// That node, and the lane for snapshots.
    pub wanted: Wanted,
    /// The group.
    pub group: GroupNumber,
    /// The number of the member that is to have it, which may be its node's.
    pub member: NodeNumber,
    /// The vote of the leader that sends it, committed.
    pub vote: VoteParts,
    /// As [`SentSnapshot::meta`](basalt_raft::SentSnapshot::meta).
    pub meta: Vec<u8>,
    /// The rows. The directory stays as it is until the answer has come, or nobody waits for it any more.
    pub directory: PathBuf,
}

/// Knowledge of other nodes, as a greeting asks for it. Called on the sender's threads.
pub type Acquaintances = Arc<dyn Fn(NodeNumber) -> Acquaintance + Send + Sync>;

/// Settings of a [`Sender`].
#[derive(Clone)]
pub struct SenderOptions {
    /// This node, as it greets now. Called on the sender's threads.
    pub own: Arc<dyn Fn() -> Own + Send + Sync>,
    /// Knowledge of other nodes.
    pub acquaintances: Acquaintances,
    /// The bandwidth of all snapshots that leave.
    pub bandwidth: Arc<Bandwidth>,
    /// The longest wait for an answer, or for the other side to take what is sent.
    pub silence_wait: Duration,
    /// Time without progress, over however many connections, after which a snapshot is given up.
    pub progress_wait: Duration,
    /// The first wait after a connection was cut; each one that brings nothing doubles it.
    pub back_off: Duration,
    /// The shortest time between two signs of life that whoever waits is told of.
    pub sign_every: Duration,
}

impl SenderOptions {
    /// The usual waits.
    pub fn new(
        own: Arc<dyn Fn() -> Own + Send + Sync>,
        acquaintances: Acquaintances,
        bandwidth: Arc<Bandwidth>,
    ) -> SenderOptions {
        let (silence_wait, progress_wait) = (limits::SILENCE_WAIT, limits::PROGRESS_WAIT);
        let (back_off, sign_every) = (limits::BACK_OFF_SHORTEST, limits::SIGN_TOLD_EVERY);
        SenderOptions { own, acquaintances, bandwidth, silence_wait, progress_wait, back_off, sign_every }
    }
}

impl fmt::Debug for SenderOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SenderOptions").field("own", &(self.own)()).finish_non_exhaustive()
    }
}

/// Sends the snapshots of a node. Its threads end when it is stopped or dropped.
#[derive(Debug)]
pub struct Sender {
    pool: Pool<Job>,
    transfers: Arc<Transfers>,
    sign_every: Duration,
}

/// One snapshot to be sent, with whoever waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) order: SendOrder,
    pub(super) halt: Arc<Halt>,
    pub(super) transfer: Arc<Transfer>,
    signs: Signs,
    answer: oneshot::Sender<Result<VoteParts, SendError>>,
}

impl Halting for Job {
    fn halt(&self) -> &Arc<Halt> {
        &self.halt
    }
}

/// A snapshot on its way: ends with the vote of who took it. Dropped, it is no longer sent.
///
/// A group gives up a snapshot that it hears nothing of: [`Sending::on_sign`] is to tell it.
#[must_use = "a snapshot that nobody waits for is not sent"]
#[derive(Debug)]
pub struct Sending {
    answer: oneshot::Receiver<Result<VoteParts, SendError>>,
    on_sign: OnSign,
    halt: Arc<Halt>,
}

impl Sender {
    /// Starts the threads. To be called before cores are pinned: threads run where the one that starts them may.
    ///
    /// # Errors
    /// What the operating system says when it cannot start a thread.
    pub fn start(options: SenderOptions) -> io::Result<Sender> {
        let sign_every = options.sign_every;
        let work = move |job: Job| {
            let outcome = sending::send(&job.order, &options, &job.halt, &job.transfer, &job.signs);
            if let Err(error @ SendError::Unsendable(_)) = &outcome {
                // For as long as the other node is of its version.
                tracing::debug!(group = %job.order.group, peer = %job.order.wanted.node, %error, "a snapshot was not sent");
            } else if let Err(error) = &outcome {
                let (group, node) = (job.order.group, job.order.wanted.node);
                tracing::warn!(%group, peer = %node, %error, "a snapshot was not sent");
            }
            let Job { answer, transfer, .. } = job;
            // Who has the answer finds it no longer listed.
            drop(transfer);
            // Nobody waits any more if it fails.
            let _ = answer.send(outcome);
        };
        let pool = Pool::start("snapshot-send", limits::SENDER_THREADS, limits::SENT_MAX, work)?;
        Ok(Sender { pool, transfers: Arc::default(), sign_every })
    }

    /// Sends a snapshot, once one of the threads is free. Does not block.
    pub fn send(&self, order: SendOrder) -> Sending {
        let (tell, answer) = oneshot::channel();
        let halt = Arc::new(Halt::default());
        let transfer = self.transfers.begin(order.group, order.wanted.node);
        let (signs, on_sign) = Signs::new(self.sign_every);
        let job = Job { order, halt: halt.clone(), transfer, signs, answer: tell };
        if let Err(Job { answer, .. }) = self.pool.submit(job) {
            let _ = answer.send(Err(SendError::Refused { queued_max: limits::SENT_MAX }));
        }
        Sending { answer, on_sign, halt }
    }

    /// The snapshots that are queued or sent.
    pub fn progress(&self) -> Vec<Progress> {
        self.transfers.list()
    }

    /// Ends everything, and waits until the threads have ended: at most as long as one attempt to connect takes.
    pub fn stop(&self) {
        self.pool.stop();
    }
}

impl Sending {
    /// Has `call` called, where this is waited for, when the receiver has said something, and while the files are read for their
    /// checksums, before anybody can say anything. [`SignsOfLife::note`](basalt_raft::SignsOfLife::note) is meant to be called.
    pub fn on_sign(mut self, call: impl Fn() + 'static) -> Sending {
        self.on_sign.set(call);
        self
    }
}

impl Future for Sending {
    type Output = Result<VoteParts, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.on_sign.poll(context);
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        // Who would have answered was dropped from the queue by a stop.
        Poll::Ready(answer.unwrap_or(Err(SendError::Cancelled)))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.halt.halt();
    }
}
