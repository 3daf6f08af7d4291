//! Received bytes into messages: whole frames, and pieces that are joined.
//!
//! Nothing is kept but the frame that is still arriving and the messages that are still being joined. A newcomer would give a
//! message its memory when its first piece announces it; that is done only once the piece has proved whole, so a damaged length
//! allocates nothing.

use std::collections::HashMap;

use bytes::Bytes;

use super::bounds::Bounds;
use super::error::PeerError;
use super::frame::{Frame, HEADER_BYTES, Header, LENGTH_BYTES, PAYLOAD_BYTES, PIECE_HEADER_BYTES, Payload, Piece};
use super::ids::{GroupNumber, RequestId};
use super::kind::{Kind, Lane};
use crate::limits::GREETING_BYTES_MAX;

/// Decodes the frames that one peer sends on one connection.
#[derive(Debug)]
pub struct Decoder {
    /// None before the greeting is over.
    lane: Option<Lane>,
    version: u16,
    bounds: Bounds,
    /// The header that is arriving, `header_bytes` of it.
    header: [u8; PIECE_HEADER_BYTES],
    header_bytes: usize,
    arriving: Option<Arriving>,
    joins: HashMap<(Kind, GroupNumber), Join>,
    /// Bytes of all messages that are being joined, once they are whole.
    joining_bytes: u64,
    failed: Option<PeerError>,
}

/// A frame of which the header has come.
#[derive(Debug)]
struct Arriving {
    header: Header,
    /// The checksum of what has come.
    checksum: u32,
    /// Data that have come.
    data_bytes: usize,
    /// The data, unless they go to a message that is being joined.
    data: Vec<u8>,
}

/// A message that is being joined.
#[derive(Debug)]
struct Join {
    request: RequestId,
    total: u32,
    bytes: Vec<u8>,
}

impl Decoder {
    /// Decodes what comes on a connection of `lane` once it has been greeted, in the version agreed on; `bounds` are those that
    /// this node named.
    pub fn new(lane: Lane, version: u16, bounds: Bounds) -> Decoder {
        Decoder::of(Some(lane), version, bounds)
    }

    /// Decodes the greeting of a node that speaks `version` at most.
    pub(super) fn of_greeting(version: u16) -> Decoder {
        Decoder::of(None, version, Bounds::default())
    }

    fn of(lane: Option<Lane>, version: u16, bounds: Bounds) -> Decoder {
        Decoder {
            lane,
            version,
            bounds,
            header: [0; PIECE_HEADER_BYTES],
            header_bytes: 0,
            arriving: None,
            joins: HashMap::new(),
            joining_bytes: 0,
            failed: None,
        }
    }

    /// Bytes of memory that the frame and the messages which are still arriving take, or may take before they are whole.
    pub fn kept_bytes(&self) -> usize {
        self.arriving.as_ref().map_or(0, |arriving| arriving.data.capacity())
            + self.joins.values().map(|join| join.bytes.capacity()).sum::<usize>()
    }

    /// True if a frame or a message has begun and is not whole: a connection that ends here was cut.
    pub fn is_within_message(&self) -> bool {
        self.header_bytes > 0 || self.arriving.is_some() || !self.joins.is_empty()
    }

