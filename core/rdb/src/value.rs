//! A value without its key.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    String(Vec<u8>),
    /// Elements from head to tail.
    List(Strings),
    /// Members, none twice.
    Set(Strings),
    /// Fields, none twice, each followed by its value.
    Hash(Strings),
    /// The same with a deadline for each field, Unix milliseconds, or 0 if it has none.
    HashWithDeadlines(Strings, Vec<u64>),
    /// Members, none twice, each with its score; in the order of the scores, and of the members where these are equal, as
    /// [`write`](crate::write()) takes them. Those that were read are in any order.
    SortedSet(Strings, Vec<f64>),
    /// A stream.
    Stream(Stream),
}

/// Strings, one behind the other in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    /// Adds a string.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    /// Returns the number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the bytes of all strings.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The string at `index`.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Strings {
        let mut all = Strings::default();
        strings.into_iter().for_each(|string| all.push(string.as_ref()));
        all
    }
}

/// An entry's id: Unix milliseconds, and a number within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Unix milliseconds.
    pub ms: u64,
    /// Number within the millisecond.
    pub sequence: u64,
}

impl StreamId {
    pub(crate) fn read(bytes: [u8; 16]) -> StreamId {
        let id = u128::from_be_bytes(bytes);
        StreamId { ms: (id >> 64) as u64, sequence: id as u64 }
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.sequence)).to_be_bytes()
    }
}

/// A stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The entries' ids, which ascend, each with the number of its strings.
    pub entries: Vec<(StreamId, usize)>,
    /// The strings of all entries: each field, followed by its value.
    pub strings: Strings,
    /// The highest id that was ever added.
    pub last: StreamId,
    /// The id of the first entry that is there; 0-0 if there is none.
    pub first: StreamId,
    /// The highest id that was ever deleted.
    pub greatest_deleted: StreamId,
    /// Entries that were ever added.
    pub entries_added: u64,
    /// Consumer groups, in the order of their names.
    pub groups: Vec<Group>,
}

/// A consumer group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// The last id that was delivered.
    pub last_delivered: StreamId,
    /// Entries up to that one that were read; `None` if nobody knows.
    pub entries_read: Option<u64>,
    /// Entries that are pending, by ascending ids.
    pub pending: Vec<Pending>,
    /// The consumers, in the order of their names.
    pub consumers: Vec<Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: StreamId,
    /// The time of its last delivery, Unix milliseconds.
    pub delivered_ms: u64,
    /// Its deliveries so far.
    pub deliveries: u64,
    /// The index of its consumer in the group's.
    pub consumer: usize,
}

/// A consumer of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// The time of its last command, Unix milliseconds.
    pub seen_ms: u64,
}
