//! The commands on lists. Their ids are 201 to 299.

use super::Command;

/// The commands on lists.
pub(super) static COMMANDS: &[Command] = &[];
