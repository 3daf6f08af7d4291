//! The row cache: what RocksDB answered to point reads, rows and absences alike, bounded by bytes.
//!
//! A look here costs a tenth of one into RocksDB's block cache, which has to ask a bloom filter, an index and a block for each
//! level; and a cached block keeps a hundred rows in memory for the sake of one. The policy is quick_cache's, a relative of
//! S3-FIFO (<https://dl.acm.org/doi/10.1145/3600006.3613147>): a row that is read once goes soon, so that a walk over all keys
//! drives out nothing that is read often. Scans neither look here nor leave anything.
//!
//! # Why it never serves what is not so
//!
//! A read asks the active memtable, the frozen one, this cache, RocksDB, in that order; the generation that was written last, which
//! is still in memory, is asked in RocksDB's stead, and is to be thought of as a part of it. What has to hold is:
//!
//! > If neither memtable knows a key that is cached here, then RocksDB would answer what is cached.
//!
//! It holds since the cache never has a key that a memtable knows, not even for the time between two steps:
//!
//! - A key enters a memtable only by [`Rows::put`](crate::rows::Rows::put), `delete` and `delete_range` on the active one. The
//!   first two remove the key here, in the same call ([`RowCache::remove`]). The third makes everything here void
//!   ([`RowCache::clear`], one addition): it is FLUSHDB and FLUSHALL, and the cache has no order to find a range in.
//! - A row enters the cache only as RocksDB's answer, or the written generation's, for a key that neither memtable knows at that
//!   moment ([`RowCache::insert`] is called behind that look).
//! - Freezing hands all keys that the active memtable knows to the frozen one. So when the frozen one goes, after RocksDB has
//!   taken it in, there is no key in it to be removed here: it was when it was written. RocksDB's answer to any other key is as
//!   before. So [`Store::finish`](super::Store::finish) has nothing to do here, however many rows the generation has.
//! - An installed snapshot is another RocksDB: the cache is cleared in the step that exchanges the two.
//!
//! A reader thread's answer is of the past: RocksDB gave it before the core sees it, and may have taken in a generation since.
//! Hence [`Epoch`](crate::cold::Epoch): it counts generations finished and snapshots installed. The answer is taken only if the
//! epoch is that in which the read was handed out, and neither memtable knows the key now. Then whatever was written to the key
//! and is not in the answer would have to be in a generation that was not finished at the hand-out; none has been finished since;
//! so it would be in a memtable, which would know the key.
//!
//! Compaction drops element rows whose key has another version by now (see `orphan_filter`); they may still be cached. Nobody
//! asks for them: a version never comes back.
//!
//! The one thing a newcomer would get wrong: only reads that do not wait for the disk fill the cache. Rows that a log entry reads
//! in order to write them are not worth an insertion; those that are looked at before that are, since the entry finds them here.

use std::cell::{Cell, Ref, RefCell};
use std::hash::{BuildHasher, Hasher};

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::limits::{CACHE_PIECE_ROWS_MAX, CACHE_PIECES_SHRUNK, CACHED_ROW_BYTES_MAX};

/// Memory of one row beside its bytes: its place in a slab (48 bytes, and half of that for slabs that are not full) and in a
/// table (5 bytes, at a load between 44 % and 87 %), a quarter of that for one remembered after it has gone, and the allocator's
/// rounding.
const ROW_OVERHEAD_BYTES: usize = 104;

/// Bytes that the smallest row is counted for, so that the number of rows has a bound.
const ROW_BYTES_MIN: usize = 120;

/// Rows that are remembered after they have gone, as a share of those that fit: one that comes back is taken for hot.
const GHOSTS: f64 = 0.25;

/// The cache's answer for a key.
pub(super) enum Cached<'a> {
    /// Its row.
    Row(Ref<'a, [u8]>),
    /// That RocksDB has no such row.
    Absent,
    /// Nothing.
    Unknown,
}

/// An answer of RocksDB: the key, and behind it the value if there is a row. In one allocation, since each is a cache miss.
struct Answer {
    bytes: Box<[u8]>,
    /// The cache's [`RowCache::clears`] when it came in: an older one is void.
    clears: u32,
    key_bytes: u16,
    is_row: bool,
}

