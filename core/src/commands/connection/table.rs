//! The commands on connections. Their ids are 801 to 899.

use super::{facts, newer_facts};
use crate::commands::{Command, InTransaction, help};

/// The commands on connections.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(801, &facts::AUTH),
    Command::help(802, &facts::CLIENT, help::CLIENT).containing(CLIENT),
    Command::session(803, &facts::ECHO),
    Command::session(804, &facts::HELLO).readdressing(),
    Command::session(805, &facts::PING).for_subscribers(),
    Command::session(806, &facts::QUIT).for_subscribers().within(InTransaction::AtOnce),
    Command::session(807, &facts::RESET).for_subscribers().within(InTransaction::AtOnce),
    Command::session(808, &facts::SELECT).readdressing(),
];

static CLIENT: &[Command] = &[
    Command::session(820, &facts::CLIENT_GETNAME),
    Command::help(821, &facts::CLIENT_HELP, help::CLIENT),
    Command::session(822, &facts::CLIENT_ID),
    Command::session(823, &facts::CLIENT_INFO),
    Command::session(824, &facts::CLIENT_KILL),
    Command::session(825, &facts::CLIENT_LIST),
    Command::session(826, &facts::CLIENT_NO_EVICT),
    Command::session(827, &newer_facts::CLIENT_NO_TOUCH),
    Command::session(828, &facts::CLIENT_REPLY),
    Command::session(829, &newer_facts::CLIENT_SETINFO),
    Command::session(830, &facts::CLIENT_SETNAME),
    Command::session(831, &facts::CLIENT_UNBLOCK),
];
