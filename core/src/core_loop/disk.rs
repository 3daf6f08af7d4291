//! A disk that does not answer: the node gives its leads away, and takes none until the disk has answered for some time.
//!
//! A leader's entries are committed by a quorum of its followers, but it executes and acknowledges them when they are on its own
//! disk too. So its clients would wait for that disk while others could go on.
//!
//! What a newcomer would get wrong: a node whose disk stands still cannot even say that another one leads, since it has to write
//! down for whom it has voted first. It stops calling itself leader at the moment at which it gives the lead away.

use basalt_raft::Group;

use super::core::Core;
use crate::ids::CoreId;
use crate::limits;
use crate::shard::Shard;

impl Core {
    /// Looks whether the disk answers, and gives the leads of this core away while it does not.
    pub(super) fn see_to_disk(&mut self) {
        if self.routing.cluster.is_none() {
            return;
        }
        let (now, disk) = (self.clock.now, &self.server.disk);
        let bound = limits::DISK_SILENCE_ELECTIONS * self.server.config.election_timeout;
        let silence = self.groups().map(Group::look_at_disk).max().unwrap_or_default();
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
        for group in self.groups() {
            group.set_may_lead(is_well || group.is_only_voter());
        }
        if disk.is_silent(now) {
            for group in self.groups().filter(|group| group.is_leader()) {
                give_away(group);
            }
        }
        self.disk_was_well = is_well;
    }

    /// Returns whether the core looks for a sync to end, so that it finds a disk that does not answer in time.
    pub(super) fn awaits_disk(&self) -> bool {
        self.routing.cluster.is_some() && self.groups().any(Group::awaits_disk)
    }

    /// The groups of this core that run.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        let shards = self.shards.iter().flatten().filter(|shard| !shard.has_failed()).map(Shard::group);
        shards.chain(self.meta.as_ref().map(|meta| meta.group()))
    }
}

/// Gives the lead of a group to the follower that is furthest, if the others can go on without this node.
fn give_away(group: &Group) {
    let Some(heir) = group.heir() else { return };
    let group = group.clone();
    glommio::spawn_local(async move {
        match group.give_away(heir).await {
            Ok(()) => {
                tracing::info!(shard = group.shard(), heir = heir.0, "the lead is given away: the disk does not answer")
            }
            Err(error) => tracing::info!(shard = group.shard(), %error, "the lead is not given away"),
        }
    })
    .detach();
}
