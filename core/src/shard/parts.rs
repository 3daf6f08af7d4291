//! Execution of a shard's part of a transaction over several shards: kept, executed, let go of.
//!
//! Each step is one command of an entry. A part is executed as a transaction of one shard is: whole or, for now, not at all. Steps
//! may come again, after a restart or when somebody was not sure: what is done already is not done twice.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Error as StorageError;
use basalt_storage::keyspace::prepared;

use super::execution::{Execution, Failure, ShardMachine};
use crate::commands::CommandError;
use crate::commands::table::{STEP_ABORT, STEP_COMMIT, STEP_DECIDE, STEP_FORGET, STEP_PREPARE};
use crate::entry::batch::Batch;
use crate::entry::request;
use crate::entry::spanning::{HeldKeys, read_id, read_shards, step_args, third_arg};
use crate::entry::transaction::Transaction;
use crate::limits;
use crate::multi_shard::hold_concerned;

/// The reply to a part that has more commands than a transaction may have.
const TOO_MANY: &str = "ERR A shard's part of the transaction has too many commands, nothing was executed";

fn failure(error: StorageError) -> Failure {
    match error {
        StorageError::Cold(read) => Failure::Cold(read),
        error => Failure::Storage(error),
    }
}

impl Execution<'_> {
    /// Runs an encoded step of a transaction over several shards.
    pub(super) fn run_part_step(&mut self, command: u16, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let args = step_args(bytes).ok_or(Failure::Undecodable)?;
        let id = read_id(args.first().ok_or(Failure::Undecodable)?).ok_or(Failure::Undecodable)?;
        match (command, &args[..]) {
            (STEP_PREPARE, [_, decided_by, part]) => {
                let decided_by = u16::from_le_bytes((*decided_by).try_into().map_err(|_| Failure::Undecodable)?);
                let count = Transaction::read(part).ok_or(Failure::Undecodable)?.count;
                if count > limits::TRANSACTION_COMMANDS_MAX {
                    // An entry has no versions for so many: nobody could ever execute it.
                    Reply::new(out, Protocol::Resp2).error(TOO_MANY);
                    return Ok(());
                }
                prepared::put_prepared(self.store, id, decided_by, part);
            }
            (STEP_DECIDE, [_, others, part]) => {
                let others = read_shards(others).ok_or(Failure::Undecodable)?;
                let start = out.len();
                self.run_transaction(Transaction::read(part).ok_or(Failure::Undecodable)?, out)?;
                if is_executed(&out[start..]) && !others.is_empty() {
                    prepared::put_decision(self.store, id, &others);
                }
                return Ok(());
            }
            (STEP_COMMIT, [_]) => {
                let Some(kept) = prepared::prepared(self.store, id).map_err(failure)? else {
                    Reply::new(out, Protocol::Resp2).null_array();
                    return Ok(());
                };
                let start = out.len();
                self.run_transaction(Transaction::read(&kept.part).ok_or(Failure::Undecodable)?, out)?;
                if is_executed(&out[start..]) {
                    prepared::delete_prepared(self.store, id);
                }
                return Ok(());
            }
            (STEP_ABORT, [_]) => prepared::delete_prepared(self.store, id),
            (STEP_FORGET, ids) => {
                for id in ids {
                    prepared::delete_decision(self.store, read_id(id).ok_or(Failure::Undecodable)?);
                }
            }
            _ => return Err(Failure::Undecodable),
        }
        Reply::new(out, Protocol::Resp2).ok();
        Ok(())
    }
}

impl Execution<'_> {
    /// Looks whether the rows that a step needs are in memory if it is a commit: those of the part that is kept. The store must not
    /// wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Cold`] with rows that are not.
    pub(super) fn look_at_commit(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let args = step_args(bytes).filter(|_| request::command_id(bytes) == Some(STEP_COMMIT));
        let id = args.and_then(|args| read_id(args.first()?));
        let Some(id) = id else { return Ok(()) };
        let kept = prepared::prepared(self.store, id)?;
        kept.map_or(Ok(()), |kept| self.look_at_transaction(&kept.part))
    }
}

impl ShardMachine {
    /// Marks the parts whose commits stand in an entry that is skipped. Their transactions are decided, and whoever settles them
    /// commits them again, each in an entry of its own: which command has stopped the shard nobody knows. One that is marked and
    /// stands alone has done so, and is given up: it would stop the shard each time.
    ///
    /// # Errors
    /// Those of reading a part: one that is not marked would stand beside others again.
    pub(super) fn skip_commits(&mut self, shard: u32, batch: &[u8]) -> basalt_storage::Result<()> {
        let Ok(commands) = Batch::read(batch) else { return Ok(()) };
        let commands: Vec<_> = commands.collect();
        for bytes in commands.iter().flatten() {
            let args = step_args(bytes).filter(|_| request::command_id(bytes) == Some(STEP_COMMIT));
            let Some(id) = args.and_then(|args| read_id(args.first()?)) else { continue };
            let Some(kept) = prepared::prepared(&self.store, id)? else { continue };
            let (mut held, transaction) = (HeldKeys::default(), format!("{id:032x}"));
            hold_concerned(&kept.part, &mut held);
            held.settle();
            let names = held.keys.iter().take(limits::KEYS_LOGGED).map(|held| held.key.escape_ascii().to_string());
            let (keys, key_count) = (names.collect::<Vec<_>>().join(" "), held.keys.len());
            if kept.was_skipped && commands.len() == 1 {
                tracing::warn!(
                    shard,
                    transaction,
                    key_count,
                    keys,
                    "a shard's part of a transaction over several is given up"
                );
                prepared::delete_prepared(&mut self.store, id);
            } else {
                tracing::warn!(
                    shard,
                    transaction,
                    key_count,
                    keys,
                    "a shard's part of a transaction over several is executed later, in an entry of its own"
                );
                prepared::mark_skipped(&mut self.store, id, &kept);
            }
        }
        Ok(())
    }
}

/// The part of a transaction that an encoded step brings with it, if it prepares or decides one.
pub(super) fn part_of(bytes: &[u8]) -> Option<&[u8]> {
    let has_part = matches!(request::command_id(bytes), Some(STEP_PREPARE | STEP_DECIDE));
    if has_part { third_arg(bytes) } else { None }
}

/// Returns whether the reply of a part says that it was executed: there may have been no versions left for it.
fn is_executed(reply: &[u8]) -> bool {
    reply.starts_with(b"*")
}
