//! The commands on keys as a whole. Their ids are 1430 to 1435, 1560, 1570 and 1571.

use super::{between_databases, dump, facts, migrate, restore};
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, Copies, Feeds, Rows, Secrets};

const TO_FIRST: Feeds = Feeds::Many(1, None);

/// The commands on keys as a whole.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::read(1430, &facts::DUMP, dump::dump),
    Command::write(1434, &facts::RESTORE, restore::restore)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
    Command::write(1435, &facts::RESTORE_ASKING, restore::restore)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
    Command::write(1433, &facts::MOVE, between_databases::r#move).copying(Copies::Key).into_database(2),
    Command::write(1560, &facts::SWAPDB, between_databases::swapdb).reads(Rows::Keys).swapping_databases(),
    Command::write(1570, &facts::MIGRATE, migrate::migrate).migrating().keeping(Secrets::OfMigrate),
];

/// Dumps keys, and tells their deadlines: `key …`. See the handler.
pub const STEP_DUMP: u16 = 1571;

/// Steps of other commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[Command::read(STEP_DUMP, &STEP, dump::step_dump)];

static STEP: Facts = Facts { name: "step|dump", arity: -2, flags: Flags::READONLY, keys: (1, -1, 1), ..Facts::BLANK };

/// The same commands as they were when nothing of Redis 7.4 was restored: entries of then refuse it.
pub(in crate::commands) static BEFORE: &[Command] = &[
    Command::write(1431, &facts::RESTORE, restore::restore_before)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
    Command::write(1432, &facts::RESTORE_ASKING, restore::restore_before)
        .reads(Rows::Keys)
        .copying(Copies::Payload)
        .feeding(TO_FIRST),
];
