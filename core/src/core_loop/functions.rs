//! Changes of the libraries of functions, on their way from a connection to all shards.
//!
//! A node alone changes all of its shards as one. In a cluster the groups that this node leads do so each by itself, as with
//! FLUSHALL: there each node is told, and what it leads later has what its group was told then.

use super::core::Core;
use crate::clients::{Connection, ReplyMode, Transaction};
use crate::commands::functions::{step_args, too_much, writing_functions};
use crate::commands::table::{self, STEP_FUNCTIONS, STEP_REFUSE};
use crate::commands::{Args, Command, CommandError, FunctionChange, Kind, Merge};
use crate::entry::request::{self, ArgList, Mode, RequestHeader};
use crate::limits;
use crate::multi_shard::{Gather, Part};

/// The reply to a library that no shard would keep.
const NO_SHARDS: CommandError = CommandError::text(
    "ERR This node leads no slots, and functions are kept with these: load them on nodes that do, and they come along when slots move",
);

impl Core {
    /// Changes the libraries of functions of all shards.
    pub(super) fn change_functions(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        change: FunctionChange,
        args: Args<'_>,
    ) {
        let words = step_args(change, args, limits::LIBRARY_WORK_MAX);
        // To load libraries may have taken as long as some scripts.
        self.note_script();
        let words = match words {
            Ok(words) => words,
            Err(error) => return self.fail(connection, command.id, &error),
        };
        self.expect_writes(writing_functions(&words));
        let Some(any) = self.routing.router.first_shard() else {
            return self.change_nothing(connection, command, change);
        };
        let (protocol, db) = (connection.session.protocol, connection.session.db);
        if self.spans(command, args) {
            let header = RequestHeader { asked: command.id, ..RequestHeader::new(protocol, db, STEP_FUNCTIONS) };
            let mut bytes = Vec::new();
            request::encode(&mut bytes, header, words.iter().map(Vec::as_slice));
            let planned = self.plan_members([&bytes[..]].into_iter(), (protocol, self.clock.now_ms), false);
            return self.span_planned(connection, command, planned, args);
        }
        let step = table::by_id(STEP_FUNCTIONS).expect("the step is in the table");
        if self.routing.router.is_whole() {
            let Kind::Write(run) = step.kind else { unreachable!("it changes the shard") };
            let named = [step.name().as_bytes()].into_iter().chain(words.iter().map(Vec::as_slice));
            let args: Vec<&[u8]> = named.collect();
            return self.run_step_on(connection, any, (step, command.id), run, Mode::Write, &args);
        }
        let part = |shard| Part { shard, mode: Mode::Write, command: STEP_FUNCTIONS, db, args: words.clone() };
        let parts: Vec<Part> = self.routing.router.shards().map(part).collect();
        let gather = Gather::new(Merge::Same, parts.len()).of_writes(true);
        self.coordinate(connection, command.id, Box::new(gather), parts);
    }

    /// Answers a change of the libraries of a node without shards. What RESTORE brings comes with the slots that others lead:
    /// tools copy the functions of a cluster to a node that joins, and give it slots later.
    #[cold]
    fn change_nothing(&mut self, connection: &mut Connection, command: &Command, change: FunctionChange) {
        match change {
            FunctionChange::Load => self.fail(connection, command.id, &NO_SHARDS),
            FunctionChange::Delete => {
                self.fail(connection, command.id, &CommandError::text("ERR Library not found"));
            }
            FunctionChange::Flush | FunctionChange::Restore => {
                if connection.session.reply_mode == ReplyMode::On {
                    self.reply_raw(connection, b"+OK\r\n");
                }
            }
        }
    }

    /// Sends no calls of these functions as reads, from before a change leaves that makes them write: who has made it would be
    /// told to call again. If it comes to nothing they are called as ones that may write until the next one.
    fn expect_writes(&self, names: Vec<Vec<u8>>) {
        for shard in self.routing.router.shards() {
            if let Some(stats) = self.server.shards.get(shard) {
                stats.reading_functions.forget(&names);
            }
        }
    }

    /// Makes steps of those commands of a transaction that change the libraries of functions. They have the work of one together,
    /// and as many libraries and bytes as there may be.
    pub(super) fn load_queued(&mut self, transaction: &mut Transaction) {
        let changes =
            |index: &usize| transaction.row(*index).changes_functions.filter(|_| transaction.is_keyed(*index));
        let places: Vec<(usize, FunctionChange)> =
            (0..transaction.len()).filter_map(|index| Some((index, changes(&index)?))).collect();
        if places.is_empty() {
            return;
        }
        let is_too_many = places.len() > limits::LIBRARIES_MAX as usize;
        let work = limits::LIBRARY_WORK_MAX / places.len() as u64;
        let mut writing = Vec::new();
        let mut bytes_left = limits::LIBRARY_BYTES_MAX as usize;
        for (place, change) in places {
            let (row, queued) = (transaction.row(place), transaction.command(place));
            let step = |args: Args<'_>| {
                let words = if is_too_many { Err(too_much()) } else { step_args(change, args, work) }?;
                let bytes = words.iter().map(Vec::len).sum();
                bytes_left = bytes_left.checked_sub(bytes).ok_or_else(too_much)?;
                writing.extend(writing_functions(&words));
                Ok(words)
            };
            let bytes = step_of_queued(row, queued, step);
            transaction.replace(place, &bytes);
        }
        self.expect_writes(writing);
        self.note_script();
    }
}

/// The step that stands for a queued command, or for its error.
fn step_of_queued(
    command: &Command,
    queued: &[u8],
    step: impl FnOnce(Args<'_>) -> Result<Vec<Vec<u8>>, CommandError>,
) -> Vec<u8> {
    let mut args = ArgList::new();
    args.push(command.name().as_bytes());
    let header = request::decode(queued, &mut args).expect("it was encoded by this core");
    let mut bytes = Vec::new();
    match step(&args) {
        Ok(words) => {
            let header = RequestHeader { command: STEP_FUNCTIONS, ..header };
            request::encode(&mut bytes, header, words.iter().map(Vec::as_slice));
        }
        Err(error) => {
            let header = RequestHeader { command: STEP_REFUSE, ..header };
            request::encode(&mut bytes, header, [error.to_string().as_bytes()].into_iter());
        }
    }
    bytes
}
