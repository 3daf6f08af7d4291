//! A snapshot of another node in the place of all rows.

use std::path::PathBuf;

use super::{Generations, WritePace, point_of};
use crate::disk::{Disk, GroupStore};
use crate::error::Result;
use crate::types::LogId;

impl<D: Disk> Generations<D> {
    /// Puts the checkpoint in `directory`, which holds the entries up to `last`, in the place of all rows.
    pub(crate) async fn install(&self, directory: PathBuf, last: LogId) -> Result<()> {
        self.log.expect_snapshot(last.index()).await.map_err(|error| self.end(error.to_string()))?;
        let job = {
            let mut machine = self.machine.borrow_mut();
            assert!(!machine.store().is_mid_entry(), "openraft applies and installs one after the other");
            machine.store().install_job(&directory)
        };
        let done = self.run(move || D::Store::install(job)).await?;
        let mut machine = self.machine.borrow_mut();
        let store = machine.store();
        let retired = store.finish_install(done)?;
        self.background.run(Box::new(move || drop(retired)));
        machine.installed();
        let store = machine.store();
        *self.frozen.borrow_mut() = None;
        // The rows that were being written are gone.
        self.pace.set(WritePace { under_way: None, ..self.pace.get() });
        *self.durable.borrow_mut() = point_of(store.applied())?;
        self.bytes.set(0);
        self.entries.set(0);
        Ok(())
    }
}
