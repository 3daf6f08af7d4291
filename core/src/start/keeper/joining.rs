//! The way of a node from one cluster into another: into that of a node that it is to meet, or out of its own into a new one.
//!
//! Into another one: its own map is closed first, so that nobody is taken into that, and nothing is founded there, any more; then
//! it asks to be taken, and gives its own map up. Into a new one: the others are to forget it first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use basalt_net::resp::value;

use super::{Keeper, client_address};
use crate::boot::GroupState as Kept;
use crate::cluster::OTHER_CLUSTER;
use crate::cluster::map::{Addresses, Change, ClusterId, Map, Newcomer, SlotSet};
use crate::ids::CoreId;
use crate::limits;
use crate::meta::{AskError, LEAVING, ask, read_forwarded};
use crate::node::Asker;
use crate::start::own_node::cluster_id;
use crate::start::shards::Opened;

/// The way of the node into another cluster.
pub(super) struct Joining {
    /// The client that waits for it, unless it was told already that it takes longer.
    asker: Option<Asker>,
    /// The other cluster; all zeros if that is a new one which is not founded yet.
    pub(super) id: ClusterId,
    /// The other cluster as it was and the node that told of it, until the node has asked to be taken.
    asks: Option<(Map, SocketAddr)>,
    /// True until the others have said that this node is none of those that vote on the map: until then it gives its own up not.
    /// One that joins another cluster is alone in its own.
    votes_still: bool,
    /// The client is told then that it takes longer.
    deadline: Instant,
}

