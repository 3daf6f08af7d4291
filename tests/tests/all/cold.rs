//! Data that is on disk and not in memory: reader threads fetch it, and no core waits for the disk.

use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, NodeOptions, Reply};

const KEYS: usize = 12_000;
const VALUE_BYTES: usize = 4_000;
/// Longer than a core looks ahead for rows on disk after it has met one.
const WRITING: Duration = Duration::from_secs(12);
const BATCH: usize = 20;

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.ask("INFO stats").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in {text}"))
}

fn set_all(client: &mut Client, value: &str) {
    for first in (0..KEYS).step_by(BATCH) {
        let sets = (first..first + BATCH).map(|number| ["SET".into(), format!("key:{number}"), value.into()]);
        assert!(client.pipeline(sets).iter().all(|reply| *reply == Reply::ok()));
    }
}

/// A value that LZ4 makes no smaller.
fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    };
    (0..bytes).map(|_| letter()).collect()
}

#[test]
fn writes_to_keys_on_disk_and_long_reads_of_them_hold_up_no_core() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let (mut client, value) = (node.client(), noise(VALUE_BYTES));
    set_all(&mut client, &value);
    // More than a reader thread fetches for a scan at once.
    let element = noise(1_000);
    for _ in 0..60 {
        let push = [vec!["RPUSH", "list"], vec![element.as_str(); 100]].concat();
        assert!(matches!(client.call(push), Reply::Integer(_)));
    }
    let (status, _) = node.stop();
    assert!(status.success(), "{status}");

    let mut node = options.start();
    let mut client = node.client();
    let Reply::Array(elements) = client.ask("LRANGE list 0 -1") else { panic!("LRANGE gives an array") };
    assert!(elements.len() == 6_000 && elements.iter().all(|found| *found == Reply::bulk(&element)));
    let begun = Instant::now();
    for (turn, first) in (0..KEYS).step_by(BATCH).enumerate() {
        // 7919 is a prime: neighbours in time are none on disk.
        let keys = (first..first + BATCH).map(|number| format!("key:{}", number * 7919 % KEYS));
        let appends = keys.map(|key| ["APPEND".into(), key, "!".to_string()]);
        let lengths = client.pipeline(appends);
        assert!(lengths.iter().all(|reply| *reply == Reply::Integer(VALUE_BYTES as i64 + 1)), "{lengths:?}");
        thread::sleep((WRITING * turn as u32 / (KEYS / BATCH) as u32).saturating_sub(begun.elapsed()));
    }
    // Figures are published ten times a second.
    thread::sleep(Duration::from_millis(300));
    let (cold_reads, disk_waits) = (info(&mut client, "cold_reads"), info(&mut client, "disk_waits"));
    println!("{cold_reads} cold reads, {disk_waits} of the core itself");
    // Of those that a client sends at once the first waits, and the others behind it.
    let batches = (KEYS / BATCH) as u64;
    assert!(cold_reads > batches / 2, "{cold_reads}: the rows are in memory, this shows nothing");
    assert!(disk_waits <= KEYS as u64 / 1000, "the core waited for the disk {disk_waits} times");
    assert!(node.stop().0.success());
}
