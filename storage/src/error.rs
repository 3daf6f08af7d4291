//! Errors below the keyspace.

use std::path::PathBuf;

use crate::{ColdRead, Identity};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of all that lies below the commands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on `path`.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A [`Trial`](crate::Trial) has read and written as much as it may.
    #[error("the command reads and writes too much to be executed on trial")]
    TrialTooLarge,
    /// Bytes on disk are not what was written. Never served, never repaired silently.
    #[error("{path} is damaged: {detail}; restore this shard from a replica or a backup", path = path.display())]
    Corruption {
        /// The file, or the database directory if the file is not known.
        path: PathBuf,
        /// The mismatch that was found.
        detail: String,
    },
    /// A log or a store that must be there is not: starting without it would serve less than was acknowledged.
    #[error(
        "{path} is missing or empty: put back what was there, or restore this shard from a replica or a backup",
        path = path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A log or a store that is another shard's, or another node's.
    #[error(
        "{path} belongs to {found}, in the place of {expected}: move it back to its own place, and what was here as well",
        path = path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The owner that it names.
        found: Box<Identity>,
        /// The owner that it should name.
        expected: Box<Identity>,
    },
    /// A log or a store that is not the newest one of its shard.
    #[error(
        "{path} does not fit the rest of its shard: {detail}; put back the log/ and data/ that were there last, or restore both \
         together from a replica or a backup",
        path = path.display()
    )]
    Misfit {
        /// The directory.
        path: PathBuf,
        /// The mismatch that was found.
        detail: String,
    },
    /// Data written by another version of Basalt, a newer one or one from before the first release.
    #[error("{path} has format {found}, this program reads format {supported}; start the version that wrote it", path = path.display())]
    UnknownFormat {
        /// The file or directory.
        path: PathBuf,
        /// The format version found.
        found: u32,
        /// The format version this program reads.
        supported: u32,
    },
    /// Records are gone from the log that were asked for: purged, as a rule since the caller learnt of them. What they did is in
    /// the rows.
    #[error("{path}: record {index} is purged, the log begins at record {first}", path = path.display())]
    Purged {
        /// The log's directory.
        path: PathBuf,
        /// The first record asked for.
        index: u64,
        /// The first one that is there, or would be.
        first: u64,
    },
    /// An entry that is not to be skipped: it has not stopped the shard.
    #[error("entry {index} of {path} is not skipped: {detail}", path = path.display())]
    NoSkip {
        /// The log's directory.
        path: PathBuf,
        /// The entry that was to be skipped.
        index: u64,
        /// The reason.
        detail: String,
    },
    /// The disk is full. Writes may be tried again once there is space.
    #[error("no space left on the device that holds {path}", path = path.display())]
    DiskFull {
        /// The directory that could not grow.
        path: PathBuf,
    },
    /// This process has it open still; try again when whoever uses it is done.
    #[error("{}: is in use by this process", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// RocksDB would have to block; back off and try the same write again.
    #[error("the store cannot take more writes right now")]
    WriteStall,
    /// The answer is on disk and the caller asked not to wait for it: read it on another thread, then try again.
    #[error("the row is not in memory")]
    Cold(ColdRead),
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
}
