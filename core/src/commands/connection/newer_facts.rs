//! Facts of the commands on connections that Redis has since later versions than the one that `facts.rs` comes from.

use crate::commands::facts::{Argument, Facts, Flags, Group};

/// `CLIENT NO-TOUCH`.
pub static CLIENT_NO_TOUCH: Facts = Facts {
    name: "client|no-touch",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys",
    arguments: &[Argument {
        name: "enabled",
        kind: "oneof",
        arguments: &[
            Argument { name: "on", kind: "pure-token", token: Some("ON"), ..Argument::BLANK },
            Argument { name: "off", kind: "pure-token", token: Some("OFF"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `CLIENT SETINFO`.
pub static CLIENT_SETINFO: Facts = Facts {
    name: "client|setinfo",
    arity: 4,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Sets information specific to the client or connection",
    arguments: &[Argument {
        name: "attr",
        kind: "oneof",
        arguments: &[
            Argument { name: "libname", kind: "string", token: Some("LIB-NAME"), ..Argument::BLANK },
            Argument { name: "libver", kind: "string", token: Some("LIB-VER"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};
