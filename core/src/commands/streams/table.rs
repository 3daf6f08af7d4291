//! The commands on streams. Their ids are 601 to 699.

use super::{claims, facts, groups, handlers, info, pending, reading, waiting};
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, Feeds, OverShards, Rows, help};

/// The commands on streams.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(601, &facts::XADD, handlers::xadd)
        .reads(Rows::KeysUnless(&["MAXLEN", "MINID"]))
        .feeding(Feeds::Entry),
    Command::write(602, &facts::XTRIM, handlers::xtrim),
    Command::read(603, &facts::XLEN, handlers::xlen).reads(Rows::Keys),
    Command::write(604, &facts::XDEL, handlers::xdel).reads(Rows::Entries),
    Command::read(605, &facts::XRANGE, handlers::xrange),
    Command::read(606, &facts::XREVRANGE, handlers::xrevrange),
    Command::write(607, &facts::XSETID, handlers::xsetid),
    Command::read(608, &facts::XREAD, reading::xread).waiting_for_entries().over_shards(OverShards::Refused),
    Command::write(609, &facts::XREADGROUP, reading::xreadgroup)
        .telling_misses()
        .returning()
        .waiting_for_entries()
        .over_shards(OverShards::Refused),
    Command::write(610, &facts::XACK, pending::xack).telling_misses(),
    Command::read(611, &facts::XPENDING, pending::xpending),
    Command::write(612, &facts::XCLAIM, claims::xclaim).telling_misses().returning(),
    Command::write(613, &facts::XAUTOCLAIM, claims::xautoclaim).telling_misses().returning(),
    Command::help(614, &facts::XGROUP, help::XGROUP).containing(XGROUP),
    Command::help(615, &facts::XINFO, help::XINFO).containing(XINFO),
];

static XGROUP: &[Command] = &[
    Command::write(620, &facts::XGROUP_CREATE, groups::create),
    Command::write(621, &facts::XGROUP_SETID, groups::set_id),
    Command::write(622, &facts::XGROUP_DESTROY, groups::destroy),
    Command::write(623, &facts::XGROUP_CREATECONSUMER, groups::create_consumer),
    Command::write(624, &facts::XGROUP_DELCONSUMER, groups::delete_consumer),
    Command::help(625, &facts::XGROUP_HELP, help::XGROUP),
];

static XINFO: &[Command] = &[
    Command::read(630, &facts::XINFO_STREAM, info::stream),
    Command::read(631, &facts::XINFO_GROUPS, info::groups),
    Command::read(632, &facts::XINFO_CONSUMERS, info::consumers),
    Command::help(633, &facts::XINFO_HELP, help::XINFO),
];

/// Reads streams for a client that waits if there is nothing: the arguments of XREAD. See the handler.
pub const STEP_READ_ENTRIES: u16 = 640;

/// Reads a stream with a group for a client that waits for entries of it: the arguments of XREADGROUP. See the handler.
pub const STEP_READ_GROUP: u16 = 641;

/// Steps of commands that wait, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::read(STEP_READ_ENTRIES, &READ_ENTRIES, waiting::step_read),
    Command::write(STEP_READ_GROUP, &READ_GROUP, waiting::step_read_group).telling_misses().returning(),
];

static READ_ENTRIES: Facts = Facts {
    name: "step|xread",
    arity: -4,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    key_specs: facts::XREAD.key_specs,
    ..Facts::BLANK
};
static READ_GROUP: Facts = Facts {
    name: "step|xreadgroup",
    arity: -7,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    key_specs: facts::XREADGROUP.key_specs,
    ..Facts::BLANK
};
