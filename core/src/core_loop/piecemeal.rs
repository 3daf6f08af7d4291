//! MGET whose values are more than may be held at once: a few keys at a time, as the client takes what it has been sent.
//!
//! It begins like any other command of many keys: every shard reads its own at one moment. Only when that comes out too large does
//! it go on in pieces, which are sent as they come; then keys are read at different moments, as those on several shards always are.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply, value};

use crate::cluster::Routing;
use crate::commands::CommandError;
use crate::entry::request::Mode;
use crate::ids::ShardId;
use crate::limits;
use crate::multi_shard::{Coordinator, Gather, Part, Progress};
use crate::node::Server;
use crate::shard::TOO_MUCH_TO_KEEP;

/// An MGET of several keys.
pub struct Mget {
    server: Arc<Server>,
    routing: Arc<Routing>,
    /// The replica here that all is read from, as it is, if that is wanted.
    replica: Option<ShardId>,
    protocol: Protocol,
    command: u16,
    db: u8,
    /// The keys, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Keys whose values are sent.
    sent: usize,
    /// Keys that are being read.
    asked: usize,
    gather: Gather,
    /// The number of the first part that reads them.
    first_part: usize,
    parts: usize,
    is_in_pieces: bool,
}

impl Mget {
    /// An MGET of `keys`, and the parts to begin with. One `in_pieces` was too large already.
    pub fn start<'a>(
        (server, routing, replica): (&Arc<Server>, &Arc<Routing>, Option<ShardId>),
        protocol: Protocol,
        (command, db): (u16, u8),
        keys: impl Iterator<Item = &'a [u8]>,
        in_pieces: bool,
    ) -> (Vec<Part>, Mget) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for key in keys {
            bytes.extend_from_slice(key);
            ends.push(bytes.len());
        }
        let mut mget = Mget {
            server: server.clone(),
            routing: routing.clone(),
            replica,
            protocol,
            command,
            db,
            asked: ends.len(),
            bytes,
            ends,
            sent: 0,
            gather: Gather::in_order(vec![Vec::new()]),
            first_part: 0,
            parts: 0,
            is_in_pieces: in_pieces,
        };
        if in_pieces {
            mget.take_fewer();
        }
        (mget.ask(), mget)
    }

    fn key(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }

    fn take_fewer(&mut self) {
        self.asked = (self.asked / 2).clamp(1, limits::VALUES_ON_THEIR_WAY_AT_FIRST);
    }

    /// The parts that read the next keys.
    fn ask(&mut self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut order: Vec<Vec<usize>> = Vec::new();
        let mut part_of_shard = vec![usize::MAX; usize::from(self.routing.router.shard_end())];
        for place in 0..self.asked {
            let key = self.key(self.sent + place);
            let shard = self.replica.unwrap_or_else(|| self.routing.router.shard_of(key));
            let part = &mut part_of_shard[shard.index()];
            if *part == usize::MAX {
                *part = parts.len();
                let mode = if self.replica.is_some() { Mode::Local } else { Mode::Read };
                parts.push(Part { shard, mode, command: self.command, db: self.db, args: Vec::new() });
                order.push(Vec::new());
            }
            parts[*part].args.push(key.to_vec());
            order[*part].push(place);
        }
        self.gather = Gather::in_order(order).bounded(self.server.reply_bounds().one_bytes_max);
        self.first_part += std::mem::replace(&mut self.parts, parts.len());
        parts
    }

    /// Writes the values that have come, and says how it goes on.
    fn take(&mut self, elements: &[u8], out: &mut Reply<'_>) -> Progress {
        if self.sent == 0 {
            out.array(self.ends.len());
        }
        out.raw(elements);
        self.sent += self.asked;
        let left = self.ends.len() - self.sent;
        if left == 0 {
            return Progress::Done;
        }
        // As many as the client is believed to take at a time.
        let average = elements.len() / self.asked + 1;
        let fitting = (limits::REPLY_BYTES_EXPECTED / average).min(self.asked * 2);
        self.asked = fitting.clamp(1, limits::MGET_KEYS_AT_A_TIME).min(left);
        Progress::Piece(self.ask())
    }
}

