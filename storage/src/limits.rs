//! Every bound of the rows' side of this crate: what is held, fetched, collected or waited for at most. Those of the log stand with
//! it (`log/`), those that a node sets are options (`StoreOptions`); `basalt-core` has its own in `core/src/limits.rs`.
//!
//! What a newcomer would get wrong: the first section is no tuning. It decides what an entry of the Raft log does to the rows, and
//! every replica, and every replay, has to come to the same. Another value there is another format of entries.

use std::time::Duration;

// --- results: what applying an entry does -------------------------------------------------------------------------------------

/// Names in a collection up to which a random one is drawn by its exact rank (`keyspace/hashed_names.rs`): the draw walks over
/// them.
pub(crate) const EXACT_NAMES_MAX: u64 = 64;

/// Names that follow a random hash, one of which is drawn from a larger collection (`keyspace/hashed_names.rs`): over so many the
/// gaps between hashes even out.
pub(crate) const WINDOW_NAMES: u32 = 16;

/// Elements of a collection that is moved to a new version (`keyspace/renewal.rs`): the work that one command may cause is bounded.
pub(crate) const RENEWED_ELEMENTS_MAX: u64 = 128;

/// Rows that must have been removed for each one that is written again: moving costs less than a tenth of the removals.
pub(crate) const REMOVED_PER_ELEMENT: u64 = 16;

/// Removed rows that a collection is moved for at least: fewer tombstones do not matter.
pub(crate) const REMOVED_MIN: u32 = 1024;

/// Entries of a consumer group that are acknowledged before the lowest pending one is looked for again
/// (`keyspace/stream_groups.rs`): a scan of pending entries walks over so many tombstones at its start.
pub(crate) const ACKNOWLEDGED_MAX: u32 = 64;

/// Bits of a version that count the collections created by one log entry (`keyspace/version.rs`): a million of them.
pub(crate) const VERSION_COUNTER_BITS: u32 = 20;

/// Work of a row that is looked for, is visited by a scan, or is changed on trial (`cold/trial.rs`), in units of some ten
/// nanoseconds, and bytes of rows for one unit: of what is read every byte may be looked at. Whoever bounds what a command does
/// counts it, so that replicas must have the same.
pub(crate) const ROW_READ_WORK: u64 = 40;
pub(crate) const ROW_VISIT_WORK: u64 = 15;
pub(crate) const ROW_CHANGE_WORK: u64 = 40;
pub(crate) const ROW_BYTES_PER_WORK: u64 = 8;

/// The same of a row that may be a whole collection: a hash of 66 KB is copied and looked through in 5 µs, some 500 units.
pub(crate) const COPIED_BYTES_PER_WORK: u64 = 64;

/// Bytes that a row which is looked for counts for at most, where only those count that are kept (`cold/trial.rs`).
pub(crate) const LOOKED_FOR_BYTES_MAX: usize = 512;

/// Bytes of a key that is carried from one shard to another, serialized (`keyspace/whole_key.rs`): it has to fit one entry. Larger
/// ones are refused.
pub const SERIALIZED_BYTES_MAX: usize = 32 << 20;

/// Bytes of one of the two bounds that a sorted set keeps of its order (`keyspace/sorted_sets.rs`): both and their lengths fit
/// [`FIELDS_BYTES_MAX`].
pub(crate) const ORDER_BOUND_BYTES_MAX: usize = 28;

/// Bytes of a type's own fields in the metadata row of a collection (`keyspace/collection.rs`). A key on its way has their length
/// in one byte.
pub(crate) const FIELDS_BYTES_MAX: usize = 240;

/// Bytes of them that need no memory of their own while a collection is open: only sorted sets with a tree have more, and a stream
/// with consumer groups needs them all.
pub(crate) const FIELDS_BYTES_INLINE: usize = 64;

/// Members from which on a sorted set has a tree of counts (`keyspace/rank_tree.rs`): a walk over as many takes about ten
/// microseconds.
pub(crate) const COUNTED_MEMBERS_MIN: u64 = 1024;

/// Order rows of a block: the most that a look-up of a rank walks over.
pub(crate) const BLOCK_ROWS_MAX: u64 = 64;

/// Children of a node: a write puts their counts, of one byte each mostly, and a million members, in blocks and nodes
/// that are two thirds full, need no third level.
pub(crate) const NODE_CHILDREN_MAX: usize = 500;

/// Bytes of a node's bounds: those of as many children where a separator has about 20 bytes. What is larger would not fit the row
/// cache.
pub(crate) const NODE_BOUNDS_BYTES_MAX: usize = 12 << 10;

/// Bytes of the root's counts, which each write of the metadata puts: 53 to 80 children with up to 16 million or 65,535 members.
/// With the other fields they fit [`FIELDS_BYTES_MAX`].
pub(crate) const ROOT_COUNTS_BYTES_MAX: usize = 161;

/// Bytes of a separator: longer ones would leave a node few children.
pub(crate) const SEPARATOR_BYTES_MAX: usize = 512;

