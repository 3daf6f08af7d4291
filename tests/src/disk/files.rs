//! The files and directories of the disk, each as it is and as it would be after a power failure.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use nix::errno::Errno;
use rand::RngExt as _;
use rand::rngs::SmallRng;

pub const ROOT: u64 = 1;

/// Bytes that are written or lost as one.
const PAGE: usize = 4096;

/// Writes that a power failure leaves of those that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing.
    None,
    /// Any pages of files, in any combination, as a kernel that was writing back leaves them; of the directories all changes or
    /// none, as journals keep them in order.
    Some,
}

/// The time that a sync takes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// However little there is to write.
    pub latency: Duration,
    /// Bytes that are written in a second.
    pub bytes_per_s: u64,
}

/// A file's bytes.
#[derive(Debug, Default)]
pub struct File {
    bytes: Vec<u8>,
    synced_length: usize,
    /// Bytes at the last sync of the pages that were written since; up to the length of then.
    before: HashMap<usize, Box<[u8]>>,
}

impl File {
    fn remember(&mut self, from: usize, to: usize) {
        for page in from / PAGE..to.div_ceil(PAGE) {
            let end = ((page + 1) * PAGE).min(self.synced_length).min(self.bytes.len());
            let start = (page * PAGE).min(end);
            let bytes = &self.bytes;
            self.before.entry(page).or_insert_with(|| bytes[start..end].into());
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.remember(offset, end);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn set_length(&mut self, length: usize) {
        self.remember(length.min(self.bytes.len()), self.bytes.len());
        self.bytes.resize(length, 0);
    }

    /// Bytes of the pages that a sync would write.
    fn unsynced_bytes(&self) -> usize {
        self.before.len() * PAGE
    }

    fn sync(&mut self) {
        self.before.clear();
        self.synced_length = self.bytes.len();
    }

    /// Takes back what was not synced; returns how many pages were.
    fn lose(&mut self, survivors: Survivors, random: &mut SmallRng) -> usize {
        let (synced, written) = (self.synced_length, self.bytes.len());
        let length = match survivors {
            Survivors::None => synced,
            Survivors::Some => match random.random_range(0..3) {
                0 => synced,
                1 => written,
                _ => random.random_range(synced.min(written)..=synced.max(written)),
            },
        };
        self.bytes.resize(length.max(synced), 0);
        let mut lost = 0;
        for (page, before) in self.before.drain() {
            if survivors == Survivors::Some && random.random_bool(0.5) {
                continue;
            }
            lost += 1;
            let (start, end) = ((page * PAGE).min(self.bytes.len()), ((page + 1) * PAGE).min(self.bytes.len()));
            self.bytes[start..end].fill(0);
            self.bytes[start..start + before.len()].copy_from_slice(&before);
        }
        self.bytes.truncate(length);
        self.synced_length = length;
        lost
    }
}

/// A directory's names.
#[derive(Debug, Default)]
pub struct Directory {
    names: BTreeMap<OsString, u64>,
    synced: BTreeMap<OsString, u64>,
}

/// The thing that a name stands for.
#[derive(Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

/// Facts of a file or directory that the kernel asks for.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub inode: u64,
    pub is_directory: bool,
    pub bytes: u64,
    pub links: u32,
}

/// All files and directories.
#[derive(Debug)]
pub struct Files {
    nodes: HashMap<u64, Node>,
    /// Number of times that each is open.
    open: HashMap<u64, usize>,
    next: u64,
    bytes: usize,
    /// Bytes of files that fit.
    pub capacity: usize,
    /// True if syncs fail from now on.
    pub syncs_fail: bool,
    /// The suffix of the files whose syncs take time, and how much.
    pub pace: Option<(&'static str, Pace)>,
}

impl Files {
    pub fn new(capacity: usize) -> Files {
        let nodes = HashMap::from([(ROOT, Node::Directory(Directory::default()))]);
        Files { nodes, open: HashMap::new(), next: ROOT + 1, bytes: 0, capacity, syncs_fail: false, pace: None }
    }

