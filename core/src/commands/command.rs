//! A command: all that is known of it is in its row of the [`table`], which these builders make.
//!
//! What a newcomer would get wrong: nothing else compares a command's name or id. What the core has to know of a command is a
//! builder more here, and a word in its row.

use basalt_storage::keyspace::Type;

use super::facts::Facts;
use super::key_positions::KeyPositions;
use super::secrets::Secrets;
use super::streams::may_block;
use super::{Args, CommandError, FunctionChange, Rows, Run, Waits, once, table};

/// The way a command runs: by its shard, with its connection, or as a text.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Reads the shard.
    Read(Run),
    /// Changes the shard, through its log.
    Write(Run),
    /// Concerns the connection or the node; runs where the connection lives, by the function that `session_commands/` has for it.
    Session,
    /// Tells these lines of what a container has. A container by itself never runs: its arity asks for a subcommand.
    Help(&'static [&'static str]),
    /// Runs the commands that are its arguments behind each other, on their shard; a step of EXEC. Through the log if one writes.
    Transaction,
    /// Keeps, executes or forgets a shard's part of a transaction over several; a step of whatever that is.
    Part,
    /// Runs commands on trial, of which nothing stays; a step of a script over several shards.
    Trial,
    /// Has its shard watch keys; a step of WATCH.
    Watch,
    /// Ends that.
    Unwatch,
}

/// The way of a command that a connection sends after MULTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTransaction {
    /// It is queued until EXEC.
    Queued,
    /// It runs at once, queued is nothing of it.
    AtOnce,
    /// It runs what is queued.
    Executes,
    /// It is refused with this text, and what is queued stays.
    Refused(&'static str),
}

/// The way a command is put together whose keys are on several shards of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scatter {
    /// All keys must be on one shard, which runs it whole.
    Keys,
    /// Every shard runs it on its own keys; the arguments from 1 on come in groups of `step`, each starting with a key.
    Split {
        /// Arguments per key, the key included.
        step: usize,
        /// The way the shards' replies become one.
        merge: Merge,
    },
    /// Every shard runs it.
    AllShards {
        /// The way the shards' replies become one.
        merge: Merge,
    },
    /// It has no key: it concerns no shard, or any will do.
    None,
    /// The core puts it together from the shards' steps.
    MultiShard(MultiShard),
}

/// The way the replies of several parts become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The sum of integers.
    Sum,
    /// `OK` once all say so.
    Ok,
    /// The elements of arrays, in the order of the client's arguments.
    ArrayInOrder,
    /// The text of bulk strings, one behind the other.
    ConcatText,
    /// The elements of arrays, one array behind the other.
    Arrays,
    /// All of them are the same: the first one.
    Same,
    /// `OK` if the sum of integers is not 0, else this error.
    OkIfAny(&'static str),
}

