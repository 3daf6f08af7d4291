//! A machine that loses power: what a node acknowledged as durable is there afterwards, on a disk that forgets the rest.
//!
//! The disk is [`ForgetfulDisk`], which says why it is sound. Each statement here is also made of a node that does not sync, and is
//! wrong there: the disk does forget.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use basalt_tests::{ForgetfulDisk, Node, NodeOptions, Survivors};
use rand::RngExt as _;
use tempfile::TempDir;

use crate::load::{Load, cycles};

const CAPACITY: usize = 4 << 30;

/// A forgetful disk in a directory of its own; the disk goes first.
pub struct Forgetful {
    pub disk: ForgetfulDisk,
    _mount_point: TempDir,
}

impl Forgetful {
    /// None where file systems cannot be mounted: then there is nothing to test on, and the output says so.
    pub fn new(capacity: usize) -> Option<Forgetful> {
        let mount_point = tempfile::tempdir().expect("a temporary directory");
        match ForgetfulDisk::mount(mount_point.path(), capacity) {
            Ok(disk) => Some(Forgetful { disk, _mount_point: mount_point }),
            Err(error) => {
                println!("SKIPPED: a disk that forgets needs /dev/fuse and the right to mount: {error}");
                None
            }
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.disk.path().join("data")
    }
}

/// Cuts the power under load again and again.
fn cut_power_again_and_again(name: &str, configure: impl Fn(NodeOptions) -> NodeOptions) {
    let Some(mut forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = configure(NodeOptions::new(forgetful.dir()));
    let mut load = Load::new();
    let (cycles, mut pages_lost) = (cycles(), 0);
    for cycle in 0..cycles {
        let survivors = if cycle % 2 == 0 { Survivors::None } else { Survivors::Some };
        // A moment of its start, which is all that is wanted of it; of the first one too, which creates everything.
        let mut early = options.launch();
        thread::sleep(Duration::from_millis(load.random.random_range(1..400)));
        early.kill_9();
        pages_lost += forgetful.disk.cut_power(survivors, &mut load.random);

        let mut node = options.start();
        load.check(&node);
        let commands = load.random.random_range(500..5_000);
        load.run(&node, commands, Node::kill);
        node.kill_9();
        pages_lost += forgetful.disk.cut_power(survivors, &mut load.random);
    }
    load.check(&options.start());
    println!("{name}: {cycles} power failures under load and {cycles} at starts, {pages_lost} pages forgotten, {load}");
    assert!(pages_lost > 0, "the disk had nothing to forget");
}

#[test]
fn acknowledged_writes_survive_a_power_failure() {
    cut_power_again_and_again("power failure", |options| options);
}

#[test]
fn acknowledged_writes_survive_a_power_failure_while_generations_freeze_all_the_time() {
    cut_power_again_and_again("power failure, with small memtables", |options| {
        options.set("--memtable-bytes", "256kb").set("--shards", "4")
    });
}

#[test]
fn a_node_that_does_not_sync_loses_acknowledged_writes_in_a_power_failure() {
    let Some(mut forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--durability", "none");
    let mut load = Load::new();
    let mut node = options.start();
    load.run(&node, 5_000, Node::kill);
    node.kill_9();
    forgetful.disk.cut_power(Survivors::None, &mut load.random);

    let node = options.start();

    let lost = load.try_check(&node).expect_err("what was not synced was forgotten, and that was noticed");
    assert!(lost.contains("commands were acknowledged"), "{lost}");
}
