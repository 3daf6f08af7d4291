//! SCAN, KEYS and RANDOMKEY over all groups of a cluster, wherever these are led.
//!
//! A walk goes from group to group by their numbers, which name the same keys on each node: so a cursor may be taken to any node,
//! and another leader goes on where the last one has stopped.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::KeyPosition;

use super::gather::{Coordinator, Progress};
use super::walk::{WalkedKeys, answer_scan, keys_per_step};
use crate::cluster::map::GroupNumber;
use crate::commands::table::STEP_SCAN;
use crate::commands::{Args, ReplyBounds, ScanCursor};

/// A part of a command, for one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPart {
    /// The group.
    pub group: GroupNumber,
    /// The command's id in the command table.
    pub command: u16,
    /// Its arguments, the command's name not among them.
    pub args: Vec<Vec<u8>>,
}

/// A step of a walk.
fn step(group: GroupNumber, from: KeyPosition, options: &[Vec<u8>]) -> GroupPart {
    let mut args = vec![from.to_bits().to_string().into_bytes()];
    args.extend(options.iter().cloned());
    GroupPart { group, command: STEP_SCAN, args }
}

/// One step of SCAN.
pub struct GroupScan {
    /// The group that is walked over; `None` if the walk is over.
    group: Option<GroupNumber>,
    /// The one behind it.
    next: Option<GroupNumber>,
}

impl GroupScan {
    /// The step behind `cursor`, over `groups`, which are in their order and at least one.
    pub fn start(groups: Vec<GroupNumber>, cursor: ScanCursor, options: Args<'_>) -> (GroupPart, GroupScan) {
        let at = groups.partition_point(|group| group.0 < cursor.shard);
        let group = groups.get(at).copied();
        // A group that is gone, or never was: the walk goes on behind it.
        let is_named = group.is_some_and(|group| group.0 == cursor.shard);
        let position = if is_named { cursor.position } else { KeyPosition::START };
        let options: Vec<Vec<u8>> = options.iter().map(|arg| arg.to_vec()).collect();
        // The arguments are looked at even where nothing is left.
        let part = step(group.unwrap_or(groups[0]), position, &options);
        (part, GroupScan { group, next: groups.get(at + 1).copied() })
    }
}

impl Coordinator for GroupScan {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        answer_scan(reply, self.group.map(|group| group.0), self.next.map(|group| group.0), out)
    }
}

/// KEYS: all groups are walked over at the same time.
pub struct GroupKeys {
    options: Vec<Vec<u8>>,
    group_of_part: Vec<GroupNumber>,
    walked: WalkedKeys,
}

impl GroupKeys {
    /// A walk over the keys of `groups` whose names match, and the parts to begin with.
    pub fn start(groups: Vec<GroupNumber>, pattern: &[u8], bounds: ReplyBounds) -> (Vec<GroupPart>, GroupKeys) {
        let options = vec![b"MATCH".to_vec(), pattern.to_vec(), b"COUNT".to_vec(), keys_per_step()];
        let parts = groups.iter().map(|group| step(*group, KeyPosition::START, &options)).collect();
        let walked = WalkedKeys::of(groups.len(), bounds);
        (parts, GroupKeys { options, group_of_part: groups, walked })
    }
}

impl Coordinator for GroupKeys {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        let Some(position) = self.walked.take(reply) else { return self.walked.answer(out) };
        let group = self.group_of_part[part];
        self.group_of_part.push(group);
        Progress::ToGroups(vec![step(group, position, &self.options)])
    }

    fn held_bytes(&self) -> usize {
        self.walked.held_bytes()
    }
}

/// RANDOMKEY: one group after the other is asked, until one has a key.
pub struct GroupRandomKey {
    command: u16,
    /// In the order in which they are asked.
    groups: Vec<GroupNumber>,
    asked: usize,
}

impl GroupRandomKey {
    /// Asks `groups`, which are at least one, for a key by the command with this id.
    pub fn start(groups: Vec<GroupNumber>, command: u16) -> (GroupPart, GroupRandomKey) {
        let random = GroupRandomKey { command, groups, asked: 0 };
        (random.part(), random)
    }

    fn part(&self) -> GroupPart {
        GroupPart { group: self.groups[self.asked], command: self.command, args: Vec::new() }
    }
}

impl Coordinator for GroupRandomKey {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        self.asked += 1;
        if self.asked < self.groups.len() && matches!(reply, b"$-1\r\n" | b"_\r\n") {
            return Progress::ToGroups(vec![self.part()]);
        }
        out.raw(reply);
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;

