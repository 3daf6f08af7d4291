//! Bytes of changes and maps: numbers little-endian, lists and texts with their length before them.
//!
//! No memory is taken for a list before its length was held against its bound and against the bytes that are there.

use std::net::IpAddr;

use basalt_raft::NodeId;
use basalt_storage::Versions;

use super::ids::{GroupNumber, NodeName};
use super::node::{Addresses, Newcomer, Role};
use super::slots::{SlotRange, SlotSet};
use crate::limits::map::{HOSTNAME_BYTES_MAX, RANGES_MAX, REPLICAS_MAX, ZONE_BYTES_MAX};

/// The reason for which bytes are no change, or no map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It was written by a program of another version.
    #[error("the {what} has version {found}, this program reads up to version {newest}")]
    UnknownVersion {
        /// `change` or `map`.
        what: &'static str,
        /// The version.
        found: u8,
        /// The newest that this program knows.
        newest: u32,
    },
    /// A change is of a kind that a newer program has.
    #[error("the change is of kind {found}, this program knows those from 1 to {newest}")]
    UnknownKind {
        /// The kind.
        found: u8,
        /// The newest that this program knows.
        newest: u8,
    },
    /// The bytes end too early.
    #[error("the bytes end {0} bytes too early")]
    CutShort(usize),
    /// There are more bytes than there should be.
    #[error("{0} bytes too many")]
    TooLong(usize),
    /// A list or text is longer than may be.
    #[error("{count} {what}, {max} are the most")]
    TooMany {
        /// The elements.
        what: &'static str,
        /// The number of them.
        count: usize,
        /// Their bound.
        max: usize,
    },
    /// A value means nothing.
    #[error("{what} is {found}, which it cannot be")]
    Invalid {
        /// The value.
        what: &'static str,
        /// The number it has.
        found: u64,
    },
    /// A map contradicts itself.
    #[error("the map contradicts itself: {0}")]
    Contradiction(String),
}

pub(super) type Result<T> = std::result::Result<T, DecodeError>;

