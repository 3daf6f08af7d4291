//! The binary from its start to its end, as an operator meets it: what is refused, with which words and which exit status.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use basalt_core::boot::OpenFiles;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const BINARY: &str = env!("CARGO_BIN_EXE_basalt");

/// Longest wait for anything here; a second in truth.
const DEADLINE: Duration = Duration::from_secs(30);

/// Number of times that a stop is asked for: a disk that stands still has a node cut its stop short, which is right.
const STOP_ATTEMPTS: usize = 4;

/// Enough of a node to start one, on any free port.
const SMALL: [&str; 8] = ["--port", "0", "--cores", "1", "--shards", "1", "--memory", "64mb"];

fn basalt(dir: &Path) -> Command {
    wrapped(&[], dir)
}

/// The binary run by another program, such as `prlimit`, which ends in running what follows.
fn wrapped(wrapper: &[&str], dir: &Path) -> Command {
    let words: Vec<&str> = wrapper.iter().copied().chain([BINARY]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(SMALL).arg("--dir").arg(dir).args(["--maxclients", "100"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BASALT_") {
            command.env_remove(name);
        }
    }
    command
}

fn refusal(mut command: Command, status: i32) -> String {
    let Output { status: ended, stderr, .. } = command.output().expect("the program runs");
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(ended.code(), Some(status), "{stderr}");
    let sentence = stderr.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("basalt: "), "{stderr}");
    sentence.to_owned()
}

