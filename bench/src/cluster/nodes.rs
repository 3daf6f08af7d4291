//! Nodes of Basalt: one alone, or three that are a cluster.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::process::{Process, free_ports};
use super::resp;
use crate::compare::interrupt::Interrupt;
use crate::compare::server_options::ServerOptions;

/// Time after which something that is waited for is taken for broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval at which nodes are asked.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Nodes with their directories.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    program: PathBuf,
    arguments: Vec<String>,
    // Removed after the processes have ended: fields are dropped in their order.
    directory: TempDir,
}

#[derive(Debug)]
struct Node {
    /// None while it is killed.
    process: Option<Process>,
    /// The port for clients.
    port: u16,
    /// The port for other nodes, of a node of a cluster.
    cluster_port: Option<u16>,
    arguments: Vec<String>,
}

impl Nodes {
    /// Starts one node alone.
    ///
    /// # Errors
    /// If it does not start, with what it said, or if a signal came.
    pub fn alone(options: &ServerOptions, interrupt: &Interrupt) -> Result<Nodes> {
        let [port] = free_ports()?;
        let node = Node { process: None, port, cluster_port: None, arguments: Vec::new() };
        let mut nodes = Nodes::new(vec![node], options)?;
        nodes.restart(0)?;
        nodes.wait("it has its data", interrupt, |nodes| Ok(resp::ask(nodes.ports()[0], &["DBSIZE"])? == "0"))?;
        Ok(nodes)
    }

    /// Starts three nodes, makes them one cluster, and waits until each group has three voters. Each node gets arguments of its
    /// own beside those of `options`.
    ///
    /// # Errors
    /// If they do not come to that, with what one of them said, or if a signal came.
    pub fn three(options: &ServerOptions, arguments: [&[String]; 3], interrupt: &Interrupt) -> Result<Nodes> {
        let ports: [u16; 6] = free_ports()?;
        let node = |(pair, arguments): (&[u16], &[String])| Node {
            process: None,
            port: pair[0],
            cluster_port: Some(pair[1]),
            arguments: arguments.to_vec(),
        };
        let nodes = ports.chunks(2).zip(arguments).map(node).collect();
        let mut nodes = Nodes::new(nodes, options)?;
        for index in 0..nodes.nodes.len() {
            nodes.restart(index)?;
        }
        nodes.wait("they have their data", interrupt, |nodes| {
            let is_ready =
                |port: u16| resp::ask(port, &["INFO", "persistence"]).is_ok_and(|info| info.contains("\nloading:0"));
            Ok(nodes.ports().into_iter().all(is_ready))
        })?;
        nodes.create()?;
        nodes.wait("each group has three voters", interrupt, Nodes::are_whole)?;
        Ok(nodes)
    }

    fn new(nodes: Vec<Node>, options: &ServerOptions) -> Result<Nodes> {
        let directory = tempfile::Builder::new()
            .prefix(".basalt-bench-")
            .tempdir_in(&options.dir)
            .with_context(|| format!("no data directory can be made in {}", options.dir.display()))?;
        Ok(Nodes { nodes, program: options.basalt()?, arguments: options.basalt_arg.clone(), directory })
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        let directory = self.directory.path();
        let node = &mut self.nodes[index];
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"BASALT_") {
                command.env_remove(name);
            }
        }
        command.args(["--log-level", "warn", "--bind", "127.0.0.1", "--port", &node.port.to_string(), "--dir"]);
        command.arg(directory.join(format!("node-{index}")));
        if let Some(port) = node.cluster_port {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &port.to_string()]);
        }
        command.args(&node.arguments).args(&self.arguments);
        node.process = Some(Process::start(command, &directory.join(format!("log-{index}")))?);
        Ok(())
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].process = None;
    }

    /// Returns the ports for clients.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Returns the processor time that all have used which run.
    ///
    /// # Errors
    /// If one has ended, with the end of its log.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        self.nodes.iter_mut().filter_map(|node| node.process.as_mut()).map(Process::cpu_time).sum()
    }

    /// Waits until `is_so`, to which an error is as good as false.
    ///
    /// # Errors
    /// If a node has ended meanwhile, if that takes very long, or if a signal came.
    pub fn wait(&mut self, what: &str, interrupt: &Interrupt, is_so: impl Fn(&Nodes) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
                process.check_alive()?;
            }
            let outcome = is_so(self);
            if matches!(outcome, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let logs: Vec<String> = self.nodes.iter().flat_map(|node| &node.process).map(Process::log).collect();
                bail!("not so after {PATIENCE:?}: {what} ({outcome:?}); the nodes' logs: {}", logs.join("\n"));
            }
            interrupt.sleep(POLL_EVERY)?;
        }
    }

    /// Returns whether all groups of all nodes have three voters and can be written.
    ///
    /// # Errors
    /// If a node cannot be asked.
    pub fn are_whole(&self) -> Result<bool> {
        for port in self.ports() {
            let info = resp::ask(port, &["INFO", "raft"])?;
            let mut groups = info.lines().filter(|line| line.starts_with("raft_"));
            let state = resp::ask(port, &["CLUSTER", "INFO"])?;
            let (has_groups, is_ok) = (info.contains("voters="), state.contains("cluster_state:ok"));
            if !has_groups || !is_ok || !groups.all(|line| line.trim().ends_with("voters=3")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn create(&self) -> Result<()> {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(self.ports().iter().map(|port| format!("127.0.0.1:{port}"))).arg("--cluster-yes");
        let output = command.stdin(Stdio::null()).output().context("redis-cli could not be started")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains("All 16384 slots covered"),
            "redis-cli made no cluster: {text}"
        );
        Ok(())
    }
}
