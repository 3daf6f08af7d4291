//! One snapshot on its way out: connections one after the other until it has arrived, or nothing moves any more.
//!
//! What a newcomer would get wrong: the receiver decides from where it goes on, at the beginning and at any time later. So the
//! sender keeps nothing between two connections but the list of files and the time of the last progress.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use basalt_net::peer::{
    Message, PeerError, PushError, RefusalReason, RequestId, SnapshotBegin, SnapshotPiece, UnableReason,
};
use basalt_raft::VoteParts;

use super::file_list::{FileList, position};
use super::halt::Halt;
use super::send_error::SendError;
use super::sender::{SendOrder, SenderOptions};
use super::signs::Signs;
use super::transfers::Transfer;
use super::wire::{Incoming, Wire, WireError};
use crate::limits::snapshots::{
    ANSWER_WAIT, BACK_OFF_LONGEST, CONNECT_WAIT, DAMAGED_FILE_MAX, FRUITLESS_MAX, GREETING_WAIT, PIECE_BYTES,
    SENT_AGAIN_MAX, UNREACHED_WAIT, WINDOW_BYTES,
};
use crate::peers::{to_vote, vote_of};

/// The number of the only request on a connection.
const REQUEST: RequestId = RequestId(1);

/// Sends a snapshot; returns the receiver's vote.
pub(super) fn send(
    order: &SendOrder,
    options: &SenderOptions,
    halt: &Halt,
    transfer: &Transfer,
    signs: &Signs,
) -> Result<VoteParts, SendError> {
    let list = FileList::read(&order.directory, halt, signs)?;
    transfer.set_total(list.total());
    let begin = SnapshotBegin {
        vote: to_vote(order.vote),
        checkpoint: rand::random(),
        meta: order.meta.clone().into(),
        files: list.files().to_vec(),
    };
    let mut outgoing = Outgoing { order, options, halt, transfer, signs, list, begin, sent_bytes: 0 };
    outgoing.send()
}

struct Outgoing<'a> {
    order: &'a SendOrder,
    options: &'a SenderOptions,
    halt: &'a Halt,
    transfer: &'a Transfer,
    signs: &'a Signs,
    list: FileList,
    begin: SnapshotBegin,
    /// Bytes of files that were sent, those included that were sent again.
    sent_bytes: u64,
}

/// The end of one connection without an answer.
enum Failure {
    /// It is tried again.
    Again(String),
    Final(SendError),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        match error {
            WireError::Peer(error) if is_final(&error) => Failure::Final(SendError::Peer(error)),
            WireError::Unsendable(error @ PushError::UnknownKind { .. }) => {
                Failure::Final(SendError::Unsendable(error))
            }
            error => Failure::Again(error.to_string()),
        }
    }
}

/// True if no other connection would end otherwise.
fn is_final(error: &PeerError) -> bool {
    let (PeerError::Refused(refusal) | PeerError::RefusedByPeer(refusal)) = error else { return false };
    !matches!(refusal.reason, RefusalReason::Closing | RefusalReason::TooSlow | RefusalReason::Protocol)
}

