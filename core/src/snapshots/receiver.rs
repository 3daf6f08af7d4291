//! Snapshots that come: a few threads that serve connections, and the way from them to the groups.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Answers, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use basalt_net::peer::{Bounds, GroupNumber, Lane, Recipient, Unable, UnableReason, Vote};
use basalt_raft::{ReceivedSnapshot, VoteParts};

use super::claims::{Asked, Claim, Claims};
use super::halt::Halt;
use super::partial::Partial;
use super::pool::{Halting, Pool};
use super::receiving;
use super::transfers::{Progress, Transfers};
use crate::limits::snapshots as limits;
use crate::mail::HandedPeer;
use crate::peers::to_vote;

/// The groups of this node, as snapshots reach them. Called on the receiver's threads.
pub trait Groups: Send + Sync {
    /// Returns the group's directory for what comes for its member `to`: beside its log and rows, on their file system. It is made
    /// if it is not there, and holds nothing else.
    ///
    /// # Errors
    /// The reason that the group takes no snapshot now; or that its replica here is another member.
    fn place(&self, group: GroupNumber, to: Recipient) -> Result<PathBuf, Unable>;

    /// Hands a snapshot that is whole over to the group, whose it is from now on: it moves the directory or removes it. Does not
    /// wait for that; the group answers. If its replica is no longer the member `to`, this is the answer.
    fn install(&self, group: GroupNumber, to: Recipient, snapshot: ReceivedSnapshot, answer: Answer);
}

/// The way back from a group that was given a snapshot. Dropped without a word, it says that the group was closed.
#[derive(Debug)]
pub struct Answer {
    claim: Option<Claim>,
    checkpoint: u64,
    tell: SyncSender<Told>,
}

/// An answer that has come, with the claim to the group.
pub(super) type Told = (Result<Vote, Unable>, Claim);

impl Answer {
    /// An answer to whoever holds the other end. The group is held until it has come.
    pub(super) fn new(claim: Claim, checkpoint: u64) -> (Answer, Answers<Told>) {
        let (tell, answers) = sync_channel(1);
        claim.begin_install();
        (Answer { claim: Some(claim), checkpoint, tell }, answers)
    }

    /// Says what has become of the snapshot: this node's vote, or the reason that it was not used. Does not block.
    pub fn send(mut self, outcome: Result<VoteParts, Unable>) {
        self.tell(outcome.map(to_vote));
    }

    fn tell(&mut self, outcome: Result<Vote, Unable>) {
        let Some(claim) = self.claim.take() else { return };
        if let Ok(vote) = outcome {
            claim.installed(self.checkpoint, vote);
        }
        // If its connection was cut, the claim ends here.
        let _ = self.tell.try_send((outcome, claim));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.tell(Err(Unable::new(UnableReason::Closed, "the group was closed meanwhile")));
    }
}

/// Settings of a [`Receiver`].
#[derive(Debug, Clone, Copy)]
pub struct ReceiverOptions {
    /// The bounds that this node names in its greetings.
    pub bounds: Bounds,
    /// Bytes of the file system that a snapshot leaves free. Half of it is enough once one has begun.
    pub reserve_bytes: u64,
    /// The longest silence of a sender.
    pub silence_wait: Duration,
    /// Interval at which a sender hears that its snapshot is being checked or installed.
    pub sign_every: Duration,
    /// The longest wait for a group to install one.
    pub install_wait: Duration,
}

impl ReceiverOptions {
    /// The usual waits.
    pub fn new(bounds: Bounds, reserve_bytes: u64) -> ReceiverOptions {
        ReceiverOptions {
            bounds,
            reserve_bytes,
            silence_wait: limits::SILENCE_WAIT,
            sign_every: limits::SIGN_EVERY,
            install_wait: limits::INSTALL_WAIT,
        }
    }
}

/// Things that the connections of a node share.
pub(super) struct Shared {
    pub(super) options: ReceiverOptions,
    pub(super) groups: Arc<dyn Groups>,
    pub(super) claims: Arc<Claims>,
    pub(super) transfers: Transfers,
    /// Marks what this run has handed over, so that it is not taken for what an earlier one left.
    pub(super) tag: String,
}

/// Receives the snapshots of a node. Its threads end when it is stopped or dropped.
pub struct Receiver {
    pool: Pool<Served>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Served {
    peer: HandedPeer,
    halt: Arc<Halt>,
}

impl Halting for Served {
    fn halt(&self) -> &Arc<Halt> {
        &self.halt
    }
}

impl Receiver {
    /// Starts the threads. To be called before cores are pinned: threads run where the one that starts them may.
    ///
    /// # Errors
    /// What the operating system says when it cannot start a thread.
    pub fn start(options: ReceiverOptions, groups: Arc<dyn Groups>) -> io::Result<Receiver> {
        let tag = format!("{:016x}", rand::random::<u64>());
        let shared = Arc::new(Shared { options, groups, claims: Arc::default(), transfers: Transfers::default(), tag });
        let serving = shared.clone();
        let work = move |Served { peer: HandedPeer { socket, session, received }, halt }: Served| {
            let node = session.node;
            let ended = receiving::serve(&serving, TcpStream::from(socket), session, received, &halt);
            halt.take_back();
            tracing::debug!(peer = %node, reason = %ended, "a connection for snapshots has ended");
        };
        let pool = Pool::start("snapshot-take", limits::CONNECTIONS_MAX, limits::CONNECTIONS_MAX, work)?;
        Ok(Receiver { pool, shared })
    }

    /// Serves a connection of the lane for snapshots that a core has accepted and greeted. Nobody else reads from it or writes to
    /// it any more. Does not block.
    ///
    /// # Errors
    /// The connection, to be closed: there are too many, or it is of another lane.
    pub fn take(&self, peer: HandedPeer) -> Result<(), HandedPeer> {
        if peer.session.route.lane != Lane::Snapshots {
            return Err(peer);
        }
        self.pool.submit(Served { peer, halt: Arc::default() }).map_err(|served| served.peer)
    }

    /// The snapshots that are received.
    pub fn progress(&self) -> Vec<Progress> {
        self.shared.transfers.list()
    }

    /// Removes a part of a snapshot in the group's `directory` which nothing has been added to for an hour; returns true if there
    /// was one. Blocks. A group that is receiving one is left alone.
    ///
    /// # Errors
    /// What the operating system says when it cannot be removed.
    pub fn remove_old(&self, group: GroupNumber, directory: &Path, now: SystemTime) -> io::Result<bool> {
        // No snapshot has the term 0, so nobody gives way to it.
        match self.shared.claims.ask(group, 0, rand::random(), &Arc::default()) {
            Ok(Asked::Claimed(_claim)) => Partial::discard_old(directory, &self.shared.tag, now),
            _ => Ok(false),
        }
    }

    /// Ends everything, and waits until the threads have ended. What has come stays.
    pub fn stop(&self) {
        self.pool.stop();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
