//! The servers that are compared, and how each is told to run.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::server_options::ServerOptions;

/// A server with its durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// Basalt, with its defaults: every write is synced before it is acknowledged.
    Basalt,
    /// redis-server that syncs its append-only file before it answers.
    RedisAlways,
    /// redis-server that writes nothing to disk.
    RedisMemory,
}

impl ServerKind {
    /// Every kind.
    pub const ALL: [ServerKind; 3] = [ServerKind::Basalt, ServerKind::RedisAlways, ServerKind::RedisMemory];

    /// Returns the command that starts it on `port` with its data in `dir`, to be run on `cpu` alone if there is one.
    ///
    /// # Errors
    /// If there is no Basalt to start.
    pub fn command(self, options: &ServerOptions, cpu: Option<usize>, port: u16, dir: &Path) -> Result<Command> {
        let mut command = match self {
            ServerKind::Basalt => basalt(options, cpu)?,
            ServerKind::RedisAlways => redis(options, "yes"),
            ServerKind::RedisMemory => redis(options, "no"),
        };
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir);
        Ok(command)
    }
}

fn basalt(options: &ServerOptions, cpu: Option<usize>) -> Result<Command> {
    let mut command = Command::new(options.basalt()?);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BASALT_") {
            command.env_remove(name);
        }
    }
    command.args(["--log-level", "warn"]);
    if let Some(cpu) = cpu {
        command.args(["--cores", &format!("{cpu}-{cpu}")]);
    }
    command.args(&options.basalt_arg);
    Ok(command)
}

/// redis-server without snapshots (`save ""`): they would be a fork a minute in the one mode, and are no part of the durability of
/// the other. Rewriting of the append-only file is as it comes.
fn redis(options: &ServerOptions, appendonly: &str) -> Command {
    let mut command = Command::new(&options.redis);
    command.args(["--appendonly", appendonly, "--appendfsync", "always", "--save", "", "--loglevel", "warning"]);
    command
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ServerKind::Basalt => "Basalt",
            ServerKind::RedisAlways => "Redis always",
            ServerKind::RedisMemory => "Redis no AOF",
        })
    }
}
