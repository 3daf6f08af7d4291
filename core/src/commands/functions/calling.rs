//! A call of a function, from its step to its reply.

use std::rc::Rc;

use basalt_lua::{FunctionCall, FunctionFlags, Host, Library, Progress};
use basalt_net::resp::{Protocol, Reply, value};

use super::compiled::compiled;
use crate::commands::rights::CallerRights;
use crate::commands::scripts::{Terms, read_call, run_on, with_engine};
use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits;

const NOT_FOUND: CommandError = CommandError::text("ERR Function not found");
/// The reply to a call that was sent as a read before another function had come in the place of the one that only reads.
const REPLACED: CommandError = CommandError::text(
    "TRYAGAIN The function was replaced a moment ago by one that writes, nothing was executed: call it again",
);
const BAD_COUNT: CommandError = CommandError::text("ERR Bad number of keys provided");

/// `terms name count [key …] [argument …]`: one call, with all that it does. Where it is stopped, what it did is forgotten.
pub(super) fn step_function(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    call(context, args, false, reply)
}

/// The same of a call that only reads: because its client wants it so, or since its function has said that it does.
pub(super) fn step_function_ro(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    call(context, args, true, reply)
}

/// The checks of a call of a function with these flags. A call of one that only reads may not write from then on.
fn check(flags: FunctionFlags, terms: &mut Terms) -> Result<(), CommandError> {
    if flags.no_cluster() && terms.in_cluster {
        return Err(CommandError::text("ERR Can not run script on cluster, 'no-cluster' flag is set."));
    }
    if terms.is_read_only && !flags.no_writes() {
        return Err(CommandError::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    terms.is_read_only |= flags.no_writes();
    Ok(())
}

/// Work that is left for a call by the reading of a library of so many bytes.
fn work_behind(bytes: usize, work: u64) -> u64 {
    work.saturating_sub(bytes as u64 / limits::LIBRARY_BYTES_PER_WORK)
}

fn call(context: &mut Context<'_>, args: Args<'_>, is_read: bool, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    const OTHER_VERSION: CommandError = CommandError::text("ERR the call is of another version");
    let mut terms = Terms::decode(args[1]).ok_or(OTHER_VERSION)?;
    let rights = terms.rights.as_deref().map(|bytes| CallerRights::decode(bytes).ok_or(OTHER_VERSION)).transpose()?;
    let (flags, library) = context.keyspace.function(args[2])?.ok_or(NOT_FOUND)?;
    let flags = FunctionFlags::from_bits(flags);
    // Its row is read whether it is compiled or not: what is read is a part of what a call may do, on every replica.
    let (library, bytes) = context.keyspace.library(&library)?.ok_or(NOT_FOUND)?;
    parse_i64(args[3]).map_err(|_| BAD_COUNT)?;
    let given = read_call(&args[1..])?;
    check(flags, &mut terms)?;
    if is_read && !flags.no_writes() {
        return Err(REPLACED);
    }
    let library = compiled(&library)?;
    let function = library.function(args[2]).ok_or(NOT_FOUND)?;
    let seed = context.random.next_u64();
    let work = work_behind(bytes, terms.work);
    run_on(context, (&terms, rights), reply, |engine, host| {
        let call = FunctionCall { library: &library, function, keys: given.keys, args: given.args, seed, work };
        engine.call(&call, host)
    })
}

/// `key name`: the flags of a function, and the row of its library. The key says which shard is asked.
pub(super) fn step_library(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let (flags, library) = context.keyspace.function(args[2])?.ok_or(NOT_FOUND)?;
    let (library, _) = context.keyspace.library(&library)?.ok_or(NOT_FOUND)?;
    reply.array(2);
    reply.integer(flags.into());
    reply.bulk(library.encode());
    Ok(())
}

/// A function that is called over several shards.
pub struct LoadedFunction {
    library: Rc<Library>,
    name: Vec<u8>,
    /// Work that the call may do.
    pub work: u64,
}

impl LoadedFunction {
    /// A function by the reply to `step|library`, to be called on `terms`, which say by then whether it may write.
    ///
    /// # Errors
    /// The reply to its call.
    pub fn read(reply: &[u8], name: &[u8], terms: &mut Terms) -> Result<LoadedFunction, Vec<u8>> {
        if value::is_error(reply) {
            return Err(reply.to_vec());
        }
        LoadedFunction::of_row(reply, name, terms).map_err(|error| {
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, Protocol::Resp2).error_display(&error);
            bytes
        })
    }

    fn of_row(reply: &[u8], name: &[u8], terms: &mut Terms) -> Result<LoadedFunction, CommandError> {
        let mut elements = value::split_elements(reply).map_err(|_| NOT_FOUND)?;
        let flags = elements.next().and_then(value::read_integer).and_then(|flags| u8::try_from(flags).ok());
        let row = elements.next().and_then(value::read_bulk).ok_or(NOT_FOUND)?;
        let library = basalt_storage::keyspace::Library::decode(row).ok_or(NOT_FOUND)?;
        check(FunctionFlags::from_bits(flags.ok_or(NOT_FOUND)?), terms)?;
        let library = compiled(&library)?;
        library.function(name).ok_or(NOT_FOUND)?;
        Ok(LoadedFunction { library, name: name.to_vec(), work: work_behind(row.len(), terms.work) })
    }

    /// Calls it, to its end or to the first call that is answered later.
    pub fn start(&self, (keys, args): (Args<'_>, Args<'_>), seed: u64, host: &mut dyn Host) -> Progress {
        let function = self.library.function(&self.name).expect("it was found in it");
        let call = FunctionCall { library: &self.library, function, keys, args, seed, work: self.work };
        with_engine(|engine| engine.start_call(&call, host))
    }
}

#[cfg(test)]
mod tests {
    use basalt_lua::SHORT_SCRIPT_WORK;

    use super::*;
    use crate::commands::FunctionChange;
    use crate::commands::functions::step_args;
    use crate::commands::functions::table::{STEP_FUNCTION, STEP_FUNCTION_RO, STEP_FUNCTIONS};
    use crate::commands::scripts::Reach;
    use crate::commands::testing::Shard;

    const CODE: &str = "#!lua name=lib
local function set(keys, args) return redis.call('set', keys[1], args[1] or 'x') end
redis.register_function('Set', set)
redis.register_function{function_name='get', callback=function(keys) return redis.call('get', keys[1]) end, flags={'no-writes'}}
redis.register_function{function_name='trick', callback=set, flags={'no-writes'}}
redis.register_function{function_name='alone', callback=set, flags={'no-cluster'}}
redis.register_function('counts', function(keys, args) return #keys * 10 + #args end)
redis.register_function('endless', function(keys) set(keys, {}) while true do end end)
redis.register_function('stray', function() return redis.call('get', 'elsewhere') end)";

    fn shard() -> Shard {
        let mut shard = Shard::new();
        load(&mut shard, CODE);
        shard
    }

    fn load(shard: &mut Shard, code: &str) {
        let args: [&[u8]; 4] = [b"function", b"load", b"replace", code.as_bytes()];
        let words = step_args(FunctionChange::Load, &args, u64::MAX).unwrap();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        assert!(shard.step(STEP_FUNCTIONS, &words).starts_with('$'));
    }

    fn call_with(shard: &mut Shard, terms: &Terms, line: &str) -> String {
        let terms_bytes = terms.encode();
        let args: Vec<&[u8]> = [&terms_bytes[..]].into_iter().chain(line.split(' ').map(str::as_bytes)).collect();
        shard.step(if terms.is_read_only { STEP_FUNCTION_RO } else { STEP_FUNCTION }, &args)
    }

    fn terms(is_read_only: bool) -> Terms {
        let (reach, work) = (Reach::All, SHORT_SCRIPT_WORK);
        Terms { is_read_only, in_cluster: false, reach, stops_elsewhere: false, is_wide: true, work, rights: None }
    }

    #[test]
    fn functions_are_called_with_their_keys_and_arguments() {
        let mut shard = shard();
        for (line, expected) in [
            ("set 1 k v", "+OK"),
            ("GET 1 k", "$1 v"),
            ("counts 2 a b c", ":21"),
            ("counts 0", ":0"),
            ("nope x", "-ERR Function not found"),
            ("counts x", "-ERR Bad number of keys provided"),
            ("counts -1", "-ERR Number of keys can't be negative"),
            ("counts 2 a", "-ERR Number of keys can't be greater than number of args"),
            (
                "trick 1 k",
                "-ERR Write commands are not allowed from read-only scripts. script: trick, on @user_function:2.",
            ),
        ] {
            assert_eq!(call_with(&mut shard, &terms(false), line), expected, "{line}");
        }
        assert_eq!(call_with(&mut shard, &terms(true), "get 1 k"), "$1 v");
        let as_read = terms(false).encode();
        assert_eq!(shard.step(STEP_FUNCTION_RO, &[&as_read, b"get", b"1", b"k"]), "$1 v");
        let replaced = shard.step(STEP_FUNCTION_RO, &[&as_read, b"set", b"1", b"k"]);
        assert!(replaced.starts_with("-TRYAGAIN "), "{replaced}");
        let refused = "-ERR Can not execute a script with write flag using *_ro command.";
        assert_eq!(call_with(&mut shard, &terms(true), "set 1 k"), refused);
    }

    #[test]
    fn terms_hold_for_functions_as_for_scripts() {
        let mut shard = shard();
        let in_cluster = Terms { in_cluster: true, ..terms(false) };
        assert_eq!(call_with(&mut shard, &terms(false), "alone 1 k"), "+OK");
        assert_eq!(
            call_with(&mut shard, &in_cluster, "alone 1 k"),
            "-ERR Can not run script on cluster, 'no-cluster' flag is set."
        );
        let near = Terms { reach: Reach::Slots(vec![(0, 0)]), ..terms(false) };
        let reply = call_with(&mut shard, &near, "stray 0");
        assert!(reply.contains("non local key"), "{reply}");
        let reply = call_with(&mut shard, &terms(false), "endless 1 other");
        assert!(reply.starts_with("-ERR the script was stopped and undone"), "{reply}");
        assert_eq!(shard.step(STEP_FUNCTION, &[b"x", b"get", b"0"]), "-ERR the call is of another version");
    }

    #[test]
    fn a_call_pays_for_reading_its_library() {
        let mut shard = Shard::new();
        let code =
            |bytes| format!("#!lua name=lib\nredis.register_function('f', function() end)--{}", "x".repeat(bytes));
        let terms = Terms { work: 10_000, ..terms(false) };
        load(&mut shard, &code(10));
        assert_eq!(call_with(&mut shard, &terms, "f 0"), "$-1");
        load(&mut shard, &code(900_000));
        let reply = call_with(&mut shard, &terms, "f 0");
        assert!(reply.starts_with("-ERR the script was stopped and undone"), "{reply}");
    }

    #[test]
    fn a_call_runs_what_the_rows_have_whatever_was_compiled_before() {
        let (mut one, mut other) = (Shard::new(), Shard::new());
        let code = |text: &str| format!("#!lua name=lib\nredis.register_function('f', function() return {text} end)");
        load(&mut one, &code("1"));
        load(&mut other, &code("2"));
        for _ in 0..2 {
            assert_eq!(call_with(&mut one, &terms(false), "f 0"), ":1");
            assert_eq!(call_with(&mut other, &terms(false), "f 0"), ":2");
        }
        load(&mut one, &code("3"));
        assert_eq!(call_with(&mut one, &terms(false), "f 0"), ":3");
    }
}
