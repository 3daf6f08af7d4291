//! The commands on the server. Their ids are 701 to 799, 1451 to 1499, 1501 to 1505, and 1540.

use super::{facts, newer_facts, own_facts};
use crate::commands::keys::memory_usage;
use crate::commands::{Command, InTransaction, Secrets, help, once};

/// `BASALT ONCE`, which has another command executed.
pub const ONCE: u16 = 1540;

/// The commands on the server.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(701, &facts::COMMAND).containing(COMMAND),
    Command::help(702, &facts::CONFIG, help::CONFIG).containing(CONFIG),
    Command::session(706, &facts::INFO).after_replies(),
    Command::session(707, &facts::LASTSAVE),
    Command::session(708, &facts::SHUTDOWN),
    Command::session(709, &facts::TIME),
    Command::session(710, &facts::ROLE),
    Command::session(712, &facts::WAIT).behind_others(),
    Command::session(713, &newer_facts::WAITAOF).behind_others(),
    Command::help(711, &own_facts::BASALT, help::BASALT).containing(BASALT),
    Command::session(1460, &facts::LOLWUT),
    Command::session(1476, &facts::MONITOR),
    Command::session(1477, &facts::DEBUG),
    Command::help(1461, &facts::LATENCY, help::LATENCY).containing(LATENCY),
    Command::help(1469, &facts::MEMORY, help::MEMORY).containing(MEMORY),
    Command::help(1451, &facts::SLOWLOG, help::SLOWLOG).containing(SLOWLOG),
    Command::help(1501, &facts::MODULE, help::MODULE).containing(MODULE),
    Command::session(1504, &facts::REPLICAOF),
    Command::session(1505, &facts::SLAVEOF),
];

static MODULE: &[Command] =
    &[Command::help(1502, &facts::MODULE_HELP, help::MODULE), Command::session(1503, &facts::MODULE_LIST)];

static LATENCY: &[Command] = &[
    Command::session(1462, &facts::LATENCY_DOCTOR).behind_others(),
    Command::session(1463, &facts::LATENCY_GRAPH).behind_others(),
    Command::help(1464, &facts::LATENCY_HELP, help::LATENCY),
    Command::session(1465, &facts::LATENCY_HISTOGRAM).behind_others(),
    Command::session(1466, &facts::LATENCY_HISTORY).behind_others(),
    Command::session(1467, &facts::LATENCY_LATEST).behind_others(),
    Command::session(1468, &facts::LATENCY_RESET).behind_others(),
];

static MEMORY: &[Command] = &[
    Command::session(1470, &facts::MEMORY_DOCTOR).after_replies(),
    Command::help(1471, &facts::MEMORY_HELP, help::MEMORY),
    Command::session(1472, &facts::MEMORY_MALLOC_STATS),
    Command::session(1473, &facts::MEMORY_PURGE),
    Command::session(1474, &facts::MEMORY_STATS).after_replies(),
    Command::read(1475, &facts::MEMORY_USAGE, memory_usage),
];

static SLOWLOG: &[Command] = &[
    Command::session(1452, &facts::SLOWLOG_GET).behind_others(),
    Command::help(1453, &facts::SLOWLOG_HELP, help::SLOWLOG),
    Command::session(1454, &facts::SLOWLOG_LEN).behind_others(),
    Command::session(1455, &facts::SLOWLOG_RESET).behind_others(),
];

static COMMAND: &[Command] = &[
    Command::session(720, &facts::COMMAND_COUNT),
    Command::session(721, &facts::COMMAND_DOCS),
    Command::session(722, &facts::COMMAND_GETKEYS),
    Command::session(723, &facts::COMMAND_GETKEYSANDFLAGS),
    Command::help(724, &facts::COMMAND_HELP, help::COMMAND),
    Command::session(725, &facts::COMMAND_INFO),
    Command::session(726, &facts::COMMAND_LIST),
];

static BASALT: &[Command] = &[
    Command::help(750, &own_facts::BASALT_HELP, help::BASALT),
    Command::session(751, &own_facts::BASALT_REOPEN),
    Command::session(752, &own_facts::BASALT_CHANGE).of_cluster(),
    Command::session(753, &own_facts::BASALT_MAP).of_cluster(),
    Command::session(754, &own_facts::BASALT_MOVE).of_cluster(),
    Command::session(755, &own_facts::BASALT_DRAIN).of_cluster(),
    Command::session(756, &own_facts::BASALT_REBALANCE).of_cluster(),
    Command::session(757, &own_facts::BASALT_REPLACE).of_cluster(),
    Command::session(758, &own_facts::BASALT_MOVES).of_cluster(),
    Command::write(ONCE, &own_facts::BASALT_ONCE, once::once)
        .draws()
        .returning()
        .within(InTransaction::Refused("ERR BASALT ONCE inside MULTI is not allowed")),
];

static CONFIG: &[Command] = &[
    Command::session(740, &facts::CONFIG_GET),
    Command::help(741, &facts::CONFIG_HELP, help::CONFIG),
    Command::session(742, &facts::CONFIG_RESETSTAT).after_replies(),
    Command::session(743, &facts::CONFIG_REWRITE),
    Command::session(744, &facts::CONFIG_SET).keeping(Secrets::OfParameters),
];