/// Commands that the core puts together from several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiShard {
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
    /// Name, arity, flags, keys and documentation, as COMMAND tells them to clients.
    pub facts: &'static Facts,
    /// Its number in the log format.
    pub id: u16,
    /// The way it runs.
    pub kind: Kind,
    /// The way it is spread over shards.
    pub scatter: Scatter,
    /// A container's subcommands; empty for all others.
    pub subcommands: &'static [Command],
    /// Rows that it reads, so that cold ones are fetched before it runs.
    pub rows: Rows,
    /// The case in which it replaces a key that is there by the one that it moves or copies.
    pub overwrites: Overwrites,
    /// Words without which among its arguments it only reads its key; none for others.
    changing_words: &'static [&'static str],
    /// True if its arguments have patterns for names of further keys.
    pub has_patterns: bool,
    /// The read that does the same, of calls that only read.
    pub(super) reads_as: Option<u16>,
    /// Rows that it copies.
    pub copies: Copies,
    /// Position of the argument that names the database into which its key goes.
    into_database: Option<usize>,
    /// True if each call waits until the commands before it are answered.
    is_after_replies: bool,
    /// True if it tells or forgets what others have done, so that the figures must be of this moment.
    pub tells_figures: bool,
    /// True if it publishes a message.
    pub publishes: bool,
    /// The channels to which it subscribes.
    names: NamedChannels,
    /// True if a connection may call it that has subscribed by the old protocol.
    pub is_for_subscribers: bool,
    /// True if only a node in a cluster has it.
    pub is_of_cluster: bool,
    /// True if a node in a cluster has it for its own slots only, though it concerns no keys.
    pub is_by_slot: bool,
    /// True if it sets the database or the protocol of the commands behind it.
    pub readdresses: bool,
    /// True if it watches keys, so that a node in a cluster has it for its own slots only.
    pub watches: bool,
    /// The way it is executed if its keys are in several shards of a node alone, of those whose keys should be in one.
    pub over_shards: OverShards,
    /// Its way after MULTI.
    pub in_transaction: InTransaction,
    /// True if it runs a script: who calls it makes a step of it.
    pub runs_script: bool,
    /// True if that is a function of a library.
    pub calls_function: bool,
    /// The change of the libraries of functions that it is: who calls it makes a step of it, for all shards as one.
    pub changes_functions: Option<FunctionChange>,
    /// True if it has databases exchange their keys: all shards do so as one, and a node in a cluster, which has one, never.
    pub swaps_databases: bool,
    /// True if it sends keys to another server: it waits for that one, and is run by itself alone, by a node that is in no cluster.
    pub migrates: bool,
    /// True if it tells of the libraries of functions, which a node without shards has none of.
    pub is_of_functions: bool,
    /// True if it may end with all that it did undone, so that it always runs on trial.
    pub is_undoable: bool,
    /// True if it draws random numbers: each call then gets a seed.
    draws: bool,
    /// The case in which a write's reply has values of keys.
    values: RepliedValues,
    /// The keys that it waits for if they have nothing for it; `None` if it never waits.
    pub waits: Option<Waits>,
    /// True if it reads entries of streams, for which some calls wait.
    pub waits_for_entries: bool,
    /// Elements that it adds to a key for which others may wait.
    pub feeds: Feeds,
    /// Arguments that are not shown to others.
    pub(super) secrets: Secrets,
    /// True if keys that it looks up and that are not there are told.
    tells_misses: bool,
}

/// The channels to which a command subscribes, which are all of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedChannels {
    /// None.
    None,
    /// By their names.
    Channels,
    /// By patterns.
    Patterns,
}

/// The channels among the arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    /// Their positions.
    pub positions: std::ops::Range<usize>,
    /// True if they are patterns.
    pub are_patterns: bool,
}

/// Elements that a command adds to a key for which others may wait, as its arguments tell. What is not told of here is seen when it
/// has run: others may have taken the elements by then that came right behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feeds {
    /// Nothing that could be told.
    Untold,
    /// One to the first key for each `step` arguments from `from` on.
    Elements {
        /// The type of the key then.
        kind: Type,
        /// Position of the first one.
        from: usize,
        /// Arguments for each.
        step: usize,
    },
    /// An entry to the first key, which is a stream then.
    Entry,
    /// One to the second key, which is a list then.
    Destination,
    /// Nobody knows how many to the key at this position, of this type if it is known.
    Many(usize, Option<Type>),
    /// Nobody knows how many to the key behind STORE, if that is said, which has this type then.
    Stored(Type),
}

/// The elements that a call adds to a key for which others may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// The position of the key.
    pub key: usize,
    /// Its type then, if it is known.
    pub kind: Option<Type>,
    /// The number of elements, if it is known.
    pub count: Option<usize>,
}

impl Feeds {
    /// The elements that a call with `args` adds.
    pub fn of_call(self, args: Args<'_>) -> Option<Fed> {
        let some = |key, kind, count| Some(Fed { key, kind: Some(kind), count: Some(count) });
        match self {
            Feeds::Untold | Feeds::Stored(_) => None,
            Feeds::Elements { kind, from, step } => some(1, kind, args.len().saturating_sub(from) / step),
            Feeds::Entry => some(1, Type::Stream, 1),
            Feeds::Destination => some(2, Type::List, 1),
            Feeds::Many(key, kind) => Some(Fed { key, kind, count: None }),
        }
    }
}