struct Node {
    process: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Node {
    fn start(mut command: Command) -> Node {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the program runs");
        let stderr = process.stderr.take().expect("it was piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Node { process, lines, seen: Vec::new() }
    }

    fn wait_for_line(&mut self, part: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.seen.iter().any(|line| line.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            self.seen.push(line.unwrap_or_else(|_| panic!("no line with '{part}', but {:#?}", self.seen)));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).expect("it runs");
    }

    fn exit_status(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().expect("it can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; it said {:#?}", self.seen);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends with status 0. False when it has cut its stop short, and said so.
    fn has_stopped(&mut self) -> bool {
        let status = self.exit_status();
        self.seen.extend(self.lines.iter());
        if status == Some(1) && self.seen.iter().any(|line| line.contains("the stop took longer than")) {
            return false;
        }
        assert_eq!(status, Some(0), "{:#?}", self.seen);
        true
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already, in most tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn config_prints_what_is_in_effect_and_starts_nothing() {
    let temporary = temporary();
    let dir = temporary.path().join("data");

    let output = basalt(&dir).arg("config").env("BASALT_TIMEOUT", "7").output().expect("the program runs");

    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    let value: toml::Table = text.parse().expect("TOML");
    assert_eq!(value["maxclients"].as_integer(), Some(100));
    assert!(text.contains("# environment: BASALT_TIMEOUT") && text.contains("# command line: --dir"), "{text}");
    assert!(!dir.exists());
}

#[test]
fn the_sample_configuration_is_accepted() {
    let sample = "../deploy/basalt.toml";

    let output = Command::new(BINARY).args(["config", "--config", sample]).output().expect("the program runs");

    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.contains("dir = \"/var/lib/basalt\""), "{text}");
}

#[test]
fn a_refused_setting_ends_with_status_2() {
    let temporary = temporary();
    let mut command = basalt(temporary.path());
    command.env("BASALT_DURABILITY", "allways");

    let sentence = refusal(command, 2);

    assert!(
        sentence.contains("BASALT_DURABILITY") && sentence.ends_with("the nearest valid value is 'always'"),
        "{sentence}"
    );
}

#[test]
fn sigterm_and_sigint_end_a_node_with_status_0() {
    for (signal, since) in [(Signal::SIGTERM, "ready"), (Signal::SIGINT, "ready"), (Signal::SIGTERM, "starting")] {
        let stops = || {
            let temporary = temporary();
            let mut node = Node::start(basalt(temporary.path()));
            node.wait_for_line(since);

            node.signal(signal);

            node.has_stopped()
        };
        assert!((0..STOP_ATTEMPTS).any(|_| stops()), "{signal} when it says '{since}': each stop takes too long");
    }
}

#[test]
fn sighup_does_not_end_a_node() {
    let stops = || {
        let temporary = temporary();
        let mut node = Node::start(basalt(temporary.path()));
        node.wait_for_line("starting");

        node.signal(Signal::SIGHUP);
        node.wait_for_line("ignoring SIGHUP");
        node.signal(Signal::SIGTERM);

        node.has_stopped()
    };
    assert!((0..STOP_ATTEMPTS).any(|_| stops()), "each stop takes too long");
}

#[test]
fn a_directory_in_use_is_refused_naming_the_process() {
    let temporary = temporary();
    let mut node = Node::start(basalt(temporary.path()));
    node.wait_for_line("starting");

    let sentence = refusal(basalt(temporary.path()), 1);

    assert!(sentence.contains(&format!("is in use by process {}:", node.process.id())), "{sentence}");
    node.signal(Signal::SIGKILL);
    node.exit_status();
    let mut again = Node::start(basalt(temporary.path()));
    again.wait_for_line("starting");
}

#[test]
fn a_port_in_use_is_refused_by_number() {
    let temporary = temporary();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("bound").port().to_string();
    let mut command = Command::new(BINARY);
    command.args(["--port", &port, "--memory", "64mb", "--maxclients", "100", "--dir"]).arg(temporary.path());

    let sentence = refusal(command, 1);

    assert!(sentence.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{sentence}");
}

/// Runs what follows without the right to raise a hard limit, which root has.
fn confined(limit: &str) -> Vec<&str> {
    let mut words = vec!["prlimit", limit];
    if geteuid().is_root() {
        words.extend(["setpriv", "--inh-caps=-sys_resource", "--bounding-set=-sys_resource"]);
    }
    words
}

#[test]
fn a_soft_limit_of_open_files_is_raised() {
    let temporary = temporary();
    let mut node = Node::start(wrapped(&confined("--nofile=256:4000"), temporary.path()));

    node.wait_for_line("starting");
}

#[test]
fn a_hard_limit_of_open_files_that_is_too_low_for_all_clients_lets_fewer_in() {
    let temporary = temporary();
    let mut node = Node::start(wrapped(&confined("--nofile=256:350"), temporary.path()));

    node.wait_for_line("the hard limit of open files is too low for maxclients");
    node.wait_for_line("ready");

    let line = node.seen.iter().find(|line| line.contains("too low for maxclients")).expect("it was waited for");
    assert!(line.contains("maxclients=62 wanted=100 files=350 "), "{line}");
}

#[test]
fn a_hard_limit_of_open_files_that_is_too_low_for_a_node_is_refused_with_what_is_needed() {
    let temporary = temporary();

    let sentence = refusal(wrapped(&confined("--nofile=200:280"), temporary.path()), 1);

    assert!(sentence.contains("the open files limit is 280 where 304 (16 clients, 288 for 1 shards"), "{sentence}");
    let wanted = OpenFiles::wanted(100, 1, 1).total();
    assert!(sentence.contains(&format!("LimitNOFILE={wanted} in the systemd unit")), "{sentence}");
}

#[test]
fn a_hard_limit_of_locked_memory_is_refused() {
    let temporary = temporary();

    let sentence = refusal(wrapped(&confined("--memlock=65536:65536"), temporary.path()), 1);

    assert!(sentence.contains("the locked memory limit is 65536 bytes where 524288 bytes is needed"), "{sentence}");
}

#[test]
fn a_processor_taken_away_is_refused_by_number() {
    let temporary = temporary();
    let mut command = Command::new("taskset");
    command
        .args(["-c", "0", BINARY, "--cores", "0-1", "--memory", "64mb", "--port", "0", "--dir"])
        .arg(temporary.path());

    let sentence = refusal(command, 1);

    assert!(sentence.contains("cores = 0-1 names processor 1, but this process may run on 0-0 only"), "{sentence}");
}

#[test]
fn json_log_lines_are_json() {
    let temporary = temporary();
    let mut command = basalt(temporary.path());
    command.args(["--log-format", "json"]);
    let mut node = Node::start(command);
    node.wait_for_line("\"starting\"");

    let line = node.seen.iter().find(|line| line.contains("\"starting\"")).expect("it was waited for");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["shards"], 1);
}