/// The bytes that are left.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins to read, and checks the version, which is the first byte.
    pub(super) fn new(what: &'static str, versions: Versions, bytes: &'a [u8]) -> Result<Reader<'a>> {
        let mut reader = Reader(bytes);
        let found = reader.u8()?;
        if !versions.reads(found.into()) {
            return Err(DecodeError::UnknownVersion { what, found, newest: versions.newest() });
        }
        Ok(reader)
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::TooLong(self.0.len())) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::CutShort(count - self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many as were asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::Invalid { what, found: found.into() }),
        }
    }

    /// Reads a list of at most `max` elements, each of which has at least `bytes_min` bytes.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        bytes_min: usize,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > max {
            return Err(DecodeError::TooMany { what, count, max });
        }
        let bytes = count * bytes_min;
        if bytes > self.0.len() {
            return Err(DecodeError::CutShort(bytes - self.0.len()));
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn text(&mut self, what: &'static str, max: usize) -> Result<String> {
        let count = usize::from(self.u16()?);
        if count > max {
            return Err(DecodeError::TooMany { what, count, max });
        }
        let bytes = self.take(count)?;
        match bytes.iter().find(|byte| !byte.is_ascii_graphic()) {
            Some(byte) => Err(DecodeError::Invalid { what: "a letter", found: u64::from(*byte) }),
            None => Ok(bytes.iter().copied().map(char::from).collect()),
        }
    }

    pub(super) fn node(&mut self) -> Result<NodeId> {
        self.u64().map(NodeId)
    }

    pub(super) fn name(&mut self) -> Result<NodeName> {
        self.array().map(NodeName)
    }

    pub(super) fn group(&mut self) -> Result<GroupNumber> {
        self.u64().map(GroupNumber)
    }

    pub(super) fn replicas(&mut self) -> Result<Vec<NodeId>> {
        self.list("replicas", REPLICAS_MAX, size_of::<u64>(), Reader::node)
    }

    /// Reads a number of replicas, 0 for none of its own.
    pub(super) fn replicas_wanted(&mut self) -> Result<Option<u8>> {
        self.u8().map(|count| (count > 0).then_some(count))
    }

    pub(super) fn ranges(&mut self) -> Result<Vec<SlotRange>> {
        self.list("ranges of slots", RANGES_MAX, 2 * size_of::<u16>(), |reader| {
            let (first, last) = (reader.u16()?, reader.u16()?);
            let invalid = DecodeError::Invalid { what: "the end of a range of slots", found: last.into() };
            SlotRange::new(first, last).ok_or(invalid)
        })
    }

    pub(super) fn slots(&mut self) -> Result<SlotSet> {
        let ranges = self.ranges()?;
        let invalid = DecodeError::Invalid { what: "the order of slots", found: ranges.len() as u64 };
        SlotSet::of_ordered(ranges).ok_or(invalid)
    }

    pub(super) fn role(&mut self) -> Result<Role> {
        match self.u8()? {
            0 => Ok(Role::Master),
            1 => self.node().map(Role::ReplicaOf),
            found => Err(DecodeError::Invalid { what: "a role", found: found.into() }),
        }
    }

    pub(super) fn addresses(&mut self) -> Result<Addresses> {
        let ip = match self.u8()? {
            0 => None,
            4 => Some(IpAddr::from(self.array::<4>()?)),
            6 => Some(IpAddr::from(self.array::<16>()?)),
            found => return Err(DecodeError::Invalid { what: "a kind of address", found: found.into() }),
        };
        let (port, bus_port) = (self.u16()?, self.u16()?);
        let hostname = self.text("bytes of a host name", HOSTNAME_BYTES_MAX)?;
        let zone = self.text("bytes of a zone", ZONE_BYTES_MAX)?;
        Ok(Addresses { ip, port, bus_port, hostname, zone })
    }

    pub(super) fn newcomer(&mut self) -> Result<Newcomer> {
        Ok(Newcomer {
            number: self.node()?,
            name: self.name()?,
            incarnation: self.u64()?,
            addresses: self.addresses()?,
            config_epoch: self.u64()?,
        })
    }
}

/// The bytes so far.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(versions: Versions) -> Writer {
        Writer(vec![versions.written_u8()])
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        let count = u32::try_from(list.len()).expect("every list is far shorter");
        self.bytes(&count.to_le_bytes());
        list.iter().for_each(|element| write(self, element));
    }

    /// # Panics
    /// If it is longer than 65,535 bytes.
    fn text(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).expect("every text is checked before it comes here"));
        self.bytes(text.as_bytes());
    }

    pub(super) fn replicas(&mut self, replicas: &[NodeId]) {
        self.list(replicas, |writer, replica| writer.u64(replica.0));
    }

    pub(super) fn replicas_wanted(&mut self, count: Option<u8>) {
        self.u8(count.unwrap_or(0));
    }

    pub(super) fn ranges(&mut self, ranges: &[SlotRange]) {
        self.list(ranges, |writer, range| {
            writer.u16(range.first());
            writer.u16(range.last());
        });
    }

    pub(super) fn role(&mut self, role: Role) {
        match role {
            Role::Master => self.u8(0),
            Role::ReplicaOf(master) => {
                self.u8(1);
                self.u64(master.0);
            }
        }
    }

    pub(super) fn addresses(&mut self, addresses: &Addresses) {
        match addresses.ip {
            None => self.u8(0),
            Some(IpAddr::V4(ip)) => {
                self.u8(4);
                self.bytes(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                self.u8(6);
                self.bytes(&ip.octets());
            }
        }
        self.u16(addresses.port);
        self.u16(addresses.bus_port);
        self.text(&addresses.hostname);
        self.text(&addresses.zone);
    }

    pub(super) fn newcomer(&mut self, node: &Newcomer) {
        self.u64(node.number.0);
        self.bytes(&node.name.0);
        self.u64(node.incarnation);
        self.addresses(&node.addresses);
        self.u64(node.config_epoch);
    }
}
