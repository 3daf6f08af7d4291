//! The batch of commands in one entry, opaque here.
//!
//! It is kept as the body of its record in the log, with the bytes that an entry begins with in front. So nobody copies it on its
//! way from a log to peers and into theirs; it is copied once, where it is proposed.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes that an entry's record begins with.
pub(crate) const HEADER_BYTES: usize = 2;

/// The batch of commands in one entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(Bytes);

impl Batch {
    /// A batch of these commands, which it copies, whose record begins with `header`.
    pub(crate) fn new(header: [u8; HEADER_BYTES], commands: &[u8]) -> Batch {
        let mut body = BytesMut::with_capacity(HEADER_BYTES + commands.len());
        body.put_slice(&header);
        body.put_slice(commands);
        Batch(body.freeze())
    }

    /// The batch of a record with this body, which was found to be one.
    pub(crate) fn of_record(body: Bytes) -> Batch {
        assert!(body.len() >= HEADER_BYTES, "a batch is decoded behind its header");
        Batch(body)
    }

    /// The body of its record in the log.
    pub(crate) fn record(&self) -> &Bytes {
        &self.0
    }

    /// The commands.
    pub(crate) fn commands(&self) -> &[u8] {
        &self.0[HEADER_BYTES..]
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "batch of {} bytes", self.commands().len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