    fn groups() -> Vec<GroupNumber> {
        [2, 5, 9].map(GroupNumber).to_vec()
    }

    fn answer(coordinator: &mut dyn Coordinator, part: usize, reply: &str) -> (Progress, String) {
        let mut out = Vec::new();
        let progress = coordinator.answered(part, reply.as_bytes(), &mut Reply::new(&mut out, Protocol::Resp2));
        (progress, String::from_utf8(out).expect("replies of this test are text").replace("\r\n", "|"))
    }

    fn position(bits: u64) -> KeyPosition {
        KeyPosition::from_bits(bits).expect("a position")
    }

    #[test]
    fn a_scan_goes_from_group_to_group_by_their_numbers() {
        let cursor = |shard, bits| ScanCursor { shard, position: position(bits) };
        for (from, group, at, reply, next) in [
            (cursor(0, 7), 2, 0, "*2\r\n:5\r\n*0\r\n", Some(cursor(2, 5))),
            (cursor(2, 5), 2, 5, "*2\r\n:-1\r\n*0\r\n", Some(cursor(5, 0))),
            (cursor(3, 8), 5, 0, "*2\r\n:-1\r\n*0\r\n", Some(cursor(9, 0))),
            (cursor(9, 8), 9, 8, "*2\r\n:-1\r\n*0\r\n", None),
        ] {
            let (part, mut scan) = GroupScan::start(groups(), from, &[b"COUNT", b"3"]);
            assert_eq!((part.group, &part.args[0][..]), (GroupNumber(group), at.to_string().as_bytes()));
            assert_eq!(part.args[1..], [b"COUNT".to_vec(), b"3".to_vec()]);
            let cursor = next.map_or(0, ScanCursor::to_bits).to_string();
            let (_, text) = answer(&mut scan, 0, reply);
            assert_eq!(text, format!("*2|${}|{cursor}|*0|", cursor.len()));
        }
        // Behind the last group the arguments are looked at, and no key is told.
        let (part, mut scan) = GroupScan::start(groups(), cursor(10, 3), &[]);
        assert_eq!((part.group, &part.args[0][..]), (GroupNumber(2), &b"0"[..]));
        assert_eq!(answer(&mut scan, 0, "*2\r\n:4\r\n*1\r\n$1\r\na\r\n").1, "*2|$1|0|*0|");
    }

    #[test]
    fn keys_of_all_groups_are_one_reply_or_the_first_error() {
        let bounds = ReplyBounds { one_bytes_max: 100, shard_bytes_max: 1000 };
        let (parts, mut keys) = GroupKeys::start(groups(), b"*", bounds);
        assert_eq!(parts.len(), 3);
        let (progress, _) = answer(&mut keys, 1, "*2\r\n:6\r\n*1\r\n$1\r\na\r\n");
        assert!(matches!(progress, Progress::ToGroups(parts) if parts[0].group == GroupNumber(5)));
        for part in [0, 2] {
            assert!(matches!(answer(&mut keys, part, "*2\r\n:-1\r\n*1\r\n$1\r\nb\r\n").0, Progress::Wait));
        }
        let (progress, text) = answer(&mut keys, 3, "*2\r\n:-1\r\n*0\r\n");
        assert!(matches!(progress, Progress::Done));
        assert_eq!(text, "*3|$1|a|$1|b|$1|b|");

        let (_, mut keys) = GroupKeys::start(groups(), b"*", bounds);
        let long = format!("*2\r\n:7\r\n*1\r\n$200\r\n{}\r\n", "a".repeat(200));
        assert!(matches!(answer(&mut keys, 0, &long).0, Progress::Wait));
        assert!(matches!(answer(&mut keys, 1, "*2\r\n:9\r\n*1\r\n$1\r\na\r\n").0, Progress::Wait));
        let (_, text) = answer(&mut keys, 2, "-CLUSTERDOWN no\r\n");
        assert!(text.starts_with("-ERR"), "{text}");
    }

    #[test]
    fn a_random_key_is_of_the_first_group_that_has_some() {
        let (part, mut random) = GroupRandomKey::start(groups(), 7);
        assert_eq!((part.group, part.command), (GroupNumber(2), 7));
        let (progress, _) = answer(&mut random, 0, "$-1\r\n");
        assert!(matches!(progress, Progress::ToGroups(parts) if parts[0].group == GroupNumber(5)));
        assert_eq!(answer(&mut random, 1, "$1\r\na\r\n").1, "$1|a|");
    }
}
