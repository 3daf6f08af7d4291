//! Damaged files are refused with their name, or told of when they are read: never served.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};
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
    written_on(dir, "2")
}

/// As [`written`], by a node of so many cores: its two shards share a log if it is one.
fn written_on(dir: &Path, cores: &str) -> NodeOptions {
    let options = NodeOptions::new(dir).set("--cores", cores).set("--shards", "2").set("--memtable-bytes", "256kb");
    let mut node = options.start();
    write_everything(&node);
    // A file alone is not enough: until the database knows of it, it is one that nobody needs.
    let mut client = node.client();
    eventually("both shards have rows on disk", DEADLINE, || {
        let durable = figures(&mut client, "durable_applied");
        if durable.len() == 2 && durable.iter().all(|index| *index > 0) { Ok(()) } else { Err(durable) }
    });
    // What is only in the log: all of the above may be on disk by now, and then nobody needs the log.
    let again = |number| ["SET".to_owned(), key(number), value(number)];
    let replies = client.pipeline_patiently((0..8).map(again));
    assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    node.kill_9();
    options
}

fn write_everything(node: &Node) {
    let mut client = node.client();
    for first in (0..KEYS).step_by(100) {
        let set = |number| ["SET".to_owned(), key(number), value(number)];
        let replies = client.pipeline_patiently((first..first + 100).map(set));
        assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    }
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
        match fs::copy(&file, copied) {
            // A node that runs replaces RocksDB's notes of its options now and then.
            Err(error) if error.kind() == ErrorKind::NotFound && file.to_string_lossy().contains("/OPTIONS-") => {}
            copied => drop(copied.expect("a copy")),
        }
    }
}

/// Files whose content says what the keys are. RocksDB's own notes (`LOG`, `OPTIONS`, `IDENTITY`), locks and the ballast do not.
fn matters(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let noted = ["LOG", "OPTIONS", "IDENTITY", "LOCK", "ballast"].iter().any(|note| name.starts_with(note));
    !noted && fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// The consequence of a damage.
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
    // files a record was in nobody knows who misses it. The last record of a MANIFEST is taken for one that was not written to its
    // end: rows that are missing then do not fit their log, which is told of as of their directory.
    let path = file.display().to_string();
    let exact = ["MANIFEST", "STATE", "STORE", "node.toml"].iter().any(|kind| path.contains(kind));
    let name = match path.split_once("/data/db-") {
        Some((shard, rest)) if rest.contains("MANIFEST") => format!("{shard}/data"),
        _ if exact => path,
        _ => file.parent().expect("a directory").display().to_string(),
    };
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

/// Bytes of the first page of a STATE: see `storage/FORMAT.md`.
const STATE_PAGE_BYTES: usize = 4096;

/// Kinds of files of which some damage must be noticed.
const KINDS: [&str; 6] = [".sst", ".log", "CURRENT", "MANIFEST", "STATE", "STORE"];

/// Times that a byte of each file is flipped at most.
const ROUNDS_MAX: usize = 12;

#[test]
fn a_flipped_byte_is_never_served() {
    flip_bytes("2");
}

#[test]
fn a_flipped_byte_is_never_served_by_shards_that_share_a_log() {
    flip_bytes("1");
}

fn flip_bytes(cores: &str) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let original = temporary.path().join("original");
    written_on(&original, cores);
    let mut random = SmallRng::seed_from_u64(11);
    let candidates: Vec<PathBuf> = files(&original).into_iter().filter(|file| matters(file)).collect();
    let mut outcomes: Vec<(String, usize, Outcome)> = Vec::new();
    let mut wrong = Vec::new();
    let is_noticed = |outcomes: &[(String, usize, Outcome)], kind: &str| {
        outcomes.iter().any(|(file, _, outcome)| file.contains(kind) && *outcome != Outcome::Harmless)
    };
    for flip in 0..ROUNDS_MAX * candidates.len() {
        let file = &candidates[flip % candidates.len()];
        // A byte may mean nothing, whatever file it is in: after two rounds, only of kinds of which no damage was noticed yet.
        let kinds = KINDS.iter().filter(|kind| file.display().to_string().contains(**kind));
        if flip >= 2 * candidates.len() && kinds.clone().all(|kind| is_noticed(&outcomes, kind)) {
            continue;
        }
        let dir = temporary.path().join(format!("flip-{flip}"));
        copy(&original, &dir);
        let damaged = dir.join(file.strip_prefix(&original).expect("it is inside"));
        let mut bytes = fs::read(&damaged).expect("it was written");
        // Behind its first page, a STATE has two slots of each kind, of which one is enough. Damage of that page must be
        // noticed, so the first round is about it.
        let is_first_page = damaged.ends_with("STATE") && flip < candidates.len();
        let part = if is_first_page { STATE_PAGE_BYTES } else { bytes.len() };
        let place = place_of_worth(&bytes[..part], &mut random);
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
    for kind in KINDS {
        assert!(is_noticed(&outcomes, kind), "no damage of a {kind} was noticed: {outcomes:#?}");
    }
}

#[test]
fn a_missing_file_is_refused() {
    miss_files("2");
}

#[test]
fn a_missing_file_is_refused_where_shards_share_a_log() {
    miss_files("1");
}

fn miss_files(cores: &str) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let original = temporary.path().join("original");
    written_on(&original, cores);
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

/// As [`written`], with everything in tables: no start replays anything into memory, and there is no file that nobody needs. The
/// memtables hold all rows, so that a stop writes one table of each shard, and no start finds so many that it compacts them.
fn in_tables(dir: &Path) -> (NodeOptions, Vec<PathBuf>) {
    let options = NodeOptions::new(dir).set("--shards", "2").set("--memtable-bytes", "4mb");
    let mut node = options.start();
    write_everything(&node);
    node.stop_written();
    let tables = |shard| files(&dir.join(format!("shards/{shard}/data/db-1")));
    let is_table = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "sst");
    let tables: Vec<PathBuf> = (0..2).flat_map(tables).filter(is_table).collect();
    assert!(tables.len() >= 2, "each shard has some: {tables:?}");
    (options, tables)
}

