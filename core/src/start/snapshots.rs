//! The snapshots of this node's groups, on their way to other nodes and from them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use basalt_net::peer::{
    Bounds, GroupNumber as PeerGroup, Lane, NodeNumber, Recipient, Route, Unable, UnableReason, Wanted,
};
use basalt_raft::{Answering, NodeId, Peer, ReceivedSnapshot, SentSnapshot, Unreached, VoteParts};

use super::RunError;
use super::surroundings::{acquaintance, address, number, own};
use crate::boot::{DataDir, META_INDEX};
use crate::cluster::map::GroupNumber;
use crate::ids::CoreId;
use crate::limits::snapshots as limits;
use crate::mail::HandedPeer;
use crate::node::{ArrivedSnapshot, Server};
use crate::snapshots::{Answer, Bandwidth, Groups, Receiver, ReceiverOptions, SendOrder, Sender, SenderOptions};

/// The threads that send and receive snapshots. Clones are handles of the same ones.
#[derive(Clone)]
pub(super) struct Snapshots {
    server: Arc<Server>,
    sender: Arc<Sender>,
    receiver: Arc<Receiver>,
    places: Arc<Places>,
}

/// The replicas of this node, with the directories in which the parts of snapshots lie that come for them.
type Places = Mutex<BTreeMap<GroupNumber, Place>>;

/// The place of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    replica: NodeId,
    directory: PathBuf,
}

impl Snapshots {
    /// Starts the threads, for a node in a cluster.
    pub(super) fn start(server: &Arc<Server>) -> Result<Snapshots, RunError> {
        let failed = |error| RunError(format!("no thread could be started for snapshots: {error}"));
        let bandwidth = Arc::new(Bandwidth::new(limits::BYTES_PER_SECOND, limits::BURST_BYTES));
        let (of_own, of_others) = (server.clone(), server.clone());
        let options = SenderOptions::new(
            Arc::new(move || own(&of_own)),
            Arc::new(move |node| acquaintance(&of_others, node)),
            bandwidth,
        );
        let sender = Sender::start(options).map_err(failed)?;
        let places: Arc<Places> = Arc::default();
        let groups = ToCores { server: server.clone(), places: places.clone() };
        let options = ReceiverOptions::new(Bounds::default(), server.config.disk_reserve);
        let receiver = Receiver::start(options, Arc::new(groups)).map_err(failed)?;
        let (sender, receiver) = (Arc::new(sender), Arc::new(receiver));
        let (of_sender, of_receiver) = (Arc::downgrade(&sender), Arc::downgrade(&receiver));
        let under_way = move || {
            let sent = of_sender.upgrade().map_or_else(Vec::new, |sender| sender.progress());
            [sent, of_receiver.upgrade().map_or_else(Vec::new, |receiver| receiver.progress())]
        };
        let _ = server.snapshots.set(Box::new(under_way));
        Ok(Snapshots { server: server.clone(), sender, receiver, places })
    }

    /// Notes where the groups of the node are, and removes what came of snapshots long ago and is not gone on with. Blocks.
    pub(super) fn note_places(&self, data: &DataDir) {
        let received = |index| Place {
            replica: NodeId(data.replica(index)),
            directory: data.shard(index).data.with_file_name("received"),
        };
        let shards = data.shards().into_iter().map(|group| (GroupNumber(group.number), received(group.index)));
        let places: BTreeMap<GroupNumber, Place> = shards.chain([(GroupNumber(0), received(META_INDEX))]).collect();
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&places);
        for (group, place) in places {
            if let Err(error) = self.receiver.remove_old(PeerGroup(group.0), &place.directory, SystemTime::now()) {
                tracing::warn!(group = group.0, %error, "what has come of an old snapshot is not removed");
            }
        }
    }

    /// Sends a snapshot of a group that `core` leads to its member on another node.
    pub(super) fn send(&self, core: CoreId, to: &Peer, group: PeerGroup, sent: SentSnapshot) -> Answering<VoteParts> {
        let node = NodeNumber(to.host().0);
        let Some(address) = address(&self.server, node) else {
            let error = Unreached::Unreachable(format!("node {node}: its address is not known"));
            return Box::pin(std::future::ready(Err(error)));
        };
        let route = Route { lane: Lane::Snapshots, dialing_core: core.0, accepting_core: 0 };
        let SentSnapshot { vote, meta, directory, life } = sent;
        tracing::info!(group = group.0, peer = %node, "a member is behind the log and gets a snapshot");
        let (wanted, member) = (Wanted { node, route }, NodeNumber(to.node.0));
        let order = SendOrder { to: address, wanted, group, member, vote, meta, directory };
        let sending = self.sender.send(order).on_sign(move || life.note());
        let sending: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move { sending.await.map_err(Unreached::from) });
        sending
    }

    /// Takes a connection that a peer has made for snapshots.
    pub(super) fn take(&self, peer: HandedPeer) {
        if let Err(refused) = self.receiver.take(peer) {
            tracing::warn!(peer = %refused.session.node, "a connection for snapshots is closed: there are too many");
        }
    }

    /// Ends everything, and waits for the threads.
    pub(super) fn stop(&self) {
        self.sender.stop();
        self.receiver.stop();
    }
}

/// The way of what has come to the cores.
struct ToCores {
    server: Arc<Server>,
    places: Arc<Places>,
}

impl ToCores {
    /// The core that has the group, if this node has it.
    fn core_of(&self, group: GroupNumber) -> Option<CoreId> {
        if group == GroupNumber(0) {
            return Some(CoreId(0));
        }
        let routing = self.server.routes.now();
        let local = routing.cluster.as_ref()?.local.get(&group)?;
        Some(routing.router.core_of_lane(local.lane))
    }

    /// The place of the group's replica here, if that is the member `to`.
    fn find(&self, group: PeerGroup, to: Recipient) -> Result<Place, Unable> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&GroupNumber(group.0)).cloned();
        let not_here = |text| Unable::new(UnableReason::NotHere, text);
        let place = place.ok_or_else(|| not_here("this node does not have the group"))?;
        if to.is(NodeNumber(place.replica.0), number(&self.server)) {
            Ok(place)
        } else {
            Err(not_here("the replica of the group here is another member than the one that is meant"))
        }
    }
}

impl Groups for ToCores {
    fn place(&self, group: PeerGroup, to: Recipient) -> Result<PathBuf, Unable> {
        Ok(self.find(group, to)?.directory)
    }

    fn install(&self, group: PeerGroup, to: Recipient, snapshot: ReceivedSnapshot, answer: Answer) {
        let replica = match self.find(group, to) {
            Ok(place) => place.replica,
            Err(unable) => {
                // The member that it was for is gone since it was begun, most likely with its directory.
                match std::fs::remove_dir_all(&snapshot.directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        let path = snapshot.directory.display();
                        tracing::warn!(%path, %error, "a snapshot that nobody wants is not removed");
                    }
                    _ => {}
                }
                return answer.send(Err(unable));
            }
        };
        let number = GroupNumber(group.0);
        // Without a core the answer is dropped, and says so.
        if let Some(core) = self.core_of(number) {
            self.server.arrived_snapshots[core.index()].push(ArrivedSnapshot {
                group: number,
                replica,
                snapshot,
                answer,
            });
            self.server.mailboxes.bell(core).ring_urgently();
        }
    }
}
