//! Facts of the commands on keys of any type.

use crate::commands::facts::{Argument, BeginSearch, Facts, FindKeys, Flags, Group, KeySpec};

/// `COPY`.
pub static COPY: Facts = Facts {
    name: "copy",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 2, 1),
    categories: &["@keyspace", "@write", "@slow"],
    key_specs: &[
        KeySpec {
            flags: &["RO", "access"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["OW", "update"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Generic,
    since: "6.2.0",
    complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
    summary: "Copy a key",
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument {
            name: "destination-db",
            kind: "integer",
            token: Some("DB"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "replace",
            kind: "pure-token",
            token: Some("REPLACE"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `DEL`.
pub static DEL: Facts = Facts {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    keys: (1, -1, 1),
    categories: &["@keyspace", "@write", "@slow"],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    key_specs: &[KeySpec {
        flags: &["RM", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
    summary: "Delete a key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `EXISTS`.
pub static EXISTS: Facts = Facts {
    name: "exists",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, -1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys to check.",
    summary: "Determine if a key exists",
    history: &[("3.0.3", "Accepts multiple `key` arguments.")],
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `EXPIRE`.
pub static EXPIRE: Facts = Facts {
    name: "expire",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Set a key's time to live in seconds",
    history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "seconds", kind: "integer", ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("7.0.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
                Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
                Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `EXPIREAT`.
pub static EXPIREAT: Facts = Facts {
    name: "expireat",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Set the expiration for a key as a UNIX timestamp",
    history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "unix-time-seconds", kind: "unix-time", ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("7.0.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
                Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
                Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `EXPIRETIME`.
pub static EXPIRETIME: Facts = Facts {
    name: "expiretime",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Get the expiration Unix timestamp for a key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `KEYS`.
pub static KEYS: Facts = Facts {
    name: "keys",
    arity: 2,
    flags: Flags::READONLY,
    categories: &["@keyspace", "@read", "@slow", "@dangerous"],
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.",
    summary: "Find all keys matching the given pattern",
    arguments: &[Argument { name: "pattern", kind: "pattern", ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `OBJECT`.
pub static OBJECT: Facts = Facts {
    name: "object",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands",
    ..Facts::BLANK
};

/// `OBJECT FREQ`.
pub static OBJECT_FREQ: Facts = Facts {
    name: "object|freq",
    arity: 3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Get the logarithmic access frequency counter of a Redis object",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `OBJECT ENCODING`.
pub static OBJECT_ENCODING: Facts = Facts {
    name: "object|encoding",
    arity: 3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Inspect the internal encoding of a Redis object",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `OBJECT IDLETIME`.
pub static OBJECT_IDLETIME: Facts = Facts {
    name: "object|idletime",
    arity: 3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Get the time since a Redis object was last accessed",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `OBJECT HELP`.
pub static OBJECT_HELP: Facts = Facts {
    name: "object|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@keyspace", "@slow"],
    group: Group::Generic,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `OBJECT REFCOUNT`.
pub static OBJECT_REFCOUNT: Facts = Facts {
    name: "object|refcount",
    arity: 3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Get the number of references to the value of the key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `PERSIST`.
pub static PERSIST: Facts = Facts {
    name: "persist",
    arity: 2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Remove the expiration from a key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `PEXPIRE`.
pub static PEXPIRE: Facts = Facts {
    name: "pexpire",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Set a key's time to live in milliseconds",
    history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "milliseconds", kind: "integer", ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("7.0.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
                Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
                Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `PEXPIREAT`.
pub static PEXPIREAT: Facts = Facts {
    name: "pexpireat",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "unix-time-milliseconds", kind: "unix-time", ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("7.0.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
                Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
                Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `PEXPIRETIME`.
pub static PEXPIRETIME: Facts = Facts {
    name: "pexpiretime",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Get the expiration Unix timestamp for a key in milliseconds",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `PTTL`.
pub static PTTL: Facts = Facts {
    name: "pttl",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Get the time to live for a key in milliseconds",
    history: &[("2.8.0", "Added the -2 reply.")],
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `RANDOMKEY`.
pub static RANDOMKEY: Facts = Facts {
    name: "randomkey",
    arity: 1,
    flags: Flags::READONLY,
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["request_policy:all_shards", "nondeterministic_output"],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Return a random key from the keyspace",
    ..Facts::BLANK
};

/// `RENAME`.
pub static RENAME: Facts = Facts {
    name: "rename",
    arity: 3,
    flags: Flags::WRITE,
    keys: (1, 2, 1),
    categories: &["@keyspace", "@write", "@slow"],
    key_specs: &[
        KeySpec {
            flags: &["RW", "access", "delete"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["OW", "update"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1) for a string, O(N) for a collection of N elements, which are keyed by the name of their key",
    summary: "Rename a key",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "newkey", kind: "key", key_spec: Some(1), ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `RENAMENX`.
pub static RENAMENX: Facts = Facts {
    name: "renamenx",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 2, 1),
    categories: &["@keyspace", "@write", "@fast"],
    key_specs: &[
        KeySpec {
            flags: &["RW", "access", "delete"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["OW", "insert"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1) for a string, O(N) for a collection of N elements, which are keyed by the name of their key",
    summary: "Rename a key, only if the new key does not exist",
    history: &[("3.2.0", "The command no longer returns an error when source and destination names are the same.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "newkey", kind: "key", key_spec: Some(1), ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SCAN`.
pub static SCAN: Facts = Facts {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY,
    categories: &["@keyspace", "@read", "@slow"],
    tips: &["nondeterministic_output", "request_policy:special"],
    group: Group::Generic,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
    summary: "Incrementally iterate the keys space",
    history: &[("6.0.0", "Added the `TYPE` subcommand.")],
    arguments: &[
        Argument { name: "cursor", kind: "integer", ..Argument::BLANK },
        Argument { name: "pattern", kind: "pattern", token: Some("MATCH"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "type",
            kind: "string",
            token: Some("TYPE"),
            since: Some("6.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `TOUCH`.
pub static TOUCH: Facts = Facts {
    name: "touch",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, -1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "3.2.1",
    complexity: "O(N) where N is the number of keys that will be touched.",
    summary: "Alters the last access time of a key(s). Returns the number of existing keys specified.",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `TTL`.
pub static TTL: Facts = Facts {
    name: "ttl",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get the time to live for a key in seconds",
    history: &[("2.8.0", "Added the -2 reply.")],
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `TYPE`.
pub static TYPE: Facts = Facts {
    name: "type",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@keyspace", "@read", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Determine the type stored at key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `UNLINK`.
pub static UNLINK: Facts = Facts {
    name: "unlink",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, -1, 1),
    categories: &["@keyspace", "@write", "@fast"],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    key_specs: &[KeySpec {
        flags: &["RM", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Generic,
    since: "4.0.0",
    complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
    summary: "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};
