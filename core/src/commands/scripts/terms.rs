//! The first argument of a script's step: what it may do.

use std::sync::Arc;

use basalt_lua::{SHORT_SCRIPT_WORK, in_proportion};
use basalt_storage::keyspace::{SLOT_COUNT, Slot};

use crate::limits;

/// The version of what follows, and of what running a script does, if that is of a short one.
const VERSION: u8 = 1;
/// The same of one that may do more work, and has more memory for that: older versions have no such scripts, and refuse the step
/// rather than stop it at another point.
const VERSION_LONG: u8 = 2;
const READ_ONLY: u8 = 0x01;
const ALL_KEYS: u8 = 0x02;
const IN_CLUSTER: u8 = 0x04;
/// Older versions refuse the step rather than run it with all rights.
const WITH_RIGHTS: u8 = 0x08;
const STOPS_ELSEWHERE: u8 = 0x10;
/// Older versions refuse the step rather than refuse what it calls.
const WIDE: u8 = 0x20;

/// Keys that a script may access: those of its shard, when the step was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All keys: there is one shard.
    All,
    /// Those of slots from the first to the last of each pair.
    Slots(Vec<(u16, u16)>),
}

impl Reach {
    /// The keys of the slots for which `is_in`.
    pub fn of_slots(is_in: impl Fn(Slot) -> bool) -> Reach {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in (0..SLOT_COUNT).filter(|slot| is_in(Slot::new(*slot))) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        Reach::Slots(ranges)
    }

    /// Returns whether `key` is one of them.
    pub fn has(&self, key: &[u8]) -> bool {
        match self {
            Reach::All => true,
            Reach::Slots(ranges) => {
                let slot = Slot::of(key).index();
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot))
            }
        }
    }
}

/// The terms on which a script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// True if it may not write.
    pub is_read_only: bool,
    /// True if it was called on a node in a cluster, which has one database.
    pub in_cluster: bool,
    /// Keys that it may access.
    pub reach: Reach,
    /// True if it is stopped where it accesses another key, and undone, so that it can be run where that can be accessed; else
    /// the call fails.
    pub stops_elsewhere: bool,
    /// True if it may publish messages and call SCAN though it writes, as all scripts may that are called by now: earlier ones in
    /// the log were refused that.
    pub is_wide: bool,
    /// Work that it may do: instructions, about.
    pub work: u64,
    /// The rights of its caller, as [`CallerRights`](crate::commands::rights::CallerRights) are written, unless that may do
    /// everything.
    pub rights: Option<Arc<[u8]>>,
}

impl Terms {
    /// Writes them as bytes: `[version u8 = 1, or 2 of one that is not short][flags u8][work u64 LE]`, with rights
    /// `[length u32 LE][rights]`, and `{[first slot u16 LE][last slot u16 LE]}…`.
    pub fn encode(&self) -> Vec<u8> {
        let cluster = if self.in_cluster { IN_CLUSTER } else { 0 };
        let stops = if self.stops_elsewhere { STOPS_ELSEWHERE } else { 0 } | if self.is_wide { WIDE } else { 0 };
        let version = if self.work > SHORT_SCRIPT_WORK { VERSION_LONG } else { VERSION };
        let mut out = vec![version, cluster | stops | if self.is_read_only { READ_ONLY } else { 0 }];
        out.extend_from_slice(&self.work.to_le_bytes());
        if let Some(rights) = &self.rights {
            out[1] |= WITH_RIGHTS;
            out.extend_from_slice(&u32::try_from(rights.len()).expect("rights have a bound").to_le_bytes());
            out.extend_from_slice(rights);
        }
        match &self.reach {
            Reach::All => out[1] |= ALL_KEYS,
            Reach::Slots(ranges) => {
                for (first, last) in ranges {
                    out.extend_from_slice(&first.to_le_bytes());
                    out.extend_from_slice(&last.to_le_bytes());
                }
            }
        }
        out
    }

    /// Reads what [`Terms::encode`] wrote; `None` if it is of another version.
    pub fn decode(bytes: &[u8]) -> Option<Terms> {
        let (&[version, flags], rest) = bytes.split_first_chunk()?;
        let (work, mut rest) = rest.split_first_chunk()?;
        if !matches!(version, VERSION | VERSION_LONG)
            || flags & !(READ_ONLY | ALL_KEYS | IN_CLUSTER | WITH_RIGHTS | STOPS_ELSEWHERE | WIDE) != 0
        {
            return None;
        }
        let mut rights = None;
        if flags & WITH_RIGHTS != 0 {
            let (length, behind) = rest.split_first_chunk()?;
            let (bytes, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            (rights, rest) = (Some(bytes.into()), behind);
        }
        let (ranges, rest) = rest.as_chunks::<4>();
        let ranges = ranges.iter().map(|&[a, b, c, d]| (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])));
        let reach = if flags & ALL_KEYS != 0 { Reach::All } else { Reach::Slots(ranges.collect()) };
        rest.is_empty().then_some(Terms {
            is_read_only: flags & READ_ONLY != 0,
            in_cluster: flags & IN_CLUSTER != 0,
            reach,
            stops_elsewhere: flags & STOPS_ELSEWHERE != 0,
            is_wide: flags & WIDE != 0,
            work: u64::from_le_bytes(*work),
            rights,
        })
    }
}

