//! COMMAND GETKEYS and GETKEYSANDFLAGS: where the keys of a whole command are.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::command::write_words;
use super::outcome::{Outcome, Ran};
use crate::commands::facts::Flags;
use crate::commands::{Args, CommandError, find_keys, flags_of_call, once, table};

/// `COMMAND GETKEYS command…`.
pub(super) fn get_keys(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let args = &args[2..];
    let keys = keys(args)?;
    reply.array(keys.len());
    for (position, _) in keys {
        reply.bulk(args[position]);
    }
    Ok(Outcome::Done)
}

/// `COMMAND GETKEYSANDFLAGS command…`.
pub(super) fn get_keys_and_flags(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let args = &args[2..];
    let keys = keys(args)?;
    reply.array(keys.len());
    for (position, flags) in keys {
        reply.array(2);
        reply.bulk(args[position]);
        write_words(flags, reply);
    }
    Ok(Outcome::Done)
}

/// The position of each key in `args`, and how it is used.
fn keys(args: Args<'_>) -> Result<Vec<(usize, &'static [&'static str])>, CommandError> {
    let command = table::called(args).ok_or(CommandError::text("ERR Invalid command specified"))?;
    if command.facts.key_specs.is_empty() {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if command.check_arity(args).is_err() {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    if let Some((_, inner)) = once::inner(command, args) {
        let behind = |(position, flags)| (once::COMMAND_AT + position, flags);
        return Ok(keys(inner)?.into_iter().map(behind).collect());
    }
    let mut keys = Vec::new();
    for spec in command.facts.key_specs {
        let Some((first, end, step)) = find_keys(spec, args) else { continue };
        let flags = if spec.flags.contains(&"variable_flags") { flags_of_call(command, args) } else { spec.flags };
        // That is about the specification, which does not tell all; the keys of this call are known.
        let flags = flags.strip_suffix(&["incomplete"]).unwrap_or(flags);
        keys.extend((first..end).step_by(step).map(|position| (position, flags)));
    }
    if keys.is_empty() && !command.facts.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::text("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::commands::Command;

    #[test]
    fn keys_are_found() {
        let mut client = Client::new();
        assert_eq!(client.ask("command getkeys mset a b c d"), "*2|$1|a|$1|c|");
        assert_eq!(client.ask("command getkeys object encoding a"), "*1|$1|a|");
        assert_eq!(client.ask("command getkeys basalt once 1-c 1 mset a b c d"), "*2|$1|a|$1|c|");
        assert_eq!(client.ask("command getkeysandflags basalt once 1-c 1 mset a b"), "*1|*2|$1|a|*2|+OW|+update|");
        let nothing = "-ERR Invalid arguments specified for command|";
        assert_eq!(client.ask("command getkeys basalt once 1-c 1 nosuch a"), nothing);
        assert_eq!(client.ask("command getkeysandflags mset a b"), "*1|*2|$1|a|*2|+OW|+update|");
        let moved = "*2|$1|a|*3|+RW|+access|+delete|";
        assert_eq!(client.ask("command getkeysandflags migrate h 1 a 0 1 auth keys"), format!("*1|{moved}"));
        assert_eq!(client.ask("command getkeys migrate h 1 a 0 1 keys b"), nothing);
        assert_eq!(client.ask("command getkeysandflags set a b"), "*1|*2|$1|a|*2|+OW|+update|");
        assert_eq!(client.ask("command getkeysandflags set a b GET"), "*1|*2|$1|a|*3|+RW|+access|+update|");
        assert_eq!(client.ask("command getkeysandflags copy a b"), "*2|*2|$1|a|*2|+RO|+access|*2|$1|b|*2|+OW|+update|");
    }

    #[test]
    fn what_has_no_keys_is_refused_in_the_words_of_redis() {
        let mut client = Client::new();
        for (line, error) in [
            ("command getkeys ping x", "ERR The command has no key arguments"),
            ("command getkeys set a", "ERR Invalid number of arguments specified for command"),
            ("command getkeys nosuch a", "ERR Invalid command specified"),
            ("command getkeys object nosuch", "ERR Invalid command specified"),
            ("command getkeys ping", "ERR wrong number of arguments for 'command|getkeys' command"),
        ] {
            assert_eq!(client.ask(line), format!("-{error}|"), "{line}");
        }
    }

    #[test]
    fn options_decide_what_set_and_bitfield_alone_do_with_their_keys() {
        let variable =
            |command: &&Command| command.facts.key_specs.iter().any(|spec| spec.flags.contains(&"variable_flags"));
        let names: Vec<_> = table::commands().filter(variable).map(Command::name).collect();
        assert_eq!(names, ["set", "bitfield"]);
        let mut client = Client::new();
        assert_eq!(client.ask("command getkeysandflags bitfield a get u8 0"), "*1|*2|$1|a|*2|+RO|+access|");
        let written = "*1|*2|$1|a|*3|+RW|+access|+update|";
        assert_eq!(client.ask("command getkeysandflags bitfield a get u8 0 SET u8 0 1"), written);
        assert_eq!(client.ask("command getkeysandflags bitfield a incrby u8 0 1"), written);
    }
}