const _: () = assert!(CACHED_ROW_BYTES_MAX <= u16::MAX as usize, "a cached key's length fits its field");

impl Answer {
    fn new(key: &[u8], value: Option<&[u8]>, clears: u32) -> Answer {
        let bytes = [key, value.unwrap_or_default()].concat().into_boxed_slice();
        Answer { bytes, clears, key_bytes: key.len() as u16, is_row: value.is_some() }
    }

    /// Returns whether it is the answer for `key`, and not for another key of the same hash.
    fn is_of(&self, key: &[u8]) -> bool {
        usize::from(self.key_bytes) == key.len() && self.bytes.starts_with(key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.is_row.then(|| &self.bytes[usize::from(self.key_bytes)..])
    }
}

/// Answers by the hash of their key. Of two keys with the same one, the later takes the place of the other.
type Policy = Cache<u64, Answer, ByBytes, AsIs, DefaultLifecycle<u64, Answer>>;

struct ByBytes;

impl Weighter<u64, Answer> for ByBytes {
    fn weight(&self, _: &u64, answer: &Answer) -> u64 {
        (ROW_OVERHEAD_BYTES + answer.bytes.len()).max(ROW_BYTES_MIN) as u64
    }
}

/// Hashes what is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl BuildHasher for AsIs {
    type Hasher = AsIs;

    fn build_hasher(&self) -> AsIs {
        AsIs(0)
    }
}

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are 64-bit numbers");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Hits and misses of the row cache since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCacheCounts {
    /// Reads that the cache answered.
    pub hits: u64,
    /// Reads that went on to RocksDB.
    pub misses: u64,
}

