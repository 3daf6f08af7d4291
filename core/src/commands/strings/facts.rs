//! Facts of the commands on strings.

use crate::commands::facts::{Argument, BeginSearch, Deprecation, Facts, FindKeys, Flags, Group, KeySpec};

/// `APPEND`.
pub static APPEND: Facts = Facts {
    name: "append",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.0.0",
    complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.",
    summary: "Append a value to a key",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `DECR`.
pub static DECR: Facts = Facts {
    name: "decr",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Decrement the integer value of a key by one",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `DECRBY`.
pub static DECRBY: Facts = Facts {
    name: "decrby",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Decrement the integer value of a key by the given number",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "decrement", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `GET`.
pub static GET: Facts = Facts {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get the value of a key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `GETDEL`.
pub static GETDEL: Facts = Facts {
    name: "getdel",
    arity: 2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Get the value of a key and delete the key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `GETEX`.
pub static GETEX: Facts = Facts {
    name: "getex",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: Some("RW and UPDATE because it changes the TTL"),
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Get the value of a key and optionally set its expiration",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "expiration",
            kind: "oneof",
            flags: &["optional"],
            arguments: &[
                Argument { name: "seconds", kind: "integer", token: Some("EX"), ..Argument::BLANK },
                Argument { name: "milliseconds", kind: "integer", token: Some("PX"), ..Argument::BLANK },
                Argument { name: "unix-time-seconds", kind: "unix-time", token: Some("EXAT"), ..Argument::BLANK },
                Argument { name: "unix-time-milliseconds", kind: "unix-time", token: Some("PXAT"), ..Argument::BLANK },
                Argument { name: "persist", kind: "pure-token", token: Some("PERSIST"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `GETRANGE`.
pub static GETRANGE: Facts = Facts {
    name: "getrange",
    arity: 4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.4.0",
    complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
    summary: "Get a substring of the string stored at a key",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "end", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `GETSET`.
pub static GETSET: Facts = Facts {
    name: "getset",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Set the string value of a key and return its old value",
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`SET` with the `!GET` argument" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `INCR`.
pub static INCR: Facts = Facts {
    name: "incr",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Increment the integer value of a key by one",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `INCRBY`.
pub static INCRBY: Facts = Facts {
    name: "incrby",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Increment the integer value of a key by the given amount",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "increment", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `INCRBYFLOAT`.
pub static INCRBYFLOAT: Facts = Facts {
    name: "incrbyfloat",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Increment the float value of a key by the given amount",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "increment", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LCS`.
pub static LCS: Facts = Facts {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 2, 1),
    categories: &["@read", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 1, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
    summary: "Find longest common substring",
    arguments: &[
        Argument { name: "key1", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "key2", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "len", kind: "pure-token", token: Some("LEN"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "idx", kind: "pure-token", token: Some("IDX"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "len", kind: "integer", token: Some("MINMATCHLEN"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "withmatchlen",
            kind: "pure-token",
            token: Some("WITHMATCHLEN"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `MGET`.
pub static MGET: Facts = Facts {
    name: "mget",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, -1, 1),
    categories: &["@read", "@string", "@fast"],
    tips: &["request_policy:multi_shard"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys to retrieve.",
    summary: "Get the values of all the given keys",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `MSET`.
pub static MSET: Facts = Facts {
    name: "mset",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, -1, 2),
    categories: &["@write", "@string", "@slow"],
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    key_specs: &[KeySpec {
        flags: &["OW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 2, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys to set.",
    summary: "Set multiple keys to multiple values",
    arguments: &[Argument {
        name: "key_value",
        kind: "block",
        flags: &["multiple"],
        arguments: &[
            Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
            Argument { name: "value", kind: "string", ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `MSETNX`.
pub static MSETNX: Facts = Facts {
    name: "msetnx",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, -1, 2),
    categories: &["@write", "@string", "@slow"],
    tips: &["request_policy:multi_shard", "response_policy:agg_min"],
    key_specs: &[KeySpec {
        flags: &["OW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 2, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys to set.",
    summary: "Set multiple keys to multiple values, only if none of the keys exist",
    arguments: &[Argument {
        name: "key_value",
        kind: "block",
        flags: &["multiple"],
        arguments: &[
            Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
            Argument { name: "value", kind: "string", ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `PSETEX`.
pub static PSETEX: Facts = Facts {
    name: "psetex",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["OW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Set the value and expiration in milliseconds of a key",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "milliseconds", kind: "integer", ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SET`.
pub static SET: Facts = Facts {
    name: "set",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update", "variable_flags"],
        notes: Some("RW and ACCESS due to the optional `GET` argument"),
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Set the string value of a key",
    history: &[
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
    ],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("2.6.12"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "get",
            kind: "pure-token",
            token: Some("GET"),
            since: Some("6.2.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "expiration",
            kind: "oneof",
            flags: &["optional"],
            arguments: &[
                Argument {
                    name: "seconds",
                    kind: "integer",
                    token: Some("EX"),
                    since: Some("2.6.12"),
                    ..Argument::BLANK
                },
                Argument {
                    name: "milliseconds",
                    kind: "integer",
                    token: Some("PX"),
                    since: Some("2.6.12"),
                    ..Argument::BLANK
                },
                Argument {
                    name: "unix-time-seconds",
                    kind: "unix-time",
                    token: Some("EXAT"),
                    since: Some("6.2.0"),
                    ..Argument::BLANK
                },
                Argument {
                    name: "unix-time-milliseconds",
                    kind: "unix-time",
                    token: Some("PXAT"),
                    since: Some("6.2.0"),
                    ..Argument::BLANK
                },
                Argument {
                    name: "keepttl",
                    kind: "pure-token",
                    token: Some("KEEPTTL"),
                    since: Some("6.0.0"),
                    ..Argument::BLANK
                },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `SETEX`.
pub static SETEX: Facts = Facts {
    name: "setex",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["OW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Set the value and expiration of a key",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "seconds", kind: "integer", ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SETNX`.
pub static SETNX: Facts = Facts {
    name: "setnx",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["OW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Set the value of a key, only if the key does not exist",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SETRANGE`.
pub static SETRANGE: Facts = Facts {
    name: "setrange",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.2.0",
    complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
    summary: "Overwrite part of a string at key starting at the specified offset",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "offset", kind: "integer", ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `STRLEN`.
pub static STRLEN: Facts = Facts {
    name: "strlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@string", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Get the length of the value stored in a key",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SUBSTR`.
pub static SUBSTR: Facts = Facts {
    name: "substr",
    arity: 4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@string", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
    summary: "Get a substring of the string stored at a key",
    deprecation: Some(Deprecation { since: "2.0.0", replaced_by: "`GETRANGE`" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "end", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};
