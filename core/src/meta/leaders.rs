//! The leaders of groups that this node does not have: who has a replica is asked now and then, so that clients are sent to the
//! node that leads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::peer::{GroupNumber as PeerGroup, NodeNumber};
use basalt_raft::NodeId;

use crate::cluster::InCluster;
use crate::cluster::map::{Group, GroupNumber, Map};
use crate::limits;
use crate::node::Server;
use crate::peers::Peers;

/// Asks who leads the groups that this node does not have, or is to have no more.
pub(super) struct Leaders {
    links: Option<Peers>,
    server: Arc<Server>,
    asked: Rc<RefCell<BTreeMap<GroupNumber, Asked>>>,
}

/// The answer to the last question on one group.
struct Asked {
    at: Instant,
    is_under_way: bool,
    leader: Option<NodeId>,
}

impl Leaders {
    pub(super) fn new(links: Option<Peers>, server: Arc<Server>) -> Leaders {
        Leaders { links, server, asked: Rc::default() }
    }

    /// Asks where it is time to, and puts in force what was answered.
    pub(super) fn turn(&mut self, map: &Map, cluster: &InCluster) {
        let Some(links) = &self.links else { return };
        let knows = |group: &Group| matches!(cluster.leaders.get(&group.number), Some(Some(_)));
        let is_far = |group: &&Group| group.is_live && !cluster.has_place(group) && !knows(group);
        self.asked.borrow_mut().retain(|number, _| map.group(*number).is_some_and(|group| is_far(&group)));
        let now = Instant::now();
        for group in map.groups().iter().filter(is_far) {
            let Some(node) = cluster.leader_of(group).filter(|node| *node != cluster.myself) else { continue };
            let is_usual = node == group.home && !cluster.silent.contains(&node);
            let pause = limits::ASK_WHO_LEADS[usize::from(is_usual)];
            let is_due = |asked: &Asked| !asked.is_under_way && now.saturating_duration_since(asked.at) >= pause;
            let number = group.number;
            {
                let mut asked = self.asked.borrow_mut();
                let known = asked.get(&number);
                if known.is_some_and(|asked| !is_due(asked)) {
                    continue;
                }
                let leader = known.and_then(|asked| asked.leader);
                asked.insert(number, Asked { at: now, is_under_way: true, leader });
            }
            let (links, places) = (links.clone(), self.asked.clone());
            let asking = async move {
                let leader = links.who_leads(PeerGroup(number.0), NodeNumber(node.0)).await;
                if let Some(asked) = places.borrow_mut().get_mut(&number) {
                    (asked.is_under_way, asked.leader) = (false, leader.map(|leader| NodeId(leader.0)));
                }
            };
            glommio::spawn_local(asking).detach();
        }
        let asked = self.asked.borrow();
        // It may be the number of a replica whose place was not known where that was asked.
        let hint = |asked: &Asked| asked.leader.filter(|leader| map.node(*leader).is_some());
        let hints = asked.iter().filter_map(|(number, asked)| Some((*number, hint(asked)?))).collect();
        self.server.routes.set_hints(hints);
    }
}
