//! Runs of many seeds, and proofs that they find what is wrong.

use super::checks::Counts;
use super::run::{Run, Settings, run};
use crate::sabotage::{self, Sabotage};

/// Steps of a run until its faults end; `SIMULATE_STEPS` says another number.
const STEPS: u64 = 20_000;
/// Seeds that a test runs; `SIMULATE_SEEDS` says another number, and `SIMULATE_FIRST` the first of them.
const SEEDS: u64 = 350;
/// Seeds within which a fault must be found that was put in on purpose.
const PROOF_SEEDS: u64 = 500;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text}, and no number")),
        Err(_) => otherwise,
    }
}

/// Members of the group of a seed: mostly three.
fn members_of(seed: u64) -> u64 {
    match seed % 10 {
        0 => 5,
        1 => 7,
        2 => 2,
        3 => 1,
        _ => 3,
    }
}

fn settings(seed: u64, member_count: u64) -> Settings {
    Settings {
        seed,
        member_count,
        spare_count: 0,
        grows_from_one: false,
        is_plain: false,
        has_short_logs: false,
        steps: STEPS,
        is_traced: false,
        looks_at_disks: true,
    }
}

/// Settings in which the members change.
fn changing(seed: u64) -> Settings {
    let (member_count, spare_count) = if seed.is_multiple_of(4) { (4, 1) } else { (3, 2) };
    Settings { spare_count, grows_from_one: seed.is_multiple_of(2), ..settings(seed, member_count) }
}

fn settings_of(seed: u64) -> Settings {
    if seed % 3 == 1 { changing(seed) } else { settings(seed, members_of(seed)) }
}

/// Runs a seed; a failure is run again with a trace, which is printed.
fn check(seed: u64) -> Run {
    let steps = from_environment("SIMULATE_STEPS", STEPS);
    let settings = Settings { steps, ..settings_of(seed) };
    let outcome = run(settings);
    let Some(violation) = &outcome.violation else { return outcome };
    let traced = run(Settings { is_traced: true, ..settings });
    println!("{}", traced.trace);
    assert_eq!(Some(violation), traced.violation.as_ref(), "seed {seed} does not give the same run again");
    panic!("seed {seed} (make simulate FIRST={seed} SEEDS=1): {violation}");
}

