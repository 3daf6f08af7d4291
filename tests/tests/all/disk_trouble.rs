//! A disk that is full, and one whose syncs fail.

use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, Survivors, eventually, skip};

use nix::mount::MsFlags;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::forgetful::Forgetful;

const MIB: usize = 1 << 20;

/// Enough for two shards and some rows.
const CAPACITY: usize = 350 * MIB;

/// Enough for eight shards and some rows.
const MANY_CAPACITY: usize = 600 * MIB;

const VALUE_BYTES: usize = 50_000;

/// Writes a value to a new key, which no compression makes smaller.
fn write(client: &mut Client, number: usize) -> std::io::Result<Reply> {
    let mut value = vec![0; VALUE_BYTES];
    SmallRng::seed_from_u64(number as u64).fill(&mut value[..]);
    client.try_call([b"SET".as_slice(), format!("key:{number}").as_bytes(), &value])
}

/// A client that waits so long for a reply and no longer: a write that met a disk full to the last byte is not answered before
/// there is space.
fn patient_client(node: &Node) -> Client {
    let client = node.client();
    client.stream().set_read_timeout(Some(Duration::from_secs(5))).expect("it is a valid time");
    client
}

/// Writes to `file` until its disk is full.
fn fill(file: &mut std::fs::File) {
    let full =
        std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).expect("the disk has an end");
    assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
}

/// As [`write`]; again where the node was busy with writing rows out, which is no answer to how full the disk is.
fn write_unless_busy(client: &mut Client, number: usize) -> std::io::Result<Reply> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match write(client, number) {
            Ok(reply) if reply.is_error("BUSY ") && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            reply => return reply,
        }
    }
}

/// Reads on where `reply` did not come in time and the node does not say why: a disk may just stand still.
fn read_on(node: &Node, client: &mut Client, mut reply: std::io::Result<Reply>) -> std::io::Result<Reply> {
    let is_late = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    let deadline = Instant::now() + DEADLINE;
    while reply.as_ref().is_err_and(is_late) && !an_entry_waits(node) && Instant::now() < deadline {
        reply = client.read();
    }
    reply
}

/// Returns whether a log of the node has an entry that waits for space, by the lines it writes when that begins and ends.
fn an_entry_waits(node: &Node) -> bool {
    let said = node.said();
    let count = |part: &str| said.iter().filter(|line| line.contains(part)).count();
    count("waits for space, and no more is taken") > count("the log's disk has space again")
}

/// Writes values to new keys until one is refused; returns how many keys there are, and the refusal. A write that was taken just
/// before a compaction used up the reserve is not answered while the disk is full: then the refusal is that of the next one.
fn write_until_refused(node: &Node, first: usize) -> (usize, String) {
    let mut client = patient_client(node);
    for number in first..first + 100_000 {
        let reply = write_unless_busy(&mut client, number);
        let mut reply = read_on(node, &mut client, reply);
        if let Err(error) = &reply {
            println!("the write of key:{number} is held up: {error}");
            node.wait_for_line("waits for space, and no more is taken");
            client = patient_client(node);
            // Of the same shard: if there is space again, it is taken after the one that was held up.
            reply = Ok(node.client().call_patiently(["SET", &format!("after:{{key:{number}}}"), "value"]));
        }
        match reply.expect("it was asked again") {
            Reply::Simple(_) => {}
            Reply::Error(text) => return (number, text),
            other => panic!("SET is not answered with {other:?}"),
        }
    }
    panic!("a disk of {CAPACITY} bytes takes 1 GB");
}

/// Returns whether all shards together say once, in turn, that the disk is short and that it has space again.
fn warnings_alternate(node: &Node) -> bool {
    let texts = ["less free than disk-reserve", "the disk has space again"];
    let said = node.said();
    let warnings = said.iter().filter_map(|line| texts.iter().position(|text| line.contains(text)));
    warnings.enumerate().all(|(place, warning)| warning == place % 2)
}

fn check(client: &mut Client, count: usize) {
    for number in 0..count {
        assert_eq!(client.ask(&format!("STRLEN key:{number}")), Reply::Integer(VALUE_BYTES as i64), "key:{number}");
    }
}

