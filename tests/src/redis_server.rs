//! A redis-server to compare with.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::client::Client;
use crate::node::spawn;
use crate::wait::{DEADLINE, eventually};

/// A running redis-server that saves nothing. Killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl RedisServer {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When Debian's package redis-server is not installed.
    pub fn start() -> RedisServer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Free now; nobody else takes the ports of this machine's loopback so soon.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "redis-server", "--save", "", "--port", &free.port().to_string()]);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let process = spawn(command);
        eventually("redis-server answers", DEADLINE, || Client::connect(free)?.try_call(["PING"]));
        RedisServer { process, address: free, _dir: dir }
    }

    /// Where it accepts clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Ended already, if it failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
