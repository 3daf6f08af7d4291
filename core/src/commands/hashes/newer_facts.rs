//! Facts of the commands on hashes that Redis has since later versions than the one that `facts.rs` comes from.

use crate::commands::facts::{Argument, BeginSearch, Facts, FindKeys, Flags, Group, KeySpec};

const UPDATED: &[KeySpec] = &[KeySpec {
    flags: &["RW", "update"],
    notes: None,
    begin: BeginSearch::Index(1),
    find: FindKeys::Range { last: 0, step: 1, limit: 0 },
}];
const READ: &[KeySpec] = &[KeySpec { flags: &["RO", "access"], ..UPDATED[0] }];

const KEY: Argument = Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK };
const CONDITION: Argument = Argument {
    name: "condition",
    kind: "oneof",
    flags: &["optional"],
    arguments: &[
        Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
        Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
        Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
        Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
    ],
    ..Argument::BLANK
};
const FIELDS: Argument = Argument {
    name: "fields",
    kind: "block",
    token: Some("FIELDS"),
    arguments: &[
        Argument { name: "numfields", kind: "integer", ..Argument::BLANK },
        Argument { name: "field", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Argument::BLANK
};

/// Those of a command that sets deadlines; `arguments` are how it is called.
const fn setting(name: &'static str, summary: &'static str, arguments: &'static [Argument]) -> Facts {
    Facts {
        name,
        arity: -6,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: (1, 1, 1),
        categories: &["@write", "@hash", "@fast"],
        key_specs: UPDATED,
        group: Group::Hash,
        since: "7.4.0",
        complexity: "O(N) where N is the number of specified fields",
        summary,
        arguments,
        ..Facts::BLANK
    }
}

/// Those of a command that tells deadlines.
const fn telling(name: &'static str, summary: &'static str) -> Facts {
    Facts {
        name,
        arity: -5,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: (1, 1, 1),
        categories: &["@read", "@hash", "@fast"],
        key_specs: READ,
        group: Group::Hash,
        since: "7.4.0",
        complexity: "O(N) where N is the number of specified fields",
        summary,
        arguments: &[KEY, FIELDS],
        ..Facts::BLANK
    }
}

/// `HEXPIRE`.
pub static HEXPIRE: Facts = setting(
    "hexpire",
    "Set expiry for hash field using relative time to expire (seconds)",
    &[KEY, Argument { name: "seconds", kind: "integer", ..Argument::BLANK }, CONDITION, FIELDS],
);

/// `HPEXPIRE`.
pub static HPEXPIRE: Facts = setting(
    "hpexpire",
    "Set expiry for hash field using relative time to expire (milliseconds)",
    &[KEY, Argument { name: "milliseconds", kind: "integer", ..Argument::BLANK }, CONDITION, FIELDS],
);

/// `HEXPIREAT`.
pub static HEXPIREAT: Facts = setting(
    "hexpireat",
    "Set expiry for hash field using an absolute Unix timestamp (seconds)",
    &[KEY, Argument { name: "unix-time-seconds", kind: "unix-time", ..Argument::BLANK }, CONDITION, FIELDS],
);

/// `HPEXPIREAT`.
pub static HPEXPIREAT: Facts = setting(
    "hpexpireat",
    "Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
    &[KEY, Argument { name: "unix-time-milliseconds", kind: "unix-time", ..Argument::BLANK }, CONDITION, FIELDS],
);

/// `HPERSIST`.
pub static HPERSIST: Facts = Facts {
    flags: Flags::WRITE.and(Flags::FAST),
    categories: &["@write", "@hash", "@fast"],
    key_specs: UPDATED,
    ..telling("hpersist", "Removes the expiration time for each specified field")
};

/// `HTTL`.
pub static HTTL: Facts = telling("httl", "Returns the TTL in seconds of a hash field.");

/// `HPTTL`.
pub static HPTTL: Facts = telling("hpttl", "Returns the TTL in milliseconds of a hash field.");

/// `HEXPIRETIME`.
pub static HEXPIRETIME: Facts =
    telling("hexpiretime", "Returns the expiration time of a hash field as a Unix timestamp, in seconds.");

/// `HPEXPIRETIME`.
pub static HPEXPIRETIME: Facts =
    telling("hpexpiretime", "Returns the expiration time of a hash field as a Unix timestamp, in msec.");