    /// Takes the next message out of `input`, which is moved behind what was used; `None` when all of it was. To be called until
    /// then.
    ///
    /// A message that lies in `input` as a whole is not copied, others are copied once.
    ///
    /// # Errors
    /// [`PeerError`], the same again at each later call: the connection is to be closed.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, PeerError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let result = self.advance(input);
        if let Err(error) = &result {
            *self = Decoder { failed: Some(error.clone()), ..Decoder::of(self.lane, self.version, self.bounds) };
        }
        result
    }

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, PeerError> {
        loop {
            let mut arriving = match self.arriving.take() {
                Some(arriving) => arriving,
                None => match self.begin(input)? {
                    Some(arriving) => arriving,
                    None => return Ok(None),
                },
            };
            let Some(payload) = self.take_data(&mut arriving, input) else {
                self.arriving = Some(arriving);
                return Ok(None);
            };
            if arriving.checksum != arriving.header.checksum {
                let Header { kind, checksum: stored, .. } = arriving.header;
                return Err(PeerError::Checksum { kind, stored, found: arriving.checksum });
            }
            let Header { kind, group, request, piece, .. } = arriving.header;
            let payload = match piece {
                None => Some(payload),
                Some(piece) => self.join(&arriving.header, piece, &payload).map(Payload::Owned),
            };
            if let Some(payload) = payload {
                return Ok(Some(Frame { kind, group, request, payload }));
            }
        }
    }

    /// Takes a header out of `input`; `None` if it is not there as a whole.
    fn begin(&mut self, input: &mut &[u8]) -> Result<Option<Arriving>, PeerError> {
        if !self.fill_header(LENGTH_BYTES, input) {
            return Ok(None);
        }
        // Checked at once: four bytes of another protocol are a length that no frame has.
        let (bytes, bytes_max) = (Header::length(&self.header), self.payload_bytes_max());
        if bytes > bytes_max {
            return Err(PeerError::FrameTooLong { bytes, bytes_max });
        }
        if !self.fill_header(HEADER_BYTES, input) {
            return Ok(None);
        }
        let kind = Header::read_kind(&self.header, self.version)?;
        if Header::is_piece(&self.header) && !self.fill_header(PIECE_HEADER_BYTES, input) {
            return Ok(None);
        }
        let header = Header::read(kind, &self.header)?;
        self.check(&header)?;
        self.header_bytes = 0;
        Ok(Some(Arriving { header, checksum: Header::checksum(&self.header), data_bytes: 0, data: Vec::new() }))
    }

    /// Moves bytes from `input` until `bytes` of the header are there; false if there are not enough.
    fn fill_header(&mut self, bytes: usize, input: &mut &[u8]) -> bool {
        let missing = bytes.saturating_sub(self.header_bytes);
        let taken = split_off(input, missing);
        self.header[self.header_bytes..self.header_bytes + taken.len()].copy_from_slice(taken);
        self.header_bytes += taken.len();
        taken.len() == missing
    }

    fn payload_bytes_max(&self) -> usize {
        if self.lane.is_some() { PAYLOAD_BYTES } else { GREETING_BYTES_MAX }
    }

    /// Refuses a frame that has no business here, by its header.
    fn check(&self, header: &Header) -> Result<(), PeerError> {
        let Header { kind, group, .. } = *header;
        if !kind.goes_by(self.lane) {
            return Err(PeerError::WrongLane { kind, lane: self.lane });
        }
        if !kind.may_be_of(group) {
            return Err(PeerError::WrongGroup { kind, group: group.0 });
        }
        let join = self.joins.get(&(kind, group));
        match (header.piece, join) {
            (None, None) => Ok(()),
            (Some(piece), _) if piece.offset == 0 && join.is_none() => self.check_first(header, piece),
            (Some(piece), Some(join)) if join.is_continued_by(header, piece) => Ok(()),
            (_, join) => {
                let expected = join.map_or(0, |join| join.bytes.len() as u32);
                Err(PeerError::PieceOutOfOrder { kind, group: group.0, expected })
            }
        }
    }

    /// Refuses a message in pieces that need not come so, is too long, or is one too many.
    fn check_first(&self, header: &Header, piece: Piece) -> Result<(), PeerError> {
        let (kind, bytes) = (header.kind, piece.total);
        // Together with the bound on all that is being joined this bounds the number of such messages too.
        if !kind.is_bulk() || bytes as usize <= PAYLOAD_BYTES {
            return Err(PeerError::NeedlessPieces { kind, bytes });
        }
        let bytes_max = self.bounds.bytes_max(kind);
        if bytes > bytes_max {
            return Err(PeerError::MessageTooLong { kind, bytes, bytes_max });
        }
        let (bytes, bytes_max) = (self.joining_bytes + u64::from(bytes), self.bounds.joined_bytes_max);
        if bytes > u64::from(bytes_max) {
            return Err(PeerError::TooMuchInPieces { bytes, bytes_max });
        }
        Ok(())
    }

    /// Takes the frame's data out of `input`; `None` until they are whole. Those of a message that is being joined go there, and
    /// nothing is returned of them.
    fn take_data<'a>(&mut self, arriving: &mut Arriving, input: &mut &'a [u8]) -> Option<Payload<'a>> {
        let header = &arriving.header;
        let taken = split_off(input, header.data_bytes - arriving.data_bytes);
        arriving.checksum = crc32c::crc32c_append(arriving.checksum, taken);
        let is_whole_at_once = taken.len() == header.data_bytes;
        arriving.data_bytes += taken.len();
        if header.piece.is_some_and(|piece| piece.offset > 0) {
            let join = self.joins.get_mut(&(header.kind, header.group));
            join.expect("the header was checked against it").bytes.extend_from_slice(taken);
        } else if is_whole_at_once {
            return Some(Payload::Borrowed(taken));
        } else {
            arriving.data.reserve_exact(header.data_bytes - arriving.data.len());
            arriving.data.extend_from_slice(taken);
        }
        (arriving.data_bytes == header.data_bytes)
            .then(|| Payload::Owned(Bytes::from(std::mem::take(&mut arriving.data))))
    }

    /// Takes a piece that has proved whole; returns the message if it was the last one.
    fn join(&mut self, header: &Header, piece: Piece, payload: &Payload<'_>) -> Option<Bytes> {
        let key = (header.kind, header.group);
        if piece.offset == 0 {
            let mut bytes = Vec::with_capacity(piece.total as usize);
            bytes.extend_from_slice(payload.as_slice());
            self.joins.insert(key, Join { request: header.request, total: piece.total, bytes });
            self.joining_bytes += u64::from(piece.total);
            return None;
        }
        self.joins.get(&key).filter(|join| join.bytes.len() == join.total as usize)?;
        let join = self.joins.remove(&key)?;
        self.joining_bytes -= u64::from(join.total);
        Some(Bytes::from(join.bytes))
    }
}

