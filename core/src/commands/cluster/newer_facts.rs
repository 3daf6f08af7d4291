//! Facts of the commands on the cluster that Redis has since later versions than the one that `facts.rs` comes from.

use crate::commands::facts::{Facts, Flags, Group};

/// `CLUSTER MYSHARDID`.
pub static CLUSTER_MYSHARDID: Facts = Facts {
    name: "cluster|myshardid",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow"],
    group: Group::Cluster,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Return the node shard id",
    ..Facts::BLANK
};
