//! A whole key at once: copied within a shard, or carried to another one as bytes.
//!
//! ```text
//! serialized  [format u8 = 1 to 4][type u8][has deadline u8][deadline_ms u64 BE][rest …]
//! string      rest = the value
//! packed      format 2, for no other key: rest = the body of the metadata row, see `packed.rs`
//! hash        format 3, if fields of it have deadlines: rest = [is packed u8][earliest of them u64 BE], and then as of the others
//! sorted set  format 4, if it has a tree of counts: rest as of the others
//! collection  rest = [size u64 BE][fields length u8][fields …]{[element length u32 BE][element …][value length u32 BE][value …]}…
//! ```
//!
//! Versions are not part of it: a restored collection gets one of its own. Two keys with the same content have the same
//! bytes, whatever shard they are on.

use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;

use super::Keyspace;
use super::collection::Collection;
use super::field_deadlines::earliest_of_rows;
use super::key::RowKey;
use super::keyspace::damaged;
use super::meta::{Meta, Type};
use super::packed::Packed;
use super::record::Lookup;
use super::sorted_rows::has_tree;
use crate::limits::{CHUNK_ROWS_MAX, FIELDS_BYTES_MAX};
use crate::{Direction, Error, Result, Versions};

/// Versions of a serialized key.
const VERSIONS: Versions = Versions::new(3, 4);
/// The version of keys that are not packed: entries compare keys with the bytes that an earlier program has made of them. It is
/// written and read as ever.
const UNPACKED: u8 = 1;
/// The version of those that are, written and read as ever too.
const PACKED: u8 = 2;
/// The version of hashes with deadlines of fields.
const WITH_FIELDS_DUE: u8 = 3;
/// The version of sorted sets with trees of counts: programs before there were any would keep a key that they cannot read.
const COUNTED: u8 = VERSIONS.written_u8();

/// Returns whether keys of a version can be read.
fn is_read(format: u8) -> bool {
    format == UNPACKED || format == PACKED || VERSIONS.reads(format.into())
}

/// The outcome of [`Keyspace::serialize`].
#[derive(Debug, PartialEq, Eq)]
pub enum Serialized {
    /// There is no such key.
    Absent,
    /// It would take more bytes than allowed.
    TooLarge,
    /// The key.
    Bytes(Vec<u8>),
}

