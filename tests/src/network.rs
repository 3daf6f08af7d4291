//! A network of its own for a few hosts, whose ways can be cut one by one, in one direction or both.
//!
//! Each host is a network namespace, tied by a pair of virtual interfaces to a bridge in another one, the *hub*, which the clients
//! enter. A way is cut by telling one host a wrong hardware address of another: what it sends is lost on the way, as in a real
//! network, and nobody is told. All of it goes with the processes that keep the namespaces open.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};

use crate::node::spawn;
use crate::wait::{DEADLINE, eventually};

/// An address of no interface.
const NOWHERE: &str = "02:00:00:00:00:01";

/// Hosts that see each other until a way between them is cut.
#[derive(Debug)]
pub struct Network {
    hub: Namespace,
    hosts: Vec<Namespace>,
}

impl Network {
    /// Makes a network of `count` hosts.
    ///
    /// # Errors
    /// What the system says where namespaces and virtual interfaces are not permitted.
    pub fn new(count: u8) -> io::Result<Network> {
        let hub = Namespace::new()?;
        hub.ip("link set lo up")?;
        hub.ip("link add hub type bridge")?;
        hub.ip(&format!("address add {}/24 dev hub", address(254)))?;
        hub.ip("link set hub up")?;
        let hosts = (1..=count).map(|number| {
            let host = Namespace::new()?;
            hub.ip(&format!("link add to{number} type veth peer name eth0 netns {}", host.0.id()))?;
            hub.ip(&format!("link set to{number} master hub up"))?;
            host.ip("link set lo up")?;
            host.ip(&format!("address add {}/24 dev eth0", address(number)))?;
            host.ip("link set eth0 up")?;
            Ok(host)
        });
        let hosts = hosts.collect::<io::Result<Vec<_>>>()?;
        Ok(Network { hub, hosts })
    }

    /// The address of a host, of which the first is 0.
    pub fn address(host: usize) -> Ipv4Addr {
        address(u8::try_from(host + 1).expect("there are few hosts"))
    }

    /// Lets the calling thread, and those that it starts from now on, reach all hosts, and nothing else.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(File::open(self.hub.path())?, CloneFlags::CLONE_NEWNET)?)
    }

    /// The words before a command that run it on a host.
    pub fn launcher(&self, host: usize) -> Vec<String> {
        vec![String::from("nsenter"), format!("--net={}", self.hosts[host].path()), String::from("--")]
    }

    /// Loses all that `from` sends to `to` from now on.
    pub fn cut(&self, from: usize, to: usize) {
        let to = Network::address(to);
        let done = self.hosts[from].ip(&format!("neigh replace {to} lladdr {NOWHERE} dev eth0 nud permanent"));
        done.expect("the host has the interface");
    }

    /// Mends all ways.
    pub fn mend(&self) {
        for host in &self.hosts {
            host.ip("neigh flush dev eth0 nud permanent").expect("the host has the interface");
        }
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// A network namespace, as long as its process lives.
#[derive(Debug)]
struct Namespace(Child);

impl Namespace {
    fn new() -> io::Result<Namespace> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "unshare", "--net", "sleep", "infinity"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut namespace = Namespace(spawn(command));
        let outside = fs::read_link("/proc/self/ns/net")?;
        eventually("a process has a network of its own", DEADLINE, || {
            if namespace.0.try_wait()?.is_some() {
                return Ok(Err(io::Error::from(io::ErrorKind::PermissionDenied)));
            }
            match fs::read_link(namespace.path())? {
                network if network != outside => Ok(Ok(())),
                _ => Err(io::Error::other("it has ours")),
            }
        })?;
        Ok(namespace)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn ip(&self, arguments: &str) -> io::Result<()> {
        let mut command = Command::new("nsenter");
        let output = command.arg(format!("--net={}", self.path())).arg("ip").args(arguments.split(' ')).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Ended already, where it did not come to be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
