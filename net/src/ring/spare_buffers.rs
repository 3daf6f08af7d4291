//! Empty output buffers waiting for the next reply.
//!
//! Connections own a buffer only while they have something to send: an idle one owns none, and a busy one
//! allocates nothing. Last in, first out, so that the buffer handed out is the one still in the cache.

use crate::limits::{OUTPUT_FIRST_BYTES, OUTPUT_KEPT_BYTES_MAX};

/// A bounded stack of empty buffers.
#[derive(Debug)]
pub(super) struct SpareBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl SpareBuffers {
    pub(super) fn new(bytes_max: usize) -> SpareBuffers {
        SpareBuffers { buffers: Vec::new(), bytes: 0, bytes_max }
    }

    /// Gives an empty buffer with some capacity.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(OUTPUT_FIRST_BYTES),
        }
    }

    /// Takes back what [`take`](Self::take) gave, with or without content.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > OUTPUT_KEPT_BYTES_MAX || self.bytes + capacity > self.bytes_max {
            return;
        }
        buffer.clear();
        self.bytes += capacity;
        self.buffers.push(buffer);
    }

    /// Capacity of what is kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_buffer_returned_is_the_next_one_given_and_it_is_empty() {
        let mut spare = SpareBuffers::new(1 << 20);
        let mut buffer = spare.take();
        buffer.extend_from_slice(b"reply");
        let address = buffer.as_ptr();
        spare.put(buffer);
        spare.put(Vec::new());
        assert_eq!(spare.bytes(), OUTPUT_FIRST_BYTES);
        let again = spare.take();
        assert_eq!((again.as_ptr(), again.len(), spare.bytes()), (address, 0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spare = SpareBuffers::new(4 * OUTPUT_FIRST_BYTES);
        for _ in 0..100 {
            spare.put(Vec::with_capacity(OUTPUT_FIRST_BYTES));
        }
        assert_eq!(spare.bytes(), 4 * OUTPUT_FIRST_BYTES);
        let mut spare = SpareBuffers::new(1 << 30);
        spare.put(Vec::with_capacity(OUTPUT_KEPT_BYTES_MAX + 1));
        assert_eq!(spare.bytes(), 0);
    }
}
