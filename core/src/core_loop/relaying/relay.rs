//! One relay: a connection to another node for the requests of one client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::peer::Greeter;
use basalt_net::resp::{Protocol, ReplyScanner};
use basalt_net::ring::ConnId;
use basalt_raft::NodeId;

use super::request::{Forwarded, OPENING, RIGHTS, VERSION, encode};

/// A connection to another node, for the requests of one client.
pub(in crate::core_loop) struct Relay {
    /// The connection in the core's ring.
    pub(super) id: ConnId,
    /// The connection of the client.
    pub(super) owner: ConnId,
    pub(super) node: NodeId,
    /// The protocol of its replies.
    pub(super) protocol: Protocol,
    /// The mark of refusals: nobody but the other node knows it.
    pub(super) token: String,
    /// The greeting, until that is over. What is to be sent waits.
    pub(super) greeter: Option<Box<Greeter>>,
    /// The time when it was begun, when it was given something last, and when it was heard last.
    pub(super) begun: Instant,
    pub(super) used: Instant,
    pub(super) heard: Instant,
    /// The rights that the other node was told.
    rights: Option<Arc<[u8]>>,
    /// Requests without an answer, in their order.
    pub(super) sent: VecDeque<Forwarded>,
    /// Requests that were refused, until those behind them are answered, too.
    pub(super) refused: Vec<Forwarded>,
    /// Bytes of replies that are not passed on yet.
    pub(super) input: Vec<u8>,
    pub(super) scanner: ReplyScanner,
    /// True if the beginning of the reply that is arriving was passed on.
    pub(super) is_passing_on: bool,
    /// True if a request was answered.
    pub(super) was_answered: bool,
    /// True if the other node has said that it takes none.
    pub(super) was_turned_away: bool,
    /// True if receiving is paused in the ring.
    pub(super) is_paused: bool,
}

impl Relay {
    pub(super) fn new(
        (id, owner): (ConnId, ConnId),
        node: NodeId,
        protocol: Protocol,
        greeter: Greeter,
        now: Instant,
    ) -> Relay {
        Relay {
            id,
            owner,
            node,
            protocol,
            token: format!("{:032x}", rand::random::<u128>()),
            greeter: Some(Box::new(greeter)),
            begun: now,
            used: now,
            heard: now,
            rights: None,
            sent: VecDeque::new(),
            refused: Vec::new(),
            input: Vec::new(),
            scanner: ReplyScanner::default(),
            is_passing_on: false,
            was_answered: false,
            was_turned_away: false,
            is_paused: false,
        }
    }

    /// True if nothing of it is unanswered.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.refused.is_empty()
    }

    /// Begins, once both sides have greeted each other: the opening, and all requests that have waited for it.
    pub(super) fn open(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.greeter = None;
        let protocol: &[u8] = if self.protocol == Protocol::Resp3 { b"3" } else { b"2" };
        encode(out, [OPENING, VERSION, protocol, self.token.as_bytes()].into_iter());
        let mut sent = std::mem::take(&mut self.sent);
        sent.iter_mut().for_each(|request| self.write(request, now, out));
        self.sent = sent;
    }

    /// Takes a request; appends it to `out`, what is to be sent, if the greeting is over.
    pub(super) fn send(&mut self, mut request: Forwarded, now: Instant, out: &mut Vec<u8>) {
        self.used = now;
        request.sent_at = now;
        if self.greeter.is_none() {
            self.write(&mut request, now, out);
        }
        self.sent.push_back(request);
    }

    fn write(&mut self, request: &mut Forwarded, now: Instant, out: &mut Vec<u8>) {
        if request.nature.runs_script && request.rights != self.rights {
            self.rights = request.rights.clone();
            encode(out, [RIGHTS, self.rights.as_deref().unwrap_or_default()].into_iter());
        }
        out.extend_from_slice(&request.bytes);
        request.sent_at = now;
        request.is_sent();
    }
}
