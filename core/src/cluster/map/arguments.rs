//! Arguments of CLUSTER commands, read as Redis reads them and refused in its words.

use basalt_net::resp::parse_integer;
use basalt_raft::NodeId;
use basalt_storage::keyspace::SLOT_COUNT;

use super::ids::NodeName;
use super::refused::Refused;
use super::slots::SlotRange;
use super::{Map, Role};
use crate::limits::map::{CONFIG_EPOCH_MAX, RANGES_MAX};

/// Bytes of a name that nobody has which are shown, as Redis does of an unknown command.
const SHOWN_BYTES: usize = 128;

/// Reads the slots of ADDSLOTS and DELSLOTS, in the order in which they are named. Slots that follow each other become one range.
/// All are read; of so many that some is named twice, those up to the first such one are returned.
///
/// # Errors
/// [`Refused::NoSuchSlot`].
pub fn read_slots<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<SlotRange>, Refused> {
    let mut ranges: Vec<SlotRange> = Vec::new();
    let mut count = 0;
    for arg in args {
        let slot = read_slot(arg)?;
        count += 1;
        if count > RANGES_MAX {
            continue;
        }
        match ranges.last_mut() {
            Some(before) if before.last().checked_add(1) == Some(slot) => {
                *before = SlotRange::new(before.first(), slot).expect("both exist, in this order");
            }
            _ => ranges.push(SlotRange::new(slot, slot).expect("it exists")),
        }
    }
    Ok(ranges)
}

/// Reads the ranges of ADDSLOTSRANGE and DELSLOTSRANGE, in the order in which they are named. All are read; of so many that some
/// slot is named twice, those up to the first such one are returned.
///
/// # Errors
/// [`Refused::NoSuchSlot`] and [`Refused::ReversedRange`].
///
/// # Panics
/// If the number of arguments is odd.
pub fn read_slot_ranges(args: &[&[u8]]) -> Result<Vec<SlotRange>, Refused> {
    let (pairs, odd) = args.as_chunks::<2>();
    assert!(odd.is_empty(), "whoever knows the command's name checks the number of its arguments");
    let mut ranges = Vec::new();
    for [first, last] in pairs {
        let (first, last) = (read_slot(first)?, read_slot(last)?);
        let range = SlotRange::new(first, last).ok_or(Refused::ReversedRange { first, last })?;
        if ranges.len() < RANGES_MAX {
            ranges.push(range);
        }
    }
    Ok(ranges)
}

/// Reads the argument of SET-CONFIG-EPOCH, once it is known to be an integer.
///
/// # Errors
/// [`Refused::InvalidConfigEpoch`].
pub fn read_config_epoch(epoch: i64) -> Result<u64, Refused> {
    let read = u64::try_from(epoch).ok().filter(|epoch| *epoch <= CONFIG_EPOCH_MAX);
    read.ok_or(Refused::InvalidConfigEpoch(epoch.into()))
}

/// The node that CLUSTER FORGET names, when a client asks the node `asked`. A node that has left already is found too, so that
/// every node can be asked to forget it.
///
/// # Errors
/// [`Refused::UnknownNode`], [`Refused::ForgetItself`] and [`Refused::ForgetMaster`].
pub fn forget_target(map: &Map, asked: NodeId, text: &[u8]) -> Result<NodeId, Refused> {
    let name = NodeName::parse(text).ok_or_else(|| unknown_node(text))?;
    if let Some(gone) = map.forgotten().iter().find(|gone| gone.name == name) {
        return Ok(gone.number);
    }
    let node = map.named_by_client(text)?;
    if node.number == asked {
        return Err(Refused::ForgetItself);
    }
    if map.node(asked).is_some_and(|asked| asked.role == Role::ReplicaOf(node.number)) {
        return Err(Refused::ForgetMaster);
    }
    Ok(node.number)
}