    /// Bytes that still fit.
    pub fn free_bytes(&self) -> usize {
        self.capacity.saturating_sub(self.bytes)
    }

    fn file(&mut self, inode: u64) -> Result<&mut File, Errno> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn directory(&mut self, inode: u64) -> Result<&mut Directory, Errno> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub fn facts(&self, inode: u64) -> Result<Facts, Errno> {
        let (is_directory, bytes) = match self.nodes.get(&inode).ok_or(Errno::ENOENT)? {
            Node::File(file) => (false, file.bytes.len() as u64),
            Node::Directory(_) => (true, PAGE as u64),
        };
        Ok(Facts { inode, is_directory, bytes, links: self.link_count(inode) })
    }

    fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.nodes.values().filter_map(|node| match node {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        })
    }

    fn link_count(&self, inode: u64) -> u32 {
        self.directories()
            .map(|directory| directory.names.values().filter(|&&named| named == inode).count() as u32)
            .sum()
    }

    pub fn look_up(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.directory(parent)?.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub fn names(&mut self, inode: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        Ok(self.directory(inode)?.names.clone().into_iter().collect())
    }

    fn create(&mut self, parent: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        let inode = self.next;
        let names = &mut self.directory(parent)?.names;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), inode);
        self.nodes.insert(inode, node);
        self.next += 1;
        Ok(inode)
    }

    pub fn create_file(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        if self.free_bytes() == 0 {
            return Err(Errno::ENOSPC);
        }
        self.create(parent, name, Node::File(File::default()))
    }

    pub fn create_directory(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.create(parent, name, Node::Directory(Directory::default()))
    }

