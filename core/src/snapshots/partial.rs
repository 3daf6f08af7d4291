//! A snapshot that is being received, on disk.
//!
//! ```text
//! received/OFFER         the message that began it, in its frames: which checkpoint it is, and its files
//! received/OFFER.next    one being written
//! received/files/        its files, as far as they have come
//! received/whole-<id>/   all of them, checked and synced: handed to the group, which moves or removes it
//! ```
//!
//! A file is as far as it is long: nothing else notes where to go on, so nothing can be out of step with it. A newcomer would
//! believe the length after a power failure: it says nothing of the bytes. So every byte is read again and compared with the
//! checksum of its file before the snapshot is anybody's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use basalt_net::peer::{Bounds, Decoder, GroupNumber, Lane, Message, Outbox, RequestId, SnapshotBegin, SnapshotPiece};

use super::failpoint::fault;
use super::file_list::{FileList, check_file, position};
use super::receive_error::ReceiveError;
use crate::limits::snapshots::{DAMAGED_FILE_MAX, UNFINISHED_KEPT};

const OFFER: &str = "OFFER";
const OFFER_NEXT: &str = "OFFER.next";
const FILES: &str = "files";
const WHOLE_PREFIX: &str = "whole-";
/// The version of the protocol in whose frames the offer is kept.
const OFFER_VERSION: u16 = 1;

/// Bytes of a snapshot as far as they have come.
#[derive(Debug)]
pub(super) struct Partial {
    directory: PathBuf,
    list: FileList,
    /// The files that are not whole, with the bytes there are of each. The first is the one that is due.
    missing: BTreeMap<usize, u64>,
    /// The first of them, open.
    open: Option<(usize, File)>,
    /// Set once all files were read since the last byte was written, and are as they should be.
    is_checked: bool,
    /// Times that a file was found damaged.
    damaged: BTreeMap<usize, u32>,
}

/// The piece that is due behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The bytes that follow it.
    Next,
    /// Bytes elsewhere, or the end.
    Elsewhere,
    /// Nothing: it was not the piece that is due.
    NotDue,
}

impl Partial {
    /// Goes on with what `directory` has of the offered snapshot, or begins anew. Everything else in there is removed, but for what
    /// has been handed over under `own_tag`.
    pub(super) fn open(
        directory: &Path,
        group: GroupNumber,
        offer: &SnapshotBegin,
        own_tag: &str,
    ) -> Result<Partial, ReceiveError> {
        let io = |source| ReceiveError::io(directory, source);
        // The decoder has seen to it. Here is where it counts.
        if let Some(file) = offer.files.iter().find(|file| !is_plain(&file.name)) {
            return Err(ReceiveError::Unusable(format!("{:?} is no name of a file", file.name)));
        }
        if !directory.is_dir() {
            fs::create_dir(directory).map_err(io)?;
            directory.parent().map_or(Ok(()), sync_directory).map_err(io)?;
        }
        let files = directory.join(FILES);
        let is_same = read_offer(directory).is_some_and(|found| is_same(&found, offer));
        if is_same {
            take_back(directory, own_tag).map_err(io)?;
        } else {
            // First, and durably: files of another snapshot must never be found under this one's name.
            remove(&directory.join(OFFER)).and_then(|()| sync_directory(directory)).map_err(io)?;
            fault("offer removed", directory).map_err(io)?;
        }
        remove_others(directory, is_same, own_tag).map_err(io)?;
        if !files.is_dir() {
            fs::create_dir(&files).map_err(io)?;
        }
        if !is_same {
            fault("offer due", directory).and_then(|()| write_offer(directory, group, offer)).map_err(io)?;
            fault("offer written", directory).map_err(io)?;
        }
        let list = FileList::new(offer.files.clone());
        let missing = look(&files, &list)?;
        let directory = directory.to_owned();
        Ok(Partial { directory, list, missing, open: None, is_checked: false, damaged: BTreeMap::new() })
    }

    /// The snapshot's files.
    pub(super) fn list(&self) -> &FileList {
        &self.list
    }

    /// The place of the byte that is due: the end, if all have come.
    pub(super) fn due(&self) -> u64 {
        let first = self.missing.first_key_value();
        first.map_or(self.list.total(), |(&file, bytes)| self.list.begin_of(file) + bytes)
    }

    /// The same as a position, in the file that it is due for.
    pub(super) fn due_position(&self) -> basalt_net::peer::SnapshotPosition {
        match self.missing.first_key_value() {
            Some((&file, &bytes)) => position(file, bytes),
            None => position(self.list.files().len(), 0),
        }
    }

