//! Snapshots under way, for INFO.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use basalt_net::peer::{GroupNumber, NodeNumber};

/// A snapshot under way, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Its group.
    pub group: GroupNumber,
    /// The node on the other side.
    pub node: NodeNumber,
    /// Bytes of it that the receiver has.
    pub done_bytes: u64,
    /// Bytes of all its files; 0 until they have been read for their checksums.
    pub total_bytes: u64,
}

/// One snapshot under way; it is listed until this is dropped.
#[derive(Debug)]
pub(super) struct Transfer {
    group: GroupNumber,
    node: NodeNumber,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Transfer {
    pub(super) fn set_total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_done(&self, bytes: u64) {
        self.done_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// All snapshots under way in one direction: as many as may be queued, at most.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<Vec<Weak<Transfer>>>);

impl Transfers {
    /// Lists one more.
    pub(super) fn begin(&self, group: GroupNumber, node: NodeNumber) -> Arc<Transfer> {
        let transfer =
            Arc::new(Transfer { group, node, done_bytes: AtomicU64::new(0), total_bytes: AtomicU64::new(0) });
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|transfer| transfer.strong_count() > 0);
        list.push(Arc::downgrade(&transfer));
        transfer
    }

    /// Those under way.
    pub(super) fn list(&self) -> Vec<Progress> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = |transfer: Arc<Transfer>| Progress {
            group: transfer.group,
            node: transfer.node,
            done_bytes: transfer.done_bytes.load(Ordering::Relaxed),
            total_bytes: transfer.total_bytes.load(Ordering::Relaxed),
        };
        list.iter().filter_map(Weak::upgrade).map(progress).collect()
    }
}