#[test]
fn a_missing_or_cut_table_of_rows_is_refused_by_its_name() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("node");
    let (options, tables) = in_tables(&dir);
    for table in tables {
        let good = fs::read(&table).expect("it was written");
        fs::remove_file(&table).expect("it is there");
        assert_refused(&options, &table, "");
        for length in [0, good.len() / 2, good.len() - 1] {
            fs::write(&table, &good[..length]).expect("it can be written");
            assert_refused(&options, &table, "");
        }
        fs::write(&table, good).expect("it can be written");
    }
    assert_whole(&options);
}

#[test]
fn a_table_damaged_while_the_node_runs_is_an_error_to_who_reads_it_and_never_wrong_data() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("node");
    let (options, tables) = in_tables(&dir);
    let node = options.start();
    let mut random = SmallRng::seed_from_u64(7);
    for table in tables {
        let file = fs::OpenOptions::new().write(true).open(&table).expect("it is there");
        let mut bytes = fs::read(&table).expect("it was written");
        // One flipped bit in each of its blocks of rows, about; what stands at the end was read at the start.
        for place in (0..bytes.len().saturating_sub(8 << 10)).step_by(4 << 10) {
            bytes[place + random.random_range(0..1024)] ^= 1 << random.random_range(0..8);
        }
        file.write_all_at(&bytes, 0).expect("it can be written");
    }
    assert_eq!(read_everything(node), Ok(Outcome::Told));
}

/// Swaps two directories of one file system.
fn swap(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    for (from, to) in [(one, &*aside), (other, one), (&aside, other)] {
        fs::rename(from, to).expect("they are there");
    }
}

/// Puts a copy of `from` in the place of `to`.
fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("it is there");
    copy(from, to);
}

/// The sentence with which a node refuses to start; it names `named`, one of the directories at fault, and says `why`.
fn assert_refused(options: &NodeOptions, named: &Path, why: &str) {
    let refusal = match options.try_start() {
        Err(refusal) => refusal,
        Ok(_) => panic!("a node starts although {} is not as it was: {why}", named.display()),
    };
    let sentence = refusal.sentence();
    println!("{sentence}");
    assert_eq!(refusal.status, Some(1), "{:#?}", refusal.said);
    assert!(sentence.starts_with("basalt: ") && sentence.contains(&named.display().to_string()), "{:#?}", refusal.said);
    assert!(sentence.contains(why), "{why}: {sentence}");
}

fn assert_whole(options: &NodeOptions) {
    assert_eq!(read_everything(options.start()), Ok(Outcome::Harmless));
}

#[test]
fn a_shard_without_its_log_or_rows_is_refused_until_they_are_back() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, away) = (temporary.path().join("data"), temporary.path().join("away"));
    let options = written(&dir);
    for part in ["shards/0/log", "shards/1/data", "shards/1"] {
        let place = dir.join(part);
        fs::rename(&place, &away).expect("it is there");
        assert_refused(&options, &place, "is missing");
        assert!(!place.exists(), "nothing is made in its place");
        if part != "shards/1" {
            fs::create_dir(&place).expect("nothing is in the way");
            assert_refused(&options, &place, "is missing or empty: put back what was there");
            fs::remove_dir(&place).expect("it is empty still");
        }
        fs::rename(&away, &place).expect("nothing is in the way");
    }
    assert_whole(&options);
}

