//! Reasons that a snapshot was not sent.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use basalt_net::peer::{PeerError, PushError, UnableReason};
use basalt_raft::Unreached;

/// A reason that a snapshot was not sent. The group sends another one when it still needs to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody waits for it any more.
    #[error("nobody waits for it any more")]
    Cancelled,
    /// The node stops, or has as many snapshots to send as it takes.
    #[error("this node takes no more snapshots to send: it stops, or {queued_max} wait already")]
    Refused {
        /// Snapshots that may wait or be under way.
        queued_max: usize,
    },
    /// The checkpoint on this node cannot be read, or is none.
    #[error("{}: {source}", path.display())]
    Local {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The nodes do not take each other for peers.
    #[error("{0}")]
    Peer(PeerError),
    /// The other node is of a version of the protocol that cannot be told of it.
    #[error("{0}")]
    Unsendable(PushError),
    /// The other node does not take it.
    #[error("the other node does not take it: {text} ({})", reason.name())]
    Unable {
        /// The reason.
        reason: UnableReason,
        /// The same in words.
        text: String,
    },
    /// The other node has asked for the same bytes again and again.
    #[error(
        "{sent_bytes} bytes were sent of a snapshot of {total_bytes}: the other node asks for them again and again"
    )]
    Endless {
        /// Bytes that were sent.
        sent_bytes: u64,
        /// Bytes of the snapshot.
        total_bytes: u64,
    },
    /// Nothing has moved for long.
    #[error("nothing has moved for {} s; the last was: {last}", patience.as_secs())]
    Stuck {
        /// The time without progress after which it is given up.
        patience: Duration,
        /// The last error.
        last: String,
    },
}

impl From<SendError> for Unreached {
    fn from(error: SendError) -> Unreached {
        Unreached::Unreachable(error.to_string())
    }
}
