//! Messages that a script publishes, on their way from where it is executed to the core of its client, which publishes them.
//!
//! ```text
//! [MESSAGES][length of what follows u32 LE]
//! {[1 of a shard channel, else 0 u8][length u32 LE][channel][length u32 LE][message]}…
//! ```
//!
//! They stand in front of the reply of the step that has run the script, so they share its fate: what is undone or begins anew has
//! none, an entry that nobody waits for (a follower's, one that is replayed) publishes nothing, and nobody publishes them twice.
//!
//! What a newcomer would get wrong: a transaction's reply has those of its scripts in front of it, not inside of it ([`lift`]).

use basalt_net::resp::Reply;

use crate::limits;

/// The beginning of a reply that has messages in front of it. No reply to a client begins like this.
const MESSAGES: &[u8] = b"\0messages";
const HEADER_BYTES: usize = MESSAGES.len() + 4;
/// Bytes of a message beside its channel and itself.
const FRAME_BYTES: usize = 1 + 4 + 4;

/// A message of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// True if its channel is a shard channel.
    pub is_sharded: bool,
    /// The channel.
    pub channel: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}

/// Messages of a script, in their order.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    count: usize,
}

impl Messages {
    /// Adds a message. False if a script may not publish as much: nothing is added then.
    pub fn add(&mut self, message: Message<'_>) -> bool {
        let Message { is_sharded, channel, message } = message;
        let bytes = FRAME_BYTES.saturating_add(channel.len()).saturating_add(message.len());
        if self.count >= limits::SCRIPT_MESSAGES_MAX
            || self.bytes.len().saturating_add(bytes) > limits::SCRIPT_MESSAGE_BYTES_MAX
        {
            return false;
        }
        self.count += 1;
        self.bytes.push(u8::from(is_sharded));
        for part in [channel, message] {
            self.bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
        true
    }

    /// Puts them in front of what was written since `mark`. They do not count as a part of the reply, whose bound is another
    /// matter.
    pub fn put_before(&self, reply: &mut Reply<'_>, mark: usize) {
        if self.count > 0 {
            reply.raw_before(mark, &framed(&self.bytes));
        }
    }
}

fn framed(messages: &[u8]) -> Vec<u8> {
    let length = u32::try_from(messages.len()).expect("messages have a bound").to_le_bytes();
    [MESSAGES, &length, messages].concat()
}

/// Bytes of the messages in front of a reply; 0 if there are none.
#[inline]
pub fn messages_before(reply: &[u8]) -> usize {
    if reply.first() != Some(&MESSAGES[0]) {
        return 0;
    }
    let length = reply.strip_prefix(MESSAGES).and_then(|rest| rest.first_chunk());
    length.map_or(0, |length| HEADER_BYTES + u32::from_le_bytes(*length) as usize)
}

/// Takes the messages off what stands in `out` from `mark` on, and adds them to `lifted`.
pub fn lift(out: &mut Vec<u8>, mark: usize, lifted: &mut Vec<u8>) {
    let end = mark + messages_before(&out[mark..]);
    if end > mark {
        lifted.extend_from_slice(&out[mark + HEADER_BYTES..end]);
        out.drain(mark..end);
    }
}

/// Puts messages that were lifted in front of what stands in `out` from `mark` on.
pub fn put_lifted(out: &mut Vec<u8>, mark: usize, lifted: &[u8]) {
    if !lifted.is_empty() {
        out.splice(mark..mark, framed(lifted));
    }
}

/// The messages in front of a reply, and the reply.
pub fn split_messages(reply: &[u8]) -> (impl Iterator<Item = Message<'_>>, &[u8]) {
    let (before, reply) = reply.split_at(messages_before(reply));
    let mut rest = before.get(HEADER_BYTES..).unwrap_or_default();
    let next = move || {
        let (&[is_sharded], mut behind) = rest.split_first_chunk()?;
        let mut part = || {
            let (length, bytes) = behind.split_first_chunk()?;
            let (part, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            behind = bytes;
            Some(part)
        };
        let (channel, message) = (part()?, part()?);
        rest = behind;
        Some(Message { is_sharded: is_sharded != 0, channel, message })
    };
    (std::iter::from_fn(next), reply)
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;

    fn message<'a>(channel: &'a str, message: &'a str) -> Message<'a> {
        Message { is_sharded: message.is_empty(), channel: channel.as_bytes(), message: message.as_bytes() }
    }

    #[test]
    fn messages_are_read_as_they_were_put_and_the_reply_is_whole() {
        let sent = [message("news", "a\r\nb"), message("", "\0"), message("shard", "")];
        let mut messages = Messages::default();
        assert!(sent.iter().all(|message| messages.add(*message)));
        let mut out = b"before".to_vec();
        let mut reply = Reply::strictly_bounded(&mut out, Protocol::Resp2, 4);
        let mark = reply.mark();
        reply.ok();
        assert!(reply.is_over());
        reply.truncate(mark);
        reply.integer(7);
        messages.put_before(&mut reply, mark);
        assert!(!reply.is_over());
        let (read, rest) = split_messages(&out[6..]);
        assert_eq!((read.collect::<Vec<_>>(), rest), (sent.to_vec(), &b":7\r\n"[..]));
        assert_eq!(messages_before(&out[6..]), out.len() - 10);

        let mut lifted = Vec::new();
        lift(&mut out, 6, &mut lifted);
        lift(&mut out, 6, &mut lifted);
        assert_eq!(out, b"before:7\r\n");
        put_lifted(&mut out, 0, &lifted);
        let (read, rest) = split_messages(&out);
        assert_eq!((read.collect::<Vec<_>>(), rest), (sent.to_vec(), &b"before:7\r\n"[..]));
    }

    #[test]
    fn replies_without_messages_are_themselves() {
        for reply in ["", "+OK\r\n", "$-1\r\n", "-ERR \0messages\r\n"] {
            let (messages, rest) = split_messages(reply.as_bytes());
            assert_eq!((messages.count(), rest), (0, reply.as_bytes()));
        }
        let (mut out, mut lifted) = (b"+OK\r\n".to_vec(), Vec::new());
        lift(&mut out, 0, &mut lifted);
        put_lifted(&mut out, 0, &lifted);
        assert_eq!(out, b"+OK\r\n");
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        Messages::default().put_before(&mut reply, 0);
        assert_eq!(out, b"+OK\r\n");
    }

    #[test]
    fn a_script_has_so_many_messages_and_bytes_of_them() {
        let mut messages = Messages::default();
        let most = vec![b'x'; limits::SCRIPT_MESSAGE_BYTES_MAX - FRAME_BYTES - 1];
        fn long(message: &[u8]) -> Message<'_> {
            Message { is_sharded: false, channel: b"c", message }
        }
        let more = vec![b'x'; most.len() + 1];
        assert!(!messages.add(long(&more)) && messages.add(long(&most)) && !messages.add(long(b"")));
        let mut messages = Messages::default();
        assert!((0..limits::SCRIPT_MESSAGES_MAX).all(|_| messages.add(long(b""))));
        assert!(!messages.add(long(b"")));
    }
}
