//! Changes of the map on their way to the node that leads its group, and the answers of that one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::value;
use basalt_raft::NodeId;
use crossbeam_queue::SegQueue;

use super::{AskError, Meta, Waits, ask};
use crate::cluster::map::Change;
use crate::ids::CoreId;
use crate::limits;
use crate::node::Background;

/// The answer of another node.
type Answer = Result<Vec<u8>, AskError>;

/// Changes on their way to the node that leads the group.
pub(super) struct Forwarding {
    pub(super) askers: Background,
    /// Changes that are to be sent, since when they wait, and when they were sent last.
    pub(super) waiting: Vec<(Change, Waits, Instant, Instant)>,
    /// Changes that were sent, by their numbers, and since when they wait.
    pub(super) sent: BTreeMap<u64, (Change, Waits, Instant)>,
    /// Answers that have come, by the numbers: no more than were sent, so that `META_CHANGES_MAX` bounds them.
    pub(super) answers: Arc<SegQueue<(u64, Answer)>>,
    /// Answers whose map this node does not have yet, with its epoch, and since when they wait.
    pub(super) early: Vec<(u64, Waits, Vec<u8>, Instant)>,
}

impl Forwarding {
    pub(super) fn new(askers: Background) -> Forwarding {
        Forwarding { askers, waiting: Vec::new(), sent: BTreeMap::new(), answers: Arc::default(), early: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len() + self.early.len()
    }
}

impl Meta {
    /// Sends changes that wait to the leader, if there is one.
    pub(super) fn forward(&mut self) {
        let now = Instant::now();
        let due = |last: &Instant| now.saturating_duration_since(*last) >= limits::ASK_AGAIN;
        let waiting = std::mem::take(&mut self.forwarding.waiting);
        for (change, waits, since, last) in waiting {
            let leads = self.group.is_leader() && due(&last);
            if leads {
                match self.try_to_propose(&change, waits, false) {
                    Ok(None) => continue,
                    // Another one may lead by now, or those that vote are changing.
                    Ok(Some(_)) => {}
                    Err(reply) => {
                        self.forwarding.early.push((0, waits, reply.into_bytes(), now));
                        continue;
                    }
                }
            }
            let last = if leads { now } else { last };
            let leader = self.group.other_leader_host().and_then(|leader| self.address_of(leader));
            let is_late = now.saturating_duration_since(since) > limits::ASK_AGAIN_MAX;
            if is_late && !matches!(waits, Waits::KeeperSurely(_)) {
                let reply = b"-CLUSTERDOWN no node leads the group that has the cluster's map, try again\r\n".to_vec();
                self.forwarding.early.push((0, waits, reply, now));
            } else if let Some(address) = leader.filter(|_| due(&last) && !self.group.is_leader()) {
                let number = self.next_number;
                self.next_number += 1;
                self.send(number, address, &change);
                self.forwarding.sent.insert(number, (change, waits, since));
            } else {
                self.forwarding.waiting.push((change, waits, since, last));
            }
        }
    }

    fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        let map = self.machine.borrow().map();
        let addresses = &map.node(node)?.addresses;
        Some(SocketAddr::new(addresses.ip?, addresses.port))
    }

    fn send(&self, number: u64, address: SocketAddr, change: &Change) {
        let (answers, server, bytes) = (self.forwarding.answers.clone(), self.server.clone(), change.encode());
        let (cluster, begins_until) = (self.own.cluster_id.to_string(), Instant::now() + limits::ASK_ANSWER);
        let job = move || {
            // Another one may lead by now.
            let answer = if Instant::now() > begins_until {
                Err(AskError::NotAsked(address, "others were asked for too long".to_owned()))
            } else {
                let words: [&[u8]; 4] = [b"BASALT", b"CHANGE", cluster.as_bytes(), &bytes];
                let user = server.settings.config().for_other_nodes();
                ask(address, user, &words, limits::ASK_ANSWER, &|| server.stop.is_requested())
            };
            answers.push((number, answer));
            server.mailboxes.bell(CoreId(0)).ring_urgently();
        };
        if self.forwarding.askers.submit(Box::new(job)).is_err() {
            let text = "too many changes are on their way".to_owned();
            self.forwarding.answers.push((number, Err(AskError::NotAsked(address, text))));
        }
    }

    /// Takes what the leader has answered: the answer leaves once this node has the map that it is of.
    pub(super) fn take_forwarded(&mut self) {
        while let Some((number, answer)) = self.forwarding.answers.pop() {
            let Some((change, waits, since)) = self.forwarding.sent.remove(&number) else { continue };
            let passes = |reply: &[u8]| reply.starts_with(b"-CLUSTERDOWN") || reply.starts_with(b"-LOADING");
            let is_to_be_sent_again = match &answer {
                Ok(reply) => passes(reply),
                Err(AskError::NotAsked(..)) => true,
                Err(AskError::NoAnswer(..)) => false,
            };
            if is_to_be_sent_again {
                self.forwarding.waiting.push((change, waits, since, Instant::now()));
                continue;
            }
            let early = match answer {
                Err(error) => {
                    (0, format!("-UNCERTAIN {error}: the change may have been made, or may be later\r\n").into_bytes())
                }
                Ok(reply) if reply.starts_with(b"-") => (0, reply),
                Ok(reply) => read_forwarded(&reply).unwrap_or_else(|| {
                    (0, b"-UNCERTAIN the node that leads gave an odd reply: the change may have been made\r\n".to_vec())
                }),
            };
            self.forwarding.early.push((early.0, waits, early.1, Instant::now()));
        }
    }
}

/// Reads the answer of a leader to another node: the reply for the client, and the epoch of the map that it is of.
pub fn read_forwarded(reply: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut elements = value::split_elements(reply).ok()?;
    let answer = value::read_bulk(elements.next()?)?.to_vec();
    let epoch = u64::try_from(value::read_integer(elements.next()?)?).ok()?;
    Some((epoch, answer))
}
