//! The systems that are compared, and how each is started.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::nodes::Nodes;
use super::options::Options;
use super::process::{Process, free_ports};
use super::{etcd, resp, slots};
use crate::compare::interrupt::Interrupt;

/// The etcd server.
pub const ETCD: &str = "etcd";
/// A server that does not answer for so long has failed to start.
const START_MAX: Duration = Duration::from_secs(60);
/// Interval at which a starting server is asked.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Groups of three replicas that an idle cluster has.
pub const IDLE_GROUPS: u32 = 16;

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Three nodes of Basalt: a write is on the disks of two.
    Cluster,
    /// One node of Basalt: a write is on its disk.
    Node,
    /// Three nodes of etcd: a write is on the disks of two.
    Etcd,
    /// A redis-server that syncs its append-only file, and one replica of it that does; `WAIT 1` behind each pipeline.
    RedisWait,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Cluster, Kind::Node, Kind::Etcd, Kind::RedisWait];

    /// Returns its name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Cluster => "cluster",
            Kind::Node => "node",
            Kind::Etcd => "etcd",
            Kind::RedisWait => "redis",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Cluster => "Basalt × 3",
            Kind::Node => "Basalt × 1",
            Kind::Etcd => "etcd × 3",
            Kind::RedisWait => "Redis × 2, WAIT 1",
        })
    }
}

/// A system that runs.
#[derive(Debug)]
pub struct System {
    kind: Kind,
    servers: Servers,
    /// The places that requests go to: ports, and the tags of the keys that are asked for there; without tags, any key.
    pub targets: Vec<(u16, Vec<String>)>,
}

#[derive(Debug)]
enum Servers {
    Basalt(Nodes),
    // The directory is removed after the processes have ended.
    Others(Vec<Process>, #[expect(dead_code, reason = "it is removed when it is dropped")] TempDir),
}

impl System {
    /// Starts a system on empty directories and waits until it can be written to.
    ///
    /// # Errors
    /// If it does not come to that, with what its servers said, or if a signal came.
    pub fn start(kind: Kind, options: &Options, interrupt: &Interrupt) -> Result<System> {
        match kind {
            Kind::Cluster => System::cluster(options, [&[], &[], &[]], interrupt),
            Kind::Node => {
                let nodes = Nodes::alone(&options.servers, interrupt)?;
                let targets = vec![(nodes.ports()[0], Vec::new())];
                Ok(System { kind, servers: Servers::Basalt(nodes), targets })
            }
            Kind::Etcd => start_etcd(options, interrupt),
            Kind::RedisWait => start_redis(options, interrupt),
        }
    }

    /// Starts a cluster of three nodes with [`IDLE_GROUPS`].
    ///
    /// # Errors
    /// As [`System::start`].
    pub fn start_idle(options: &Options, interrupt: &Interrupt) -> Result<System> {
        let shards = |count: u32| ["--shards".to_owned(), count.to_string()];
        let (third, rest) = (IDLE_GROUPS / 3, IDLE_GROUPS % 3);
        System::cluster(options, [&shards(third + rest), &shards(third), &shards(third)], interrupt)
    }

    fn cluster(options: &Options, arguments: [&[String]; 3], interrupt: &Interrupt) -> Result<System> {
        let nodes = Nodes::three(&options.servers, arguments, interrupt)?;
        let ports = nodes.ports();
        let targets = ports.iter().copied().zip(slots::tags_by_node(&ports)?).collect();
        Ok(System { kind: Kind::Cluster, servers: Servers::Basalt(nodes), targets })
    }

    /// Returns which system it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the processor time that all servers have used.
    ///
    /// # Errors
    /// If one has ended, with what it said.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        match &mut self.servers {
            Servers::Basalt(nodes) => nodes.cpu_time(),
            Servers::Others(processes, _) => processes.iter_mut().map(Process::cpu_time).sum(),
        }
    }
}

fn directory(options: &Options) -> Result<TempDir> {
    let dir = &options.servers.dir;
    let made = tempfile::Builder::new().prefix(".basalt-bench-").tempdir_in(dir);
    made.with_context(|| format!("no data directory can be made in {}", dir.display()))
}

/// Waits until `is_so`, to which an error is as good as false.
fn wait(processes: &mut [Process], interrupt: &Interrupt, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        let outcome = is_so();
        if matches!(outcome, Ok(true)) {
            return Ok(());
        }
        processes.iter_mut().try_for_each(Process::check_alive)?;
        if Instant::now() > deadline {
            let logs: Vec<String> = processes.iter().map(Process::log).collect();
            bail!("servers are not ready {START_MAX:?} after their start ({outcome:?}); {}", logs.join("\n"));
        }
        interrupt.sleep(POLL_EVERY)?;
    }
}

fn start_etcd(options: &Options, interrupt: &Interrupt) -> Result<System> {
    let directory = directory(options)?;
    let ports: [u16; 6] = free_ports()?;
    let pairs: Vec<&[u16]> = ports.chunks(2).collect();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let members: Vec<String> =
        pairs.iter().enumerate().map(|(number, pair)| format!("node-{number}={}", url(pair[1]))).collect();
    let mut processes = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let mut command = Command::new(ETCD);
        command.args(["--name", &format!("node-{number}"), "--data-dir"]);
        command.arg(directory.path().join(format!("node-{number}")));
        command.args(["--listen-client-urls", &url(pair[0]), "--advertise-client-urls", &url(pair[0])]);
        command.args(["--listen-peer-urls", &url(pair[1]), "--initial-advertise-peer-urls", &url(pair[1])]);
        command.args(["--initial-cluster", &members.join(","), "--logger", "zap", "--log-level", "error"]);
        processes.push(Process::start(command, &directory.path().join(format!("log-{number}")))?);
    }
    wait(&mut processes, interrupt, || etcd::takes_a_write(pairs[0][0]))?;
    let targets = pairs.iter().map(|pair| (pair[0], Vec::new())).collect();
    Ok(System { kind: Kind::Etcd, servers: Servers::Others(processes, directory), targets })
}

fn start_redis(options: &Options, interrupt: &Interrupt) -> Result<System> {
    let directory = directory(options)?;
    let ports: [u16; 2] = free_ports()?;
    let redis = |port: u16, replica_of: Option<u16>| -> Result<Process> {
        let data = directory.path().join(port.to_string());
        std::fs::create_dir(&data).with_context(|| format!("{} cannot be made", data.display()))?;
        let mut command = redis_command(&options.servers.redis, port, &data);
        if let Some(master) = replica_of {
            command.args(["--replicaof", "127.0.0.1", &master.to_string()]);
        }
        Process::start(command, &directory.path().join(format!("log-{port}")))
    };
    let mut processes = vec![redis(ports[0], None)?, redis(ports[1], Some(ports[0]))?];
    wait(&mut processes, interrupt, || Ok(resp::ask(ports[0], &["INFO", "replication"])?.contains("state=online")))?;
    let targets = vec![(ports[0], Vec::new())];
    Ok(System { kind: Kind::RedisWait, servers: Servers::Others(processes, directory), targets })
}

fn redis_command(program: &Path, port: u16, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(data);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "warning"]);
    command.args(["--repl-diskless-sync-delay", "0"]);
    command
}
