//! The entry that has stopped the shard, and those that are not executed, by an operator's order.
//!
//! An entry whose execution fails each time (it panics, or holds what no program can execute) stops its shard again at each start,
//! for the log is what counts. An operator may give such an entry up, and only such: it is noted here which one it is when it stops
//! the shard, and that it is skipped before it is for the first time. So each later replay of the same log skips it as well.
//!
//! The file is in the log's directory: it speaks of that log's records, and goes where they go. There is none before the first
//! entry that stops the shard.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::limits::{REASON_BYTES_MAX, SKIPPED_MAX};
use crate::failpoint::fault;
use crate::{Error, Identity, Result, Versions};

/// Its name in the log's directory.
const SKIPS_FILE: &str = "SKIPS";
/// First bytes of the file.
const MAGIC: [u8; 8] = *b"basltskp";
/// Versions of its format. Version 1 knew neither clusters nor numbers of nodes and groups.
const FORMAT: Versions = Versions::new(1, 2);
/// Bytes before the identity: magic, format.
const PREFIX_BYTES: usize = 8 + 4;
/// Bytes of the checksum, which follows the identity.
const CHECKSUM_BYTES: usize = 4;

/// The entry that has stopped a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Reason for which it cannot be executed.
    pub reason: String,
}

/// Entries of a shard's log that cannot be executed. A copy is of that moment.
#[derive(Debug, Clone)]
pub struct Skips {
    directory: PathBuf,
    identity: Identity,
    stopped: Option<Stopped>,
    /// Index and term of each entry that is not executed.
    skipped: Vec<(u64, u64)>,
}

impl Skips {
    /// Reads what the log in `directory` says.
    pub(super) fn open(directory: &Path, identity: Identity) -> Result<Skips> {
        let path = directory.join(SKIPS_FILE);
        let mut skips = Skips { directory: directory.to_owned(), identity, stopped: None, skipped: Vec::new() };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(skips),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let damaged = |detail: &str| Error::Corruption { path: path.clone(), detail: detail.to_owned() };
        if bytes.len() < PREFIX_BYTES || bytes[..8] != MAGIC {
            return Err(damaged("it does not begin like the list of a log's skipped entries"));
        }
        // Before the checksum, whose place belongs to the format.
        let found = be_u32(&bytes[8..]);
        if !FORMAT.reads(found) {
            return Err(Error::UnknownFormat { path, found, supported: FORMAT.newest() });
        }
        let after = &bytes[PREFIX_BYTES..];
        let (found, identity_bytes) = match found {
            1 => (after.first_chunk().map(Identity::decode_former), Identity::FORMER_BYTES),
            _ => (after.first_chunk().map(Identity::decode), Identity::BYTES),
        };
        let cut_short = || damaged("it is cut short");
        let found = found.ok_or_else(cut_short)?;
        let (head, rest) = bytes.split_at(PREFIX_BYTES + identity_bytes);
        let (stored, payload) = rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(cut_short)?;
        if be_u32(stored) != checksum(head, payload) {
            return Err(damaged("its checksum does not fit"));
        }
        if !identity.owns(&found) {
            return Err(Error::Foreign { path, found: Box::new(found), expected: Box::new(identity) });
        }
        (skips.stopped, skips.skipped) = decode(payload).ok_or_else(|| damaged("its length does not fit"))?;
        Ok(skips)
    }

    /// The number of the group.
    pub fn group(&self) -> u64 {
        self.identity.group
    }

    /// The entry that has stopped the shard, if one has and was neither executed nor skipped since.
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// True if this entry is not to be executed.
    pub fn is_skipped(&self, index: u64, term: u64) -> bool {
        self.skipped.contains(&(index, term))
    }

    /// Forgets the entries up to `purged`, which nobody will replay any more. Blocks, if there are any: for who opens a log.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing has changed then.
    pub(super) fn forget_purged(&mut self, purged: u64) -> Result<()> {
        let is_stopped = self.stopped.as_ref().is_some_and(|stopped| stopped.index <= purged);
        if !is_stopped && self.skipped.iter().all(|(index, _)| *index > purged) {
            return Ok(());
        }
        self.change(|skips| {
            skips.stopped.take_if(|stopped| stopped.index <= purged);
            skips.skipped.retain(|(index, _)| *index > purged);
        })
    }

    /// Notes, durable on return, that an entry has stopped the shard. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing has changed then.
    pub fn note_stopped(&mut self, mut stopped: Stopped) -> Result<()> {
        let mut end = stopped.reason.len().min(REASON_BYTES_MAX);
        while !stopped.reason.is_char_boundary(end) {
            end -= 1;
        }
        stopped.reason.truncate(end);
        self.change(|skips| skips.stopped = Some(stopped))
    }

    /// Notes, durable on return, that the entry which had stopped the shard could be executed after all. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing has changed then.
    pub fn note_executed(&mut self) -> Result<()> {
        self.change(|skips| skips.stopped = None)
    }

