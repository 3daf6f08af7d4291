//! The bounds up to which a collection is kept in one row.

use super::meta::Type;
use crate::limits;

/// The bounds up to which a collection is kept in the metadata row of its key. One that outgrows them gets rows of its own, for
/// good.
///
/// They decide which rows an entry of the log writes. So they come with the entry, see
/// [`VersionSource`](super::VersionSource), and are the same on every replica and in every replay.
#[derive(Debug, PartialEq, Eq)]
pub struct Packing {
    /// Fields of a hash.
    pub hash_fields_max: usize,
    /// Members of a set, unless all are integers.
    pub set_members_max: usize,
    /// Members of a set of integers.
    pub integers_max: usize,
    /// Members of a sorted set.
    pub sorted_set_members_max: usize,
    /// Bytes of all elements of a list, with their lengths.
    pub list_bytes_max: usize,
    /// Bytes of a field, a value or a member.
    pub string_bytes_max: usize,
}

impl Packing {
    /// The bounds of entries that are written today: the defaults of Redis.
    pub const STANDARD: Packing = Packing {
        hash_fields_max: limits::PACKED_HASH_FIELDS_MAX,
        set_members_max: limits::PACKED_SET_MEMBERS_MAX,
        integers_max: limits::PACKED_INTEGERS_MAX,
        sorted_set_members_max: limits::PACKED_SORTED_SET_MEMBERS_MAX,
        list_bytes_max: limits::PACKED_LIST_BYTES_MAX,
        string_bytes_max: limits::PACKED_STRING_BYTES_MAX,
    };

    /// No collection is packed: the entries of programs that had one row for each element.
    pub const NONE: Packing = Packing {
        hash_fields_max: 0,
        set_members_max: 0,
        integers_max: 0,
        sorted_set_members_max: 0,
        list_bytes_max: 0,
        string_bytes_max: 0,
    };

    /// Returns whether new collections of this type are packed at all.
    pub(super) fn packs(&self, kind: Type) -> bool {
        match kind {
            Type::Hash => self.hash_fields_max > 0,
            Type::Set => self.set_members_max > 0,
            Type::SortedSet => self.sorted_set_members_max > 0,
            Type::List => self.list_bytes_max > 0,
            Type::String | Type::Stream => false,
        }
    }
}
