//! A real node: the binary as an operator runs it, on a free port of this machine.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::binary::basalt;
use crate::client::Client;
use crate::threads::threads_of;
use crate::wait::{DEADLINE, eventually, in_some_attempt};

/// The settings that a node is started with, and the programs that start it.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    dir: PathBuf,
    flags: Vec<OsString>,
    /// The programs that it is started by, each of which runs what follows.
    wrapper: Vec<String>,
}

impl NodeOptions {
    /// A small node with its data in `dir`, on all processors: what goes wrong between cores is to be met.
    pub fn new(dir: impl Into<PathBuf>) -> NodeOptions {
        let options = NodeOptions { dir: dir.into(), flags: Vec::new(), wrapper: Vec::new() };
        options.set("--port", "0").set("--memory", "256mb").set("--cores", "all").set("--disk-reserve", "1mb")
    }

    /// Adds a setting; of one given twice the last counts.
    #[must_use]
    pub fn set(mut self, flag: &str, value: impl AsRef<OsStr>) -> NodeOptions {
        let place = self.flags.iter().position(|known| known == flag).unwrap_or_else(|| {
            self.flags.extend([OsString::from(flag), OsString::new()]);
            self.flags.len() - 2
        });
        self.flags[place + 1] = value.as_ref().to_owned();
        self
    }

    /// Has it start with a hard limit of open files that it may not raise, not even where it is root's.
    #[must_use]
    pub fn with_open_files_max(mut self, hard: u64) -> NodeOptions {
        self.wrapper = vec![String::from("prlimit"), format!("--nofile={}:{hard}", hard.min(256))];
        if geteuid().is_root() {
            let without = ["setpriv", "--inh-caps=-sys_resource", "--bounding-set=-sys_resource"];
            self.wrapper.extend(without.map(String::from));
        }
        self
    }

    /// Has it started by another program, which runs what follows its own words in the same process.
    #[must_use]
    pub fn with_launcher(mut self, words: Vec<String>) -> NodeOptions {
        self.wrapper = words;
        self
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Panics
    /// When it ends or does not answer in time, with what it said.
    pub fn start(&self) -> Node {
        self.try_start().unwrap_or_else(|refusal| panic!("the node does not start: {refusal:#?}"))
    }

    /// Starts the node and waits until it answers or ends.
    ///
    /// # Errors
    /// How it ended.
    pub fn try_start(&self) -> Result<Node, Refusal> {
        let mut node = self.launch();
        let address = eventually("the node is ready", DEADLINE, || {
            if let Some(status) = node.process.try_wait().expect("it can be waited for") {
                return Ok(Err(Refusal { status: status.code(), said: node.everything_said() }));
            }
            node.ready_address().map(Ok).ok_or_else(|| node.said())
        })?;
        node.address = Some(address);
        let pong = node.client().ask("PING");
        // One with passwords is up when it asks for one.
        assert!(pong.is_error("NOAUTH ") || pong.text() == "PONG", "{pong:?}");
        node.start_time = node.launched.elapsed();
        Ok(node)
    }

    /// Starts the process and waits for nothing.
    pub fn launch(&self) -> Node {
        // With the last thread of this process, the one that starts them, the nodes end too: also when a test run is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&self.wrapper).arg(basalt());
        command.arg("--dir").arg(&self.dir).args(&self.flags).stdin(Stdio::null()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BASALT_") {
                command.env_remove(name);
            }
        }
        let launched = Instant::now();
        let mut process = spawn(command);
        let log: Log = Arc::default();
        let stderr = process.stderr.take().expect("it was piped");
        let listener = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lock(&log).push(line);
                }
            })
        };
        let (options, start_time) = (self.clone(), Duration::ZERO);
        Node { options, process, address: None, launched, start_time, log, listener: Some(listener) }
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn lock(log: &Log) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process from a thread that lives as long as this process: the kernel's signal at the parent's death means the
/// thread that started the child, and a test's thread ends with the test.
pub(crate) fn spawn(command: Command) -> Child {
    type Start = (Command, Sender<Child>);
    static STARTER: OnceLock<Mutex<Sender<Start>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests): (Sender<Start>, Receiver<Start>) = channel();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
                // The test that asked for it is gone; so is the child, once the process ends.
                let _ = answer.send(child);
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = channel();
    let sent = starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer));
    sent.expect("the thread that starts processes has not failed");
    child.recv().expect("the thread that starts processes has not failed")
}

/// A node that did not start.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Lines that it wrote to its log.
    pub said: Vec<String>,
}

