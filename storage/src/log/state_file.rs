//! The log's small state file: what must survive besides the records, and proof of how far the log was once durable.
//!
//! RocksDB opens a database whose write-ahead files have lost their end without complaint: it cannot tell a torn tail, that
//! nobody was promised, from a lost one. So after every sync index and term of the last durable record are noted here, and an
//! open that does not find that record refuses. By Raft's log matching property its presence proves all before it.
//!
//! Two kinds of state share the file, each in two slots written in turn, so that a crash while one is written leaves the
//! other:
//! - *promises* (vote, purged id) are synced each time they are written;
//! - the *mark* (last durable record, committed id) is only handed to the operating system, and synced now and then. It is
//!   exact after a crash of the process; after a crash of the machine it may be old, and proves that much less. Before
//!   records are truncated it is lowered and synced.
//!
//! The file is written in place and never grows, so that writing it neither needs space nor commits the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::OPAQUE_BYTES_MAX;
use crate::{Error, Result};

/// Its name in the log's directory.
pub(super) const STATE_FILE: &str = "STATE";
/// First bytes of the file.
const MAGIC: [u8; 8] = *b"basltlog";
/// Version of the whole log directory's format.
const FORMAT: u32 = 1;
/// Bytes of a slot: a page, so that writing one never touches another.
const SLOT_BYTES: usize = 4096;
/// Bytes of a slot before its payload: checksum, payload length, write number.
const SLOT_HEADER_BYTES: usize = 16;
/// Page of the first promises slot; the second follows.
const PROMISES_PAGE: u64 = 1;
/// Page of the first mark slot; the second follows.
const MARK_PAGE: u64 = 3;
/// Pages of the file: header, two slots of promises, two of marks.
const PAGES: u64 = 5;

/// What a replica has promised its group, durable when it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Promises {
    /// The vote, opaque.
    pub(super) vote: Option<Box<[u8]>>,
    /// Index and opaque id of the last purged record.
    pub(super) purged: Option<(u64, Box<[u8]>)>,
}

/// How far the log was once durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index and term of the last record known to be durable.
    pub(super) last: Option<(u64, u64)>,
    /// The newest committed id, opaque.
    pub(super) committed: Option<Box<[u8]>>,
}

/// The open state file.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    file: File,
    promises_written: u64,
    marks_written: u64,
}

impl StateFile {
    /// Writes a new state file without promises.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let path = directory.join(STATE_FILE);
        let fresh = directory.join("STATE.new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh);
        let file = file.map_err(|source| Error::Io { path: fresh.clone(), source })?;
        let mut state = Self { path, file, promises_written: 0, marks_written: 0 };
        state.write_all_slots().map_err(|source| state.io(source))?;
        std::fs::rename(&fresh, &state.path).map_err(|source| state.io(source))?;
        let directory_synced = File::open(directory).and_then(|directory| directory.sync_all());
        directory_synced.map_err(|source| state.io(source))?;
        Ok(state)
    }

