//! Heartbeats of all groups that two cores share, in one message.

use bytes::BufMut;

use super::append::AppendAnswer;
use crate::limits::HEARTBEATS_MAX;
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::{GroupNumber, LogId, NodeNumber, Vote};
use crate::peer::kind::Kind;
use crate::peer::push_error::PushError;

/// A leader's heartbeat of one group: entries of which there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupNumber,
    /// The leader's vote.
    pub vote: Vote,
    /// The last entry that the follower is known to have: it notices if it has lost it.
    pub matching: Option<LogId>,
    /// The last entry that is committed.
    pub committed: Option<LogId>,
}

impl Heartbeat {
    /// Heartbeats, or answers, of one message.
    pub const COUNT_MAX: usize = HEARTBEATS_MAX;

    const BYTES: usize = 8 + Vote::BYTES + 2 * LogId::OPTION_BYTES;
}

/// A follower's answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The group.
    pub group: GroupNumber,
    /// The answer.
    pub answer: AppendAnswer,
}

impl HeartbeatAnswer {
    const BYTES: usize = 8 + AppendAnswer::BYTES;
}

pub(super) fn put_heartbeats(heartbeats: &[Heartbeat], into: &mut Vec<u8>) -> Result<(), PushError> {
    put_count(Kind::Heartbeats, heartbeats.len(), Heartbeat::BYTES, into)?;
    heartbeats.iter().try_for_each(|heartbeat| put_heartbeat(Kind::Heartbeats, heartbeat, into))
}

/// Puts heartbeats, each with the member that it is for.
pub(super) fn put_heartbeats_to(heartbeats: &[(NodeNumber, Heartbeat)], into: &mut Vec<u8>) -> Result<(), PushError> {
    put_count(Kind::HeartbeatsTo, heartbeats.len(), NodeNumber::BYTES + Heartbeat::BYTES, into)?;
    for (to, heartbeat) in heartbeats {
        into.put_u64_le(to.0);
        put_heartbeat(Kind::HeartbeatsTo, heartbeat, into)?;
    }
    Ok(())
}

fn put_heartbeat(kind: Kind, heartbeat: &Heartbeat, into: &mut Vec<u8>) -> Result<(), PushError> {
    put_group(kind, heartbeat.group, into)?;
    heartbeat.vote.put(into);
    LogId::put_option(heartbeat.matching, into);
    LogId::put_option(heartbeat.committed, into);
    Ok(())
}

pub(super) fn put_answers(answers: &[HeartbeatAnswer], into: &mut Vec<u8>) -> Result<(), PushError> {
    put_count(Kind::HeartbeatAnswers, answers.len(), HeartbeatAnswer::BYTES, into)?;
    for answer in answers {
        put_group(Kind::HeartbeatAnswers, answer.group, into)?;
        answer.answer.put(into);
    }
    Ok(())
}

fn put_count(kind: Kind, count: usize, bytes_each: usize, into: &mut Vec<u8>) -> Result<(), PushError> {
    if count > HEARTBEATS_MAX {
        return Err(PushError::TooMany { kind, count, most: HEARTBEATS_MAX });
    }
    into.reserve_exact(4 + count * bytes_each);
    into.put_u32_le(count as u32);
    Ok(())
}

fn put_group(kind: Kind, group: GroupNumber, into: &mut Vec<u8>) -> Result<(), PushError> {
    if !group.is_a_group() {
        return Err(PushError::WrongGroup { kind, group });
    }
    into.put_u64_le(group.0);
    Ok(())
}

pub(super) fn read_heartbeats(fields: &mut Fields<'_>) -> Result<Vec<Heartbeat>, PeerError> {
    let count = fields.count(HEARTBEATS_MAX, Heartbeat::BYTES)?;
    (0..count).map(|_| read_heartbeat(fields)).collect()
}

pub(super) fn read_heartbeats_to(fields: &mut Fields<'_>) -> Result<Vec<(NodeNumber, Heartbeat)>, PeerError> {
    let count = fields.count(HEARTBEATS_MAX, NodeNumber::BYTES + Heartbeat::BYTES)?;
    (0..count).map(|_| Ok((NodeNumber(fields.u64()?), read_heartbeat(fields)?))).collect()
}

fn read_heartbeat(fields: &mut Fields<'_>) -> Result<Heartbeat, PeerError> {
    Ok(Heartbeat {
        group: read_group(fields)?,
        vote: fields.vote()?,
        matching: fields.log_id_option()?,
        committed: fields.log_id_option()?,
    })
}

pub(super) fn read_answers(fields: &mut Fields<'_>) -> Result<Vec<HeartbeatAnswer>, PeerError> {
    let count = fields.count(HEARTBEATS_MAX, HeartbeatAnswer::BYTES)?;
    (0..count)
        .map(|_| Ok(HeartbeatAnswer { group: read_group(fields)?, answer: AppendAnswer::read(fields)? }))
        .collect()
}

fn read_group(fields: &mut Fields<'_>) -> Result<GroupNumber, PeerError> {
    let group = GroupNumber(fields.u64()?);
    if group.is_a_group() { Ok(group) } else { Err(fields.malformed("no group has such a number")) }
}
