//! The files of one snapshot in their order, and places in all their bytes.
//!
//! Sender and receiver count a place as bytes of the whole. A newcomer would compare positions as they are sent: the end of a file
//! and the beginning of the next are the same place, and files without bytes lie between.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use basalt_net::peer::{SnapshotFile, SnapshotPosition};

use super::halt::Halt;
use super::send_error::SendError;
use super::signs::Signs;
use crate::limits::snapshots::READ_BYTES;

/// The files of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileList {
    files: Vec<SnapshotFile>,
    /// The place of each file's first byte, and behind them that of the end.
    begins: Vec<u64>,
}

/// A place within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, by its place in the list.
    pub(super) file: usize,
    /// Bytes of it before the place.
    pub(super) offset: u64,
    /// Bytes of it from there on; one at least.
    pub(super) left: u64,
}

impl FileList {
    /// The list of `files`, whose sizes fit in 64 bits together: a decoder has seen to that, or a disk.
    pub(super) fn new(files: Vec<SnapshotFile>) -> FileList {
        let mut begins = Vec::with_capacity(files.len() + 1);
        let mut at = 0u64;
        for file in &files {
            begins.push(at);
            at = at.checked_add(file.bytes).expect("the sizes were added up before");
        }
        begins.push(at);
        FileList { files, begins }
    }

    /// Reads the files in `directory`, for their sizes and checksums: all their bytes. Blocks. Notes a sign with each piece, which
    /// the receiver cannot give: a group would give up each snapshot that takes long to read.
    ///
    /// # Errors
    /// [`SendError::Local`] if they cannot be read, [`SendError::Cancelled`].
    pub(super) fn read(directory: &Path, halt: &Halt, signs: &Signs) -> Result<FileList, SendError> {
        let local = |path: &Path, source: io::Error| SendError::Local { path: path.to_owned(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(|source| local(directory, source))? {
            let entry = entry.map_err(|source| local(directory, source))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| local(&path, source))?;
            let name = entry.file_name().into_string().ok().filter(|_| kind.is_file());
            let Some(name) = name else {
                return Err(local(&path, io::Error::other("a checkpoint holds plain files and nothing else")));
            };
            let sum = check_file(&path, &mut |_| {
                signs.note();
                if halt.is_halted() { Err(SendError::Cancelled) } else { Ok(()) }
            });
            let (bytes, crc32c) = sum?.map_err(|source| local(&path, source))?;
            files.push(SnapshotFile { name, bytes, crc32c });
        }
        if files.is_empty() {
            return Err(local(directory, io::Error::other("a checkpoint without files")));
        }
        files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(FileList::new(files))
    }

    /// The files in their order.
    pub(super) fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    /// Bytes of all files.
    pub(super) fn total(&self) -> u64 {
        *self.begins.last().expect("the end is always there")
    }

    /// The place of the first byte of the file.
    pub(super) fn begin_of(&self, file: usize) -> u64 {
        self.begins[file]
    }

    /// The place of a position, if it lies in the snapshot.
    pub(super) fn place_of(&self, position: SnapshotPosition) -> Option<u64> {
        let file = usize::try_from(position.file).ok().filter(|&file| file <= self.files.len())?;
        let bytes = self.files.get(file).map_or(0, |file| file.bytes);
        (position.offset <= bytes).then(|| self.begins[file] + position.offset)
    }

    /// The file that has the byte at `place`; none at the end.
    pub(super) fn at(&self, place: u64) -> Option<Place> {
        // The last file that begins there or before: those without bytes that begin there too come before it.
        let file = self.begins.partition_point(|&begin| begin <= place).checked_sub(1)?;
        let bytes = self.files.get(file)?.bytes;
        let offset = place - self.begins[file];
        Some(Place { file, offset, left: bytes - offset })
    }

    /// The position of a place, at most that of the end.
    pub(super) fn position(&self, place: u64) -> SnapshotPosition {
        match self.at(place) {
            Some(Place { file, offset, .. }) => position(file, offset),
            None => position(self.files.len(), 0),
        }
    }
}

/// A position as it is sent.
pub(super) fn position(file: usize, offset: u64) -> SnapshotPosition {
    SnapshotPosition { file: u32::try_from(file).expect("a snapshot has far fewer files"), offset }
}

/// Reads a file; returns its size and the CRC-32C of its bytes. `look` is called after each piece and ends it with its own error.
pub(super) fn check_file<E>(
    path: &Path,
    look: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<io::Result<(u64, u32)>, E> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut buffer = vec![0; READ_BYTES];
    let (mut bytes, mut crc32c) = (0, 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Ok((bytes, crc32c))),
            Ok(read) => {
                crc32c = crc32c::crc32c_append(crc32c, &buffer[..read]);
                bytes += read as u64;
                look(bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    fn list(sizes: &[u64]) -> FileList {
        let file = |(number, &bytes): (usize, &u64)| SnapshotFile { name: format!("{number:03}"), bytes, crc32c: 0 };
        FileList::new(sizes.iter().enumerate().map(file).collect())
    }

    #[test]
    fn places_and_positions_agree_around_files_without_bytes() {
        let list = list(&[0, 3, 0, 0, 2, 0]);
        assert_eq!(list.total(), 5);
        let files: Vec<_> = (0..=5).map(|place| list.at(place).map(|at| (at.file, at.offset, at.left))).collect();
        assert_eq!(files, [Some((1, 0, 3)), Some((1, 1, 2)), Some((1, 2, 1)), Some((4, 0, 2)), Some((4, 1, 1)), None]);
        for place in 0..=5 {
            assert_eq!(list.place_of(list.position(place)), Some(place));
        }
        assert_eq!(list.position(5), position(6, 0));
        assert_eq!(list.place_of(position(1, 3)), Some(3), "the end of a file is the beginning of the next");
        for wrong in [position(7, 0), position(6, 1), position(1, 4), position(0, 1)] {
            assert_eq!(list.place_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_files_of_a_directory_are_listed_by_name_with_their_checksums() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("b"), b"123456789").unwrap();
        fs::write(directory.path().join("a"), b"").unwrap();
        let (signs, mut on_sign) = Signs::new(Duration::ZERO);
        let heard = Rc::new(Cell::new(0));
        let count = heard.clone();
        on_sign.set(move || count.set(count.get() + 1));
        let list = FileList::read(directory.path(), &Halt::default(), &signs).unwrap();
        on_sign.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(heard.get(), 1, "reading is a sign of life");
        let file = |name: &str, bytes, crc32c| SnapshotFile { name: name.to_owned(), bytes, crc32c };
        assert_eq!(list.files(), [file("a", 0, 0), file("b", 9, 0xe306_9283)]);
        let halt = Halt::default();
        halt.halt();
        assert!(matches!(FileList::read(directory.path(), &halt, &signs), Err(SendError::Cancelled)));
        fs::create_dir(directory.path().join("c")).unwrap();
        let refused = FileList::read(directory.path(), &Halt::default(), &signs).unwrap_err().to_string();
        assert!(refused.contains("plain files"), "{refused}");
        let empty = tempfile::tempdir().unwrap();
        assert!(FileList::read(empty.path(), &Halt::default(), &signs).is_err());
    }
}
