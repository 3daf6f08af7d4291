//! Nodes that could not be reached, or took nothing: they are not dialed again at once, for as many clients as wait.

use std::collections::HashMap;
use std::time::Instant;

use basalt_raft::NodeId;

use crate::limits::relays as limits;

/// A node that could not be reached.
struct Unreached {
    /// It is dialed no more before.
    until: Instant,
    failures: u32,
    why: String,
}

/// The nodes that could not be reached when they were tried last.
#[derive(Default)]
pub(super) struct UnreachedNodes {
    nodes: HashMap<NodeId, Unreached>,
}

impl UnreachedNodes {
    /// Notes that a relay to a node was lost without a reply. Of those that were dialed together the first one counts.
    pub(super) fn note(&mut self, node: NodeId, why: &str, now: Instant) {
        let noted = self.nodes.entry(node).or_insert_with(|| Unreached { until: now, failures: 0, why: String::new() });
        if now < noted.until {
            return;
        }
        let wait = limits::DIAL_BACKOFF_MIN.saturating_mul(1 << noted.failures.min(16)).min(limits::DIAL_BACKOFF_MAX);
        (noted.until, noted.failures) = (now + wait, noted.failures.saturating_add(1));
        noted.why = why.replace(['\r', '\n'], " ");
    }

    /// Notes that a node has replied.
    pub(super) fn reached(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// True if a node is not to be dialed yet.
    pub(super) fn is_barred(&self, node: NodeId, now: Instant) -> bool {
        self.nodes.get(&node).is_some_and(|noted| now < noted.until)
    }

    /// The reason that a node was not reached last.
    pub(super) fn why(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(|noted| noted.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_node_that_is_not_reached_is_dialed_less_and_less_often_until_it_replies() {
        let (mut nodes, mut now, node) = (UnreachedNodes::default(), Instant::now(), NodeId(3));
        assert!(!nodes.is_barred(node, now) && nodes.why(node).is_none());
        let mut waits = Vec::new();
        for _ in 0..100 {
            nodes.note(node, "refused\r\n", now);
            // Others that were dialed at the same time.
            nodes.note(node, "refused, too", now);
            let begun = now;
            while nodes.is_barred(node, now) {
                now += Duration::from_millis(1);
            }
            waits.push(now - begun);
        }
        assert_eq!((waits[0], waits[1]), (limits::DIAL_BACKOFF_MIN, 2 * limits::DIAL_BACKOFF_MIN));
        assert!(waits.is_sorted() && waits[99] == limits::DIAL_BACKOFF_MAX);
        assert_eq!(nodes.why(node), Some("refused  "));
        assert!(!nodes.is_barred(NodeId(4), now));
        nodes.note(node, "refused", now);
        nodes.reached(node);
        assert!(!nodes.is_barred(node, now) && nodes.why(node).is_none());
    }
}
