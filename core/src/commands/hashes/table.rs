//! The commands on hashes. Their ids are 401 to 499.

use basalt_storage::keyspace::Type;

use super::{facts, handlers};
use crate::commands::{Command, Rows};

const FIELD: Rows = Rows::element(Type::Hash, 2);
const FIELDS: Rows = Rows::elements(Type::Hash, 2, 1);
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
];