    /// Notes, durable on return, that the entry at `index` is not to be executed, from the next replay on. Nothing happens if that
    /// was noted before.
    ///
    /// # Errors
    /// [`Error::NoSkip`] unless that entry has stopped the shard; [`Error::Io`].
    pub(super) fn skip(&mut self, index: u64) -> Result<()> {
        if self.skipped.iter().any(|(skipped, _)| *skipped == index) {
            return Ok(());
        }
        let refuse = |detail: String| Error::NoSkip { path: self.directory.clone(), index, detail };
        let term = match &self.stopped {
            Some(stopped) if stopped.index == index => stopped.term,
            Some(stopped) => {
                return Err(refuse(format!("the shard was stopped by entry {}: {}", stopped.index, stopped.reason)));
            }
            None => return Err(refuse("no entry has stopped the shard".to_owned())),
        };
        if self.skipped.len() >= SKIPPED_MAX {
            return Err(refuse(format!("{SKIPPED_MAX} entries are skipped already")));
        }
        self.change(|skips| {
            skips.stopped = None;
            skips.skipped.push((index, term));
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Skips)) -> Result<()> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.write().map_err(|source| Error::Io { path: self.directory.join(SKIPS_FILE), source })?;
        *self = changed;
        Ok(())
    }

    /// Writes the file so that after a crash it is there as it was or as it is.
    fn write(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.written().to_be_bytes());
        bytes.extend_from_slice(&self.identity.encode());
        let payload = encode(self.stopped.as_ref(), &self.skipped);
        bytes.extend_from_slice(&checksum(&bytes, &payload).to_be_bytes());
        bytes.extend_from_slice(&payload);
        let draft = self.directory.join("SKIPS.new");
        fault("skips begun", &self.directory)?;
        let mut file = File::create(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.directory.join(SKIPS_FILE))?;
        File::open(&self.directory)?.sync_all()
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// `[has stopped u8][index u64][term u64][reason length u16][reason …][count u32]`, then for each `[index u64][term u64]`.
fn encode(stopped: Option<&Stopped>, skipped: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(u8::from(stopped.is_some()));
    if let Some(stopped) = stopped {
        out.extend_from_slice(&stopped.index.to_be_bytes());
        out.extend_from_slice(&stopped.term.to_be_bytes());
        out.extend_from_slice(&(stopped.reason.len() as u16).to_be_bytes());
        out.extend_from_slice(stopped.reason.as_bytes());
    }
    out.extend_from_slice(&(skipped.len() as u32).to_be_bytes());
    for (index, term) in skipped {
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&term.to_be_bytes());
    }
    out
}

type Decoded = (Option<Stopped>, Vec<(u64, u64)>);

