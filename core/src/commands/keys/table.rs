//! The commands on keys of any type and on databases. Their ids are 101 to 199, and so are those of steps that only the core calls.

use super::{del, events, expiry, facts, flush, moving, object, scan};
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, Feeds, Merge, MultiShard, Rows, Scatter, help};

const SUM: Scatter = Scatter::Split { step: 1, merge: Merge::Sum };

const TO_SECOND: Feeds = Feeds::Many(2, None);

/// The commands on keys of any type.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(101, &facts::DEL, del::del).reads(Rows::Keys).scattered(SUM),
    Command::write(102, &facts::UNLINK, del::del).reads(Rows::Keys).scattered(SUM),
    Command::read(103, &facts::EXISTS, del::exists).reads(Rows::Keys).scattered(SUM),
    Command::read(104, &facts::TOUCH, del::touch).reads(Rows::Keys).scattered(SUM),
    Command::read(105, &facts::TYPE, del::r#type).reads(Rows::Keys),
    Command::write(106, &facts::EXPIRE, expiry::expire).reads(Rows::Keys),
    Command::write(107, &facts::PEXPIRE, expiry::pexpire).reads(Rows::Keys),
    Command::write(108, &facts::EXPIREAT, expiry::expireat).reads(Rows::Keys),
    Command::write(109, &facts::PEXPIREAT, expiry::pexpireat).reads(Rows::Keys),
    Command::write(110, &facts::PERSIST, expiry::persist).reads(Rows::Keys),
    Command::read(111, &facts::TTL, expiry::ttl).reads(Rows::Keys),
    Command::read(112, &facts::PTTL, expiry::pttl).reads(Rows::Keys),
    Command::read(113, &facts::EXPIRETIME, expiry::expiretime).reads(Rows::Keys),
    Command::read(114, &facts::PEXPIRETIME, expiry::pexpiretime).reads(Rows::Keys),
    Command::write(115, &facts::RENAME, moving::rename)
        .reads(Rows::Whole)
        .feeding(TO_SECOND)
        .in_steps(MultiShard::Rename),
    Command::write(116, &facts::RENAMENX, moving::renamenx)
        .if_absent()
        .reads(Rows::Whole)
        .feeding(TO_SECOND)
        .in_steps(MultiShard::Rename),
    Command::write(117, &facts::COPY, moving::copy)
        .if_absent_unless("REPLACE")
        .reads(Rows::Whole)
        .feeding(TO_SECOND)
        .in_steps(MultiShard::Copy),
    Command::read(118, &facts::SCAN, scan::scan).in_steps(MultiShard::Scan),
    Command::read(119, &facts::KEYS, scan::keys).in_steps(MultiShard::Keys),
    Command::read(120, &facts::RANDOMKEY, scan::randomkey).draws().in_steps(MultiShard::RandomKey),
    Command::help(121, &facts::OBJECT, help::OBJECT).containing(OBJECT),
    Command::read(122, &facts::DBSIZE, flush::dbsize).scattered(Scatter::AllShards { merge: Merge::Sum }),
    Command::write(123, &facts::FLUSHDB, flush::flushdb).scattered(Scatter::AllShards { merge: Merge::Ok }),
    Command::write(124, &facts::FLUSHALL, flush::flushall)
        .reads(Rows::Keys)
        .scattered(Scatter::AllShards { merge: Merge::Ok }),
];

static OBJECT: &[Command] = &[
    Command::read(140, &facts::OBJECT_ENCODING, object::object_encoding),
    Command::read(141, &facts::OBJECT_FREQ, object::object_freq),
    Command::help(142, &facts::OBJECT_HELP, help::OBJECT),
    Command::read(143, &facts::OBJECT_IDLETIME, object::object_idletime),
    Command::read(144, &facts::OBJECT_REFCOUNT, object::object_refcount),
];

/// Deletes keys that are due: `count from`. See the handler.
pub const DELETE_EXPIRED: u16 = 199;
/// One step of SCAN and KEYS on one shard: `position [options …]`. See the handler.
pub const STEP_SCAN: u16 = 198;
/// Reads a whole key to carry it to another shard: `key`. See the handler.
pub const STEP_READ: u16 = 197;
/// Writes a key that was carried from another shard: `key bytes replace|keep`. See the handler.
pub const STEP_WRITE: u16 = 196;
/// Deletes a key that was carried to another shard, if it is unchanged: `key bytes`. See the handler.
pub const STEP_DELETE: u16 = 195;

/// Tells what has become of keys that were carried to another shard: `dropped class event key …`. See the handler.
pub const STEP_TELL: u16 = 1520;
/// Deletes keys that were carried to another shard: `key …`. See the handler.
pub const STEP_REMOVE: u16 = 1521;

/// Tells how Redis would hold a value, as DEBUG OBJECT does: `key`. See the handler.
pub const STEP_DESCRIBE: u16 = 1478;

/// SCAN of a script that may write, and over several shards: the arguments of SCAN. See the handler.
pub const STEP_SCAN_ALL: u16 = 1500;

/// Steps of other commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::write(DELETE_EXPIRED, &EXPIRE, expiry::step_expire).reads(Rows::Due).scattered(Scatter::None),
    Command::read(STEP_SCAN, &SCAN, scan::step_scan).scattered(Scatter::None),
    Command::read(STEP_SCAN_ALL, &SCAN_ALL, scan::step_scan_all).in_steps(MultiShard::Keys),
    Command::read(STEP_READ, &READ, moving::step_read),
    Command::read(STEP_DESCRIBE, &DESCRIBE, object::step_describe),
    Command::write(STEP_WRITE, &WRITE, moving::step_write).reads(Rows::Keys).feeding(Feeds::Many(1, None)),
    Command::write(STEP_DELETE, &DELETE, moving::step_delete),
    Command::write(STEP_TELL, &TELL, events::step_tell).reads(Rows::Keys),
    Command::write(STEP_REMOVE, &REMOVE, events::step_remove).reads(Rows::Keys),
];

static EXPIRE: Facts = Facts { name: "step|expire", arity: 3, flags: Flags::WRITE, ..Facts::BLANK };
static SCAN: Facts = Facts { name: "step|scan", arity: -2, flags: Flags::READONLY, ..Facts::BLANK };
static SCAN_ALL: Facts = Facts { name: "step|scan_all", arity: -2, flags: Flags::READONLY, ..Facts::BLANK };
static DESCRIBE: Facts =
    Facts { name: "step|describe", arity: 2, flags: Flags::READONLY, keys: (1, 1, 1), ..Facts::BLANK };
static READ: Facts = Facts { name: "step|read", arity: 2, flags: Flags::READONLY, keys: (1, 1, 1), ..Facts::BLANK };
static WRITE: Facts = Facts { name: "step|write", arity: 4, flags: Flags::WRITE, keys: (1, 1, 1), ..Facts::BLANK };
static TELL: Facts = Facts { name: "step|tell", arity: -2, flags: Flags::WRITE, keys: (4, -1, 3), ..Facts::BLANK };
static REMOVE: Facts = Facts { name: "step|remove", arity: -2, flags: Flags::WRITE, keys: (1, -1, 1), ..Facts::BLANK };
static DELETE: Facts = Facts { name: "step|delete", arity: 3, flags: Flags::WRITE, keys: (1, 1, 1), ..Facts::BLANK };