#[test]
fn a_shard_with_the_log_or_rows_of_another_is_refused_until_they_are_back() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, other) = (temporary.path().join("data"), temporary.path().join("other"));
    let options = written(&dir);
    written(&other);
    for part in ["log", "data", ""] {
        let shard = |dir: &Path, number: u16| dir.join("shards").join(number.to_string()).join(part);
        for (one, another, why) in [
            (shard(&dir, 0), shard(&dir, 1), "belongs to group 2 of node"),
            (shard(&dir, 1), shard(&other, 1), "in the place of group 2 of node"),
        ] {
            let why = format!("{why} ");
            swap(&one, &another);
            assert_refused(&options, &one, &why);
            swap(&one, &another);
        }
    }
    assert_whole(&options);
}

#[test]
fn a_shard_with_an_old_copy_of_its_log_is_refused() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, old) = (temporary.path().join("data"), temporary.path().join("old"));
    let options = written(&dir);
    copy(&dir.join("shards"), &old);
    let mut node = options.start();
    assert_eq!(node.client().ask("SET another value"), Reply::ok());
    node.kill_9();
    copy(&dir, &temporary.path().join("new"));
    for part in ["0/log", "1/log", "0", "1"] {
        let place = dir.join("shards").join(part);
        put_back(&old.join(part), &place);
        assert_refused(&options, &place, "it was last used in start 1 of the node, which has been started");
        put_back(&temporary.path().join("new/shards").join(part), &place);
    }
    let node = options.start();
    assert_eq!(node.client().ask("GET another"), Reply::bulk("value"));
    assert_eq!(read_everything(node), Ok(Outcome::Harmless));
}

/// A figure of each shard as it was last published: nothing has been for a moment after a start.
fn figures(client: &mut Client, name: &str) -> Vec<u64> {
    let (info, field) = (client.ask("INFO raft").text(), format!(",{name}="));
    let numbers = info.lines().filter_map(|line| line.split_once(&*field)?.1.split(',').next()?.parse().ok());
    numbers.collect()
}

/// Returns whether each of `now` is greater than its one of `before`.
fn all_greater(now: &[u64], before: &[u64]) -> bool {
    now.len() == before.len() && now.iter().zip(before).all(|(now, before)| now > before)
}

#[test]
fn a_log_and_rows_of_which_one_is_from_earlier_in_the_same_run_are_refused() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, old, new) = (temporary.path().join("data"), temporary.path().join("old"), temporary.path().join("new"));
    let options = written(&dir);
    let mut node = options.start();
    node.pause();
    copy(&dir.join("shards"), &old);
    node.go_on();
    let mut client = node.client();
    let before = figures(&mut client, "last_log");
    write_everything(&node);
    // Whatever of the copied logs the figures before did not tell of, these do.
    let ends = eventually("the logs grow", DEADLINE, || {
        let now = figures(&mut client, "last_log");
        if all_greater(&now, &before) { Ok(now) } else { Err((before.clone(), now)) }
    });
    eventually("the logs are purged beyond the ends of their copies", 2 * DEADLINE, || {
        write_everything(&node);
        let now = figures(&mut client, "purged");
        if all_greater(&now, &ends) { Ok(()) } else { Err((ends.clone(), now)) }
    });
    node.kill_9();
    copy(&dir.join("shards"), &new);
    for (part, why) in [("log", "it ends at entry"), ("data", "its rows end at entry")] {
        for shard in ["0", "1"] {
            let place = dir.join("shards").join(shard).join(part);
            put_back(&old.join(shard).join(part), &place);
            assert_refused(&options, &place, why);
            put_back(&new.join(shard).join(part), &place);
        }
    }
    assert_whole(&options);
}

#[test]
fn old_rows_that_the_log_reaches_down_to_are_brought_up_to_date() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, old) = (temporary.path().join("data"), temporary.path().join("old"));
    let options = NodeOptions::new(&dir).set("--cores", "2").set("--shards", "2");
    let mut node = options.start();
    node.pause();
    copy(&dir.join("shards/0/data"), &old);
    node.go_on();
    write_everything(&node);
    node.kill_9();
    put_back(&old, &dir.join("shards/0/data"));
    assert_whole(&options);
}
