//! The encoding of Raft's values: entries in the log, votes, log ids, memberships.
//!
//! `storage/FORMAT.md` draws these layouts byte by byte, under "Raft values". All integers are big-endian. Every value
//! starts with its format version, and a version this program does not know is refused, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use basalt_storage::Versions;
use basalt_storage::log::LogRecord;
use bytes::{BufMut, Bytes, BytesMut};
use openraft::entry::RaftEntry;

use crate::batch::Batch;
use crate::error::DecodeError;
use crate::ids::{NodeId, PeerAddress};
use crate::limits::MEMBERS_MAX;
use crate::types::{Entry, EntryPayload, LogId, Membership, StoredMembership, Vote, entry_id, log_id};

/// Versions of each value.
const VERSIONS: Versions = Versions::new(1, 1);
/// The one that is written.
const FORMAT: u8 = VERSIONS.written_u8();

const KIND_BLANK: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Bytes of an encoded log id.
const LOG_ID_BYTES: usize = 17;

/// A batch of these commands, as its entry lies in the log. Copies them.
pub(crate) fn new_batch(commands: &[u8]) -> Batch {
    Batch::new([FORMAT, KIND_BATCH], commands)
}

/// Encodes an entry for the log. Its term and index are the record's own.
pub(crate) fn encode_entry(entry: &Entry) -> LogRecord {
    let id = entry_id(&entry.log_id());
    let body = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[FORMAT, KIND_BLANK]),
        EntryPayload::Normal(batch) => batch.record().clone(),
        EntryPayload::Membership(membership) => {
            let mut body = BytesMut::with_capacity(64);
            body.put_slice(&[FORMAT, KIND_MEMBERSHIP]);
            put_membership(&mut body, membership);
            body.freeze()
        }
    };
    LogRecord { index: id.index, term: id.term, body }
}

/// Decodes an entry of the log.
pub(crate) fn decode_entry(record: LogRecord) -> Result<Entry, DecodeError> {
    let what = "a log entry";
    let mut reader = Reader { what, bytes: &record.body };
    reader.format()?;
    let payload = match reader.u8()? {
        KIND_BLANK => {
            reader.end()?;
            EntryPayload::Blank
        }
        KIND_BATCH => EntryPayload::Normal(Batch::of_record(record.body)),
        KIND_MEMBERSHIP => {
            let membership = reader.membership()?;
            reader.end()?;
            EntryPayload::Membership(membership)
        }
        kind => return Err(reader.damaged(format!("unknown kind {kind} at index {}", record.index))),
    };
    Ok(Entry::new(log_id(record.term, record.index), payload))
}

/// Encodes a log id.
pub(crate) fn encode_log_id(id: &LogId) -> [u8; LOG_ID_BYTES] {
    let id = entry_id(id);
    let mut bytes = [FORMAT; LOG_ID_BYTES];
    bytes[1..9].copy_from_slice(&id.term.to_be_bytes());
    bytes[9..].copy_from_slice(&id.index.to_be_bytes());
    bytes
}

/// Decodes a log id.
pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, DecodeError> {
    let mut reader = Reader { what: "a log id", bytes };
    reader.format()?;
    let id = reader.log_id()?;
    reader.end()?;
    Ok(id)
}

/// Encodes a vote.
pub(crate) fn encode_vote(vote: &Vote) -> [u8; 18] {
    let leader = vote.leader_id();
    let mut bytes = [FORMAT; 18];
    bytes[1..9].copy_from_slice(&leader.term.to_be_bytes());
    bytes[9..17].copy_from_slice(&leader.voted_for.0.to_be_bytes());
    bytes[17] = u8::from(vote.is_committed());
    bytes
}

/// Decodes a vote.
pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    let mut reader = Reader { what: "a vote", bytes };
    reader.format()?;
    let (term, node) = (reader.u64()?, NodeId(reader.u64()?));
    let committed = reader.flag()?;
    reader.end()?;
    Ok(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

/// Encodes the newest applied membership and where it stands in the log.
pub(crate) fn encode_stored_membership(stored: &StoredMembership) -> Vec<u8> {
    let mut bytes = BytesMut::with_capacity(64);
    bytes.put_u8(FORMAT);
    match stored.log_id() {
        None => bytes.put_u8(0),
        Some(id) => {
            let id = entry_id(id);
            bytes.put_u8(1);
            bytes.put_u64(id.term);
            bytes.put_u64(id.index);
        }
    }
    put_membership(&mut bytes, stored.membership());
    bytes.to_vec()
}

/// Decodes what [`encode_stored_membership`] wrote; no bytes at all stand for "none yet".
pub(crate) fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, DecodeError> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let mut reader = Reader { what: "a membership", bytes };
    reader.format()?;
    let id = if reader.flag()? { Some(reader.log_id()?) } else { None };
    let membership = reader.membership()?;
    reader.end()?;
    Ok(StoredMembership::new(id, membership))
}

