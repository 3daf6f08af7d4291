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
use std::sync::{Arc, Mutex, PoisonError};

use super::OPAQUE_BYTES_MAX;
use crate::failpoint::fault;
use crate::{Error, Identity, Result, Versions};

/// Its name in the log's directory.
pub(super) const STATE_FILE: &str = "STATE";
/// First bytes of the file.
const MAGIC: [u8; 8] = *b"basltlog";
/// Versions of the whole log directory's format. Version 2 knew neither clusters nor numbers of nodes and groups.
const FORMAT: Versions = Versions::new(2, 3);
/// Bytes of the header before the identity: magic, format.
const PREFIX_BYTES: usize = 8 + 4;
/// Bytes of the header before its checksum.
const HEADER_BYTES: usize = PREFIX_BYTES + Identity::BYTES;
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

/// Bytes whose meaning is the caller's.
type Opaque = Option<Box<[u8]>>;

/// Promises of a replica to its group, durable when it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Promises {
    /// The vote, opaque.
    pub(super) vote: Option<Box<[u8]>>,
    /// Index and opaque id of the last purged record.
    pub(super) purged: Option<(u64, Box<[u8]>)>,
    /// The newest of the node's starts in which the log was opened.
    pub(super) start: u64,
    /// Index up to which a snapshot is to take the place of the rows, and of the log: until it is purged up to there, the rows
    /// may be ahead of it.
    pub(super) snapshot: Option<u64>,
}

/// Proof of how far the log was once durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index and term of the last record known to be durable.
    pub(super) last: Option<(u64, u64)>,
    /// The newest committed id, opaque.
    pub(super) committed: Option<Box<[u8]>>,
}

/// The open state file: its two kinds of state, each to be written by one thread at a time.
#[derive(Debug)]
pub(super) struct StateFile {
    pub(super) promises: PromiseSlots,
    pub(super) marks: MarkSlots,
    /// Set if its header is of the version before: see [`StateFile::upgrade`].
    pub(super) is_former: bool,
}

/// The slots that promises are written to.
#[derive(Debug)]
pub(super) struct PromiseSlots {
    slots: Slots,
    has_failed: bool,
}

/// The slots that marks are written to.
#[derive(Debug)]
pub(super) struct MarkSlots(Slots);

/// The file, as it is open.
///
/// The system reports pages that it could not write once, to whichever sync comes by first, and takes them for clean from then on.
/// So syncs come one after the other, and once one has failed all later ones do: a sync of marks must not take away the error of a
/// vote.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    directory: PathBuf,
    has_failed: Mutex<bool>,
}

/// Two pages that are written in turn.
#[derive(Debug)]
struct Slots {
    file: Arc<OpenFile>,
    first_page: u64,
    /// Writes so far, also the newest slot's number.
    written: u64,
}

impl StateFile {
    /// Writes a new state file without promises.
    pub(super) fn create(directory: &Path, identity: Identity) -> Result<()> {
        Self::replace(directory, identity, &Promises::default(), &Mark::default())
    }

    /// Writes the file anew, with a header of this version. After a crash it is there as it was or as it is.
    pub(super) fn upgrade(directory: &Path, identity: Identity, promises: &Promises, mark: &Mark) -> Result<Self> {
        Self::replace(directory, identity, promises, mark)?;
        Ok(Self::open(directory, identity)?.0)
    }

    fn replace(directory: &Path, identity: Identity, promises: &Promises, mark: &Mark) -> Result<()> {
        let path = directory.join("STATE.new");
        let written = fault("state begun", directory)
            .and_then(|()| write_new(&path, identity, promises, mark))
            .and_then(|()| fault("state written", directory))
            .and_then(|()| std::fs::rename(&path, directory.join(STATE_FILE)))
            .and_then(|()| fault("state renamed", directory))
            .and_then(|()| File::open(directory)?.sync_all());
        written.map_err(|source| Error::Io { path, source })
    }