impl Outgoing<'_> {
    fn send(&mut self) -> Result<VoteParts, SendError> {
        let (mut moved_at, mut back_off, mut fruitless) = (Instant::now(), self.options.back_off, 0);
        let mut has_met = false;
        loop {
            if self.halt.is_halted() {
                return Err(SendError::Cancelled);
            }
            let mut flow = Flow::default();
            let outcome = self.attempt(&mut flow);
            self.halt.take_back();
            let last = match outcome {
                Ok(vote) => return Ok(vote),
                Err(_) if self.halt.is_halted() => return Err(SendError::Cancelled),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(last)) => last,
            };
            moved_at = flow.moved_at.unwrap_or(moved_at);
            fruitless += 1;
            if flow.has_advanced {
                (back_off, fruitless) = (self.options.back_off, 0);
            }
            has_met |= flow.has_met;
            let patience = self.options.progress_wait;
            let patience = if has_met { patience } else { patience.min(UNREACHED_WAIT) };
            if moved_at.elapsed() >= patience || fruitless >= FRUITLESS_MAX {
                return Err(SendError::Stuck { patience, last });
            }
            let (group, peer) = (self.order.group, self.order.wanted.node);
            tracing::info!(%group, %peer, error = last, "a snapshot is sent again from where it got to");
            if self.halt.wait(back_off) {
                return Err(SendError::Cancelled);
            }
            back_off = (2 * back_off).min(BACK_OFF_LONGEST);
        }
    }

    /// Sends over one connection.
    fn attempt(&mut self, flow: &mut Flow) -> Result<VoteParts, Failure> {
        let (order, options) = (self.order, self.options);
        let cut = |error: io::Error| Failure::Again(format!("{}: {error}", order.to));
        let stream = TcpStream::connect_timeout(&order.to, CONNECT_WAIT.min(options.progress_wait)).map_err(cut)?;
        self.halt.lend(&stream).map_err(cut)?;
        let greeting_wait = GREETING_WAIT.min(options.silence_wait);
        let mut wire = Wire::dial(
            stream,
            &(options.own)(),
            order.wanted,
            &*options.acquaintances,
            greeting_wait,
            options.silence_wait,
        )?;
        flow.has_met = true;
        self.signs.note();
        let begin = Message::SnapshotBegin(self.begin.clone());
        let begin = if order.member == order.wanted.node { begin } else { begin.for_member(order.member) };
        wire.send(order.group, REQUEST, begin)?;
        let mut waits_since = Instant::now();
        let mut source = Source::default();
        loop {
            // What has come goes first: it may say that nothing more is wanted.
            let piece = flow.next(&self.list);
            let incoming = match piece {
                Some(_) => wire.poll()?,
                None => wire.receive(waits_since + options.silence_wait)?,
            };
            match (incoming, piece) {
                (Some(incoming), _) => {
                    if flow.ended_at.is_some_and(|at| at.elapsed() > ANSWER_WAIT) {
                        return Err(WireError::Silent(ANSWER_WAIT).into());
                    }
                    if let Some(vote) = self.take(flow, incoming)? {
                        return Ok(vote);
                    }
                    if flow.has_moved {
                        waits_since = Instant::now();
                    } else if waits_since.elapsed() > options.silence_wait {
                        // It talks, and says nothing.
                        return Err(WireError::Silent(options.silence_wait).into());
                    }
                }
                (None, None) => return Err(WireError::Silent(options.silence_wait).into()),
                (None, Some(Next::End)) => {
                    wire.send(order.group, REQUEST, Message::SnapshotEnd)?;
                    flow.ended_at = Some(Instant::now());
                    waits_since = Instant::now();
                }
                (None, Some(Next::Piece { place, bytes })) => {
                    if self.halt.wait(options.bandwidth.take(bytes as u64)) {
                        return Err(Failure::Final(SendError::Cancelled));
                    }
                    let piece = self.read(&mut source, place, bytes)?;
                    wire.send(order.group, REQUEST, Message::SnapshotPiece(piece))?;
                    flow.sent += bytes as u64;
                    self.count(bytes as u64)?;
                    waits_since = Instant::now();
                }
            }
        }
    }

    /// Takes what the receiver says; returns its vote if it has the snapshot.
    fn take(&self, flow: &mut Flow, incoming: Incoming) -> Result<Option<VoteParts>, Failure> {
        flow.has_moved = false;
        let Incoming { group, request, message } = incoming;
        if (group, request) != (self.order.group, REQUEST) {
            return Err(Failure::Again(format!("a {} for group {group} that nobody asked for", message.kind())));
        }
        self.signs.note();
        match message {
            Message::SnapshotResume(at) => {
                let place = self.list.place_of(at).ok_or_else(|| Failure::Again(format!("{at:?} is not in it")))?;
                flow.resume(place);
                // At the beginning, and before and behind each file that is damaged.
                let most = 2 * (u64::from(DAMAGED_FILE_MAX) + 1) * (self.list.files().len() as u64 + 1);
                if flow.resumed_times > most {
                    return Err(Failure::Again(format!("it wanted another place {most} times")));
                }
                self.transfer.set_done(place);
            }
            Message::SnapshotAck(at) => {
                let place = self.list.place_of(at).filter(|place| flow.may_be_acknowledged(*place));
                let place = place.ok_or_else(|| Failure::Again(format!("{at:?} was not sent")))?;
                flow.acknowledge(place);
                self.transfer.set_done(place);
            }
            Message::SnapshotAnswer(vote) => return Ok(Some(vote_of(vote))),
            Message::Unable(unable) => {
                let again = matches!(unable.reason, UnableReason::Opening | UnableReason::Overloaded);
                return Err(if again {
                    Failure::Again(unable.text)
                } else {
                    Failure::Final(SendError::Unable { reason: unable.reason, text: unable.text })
                });
            }
            message => return Err(Failure::Again(format!("a {} from the receiver of a snapshot", message.kind()))),
        }
        Ok(None)
    }

    fn read(&self, source: &mut Source, place: u64, bytes: usize) -> Result<SnapshotPiece, Failure> {
        let at = self.list.at(place).expect("it is not at its end");
        let path = self.order.directory.join(&self.list.files()[at.file].name);
        let mut buffer = vec![0; bytes];
        let read = source.open(at.file, &path).and_then(|file| file.read_exact_at(&mut buffer, at.offset));
        read.map_err(|source| Failure::Final(SendError::Local { path, source }))?;
        Ok(SnapshotPiece { position: position(at.file, at.offset), bytes: buffer.into() })
    }

    /// Counts bytes that were sent; ends with an error if a receiver asks for the same ones for ever.
    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.sent_bytes += bytes;
        let (sent_bytes, total_bytes) = (self.sent_bytes, self.list.total());
        let bytes_max = total_bytes.saturating_mul(SENT_AGAIN_MAX).saturating_add(SENT_AGAIN_MAX * WINDOW_BYTES);
        if sent_bytes <= bytes_max {
            return Ok(());
        }
        Err(Failure::Final(SendError::Endless { sent_bytes, total_bytes }))
    }
}

/// The file that is being sent.
#[derive(Default)]
struct Source(Option<(usize, File)>);

