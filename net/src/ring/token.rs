//! The `user_data` that a request carries through the kernel, so that its completion finds its way home.
//!
//! ```text
//! bits  0..3   kind
//! bits  3..32  index of the connection or listener
//! bits 32..64  generation of the connection's place
//! ```

use super::ids::ConnId;

/// The subject of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A multishot receive.
    Receive = 0,
    /// A send of a part of the queued output.
    Send = 1,
    /// The cancellation of a connection's requests.
    Cancel = 2,
    /// A multishot accept.
    Accept = 3,
    /// The pause after an accept that failed for want of resources.
    AcceptRetry = 4,
    /// The read of the wake-up pipe.
    Wake = 5,
    /// Something whose outcome does not matter.
    Ignored = 6,
    /// The making of a connection.
    Connect = 7,
}

/// Highest number of connections, set by the bits that are left for the index.
pub(super) const INDEX_MAX: u32 = (1 << 29) - 1;

/// The decoded `user_data` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Token {
    /// A token for a request of connection `id`.
    pub(super) fn of(kind: Kind, id: ConnId) -> Token {
        Token { kind, index: id.index, generation: id.generation }
    }

    /// A token for a request that belongs to no connection.
    pub(super) fn plain(kind: Kind, index: u32) -> Token {
        Token { kind, index, generation: 0 }
    }

    /// The connection that the request belongs to.
    pub(super) fn connection(self) -> ConnId {
        ConnId { index: self.index, generation: self.generation }
    }

    pub(super) fn encode(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index) << 3 | self.kind as u64
    }

    pub(super) fn decode(user_data: u64) -> Token {
        let kind = match user_data & 7 {
            0 => Kind::Receive,
            1 => Kind::Send,
            2 => Kind::Cancel,
            3 => Kind::Accept,
            4 => Kind::AcceptRetry,
            5 => Kind::Wake,
            6 => Kind::Ignored,
            _ => Kind::Connect,
        };
        Token { kind, index: (user_data as u32) >> 3, generation: (user_data >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        let kinds = [
            Kind::Receive,
            Kind::Send,
            Kind::Cancel,
            Kind::Accept,
            Kind::AcceptRetry,
            Kind::Wake,
            Kind::Ignored,
            Kind::Connect,
        ];
        for kind in kinds {
            for (index, generation) in [(0, 0), (1, u32::MAX), (INDEX_MAX, 0), (INDEX_MAX, u32::MAX), (77, 5)] {
                let token = Token { kind, index, generation };
                assert_eq!(Token::decode(token.encode()), token);
            }
        }
    }
}
