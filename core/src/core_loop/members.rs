//! The members of the groups that a core leads: made those of the map, a step at a time, and led by their homes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_raft::{Group, Member, NodeId, Standing};

use super::core::Core;
use crate::cluster::map;
use crate::cluster::members;
use crate::config::Durability;
use crate::ids::ShardId;
use crate::limits;
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
                    let is_at_rest = self.members.step(shard, group, cluster.myself, now);
                    self.members.is_changing |= !is_at_rest;
                }
                _ => {
                    self.members.homes_are_back.remove(&local.shard);
                    self.members.homes.remove(&local.shard);
                }
            }
        }
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

    /// Takes the next step of a group; returns true if its members and its leader are as they are to be.
    fn step(&mut self, shard: &Shard, wanted: &map::Group, myself: NodeId, now: Instant) -> bool {
        let (id, group) = (shard.id(), shard.group().clone());
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
        let members = group.members();
        let stepping = Stepping::begin(&self.stepping, id);
        if let Some(step) = members::next_step(&wanted.replicas, wanted.replicas.len(), &members, myself) {
            tracing::info!(group = wanted.number.0, shard = id.0, ?step, "the members of the group change");
            let failed = self.failed.clone();
            glommio::spawn_local(async move {
                let taken = members::take(group, step).await;
                let before = failed.borrow_mut().remove(&id).map(|(_, pause)| pause);
                if let Err(reason) = taken {
                    let pause = before.map_or(limits::MEMBERS_LOOK, |pause| (2 * pause).min(limits::MEMBERS_PAUSE_MAX));
                    tracing::warn!(
                        shard = id.0,
                        reason,
                        ?pause,
                        "the members of the group do not change, which is tried again"
                    );
                    failed.borrow_mut().insert(id, (Instant::now() + pause, pause));
                }
                drop(stepping);
            })
            .detach();
            return false;
        }
        let votes = |member: &Member| member.standing == Standing::Voter;
        let is_whole = members.members.len() == wanted.replicas.len() && members.members.iter().all(votes);
        if wanted.home == myself {
            self.homes_are_back.remove(&id);
            return is_whole;
        }
        let home = members.get(wanted.home).filter(|home| home.standing == Standing::Voter && wanted.home != myself);
        if home.and_then(|home| home.progress).is_none_or(|progress| !progress.is_caught_up) {
            self.homes_are_back.remove(&id);
            return false;
        }
        let (since, wait) = *self.homes_are_back.entry(id).or_insert((now, limits::HOME_IS_BACK));
        // Each is an election, with a pause for the group's clients.
        let are_many = Rc::strong_count(&self.handing_over) > limits::HAND_OVERS_MAX;
        if now.saturating_duration_since(since) < wait || are_many {
            return false;
        }
        // One that does not come to lead costs an election each time.
        let wait = (2 * wait).clamp(limits::HOME_IS_BACK, limits::HOME_IS_BACK_MAX);
        self.homes_are_back.insert(id, (now, wait));
        let (home, handing_over) = (wanted.home, self.handing_over.clone());
        tracing::info!(group = wanted.number.0, shard = id.0, home = home.0, "the group's home gets the lead back");
        glommio::spawn_local(async move {
            if let Err(error) = group.hand_over(home).await {
                tracing::info!(shard = id.0, %error, "the group's home did not get the lead");
            }
            drop((stepping, handing_over));
        })
        .detach();
        false
    }
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
