//! The things that the one sees to who leads the map's group: the members of that, a step at a time, and the places of others.

use std::cell::Cell;
use std::time::Instant;

use basalt_net::peer::{GroupNumber as PeerGroup, NodeNumber};
use basalt_raft::{Member, Members, NodeId};

use super::{Meta, Waits};
use crate::cluster::map::{Change, Group, Map};
use crate::cluster::members::{self, Step, Wanted};
use crate::cluster::placement;
use crate::ids::CoreId;
use crate::limits;
use crate::limits::map::META_VOTERS_MAX;
use crate::peers::Peers;

impl Meta {
    /// Refuses that a node leaves while too few others answer to vote on the map without it, and that one is called lost which
    /// answers this leader, whoever else does not hear it. While those that vote change, it is to be tried again.
    pub(super) fn check_forget(&self, change: &Change) -> Result<(), String> {
        let (Change::Forget { node } | Change::ForgetWithReplicas { node } | Change::ForgetLost { node }) = change
        else {
            return Ok(());
        };
        let map = self.machine.borrow().map();
        // One that has left already is not in the way of anybody.
        let Some(known) = map.node(*node) else { return Ok(()) };
        let (members, routing) = (self.group.members(), self.server.routes.now());
        if members.is_changing {
            return Err("-CLUSTERDOWN the nodes that vote on the cluster's map are changing, try again\r\n".to_owned());
        }
        let is_silent = |host: &NodeId| routing.cluster.as_ref().is_some_and(|cluster| cluster.silent.contains(host));
        let is_of = |group: &Group| group.replicas.contains(node) || group.leaving.contains(node);
        let is_called_lost = match change {
            Change::ForgetLost { .. } => true,
            Change::ForgetWithReplicas { .. } => map.groups().iter().any(is_of),
            _ => false,
        };
        if is_called_lost && !is_silent(node) {
            return Err(format!(
                "-ERR node {} answers the node that leads the cluster's map: it is not lost, and BASALT DRAIN empties it\r\n",
                known.name
            ));
        }
        // Nobody looks out for one that has left the map, and may vote still.
        let is_heard = |member: &Member| {
            let silent = member.progress.and_then(|progress| progress.silent);
            silent.is_some_and(|silent| silent < limits::PEER_SUSPECTED)
        };
        let answers = |member: &Member| {
            let is_of_map = map.node(member.host()).is_some();
            member.node == self.group.node() || if is_of_map { !is_silent(&member.host()) } else { is_heard(member) }
        };
        if members::votes_without(&members, *node, answers) {
            return Ok(());
        }
        Err("-ERR too few other nodes that vote on the cluster's map answer: it could not be changed any more\r\n"
            .to_owned())
    }

    /// On the leader: takes the next step that makes the group's members those of the map.
    pub(super) fn see_to_members(&mut self) {
        let now = Instant::now();
        let is_due = now.saturating_duration_since(self.looked_at_members) >= limits::ASK_AGAIN;
        let has_failed = self.failed_step.get().is_some_and(|(again, _)| now < again);
        if !is_due || has_failed || self.is_stepping.get() || !self.group.is_leader() {
            return;
        }
        self.looked_at_members = now;
        let map = self.machine.borrow().map();
        let Some(step) = self.next_step(&map) else { return self.doubt_members(&map, now) };
        if let Step::HandOver(heir) = step {
            let term = self.group.status().term;
            if !self.handed_over.may(term, now) {
                return;
            }
            self.handed_over.note(term, heir, now);
        }
        tracing::info!(?step, "the members of the group that has the map change");
        self.is_stepping.set(true);
        let (group, is_stepping, server) = (self.group.clone(), self.is_stepping.clone(), self.server.clone());
        let (links, untold, failed_step) = (self.links.clone(), self.untold.clone(), self.failed_step.clone());
        let stepping = async move {
            let is_of_node = Cell::new(false);
            let number_of = async |node| {
                let told = number_of(links, node).await;
                is_of_node.set(told.is_err());
                if untold.note(node, &told, Instant::now())
                    && let Err(reason) = &told
                {
                    tracing::warn!(
                        node = node.0,
                        reason,
                        "a node has no member of the group that has the map, and is asked again"
                    );
                }
                told
            };
            let taken = members::take(group, step, number_of).await;
            let before = failed_step.take().map(|(_, pause)| pause);
            // Where a node has told no number, only that one is waited for.
            if let Err(reason) = taken
                && !is_of_node.get()
            {
                let pause = before.map_or(limits::ASK_AGAIN, |pause| (2 * pause).min(limits::META_STEP_PAUSE_MAX));
                tracing::info!(reason, ?pause, "a step of the members is to be taken again");
                failed_step.set(Some((Instant::now() + pause, pause)));
            }
            is_stepping.set(false);
            server.mailboxes.bell(CoreId(0)).ring_urgently();
        };
        glommio::spawn_local(stepping).detach();
    }

