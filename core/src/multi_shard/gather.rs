//! Commands that take more than one shard: their parts are sent out, and their replies become one.
//!
//! A coordinator stands in its connection's order of replies. It starts with the parts it wants sent; for each part that is
//! answered it may ask for more, until it has the reply. Nothing here is atomic over shards.

use std::any::Any;

use basalt_net::resp::{Reply, value};

use super::over_groups::GroupPart;
use crate::commands::{CommandError, Merge};
use crate::entry::request::Mode;
use crate::ids::ShardId;

/// A part of a command, for one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The shard it is for.
    pub shard: ShardId,
    /// The way it is run.
    pub mode: Mode,
    /// The command's id in the command table.
    pub command: u16,
    /// The database.
    pub db: u8,
    /// Its arguments, the command's name not among them.
    pub args: Vec<Vec<u8>>,
}

/// A coordinator's wish after a part was answered.
#[derive(Debug)]
pub enum Progress {
    /// To hear of the other parts.
    Wait,
    /// These parts sent, and their replies.
    Send(Vec<Part>),
    /// The same of these parts, wherever their groups are led.
    ToGroups(Vec<GroupPart>),
    /// The reply to be sent as it comes, since it is too large to be held: these parts sent first, and nothing before they are
    /// answered. No later request of the connection may be on its way that changes what they read.
    InPieces(Vec<Part>),
    /// The bytes that it has written sent before the rest, and these parts once the client has taken enough of them.
    Piece(Vec<Part>),
    /// The commands of a transaction run whose turn it is: its core knows them.
    Queued,
    /// To be done: the reply is written.
    Done,
}

/// Makes one reply of many.
pub trait Coordinator {
    /// Takes the reply of the part numbered `part`, counted over all parts in the order they were asked for. When it
    /// answers [`Progress::Done`] it has written the whole reply to `out`.
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress;

    /// Bytes of replies and requests that it keeps.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Itself, if its core goes on with what it knows.
    fn as_any(&mut self) -> Option<&mut dyn Any> {
        None
    }
}

/// The way a command of several steps starts.
pub enum Plan {
    /// One shard can run it whole.
    Whole(ShardId),
    /// These parts are sent, and the coordinator goes on from their replies.
    Parts(Vec<Part>, Box<dyn Coordinator>),
}

/// A command whose parts are all sent at once.
pub struct Gather {
    merge: Merge,
    waiting: usize,
    /// True if its parts write.
    writes: bool,
    /// True if a part was executed.
    has_success: bool,
    error: Option<Vec<u8>>,
    sum: i64,
    /// Element bytes of the parts so far.
    elements: Vec<u8>,
    /// For [`Merge::ArrayInOrder`]: where in the client's order each part's elements stand, and where their bytes are.
    order: Vec<Vec<usize>>,
    places: Vec<std::ops::Range<usize>>,
    /// Bytes of replies that it may keep.
    bytes_max: usize,
}

impl Gather {
    /// A gathering of `part_count` replies.
    pub fn new(merge: Merge, part_count: usize) -> Gather {
        assert!(part_count > 0, "a command without parts is never answered");
        Gather {
            merge,
            waiting: part_count,
            writes: false,
            has_success: false,
            error: None,
            sum: 0,
            elements: Vec::new(),
            order: Vec::new(),
            places: Vec::new(),
            bytes_max: usize::MAX,
        }
    }

    /// This gathering, which gives up when the replies have more than `bytes_max`.
    pub fn bounded(self, bytes_max: usize) -> Gather {
        Gather { bytes_max, ..self }
    }

    /// This gathering, of parts that write if `writes` is set: then nobody is told that nothing was done when something was.
    pub fn of_writes(self, writes: bool) -> Gather {
        Gather { writes, ..self }
    }

    /// Gives up what was gathered, since it is too large.
    fn give_up(&mut self) {
        let error = match self.merge {
            Merge::ArrayInOrder => CommandError::Piecemeal.to_string(),
            _ => format!("ERR the reply is larger than {} MB, ask for less at a time", self.bytes_max >> 20),
        };
        self.error = Some(format!("-{error}\r\n").into_bytes());
        self.elements = Vec::new();
    }

    /// A gathering of arrays into the client's order: `order[part]` says where each element of the part's reply stands.
    pub fn in_order(order: Vec<Vec<usize>>) -> Gather {
        let count = order.iter().map(Vec::len).sum();
        Gather { places: vec![0..0; count], ..Gather::new(Merge::ArrayInOrder, order.len()) }.with_order(order)
    }

    fn with_order(mut self, order: Vec<Vec<usize>>) -> Gather {
        self.order = order;
        self
    }

    fn take(&mut self, part: usize, reply: &[u8]) -> Option<()> {
        match self.merge {
            Merge::Sum | Merge::OkIfAny(_) => self.sum += value::read_integer(reply)?,
            Merge::Ok => {}
            Merge::Same if self.elements.is_empty() => self.elements.extend_from_slice(reply),
            Merge::Same => {}
            Merge::ArrayInOrder => {
                let mut elements = value::split_elements(reply).ok()?;
                for &place in &self.order[part] {
                    let start = self.elements.len();
                    self.elements.extend_from_slice(elements.next()?);
                    self.places[place] = start..self.elements.len();
                }
            }
            Merge::ConcatText => self.elements.extend_from_slice(value::read_bulk(reply)?),
            Merge::Arrays => {
                for element in value::split_elements(reply).ok()? {
                    self.elements.extend_from_slice(element);
                    self.sum += 1;
                }
            }
        }
        Some(())
    }

