//! The commands: what they are called, how they are checked, and what they do to a shard's keyspace.
//!
//! [`table`] names every command; each family has a folder with its handlers, its rows of the table and its facts. A handler sees
//! one shard at one moment through [`Context`] and never a clock, a random source or a connection of its own, so a log entry has
//! the same effect on every replica. A handler that fails must not have written anything: check everything first, then write.

mod arguments;
pub mod cluster;
mod command;
mod command_error;
#[cfg(test)]
mod command_ids;
pub mod connection;
#[cfg(test)]
mod deadline_tests;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod event_tests;
pub mod facts;
mod float_text;
pub mod functions;
pub mod geo;
mod glob;
pub mod hashes;
mod help;
mod key_positions;
pub mod keys;
pub mod lists;
mod long_double;
mod names;
#[cfg(test)]
mod odd_numbers;
pub mod once;
mod partial_sort;
pub mod pubsub;
pub mod raft;
mod random;
#[cfg(test)]
pub(crate) mod random_commands;
#[cfg(test)]
mod random_templates;
mod reply_bounds;
pub mod rights;
mod rows;
pub mod scripts;
mod secrets;
pub mod server;
pub mod sets;
pub mod sorted_sets;
pub mod sorting;
pub mod streams;
pub mod strings;
pub mod table;
#[cfg(test)]
mod testing;
pub mod transactions;
mod waits;
pub mod whole_keys;
#[cfg(test)]
mod work_tests;

pub use arguments::{parse_f64, parse_i64, parse_index_range, parse_usize};
pub use command::{
    Command, Copies, Fed, Feeds, InTransaction, Kind, Merge, MultiShard, OverShards, Overwrites, Scatter,
};
pub use command_error::CommandError;
pub use functions::FunctionChange;
pub use glob::{NamePattern, glob_matches, glob_matches_any_case, glob_matches_within};
pub use help::reply_help;
use key_positions::migrated_keys_word;
pub use key_positions::{find_keys, find_used, flags_of_call};
pub use keys::{CopyOptions, ScanCursor};
pub use long_double::LongDouble;
pub use random::Random;
pub use reply_bounds::{ReplyBounds, TOO_MUCH_TO_READ, TOO_MUCH_TO_REPLY};
pub use rows::{Elements, Rows};
pub use secrets::REDACTED;
use secrets::Secrets;
pub use sorting::{PatternKeys, names_other_keys, why_not_by_patterns};
pub use streams::{EntryCall, Outlook, outlook_after, outlook_for, parse_id as parse_stream_id, waited_stream};
pub use waits::{WaitCall, Waits, is_nothing};
#[cfg(test)]
pub use whole_keys::Login;
pub use whole_keys::{MigrateCall, Target, why_not_in_cluster};

use std::cell::Cell;

use basalt_net::resp::Reply;
use basalt_storage::MemoryRows;
use basalt_storage::keyspace::{Keyspace, Scratch, VersionSource};

/// A command's words; the first one is its name.
pub type Args<'a> = &'a [&'a [u8]];

/// The keys that a handler works on, and what else its result depends on.
pub struct Context<'a> {
    /// The keys of the shard, in the database the connection selected.
    pub keyspace: Keyspace<'a>,
    /// Random numbers; seeded by the request or the log entry when writing.
    pub random: &'a mut Random,
    /// Longest string that a write may make, in bytes: the log entry says, so that every replica does the same.
    pub string_bytes_max: usize,
    /// Work that a command may be beside what it reads, writes and replies: what the script that calls it may still do. Any, of a
    /// client's.
    pub work_left: Cell<u64>,
}

impl Context<'_> {
    /// Takes work off what the command may do, before it does it: comparisons of products, as those of LCS, in units of some ten
    /// nanoseconds.
    ///
    /// # Errors
    /// That of a script which has done too much.
    pub fn pay(&self, work: u64) -> Result<(), CommandError> {
        match self.work_left.get().checked_sub(work) {
            Some(left) => {
                self.work_left.set(left);
                Ok(())
            }
            None => Err(CommandError::Undone(TOO_MUCH_WORK.into())),
        }
    }
}

/// The reply to a script that has done as much as it may.
pub const TOO_MUCH_WORK: &str =
    "ERR the script was stopped and undone: it has executed as many instructions as a script may";

/// Returns whether this version of the program knows all of a step. What it does not know it must not run in another way.
pub fn is_known_step(command: &Command, args: Args<'_>) -> bool {
    match command.id {
        table::STEP_FUNCTIONS => functions::is_known_change(args),
        table::ONCE => once::is_known(args),
        _ => !command.is_undoable || scripts::has_known_terms(args),
    }
}

/// Runs a handler on no keys at all: the reply of a node that has none.
///
/// # Errors
/// Those of the handler.
pub fn run_on_nothing(run: Run, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
    let keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::none(), 0, 0);
    let work_left = Cell::new(u64::MAX);
    run(&mut Context { keyspace, random: &mut Random::new(0), string_bytes_max: 0, work_left }, args, reply)
}

/// A handler: writes its reply, or fails having written no row.
pub type Run = fn(&mut Context<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), CommandError>;
