//! Running a script: from a call of EVAL to its reply.

use std::cell::RefCell;

use basalt_lua::{Engine, Flags, Outcome, Script, Stop, Value, digest, read_flags};
use basalt_net::resp::Reply;

use super::Terms;
use super::host::ShardHost;
use crate::commands::{Args, CommandError, Context, parse_i64};

/// There is no script of this digest.
pub const NO_SCRIPT: CommandError = CommandError::text("NOSCRIPT No matching script. Please use EVAL.");

thread_local! {
    /// The libraries of scripts, for each thread that runs some: a core, or one that executes long reads.
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new());
}

/// A call of EVAL and its like, taken apart: `name text-or-digest count [key …] [argument …]`.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Keys.
    pub keys: Args<'a>,
    /// Arguments.
    pub args: Args<'a>,
}

/// Takes a call apart.
///
/// # Errors
/// Redis' texts for a number of keys that is none.
pub fn read_call<'a>(args: Args<'a>) -> Result<Call<'a>, CommandError> {
    let count = parse_i64(args[2])?;
    if count > (args.len() - 3) as i64 {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| CommandError::text("ERR Number of keys can't be negative"))?;
    let (keys, args) = args[3..].split_at(count);
    Ok(Call { keys, args })
}

/// Returns whether a script only reads, by its flags or because `is_ro` wants it so.
///
/// # Errors
/// Redis' texts for flags that are none or forbid it.
pub fn is_only_reading(text: &[u8], is_ro: bool, in_cluster: bool) -> Result<bool, CommandError> {
    let (flags, _) = read_flags(text).map_err(|reason| CommandError::owned(format!("ERR {reason}")))?;
    let Flags { has_shebang, no_writes, no_cluster, .. } = flags;
    if no_cluster && in_cluster {
        return Err(CommandError::text("ERR Can not run script on cluster, 'no-cluster' flag is set."));
    }
    if is_ro && has_shebang && !no_writes {
        return Err(CommandError::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    Ok(is_ro || no_writes)
}

/// Looks whether a script can be compiled.
///
/// # Errors
/// Redis' text for what is wrong with it.
pub fn check(text: &[u8]) -> Result<(), CommandError> {
    let checked = ENGINE.with(|engine| engine.borrow_mut().check(text));
    checked.map_err(|error| CommandError::owned(String::from_utf8_lossy(&error).into_owned()))
}

/// `terms text count [key …] [argument …]`: one script, with all that it does. Where it is stopped, what it did is forgotten.
pub(super) fn step_script(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let terms = Terms::decode(args[1]).ok_or(CommandError::text("ERR the script is of another version"))?;
    run(context, &terms, args[2], read_call(&args[1..])?, reply)
}

/// EVAL and its like are run as steps: whoever knows the shards makes one of each.
pub(super) fn no_step(_: &mut Context<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Result<(), CommandError> {
    Err(CommandError::text("ERR a script is run as a step"))
}

/// `text`: an error.
pub(super) fn step_refuse(_: &mut Context<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Result<(), CommandError> {
    Err(CommandError::owned(String::from_utf8_lossy(args[1]).into_owned()))
}

fn run(
    context: &mut Context<'_>,
    terms: &Terms,
    text: &[u8],
    call: Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let name = digest(text);
    let seed = context.random.next_u64();
    let script = Script { text, digest: &name, keys: call.keys, args: call.args, seed, work: terms.work };
    let mut host = ShardHost { context, terms, stopped: None, is_running: false };
    let outcome = ENGINE.with(|engine| engine.borrow_mut().run(&script, &mut host));
    let undone = |text: &'static str| Err(CommandError::Undone(text.into()));
    match outcome {
        Outcome::Returned(value) => {
            write(&value, reply);
            Ok(())
        }
        Outcome::Failed(error) => {
            reply.error(error);
            Ok(())
        }
        Outcome::Stopped(Stop::Host) => Err(host.stopped.take().expect("the host says why it stops a script")),
        Outcome::Stopped(Stop::Work) => {
            undone("ERR the script was stopped and undone: it has executed as many instructions as a script may")
        }
        Outcome::Stopped(Stop::Memory) => {
            undone("ERR the script was stopped and undone: it needs more memory than a script may have")
        }
        // As if the command had been called by a client: the shard's rows may be at fault, which another replica does not share.
        Outcome::Stopped(Stop::Panic) if host.is_running => panic!("a command of a script has panicked"),
        Outcome::Stopped(Stop::Panic) => {
            undone("ERR the script was stopped and undone: it has met a fault of this program")
        }
    }
}

fn write(value: &Value, reply: &mut Reply<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::Null => reply.null(),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Integer(number) => reply.integer(*number),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Error(error) => reply.error(error),
        Value::Status(status) => reply.simple(&text(status).replace(['\r', '\n'], " ")),
        Value::Double(number) => reply.double(*number),
        Value::BigNumber(digits) => reply.big_number(&text(digits).replace(['\r', '\n'], " ")),
        Value::Verbatim(format, bytes) => reply.verbatim(format, bytes),
        Value::Array(elements) => {
            reply.array(elements.len());
            elements.iter().for_each(|element| write(element, reply));
        }
        Value::Set(elements) => {
            reply.set(elements.len());
            elements.iter().for_each(|element| write(element, reply));
        }
        Value::Map(entries) => {
            reply.map(entries.len());
            for (key, value) in entries {
                write(key, reply);
                write(value, reply);
            }
        }
    }
}