impl Join {
    fn is_continued_by(&self, header: &Header, piece: Piece) -> bool {
        let left = self.total as usize - self.bytes.len();
        header.request == self.request
            && piece.total == self.total
            && piece.offset as usize == self.bytes.len()
            && header.data_bytes <= left
    }
}

/// Takes up to `bytes` bytes from the front of `input`.
fn split_off<'a>(input: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(bytes.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::frame::{PIECE_BYTES, put_frame};

    const BOUNDS: Bounds = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 5 << 20 };
    const TOTAL: u32 = 4 << 20;
    const DATA_BYTES: usize = 100;

    /// A frame with some data.
    fn frame(kind: Kind, group: u64, piece: Option<(u32, u32)>) -> Vec<u8> {
        let piece = piece.map(|(total, offset)| Piece { total, offset });
        let (group, request) = (GroupNumber(group), RequestId(1));
        let header = Header { kind, group, request, piece, data_bytes: DATA_BYTES, checksum: 0 };
        let (mut bytes, data) = (Vec::new(), [5; DATA_BYTES]);
        put_frame(&header, &mut bytes, |into, checksum| {
            into.extend_from_slice(&data);
            crc32c::crc32c_append(checksum, &data)
        });
        bytes
    }

    fn entries(group: u64, piece: Option<(u32, u32)>) -> Vec<u8> {
        frame(Kind::AppendEntries, group, piece)
    }

    /// The first error of a connection for entries that brings these frames.
    fn error_of(frames: &[Vec<u8>]) -> Option<PeerError> {
        let (mut decoder, stream) = (Decoder::new(Lane::Entries, 1, BOUNDS), frames.concat());
        let mut input = stream.as_slice();
        loop {
            match decoder.next(&mut input) {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    assert_eq!(decoder.next(&mut &b"more"[..]).unwrap_err(), error, "an error stays");
                    assert_eq!(decoder.kept_bytes(), 0, "nothing is kept for a connection that is to be closed");
                    return Some(error);
                }
            }
        }
    }

    fn with(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
        bytes[at] = byte;
        bytes
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let kind = Kind::AppendEntries;
        let whole = || entries(1, None);
        let first = || entries(1, Some((TOTAL, 0)));
        let out_of_order = |expected| PeerError::PieceOutOfOrder { kind, group: 1, expected };
        let beyond = entries(1, Some((101 + PAYLOAD_BYTES as u32, 100)));
        assert_eq!(error_of(&[whole(), first(), entries(2, None), entries(1, Some((TOTAL, 100)))]), None);
        for (frames, expected) in [
            (vec![with(whole(), 3, 1)], PeerError::FrameTooLong { bytes: 0x0100_0064, bytes_max: PAYLOAD_BYTES }),
            (vec![with(whole(), 8, 99)], PeerError::UnknownKind { code: 99, version: 1 }),
            (vec![with(whole(), 9, 2)], PeerError::UnknownFlags { kind, flags: 2, version: 1 }),
            (vec![with(whole(), 11, 1)], PeerError::UnknownFlags { kind, flags: 0x01_0000, version: 1 }),
            (vec![frame(Kind::Vote, 1, None)], PeerError::WrongLane { kind: Kind::Vote, lane: Some(Lane::Entries) }),
            (
                vec![frame(Kind::Greeting, u64::MAX, None)],
                PeerError::WrongLane { kind: Kind::Greeting, lane: Some(Lane::Entries) },
            ),
            (vec![entries(u64::MAX, None)], PeerError::WrongGroup { kind, group: u64::MAX }),
            (vec![frame(Kind::Refusal, 0, None)], PeerError::WrongGroup { kind: Kind::Refusal, group: 0 }),
            (vec![with(first(), 0, PIECE_BYTES as u8)], PeerError::FrameTooShort { kind }),
            (
                vec![frame(Kind::AppendAnswer, 1, Some((TOTAL, 0)))],
                PeerError::NeedlessPieces { kind: Kind::AppendAnswer, bytes: TOTAL },
            ),
            (
                vec![entries(1, Some((PAYLOAD_BYTES as u32, 0)))],
                PeerError::NeedlessPieces { kind, bytes: PAYLOAD_BYTES as u32 },
            ),
            (
                vec![entries(1, Some((TOTAL + 1, 0)))],
                PeerError::MessageTooLong { kind, bytes: TOTAL + 1, bytes_max: TOTAL },
            ),
            (
                vec![first(), entries(2, Some((TOTAL, 0)))],
                PeerError::TooMuchInPieces { bytes: 2 * u64::from(TOTAL), bytes_max: 5 << 20 },
            ),
            // Without a first one, twice the first, a gap, another total, and whole ones in between.
            (vec![entries(1, Some((TOTAL, 100)))], out_of_order(0)),
            (vec![first(), first()], out_of_order(100)),
            (vec![first(), entries(1, Some((TOTAL, 200)))], out_of_order(100)),
            (vec![first(), entries(1, Some((TOTAL - 1, 100)))], out_of_order(100)),
            (vec![first(), with(entries(1, Some((TOTAL, 100))), 20, 9)], out_of_order(100)),
            (vec![first(), whole()], out_of_order(100)),
            (vec![entries(1, Some((101 + PAYLOAD_BYTES as u32, 0))), beyond.clone(), beyond], out_of_order(200)),
        ] {
            assert_eq!(error_of(&frames), Some(expected.clone()), "{expected}");
        }
        let damaged = error_of(&[with(whole(), 50, 6)]);
        assert!(matches!(damaged, Some(PeerError::Checksum { .. })), "{damaged:?}");
    }

    #[test]
    fn the_last_piece_may_not_go_beyond_its_message() {
        let total = PAYLOAD_BYTES as u32 + 1;
        let pieces = total.div_ceil(DATA_BYTES as u32);
        let frames: Vec<Vec<u8>> = (0..pieces).map(|at| entries(1, Some((total, at * DATA_BYTES as u32)))).collect();
        assert!(!(total as usize).is_multiple_of(DATA_BYTES), "the last one is too long");
        assert!(matches!(error_of(&frames), Some(PeerError::PieceOutOfOrder { .. })));
        assert_eq!(error_of(&frames[..frames.len() - 1]), None);
    }

    #[test]
    fn only_entries_may_be_as_long_as_the_greeting_said() {
        let bounds = Bounds { message_bytes_max: 6 << 20, joined_bytes_max: 6 << 20 };
        let of = |kind, lane, total| {
            let first = frame(kind, 1, Some((total, 0)));
            Decoder::new(lane, 1, bounds).next(&mut first.as_slice()).map(|frame| frame.is_none())
        };
        assert_eq!(of(Kind::AppendEntries, Lane::Entries, 6 << 20), Ok(true));
        assert_eq!(of(Kind::SnapshotPiece, Lane::Snapshots, 4 << 20), Ok(true));
        let (kind, bytes, bytes_max) = (Kind::SnapshotPiece, (4 << 20) + 1, 4 << 20);
        assert_eq!(of(kind, Lane::Snapshots, bytes), Err(PeerError::MessageTooLong { kind, bytes, bytes_max }));
    }

    #[test]
    fn an_unknown_length_is_refused_at_its_fourth_byte() {
        let mut decoder = Decoder::new(Lane::Votes, 1, BOUNDS);
        assert!(decoder.next(&mut &b"GET"[..]).unwrap().is_none());
        assert!(matches!(decoder.next(&mut &b" "[..]), Err(PeerError::FrameTooLong { .. })));
    }

    #[test]
    fn a_message_gets_no_memory_before_its_first_piece_is_whole() {
        let mut decoder = Decoder::new(Lane::Entries, 1, BOUNDS);
        let piece = entries(1, Some((TOTAL, 0)));
        decoder.next(&mut &piece[..piece.len() - 1]).unwrap();
        assert!(decoder.kept_bytes() <= DATA_BYTES && decoder.is_within_message());
        decoder.next(&mut &piece[piece.len() - 1..]).unwrap();
        assert_eq!(decoder.kept_bytes(), TOTAL as usize);
    }

    #[test]
    fn a_message_that_lies_in_the_input_is_not_copied() {
        let stream = [entries(1, None), entries(1, None)].concat();
        let (mut decoder, mut input) = (Decoder::new(Lane::Entries, 1, BOUNDS), stream.as_slice());
        for _ in 0..2 {
            let frame = decoder.next(&mut input).unwrap().unwrap();
            assert!(
                matches!(frame.payload, Payload::Borrowed(bytes) if stream.as_ptr_range().contains(&bytes.as_ptr()))
            );
        }
        assert!(decoder.next(&mut input).unwrap().is_none() && !decoder.is_within_message());
    }

    #[test]
    fn kinds_of_a_newer_version_are_refused_by_name() {
        let vote = frame(Kind::Vote, 1, None);
        let error = Decoder::new(Lane::Votes, 0, BOUNDS).next(&mut vote.as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "frame kind 32 is unknown to version 0 of the protocol");
    }
}
