//! Receive buffers lent to the kernel through a shared ring ("provided buffers"), and the [`Input`]s made of them.
//!
//! A buffer is in one of three places: published in the ring (the kernel may write to it), in a completion that has
//! not been looked at, or in an [`Input`]. Dropping the input puts it back into the ring; the kernel sees it at the
//! next turn.

#![allow(unsafe_code, reason = "memory shared with the kernel")]

use std::{
    cell::Cell,
    fmt, io,
    ops::Deref,
    rc::Rc,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;

use super::mapping::Mapping;

/// Added to the distance between buffers, so that the first lines of all of them do not fall into the same set of the
/// cache (two lines: the adjacent one is prefetched).
const STAGGER_BYTES: usize = 128;

/// The offset at which the kernel's `io_uring_buf_ring` keeps its tail: in the `resv` field of the first entry.
const TAIL_OFFSET: usize = 14;

/// All receive buffers of one ring.
#[derive(Debug)]
pub(super) struct BufferPool {
    entries: Mapping,
    data: Mapping,
    mask: u16,
    buffer_bytes: u32,
    stride: usize,
    /// The place of the next buffer in the ring of entries; the kernel sees it only once it is published.
    tail: Cell<u16>,
    published: Cell<u16>,
    /// Buffers that no input holds and no popped completion has used.
    free: Cell<u32>,
}

impl BufferPool {
    /// Maps `count` (a power of two) buffers and puts them all into the ring, published.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<Rc<BufferPool>> {
        assert!(count.is_power_of_two(), "the position in the ring is found by a mask");
        let stride = (buffer_bytes as usize).next_multiple_of(64) + STAGGER_BYTES;
        let pool = BufferPool {
            entries: Mapping::new(count as usize * size_of::<BufRingEntry>())?,
            data: Mapping::new(count as usize * stride)?,
            mask: count - 1,
            buffer_bytes,
            stride,
            tail: Cell::new(0),
            published: Cell::new(0),
            free: Cell::new(0),
        };
        (0..count).for_each(|id| pool.give(id));
        pool.publish();
        Ok(Rc::new(pool))
    }

    /// Returns where the kernel finds the entries: page-aligned, for [`count`](Self::count) of them.
    pub(super) fn entries(&self) -> *mut u8 {
        self.entries.start()
    }

    pub(super) fn count(&self) -> u16 {
        self.mask + 1
    }

    /// Bytes mapped.
    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.data.bytes()
    }

    /// Buffers that the kernel can have after the next publish; a few less if completions wait to be looked at.
    pub(super) fn free(&self) -> u32 {
        self.free.get()
    }

    /// The first byte of a buffer.
    fn start(&self, id: u16) -> *mut u8 {
        assert!(id <= self.mask, "the kernel only knows the buffers that were given to it");
        // SAFETY: `data` is `count` strides long and `id < count`.
        unsafe { self.data.start().add(id as usize * self.stride) }
    }

    /// Puts a buffer into the ring, invisible to the kernel until published.
    fn give(&self, id: u16) {
        let tail = self.tail.get();
        let buffer = self.start(id);
        // SAFETY: the masked position lies within `entries`. The kernel does not read this entry: every buffer is in the
        // ring at most once, so at most `count` entries lie between the kernel's head and `tail`. What the entry shares
        // with the ring's tail field (`resv` of entry 0) is not written here.
        unsafe {
            let entry = &mut *self.entries.start().cast::<BufRingEntry>().add((tail & self.mask) as usize);
            entry.set_addr(buffer as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        self.free.set(self.free.get() + 1);
    }

    /// Lets the kernel see the buffers given since the last time.
    pub(super) fn publish(&self) {
        let tail = self.tail.get();
        if tail == self.published.get() {
            return;
        }
        // SAFETY: the tail field lies in the first entry, within `entries`, is aligned to 2 since the entries are page-aligned,
        // and is written only here.
        let shared = unsafe { AtomicU16::from_ptr(self.entries.start().add(TAIL_OFFSET).cast()) };
        shared.store(tail, Ordering::Release);
        self.published.set(tail);
    }

    /// Makes an input of a buffer that a completion says holds `len` bytes.
    pub(super) fn take(self: &Rc<BufferPool>, id: u16, len: u32) -> Input {
        assert!(id <= self.mask && len <= self.buffer_bytes, "the kernel stays within the buffers given to it");
        self.free.set(self.free.get() - 1);
        Input { pool: Rc::clone(self), id, len }
    }
}

/// Bytes received from a peer, in a buffer that goes back to the kernel on drop. Reads as a slice, never copied.
pub struct Input {
    pool: Rc<BufferPool>,
    id: u16,
    len: u32,
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel has filled `len` bytes of this buffer and has lost it with the completion that this input was
        // made of; it gets it back only when the input is dropped, so nobody writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(self.pool.start(self.id), self.len as usize) }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.pool.give(self.id);
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("buffer", &self.id).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids in the ring from `head` up to the published tail, as the kernel would see them.
    fn published(pool: &BufferPool, head: u16) -> Vec<u16> {
        let entries = pool.entries.start().cast::<BufRingEntry>();
        (head..pool.published.get())
            // SAFETY: masked positions lie within the entries, which nobody writes to meanwhile.
            .map(|position| unsafe { &*entries.add((position & pool.mask) as usize) })
            .inspect(|entry| assert_eq!((entry.addr(), entry.len()), (pool.start(entry.bid()) as u64, 100)))
            .map(BufRingEntry::bid)
            .collect()
    }

    #[test]
    fn a_dropped_input_comes_back_to_the_kernel_after_the_others_and_once() {
        let pool = BufferPool::new(4, 100).expect("mapping");
        assert_eq!(published(&pool, 0), [0, 1, 2, 3]);
        let (first, second) = (pool.take(0, 100), pool.take(1, 7));
        assert_eq!((first.len(), second.len(), pool.free()), (100, 7, 2));
        drop(second);
        assert_eq!(published(&pool, 2), [2, 3], "not before it is published");
        pool.publish();
        assert_eq!(published(&pool, 2), [2, 3, 1]);
        drop(first);
        pool.publish();
        assert_eq!(published(&pool, 2), [2, 3, 1, 0]);
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn an_input_outlives_the_pool_of_its_ring() {
        let pool = BufferPool::new(2, 64).expect("mapping");
        let input = pool.take(1, 64);
        drop(pool);
        assert!(input.iter().all(|&byte| byte == 0));
    }

    #[test]
    #[should_panic(expected = "stays within the buffers")]
    fn a_buffer_that_does_not_exist_is_refused() {
        let pool = BufferPool::new(2, 64).expect("mapping");
        let _ = pool.take(2, 1);
    }
}
