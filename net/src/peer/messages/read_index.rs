//! Linearizable reads of a follower.

use bytes::BufMut;

use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::{LogId, NodeNumber};

/// A leader's answer to a follower that wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadIndexAnswer {
    /// The node leads, a quorum has said so since it was asked, and the read has to see the entries up to this one.
    At(Option<LogId>),
    /// The node does not lead, but this one may.
    NotLeader(Option<NodeNumber>),
}

impl ReadIndexAnswer {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        match self {
            ReadIndexAnswer::At(id) => {
                into.put_u8(0);
                LogId::put_option(*id, into);
            }
            ReadIndexAnswer::NotLeader(leader) => {
                into.put_u8(1);
                // 0 is no node's number.
                into.put_u64_le(leader.map_or(0, |leader| leader.0));
            }
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<ReadIndexAnswer, PeerError> {
        match fields.u8()? {
            0 => fields.log_id_option().map(ReadIndexAnswer::At),
            1 => {
                let leader = fields.u64()?;
                Ok(ReadIndexAnswer::NotLeader((leader != 0).then_some(NodeNumber(leader))))
            }
            _ => Err(fields.malformed("its outcome is unknown")),
        }
    }
}
