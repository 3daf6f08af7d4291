//! Execution of committed batches by a shard: the seam between the group and the commands.

use std::fmt;
use std::pin::Pin;

use basalt_storage::{ColdRead, Fetched, Store};

use crate::disk::GroupStore;
use crate::ids::{EntryId, Replies};

/// Executes committed batches on a shard's keyspace. The core implements it.
///
/// A machine is borrowed only between two awaits: the group calls it, gets the result and lets it go, so the core may use
/// the same machine for reads in between.
pub trait Machine<S: GroupStore = Store> {
    /// Executes one batch on the store and answers its commands' replies.
    ///
    /// If it needs rows that are not in memory it may stop in the middle ([`Executed::Cold`]): it is called again with the same
    /// arguments once another thread has fetched them, and goes on where it stood. Nothing is written out meanwhile, other
    /// tasks of the core run.
    ///
    /// Must be deterministic: the same batch at the same `entry` on the same rows gives the same rows on every node.
    /// `ticket` is the one the batch was proposed with here. Without one (an entry of another leader, or of before a restart)
    /// the replies are not looked at and may be empty. Tickets come in the order of their proposals, but those of proposals
    /// that were lost do not come at all. The group records `entry` as applied in the store itself; a machine never does, and
    /// never freezes the store.
    ///
    /// # Errors
    /// A batch that cannot be executed, for example one in an unknown format. It is final: the group stops.
    fn apply(&mut self, entry: EntryId, batch: &[u8], ticket: Option<u64>) -> Result<Executed, MachineError>;

    /// Takes note of a batch of this shard that is never executed on this store, by order of an operator: what is executed in
    /// several steps may go on differently then. Nothing, unless a machine has such things. One that it cannot read is left alone.
    ///
    /// # Errors
    /// Rows that cannot be read. It is final: the group stops.
    fn skip(&mut self, _shard: u32, _batch: &[u8]) -> Result<(), MachineError> {
        Ok(())
    }

    /// Takes the rows that were fetched for the entry which [`Machine::apply`] stopped in. None, if they could not be read.
    fn take_fetched(&mut self, rows: Fetched);

    /// Forgets what it knew of the rows: those of a snapshot have taken the place of all, in the store already. Never called while
    /// an entry is half applied.
    fn installed(&mut self);

    /// The shard's store.
    fn store(&mut self) -> &mut S;
}

/// Something else than rows that an entry waits for, on its core.
pub struct Later(Pin<Box<dyn Future<Output = ()>>>);

impl Later {
    /// The end of `wait`.
    pub fn new(wait: impl Future<Output = ()> + 'static) -> Later {
        Later(Box::pin(wait))
    }

    /// Waits for it.
    pub async fn wait(self) {
        self.0.await;
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Later")
    }
}

/// The point up to which a batch was executed.
#[derive(Debug)]
pub enum Executed {
    /// To its end, with these replies.
    Whole(Replies),
    /// Up to a command that needs rows which are not in memory.
    Cold {
        /// The rows to fetch.
        read: ColdRead,
        /// Keep the rows for the command, since the caches drop them.
        pins: bool,
    },
    /// Up to a command that waits for something else; the machine is called again when that is over.
    Later(Later),
}

/// The reason that a committed batch could not be executed. Final for the group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The store could not be read or written.
    #[error(transparent)]
    Storage(#[from] basalt_storage::Error),
    /// The batch is not one this program can execute.
    #[error("{0}")]
    Batch(String),
}
