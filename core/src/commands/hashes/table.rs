//! The commands on hashes. Their ids are 401 to 499 and 1550 to 1559.

use basalt_storage::keyspace::Type;

use super::{deadlines, facts, handlers, newer_facts};
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, Rows, Scatter};

const FIELD: Rows = Rows::element(Type::Hash, 2);
const FIELDS: Rows = Rows::elements(Type::Hash, 2, 1);
/// Fields behind their number.
const COUNTED_FIELDS: Rows = Rows::elements(Type::Hash, 4, 1);
/// Fields with their values.
const PAIRS: Rows = Rows::elements(Type::Hash, 2, 2);

/// The commands on hashes.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(401, &facts::HSET, handlers::hset).reads(PAIRS),
    Command::write(402, &facts::HMSET, handlers::hmset).reads(PAIRS),
    Command::write(403, &facts::HSETNX, handlers::hsetnx).reads(FIELD),
    Command::read(404, &facts::HGET, handlers::hget).reads(FIELD),
    Command::read(405, &facts::HMGET, handlers::hmget).reads(FIELDS),
    Command::write(406, &facts::HDEL, handlers::hdel).reads(FIELDS.removed()),
    Command::read(407, &facts::HLEN, handlers::hlen).reads(Rows::Keys),
    Command::read(408, &facts::HSTRLEN, handlers::hstrlen).reads(FIELD),
    Command::read(409, &facts::HEXISTS, handlers::hexists).reads(FIELD),
    Command::read(410, &facts::HGETALL, handlers::hgetall),
    Command::read(411, &facts::HKEYS, handlers::hkeys),
    Command::read(412, &facts::HVALS, handlers::hvals),
    Command::write(413, &facts::HINCRBY, handlers::hincrby).reads(FIELD),
    Command::write(414, &facts::HINCRBYFLOAT, handlers::hincrbyfloat).reads(FIELD),
    Command::read(415, &facts::HRANDFIELD, handlers::hrandfield).draws().reads(Rows::Drawn(Type::Hash)),
    Command::read(416, &facts::HSCAN, handlers::hscan),
    Command::write(1550, &newer_facts::HEXPIRE, deadlines::hexpire),
    Command::write(1551, &newer_facts::HPEXPIRE, deadlines::hpexpire),
    Command::write(1552, &newer_facts::HEXPIREAT, deadlines::hexpireat),
    Command::write(1553, &newer_facts::HPEXPIREAT, deadlines::hpexpireat),
    Command::write(1554, &newer_facts::HPERSIST, deadlines::hpersist),
    Command::read(1555, &newer_facts::HTTL, deadlines::httl).reads(COUNTED_FIELDS),
    Command::read(1556, &newer_facts::HPTTL, deadlines::hpttl).reads(COUNTED_FIELDS),
    Command::read(1557, &newer_facts::HEXPIRETIME, deadlines::hexpiretime).reads(COUNTED_FIELDS),
    Command::read(1558, &newer_facts::HPEXPIRETIME, deadlines::hpexpiretime).reads(COUNTED_FIELDS),
];

/// Removes fields that are past their deadline: `count from`. See the handler.
pub const DELETE_EXPIRED_FIELDS: u16 = 1559;

/// Steps of other commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] =
    &[Command::write(DELETE_EXPIRED_FIELDS, &EXPIRE_FIELDS, deadlines::step_expire_fields)
        .reads(Rows::DueFields)
        .scattered(Scatter::None)];

static EXPIRE_FIELDS: Facts = Facts { name: "step|expire_fields", arity: 3, flags: Flags::WRITE, ..Facts::BLANK };
