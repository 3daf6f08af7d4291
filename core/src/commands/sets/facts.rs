//! Facts of the commands on sets.

use crate::commands::facts::{Argument, BeginSearch, Facts, FindKeys, Flags, Group, KeySpec};

/// `SADD`.
pub static SADD: Facts = Facts {
    name: "sadd",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@set", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "Add one or more members to a set",
    history: &[("2.4.0", "Accepts multiple `member` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SCARD`.
pub static SCARD: Facts = Facts {
    name: "scard",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get the number of members in a set",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SDIFF`.
pub static SDIFF: Facts = Facts {
    name: "sdiff",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, -1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of elements in all given sets.",
    summary: "Subtract multiple sets",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SDIFFSTORE`.
pub static SDIFFSTORE: Facts = Facts {
    name: "sdiffstore",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, -1, 1),
    categories: &["@write", "@set", "@slow"],
    key_specs: &[
        KeySpec {
            flags: &["OW", "update"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["RO", "access"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
        },
    ],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of elements in all given sets.",
    summary: "Subtract multiple sets and store the resulting set in a key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SINTER`.
pub static SINTER: Facts = Facts {
    name: "sinter",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, -1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
    summary: "Intersect multiple sets",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SINTERCARD`.
pub static SINTERCARD: Facts = Facts {
    name: "sintercard",
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    categories: &["@read", "@set", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::Set,
    since: "7.0.0",
    complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
    summary: "Intersect multiple sets and return the cardinality of the result",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "limit", kind: "integer", token: Some("LIMIT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SINTERSTORE`.
pub static SINTERSTORE: Facts = Facts {
    name: "sinterstore",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, -1, 1),
    categories: &["@write", "@set", "@slow"],
    key_specs: &[
        KeySpec {
            flags: &["RW", "update"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["RO", "access"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
        },
    ],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
    summary: "Intersect multiple sets and store the resulting set in a key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SISMEMBER`.
pub static SISMEMBER: Facts = Facts {
    name: "sismember",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Determine if a given value is a member of a set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SMEMBERS`.
pub static SMEMBERS: Facts = Facts {
    name: "smembers",
    arity: 2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the set cardinality.",
    summary: "Get all the members in a set",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SMISMEMBER`.
pub static SMISMEMBER: Facts = Facts {
    name: "smismember",
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements being checked for membership",
    summary: "Returns the membership associated with the given elements for a set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SMOVE`.
pub static SMOVE: Facts = Facts {
    name: "smove",
    arity: 4,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 2, 1),
    categories: &["@write", "@set", "@fast"],
    key_specs: &[
        KeySpec {
            flags: &["RW", "access", "delete"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["RW", "insert"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Move a member from one set to another",
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SPOP`.
pub static SPOP: Facts = Facts {
    name: "spop",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@set", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
    summary: "Remove and return one or multiple random members from a set",
    history: &[("3.2.0", "Added the `count` argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", since: Some("3.2.0"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SRANDMEMBER`.
pub static SRANDMEMBER: Facts = Facts {
    name: "srandmember",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
    summary: "Get one or multiple random members from a set",
    history: &[("2.6.0", "Added the optional `count` argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", since: Some("2.6.0"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SREM`.
pub static SREM: Facts = Facts {
    name: "srem",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@set", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the number of members to be removed.",
    summary: "Remove one or more members from a set",
    history: &[("2.4.0", "Accepts multiple `member` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SSCAN`.
pub static SSCAN: Facts = Facts {
    name: "sscan",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
    summary: "Incrementally iterate Set elements",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "cursor", kind: "integer", ..Argument::BLANK },
        Argument { name: "pattern", kind: "pattern", token: Some("MATCH"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `SUNION`.
pub static SUNION: Facts = Facts {
    name: "sunion",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, -1, 1),
    categories: &["@read", "@set", "@slow"],
    tips: &["nondeterministic_output_order"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
    }],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of elements in all given sets.",
    summary: "Add multiple sets",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `SUNIONSTORE`.
pub static SUNIONSTORE: Facts = Facts {
    name: "sunionstore",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, -1, 1),
    categories: &["@write", "@set", "@slow"],
    key_specs: &[
        KeySpec {
            flags: &["OW", "update"],
            notes: None,
            begin: BeginSearch::Index(1),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: &["RO", "access"],
            notes: None,
            begin: BeginSearch::Index(2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
        },
    ],
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of elements in all given sets.",
    summary: "Add multiple sets and store the resulting set in a key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};
