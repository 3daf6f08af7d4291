//! Facts of the commands that Redis does not have: what an operator may order of this node's shards.

use crate::commands::facts::{Argument, BeginSearch, Facts, FindKeys, Flags, Group, KeySpec};

/// `BASALT`.
pub static BASALT: Facts = Facts {
    name: "basalt",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands on the shards of a Basalt node",
    ..Facts::BLANK
};

/// `BASALT HELP`.
pub static BASALT_HELP: Facts = Facts {
    name: "basalt|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `BASALT CHANGE`.
pub static BASALT_CHANGE: Facts = Facts {
    name: "basalt|change",
    arity: 4,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(N) with N the size of the cluster",
    summary: "Changes the cluster's map, for another node",
    arguments: &[
        Argument { name: "cluster-id", kind: "string", ..Argument::BLANK },
        Argument { name: "change", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BASALT MAP`.
pub static BASALT_MAP: Facts = Facts {
    name: "basalt|map",
    arity: 2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    complexity: "O(N) with N the size of the cluster",
    summary: "Tells the cluster's map to another node",
    ..Facts::BLANK
};

/// `BASALT REOPEN`.
pub static BASALT_REOPEN: Facts = Facts {
    name: "basalt|reopen",
    arity: -3,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(1), and the shard executes what its log has beyond the rows on disk",
    summary: "Open a shard again that has failed",
    arguments: &[
        Argument { name: "shard", kind: "integer", ..Argument::BLANK },
        Argument { name: "index", kind: "integer", token: Some("SKIP"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BASALT MOVE`.
pub static BASALT_MOVE: Facts = Facts {
    name: "basalt|move",
    arity: 5,
    complexity: "O(N) with N the size of the cluster, and the group's data is copied afterwards",
    summary: "Moves the replica of a group from a node to another",
    arguments: &[
        Argument { name: "group", kind: "integer", ..Argument::BLANK },
        Argument { name: "from-node-id", kind: "string", ..Argument::BLANK },
        Argument { name: "to-node-id", kind: "string", ..Argument::BLANK },
    ],
    ..PLACING
};

/// `BASALT DRAIN`.
pub static BASALT_DRAIN: Facts = Facts {
    name: "basalt|drain",
    arity: -3,
    complexity: "O(N) with N the size of the cluster, and the node's data is copied afterwards",
    summary: "Moves everything off a node, or ends that",
    arguments: &[
        Argument { name: "node-id", kind: "string", ..Argument::BLANK },
        Argument { name: "cancel", kind: "pure-token", token: Some("CANCEL"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..PLACING
};

/// `BASALT REBALANCE`.
pub static BASALT_REBALANCE: Facts = Facts {
    name: "basalt|rebalance",
    arity: -2,
    complexity: "O(N*M) with N the size of the cluster and M the number of replicas that move, which are copied afterwards",
    summary: "Spreads replicas and leads evenly over all nodes, or tells what would move",
    arguments: &[Argument {
        name: "dryrun",
        kind: "pure-token",
        token: Some("DRYRUN"),
        flags: &["optional"],
        ..Argument::BLANK
    }],
    ..PLACING
};

/// `BASALT REPLACE`.
pub static BASALT_REPLACE: Facts = Facts {
    name: "basalt|replace",
    arity: 3,
    complexity: "O(N) with N the size of the cluster, and the node's groups are copied to others afterwards",
    summary: "Has others take the part of a node that is lost for good",
    arguments: &[Argument { name: "node-id", kind: "string", ..Argument::BLANK }],
    ..PLACING
};

/// `BASALT MOVES`.
pub static BASALT_MOVES: Facts = Facts {
    name: "basalt|moves",
    arity: 2,
    complexity: "O(N) with N the size of the cluster",
    summary: "Tells which replicas are on their way, and which nodes are being drained",
    ..PLACING
};

/// `BASALT ONCE`.
pub static BASALT_ONCE: Facts = Facts {
    name: "basalt|once",
    arity: -6,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT).and(Flags::MOVABLEKEYS),
    categories: &["@write", "@slow"],
    group: Group::Generic,
    since: "7.0.0",
    complexity: "Depends on the command that is executed.",
    summary: "Executes a command once at most, however often it is sent",
    arguments: &[
        Argument { name: "client-id", kind: "string", ..Argument::BLANK },
        Argument { name: "number", kind: "integer", ..Argument::BLANK },
        Argument { name: "command", kind: "string", ..Argument::BLANK },
        Argument { name: "arg", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: Some("The keys are those of the command"),
        begin: BeginSearch::Unknown,
        find: FindKeys::Unknown,
    }],
    ..Facts::BLANK
};

/// Facts of all commands that place replicas.
const PLACING: Facts = Facts {
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Cluster,
    since: "7.0.0",
    ..Facts::BLANK
};
