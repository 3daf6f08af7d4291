//! Bytes that a connection has sent and nobody has decoded yet.
//!
//! A client may send much before it reads a reply, and its requests are decoded a few at a time: taking some off the front must not
//! move all the others each time.

use crate::limits;

/// Bytes that come at one end and go at the other.
#[derive(Debug, Default)]
pub struct InputBuffer {
    bytes: Vec<u8>,
    /// Those before it are decoded.
    start: usize,
}

impl InputBuffer {
    /// Bytes that are not decoded.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Returns the number of bytes that are not decoded.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Returns whether everything is decoded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory it takes, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes off the first `count` bytes. Each byte is moved once on average, however few are taken at a time.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.bytes.len(), "no more is decoded than there is");
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > limits::INPUT_BUFFER_KEPT {
                self.bytes = Vec::new();
            }
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.start));
            self.bytes.shrink_to(2 * self.bytes.len().max(limits::INPUT_BUFFER_KEPT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_their_order_and_their_memory_with_them() {
        let (mut buffer, mut expected) = (InputBuffer::default(), Vec::new());
        let numbers: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
        for (round, piece) in numbers.chunks(1000).enumerate() {
            buffer.push(piece);
            expected.extend_from_slice(piece);
            let count = (round * 37 % 900).min(buffer.len());
            buffer.consume(count);
            expected.drain(..count);
            assert_eq!(buffer.unread(), expected);
        }
        while !buffer.is_empty() {
            buffer.consume(buffer.len().min(777));
            assert!(buffer.capacity() <= 8 * buffer.len().max(limits::INPUT_BUFFER_KEPT), "{}", buffer.capacity());
        }
        assert_eq!(buffer.capacity(), 0);
    }
}
