//! The bounds up to which a collection is kept in one row, and those of the trees that count the rows of large ones.

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
    /// The bounds of the tree that finds ranks in large sorted sets.
    pub counting: Counting,
}

/// The bounds of the trees that count the order rows of large sorted sets, see `rank_tree.rs`.
#[derive(Debug, PartialEq, Eq)]
pub struct Counting {
    /// Members from which on a sorted set gets a tree. One that has a tree keeps it, whatever an entry says.
    pub members_min: u64,
    /// Order rows of a block, above which it is split.
    pub block_rows_max: u64,
    /// Children of a node but the root.
    pub children_max: usize,
    /// Bytes of a node's bounds.
    pub bounds_bytes_max: usize,
    /// Bytes of the root's counts.
    pub root_bytes_max: usize,
    /// Bytes of a separator: between order rows that differ only behind, no block begins.
    pub separator_bytes_max: usize,
    /// The part of its bound at which something is joined with a neighbor, if both fit into half of it.
    pub sparse_share: usize,
    /// Blocks that a command cuts from what no tree has counted yet.
    pub blocks_cut_max: usize,
    /// Order rows of such a block.
    pub block_rows_cut: u64,
}

impl Counting {
    /// The bounds of entries that are written today.
    const STANDARD: Counting = Counting {
        members_min: limits::COUNTED_MEMBERS_MIN,
        block_rows_max: limits::BLOCK_ROWS_MAX,
        children_max: limits::NODE_CHILDREN_MAX,
        bounds_bytes_max: limits::NODE_BOUNDS_BYTES_MAX,
        root_bytes_max: limits::ROOT_COUNTS_BYTES_MAX,
        separator_bytes_max: limits::SEPARATOR_BYTES_MAX,
        sparse_share: limits::SPARSE_SHARE,
        blocks_cut_max: limits::BLOCKS_CUT_MAX,
        block_rows_cut: limits::BLOCK_ROWS_CUT,
    };

    /// No sorted set gets a tree.
    pub const NONE: Counting = Counting { members_min: u64::MAX, ..Counting::STANDARD };
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
        counting: Counting::STANDARD,
    };

    /// The same, but no sorted set gets a tree of counts: the entries of programs that had none.
    pub const UNCOUNTED: Packing = Packing { counting: Counting::NONE, ..Packing::STANDARD };

    /// No collection is packed: the entries of programs that had one row for each element.
    pub const NONE: Packing = Packing {
        hash_fields_max: 0,
        set_members_max: 0,
        integers_max: 0,
        sorted_set_members_max: 0,
        list_bytes_max: 0,
        string_bytes_max: 0,
        counting: Counting::NONE,
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