fn decode(payload: &[u8]) -> Option<Decoded> {
    let (&has_stopped, mut rest) = payload.split_first()?;
    let mut stopped = None;
    if has_stopped == 1 {
        let (head, after) = rest.split_at_checked(18)?;
        let (reason, after) = after.split_at_checked(usize::from(u16::from_be_bytes([head[16], head[17]])))?;
        let reason = String::from_utf8_lossy(reason).into_owned();
        stopped = Some(Stopped { index: be_u64(head), term: be_u64(&head[8..]), reason });
        rest = after;
    }
    let (count, pairs) = rest.split_at_checked(4)?;
    if has_stopped > 1 || pairs.len() != be_u32(count) as usize * 16 {
        return None;
    }
    Some((stopped, pairs.chunks_exact(16).map(|pair| (be_u64(pair), be_u64(&pair[8..]))).collect()))
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

    fn stopped(index: u64) -> Stopped {
        Stopped { index, term: 3, reason: format!("entry {index} is poison") }
    }

    #[test]
    fn only_the_entry_that_has_stopped_the_shard_is_skipped_and_that_for_good() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = || Skips::open(directory.path(), OWN).expect("opens");
        let refused = open().skip(41).expect_err("nothing has stopped it").to_string();
        assert!(refused.contains("entry 41") && refused.contains("no entry has stopped the shard"), "{refused}");
        open().note_stopped(stopped(41)).expect("noted");
        assert_eq!(open().stopped(), Some(&stopped(41)));
        let refused = open().skip(40).expect_err("another has stopped it").to_string();
        assert!(refused.contains("stopped by entry 41: entry 41 is poison"), "{refused}");
        assert!(!open().is_skipped(41, 3));

        open().skip(41).expect("skipped");

        assert_eq!(open().stopped(), None);
        assert!(open().is_skipped(41, 3) && !open().is_skipped(41, 4) && !open().is_skipped(40, 3));
        open().skip(41).expect("it is skipped already");
        open().note_stopped(stopped(50)).expect("noted");
        open().skip(50).expect("skipped");
        assert!(open().is_skipped(41, 3) && open().is_skipped(50, 3));
    }

    #[test]
    fn an_entry_that_could_be_executed_after_all_is_not_skipped() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut skips = Skips::open(directory.path(), OWN).expect("opens");
        skips.note_stopped(stopped(41)).expect("noted");
        skips.note_executed().expect("noted");
        assert!(Skips::open(directory.path(), OWN).expect("opens").skip(41).is_err());
    }

    #[test]
    fn skipped_entries_are_forgotten_when_they_are_purged() {
        use crate::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let options = LogOptions { warm_files: 0, identity: OWN, ..LogOptions::default() };
        let open = || RaftLog::open(directory.path(), &options, &syncer).expect("opens");
        let mut log = open();
        let record = |index| LogRecord { index, term: 3, body: b"entry"[..].into() };
        log.append(&(0..60).map(record).collect::<Vec<_>>()).expect("appended");
        for index in [41, 50] {
            log.skips().clone().note_stopped(stopped(index)).expect("noted");
            drop(log);
            log = open();
            log.skip_entry(index).expect("skipped");
        }
        log.purge(41, b"id of 41").expect("purged");
        let (done, wait) = std::sync::mpsc::channel();
        log.sync_to_disk(Box::new(move |synced| done.send(synced).expect("somebody waits")));
        wait.recv().expect("told").expect("synced");
        drop(log);

        let mut log = open();

        assert!(!log.skips().is_skipped(41, 3) && log.skips().is_skipped(50, 3));
        log.skip_entry(41).expect("an order that stands in a unit file is no reason not to start");
        assert_eq!(Skips::open(directory.path(), OWN).expect("opens").skipped, [(50, 3)]);
    }

    #[test]
    fn a_write_that_fails_changes_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut skips = Skips::open(directory.path(), OWN).expect("opens");
        skips.note_stopped(stopped(41)).expect("noted");
        let failing = crate::failpoint::arm("skips begun", directory.path(), || Err(io::Error::other("no luck")));
        assert!(matches!(skips.skip(41), Err(Error::Io { .. })));
        assert!(!skips.is_skipped(41, 3) && skips.stopped().is_some());
        drop(failing);
        skips.skip(41).expect("skipped");
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut skips = Skips::open(directory.path(), OWN).expect("opens");
        skips.note_stopped(Stopped { index: 1, term: 1, reason: "€".repeat(70_000) }).expect("noted");
        let found = Skips::open(directory.path(), OWN).expect("opens");
        assert_eq!(found.stopped().expect("noted").reason, "€".repeat(REASON_BYTES_MAX / 3));
    }

    #[test]
    fn the_version_before_is_read_and_replaced_by_the_next_change() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Of shard 4 of that node: entry 41 of term 3 has stopped it, entry 40 of term 2 is skipped.
        let head = [b"basltskp\0\0\0\x01", &[7; 20][..], &[0, 0, 0, 4]].concat();
        let number = |number: u64| number.to_be_bytes();
        let stopped_41 = [&[1][..], &number(41), &number(3), b"\0\x04why?"].concat();
        let payload = [&stopped_41[..], &[0, 0, 0, 1], &number(40), &number(2)].concat();
        let sum = checksum(&head, &payload).to_be_bytes();
        fs::write(directory.path().join(SKIPS_FILE), [&head[..], &sum, &payload].concat()).expect("written");
        let upgraded = Identity { node: 1, ..OWN };
        let refused = Skips::open(directory.path(), OWN).expect_err("a node with a number of its own");
        assert!(
            matches!(&refused, Error::Foreign { found, .. } if **found == Identity::former([7; 20], 4)),
            "{refused}"
        );
        let mut skips = Skips::open(directory.path(), upgraded).expect("opens");
        let reason = "why?".to_owned();
        assert_eq!(skips.stopped(), Some(&Stopped { index: 41, term: 3, reason }));
        assert!(skips.is_skipped(40, 2));

        skips.skip(41).expect("skipped");

        let bytes = fs::read(directory.path().join(SKIPS_FILE)).expect("readable");
        assert_eq!(bytes[..68], [b"basltskp\0\0\0\x02", &upgraded.encode()[..]].concat());
        let skips = Skips::open(directory.path(), upgraded).expect("opens");
        assert!(skips.is_skipped(40, 2) && skips.is_skipped(41, 3));
    }

    #[test]
    fn damage_another_shards_and_another_versions_are_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut skips = Skips::open(directory.path(), OWN).expect("opens");
        skips.note_stopped(stopped(41)).expect("noted");
        skips.skip(41).expect("skipped");
        for other in others() {
            assert!(
                matches!(Skips::open(directory.path(), other), Err(Error::Foreign { found, .. }) if *found == OWN),
                "{other}"
            );
        }
        let path = directory.path().join(SKIPS_FILE);
        let intact = fs::read(&path).expect("readable");
        for byte in 0..intact.len() {
            let mut bytes = intact.clone();
            bytes[byte] ^= 4;
            fs::write(&path, bytes).expect("written");
            let refused = Skips::open(directory.path(), OWN).expect_err("damage");
            let is_format = matches!(refused, Error::UnknownFormat { .. });
            assert!(is_format == (8..12).contains(&byte), "byte {byte}: {refused}");
            assert!(refused.to_string().contains(SKIPS_FILE), "byte {byte}: {refused}");
        }
        for length in 0..intact.len() {
            fs::write(&path, &intact[..length]).expect("written");
            assert!(Skips::open(directory.path(), OWN).is_err(), "cut to {length} bytes");
        }
    }
}