    /// The next step that makes the group's members the nodes of the map.
    pub(super) fn next_step(&self, map: &Map) -> Option<Step> {
        self.with_wanted(map, |wanted, members| members::next_step(wanted, members, self.group.node()))
    }

    /// Looks at the group's members beside those that the map wants.
    fn with_wanted<T>(&self, map: &Map, look: impl FnOnce(&Wanted<'_>, &Members) -> T) -> T {
        let nodes: Vec<NodeId> = map.nodes().iter().map(|node| node.number).collect();
        let members = self.group.members();
        let routing = self.server.routes.now();
        let mut silent = self.untold.at(Instant::now());
        silent.extend(routing.cluster.iter().flat_map(|cluster| &cluster.silent));
        let (lost, not_heir) = (self.lost.of(&members), self.handed_over.last_heir(self.group.status().term));
        let voter_count = members::voters_wanted(nodes.len(), META_VOTERS_MAX);
        let wanted =
            Wanted { nodes: &nodes, voter_count, home: None, not_heir, silent: &silent, lost: &lost, may_add: true };
        look(&wanted, &members)
    }

    /// Asks the node of a member that does not get on if it has that still: one that has left and come back has another.
    fn doubt_members(&self, map: &Map, now: Instant) {
        let own = self.group.node();
        let suspect = self.with_wanted(map, |wanted, members| self.lost.suspect(wanted, members, own, now));
        let Some((node, member)) = suspect else { return };
        let (lost, links) = (self.lost.clone(), self.links.clone());
        glommio::spawn_local(async move {
            if let Ok(found) = number_of(links, node).await {
                lost.note(member, found);
            }
        })
        .detach();
    }

    /// On the leader: has groups with fewer replicas than they should have get more, once nodes have come and the map is at rest.
    pub(super) fn see_to_placement(&mut self) {
        let (map, changed) = (self.machine.borrow().map(), self.machine.borrow().changed());
        // Whoever asks for a refused change again and again does not keep it from resting.
        let now = Instant::now();
        if self.at_rest.0 != changed {
            self.at_rest = (changed, now);
        }
        let version = self.server.routes.version();
        let is_at_rest = now.saturating_duration_since(self.at_rest.1) >= limits::MAP_AT_REST;
        if !is_at_rest || self.placed_at == Some(version) || self.is_closed || !self.group.is_leader() {
            return;
        }
        self.placed_at = Some(version);
        let routing = self.server.routes.now();
        let Some(cluster) = routing.cluster.as_ref() else { return };
        let mut placements = placement::evacuate(&map, &cluster.silent);
        if placements.is_empty() {
            placements = placement::grow(&map, &cluster.silent);
        }
        if placements.is_empty() {
            return;
        }
        tracing::info!(groups = placements.len(), "groups get replicas on other nodes");
        // Not by another leader: that one may know of more.
        match self.try_to_propose(&map.moved(placements), Waits::Placement, true) {
            Ok(None) => {}
            Ok(Some(reply)) | Err(reply) => self.place_again(reply.trim_end()),
        }
    }

    pub(super) fn place_again(&mut self, reply: &str) {
        tracing::info!(reply, "replicas that could not be placed are tried again in a while");
        self.placed_at = None;
        self.at_rest.1 = Instant::now();
    }
}

/// Asks a node for the number of its member of the group that has the map.
async fn number_of(links: Option<Peers>, node: NodeId) -> Result<NodeId, String> {
    let links = links.ok_or("this node has no links with others")?;
    let number = links.number_of_replica(PeerGroup(0), NodeNumber(node.0)).await;
    number.map(NodeId).map_err(|error| error.to_string())
}
