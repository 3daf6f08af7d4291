//! Changes of the libraries: what a call of FUNCTION LOAD, DELETE, FLUSH and RESTORE becomes, and what that does to a shard's rows.
//!
//! ```text
//! load|replace library       adds a library, or puts it in the place of the one of its name
//! delete name                forgets a library
//! flush                      forgets all
//! restore flush|append|replace library …
//! ```
//!
//! A library is as its row has it. A shard executes all of a step or, with an error, nothing; all shards of a node have the same
//! libraries, so all of them say the same.

use std::collections::HashSet;

use basalt_lua::{FunctionFlags, SHORT_SCRIPT_WORK};
use basalt_net::resp::Reply;
use basalt_storage::keyspace::{Function, FunctionTotals, Library};

use super::compiled::learn;
use super::metadata::shown;
use super::payload;
use crate::commands::{Args, CommandError, Context};
use crate::limits;

/// A change of the libraries that a client has called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionChange {
    /// One comes.
    Load,
    /// One goes.
    Delete,
    /// All go.
    Flush,
    /// Those of a payload come.
    Restore,
}

/// The arguments of the step that a call becomes, after loading what it brings with so much work.
///
/// # Errors
/// Redis' texts for what is wrong with the call, or with a library.
pub fn step_args(change: FunctionChange, args: Args<'_>, work: u64) -> Result<Vec<Vec<u8>>, CommandError> {
    let unknown = |name: &str| {
        let text =
            format!("ERR unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.", shown(args[1]));
        debug_assert!(args[1].eq_ignore_ascii_case(name.as_bytes()));
        CommandError::owned(text)
    };
    match change {
        FunctionChange::Delete => Ok(vec![b"delete".to_vec(), args[2].to_vec()]),
        FunctionChange::Flush => match args[2..] {
            [] => Ok(vec![b"flush".to_vec()]),
            [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {
                Ok(vec![b"flush".to_vec()])
            }
            [_] => Err(CommandError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
            _ => Err(unknown("flush")),
        },
        FunctionChange::Load => {
            let (code, options) = args[2..].split_last().expect("its arity is checked");
            if let Some(option) = options.iter().find(|option| !option.eq_ignore_ascii_case(b"replace")) {
                return Err(CommandError::owned(format!("ERR Unknown option given: {}", shown(option))));
            }
            let way: &[u8] = if options.is_empty() { b"load" } else { b"replace" };
            Ok(vec![way.to_vec(), learn(code, work.min(SHORT_SCRIPT_WORK))?.encode()])
        }
        FunctionChange::Restore => {
            let policy = match args[3..] {
                [] => "append",
                [policy] => ["flush", "append", "replace"]
                    .into_iter()
                    .find(|known| policy.eq_ignore_ascii_case(known.as_bytes()))
                    .ok_or(CommandError::text(
                        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
                    ))?,
                _ => return Err(unknown("restore")),
            };
            let mut words = vec![b"restore".to_vec(), policy.as_bytes().to_vec()];
            words.extend(learn_all(args[2], work)?);
            Ok(words)
        }
    }
}

/// Loads the libraries of a payload, as long as a shard has room for them if it has no others; gives them as they are kept.
fn learn_all(bytes: &[u8], work: u64) -> Result<Vec<Vec<u8>>, CommandError> {
    let (mut libraries, mut work_left, mut totals) = (Vec::new(), work, FunctionTotals::default());
    let (mut names, mut functions) = (HashSet::new(), HashSet::new());
    for code in payload::decode(bytes)? {
        let library = learn(&code, work_left)?;
        work_left -= library.work;
        if !names.insert(library.name.clone()) {
            return Err(CommandError::owned(format!("ERR Library '{}' already exists", shown(&library.name))));
        }
        let mut is_new = |function: &&Function| functions.insert(function.name.to_ascii_lowercase());
        if let Some(function) = library.functions.iter().find(|function| !is_new(function)) {
            return Err(function_exists(&function.name));
        }
        let bytes = library.encode();
        totals = totals.with(&library, bytes.len());
        if is_too_much(&totals) {
            return Err(too_much());
        }
        libraries.push(bytes);
    }
    Ok(libraries)
}

fn function_exists(name: &[u8]) -> CommandError {
    CommandError::owned(format!("ERR Function {} already exists", shown(name)))
}

/// Returns whether a shard does not keep as much.
fn is_too_much(totals: &FunctionTotals) -> bool {
    totals.libraries > limits::LIBRARIES_MAX
        || totals.functions > limits::FUNCTIONS_MAX
        || totals.bytes > limits::LIBRARY_BYTES_MAX
        || totals.heap_bytes > limits::LIBRARY_HEAP_BYTES_MAX
        || totals.work > limits::LIBRARY_WORK_MAX
}

/// The reply to a change that would leave too much.
pub fn too_much() -> CommandError {
    CommandError::owned(format!(
        "ERR There would be too many functions: a node has at most {} libraries and {} functions, of {} MB of code that take {} MB \
         in memory and {} instructions to be loaded",
        limits::LIBRARIES_MAX,
        limits::FUNCTIONS_MAX,
        limits::LIBRARY_BYTES_MAX >> 20,
        limits::LIBRARY_HEAP_BYTES_MAX >> 20,
        limits::LIBRARY_WORK_MAX,
    ))
}

/// The functions of a change that do not say that they write nothing, by their names in lower case.
pub fn writing_functions(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let libraries = words.iter().filter_map(|word| Library::decode(word));
    let functions = libraries.flat_map(|library| library.functions);
    let writing = functions.filter(|function| !FunctionFlags::from_bits(function.flags).no_writes());
    writing.map(|function| function.name.to_ascii_lowercase()).collect()
}

/// Returns whether this version of the program knows a change, its libraries too. What it does not know it must not leave undone.
pub fn is_known_change(args: Args<'_>) -> bool {
    let is_library = |bytes: &&[u8]| Library::decode(bytes).is_some();
    match args[1..] {
        [b"load" | b"replace", ref library] => is_library(library),
        [b"delete", _] | [b"flush"] => true,
        [b"restore", b"flush" | b"append" | b"replace", ref libraries @ ..] => libraries.iter().all(is_library),
        _ => false,
    }
}

/// `load|replace|delete|flush|restore …`: changes the libraries of a shard.
pub(super) fn step_functions(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    const OTHER_VERSION: CommandError = CommandError::text("ERR the change of functions is of another version");
    let read = |bytes: &&[u8]| Ok((Library::decode(bytes).ok_or(OTHER_VERSION)?, bytes.to_vec()));
    match args[1..] {
        [way @ (b"load" | b"replace"), ref library] => {
            let (library, bytes) = read(library)?;
            let before = context.keyspace.library(&library.name)?;
            if before.is_some() && way == b"load" {
                return Err(CommandError::owned(format!("ERR Library '{}' already exists", shown(&library.name))));
            }
            let name = library.name.clone();
            exchange(context, before.into_iter().collect(), vec![(library, bytes)])?;
            reply.bulk(name);
        }
        [b"delete", name] => {
            let before = context.keyspace.library(name)?.ok_or(CommandError::text("ERR Library not found"))?;
            exchange(context, vec![before], Vec::new())?;
            reply.ok();
        }
        [b"flush"] => {
            let all = context.keyspace.libraries()?;
            exchange(context, all, Vec::new())?;
            reply.ok();
        }
        [b"restore", policy, ref libraries @ ..] => {
            let added: Vec<(Library, Vec<u8>)> = libraries.iter().map(read).collect::<Result<_, CommandError>>()?;
            let mut before = if policy == b"flush" { context.keyspace.libraries()? } else { Vec::new() };
            for (library, _) in added.iter().filter(|_| policy != b"flush") {
                let Some(same) = context.keyspace.library(&library.name)? else { continue };
                if policy != b"replace" {
                    return Err(CommandError::owned(format!("ERR Library {} already exists", shown(&library.name))));
                }
                before.push(same);
            }
            exchange(context, before, added)?;
            reply.ok();
        }
        _ => return Err(OTHER_VERSION),
    }
    Ok(())
}

/// Forgets libraries and adds others. All is checked before the first row is changed.
fn exchange(
    context: &mut Context<'_>,
    removed: Vec<(Library, usize)>,
    added: Vec<(Library, Vec<u8>)>,
) -> Result<(), CommandError> {
    let keyspace = &mut context.keyspace;
    for function in added.iter().flat_map(|(library, _)| &library.functions) {
        if let Some((_, owner)) = keyspace.function(&function.name)?
            && !removed.iter().any(|(library, _)| library.name == owner)
        {
            return Err(function_exists(&function.name));
        }
    }
    let totals = keyspace.function_totals()?;
    let totals = removed.iter().fold(totals, |totals, (library, bytes)| totals.without(library, *bytes));
    let totals = added.iter().fold(totals, |totals, (library, bytes)| totals.with(library, bytes.len()));
    if is_too_much(&totals) && !added.is_empty() {
        return Err(too_much());
    }
    removed.iter().for_each(|(library, _)| keyspace.delete_library(library));
    added.iter().for_each(|(library, bytes)| keyspace.put_library(library, bytes));
    keyspace.set_function_totals(totals);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::functions::table::STEP_FUNCTIONS;
    use crate::commands::testing::Shard;

    fn code(library: &str, functions: &[&str]) -> String {
        let register = |name: &&str| format!("redis.register_function('{name}', function() return '{library}' end) ");
        format!("#!lua name={library}\n{}", functions.iter().map(register).collect::<String>())
    }

    fn change(shard: &mut Shard, change: FunctionChange, args: &[&[u8]]) -> String {
        let name: &[u8] = match change {
            FunctionChange::Load => b"load",
            FunctionChange::Delete => b"delete",
            FunctionChange::Flush => b"flush",
            FunctionChange::Restore => b"restore",
        };
        match step_args(change, &[&[&b"function"[..], name], args].concat(), limits::LIBRARY_WORK_MAX) {
            Ok(words) => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                shard.step(STEP_FUNCTIONS, &words)
            }
            Err(error) => format!("-{error}"),
        }
    }

    fn load(shard: &mut Shard, options: &[&str], library: &str, functions: &[&str]) -> String {
        let code = code(library, functions);
        let args: Vec<&[u8]> = options.iter().map(|option| option.as_bytes()).chain([code.as_bytes()]).collect();
        change(shard, FunctionChange::Load, &args)
    }

    fn dump(shard: &mut Shard) -> Vec<u8> {
        let reply = shard.run(basalt_net::resp::Protocol::Resp2, &["FUNCTION", "DUMP"]);
        basalt_net::resp::value::read_bulk(&reply).unwrap().to_vec()
    }

    #[test]
    fn libraries_come_go_and_take_the_place_of_others() {
        use FunctionChange::{Delete, Flush, Restore};
        let mut shard = Shard::new();
        let empty = shard.content();
        assert_eq!(load(&mut shard, &[], "a", &["f", "g"]), "$1 a");
        let before = shard.content();
        assert_eq!(load(&mut shard, &[], "a", &["f"]), "-ERR Library 'a' already exists");
        assert_eq!(load(&mut shard, &["now"], "a", &["f"]), "-ERR Unknown option given: now");
        assert_eq!(load(&mut shard, &[], "b", &["h", "F"]), "-ERR Function F already exists");
        assert_eq!(change(&mut shard, Delete, &[b"b"]), "-ERR Library not found");
        assert_eq!(change(&mut shard, Flush, &[b"x"]), "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'flush'. Try FUNCTION HELP.";
        assert_eq!(change(&mut shard, Flush, &[b"sync", b"x"]), wrong);
        assert_eq!(shard.content(), before);
        let payload = dump(&mut shard);
        assert_eq!(change(&mut shard, Restore, &[&payload]), "-ERR Library a already exists");
        assert_eq!(load(&mut shard, &["replace"], "a", &["g", "h"]), "$1 a");
        assert_eq!(load(&mut shard, &[], "b", &["f"]), "$1 b");
        assert_eq!(change(&mut shard, Restore, &[&payload, b"replace"]), "-ERR Function f already exists");
        assert_eq!(change(&mut shard, Delete, &[b"a"]), "+OK");
        let both = dump(&mut shard);
        assert_eq!(change(&mut shard, Restore, &[&both, b"replace"]), "+OK");
        assert_eq!(change(&mut shard, Restore, &[&payload, b"FLUSH"]), "+OK");
        assert_eq!(shard.content(), before);
        assert_eq!(
            change(&mut shard, Restore, &[&payload, b"no"]),
            "-ERR Wrong restore policy given, value should be either FLUSH, \
             APPEND or REPLACE."
        );
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.";
        assert_eq!(change(&mut shard, Restore, &[&payload, b"flush", b"x"]), wrong);
        assert_eq!(change(&mut shard, Flush, &[b"ASYNC"]), "+OK");
        assert_eq!(shard.content(), empty);
        assert_eq!(change(&mut shard, Restore, &[&payload, b"append"]), "+OK");
        assert_eq!(shard.content(), before);
        assert_eq!(change(&mut shard, Delete, &[b"a"]), "+OK");
        assert_eq!(shard.content(), empty);
    }

    #[test]
    fn libraries_are_bounded_in_number_functions_and_bytes() {
        let mut shard = Shard::new();
        for number in 0..limits::LIBRARIES_MAX {
            let name = format!("l{number}");
            assert_eq!(load(&mut shard, &[], &name, &[&format!("f{number}")]), format!("${} {name}", name.len()));
        }
        assert!(load(&mut shard, &[], "more", &["more"]).starts_with("-ERR There would be too many functions"));
        assert!(load(&mut shard, &["replace"], "l0", &["more"]).starts_with("$2"));
        let payload = dump(&mut shard);
        assert_eq!(change(&mut shard, FunctionChange::Restore, &[&payload, b"flush"]), "+OK");
        let mut shard = Shard::new();
        let padded = |name: &str, bytes: u64| {
            let code = code(name, &[name]);
            format!("{code}--{}", "x".repeat(bytes as usize - code.len() - 2))
        };
        for name in ["a", "b", "c", "d"] {
            let code = padded(name, limits::ONE_LIBRARY_BYTES_MAX - 200);
            assert_eq!(change(&mut shard, FunctionChange::Load, &[code.as_bytes()]), format!("$1 {name}"));
        }
        let refused = change(&mut shard, FunctionChange::Load, &[padded("e", 1000).as_bytes()]);
        assert!(refused.starts_with("-ERR There would be too many functions"), "{refused}");
        let described = "#!lua name=e\nredis.register_function{function_name='e', callback=function() end, \
             description=('x'):rep(2^20)}";
        for code in [padded("e", limits::ONE_LIBRARY_BYTES_MAX + 1), described.to_owned()] {
            let refused = change(&mut shard, FunctionChange::Load, &[code.as_bytes()]);
            assert!(refused.starts_with("-ERR a library has at most"), "{refused}");
        }
    }

    #[test]
    fn a_payload_is_refused_whose_libraries_do_not_go_together() {
        let restore = |codes: &[String]| {
            let codes: Vec<&[u8]> = codes.iter().map(String::as_bytes).collect();
            let payload = payload::encode(codes.into_iter());
            change(&mut Shard::new(), FunctionChange::Restore, &[&payload])
        };
        assert_eq!(restore(&[code("a", &["f"]), code("a", &["g"])]), "-ERR Library 'a' already exists");
        assert_eq!(restore(&[code("a", &["f"]), code("b", &["g", "F"])]), "-ERR Function F already exists");
        assert_eq!(restore(&["return".to_owned()]), "-ERR Missing library metadata");
        assert_eq!(restore(&[code("a", &[])]), "-ERR No functions registered");
        assert_eq!(restore(&[]), "+OK");
        // They are small themselves, and say much.
        let telling = |number: usize| {
            let text = format!("('{number}'):rep(2^18)");
            format!(
                "#!lua name=l{number}\nredis.register_function{{function_name='f{number}', callback=function() end, description={text}}}"
            )
        };
        assert_eq!(restore(&(0..9).map(telling).collect::<Vec<String>>()), "+OK");
        let refused = restore(&(0..20).map(telling).collect::<Vec<String>>());
        assert!(refused.starts_with("-ERR There would be too many functions"), "{refused}");
    }

    #[test]
    fn steps_of_other_versions_are_refused() {
        let mut shard = Shard::new();
        for words in [&[&b"load"[..], b"x"][..], &[b"what"], &[b"delete"], &[b"restore", b"append", b"x"]] {
            assert_eq!(
                shard.step(STEP_FUNCTIONS, words),
                "-ERR the change of functions is of another version",
                "{words:?}"
            );
            assert!(!is_known_change(&[&[&b"step"[..]], words].concat()), "{words:?}");
        }
        let code = code("a", &["f"]);
        let words =
            step_args(FunctionChange::Load, &[b"function", b"load", code.as_bytes()], SHORT_SCRIPT_WORK).unwrap();
        let library = &words[1][..];
        for words in [
            &[&b"load"[..], library][..],
            &[b"replace", library],
            &[b"delete", b"x"],
            &[b"flush"],
            &[b"restore", b"append"],
            &[b"restore", b"flush", library, library],
        ] {
            assert!(is_known_change(&[&[&b"step"[..]], words].concat()), "{words:?}");
        }
    }
}
