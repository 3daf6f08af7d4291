//! The commands on keys as a whole. Their ids are 1430 to 1433.

use super::{between_databases, dump, facts, restore};
use crate::commands::{Command, Copies, Feeds, Rows};

const TO_FIRST: Feeds = Feeds::Many(1, None);

/// The commands on keys as a whole.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::read(1430, &facts::DUMP, dump::dump),
    Command::write(1431, &facts::RESTORE, restore::restore)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
    Command::write(1432, &facts::RESTORE_ASKING, restore::restore)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
    Command::write(1433, &facts::MOVE, between_databases::r#move).copying(Copies::Key).into_database(2),
];