impl Keeper<'_> {
    /// Has the node become one of the cluster of another node, or that one one of ours: whichever has no groups and is alone.
    /// Returns the reply, unless that comes later, to the client that waits for it.
    pub(super) fn meet(&mut self, asker: Option<Asker>, address: SocketAddr) -> Result<Option<Vec<u8>>, String> {
        let own = self.own.clone().ok_or("ERR the node belongs to no cluster")?;
        let myself = own.newcomer.number;
        if self.joining.is_some() || self.giving_up.is_some() {
            return Err("BUSY the node is joining a cluster or giving up its slots, try again".to_owned());
        }
        let map = self.server.routes.map().filter(|map| map.node(myself).is_some());
        if map.is_none() && own.founds {
            return Err("LOADING the node does not have its cluster's map yet".to_owned());
        }
        let theirs = self.map_of(address)?;
        let (id, deadline) = (theirs.cluster_id(), Instant::now() + limits::JOIN_MAX);
        let Some(map) = map else {
            // It was taken into a cluster, and was gone before it heard of it: it says again who and where it is.
            if id != own.cluster_id {
                return Err(format!("ERR the node is joining cluster {}, which is another one", own.cluster_id));
            }
            self.ask_to_be_taken(&theirs, address, own.newcomer, SlotSet::default())?;
            self.joining = Some(Joining { asker, id, asks: None, votes_still: false, deadline });
            return Ok(None);
        };
        if id == map.cluster_id() {
            return Ok(Some(b"+OK\r\n".to_vec()));
        }
        if is_free(&map) {
            self.check_empty()?;
            self.joining = Some(Joining { asker, id, asks: Some((theirs, address)), votes_still: false, deadline });
            self.hand_to(CoreId(0), Opened::ClosingMeta { is_closed: true });
            return Ok(None);
        }
        if !is_free(&theirs) {
            return Err("ERR both nodes have groups, or other nodes in their clusters: only one that is alone and has no groups \
                        can join the other's"
                .to_owned());
        }
        let Addresses { ip, port, .. } = &own.newcomer.addresses;
        let known = map.node(myself).and_then(|here| here.addresses.ip);
        let ip = ip.or(known).or_else(|| ip_towards(address));
        let ip = ip.ok_or("ERR this node does not know its address: set cluster-announce-ip")?.to_string();
        let port = port.to_string();
        // The other one has as long as it takes to be taken, and to hear of it.
        let within = limits::ASK_AGAIN_MAX + limits::JOIN_MAX;
        let reply = self.ask(address, &[b"CLUSTER", b"MEET", ip.as_bytes(), port.as_bytes()], within);
        reply.map(Some).map_err(|error| format!("ERR {error}"))
    }

    /// Asks another node, as long as this one does not stop.
    pub(super) fn ask(&self, address: SocketAddr, words: &[&[u8]], within: Duration) -> Result<Vec<u8>, AskError> {
        let user = self.server.settings.config().for_other_nodes();
        ask(address, user, words, within, &|| self.server.stop.is_requested())
    }

    /// The map of a node in another cluster.
    pub(super) fn map_of(&self, address: SocketAddr) -> Result<Map, String> {
        let reply =
            self.ask(address, &[b"BASALT", b"MAP"], limits::ASK_ANSWER).map_err(|error| format!("ERR {error}"))?;
        let Some(bytes) = value::read_bulk(&reply) else {
            let text = String::from_utf8_lossy(&reply).trim_end().to_owned();
            return Err(format!("ERR the node at {address} is none that could be met: {text}"));
        };
        Map::decode(bytes).map_err(|error| format!("ERR the node at {address}: {error}"))
    }

    /// Has the node leave its cluster, and be one of its own again.
    ///
    /// # Errors
    /// The reply: what it has still.
    pub(super) fn reset(&mut self, asker: Asker) -> Result<(), String> {
        if self.own.is_none() {
            return Err("ERR the node belongs to no cluster".to_owned());
        }
        if self.joining.is_some() || self.giving_up.is_some() {
            return Err("BUSY the node is joining a cluster or giving up its slots, try again".to_owned());
        }
        self.check_empty()?;
        self.ask_to_be_forgotten(limits::ASK_AGAIN_MAX)?;
        tracing::info!("the node leaves its cluster");
        let (deadline, id) = (Instant::now() + limits::JOIN_MAX, ClusterId::default());
        self.joining = Some(Joining { asker: Some(asker), id, asks: None, votes_still: true, deadline });
        self.hand_to(CoreId(0), Opened::ClosingMeta { is_closed: true });
        Ok(())
    }

    /// Asks to be taken into the other cluster, now that the node's own map is closed.
    pub(super) fn ask_to_join(&mut self) {
        let Some((theirs, address)) = self.joining.as_mut().and_then(|joining| joining.asks.take()) else { return };
        let asked = self.newcomer().and_then(|(node, claimed)| self.ask_to_be_taken(&theirs, address, node, claimed));
        if let Err(text) = asked {
            self.hand_to(CoreId(0), Opened::ClosingMeta { is_closed: false });
            match self.joining.take().and_then(|joining| joining.asker) {
                Some(asker) => self.server.answer_late(asker, format!("-{text}\r\n").into_bytes()),
                None => self.seeds.iter_mut().for_each(|seeds| seeds.say(format!("the node was not taken: {text}"))),
            }
            return self.follow_map();
        }
        tracing::info!(cluster = %theirs.cluster_id(), %address, "the node joins the cluster");
        self.hand_to(CoreId(0), Opened::LeavingMeta);
    }

    /// Has the other nodes of the cluster forget this one. Where they have, it succeeds once it has no vote on the map any more:
    /// whoever leads says so, after a quorum has taken the change.
    fn ask_to_be_forgotten(&self, within: Duration) -> Result<(), String> {
        let myself = self.own.as_ref().ok_or("ERR the node belongs to no cluster")?.newcomer.number;
        let map = self.server.routes.some_map().ok_or("LOADING the node does not have its cluster's map yet")?;
        let mut others = map.nodes().iter().filter(|node| node.number != myself).peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        let first = others.find_map(client_address).ok_or("CLUSTERDOWN no other node's address is known")?;
        let change = Change::Forget { node: myself }.encode();
        let reply = self.ask_leader(&map, first, &change, within)?;
        match reply.strip_prefix(b"-") {
            // One that has left long ago is not even remembered.
            Some(text) if text.starts_with(b"ERR Unknown node number") => Ok(()),
            Some(text) => Err(String::from_utf8_lossy(text).trim_end().to_owned()),
            None => Ok(()),
        }
    }

    /// Makes sure that nothing is left of groups that the map has no more: some may have been kept, since they had keys.
    fn check_empty(&self) -> Result<(), String> {
        if self.data.groups().iter().any(|group| group.state == Kept::SetAside) {
            return Err(
                "ERR the node has kept the files of groups that its cluster has no more: it must not lose them"
                    .to_owned(),
            );
        }
        if !self.data.is_empty() || !self.leaving.is_empty() {
            return Err("BUSY groups that the node has given up are still being removed, try again".to_owned());
        }
        Ok(())
    }

    /// This node as it joins another cluster, and the slots that it brings. Its own map is closed.
    fn newcomer(&self) -> Result<(Newcomer, SlotSet), String> {
        let newcomer = self.own.as_ref().ok_or("ERR the node belongs to no cluster")?.newcomer.clone();
        let map = self.server.routes.map().filter(|map| is_free(map));
        let here = map.as_ref().and_then(|map| map.node(newcomer.number));
        let here = here.ok_or("ERR the node is not alone any more, or has groups")?;
        self.check_empty()?;
        Ok((Newcomer { config_epoch: here.config_epoch, ..newcomer }, here.claimed.clone()))
    }

    /// Has the other cluster take this node.
    ///
    /// # Errors
    /// Why it was not taken, or may not have been.
    fn ask_to_be_taken(
        &self,
        theirs: &Map,
        first: SocketAddr,
        mut node: Newcomer,
        claimed: SlotSet,
    ) -> Result<(), String> {
        if let [alone] = theirs.nodes()
            && alone.addresses.ip.is_none()
        {
            // One that listens everywhere is told its address by the first that joins it, which has reached it there.
            let addresses = Addresses { ip: Some(first.ip()), ..alone.addresses.clone() };
            let change = Change::Announce { node: alone.number, incarnation: alone.incarnation, addresses }.encode();
            if let Some(text) = self.ask_leader(theirs, first, &change, limits::ASK_AGAIN_MAX)?.strip_prefix(b"-") {
                return Err(String::from_utf8_lossy(text).trim_end().to_owned());
            }
        } else if let Some(unknown) = theirs.nodes().iter().find(|node| node.addresses.ip.is_none()) {
            return Err(format!("ERR node {} does not know its address: set cluster-announce-ip there", unknown.name));
        }
        let ip = node.addresses.ip.or_else(|| ip_towards(first));
        let ip = ip.ok_or("ERR this node does not know its address: set cluster-announce-ip")?;
        if ip.is_loopback() && !first.ip().is_loopback() {
            return Err(format!("ERR other nodes do not reach this one at {ip}: set bind or cluster-announce-ip"));
        }
        node.addresses.ip = Some(ip);
        let number = node.number;
        let change = Change::Join { node, claimed }.encode();
        let reply = match self.ask_leader(theirs, first, &change, limits::ASK_AGAIN_MAX) {
            // It may have been taken all the same.
            Err(text) if text.starts_with("UNCERTAIN") => {
                let places = [first].into_iter().chain(theirs.nodes().iter().filter_map(client_address));
                let knows = |place| self.map_of(place).is_ok_and(|map| map.node(number).is_some());
                return if places.take(limits::map::META_VOTERS_MAX).any(knows) { Ok(()) } else { Err(text) };
            }
            reply => reply?,
        };
        match reply.strip_prefix(b"-") {
            Some(text) => Err(String::from_utf8_lossy(text).trim_end().to_owned()),
            None => Ok(()),
        }
    }

    /// Has another cluster's map changed by whichever of its nodes leads its group, with a change that may be made twice; returns
    /// the reply to it.
    pub(super) fn ask_leader(
        &self,
        map: &Map,
        first: SocketAddr,
        change: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, String> {
        let others = map.nodes().iter().filter_map(client_address).filter(|other| *other != first);
        let addresses: Vec<SocketAddr> = [first].into_iter().chain(others).collect();
        let (cluster, deadline) = (map.cluster_id(), Instant::now() + within);
        let is_first = self.data.cluster_id() < cluster.to_string().as_str();
        let words: [&[u8]; 4] = [b"BASALT", b"CHANGE", &cluster.to_string().into_bytes(), change];
        let mut last = "ERR nobody was asked".to_owned();
        loop {
            for address in &addresses {
                if Instant::now() > deadline || self.server.stop.is_requested() {
                    return Err(last);
                }
                match self.ask(*address, &words, limits::ASK_ANSWER) {
                    // Each may have been told to meet the other: one of them gives way.
                    Ok(reply) if reply == LEAVING && is_first => {
                        return Err("BUSY the other node is joining a cluster itself, try again".to_owned());
                    }
                    Ok(reply) if AGAIN.iter().any(|word| reply.starts_with(word)) => {
                        if !last.starts_with("UNCERTAIN") {
                            last = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
                        }
                    }
                    // Where a node of the cluster was, that one is no more.
                    Ok(reply) if reply[1..].starts_with(OTHER_CLUSTER.as_bytes()) => {
                        if !last.starts_with("UNCERTAIN") {
                            last = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
                        }
                    }
                    Ok(reply) if reply.starts_with(b"-") => return Ok(reply),
                    Ok(reply) => {
                        let read = read_forwarded(&reply).map(|(_, reply)| reply);
                        return read.ok_or(format!("UNCERTAIN the node at {address} gave an odd reply"));
                    }
                    Err(error @ AskError::NoAnswer(..)) => last = format!("UNCERTAIN {error}"),
                    // What another one may have done is not forgotten.
                    Err(error @ AskError::NotAsked(..)) if !last.starts_with("UNCERTAIN") => {
                        last = format!("ERR {error}")
                    }
                    Err(AskError::NotAsked(..)) => {}
                }
            }
            std::thread::sleep(limits::ASK_AGAIN);
        }
    }

    /// Gives up the node's own map, which is closed, and begins as one of the other cluster that knows nothing yet, or as the only
    /// one of a new cluster.
    pub(super) fn join(&mut self) -> Result<(), String> {
        let Some(Joining { id, .. }) = self.joining else { return Ok(()) };
        let founds = id == ClusterId::default();
        self.opener.close_lanes();
        let joined = if founds { self.data.found_anew() } else { self.data.join(&id.to_string()) };
        joined.map_err(|error| error.to_string())?;
        let id = cluster_id(self.data);
        if let Some(joining) = &mut self.joining {
            joining.id = id;
        }
        self.server.routes.join(id);
        let own = self.own.as_mut().ok_or("it belongs to no cluster")?;
        (own.cluster_id, own.founds) = (id, founds);
        own.former.clear();
        self.noted_epoch = 0;
        let own = own.clone();
        self.opener.open_lanes(self.data)?;
        let open = self.opener.open_meta(self.data, own)?;
        self.hand_to(CoreId(0), Opened::Meta(Box::new(open)));
        Ok(())
    }

    /// Answers the client that had the node join a cluster, once its map is here, or when it takes very long.
    pub(super) fn end_joining(&mut self) {
        let now = Instant::now();
        if self.joining.as_ref().is_some_and(|joining| joining.votes_still) {
            // Its vote may be needed until others have it, and would be lost with its map.
            match self.ask_to_be_forgotten(limits::LEAVE_WAIT) {
                Ok(()) => {
                    self.joining.iter_mut().for_each(|joining| joining.votes_still = false);
                    return self.hand_to(CoreId(0), Opened::LeavingMeta);
                }
                Err(reason) => tracing::info!(reason, "the others need this node's vote on the map still"),
            }
        }
        let Some(joining) = self.joining.as_mut().filter(|joining| joining.asks.is_none()) else { return };
        let routing = self.server.routes.now();
        let is_left = joining.id != ClusterId::default();
        let cluster = routing.cluster.as_ref().filter(|cluster| is_left && cluster.id == joining.id);
        let reply = if cluster.is_some_and(|cluster| cluster.knows_of_this_start()) {
            b"+OK\r\n".to_vec()
        } else if now <= joining.deadline {
            return;
        } else if is_left {
            b"-ERR the node was taken into the cluster, and waits for its map still\r\n".to_vec()
        } else {
            b"-ERR the group that has the map needs this node still, as its leader or for its vote: it leaves as soon as others do \
              without it\r\n"
                .to_vec()
        };
        if let Some(asker) = joining.asker.take() {
            self.server.answer_late(asker, reply);
        }
        if is_left {
            self.joining = None;
        }
    }
}

/// The beginnings of error replies after which a change is asked for again.
const AGAIN: [&[u8]; 3] = [b"-CLUSTERDOWN", b"-LOADING", b"-UNCERTAIN"];

/// True if the node of this map is alone in it, and has no groups: it may join another cluster.
fn is_free(map: &Map) -> bool {
    map.nodes().len() == 1 && map.groups().is_empty()
}

/// The address of this machine on the way to another one. Nothing is sent for it.
fn ip_towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
}
