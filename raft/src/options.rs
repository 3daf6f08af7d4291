//! Options and hooks of a group, and the bounds it keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::completions::{Background, Wake};
use crate::error::{Error, Fault, Result};
use crate::ids::{NodeId, PeerAddress};
use crate::limits::{ELECTION_TIMEOUT, HEARTBEATS_A_TIMEOUT, LEASE_TENTHS, LOG_KEPT_BYTES, LOG_KEPT_PART};
use crate::outcomes::Outcome;

/// Settings of one group.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group's name in logs: the shard's id.
    pub shard: u32,
    /// This node.
    pub node: NodeId,
    /// Set if this node founds the group, if its log is empty: all others are told of the group by its leader. Of all nodes that a
    /// group will ever have, one may be its founder, and only until it was: two would be two groups.
    pub founder: bool,
    /// The first voters of a group that this node founds, this node among them. Afterwards the log knows.
    pub voters: BTreeMap<NodeId, PeerAddress>,
    /// The time between two heartbeats of a leader, in milliseconds. A group of one sends none.
    pub heartbeat_ms: u64,
    /// openraft's shortest and longest election timeout, in milliseconds. The longest is a leader's lease as well: a follower
    /// campaigns when it has not heard of a leader for the lease and a timeout between the two.
    pub election_timeout_ms: (u64, u64),
    /// Batches on their way at once; more are refused with [`ProposeError::Backlog`](crate::ProposeError::Backlog).
    pub in_flight_max: usize,
    /// The log is cut when it holds about this many bytes more than what is kept, which is [`GroupOptions::log_entries_kept`] and
    /// [`GroupOptions::log_kept_bytes`]: a generation of rows is forced out of the store, and what it covers is purged.
    pub log_bytes_max: u64,
    /// The same for entries.
    pub log_entries_max: u64,
    /// Entries kept although the store has them on disk.
    pub log_entries_kept: u64,
    /// Bytes of the newest entries that are kept in a group of several members although the store has them on disk, so that one
    /// that was cut off, or is started anew, needs no snapshot; to within 64 KiB, and half of [`GroupOptions::log_bytes_max`] at
    /// most. A leader keeps them for as long as one of its followers needs them that it has heard of in the last ten minutes;
    /// others always, since they may come to lead. A group of one member keeps none.
    pub log_kept_bytes: u64,
    /// A directory for checkpoints on their way to other nodes, on the store's file system. Whatever is in it when the group
    /// is opened is removed.
    pub snapshot_directory: PathBuf,
}

impl GroupOptions {
    /// A group that `node` founds as its only voter, with defaults for everything else.
    pub fn alone(shard: u32, node: NodeId, snapshot_directory: PathBuf) -> GroupOptions {
        GroupOptions {
            shard,
            node,
            founder: true,
            voters: BTreeMap::from([(node, PeerAddress::default())]),
            heartbeat_ms: 0,
            election_timeout_ms: (0, 0),
            in_flight_max: 1024,
            log_bytes_max: 256 << 20,
            log_entries_max: 4_000_000,
            log_entries_kept: 0,
            log_kept_bytes: LOG_KEPT_BYTES,
            snapshot_directory,
        }
        .with_election_timeout(ELECTION_TIMEOUT)
    }

    /// The same group with `shortest` as the shortest time without a leader before a follower campaigns. The longest is two fifths
    /// more, and four heartbeats fit into the shortest.
    pub fn with_election_timeout(self, shortest: Duration) -> GroupOptions {
        let shortest_ms = u32::try_from(shortest.as_millis()).map_or(u64::from(u32::MAX), u64::from);
        let lease_ms = shortest_ms * LEASE_TENTHS / 10;
        GroupOptions {
            heartbeat_ms: shortest_ms / HEARTBEATS_A_TIMEOUT,
            election_timeout_ms: (shortest_ms - lease_ms, lease_ms),
            ..self
        }
    }

    /// The shortest time without a leader before a follower campaigns.
    pub(crate) fn quiet_before_election(&self) -> Duration {
        let (shortest, lease) = self.election_timeout_ms;
        Duration::from_millis(shortest.saturating_add(lease))
    }

    /// Bytes of the newest entries that are kept in a group of several members.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.log_kept_bytes.min(self.log_bytes_max / LOG_KEPT_PART)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |option, value: String, problem| Err(Error::Option { option, value, problem });
        let (shortest, longest) = self.election_timeout_ms;
        if self.heartbeat_ms == 0 {
            return refuse("heartbeat_ms", "0".to_owned(), "must be at least 1");
        }
        if shortest <= self.heartbeat_ms || longest <= shortest {
            let value = format!("{shortest}..{longest}");
            return refuse("election_timeout_ms", value, "must be a range above heartbeat_ms");
        }
        if self.node == NodeId::default() {
            return refuse("node", "0".to_owned(), "is the number of no node");
        }
        if self.founder && !self.voters.contains_key(&self.node) {
            return refuse("voters", format!("{:?}", self.voters.keys()), "must name this node");
        }
        if self.in_flight_max == 0 || self.log_bytes_max == 0 || self.log_entries_max == 0 {
            return refuse("in_flight_max, log_bytes_max and log_entries_max", "0".to_owned(), "must be at least 1");
        }
        Ok(())
    }
}

/// The callbacks of a group into its core. None of these may call back into the group, except `on_outcome`, which may propose.
pub struct GroupHooks {
    /// Takes the outcome of each proposed batch, by its ticket, in the order of the proposals. Never called from inside
    /// [`Group::propose`](crate::Group::propose).
    pub on_outcome: Box<dyn Fn(u64, Outcome)>,
    /// Takes the reason when the group has stopped for good: the log or the store failed, an entry cannot be executed, or openraft
    /// failed. The group serves nothing any more, and its machine may hold half an entry; the process is to stop as well unless the
    /// fault is the group's own. Called at most once, or a second time where what others share is at fault behind what was the
    /// group's own; not for a wanted shutdown.
    pub on_fatal: Box<dyn Fn(Fault)>,
    /// Asks the core, from any thread, to call [`Group::drain_completions`](crate::Group::drain_completions). Called
    /// often and must be cheap.
    pub wake: Wake,
    /// Runs what blocks on other threads.
    pub background: Rc<dyn Background>,
    /// Runs reads of single rows on other threads: they do not wait behind what takes long.
    pub readers: Rc<dyn Background>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_times_follow_the_election_timeout() {
        let alone = GroupOptions::alone(0, NodeId(1), "snapshots".into());
        let usual = alone.clone().with_election_timeout(Duration::from_secs(1));
        assert_eq!((usual.heartbeat_ms, usual.election_timeout_ms), (250, (300, 700)));
        assert_eq!((usual.heartbeat_ms, usual.election_timeout_ms), (alone.heartbeat_ms, alone.election_timeout_ms));
        let tuned = alone.clone().with_election_timeout(Duration::from_millis(200));
        assert_eq!((tuned.heartbeat_ms, tuned.election_timeout_ms), (50, (60, 140)));
        assert_eq!(tuned.quiet_before_election(), Duration::from_millis(200));
    }
}