    /// Opens the state file of an existing log.
    ///
    /// # Errors
    /// [`Error::Corruption`] if it is missing or no slot of a kind is intact, [`Error::UnknownFormat`] for another version's,
    /// [`Error::Foreign`] for another shard's.
    pub(super) fn open(directory: &Path, identity: Identity) -> Result<(Self, Promises, Mark)> {
        let path = directory.join(STATE_FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::Corruption { path, detail: "the file is missing".to_owned() });
            }
            Err(source) => return Err(Error::Io { path, source }),
        };
        let pages = read_pages(&path, &file)?;
        let (format, found) = read_header(&path, &pages[0])?;
        if !identity.owns(&found) {
            return Err(Error::Foreign {
                path: directory.to_owned(),
                found: Box::new(found),
                expected: Box::new(identity),
            });
        }
        let file = Arc::new(OpenFile { file, directory: directory.to_owned(), has_failed: Mutex::new(false) });
        let (promises, written) = newest(&path, &pages, PROMISES_PAGE, "vote and purged id", decode_promises)?;
        let promise_slots = PromiseSlots {
            slots: Slots { file: Arc::clone(&file), first_page: PROMISES_PAGE, written },
            has_failed: false,
        };
        let (mark, written) = newest(&path, &pages, MARK_PAGE, "durable mark", decode_mark)?;
        let mark_slots = MarkSlots(Slots { file, first_page: MARK_PAGE, written });
        let is_former = format != FORMAT.written();
        Ok((Self { promises: promise_slots, marks: mark_slots, is_former }, promises, mark))
    }
}

impl OpenFile {
    /// Makes everything written so far durable; `what` that is, for tests.
    pub(super) fn sync(&self, what: &str) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_failed {
            return Err(io::Error::other("an earlier sync of the state file failed"));
        }
        let synced = fault(what, &self.directory).and_then(|()| self.file.sync_data());
        *has_failed = synced.is_err();
        synced
    }
}

impl PromiseSlots {
    /// Writes `promises` and syncs them. A failure is final, as that of any sync.
    pub(super) fn write(&mut self, promises: &Promises) -> io::Result<()> {
        self.check()?;
        let written = fault("promises begun", &self.slots.file.directory)
            .and_then(|()| self.slots.write(&encode_promises(promises)))
            .and_then(|()| self.slots.file.sync("promises written"));
        self.has_failed = written.is_err();
        written
    }

    /// Fails once a write has failed.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.has_failed { Err(io::Error::other("an earlier write of vote and purged id failed")) } else { Ok(()) }
    }
}

impl MarkSlots {
    /// Hands `mark` to the operating system.
    pub(super) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.0.write(&encode_mark(mark))
    }

    /// Writes `mark` in place of both, and syncs it: no earlier mark is left to be believed.
    pub(super) fn replace(&mut self, mark: &Mark) -> io::Result<()> {
        self.write(mark)?;
        self.write(mark)?;
        self.0.file.sync("mark lowered")
    }

    /// The file, to sync the marks without holding up the next one.
    pub(super) fn file(&self) -> Arc<OpenFile> {
        Arc::clone(&self.0.file)
    }
}

impl Slots {
    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.written += 1;
        write_slot(&self.file.file, self.first_page + self.written % 2, self.written, payload)
    }
}

fn write_new(path: &Path, identity: Identity, promises: &Promises, mark: &Mark) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.set_len(PAGES * SLOT_BYTES as u64)?;
    let mut header = [0; SLOT_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.written().to_be_bytes());
    header[PREFIX_BYTES..HEADER_BYTES].copy_from_slice(&identity.encode());
    let checksum = crc32fast::hash(&header[..HEADER_BYTES]);
    header[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&checksum.to_be_bytes());
    file.write_all_at(&header, 0)?;
    for number in 0..2 {
        write_slot(&file, PROMISES_PAGE + number, number, &encode_promises(promises))?;
        write_slot(&file, MARK_PAGE + number, number, &encode_mark(mark))?;
    }
    file.sync_all()
}

