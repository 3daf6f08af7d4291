//! The identities on both ends of a connection, and the outcome of a greeting.

use super::secret::Secret;
use super::words::NONCE_BYTES;
use crate::peer::bounds::Bounds;
use crate::peer::ids::NodeNumber;
use crate::peer::kind::Lane;

/// The versions of the protocol that a node speaks. Version 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Versions {
    /// Those of this program.
    pub const OWN: Versions = Versions { oldest: 1, newest: 2 };

    /// The newest version that both speak: so nodes of a newer program talk to those of an older one as it does, and to each other
    /// in the newer way.
    pub(super) fn common(self, other: Versions) -> Option<u16> {
        let (oldest, newest) = (self.oldest.max(other.oldest), self.newest.min(other.newest));
        (0 < oldest && oldest <= newest).then_some(newest)
    }
}

/// This node, as it greets.
#[derive(Debug, Clone)]
pub struct Own {
    /// The cluster's id.
    pub cluster: [u8; 20],
    /// The node's number; not 0.
    pub node: NodeNumber,
    /// Starts of the node so far; not 0.
    pub incarnation: u64,
    /// The number of its cores, which are named from 0 on.
    pub core_count: u16,
    /// The versions that it speaks: [`Versions::OWN`], or less.
    pub versions: Versions,
    /// Its bounds on what its peers send.
    pub bounds: Bounds,
    /// The cluster's secret, if one is set.
    pub secret: Option<Secret>,
}

/// The purpose of a connection, and the cores that it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The lane.
    pub lane: Lane,
    /// The core on the side that made the connection.
    pub dialing_core: u16,
    /// The core on the side that accepted it.
    pub accepting_core: u16,
}

/// The aim of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The node that is to answer.
    pub node: NodeNumber,
    /// The purpose and the cores.
    pub route: Route,
}

/// Random bytes of one connection, from the operating system. Two connections with the same ones would make the proof worthless.
#[derive(Debug)]
pub struct Nonce(pub [u8; NONCE_BYTES]);

/// Knowledge of a node before it greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquaintance {
    /// Not known: it may just have joined.
    Unknown,
    /// Known, with its highest incarnation that a [`Session`] or the map had. Never one of a greeting that did not end in a
    /// session: anybody could lock a node out.
    Seen {
        /// Its incarnation.
        incarnation: u64,
    },
    /// Removed from the cluster, and never to come back under this number.
    Removed,
}

/// A connection whose sides have taken each other for whom they say they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The node on the other side.
    pub node: NodeNumber,
    /// Its incarnation, to be remembered. Connections of a smaller one that are still open are to be closed.
    pub incarnation: u64,
    /// The number of its cores.
    pub core_count: u16,
    /// The purpose and the cores.
    pub route: Route,
    /// The version agreed on.
    pub version: u16,
    /// The bounds on what is sent to it: its own, and never more than this node's.
    pub bounds: Bounds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_speak_is_taken() {
        let versions = |oldest, newest| Versions { oldest, newest };
        for (one, other, common) in [
            (versions(1, 1), versions(1, 1), Some(1)),
            (versions(1, 2), versions(1, 1), Some(1)),
            (versions(1, 2), versions(2, 3), Some(2)),
            (versions(1, 4), versions(2, 3), Some(3)),
            (versions(1, 1), versions(2, 3), None),
            (versions(0, 0), versions(0, 0), None),
            (versions(3, 1), versions(1, 3), None),
        ] {
            assert_eq!(one.common(other), common, "{one:?} and {other:?}");
            assert_eq!(other.common(one), common, "{other:?} and {one:?}");
        }
    }
}
