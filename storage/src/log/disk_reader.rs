//! Reading records that are in memory no more, from any thread.

use std::sync::Arc;

use super::database::read_options;
use super::record::{LogRecord, key_of};
use super::shared_log::SharedLog;
use crate::{Error, Result};

/// Reads a log's older records. It may outlive the log, which is read no more then.
#[derive(Debug, Clone)]
pub struct DiskReader {
    shared: Arc<SharedLog>,
    /// The first record that is in memory.
    end: u64,
}

impl DiskReader {
    pub(super) fn new(shared: &Arc<SharedLog>, end: u64) -> DiskReader {
        DiskReader { shared: shared.clone(), end }
    }

    /// Reads the records from `from` on that were on disk only when this was made, to before `to_exclusive`: as many as fit in
    /// `bytes_max`, but at least one. Blocks.
    ///
    /// # Errors
    /// [`Error::Corruption`] if a record is damaged or missing. Of one that was purged meanwhile that says nothing: the log knows.
    pub fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogRecord>> {
        let mut records = Vec::new();
        read_disk(&self.shared, from, to_exclusive.min(self.end), bytes_max, &mut records)?;
        Ok(records)
    }
}

/// Appends the records from `from` to before `to` on disk to `out`, and returns their bytes.
pub(super) fn read_disk(
    shared: &SharedLog,
    from: u64,
    to: u64,
    bytes_max: usize,
    out: &mut Vec<LogRecord>,
) -> Result<usize> {
    let directory = shared.lane.directory();
    shared.with_rows(|database, family| {
        let mut rows = database.raw_iterator_cf_opt(family, read_options());
        rows.seek(key_of(from));
        let mut bytes = 0;
        for index in from..to {
            let row = rows.item().map(|(key, value)| LogRecord::decode(directory, key, value)).transpose()?;
            rows.status().map_err(|error| shared.lane.refusal(&error))?;
            let Some(record) = row.filter(|record| record.index == index) else {
                let detail = format!("record {index} is missing");
                return Err(Error::Corruption { path: directory.to_owned(), detail });
            };
            bytes += record.row_bytes();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(record);
            rows.next();
        }
        Ok(bytes)
    })?
}
