//! A cluster that forms by itself: each of its nodes is started with the list of all, `cluster-seeds`.
//!
//! All wait until each reaches all others. Then the others join the first, which has the slots dealt to them. Where one belongs
//! to a cluster that has groups, those that are alone join that at once. The first is that whose text is the least, so that the
//! order of the list is of no account.
//!
//! Easy to get wrong: whatever is done here may have been done before a crash, by this node or for it. So each step looks at the
//! map alone, and asks for what is missing in it. Once the cluster has groups nothing is done any more, and the manifest says so: a
//! node that is taken out of its cluster later does not go back by itself.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::value;
use basalt_storage::keyspace::SLOT_COUNT;

use super::Keeper;
use crate::cluster::map::{Change, Map, NodeName, SlotRange, SlotSet};
use crate::limits;

/// The nodes that a cluster is to have, until it has formed.
pub(super) struct Seeds {
    /// The places at which clients reach them, in the order of their text.
    places: Vec<String>,
    /// The next look at them is not before.
    next: Instant,
    /// The things that were said last: they are not said again.
    said: VecDeque<String>,
}

/// A seed as it was reached.
struct Seed {
    address: SocketAddr,
    name: NodeName,
}

/// The seeds as they answered, in the order of their places.
struct Round {
    reached: Vec<Seed>,
    /// The place and the reason of each other one.
    unreached: Vec<String>,
    /// True if the first place is this node's.
    is_first: bool,
}

impl Seeds {
    /// The nodes of a list; `None` if there are none.
    pub(super) fn of(list: &[String]) -> Option<Seeds> {
        let mut places = list.to_vec();
        places.sort_unstable();
        places.dedup();
        (!places.is_empty()).then(|| Seeds { places, next: Instant::now(), said: VecDeque::new() })
    }

    /// Says what the node waits for, once.
    pub(super) fn say(&mut self, waiting: String) {
        if self.said.contains(&waiting) {
            return;
        }
        tracing::info!("cluster-seeds: {waiting}");
        self.said.push_back(waiting);
        if self.said.len() > limits::SEEDS_SAID {
            self.said.pop_front();
        }
    }
}

