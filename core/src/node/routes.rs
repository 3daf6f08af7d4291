//! The places of keys, for all cores: who holds a copy looks now and then if there is a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_raft::NodeId;

use crate::cluster::map::{ClusterId, GroupNumber, Map};
use crate::cluster::{InCluster, LocalGroup, Router, Routing};
use crate::ids::ShardId;

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
        });
    }

    /// Puts other groups in force, on a node in a cluster.
    pub fn set_local(&self, local: BTreeMap<GroupNumber, LocalGroup>) {
        self.change(|cluster| {
            cluster.leaders.retain(|number, _| local.contains_key(number));
            cluster.local = local;
        });
    }

    /// Puts in force who leads the group of a shard of this node, as far as that is known.
    pub fn set_leader(&self, shard: ShardId, leader: Option<NodeId>) {
        let mut now = self.lock();
        let Some(cluster) = now.cluster.as_ref() else { return };
        let mut local = cluster.local.iter().filter(|(_, group)| group.shard == shard);
        let Some(number) = local.next().map(|(number, _)| *number) else { return };
        if cluster.leaders.get(&number).copied() == leader {
            return;
        }
        self.change_locked(&mut now, |cluster| match leader {
            Some(leader) => drop(cluster.leaders.insert(number, leader)),
            None => drop(cluster.leaders.remove(&number)),
        });
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