    pub fn link(&mut self, inode: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.file(inode)?;
        let names = &mut self.directory(parent)?.names;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), inode);
        Ok(())
    }

    pub fn remove(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let inode = self.look_up(parent, name)?;
        if self.directory(inode).is_ok_and(|directory| !directory.names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.directory(parent)?.names.remove(name);
        self.drop_if_unreachable(inode);
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Result<(), Errno> {
        let inode = self.look_up(from.0, from.1)?;
        let replaced = self.look_up(to.0, to.1).ok();
        if replaced == Some(inode) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            if !replace {
                return Err(Errno::EEXIST);
            }
            if self.directory(replaced).is_ok_and(|directory| !directory.names.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
        }
        self.directory(to.0)?.names.insert(to.1.to_owned(), inode);
        self.directory(from.0)?.names.remove(from.1);
        if let Some(replaced) = replaced {
            self.drop_if_unreachable(replaced);
        }
        Ok(())
    }

    pub fn open(&mut self, inode: u64) {
        *self.open.entry(inode).or_default() += 1;
    }

    pub fn close(&mut self, inode: u64) {
        let count = self.open.get_mut(&inode).expect("what is closed was open");
        *count -= 1;
        if *count == 0 {
            self.open.remove(&inode);
            self.drop_if_unreachable(inode);
        }
    }

    /// Frees a file that has no name, neither now nor after a power failure, and is not open.
    fn drop_if_unreachable(&mut self, inode: u64) {
        let named = |directory: &Directory| {
            directory.names.values().chain(directory.synced.values()).any(|&named| named == inode)
        };
        if inode == ROOT || self.open.contains_key(&inode) || self.directories().any(named) {
            return;
        }
        if let Some(Node::File(file)) = self.nodes.remove(&inode) {
            self.bytes -= file.bytes.len();
        }
    }

    pub fn read(&mut self, inode: u64, offset: u64, size: usize) -> Result<&[u8], Errno> {
        let bytes = &self.file(inode)?.bytes;
        let start = bytes.len().min(offset as usize);
        Ok(&bytes[start..bytes.len().min(start + size)])
    }

    pub fn write(&mut self, inode: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let free = self.free_bytes();
        let file = self.file(inode)?;
        let grown = (offset as usize + data.len()).saturating_sub(file.bytes.len());
        if grown > free {
            return Err(Errno::ENOSPC);
        }
        file.write(offset as usize, data);
        self.bytes += grown;
        Ok(())
    }

    pub fn set_length(&mut self, inode: u64, length: u64) -> Result<(), Errno> {
        let file = self.file(inode)?;
        let before = file.bytes.len();
        file.set_length(length as usize);
        self.bytes = self.bytes - before + length as usize;
        Ok(())
    }

    /// Returns the time that a sync of the file takes now.
    pub fn sync_takes(&self, inode: u64) -> Duration {
        let (Some((suffix, pace)), Some(Node::File(file))) = (self.pace, self.nodes.get(&inode)) else {
            return Duration::ZERO;
        };
        let is_named =
            |(name, &named): (&OsString, &u64)| named == inode && name.as_encoded_bytes().ends_with(suffix.as_bytes());
        let is_slow = self.directories().any(|directory| directory.names.iter().any(is_named));
        let writing = Duration::from_secs_f64(file.unsynced_bytes() as f64 / pace.bytes_per_s as f64);
        if is_slow { pace.latency + writing } else { Duration::ZERO }
    }

    pub fn sync(&mut self, inode: u64) -> Result<(), Errno> {
        if self.syncs_fail {
            return Err(Errno::EIO);
        }
        self.file(inode)?.sync();
        Ok(())
    }

    pub fn sync_directory(&mut self, inode: u64) -> Result<(), Errno> {
        if self.syncs_fail {
            return Err(Errno::EIO);
        }
        let directory = self.directory(inode)?;
        let before = std::mem::replace(&mut directory.synced, directory.names.clone());
        for inode in before.into_values() {
            self.drop_if_unreachable(inode);
        }
        Ok(())
    }

    /// Forgets what was not synced; returns how many pages that were. Nothing may be open.
    pub fn cut_power(&mut self, survivors: Survivors, random: &mut SmallRng) -> usize {
        self.open.clear();
        let names_survive = survivors == Survivors::Some && random.random_bool(0.5);
        let mut lost = 0;
        let mut reachable = HashMap::new();
        let mut left = vec![ROOT];
        while let Some(inode) = left.pop() {
            let Some(mut node) = self.nodes.remove(&inode) else { continue };
            match &mut node {
                Node::File(file) => lost += file.lose(survivors, random),
                Node::Directory(directory) if names_survive => directory.synced = directory.names.clone(),
                Node::Directory(directory) => directory.names = directory.synced.clone(),
            }
            if let Node::Directory(directory) = &node {
                left.extend(directory.names.values());
            }
            reachable.insert(inode, node);
        }
        self.nodes = reachable;
        let bytes = |node: &Node| match node {
            Node::File(file) => file.bytes.len(),
            Node::Directory(_) => 0,
        };
        self.bytes = self.nodes.values().map(bytes).sum();
        self.syncs_fail = false;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn cut(files: &mut Files) -> usize {
        files.cut_power(Survivors::None, &mut SmallRng::seed_from_u64(1))
    }

    fn with_file(bytes: &[u8]) -> (Files, u64) {
        let mut files = Files::new(1 << 20);
        let file = files.create_file(ROOT, name("a")).unwrap();
        files.write(file, 0, bytes).unwrap();
        files.sync(file).unwrap();
        files.sync_directory(ROOT).unwrap();
        (files, file)
    }

    #[test]
    fn what_was_synced_stays_and_what_was_written_since_goes() {
        let (mut files, file) = with_file(&[1; 10_000]);
        files.write(file, 5_000, &[2; 10_000]).unwrap();

        assert_eq!(cut(&mut files), 3);

        assert_eq!(files.read(file, 0, 20_000).unwrap(), [1; 10_000]);
    }

    #[test]
    fn what_was_cut_off_and_not_synced_comes_back() {
        let (mut files, file) = with_file(&[1; 10_000]);
        files.set_length(file, 100).unwrap();
        files.write(file, 200, &[2; 50]).unwrap();
        assert_eq!(files.facts(file).unwrap().bytes, 250);

        cut(&mut files);

        assert_eq!(files.read(file, 0, 20_000).unwrap(), [1; 10_000]);
    }

    #[test]
    fn a_sync_of_a_slow_kind_of_file_takes_as_long_as_what_was_written_since_the_last() {
        let (mut files, file) = with_file(&[1; 10_000]);
        let slow = files.create_file(ROOT, name("a.sst")).unwrap();
        files.write(slow, 0, &[1; 3 * PAGE]).unwrap();
        files.write(file, 0, &[1; 3 * PAGE]).unwrap();
        assert_eq!(files.sync_takes(slow), Duration::ZERO);

        files.pace = Some((".sst", Pace { latency: Duration::from_secs(2), bytes_per_s: PAGE as u64 }));
        assert_eq!(files.sync_takes(slow), Duration::from_secs(2 + 3));
        assert_eq!(files.sync_takes(file), Duration::ZERO);

        files.sync(slow).unwrap();
        assert_eq!(files.sync_takes(slow), Duration::from_secs(2));
    }

    #[test]
    fn a_name_is_durable_once_its_directory_was_synced() {
        let (mut files, file) = with_file(b"x");
        files.create_file(ROOT, name("new")).unwrap();
        files.rename((ROOT, name("a")), (ROOT, name("b")), true).unwrap();

        cut(&mut files);

        assert_eq!(files.look_up(ROOT, name("a")), Ok(file));
        assert_eq!(files.names(ROOT).unwrap().len(), 1);
    }

    #[test]
    fn a_file_removed_and_not_synced_comes_back() {
        let (mut files, file) = with_file(b"x");
        files.remove(ROOT, name("a")).unwrap();
        assert_eq!(files.look_up(ROOT, name("a")), Err(Errno::ENOENT));

        cut(&mut files);

        assert_eq!(files.look_up(ROOT, name("a")), Ok(file));
        assert_eq!(files.read(file, 0, 9).unwrap(), b"x");
        files.remove(ROOT, name("a")).unwrap();
        files.sync_directory(ROOT).unwrap();
        assert_eq!(files.free_bytes(), 1 << 20);
        assert!(files.facts(file).is_err());
    }

    #[test]
    fn a_full_disk_says_so_and_has_room_again() {
        let (mut files, file) = with_file(&[1; 1000]);
        files.capacity = 1100;
        assert_eq!(files.write(file, 0, &[2; 1101]), Err(Errno::ENOSPC));
        assert_eq!(files.write(file, 0, &[2; 1100]), Ok(()));
        assert!(files.create_file(ROOT, name("b")).is_err());
        files.set_length(file, 0).unwrap();
        assert_eq!(files.free_bytes(), 1100);
    }

    #[test]
    fn some_of_what_was_not_synced_may_survive_and_never_more() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..50 {
            let (mut files, file) = with_file(&[1; 3 * PAGE]);
            files.write(file, PAGE as u64, &[2; 4 * PAGE]).unwrap();
            files.cut_power(Survivors::Some, &mut SmallRng::seed_from_u64(seed));
            let bytes = files.read(file, 0, usize::MAX / 2).unwrap();
            assert!(bytes.len() >= 3 * PAGE && bytes[..PAGE] == [1; PAGE], "what was synced is there");
            for page in bytes[PAGE..].chunks(PAGE) {
                assert!(page.iter().all(|&byte| byte == page[0]), "a page survives or not");
                if page[0] == 2 { kept += 1 } else { lost += 1 }
            }
        }
        assert!(kept > 20 && lost > 20, "{kept} {lost}");
    }
}
