//! openraft's settings of a group.

use openraft::{Config, SnapshotPolicy};

use crate::error::{Error, Result};
use crate::limits::{MESSAGES_MAX, SILENT_ELECTIONS, UNREACHABLE_BACKOFF};
use crate::options::GroupOptions;

/// openraft's settings. Whatever durability or liveness depends on is spelled out.
pub(super) fn raft_config(options: &GroupOptions) -> Result<Config> {
    let (election_timeout_min, election_timeout_max) = options.election_timeout_ms;
    let config = Config {
        cluster_name: format!("shard-{}", options.shard),
        // Of this it makes the time between two looks at its clocks, and the wait for a heartbeat's answer: it sends none itself.
        heartbeat_interval: election_timeout_min - 1,
        // The group has heartbeats sent, together with others: see `heartbeats`.
        enable_heartbeat: false,
        heartbeat_min_interval: Some(0),
        election_timeout_min,
        election_timeout_max,
        quorum_loss_probe_interval: Some(SILENT_ELECTIONS * election_timeout_max),
        enable_pre_vote: Some(true),
        // A restarted leader is elected anew: a new term is how it notices entries that a crash took from its log.
        enable_leader_restore: Some(false),
        backoff: UNREACHABLE_BACKOFF.to_owned(),
        // Generations decide when there is a new snapshot, and the group what is purged then: openraft keeps everything.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // Room for all proposals and the few other messages, so that a proposal never waits.
        api_channel_size: Some(options.in_flight_max as u64 + MESSAGES_MAX),
        ..Config::default()
    };
    config.validate().map_err(|error| Error::Option {
        option: "heartbeat_ms and election_timeout_ms",
        value: format!("{}, {election_timeout_min}..{election_timeout_max}", options.heartbeat_ms),
        problem: match error {
            openraft::ConfigError::ElectionTimeout { .. } => "the shortest timeout must be below the longest",
            _ => "the timeouts must leave room for several heartbeats",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn a_leader_without_a_quorum_falls_silent_for_long_enough_that_another_is_elected() {
        let alone = GroupOptions::alone(0, NodeId(1), "snapshots".into());
        let of = |ms: u64| alone.clone().with_election_timeout(std::time::Duration::from_millis(ms));
        for options in [alone.clone(), of(200), of(201), of(999), of(60_000), of(u64::MAX)] {
            options.check().unwrap();
            let config = raft_config(&options).unwrap();
            let silent_ms = config.quorum_loss_probe_interval.expect("it falls silent");
            assert!(silent_ms >= 2 * options.election_timeout_ms.1, "{silent_ms} ms");
            let quiet_ms = config.election_timeout_min + config.election_timeout_max;
            assert!(4 * options.heartbeat_ms <= quiet_ms, "several heartbeats may be late");
        }
    }
}