#[test]
fn a_disk_that_is_nearly_full_refuses_writes_until_there_is_space_and_nothing_else() {
    let Some(forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--disk-reserve", "64mb").set("--memtable-bytes", "4mb");
    let mut node = options.start();
    let mut client = node.client();

    let (mut written, refusal) = write_until_refused(&node, 0);
    println!("with {} bytes free, after {written} keys: {refusal}", forgetful.disk.free_bytes());
    assert!(refusal.starts_with("MISCONF") && refusal.contains("full"), "{refusal}");
    // Reads go on, in memory and from the disk, and so does everything else.
    check(&mut client, written);
    assert_eq!(client.ask("PING").text(), "PONG");
    // What is compacted or purged meanwhile gives space back, and writes go on until that is full too.
    let refused = (0..20).map(|attempt| format!("refused:{attempt}")).find(|key| {
        (written, _) = write_until_refused(&node, written);
        matches!(client.ask(&format!("SET {key} value")), Reply::Error(_))
    });
    let refused = refused.expect("the disk is full at some time");
    assert_eq!(client.ask(&format!("EXISTS {refused}")), Reply::Integer(0));

    // Writes go on by themselves when there is space again.
    forgetful.disk.set_capacity(CAPACITY + 150 * MIB);
    eventually("writes are taken again", DEADLINE, || match client.ask("SET another value") {
        Reply::Simple(_) => Ok(()),
        other => Err((other, forgetful.disk.free_bytes())),
    });
    (written, _) = write_until_refused(&node, written);
    check(&mut client, written);

    // A full disk is no reason not to start, or not to stop.
    node.stop_written();
    node = options.start();
    check(&mut node.client(), written);
    node.kill_9();
    node = options.start();
    client = node.client();
    check(&mut client, written);
    assert_eq!(client.ask("GET another"), Reply::bulk("value"));
    forgetful.disk.set_capacity(2 * CAPACITY);
    eventually("writes are taken after a start", DEADLINE, || match client.ask("DEL another") {
        Reply::Integer(1) => Ok(()),
        other => Err(other),
    });
    node.stop_written();
    let node = options.start();
    check(&mut node.client(), written);
}

/// A file system in memory, of a size that can be changed; the kernel's own, which reserves space ahead for who asks.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where file systems cannot be mounted, if tests may be skipped there.
    fn mount(bytes: usize) -> Option<SmallDisk> {
        let disk = SmallDisk(tempfile::tempdir().expect("a temporary directory"));
        match disk.set_capacity(bytes, MsFlags::empty()) {
            Ok(()) => Some(disk),
            Err(errno) => {
                skip(&format!("a small disk needs the right to mount: {errno}"));
                None
            }
        }
    }

    fn set_capacity(&self, bytes: usize, flags: MsFlags) -> nix::Result<()> {
        let size = format!("size={bytes}");
        nix::mount::mount(Some("tmpfs"), self.0.path(), Some("tmpfs"), flags, Some(&*size))
    }

    fn free_bytes(&self) -> u64 {
        let status = nix::sys::statvfs::statvfs(self.0.path()).expect("it is mounted");
        status.blocks_available() as u64 * status.fragment_size() as u64
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_node_of_many_shards_starts_again_and_again_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(MANY_CAPACITY) else { return };
    let options = NodeOptions::new(disk.0.path().join("data"))
        .set("--shards", "8")
        .set("--maxclients", "100")
        .set("--memory", "512mb")
        .set("--memtable-bytes", "4mb")
        .set("--disk-reserve", "32mb");
    let mut node = options.start();
    let mut written = 0;
    for _ in 0..4 {
        let refusal;
        (written, refusal) = write_until_refused(&node, written);
        println!("with {} bytes free, after {written} keys: {refusal}", disk.free_bytes());
        assert!(refusal.starts_with("MISCONF"), "{refusal}");
        node.wait_for_line("less free than disk-reserve");
        assert!(warnings_alternate(&node), "{:#?}", node.said());
        node.kill_9();
        println!("{} bytes free when it is killed", disk.free_bytes());
        node = options.start();
        println!("{} bytes free when it has started in {:?}", disk.free_bytes(), node.start_time());
        check(&mut node.client(), written);
    }

    // Somebody else takes all that is left.
    let mut others = std::fs::File::create(disk.0.path().join("others")).expect("it can be made");
    fill(&mut others);
    for _ in 0..3 {
        println!("{} bytes free when it is killed", disk.free_bytes());
        node.kill_9();
        node = options.start();
        check(&mut node.client(), written);
    }

    // A start gives space back: what was compacted, logs of what is on disk. Somebody else takes that too.
    let mut client = patient_client(&node);
    eventually("writes are refused", DEADLINE, || {
        fill(&mut others);
        match client.try_call(["SET", "another", "value"]) {
            Ok(Reply::Error(text)) if text.starts_with("MISCONF") => Ok(()),
            reply => {
                // One that was taken before the node saw that the disk is full is not answered while it is.
                if reply.is_err() {
                    client = patient_client(&node);
                }
                Err((reply, disk.free_bytes()))
            }
        }
    });
    disk.set_capacity(2 * MANY_CAPACITY, MsFlags::MS_REMOUNT).expect("it can be enlarged");
    let mut client = node.client();
    for shard in 0..100 {
        eventually("writes are taken again", DEADLINE, || match client.ask(&format!("SET after:{shard} value")) {
            Reply::Simple(_) => Ok(()),
            other => Err((other, disk.free_bytes())),
        });
    }
    node.wait_for_line("the disk has space again");
    assert!(warnings_alternate(&node), "{:#?}", node.said());
    node.stop_written();
    check(&mut options.start().client(), written);
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_holds_up_the_write_that_met_it_and_refuses_the_others() {
    let Some(forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--disk-reserve", "0").set("--memtable-bytes", "4mb");
    let mut node = options.start();
    let mut client = node.client();
    client.stream().set_read_timeout(Some(Duration::from_secs(3))).expect("it is a valid time");
    let mut written = 0;
    // The log cannot take back what Raft has accepted: that write is answered when there is space.
    let held = loop {
        let reply = write(&mut client, written);
        let mut reply = read_on(&node, &mut client, reply);
        let is_written = matches!(reply, Ok(Reply::Simple(_)));
        let is_busy = matches!(&reply, Ok(Reply::Error(text)) if text.starts_with("BUSY"));
        // Not for want of space: try again.
        let has_space = is_busy && forgetful.disk.free_bytes() > 20 * MIB;
        if !(is_written || has_space) {
            // Rows that are written out after all, and logs that are purged, give space back. From now on none of it is to be had:
            // the disk would be full for a moment only. What was held up until that moment may be answered yet.
            forgetful.disk.set_capacity(0);
            if reply.is_err() {
                let late = client.read();
                reply = read_on(&node, &mut client, late);
            }
            match reply {
                Ok(Reply::Simple(_)) => {}
                Ok(_) => break false,
                Err(_) => break true,
            }
        }
        written += usize::from(!is_busy);
    };
    println!("full after {written} keys, with a write held up: {held}");
    let mut other = node.client();
    check(&mut other, written);
    // The other shard may have room in a file that it has already.
    let in_the_same_shard = format!("SET {{key:{written}}} value");
    eventually("writes are refused", DEADLINE, || match other.ask(&in_the_same_shard) {
        Reply::Error(text) if text.starts_with("MISCONF") || text.starts_with("BUSY") => Ok(()),
        reply => Err(reply),
    });

    forgetful.disk.set_capacity(2 * CAPACITY);

    if held {
        client.stream().set_read_timeout(Some(DEADLINE)).expect("it is a valid time");
        assert_eq!(client.read().expect("an answer"), Reply::ok());
        written += 1;
    }
    eventually("writes are taken again", DEADLINE, || match [other.ask("SET a value"), other.ask("SET b value")] {
        [Reply::Simple(_), Reply::Simple(_)] => Ok(()),
        replies => Err(replies),
    });
    check(&mut other, written);
    node.kill_9();
    let node = options.start();
    check(&mut node.client(), written);
    assert_eq!(node.client().ask("GET a"), Reply::bulk("value"));
}

#[test]
fn a_failed_sync_ends_the_node_and_loses_nothing() {
    let Some(mut forgetful) = Forgetful::new(1 << 30) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    for number in 1..=100 {
        assert_eq!(client.ask(&format!("INCR key:{}", number % 10)), Reply::Integer((number + 9) / 10));
    }

    forgetful.disk.fail_syncs();
    let answer = client.try_call(["SET", "after", "value"]);

    assert!(!matches!(answer, Ok(Reply::Simple(_))), "{answer:?}");
    let status = node.wait();
    assert_eq!(status.code(), Some(1), "{:#?}", node.said());
    let said = node.said();
    assert!(said.last().is_some_and(|line| line.starts_with("basalt: ") && line.contains("sync")), "{said:#?}");
    forgetful.disk.cut_power(Survivors::None, &mut SmallRng::seed_from_u64(1));
    let node = options.start();
    let mut client = node.client();
    for number in 0..10 {
        assert_eq!(client.ask(&format!("GET key:{number}")), Reply::bulk("10"));
    }
    assert_eq!(client.ask("GET after"), Reply::Null);
    assert!(node.start_time() < Duration::from_secs(20));
}
