//! Figures of a ring so far, for INFO and metrics.

/// Running totals of one ring since it was made. Reading them costs a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Those of them that were allowed to wait.
    pub blocks: u64,
    /// Events handed to the core.
    pub events: u64,
    /// Receives that brought bytes.
    pub receives: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Sends submitted.
    pub sends: u64,
    /// Bytes that the kernel has taken for sending.
    pub bytes_out: u64,
    /// Receives that stopped for want of a buffer.
    pub enobufs: u64,
    /// Sockets accepted.
    pub accepted: u64,
    /// Accepts that failed for want of file descriptors or memory.
    pub accept_failures: u64,
    /// Wake-ups by other threads.
    pub wakes: u64,
    /// Connections that are open now.
    pub connections: u64,
}

/// The memory of a ring, in bytes; memory of the kernel is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The receive buffers; resident once they have been used.
    pub receive_buffers: usize,
    /// The table of connections.
    pub connections: usize,
    /// Output that is queued or being sent.
    pub outputs: usize,
    /// Empty output buffers kept for the next replies.
    pub spare: usize,
}
