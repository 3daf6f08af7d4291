//! The commands of transactions. Their ids are 1101 to 1199, and so are those of steps that only the core calls.

use super::facts;
use crate::commands::facts::{Facts, Flags};
use crate::commands::{Command, InTransaction, Kind};

/// The commands of transactions.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(1101, &facts::MULTI).within(InTransaction::Refused("ERR MULTI calls can not be nested")),
    Command::session(1102, &facts::EXEC).within(InTransaction::Executes),
    Command::session(1103, &facts::DISCARD).within(InTransaction::AtOnce),
    Command::session(1104, &facts::WATCH)
        .watching()
        .within(InTransaction::Refused("ERR WATCH inside MULTI is not allowed")),
    Command::session(1105, &facts::UNWATCH),
];

/// Runs commands behind each other as one: `guard command …`. See `entry/transaction.rs`.
pub const STEP_EXEC: u16 = 1190;
/// Has a watch watch keys: `watch key …`, where the watch is a `u64`, little-endian.
pub const STEP_WATCH: u16 = 1191;
/// Ends a watch: `watch`.
pub const STEP_UNWATCH: u16 = 1192;

/// Keeps a shard's part of a transaction over several until it is decided: `transaction decided_by part`. See `entry/spanning.rs`.
pub const STEP_PREPARE: u16 = 1193;
/// Executes a part, with which the transaction is decided: `transaction others part`.
pub const STEP_DECIDE: u16 = 1194;
/// Executes the part that is kept: `transaction`.
pub const STEP_COMMIT: u16 = 1195;
/// Lets go of the part that is kept: `transaction`.
pub const STEP_ABORT: u16 = 1196;
/// Forgets decisions: `transaction …`.
pub const STEP_FORGET: u16 = 1197;

/// Steps of these commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::transaction(STEP_EXEC, &EXEC),
    Command::of_watch(STEP_WATCH, &WATCH, Kind::Watch),
    Command::of_watch(STEP_UNWATCH, &UNWATCH, Kind::Unwatch),
    Command::of_part(STEP_PREPARE, &PREPARE),
    Command::of_part(STEP_DECIDE, &DECIDE),
    Command::of_part(STEP_COMMIT, &COMMIT),
    Command::of_part(STEP_ABORT, &ABORT),
    Command::of_part(STEP_FORGET, &FORGET),
];

static EXEC: Facts = Facts { name: "step|exec", arity: -2, flags: Flags::WRITE, ..Facts::BLANK };
static WATCH: Facts = Facts { name: "step|watch", arity: -3, flags: Flags::READONLY, keys: (2, -1, 1), ..Facts::BLANK };
static UNWATCH: Facts = Facts { name: "step|unwatch", arity: 2, flags: Flags::READONLY, ..Facts::BLANK };
static PREPARE: Facts = Facts { name: "step|prepare", arity: 4, flags: Flags::WRITE, ..Facts::BLANK };
static DECIDE: Facts = Facts { name: "step|decide", arity: 4, flags: Flags::WRITE, ..Facts::BLANK };
static COMMIT: Facts = Facts { name: "step|commit", arity: 2, flags: Flags::WRITE, ..Facts::BLANK };
static ABORT: Facts = Facts { name: "step|abort", arity: 2, flags: Flags::WRITE, ..Facts::BLANK };
static FORGET: Facts = Facts { name: "step|forget", arity: -2, flags: Flags::WRITE, ..Facts::BLANK };
