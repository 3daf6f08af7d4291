//! Rooms, and what each may use. A row is a room (a folder of `src`, or a file that lies there) with the rooms that it uses.
//!
//! A room is read from the ground up: what it uses lies below it, so the arrows form no circle. An arrow that nothing uses any
//! more is struck out; a new one needs a reason that holds in front of this list.

/// The arrows of one crate, or between crates.
#[derive(Clone, Copy)]
pub struct Graph {
    /// The crate's folder.
    pub name: &'static str,
    /// Each room with those it may use.
    pub arrows: &'static [(&'static str, &'static [&'static str])],
    /// Of `arrows`, those that close a circle which has to be.
    pub tied: &'static [(&'static str, &'static str)],
}

impl Graph {
    /// The arrows one by one.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.arrows.iter().flat_map(|&(from, used)| used.iter().map(move |&to| (from, to)))
    }
}

/// Between crates, benches and tests aside: net and storage know neither Raft nor each other.
pub const CRATES: Graph = Graph {
    name: "the workspace",
    arrows: &[("core", &["lua", "net", "raft", "rdb", "storage"]), ("raft", &["storage"])],
    tied: &[],
};

/// Between the rooms of each crate.
pub const GRAPHS: &[Graph] = &[
    Graph {
        name: "core",
        arrows: &[
            ("acl", &["commands", "limits"]),
            ("boot", &["config", "limits"]),
            ("clients", &["acl", "commands", "entry", "ids", "limits", "multi_shard"]),
            ("cluster", &["ids", "limits"]),
            ("commands", &["limits"]),
            ("config", &["limits"]),
            (
                "core_loop",
                &[
                    "acl",
                    "clients",
                    "cluster",
                    "commands",
                    "config",
                    "entry",
                    "ids",
                    "limits",
                    "mail",
                    "meta",
                    "multi_shard",
                    "node",
                    "peers",
                    "session_commands",
                    "shard",
                ],
            ),
            ("entry", &["ids"]),
            ("mail", &["clients", "cluster", "entry", "ids", "limits"]),
            ("main", &["boot", "config", "limits", "start"]),
            ("meta", &["cluster", "ids", "limits", "node", "peers"]),
            ("multi_shard", &["cluster", "commands", "entry", "ids", "limits"]),
            ("node", &["acl", "boot", "cluster", "commands", "config", "entry", "ids", "limits", "mail", "snapshots"]),
            ("peers", &["ids", "limits", "mail"]),
            (
                "session_commands",
                &[
                    "acl",
                    "clients",
                    "cluster",
                    "commands",
                    "config",
                    "ids",
                    "limits",
                    "mail",
                    "multi_shard",
                    "node",
                    "snapshots",
                ],
            ),
            ("shard", &["cluster", "commands", "config", "entry", "ids", "limits", "multi_shard", "node", "peers"]),
            ("snapshots", &["limits", "mail", "peers"]),
            (
                "start",
                &[
                    "acl",
                    "boot",
                    "cluster",
                    "commands",
                    "config",
                    "core_loop",
                    "ids",
                    "limits",
                    "mail",
                    "meta",
                    "node",
                    "peers",
                    "session_commands",
                    "shard",
                    "snapshots",
                ],
            ),
        ],
        tied: &[],
    },
    Graph {
        name: "net",
        arrows: &[
            ("peer", &["limits"]),
            ("resp", &["limits"]),
            ("ring", &["limits", "socket"]),
            ("socket", &["limits"]),
        ],
        tied: &[],
    },
    Graph {
        name: "raft",
        arrows: &[
            ("entry", &["batch", "error", "ids", "limits", "types"]),
            ("disk", &["completions"]),
            ("error", &["ids"]),
            (
                "generations",
                &[
                    "channels",
                    "completions",
                    "disk",
                    "entry",
                    "error",
                    "limits",
                    "log_store",
                    "machine",
                    "options",
                    "runtime",
                    "sabotage",
                    "types",
                ],
            ),
            (
                "group",
                &[
                    "channels",
                    "completions",
                    "disk",
                    "entry",
                    "error",
                    "generations",
                    "ids",
                    "limits",
                    "log_store",
                    "machine",
                    "messages",
                    "options",
                    "outcomes",
                    "pairing",
                    "peer",
                    "runtime",
                    "sabotage",
                    "snapshot",
                    "state_machine",
                    "transport",
                    "types",
                ],
            ),
            (
                "log_store",
                &["channels", "completions", "disk", "entry", "error", "limits", "runtime", "sabotage", "types"],
            ),
            ("machine", &["disk", "ids"]),
            ("messages", &["entry", "error", "ids", "runtime", "types"]),
            ("options", &["completions", "error", "ids", "limits", "outcomes"]),
            ("outcomes", &["error", "ids", "sabotage", "types"]),
            ("pairing", &["disk", "entry", "error", "generations", "ids", "types"]),
            (
                "peer",
                &[
                    "disk",
                    "entry",
                    "error",
                    "ids",
                    "limits",
                    "messages",
                    "pre_votes",
                    "runtime",
                    "sabotage",
                    "snapshot",
                    "transport",
                    "types",
                ],
            ),
            ("pre_votes", &["limits", "types"]),
            ("runtime", &["channels", "limits"]),
            ("snapshot", &["completions", "disk", "error", "generations", "types"]),
            (
                "state_machine",
                &[
                    "disk",
                    "entry",
                    "error",
                    "generations",
                    "ids",
                    "limits",
                    "log_store",
                    "machine",
                    "outcomes",
                    "runtime",
                    "sabotage",
                    "snapshot",
                    "types",
                ],
            ),
            ("transport", &["ids", "messages"]),
            ("types", &["batch", "ids", "outcomes", "runtime"]),
        ],
        tied: &[("types", "outcomes")],
    },
    Graph {
        name: "storage",
        arrows: &[
            ("cold", &["cold_read", "disk", "error", "limits", "memtable", "rows"]),
            ("error", &["cold_read", "identity"]),
            ("free_space", &["error"]),
            ("disk", &["error", "free_space", "identity", "open_path", "rocksdb_error", "rows", "spaces", "versions"]),
            ("keyspace", &["cold_read", "error", "limits", "rows", "spaces", "versions"]),
            ("log", &["error", "failpoint", "free_space", "identity", "open_path", "rocksdb_error", "versions"]),
            ("memtable", &["cold_read", "limits", "rows"]),
            ("open_path", &["error"]),
            ("rocksdb_error", &["error"]),
            ("rows", &["cold_read", "error", "spaces"]),
            (
                "store",
                &[
                    "cold",
                    "cold_read",
                    "disk",
                    "error",
                    "failpoint",
                    "limits",
                    "memtable",
                    "open_path",
                    "rows",
                    "spaces",
                ],
            ),
        ],
        tied: &[],
    },
    Graph {
        name: "bench",
        arrows: &[
            ("bin", &["cluster", "compare", "footprint", "steady"]),
            ("cluster", &["compare"]),
            ("footprint", &["compare", "disk_usage", "requests"]),
            ("steady", &["compare", "disk_usage"]),
        ],
        tied: &[],
    },
    Graph {
        name: "tests",
        arrows: &[
            ("bin", &["client", "redis_server", "reply"]),
            ("client", &["reply", "wait"]),
            ("disk", &["wait"]),
            ("frozen", &["node"]),
            ("network", &["node", "wait"]),
            ("node", &["binary", "client", "threads", "wait"]),
            ("redis_server", &["client", "node", "wait"]),
            ("workload", &["client", "history", "reply", "wait"]),
        ],
        tied: &[],
    },
];
