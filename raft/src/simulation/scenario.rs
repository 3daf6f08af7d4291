//! The settings that a seed stands for: those of the group and of its network, and how often what fails.

use std::time::Duration;

use super::executor::Executor;
use super::network::NetworkFaults;
use crate::ids::NodeId;

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) member_count: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) election_timeout_ms: (u64, u64),
    pub(crate) in_flight_max: usize,
    pub(crate) log_entries_max: u64,
    pub(crate) log_entries_kept: u64,
    pub(crate) memtable_bytes: usize,
    pub(crate) unapplied_bytes_max: u64,
    pub(crate) stalls_per_mille: u64,
    pub(crate) network: NetworkFaults,
    /// The longest time between two operations of clients.
    pub(crate) operation_wait: Duration,
    /// So many operations in a thousand are reads.
    pub(crate) reads_per_mille: u64,
    /// The longest time between two faults.
    pub(crate) fault_wait: Duration,
}

impl Scenario {
    /// Draws the settings.
    pub(crate) fn draw(executor: &Executor, member_count: u64) -> Scenario {
        let one_of = |choices: &[u64]| choices[executor.below(choices.len() as u64) as usize];
        let ms = Duration::from_millis;
        Scenario {
            member_count,
            heartbeat_ms: 250,
            election_timeout_ms: (1000, 2000),
            in_flight_max: one_of(&[4, 64, 1024]) as usize,
            log_entries_max: one_of(&[16, 60, 1_000_000]),
            log_entries_kept: one_of(&[0, 10, 40]),
            memtable_bytes: one_of(&[600, 4_000, 1_000_000]) as usize,
            unapplied_bytes_max: one_of(&[300, 1 << 20]),
            stalls_per_mille: one_of(&[0, 0, 30]),
            network: NetworkFaults {
                delay: (Duration::from_micros(200), ms(one_of(&[1, 10, 80]))),
                lost_per_mille: one_of(&[0, 5, 50]),
                doubled_per_mille: one_of(&[0, 10, 50]),
                late_per_mille: one_of(&[0, 5, 20]),
            },
            operation_wait: ms(one_of(&[20, 100, 400])),
            reads_per_mille: one_of(&[100, 500]),
            fault_wait: ms(one_of(&[400, 1500, 5000])),
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.member_count).map(NodeId)
    }
}
