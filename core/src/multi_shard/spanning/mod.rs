//! Commands and transactions over several shards of a node that is alone, executed as one: what each shard is asked for, and what
//! is made of its replies. Who asks, and in which order, is the core loop's business.
//!
//! All keys are held first. Then each side may be read, and from what that says follows what each side is to execute. The parts of
//! all sides are executed, or none.

mod carried;
mod members;
mod migration;
mod msetnx;
mod pops;
mod script;
mod script_calls;
mod script_item;
mod sides;

pub use carried::{Carried, Surroundings};
pub use members::{Members, MustBeCarried};
pub use migration::{Delivery, Migration, MigrationStep, Parcel, Parcelled};
pub use msetnx::SetIfNone;
pub use pops::{MoveElement, MoveMember, MovedFor, PopFirst};
pub use script::{ScriptRun, Turn};
pub use script_item::{Item, KnownReply, PlannedCall, SpanningScript};
pub use sides::Side;

use basalt_net::resp::Reply;

use crate::commands::CommandError;

/// The step that follows once the sides are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: the reply is written.
    Reply,
    /// To have each side execute what it has come to have.
    Execute,
}

/// A command or a transaction over several shards.
pub trait Work {
    /// Bytes of memory that it takes before it has decided, about, beside its sides.
    fn bytes(&self) -> usize {
        0
    }

    /// Decides what each side executes. `read` has their replies, an array each, or nothing of one that is not read.
    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next;

    /// The same for a script, which may do so much more work: what is executed to decide is taken off that.
    ///
    /// # Errors
    /// That of a script which would do more.
    fn decide_within(
        &mut self,
        _work_left: &mut u64,
        sides: &mut [Side],
        read: &[Vec<u8>],
        out: &mut Reply<'_>,
    ) -> Result<Next, CommandError> {
        Ok(self.decide(sides, read, out))
    }

    /// Writes the reply, once all sides have executed what they had to. `written` has what they replied, an array each, or nothing.
    fn finish(&mut self, sides: &[Side], read: &[Vec<u8>], written: &[Vec<u8>], out: &mut Reply<'_>);
}

/// The reply if a shard gave one of another shape than what it was asked for has.
pub(super) const MISSHAPEN: &str = "ERR a shard gave a reply of another shape than what it was asked for has";
