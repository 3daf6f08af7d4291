//! Facts of the commands on the server that Redis has since later versions than the one that `facts.rs` comes from.

use crate::commands::facts::{Argument, Facts, Flags, Group};

/// `WAITAOF`.
pub static WAITAOF: Facts = Facts {
    name: "waitaof",
    arity: 4,
    flags: Flags::NOSCRIPT,
    categories: &["@slow", "@connection"],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    group: Group::Generic,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Wait until all of the preceding write commands sent by the connection are on disk here and on replicas",
    arguments: &[
        Argument { name: "numlocal", kind: "integer", ..Argument::BLANK },
        Argument { name: "numreplicas", kind: "integer", ..Argument::BLANK },
        Argument { name: "timeout", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};