impl Keeper<'_> {
    /// Does what is next for the cluster of the seeds, if there are any, and it is time for it.
    pub(super) fn follow_seeds(&mut self) {
        if self.joining.is_some() || self.giving_up.is_some() {
            return;
        }
        let Some(mut seeds) = self.seeds.take_if(|seeds| seeds.next <= Instant::now()) else { return };
        match self.form_cluster(&seeds.places) {
            Ok(Some(waiting)) | Err(waiting) => seeds.say(waiting),
            Ok(None) => match self.data.note_formed() {
                Ok(()) => return,
                Err(error) => seeds.say(format!("it cannot be noted that the cluster has formed: {error}")),
            },
        }
        seeds.next = Instant::now() + limits::FOLLOW_RETRY;
        self.seeds = Some(seeds);
    }

    /// Does one step, and says what is waited for then; `None` once there is nothing left to do.
    fn form_cluster(&mut self, places: &[String]) -> Result<Option<String>, String> {
        let own = self.own.as_ref().ok_or("the node belongs to no cluster")?;
        let (myself, own_name, founds) = (own.newcomer.number, own.newcomer.name, own.founds);
        let own_map = |keeper: &Keeper<'_>| keeper.server.routes.map().filter(|map| map.node(myself).is_some());
        let map = own_map(self);
        if map.as_ref().is_some_and(|map| !map.groups().is_empty()) {
            return Ok(None);
        }
        let was_told = self.server.routes.some_map().is_some_and(|map| map.node(myself).is_some());
        if map.is_none() && (founds || was_told) {
            return Ok(Some("the node does not have its cluster's map yet".to_owned()));
        }
        let round = self.ask_all(places, own_name)?;
        let is_alone = |map: &Option<Arc<Map>>| map.as_ref().is_none_or(|map| map.nodes().len() == 1);
        // One that is alone goes to others; one of several waits for others to come, as they may have meanwhile.
        if is_alone(&map)
            && let Some(towards) = self.find_way(&round, own_name)?
            && is_alone(&own_map(self))
        {
            self.meet(None, towards)?;
            return Ok(Some(format!("the node joins that at {towards}")));
        }
        let Some(map) = map.filter(|_| round.unreached.is_empty()) else {
            return Ok(Some(format!("these nodes are not reached: {}", round.unreached.join(", "))));
        };
        if let Some(stranger) = round.reached.iter().find(|seed| map.node_named(seed.name).is_none()) {
            let has_groups = self.map_of(stranger.address).is_ok_and(|map| !map.groups().is_empty());
            return Ok(Some(match has_groups && !is_alone(&Some(map)) {
                true => {
                    format!("the node at {} has a cluster with groups: CLUSTER RESET here joins it", stranger.address)
                }
                false => format!("the node at {} has not joined yet", stranger.address),
            }));
        }
        if round.is_first {
            self.deal_slots(&map, &round.reached)?;
        }
        Ok(Some("the slots are dealt to the nodes".to_owned()))
    }

    /// Asks all nodes who they are.
    ///
    /// # Errors
    /// Two places are of the same node: one of the list is another one than it says.
    fn ask_all(&self, places: &[String], own_name: NodeName) -> Result<Round, String> {
        let mut round = Round { reached: Vec::new(), unreached: Vec::new(), is_first: false };
        for place in places {
            if self.server.stop.is_requested() {
                return Err("the node stops".to_owned());
            }
            match self.reach(place) {
                Ok(Seed { name, .. }) if round.reached.iter().any(|other| other.name == name) => {
                    return Err(format!("{place} is a node that stands in the list by another name already"));
                }
                Ok(seed) => {
                    round.is_first |= place == &places[0] && seed.name == own_name;
                    round.reached.push(seed);
                }
                Err(reason) => round.unreached.push(format!("{place} ({reason})")),
            }
        }
        Ok(round)
    }

    /// The node which one that is alone is to join, if there is one: not before all others say that they have no groups, or one
    /// that it has some.
    fn find_way(&self, round: &Round, own_name: NodeName) -> Result<Option<SocketAddr>, String> {
        let (mut several, mut unread) = (None, None);
        for seed in round.reached.iter().filter(|seed| seed.name != own_name) {
            match self.map_of(seed.address) {
                Ok(map) if !map.groups().is_empty() => return Ok(Some(seed.address)),
                Ok(map) if map.nodes().len() > 1 => several = several.or(Some(seed.address)),
                Ok(_) => {}
                Err(reason) => unread = Some(reason),
            }
        }
        match unread {
            Some(reason) => Err(reason),
            None if !round.unreached.is_empty() => Ok(None),
            None => Ok(several.or_else(|| round.reached.first().map(|seed| seed.address).filter(|_| !round.is_first))),
        }
    }

    /// Asks a node who it is, at whichever of its addresses.
    ///
    /// # Errors
    /// The reason that nobody answers, or that several do.
    fn reach(&self, place: &str) -> Result<Seed, String> {
        let (mut found, mut last): (Option<Seed>, String) = (None, "it has no address".to_owned());
        for address in place.to_socket_addrs().map_err(|error| error.to_string())? {
            let asked = self.ask(address, &[b"CLUSTER".as_slice(), b"MYID"], limits::ASK_ANSWER);
            let name = match asked.map_err(|error| error.to_string()) {
                Ok(reply) => value::read_bulk(&reply).and_then(NodeName::parse).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&reply);
                    text.trim_end().chars().take(limits::REFUSAL_SHOWN).collect::<String>()
                }),
                Err(error) => Err(error),
            };
            match name {
                Ok(name) if found.as_ref().is_some_and(|found| found.name != name) => {
                    return Err("several nodes answer to that name: each needs one of its own".to_owned());
                }
                Ok(name) => found = found.or(Some(Seed { address, name })),
                Err(reason) => last = reason,
            }
        }
        found.ok_or(last)
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
