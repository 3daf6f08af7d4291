//! The one table of commands: its rows by family, and how a command is found in it by name or id.
//!
//! What a newcomer would get wrong: a command's id is part of the log format. It names the command in Raft entries, so an
//! id is never changed and never used again for another command.

pub use super::functions::table::{STEP_FUNCTION, STEP_FUNCTION_RO, STEP_FUNCTIONS, STEP_LIBRARY};
pub use super::hashes::table::DELETE_EXPIRED_FIELDS;
#[cfg(test)]
pub use super::keys::table::STEP_DELETE;
pub use super::keys::table::{
    DELETE_EXPIRED, STEP_DESCRIBE, STEP_READ, STEP_REMOVE, STEP_SCAN, STEP_SCAN_ALL, STEP_TELL, STEP_WRITE,
};
pub use super::lists::table::{STEP_LOOK, STEP_MOVE};
pub use super::scripts::table::{STEP_REFUSE, STEP_SCRIPT, STEP_SCRIPT_RO, STEP_TRY};
pub use super::server::table::ONCE;
pub use super::streams::table::{STEP_READ_ENTRIES, STEP_READ_GROUP};
pub use super::transactions::table::{
    STEP_ABORT, STEP_COMMIT, STEP_DECIDE, STEP_EXEC, STEP_FORGET, STEP_PREPARE, STEP_UNWATCH, STEP_WATCH,
};
pub use super::whole_keys::table::STEP_DUMP;

use std::sync::LazyLock;

use super::{
    Args, Command, CommandError, cluster, connection, functions, geo, hashes, keys, lists, pubsub, raft, scripts,
    server, sets, sorted_sets, sorting, streams, strings, transactions, whole_keys,
};

/// Ids are below this, so that a plain array finds them.
pub const ID_END: usize = 1600;

/// All commands that clients can name, by family.
static FAMILIES: [&[Command]; 18] = [
    strings::table::COMMANDS,
    keys::table::COMMANDS,
    lists::table::COMMANDS,
    sets::table::COMMANDS,
    hashes::table::COMMANDS,
    sorted_sets::table::COMMANDS,
    geo::table::COMMANDS,
    sorting::table::COMMANDS,
    whole_keys::table::COMMANDS,
    streams::table::COMMANDS,
    server::table::COMMANDS,
    connection::table::COMMANDS,
    pubsub::table::COMMANDS,
    cluster::table::COMMANDS,
    scripts::table::COMMANDS,
    functions::table::COMMANDS,
    transactions::table::COMMANDS,
    raft::table::COMMANDS,
];

/// All commands that clients can name, containers but not their subcommands.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// All commands that clients can name, each container's subcommands behind it.
pub fn with_subcommands() -> impl Iterator<Item = &'static Command> {
    commands().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

/// The command named `name`, whatever its case.
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    INDEX.lookup(name)
}

/// The command that COMMAND tells as `name`, whatever its case: a subcommand as `container|subcommand`.
pub fn named(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => lookup(name),
        Some(bar) => {
            let container = lookup(&name[..bar])?;
            container.subcommands.iter().find(|command| command.name().as_bytes().eq_ignore_ascii_case(name))
        }
    }
}

/// The command with the id `id`, subcommands and internal commands included.
pub fn by_id(id: u16) -> Option<&'static Command> {
    INDEX.by_id.get(usize::from(id)).copied().flatten()
}

/// Returns whether the command `ran` is all of what a client that called `asked` has asked for, and no step of it.
pub fn is_whole(asked: u16, ran: u16) -> bool {
    asked == ran || by_id(asked).is_some_and(|command| command.reads_as == Some(ran))
}

