//! The loads.

use std::fmt;

/// Bytes of a value.
pub const VALUE_BYTES: usize = 64;
/// Keys that are written, and read: so few that the slowest system has written most of them before they are read.
pub const KEYS: u64 = 100_000;
/// Connections.
pub const CLIENTS: usize = 50;

/// Requests that a connection sends, and how many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// False if it reads.
    pub writes: bool,
    /// Requests of a connection that are on their way at a time.
    pub pipeline: usize,
}

impl Load {
    /// Every load; what is read was written before.
    pub const ALL: [Load; 4] = [
        Load { writes: true, pipeline: 1 },
        Load { writes: true, pipeline: 16 },
        Load { writes: false, pipeline: 1 },
        Load { writes: false, pipeline: 16 },
    ];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -c {CLIENTS} -P {}", if self.writes { "SET" } else { "GET" }, self.pipeline)
    }
}
