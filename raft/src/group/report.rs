//! Telling openraft what is on disk, so that it purges the log.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;

use super::Inner;
use crate::disk::Disk;
use crate::limits::REPORT_AGAIN;
use crate::source::Instant;

/// A question for a snapshot.
pub(super) struct Report {
    since: Instant,
    /// Set once openraft has taken it from its queue.
    is_heard: Rc<Cell<bool>>,
}

impl<D: Disk> Inner<D> {
    /// Tells openraft up to where rows are on disk, so that it purges the log: it is asked for a snapshot. What it is asked for
    /// while it is busy with another one it forgets, so this goes on until it says that it knows.
    pub(super) fn report_durable(&self) {
        let has_advanced = self.generations.take_advanced();
        self.is_unreported.set(self.is_unreported.get() || has_advanced);
        if !self.is_unreported.get() || self.fatal.borrow().is_some() {
            return;
        }
        if self.raft.data_metrics().borrow_watched().snapshot >= self.generations.durable_id() {
            self.is_unreported.set(false);
            *self.report.borrow_mut() = None;
            return;
        }
        let mut report = self.report.borrow_mut();
        // One question at a time, whatever keeps openraft from hearing it: its queue has its bounds.
        let is_due = report
            .as_ref()
            .is_none_or(|report| report.is_heard.get() && (has_advanced || report.since.elapsed() >= REPORT_AGAIN));
        if is_due {
            *report = self.ask_for_report();
        }
    }

    /// Asks openraft for a snapshot. `None` if it has no room for the question, or has stopped.
    fn ask_for_report(&self) -> Option<Report> {
        #[cfg(test)]
        let is_lost = self.reports_lost.replace(self.reports_lost.get().saturating_sub(1)) > 0;
        #[cfg(not(test))]
        let is_lost = false;
        if !is_lost {
            self.raft.trigger().snapshot().now_or_never()?.ok()?;
        }
        let is_heard: Rc<Cell<bool>> = Rc::default();
        let hears = is_heard.clone();
        // Comes to openraft behind the other.
        self.raft.external_request(move |_| hears.set(true)).now_or_never()?.ok()?;
        Some(Report { since: Instant::now(), is_heard })
    }
}
