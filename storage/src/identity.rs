//! Whose a directory is: kept in every log and every store, so that one that was moved or swapped is not taken for another.

use std::fmt;

/// Bytes of a node's id.
pub const NODE_ID_BYTES: usize = 20;

/// The shard of a node that a log or a store belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// The node's id, drawn when its data directory was created.
    pub node_id: [u8; NODE_ID_BYTES],
    /// The shard's number on that node.
    pub shard: u32,
}

impl Identity {
    /// Reads a node id of 40 hex digits; `None` if it is none.
    pub fn parse_node_id(text: &str) -> Option<[u8; NODE_ID_BYTES]> {
        let digits = text.as_bytes();
        let mut node_id = [0; NODE_ID_BYTES];
        if digits.len() != 2 * NODE_ID_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in node_id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(node_id)
    }

    /// The node's id as 40 hex digits.
    pub(crate) fn node_id_hex(&self) -> String {
        self.node_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "shard {} of node {}", self.shard, self.node_id_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_read_as_they_are_written() {
        let identity = Identity { node_id: std::array::from_fn(|index| index as u8 * 13), shard: 3 };
        let hex = identity.node_id_hex();
        assert_eq!(Identity::parse_node_id(&hex), Some(identity.node_id));
        assert_eq!(identity.to_string(), format!("shard 3 of node {hex}"));
        for bad in ["", "0", &hex[1..], &format!("{}+1", &hex[2..]), &format!("{hex}00")] {
            assert_eq!(Identity::parse_node_id(bad), None, "{bad}");
        }
    }
}
