//! A cluster that forms by itself: each of its nodes is started with the list of all, `cluster-seeds`.
//!
//! The first of them waits until all others are of its cluster, and then has the slots dealt to them; every other one joins the
//! first, or whichever of them belongs to a cluster already. The first is that whose text is the least, so that the order of the
//! list is of no account.
//!
//! Easy to get wrong: whatever is done here may have been done before a crash, by this node or for it. So each step looks at the
//! map alone, and asks for what is missing in it. Once the cluster has groups nothing is done any more, and the manifest says so: a
//! node that is taken out of its cluster later does not go back by itself.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use basalt_net::resp::value;
use basalt_storage::keyspace::SLOT_COUNT;

use super::Keeper;
use crate::cluster::map::{Change, Map, NodeName, SlotRange, SlotSet};
use crate::limits;

/// The nodes that a cluster is to have, until it has formed.
pub(super) struct Seeds {
    /// The places at which clients reach them, in the order of their text.
    places: Vec<String>,
    /// The thing that is waited for, as it was said last.
    said: String,
}

/// A seed as it was reached.
struct Seed {
    address: SocketAddr,
    name: NodeName,
}

impl Seeds {
    /// The nodes of a list; `None` if there are none.
    pub(super) fn of(list: &[String]) -> Option<Seeds> {
        let mut places = list.to_vec();
        places.sort_unstable();
        places.dedup();
        (!places.is_empty()).then(|| Seeds { places, said: String::new() })
    }
}

