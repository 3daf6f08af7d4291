//! COMMAND, COMMAND COUNT, INFO and LIST: what the command table says.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::facts::{BeginSearch, FindKeys, Flags, KeySpec};
use crate::commands::table::{self, commands};
use crate::commands::{Args, Command, CommandError, glob_matches_any_case};

/// `COMMAND`.
pub(super) fn all(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    write_all(reply);
    Ok(Outcome::Done)
}

fn write_all(reply: &mut Reply<'_>) {
    reply.array(commands().count());
    for command in commands() {
        write_info(command, reply);
    }
}

/// `COMMAND COUNT`.
pub(super) fn count(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.integer(commands().count() as i64);
    Ok(Outcome::Done)
}

/// `COMMAND INFO [name …]`.
pub(super) fn info(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let names = args.get(2..).unwrap_or_default();
    if names.is_empty() {
        write_all(reply);
        return Ok(Outcome::Done);
    }
    reply.array(names.len());
    for name in names {
        match table::named(name) {
            Some(command) => write_info(command, reply),
            None => reply.null(),
        }
    }
    Ok(Outcome::Done)
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`, subcommands included.
pub(super) fn list(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let filter = match args {
        [_, _] => Filter::All,
        [_, _, word, what, value] if word.eq_ignore_ascii_case(b"filterby") => {
            match what.to_ascii_lowercase().as_slice() {
                b"module" => Filter::Nothing,
                b"aclcat" => Filter::Category(value),
                b"pattern" => Filter::Pattern(value),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let (mark, mut count) = (reply.mark(), 0);
    for command in table::with_subcommands() {
        if filter.lets_through(command) {
            reply.bulk(command.name());
            count += 1;
        }
    }
    reply.array_before(mark, count);
    Ok(Outcome::Done)
}

enum Filter<'a> {
    All,
    /// There are no modules.
    Nothing,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn lets_through(&self, command: &Command) -> bool {
        match self {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Category(wanted) => {
                command.facts.categories.iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(wanted))
            }
            Filter::Pattern(pattern) => glob_matches_any_case(pattern, command.name().as_bytes()),
        }
    }
}

/// The ten elements of `COMMAND INFO` (<https://redis.io/docs/latest/commands/command/>).
fn write_info(command: &Command, reply: &mut Reply<'_>) {
    let facts = command.facts;
    let (first, last, step) = facts.keys;
    reply.array(10);
    reply.bulk(facts.name);
    reply.integer(facts.arity.into());
    write_flags(facts.flags, reply);
    reply.integer(first.into());
    reply.integer(last.into());
    reply.integer(step.into());
    write_words(facts.categories, reply);
    reply.set(facts.tips.len());
    for tip in facts.tips {
        reply.bulk(tip);
    }
    reply.set(facts.key_specs.len());
    for spec in facts.key_specs {
        write_key_spec(spec, reply);
    }
    match command.subcommands {
        [] => reply.set(0),
        subcommands => {
            reply.array(subcommands.len());
            for subcommand in subcommands {
                write_info(subcommand, reply);
            }
        }
    }
}

fn write_flags(flags: Flags, reply: &mut Reply<'_>) {
    let (mark, mut count) = (reply.mark(), 0);
    for name in flags.names() {
        reply.simple(name);
        count += 1;
    }
    reply.set_before(mark, count);
}

/// A set of words.
pub(super) fn write_words(words: &[&str], reply: &mut Reply<'_>) {
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}

fn write_key_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(if spec.notes.is_some() { 4 } else { 3 });
    if let Some(notes) = spec.notes {
        reply.bulk("notes");
        reply.bulk(notes);
    }
    reply.bulk("flags");
    write_words(spec.flags, reply);
    reply.bulk("begin_search");
    match spec.begin {
        BeginSearch::Index(index) => write_typed("index", &[("index", index)], reply),
        BeginSearch::Keyword(word, from) => {
            reply.map(2);
            reply.bulk("type");
            reply.bulk("keyword");
            reply.bulk("spec");
            reply.map(2);
            reply.bulk("keyword");
            reply.bulk(word);
            reply.bulk("startfrom");
            reply.integer(from);
        }
        BeginSearch::Unknown => write_typed("unknown", &[], reply),
    }
    reply.bulk("find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            write_typed("range", &[("lastkey", last), ("keystep", step), ("limit", limit)], reply);
        }
        FindKeys::Count { count_at, first, step } => {
            write_typed("keynum", &[("keynumidx", count_at), ("firstkey", first), ("keystep", step)], reply);
        }
        FindKeys::Unknown => write_typed("unknown", &[], reply),
    }
}

fn write_typed(kind: &str, numbers: &[(&str, i64)], reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(kind);
    reply.bulk("spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name);
        reply.integer(*number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn info_is_written_as_redis_writes_it() {
        let mut client = Client::new();
        assert_eq!(
            client.ask("command info get nosuch client|nosuch"),
            "*3|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*1|*6|$5|flags|*2|+RO|+access|\
             $12|begin_search|*4|$4|type|$5|index|$4|spec|*2|$5|index|:1|$9|find_keys|*4|$4|type|$5|range|$4|spec|*6|\
             $7|lastkey|:0|$7|keystep|:1|$5|limit|:0|*0|$-1|$-1|"
        );
        client.ask("hello 3");
        assert_eq!(
            client.ask("command info CLIENT|ID"),
            "*1|*10|$9|client|id|:2|~3|+noscript|+loading|+stale|:0|:0|:0|~2|+@slow|+@connection|~0|~0|~0|"
        );
    }

    #[test]
    fn command_tells_of_all_that_count_counts() {
        let mut client = Client::new();
        let count = commands().count();
        assert!(count > 50, "{count}");
        assert_eq!(client.ask("command count"), format!(":{count}|"));
        let all = client.ask("command");
        assert!(all.starts_with(&format!("*{count}|*10|")));
        assert_eq!(all, client.ask("command info"));
    }

    #[test]
    fn list_filters() {
        let mut client = Client::new();
        let with_subcommands = commands().map(|command| 1 + command.subcommands.len()).sum::<usize>();
        assert!(client.ask("command list").starts_with(&format!("*{with_subcommands}|")));
        assert_eq!(client.ask("command list filterby module x"), "*0|");
        assert_eq!(client.ask("command list filterby aclcat nosuch"), "*0|");
        assert_eq!(client.ask("command list filterby pattern GETR*"), "*1|$8|getrange|");
        let connection = client.ask("command list FILTERBY aclcat CONNECTION");
        assert!(connection.contains("|client|id|") && !connection.contains("|get|"), "{connection}");
        assert_eq!(client.ask("command list filterby x y"), "-ERR syntax error|");
        assert_eq!(client.ask("command list filterby pattern"), "-ERR syntax error|");
    }
}
