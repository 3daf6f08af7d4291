//! The names of clusters, nodes and groups. The number of a node is Raft's [`basalt_raft::NodeId`].

use std::fmt;

use basalt_storage::{CLUSTER_ID_BYTES, NODE_ID_BYTES};

/// The name of a node for clients: 40 hex digits, drawn when its data directory is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub [u8; NODE_ID_BYTES]);

impl NodeName {
    /// Reads a name as clients write it: 40 hex digits without capitals, as Redis has them. `None` if `text` is no name.
    pub fn parse(text: &[u8]) -> Option<NodeName> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut name = [0; NODE_ID_BYTES];
        if text.len() != 2 * NODE_ID_BYTES {
            return None;
        }
        for (byte, pair) in name.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(NodeName(name))
    }
}

/// The id of a cluster, drawn when the data directory of its first node is created.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; CLUSTER_ID_BYTES]);

/// The number of a Raft group in its cluster, given out by the meta group and never again. 0 is the meta group's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNumber(pub u64);

fn write_hex(formatter: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Display for GroupNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let name = NodeName::parse(text.as_bytes()).unwrap();
        assert_eq!(name.0[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!((name.to_string(), format!("{name:?}")), (text.to_owned(), text.to_owned()));
        assert_eq!(ClusterId(name.0).to_string(), text);
        for other in ["", "0", &text[1..], &text.to_uppercase(), &text.replace('0', "g"), &text.replace('0', " ")] {
            assert_eq!(NodeName::parse(other.as_bytes()), None, "{other:?}");
        }
    }
}
