//! The one table of commands: which there are, how each runs, and how it is spread over shards.
//!
//! What a newcomer would get wrong: a command's id is part of the log format. It names the command in Raft entries, so an
//! id is never changed and never used again for another command.

pub use super::keys::table::{DELETE_EXPIRED, STEP_DELETE, STEP_READ, STEP_SCAN, STEP_WRITE};

use std::sync::LazyLock;

use super::facts::{BeginSearch, Facts, FindKeys, Flags, KeySpec};
use super::{
    Args, CommandError, Rows, Run, connection, hashes, keys, lists, server, sets, sorted_sets, streams, strings,
};

/// Ids are below this, so that a plain array finds them.
pub const ID_END: usize = 1024;

/// How a command runs.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Reads the shard.
    Read(Run),
    /// Changes the shard, through its log.
    Write(Run),
    /// Concerns the connection or the node; runs where the connection lives.
    Session(SessionCommand),
}

/// The commands that concern the connection or the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the Redis command of that name")]
pub enum SessionCommand {
    Auth,
    ClientGetName,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    CommandHelp,
    CommandInfo,
    CommandList,
    ConfigGet,
    ConfigHelp,
    ConfigResetStat,
    ConfigRewrite,
    ConfigSet,
    Echo,
    Hello,
    Info,
    LastSave,
    ObjectHelp,
    Ping,
    Quit,
    Reset,
    Role,
    Select,
    Shutdown,
    Time,
    XGroupHelp,
    XInfoHelp,
}

/// How a command whose keys are on several shards of this node is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scatter {
    /// All keys must be on one shard, which runs it whole.
    Keys,
    /// Every shard runs it on its own keys; the arguments from 1 on come in groups of `step`, each starting with a key.
    Split {
        /// Arguments per key, the key included.
        step: usize,
        /// How the shards' replies become one.
        merge: Merge,
    },
    /// Every shard runs it.
    AllShards {
        /// How the shards' replies become one.
        merge: Merge,
    },
    /// It has no key: it concerns no shard, or any will do.
    None,
    /// The core puts it together from the shards' steps.
    Special(Special),
}

/// How the replies of several shards become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// `OK` if all say so.
    Ok,
    /// Arrays, one element per key, are put in the order of the request's keys.
    ArrayInOrder,
    /// Arrays are joined.
    Concat,
}

/// Commands that the core puts together from several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Walks the shards one after the other, a bounded step per call.
    Scan,
    /// Asks every shard in bounded steps until each is through.
    Keys,
    /// Asks one shard, then the others if that has none.
    RandomKey,
    /// Moves a key, maybe to another shard.
    Rename,
    /// Copies a key, maybe to another shard.
    Copy,
}

/// One command or subcommand.
pub struct Command {
    /// What clients are told of it.
    pub facts: &'static Facts,
    /// Its number in the log format.
    pub id: u16,
    /// How it runs.
    pub kind: Kind,
    /// How it is spread over shards.
    pub scatter: Scatter,
    /// A container's subcommands; empty for all others.
    pub subcommands: &'static [Command],
    /// Which rows it reads.
    pub rows: Rows,
    /// Whether a write's reply has values of keys.
    values: RepliedValues,
}

/// Whether the reply to a write has values of keys in it, so that it may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepliedValues {
    /// Never.
    None,
    /// If the key has some.
    Always,
    /// If this word is among the arguments from the third on.
    With(&'static str),
}

impl Command {
    /// A command that reads the shard of its keys.
    pub(super) const fn read(id: u16, facts: &'static Facts, run: Run) -> Command {
        Command {
            facts,
            id,
            kind: Kind::Read(run),
            scatter: Scatter::Keys,
            subcommands: &[],
            rows: Rows::KeysAndOthers,
            values: RepliedValues::Always,
        }
    }

    /// A command that changes the shard of its keys.
    pub(super) const fn write(id: u16, facts: &'static Facts, run: Run) -> Command {
        Command {
            facts,
            id,
            kind: Kind::Write(run),
            scatter: Scatter::Keys,
            subcommands: &[],
            rows: Rows::KeysAndOthers,
            values: RepliedValues::None,
        }
    }

    /// A command of the connection or the node.
    pub(super) const fn session(id: u16, facts: &'static Facts, command: SessionCommand) -> Command {
        Command {
            facts,
            id,
            kind: Kind::Session(command),
            scatter: Scatter::None,
            subcommands: &[],
            rows: Rows::KeysAndOthers,
            values: RepliedValues::None,
        }
    }

    /// This command, spread over shards like that.
    pub(super) const fn scattered(self, scatter: Scatter) -> Command {
        Command { scatter, ..self }
    }

    /// This command, which reads these rows.
    pub(super) const fn reads(self, rows: Rows) -> Command {
        Command { rows, ..self }
    }

    /// This command, whose reply has what it removes or replaces.
    pub(super) const fn returning(self) -> Command {
        Command { values: RepliedValues::Always, ..self }
    }

