//! Entries that a consumer group has read and has yet to read, as far as anybody knows.
//!
//! What a newcomer would get wrong: this is Redis' estimate, not a count. Entries that were deleted from the middle of a stream
//! leave a hole of unknown size, and then there is no number.

use basalt_storage::keyspace::{Group, Stream, StreamId};

/// The entries that are yet to be read by `group`; `None` if nobody knows.
pub(super) fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    let added = stream.entries_added();
    if added == 0 {
        return Some(0);
    }
    let read = match group.entries_read {
        Some(read) if !has_hole_from(stream, group.last_delivered) => read,
        _ => entries_up_to(stream, group.last_delivered)?,
    };
    Some(added.wrapping_sub(read) as i64)
}

/// Counts the entry `id`, which `group` reads now, among those that it has read.
pub(super) fn count_read(stream: &Stream, group: &mut Group, id: StreamId) {
    match group.entries_read {
        Some(read) if !has_hole_from(stream, id) => group.entries_read = Some(read.wrapping_add(1)),
        _ if stream.entries_added() > 0 => group.entries_read = entries_up_to(stream, id),
        _ => {}
    }
}

/// Returns whether an entry may have been deleted from `from` on, among those that are there.
fn has_hole_from(stream: &Stream, from: StreamId) -> bool {
    let deleted = stream.greatest_deleted_id();
    let is_whole = stream.is_empty() || deleted == StreamId::MIN || stream.first_id() > deleted;
    !is_whole && from <= deleted
}

/// Entries that were ever added up to `id`; `None` if nobody knows.
fn entries_up_to(stream: &Stream, id: StreamId) -> Option<u64> {
    let added = stream.entries_added();
    if added == 0 {
        return Some(0);
    }
    if stream.is_empty() && id <= stream.last_id() {
        return Some(added);
    }
    if id >= stream.last_id() {
        return (id == stream.last_id()).then_some(added);
    }
    let first = stream.first_id();
    if stream.greatest_deleted_id() != StreamId::MIN && stream.greatest_deleted_id() >= first {
        return None;
    }
    let before_first = added.wrapping_sub(stream.len());
    match id.cmp(&first) {
        std::cmp::Ordering::Less => Some(before_first),
        std::cmp::Ordering::Equal => Some(before_first.wrapping_add(1)),
        std::cmp::Ordering::Greater => None,
    }
}
