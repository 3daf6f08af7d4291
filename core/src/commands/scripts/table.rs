//! The commands of scripts. Their ids are 1301 to 1329 and 1506, and 1390 to 1392 of steps.

use super::{eval, facts};
use crate::commands::facts::{BeginSearch, Facts, FindKeys, Flags, KeySpec};
use crate::commands::{Command, Rows, help};

/// The commands of scripts. Whoever knows the shards makes of a call of EVAL and its like the step that is run.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(1301, &facts::EVAL, eval::no_step).returning().running_script(),
    Command::write(1302, &facts::EVALSHA, eval::no_step).returning().running_script(),
    Command::read(1303, &facts::EVAL_RO, eval::no_step).running_script(),
    Command::read(1304, &facts::EVALSHA_RO, eval::no_step).running_script(),
    Command::help(1305, &facts::SCRIPT, help::SCRIPT).containing(SCRIPT),
];

static SCRIPT: &[Command] = &[
    Command::session(1506, &facts::SCRIPT_DEBUG),
    Command::session(1320, &facts::SCRIPT_EXISTS),
    Command::session(1321, &facts::SCRIPT_FLUSH),
    Command::help(1322, &facts::SCRIPT_HELP, help::SCRIPT),
    Command::session(1323, &facts::SCRIPT_LOAD),
    Command::session(1324, &facts::SCRIPT_KILL),
];

/// Runs a script that may write: `terms text count [key …] [argument …]`. See the handler.
pub const STEP_SCRIPT: u16 = 1390;
/// The same of a script that only reads.
pub const STEP_SCRIPT_RO: u16 = 1391;

/// Replies an error, in the place of a script of a transaction that cannot be run: `text`.
pub const STEP_REFUSE: u16 = 1392;

/// Runs commands of a script over several shards on trial: `terms command …`. See `entry/script_trial.rs`.
pub const STEP_TRY: u16 = 1380;

/// Steps of other commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::write(STEP_SCRIPT, &RUN, eval::step_script).reads(Rows::KeysAndOthers).returning().draws().undoable(),
    Command::read(STEP_SCRIPT_RO, &RUN_RO, eval::step_script).reads(Rows::KeysAndOthers).draws().undoable(),
    Command::read(STEP_REFUSE, &REFUSE, eval::step_refuse),
    Command::trial(STEP_TRY, &TRY),
];

const KEYS: &[KeySpec] = &[KeySpec {
    flags: &[],
    notes: None,
    begin: BeginSearch::Index(3),
    find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
}];

static RUN: Facts = Facts {
    name: "step|script",
    arity: -4,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    key_specs: KEYS,
    ..Facts::BLANK
};
static REFUSE: Facts = Facts { name: "step|refuse", arity: 2, flags: Flags::READONLY, ..Facts::BLANK };
static TRY: Facts = Facts { name: "step|try", arity: -2, flags: Flags::READONLY, ..Facts::BLANK };
static RUN_RO: Facts = Facts {
    name: "step|script_ro",
    arity: -4,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    key_specs: KEYS,
    ..Facts::BLANK
};
