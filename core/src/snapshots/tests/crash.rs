//! Crashes of the receiving node between any two steps: a child process (this test binary, run again) receives and dies at a
//! failpoint; it is started again, and the same snapshot goes on.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use libc::SIGABRT;

use super::node::{ANSWER, Node};
use super::proxy::{Fate, Proxy};
use super::source::{Source, open, patient, rows, sender, wait};
use crate::snapshots::failpoint::VARIABLE;

const CHILD_DIR: &str = "BASALT_SNAPSHOT_TEST_DIR";
/// Text that the child prints before its port.
const PORT: &str = "listens on port ";

/// Runs as the child process: a node that receives, until nobody holds its standard input any more.
#[test]
#[ignore = "a child process of the crash tests: cargo test -p basalt-core snapshots::tests::crash"]
fn child() {
    let Some(directory) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let node = Node::new(&directory);
    println!("\n{PORT}{}", node.address.port());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A node in a process of its own.
struct Started {
    child: Child,
    address: SocketAddr,
}

impl Started {
    fn new(directory: &Path, armed: Option<&str>) -> Started {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "snapshots::tests::crash::child", "--ignored", "--nocapture"])
            .env(CHILD_DIR, directory)
            .env_remove(VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(armed) = armed {
            command.env(VARIABLE, armed);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| line.strip_prefix(PORT).map(str::to_owned));
        let port: u16 = port.expect("the child tells its port").parse().unwrap();
        Started { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Started {
    /// Waits for its end, which is not that of its standard input.
    fn wait(mut self) -> ExitStatus {
        let _held = self.child.stdin.take();
        self.child.wait().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_old_rows_and_a_part_that_is_gone_on_with() {
    let source = Source::new(2500, 3);
    let old = Source::new(20, 1);
    let pieces = source.total().div_ceil(60 << 10);
    let steps = [
        ("1:offer removed", 0),
        ("1:offer due", 0),
        ("1:offer synced", 0),
        ("1:offer written", 0),
        ("1:resume due", 0),
        ("1:file begun", 0),
        ("2:file begun", 1),
        ("1:piece due", 0),
        ("1:piece written", 1),
        (&format!("{}:piece written", pieces / 2), pieces / 3),
        ("1:file synced", 1),
        ("1:check due", pieces),
        ("1:files checked", pieces),
        ("1:files moved", pieces),
        ("1:files handed over", pieces),
        // The rows are in their place, and nobody knows.
        ("1:installed", 0),
    ];
    for (armed, pieces_had) in steps {
        let home = tempfile::tempdir().unwrap();
        let mut before = open(&home.path().join("data"));
        before.install(&copy(old.checkpoint(), &home.path().join("old"))).unwrap();
        drop(before);
        let first = Started::new(home.path(), Some(armed));
        let proxy = Proxy::new(first.address, |_| Fate::Lasts, |_| ());
        let options = patient();
        let sender = sender(&options);
        let sending = sender.send(source.order(proxy.address));

        let status = first.wait();

        assert_eq!(status.signal(), Some(SIGABRT), "{armed} was never reached: {status}");
        // Until it is started again there is nobody.
        proxy.set_target("127.0.0.1:1".parse().unwrap());
        proxy.cut_all();
        let found = rows(&open(&home.path().join("data")));
        let was_installed = armed == "1:installed";
        assert!(found == if was_installed { source.rows.clone() } else { old.rows.clone() }, "{armed}");
        let had = super::node::received_bytes(home.path());
        assert!(had >= (pieces_had * (60 << 10)).min(source.total()), "{armed}: {had} bytes had come");
        let sent_before = options.bandwidth.taken_bytes();
        let second = Started::new(home.path(), None);
        proxy.set_target(second.address);

        assert_eq!(wait(sending).unwrap(), ANSWER, "{armed}");
        let again = options.bandwidth.taken_bytes() - sent_before;
        assert!(again <= source.total() - had, "{armed}: {again} bytes were sent again after {had} had come");
        drop(second);
        let store = open(&home.path().join("data"));
        assert!(rows(&store) == source.rows, "{armed}");
        let left = std::fs::read_dir(home.path().join("received")).unwrap().count();
        assert_eq!(left, 0, "{armed}");
    }
}

/// Copies a checkpoint, for a store that takes it.
fn copy(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}
