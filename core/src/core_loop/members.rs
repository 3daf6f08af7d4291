//! The members of the groups that a core leads: made those of the map, a step at a time, and led by their homes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use basalt_net::peer::{GroupNumber as PeerGroup, NodeNumber};
use basalt_raft::{Group, Member, NodeId, Standing};

use super::core::Core;
use crate::cluster::InCluster;
use crate::cluster::map;
use crate::cluster::members::{self, HandOvers, LedGroup, Lost, Step, Untold, Wanted};
use crate::config::Durability;
use crate::ids::ShardId;
use crate::limits;
use crate::peers::Peers;
use crate::shard::Shard;

/// The things that a core remembers of the members of its groups.
#[derive(Default)]
pub(super) struct Members {
    looked: Option<Instant>,
    /// Set if the last look found a group whose members or leader are to be others.
    is_changing: bool,
    /// The routing that the last look was at.
    looked_at: u64,
    /// Shards of which a step is under way.
    stepping: Rc<RefCell<BTreeSet<ShardId>>>,
    /// Shards whose last step has failed, with the time before which none is tried again, and the pause that led to it.
    failed: Rc<RefCell<BTreeMap<ShardId, (Instant, Duration)>>>,
    /// The time since which leads are given away, and the shards that were, each with the term of this node's lead.
    leaving: Option<(Instant, BTreeMap<u32, Option<u64>>)>,
    /// The home of each group that is led here, and the time since which it has been looked at.
    homes: BTreeMap<ShardId, (NodeId, Instant)>,
    /// Held by each hand-over that is under way.
    handing_over: Rc<()>,
    /// Members of each shard whose nodes have others in their place.
    lost: BTreeMap<ShardId, Lost>,
    /// Nodes that have told no number of a replica of each shard.
    untold: BTreeMap<ShardId, Untold>,
    /// The leads of each shard that were given away; kept when the lead goes, since it may come back.
    handed_over: BTreeMap<ShardId, HandOvers>,
    /// Shards of which a replica is being copied to another node.
    copying: BTreeSet<ShardId>,
    /// Shards whose homes have been able to lead them, since when, and for how long they have to be before they do.
    homes_are_back: BTreeMap<ShardId, (Instant, Duration)>,
}

impl Core {
    /// Returns whether groups are about to have other members or leaders, as far as it is known, or nobody has looked since the
    /// routing has changed.
    pub(super) fn members_are_changing(&self) -> bool {
        let members = &self.members;
        self.routing.cluster.is_some() && (members.is_changing || members.looked_at != self.routing_version)
    }

    /// Takes the next step of each group that this core leads, if one is due.
    pub(super) fn see_to_members(&mut self) {
        let now = self.clock.now;
        let pause = if self.members_are_changing() { limits::MEMBERS_LOOK } else { limits::MEMBERS_AT_REST_LOOK };
        let is_due = |looked: Instant| now.saturating_duration_since(looked) >= pause;
        let Some(cluster) = self.routing.cluster.as_ref().filter(|_| self.members.looked.is_none_or(is_due)) else {
            return;
        };
        self.members.looked = Some(now);
        self.members.looked_at = self.routing_version;
        self.members.is_changing = false;
        let Some(map) = cluster.map.as_ref() else { return };
        self.tell_of_members(cluster, map, now);
        // What this node acknowledges would be lost by a power failure and one other. The keeper says so.
        if self.server.config.durability != Durability::Always {
            return;
        }
        for (number, local) in &cluster.local {
            let (Some(group), Some(shard)) = (map.group(*number), self.shards.get(local.shard.index())) else {
                continue;
            };
            let led = shard.as_ref().filter(|shard| shard.group().is_leader() && !shard.takes_nothing());
            match led {
                Some(shard) if group.is_live => {
                    let is_at_rest = self.members.step(shard, group, (cluster, self.peers.as_ref()), now);
                    self.members.is_changing |= !is_at_rest;
                }
                _ => self.members.forget(local.shard),
            }
        }
    }

    /// Tells the node of the voters of those groups that this core leads, and of members that are on nodes which were forgotten.
    fn tell_of_members(&self, cluster: &InCluster, map: &map::Map, now: Instant) {
        let (mut led, mut gone) = (BTreeMap::new(), BTreeSet::new());
        let forgotten: BTreeSet<NodeId> = map.forgotten().iter().map(|gone| gone.number).collect();
        for (number, local) in &cluster.local {
            let Some(shard) = self.seat(local.shard) else { continue };
            let group = shard.group();
            if !group.is_leader() && forgotten.is_empty() {
                continue;
            }
            let members = group.members();
            gone.extend(members.members.iter().map(Member::host).filter(|host| forgotten.contains(host)));
            if group.is_leader() {
                led.insert(*number, LedGroup::of(&members, group.node(), now));
            }
        }
        self.server.led.lock().unwrap_or_else(PoisonError::into_inner).insert(self.id, led);
        self.server.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(Some(self.id), gone);
    }
}

