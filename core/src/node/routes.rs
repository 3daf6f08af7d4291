//! The places of keys, for all cores: who holds a copy looks now and then if there is a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_raft::NodeId;

use crate::cluster::map::{ClusterId, GroupNumber, Map};
use crate::cluster::{InCluster, LocalGroup, Router, Routing};
use crate::ids::ShardId;

/// The word of a shard on who leads its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// This node.
    Here,
    /// Another node, or none that is known.
    Node(Option<NodeId>),
    /// It is not open, or not any more.
    NotOpen,
}

/// The routing that is in force.
#[derive(Debug)]
pub struct Routes {
    version: AtomicU64,
    core_count: u16,
    now: Mutex<Arc<Routing>>,
}

impl Routes {
    /// Those of a node alone, which stay.
    pub fn alone(router: Router) -> Routes {
        Routes::of(router.core_count(), Routing::alone(router))
    }

    /// Those of a node in a cluster, until its map is there.
    pub fn in_cluster(cluster: InCluster, core_count: u16) -> Routes {
        Routes::of(core_count, Routing::in_cluster(cluster, core_count))
    }

    fn of(core_count: u16, routing: Routing) -> Routes {
        Routes { version: AtomicU64::new(0), core_count, now: Mutex::new(Arc::new(routing)) }
    }

    /// The number of routings that there were before this one.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The routing. Locks for a moment.
    pub fn now(&self) -> Arc<Routing> {
        self.lock().clone()
    }

    /// The map, or an old one as long as that is not known.
    pub fn some_map(&self) -> Option<Arc<Map>> {
        let now = self.lock();
        let cluster = now.cluster.as_ref()?;
        cluster.map.clone().or_else(|| cluster.old_map.clone())
    }

    /// Notes the map as it was read from the disk.
    pub fn set_old_map(&self, map: Arc<Map>) {
        self.change(|cluster| cluster.old_map = Some(map));
    }

    /// The map, if the node belongs to a cluster and has it.
    pub fn map(&self) -> Option<Arc<Map>> {
        self.lock().cluster.as_ref()?.map.clone()
    }

    /// Puts another map in force, on a node in a cluster.
    pub fn set_map(&self, map: Arc<Map>) {
        self.change(|cluster| cluster.map = Some(map));
    }

    /// Puts another cluster in force, whose map is not there yet, on a node in a cluster.
    pub fn join(&self, id: ClusterId) {
        self.change(|cluster| {
            (cluster.id, cluster.map, cluster.old_map) = (id, None, None);
            cluster.leaders.clear();
            cluster.hints.clear();
        });
    }

    /// Puts other groups in force, on a node in a cluster.
    pub fn set_local(&self, local: BTreeMap<GroupNumber, LocalGroup>) {
        self.change(|cluster| {
            cluster.leaders.retain(|number, _| local.contains_key(number));
            cluster.local = local;
        });
    }

    /// Puts in force who leads the groups of shards of this node: each with the node that is known to, if one is; or that the
    /// shard is not open.
    pub fn set_leaders(&self, leaders: &[(ShardId, Leads)]) {
        let mut now = self.lock();
        let Some(cluster) = now.cluster.as_ref() else { return };
        let mut changed = cluster.leaders.clone();
        for (shard, leads) in leaders {
            let local = cluster.local.iter().find(|(_, group)| group.shard == *shard);
            match (local, leads) {
                (Some((number, _)), Leads::Here) => drop(changed.insert(*number, Some(cluster.myself))),
                (Some((number, _)), Leads::Node(leader)) => drop(changed.insert(*number, *leader)),
                (Some((number, _)), Leads::NotOpen) => drop(changed.remove(number)),
                (None, _) => {}
            }
        }
        if changed != cluster.leaders {
            self.change_locked(&mut now, |cluster| cluster.leaders = changed);
        }
    }

    /// Puts in force who was said to lead groups that this node does not have, in the place of what was said before.
    pub fn set_hints(&self, hints: BTreeMap<GroupNumber, NodeId>) {
        let mut now = self.lock();
        if now.cluster.as_ref().is_some_and(|cluster| cluster.hints != hints) {
            self.change_locked(&mut now, |cluster| cluster.hints = hints);
        }
    }

    /// Puts in force which other nodes do not answer.
    pub fn set_silent(&self, silent: BTreeSet<NodeId>) {
        let mut now = self.lock();
        if now.cluster.as_ref().is_some_and(|cluster| cluster.silent != silent) {
            self.change_locked(&mut now, |cluster| cluster.silent = silent);
        }
    }

    fn change(&self, change: impl FnOnce(&mut InCluster)) {
        self.change_locked(&mut self.lock(), change);
    }

    fn change_locked(&self, now: &mut Arc<Routing>, change: impl FnOnce(&mut InCluster)) {
        let mut cluster = now.cluster.clone().expect("only a node in a cluster has a map");
        change(&mut cluster);
        *now = Arc::new(Routing::in_cluster(cluster, self.core_count));
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Routing>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
