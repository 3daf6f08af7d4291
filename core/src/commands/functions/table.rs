//! The commands of functions. Their ids are 1330 to 1349, and 1393 to 1399 of steps.

use super::{calling, changes, facts, listing};
use crate::commands::facts::{BeginSearch, Facts, FindKeys, Flags, KeySpec};
use crate::commands::scripts::no_step;
use crate::commands::{Command, FunctionChange, Merge, Rows, Scatter, help};

/// The commands of functions. Whoever knows the shards makes of a call, and of a change of the libraries, the step that is run.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(1330, &facts::FCALL, no_step).returning().running_script().calling_function(),
    Command::read(1331, &facts::FCALL_RO, no_step).running_script().calling_function(),
    Command::help(1332, &facts::FUNCTION, help::FUNCTION).containing(FUNCTION),
];

static FUNCTION: &[Command] = &[
    changing(Command::write(1340, &facts::FUNCTION_DELETE, no_step), FunctionChange::Delete),
    Command::read(1341, &facts::FUNCTION_DUMP, listing::dump).scattered(Scatter::None).of_functions(),
    changing(Command::write(1342, &facts::FUNCTION_FLUSH, no_step), FunctionChange::Flush),
    Command::help(1343, &facts::FUNCTION_HELP, help::FUNCTION),
    Command::session(1344, &facts::FUNCTION_KILL),
    Command::read(1345, &facts::FUNCTION_LIST, listing::list).scattered(Scatter::None).of_functions(),
    changing(Command::write(1346, &facts::FUNCTION_LOAD, no_step), FunctionChange::Load),
    changing(Command::write(1347, &facts::FUNCTION_RESTORE, no_step), FunctionChange::Restore),
    Command::read(1348, &facts::FUNCTION_STATS, listing::stats).scattered(Scatter::None).of_functions(),
];

const fn changing(command: Command, change: FunctionChange) -> Command {
    command.changing_functions(change).scattered(Scatter::AllShards { merge: Merge::Same })
}

/// Changes the libraries of a shard: see the handler.
pub const STEP_FUNCTIONS: u16 = 1393;
/// Calls a function that may write: `terms name count [key …] [argument …]`. See the handler.
pub const STEP_FUNCTION: u16 = 1394;
/// The same of one that only reads.
pub const STEP_FUNCTION_RO: u16 = 1395;
/// Reads the library of a function that is called over several shards: `key name`. See the handler.
pub const STEP_LIBRARY: u16 = 1396;

/// Steps of other commands, which only the core calls: clients cannot name them.
pub(in crate::commands) static INTERNAL: &[Command] = &[
    Command::write(STEP_FUNCTIONS, &CHANGE, changes::step_functions)
        .scattered(Scatter::AllShards { merge: Merge::Same }),
    Command::write(STEP_FUNCTION, &CALL, calling::step_function)
        .reads(Rows::KeysAndOthers)
        .returning()
        .draws()
        .undoable(),
    Command::read(STEP_FUNCTION_RO, &CALL_RO, calling::step_function_ro).reads(Rows::KeysAndOthers).draws().undoable(),
    Command::read(STEP_LIBRARY, &LIBRARY, calling::step_library).reads(Rows::KeysAndOthers),
];

const KEYS: &[KeySpec] = &[KeySpec {
    flags: &[],
    notes: None,
    begin: BeginSearch::Index(3),
    find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
}];

static LIBRARY: Facts =
    Facts { name: "step|library", arity: 3, flags: Flags::READONLY, keys: (1, 1, 1), ..Facts::BLANK };
static CHANGE: Facts = Facts { name: "step|functions", arity: -2, flags: Flags::WRITE, ..Facts::BLANK };
static CALL: Facts = Facts {
    name: "step|function",
    arity: -4,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    key_specs: KEYS,
    ..Facts::BLANK
};
static CALL_RO: Facts = Facts {
    name: "step|function_ro",
    arity: -4,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    key_specs: KEYS,
    ..Facts::BLANK
};