/// The way a command is executed as one whose keys are in several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverShards {
    /// Its keys are carried to where its client is, and what has become of them is carried back.
    Carried,
    /// Not at all: it would cost far more than in one shard.
    Refused,
    /// Strings are set if none of the keys is there.
    IfNone,
    /// An element of the list at the first key is moved to the one at the second.
    MoveElement,
    /// A member of the set at the first key is moved to the one at the second.
    MoveMember,
    /// Elements are taken from the first of the keys that has some, by a command that tells how many it has.
    PopFirst(&'static str),
}

/// The case in which a command that writes a key replaces one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrites {
    /// It does.
    Always,
    /// It does not.
    Never,
    /// It does if this word is among its options.
    With(&'static str),
}

/// Rows that a write copies, so that its own bytes tell nothing of how much it writes. Those of [`Rows::Whole`] are beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// None.
    Nothing,
    /// Up to half of the list at its first key: one side of a place in it moves.
    Half,
    /// An element at an end of the list at its first key.
    End,
    /// All that is at its keys but for the first one, which is the destination.
    Sources,
    /// All that is at its first key, if it has another one, which is the destination.
    First,
    /// All that is at its only key.
    Key,
    /// The payload that is the third argument, as large as it is when it is no longer compressed.
    Payload,
}

