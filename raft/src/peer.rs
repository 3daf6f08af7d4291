//! A group's peers as openraft sees them: calls with a deadline, on the way that the group was given.
//!
//! What a newcomer would get wrong: openraft waits for an answer for as long as its network does. A message that was lost is only
//! known to be so here, by the time that has passed.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use openraft_rt::Select2;

use crate::disk::Disk;
use crate::entry::encode_snapshot_meta;
use crate::error::MessageError;
use crate::ids::{NodeId, PeerAddress};
use crate::limits::SNAPSHOT_SILENCE;
use crate::messages::{Append, Handover, SentSnapshot, SignsOfLife, VoteParts, VoteQuestion};
use crate::pre_votes::PreVotes;
use crate::runtime::GlommioRuntime;
use crate::sabotage::{self, Sabotage};
use crate::snapshot::{Snapshot, SnapshotData};
use crate::transport::{Answering, Peer, Transport, Unreached};
use crate::types::{TypeConfig, Vote};

/// Reasons to hold messages of a group to its peers back.
pub(crate) struct Restraints {
    pub(crate) pre_votes: PreVotes,
    /// Entries up to this index are to be purged, and openraft waits with that for as long as it sends them.
    pub(crate) purge_upto: Cell<Option<u64>>,
}

impl Restraints {
    /// For a member that waits so long for a leader, at least, before it campaigns.
    pub(crate) fn new(election_timeout: Duration) -> Rc<Restraints> {
        Rc::new(Restraints { pre_votes: PreVotes::new(election_timeout), purge_upto: Cell::new(None) })
    }
}

/// Makes the clients of a group's peers.
pub(crate) struct Peers<D> {
    transport: Rc<dyn Transport>,
    /// The longest wait for an answer to entries, which comes when they are on the peer's disk.
    entries_wait: Duration,
    restraints: Rc<Restraints>,
    disk: PhantomData<D>,
}

impl<D> Peers<D> {
    pub(crate) fn new(transport: Rc<dyn Transport>, entries_wait: Duration, restraints: Rc<Restraints>) -> Self {
        Peers { transport, entries_wait, restraints, disk: PhantomData }
    }
}

/// The client of one peer.
pub(crate) struct Client<D> {
    transport: Rc<dyn Transport>,
    entries_wait: Duration,
    restraints: Rc<Restraints>,
    peer: Peer,
    disk: PhantomData<D>,
}

impl<D: Disk> RaftNetworkFactory<TypeConfig> for Peers<D> {
    type Network = Client<D>;

    async fn new_client(&mut self, node: NodeId, address: &PeerAddress) -> Client<D> {
        let Peers { transport, entries_wait, restraints, .. } = self;
        let peer = Peer { node, address: address.clone() };
        let (transport, restraints) = (transport.clone(), restraints.clone());
        Client { transport, entries_wait: *entries_wait, restraints, peer, disk: PhantomData }
    }
}

impl<D> Client<D> {
    /// Waits for an answer, and takes none for a lost one.
    async fn wait<T>(&self, wait: Duration, answer: Answering<T>) -> Result<T, RPCError<TypeConfig>> {
        match GlommioRuntime::timeout(wait, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error @ Unreached::Unreachable(_))) => Err(RPCError::Unreachable(Unreachable::new(&error))),
            Ok(Err(error @ Unreached::Lost(_))) => Err(RPCError::Network(NetworkError::new(&error))),
            Err(late) => Err(RPCError::Network(NetworkError::new(&late))),
        }
    }
}

/// An answer that is none is taken for a lost one.
fn unusable(error: MessageError) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&error))
}

impl<D: Disk> RaftNetworkV2<TypeConfig> for Client<D> {
    type SnapshotData = SnapshotData<D>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = Append::of(request);
        let (previous, last) = (message.previous, message.last());
        if sabotage::is(Sabotage::QuorumOfOne) {
            return Ok(AppendEntriesResponse::Success);
        }
        // Who is slower than what is written would hold the log for ever.
        let is_late =
            message.records.first().is_some_and(|first| Some(first.index) <= self.restraints.purge_upto.get());
        if is_late {
            let purged = Unreached::Lost("the log does not go back to what it needs".to_owned());
            return Err(RPCError::Network(NetworkError::new(&purged)));
        }
        let answer = self.transport.append(&self.peer, message);
        // Without entries as well: the answer comes when all that was sent before is on disk. A heartbeat that is late is given up
        // by openraft itself, when the next one is due.
        let answer = self.wait(self.entries_wait, answer).await?;
        answer.into_response(previous, last).map_err(unusable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.transport.vote(&self.peer, VoteQuestion::of(&request));
        self.wait(option.soft_ttl(), answer).await?.into_response().map_err(unusable)
    }

    // The provided method would grant every pre-vote.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        if let Some(refusal) = self.restraints.pre_votes.held_back() {
            return Ok(refusal);
        }
        let answer = self.transport.pre_vote(&self.peer, VoteQuestion::of(&request));
        let response = self.wait(option.soft_ttl(), answer).await?.into_response().map_err(unusable)?;
        self.restraints.pre_votes.note(&response);
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<D>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let unreachable = |error: &dyn std::fmt::Display| {
            StreamingError::Unreachable(Unreachable::from_string(format!("sending a snapshot: {error}")))
        };
        let life = SignsOfLife::new();
        let send = async {
            let (checkpoint, meta) = snapshot.snapshot.into_checkpoint().await.map_err(|error| unreachable(&error))?;
            let last = meta.last_log_id.ok_or_else(|| unreachable(&"it holds no entry"))?;
            let sent = SentSnapshot {
                vote: VoteParts::of(&vote),
                meta: encode_snapshot_meta(&last, &meta.last_membership),
                directory: checkpoint.directory().to_owned(),
                life: life.clone(),
            };
            life.note();
            // The checkpoint is removed when this ends, however that comes.
            let sending = self.transport.snapshot(&self.peer, sent);
            let sent = match GlommioRuntime::select2(life.silence(SNAPSHOT_SILENCE), sending).await {
                Select2::First(()) => return Err(unreachable(&"the other has said nothing for too long")),
                Select2::Second(sent) => sent,
            };
            let vote = sent.map_err(|error| unreachable(&error))?.vote().map_err(|error| unreachable(&error))?;
            Ok(SnapshotResponse::new(vote))
        };
        match GlommioRuntime::select2(cancel, send).await {
            Select2::First(closed) => Err(StreamingError::Closed(closed)),
            Select2::Second(sent) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = Handover::of(&request);
        let answer = self.transport.hand_over(&self.peer, message);
        self.wait(option.soft_ttl(), answer).await?.into_response(&message).map_err(unusable)
    }
}