impl Keyspace<'_> {
    /// The whole key as bytes, if they are at most `bytes_max`.
    pub fn serialize(&self, key: &[u8], bytes_max: usize) -> Result<Serialized> {
        let Lookup { record, prior } = self.lookup(key)?;
        let Some(record) = record else { return Ok(Serialized::Absent) };
        let deadline_ms = record.deadline_ms();
        let format = match (record.fields_due_ms(), record.is_packed()) {
            (Some(_), _) => WITH_FIELDS_DUE,
            (None, true) => PACKED,
            (None, false) => UNPACKED,
        };
        let mut bytes = vec![format, record.kind() as u8, deadline_ms.is_some().into()];
        bytes.extend_from_slice(&deadline_ms.unwrap_or(0).to_be_bytes());
        if let Some(fields_due_ms) = record.fields_due_ms() {
            bytes.push(record.is_packed().into());
            bytes.extend_from_slice(&fields_due_ms.to_be_bytes());
        }
        if record.kind() == Type::String || record.is_packed() {
            if record.body().len() > bytes_max {
                return Ok(Serialized::TooLarge);
            }
            bytes.extend_from_slice(record.body());
            return Ok(Serialized::Bytes(bytes));
        }
        let collection = self.open(key, &record, prior)?;
        if collection.kind() == Type::SortedSet && has_tree(collection.fields()) {
            bytes[0] = COUNTED;
        }
        bytes.extend_from_slice(&collection.size.to_be_bytes());
        bytes.push(collection.fields().len() as u8);
        bytes.extend_from_slice(collection.fields());
        let mut fits = true;
        self.scan_elements(
            &collection,
            Bound::Unbounded,
            Bound::Unbounded,
            Direction::Forward,
            &mut |element, value| {
                fits = bytes.len() + element.len() + value.len() + 8 <= bytes_max;
                if !fits {
                    return ControlFlow::Break(());
                }
                for part in [element, value] {
                    bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
                    bytes.extend_from_slice(part);
                }
                ControlFlow::Continue(())
            },
        )?;
        Ok(if fits { Serialized::Bytes(bytes) } else { Serialized::TooLarge })
    }

    /// Replaces whatever `key` holds by the key that [`Keyspace::serialize`] turned into `bytes`.
    ///
    /// Returns false, having changed nothing, if `bytes` are not such.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for bytes of another version: to go on would leave this replica with other rows than those that can
    /// read them.
    pub fn restore(&mut self, key: &[u8], bytes: &[u8]) -> Result<bool> {
        if let Some(&found) = bytes.first().filter(|format| !is_read(**format)) {
            let path = PathBuf::from("a key on its way from another shard");
            return Err(Error::UnknownFormat { path, found: found.into(), supported: VERSIONS.newest() });
        }
        let Some(parts) = Parts::read(bytes) else { return Ok(false) };
        if parts.kind == Type::String {
            self.set_string(key, parts.rest, parts.deadline_ms)?;
            return Ok(true);
        }
        if parts.is_packed {
            return self.put_packed(key, &parts);
        }
        let Some((size, fields, rows)) = read_collection(parts.rest) else { return Ok(false) };
        if !Rows(rows).all_readable() || earliest_of_rows(parts.kind, Rows(rows)) != parts.fields_due_ms {
            return Ok(false);
        }
        let mut collection = self.replacement(key, parts.kind)?;
        collection.size = size;
        (collection.deadline_ms, collection.fields_due_ms) = (parts.deadline_ms, parts.fields_due_ms);
        collection.set_fields(fields);
        for (element, value) in Rows(rows) {
            self.put_element(&collection, element, value);
        }
        self.save(&mut collection);
        Ok(true)
    }

    /// Copies `key` over whatever `to` holds in database `to_db`. Says whether `key` exists. What `to` has then is told to be new.
    ///
    /// A collection is copied element by element: this takes as long as it has elements.
    pub fn copy_key(&mut self, key: &[u8], to_db: u8, to: &[u8]) -> Result<bool> {
        let from_db = self.db;
        assert!((from_db, key) != (to_db, to), "a key cannot replace itself");
        let (source, (deadline_ms, fields_due_ms)) = match self.source(key)? {
            None => return Ok(false),
            Some((Source::String(value), (deadline_ms, _))) => {
                self.select(to_db);
                self.put_anew();
                let done = self.set_string(to, &value, deadline_ms);
                self.select(from_db);
                return done.map(|()| true);
            }
            Some((Source::Packed(kind, body), (deadline_ms, fields_due_ms))) => {
                self.select(to_db);
                self.put_anew();
                let done =
                    self.put_packed(to, &Parts { kind, deadline_ms, fields_due_ms, is_packed: true, rest: &body });
                self.select(from_db);
                return if done? { Ok(true) } else { Err(damaged(key)) };
            }
            Some((Source::Collection(source), deadlines)) => (source, deadlines),
        };
        self.select(to_db);
        let target = self.replacement(to, source.kind());
        self.select(from_db);
        let mut target = target?;
        target.size = source.size;
        (target.deadline_ms, target.fields_due_ms) = (deadline_ms, fields_due_ms);
        target.set_fields(source.fields());
        self.copy_elements(&source, &target)?;
        self.select(to_db);
        self.put_anew();
        self.save(&mut target);
        self.select(from_db);
        Ok(true)
    }

    /// The rows to be copied, and with them the deadline and the earliest one of the fields.
    fn source(&self, key: &[u8]) -> Result<Option<(Source, Deadlines)>> {
        let Lookup { record, prior } = self.lookup(key)?;
        let Some(record) = &record else { return Ok(None) };
        let source = match record.kind() {
            Type::String => Source::String(record.body().to_vec()),
            kind if record.is_packed() => Source::Packed(kind, record.body().to_vec()),
            _ => Source::Collection(Box::new(self.open(key, record, prior)?)),
        };
        Ok(Some((source, (record.deadline_ms(), record.fields_due_ms()))))
    }

    /// Replaces whatever `key` holds by a packed collection. Returns false, having changed nothing, if it is not one.
    fn put_packed(&mut self, key: &[u8], parts: &Parts<'_>) -> Result<bool> {
        let prior = self.lookup(key)?.prior;
        let mut row = self.scratch.take();
        Meta::write_header_with_fields(&mut row, (parts.kind, true), parts.deadline_ms, parts.fields_due_ms);
        row.extend_from_slice(parts.rest);
        let is_readable = Packed::is_whole(&row);
        if is_readable {
            self.put_row(key, prior, parts.deadline_ms, &row);
        }
        self.scratch.give_back(row);
        Ok(is_readable)
    }

    fn copy_elements(&mut self, source: &Collection, target: &Collection) -> Result<()> {
        let mut after: Option<RowKey> = None;
        loop {
            let mut chunk: Vec<(RowKey, Vec<u8>)> = Vec::new();
            let lower = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            self.scan_elements(source, lower, Bound::Unbounded, Direction::Forward, &mut |element, value| {
                chunk.push((RowKey::from_slice(element), value.to_vec()));
                if chunk.len() < CHUNK_ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for (element, value) in &chunk {
                self.put_element(target, element, value);
            }
            match chunk.pop() {
                Some((element, _)) if chunk.len() + 1 == CHUNK_ROWS_MAX => after = Some(element),
                _ => return Ok(()),
            }
        }
    }

    /// Moves `key` to `to`, over whatever that holds, in the same database. Says whether `key` exists.
    pub fn rename(&mut self, key: &[u8], to: &[u8]) -> Result<bool> {
        if key == to {
            return self.exists(key);
        }
        if !self.copy_key(key, self.db, to)? {
            return Ok(false);
        }
        if !self.delete(key)? {
            return Err(damaged(key));
        }
        Ok(true)
    }
}

/// The deadline of a key, and the earliest one of its fields.
type Deadlines = (Option<u64>, Option<u64>);

/// A key that is being copied.
enum Source {
    String(Vec<u8>),
    Packed(Type, Vec<u8>),
    Collection(Box<Collection>),
}

/// The parts of a serialized key.
struct Parts<'a> {
    kind: Type,
    deadline_ms: Option<u64>,
    fields_due_ms: Option<u64>,
    is_packed: bool,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Option<Parts<'a>> {
        let (&[format, kind, has_deadline], rest) = bytes.split_first_chunk::<3>()?;
        let (deadline, rest) = rest.split_first_chunk::<8>()?;
        if !is_read(format) || has_deadline > 1 {
            return None;
        }
        let kind = Type::from_nibble(kind)?;
        let deadline_ms = (has_deadline == 1).then_some(u64::from_be_bytes(*deadline));
        if format == COUNTED && kind != Type::SortedSet {
            return None;
        }
        if format != WITH_FIELDS_DUE {
            return Some(Parts { kind, deadline_ms, fields_due_ms: None, is_packed: format == PACKED, rest });
        }
        let (&is_packed, rest) = rest.split_first().filter(|(is_packed, _)| **is_packed <= 1)?;
        let (fields_due, rest) = rest.split_first_chunk::<8>()?;
        let fields_due_ms = Some(u64::from_be_bytes(*fields_due)).filter(|_| kind == Type::Hash);
        fields_due_ms.map(|_| Parts { kind, deadline_ms, fields_due_ms, is_packed: is_packed == 1, rest })
    }
}

