//! The commands on the server. Their ids are 701 to 799.

use super::facts;
use crate::commands::{Command, SessionCommand};

/// The commands on the server.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(701, &facts::COMMAND, SessionCommand::Command).containing(COMMAND),
    Command::session(702, &facts::CONFIG, SessionCommand::ConfigHelp).containing(CONFIG),
    Command::session(706, &facts::INFO, SessionCommand::Info).after_replies(),
    Command::session(707, &facts::LASTSAVE, SessionCommand::LastSave),
    Command::session(708, &facts::SHUTDOWN, SessionCommand::Shutdown),
    Command::session(709, &facts::TIME, SessionCommand::Time),
    Command::session(710, &facts::ROLE, SessionCommand::Role),
];

static COMMAND: &[Command] = &[
    Command::session(720, &facts::COMMAND_COUNT, SessionCommand::CommandCount),
    Command::session(721, &facts::COMMAND_DOCS, SessionCommand::CommandDocs),
    Command::session(722, &facts::COMMAND_GETKEYS, SessionCommand::CommandGetKeys),
    Command::session(723, &facts::COMMAND_GETKEYSANDFLAGS, SessionCommand::CommandGetKeysAndFlags),
    Command::session(724, &facts::COMMAND_HELP, SessionCommand::CommandHelp),
    Command::session(725, &facts::COMMAND_INFO, SessionCommand::CommandInfo),
    Command::session(726, &facts::COMMAND_LIST, SessionCommand::CommandList),
];

static CONFIG: &[Command] = &[
    Command::session(740, &facts::CONFIG_GET, SessionCommand::ConfigGet),
    Command::session(741, &facts::CONFIG_HELP, SessionCommand::ConfigHelp),
    Command::session(742, &facts::CONFIG_RESETSTAT, SessionCommand::ConfigResetStat).after_replies(),
    Command::session(743, &facts::CONFIG_REWRITE, SessionCommand::ConfigRewrite),
    Command::session(744, &facts::CONFIG_SET, SessionCommand::ConfigSet),
];
