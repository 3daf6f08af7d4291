//! A disk that does not answer: the node gives its leads away, and takes none until the disk has answered for some time.
//!
//! A leader's entries are committed by a quorum of its followers, but it executes and acknowledges them when they are on its own
//! disk too. So its clients would wait for that disk while others could go on.
//!
//! What a newcomer would get wrong: a node whose disk stands still cannot even say that another one leads, since it has to write
//! down for whom it has voted first. It stops calling itself leader at the moment at which it gives the lead away. And all nodes
//! may have one storage: a lead is given to a node only that has said that it would take it, and kept if there is none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_net::peer::GroupNumber as PeerGroup;
use basalt_raft::{Group, Member};

use super::core::Core;
use super::members::number_of;
use crate::config::Config;
use crate::ids::CoreId;
use crate::limits;
use crate::peers::Peers;
use crate::shard::Shard;

/// The groups whose leads are being given away while the disk is silent, or were kept because nobody took them.
#[derive(Default)]
pub(super) struct LeadsGiven {
    /// By their shards, with the time before which nobody is asked again; none while somebody is.
    groups: Rc<RefCell<BTreeMap<u32, Option<Instant>>>>,
}

/// The time without the end of a sync after which the disk is silent.
fn silence_bound(config: &Config) -> Duration {
    (limits::DISK_SILENCE_ELECTIONS * config.election_timeout).max(limits::DISK_SILENCE_MIN)
}

impl Core {
    /// Looks whether the disk answers, and gives the leads of this core away while it does not.
    pub(super) fn see_to_disk(&mut self) {
        if self.routing.cluster.is_none() {
            return;
        }
        let (now, disk) = (self.clock.now, &self.server.disk);
        let bound = silence_bound(&self.server.config);
        let silence = self.groups().map(Group::look_at_disk).max().unwrap_or_default();
        if silence >= bound / limits::DISK_DELAY_PART {
            disk.note_delay(now);
        }
        if silence >= bound && disk.note_silence(now) {
            tracing::warn!(
                "the disk of this node has not answered for {:.1} s: other nodes are to lead its groups, and it takes no lead back \
                 until the disk has answered for {} s",
                silence.as_secs_f64(),
                limits::DISK_WELL_AFTER.as_secs()
            );
        }
        let is_well = disk.is_well(now);
        if is_well && !self.disk_was_well && self.id == CoreId(0) {
            tracing::info!("the disk of this node answers again: it may lead groups");
        }
        let is_silent = disk.is_silent(now);
        let lacked_long = limits::LEADERLESS_ELECTIONS * self.server.config.election_timeout;
        for group in self.groups() {
            let is_needed = || !is_silent && group.leaderless_for() >= lacked_long;
            group.set_may_lead(is_well || group.is_only_voter() || is_needed());
        }
        if is_silent {
            self.give_leads_away(now);
        } else if is_well && !self.disk_was_well {
            self.leads_given.groups.borrow_mut().retain(|_, again| again.is_none());
        }
        self.disk_was_well = is_well;
    }

    /// Returns whether the core looks for a sync to end, so that it finds a disk that does not answer in time.
    pub(super) fn awaits_disk(&self) -> bool {
        self.routing.cluster.is_some() && self.groups().any(Group::awaits_disk)
    }

    /// Asks who would take the leads of this core, and gives them away.
    fn give_leads_away(&self, now: Instant) {
        let Some(cluster) = &self.routing.cluster else { return };
        let local = cluster.local.iter().filter_map(|(number, local)| {
            let shard = self.shards.get(local.shard.index())?.as_ref().filter(|shard| !shard.has_failed())?;
            Some((PeerGroup(number.0), shard.group()))
        });
        let meta = self.meta.as_ref().map(|meta| (PeerGroup(0), meta.group()));
        for (number, group) in local.chain(meta).filter(|(_, group)| group.is_leader()) {
            let heirs = group.heirs();
            let mut given = self.leads_given.groups.borrow_mut();
            let is_due = given.get(&group.shard()).is_none_or(|again| again.is_some_and(|again| now >= again));
            if heirs.is_empty() || !is_due {
                continue;
            }
            let is_new = given.insert(group.shard(), None).is_none();
            drop(given);
            let (group, peers, groups) = (group.clone(), self.peers.clone(), self.leads_given.groups.clone());
            glommio::spawn_local(async move {
                give_away(&group, peers, number, heirs, is_new).await;
                groups.borrow_mut().insert(group.shard(), Some(Instant::now() + limits::DISK_HEIR_AGAIN));
            })
            .detach();
        }
    }

    /// The groups of this core that run.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        let shards = self.shards.iter().flatten().filter(|shard| !shard.has_failed()).map(Shard::group);
        shards.chain(self.meta.as_ref().map(|meta| meta.group()))
    }
}

/// Gives the lead of a group to the first of `heirs` that would take it. Says that there is none if `is_told`.
async fn give_away(group: &Group, peers: Option<Peers>, number: PeerGroup, heirs: Vec<Member>, is_told: bool) {
    for heir in heirs {
        // A node whose disk does not answer well does not tell.
        if number_of(peers.clone(), number, heir.host()).await != Ok(heir.node) {
            continue;
        }
        match group.give_away(heir.node).await {
            Ok(()) => {
                tracing::info!(
                    shard = group.shard(),
                    heir = heir.node.0,
                    "the lead is given away: the disk does not answer"
                )
            }
            Err(error) => tracing::info!(shard = group.shard(), %error, "the lead is not given away"),
        }
        return;
    }
    if is_told {
        tracing::warn!(
            shard = group.shard(),
            "the disk does not answer, but the lead is kept: no other node that could lead says that its disk is well"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_sync_is_no_silence_however_short_the_elections_are() {
        let bound = |ms| silence_bound(&Config { election_timeout: Duration::from_millis(ms), ..Config::default() });
        assert_eq!(bound(200), limits::DISK_SILENCE_MIN);
        assert_eq!(bound(1000), Duration::from_secs(2));
    }
}
