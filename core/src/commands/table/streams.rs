//! The commands on streams. Their ids are 601 to 699.

use super::Command;

/// The commands on streams.
pub(super) static COMMANDS: &[Command] = &[];