#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    let first = from_environment("SIMULATE_FIRST", 1);
    let seeds = from_environment("SIMULATE_SEEDS", SEEDS);
    let begun = std::time::Instant::now();
    let mut sum = Counts::default();
    for seed in first..first + seeds {
        sum.add(&check(seed).counts);
    }
    println!("{seeds} seeds from {first} on, in {:.1?}: {sum:?}", begun.elapsed());
    // One in which nothing happens finds nothing.
    if seeds >= SEEDS {
        let least = Counts { leaders: 2, acknowledged: 40, reads: 20, crashes: 3, shutdowns: 1, ..Counts::default() };
        assert!(sum.is_at_least(&least, seeds), "too little happens: {sum:?}");
        assert!(sum.installs >= seeds / 4 && sum.truncations >= seeds / 10, "too little happens: {sum:?}");
        assert!(sum.changes >= seeds && sum.lost >= seeds / 10, "too little happens: {sum:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_one_another() {
    for members in [3, 5] {
        let traced = Settings { is_traced: true, ..settings(7, members) };
        let first = run(traced);
        assert_eq!(first, run(traced));
        let untraced = run(settings(7, members));
        assert_eq!((untraced.digest, untraced.steps, untraced.time), (first.digest, first.steps, first.time));
        assert_ne!(run(settings(8, members)).digest, first.digest);
    }
}

/// Has runs work with a fault, and returns what the first of them says that finds it.
fn found(sabotage: Sabotage, looks_at_disks: bool) -> String {
    found_in(sabotage, |seed| Settings { looks_at_disks, is_plain: true, ..settings(seed, 3) })
}

fn found_in(sabotage: Sabotage, settings: impl Fn(u64) -> Settings) -> String {
    sabotage::want(Some(sabotage));
    let seeds = from_environment("SIMULATE_PROOFS", PROOF_SEEDS);
    let found = (1..=seeds).find_map(|seed| {
        // That it does not recover proves little.
        let violation = run(settings(seed)).violation.filter(|violation| !violation.starts_with("no recovery"))?;
        println!("{sabotage:?} is found by seed {seed}: {violation}");
        Some(violation)
    });
    sabotage::want(None);
    found.unwrap_or_else(|| panic!("{sabotage:?} is not found by {PROOF_SEEDS} seeds"))
}

#[test]
fn appends_that_are_answered_before_they_are_synced_are_found() {
    let found = found(Sabotage::UnsyncedAppends, true);
    assert!(found.contains("which is not on its disk") || found.contains("no quorum has on disk"), "{found}");
}

#[test]
fn a_write_that_is_acknowledged_before_a_quorum_has_it_is_found() {
    let found = found(Sabotage::QuorumOfOne, true);
    assert!(found.contains("acknowledges write") && found.contains("no quorum has on disk"), "{found}");
}

#[test]
fn a_vote_that_is_given_before_it_is_synced_is_found() {
    let found = found(Sabotage::UnsyncedVotes, true);
    assert!(found.contains("answers with vote") && found.contains("which is not on its disk"), "{found}");
}

#[test]
fn a_read_that_asks_no_quorum_is_found() {
    let found = found(Sabotage::NoReadBarrier, true);
    assert!(found.contains("a read of node") && found.contains("older than"), "{found}");
}

#[test]
fn an_entry_that_is_executed_twice_is_found() {
    let found = found(Sabotage::AppliedTwice, true);
    assert!(found.contains("has other rows than others") || found.contains("twice"), "{found}");
}

#[test]
fn a_log_that_is_purged_beyond_the_rows_on_disk_is_found() {
    let found = found(Sabotage::PurgedTooFar, true);
    assert!(found.contains("cannot be opened") && found.contains("its rows end at entry"), "{found}");
}

#[test]
fn a_log_that_is_purged_beyond_what_followers_need_is_found() {
    let found = found(Sabotage::PurgedBeyondFollowers, true);
    assert!(found.contains("purges entry") && found.contains("needs"), "{found}");
}

#[test]
fn entries_that_a_crash_takes_are_found_by_what_comes_of_it() {
    let found = found(Sabotage::UnsyncedAppends, false);
    assert!(found.contains("leads in term") && found.contains("which is committed"), "{found}");
}

#[test]
fn votes_that_a_crash_takes_are_found_by_what_comes_of_it() {
    let found = found(Sabotage::UnsyncedVotes, false);
    assert!(found.contains("logs do not match") || found.contains("two leaders in term"), "{found}");
}

#[test]
fn a_refusal_of_what_is_executed_later_is_found() {
    // It takes a leader that comes back and gets a snapshot in the place of what it had proposed.
    let short = |seed| Settings { is_plain: true, has_short_logs: true, ..settings(seed, 3) };
    let found = found_in(Sabotage::SureRefusals, short);
    assert!(found.contains("which was refused") || found.contains("which was applied"), "{found}");
}

#[test]
fn a_leader_of_one_that_takes_itself_for_one_when_it_is_two_is_found() {
    let found = found_in(Sabotage::AloneForEver, changing);
    assert!(found.contains("a read of node") && found.contains("older than"), "{found}");
}

#[test]
fn learners_that_vote_are_found() {
    let found = found_in(Sabotage::LearnersVote, changing);
    assert!(found.contains("which is committed") || found.contains("have nothing in common"), "{found}");
}

#[test]
fn a_number_that_comes_back_without_what_it_knew_is_found() {
    let found = found_in(Sabotage::NumbersReused, changing);
    let signs = ["which is committed", "than others", "older than", "two leaders in term"];
    assert!(signs.iter().any(|sign| found.contains(sign)), "{found}");
}
