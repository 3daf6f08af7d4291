//! Scripts over several shards, and what stands beside them in a transaction, as they are called.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};

use super::super::concerned::hold_concerned;
use super::sides::Side;
use super::{Next, Work};
use crate::commands::scripts::Terms;
use crate::commands::{Args, Command, CommandError, Kind, Run, table};
use crate::entry::request;
use crate::entry::spanning::HeldKeys;

/// The way to plan a call of a script.
pub type Planner<'a> = &'a dyn Fn(&PlannedCall<'_>) -> Result<(Vec<Side>, Box<dyn Work>), CommandError>;

/// A call that is to be planned.
#[derive(Clone, Copy)]
pub struct PlannedCall<'a> {
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// The database that the script has selected.
    pub db: u8,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
    /// The command.
    pub command: &'static Command,
    /// Its handler.
    pub run: Run,
    /// Its words.
    pub args: Args<'a>,
}

/// A script or a function, and what it is called with.
#[derive(Debug)]
pub struct SpanningScript {
    /// Its text; the name of a function.
    pub text: Arc<[u8]>,
    /// True if it is a function, whose library is read where its keys are.
    pub is_function: bool,
    /// `KEYS`.
    pub keys: Vec<Vec<u8>>,
    /// `ARGV`.
    pub args: Vec<Vec<u8>>,
    /// The terms on which it runs.
    pub terms: Terms,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// The database that its client has selected.
    pub db: u8,
    /// The beginning of its random numbers.
    pub seed: u64,
}

/// One of the things that are run behind each other: a script by itself, or the commands of a transaction that has some.
#[derive(Debug)]
pub enum Item {
    /// A script or a function.
    Script(SpanningScript),
    /// An encoded command.
    Command(Vec<u8>),
}

impl Item {
    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let Item::Script(script) = self else {
            let Item::Command(bytes) = self else { return 0 };
            return bytes.len();
        };
        let args = script.keys.iter().chain(&script.args);
        script.text.len() + args.map(|arg| arg.len() + size_of::<Vec<u8>>()).sum::<usize>()
    }

    /// Returns whether it writes nothing.
    pub(super) fn only_reads(&self) -> bool {
        match self {
            Item::Script(script) => script.terms.is_read_only,
            Item::Command(bytes) => {
                let command = request::command_id(bytes).and_then(table::by_id);
                command.is_some_and(|command| matches!(command.kind, Kind::Read(_)))
            }
        }
    }

    /// Adds the keys that it names.
    pub(super) fn hold(&self, held: &mut HeldKeys) {
        match self {
            Item::Script(script) => script.keys.iter().for_each(|key| held.add(script.db, key, true)),
            Item::Command(bytes) => hold_concerned(bytes, held),
        }
    }
}

/// The end of a script, or of keys that were sent elsewhere: the reply is known before anything is written.
#[derive(Debug)]
pub struct KnownReply {
    /// The reply.
    pub reply: Vec<u8>,
    /// Bytes of memory that the script, or the call, takes until then.
    pub bytes: usize,
}

impl Work for KnownReply {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn decide(&mut self, _sides: &mut [Side], _read: &[Vec<u8>], _out: &mut Reply<'_>) -> Next {
        Next::Execute
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.raw(&self.reply);
    }
}