impl Members {
    /// Gives the leads of these groups to other nodes that have caught up; returns whether one of them is still led here, and is
    /// worth waiting for.
    pub(super) fn leave_leads<'a>(&mut self, groups: impl Iterator<Item = &'a Group>, now: Instant) -> bool {
        let (since, given) = self.leaving.get_or_insert_with(|| (now, BTreeMap::new()));
        if now.saturating_duration_since(*since) >= limits::LEADS_LEAVE_MAX {
            return false;
        }
        let mut is_left = false;
        for group in groups.filter(|group| group.is_leader() && !group.is_only_member()) {
            let members = group.members().members;
            let is_heir = |member: &&Member| {
                member.standing == Standing::Voter && member.progress.is_some_and(|progress| progress.is_caught_up)
            };
            let Some(heir) = members.iter().find(is_heir).map(|member| member.node) else { continue };
            is_left = true;
            // One that comes back is given away again.
            let term = group.leads_in();
            if given.insert(group.shard(), term) == Some(term) {
                continue;
            }
            let group = group.clone();
            glommio::spawn_local(async move {
                if let Err(error) = group.hand_over(heir).await {
                    tracing::info!(shard = group.shard(), %error, "the lead is not given away before the stop");
                }
            })
            .detach();
        }
        is_left
    }

    /// Forgets what was known of a shard that is not led here any more.
    fn forget(&mut self, shard: ShardId) {
        self.homes_are_back.remove(&shard);
        self.homes.remove(&shard);
        self.copying.remove(&shard);
        self.lost.remove(&shard);
        self.untold.remove(&shard);
    }

    /// Forgets all that was known of a shard that has left this core: another one may get its number.
    pub(super) fn forget_for_good(&mut self, shard: ShardId) {
        self.forget(shard);
        self.handed_over.remove(&shard);
        self.failed.borrow_mut().remove(&shard);
    }

    /// Takes the next step of a group; returns true if its members and its leader are as they are to be.
    fn step(
        &mut self,
        shard: &Shard,
        wanted: &map::Group,
        (cluster, peers): (&InCluster, Option<&Peers>),
        now: Instant,
    ) -> bool {
        let (id, group, myself) = (shard.id(), shard.group().clone(), cluster.myself);
        let is_early = |(again, _): &(Instant, Duration)| now < *again;
        if self.stepping.borrow().contains(&id) || self.failed.borrow().get(&id).is_some_and(is_early) {
            return false;
        }
        // One alone has nobody to ask.
        if wanted.replicas == [myself] && group.is_only_member() {
            return true;
        }
        let (home, since) = self.homes.entry(id).or_insert((wanted.home, now));
        if *home != wanted.home {
            *home = wanted.home;
            // It was made the home just now, so that it leads, and was away for nobody. But leads do not come and go all the time.
            let wait = limits::HOME_IS_BACK.saturating_sub(now.saturating_duration_since(*since));
            self.homes_are_back.insert(id, (now, wait));
        }
        let (members, own) = (group.members(), group.node());
        let lost = self.lost.entry(id).or_default().clone();
        let number = PeerGroup(wanted.number.0);
        let known_lost = lost.of(&members);
        let under_way = self.stepping.borrow().union(&self.copying).count();
        let has_room = under_way < limits::COPIES_MAX || self.copying.contains(&id);
        let untold = self.untold.entry(id).or_default().clone();
        let silent: BTreeSet<NodeId> = cluster.silent.union(&untold.at(now)).copied().collect();
        let term = group.status().term;
        let handed_over = self.handed_over.entry(id).or_default();
        let whole = Wanted {
            nodes: &wanted.replicas,
            voter_count: wanted.replicas.len(),
            home: Some(wanted.home),
            not_heir: handed_over.last_heir(term),
            silent: &silent,
            lost: &known_lost,
            may_add: has_room,
        };
        if members::is_copying(&whole, &members, own) {
            self.copying.insert(id)
        } else {
            self.copying.remove(&id)
        };
        let stepping = Stepping::begin(&self.stepping, id);
        if let Some(step) = members::next_step(&whole, &members, own) {
            if let Step::HandOver(heir) = step {
                if !handed_over.may(term, now) {
                    return false;
                }
                handed_over.note(term, heir, now);
            }
            let peers = peers.cloned();
            tracing::info!(group = wanted.number.0, shard = id.0, ?step, "the members of the group change");
            let failed = self.failed.clone();
            glommio::spawn_local(async move {
                let is_of_node = Cell::new(false);
                let number_of = async |node| {
                    let told = number_of(peers, number, node).await;
                    is_of_node.set(told.is_err());
                    if untold.note(node, &told, Instant::now())
                        && let Err(reason) = &told
                    {
                        tracing::warn!(
                            shard = id.0,
                            node = node.0,
                            reason,
                            "a node makes no replica of the group, and is asked again"
                        );
                    }
                    told
                };
                let taken = members::take(group, step, number_of).await;
                let before = failed.borrow_mut().remove(&id).map(|(_, pause)| pause);
                // Only that node is waited for: others may have theirs.
                if let Err(reason) = taken
                    && !is_of_node.get()
                {
                    let pause = before.map_or(limits::MEMBERS_LOOK, |pause| (2 * pause).min(limits::MEMBERS_PAUSE_MAX));
                    // A node that is to have a replica makes it first.
                    if pause < limits::MEMBERS_PAUSE_TOLD {
                        tracing::debug!(shard = id.0, reason, "the members of the group do not change yet");
                    } else {
                        tracing::warn!(
                            shard = id.0,
                            reason,
                            ?pause,
                            "the members of the group do not change, which is tried again"
                        );
                    }
                    failed.borrow_mut().insert(id, (Instant::now() + pause, pause));
                }
                drop(stepping);
            })
            .detach();
            return false;
        }
        if let Some((node, member)) = lost.suspect(&whole, &members, own, now) {
            let peers = peers.cloned();
            glommio::spawn_local(async move {
                if let Ok(found) = number_of(peers, number, node).await {
                    lost.note(member, found);
                }
            })
            .detach();
        }
        let votes = |member: &Member| member.standing == Standing::Voter;
        let is_whole = members.members.len() == wanted.replicas.len() && members.members.iter().all(votes);
        if wanted.home == myself {
            self.homes_are_back.remove(&id);
            return is_whole && known_lost.is_empty();
        }
        let is_home = |member: &&Member| member.host() == wanted.home && !known_lost.contains(&member.node);
        let home = members.members.iter().find(is_home);
        let home = home.filter(|home| home.standing == Standing::Voter);
        if home.and_then(|home| home.progress).is_none_or(|progress| !progress.is_caught_up) {
            self.homes_are_back.remove(&id);
            return false;
        }
        let heir = home.map_or(own, |home| home.node);
        let (since, wait) = *self.homes_are_back.entry(id).or_insert((now, limits::HOME_IS_BACK));
        // Each is an election, with a pause for the group's clients.
        let are_many = Rc::strong_count(&self.handing_over) > limits::HAND_OVERS_MAX;
        if now.saturating_duration_since(since) < wait || are_many {
            return false;
        }
        // One that does not come to lead costs an election each time.
        let wait = (2 * wait).clamp(limits::HOME_IS_BACK, limits::HOME_IS_BACK_MAX);
        self.homes_are_back.insert(id, (now, wait));
        let (home, handing_over, peers) = (wanted.home, self.handing_over.clone(), peers.cloned());
        glommio::spawn_local(async move {
            // A node whose disk does not answer well does not tell: it would not take the lead.
            if let Err(reason) = number_of(peers, number, home).await {
                tracing::info!(shard = id.0, home = home.0, reason, "the group's home does not get the lead back yet");
                return drop((stepping, handing_over));
            }
            tracing::info!(group = number.0, shard = id.0, home = home.0, "the group's home gets the lead back");
            if let Err(error) = group.hand_over(heir).await {
                tracing::info!(shard = id.0, %error, "the group's home did not get the lead");
            }
            drop((stepping, handing_over));
        })
        .detach();
        false
    }
}

/// Asks a node for the number of its replica of a group.
pub(super) async fn number_of(peers: Option<Peers>, group: PeerGroup, node: NodeId) -> Result<NodeId, String> {
    let peers = peers.ok_or("this node has no links with others")?;
    let number = peers.number_of_replica(group, NodeNumber(node.0)).await.map_err(|error| error.to_string())?;
    Ok(NodeId(number))
}

/// Marks a step of a shard as under way.
struct Stepping(Rc<RefCell<BTreeSet<ShardId>>>, ShardId);

impl Stepping {
    fn begin(stepping: &Rc<RefCell<BTreeSet<ShardId>>>, shard: ShardId) -> Stepping {
        stepping.borrow_mut().insert(shard);
        Stepping(stepping.clone(), shard)
    }
}

impl Drop for Stepping {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}
