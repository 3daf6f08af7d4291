//! Consumer groups of streams on a node that dies, starts anew and has its rows on disk.

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};

const ENTRIES: usize = 300;

fn whole(client: &mut Client, key: &str) -> Vec<Reply> {
    let looks = ["XINFO STREAM", "XINFO GROUPS", "XPENDING"];
    let mut replies: Vec<Reply> = looks[..2].iter().map(|look| client.ask(&format!("{look} {key}"))).collect();
    replies.push(client.ask(&format!("XINFO STREAM {key} FULL COUNT 0")));
    for group in ["done", "half", "empty"] {
        replies.push(client.ask(&format!("{} {key} {group}", looks[2])));
    }
    replies
}

#[test]
fn consumer_groups_survive_a_crash_and_a_restart_and_go_on_where_they_were() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let mut client = node.client();
    for id in 1..=ENTRIES {
        assert_eq!(client.ask(&format!("XADD stream {id}-1 field {id}")).text(), format!("{id}-1"));
    }
    for group in ["done", "half", "empty"] {
        assert_eq!(client.ask(&format!("XGROUP CREATE stream {group} 0")), Reply::ok());
    }
    for group in ["done", "half"] {
        for consumer in ["one", "two", "three"] {
            let count = ENTRIES / 3;
            client.ask(&format!("XREADGROUP GROUP {group} {consumer} COUNT {count} STREAMS stream >"));
        }
    }
    for id in 1..=ENTRIES {
        assert_eq!(client.ask(&format!("XACK stream done {id}-1")), Reply::Integer(1));
        if id.is_multiple_of(2) {
            assert_eq!(client.ask(&format!("XACK stream half {id}-1")), Reply::Integer(1));
        }
    }
    let before = whole(&mut client, "stream");

    node.kill_9();
    let mut node = options.start();
    assert_eq!(whole(&mut node.client(), "stream"), before);

    // Now its rows are on disk, and none in memory.
    node.stop_written();
    let node = options.start();
    let mut client = node.client();
    let claimed = client.ask("XAUTOCLAIM stream half four 0 200 COUNT 10 JUSTID");
    let ids: Vec<String> = claimed.elements()[1].elements().iter().map(Reply::text).collect();
    assert_eq!(ids.first().map(String::as_str), Some("201-1"), "{claimed:?}");
    assert_eq!(ids.len(), 10);
    assert_eq!(client.ask("XACK stream half 1-1 2-1 3-1"), Reply::Integer(2));
    assert_eq!(client.ask("XREADGROUP GROUP half one STREAMS stream >"), Reply::Null);
    let summary = client.ask("XPENDING stream half");
    assert_eq!(summary.elements()[0], Reply::Integer(ENTRIES as i64 / 2 - 2));
    assert_eq!(summary.elements()[1].text(), "5-1");
    assert_eq!(client.ask("RENAME stream other"), Reply::ok());
    assert_eq!(client.ask("XPENDING other half"), summary);
    assert_eq!(client.ask("XGROUP DESTROY other half"), Reply::Integer(1));
    assert_eq!(client.ask("XGROUP CREATE other half 0"), Reply::ok());
    assert_eq!(client.ask("XPENDING other half").elements()[0], Reply::Integer(0));
    let figure = |client: &mut Client, field: &str| {
        let text = client.ask("INFO stats").text();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no number {field} in {text}"))
    };
    eventually("others than the core have read its rows", DEADLINE, || match figure(&mut client, "cold_reads") {
        0 => Err(0),
        count => Ok(count),
    });
    assert_eq!(figure(&mut client, "disk_waits"), 0, "times that the core waited for the disk");
}