    fn finish(&mut self, out: &mut Reply<'_>) {
        if let Some(error) = &self.error {
            if !(self.writes && self.has_success) || error.starts_with(UNCERTAIN) {
                return out.raw(error);
            }
            let text = String::from_utf8_lossy(error.strip_prefix(b"-").unwrap_or(error));
            return out
                .error(format!("UNCERTAIN A part of the command was executed, another was not: {}", text.trim_end()));
        }
        match self.merge {
            Merge::Sum => out.integer(self.sum),
            Merge::Ok => out.ok(),
            Merge::Same => out.raw(&self.elements),
            Merge::ArrayInOrder => {
                out.array(self.places.len());
                for place in &self.places {
                    out.raw(&self.elements[place.clone()]);
                }
            }
            Merge::ConcatText => out.verbatim(b"txt", &self.elements),
            Merge::Arrays => {
                out.array(self.sum as usize);
                out.raw(&self.elements);
            }
            Merge::OkIfAny(error) if self.sum == 0 => out.error(error),
            Merge::OkIfAny(_) => out.ok(),
        }
    }
}

impl Coordinator for Gather {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        self.waiting -= 1;
        self.has_success |= !reply.starts_with(b"-");
        if reply.starts_with(b"-") {
            // That nobody knows what becomes of a part is not hidden by one that was refused.
            if self.error.is_none() || reply.starts_with(UNCERTAIN) {
                self.error = Some(reply.to_vec());
            }
            self.elements = Vec::new();
        } else if self.error.is_none() && self.elements.len() + reply.len() > self.bytes_max {
            self.give_up();
        } else if self.error.is_none() && self.take(part, reply).is_none() {
            self.error = Some(b"-ERR a shard gave a reply of another shape than the command has\r\n".to_vec());
        }
        if self.waiting > 0 {
            return Progress::Wait;
        }
        self.finish(out);
        Progress::Done
    }

    fn held_bytes(&self) -> usize {
        self.elements.capacity() + self.places.capacity() * size_of::<std::ops::Range<usize>>()
    }
}

/// Begins the reply to a write that may be executed, or not.
const UNCERTAIN: &[u8] = b"-UNCERTAIN ";

/// The reply to a command whose part gave a reply that is none.
pub const MISSHAPEN: &str = "-ERR a shard gave a reply of another shape than the step has\r\n";

pub(super) fn misshapen(out: &mut Reply<'_>) -> Progress {
    out.raw(MISSHAPEN.as_bytes());
    Progress::Done
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;

    fn gather(mut gather: Gather, replies: &[(usize, &str)]) -> String {
        let mut out = Vec::new();
        for (index, (part, reply)) in replies.iter().enumerate() {
            let progress = gather.answered(*part, reply.as_bytes(), &mut Reply::new(&mut out, Protocol::Resp2));
            assert_eq!(matches!(progress, Progress::Done), index + 1 == replies.len());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_become_one_reply() {
        assert_eq!(gather(Gather::new(Merge::Sum, 2), &[(1, ":3\r\n"), (0, ":4\r\n")]), ":7\r\n");
        assert_eq!(gather(Gather::new(Merge::Ok, 2), &[(0, "+OK\r\n"), (1, "+OK\r\n")]), "+OK\r\n");
        let order = Gather::in_order(vec![vec![0, 2], vec![1]]);
        let replies = [(1, "*1\r\n$1\r\nb\r\n"), (0, "*2\r\n$1\r\na\r\n$-1\r\n")];
        assert_eq!(gather(order, &replies), "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n");
        let replies = [(1, "*1\r\n*1\r\n:1\r\n"), (0, "*0\r\n"), (2, "*2\r\n:2\r\n:3\r\n")];
        assert_eq!(gather(Gather::new(Merge::Arrays, 3), &replies), "*3\r\n*1\r\n:1\r\n:2\r\n:3\r\n");
        let (none, one) = ([(0, ":0\r\n"), (1, ":0\r\n")], [(0, ":0\r\n"), (1, ":1\r\n")]);
        assert_eq!(gather(Gather::new(Merge::OkIfAny("ERR none"), 2), &none), "-ERR none\r\n");
        assert_eq!(gather(Gather::new(Merge::OkIfAny("ERR none"), 2), &one), "+OK\r\n");
    }

    #[test]
    fn nobody_hears_that_a_write_was_refused_of_which_a_part_was_executed_or_may_be() {
        let of_writes = || Gather::new(Merge::Sum, 2).of_writes(true);
        let (busy, unknown) = ("-BUSY the log is slow, try again\r\n", "-UNCERTAIN it stands still\r\n");
        assert_eq!(gather(of_writes(), &[(0, busy), (1, busy)]), busy);
        assert_eq!(gather(of_writes(), &[(0, busy), (1, unknown)]), unknown);
        assert_eq!(gather(of_writes(), &[(0, unknown), (1, busy)]), unknown);
        let partly =
            "-UNCERTAIN A part of the command was executed, another was not: BUSY the log is slow, try again\r\n";
        assert_eq!(gather(of_writes(), &[(0, ":1\r\n"), (1, busy)]), partly);
        assert_eq!(gather(of_writes(), &[(0, busy), (1, ":1\r\n")]), partly);
        assert_eq!(gather(Gather::new(Merge::Sum, 2), &[(0, ":1\r\n"), (1, busy)]), busy, "a read tells why");
    }

    #[test]
    fn the_first_error_is_the_reply() {
        assert_eq!(gather(Gather::new(Merge::Sum, 2), &[(0, "-ERR a\r\n"), (1, ":4\r\n")]), "-ERR a\r\n");
        assert!(gather(Gather::new(Merge::Sum, 1), &[(0, "+OK\r\n")]).starts_with("-ERR"));
    }
}
