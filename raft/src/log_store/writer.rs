//! Writing: appends, votes, truncations and purges, as openraft asks for them.

use std::io;

use openraft::storage::RaftLogStorage;
use openraft::{AsyncRuntime, OptionalSend};

use super::{Flushing, LogStore, Stall};
use crate::disk::GroupLog;
use crate::entry::{decode_log_id, encode_entry, encode_log_id, encode_vote};
use crate::limits::{LOG_DISK_FULL_RETRY, STALL_RETRY};
use crate::runtime::GlommioRuntime;
use crate::sabotage::{self, Sabotage};
use crate::types::{Entry, EntryPayload, IoFlushed, LogId, LogState, TypeConfig, Vote, log_id};

impl<L: GroupLog> LogStore<L> {
    /// Writes to the log, and tries again for as long as it only cannot take more right now: any error is final for openraft.
    async fn write_at_last<T>(&self, mut write: impl FnMut(&mut L) -> basalt_storage::Result<T>) -> io::Result<T> {
        loop {
            let written = match self.take_stall() {
                true => Err(basalt_storage::Error::WriteStall),
                false => write(&mut self.0.log.borrow_mut()),
            };
            let (stall, wait) = match written {
                Ok(written) => {
                    if let Some(Stall::DiskFull) = self.0.stalled.take() {
                        tracing::info!("the log's disk has space again");
                    }
                    return Ok(written);
                }
                Err(basalt_storage::Error::WriteStall) => (Stall::WriteStall, STALL_RETRY),
                Err(basalt_storage::Error::DiskFull { .. }) => (Stall::DiskFull, LOG_DISK_FULL_RETRY),
                Err(error) => return Err(self.fault_of(error)),
            };
            if self.0.stalled.replace(Some(stall)).is_none() && matches!(stall, Stall::DiskFull) {
                tracing::warn!("the log's disk is full: what is to be written waits for space, and no more is taken");
            }
            GlommioRuntime::sleep(wait).await;
        }
    }
}

impl<L: GroupLog> RaftLogStorage<TypeConfig> for LogStore<L> {
    type LogReader = LogStore<L>;

    async fn get_log_state(&mut self) -> io::Result<LogState> {
        let log = self.0.log.borrow();
        let purged = log.purged().map(|(_, id)| decode_log_id(id)).transpose().map_err(|error| self.fault_of(error))?;
        let last = log.last_index().zip(log.last_term()).map(|(index, term)| log_id(term, index));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore<L> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let number = {
            let mut log = self.0.log.borrow_mut();
            log.set_vote(&encode_vote(vote));
            let (number, done) = self.next_sync();
            log.sync(done);
            number
        };
        if sabotage::is(Sabotage::UnsyncedVotes) {
            return Ok(());
        }
        self.synced(number).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.0.log.borrow_mut().set_committed(&encode_log_id(&committed));
            self.0.committed.set(Some(committed.index()));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let log = self.0.log.borrow();
        log.committed().map(decode_log_id).transpose().map_err(|error| self.fault_of(error))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        for entry in entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                let checked = self.check_member_count(membership.nodes().count());
                checked.map_err(|error| self.fault_of(error))?;
            }
            records.push(encode_entry(&entry));
        }
        let Some(last) = records.last().map(|record| record.index) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        self.write_at_last(|log| log.append(&records)).await?;
        if sabotage::is(Sabotage::UnsyncedAppends) {
            self.0.flushed.set(self.0.flushed.get().max(Some(last)));
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let (sync, done) = self.next_sync();
        self.0.flushing.borrow_mut().push_back(Flushing { sync, last: Some(last), done: callback });
        self.0.log.borrow_mut().sync(done);
        // Without durability the sync is already over.
        if self.0.syncs.finished() >= sync {
            self.drain();
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let index = last.map(|id| id.index());
        self.write_at_last(|log| log.truncate_after(index)).await?;
        self.0.truncations.set(self.0.truncations.get() + 1);
        self.0.flushed.set(self.0.flushed.get().min(index));
        // Their syncs are not those of the entries that will take the place of the truncated ones.
        for flushing in self.0.flushing.borrow_mut().iter_mut() {
            flushing.last = flushing.last.min(index);
        }
        let (number, done) = self.next_sync();
        self.0.log.borrow_mut().sync(done);
        self.synced(number).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let purged = self.0.log.borrow_mut().purge(upto.index(), &encode_log_id(&upto));
        let replaces_log = purged.map_err(|error| self.fault_of(error))?;
        // Before anything is appended.
        if replaces_log { self.sync_to_disk().await } else { Ok(()) }
    }
}
