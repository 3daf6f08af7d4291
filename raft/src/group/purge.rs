//! Purging the log: up to the rows on disk, less what the group's other members still need.
//!
//! A follower that is cut off for a moment is to go on with the log where it stood: a snapshot is all that the group has. So the
//! leader of several keeps what the slowest follower needs that it has heard of lately, but no more than
//! [`GroupOptions::log_kept_bytes`](crate::GroupOptions) of its newest entries. Who does not lead knows of nobody's needs, and may
//! lead a moment later: it always keeps so much.
//!
//! What a newcomer would get wrong: a purge that openraft was asked for holds at once for what it sends, also while it waits for
//! replication to end that still reads the entries. So it is asked for no more than may go now, and never for what may go later.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;

use futures_util::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, RaftMetrics};
use openraft_rt::Select2;

use super::Inner;
use crate::channels::Waiters;
use crate::disk::Disk;
use crate::limits::{FOLLOWER_GONE_AFTER, PURGE_LOOK, REPORT_AGAIN};
use crate::runtime::GlommioRuntime;
use crate::sabotage::{self, Sabotage};
use crate::types::TypeConfig;

/// The state of a group's purges.
#[derive(Default)]
pub(super) struct Purging {
    /// Set while a task looks after them: from when more is on disk until all that may go is gone.
    is_running: Cell<bool>,
    /// Set once more is on disk than that task has seen.
    has_more: Cell<bool>,
    waiters: Waiters,
}

impl Purging {
    /// Waits until more is on disk.
    async fn more(&self) {
        poll_fn(|context| {
            if self.has_more.take() {
                return Poll::Ready(());
            }
            self.waiters.add(context);
            Poll::Pending
        })
        .await;
    }
}

/// The work that remains after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing, until more is on disk.
    Nothing,
    /// openraft has not yet taken what it was told or asked.
    Openraft,
    /// A follower needs what might go otherwise.
    Followers,
}

/// The part of the log that may be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Purgeable {
    /// Its last index.
    upto: Option<u64>,
    /// Set if more may be purged later, although no more rows are on disk.
    is_held: bool,
}

impl<D: Disk> Inner<D> {
    /// Has the log purged when more is on disk. Called each turn of the core, and costs one load when there is not.
    pub(super) fn purge_if_due(self: &Rc<Self>) {
        if !self.generations.take_advanced() {
            return;
        }
        self.note_unreported();
        let purging = &self.purging;
        purging.has_more.set(true);
        purging.waiters.wake_all();
        if !purging.is_running.replace(true) {
            drop(GlommioRuntime::spawn(purge(Rc::downgrade(self))));
        }
    }

    /// Does what can be done now.
    fn look(&self) -> Rest {
        self.purging.has_more.set(false);
        if self.fatal.borrow().is_some() || self.is_stopping.get() {
            return Rest::Nothing;
        }
        if !self.report_durable() {
            return Rest::Openraft;
        }
        let Purgeable { upto, is_held } = self.purgeable(&self.raft.metrics().borrow_watched());
        let asked = &self.restraints.purge_upto;
        if let Some(index) = upto.filter(|_| upto > asked.get()) {
            match self.raft.trigger().purge_log(index).now_or_never() {
                Some(Ok(())) => asked.set(upto),
                // It has stopped.
                Some(Err(_)) => return Rest::Nothing,
                None => return Rest::Openraft,
            }
        }
        if is_held { Rest::Followers } else { Rest::Nothing }
    }

    /// The part of the log that may be purged, of which openraft knows that its rows are on disk.
    fn purgeable(&self, metrics: &RaftMetrics<TypeConfig>) -> Purgeable {
        let rows = metrics.snapshot.map(|id| id.index());
        let all = rows.and_then(|rows| rows.checked_sub(self.options.log_entries_kept));
        // Who learns of a group that was founded by one finds that one as its only member at first.
        let mut members = metrics.membership_config.membership().nodes().map(|(node, _)| *node);
        if members.next() == Some(self.options.node) && members.next().is_none() {
            return Purgeable { upto: all, is_held: false };
        }
        let beyond_budget = match self.options.kept_bytes() {
            0 => all,
            bytes => self.log.newest(bytes).checked_sub(1).min(all),
        };
        let Some(needed_after) = self.needed_after(metrics) else {
            return Purgeable { upto: beyond_budget, is_held: false };
        };
        let upto = needed_after.max(beyond_budget).min(all);
        Purgeable { upto, is_held: upto < all }
    }

    /// On the leader, the last index that each follower has which it has heard of lately; the highest there can be if there is no
    /// such follower.
    fn needed_after(&self, metrics: &RaftMetrics<TypeConfig>) -> Option<Option<u64>> {
        let matching = metrics.replication.as_ref()?;
        let nobody = Some(Some(u64::MAX));
        if sabotage::is(Sabotage::PurgedBeyondFollowers) {
            return nobody;
        }
        let is_near = |node| {
            let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(node).copied().flatten());
            // Who has just come to lead has heard of nobody, and those who follow need what they need.
            let silent = heard.map(|at| at.elapsed()).or(self.led.get().map(|(_, since)| since.elapsed()));
            silent.is_none_or(|silent| silent < FOLLOWER_GONE_AFTER)
        };
        let followers = matching.iter().filter(|(node, _)| **node != self.options.node && is_near(*node));
        followers.map(|(_, matching)| matching.as_ref().map(|id| id.index())).min().map_or(nobody, Some)
    }
}

/// Tells openraft what is on disk and has it purge what may go, until all of that is gone.
async fn purge<D: Disk>(group: Weak<Inner<D>>) {
    let Some((mut data, purging)) = group.upgrade().map(|group| (group.raft.data_metrics(), group.purging.clone()))
    else {
        return;
    };
    // No handle of the group is held while this waits.
    while let Some(rest) = group.upgrade().map(|group| group.look()) {
        match rest {
            Rest::Nothing => break,
            Rest::Openraft => {
                let news = GlommioRuntime::select2(data.changed(), purging.more());
                if let Ok(Select2::First(Err(_))) = GlommioRuntime::timeout(REPORT_AGAIN, news).await {
                    // openraft is gone.
                    break;
                }
            }
            Rest::Followers => drop(GlommioRuntime::timeout(PURGE_LOOK, purging.more()).await),
        }
    }
    purging.is_running.set(false);
}
