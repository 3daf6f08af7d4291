//! The commands on elements of lists, sets and sorted sets in another order. Their ids are 1420 and 1421.

use basalt_storage::keyspace::Type;

use super::{facts, handlers};
use crate::commands::{Command, Copies, Feeds};

/// The commands on elements in another order.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(1420, &facts::SORT, handlers::sort)
        .telling_misses()
        .by_patterns()
        .copying(Copies::First)
        .feeding(Feeds::Stored(Type::List))
        .returning()
        .changing_with(&["STORE"])
        .reading_as(1421),
    Command::read(1421, &facts::SORT_RO, handlers::sort_ro).by_patterns(),
];