/// The refusal of a name that no node has.
pub(super) fn unknown_node(text: &[u8]) -> Refused {
    let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES)]);
    Refused::UnknownNode(shown.replace(|letter: char| letter.is_control(), " "))
}

/// Reads a slot by Redis' rules for integers: no `+`, no zeros before it.
fn read_slot(arg: &[u8]) -> Result<u16, Refused> {
    let slot = parse_integer(arg).and_then(|slot| u16::try_from(slot).ok()).filter(|slot| *slot < SLOT_COUNT);
    slot.ok_or(Refused::NoSuchSlot)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alone, apply, name, newcomer, number};
    use super::super::{Change, SlotSet};
    use super::*;

    fn slots(words: &str) -> Result<Vec<SlotRange>, String> {
        read_slots(words.split_whitespace().map(str::as_bytes)).map_err(|refused| refused.to_string())
    }

    fn ranges(words: &str) -> Result<Vec<SlotRange>, String> {
        let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
        read_slot_ranges(&words).map_err(|refused| refused.to_string())
    }

    #[test]
    fn slots_keep_the_order_in_which_they_are_named() {
        assert_eq!(format!("{:?}", slots("5 6 7 9 8 5").unwrap()), "[5-7, 9, 8, 5]");
        assert_eq!(format!("{:?}", ranges("20 25 0 16383 7 7").unwrap()), "[20-25, 0-16383, 7]");
    }

    #[test]
    fn what_is_no_slot_is_refused_in_redis_words() {
        for words in ["x", "16384", "-1", "+1", "01", "1.0", "99999999999999999999", "5 x"] {
            assert_eq!(slots(words), Err("ERR Invalid or out of range slot".to_owned()), "{words}");
        }
        assert_eq!(ranges("1 x"), Err("ERR Invalid or out of range slot".to_owned()));
        assert_eq!(ranges("9 3"), Err("ERR start slot number 9 is greater than end slot number 3".to_owned()));
        let negative = read_config_epoch(-1).unwrap_err().to_string();
        assert_eq!((read_config_epoch(7), negative.as_str()), (Ok(7), "ERR Invalid config epoch specified: -1"));
    }

    #[test]
    fn more_slots_than_there_are_become_no_more_ranges_than_needed() {
        let words = "1 3 ".repeat(RANGES_MAX);
        assert_eq!((slots(&words).unwrap().len(), ranges(&words).unwrap().len()), (RANGES_MAX, RANGES_MAX));
        assert_eq!(slots(&(words + "x")), Err("ERR Invalid or out of range slot".to_owned()));
    }

    #[test]
    fn nodes_are_forgotten_by_others_only_and_as_often_as_one_likes() {
        let mut map = alone();
        apply(&mut map, Change::Join { node: newcomer(2), claimed: SlotSet::default() });
        apply(&mut map, Change::Join { node: newcomer(3), claimed: SlotSet::default() });
        apply(&mut map, Change::SetRole { node: number(3), role: Role::ReplicaOf(number(2)) });
        let target = |map: &Map, asked, name: &str| {
            forget_target(map, number(asked), name.as_bytes()).map_err(|refused| refused.to_string())
        };
        let named = |of| name(of).to_string();
        assert_eq!(target(&map, 1, &named(2)), Ok(number(2)));
        assert_eq!(target(&map, 2, &named(2)), Err("ERR I tried hard but I can't forget myself...".to_owned()));
        assert_eq!(target(&map, 3, &named(2)), Err("ERR Can't forget my master!".to_owned()));
        assert_eq!(target(&map, 1, "abc\r\n"), Err("ERR Unknown node abc  ".to_owned()));
        assert_eq!(target(&map, 1, &named(9)), Err(format!("ERR Unknown node {}", named(9))));
        apply(&mut map, Change::Forget { node: number(2) });
        assert_eq!(target(&map, 1, &named(2)), Ok(number(2)));
        assert!(map.named_by_client(named(2).as_bytes()).is_err() && map.named_by_client(named(3).as_bytes()).is_ok());
    }
}
