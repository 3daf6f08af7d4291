//! Data directories that an earlier format left: started, they hold every key, deadline and type that was in them, and so they do
//! after a crash.
//!
//! `tests/fixtures` has what a node of that format wrote, and `content.txt` what it answered before it ended. They were made by
//! `makes_the_fixtures` below, run with the program of that time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};

/// Databases that hold keys.
const DATABASES: [u8; 3] = [0, 3, 15];

/// A deadline that no test lives to see, in Unix milliseconds: in the year 2100.
const DEADLINE_MS: u64 = 4_102_444_800_000;

fn options(dir: &Path) -> NodeOptions {
    NodeOptions::new(dir).set("--shards", "2").set("--cores", "2").set("--memtable-bytes", "256kb")
}

/// Commands whose outcome does not depend on when they are executed: keys of every type, with deadlines and without, changed,
/// overwritten, deleted, moved between shards.
fn commands(database: u8, round: u64) -> Vec<Vec<String>> {
    let mut commands = vec![format!("SELECT {database}")];
    for number in 0..8 {
        let key = |kind: &str| format!("{kind}:{round}:{number}");
        commands.push(format!("SET {} {round}-{number}-{database}", key("string")));
        commands.push(format!("SET {} {} PXAT {}", key("due"), "x".repeat(100), DEADLINE_MS + number));
        commands.push(format!("INCRBYFLOAT {} 0.1{number}", key("float")));
        commands.push(format!("SETRANGE {} 2000 end", key("long")));
        for element in 0..10 {
            commands.push(format!("RPUSH {} {element} {}", key("list"), element * 7));
            commands.push(format!("SADD {} member-{element} {}", key("set"), element * element));
            commands.push(format!(
                "ZADD {} {}.5 member-{element} -{element} other-{element}",
                key("zset"),
                element * number
            ));
            commands.push(format!("HSET {} field-{element} {} counter {element}", key("hash"), element * 1000));
            commands.push(format!("XADD {} {}-{element} a {element} b {number}", key("stream"), number + 1));
        }
        commands.push(format!("LPOP {}", key("list")));
        commands.push(format!("SREM {} member-3 81", key("set")));
        commands.push(format!("ZREM {} member-4", key("zset")));
        commands.push(format!("HDEL {} field-5", key("hash")));
        commands.push(format!("XDEL {} {}-6", key("stream"), number + 1));
        for kind in ["list", "set", "zset", "hash", "stream", "string"] {
            match number % 4 {
                0 => commands.push(format!("PEXPIREAT {} {}", key(kind), DEADLINE_MS + 1000 * round + number)),
                1 => commands.push(format!("RENAME {} renamed:{}", key(kind), key(kind))),
                2 => commands.push(format!("COPY {} copied:{}", key(kind), key(kind))),
                _ => commands.push(format!("DEL {}", key(kind))),
            }
        }
        commands.push(format!("SADD {} again", key("later")));
    }
    commands.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn write(node: &Node, rounds: std::ops::Range<u64>) {
    let mut client = node.client();
    for (round, database) in rounds.flat_map(|round| DATABASES.map(|database| (round, database))) {
        for command in commands(database, round) {
            // One by one: a node on a slow disk turns some away for a while.
            let reply = client.call_patiently(&command);
            assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
        }
    }
}

fn flat(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => bytes.escape_ascii().to_string(),
        Reply::Array(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(" ")),
        other => panic!("{other:?}"),
    }
}

fn sorted(reply: &Reply, group: usize) -> Reply {
    let mut groups: Vec<Vec<Reply>> = reply.elements().chunks(group).map(<[Reply]>::to_vec).collect();
    groups.sort_by_key(|group| flat(&group[0]));
    Reply::Array(groups.concat())
}