    /// Bytes that have not come yet.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|(&file, have)| self.list.files()[file].bytes - have).sum()
    }

    /// Writes a piece if it is the one that is due; another is one that was on its way when the receiver wanted another place.
    ///
    /// # Errors
    /// [`ReceiveError::WrongPiece`] if it does not lie in one of the files, and of the disk.
    pub(super) fn write(&mut self, piece: &SnapshotPiece) -> Result<Written, ReceiveError> {
        let bytes = piece.bytes.len() as u64;
        let wrong = || ReceiveError::WrongPiece { position: piece.position, bytes };
        let place = self.list.place_of(piece.position).ok_or_else(wrong)?;
        let at = self.list.at(place).filter(|at| bytes <= at.left).ok_or_else(wrong)?;
        if place != self.due() {
            return Ok(Written::NotDue);
        }
        let name = &self.list.files()[at.file].name;
        let path = self.directory.join(FILES).join(name);
        let io = |source| ReceiveError::io(&path, source);
        if self.open.as_ref().is_none_or(|(open, _)| *open != at.file) {
            self.open = Some((at.file, open_file(&path).map_err(io)?));
            fault("file begun", &self.directory).map_err(io)?;
        }
        let (_, file) = self.open.as_ref().expect("it was just opened");
        self.is_checked = false;
        fault("piece due", &self.directory).map_err(io)?;
        file.write_all_at(&piece.bytes, at.offset).map_err(io)?;
        fault("piece written", &self.directory).map_err(io)?;
        if bytes < at.left {
            self.missing.insert(at.file, at.offset + bytes);
            return Ok(Written::Next);
        }
        file.sync_all().map_err(io)?;
        fault("file synced", &self.directory).map_err(io)?;
        self.open = None;
        self.missing.remove(&at.file);
        Ok(if self.due() == place + bytes { Written::Next } else { Written::Elsewhere })
    }

    /// Reads all files; those that are damaged are missing again from then on. `look` is called now and then, and ends it with its
    /// own error. Also those are read again that were whole before another one was found damaged: a disk that changes one file may
    /// change others.
    ///
    /// # Errors
    /// [`ReceiveError::Damaged`] when a file was damaged too often, and of the disk.
    ///
    /// # Panics
    /// If a file is missing.
    pub(super) fn check<E: From<ReceiveError>>(&mut self, look: &mut dyn FnMut() -> Result<(), E>) -> Result<(), E> {
        assert!(self.missing.is_empty(), "only what has come can be checked");
        fault("check due", &self.directory).map_err(|source| ReceiveError::io(&self.directory, source))?;
        for (number, file) in self.list.files().iter().enumerate() {
            let path = self.directory.join(FILES).join(&file.name);
            let io = |source| ReceiveError::io(&path, source);
            let (bytes, crc32c) = check_file(&path, &mut |_| look())?.map_err(io)?;
            if (bytes, crc32c) == (file.bytes, file.crc32c) {
                continue;
            }
            tracing::warn!(
                path = %path.display(), bytes, expected_bytes = file.bytes,
                crc32c = format!("{crc32c:08x}"), expected_crc32c = format!("{:08x}", file.crc32c),
                "a file of a snapshot has not come as it was sent: it is asked for again"
            );
            let times = self.damaged.entry(number).or_default();
            *times += 1;
            // A file without bytes cannot be asked for.
            if *times > DAMAGED_FILE_MAX || file.bytes == 0 {
                return Err(ReceiveError::Damaged { path, times: *times }.into());
            }
            fs::remove_file(&path).map_err(io)?;
            self.missing.insert(number, 0);
        }
        self.is_checked = self.missing.is_empty();
        Ok(())
    }

    /// Moves the files to where the group takes them from, under `tag`; returns the directory. To be called once all are checked.
    ///
    /// # Panics
    /// If they are not.
    pub(super) fn finish(&mut self, tag: &str) -> Result<PathBuf, ReceiveError> {
        assert!(self.is_checked, "only what was checked is handed over");
        let io = |source| ReceiveError::io(&self.directory, source);
        let (files, whole) = (self.directory.join(FILES), self.directory.join(format!("{WHOLE_PREFIX}{tag}")));
        sync_directory(&files).map_err(io)?;
        fault("files checked", &self.directory).map_err(io)?;
        fs::rename(&files, &whole).map_err(io)?;
        fault("files moved", &self.directory).map_err(io)?;
        sync_directory(&self.directory).map_err(io)?;
        fault("files handed over", &self.directory).map_err(io)?;
        Ok(whole)
    }

    /// Removes all that there is of it, since the disk has no room for it, or nobody wants it any more.
    pub(super) fn discard(directory: &Path, own_tag: &str) -> io::Result<()> {
        remove(&directory.join(OFFER))?;
        remove_others(directory, false, own_tag)
    }

    /// Removes what has come of a snapshot if nothing has been added for [`UNFINISHED_KEPT`]; returns true if it was.
    pub(super) fn discard_old(directory: &Path, own_tag: &str, now: SystemTime) -> io::Result<bool> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut newest = None;
        let inside = fs::read_dir(directory.join(FILES)).ok();
        for entry in entries.chain(inside.into_iter().flatten()) {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(&format!("{WHOLE_PREFIX}{own_tag}")) {
                newest = newest.max(Some(entry.metadata()?.modified()?));
            }
        }
        // A clock that was set back makes it young again.
        let is_old = newest.is_some_and(|newest| now.duration_since(newest).is_ok_and(|age| age >= UNFINISHED_KEPT));
        if is_old {
            Partial::discard(directory, own_tag)?;
        }
        Ok(is_old)
    }
}