/// The command or subcommand that `args` call, if they are enough arguments for it.
///
/// # Errors
/// Redis' texts for an unknown command or subcommand and for a wrong number of arguments.
pub fn find(args: Args<'_>) -> Result<&'static Command, CommandError> {
    let command = match called(args) {
        Some(command) => command,
        None => return Err(unknown(args)),
    };
    command.check_arity(args)?;
    Ok(command)
}

/// The command or subcommand that `args` name, whatever their number.
pub fn called(args: Args<'_>) -> Option<&'static Command> {
    let command = lookup(args.first()?)?;
    match args.get(1) {
        Some(name) if !command.subcommands.is_empty() => command.subcommand(name),
        _ => Some(command),
    }
}

fn unknown(args: Args<'_>) -> CommandError {
    match (args, args.first().and_then(|name| lookup(name))) {
        ([_, name, ..], Some(container)) => CommandError::unknown_subcommand(container.name(), name),
        _ => CommandError::unknown_command(args),
    }
}

/// Places of the name index: a power of two, at most half full.
const NAME_PLACES: usize = 1024;

/// Finds commands by name and by id.
struct Index {
    /// Open addressing with linear probing by [`hash`].
    by_name: Box<[Option<&'static Command>; NAME_PLACES]>,
    by_id: Box<[Option<&'static Command>; ID_END]>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { by_name: Box::new([None; NAME_PLACES]), by_id: Box::new([None; ID_END]) };
    for command in commands() {
        let mut place = hash(command.name().as_bytes());
        while let Some(other) = index.by_name[place] {
            assert!(other.name() != command.name(), "'{}' is in the table twice", command.name());
            place = (place + 1) % NAME_PLACES;
        }
        index.by_name[place] = Some(command);
    }
    let internal = [
        keys::table::INTERNAL,
        hashes::table::INTERNAL,
        lists::table::INTERNAL,
        streams::table::INTERNAL,
        transactions::table::INTERNAL,
        scripts::table::INTERNAL,
        functions::table::INTERNAL,
        whole_keys::table::INTERNAL,
        whole_keys::table::BEFORE,
    ];
    let internal = internal.into_iter().flatten();
    for command in with_subcommands().chain(internal) {
        let place = &mut index.by_id[usize::from(command.id)];
        assert!(place.is_none(), "'{}' has the id of another command", command.name());
        *place = Some(command);
    }
    index
});

impl Index {
    fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        let mut place = hash(name);
        while let Some(command) = self.by_name[place] {
            if command.name().as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            place = (place + 1) % NAME_PLACES;
        }
        None
    }
}

/// A hash that ignores the case of ASCII letters, of the first and the last eight bytes and the length.
fn hash(name: &[u8]) -> usize {
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte | 0x20));
    let head = word(&name[..name.len().min(8)]);
    let tail = if name.len() > 8 { word(&name[name.len() - 8..]) } else { 0 };
    let mixed = (head ^ tail.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - NAME_PLACES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;
    use crate::commands::facts::Flags;
    use crate::commands::testing::Shard;
    use crate::commands::{Kind, Scatter};

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn commands_are_found_in_any_case() {
        for command in commands() {
            for name in [command.name().to_owned(), command.name().to_uppercase()] {
                assert!(std::ptr::eq(lookup(name.as_bytes()).unwrap(), command), "{name}");
            }
            assert!(std::ptr::eq(by_id(command.id).unwrap(), command));
        }
        for name in ["", "foo", "ge", "gett", "step|scan", "object|encoding", "a-very-long-name-of-no-command"] {
            assert!(lookup(name.as_bytes()).is_none(), "{name}");
        }
        assert!(by_id(0).is_none());
        assert!(by_id(u16::MAX).is_none());
    }

    #[test]
    fn calls_are_checked_before_they_run() {
        for (line, expected) in [
            ("GET k", "get"),
            ("object ENCODING k", "object|encoding"),
            ("MSET a 1 b 2", "mset"),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("GET a b", "ERR wrong number of arguments for 'get' command"),
            ("MGET", "ERR wrong number of arguments for 'mget' command"),
            ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
            ("OBJECT", "ERR wrong number of arguments for 'object' command"),
            ("OBJECT ENCODING", "ERR wrong number of arguments for 'object|encoding' command"),
            ("OBJECT foo k", "ERR unknown subcommand 'foo'. Try OBJECT HELP."),
            ("FOO a b", "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "),
        ] {
            let found = find(&words(line)).map_or_else(|error| error.to_string(), |command| command.name().to_owned());
            assert_eq!(found, expected, "{line}");
        }
        assert!(find(&[]).is_err());
    }

    #[test]
    fn scattered_commands_fit_their_facts() {
        for command in commands() {
            let (first, last, step) = command.facts.keys;
            if let Scatter::Split { step: words, .. } = command.scatter {
                assert_eq!((first, last, usize::try_from(step)), (1, -1, Ok(words)), "{}", command.name());
            }
            if matches!(command.kind, Kind::Read(_)) {
                assert!(!command.facts.flags.contains(Flags::WRITE), "{}", command.name());
            }
            // What a script writes its commands say.
            if command.is_write() && !command.runs_script {
                assert!(command.facts.flags.contains(Flags::WRITE), "{}", command.name());
            }
        }
    }

    #[test]
    fn nothing_is_written_by_a_command_that_fails() {
        let mut shard = Shard::new();
        for line in ["SET s v", "RPUSH l a b", "HSET h f v", "SADD set m", "ZADD z 1 m", "XADD x 1-1 f v"] {
            shard.line(line);
        }
        let before = shard.content();
        let keys = ["s", "l", "h", "set", "z", "x", "none"];
        let arguments = ["x", "-1", "1.5", "NX", "9223372036854775807", "", "EX"];
        for command in commands().filter(|command| command.is_write()) {
            for key in keys {
                for argument in arguments {
                    for count in 0..5 {
                        let mut words = vec![command.name(), key];
                        words.extend(std::iter::repeat_n(argument, count));
                        let mut copy = shard.copy();
                        if copy.run(Protocol::Resp2, &words).starts_with(b"-") {
                            assert_eq!(copy.content(), before, "{words:?}");
                        }
                    }
                }
            }
        }
    }
}
