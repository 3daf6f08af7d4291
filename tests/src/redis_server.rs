//! A redis-server to compare with.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::client::Client;
use crate::node::spawn;
use crate::wait::{DEADLINE, eventually, in_some_attempt};

/// A running redis-server that saves nothing. Killed when dropped. `REDIS_SERVER` names another program than Debian's.
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
        RedisServer::start_with(&[])
    }

    /// Starts one on a free port, with these arguments besides.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_with(arguments: &[&str]) -> RedisServer {
        in_some_attempt("redis-server has its port", || RedisServer::try_start(arguments))
    }

    fn try_start(arguments: &[&str]) -> Result<RedisServer, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Free now; somebody else may have it when the server asks for it.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut command = Command::new("setpriv");
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        command.args(["--pdeathsig", "KILL", "--", &program, "--save", "", "--port", &free.port().to_string()]);
        command.args(arguments);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = RedisServer { process: spawn(command), address: free, _dir: dir };
        let answer = eventually("redis-server answers", DEADLINE, || -> io::Result<String> {
            match server.process.try_wait()? {
                Some(status) => Ok(format!("it ended: {status}")),
                None => Ok(Client::connect(free)?.try_call(["INFO", "server"])?.text()),
            }
        });
        let is_own = answer.contains(&format!("process_id:{}\r\n", server.process.id()));
        if is_own { Ok(server) } else { Err(answer) }
    }

    /// The address at which it accepts clients.
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
