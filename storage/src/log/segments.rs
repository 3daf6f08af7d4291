//! Segments of a lane that wait to be written as tables.
//!
//! RocksDB counts for each group what of it waits, and a segment waits until all groups' part of it is written: neither the largest
//! of these counts is that of the segments, if groups write in turns, nor their sum, if they write in the same one.

use std::collections::VecDeque;

/// The newest segments that were ended, and who has records in each.
#[derive(Debug, Default)]
pub(super) struct Segments {
    ended: VecDeque<Vec<bool>>,
}

impl Segments {
    /// Notes that a segment was ended. `has_records`: for each group, if the segment holds records of it.
    pub(super) fn end(&mut self, has_records: Vec<bool>) {
        self.ended.push_back(has_records);
    }

    /// Forgets all: what was recovered counts as the segment that is written to.
    pub(super) fn clear(&mut self) {
        self.ended.clear();
    }

    /// Forgets the group at this place; those behind it move up.
    pub(super) fn forget_group(&mut self, group: usize) {
        for has_records in &mut self.ended {
            if group < has_records.len() {
                has_records.remove(group);
            }
        }
    }

    /// Counts the segments that wait, given for each group in how many of them RocksDB holds records. They are written in order, so
    /// those that were ended earlier are forgotten.
    pub(super) fn count_waiting(&mut self, waiting_of_groups: &[u64]) -> u64 {
        let of_group = |(group, waiting): (usize, &u64)| {
            let mut left = *waiting;
            let mut count = 0;
            for has_records in self.ended.iter().rev() {
                if left == 0 {
                    break;
                }
                count += 1;
                left -= u64::from(has_records.get(group) == Some(&true));
            }
            // RocksDB may have ended segments of its own accord.
            count + left
        };
        let waiting = waiting_of_groups.iter().enumerate().map(of_group).max().unwrap_or(0);
        let written = (self.ended.len() as u64).saturating_sub(waiting);
        self.ended.drain(..written as usize);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_waits_once_whoever_has_records_in_it() {
        let mut segments = Segments::default();
        assert_eq!(segments.count_waiting(&[0, 0, 0]), 0);
        segments.end(vec![true, true, true]);
        assert_eq!(segments.count_waiting(&[1, 1, 1]), 1);
        // The groups take turns.
        segments.end(vec![true, false, false]);
        segments.end(vec![false, true, false]);
        assert_eq!(segments.count_waiting(&[2, 2, 1]), 3);
        assert_eq!(segments.count_waiting(&[1, 1, 0]), 2);
        assert_eq!(segments.count_waiting(&[0, 1, 0]), 1);
        assert_eq!(segments.count_waiting(&[0, 0, 0]), 0);
        assert!(segments.ended.is_empty(), "what is written is forgotten");
    }

    #[test]
    fn a_group_that_goes_takes_its_place_along() {
        let mut segments = Segments::default();
        segments.end(vec![false, true, false]);
        segments.end(vec![false, false, true]);
        segments.end(vec![true]);
        segments.forget_group(1);
        assert_eq!(segments.ended, [vec![false, false], vec![false, true], vec![true]]);
        assert_eq!(segments.count_waiting(&[0, 1]), 2);
    }

    #[test]
    fn segments_that_nobody_has_noted_wait_as_well() {
        let mut segments = Segments::default();
        assert_eq!(segments.count_waiting(&[2, 0]), 2);
        segments.end(vec![false, true]);
        assert_eq!(segments.count_waiting(&[2, 1]), 3);
        // A group that has come since.
        assert_eq!(segments.count_waiting(&[0, 0, 1]), 2);
    }
}
