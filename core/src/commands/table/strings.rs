//! The commands on strings. Their ids are 1 to 99.

use super::Command;

/// The commands on strings.
pub(super) static COMMANDS: &[Command] = &[];
