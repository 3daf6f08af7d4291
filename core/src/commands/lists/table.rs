//! The commands on lists. Their ids are 201 to 299.

use basalt_storage::keyspace::{End, Type};

use super::{blocking, facts, handlers, moving, places};
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, Copies, Feeds, OverShards, Rows, Waits};

const KEYS: Waits = Waits::keys(Type::List);
const SOURCE: Waits = Waits::first(Type::List);
const COUNTED: Waits = Waits::counted(Type::List);

/// The elements of a push.
const ELEMENTS: Feeds = Feeds::Elements { kind: Type::List, from: 2, step: 1 };

/// The commands on lists.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(201, &facts::LPUSH, handlers::lpush).reads(Rows::Keys).feeding(ELEMENTS),
    Command::write(202, &facts::RPUSH, handlers::rpush).reads(Rows::Keys).feeding(ELEMENTS),
    Command::write(203, &facts::LPUSHX, handlers::lpushx).reads(Rows::Keys),
    Command::write(204, &facts::RPUSHX, handlers::rpushx).reads(Rows::Keys),
    Command::write(205, &facts::LPOP, handlers::lpop).reads(Rows::End(End::Head)).returning(),
    Command::write(206, &facts::RPOP, handlers::rpop).reads(Rows::End(End::Tail)).returning(),
    Command::read(207, &facts::LLEN, handlers::llen).reads(Rows::Keys),
    Command::read(208, &facts::LRANGE, handlers::lrange),
    Command::read(209, &facts::LINDEX, handlers::lindex),
    Command::write(210, &facts::LSET, handlers::lset).reads(Rows::Keys),
    Command::write(211, &facts::LTRIM, handlers::ltrim).reads(Rows::Keys),
    Command::read(212, &facts::LPOS, places::lpos),
    Command::write(213, &facts::LREM, places::lrem).copying(Copies::Half),
    Command::write(214, &facts::LINSERT, places::linsert).copying(Copies::Half),
    Command::write(215, &facts::LMPOP, moving::lmpop).returning().over_shards(OverShards::PopFirst("llen")),
    Command::write(216, &facts::LMOVE, moving::lmove)
        .copying(Copies::End)
        .returning()
        .feeding(Feeds::Destination)
        .over_shards(OverShards::MoveElement),
    Command::write(217, &facts::RPOPLPUSH, moving::rpoplpush)
        .copying(Copies::End)
        .returning()
        .feeding(Feeds::Destination)
        .over_shards(OverShards::MoveElement),
    Command::write(218, &facts::BLPOP, blocking::blpop).returning().waiting(KEYS),
    Command::write(219, &facts::BRPOP, blocking::brpop).returning().waiting(KEYS),
    Command::write(220, &facts::BLMOVE, blocking::blmove)
        .copying(Copies::End)
        .returning()
        .waiting(SOURCE)
        .over_shards(OverShards::MoveElement),
    Command::write(221, &facts::BRPOPLPUSH, blocking::brpoplpush)
        .copying(Copies::End)
        .returning()
        .waiting(SOURCE)
        .over_shards(OverShards::MoveElement),
    Command::write(222, &facts::BLMPOP, blocking::blmpop).returning().waiting(COUNTED),
];

/// Looks which of some keys is there: `key [key …]`. See the handler.
pub const STEP_LOOK: u16 = 223;

/// Moves an element for a client that waits for the source: the arguments of BLMOVE or BRPOPLPUSH. See the handler.
pub const STEP_MOVE: u16 = 224;

/// Steps of commands that wait, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::read(STEP_LOOK, &LOOK, blocking::step_look).reads(Rows::Keys),
    Command::write(STEP_MOVE, &MOVE, blocking::step_move).copying(Copies::End).returning().feeding(Feeds::Destination),
];

static LOOK: Facts = Facts { name: "step|look", arity: -2, flags: Flags::READONLY, keys: (1, -1, 1), ..Facts::BLANK };
static MOVE: Facts = Facts { name: "step|move", arity: -4, flags: Flags::WRITE, keys: (1, 2, 1), ..Facts::BLANK };
