//! The disk as the kernel sees it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow, WriteFlags,
};
use rand::rngs::SmallRng;

use super::files::{Facts, Files, Pace, Survivors};
use crate::wait::{DEADLINE, eventually};

/// Time for which the kernel may keep the facts it was told: nobody else changes the files.
const KEEP: Duration = Duration::from_secs(3600);

const BLOCK: u32 = 4096;

/// A mounted disk in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct ForgetfulDisk {
    at: PathBuf,
    files: Arc<Mutex<Files>>,
    session: Option<BackgroundSession>,
}

impl ForgetfulDisk {
    /// Mounts an empty disk of `capacity` bytes at the directory `at`.
    ///
    /// # Errors
    /// Those of mounting: it needs `/dev/fuse` and the rights of root.
    pub fn mount(at: &Path, capacity: usize) -> io::Result<ForgetfulDisk> {
        let files = Arc::new(Mutex::new(Files::new(capacity)));
        let session = start(&files, at)?;
        Ok(ForgetfulDisk { at: at.to_owned(), files, session: Some(session) })
    }

    /// The directory at which it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Forgets what was not synced, but for what survives by chance; returns how many pages were lost. No file may be open.
    pub fn cut_power(&mut self, survivors: Survivors, random: &mut SmallRng) -> usize {
        self.unmount();
        let lost = lock(&self.files).cut_power(survivors, random);
        self.session = Some(start(&self.files, &self.at).expect("it could be mounted before"));
        lost
    }

    /// Changes how much fits.
    pub fn set_capacity(&self, bytes: usize) {
        lock(&self.files).capacity = bytes;
    }

    /// Bytes that still fit.
    pub fn free_bytes(&self) -> usize {
        lock(&self.files).free_bytes()
    }

    /// Makes syncs of files whose names end in `suffix` take as long as `pace` says, from now on.
    pub fn slow_syncs(&self, suffix: &'static str, pace: Pace) {
        lock(&self.files).pace = Some((suffix, pace));
    }

    /// Makes every sync fail from now on, until the power is cut.
    pub fn fail_syncs(&self) {
        lock(&self.files).syncs_fail = true;
    }

    fn unmount(&mut self) {
        self.session = None;
        // The last file of a killed process may be closed a moment after the process was waited for.
        eventually("the disk is unmounted", DEADLINE, || match nix::mount::umount(&self.at) {
            Ok(()) => Err("still mounted"),
            Err(nix::errno::Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno.desc()),
        });
    }
}

impl Drop for ForgetfulDisk {
    fn drop(&mut self) {
        self.session = None;
        // Unmounted already, unless something is still open there.
        let _ = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn start(files: &Arc<Mutex<Files>>, at: &Path) -> io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("forgetful".to_owned()), MountOption::NoAtime];
    Session::new(Mounted { files: Arc::clone(files), listings: Mutex::default() }, at, &config)?.spawn()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the kernel.
struct Mounted {
    files: Arc<Mutex<Files>>,
    /// The names of directories that are being read, by handle.
    listings: Mutex<Listings>,
}

#[derive(Default)]
struct Listings {
    next: u64,
    open: HashMap<u64, Vec<(OsString, Facts)>>,
}

fn attributes(facts: Facts) -> FileAttr {
    let (kind, perm) = if facts.is_directory { (FileType::Directory, 0o755) } else { (FileType::RegularFile, 0o644) };
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    FileAttr {
        ino: INodeNo(facts.inode),
        size: facts.bytes,
        blocks: facts.bytes.div_ceil(512),
        atime: at,
        mtime: at,
        ctime: at,
        crtime: at,
        kind,
        perm,
        nlink: facts.links,
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn refused(errno: nix::errno::Errno) -> Errno {
    Errno::from_i32(errno as i32)
}

fn answer(reply: ReplyEmpty, outcome: Result<(), nix::errno::Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(refused(errno)),
    }
}

impl Mounted {
    fn answer_entry(files: &Files, reply: ReplyEntry, outcome: Result<u64, nix::errno::Errno>) {
        match outcome.and_then(|inode| files.facts(inode)) {
            Ok(facts) => reply.entry(&KEEP, &attributes(facts), Generation(0)),
            Err(errno) => reply.error(refused(errno)),
        }
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut files = lock(&self.files);
        let found = files.look_up(parent.0, name);
        Mounted::answer_entry(&files, reply, found);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match lock(&self.files).facts(inode.0) {
            Ok(facts) => reply.attr(&KEEP, &attributes(facts)),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut files = lock(&self.files);
        let changed = size.map_or(Ok(()), |length| files.set_length(inode.0, length));
        match changed.and_then(|()| files.facts(inode.0)) {
            Ok(facts) => reply.attr(&KEEP, &attributes(facts)),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        let mut files = lock(&self.files);
        let created = files.create_directory(parent.0, name);
        Mounted::answer_entry(&files, reply, created);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, lock(&self.files).remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, lock(&self.files).remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        answer(reply, lock(&self.files).rename((parent.0, name), (to.0, to_name), replace));
    }

    fn link(&self, _: &Request, inode: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut files = lock(&self.files);
        let linked = files.link(inode.0, parent.0, name).map(|()| inode.0);
        Mounted::answer_entry(&files, reply, linked);
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        lock(&self.files).open(inode.0);
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut files = lock(&self.files);
        match files.create_file(parent.0, name).and_then(|inode| files.facts(inode)) {
            Ok(facts) => {
                files.open(facts.inode);
                reply.created(&KEEP, &attributes(facts), Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match lock(&self.files).read(inode.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match lock(&self.files).write(inode.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.files).close(inode.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let mut files = lock(&self.files);
        let takes = files.sync_takes(inode.0);
        let outcome = files.sync(inode.0);
        drop(files);
        if takes.is_zero() {
            return answer(reply, outcome);
        }
        // Other files are not slow meanwhile.
        thread::spawn(move || {
            thread::sleep(takes);
            answer(reply, outcome);
        });
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        answer(reply, lock(&self.files).sync_directory(inode.0));
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut files = lock(&self.files);
        let names = match files.names(inode.0) {
            Ok(names) => names,
            Err(errno) => return reply.error(refused(errno)),
        };
        let facts = |name: OsString, inode| files.facts(inode).ok().map(|facts| (name, facts));
        let mut listing: Vec<_> = names.into_iter().filter_map(|(name, inode)| facts(name, inode)).collect();
        let own = Facts { inode: inode.0, is_directory: true, bytes: 0, links: 1 };
        listing.splice(0..0, [(".".into(), own), ("..".into(), own)]);
        let mut listings = lock(&self.listings);
        listings.next += 1;
        let handle = listings.next;
        listings.open.insert(handle, listing);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = lock(&self.listings);
        let listing = listings.open.get(&handle.0).map_or(&[][..], Vec::as_slice);
        for (index, (name, facts)) in listing.iter().enumerate().skip(offset as usize) {
            let kind = if facts.is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(facts.inode), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        lock(&self.listings).open.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let files = lock(&self.files);
        let blocks = |bytes: usize| bytes as u64 / u64::from(BLOCK);
        let free = blocks(files.free_bytes());
        reply.statfs(blocks(files.capacity), free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
