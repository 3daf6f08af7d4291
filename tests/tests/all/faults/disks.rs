//! Nodes whose disks are full.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use basalt_tests::skip;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::super::nodes::{free_ports, options_at};
use super::{Cluster, load};

/// Enough for a node and some rows.
const DISK: &str = "size=400m";

/// A small disk in memory.
pub(super) struct Disk(TempDir);

impl Disk {
    /// None where file systems cannot be mounted, if tests may be skipped there.
    pub(super) fn new() -> Option<Disk> {
        let disk = Disk(tempfile::tempdir().expect("a temporary directory"));
        match mount(Some("tmpfs"), disk.0.path(), Some("tmpfs"), MsFlags::empty(), Some(DISK)) {
            Ok(()) => Some(disk),
            Err(errno) => {
                skip(&format!("a small disk needs the right to mount: {errno}"));
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it, to the last byte.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("it has space for a name");
        let piece = vec![0; 64 << 10];
        while file.write_all(&piece).is_ok() {}
    }

    pub(super) fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not there, where it could not be mounted.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_node_whose_disk_is_full_loses_nothing_and_keeps_nobody_else_up() {
    let Some(disk) = Disk::new() else { return };
    let mut cluster = Cluster::new(3, |number, options| match number {
        0 => options_at(disk.path(), 0, free_ports()),
        _ => options,
    });
    let load = load(&cluster);
    load.go_on(300);
    disk.fill();
    // What others lead goes on.
    load.go_on(600);
    disk.empty();
    load.go_on_everywhere();
    // Whatever it wrote is there, if it is killed when its disk is full.
    disk.fill();
    load.go_on(300);
    cluster.kill(0);
    load.go_on_everywhere();
    disk.empty();
    cluster.restart(0);
    cluster.check(load);
}