impl Source {
    fn open(&mut self, number: usize, path: &std::path::Path) -> io::Result<&File> {
        if self.0.as_ref().is_none_or(|(open, _)| *open != number) {
            self.0 = Some((number, File::open(path)?));
        }
        let (_, file) = self.0.as_ref().expect("it was just opened");
        Ok(file)
    }
}

/// The next thing to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Piece { place: u64, bytes: usize },
    End,
}

/// The places on one connection up to which bytes are sent and acknowledged.
#[derive(Debug, Default)]
struct Flow {
    /// Set once the other side was greeted.
    has_met: bool,
    /// Set once the receiver has said from where.
    has_begun: bool,
    sent: u64,
    acknowledged: u64,
    /// The time at which the end was sent.
    ended_at: Option<Instant>,
    /// Set if the last message shows that the receiver is at work.
    has_moved: bool,
    /// The time of the last progress.
    moved_at: Option<Instant>,
    /// Set if the receiver has got bytes on this connection.
    has_advanced: bool,
    /// Times that the receiver has said from where.
    resumed_times: u64,
}

impl Flow {
    /// The next thing to send; none while the receiver has to say something first.
    fn next(&self, list: &FileList) -> Option<Next> {
        if !self.has_begun || self.ended_at.is_some() {
            return None;
        }
        let Some(at) = list.at(self.sent) else { return Some(Next::End) };
        let window = WINDOW_BYTES.saturating_sub(self.sent - self.acknowledged);
        let bytes = at.left.min(PIECE_BYTES as u64);
        // Whole pieces: a window that opens by a byte makes no message of a byte.
        (bytes <= window).then_some(Next::Piece { place: self.sent, bytes: bytes as usize })
    }

    fn resume(&mut self, place: u64) {
        (self.has_begun, self.ended_at) = (true, None);
        (self.sent, self.acknowledged) = (place, place);
        self.resumed_times += 1;
        // No progress yet: a receiver may say so each time, and never get anywhere.
        self.has_moved = true;
    }

    /// Returns true if the place lies within what was sent and is not acknowledged.
    fn may_be_acknowledged(&self, place: u64) -> bool {
        self.has_begun && (self.acknowledged..=self.sent).contains(&place)
    }

    fn acknowledge(&mut self, place: u64) {
        self.has_advanced |= place > self.acknowledged;
        // While it checks and installs what it has, the receiver says nothing new: these are its signs of life.
        if place > self.acknowledged || self.ended_at.is_some() && place == self.sent {
            (self.has_moved, self.moved_at) = (true, Some(Instant::now()));
        }
        self.acknowledged = place;
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::peer::SnapshotFile;

    use super::*;

    fn list() -> FileList {
        let file = |name: &str, bytes| SnapshotFile { name: name.to_owned(), bytes, crc32c: 0 };
        FileList::new(vec![file("a", 2 * WINDOW_BYTES), file("b", 10)])
    }

    #[test]
    fn no_more_is_sent_than_the_window_and_it_moves_with_what_is_acknowledged() {
        let list = list();
        let mut flow = Flow::default();
        assert_eq!(flow.next(&list), None, "the receiver has the first word");
        flow.resume(0);
        let fill = |flow: &mut Flow| {
            while let Some(Next::Piece { place, bytes }) = flow.next(&list) {
                assert_eq!(place, flow.sent);
                flow.sent += bytes as u64;
                assert!(flow.sent - flow.acknowledged <= WINDOW_BYTES);
            }
        };
        fill(&mut flow);
        assert!(flow.sent + PIECE_BYTES as u64 > WINDOW_BYTES);
        assert!(!flow.may_be_acknowledged(flow.sent + 1));
        flow.acknowledge(flow.sent);
        assert!(flow.has_advanced && flow.has_moved);
        fill(&mut flow);
        flow.acknowledge(flow.sent);
        fill(&mut flow);
        assert_eq!((flow.sent, flow.next(&list)), (list.total(), Some(Next::End)), "a piece ends with its file");
    }

    #[test]
    fn the_receiver_may_have_any_part_again_and_only_then_is_the_end_sent_again() {
        let list = list();
        let mut flow = Flow::default();
        flow.resume(list.total());
        assert_eq!(flow.next(&list), Some(Next::End));
        flow.ended_at = Some(Instant::now());
        assert_eq!(flow.next(&list), None);
        flow.resume(list.begin_of(1));
        assert_eq!(flow.next(&list), Some(Next::Piece { place: list.begin_of(1), bytes: 10 }));
        assert!(!flow.may_be_acknowledged(0), "what was acknowledged before is");
    }

    #[test]
    fn signs_of_life_count_once_all_is_sent_and_not_before() {
        let list = list();
        let mut flow = Flow::default();
        flow.resume(list.total() - 10);
        flow.acknowledge(list.total() - 10);
        assert_eq!(flow.moved_at, None);
        flow.sent = list.total();
        flow.ended_at = Some(Instant::now());
        flow.acknowledge(list.total());
        flow.moved_at = None;
        flow.acknowledge(list.total());
        assert!(flow.moved_at.is_some());
    }
}