    /// Opens the state file of an existing log.
    ///
    /// # Errors
    /// [`Error::Corruption`] if it is missing or no slot of a kind is intact, [`Error::UnknownFormat`] for a newer one.
    pub(super) fn open(directory: &Path) -> Result<(Self, Promises, Mark)> {
        let path = directory.join(STATE_FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::Corruption { path, detail: "the file is missing".to_owned() });
            }
            Err(source) => return Err(Error::Io { path, source }),
        };
        let mut state = Self { path, file, promises_written: 0, marks_written: 0 };
        let pages = state.read_pages()?;
        state.check_header(&pages[0])?;
        let (promises, written) = state.newest(&pages, PROMISES_PAGE, "vote and purged id", decode_promises)?;
        state.promises_written = written;
        let (mark, written) = state.newest(&pages, MARK_PAGE, "durable mark", decode_mark)?;
        state.marks_written = written;
        Ok((state, promises, mark))
    }

    /// Writes `promises` and syncs them.
    pub(super) fn write_promises(&mut self, promises: &Promises) -> io::Result<()> {
        self.promises_written += 1;
        let page = PROMISES_PAGE + self.promises_written % 2;
        self.write_slot(page, self.promises_written, &encode_promises(promises))?;
        self.file.sync_data()
    }

    /// Hands `mark` to the operating system.
    pub(super) fn write_mark(&mut self, mark: &Mark) -> io::Result<()> {
        self.marks_written += 1;
        self.write_slot(MARK_PAGE + self.marks_written % 2, self.marks_written, &encode_mark(mark))
    }

    /// Syncs what was handed to the operating system.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Another handle of the same file, to sync the marks from without holding up the next one.
    pub(super) fn try_clone_file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn write_all_slots(&mut self) -> io::Result<()> {
        self.file.set_len(PAGES * SLOT_BYTES as u64)?;
        let mut header = [0; SLOT_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_be_bytes());
        let checksum = crc32fast::hash(&header[..12]);
        header[12..16].copy_from_slice(&checksum.to_be_bytes());
        self.file.write_all_at(&header, 0)?;
        for _ in 0..2 {
            self.write_promises(&Promises::default())?;
            self.write_mark(&Mark::default())?;
        }
        self.file.sync_all()
    }

    fn write_slot(&self, page: u64, number: u64, payload: &[u8]) -> io::Result<()> {
        assert!(payload.len() <= SLOT_BYTES - SLOT_HEADER_BYTES, "the parts of a slot are bounded when they are set");
        let mut slot = [0; SLOT_BYTES];
        slot[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        slot[8..16].copy_from_slice(&number.to_be_bytes());
        let end = SLOT_HEADER_BYTES + payload.len();
        slot[SLOT_HEADER_BYTES..end].copy_from_slice(payload);
        let checksum = crc32fast::hash(&slot[4..end]);
        slot[..4].copy_from_slice(&checksum.to_be_bytes());
        self.file.write_all_at(&slot[..end], page * SLOT_BYTES as u64)
    }

    fn read_pages(&self) -> Result<Vec<[u8; SLOT_BYTES]>> {
        let mut pages = Vec::new();
        for page in 0..PAGES {
            let mut bytes = [0; SLOT_BYTES];
            match self.file.read_exact_at(&mut bytes, page * SLOT_BYTES as u64) {
                Ok(()) => pages.push(bytes),
                Err(source) if source.kind() == ErrorKind::UnexpectedEof => {
                    return Err(self.corruption("the file is too short".to_owned()));
                }
                Err(source) => return Err(self.io(source)),
            }
        }
        Ok(pages)
    }

    fn check_header(&self, header: &[u8]) -> Result<()> {
        if header[..8] != MAGIC || be_u32(&header[12..]) != crc32fast::hash(&header[..12]) {
            return Err(self.corruption("it does not begin like a state file of a log".to_owned()));
        }
        let found = be_u32(&header[8..]);
        if found != FORMAT {
            return Err(Error::UnknownFormat { path: self.path.clone(), found, supported: FORMAT });
        }
        Ok(())
    }

    /// The newer intact one of two slots, and its number.
    fn newest<T>(
        &self,
        pages: &[[u8; SLOT_BYTES]],
        first: u64,
        what: &str,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<(T, u64)> {
        let slots = &pages[first as usize..first as usize + 2];
        let intact = slots.iter().filter_map(|slot| slot_payload(slot)).max_by_key(|(number, _)| *number);
        let decoded = intact.and_then(|(number, payload)| Some((decode(payload)?, number)));
        decoded.ok_or_else(|| self.corruption(format!("both copies of the {what} are damaged")))
    }

    fn corruption(&self, detail: String) -> Error {
        Error::Corruption { path: self.path.clone(), detail }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

fn slot_payload(slot: &[u8]) -> Option<(u64, &[u8])> {
    let end = SLOT_HEADER_BYTES.checked_add(be_u32(&slot[4..]) as usize)?;
    let covered = slot.get(4..end)?;
    (crc32fast::hash(covered) == be_u32(slot)).then(|| (be_u64(&slot[8..]), &slot[SLOT_HEADER_BYTES..end]))
}

fn encode_promises(promises: &Promises) -> Vec<u8> {
    let mut out = Vec::new();
    put_opaque(&mut out, promises.vote.as_deref());
    let (index, id) = promises.purged.as_ref().map_or((0, None), |(index, id)| (*index, Some(&**id)));
    out.extend_from_slice(&index.to_be_bytes());
    put_opaque(&mut out, id);
    out
}

fn decode_promises(payload: &[u8]) -> Option<Promises> {
    let (vote, rest) = take_opaque(payload)?;
    let (index, rest) = rest.split_at_checked(8)?;
    let (id, _) = take_opaque(rest)?;
    Some(Promises { vote, purged: id.map(|id| (be_u64(index), id)) })
}

fn encode_mark(mark: &Mark) -> Vec<u8> {
    let mut out = Vec::new();
    let (index, term) = mark.last.unwrap_or_default();
    out.push(u8::from(mark.last.is_some()));
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(&term.to_be_bytes());
    put_opaque(&mut out, mark.committed.as_deref());
    out
}

fn decode_mark(payload: &[u8]) -> Option<Mark> {
    let (head, rest) = payload.split_at_checked(17)?;
    let (committed, _) = take_opaque(rest)?;
    Some(Mark { last: (head[0] == 1).then(|| (be_u64(&head[1..]), be_u64(&head[9..]))), committed })
}

/// Appends optional opaque bytes: length plus one in two bytes (0: none), then the bytes.
fn put_opaque(out: &mut Vec<u8>, opaque: Option<&[u8]>) {
    let bytes = opaque.unwrap_or_default();
    assert!(bytes.len() <= OPAQUE_BYTES_MAX, "opaque ids are bounded");
    let length = opaque.map_or(0, |bytes| bytes.len() as u16 + 1);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_opaque(bytes: &[u8]) -> Option<(Option<Box<[u8]>>, &[u8])> {
    let (length, rest) = bytes.split_at_checked(2)?;
    match u16::from_be_bytes([length[0], length[1]]) {
        0 => Some((None, rest)),
        length => {
            let (opaque, rest) = rest.split_at_checked(usize::from(length) - 1)?;
            Some((Some(opaque.into()), rest))
        }
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn be_u64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises(vote: &[u8]) -> Promises {
        Promises { vote: Some(vote.into()), purged: Some((41, b"id of 41".as_slice().into())) }
    }

    fn mark(index: u64) -> Mark {
        Mark { last: Some((index, 7)), committed: Some(b"".as_slice().into()) }
    }

    #[test]
    fn the_newest_state_comes_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut state = StateFile::create(directory.path()).expect("created");
        let (_, fresh, unmarked) = StateFile::open(directory.path()).expect("opens");
        assert_eq!((fresh, unmarked), (Promises::default(), Mark::default()));
        for round in 0..5 {
            state.write_promises(&promises(&[round])).expect("written");
            state.write_mark(&mark(u64::from(round))).expect("written");
            let (_, found, marked) = StateFile::open(directory.path()).expect("opens");
            assert_eq!((found, marked), (promises(&[round]), mark(u64::from(round))));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_state_before_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut state = StateFile::create(directory.path()).expect("created");
        state.write_mark(&mark(1)).expect("written");
        state.write_mark(&mark(2)).expect("written");
        let page = MARK_PAGE + state.marks_written % 2;
        state.file.write_all_at(b"torn", page * SLOT_BYTES as u64 + 20).expect("written");
        let (_, _, marked) = StateFile::open(directory.path()).expect("opens");
        assert_eq!(marked, mark(1));
    }

    #[test]
    fn damage_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = StateFile::create(directory.path()).expect("created");
        for page in [PROMISES_PAGE, MARK_PAGE] {
            let intact = std::fs::read(&state.path).expect("readable");
            for slot in [page, page + 1] {
                state.file.write_all_at(b"x", slot * SLOT_BYTES as u64).expect("written");
            }
            let refused = StateFile::open(directory.path()).expect_err("both copies are damaged");
            assert!(refused.to_string().contains("STATE"), "{refused}");
            std::fs::write(&state.path, intact).expect("written");
        }
        state.file.write_all_at(&2u32.to_be_bytes(), 8).expect("written");
        assert!(StateFile::open(directory.path()).is_err(), "a header whose checksum does not fit");
        std::fs::remove_file(&state.path).expect("removed");
        assert!(matches!(StateFile::open(directory.path()), Err(Error::Corruption { .. })));
    }
}
