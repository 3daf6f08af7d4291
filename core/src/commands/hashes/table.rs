//! The commands on hashes. Their ids are 401 to 499.

use super::{facts, handlers};
use crate::commands::table::Command;

/// The commands on hashes.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(401, &facts::HSET, handlers::hset),
    Command::write(402, &facts::HMSET, handlers::hmset),
    Command::write(403, &facts::HSETNX, handlers::hsetnx),
    Command::read(404, &facts::HGET, handlers::hget),
    Command::read(405, &facts::HMGET, handlers::hmget),
    Command::write(406, &facts::HDEL, handlers::hdel),
    Command::read(407, &facts::HLEN, handlers::hlen),
    Command::read(408, &facts::HSTRLEN, handlers::hstrlen),
    Command::read(409, &facts::HEXISTS, handlers::hexists),
    Command::read(410, &facts::HGETALL, handlers::hgetall),
    Command::read(411, &facts::HKEYS, handlers::hkeys),
    Command::read(412, &facts::HVALS, handlers::hvals),
    Command::write(413, &facts::HINCRBY, handlers::hincrby),
    Command::write(414, &facts::HINCRBYFLOAT, handlers::hincrbyfloat),
];