/// Size, fields and rows of a serialized collection.
fn read_collection(rest: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (&fields_length, rest) = rest.split_first()?;
    let (fields, rows) = rest.split_at_checked(usize::from(fields_length))?;
    (fields.len() <= FIELDS_BYTES_MAX).then_some((u64::from_be_bytes(*size), fields, rows))
}

/// The rows of a serialized collection.
struct Rows<'a>(&'a [u8]);

impl Rows<'_> {
    fn all_readable(mut self) -> bool {
        while self.next().is_some() {}
        self.0.is_empty()
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (element, rest) = split_part(self.0)?;
        let (value, rest) = split_part(rest)?;
        self.0 = rest;
        Some((element, value))
    }
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::super::Packing;
    use super::super::support::Shard;
    use super::*;

    fn put_set(keyspace: &mut Keyspace<'_>, key: &[u8], elements: u32) {
        let mut set = keyspace.collection_or_new(key, Type::Set).unwrap();
        for element in 0..elements {
            keyspace.put_element(&set, &element.to_be_bytes(), b"v");
        }
        set.size = elements.into();
        set.set_fields(b"own");
        keyspace.save(&mut set);
    }

    fn content(keyspace: &Keyspace<'_>, key: &[u8]) -> Vec<u8> {
        match keyspace.serialize(key, usize::MAX).unwrap() {
            Serialized::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_survive_the_way_to_another_shard() {
        let (mut here, mut there) = (Shard::default(), Shard::default());
        let mut source = here.keyspace();
        put_set(&mut source, b"set", 3000);
        source.set_deadline(b"set", Some(5000)).unwrap();
        source.set_string(b"text", b"value", Some(7000)).unwrap();
        let mut target = there.keyspace();
        for key in [b"set".as_slice(), b"text"] {
            let bytes = content(&source, key);
            assert!(target.restore(key, &bytes).unwrap());
            assert_eq!(content(&target, key), bytes);
        }
        assert_eq!(target.counters().keys[0], 2);
        assert_eq!(target.counters().deadlines[0], 2);
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        put_set(&mut keyspace, b"set", 1);
        keyspace.set_string(b"text", b"value", Some(7000)).unwrap();
        let set = b"\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x03own\0\0\0\x04\0\0\0\0\0\0\0\x01v";
        let text = b"\x01\0\x01\0\0\0\0\0\0\x1b\x58value";
        for (key, bytes) in [(&b"set"[..], &set[..]), (b"text", text)] {
            assert_eq!(content(&keyspace, key), bytes);
            assert!(keyspace.restore(b"copy", bytes).unwrap());
            assert_eq!(content(&keyspace, b"copy"), bytes);
        }
    }

    #[test]
    fn keys_above_the_bound_and_absent_ones_are_told_apart() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        put_set(&mut keyspace, b"set", 100);
        assert_eq!(keyspace.serialize(b"set", 200).unwrap(), Serialized::TooLarge);
        assert_eq!(keyspace.serialize(b"none", 200).unwrap(), Serialized::Absent);
    }

    #[test]
    fn damaged_bytes_change_nothing() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        put_set(&mut keyspace, b"set", 3);
        let bytes = content(&keyspace, b"set");
        for length in 0..bytes.len() {
            let is_whole_row = length >= 23 && (length - 23).is_multiple_of(13);
            let restored = keyspace.restore(b"new", &bytes[..length]).unwrap();
            assert_eq!(restored, is_whole_row, "cut at {length} of {}", bytes.len());
        }
        let mut unknown = bytes.clone();
        for version in [0, 5, 255] {
            unknown[0] = version;
            let refused = keyspace.restore(b"set", &unknown).unwrap_err();
            assert!(matches!(refused, Error::UnknownFormat { found, supported: 4, .. } if found == version.into()));
        }
        unknown[0] = COUNTED;
        assert!(!keyspace.restore(b"set", &unknown).unwrap(), "sets have no trees");
        assert_eq!(content(&keyspace, b"set"), bytes);
    }

    #[test]
    fn a_sorted_set_has_its_own_format_once_it_has_a_tree() {
        let mut shard = Shard::packing(&Packing::STANDARD);
        let mut add = |range: Range<u32>| {
            let mut keyspace = shard.keyspace();
            let mut sorted_set = keyspace.sorted_set_or_new(b"z").unwrap();
            for number in range {
                sorted_set.insert(&mut keyspace, &number.to_be_bytes(), None, number.into()).unwrap();
            }
            sorted_set.save(&mut keyspace).unwrap();
            content(&keyspace, b"z")[0]
        };
        // Those of programs before: in one row, and in rows of its own.
        assert_eq!([add(0..100), add(100..200), add(200..2000)], [PACKED, UNPACKED, COUNTED]);
        let mut keyspace = shard.keyspace();
        let bytes = content(&keyspace, b"z");
        assert!(keyspace.restore(b"copy", &bytes).unwrap());
        assert_eq!(content(&keyspace, b"copy"), bytes);
        let copy = keyspace.sorted_set(b"copy").unwrap().unwrap();
        let rank = copy.rank(&keyspace, &1500u32.to_be_bytes(), Direction::Forward).unwrap();
        assert_eq!(rank, Some(1500));
    }

    #[test]
    fn a_renamed_collection_leaves_nothing_behind() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        put_set(&mut keyspace, b"a", 2500);
        put_set(&mut keyspace, b"b", 10);
        let before = content(&keyspace, b"a");
        assert!(keyspace.rename(b"a", b"b").unwrap());
        assert!(!keyspace.exists(b"a").unwrap());
        assert_eq!(content(&keyspace, b"b"), before);
        assert_eq!(keyspace.counters().keys[0], 1);
        assert!(!keyspace.rename(b"a", b"c").unwrap());
    }

    #[test]
    fn a_copy_into_another_database_is_counted_there() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        put_set(&mut keyspace, b"a", 1024);
        keyspace.set_deadline(b"a", Some(9000)).unwrap();
        assert!(keyspace.copy_key(b"a", 3, b"a").unwrap());
        assert_eq!(keyspace.db(), 0);
        assert_eq!((keyspace.counters().keys[0], keyspace.counters().keys[3]), (1, 1));
        assert_eq!((keyspace.counters().deadlines[0], keyspace.counters().deadlines[3]), (1, 1));
        let before = content(&keyspace, b"a");
        keyspace.select(3);
        assert_eq!(content(&keyspace, b"a"), before);
    }
}
