//! The place up to which the names in a request have been looked at that names very many.
//!
//! Few rows are fetched at a time. A look that began with the first name each time would cost the square of their number; so it
//! goes on where the one before it stopped, and decodes no more of the request than it looks at. The one thing a newcomer would get
//! wrong: nobody looks again whether what was fetched is still there. What was evicted meanwhile the entry waits for.

use basalt_storage::keyspace::{ColdRows, Keyspace, is_enough_cold};
use basalt_storage::{ColdRead, Error, Result};

use super::lookahead::{names_to_the_end, note_named};
use crate::commands::{Args, Command, table};
use crate::entry::request::{self, ArgList};
use crate::limits;

/// The place up to which the names of a request have been looked at. Requests of few names are looked at whole each time, and have
/// no such place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::shard) struct NamesLooked {
    /// Arguments before the first name, the command's own name among them; none while there is no place.
    head: usize,
    /// From one name to the next.
    step: usize,
    /// Arguments from the next name on.
    args_left: usize,
    /// The byte of the request at which the next name begins.
    at: usize,
    /// True if the command may read other rows than those.
    and_others: bool,
    /// True if the command itself has met a row that was evicted.
    has_met: bool,
}

impl NamesLooked {
    /// The place before the first name of `request`, whose command and arguments are `args`, if it names so many that it needs one.
    pub(in crate::shard) fn begin(command: &Command, args: Args<'_>, request: &[u8]) -> Option<NamesLooked> {
        if args.len() <= limits::NAMES_AT_ONCE {
            return None;
        }
        let (head, step) = names_to_the_end(command, args)?;
        let names = args.get(head..).filter(|names| names.len() > limits::NAMES_AT_ONCE * step)?;
        let at = request.len() - names.iter().map(|name| request::encoded_bytes(name)).sum::<usize>();
        Some(NamesLooked { head, step, args_left: names.len(), at, and_others: false, has_met: false })
    }

    /// The same place, after the command itself has met a row that was evicted: the caches hold fewer rows than it names.
    pub(in crate::shard) fn after_meeting(self) -> NamesLooked {
        NamesLooked { has_met: true, ..self }
    }

    /// Returns whether the command itself has met a row that was evicted.
    pub(in crate::shard) fn has_met(&self) -> bool {
        self.has_met
    }

    /// Returns whether this place is behind `other`.
    pub(in crate::shard) fn is_behind(&self, other: &NamesLooked) -> bool {
        self.at > other.at
    }

    /// Returns whether a look has begun, and is not at its end.
    pub(in crate::shard) fn is_under_way(&self) -> bool {
        self.args_left > 0
    }

    /// Returns whether all names have been looked at.
    pub(in crate::shard) fn is_done(&self) -> bool {
        self.head > 0 && self.args_left == 0
    }

    /// Returns whether the command may read rows that it does not name; known once the look is done.
    pub(in crate::shard) fn and_others(&self) -> bool {
        self.and_others
    }

    /// Looks at the next names of `request`: until rows enough are cold, and no more than [`limits::NAMES_PER_LOOK`].
    ///
    /// # Errors
    /// [`Error::Cold`] with what is not in memory, or with nothing at all, if names are left; others as the reads.
    pub(in crate::shard) fn look_on(&mut self, keyspace: &Keyspace<'_>, request: &[u8]) -> Result<()> {
        let mut cold = ColdRows::new();
        for _ in 0..limits::NAMES_PER_LOOK / limits::NAMES_AT_ONCE {
            if self.args_left == 0 {
                break;
            }
            let (mut args, count) = (ArgList::new(), limits::NAMES_AT_ONCE.min(self.args_left.div_ceil(self.step)));
            args.push(b"");
            let part = request::decode_part(request, self.head - 1, self.at, count * self.step, &mut args);
            let (header, next) = part.expect("it was decoded when the look began");
            let command = table::by_id(header.command).expect("so was its command");
            args[0] = command.name().as_bytes();
            let (before, args_to_come) = (cold.len(), self.args_left - (args.len() - self.head));
            // The last names alone may be few enough to foresee all; together with those before them they are not.
            self.and_others |= note_named(keyspace, command, &args, args_to_come, header.seed, &mut cold)?;
            // Neither what stopped for want of room nor what has met the collection itself has come to the last name.
            let (found, is_of_collection) = (cold.len() - before, self.head > 1);
            if (is_enough_cold(&cold) && found < count) || (found == 1 && is_of_collection) {
                break;
            }
            self.args_left -= args.len() - self.head;
            self.at = next;
            if is_enough_cold(&cold) {
                break;
            }
        }
        if cold.is_empty() && self.args_left == 0 { Ok(()) } else { Err(Error::Cold(ColdRead::Keys(cold))) }
    }
}
