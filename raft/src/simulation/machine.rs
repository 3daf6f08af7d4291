//! The machine of a simulated member: registers, and a sum over all that was written.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use basalt_storage::{ColdRead, Fetched};
use bytes::Bytes;

use super::checks::Checks;
use super::executor;
use super::store_twin::{REGISTERS, Rows, StoreTwin};
use crate::disk::GroupStore;
use crate::ids::{EntryId, NodeId, Replies};
use crate::machine::{Executed, Later, Machine, MachineError};

/// One entry in so many stops in the middle for a row; the same for one that waits for something else.
const ONE_IS_COLD_OF: u64 = 7;
const ONE_IS_LATER_OF: u64 = 13;
const LATER_TIME: Duration = Duration::from_millis(1);

/// A batch that writes number `id`, which is written once, to a register, and is `bytes` long.
pub(crate) fn batch(id: u64, bytes: usize) -> Bytes {
    let mut batch = id.to_le_bytes().to_vec();
    batch.resize(bytes.max(8), 0);
    batch.into()
}

/// The number that a batch writes.
pub(crate) fn batch_id(batch: &[u8]) -> Option<u64> {
    batch.first_chunk().map(|id| u64::from_le_bytes(*id))
}

/// Executes writes.
pub(crate) struct Registers {
    node: NodeId,
    store: StoreTwin,
    checks: Rc<RefCell<Checks>>,
    /// The entry that it has stopped in.
    halfway: Option<EntryId>,
}

impl Registers {
    pub(crate) fn new(node: NodeId, store: StoreTwin, checks: Rc<RefCell<Checks>>) -> Registers {
        Registers { node, store, checks, halfway: None }
    }

    pub(crate) fn rows(&self) -> &Rows {
        self.store.rows()
    }
}

impl Machine<StoreTwin> for Registers {
    fn apply(&mut self, entry: EntryId, batch: &[u8], ticket: Option<u64>) -> Result<Executed, MachineError> {
        let id = batch_id(batch).ok_or_else(|| MachineError::Batch("a batch without a number".to_owned()))?;
        if self.halfway.take().is_none() {
            if entry.index.is_multiple_of(ONE_IS_COLD_OF) {
                self.halfway = Some(entry);
                return Ok(Executed::Cold { read: ColdRead::Key(b"cold"[..].into()), pins: false });
            }
            if entry.index.is_multiple_of(ONE_IS_LATER_OF) {
                self.halfway = Some(entry);
                let alarm = executor::current().map(|executor| executor.alarm(LATER_TIME));
                return Ok(Executed::Later(Later::new(async move {
                    if let Some(alarm) = alarm {
                        alarm.await;
                    }
                })));
            }
        }
        if ticket.is_some_and(|ticket| ticket != id) {
            self.checks.borrow_mut().fail(format!("node {}: entry {entry} has the ticket of another", self.node));
        }
        let rows = self.store.write(batch.len());
        rows.registers[id as usize % REGISTERS] = id;
        rows.digest = (rows.digest.rotate_left(7) ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(entry.index);
        rows.last = entry.index;
        let digest = rows.digest;
        self.checks.borrow_mut().applied(self.node, entry, id, digest);
        let bytes = id.to_le_bytes().to_vec();
        Ok(Executed::Whole(Replies { ends: vec![bytes.len()], bytes }))
    }

    fn take_fetched(&mut self, _: Fetched) {}

    fn installed(&mut self) {
        self.halfway = None;
        let rows = self.store.rows().clone();
        let membership = self.store.applied().membership.clone();
        self.checks.borrow_mut().installed(self.node, &rows, &membership);
    }

    fn store(&mut self) -> &mut StoreTwin {
        &mut self.store
    }
}
