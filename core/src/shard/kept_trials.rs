//! Trials of scripts over several shards between two of their calls: what they have written here so far, which each would else
//! write anew on trial.
//!
//! What a newcomer would get wrong: nothing depends on it. What is dropped here is asked for again, and written on trial again.

use std::collections::HashMap;

use basalt_storage::Changes;
use basalt_storage::keyspace::VersionSource;
use basalt_storage::keyspace::prepared::TransactionId;

use crate::limits;

/// The rows of one of them. Its keys are held, so that nobody else changes what they were made of.
pub(super) struct KeptTrial {
    pub(super) changes: Changes,
    pub(super) versions: VersionSource,
    /// Writes that have made the changes.
    pub(super) count: usize,
    /// Bytes that it may still read and write.
    pub(super) bytes_left: usize,
}

/// Those of a shard.
#[derive(Default)]
pub(super) struct KeptTrials {
    by_transaction: HashMap<TransactionId, KeptTrial>,
    bytes: usize,
}

/// Bytes of memory that one takes, about.
fn bytes_of(trial: &KeptTrial) -> usize {
    trial.changes.bytes() + size_of::<KeptTrial>()
}

impl KeptTrials {
    /// Takes out what is kept of a transaction.
    pub(super) fn take(&mut self, transaction: TransactionId) -> Option<KeptTrial> {
        let trial = self.by_transaction.remove(&transaction)?;
        self.bytes -= bytes_of(&trial);
        Some(trial)
    }

    /// Keeps a trial, if there is room for it. Returns the number of writes that are kept.
    pub(super) fn put(&mut self, transaction: TransactionId, trial: KeptTrial) -> usize {
        let bytes = bytes_of(&trial);
        if transaction == 0 || self.bytes + bytes > limits::KEPT_TRIAL_BYTES_MAX {
            return 0;
        }
        self.bytes += bytes;
        let count = trial.count;
        let before = self.by_transaction.insert(transaction, trial);
        assert!(before.is_none(), "it was taken out");
        count
    }

    /// Transactions of which something is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_transaction.len()
    }
}
