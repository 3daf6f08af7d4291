//! One request on its way to the node that leads its keys.

use std::sync::Arc;
use std::time::Instant;

use basalt_raft::NodeId;
use basalt_storage::keyspace::Slot;

use crate::cluster::map::GroupNumber;
use crate::limits::relays as limits;

/// The first word of a relay: the version of what goes over it, the protocol of replies, and the token of refusals.
pub(in crate::core_loop) const OPENING: &[u8] = b"BASALT-FORWARD";

/// The rights of the user whose scripts follow; none at all for one that may do everything.
pub(in crate::core_loop) const RIGHTS: &[u8] = b"BASALT-RIGHTS";

/// A command of one group, whatever keys that has: the group's number, the command's id, its arguments.
pub(in crate::core_loop) const OF_GROUP: &[u8] = b"BASALT-GROUP";

/// Said in the place of all replies by a node that takes no relay: it has executed nothing. No reply looks like it.
pub(in crate::core_loop) const CLOSED: &[u8] = b"!BASALT-CLOSED\r\n";

/// The version of what goes over relays.
pub(in crate::core_loop) const VERSION: &[u8] = b"1";

/// The thing whose leader a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core_loop) enum Aim {
    /// The group that has a slot.
    Slot(Slot),
    /// A group.
    Group(GroupNumber),
}

/// The things that a request may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::core_loop) struct Nature {
    /// It may change something: where nobody knows if it was executed, it is not sent again.
    pub(in crate::core_loop) writes: bool,
    /// It waits for others as long as its client wishes.
    pub(in crate::core_loop) blocks: bool,
    /// It runs a script, which may reply with any error.
    pub(in crate::core_loop) runs_script: bool,
    /// It has keys watched.
    pub(in crate::core_loop) watches: bool,
}

/// A request that is sent to another node, or waits to be.
#[derive(Debug)]
pub(in crate::core_loop) struct Forwarded {
    /// The place of its reply in its connection's order.
    pub(in crate::core_loop) place: u64,
    /// The number of the part of a command of several.
    pub(in crate::core_loop) part: Option<u32>,
    pub(in crate::core_loop) aim: Aim,
    /// The group that is aimed at, as it was when it was sent: what is for one keeps its order.
    pub(in crate::core_loop) group: Option<GroupNumber>,
    /// The request in RESP; empty once it is sent, of one that is too long to be kept.
    pub(in crate::core_loop) bytes: Vec<u8>,
    /// Its length, kept or not.
    pub(in crate::core_loop) length: usize,
    pub(in crate::core_loop) nature: Nature,
    /// Replies that it has; the last one is the answer.
    pub(in crate::core_loop) replies: usize,
    /// The rights of its user, of a script whose user may not do everything.
    pub(in crate::core_loop) rights: Option<Arc<[u8]>>,
    /// True if it depends on keys that are watched by the relay: it can be sent over no other.
    pub(in crate::core_loop) is_guarded: bool,
    /// True if one of the replies before the last was a refusal.
    pub(in crate::core_loop) is_spoiled: bool,
    /// The time when it was sent first, or should have been.
    pub(in crate::core_loop) since: Instant,
    /// The time when it was sent last.
    pub(in crate::core_loop) sent_at: Instant,
    /// Times that a relay was lost over which it was sent.
    pub(in crate::core_loop) losses: u32,
    /// Times that it was refused.
    pub(in crate::core_loop) refusals: u32,
    /// The node that has refused it.
    pub(in crate::core_loop) refused_by: Option<NodeId>,
    /// The node that this one has named.
    pub(in crate::core_loop) moved_to: Option<NodeId>,
}

impl Forwarded {
    pub(in crate::core_loop) fn new(place: u64, aim: Aim, nature: Nature, bytes: Vec<u8>, now: Instant) -> Forwarded {
        Forwarded {
            place,
            part: None,
            aim,
            group: None,
            length: bytes.len(),
            bytes,
            nature,
            replies: 1,
            rights: None,
            is_guarded: false,
            is_spoiled: false,
            since: now,
            sent_at: now,
            losses: 0,
            refusals: 0,
            refused_by: None,
            moved_to: None,
        }
    }

