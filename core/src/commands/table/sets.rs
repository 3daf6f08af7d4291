//! The commands on sets. Their ids are 301 to 399.

use super::Command;

/// The commands on sets.
pub(super) static COMMANDS: &[Command] = &[];