    /// This command, whose reply has what it replaces if its arguments have `word`.
    pub(super) const fn returning_with(self, word: &'static str) -> Command {
        Command { values: RepliedValues::With(word), ..self }
    }

    /// Whether the reply may have values of keys in it, and so be large.
    pub fn returns_values(&self, args: Args<'_>) -> bool {
        match self.values {
            RepliedValues::None => false,
            RepliedValues::Always => true,
            RepliedValues::With(word) => args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes())),
        }
    }

    /// Whether a call of so many arguments may have such a reply, for who has not taken them apart.
    pub fn may_return_values(&self, arg_count: u64) -> bool {
        match self.values {
            RepliedValues::None => false,
            RepliedValues::Always => true,
            RepliedValues::With(_) => arg_count > 2,
        }
    }

    /// This command, with subcommands.
    pub(super) const fn containing(self, subcommands: &'static [Command]) -> Command {
        Command { subcommands, ..self }
    }

    /// The name in lower case; a subcommand's is `container|subcommand`.
    pub fn name(&self) -> &'static str {
        self.facts.name
    }

    /// Whether it changes the shard.
    pub fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write(_))
    }

    /// The seed of the random numbers that it draws, if it does.
    pub fn seed(&self) -> Option<u64> {
        matches!(self.id, sets::table::SPOP | keys::table::RANDOMKEY).then(rand::random)
    }

    /// Checks the number of arguments.
    ///
    /// # Errors
    /// Redis' "wrong number of arguments".
    pub fn check_arity(&self, args: Args<'_>) -> Result<(), CommandError> {
        let arity = usize::from(self.facts.arity.unsigned_abs());
        let fits = if self.facts.arity < 0 { args.len() >= arity } else { args.len() == arity };
        let fits = match self.scatter {
            // otherwise one shard would refuse its part when others have done theirs
            Scatter::Split { step, .. } => fits && (args.len() - 1).is_multiple_of(step),
            _ => fits,
        };
        if fits { Ok(()) } else { Err(CommandError::wrong_argument_count(self.name())) }
    }

    /// Where the keys are in `args`. Empty if the arguments make no sense: then the handler says what is wrong.
    pub fn keys<'a>(&self, args: Args<'a>) -> KeyPositions<'a> {
        let (first, last, step) = self.facts.keys;
        if self.facts.flags.contains(Flags::MOVABLEKEYS) {
            return KeyPositions { args, specs: self.facts.key_specs, next: 0, end: 0, step: 1 };
        }
        let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
        let end = (last + 1).clamp(0, args.len() as i64) as usize;
        let end = if first == 0 { 0 } else { end };
        KeyPositions { args, specs: &[], next: first.max(0) as usize, end, step: step.max(1) as usize }
    }

    /// The subcommand named `name`, whatever its case.
    fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| {
            let short = command.facts.name.split_once('|').map_or(command.facts.name, |(_, short)| short);
            short.as_bytes().eq_ignore_ascii_case(name)
        })
    }
}

/// The positions of a command's keys among its arguments.
#[derive(Debug, Clone)]
pub struct KeyPositions<'a> {
    args: Args<'a>,
    specs: &'static [KeySpec],
    next: usize,
    end: usize,
    step: usize,
}

impl Iterator for KeyPositions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            if self.next < self.end {
                let position = self.next;
                self.next += self.step;
                return Some(position);
            }
            let (spec, rest) = self.specs.split_first()?;
            self.specs = rest;
            let (first, end, step) = find_keys(spec, self.args).unwrap_or((0, 0, 1));
            (self.next, self.end, self.step) = (first, end, step);
        }
    }
}

/// The range `first..end` with a step that `spec` finds in `args`; `None` if they do not fit it.
pub(crate) fn find_keys(spec: &KeySpec, args: Args<'_>) -> Option<(usize, usize, usize)> {
    let start = match spec.begin {
        BeginSearch::Index(index) => usize::try_from(index).ok()?,
        BeginSearch::Keyword(word, from) => {
            let from = usize::try_from(from).ok()?;
            let at = args.iter().skip(from).position(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))?;
            from + at + 1
        }
    };
    let (end, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            let end = if last >= 0 {
                start.checked_add(usize::try_from(last).ok()?)? + 1
            } else {
                let end = args.len().checked_sub(usize::try_from(-1 - last).ok()?)?;
                let limit = usize::try_from(limit).ok()?;
                if limit > 1 { start + end.checked_sub(start)? / limit } else { end }
            };
            (end, step)
        }
        FindKeys::Count { count_at, first, step } => {
            let count = super::arguments::read_i64(args.get(start + usize::try_from(count_at).ok()?)?)?;
            let first = start + usize::try_from(first).ok()?;
            let count = usize::try_from(count).ok().filter(|&count| count > 0 && count <= args.len())?;
            let step = usize::try_from(step).ok()?;
            let end = first + (count - 1) * step + 1;
            return (end <= args.len()).then_some((first, end, step));
        }
    };
    let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
    (start < args.len() && end <= args.len()).then_some((start, end, step))
}

