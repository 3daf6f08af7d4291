//! Facts of the commands on Raft groups, which Redis does not have.

use crate::commands::facts::{Argument, Facts, Flags, Group};

/// `RAFT`.
pub static RAFT: Facts = Facts {
    name: "raft",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands on the Raft groups of a node",
    ..Facts::BLANK
};

/// `RAFT HELP`.
pub static RAFT_HELP: Facts = Facts {
    name: "raft|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `RAFT SNAPSHOT`.
pub static RAFT_SNAPSHOT: Facts = Facts {
    name: "raft|snapshot",
    arity: 3,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(N) with N the size of the rows in memory",
    summary: "Write the rows of a replica to disk and purge its log",
    arguments: &[Argument { name: "group", kind: "integer", ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `RAFT STATUS`.
pub static RAFT_STATUS: Facts = Facts {
    name: "raft|status",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(N) with N the number of groups",
    summary: "Tell the state of this node's groups and how far their members are",
    arguments: &[Argument { name: "group", kind: "integer", flags: &["optional"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `RAFT TRANSFER`.
pub static RAFT_TRANSFER: Facts = Facts {
    name: "raft|transfer",
    arity: 4,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(N) with N the size of the cluster",
    summary: "Give the lead of a group to another node, which keeps it",
    arguments: &[
        Argument { name: "group", kind: "integer", ..Argument::BLANK },
        Argument { name: "node-id", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};
