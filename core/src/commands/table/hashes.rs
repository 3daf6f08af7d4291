//! The commands on hashes. Their ids are 401 to 499.

use super::Command;

/// The commands on hashes.
pub(super) static COMMANDS: &[Command] = &[];