/// Everything that a node has, one line a key.
fn content(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    for database in DATABASES {
        client.ask(&format!("SELECT {database}"));
        let keys = sorted(&client.ask("KEYS *"), 1);
        lines.push(format!("{database}: {} keys", client.ask("DBSIZE").integer()));
        for key in keys.elements().iter().map(Reply::text) {
            let kind = client.ask(&format!("TYPE {key}")).text();
            let value = match kind.as_str() {
                "string" => client.ask(&format!("GET {key}")),
                "list" => client.ask(&format!("LRANGE {key} 0 -1")),
                "set" => sorted(&client.ask(&format!("SMEMBERS {key}")), 1),
                "zset" => client.ask(&format!("ZRANGE {key} 0 -1 WITHSCORES")),
                "hash" => sorted(&client.ask(&format!("HGETALL {key}")), 2),
                "stream" => client.ask(&format!("XRANGE {key} - +")),
                other => panic!("{key} is a {other}"),
            };
            let deadline = client.ask(&format!("PEXPIRETIME {key}")).integer();
            lines.push(format!("{database} {key} {kind} {deadline} {}", flat(&value)));
        }
    }
    lines
}

/// A directory that a node of the format before has left.
struct Left {
    _temporary: tempfile::TempDir,
    dir: PathBuf,
    content: Vec<String>,
}

fn unpack(name: &str) -> Left {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let archive = Path::new("fixtures").join(format!("{name}.tar.gz"));
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(temporary.path()).status();
    assert!(unpacked.expect("tar runs").success());
    let content = fs::read_to_string(temporary.path().join("content.txt")).expect("readable");
    let content: Vec<String> = content.lines().map(str::to_owned).collect();
    assert!(content.len() > 30, "there is something to compare");
    let dir = temporary.path().join("data");
    Left { _temporary: temporary, dir, content }
}

