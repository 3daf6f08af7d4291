//! The commands on Raft groups. Their ids are 1201 to 1229.

use super::own_facts;
use crate::commands::{Command, help};

/// The commands on Raft groups.
pub(in crate::commands) static COMMANDS: &[Command] =
    &[Command::help(1201, &own_facts::RAFT, help::RAFT).of_cluster().containing(RAFT)];

static RAFT: &[Command] = &[
    Command::help(1210, &own_facts::RAFT_HELP, help::RAFT).of_cluster(),
    Command::session(1211, &own_facts::RAFT_STATUS).of_cluster(),
    Command::session(1212, &own_facts::RAFT_TRANSFER).of_cluster(),
    Command::session(1213, &own_facts::RAFT_SNAPSHOT).of_cluster(),
];