impl Refusal {
    /// The sentence it ended with.
    pub fn sentence(&self) -> &str {
        self.said.last().map_or("", String::as_str)
    }
}

/// A running node. Killed when dropped; if the test is failing, what the node said is printed.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    process: Child,
    address: Option<SocketAddr>,
    launched: Instant,
    start_time: Duration,
    log: Log,
    listener: Option<JoinHandle<()>>,
}

impl Node {
    /// The address at which it accepts clients.
    ///
    /// # Panics
    /// When it was launched only, and did not say so yet.
    pub fn address(&self) -> SocketAddr {
        self.address.or_else(|| self.ready_address()).expect("the node is ready")
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Time from the launch of the process to its first answer.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// Connects a client.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
            .unwrap_or_else(|error| panic!("the node cannot be reached ({error}): {:#?}", self.said()))
    }

    /// Lines that it has written to its log so far.
    pub fn said(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Waits until it has written a line with `part`.
    pub fn wait_for_line(&self, part: &str) {
        eventually(part, DEADLINE, || match self.said() {
            said if said.iter().any(|line| line.contains(part)) => Ok(()),
            said => Err(said),
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.process_id(), signal).expect("it was not waited for yet");
    }

    fn process_id(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Halts it, and waits until the last of its threads does nothing more.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let status = waitpid(self.process_id(), Some(WaitPidFlag::WUNTRACED)).expect("it can be waited for");
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}: {:#?}", self.said());
    }

    /// Lets it go on after [`Node::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it, and does not wait until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Kills it at once, and waits until it is gone.
    pub fn kill_9(&mut self) {
        self.kill();
        self.process.wait().expect("it can be waited for");
    }

    /// Asks it to stop with SIGTERM and waits until it ends; also gives how long that took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.wait(), asked.elapsed())
    }

    /// Stops it, with everything written out and status 0. Where its stop is cut short, it is started again and stopped again.
    ///
    /// # Panics
    /// When it ends in another way, or is cut short each time.
    pub fn stop_written(&mut self) {
        in_some_attempt("a node that is asked to stop ends with status 0", || {
            if !self.is_running() {
                *self = self.options.start();
            }
            let (status, _) = self.stop();
            self.stopped_in_time(status)
        });
    }

    /// Checks that a stop that ended with `status` was not cut short: on a disk that stands still it takes longer than a node gives
    /// it, which loses nothing and is no failure of the node.
    ///
    /// # Errors
    /// What the node said, when it was cut short.
    ///
    /// # Panics
    /// When the node ended in another way.
    pub fn stopped_in_time(&self, status: ExitStatus) -> Result<(), Vec<String>> {
        let said = self.said();
        if status.code() == Some(1) && said.iter().any(|line| line.contains("the stop took longer than")) {
            return Err(said);
        }
        assert!(status.success(), "{status}: {said:#?}");
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let (process, log) = (&mut self.process, &self.log);
        let status = eventually("the node ends", DEADLINE, || {
            process.try_wait().expect("it can be waited for").ok_or_else(|| lock(log).clone())
        });
        self.everything_said();
        status
    }

    /// Returns whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("it can be waited for").is_none()
    }

    /// Bytes of memory that are resident.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that were ever resident.
    pub fn resident_bytes_peak(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
        kib << 10
    }

    /// Every line that it has written, once it has ended.
    fn everything_said(&mut self) -> Vec<String> {
        if let Some(listener) = self.listener.take() {
            listener.join().expect("reading lines does not fail");
        }
        self.said()
    }

    fn ready_address(&self) -> Option<SocketAddr> {
        self.address_told("ready")
    }

    /// Waits until it has told where it listens, which is before its data is loaded.
    ///
    /// # Panics
    /// When it does not in time, with what it said.
    pub fn wait_for_address(&self) -> SocketAddr {
        eventually("the node listens", DEADLINE, || self.address_told("listening").ok_or_else(|| self.said()))
    }

    fn address_told(&self, word: &str) -> Option<SocketAddr> {
        lock(&self.log).iter().filter(|line| line.contains(word)).find_map(|line| {
            let address = line.split_once("address=")?.1;
            address.split_whitespace().next()?.parse().ok()
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let threads = if thread::panicking() { threads_of(self.pid()) } else { Vec::new() };
        // Ended already, in some tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let said = self.everything_said();
            let skipped = said.len().saturating_sub(100);
            eprintln!("the node on {:?} said ({skipped} lines before):\n{}", self.address, said[skipped..].join("\n"));
            eprintln!("and its threads were:\n{}", threads.join("\n"));
        }
    }
}
