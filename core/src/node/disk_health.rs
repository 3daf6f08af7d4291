//! The node's disk, as its groups find it: whether syncs come to an end.
//!
//! All groups of a node are on one disk, so what one of them finds holds for all. What a newcomer would get wrong: a disk that
//! answers again may stand still again in a moment, so it is well only when it has answered for some time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits;

/// The moments at which the disk was found silent.
pub struct DiskHealth {
    begin: Instant,
    /// Milliseconds from the beginning to the last such moment, plus one; 0 if there was none.
    silent_at: AtomicU64,
    /// The same of the last moment at which it was found to take long.
    slow_at: AtomicU64,
    /// The times that it has become silent while it was well.
    stalls: AtomicU64,
}

impl DiskHealth {
    /// A disk that has never been silent.
    pub fn new(now: Instant) -> DiskHealth {
        DiskHealth { begin: now, silent_at: AtomicU64::new(0), slow_at: AtomicU64::new(0), stalls: AtomicU64::new(0) }
    }

    /// Notes that the disk has not answered for too long at `now`. Returns true if it was well until then.
    pub fn note_silence(&self, now: Instant) -> bool {
        let before = self.silent_at.fetch_max(self.moment(now), Ordering::AcqRel);
        let was_well = self.since(before, now).is_none_or(|since| since >= limits::DISK_WELL_AFTER);
        if was_well {
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
        was_well
    }

    /// Notes that the disk takes long at `now`, though not too long yet.
    pub fn note_delay(&self, now: Instant) {
        self.slow_at.fetch_max(self.moment(now), Ordering::AcqRel);
    }

    /// Returns whether this node takes a lead that it is given at `now`: the disk is well, and does not take long either.
    pub fn takes_leads(&self, now: Instant) -> bool {
        let slow = self.since(self.slow_at.load(Ordering::Acquire), now);
        self.is_well(now) && slow.is_none_or(|ago| ago >= limits::DISK_SILENCE_HOLDS)
    }

    /// Returns whether the disk is silent at `now`, as far as anybody has looked.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.silence_ago(now).is_some_and(|ago| ago < limits::DISK_SILENCE_HOLDS)
    }

    /// Returns whether the disk has answered for long enough at `now` that this node may lead.
    pub fn is_well(&self, now: Instant) -> bool {
        self.silence_ago(now).is_none_or(|ago| ago >= limits::DISK_WELL_AFTER)
    }

    /// The times that the disk has become silent while it was well.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    fn moment(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_millis() as u64 + 1
    }

    fn silence_ago(&self, now: Instant) -> Option<Duration> {
        self.since(self.silent_at.load(Ordering::Acquire), now)
    }

    fn since(&self, silent_at: u64, now: Instant) -> Option<Duration> {
        let at = self.begin + Duration::from_millis(silent_at.checked_sub(1)?);
        Some(now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_well_again_when_it_has_answered_for_some_time() {
        let begin = Instant::now();
        let disk = DiskHealth::new(begin);
        assert!(disk.is_well(begin) && !disk.is_silent(begin));
        let stalled = begin + Duration::from_secs(100);
        assert!(disk.note_silence(stalled));
        let later = stalled + Duration::from_millis(100);
        assert!(!disk.note_silence(later), "it is the same silence");
        assert!(disk.is_silent(later) && !disk.is_well(later) && disk.stalls() == 1);
        let answers = later + limits::DISK_SILENCE_HOLDS;
        assert!(!disk.is_silent(answers) && !disk.is_well(answers), "it has just begun to answer");
        let well = later + limits::DISK_WELL_AFTER;
        assert!(disk.is_well(well));
        assert!(disk.note_silence(well) && disk.stalls() == 2);
    }

    #[test]
    fn no_lead_is_taken_while_the_disk_takes_long() {
        let begin = Instant::now();
        let disk = DiskHealth::new(begin);
        assert!(disk.takes_leads(begin));
        disk.note_delay(begin);
        assert!(!disk.takes_leads(begin) && disk.is_well(begin) && disk.stalls() == 0, "it may answer in a moment");
        let later = begin + limits::DISK_SILENCE_HOLDS;
        assert!(disk.takes_leads(later));
        disk.note_silence(later);
        assert!(!disk.takes_leads(later + limits::DISK_SILENCE_HOLDS));
        assert!(disk.takes_leads(later + limits::DISK_WELL_AFTER));
    }
}