/// A bounded cache of one store's rows on disk; see the module's docs.
pub(super) struct RowCache {
    /// None for a cache of no bytes. Borrowed by rows that are being read: an insertion that meets one is left out.
    pieces: RefCell<Box<[Option<Box<Policy>>]>>,
    piece_bytes: usize,
    /// Pieces from here on may have more than `piece_bytes`, since they were allowed more once.
    shrunk: usize,
    hasher: DefaultHashBuilder,
    bytes: Cell<u64>,
    /// Number of times that everything was made void.
    clears: u32,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl RowCache {
    /// A cache that takes `bytes_max` of memory at most; none at all for less than one row.
    pub(super) fn new(bytes_max: usize) -> RowCache {
        let rows_max = bytes_max / ROW_BYTES_MIN;
        let piece_count = rows_max.div_ceil(CACHE_PIECE_ROWS_MAX);
        RowCache {
            pieces: RefCell::new((0..piece_count).map(|_| None).collect()),
            piece_bytes: bytes_max.checked_div(piece_count).unwrap_or(0),
            shrunk: piece_count,
            hasher: DefaultHashBuilder::default(),
            bytes: Cell::new(0),
            clears: 0,
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// Sets how much memory it takes at most. It grows as far as its pieces do, whose number stays, and shrinks by
    /// [`RowCache::shrink`].
    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) {
        let piece_count = self.pieces.get_mut().len();
        let bytes = bytes_max.checked_div(piece_count).unwrap_or(0).min(CACHE_PIECE_ROWS_MAX * ROW_BYTES_MIN);
        if bytes != self.piece_bytes {
            (self.piece_bytes, self.shrunk) = (bytes, 0);
        }
    }

    /// Fits a few pieces to the size that they may have. To be called now and then: a piece of thousands of rows takes a moment.
    pub(super) fn shrink(&mut self) {
        let pieces = self.pieces.get_mut();
        let mut left = CACHE_PIECES_SHRUNK;
        while left > 0 && self.shrunk < pieces.len() {
            if let Some(piece) = &mut pieces[self.shrunk] {
                let before = piece.weight();
                piece.set_capacity(self.piece_bytes as u64);
                self.bytes.set(self.bytes.get() + piece.weight() - before);
                left -= 1;
            }
            self.shrunk += 1;
        }
    }

    /// Looks `key` up.
    pub(super) fn find(&self, key: &[u8]) -> Cached<'_> {
        let known = Ref::filter_map(self.pieces.borrow(), |pieces| {
            let hash = self.hash(key);
            let piece = pieces.get(piece_of(hash, pieces.len()))?.as_ref()?;
            piece.get(&hash).filter(|known| known.clears == self.clears && known.is_of(key))
        });
        let Ok(known) = known else {
            self.misses.set(self.misses.get() + 1);
            return Cached::Unknown;
        };
        self.hits.set(self.hits.get() + 1);
        Ref::filter_map(known, Answer::value).map_or(Cached::Absent, Cached::Row)
    }

    /// Takes in what RocksDB answered for `key`, which no memtable knows. Rows that are too large are left out.
    pub(super) fn insert(&self, key: &[u8], value: Option<&[u8]>) {
        if key.len() + value.map_or(0, <[u8]>::len) > CACHED_ROW_BYTES_MAX {
            return;
        }
        // Whoever reads a row holds the cache: what comes in meanwhile comes in next time.
        let Ok(mut pieces) = self.pieces.try_borrow_mut() else { return };
        let hash = self.hash(key);
        let index = piece_of(hash, pieces.len());
        let Some(piece) = pieces.get_mut(index) else { return };
        let piece = piece.get_or_insert_with(|| Box::new(new_piece(self.piece_bytes)));
        let before = piece.weight();
        piece.insert(hash, Answer::new(key, value, self.clears));
        self.bytes.set(self.bytes.get() + piece.weight() - before);
    }

    /// Forgets `key`, since a memtable is about to know it.
    pub(super) fn remove(&mut self, key: &[u8]) {
        // Where all data is in memory, a write does not pay for what may be on disk.
        if self.bytes.get() == 0 {
            return;
        }
        let hash = self.hash(key);
        let pieces = self.pieces.get_mut();
        let index = piece_of(hash, pieces.len());
        let Some(Some(piece)) = pieces.get_mut(index) else { return };
        let before = piece.weight();
        // Not `remove`, which would also forget that the key was here lately. Another key of the same hash may go, no harm done.
        if piece.remove_if(&hash, |_| true).is_some() {
            self.bytes.set(self.bytes.get() + piece.weight() - before);
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Forgets everything, at once; the memory goes to the rows that come next.
    pub(super) fn clear(&mut self) {
        self.clears = self.clears.wrapping_add(1);
        if self.clears == 0 {
            // Once in four billion times the numbers begin anew, and rows of the first round would be taken for new.
            self.pieces.get_mut().fill_with(|| None);
            self.bytes.set(0);
        }
    }

    /// The memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get() as usize
    }

    /// Returns its hits and misses.
    pub(super) fn counts(&self) -> RowCacheCounts {
        RowCacheCounts { hits: self.hits.get(), misses: self.misses.get() }
    }
}

/// The piece of `count` that a key of this hash is in, by its bits from 43 down. Others would be alike for all keys of a piece
/// where its table looks for a difference: at the lowest, by which a key has its place, and the highest seven, by which it is told
/// apart.
fn piece_of(hash: u64, count: usize) -> usize {
    ((u128::from(hash << 20) * count as u128) >> 64) as usize
}

fn new_piece(bytes_max: usize) -> Policy {
    let rows_max = bytes_max / ROW_BYTES_MIN;
    let options = OptionsBuilder::new()
        .estimated_items_capacity(rows_max)
        .weight_capacity(bytes_max as u64)
        .ghost_allocation(GHOSTS)
        .build()
        .expect("both capacities are given");
    Policy::with_options(options, ByBytes, AsIs::default(), DefaultLifecycle::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cached: Cached<'_>) -> String {
        match cached {
            Cached::Row(row) => String::from_utf8_lossy(&row).into_owned(),
            Cached::Absent => "absent".into(),
            Cached::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn rows_and_absences_are_remembered_until_removed() {
        let mut cache = RowCache::new(1 << 20);
        cache.insert(b"a", Some(b"1"));
        cache.insert(b"b", None);
        assert_eq!([b"a", b"b", b"c"].map(|key| text(cache.find(key))), ["1", "absent", "unknown"]);
        cache.remove(b"a");
        cache.remove(b"c");
        assert_eq!([b"a", b"b", b"c"].map(|key| text(cache.find(key))), ["unknown", "absent", "unknown"]);
        assert_eq!(cache.counts(), RowCacheCounts { hits: 3, misses: 3 });
    }

    #[test]
    fn after_a_clear_nothing_from_before_is_known() {
        let mut cache = RowCache::new(1 << 20);
        cache.insert(b"a", Some(b"1"));
        cache.insert(b"b", None);
        cache.clear();
        assert_eq!([b"a", b"b"].map(|key| text(cache.find(key))), ["unknown", "unknown"]);
        cache.insert(b"a", Some(b"2"));
        assert_eq!([b"a", b"b"].map(|key| text(cache.find(key))), ["2", "unknown"]);
    }

    #[test]
    fn its_bytes_are_bounded() {
        let bytes_max = 1 << 20;
        let cache = RowCache::new(bytes_max);
        for number in 0..100_000u32 {
            cache.insert(&number.to_be_bytes(), None);
            assert!(cache.bytes() <= bytes_max, "{} after {number}", cache.bytes());
        }
        assert!(cache.bytes() > bytes_max * 9 / 10, "{}", cache.bytes());
        let used: usize = cache.pieces.borrow().iter().flatten().map(|piece| piece.memory_used().total()).sum();
        let rows: usize = cache.pieces.borrow().iter().flatten().map(|piece| piece.len()).sum();
        // An allocation of 16 bytes a row.
        assert!(used + 16 * rows <= bytes_max, "{used} bytes in slabs and tables for {rows} rows");
        cache.insert(b"large", Some(&[0; CACHED_ROW_BYTES_MAX]));
        assert_eq!(text(cache.find(b"large")), "unknown");
    }

    #[test]
    fn its_bound_may_change_and_what_is_too_much_goes_bit_by_bit() {
        let bytes_max = 16 << 20;
        let mut cache = RowCache::new(bytes_max);
        let fill = |cache: &RowCache| (0..200_000u32).for_each(|number| cache.insert(&number.to_be_bytes(), None));
        fill(&cache);
        cache.set_bytes_max(bytes_max / 4);
        let mut steps = 0;
        while cache.bytes() > bytes_max / 4 {
            let before = cache.bytes();
            cache.shrink();
            steps += 1;
            assert!(cache.bytes() < before, "{before} bytes after {steps} steps");
        }
        assert!(steps > 2, "a few pieces at a time");
        fill(&cache);
        let used: usize = cache.pieces.borrow().iter().flatten().map(|piece| piece.weight() as usize).sum();
        assert_eq!(cache.bytes(), used);
        assert!(used <= bytes_max / 4 && used > bytes_max / 5, "{used}");
        // A piece that is made later has the new size from the beginning.
        cache.set_bytes_max(bytes_max);
        (0..steps).for_each(|_| cache.shrink());
        fill(&cache);
        assert!(cache.bytes() > bytes_max * 8 / 10 && cache.bytes() <= bytes_max, "{}", cache.bytes());
    }

    #[test]
    fn a_walk_over_many_rows_leaves_those_that_are_read_often() {
        let cache = RowCache::new(256 << 10);
        let hot: Vec<[u8; 4]> = (0..500u32).map(u32::to_be_bytes).collect();
        let read = |key: &[u8]| match cache.find(key) {
            Cached::Unknown => cache.insert(key, Some(b"value")),
            Cached::Row(_) | Cached::Absent => {}
        };
        (0..3).for_each(|_| hot.iter().for_each(|key| read(key)));
        (1_000..100_000u32).for_each(|number| read(&number.to_be_bytes()));
        let left = hot.iter().filter(|key| !matches!(cache.find(&key[..]), Cached::Unknown)).count();
        assert!(left > 450, "{left} of 500 are left");
    }

    #[test]
    fn a_cache_of_no_bytes_knows_nothing_and_a_row_being_read_is_left_alone() {
        let mut none = RowCache::new(0);
        none.insert(b"a", None);
        none.remove(b"a");
        assert_eq!((text(none.find(b"a")), none.bytes()), ("unknown".into(), 0));

        let cache = RowCache::new(1 << 20);
        cache.insert(b"a", Some(b"1"));
        let Cached::Row(row) = cache.find(b"a") else { panic!("the row was just taken in") };
        cache.insert(b"b", Some(b"2"));
        assert_eq!(&*row, b"1");
        drop(row);
        assert_eq!(text(cache.find(b"b")), "unknown");
    }
}
