//! Votes, and leadership that is handed over.

use bytes::BufMut;

use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::{LogId, NodeNumber, Vote};

/// A candidate's request, or that of a node which asks before it becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteRequest {
    /// The candidate and its term.
    pub vote: Vote,
    /// The last entry of its log.
    pub last: Option<LogId>,
    /// The leader has asked it to take over: its lease does not stand in the way.
    pub is_transfer: bool,
}

impl VoteRequest {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        self.vote.put(into);
        LogId::put_option(self.last, into);
        into.put_u8(u8::from(self.is_transfer));
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<VoteRequest, PeerError> {
        Ok(VoteRequest { vote: fields.vote()?, last: fields.log_id_option()?, is_transfer: fields.flag()? })
    }
}

/// The answer to a [`VoteRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteAnswer {
    /// The voter's vote after it.
    pub vote: Vote,
    /// The vote is granted, or would be.
    pub is_granted: bool,
    /// The last entry of the voter's log.
    pub last: Option<LogId>,
}

impl VoteAnswer {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        self.vote.put(into);
        LogId::put_option(self.last, into);
        into.put_u8(u8::from(self.is_granted));
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<VoteAnswer, PeerError> {
        Ok(VoteAnswer { vote: fields.vote()?, last: fields.log_id_option()?, is_granted: fields.flag()? })
    }
}

/// A leader's request that another node take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLeader {
    /// The leader's vote.
    pub from: Vote,
    /// The node that is to lead.
    pub to: NodeNumber,
    /// The last entry of the leader's log, which that node must have on disk.
    pub last: Option<LogId>,
}

impl TransferLeader {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        self.from.put(into);
        into.put_u64_le(self.to.0);
        LogId::put_option(self.last, into);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<TransferLeader, PeerError> {
        Ok(TransferLeader { from: fields.vote()?, to: NodeNumber(fields.u64()?), last: fields.log_id_option()? })
    }
}

/// The answer to a [`TransferLeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferAnswer {
    /// The node stands for election, or does not have to.
    Accepted,
    /// Its vote is another one than the leader's.
    VoteChanged(Vote),
    /// The last entry on its disk is another one than the leader's.
    NotFlushed(Option<LogId>),
}

impl TransferAnswer {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        match self {
            TransferAnswer::Accepted => into.put_u8(0),
            TransferAnswer::VoteChanged(vote) => {
                into.put_u8(1);
                vote.put(into);
            }
            TransferAnswer::NotFlushed(last) => {
                into.put_u8(2);
                LogId::put_option(*last, into);
            }
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<TransferAnswer, PeerError> {
        match fields.u8()? {
            0 => Ok(TransferAnswer::Accepted),
            1 => fields.vote().map(TransferAnswer::VoteChanged),
            2 => fields.log_id_option().map(TransferAnswer::NotFlushed),
            _ => Err(fields.malformed("its outcome is unknown")),
        }
    }
}
