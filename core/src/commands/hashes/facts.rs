//! Facts of the commands on hashes.

use crate::commands::facts::{Argument, BeginSearch, Deprecation, Facts, FindKeys, Flags, Group, KeySpec};

/// `HDEL`.
pub static HDEL: Facts = Facts {
    name: "hdel",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields to be removed.",
    summary: "Delete one or more hash fields",
    history: &[("2.4.0", "Accepts multiple `field` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HEXISTS`.
pub static HEXISTS: Facts = Facts {
    name: "hexists",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Determine if a hash field exists",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HGET`.
pub static HGET: Facts = Facts {
    name: "hget",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Get the value of a hash field",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HGETALL`.
pub static HGETALL: Facts = Facts {
    name: "hgetall",
    arity: 2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Get all the fields and values in a hash",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `HINCRBY`.
pub static HINCRBY: Facts = Facts {
    name: "hincrby",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Increment the integer value of a hash field by the given number",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
        Argument { name: "increment", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HINCRBYFLOAT`.
pub static HINCRBYFLOAT: Facts = Facts {
    name: "hincrbyfloat",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Increment the float value of a hash field by the given amount",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
        Argument { name: "increment", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HKEYS`.
pub static HKEYS: Facts = Facts {
    name: "hkeys",
    arity: 2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Get all the fields in a hash",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `HLEN`.
pub static HLEN: Facts = Facts {
    name: "hlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Get the number of fields in a hash",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `HMGET`.
pub static HMGET: Facts = Facts {
    name: "hmget",
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields being requested.",
    summary: "Get the values of all the given hash fields",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HMSET`.
pub static HMSET: Facts = Facts {
    name: "hmset",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields being set.",
    summary: "Set multiple hash fields to multiple values",
    deprecation: Some(Deprecation { since: "4.0.0", replaced_by: "`HSET` with multiple field-value pairs" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "field_value",
            kind: "block",
            flags: &["multiple"],
            arguments: &[
                Argument { name: "field", kind: "string", ..Argument::BLANK },
                Argument { name: "value", kind: "string", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `HRANDFIELD`.
pub static HRANDFIELD: Facts = Facts {
    name: "hrandfield",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned",
    summary: "Get one or multiple random fields from a hash",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "options",
            kind: "block",
            flags: &["optional"],
            arguments: &[
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
                Argument {
                    name: "withvalues",
                    kind: "pure-token",
                    token: Some("WITHVALUES"),
                    flags: &["optional"],
                    ..Argument::BLANK
                },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `HSCAN`.
pub static HSCAN: Facts = Facts {
    name: "hscan",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
    summary: "Incrementally iterate hash fields and associated values",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "cursor", kind: "integer", ..Argument::BLANK },
        Argument { name: "pattern", kind: "pattern", token: Some("MATCH"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HSET`.
pub static HSET: Facts = Facts {
    name: "hset",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
    summary: "Set the string value of a hash field",
    history: &[("4.0.0", "Accepts multiple `field` and `value` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "field_value",
            kind: "block",
            flags: &["multiple"],
            arguments: &[
                Argument { name: "field", kind: "string", ..Argument::BLANK },
                Argument { name: "value", kind: "string", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `HSETNX`.
pub static HSETNX: Facts = Facts {
    name: "hsetnx",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Set the value of a hash field, only if the field does not exist",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
        Argument { name: "value", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HSTRLEN`.
pub static HSTRLEN: Facts = Facts {
    name: "hstrlen",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "3.2.0",
    complexity: "O(1)",
    summary: "Get the length of the value of a hash field",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "field", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `HVALS`.
pub static HVALS: Facts = Facts {
    name: "hvals",
    arity: 2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@hash", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Get all the values in a hash",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};