/// A block with a quarter of its rows, or a node with a quarter of its children, is joined with a neighbor if both together have
/// half of what one may have: so whoever adds and removes in turn does not split and join.
pub(crate) const SPARSE_SHARE: usize = 4;

/// Order rows of a block that is cut from rows which are not counted yet: it has room for some more.
pub(crate) const BLOCK_ROWS_CUT: u64 = 48;

/// Blocks that a write cuts from the rows of a sorted set that are not counted yet: a walk over some four hundred rows, some
/// ten microseconds.
pub(crate) const BLOCKS_CUT_MAX: usize = 8;

/// Bytes of order rows behind which a block is cut from rows that are not counted yet, however few they are, and a walk for the
/// middle of a block ends: members may be large, and a write should not walk over many of those.
pub(crate) const CUT_BYTES_MAX: usize = 64 << 10;

/// Bytes of order rows between which no block can begin, behind which a walk for a place to cut at is given up.
pub(crate) const UNCUT_BYTES_MAX: usize = 8 * CUT_BYTES_MAX;

/// Full blocks that one has more rows than which is still to be cut, or cannot be: up to here a walk from its beginning is as fast.
pub(crate) const LARGE_BLOCKS: u64 = 4;

/// Fields of a hash that is kept in one row (`keyspace/packing.rs`): `hash-max-listpack-entries` of Redis.
pub(crate) const PACKED_HASH_FIELDS_MAX: usize = 512;

/// Members of a set that is kept in one row: `set-max-listpack-entries` of Redis 7.2.
pub(crate) const PACKED_SET_MEMBERS_MAX: usize = 128;

/// Members of a set of integers that is kept in one row: `set-max-intset-entries` of Redis.
pub(crate) const PACKED_INTEGERS_MAX: usize = 512;

/// Members of a sorted set that is kept in one row: `zset-max-listpack-entries` of Redis.
pub(crate) const PACKED_SORTED_SET_MEMBERS_MAX: usize = 128;

/// Bytes of the elements of a list that is kept in one row, with their lengths: those of a piece of a list of Redis
/// (`list-max-listpack-size` of -2).
pub(crate) const PACKED_LIST_BYTES_MAX: usize = 8192;

/// The largest whole number that a packed sorted set has as one, in fewer bytes: all up to here are doubles.
pub(crate) const PACKED_WHOLE_MAX: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// Bytes of a field, a value or a member in such a row: `hash-max-listpack-value` of Redis, and its kin.
pub(crate) const PACKED_STRING_BYTES_MAX: usize = 64;

/// Milliseconds of an epoch of sessions (`keyspace/sessions.rs`): a client's last command of a slot is known for as long at least.
/// An hour and a minute, which is by how much a client's clock may be ahead.
pub const SESSION_EPOCH_MS: u64 = 61 * 60_000;

/// Sessions of a shard, of two epochs: with the longest replies and names some 300 MB, most of it on disk.
pub(crate) const SESSIONS_MAX: u32 = 256 * 1024;

// --- Keyspace -----------------------------------------------------------------------------------------------------------------

/// Bytes that a packed collection which is read may grow by before it is moved.
pub(crate) const PACKED_SPARE_BYTES: usize = 64;

/// Deadlines of fields that are looked up at once while the fields of a hash are visited: 256 of 64 bytes are a block of 16 KiB.
pub(crate) const DEADLINES_AT_ONCE: usize = 256;

/// Fields past their deadline after which a page of a scan ends: they are walked over, and nobody gets them.
pub(crate) const EXPIRED_PER_PAGE_MAX: u32 = 1024;

/// Rows collected from one scan before they are changed: scans lend the rows, so changes wait until the scan is over.
pub(crate) const CHUNK_ROWS_MAX: usize = 1024;

/// Bytes of events of keys that wait until the core tells them (`keyspace/key_events.rs`): some hundred thousand. What is beyond is
/// dropped: a subscriber that has so many unread ones is about to be disconnected.
pub(crate) const KEY_EVENTS_BYTES_MAX: usize = 8 << 20;

/// Bytes of the value buffer that a `Scratch` keeps: one that grew beyond for one huge value is given back after use.
pub(crate) const SCRATCH_BYTES_MAX: usize = 256 * 1024;

/// Places of each of a shard's two tables of times of access: 128 KiB in all, which stay in a processor's cache. Of 1,000 keys that
/// were used since, one in 300 has taken both places of a key, of 10,000 one in five.
pub(crate) const ACCESS_PLACES: usize = 1 << 14;

/// Accesses to keys that another thread keeps apart until they are noted in these tables: as many of different keys would take most
/// of the places.
pub(crate) const ACCESSES_MAX: usize = ACCESS_PLACES;

/// Keys, in the order of their places, among which RANDOMKEY draws one.
pub(crate) const RANDOM_KEY_WINDOW: usize = 64;

/// Names in a collection for each one of a sample from which on they are drawn one by one, those that come twice again; a larger
/// sample is taken in one pass over all (`keyspace/names.rs`).
pub(crate) const SAMPLE_SCAN_SHARE: u64 = 3;

