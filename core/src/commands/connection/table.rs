//! The commands on connections. Their ids are 801 to 899, 1451 to 1499 and 1530 to 1539.

use super::{facts, newer_facts};
use crate::commands::{Command, InTransaction, Secrets, help};

/// The commands on connections.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(801, &facts::AUTH).keeping(Secrets::From(1)),
    Command::help(802, &facts::CLIENT, help::CLIENT).containing(CLIENT),
    Command::session(803, &facts::ECHO),
    Command::session(804, &facts::HELLO).readdressing().keeping(Secrets::BehindAuth),
    Command::session(805, &facts::PING).for_subscribers(),
    Command::session(806, &facts::QUIT).for_subscribers().within(InTransaction::AtOnce),
    Command::session(807, &facts::RESET).for_subscribers().within(InTransaction::AtOnce),
    Command::session(808, &facts::SELECT).readdressing(),
    Command::help(809, &facts::ACL, help::ACL).containing(ACL),
];

static ACL: &[Command] = &[
    Command::session(840, &facts::ACL_CAT),
    Command::session(841, &facts::ACL_DELUSER),
    Command::session(842, &facts::ACL_DRYRUN),
    Command::session(843, &facts::ACL_GENPASS),
    Command::session(844, &facts::ACL_GETUSER),
    Command::help(845, &facts::ACL_HELP, help::ACL),
    Command::session(846, &facts::ACL_LIST),
    Command::session(847, &facts::ACL_LOAD),
    Command::session(848, &facts::ACL_LOG),
    Command::session(849, &facts::ACL_SAVE),
    Command::session(850, &facts::ACL_SETUSER).keeping(Secrets::From(2)),
    Command::session(851, &facts::ACL_USERS),
    Command::session(852, &facts::ACL_WHOAMI),
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
    Command::session(1456, &facts::CLIENT_GETREDIR),
    Command::session(1457, &facts::CLIENT_PAUSE),
    Command::session(1458, &facts::CLIENT_TRACKINGINFO),
    Command::session(1459, &facts::CLIENT_UNPAUSE),
    Command::session(1530, &facts::CLIENT_CACHING),
    Command::session(1531, &facts::CLIENT_TRACKING),
];
