//! Telling openraft what is on disk: it purges nothing else.

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
    /// Set if more has come to disk since.
    is_old: Cell<bool>,
    /// Set once openraft has taken it from its queue.
    is_heard: Rc<Cell<bool>>,
}

impl<D: Disk> Inner<D> {
    /// Notes that more is on disk than openraft was told.
    pub(super) fn note_unreported(&self) {
        self.is_unreported.set(true);
        if let Some(report) = self.report.borrow().as_ref() {
            report.is_old.set(true);
        }
    }

    /// Tells openraft up to where rows are on disk: it is asked for a snapshot. What it is asked for while it is busy with another
    /// one it forgets, so this is to be called until it says that it knows. Returns true once it does.
    pub(super) fn report_durable(&self) -> bool {
        if !self.is_unreported.get() {
            return true;
        }
        if self.raft.data_metrics().borrow_watched().snapshot >= self.generations.durable_id() {
            self.is_unreported.set(false);
            *self.report.borrow_mut() = None;
            return true;
        }
        let mut report = self.report.borrow_mut();
        // One question at a time, whatever keeps openraft from hearing it: its queue has its bounds.
        let is_due = report.as_ref().is_none_or(|report| {
            report.is_heard.get() && (report.is_old.get() || report.since.elapsed() >= REPORT_AGAIN)
        });
        if is_due {
            *report = self.ask_for_report();
        }
        false
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
        Some(Report { since: Instant::now(), is_old: Cell::new(false), is_heard })
    }
}
