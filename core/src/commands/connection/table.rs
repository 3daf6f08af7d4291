//! The commands on connections. Their ids are 801 to 899.

use super::facts;
use crate::commands::{Command, SessionCommand};

/// The commands on connections.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(801, &facts::AUTH, SessionCommand::Auth),
    Command::session(802, &facts::CLIENT, SessionCommand::ClientHelp).containing(CLIENT),
    Command::session(803, &facts::ECHO, SessionCommand::Echo),
    Command::session(804, &facts::HELLO, SessionCommand::Hello),
    Command::session(805, &facts::PING, SessionCommand::Ping),
    Command::session(806, &facts::QUIT, SessionCommand::Quit),
    Command::session(807, &facts::RESET, SessionCommand::Reset),
    Command::session(808, &facts::SELECT, SessionCommand::Select),
];

static CLIENT: &[Command] = &[
    Command::session(820, &facts::CLIENT_GETNAME, SessionCommand::ClientGetName),
    Command::session(821, &facts::CLIENT_HELP, SessionCommand::ClientHelp),
    Command::session(822, &facts::CLIENT_ID, SessionCommand::ClientId),
    Command::session(823, &facts::CLIENT_INFO, SessionCommand::ClientInfo),
    Command::session(824, &facts::CLIENT_KILL, SessionCommand::ClientKill),
    Command::session(825, &facts::CLIENT_LIST, SessionCommand::ClientList),
    Command::session(826, &facts::CLIENT_NO_EVICT, SessionCommand::ClientNoEvict),
    Command::session(827, &facts::CLIENT_NO_TOUCH, SessionCommand::ClientNoTouch),
    Command::session(828, &facts::CLIENT_REPLY, SessionCommand::ClientReply),
    Command::session(829, &facts::CLIENT_SETINFO, SessionCommand::ClientSetInfo),
    Command::session(830, &facts::CLIENT_SETNAME, SessionCommand::ClientSetName),
];