/// Encodes the entry that a snapshot ends with, and the membership at that entry.
pub(crate) fn encode_snapshot_meta(last: &LogId, membership: &StoredMembership) -> Vec<u8> {
    [&encode_log_id(last)[..], &encode_stored_membership(membership)].concat()
}

/// Decodes what [`encode_snapshot_meta`] wrote.
pub(crate) fn decode_snapshot_meta(bytes: &[u8]) -> Result<(LogId, StoredMembership), DecodeError> {
    let (last, membership) = bytes.split_at_checked(LOG_ID_BYTES).unwrap_or((bytes, &[]));
    Ok((decode_log_id(last)?, decode_stored_membership(membership)?))
}

/// Bytes of an encoded membership.
pub(crate) fn membership_bytes(membership: &Membership) -> usize {
    let mut bytes = BytesMut::new();
    put_membership(&mut bytes, membership);
    bytes.len()
}

fn put_membership(bytes: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    bytes.put_u8(u8::try_from(configs.len()).expect("a membership has at most a few joint voter sets"));
    for voters in configs {
        bytes.put_u16(u16::try_from(voters.len()).expect("a voter set is bounded by MEMBERS_MAX"));
        for voter in voters {
            bytes.put_u64(voter.0);
        }
    }
    let nodes = membership.nodes().count();
    bytes.put_u16(u16::try_from(nodes).expect("a membership is bounded by MEMBERS_MAX"));
    for (id, address) in membership.nodes() {
        bytes.put_u64(id.0);
        bytes.put_u16(u16::try_from(address.0.len()).expect("an address is shorter than 64 KiB"));
        bytes.put_slice(address.0.as_bytes());
    }
}

