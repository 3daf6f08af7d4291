//! Damaged files are refused with their name, or told of when they are read: never served.

use std::fs;
use std::path::{Path, PathBuf};

use basalt_tests::{DEADLINE, Node, NodeOptions, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const KEYS: usize = 3_000;

fn key(number: usize) -> String {
    format!("key:{number}")
}

fn value(number: usize) -> String {
    format!("{number}:{}", "v".repeat(300))
}

/// A directory with every kind of file in it: rows in several generations, and a log that was not applied to them yet.
fn written(dir: &Path) -> NodeOptions {
    let options = NodeOptions::new(dir).set("--shards", "2").set("--memtable-bytes", "256kb");
    let mut node = options.start();
    let mut client = node.client();
    for first in (0..KEYS).step_by(100) {
        let set = |number| ["SET".to_owned(), key(number), value(number)];
        let replies = client.pipeline((first..first + 100).map(set));
        assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    }
    eventually("both shards have rows in files", DEADLINE, || {
        let has_rows = |shard| {
            let database = dir.join(format!("shards/{shard}/data/db-1"));
            files(&database).iter().any(|file| file.extension().is_some_and(|extension| extension == "sst"))
        };
        if has_rows(0) && has_rows(1) { Ok(()) } else { Err(files(dir)) }
    });
    node.kill_9();
    options
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let copied = to.join(file.strip_prefix(from).expect("it is inside"));
        fs::create_dir_all(copied.parent().expect("it has one")).expect("a directory");
        fs::copy(&file, copied).expect("a copy");
    }
}

/// Files whose content says what the keys are. RocksDB's own notes (`LOG`, `OPTIONS`, `IDENTITY`) and locks do not.
fn matters(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let noted = ["LOG", "OPTIONS", "IDENTITY", "LOCK"].iter().any(|note| name.starts_with(note));
    !noted && fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// What became of a damage.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    /// The node did not start, and named the file.
    Refused,
    /// It started, and a read of what the damage hit was an error or ended the node.
    Told,
    /// Every key is right: the byte meant nothing.
    Harmless,
}

/// Starts a node on damaged files and reads every key.
///
/// # Errors
/// What was served, or a refusal that does not name the file.
fn outcome(options: &NodeOptions, file: &Path) -> Result<Outcome, String> {
    // Not always by the very file: RocksDB's CURRENT is a name without a checksum, and what is missed is the file that it names
    // then; a table whose table of contents is damaged is told of as of the MANIFEST that lists it; and which of the log's
    // files a record was in nobody knows who misses it.
    let exact =
        ["MANIFEST", "STATE", "STORE", "node.toml"].iter().any(|kind| file.display().to_string().contains(kind));
    let named = if exact { file } else { file.parent().expect("a directory") };
    let name = named.display().to_string();
    let node = match options.try_start() {
        Ok(node) => node,
        Err(refusal) if refusal.status == Some(1) && refusal.sentence().contains(&name) => return Ok(Outcome::Refused),
        Err(refusal) => return Err(format!("refused, but not by name: {:?}", refusal.sentence())),
    };
    read_everything(node)
}

fn read_everything(mut node: Node) -> Result<Outcome, String> {
    let mut client = node.client();
    let mut told = 0;
    for number in 0..KEYS {
        match client.try_call(["GET".to_owned(), key(number)]) {
            Ok(Reply::Bulk(bytes)) if bytes == value(number).as_bytes() => {}
            Ok(Reply::Error(text)) => {
                if told == 0 {
                    println!("a read is answered: {text}");
                }
                told += 1;
            }
            Ok(served) => return Err(format!("{} was served as {served:?}", key(number))),
            // A node that ends because of what it found must say why.
            Err(_) => {
                let status = node.wait();
                let said = node.said().join("\n");
                return if status.code() == Some(1) { Ok(Outcome::Told) } else { Err(format!("{status}: {said}")) };
            }
        }
    }
    Ok(if told > 0 { Outcome::Told } else { Outcome::Harmless })
}

/// A place in a file to damage: near a value if it holds any, else one that is not zero. Files are made larger than what is in
/// them.
fn place_of_worth(bytes: &[u8], random: &mut SmallRng) -> usize {
    let in_values: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, near)| near == b"vvvvvvvv").map(|(place, _)| place).collect();
    let written = || bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(place, _)| place);
    let places = if in_values.is_empty() { written().collect() } else { in_values };
    places[random.random_range(0..places.len())]
}

#[test]
fn a_flipped_byte_is_never_served() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let original = temporary.path().join("original");
    written(&original);
    let mut random = SmallRng::seed_from_u64(11);
    let candidates: Vec<PathBuf> = files(&original).into_iter().filter(|file| matters(file)).collect();
    let mut outcomes = Vec::new();
    let mut wrong = Vec::new();
    for flip in 0..2 * candidates.len() {
        let dir = temporary.path().join(format!("flip-{flip}"));
        copy(&original, &dir);
        let file = &candidates[flip % candidates.len()];
        let damaged = dir.join(file.strip_prefix(&original).expect("it is inside"));
        let mut bytes = fs::read(&damaged).expect("it was written");
        let place = place_of_worth(&bytes, &mut random);
        bytes[place] ^= 1 << random.random_range(0..8);
        fs::write(&damaged, bytes).expect("it can be written");
        let relative = damaged.strip_prefix(&dir).expect("it is inside").display().to_string();
        let options = NodeOptions::new(&dir).set("--memtable-bytes", "256kb");
        match outcome(&options, &damaged) {
            Ok(outcome) => outcomes.push((relative, place, outcome)),
            Err(served) => wrong.push(format!("{relative} at {place}: {served}")),
        }
        fs::remove_dir_all(&dir).expect("it can be removed");
    }
    for (file, place, outcome) in &outcomes {
        println!("{file} at {place}: {outcome:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for kind in [".sst", ".log", "CURRENT", "MANIFEST", "STATE", "STORE"] {
        let noticed =
            |(file, _, outcome): &&(String, usize, Outcome)| file.contains(kind) && *outcome != Outcome::Harmless;
        assert!(outcomes.iter().any(|found| noticed(&found)), "no damage of a {kind} was noticed: {outcomes:#?}");
    }
}

#[test]
fn a_missing_file_is_refused() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let original = temporary.path().join("original");
    written(&original);
    let candidates: Vec<PathBuf> = files(&original).into_iter().filter(|file| matters(file)).collect();
    let mut wrong = Vec::new();
    for (index, file) in candidates.iter().enumerate() {
        let dir = temporary.path().join(format!("missing-{index}"));
        copy(&original, &dir);
        let missing = dir.join(file.strip_prefix(&original).expect("it is inside"));
        fs::remove_file(&missing).expect("it is there");
        let relative = missing.strip_prefix(&dir).expect("it is inside").display().to_string();
        match NodeOptions::new(&dir).set("--memtable-bytes", "256kb").try_start() {
            Err(refusal) => println!("without {relative}: {}", refusal.sentence()),
            Ok(node) => match read_everything(node) {
                Ok(outcome) => println!("without {relative}: {outcome:?}"),
                Err(served) => wrong.push(format!("without {relative}: {served}")),
            },
        }
        fs::remove_dir_all(&dir).expect("it can be removed");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
