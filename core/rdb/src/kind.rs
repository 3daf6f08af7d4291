//! Numbers of the encodings, the first byte of each payload (`rdb.h` of Redis).

pub(crate) const STRING: u8 = 0;
pub(crate) const LIST: u8 = 1;
pub(crate) const SET: u8 = 2;
/// Scores as texts.
pub(crate) const ZSET: u8 = 3;
pub(crate) const HASH: u8 = 4;
/// Scores as eight bytes.
pub(crate) const ZSET_2: u8 = 5;
pub(crate) const HASH_ZIPMAP: u8 = 9;
pub(crate) const LIST_ZIPLIST: u8 = 10;
pub(crate) const SET_INTSET: u8 = 11;
pub(crate) const ZSET_ZIPLIST: u8 = 12;
pub(crate) const HASH_ZIPLIST: u8 = 13;
/// A list of ziplists.
pub(crate) const LIST_QUICKLIST: u8 = 14;
/// A stream without what was added and deleted so far.
pub(crate) const STREAM_LISTPACKS: u8 = 15;
pub(crate) const HASH_LISTPACK: u8 = 16;
pub(crate) const ZSET_LISTPACK: u8 = 17;
/// A list of listpacks, and of elements by themselves.
pub(crate) const LIST_QUICKLIST_2: u8 = 18;
pub(crate) const STREAM_LISTPACKS_2: u8 = 19;
/// Since Redis 7.2.
pub(crate) const SET_LISTPACK: u8 = 20;
/// Since Redis 7.2: with the time at which a consumer last got something.
pub(crate) const STREAM_LISTPACKS_3: u8 = 21;
/// Of Redis 7.4 before it was released: each field behind its deadline.
pub(crate) const HASH_METADATA_UNRELEASED: u8 = 22;
/// Of Redis 7.4 before it was released: fields, values and deadlines.
pub(crate) const HASH_LISTPACK_EX_UNRELEASED: u8 = 23;
/// Since Redis 7.4: the earliest deadline, and each field behind what its own is later by.
pub(crate) const HASH_METADATA: u8 = 24;
/// Since Redis 7.4: the earliest deadline, and fields, values and deadlines.
pub(crate) const HASH_LISTPACK_EX: u8 = 25;

/// Returns whether an encoding is one that Redis has since 7.4.
pub(crate) fn is_of_redis_7_4(encoding: u8) -> bool {
    encoding > STREAM_LISTPACKS_3
}
