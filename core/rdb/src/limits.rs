//! Every bound of this crate: up to where Redis keeps a small encoding, and what a payload may make of a few bytes.
//!
//! What a newcomer would get wrong: those of the first part are Redis' defaults, and decide which bytes are written of a value.

/// Members of a set of integers up to which it is one array (`set-max-intset-entries`).
pub const INTSET_ENTRIES_MAX: usize = 512;

/// Fields of a hash up to which it is one piece of memory (`hash-max-listpack-entries` of Redis 7.0).
pub const HASH_LISTPACK_ENTRIES_MAX: usize = 512;

/// Members of a sorted set up to which it is one piece of memory (`zset-max-listpack-entries`).
pub const SORTED_SET_LISTPACK_ENTRIES_MAX: usize = 128;

/// Bytes of a field, a value or a member in such a piece (`hash-max-listpack-value`, `zset-max-listpack-value`).
pub const LISTPACK_VALUE_BYTES_MAX: usize = 64;

/// Bytes of a node of a list (`list-max-listpack-size` of -2).
pub(crate) const LIST_NODE_BYTES_MAX: usize = 8192;

/// Bytes that Redis believes an element takes in a node beside its own.
pub(crate) const LIST_ELEMENT_OVERHEAD: usize = 8;

/// Bytes of an element from which on it is a node by itself (`packed_threshold`).
pub(crate) const LIST_PLAIN_BYTES_MIN: usize = 1 << 30;

/// Bytes of a node of a stream (`stream-node-max-bytes`).
pub(crate) const STREAM_NODE_BYTES_MAX: usize = 4096;

/// Entries of a node of a stream (`stream-node-max-entries`).
pub(crate) const STREAM_NODE_ENTRIES_MAX: usize = 100;

/// Bytes of a string up to which it is not compressed.
pub(crate) const UNCOMPRESSED_BYTES_MAX: usize = 20;

/// Bytes of a string up to which it may be written as a number: those of an `i32`.
pub(crate) const NUMBER_BYTES_MAX: usize = 11;

/// Bytes that a string of a collection counts for beside its own, when a payload is read. Like those below it says which payloads
/// are too large: all replicas have to agree on it.
pub const STRING_OVERHEAD: usize = 8;

/// Bytes that a member of a sorted set counts for beside its string.
pub const SCORE_BYTES: usize = 8;

/// Bytes that an entry of a stream counts for beside its strings.
pub const ENTRY_BYTES: usize = 24;

/// Bytes that a consumer group counts for beside its name.
pub const GROUP_BYTES: usize = 104;

/// Bytes that a consumer counts for beside its name.
pub const CONSUMER_BYTES: usize = 32;

/// Bytes that a pending entry counts for beside its consumer's name, which is written with each.
pub const PENDING_BYTES: usize = 40;

/// Bytes that one compressed byte becomes at most: 264 bytes take three.
pub const INFLATED_PER_BYTE_MAX: usize = 88;

/// Times that all pieces of a collection together may be as large as the collection: they have lengths and counts beside it.
pub const INFLATED_SHARE: usize = 4;

/// Bytes of an element of a piece at least: its head and its length, or its share of an array.
pub(crate) const ELEMENT_BYTES_MIN: usize = 2;

/// Bytes of an entry in a node of a stream at least: four elements.
pub(crate) const STREAM_ENTRY_BYTES_MIN: usize = 4 * ELEMENT_BYTES_MIN;

/// The version of the format that is written: that of Redis 7.0.
pub const VERSION_WRITTEN: u16 = 10;

/// The version of a value that older ones do not have: that of Redis 7.4.
pub const VERSION_WITH_DEADLINES: u16 = 12;

/// The newest version that is read: that of Redis 7.4.
pub const VERSION_NEWEST: u16 = 12;

/// The newest version that was read before hashes had deadlines of fields: that of Redis 7.2.
pub const VERSION_NEWEST_BEFORE: u16 = 11;

/// Bytes that the deadline of a field counts for.
pub const DEADLINE_BYTES: usize = 8;

/// The latest deadline of a field that Redis keeps, Unix milliseconds (`EB_EXPIRE_TIME_MAX`).
pub const DEADLINE_MS_MAX: u64 = (1 << 48) - 1;