/// Reads a value from the front of its bytes.
struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn damaged(&self, detail: String) -> DecodeError {
        DecodeError::Damaged { what: self.what, detail }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                let taken = *taken;
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(self.damaged(format!("{N} bytes expected, {} left", self.bytes.len()))),
        }
    }

    fn format(&mut self) -> Result<(), DecodeError> {
        match self.u8()? {
            found if VERSIONS.reads(found.into()) => Ok(()),
            0 => Err(self.damaged("format 0 was never written".to_owned())),
            found => Err(DecodeError::UnknownFormat { what: self.what, found, supported: FORMAT }),
        }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.damaged(format!("a flag is {found}"))),
        }
    }

    fn log_id(&mut self) -> Result<LogId, DecodeError> {
        let (term, index) = (self.u64()?, self.u64()?);
        Ok(log_id(term, index))
    }

    fn members(&mut self) -> Result<usize, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > MEMBERS_MAX {
            return Err(self.damaged(format!("{count} members, at most {MEMBERS_MAX} are possible")));
        }
        Ok(count)
    }

    /// Members are written in ascending order: one that is there twice is damage, and each membership has one encoding.
    fn ascend(&self, before: Option<&NodeId>, id: NodeId) -> Result<(), DecodeError> {
        match before {
            Some(before) if *before >= id => Err(self.damaged(format!("member {id} comes behind member {before}"))),
            _ => Ok(()),
        }
    }

    fn membership(&mut self) -> Result<Membership, DecodeError> {
        let mut configs = Vec::new();
        for _ in 0..self.u8()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.members()? {
                let id = NodeId(self.u64()?);
                self.ascend(voters.last(), id)?;
                voters.insert(id);
            }
            configs.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.members()? {
            let id = NodeId(self.u64()?);
            self.ascend(nodes.keys().next_back(), id)?;
            let length = usize::from(self.u16()?);
            let Some((address, rest)) = self.bytes.split_at_checked(length) else {
                return Err(self.damaged(format!("an address of {length} bytes, {} left", self.bytes.len())));
            };
            let address = std::str::from_utf8(address).map_err(|error| self.damaged(error.to_string()))?.to_owned();
            self.bytes = rest;
            nodes.insert(id, PeerAddress(address));
        }
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, nodes).map_err(|error| self.damaged(error.to_string()))
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.damaged(format!("{} bytes too many", self.bytes.len()))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let voters = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
        let nodes: BTreeMap<_, _> =
            (1..=4).map(|id| (NodeId(id), PeerAddress(format!("host-{id}:1637{id}")))).collect();
        Membership::new(vec![voters(&[1, 2]), voters(&[2, 3])], nodes).unwrap()
    }

    fn entries() -> Vec<Entry> {
        [
            EntryPayload::Blank,
            EntryPayload::Normal(new_batch(b"")),
            EntryPayload::Normal(new_batch(b"\x00SET\xff")),
            EntryPayload::Membership(membership()),
            EntryPayload::Membership(Membership::default()),
        ]
        .into_iter()
        .enumerate()
        .map(|(place, payload)| Entry::new(log_id(u64::MAX - 1, place as u64), payload))
        .collect()
    }

    #[test]
    fn entries_come_back_as_written() {
        for entry in entries() {
            let record = encode_entry(&entry);
            assert_eq!((record.term, record.index), (u64::MAX - 1, entry.index()));
            assert_eq!(decode_entry(record).unwrap(), entry);
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let body = |payload| encode_entry(&Entry::new(log_id(1, 1), payload)).body.to_vec();
        assert_eq!(body(EntryPayload::Blank), [1, 0]);
        assert_eq!(body(EntryPayload::Normal(new_batch(b"ab"))), [1, 1, b'a', b'b']);
        let one = Membership::from(BTreeMap::from([(NodeId(7), PeerAddress("h:1".to_owned()))]));
        let drawn = [1, 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 3, b'h', b':', b'1'];
        assert_eq!(body(EntryPayload::Membership(one)), drawn);
        assert_eq!(encode_log_id(&log_id(2, 3)), [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        let vote = encode_vote(&Vote::new_committed(2, NodeId(3)));
        assert_eq!(vote, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 1]);
    }

    #[test]
    fn votes_log_ids_and_memberships_come_back_as_written() {
        for vote in [Vote::new(3, NodeId(9)), Vote::new_committed(u64::MAX, NodeId(0))] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        assert_eq!(decode_log_id(&encode_log_id(&log_id(5, 6))).unwrap(), log_id(5, 6));
        for stored in [
            StoredMembership::default(),
            StoredMembership::new(Some(log_id(1, 2)), membership()),
            StoredMembership::new(None, membership()),
        ] {
            assert_eq!(decode_stored_membership(&encode_stored_membership(&stored)).unwrap(), stored);
        }
        assert_eq!(decode_stored_membership(b"").unwrap(), StoredMembership::default());
    }

    #[test]
    fn a_newer_format_is_refused_as_such() {
        for (mut record, place) in entries().iter().map(encode_entry).zip(0..) {
            let mut body = record.body.to_vec();
            body[0] = 2;
            record.body = body.into();
            let refused = decode_entry(record).unwrap_err();
            assert!(matches!(refused, DecodeError::UnknownFormat { found: 2, supported: 1, .. }), "{place}: {refused}");
        }
        let mut vote = encode_vote(&Vote::new(1, NodeId(1)));
        vote[0] = 9;
        assert!(matches!(decode_vote(&vote), Err(DecodeError::UnknownFormat { found: 9, .. })));
    }

    #[test]
    fn cut_or_lengthened_bytes_are_refused() {
        let stored = encode_stored_membership(&StoredMembership::new(Some(log_id(1, 2)), membership()));
        for length in 1..stored.len() {
            assert!(decode_stored_membership(&stored[..length]).is_err(), "{length} bytes");
        }
        assert!(decode_stored_membership(&[&stored[..], &[0]].concat()).is_err());
        let unknown_kind = LogRecord { index: 4, term: 1, body: Bytes::from_static(&[1, 7]) };
        assert!(decode_entry(unknown_kind).unwrap_err().to_string().contains("index 4"));
        let twice = [1, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3];
        assert!(decode_stored_membership(&twice).unwrap_err().to_string().contains("member 3 comes behind"));
        let many_members = [1, 0, 1, 0xff, 0xff];
        assert!(decode_stored_membership(&many_members).unwrap_err().to_string().contains("65535 members"));
    }
}
