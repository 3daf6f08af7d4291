//! The seam for many nodes: how a group's leader reaches the other members.
//!
//! A group of one never asks for a peer. A group of several is told the truth: this program has no connection to other
//! nodes, every call is answered `Unreachable` with the peer's name, and no vote is ever made up. The peer protocol goes
//! in here; nothing else changes.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use crate::ids::{NodeId, PeerAddress};
use crate::snapshot::{Snapshot, SnapshotData};
use crate::types::{TypeConfig, Vote};

/// Makes the clients of a group's peers.
pub(crate) struct Peers;

/// The client of one peer.
pub(crate) struct Peer {
    node: NodeId,
    address: PeerAddress,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, node: NodeId, address: &PeerAddress) -> Peer {
        Peer { node, address: address.clone() }
    }
}

impl Peer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let text = format!("node {} at {}: this node has no connection to its peers", self.node, self.address);
        Unreachable::new(&AnyError::error(text))
    }

    fn refuse<T>(&self) -> Result<T, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.refuse()
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.refuse()
    }

    // The provided method would grant every pre-vote.
    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.refuse()
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }

    async fn transfer_leader(
        &mut self,
        _request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.refuse()
    }
}