/// All commands that clients can name, by family.
static FAMILIES: [&[Command]; 9] = [
    strings::table::COMMANDS,
    keys::table::COMMANDS,
    lists::table::COMMANDS,
    sets::table::COMMANDS,
    hashes::table::COMMANDS,
    sorted_sets::table::COMMANDS,
    streams::table::COMMANDS,
    server::table::COMMANDS,
    connection::table::COMMANDS,
];

/// All commands that clients can name, containers but not their subcommands.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// The command named `name`, whatever its case.
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    INDEX.lookup(name)
}

/// The command with the id `id`, subcommands and internal commands included.
pub fn by_id(id: u16) -> Option<&'static Command> {
    INDEX.by_id.get(usize::from(id)).copied().flatten()
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

/// Slots of the name index: a power of two, at most half full.
const NAME_SLOTS: usize = 1024;

/// Finds commands by name and by id.
struct Index {
    /// Open addressing with linear probing by [`hash`].
    by_name: Box<[Option<&'static Command>; NAME_SLOTS]>,
    by_id: Box<[Option<&'static Command>; ID_END]>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { by_name: Box::new([None; NAME_SLOTS]), by_id: Box::new([None; ID_END]) };
    for command in commands() {
        let mut slot = hash(command.name().as_bytes());
        while let Some(other) = index.by_name[slot] {
            assert!(other.name() != command.name(), "'{}' is in the table twice", command.name());
            slot = (slot + 1) % NAME_SLOTS;
        }
        index.by_name[slot] = Some(command);
    }
    let subcommands = commands().flat_map(|command| command.subcommands);
    for command in commands().chain(subcommands).chain(keys::table::INTERNAL) {
        let place = &mut index.by_id[usize::from(command.id)];
        assert!(place.is_none(), "'{}' has the id of another command", command.name());
        *place = Some(command);
    }
    index
});

impl Index {
    fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        let mut slot = hash(name);
        while let Some(command) = self.by_name[slot] {
            if command.name().as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            slot = (slot + 1) % NAME_SLOTS;
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
    (mixed >> (64 - NAME_SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn keys_are_where_redis_finds_them() {
        // `COMMAND GETKEYS` of redis-server 7.0.15
        let command = |facts| Command::read(1, facts, |_, _, _| Ok(()));
        for (facts, line, expected) in [
            (&strings::facts::GET, "GET k", "1"),
            (&strings::facts::MGET, "MGET a b c", "1 2 3"),
            (&strings::facts::MSET, "MSET a 1 b 2", "1 3"),
            (&keys::facts::OBJECT_ENCODING, "OBJECT ENCODING k", "2"),
            (&keys::facts::RENAME, "RENAME a b", "1 2"),
            (&lists::facts::BLPOP, "BLPOP a b 0", "1 2"),
            (&lists::facts::LMPOP, "LMPOP 2 a b LEFT", "2 3"),
            (&lists::facts::LMPOP, "LMPOP 3 a b", ""),
            (&lists::facts::LMPOP, "LMPOP x a b", ""),
            (&lists::facts::LMPOP, "LMPOP -1 a b", ""),
            (&sorted_sets::facts::ZUNIONSTORE, "ZUNIONSTORE d 2 a b WEIGHTS 1 2", "1 3 4"),
            (&streams::facts::XREAD, "XREAD COUNT 2 STREAMS a b 0 0", "4 5"),
            (&streams::facts::XREAD, "XREAD COUNT 2 streams a 0", "4"),
            (&streams::facts::XREAD, "XREAD COUNT 2", ""),
            (&server::facts::DBSIZE, "DBSIZE", ""),
            (&strings::facts::MGET, "MGET", ""),
        ] {
            let positions: Vec<String> = command(facts).keys(&words(line)).map(|at| at.to_string()).collect();
            assert_eq!(positions.join(" "), expected, "{line}");
        }
    }

    #[test]
    fn no_arguments_make_key_positions_leave_them() {
        let arguments = ["1", "2", "-1", "9223372036854775807", "STREAMS", "x", ""];
        for command in commands() {
            for count in 0..6 {
                for argument in arguments {
                    let words: Vec<&[u8]> = std::iter::repeat_n(argument.as_bytes(), count).collect();
                    assert!(command.keys(&words).all(|position| position < count), "{} {words:?}", command.name());
                }
            }
        }
    }

    #[test]
    fn ids_of_the_log_format_never_change() {
        // Add new commands here; never change a line.
        let ids = [
            (1, "get"),
            (2, "set"),
            (15, "mset"),
            (22, "lcs"),
            (101, "del"),
            (117, "copy"),
            (124, "flushall"),
            (144, "object|refcount"),
            (195, "step|delete"),
            (196, "step|write"),
            (197, "step|read"),
            (198, "step|scan"),
            (199, "step|expire"),
        ];
        for (id, name) in ids {
            assert_eq!(by_id(id).map(Command::name), Some(name), "{id}");
        }
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
            if command.is_write() {
                assert!(command.facts.flags.contains(Flags::WRITE), "{}", command.name());
            }
        }
    }
}
