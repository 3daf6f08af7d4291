//! One connection on its way in: what its messages do, and what they are answered.
//!
//! What a newcomer would get wrong: when the receiver wants another place, or nothing more, pieces for the old one are still on
//! their way. They are passed over, and so is everything of a snapshot that was refused or is over; only what comes before any
//! snapshot has begun is a mistake of the peer.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use basalt_net::peer::{
    GroupNumber, Message, NodeNumber, PeerError, Recipient, Refusal, RefusalReason, RequestId, Session, SnapshotBegin,
    SnapshotPiece, Unable, UnableReason, Vote,
};
use basalt_raft::{ReceivedSnapshot, VoteParts, check_snapshot};
use basalt_storage::free_bytes;

use super::claims::{Asked, Claim};
use super::failpoint::fault;
use super::halt::Halt;
use super::partial::{Partial, Written};
use super::receive_error::ReceiveError;
use super::receiver::{Answer, Shared};
use super::transfers::Transfer;
use super::wire::{Incoming, Wire, WireError};
use crate::limits::snapshots::ACKNOWLEDGED_BYTES;
use crate::peers::vote_of;

/// A reason that a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The connection's own.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The node stops, or a newer snapshot of the group has come.
    #[error("it was asked to end")]
    Halted,
}

/// The way back to the sender.
pub(super) trait Replies {
    fn reply(&mut self, group: GroupNumber, request: RequestId, message: Message) -> Result<(), WireError>;
}

impl Replies for Wire {
    fn reply(&mut self, group: GroupNumber, request: RequestId, message: Message) -> Result<(), WireError> {
        self.send(group, request, message)
    }
}

/// Serves a connection until it ends, and says why it did.
pub(super) fn serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    session: Session,
    unread: Vec<u8>,
    halt: &Arc<Halt>,
) -> Ended {
    let Err(ended) = try_serve(shared, stream, session, unread, halt);
    if halt.is_halted() { Ended::Halted } else { ended }
}

fn try_serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    session: Session,
    unread: Vec<u8>,
    halt: &Arc<Halt>,
) -> Result<std::convert::Infallible, Ended> {
    let silence_wait = shared.options.silence_wait;
    halt.lend(&stream).map_err(WireError::Cut)?;
    let mut wire = Wire::new(stream, session, shared.options.bounds, unread, silence_wait).map_err(WireError::Cut)?;
    let mut conversation = Conversation::new(shared.clone(), halt.clone(), session.node);
    loop {
        let Some(incoming) = wire.receive(Instant::now() + silence_wait)? else {
            return Err(WireError::Silent(silence_wait).into());
        };
        if let Err(ended) = conversation.take(incoming, &mut wire) {
            if let Ended::Wire(WireError::Peer(error)) = &ended {
                wire.refuse(error);
            }
            return Err(ended);
        }
    }
}

/// The snapshots that come by one connection, one after the other.
pub(super) struct Conversation {
    shared: Arc<Shared>,
    halt: Arc<Halt>,
    node: NodeNumber,
    has_begun: bool,
    current: Option<Current>,
}

/// The snapshot that is being received.
struct Current {
    name: Name,
    /// The member that it is for.
    to: Recipient,
    vote: VoteParts,
    checkpoint: u64,
    meta: Vec<u8>,
    place: PathBuf,
    partial: Partial,
    claim: Claim,
    transfer: Arc<Transfer>,
    /// Bytes that were written and not acknowledged.
    unsaid_bytes: u64,
}

/// The name that all messages of a snapshot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    group: GroupNumber,
    request: RequestId,
}

/// The end of what one message does.
enum Stopped {
    /// The snapshot is refused, the connection goes on.
    Refused(ReceiveError),
    /// The connection is over.
    Ended(Ended),
}

impl From<ReceiveError> for Stopped {
    fn from(error: ReceiveError) -> Stopped {
        Stopped::Refused(error)
    }
}

impl From<Ended> for Stopped {
    fn from(ended: Ended) -> Stopped {
        Stopped::Ended(ended)
    }
}

