//! Reasons that a snapshot cannot be received.

use std::io;
use std::path::{Path, PathBuf};

use basalt_net::peer::{SnapshotPosition, Unable, UnableReason};
use basalt_raft::MessageError;

/// A reason that a snapshot cannot be received. Its sender is told; the connection goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// There is too little room on the disk.
    #[error("{}: {needed_bytes} bytes are needed, {free_bytes} are free, of which {reserve_bytes} have to stay so", path.display())]
    NoSpace { path: PathBuf, needed_bytes: u64, free_bytes: u64, reserve_bytes: u64 },
    /// The disk is full.
    #[error("no space left on the device that holds {}", path.display())]
    DiskFull { path: PathBuf },
    /// The operating system's.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A file has come damaged again and again.
    #[error("{} was damaged {times} times", path.display())]
    Damaged { path: PathBuf, times: u32 },
    /// It has no files, or is described as no snapshot is.
    #[error("it cannot be installed here: {0}")]
    Unusable(String),
    /// Bytes that lie in no file.
    #[error("{bytes} bytes at {position:?} lie in no file of the snapshot")]
    WrongPiece { position: SnapshotPosition, bytes: u64 },
    /// A reason that was found elsewhere.
    #[error("{}", .0.text)]
    Other(Unable),
}

impl ReceiveError {
    /// The operating system's refusal on `path`.
    pub(super) fn io(path: &Path, source: io::Error) -> ReceiveError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ReceiveError::DiskFull { path: path.into() },
            _ => ReceiveError::Io { path: path.into(), source },
        }
    }

    /// True if the disk has no room for it.
    pub(super) fn is_no_space(&self) -> bool {
        matches!(self, ReceiveError::NoSpace { .. } | ReceiveError::DiskFull { .. })
    }

    /// The words for the sender.
    pub(super) fn unable(&self) -> Unable {
        let reason = match self {
            ReceiveError::NoSpace { .. } | ReceiveError::DiskFull { .. } => UnableReason::NoSpace,
            ReceiveError::Damaged { .. } | ReceiveError::Unusable(_) | ReceiveError::WrongPiece { .. } => {
                UnableReason::Damaged
            }
            ReceiveError::Io { .. } => UnableReason::Other,
            ReceiveError::Other(unable) => return unable.clone(),
        };
        Unable::new(reason, self.to_string())
    }
}

impl From<MessageError> for ReceiveError {
    fn from(error: MessageError) -> ReceiveError {
        ReceiveError::Unusable(error.to_string())
    }
}
