//! Bounds of this crate that more than one room keeps to.

/// Largest key and value together that the row cache takes, in bytes, and so what a reader thread brings it: more would drive out
/// over a hundred small rows, which takes tens of microseconds, and one disk block is as good.
pub(crate) const CACHED_ROW_BYTES_MAX: usize = 16 << 10;
