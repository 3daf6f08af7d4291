//! Processors that the node has a core for.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::error::BootError;
use crate::config::show_cpus;
use crate::config::{CpuChoice, Pinning};
use crate::limits::{CORES_MAX, PROCESSORS_PER_FREE_ONE};

/// A processor, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

/// Picks the processors that `choice` asks for out of those this process may run on (its affinity mask: containers,
/// `taskset` and systemd's `CPUAffinity` narrow it), one for each core.
///
/// A count may be greater than theirs only where `pin` says that no core has a processor to itself: they are then dealt
/// to the cores in turn.
pub(super) fn choose(choice: &CpuChoice, pin: Pinning) -> Result<Vec<CpuId>, BootError> {
    let set = sched_getaffinity(Pid::from_raw(0))
        .map_err(|errno| BootError::System { doing: "read the processors of this process", source: errno.into() })?;
    let available: Vec<u16> = (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu) == Ok(true))
        .filter_map(|cpu| u16::try_from(cpu).ok())
        .collect();
    choose_from(&available, choice, pin)
}

fn choose_from(available: &[u16], choice: &CpuChoice, pin: Pinning) -> Result<Vec<CpuId>, BootError> {
    let refused = |asked: String, missing: String, advice: String| {
        Err(BootError::Cores { asked, missing, available: show_cpus(available), advice })
    };
    let chosen = match choice {
        CpuChoice::Auto => {
            // Sync threads, RocksDB's jobs and the kernel's own work have to run somewhere.
            let free = available.len().div_ceil(PROCESSORS_PER_FREE_ONE);
            let count = (available.len() - free).clamp(1, CORES_MAX);
            available[..count].to_vec()
        }
        CpuChoice::All => available[..available.len().min(CORES_MAX)].to_vec(),
        CpuChoice::Count(count) if usize::from(*count) <= available.len() || pin == Pinning::No => {
            available.iter().copied().cycle().take(usize::from(*count)).collect()
        }
        CpuChoice::Count(count) => {
            let advice = format!("set --cores {} or less, or all; --pin no allows more", available.len());
            return refused(count.to_string(), format!("{count} processors"), advice);
        }
        CpuChoice::List(cpus) => match cpus.iter().find(|cpu| !available.contains(cpu)) {
            None => cpus.clone(),
            Some(missing) => {
                let advice = String::from("choose among these, or set --cores all");
                return refused(show_cpus(cpus), format!("processor {missing}"), advice);
            }
        },
    };
    assert!(!chosen.is_empty(), "a running process has a processor, and no choice is empty");
    Ok(chosen.into_iter().map(CpuId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(numbers: &[u16]) -> Vec<CpuId> {
        numbers.iter().copied().map(CpuId).collect()
    }

    #[test]
    fn a_count_takes_the_first_and_a_list_takes_its_own() {
        let available = [0, 1, 4, 5];
        let cases = [
            (CpuChoice::Auto, vec![0, 1, 4]),
            (CpuChoice::All, vec![0, 1, 4, 5]),
            (CpuChoice::Count(3), vec![0, 1, 4]),
            (CpuChoice::List(vec![1, 5]), vec![1, 5]),
        ];
        for (choice, expected) in cases {
            for pin in [Pinning::Auto, Pinning::Yes, Pinning::No] {
                let chosen = choose_from(&available, &choice, pin).expect("they exist");
                assert_eq!(chosen, cpus(&expected), "{choice:?}, {pin:?}");
            }
        }
    }

    #[test]
    fn a_count_beyond_the_processors_deals_them_in_turn_if_no_core_is_pinned() {
        let too_many = CpuChoice::Count(5);

        assert_eq!(choose_from(&[1, 4], &too_many, Pinning::No).expect("they share"), cpus(&[1, 4, 1, 4, 1]));

        for pin in [Pinning::Auto, Pinning::Yes] {
            let refusal = choose_from(&[1, 4], &too_many, pin).expect_err("too many").to_string();
            assert_eq!(
                refusal,
                "cores = 5 names 5 processors, but this process may run on 1,4 only: set --cores 2 or less, or all; \
                 --pin no allows more",
                "{pin:?}"
            );
        }
        let list = CpuChoice::List(vec![0, 1]);
        let refusal = choose_from(&[1, 4], &list, Pinning::No).expect_err("a list names its own").to_string();
        assert!(refusal.contains("names processor 0,"), "{refusal}");
    }

    #[test]
    fn auto_leaves_processors_to_what_runs_beside_the_cores() {
        for (processors, cores) in [(1, 1), (2, 1), (4, 3), (8, 7), (9, 7), (16, 14), (600, CORES_MAX)] {
            let available: Vec<u16> = (0..processors).collect();
            let chosen = choose_from(&available, &CpuChoice::Auto, Pinning::Auto).expect("there are some");
            assert_eq!(chosen, cpus(&available[..cores]), "{processors} processors");
        }
    }

    #[test]
    fn processors_that_do_not_exist_are_refused_by_number() {
        let choice = CpuChoice::List(vec![0, 2, 3]);
        let refusal = choose_from(&[0, 1], &choice, Pinning::Auto).expect_err("no such processor").to_string();
        assert_eq!(
            refusal,
            "cores = 0,2-3 names processor 2, but this process may run on 0-1 only: choose among these, or set --cores all"
        );
    }

    #[test]
    fn this_process_has_processors() {
        assert!(!choose(&CpuChoice::All, Pinning::Auto).expect("the affinity mask can be read").is_empty());
    }
}
