//! The commands on hashes. Their ids are 401 to 499.

use super::Command;
use crate::commands::facts::hashes as facts;
use crate::commands::hashes;

/// The commands on hashes.
pub(super) static COMMANDS: &[Command] = &[
    Command::write(401, &facts::HSET, hashes::hset),
    Command::write(402, &facts::HMSET, hashes::hmset),
    Command::write(403, &facts::HSETNX, hashes::hsetnx),
    Command::read(404, &facts::HGET, hashes::hget),
    Command::read(405, &facts::HMGET, hashes::hmget),
    Command::write(406, &facts::HDEL, hashes::hdel),
    Command::read(407, &facts::HLEN, hashes::hlen),
    Command::read(408, &facts::HSTRLEN, hashes::hstrlen),
    Command::read(409, &facts::HEXISTS, hashes::hexists),
    Command::read(410, &facts::HGETALL, hashes::hgetall),
    Command::read(411, &facts::HKEYS, hashes::hkeys),
    Command::read(412, &facts::HVALS, hashes::hvals),
    Command::write(413, &facts::HINCRBY, hashes::hincrby),
    Command::write(414, &facts::HINCRBYFLOAT, hashes::hincrbyfloat),
];
