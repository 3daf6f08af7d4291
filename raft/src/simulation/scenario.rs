//! The settings that a seed stands for: those of the group and of its network, and how often what fails.

use std::time::Duration;

use super::executor::Executor;
use super::network::NetworkFaults;
use super::run::Settings;
use crate::ids::NodeId;

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The nodes that there are, of which the first ones found the group.
    pub(crate) node_count: u64,
    pub(crate) founder_count: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) election_timeout_ms: (u64, u64),
    pub(crate) in_flight_max: usize,
    pub(crate) log_entries_max: u64,
    pub(crate) log_entries_kept: u64,
    pub(crate) log_kept_bytes: u64,
    pub(crate) memtable_bytes: usize,
    pub(crate) unapplied_bytes_max: u64,
    pub(crate) stalls_per_mille: u64,
    pub(crate) network: NetworkFaults,
    /// The longest time between two operations of clients.
    pub(crate) operation_wait: Duration,
    /// So many operations in a thousand are reads.
    pub(crate) reads_per_mille: u64,
    /// Set if there are few kinds of faults.
    pub(crate) is_plain: bool,
    /// The longest time of one step of one task.
    pub(crate) step_time: Duration,
    /// The parts in a million by which a node's clock may go too fast or too slow.
    pub(crate) clock_ppm: u64,
    /// The longest time between two faults.
    pub(crate) fault_wait: Duration,
    /// The longest time between two changes of the members, where there are any.
    pub(crate) change_wait: Option<Duration>,
}

impl Scenario {
    /// Draws the settings.
    pub(crate) fn draw(executor: &Executor, settings: &Settings) -> Scenario {
        let Settings { member_count, spare_count, grows_from_one, is_plain, has_short_logs, .. } = *settings;
        let one_of = |choices: &[u64]| choices[executor.below(choices.len() as u64) as usize];
        let ms = Duration::from_millis;
        Scenario {
            node_count: member_count + spare_count,
            founder_count: if grows_from_one { 1 } else { member_count },
            heartbeat_ms: 250,
            election_timeout_ms: (300, 700),
            in_flight_max: one_of(&[4, 64, 1024]) as usize,
            log_entries_max: if has_short_logs { 16 } else { one_of(&[16, 60, 1_000_000]) },
            log_entries_kept: if has_short_logs { 0 } else { one_of(&[0, 10, 40]) },
            log_kept_bytes: if has_short_logs { 0 } else { one_of(&[0, 300, 1_500, 1 << 20]) },
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
            is_plain,
            step_time: Duration::from_micros(if is_plain { 0 } else { one_of(&[0, 2, 20]) }),
            clock_ppm: if is_plain { 0 } else { one_of(&[0, 1_000, 100_000]) },
            fault_wait: ms(one_of(&[400, 1500, 5000])),
            change_wait: if spare_count > 0 { Some(ms(one_of(&[300, 1000, 4000]))) } else { None },
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.node_count).map(NodeId)
    }

    pub(crate) fn founders(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.founder_count).map(NodeId)
    }
}
