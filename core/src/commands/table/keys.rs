//! The commands on keys of any type. Their ids are 101 to 199.

use super::Command;

/// The commands on keys of any type.
pub(super) static COMMANDS: &[Command] = &[];

/// Steps of other commands, which only the core calls.
pub(super) static INTERNAL: &[Command] = &[];