fn check(node: &Node, expected: &[String]) {
    let found = content(&mut node.client());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// Collections that programs before have made keep a row for each element, new ones are packed, and both live side by side.
fn check_forms(node: &Node) {
    let mut client = node.client();
    for (key, expected) in
        [("hash:0:0", "hashtable"), ("set:2:0", "hashtable"), ("hash:3:0", "listpack"), ("copied:set:3:2", "listpack")]
    {
        assert_eq!(client.ask(&format!("OBJECT ENCODING {key}")).text(), expected, "{key}");
    }
}

/// The formats that the directory is in: of the manifest, and of each shard's STATE and STORE.
fn formats(dir: &Path) -> (String, Vec<(u8, u8)>) {
    let manifest = fs::read_to_string(dir.join("node.toml")).expect("readable");
    let format = manifest.lines().find_map(|line| line.strip_prefix("format = ")).expect("it says so").to_owned();
    let of_shard = |shard: u8| {
        let state = fs::read(dir.join(format!("shards/{shard}/log/STATE"))).expect("readable");
        let store = fs::read(dir.join(format!("shards/{shard}/data/STORE"))).expect("readable");
        (state[11], store["basalt-store ".len()] - b'0')
    };
    (format, vec![of_shard(0), of_shard(1)])
}

#[test]
fn a_directory_of_the_format_before_is_upgraded_with_everything_in_it() {
    for name in ["stopped", "killed"] {
        let Left { _temporary, dir, content: expected } = unpack(name);
        assert_eq!(formats(&dir), ("2".to_owned(), vec![(2, 2); 2]));
        let mut node = options(&dir).start();
        assert_eq!(formats(&dir), ("3".to_owned(), vec![(3, 3); 2]));
        check(&node, &expected);
        write(&node, 3..4);
        let more = content(&mut node.client());
        assert!(more.len() > expected.len());
        check_forms(&node);
        node.kill_9();
        node = options(&dir).start();
        check(&node, &more);
        check_forms(&node);
        node.stop_written();
        let node = options(&dir).start();
        check(&node, &more);
        check_forms(&node);
    }
}

#[test]
fn an_upgrade_that_was_cut_short_goes_on_at_the_next_start() {
    for part in ["shards/0/log", "shards/0/data", "shards/1/log", "shards/1/data"] {
        let Left { _temporary, dir, content: expected } = unpack("killed");
        // The start upgrades what is there, and ends.
        let (place, aside) = (dir.join(part), dir.join("aside"));
        fs::rename(&place, &aside).expect("it is there");
        let refusal = options(&dir).try_start().map(drop).expect_err("a part is missing");
        assert!(refusal.sentence().contains(&*place.to_string_lossy()), "{refusal:?}");
        fs::remove_dir_all(&place).ok();
        fs::rename(&aside, &place).expect("it is put back");
        let (format, shards) = formats(&dir);
        let old = shards.iter().filter(|(state, store)| *state == 2 || *store == 2).count();
        assert_eq!((format.as_str(), old), ("3", 1), "{shards:?}");

        let node = options(&dir).start();

        check(&node, &expected);
        assert_eq!(formats(&dir).1, [(3, 3); 2]);
    }
    let Left { _temporary, dir, content: expected } = unpack("killed");
    for moment in 0..12 {
        let mut early = options(&dir).launch();
        // A moment of its start, which is all that is wanted of it.
        std::thread::sleep(std::time::Duration::from_millis(moment * 10));
        early.kill_9();
    }
    let node = options(&dir).start();
    check(&node, &expected);
}

#[test]
fn logs_and_rows_of_the_format_before_are_taken_from_their_own_shard_only() {
    let Left { _temporary, dir, content: expected } = unpack("stopped");
    let swap = |part: &str| {
        let [first, second] = [0, 1].map(|shard| dir.join(format!("shards/{shard}/{part}")));
        let aside = dir.join("aside");
        for (from, to) in [(&first, &aside), (&second, &first), (&aside, &second)] {
            fs::rename(from, to).expect("it is there");
        }
    };
    for part in ["log", "data"] {
        swap(part);
        let refusal = options(&dir).try_start().map(drop).expect_err("swapped parts");
        // Both are named, whichever was looked at first.
        for (shard, group, found) in [(0, 1, 2), (1, 2, 1)] {
            let path = dir.join(format!("shards/{shard}/{part}"));
            let words = format!("{} belongs to group {found} of node", path.display());
            assert!(refusal.sentence().contains(&words), "{words}: {refusal:?}");
            assert!(refusal.sentence().contains(&format!("in the place of group {group} of node")), "{refusal:?}");
        }
        swap(part);
    }
    let node = options(&dir).start();
    check(&node, &expected);
}

/// Databases with hashes of which fields have deadlines, and how many there are in each.
const TIMED: [(u8, u64); 2] = [(0, 24), (15, 8)];

/// Makes these hashes, a few of them large, one that has lost its deadlines again, and one that is gone.
fn write_timed(client: &mut Client) {
    for (database, count) in TIMED {
        client.ask(&format!("SELECT {database}"));
        for number in 0..count + 2 {
            let value = "x".repeat(if number % 4 == 0 { 100 } else { 1 });
            assert_eq!(client.ask(&format!("HSET timed:{number} goes {value} stays 1")).integer(), 2);
            let at_ms = DEADLINE_MS + number;
            client.ask(&format!("HPEXPIREAT timed:{number} {at_ms} FIELDS 1 goes"));
        }
        client.ask(&format!("HPERSIST timed:{count} FIELDS 1 goes"));
        client.ask(&format!("DEL timed:{}", count + 1));
    }
}

/// Checks that INFO counts so many hashes with deadlines of fields in the databases of [`TIMED`].
fn check_timed(node: &Node, expected: [u64; 2]) {
    let mut client = node.client();
    // A node that has just been started publishes its counts in its first turn.
    eventually("the hashes are counted", DEADLINE, || {
        let info = client.ask("INFO keyspace").text();
        let count = |database: u8| {
            let line = info.lines().find_map(|line| line.strip_prefix(&format!("db{database}:")));
            let counted = line.and_then(|line| line.trim_end().split_once(",subexpiry="));
            counted.map_or(0, |(_, count)| count.parse::<u64>().expect("a number"))
        };
        if TIMED.map(|(database, _)| count(database)) == expected { Ok(()) } else { Err(info) }
    });
}

#[test]
fn hashes_with_deadlines_of_fields_are_counted_of_a_program_that_has_not_counted_them() {
    for (name, is_swapped) in [("fields", false), ("fields-swapped", true)] {
        let Left { _temporary, dir, content: expected } = unpack(name);
        let in_order = |counts: [u64; 2]| if is_swapped { [counts[1], counts[0]] } else { counts };
        let mut node = options(&dir).start();
        check(&node, &expected);
        let counts = in_order(TIMED.map(|(_, count)| count));
        check_timed(&node, counts);
        let mut client = node.client();
        for (database, _) in TIMED {
            client.ask(&format!("SELECT {database}"));
            // Packed ones and large ones.
            for number in 0..8 {
                let deadline = client.ask(&format!("HPEXPIRETIME timed:{number} FIELDS 2 goes stays"));
                let at_ms = (DEADLINE_MS + number) as i64;
                assert_eq!(deadline, Reply::Array(vec![Reply::Integer(at_ms), Reply::Integer(-1)]), "timed:{number}");
            }
            for line in ["HPERSIST timed:0 FIELDS 1 goes", "HDEL timed:1 goes", "DEL timed:2", "SET timed:4 text"] {
                assert!(!client.ask(line).is_error(""), "{line}");
            }
            client.ask(&format!("HPEXPIREAT timed:5 {DEADLINE_MS} FIELDS 1 stays"));
        }
        let fewer = counts.map(|count| count - 4);
        check_timed(&node, fewer);
        node.kill_9();
        node = options(&dir).start();
        check_timed(&node, fewer);
        node.stop_written();
        node = options(&dir).start();
        check_timed(&node, fewer);
        client = node.client();
        assert_eq!(client.ask("FLUSHDB"), Reply::ok());
        check_timed(&node, [0, fewer[1]]);
        assert_eq!(client.ask("SWAPDB 0 15"), Reply::ok());
        check_timed(&node, [fewer[1], 0]);
        node.stop_written();
        check_timed(&options(&dir).start(), [fewer[1], 0]);
    }
}

/// Makes `fields.tar.gz` and `fields-swapped.tar.gz` as [`makes_the_fixtures`] does the others, with a program that has the
/// deadlines of fields and does not count the hashes. In one the rows are written out; in the other so are those of before a
/// SWAPDB, and the rest is in the log.
#[test]
#[ignore = "makes fixtures, tests nothing: BASALT_FIXTURES=DIR cargo test -p basalt-tests --test all makes_the_fixtures -- --ignored"]
fn makes_the_fixtures_of_fields() {
    let folder = PathBuf::from(std::env::var_os("BASALT_FIXTURES").expect("a folder"));
    for (name, is_swapped) in [("fields", false), ("fields-swapped", true)] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path().join("data");
        let mut node = options(&dir).start();
        write_timed(&mut node.client());
        if is_swapped {
            assert_eq!(node.client().ask("SWAPDB 0 15"), Reply::ok());
            node.stop_written();
            node = options(&dir).start();
            let mut client = node.client();
            // What is in the log is executed on counts that the start has made.
            for line in ["HPERSIST timed:6 FIELDS 1 goes", "SET later text"] {
                client.ask(line);
            }
            client.ask(&format!("HPEXPIREAT timed:6 {} FIELDS 1 goes", DEADLINE_MS + 6));
        }
        let lines = content(&mut node.client());
        if is_swapped {
            node.kill_9()
        } else {
            node.stop_written()
        }
        pack(temporary.path(), &lines, &folder.join(format!("{name}.tar.gz")));
    }
}