/// The case in which the reply to a write has values of keys in it, so that it may be large.
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
    const fn new(id: u16, facts: &'static Facts, kind: Kind, scatter: Scatter, values: RepliedValues) -> Command {
        Command {
            facts,
            id,
            kind,
            scatter,
            subcommands: &[],
            rows: Rows::KeysAndOthers,
            overwrites: Overwrites::Always,
            changing_words: &[],
            has_patterns: false,
            reads_as: None,
            copies: Copies::Nothing,
            into_database: None,
            is_after_replies: false,
            tells_figures: false,
            publishes: false,
            names: NamedChannels::None,
            is_for_subscribers: false,
            is_of_cluster: false,
            is_by_slot: false,
            readdresses: false,
            watches: false,
            over_shards: OverShards::Carried,
            in_transaction: InTransaction::Queued,
            runs_script: false,
            calls_function: false,
            changes_functions: None,
            swaps_databases: false,
            migrates: false,
            is_of_functions: false,
            is_undoable: false,
            draws: false,
            values,
            waits: None,
            waits_for_entries: false,
            feeds: Feeds::Untold,
            secrets: Secrets::None,
            tells_misses: false,
        }
    }

    /// A command that reads the shard of its keys.
    pub(super) const fn read(id: u16, facts: &'static Facts, run: Run) -> Command {
        Command::new(id, facts, Kind::Read(run), Scatter::Keys, RepliedValues::Always)
    }

    /// A command that changes the shard of its keys.
    pub(super) const fn write(id: u16, facts: &'static Facts, run: Run) -> Command {
        Command::new(id, facts, Kind::Write(run), Scatter::Keys, RepliedValues::None)
    }

    /// A command of the connection or the node.
    pub(super) const fn session(id: u16, facts: &'static Facts) -> Command {
        Command::new(id, facts, Kind::Session, Scatter::None, RepliedValues::None)
    }

    /// A container, or its HELP, which tells `lines`.
    pub(super) const fn help(id: u16, facts: &'static Facts, lines: &'static [&'static str]) -> Command {
        Command::new(id, facts, Kind::Help(lines), Scatter::None, RepliedValues::None)
    }

    /// The step that runs commands behind each other.
    pub(super) const fn transaction(id: u16, facts: &'static Facts) -> Command {
        Command::new(id, facts, Kind::Transaction, Scatter::None, RepliedValues::Always)
    }

    /// A step of a transaction over several shards.
    pub(super) const fn of_part(id: u16, facts: &'static Facts) -> Command {
        Command::new(id, facts, Kind::Part, Scatter::None, RepliedValues::Always)
    }

    /// The step that runs commands on trial.
    pub(super) const fn trial(id: u16, facts: &'static Facts) -> Command {
        Command::new(id, facts, Kind::Trial, Scatter::None, RepliedValues::Always)
    }

    /// A step that has a shard watch keys, or end that.
    pub(super) const fn of_watch(id: u16, facts: &'static Facts, kind: Kind) -> Command {
        Command::new(id, facts, kind, Scatter::None, RepliedValues::None)
    }

    /// This command, which sets the database or the protocol of the commands behind it.
    pub(super) const fn readdressing(self) -> Command {
        Command { readdresses: true, ..self }
    }

    /// This command, whose way after MULTI is that.
    pub(super) const fn within(self, in_transaction: InTransaction) -> Command {
        Command { in_transaction, ..self }
    }

    /// This command, which watches keys. It waits until those before it on its connection are answered: what they do is before.
    pub(super) const fn watching(self) -> Command {
        Command { watches: true, is_after_replies: true, ..self }
    }

    /// This command, which is executed like that if its keys are in several shards.
    pub(super) const fn over_shards(self, over_shards: OverShards) -> Command {
        Command { over_shards, ..self }
    }

    /// This command, spread over shards like that.
    pub(super) const fn scattered(self, scatter: Scatter) -> Command {
        Command { scatter, ..self }
    }

    /// This command, put together by the core from steps.
    pub(super) const fn in_steps(self, steps: MultiShard) -> Command {
        Command { scatter: Scatter::MultiShard(steps), ..self }
    }

    /// This command, which reads these rows.
    pub(super) const fn reads(self, rows: Rows) -> Command {
        Command { rows, ..self }
    }

    /// This command, which runs a script.
    pub(super) const fn running_script(self) -> Command {
        Command { runs_script: true, ..self }
    }

    /// This command, which runs a function of a library.
    pub(super) const fn calling_function(self) -> Command {
        Command { calls_function: true, ..self }
    }

    /// This command, which changes the libraries of functions.
    pub(super) const fn changing_functions(self, change: FunctionChange) -> Command {
        Command { changes_functions: Some(change), ..self }
    }

    /// This command, which has databases exchange their keys.
    pub(super) const fn swapping_databases(self) -> Command {
        let scatter = Scatter::AllShards { merge: Merge::Same };
        Command { swaps_databases: true, scatter, ..self }
    }

    /// This command, which sends keys to another server. It waits until those before it on its connection are answered.
    pub(super) const fn migrating(self) -> Command {
        Command { migrates: true, is_after_replies: true, ..self }
    }

    /// This command, which tells of the libraries of functions.
    pub(super) const fn of_functions(self) -> Command {
        Command { is_of_functions: true, ..self }
    }

    /// This command, which may end with all that it did undone.
    pub(super) const fn undoable(self) -> Command {
        Command { is_undoable: true, ..self }
    }

    /// This command, with arguments that are not shown to others.
    pub(super) const fn keeping(self, secrets: Secrets) -> Command {
        Command { secrets, ..self }
    }

    /// This command, which draws random numbers.
    pub(super) const fn draws(self) -> Command {
        Command { draws: true, ..self }
    }

    /// This command, which waits until those before it on its connection are answered, and sees what all of its core have done.
    pub(super) const fn after_replies(self) -> Command {
        Command { is_after_replies: true, tells_figures: true, ..self }
    }

    /// This command, which waits until those before it on its connection are answered.
    pub(super) const fn behind_others(self) -> Command {
        Command { is_after_replies: true, ..self }
    }

    /// This command, which publishes a message. It waits until those before it on its connection are answered: who hears of it may
    /// look for what they did.
    pub(super) const fn publishing(self) -> Command {
        Command { is_after_replies: true, publishes: true, ..self }
    }

    /// This command, which subscribes to the channels that are its arguments.
    pub(super) const fn subscribing(self) -> Command {
        Command { names: NamedChannels::Channels, is_for_subscribers: true, ..self }
    }

    /// This command, which subscribes to channels by the patterns that are its arguments.
    pub(super) const fn subscribing_by_patterns(self) -> Command {
        Command { names: NamedChannels::Patterns, is_for_subscribers: true, ..self }
    }

    /// This command, which a connection may call that has subscribed by the old protocol.
    pub(super) const fn for_subscribers(self) -> Command {
        Command { is_for_subscribers: true, ..self }
    }

    /// This command, which only a node in a cluster has.
    pub(super) const fn of_cluster(self) -> Command {
        Command { is_of_cluster: true, ..self }
    }

    /// This command, whose names have slots as keys have.
    pub(super) const fn by_slot(self) -> Command {
        Command { is_by_slot: true, ..self }
    }

    /// This command, which leaves the key alone that it would replace.
    pub(super) const fn if_absent(self) -> Command {
        Command { overwrites: Overwrites::Never, ..self }
    }

    /// This command, which leaves the key alone that it would replace, unless `word` is among its options.
    pub(super) const fn if_absent_unless(self, word: &'static str) -> Command {
        Command { overwrites: Overwrites::With(word), ..self }
    }

    /// This command, which only reads its key unless one of `words` is among its arguments.
    pub(super) const fn changing_with(self, words: &'static [&'static str]) -> Command {
        Command { changing_words: words, ..self }
    }

    /// This command, whose arguments have patterns for names of further keys.
    pub(super) const fn by_patterns(self) -> Command {
        Command { has_patterns: true, ..self }
    }

    /// This command, whose calls that only read its key do what the command with this id does.
    pub(super) const fn reading_as(self, id: u16) -> Command {
        Command { reads_as: Some(id), ..self }
    }

    /// The command that runs in the place of this one for a call with `args`: one that writes nothing, if the call does not.
    pub fn for_call(&'static self, args: Args<'_>) -> &'static Command {
        let reading = self.reads_as.filter(|_| self.only_changes_with(args) == Some(false));
        reading.and_then(table::by_id).unwrap_or(self)
    }

    /// Returns whether a call with `args` changes its key, of a command of which some calls only read it; `None` of others.
    pub fn only_changes_with(&self, args: Args<'_>) -> Option<bool> {
        let is_one = |arg: &&[u8]| self.changing_words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()));
        (!self.changing_words.is_empty()).then(|| args.iter().skip(2).any(is_one))
    }

    /// This command, whose look-ups that find nothing are told, as those of commands that only read.
    pub(super) const fn telling_misses(self) -> Command {
        Command { tells_misses: true, ..self }
    }

    /// Returns whether a key that it looks up and that is not there is told.
    pub fn tells_misses(&self) -> bool {
        self.tells_misses || matches!(self.kind, Kind::Read(_))
    }

    /// This command, which copies these rows.
    pub(super) const fn copying(self, copies: Copies) -> Command {
        Command { copies, ..self }
    }

    /// This command, whose key goes into the database that the argument at `position` names.
    pub(super) const fn into_database(self, position: usize) -> Command {
        Command { into_database: Some(position), ..self }
    }

    /// Returns whether its key goes into a database that its arguments name.
    pub fn names_database(&self) -> bool {
        self.into_database.is_some()
    }

    /// The database into which a call with `args` has its key go, if there is such a one.
    pub fn database_in(&self, args: Args<'_>) -> Option<u8> {
        let position = self.into_database?;
        args.get(position).and_then(|db| super::keys::parse_db(db).ok())
    }

    /// This command, whose reply has what it removes or replaces.
    pub(super) const fn returning(self) -> Command {
        Command { values: RepliedValues::Always, ..self }
    }

    /// This command, whose reply has what it replaces if its arguments have `word`.
    pub(super) const fn returning_with(self, word: &'static str) -> Command {
        Command { values: RepliedValues::With(word), ..self }
    }

    /// Returns whether the reply to a call with `args` may have values of keys in it, and so be large.
    pub fn returns_values(&self, args: Args<'_>) -> bool {
        match self.values {
            RepliedValues::None => false,
            RepliedValues::Always => true,
            RepliedValues::With(word) => args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes())),
        }
    }

    /// Returns whether a call of so many arguments may have such a reply, for who has not taken them apart.
    pub fn may_return_values(&self, arg_count: u64) -> bool {
        match self.values {
            RepliedValues::None => false,
            RepliedValues::Always => true,
            RepliedValues::With(_) => arg_count > 2,
        }
    }

    /// This command, which waits for elements. As one that publishes, it waits until those before it are answered: nothing that
    /// its connection has written is still on its way then.
    pub(super) const fn waiting(self, waits: Waits) -> Command {
        let feeds = if waits.has_destination() { Feeds::Destination } else { Feeds::Untold };
        Command { waits: Some(waits), is_after_replies: true, feeds, ..self }
    }

    /// This command, which reads entries of streams, for which some calls wait: these are called when those before them on their
    /// connection are answered.
    pub(super) const fn waiting_for_entries(self) -> Command {
        Command { waits_for_entries: true, ..self }
    }

    /// Returns whether a call with `args` waits until those before it on its connection are answered.
    pub fn is_after_replies(&self, args: Args<'_>) -> bool {
        self.is_after_replies || (self.waits_for_entries && may_block(args))
    }

    /// This command, which adds elements to a key for which others may wait.
    pub(super) const fn feeding(self, feeds: Feeds) -> Command {
        Command { feeds, ..self }
    }

    /// This command, with subcommands.
    pub(super) const fn containing(self, subcommands: &'static [Command]) -> Command {
        Command { subcommands, ..self }
    }

    /// Returns whether it concerns the connection or the node, and no shard.
    pub fn is_of_session(&self) -> bool {
        matches!(self.kind, Kind::Session | Kind::Help(_))
    }

    /// Returns whether it concerns every shard of the node.
    pub fn concerns_all_shards(&self) -> bool {
        match self.scatter {
            Scatter::AllShards { .. } => true,
            Scatter::MultiShard(steps) => {
                matches!(steps, MultiShard::Scan | MultiShard::Keys | MultiShard::RandomKey)
            }
            Scatter::Keys | Scatter::Split { .. } | Scatter::None => false,
        }
    }

    /// The name in lower case; a subcommand's is `container|subcommand`.
    pub fn name(&self) -> &'static str {
        self.facts.name
    }

    /// Returns whether it changes the shard.
    #[cfg(test)]
    pub fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write(_))
    }

    /// The seed of the random numbers that it draws, if it does.
    pub fn seed(&self) -> Option<u64> {
        self.draws.then(rand::random)
    }

    /// Checks the number of arguments.
    ///
    /// # Errors
    /// Redis' "wrong number of arguments".
    pub fn check_arity(&self, args: Args<'_>) -> Result<(), CommandError> {
        let arity = usize::from(self.facts.arity.unsigned_abs());
        let fits = if self.facts.arity < 0 { args.len() >= arity } else { args.len() == arity };
        let fits = match self.scatter {
            // Otherwise one shard would refuse its part when others have done theirs
            Scatter::Split { step, .. } => fits && (args.len() - 1).is_multiple_of(step),
            _ => fits,
        };
        if fits { Ok(()) } else { Err(CommandError::wrong_argument_count(self.name())) }
    }

    /// The elements that a call with `args` adds to a key for which others may wait, as far as they tell.
    pub fn fed(&self, args: Args<'_>) -> Option<Fed> {
        let Feeds::Stored(kind) = self.feeds else { return self.feeds.of_call(args) };
        // The source comes first.
        let key = self.keys(args).nth(1)?;
        Some(Fed { key, kind: Some(kind), count: None })
    }

    /// Returns whether it is in a category, named without `@`.
    pub fn is_in_category(&self, category: &str) -> bool {
        self.facts.categories.iter().any(|own| own.strip_prefix('@') == Some(category))
    }

    /// The channels in `args` of which its client is to hear or that it publishes to.
    pub fn channels(&self, args: Args<'_>) -> Channels {
        let positions = match self.names {
            _ if self.publishes => 1..args.len().min(2),
            NamedChannels::None => 0..0,
            NamedChannels::Channels | NamedChannels::Patterns => 1..args.len(),
        };
        Channels { positions, are_patterns: self.names == NamedChannels::Patterns }
    }

    /// The positions of the keys in `args`. Empty if the arguments make no sense: then the handler says what is wrong.
    pub fn keys<'a>(&self, args: Args<'a>) -> KeyPositions<'a> {
        match once::inner(self, args) {
            // Within itself it is refused.
            Some((command, args)) if command.id != self.id => {
                KeyPositions::of(command.facts, args).behind(once::COMMAND_AT)
            }
            _ => KeyPositions::of(self.facts, args),
        }
    }

    /// Returns whether it is a subcommand of CLIENT.
    pub fn is_of_client(&self) -> bool {
        self.facts.name.starts_with("client|")
    }

    /// The subcommand named `name`, whatever its case.
    pub(super) fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| {
            let short = command.facts.name.split_once('|').map_or(command.facts.name, |(_, short)| short);
            short.as_bytes().eq_ignore_ascii_case(name)
        })
    }
}