fn write_slot(file: &File, page: u64, number: u64, payload: &[u8]) -> io::Result<()> {
    assert!(payload.len() <= SLOT_BYTES - SLOT_HEADER_BYTES, "the parts of a slot are bounded when they are set");
    let mut slot = [0; SLOT_BYTES];
    slot[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    slot[8..16].copy_from_slice(&number.to_be_bytes());
    let end = SLOT_HEADER_BYTES + payload.len();
    slot[SLOT_HEADER_BYTES..end].copy_from_slice(payload);
    let checksum = crc32fast::hash(&slot[4..end]);
    slot[..4].copy_from_slice(&checksum.to_be_bytes());
    file.write_all_at(&slot[..end], page * SLOT_BYTES as u64)
}

fn read_pages(path: &Path, file: &File) -> Result<Vec<[u8; SLOT_BYTES]>> {
    let mut pages = Vec::new();
    for page in 0..PAGES {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_exact_at(&mut bytes, page * SLOT_BYTES as u64) {
            Ok(()) => pages.push(bytes),
            Err(source) if source.kind() == ErrorKind::UnexpectedEof => {
                return Err(corruption(path, "the file is too short".to_owned()));
            }
            Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
        }
    }
    Ok(pages)
}

/// Version of the header, and owner of the log.
fn read_header(path: &Path, header: &[u8; SLOT_BYTES]) -> Result<(u32, Identity)> {
    let strange = || corruption(path, "it does not begin like a state file of a log".to_owned());
    if header[..8] != MAGIC {
        return Err(strange());
    }
    // Before the checksum, whose place belongs to the format.
    let found = be_u32(&header[8..]);
    if !FORMAT.reads(found) {
        return Err(Error::UnknownFormat { path: path.to_owned(), found, supported: FORMAT.newest() });
    }
    let after = &header[PREFIX_BYTES..];
    let (identity, end) = match found {
        2 => (after.first_chunk().map(Identity::decode_former), PREFIX_BYTES + Identity::FORMER_BYTES),
        _ => (after.first_chunk().map(Identity::decode), HEADER_BYTES),
    };
    if be_u32(&header[end..]) != crc32fast::hash(&header[..end]) {
        return Err(strange());
    }
    Ok((found, identity.ok_or_else(strange)?))
}

/// The newer intact one of two slots, and its number.
fn newest<T>(
    path: &Path,
    pages: &[[u8; SLOT_BYTES]],
    first: u64,
    what: &str,
    decode: fn(&[u8]) -> Option<T>,
) -> Result<(T, u64)> {
    let slots = &pages[first as usize..first as usize + 2];
    let intact = slots.iter().filter_map(|slot| slot_payload(slot)).max_by_key(|(number, _)| *number);
    let decoded = intact.and_then(|(number, payload)| Some((decode(payload)?, number)));
    decoded.ok_or_else(|| corruption(path, format!("both copies of the {what} are damaged")))
}

fn corruption(path: &Path, detail: String) -> Error {
    Error::Corruption { path: path.to_owned(), detail }
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
    out.extend_from_slice(&promises.start.to_be_bytes());
    out.push(u8::from(promises.snapshot.is_some()));
    out.extend_from_slice(&promises.snapshot.unwrap_or_default().to_be_bytes());
    out
}

fn decode_promises(payload: &[u8]) -> Option<Promises> {
    let (vote, rest) = take_opaque(payload)?;
    let (index, rest) = rest.split_at_checked(8)?;
    let (id, rest) = take_opaque(rest)?;
    let (start, rest) = rest.split_at_checked(8)?;
    let (&has_snapshot, snapshot) = rest.split_first()?;
    if has_snapshot > 1 || snapshot.len() != 8 {
        return None;
    }
    let snapshot = (has_snapshot == 1).then(|| be_u64(snapshot));
    Some(Promises { vote, purged: id.map(|id| (be_u64(index), id)), start: be_u64(start), snapshot })
}

fn encode_mark(mark: &Mark) -> Vec<u8> {
    // One is written with each sync.
    let mut out = Vec::with_capacity(19 + mark.committed.as_ref().map_or(0, |committed| committed.len()));
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

fn take_opaque(bytes: &[u8]) -> Option<(Opaque, &[u8])> {
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
    use crate::identity::tests::{OWN, others};

    fn promises(vote: &[u8]) -> Promises {
        let purged = Some((41, b"id of 41".as_slice().into()));
        Promises { vote: Some(vote.into()), purged, start: 3, snapshot: Some(40) }
    }

    fn mark(index: u64) -> Mark {
        Mark { last: Some((index, 7)), committed: Some(b"".as_slice().into()) }
    }

    fn created() -> (tempfile::TempDir, StateFile) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        StateFile::create(directory.path(), OWN).expect("created");
        let (state, promises, mark) = StateFile::open(directory.path(), OWN).expect("opens");
        assert_eq!((promises, mark), (Promises::default(), Mark::default()));
        (directory, state)
    }

    fn overwrite(directory: &Path, at: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(directory.join(STATE_FILE)).expect("there");
        file.write_all_at(bytes, at).expect("written");
    }

    #[test]
    fn the_newest_state_comes_back() {
        let (directory, mut state) = created();
        for round in 0..5 {
            state.promises.write(&promises(&[round])).expect("written");
            state.marks.write(&mark(u64::from(round))).expect("written");
            let (_, found, marked) = StateFile::open(directory.path(), OWN).expect("opens");
            assert_eq!((found, marked), (promises(&[round]), mark(u64::from(round))));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_state_before_it() {
        let (directory, mut state) = created();
        state.marks.write(&mark(1)).expect("written");
        state.marks.write(&mark(2)).expect("written");
        let torn = (MARK_PAGE + state.marks.0.written % 2) * SLOT_BYTES as u64 + 20;
        overwrite(directory.path(), torn, b"torn");
        assert_eq!(StateFile::open(directory.path(), OWN).expect("opens").2, mark(1));
    }

    #[test]
    fn a_replaced_mark_leaves_no_older_one() {
        let (directory, mut state) = created();
        state.marks.write(&mark(9)).expect("written");
        state.marks.replace(&mark(3)).expect("written");
        for page in [MARK_PAGE, MARK_PAGE + 1] {
            let intact = std::fs::read(directory.path().join(STATE_FILE)).expect("readable");
            overwrite(directory.path(), page * SLOT_BYTES as u64, b"torn");
            assert_eq!(StateFile::open(directory.path(), OWN).expect("opens").2, mark(3));
            std::fs::write(directory.path().join(STATE_FILE), intact).expect("written");
        }
    }

    #[test]
    fn damage_is_refused_by_name() {
        let (directory, _) = created();
        let path = directory.path().join(STATE_FILE);
        for page in [PROMISES_PAGE, MARK_PAGE] {
            let intact = std::fs::read(&path).expect("readable");
            for slot in [page, page + 1] {
                overwrite(directory.path(), slot * SLOT_BYTES as u64, b"x");
            }
            let refused = StateFile::open(directory.path(), OWN).expect_err("both copies are damaged");
            assert!(refused.to_string().contains("STATE"), "{refused}");
            std::fs::write(&path, intact).expect("written");
        }
        for byte in (0..HEADER_BYTES as u64 + 4).filter(|byte| !(8..12).contains(byte)) {
            let intact = std::fs::read(&path).expect("readable");
            overwrite(directory.path(), byte, &[intact[byte as usize] ^ 4]);
            let refused = StateFile::open(directory.path(), OWN).expect_err("a header whose checksum does not fit");
            assert!(matches!(refused, Error::Corruption { .. }), "byte {byte}: {refused}");
            std::fs::write(&path, intact).expect("written");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(StateFile::open(directory.path(), OWN), Err(Error::Corruption { .. })));
    }

    #[test]
    fn the_header_is_the_documented_one() {
        let (directory, _) = created();
        let bytes = std::fs::read(directory.path().join(STATE_FILE)).expect("readable");
        let numbers = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 5];
        let header = [b"basltlog\0\0\0\x03", &[9; 20][..], &[7; 20], &numbers].concat();
        assert_eq!(bytes[..68], header);
        assert_eq!(bytes[68..72], crc32fast::hash(&header).to_be_bytes());
        assert!(bytes[72..SLOT_BYTES].iter().all(|byte| *byte == 0));
    }

    /// The page of a header as version 2 had it, of shard 4 of that node.
    fn former_page() -> [u8; SLOT_BYTES] {
        let mut page = [0; SLOT_BYTES];
        page[..36].copy_from_slice(&[b"basltlog\0\0\0\x02", &[7; 20][..], &[0, 0, 0, 4]].concat());
        page[36..40].copy_from_slice(&[0xac, 0x45, 0xc9, 0x46]);
        page
    }

    #[test]
    fn the_state_of_the_version_before_is_read_and_upgraded_with_what_it_promised() {
        let upgraded = Identity { node: 1, ..OWN };
        for failing in [Some("state begun"), Some("state written"), Some("state renamed"), None] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            StateFile::create(directory.path(), upgraded).expect("created");
            let (mut state, ..) = StateFile::open(directory.path(), upgraded).expect("opens");
            state.promises.write(&promises(b"vote")).expect("written");
            state.marks.write(&mark(9)).expect("written");
            overwrite(directory.path(), 0, &former_page());
            let refused = StateFile::open(directory.path(), OWN).expect_err("a node with a number of its own");
            assert!(matches!(&refused, Error::Foreign { found, .. } if **found == Identity::former([7; 20], 4)));

            let (state, found, marked) = StateFile::open(directory.path(), upgraded).expect("opens");
            assert!(state.is_former && found == promises(b"vote") && marked == mark(9));
            let failure = |name| crate::failpoint::arm(name, directory.path(), || Err(io::Error::other("no luck")));
            let armed = failing.map(failure);
            let outcome = StateFile::upgrade(directory.path(), upgraded, &found, &marked);
            assert_eq!(outcome.is_ok(), failing.is_none(), "{failing:?}");
            drop(armed);

            let (state, found, marked) = StateFile::open(directory.path(), upgraded).expect("opens");
            let is_replaced = matches!(failing, Some("state renamed") | None);
            assert!(state.is_former != is_replaced && found == promises(b"vote") && marked == mark(9), "{failing:?}");
            drop(state);
            let mut state = StateFile::upgrade(directory.path(), upgraded, &found, &marked).expect("upgraded");
            state.promises.write(&promises(b"next")).expect("written");
            assert_eq!(StateFile::open(directory.path(), upgraded).expect("opens").1, promises(b"next"));
        }
    }

    #[test]
    fn other_formats_are_refused_as_such() {
        // Format 1 did not say whose log it is.
        for format in [0, 1, FORMAT.newest() + 1, u32::MAX] {
            let (directory, _) = created();
            overwrite(directory.path(), 8, &format.to_be_bytes());
            let refused = StateFile::open(directory.path(), OWN).expect_err("refused");
            assert!(matches!(refused, Error::UnknownFormat { found, .. } if found == format), "{refused}");
        }
    }

    #[test]
    fn the_log_of_another_group_node_or_cluster_is_refused() {
        let (directory, _) = created();
        for other in others() {
            let refused = StateFile::open(directory.path(), other).expect_err("refused");
            assert!(
                matches!(&refused, Error::Foreign { found, path, .. } if **found == OWN && path == directory.path()),
                "{refused}"
            );
        }
    }
}
