//! A read that needs the disk.

/// A read that memory could not answer: what a reader thread has to fetch before the command is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColdRead {
    /// One row.
    Key(Box<[u8]>),
    /// Several rows, each by its key. None at all: the command is tried again in a moment.
    Keys(Vec<Box<[u8]>>),
    /// The next few rows, in ascending order, from each of several places on.
    Places(Vec<Box<[u8]>>),
    /// Rows from `from` on, in `direction`; a reader thread fetches a bounded number of them.
    Scan {
        /// The scan's position when it missed.
        from: Box<[u8]>,
        /// The scan's direction.
        direction: Direction,
        /// Bytes of rows to fetch at most; the store asks for [`COLD_SCAN_BYTES`](crate::COLD_SCAN_BYTES).
        bytes: usize,
    },
}

/// The order in which a scan visits rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}