    /// Lets go of its bytes once they are sent, if they are many.
    pub(in crate::core_loop) fn is_sent(&mut self) {
        if self.bytes.len() > limits::KEPT_REQUEST_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }

    /// True if it can be sent once more.
    pub(in crate::core_loop) fn is_kept(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// Appends a command in RESP.
pub(in crate::core_loop) fn encode<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The text of a reply that says that the request was certainly not executed; `None` if it says anything else.
///
/// A node marks what it refuses before it runs it with the token of the relay. What its shards refuse has no mark, and is known by
/// its first word; a script may reply with that word as well, so of those the mark alone counts.
pub(in crate::core_loop) fn refusal<'a>(reply: &'a [u8], token: &str, request: &Forwarded) -> Option<&'a str> {
    let text = std::str::from_utf8(reply.strip_prefix(b"-")?).ok()?.trim_end();
    let marked = text.strip_prefix(token).and_then(|text| text.strip_prefix(' '));
    if marked.is_some() {
        return marked;
    }
    let is_spoiled = request.is_spoiled && text.starts_with("EXECABORT");
    ((is_refusal(reply) && !request.nature.runs_script) || is_spoiled).then_some(text)
}

/// Returns whether a reply, which is no script's, says that the request was certainly not executed.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"-MOVED ", b"-CLUSTERDOWN ", b"-TRYAGAIN ", b"-LOADING "];
    words.iter().any(|word| reply.starts_with(word))
}

/// The address in the text of a MOVED.
pub(in crate::core_loop) fn moved_to(text: &str) -> Option<(&str, u16)> {
    let address = text.strip_prefix("MOVED ")?.split_once(' ')?.1;
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(nature: Nature) -> Forwarded {
        Forwarded::new(0, Aim::Slot(Slot::new(7)), nature, b"x".to_vec(), Instant::now())
    }

    #[test]
    fn refusals_are_known_by_their_mark_or_of_what_is_no_script_by_their_word() {
        let plain = request(Nature::default());
        let script = request(Nature { runs_script: true, ..Nature::default() });
        for (reply, of_plain, of_script) in [
            (&b"-MOVED 7 10.0.0.1:7000\r\n"[..], Some("MOVED 7 10.0.0.1:7000"), None),
            (b"-t MOVED 7 10.0.0.1:7000\r\n", Some("MOVED 7 10.0.0.1:7000"), Some("MOVED 7 10.0.0.1:7000")),
            (b"-tt MOVED 7 10.0.0.1:7000\r\n", None, None),
            (b"-CLUSTERDOWN no\r\n", Some("CLUSTERDOWN no"), None),
            (b"-UNCERTAIN no\r\n", None, None),
            (b"-EXECABORT no\r\n", None, None),
            (b"-ERR no\r\n", None, None),
            (b"+MOVED 7 x\r\n", None, None),
            (b"-\xff\r\n", None, None),
        ] {
            assert_eq!(refusal(reply, "t", &plain), of_plain, "{}", String::from_utf8_lossy(reply));
            assert_eq!(refusal(reply, "t", &script), of_script, "{}", String::from_utf8_lossy(reply));
        }
        let spoiled = Forwarded { is_spoiled: true, ..request(Nature { writes: true, ..Nature::default() }) };
        assert_eq!(refusal(b"-EXECABORT no\r\n", "t", &spoiled), Some("EXECABORT no"));
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(moved_to("MOVED 7 10.0.0.1:7000"), Some(("10.0.0.1", 7000)));
        assert_eq!(moved_to("MOVED 7 ::1:7000"), Some(("::1", 7000)));
        assert_eq!(moved_to("MOVED 7 :7000"), Some(("", 7000)));
        assert_eq!(moved_to("MOVED 7 a:70000").or(moved_to("MOVED 7")).or(moved_to("ASK 7 a:1")), None);
    }

    #[test]
    fn long_requests_are_not_kept() {
        let mut short = request(Nature::default());
        short.is_sent();
        assert!(short.is_kept());
        let mut long = Forwarded { bytes: vec![0; limits::KEPT_REQUEST_BYTES_MAX + 1], ..request(Nature::default()) };
        long.is_sent();
        assert!(!long.is_kept());
        let mut out = Vec::new();
        encode(&mut out, [&b"GET"[..], b""].into_iter());
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    }
}
