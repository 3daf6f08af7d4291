//! The replicas that this node is to have no more: whoever leads their groups is asked if they are members still.
//!
//! A replica is given up once a leader has said, after a quorum has told that it leads, that it is no member by what is committed.
//! Until then it stays, whatever the map says: the others may need its vote.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::peer::{GroupNumber as PeerGroup, NodeNumber};

use crate::cluster::InCluster;
use crate::cluster::map::{Group, GroupNumber, Map};
use crate::limits;
use crate::node::{Order, Server};
use crate::peers::Peers;

/// Asks of replicas that are to go.
pub(super) struct Leaving {
    links: Option<Peers>,
    server: Arc<Server>,
    /// Of each the time of the last question; none while one is under way.
    asked: Rc<RefCell<BTreeMap<GroupNumber, Option<Instant>>>>,
}

impl Leaving {
    pub(super) fn new(links: Option<Peers>, server: Arc<Server>) -> Leaving {
        Leaving { links, server, asked: Rc::default() }
    }

    /// Asks where it is time to.
    pub(super) fn turn(&mut self, map: &Map, cluster: &InCluster) {
        let Some(links) = &self.links else { return };
        let is_to_go = |group: &&Group| {
            group.is_live && cluster.local.contains_key(&group.number) && !group.replicas.contains(&cluster.myself)
        };
        self.asked.borrow_mut().retain(|number, _| map.group(*number).is_some_and(|group| is_to_go(&group)));
        let now = Instant::now();
        for group in map.groups().iter().filter(is_to_go) {
            let number = group.number;
            let is_due = |asked: &Option<Instant>| {
                asked.is_some_and(|at| now.saturating_duration_since(at) >= limits::ASK_WHO_LEADS[0])
            };
            if self.asked.borrow().get(&number).is_some_and(|asked| !is_due(asked)) {
                continue;
            }
            self.asked.borrow_mut().insert(number, None);
            // Whoever it is that leads.
            let others: Vec<_> = group.replicas.iter().copied().filter(|node| !cluster.silent.contains(node)).collect();
            let replica = cluster.local[&number].replica;
            let (links, asked, server) = (links.clone(), self.asked.clone(), self.server.clone());
            let asking = async move {
                for node in others {
                    let begun = Instant::now();
                    let is_out = links.is_replica_out(PeerGroup(number.0), NodeNumber(node.0), replica.0);
                    if is_out.await {
                        server.orders.give(Order::ReplicaOut(number, replica, begun));
                        break;
                    }
                }
                if let Some(asked) = asked.borrow_mut().get_mut(&number) {
                    *asked = Some(Instant::now());
                }
            };
            glommio::spawn_local(asking).detach();
        }
    }
}