/// Draws for each name of such a sample, before the rest is taken in order: two of three draws bring a new name at the least, where
/// they are even.
pub(crate) const SAMPLE_DRAWS_PER_NAME: u64 = 8;

/// Steps of RANDOMKEY over nothing but expired keys before it gives up.
pub(crate) const RANDOM_KEY_STEPS_MAX: usize = 64;

// --- ColdRows: what one request is found to miss ------------------------------------------------------------------------------

/// Cold rows of one request that are fetched at once.
pub const COLD_ROWS_MAX: usize = 1024;

/// Bytes of their keys: each key of a collection's row has the collection's key in it, which may be long.
pub(crate) const COLD_KEY_BYTES_MAX: usize = 1 << 20;

// --- ColdReader: what one cold read fetches -----------------------------------------------------------------------------------

/// Bytes of rows that a scan which met the disk has fetched at first.
pub const COLD_SCAN_BYTES: usize = 1 << 20;

/// Bytes that a row counts for at least among those that a scan fetches: a row of a few bytes takes time as well.
pub(crate) const COLD_SCAN_ROW_BYTES_MIN: usize = 256;

/// Rows that are fetched from each of several places on.
pub(crate) const COLD_PLACE_ROWS_MAX: usize = 16;

/// Bytes of those rows.
pub(crate) const COLD_PLACE_BYTES_MAX: usize = 64 << 10;

/// Rows that one cold read brings to the core: taking them in is a core's work, some hundred nanoseconds each.
pub(crate) const FETCHED_ROWS_MAX: usize = 256;

/// Bytes of those rows. Others are found in the block cache.
pub(crate) const FETCHED_BYTES_MAX: usize = 64 << 10;

/// Elements of a collection that are weighed at least, before the others are believed to be like them.
pub(crate) const WEIGHED_ELEMENTS_MIN: u64 = 8;

// --- PinnedRows ---------------------------------------------------------------------------------------------------------------

/// Bytes at which no more single rows, or places, are fetched to be pinned: the command meets the rest when it is tried again.
pub(crate) const PINNED_BYTES_AT_ONCE: usize = 32 << 20;

// --- Keyspace: row_bytes -----------------------------------------------------------------------------------------------------

/// Rows of a stream's consumer groups that are counted where elements are only looked at by samples: some hundred
/// microseconds.
pub(crate) const GROUP_ROWS_COUNTED_MAX: u64 = 1000;

// --- RowCache -----------------------------------------------------------------------------------------------------------------

/// Bytes of the largest key and value together that the row cache takes, and so what a reader thread brings it: more would drive
/// out over a hundred small rows, which takes tens of microseconds, and one disk block is as good.
pub(crate) const CACHED_ROW_BYTES_MAX: usize = 16 << 10;

/// Rows of one piece of the cache. It is made of pieces, by hash, each with a policy of its own: one for all would have to grow,
/// which with a million rows holds the core for tens of milliseconds; with so few it is some tens of microseconds.
pub(crate) const CACHE_PIECE_ROWS_MAX: usize = 8192;
/// Pieces that are fitted to another bound at a time: each may drop thousands of rows.
pub(crate) const CACHE_PIECES_SHRUNK: usize = 2;

// --- Memtable -----------------------------------------------------------------------------------------------------------------

/// Bytes of a row inside a leaf, of which a leaf then has less than 64 KiB. Larger rows lie outside.
pub(crate) const LEAF_ROW_BYTES_MAX: usize = 768;

/// Bytes of rows at which a leaf is split, however few they are; it may hold a little more. No step copies more than one leaf.
pub(crate) const LEAF_BYTES_MAX: usize = 16 << 10;

// --- GenerationJob ------------------------------------------------------------------------------------------------------------

/// Level-0 files at which the next generation waits for compaction: each one costs every cold read a look.
pub(crate) const LEVEL0_FILES_MAX: u64 = 20;

/// Time that a generation waits for compaction. The shard's backlog grows meanwhile, which slows its clients down.
pub(crate) const COMPACTION_WAIT_MAX: Duration = Duration::from_secs(2);

/// Time between two looks at how far compaction is.
pub(crate) const COMPACTION_POLL_EVERY: Duration = Duration::from_millis(20);

// --- keys that clients keep copies of -----------------------------------------------------------------------------------------

/// Bytes of changed keys and of who is to hear of them that a store notes (`store/tracked.rs`): beyond, all drop all that they
/// have.
pub(crate) const TRACKED_CHANGES_BYTES_MAX: usize = 16 << 20;

/// Keys that are looked through at once for clients that are gone: some fifty microseconds.
pub(crate) const TRACKED_SWEEP_KEYS: usize = 1024;

/// Watched keys that are looked for when databases are swapped, in one entry; more are taken to be there. A look that asks
/// RocksDB's caches takes a microsecond or two, and a core is not to stand still for half a millisecond.
pub(crate) const WATCHED_LOOKS_MAX: usize = 128;