/// Makes `stopped.tar.gz` and `killed.tar.gz` in the folder whose full path is `BASALT_FIXTURES`, once for each format: each has a
/// directory `data`, and the list of what it held.
#[test]
#[ignore = "makes fixtures, tests nothing: BASALT_FIXTURES=DIR cargo test -p basalt-tests --test all makes_the_fixtures -- --ignored"]
fn makes_the_fixtures() {
    let folder = PathBuf::from(std::env::var_os("BASALT_FIXTURES").expect("a folder"));
    for name in ["stopped", "killed"] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path().join("data");
        let mut node = options(&dir).start();
        write(&node, 0..2);
        // Rows that are written out are purged from the log.
        node.stop_written();
        node = options(&dir).start();
        write(&node, 2..3);
        let lines = content(&mut node.client());
        if name == "stopped" {
            node.stop_written()
        } else {
            node.kill_9()
        }
        pack(temporary.path(), &lines, &folder.join(format!("{name}.tar.gz")));
    }
}

/// Makes an archive of the directory `data` in `temporary`, and of the lines that say what it held.
fn pack(temporary: &Path, lines: &[String], archive: &Path) {
    fs::write(temporary.join("content.txt"), lines.join("\n")).expect("written");
    let excluded = ["ballast", "LOCK", "LOG", "LOG.old.*"].map(|name| format!("--exclude={name}"));
    let mut tar = Command::new("tar");
    tar.args(excluded).arg("-C").arg(temporary).args(["--sparse", "--owner=0", "--group=0", "-I", "gzip -9n"]);
    let packed = tar.arg("-cf").arg(archive).args(["data", "content.txt"]).status();
    assert!(packed.expect("tar runs").success());
}
