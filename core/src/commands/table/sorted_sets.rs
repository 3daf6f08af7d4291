//! The commands on sorted sets. Their ids are 501 to 599.

use super::Command;

/// The commands on sorted sets.
pub(super) static COMMANDS: &[Command] = &[];
