//! The address book: the newest map that this node has seen, beside the group that has it.
//!
//! The map is what the group's log says, and after a crash that may have to be heard from others first. The book says where these
//! are. It may be old, or missing, and nothing else is taken from it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::cluster::map::Map;

const BOOK_FILE: &str = "nodes";

/// The map of the book in `directory`; `None` if there is none that can be read.
pub(super) fn read(directory: &Path) -> Option<Map> {
    let bytes = fs::read(directory.join(BOOK_FILE)).ok()?;
    let (map, sum) = bytes.split_last_chunk::<4>()?;
    let map = Map::decode(map).ok().filter(|_| crc32fast::hash(map) == u32::from_le_bytes(*sum));
    if map.is_none() {
        tracing::warn!(directory = %directory.display(), "the addresses of other nodes cannot be read: they are to be told anew");
    }
    map
}

/// Writes the book, so that after a crash it is there as it was or as it is.
///
/// # Errors
/// The system's; the book is as it was.
pub(super) fn write(directory: &Path, map: &Map) -> io::Result<()> {
    let (draft, mut bytes) = (directory.join("nodes.new"), map.encode());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    let mut file = File::create(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&draft, directory.join(BOOK_FILE))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::map::testing::with_nodes;

    #[test]
    fn a_book_is_read_as_it_was_written_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        for count in [3, 5] {
            write(directory.path(), &with_nodes(count)).unwrap();
            assert_eq!(read(directory.path()), Some(with_nodes(count)));
        }
        let path = directory.path().join(BOOK_FILE);
        let good = fs::read(&path).unwrap();
        for place in [0, 30, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(read(directory.path()), None, "{place}");
        }
        fs::write(&path, [1, 2]).unwrap();
        assert_eq!(read(directory.path()), None);
    }
}