/// True if the name stays within its directory.
fn is_plain(name: &str) -> bool {
    !name.contains(['/', '\0']) && !name.starts_with('.') && !name.is_empty()
}

/// The offer that what is in `directory` belongs to, if there is one and it is whole.
fn read_offer(directory: &Path) -> Option<SnapshotBegin> {
    let bytes = fs::read(directory.join(OFFER)).ok()?;
    let mut decoder = Decoder::new(Lane::Snapshots, OFFER_VERSION, Bounds::default());
    let mut input = bytes.as_slice();
    let message = decoder.next(&mut input).ok()??.message().ok()?;
    match message {
        Message::SnapshotBegin(offer) if input.is_empty() => Some(offer),
        _ => None,
    }
}

fn write_offer(directory: &Path, group: GroupNumber, offer: &SnapshotBegin) -> io::Result<()> {
    let mut outbox = Outbox::new(Lane::Snapshots, OFFER_VERSION, Bounds::default(), 0);
    outbox.push(group, RequestId(1), Message::SnapshotBegin(offer.clone())).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    outbox.take(usize::MAX, &mut bytes);
    let next = directory.join(OFFER_NEXT);
    let mut file = File::create(&next)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fault("offer synced", directory)?;
    fs::rename(&next, directory.join(OFFER))?;
    sync_directory(directory)
}

/// True if both are of one checkpoint. The vote may be another: the same leader may have been elected again.
fn is_same(one: &SnapshotBegin, other: &SnapshotBegin) -> bool {
    (one.checkpoint, &one.meta, &one.files) == (other.checkpoint, &other.meta, &other.files)
}

/// Takes up what an earlier run had handed over and its group had not moved: it may have changed since, and is looked at again.
fn take_back(directory: &Path, own_tag: &str) -> io::Result<()> {
    let files = directory.join(FILES);
    if files.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_prefix(WHOLE_PREFIX).is_some_and(|tag| !tag.starts_with(own_tag)) && path.is_dir() {
            fs::rename(&path, &files)?;
            return sync_directory(directory);
        }
    }
    Ok(())
}

/// Removes all but what belongs to the snapshot, and what this run has handed over.
fn remove_others(directory: &Path, keeps_files: bool, own_tag: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_kept = keeps_files && [OFFER, FILES].contains(&name)
            || name.strip_prefix(WHOLE_PREFIX).is_some_and(|tag| tag.starts_with(own_tag));
        if !is_kept {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The files that are not whole, with the bytes there are of them. Those without bytes are made, what is in none is removed.
fn look(files: &Path, list: &FileList) -> Result<BTreeMap<usize, u64>, ReceiveError> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(files).map_err(|source| ReceiveError::io(files, source))? {
        let path = entry.map_err(|source| ReceiveError::io(files, source))?.path();
        let io = |source| ReceiveError::io(&path, source);
        let metadata = fs::symlink_metadata(&path).map_err(io)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = list.files().binary_search_by(|file| file.name.as_str().cmp(name)).ok();
        match number.filter(|&number| metadata.is_file() && metadata.len() <= list.files()[number].bytes) {
            Some(number) => drop(found.insert(number, metadata.len())),
            None => remove(&path).map_err(io)?,
        }
    }
    let mut missing = BTreeMap::new();
    for (number, file) in list.files().iter().enumerate() {
        let have = found.get(&number).copied();
        if file.bytes == 0 && have.is_none() {
            let path = files.join(&file.name);
            open_file(&path).and_then(|file| file.sync_all()).map_err(|source| ReceiveError::io(&path, source))?;
        }
        let have = have.unwrap_or(0);
        if have < file.bytes {
            missing.insert(number, have);
        }
    }
    Ok(missing)
}

/// Opens a file for writing, or makes it.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Removes a file, or a directory with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