/// Bytes of rows that a script with so much work may read and write. It is a part of what a batch means.
pub fn trial_bytes_of(work: u64) -> usize {
    in_proportion(limits::SCRIPT_TRIAL_BYTES_MAX, work, limits::SCRIPT_TRIAL_TIMES_MAX)
}

/// Bytes of the reply to a command of a script with so much work. It is a part of what a batch means.
pub fn reply_bytes_of(work: u64) -> usize {
    in_proportion(limits::SCRIPT_REPLY_BYTES_MAX, work, limits::SCRIPT_REPLY_TIMES_MAX)
}

/// Bytes of rows that the script of a step with these arguments may read and write.
pub fn trial_bytes_max(args: &[&[u8]]) -> usize {
    let work = args.get(1).and_then(|terms| Terms::decode(terms)).map_or(0, |terms| terms.work);
    trial_bytes_of(work)
}

/// Returns whether this version of the program knows the terms of a step. What it does not know it must not run in another way.
pub fn has_known_terms(args: &[&[u8]]) -> bool {
    args.get(1).is_some_and(|terms| Terms::decode(terms).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_round_trip_and_others_are_refused() {
        let some: Arc<[u8]> = (*b"rights").into();
        for reach in [Reach::All, Reach::Slots(vec![]), Reach::Slots(vec![(0, 5), (7, 16_383)])] {
            for (is_read_only, rights) in [(false, None), (true, None), (false, Some(&some))] {
                let (in_cluster, reach, rights) = (!is_read_only, reach.clone(), rights.cloned());
                let stops_elsewhere = in_cluster;
                let terms = Terms {
                    is_read_only,
                    in_cluster,
                    reach,
                    stops_elsewhere,
                    is_wide: is_read_only,
                    work: 0x0102_0304_0506,
                    rights,
                };
                let bytes = terms.encode();
                assert_eq!(Terms::decode(&bytes), Some(terms));
                for length in 0..10 {
                    assert_eq!(Terms::decode(&bytes[..length]), None, "{length} bytes");
                }
                let mut other = bytes.clone();
                other[0] = 3;
                assert_eq!(Terms::decode(&other), None);
                other = bytes.clone();
                other[1] |= 0x80;
                assert_eq!(Terms::decode(&other), None);
                other = bytes;
                other.push(0);
                assert_eq!(Terms::decode(&other), None);
            }
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let reach = Reach::Slots(vec![(1, 0x0203)]);
        let terms = Terms {
            is_read_only: true,
            in_cluster: true,
            reach,
            stops_elsewhere: false,
            is_wide: false,
            work: 7,
            rights: None,
        };
        assert_eq!(terms.encode(), [1, 5, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 2]);
        assert_eq!(Terms { stops_elsewhere: true, ..terms.clone() }.encode()[1], 0x15);
        assert_eq!(Terms { is_wide: true, ..terms.clone() }.encode()[1], 0x25);
        let terms = Terms { rights: Some((*b"\0\0").into()), ..terms };
        assert_eq!(terms.encode(), [1, 13, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 3, 2]);
    }

    #[test]
    fn those_of_more_work_are_of_another_version_and_have_more_memory() {
        let terms = |work| Terms {
            is_read_only: false,
            in_cluster: false,
            reach: Reach::All,
            stops_elsewhere: false,
            is_wide: true,
            work,
            rights: None,
        };
        for (work, version, megabytes) in [
            (1, 1, (4, 4)),
            (SHORT_SCRIPT_WORK, 1, (4, 4)),
            (SHORT_SCRIPT_WORK + 1, 2, (4, 4)),
            (3 * SHORT_SCRIPT_WORK, 2, (12, 12)),
            (20 * SHORT_SCRIPT_WORK, 2, (32, 16)),
            (u64::MAX, 2, (32, 16)),
        ] {
            let bytes = terms(work).encode();
            assert_eq!((bytes[0], Terms::decode(&bytes)), (version, Some(terms(work))));
            let (rows, reply) = (trial_bytes_max(&[b"step", &bytes]), reply_bytes_of(work));
            assert_eq!((rows >> 20, reply >> 20), megabytes, "{work}");
        }
    }

    #[test]
    fn keys_are_reached_by_their_slots() {
        let slot = Slot::of(b"key").index();
        let reach = Reach::of_slots(|other| other.index() != slot);
        assert_eq!(reach, Reach::Slots(vec![(0, slot - 1), (slot + 1, SLOT_COUNT - 1)]));
        assert!(!reach.has(b"key") && reach.has(b"other") && !reach.has(b"{key}x"));
        assert!(Reach::All.has(b"key") && !Reach::Slots(vec![]).has(b"key"));
    }
}