impl Coordinator for Mget {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        let mut gathered = Vec::new();
        let progress =
            self.gather.answered(part - self.first_part, reply, &mut Reply::new(&mut gathered, self.protocol));
        if !matches!(progress, Progress::Done) {
            return progress;
        }
        if !value::is_error(&gathered) {
            let header = gathered.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            return self.take(&gathered[header..], out);
        }
        if is_piecemeal(&gathered) && self.asked > 1 {
            let begins = !std::mem::replace(&mut self.is_in_pieces, true);
            self.take_fewer();
            return if begins { Progress::InPieces(self.ask()) } else { Progress::Send(self.ask()) };
        }
        if self.sent == 0 {
            out.raw(&gathered);
            return Progress::Done;
        }
        // The array has begun: each value that could not be read says why.
        let elements = gathered.repeat(self.asked);
        self.take(&elements, out)
    }

    fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.gather.held_bytes()
    }
}

/// Returns whether a shard's reply says that it is to be read in pieces.
fn is_piecemeal(reply: &[u8]) -> bool {
    if reply == TOO_MUCH_TO_KEEP {
        return true;
    }
    let text = reply.strip_prefix(b"-").and_then(|text| text.strip_suffix(b"\r\n"));
    text.is_some_and(|text| text == CommandError::Piecemeal.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;
    use crate::shard::tests::server;

    /// Answers the parts of an MGET of `keys` as a shard does whose key `n` has a value of `size(n)` bytes, and gives what was
    /// sent, with the size of the largest piece.
    fn run(keys: usize, in_pieces: bool, size: impl Fn(usize) -> usize) -> (Vec<u8>, usize) {
        let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
        let server = executor.run(async { server(1) });
        let names: Vec<String> = (0..keys).map(|number| number.to_string()).collect();
        let id = table::lookup(b"mget").unwrap().id;
        let bytes = names.iter().map(String::as_bytes);
        let (mut parts, mut mget) =
            Mget::start((&server, &server.routes.now(), None), Protocol::Resp2, (id, 0), bytes, in_pieces);
        let (mut sent, mut largest, mut number) = (Vec::new(), 0, 0);
        loop {
            assert_eq!(parts.len(), 1, "there is one shard");
            let mut reply = Vec::new();
            let mut writer = Reply::new(&mut reply, Protocol::Resp2);
            writer.array(parts[0].args.len());
            for key in &parts[0].args {
                if writer.len() >= limits::MGET_BYTES_AT_ONCE {
                    writer.truncate(0);
                    writer.error_display(CommandError::Piecemeal);
                    break;
                }
                let key: usize = std::str::from_utf8(key).unwrap().parse().unwrap();
                writer.bulk(vec![b'a' + (key % 26) as u8; size(key)]);
            }
            let mut out = Vec::new();
            let progress = mget.answered(number, &reply, &mut Reply::new(&mut out, Protocol::Resp2));
            number += 1;
            largest = largest.max(out.len());
            sent.extend_from_slice(&out);
            parts = match progress {
                Progress::Done => return (sent, largest),
                Progress::Send(parts) | Progress::InPieces(parts) => {
                    assert!(out.is_empty(), "nothing is sent before it is known to be right");
                    parts
                }
                Progress::Piece(parts) => parts,
                Progress::Wait | Progress::Queued | Progress::ToGroups(_) => {
                    panic!("there is nothing else to wait for")
                }
            };
        }
    }

    #[test]
    fn what_is_read_in_pieces_is_the_reply_it_would_be_at_once() {
        let sizes: [fn(usize) -> usize; 3] =
            [|_| 1 << 20, |key| if key < 50 { 1 << 20 } else { 100 }, |key| key * 5_000];
        for (case, size) in sizes.into_iter().enumerate() {
            for in_pieces in [false, true] {
                let (sent, largest) = run(120, in_pieces, size);
                let mut expected = Vec::new();
                let mut reply = Reply::new(&mut expected, Protocol::Resp2);
                reply.array(120);
                (0..120).for_each(|key| reply.bulk(vec![b'a' + (key % 26) as u8; size(key)]));
                assert!(sent == expected, "case {case}");
                assert!(largest <= 2 * limits::MGET_BYTES_AT_ONCE, "case {case}: {largest} bytes");
            }
        }
        let (sent, largest) = run(10, false, |_| 10);
        assert_eq!(sent.len(), largest, "small ones come at once");
    }
}
