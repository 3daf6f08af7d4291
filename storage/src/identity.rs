//! Identity of a replica, kept in every log and every store, so that one that was moved or swapped is not taken for another.

use std::fmt;

/// Bytes of a node's id.
pub const NODE_ID_BYTES: usize = 20;

/// Bytes of a cluster's id.
pub const CLUSTER_ID_BYTES: usize = 20;

/// The cluster id in what was written before clusters had ids.
pub(crate) const NO_CLUSTER: [u8; CLUSTER_ID_BYTES] = [0; CLUSTER_ID_BYTES];

/// The number of every node in what was written before nodes had numbers of their own.
const FORMER_NUMBER: u64 = 1;

/// The replica that a log or a store belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// The cluster's id, drawn when its first node's data directory was created.
    pub cluster_id: [u8; CLUSTER_ID_BYTES],
    /// The node's id, drawn when its data directory was created.
    pub node_id: [u8; NODE_ID_BYTES],
    /// The node's number in Raft's votes and memberships, drawn as well.
    pub node: u64,
    /// The number of the group in its cluster.
    pub group: u64,
}

impl Identity {
    /// Bytes of an identity in a header.
    pub(crate) const BYTES: usize = CLUSTER_ID_BYTES + NODE_ID_BYTES + 8 + 8;
    /// Bytes of a former identity in a header.
    pub(crate) const FORMER_BYTES: usize = NODE_ID_BYTES + 4;

    /// The identity of what was written when a node knew its shards by an index, counted from 0, and nodes had neither cluster nor
    /// number.
    pub(crate) fn former(node_id: [u8; NODE_ID_BYTES], shard: u32) -> Identity {
        Identity { cluster_id: NO_CLUSTER, node_id, node: FORMER_NUMBER, group: u64::from(shard) + 1 }
    }

    /// True if what has the identity `found` is this replica's: also if it was written before there were cluster ids.
    pub(crate) fn owns(&self, found: &Identity) -> bool {
        *found == *self || *found == Identity { cluster_id: NO_CLUSTER, ..*self }
    }

    /// Reads a node's or a cluster's id of 40 hex digits; `None` if it is none.
    pub fn parse_id(text: &str) -> Option<[u8; NODE_ID_BYTES]> {
        let digits = text.as_bytes();
        let mut id = [0; NODE_ID_BYTES];
        if digits.len() != 2 * NODE_ID_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(id)
    }

    /// The node's id as 40 hex digits.
    pub(crate) fn node_id_hex(&self) -> String {
        hex(&self.node_id)
    }

    /// The cluster's id as 40 hex digits.
    pub(crate) fn cluster_id_hex(&self) -> String {
        hex(&self.cluster_id)
    }

    /// As it stands in headers.
    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..20].copy_from_slice(&self.cluster_id);
        bytes[20..40].copy_from_slice(&self.node_id);
        bytes[40..48].copy_from_slice(&self.node.to_be_bytes());
        bytes[48..].copy_from_slice(&self.group.to_be_bytes());
        bytes
    }

    /// Reads what [`Identity::encode`] made.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Identity {
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|place| bytes[at + place]));
        Identity {
            cluster_id: std::array::from_fn(|place| bytes[place]),
            node_id: std::array::from_fn(|place| bytes[20 + place]),
            node: number(40),
            group: number(48),
        }
    }

    /// The identity in a header of a former format: node id and shard.
    pub(crate) fn decode_former(bytes: &[u8; Self::FORMER_BYTES]) -> Identity {
        let [.., a, b, c, d] = *bytes;
        Identity::former(std::array::from_fn(|place| bytes[place]), u32::from_be_bytes([a, b, c, d]))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "group {} of node {} (number {:x}", self.group, self.node_id_hex(), self.node)?;
        match self.cluster_id {
            NO_CLUSTER => write!(formatter, ")"),
            _ => write!(formatter, ", cluster {})", self.cluster_id_hex()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A replica that tests are about.
    pub(crate) const OWN: Identity =
        Identity { cluster_id: [9; 20], node_id: [7; 20], node: 0x0123_4567_89ab_cdef, group: 5 };

    /// Replicas that differ from it in one thing each.
    pub(crate) fn others() -> [Identity; 4] {
        [
            Identity { cluster_id: [8; 20], ..OWN },
            Identity { node_id: [8; 20], ..OWN },
            Identity { node: 1, ..OWN },
            Identity { group: 6, ..OWN },
        ]
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let identity = Identity { node_id: std::array::from_fn(|index| index as u8 * 13), ..OWN };
        let hex = identity.node_id_hex();
        assert_eq!(Identity::parse_id(&hex), Some(identity.node_id));
        let cluster = "09".repeat(20);
        assert_eq!(identity.to_string(), format!("group 5 of node {hex} (number 123456789abcdef, cluster {cluster})"));
        for bad in ["", "0", &hex[1..], &format!("{}+1", &hex[2..]), &format!("{hex}00")] {
            assert_eq!(Identity::parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_identity_comes_back_from_its_bytes() {
        let bytes = OWN.encode();
        let numbers = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(bytes[..], [&[9; 20][..], &[7; 20], &numbers].concat());
        assert_eq!(Identity::decode(&bytes), OWN);
        for other in others() {
            assert_eq!(Identity::decode(&other.encode()), other);
            assert!(OWN.owns(&OWN) && !OWN.owns(&other), "{other}");
        }
    }

    #[test]
    fn what_was_written_before_there_were_clusters_is_its_own_nodes() {
        let former = Identity::decode_former(&[7; 24]);
        assert_eq!((former.node_id, former.group), ([7; 20], 0x0707_0708));
        let upgraded = Identity { node: 1, ..OWN };
        assert!(upgraded.owns(&Identity::former([7; 20], 4)));
        assert!(!upgraded.owns(&Identity::former([7; 20], 5)) && !upgraded.owns(&Identity::former([8; 20], 4)));
        assert!(!OWN.owns(&Identity::former([7; 20], 4)), "a node with a number of its own wrote nothing before");
    }
}