impl Keeper<'_> {
    /// Does what is next for the cluster of the seeds, if there are any.
    pub(super) fn follow_seeds(&mut self) {
        if self.joining.is_some() || self.giving_up.is_some() {
            return;
        }
        let Some(mut seeds) = self.seeds.take() else { return };
        match self.form_cluster(&seeds.places) {
            Ok(None) => {
                if let Err(error) = self.data.note_formed() {
                    // On a full disk: it is noted by the next start.
                    tracing::warn!(%error, "it cannot be noted that the cluster of the seeds has formed");
                }
                return;
            }
            Ok(Some(waiting)) | Err(waiting) if waiting == seeds.said => {}
            Ok(Some(waiting)) | Err(waiting) => {
                tracing::info!("cluster-seeds: {waiting}");
                seeds.said = waiting;
            }
        }
        self.seeds = Some(seeds);
    }

    /// Does one step, and says what is waited for then; `None` once there is nothing left to do.
    fn form_cluster(&mut self, places: &[String]) -> Result<Option<String>, String> {
        let own = self.own.as_ref().ok_or("the node belongs to no cluster")?;
        let (myself, own_name, founds) = (own.newcomer.number, own.newcomer.name, own.founds);
        let map = self.server.routes.map().filter(|map| map.node(myself).is_some());
        if map.as_ref().is_some_and(|map| !map.groups().is_empty()) {
            return Ok(None);
        }
        let was_told = self.server.routes.some_map().is_some_and(|map| map.node(myself).is_some());
        if map.is_none() && (founds || was_told) {
            return Ok(Some("the node does not have its cluster's map yet".to_owned()));
        }
        let mut unreached = Vec::new();
        let mut reached: Vec<(usize, Seed)> = Vec::new();
        for (at, place) in places.iter().enumerate() {
            match self.reach(place) {
                Ok(seed) if reached.iter().any(|(_, other)| other.name == seed.name) => {}
                Ok(seed) => reached.push((at, seed)),
                Err(reason) => unreached.push(format!("{place} ({reason})")),
            }
        }
        let first = reached.iter().find(|(at, _)| *at == 0).map(|(_, seed)| seed);
        let is_first = first.is_some_and(|first| first.name == own_name);
        // One that is alone goes to others; one of several waits for others to come.
        if map.as_ref().is_none_or(|map| map.nodes().len() == 1) {
            let others = || reached.iter().map(|(_, seed)| seed).filter(|seed| seed.name != own_name);
            let has_cluster = |seed: &&Seed| {
                self.map_of(seed.address).is_ok_and(|map| map.nodes().len() > 1 || !map.groups().is_empty())
            };
            let towards = others().find(has_cluster).or_else(|| first.filter(|_| !is_first));
            if let Some(towards) = towards.map(|seed| seed.address) {
                tracing::info!(address = %towards, "cluster-seeds: the node joins another one");
                self.meet(None, towards)?;
                return Ok(Some(format!("the node joins that at {towards}")));
            }
        }
        let Some(map) = map.filter(|_| unreached.is_empty()) else {
            return Ok(Some(format!("these nodes are not reached: {}", unreached.join(", "))));
        };
        let seeds: Vec<Seed> = reached.into_iter().map(|(_, seed)| seed).collect();
        if let Some(stranger) = seeds.iter().find(|seed| map.node_named(seed.name).is_none()) {
            return Ok(Some(format!("the node at {} has not joined yet", stranger.address)));
        }
        if is_first {
            self.deal_slots(&map, &seeds)?;
        }
        Ok(Some("the slots are dealt to the nodes".to_owned()))
    }

    /// Asks a node who it is.
    fn reach(&self, place: &str) -> Result<Seed, String> {
        let address = place.to_socket_addrs().map_err(|error| error.to_string())?.next().ok_or("it has no address")?;
        let reply = self
            .ask(address, &[b"CLUSTER".as_slice(), b"MYID"], limits::ASK_ANSWER)
            .map_err(|error| error.to_string())?;
        let name = value::read_bulk(&reply).and_then(NodeName::parse);
        let name = name.ok_or_else(|| String::from_utf8_lossy(&reply).trim_end().to_owned())?;
        Ok(Seed { address, name })
    }

    /// Has the slots that nobody has claimed yet claimed by the nodes in their order, each as many.
    fn deal_slots(&self, map: &Arc<Map>, seeds: &[Seed]) -> Result<(), String> {
        for (at, seed) in seeds.iter().enumerate() {
            let Some(node) = map.node_named(seed.name) else { continue };
            let claimed = map.nodes().iter().fold(SlotSet::default(), |all, node| all.with(&node.claimed));
            let ranges = share(at, seeds.len()).without(&claimed).ranges().to_vec();
            if ranges.is_empty() {
                continue;
            }
            let change = Change::ClaimSlots { node: node.number, ranges }.encode();
            let reply = self.ask_leader(map, seed.address, &change, limits::ASK_AGAIN_MAX)?;
            if let Some(text) = reply.strip_prefix(b"-") {
                return Err(String::from_utf8_lossy(text).trim_end().to_owned());
            }
        }
        Ok(())
    }
}

/// The slots of one of so many nodes.
fn share(at: usize, count: usize) -> SlotSet {
    let begin = |at: usize| (at * usize::from(SLOT_COUNT) / count) as u16;
    SlotSet::of(SlotRange::new(begin(at), begin(at + 1).wrapping_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_dealt_to_one_node() {
        for count in [1, 2, 3, 5, 7, 64] {
            let shares: Vec<SlotSet> = (0..count).map(|at| share(at, count)).collect();
            let all = shares.iter().fold(SlotSet::default(), |all, one| all.with(one));
            assert_eq!(all.count(), usize::from(SLOT_COUNT), "{count}");
            let counts: Vec<usize> = shares.iter().map(SlotSet::count).collect();
            assert_eq!(counts.iter().sum::<usize>(), usize::from(SLOT_COUNT), "{count}: none twice");
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
    }

    #[test]
    fn the_order_of_a_list_is_of_no_account() {
        let of = |list: &[&str]| Seeds::of(&list.iter().map(|one| one.to_string()).collect::<Vec<_>>());
        let places = ["a:1", "b:1", "c:1"];
        assert_eq!(of(&["c:1", "a:1", "b:1", "a:1"]).expect("there are some").places, places);
        assert!(of(&[]).is_none());
    }
}
