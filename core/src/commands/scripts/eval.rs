//! Running a script: from a call of EVAL to its reply.

use std::cell::RefCell;
use std::collections::BTreeSet;

use basalt_lua::{
    Engine, Flags, Host, INPUT_BYTES_MAX, Outcome, Progress, Script, Stop, Suspended, Value, digest, read_flags,
};
use basalt_net::resp::Reply;
use basalt_storage::{ColdRead, Error as StorageError};

use super::host::ShardHost;
use super::{Messages, Terms};
use crate::commands::rights::CallerRights;
use crate::commands::{Args, CommandError, Context, TOO_MUCH_WORK, parse_i64};

/// There is no script of this digest.
pub const NO_SCRIPT: CommandError = CommandError::text("NOSCRIPT No matching script. Please use EVAL.");

/// Digits of a SHA1.
const DIGEST_DIGITS: usize = 40;

thread_local! {
    /// The libraries of scripts, for each thread that runs some: a core, or one that executes long reads.
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new());
}

/// Uses the engine of this thread.
pub(in crate::commands) fn with_engine<R>(with: impl FnOnce(&mut Engine) -> R) -> R {
    ENGINE.with(|engine| with(&mut engine.borrow_mut()))
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

/// The digest of a script that can be run, if it can be compiled or `is_known` by it. Of one that is too long nobody looks at a
/// byte.
///
/// # Errors
/// Redis' text for what is wrong with it.
pub fn learn(text: &[u8], is_known: impl FnOnce(&str) -> bool) -> Result<String, CommandError> {
    let name = if text.len() > INPUT_BYTES_MAX { String::new() } else { digest(text) };
    if name.is_empty() || !is_known(&name) {
        let checked = with_engine(|engine| engine.check(text));
        checked.map_err(|error| CommandError::owned(String::from_utf8_lossy(&error).into_owned()))?;
    }
    Ok(name)
}

/// The digest that a client calls a script by, in lower case; `None` if it is none.
pub fn read_digest(arg: &[u8]) -> Option<String> {
    let is_digest = arg.len() == DIGEST_DIGITS && arg.iter().all(u8::is_ascii_hexdigit);
    is_digest.then(|| arg.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect())
}

/// `terms text count [key …] [argument …]`: one script, with all that it does. Where it is stopped, what it did is forgotten.
pub(super) fn step_script(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    const OTHER_VERSION: CommandError = CommandError::text("ERR the script is of another version");
    let terms = Terms::decode(args[1]).ok_or(OTHER_VERSION)?;
    let rights = terms.rights.as_deref().map(|bytes| CallerRights::decode(bytes).ok_or(OTHER_VERSION)).transpose()?;
    run(context, (&terms, rights), args[2], read_call(&args[1..])?, reply)
}

/// EVAL and its like are run as steps: whoever knows the shards makes one of each.
pub(in crate::commands) fn no_step(_: &mut Context<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Result<(), CommandError> {
    Err(CommandError::text("ERR a script is run as a step"))
}

/// `text`: an error.
pub(super) fn step_refuse(_: &mut Context<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Result<(), CommandError> {
    Err(CommandError::owned(String::from_utf8_lossy(args[1]).into_owned()))
}

fn run(
    context: &mut Context<'_>,
    (terms, rights): (&Terms, Option<CallerRights>),
    text: &[u8],
    call: Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let seed = context.random.next_u64();
    let script = Script { text, keys: call.keys, args: call.args, seed, work: terms.work };
    run_on(context, (terms, rights), reply, |engine, host| engine.run(&script, host))
}

/// Has this thread's engine run something on the shard, and writes what that has come to.
pub(in crate::commands) fn run_on(
    context: &mut Context<'_>,
    (terms, rights): (&Terms, Option<CallerRights>),
    reply: &mut Reply<'_>,
    begin: impl FnOnce(&mut Engine, &mut dyn Host) -> Outcome,
) -> Result<(), CommandError> {
    let cold = BTreeSet::new();
    let messages = Messages::default();
    let mut host =
        ShardHost { context, terms, rights, stopped: None, is_running: false, is_writing: false, cold, messages };
    let outcome = with_engine(|engine| begin(engine, &mut host));
    if !host.cold.is_empty() && !host.is_running {
        // Whatever it has come to by what those do not have, be it a fault: it begins anew when they are there.
        return Err(StorageError::Cold(ColdRead::Keys(host.cold.into_iter().collect())).into());
    }
    match outcome {
        Outcome::Returned(value) => {
            let mark = reply.mark();
            write_value(&value, reply);
            host.messages.put_before(reply, mark);
            Ok(())
        }
        // What it did before stays, and was said.
        Outcome::Failed(error) => {
            let mark = reply.mark();
            reply.error(error);
            host.messages.put_before(reply, mark);
            Ok(())
        }
        Outcome::Stopped(Stop::Host) => Err(host.stopped.take().expect("the host says why it stops a script")),
        // As if the command had been called by a client: the shard's rows may be at fault, which another replica does not share.
        Outcome::Stopped(Stop::Panic) if host.is_running => panic!("a command of a script has panicked"),
        Outcome::Stopped(stop) => Err(CommandError::Undone(undone_text(stop).into())),
    }
}

/// Runs a script with the libraries of this thread, to its end or to the first call that is answered later.
pub fn start_by(script: &Script<'_>, host: &mut dyn Host) -> Progress {
    with_engine(|engine| engine.start(script, host))
}

/// Goes on with one of this thread behind such a call: with its reply and the work that it was. `text` is that of the script, or
/// the name of the function if it is one.
pub fn go_on_by(machine: Suspended, answer: (&[u8], u64), text: (&[u8], bool), host: &mut dyn Host) -> Progress {
    with_engine(|engine| engine.go_on(machine, answer, text, host))
}

/// The reply to a script that was stopped, by its host or not: nothing of it stays.
pub fn undone_text(stop: Stop) -> &'static str {
    match stop {
        Stop::Work => TOO_MUCH_WORK,
        Stop::Memory => "ERR the script was stopped and undone: it needs more memory than a script may have",
        Stop::Host | Stop::Panic => "ERR the script was stopped and undone: it has met a fault of this program",
    }
}

/// Writes what a script has returned. It takes whatever that is: a panic here would be one of every replica, at each replay.
pub fn write_value(value: &Value, reply: &mut Reply<'_>) {
    match value {
        Value::Null => reply.null(),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Integer(number) => reply.integer(*number),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Error(error) => reply.error(error),
        Value::Status(status) => reply.simple(status),
        Value::Double(number) => reply.double(*number),
        Value::BigNumber(digits) => {
            let is_line_end = |byte: u8| matches!(byte, b'\r' | b'\n');
            let line: Vec<u8> = digits.iter().map(|&byte| if is_line_end(byte) { b' ' } else { byte }).collect();
            reply.big_number(line);
        }
        Value::Verbatim(format, bytes) => reply.verbatim(format, bytes),
        Value::Array(elements) => {
            reply.array(elements.len());
            elements.iter().for_each(|element| write_value(element, reply));
        }
        Value::Set(elements) => {
            reply.set(elements.len());
            elements.iter().for_each(|element| write_value(element, reply));
        }
        Value::Map(entries) => {
            reply.map(entries.len());
            for (key, value) in entries {
                write_value(key, reply);
                write_value(value, reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};

    use super::*;

    struct Nobody;

    impl basalt_lua::Host for Nobody {
        fn call(&mut self, _: &[&[u8]], _: bool, _: usize, _: &mut u64, _: &mut Vec<u8>) -> basalt_lua::Called {
            basalt_lua::Called::Refused(String::new())
        }

        fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
            None
        }

        fn log(&mut self, _: u8, _: &[u8]) {}
    }

    fn replied(text: &str, protocol: Protocol) -> Vec<u8> {
        let script =
            Script { text: text.as_bytes(), keys: &[], args: &[], seed: 0, work: basalt_lua::SHORT_SCRIPT_WORK };
        let Outcome::Returned(returned) = Engine::new().run(&script, &mut Nobody) else { panic!("{text} has failed") };
        let mut out = Vec::new();
        write_value(&returned, &mut Reply::new(&mut out, protocol));
        out
    }

    /// Texts of all kinds, in each place in which a script returns one.
    #[test]
    fn whatever_a_script_returns_is_one_reply() {
        let texts = [
            "''",
            "'x'",
            "'äöü'",
            "'\\255\\255\\255'",
            "'\\0'",
            "'\\r\\n'",
            "'x:y'",
            "'\\r\\n+OK\\r\\n'",
            "string.rep('ä', 1e5)",
            "'a\\0b'",
        ];
        let shapes = [
            "T",
            "{ok = T}",
            "{err = T}",
            "{big_number = T}",
            "{verbatim_string = {format = T, string = 'x'}}",
            "{verbatim_string = {format = 'txt', string = T}}",
            "{map = {[T] = T}}",
            "{set = {[T] = true}}",
            "{T, {T}}",
            "redis.status_reply(T)",
            "redis.error_reply(T)",
            "{double = 0/0}",
            "{double = -1/0}",
            "2^63",
            "-2^63",
            "0/0",
            "{map = {}}",
        ];
        for (text, shape) in texts.iter().flat_map(|text| shapes.map(|shape| (text, shape))) {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                for setting in ["", "redis.setresp(3) "] {
                    let script = format!("{setting}return {}", shape.replace('T', text));
                    let bytes = replied(&script, protocol);
                    assert_eq!(
                        value::skip_value(&bytes),
                        Some(bytes.len()),
                        "{script}: {:?}",
                        bytes.escape_ascii().to_string()
                    );
                }
            }
        }
    }

    #[test]
    fn a_format_has_three_letters() {
        for (format, shown) in [
            ("äöü", "???"),
            ("\\255\\255\\255\\255", "???"),
            ("a", "a  "),
            ("markdown", "mar"),
            ("a\\0b", "a  "),
            ("a b", "a?b"),
        ] {
            let script = format!("return {{verbatim_string = {{format = '{format}', string = 'x'}}}}");
            assert_eq!(replied(&script, Protocol::Resp3), format!("=5\r\n{shown}:x\r\n").into_bytes(), "{format}");
            assert_eq!(replied(&script, Protocol::Resp2), b"$1\r\nx\r\n");
        }
    }

    #[test]
    fn statuses_and_large_numbers_keep_their_bytes() {
        assert_eq!(replied("return redis.status_reply('\\255')", Protocol::Resp2), b"+\xff\r\n");
        assert_eq!(replied("return {big_number = '1\\255'}", Protocol::Resp3), b"(1\xff\r\n");
    }

    #[test]
    fn texts_that_are_too_long_are_none() {
        let long = vec![b' '; INPUT_BYTES_MAX + 1];
        assert!(learn(&long, |_| panic!("nobody hashes it")).is_err());
        assert_eq!(learn(b"return 1", |_| false).unwrap(), digest(b"return 1"));
        assert!(learn(b"return +", |_| false).is_err() && learn(b"return +", |_| true).is_ok());
        assert_eq!(read_digest(&[b'A'; 40]), Some("a".repeat(40)));
        assert_eq!((read_digest(&[b'a'; 41]), read_digest(&[0xff; 40])), (None, None));
    }
}