impl From<WireError> for Stopped {
    fn from(error: WireError) -> Stopped {
        Stopped::Ended(error.into())
    }
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>, halt: Arc<Halt>, node: NodeNumber) -> Conversation {
        Conversation { shared, halt, node, has_begun: false, current: None }
    }

    /// Takes a message; writes what there is to write, and answers.
    ///
    /// # Errors
    /// The reason that the connection is over.
    pub(super) fn take(&mut self, incoming: Incoming, replies: &mut dyn Replies) -> Result<(), Ended> {
        let Incoming { group, request, message } = incoming;
        let name = Name { group, request };
        let is_current = self.current.as_ref().is_some_and(|current| current.name == name);
        let to = message.recipient();
        let stopped = match message.without_member() {
            Message::SnapshotBegin(begin) => {
                self.has_begun = true;
                // Also another group's: a connection carries one at a time.
                self.current = None;
                self.begin(name, to, begin, replies)
            }
            Message::SnapshotPiece(_) | Message::SnapshotEnd | Message::Unable(_) if self.has_begun && !is_current => {
                return Ok(());
            }
            Message::SnapshotPiece(piece) if is_current => self.write(&piece, replies),
            Message::SnapshotEnd if is_current => self.end(replies),
            Message::Unable(Unable { text, .. }) if is_current => {
                tracing::info!(%group, peer = %self.node, reason = text, "the sender gives a snapshot up");
                self.current = None;
                return Ok(());
            }
            message => {
                let text = format!("a {} where the sender of a snapshot has nothing to say", message.kind());
                let refusal = Refusal::new(RefusalReason::Protocol, text);
                return Err(WireError::Peer(PeerError::Refused(refusal)).into());
            }
        };
        match stopped {
            Ok(()) => Ok(()),
            Err(Stopped::Ended(ended)) => Err(ended),
            Err(Stopped::Refused(error)) => self.refuse(name, &error, replies),
        }
    }

    /// Tells the sender that the snapshot is not taken.
    fn refuse(&mut self, name: Name, error: &ReceiveError, replies: &mut dyn Replies) -> Result<(), Ended> {
        let Name { group, request } = name;
        tracing::warn!(%group, peer = %self.node, %error, "a snapshot is not received");
        if let Some(current) = self.current.take().filter(|_| error.is_no_space()) {
            // The node itself needs the room.
            let removed = Partial::discard(&current.place, &self.shared.tag);
            if let Err(error) = removed {
                tracing::warn!(path = %current.place.display(), %error, "what has come of a snapshot stays");
            }
        }
        Ok(replies.reply(group, request, Message::Unable(error.unable()))?)
    }

    fn begin(
        &mut self,
        name: Name,
        to: Recipient,
        begin: SnapshotBegin,
        replies: &mut dyn Replies,
    ) -> Result<(), Stopped> {
        let Name { group, request } = name;
        let vote = vote_of(begin.vote);
        check_snapshot(vote, &begin.meta).map_err(ReceiveError::from)?;
        if begin.files.is_empty() {
            return Err(ReceiveError::Unusable("it has no files".to_owned()).into());
        }
        let place = self.shared.groups.place(group, to).map_err(ReceiveError::Other)?;
        let (checkpoint, meta) = (begin.checkpoint, begin.meta.to_vec());
        let claim = match self.shared.claims.ask(group, vote.term, checkpoint, &self.halt)? {
            Asked::Claimed(claim) => claim,
            Asked::Installed(vote) => {
                return Ok(replies.reply(group, request, Message::SnapshotAnswer(vote))?);
            }
        };
        let partial = Partial::open(&place, group, &begin, &self.shared.tag)?;
        let transfer = self.shared.transfers.begin(group, self.node);
        transfer.set_total(partial.list().total());
        transfer.set_done(partial.due());
        let (due, bytes) = (partial.due(), partial.missing_bytes());
        let current = Current { name, to, vote, checkpoint, meta, place, partial, claim, transfer, unsaid_bytes: 0 };
        let space = self.check_space(&current, self.shared.options.reserve_bytes);
        let position = current.partial.due_position();
        self.current = Some(current);
        space?;
        tracing::info!(%group, peer = %self.node, bytes, from = due, "a snapshot is received");
        fault("resume due", &self.current().place).map_err(|source| ReceiveError::io(&self.current().place, source))?;
        Ok(replies.reply(group, request, Message::SnapshotResume(position))?)
    }

    /// Refuses what would leave the disk without its reserve.
    fn check_space(&self, current: &Current, reserve_bytes: u64) -> Result<(), ReceiveError> {
        let missing_bytes = current.partial.missing_bytes();
        let of_others = current.claim.set_missing(missing_bytes);
        let needed_bytes = missing_bytes.saturating_add(of_others);
        let path = current.place.clone();
        let free_bytes = free_bytes(&path)
            .map_err(|error| ReceiveError::Other(Unable::new(UnableReason::Other, error.to_string())))?;
        fault("space looked at", &path).map_err(|source| ReceiveError::io(&path, source))?;
        if free_bytes.saturating_sub(reserve_bytes) < needed_bytes {
            return Err(ReceiveError::NoSpace { path, needed_bytes, free_bytes, reserve_bytes });
        }
        Ok(())
    }

    fn current(&mut self) -> &mut Current {
        self.current.as_mut().expect("the message is of the snapshot that is received")
    }

    fn write(&mut self, piece: &SnapshotPiece, replies: &mut dyn Replies) -> Result<(), Stopped> {
        let current = self.current();
        let written = current.partial.write(piece)?;
        let Name { group, request } = current.name;
        match written {
            Written::NotDue => return Ok(()),
            Written::Next => current.unsaid_bytes += piece.bytes.len() as u64,
            Written::Elsewhere => {
                current.unsaid_bytes = 0;
                let position = current.partial.due_position();
                replies.reply(group, request, Message::SnapshotResume(position))?;
            }
        }
        let due = current.partial.due();
        current.transfer.set_done(due);
        if current.unsaid_bytes < ACKNOWLEDGED_BYTES && due < current.partial.list().total() {
            return Ok(());
        }
        current.unsaid_bytes = 0;
        let position = current.partial.due_position();
        // What others write meanwhile is theirs: half of the reserve is enough.
        let reserve_bytes = self.shared.options.reserve_bytes / 2;
        let current = self.current.as_ref().expect("it was there a moment ago");
        self.check_space(current, reserve_bytes)?;
        Ok(replies.reply(group, request, Message::SnapshotAck(position))?)
    }

    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Stopped> {
        let name = self.current().name;
        let Name { group, request } = name;
        if self.current().partial.due() < self.current().partial.list().total() {
            // It has sent what it was asked for before it heard of more.
            return Ok(());
        }
        self.check(replies)?;
        let current = self.current();
        if current.partial.due() < current.partial.list().total() {
            current.transfer.set_done(current.partial.due());
            let position = current.partial.due_position();
            return Ok(replies.reply(group, request, Message::SnapshotResume(position))?);
        }
        let current = self.current.take().expect("it was there a moment ago");
        let vote = self.install(current, replies)?;
        Ok(replies.reply(group, request, Message::SnapshotAnswer(vote))?)
    }

    /// Compares all bytes with their checksums, with a sign of life now and then.
    fn check(&mut self, replies: &mut dyn Replies) -> Result<(), Stopped> {
        let (halt, sign_every) = (self.halt.clone(), self.shared.options.sign_every);
        let current = self.current();
        let Name { group, request } = current.name;
        let end = current.partial.list().position(current.partial.list().total());
        let mut said = Instant::now();
        current.partial.check(&mut || {
            if halt.is_halted() {
                return Err(Stopped::Ended(Ended::Halted));
            }
            if said.elapsed() >= sign_every {
                replies.reply(group, request, Message::SnapshotAck(end))?;
                said = Instant::now();
            }
            Ok(())
        })
    }

    /// Hands the files to the group and waits for its answer.
    fn install(&self, current: Current, replies: &mut dyn Replies) -> Result<Vote, Stopped> {
        let Current {
            name: Name { group, request },
            to,
            vote,
            checkpoint,
            meta,
            place,
            mut partial,
            claim,
            transfer,
            ..
        } = current;
        let tag = format!("{}-{:016x}", self.shared.tag, rand::random::<u64>());
        let directory = partial.finish(&tag)?;
        let snapshot = ReceivedSnapshot { vote, meta, directory };
        let (answer, answers) = Answer::new(claim, checkpoint);
        self.shared.groups.install(group, to, snapshot, answer);
        let begun = Instant::now();
        let list = partial.list();
        let end = list.position(list.total());
        loop {
            match answers.recv_timeout(self.shared.options.sign_every) {
                Ok((outcome, claim)) => {
                    if let Err(error) = Partial::discard(&place, &self.shared.tag) {
                        tracing::warn!(path = %place.display(), %error, "what a snapshot has left stays for a while");
                    }
                    drop((claim, transfer));
                    let vote = outcome.map_err(ReceiveError::Other)?;
                    tracing::info!(%group, peer = %self.node, bytes = list.total(), "a snapshot is installed");
                    return Ok(vote);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the group was closed meanwhile".to_owned();
                    return Err(ReceiveError::Other(Unable::new(UnableReason::Closed, text)).into());
                }
                Err(RecvTimeoutError::Timeout) if self.halt.is_halted() => return Err(Ended::Halted.into()),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= self.shared.options.install_wait => {
                    let text = format!("{} is still being installed", place.display());
                    return Err(ReceiveError::Other(Unable::new(UnableReason::Overloaded, text)).into());
                }
                Err(RecvTimeoutError::Timeout) => replies.reply(group, request, Message::SnapshotAck(end))?,
            }
        }
    }
}
