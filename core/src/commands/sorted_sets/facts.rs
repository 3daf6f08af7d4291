//! Facts of the commands on sorted sets.

use crate::commands::facts::{Argument, BeginSearch, Deprecation, Facts, FindKeys, Flags, Group, KeySpec};

/// `BZMPOP`.
pub static BZMPOP: Facts = Facts {
    name: "bzmpop",
    arity: -5,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    categories: &["@write", "@sortedset", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
    summary: "Remove and return members with scores in a sorted set or block until one is available",
    arguments: &[
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "where",
            kind: "oneof",
            arguments: &[
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BZPOPMAX`.
pub static BZPOPMAX: Facts = Facts {
    name: "bzpopmax",
    arity: -3,
    flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING).and(Flags::FAST),
    keys: (1, -2, 1),
    categories: &["@write", "@sortedset", "@fast", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -2, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    summary: "Remove and return the member with the highest score from one or more sorted sets, or block until one is available",
    history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BZPOPMIN`.
pub static BZPOPMIN: Facts = Facts {
    name: "bzpopmin",
    arity: -3,
    flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING).and(Flags::FAST),
    keys: (1, -2, 1),
    categories: &["@write", "@sortedset", "@fast", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -2, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    summary: "Remove and return the member with the lowest score from one or more sorted sets, or block until one is available",
    history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZADD`.
pub static ZADD: Facts = Facts {
    name: "zadd",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    summary: "Add one or more members to a sorted set, or update its score if it already exists",
    history: &[
        ("2.4.0", "Accepts multiple elements."),
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "condition",
            kind: "oneof",
            since: Some("3.0.2"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "nx", kind: "pure-token", token: Some("NX"), ..Argument::BLANK },
                Argument { name: "xx", kind: "pure-token", token: Some("XX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "comparison",
            kind: "oneof",
            since: Some("6.2.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "gt", kind: "pure-token", token: Some("GT"), ..Argument::BLANK },
                Argument { name: "lt", kind: "pure-token", token: Some("LT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "change",
            kind: "pure-token",
            token: Some("CH"),
            since: Some("3.0.2"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "increment",
            kind: "pure-token",
            token: Some("INCR"),
            since: Some("3.0.2"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "score_member",
            kind: "block",
            flags: &["multiple"],
            arguments: &[
                Argument { name: "score", kind: "double", ..Argument::BLANK },
                Argument { name: "member", kind: "string", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZCARD`.
pub static ZCARD: Facts = Facts {
    name: "zcard",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Get the number of members in a sorted set",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `ZCOUNT`.
pub static ZCOUNT: Facts = Facts {
    name: "zcount",
    arity: 4,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    summary: "Count the members in a sorted set with scores within the given values",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "double", ..Argument::BLANK },
        Argument { name: "max", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZDIFF`.
pub static ZDIFF: Facts = Facts {
    name: "zdiff",
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
    summary: "Subtract multiple sorted sets",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZDIFFSTORE`.
pub static ZDIFFSTORE: Facts = Facts {
    name: "zdiffstore",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
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
            find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
    summary: "Subtract multiple sorted sets and store the resulting sorted set in a new key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZINCRBY`.
pub static ZINCRBY: Facts = Facts {
    name: "zincrby",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)) where N is the number of elements in the sorted set.",
    summary: "Increment the score of a member in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "increment", kind: "integer", ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZINTER`.
pub static ZINTER: Facts = Facts {
    name: "zinter",
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
    summary: "Intersect multiple sorted sets",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "weight",
            kind: "integer",
            token: Some("WEIGHTS"),
            flags: &["optional", "multiple"],
            ..Argument::BLANK
        },
        Argument {
            name: "aggregate",
            kind: "oneof",
            token: Some("AGGREGATE"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "sum", kind: "pure-token", token: Some("SUM"), ..Argument::BLANK },
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZINTERCARD`.
pub static ZINTERCARD: Facts = Facts {
    name: "zintercard",
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
    summary: "Intersect multiple sorted sets and return the cardinality of the result",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "limit", kind: "integer", token: Some("LIMIT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZINTERSTORE`.
pub static ZINTERSTORE: Facts = Facts {
    name: "zinterstore",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
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
            find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
    summary: "Intersect multiple sorted sets and store the resulting sorted set in a new key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "weight",
            kind: "integer",
            token: Some("WEIGHTS"),
            flags: &["optional", "multiple"],
            ..Argument::BLANK
        },
        Argument {
            name: "aggregate",
            kind: "oneof",
            token: Some("AGGREGATE"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "sum", kind: "pure-token", token: Some("SUM"), ..Argument::BLANK },
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZLEXCOUNT`.
pub static ZLEXCOUNT: Facts = Facts {
    name: "zlexcount",
    arity: 4,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    summary: "Count the number of members in a sorted set between a given lexicographical range",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "string", ..Argument::BLANK },
        Argument { name: "max", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZMPOP`.
pub static ZMPOP: Facts = Facts {
    name: "zmpop",
    arity: -4,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    categories: &["@write", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
    summary: "Remove and return members with scores in a sorted set",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "where",
            kind: "oneof",
            arguments: &[
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZMSCORE`.
pub static ZMSCORE: Facts = Facts {
    name: "zmscore",
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N) where N is the number of members being requested.",
    summary: "Get the score associated with the given members in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZPOPMAX`.
pub static ZPOPMAX: Facts = Facts {
    name: "zpopmax",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
    summary: "Remove and return members with the highest scores in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZPOPMIN`.
pub static ZPOPMIN: Facts = Facts {
    name: "zpopmin",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
    summary: "Remove and return members with the lowest scores in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZRANDMEMBER`.
pub static ZRANDMEMBER: Facts = Facts {
    name: "zrandmember",
    arity: -2,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements returned",
    summary: "Get one or multiple random elements from a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "options",
            kind: "block",
            flags: &["optional"],
            arguments: &[
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
                Argument {
                    name: "withscores",
                    kind: "pure-token",
                    token: Some("WITHSCORES"),
                    flags: &["optional"],
                    ..Argument::BLANK
                },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZRANGE`.
pub static ZRANGE: Facts = Facts {
    name: "zrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
    summary: "Return a range of members in a sorted set",
    history: &[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "string", ..Argument::BLANK },
        Argument { name: "stop", kind: "string", ..Argument::BLANK },
        Argument {
            name: "sortby",
            kind: "oneof",
            since: Some("6.2.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "byscore", kind: "pure-token", token: Some("BYSCORE"), ..Argument::BLANK },
                Argument { name: "bylex", kind: "pure-token", token: Some("BYLEX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "rev",
            kind: "pure-token",
            token: Some("REV"),
            since: Some("6.2.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            since: Some("6.2.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZRANGEBYLEX`.
pub static ZRANGEBYLEX: Facts = Facts {
    name: "zrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
    summary: "Return a range of members in a sorted set, by lexicographical range",
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`ZRANGE` with the `BYLEX` argument" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "string", ..Argument::BLANK },
        Argument { name: "max", kind: "string", ..Argument::BLANK },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZRANGEBYSCORE`.
pub static ZRANGEBYSCORE: Facts = Facts {
    name: "zrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.0.5",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
    summary: "Return a range of members in a sorted set, by score",
    history: &[("2.0.0", "Added the `WITHSCORES` modifier.")],
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`ZRANGE` with the `BYSCORE` argument" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "double", ..Argument::BLANK },
        Argument { name: "max", kind: "double", ..Argument::BLANK },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            since: Some("2.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZRANGESTORE`.
pub static ZRANGESTORE: Facts = Facts {
    name: "zrangestore",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 2, 1),
    categories: &["@write", "@sortedset", "@slow"],
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
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
    summary: "Store a range of members from sorted set into another key",
    arguments: &[
        Argument { name: "dst", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "src", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument { name: "min", kind: "string", ..Argument::BLANK },
        Argument { name: "max", kind: "string", ..Argument::BLANK },
        Argument {
            name: "sortby",
            kind: "oneof",
            flags: &["optional"],
            arguments: &[
                Argument { name: "byscore", kind: "pure-token", token: Some("BYSCORE"), ..Argument::BLANK },
                Argument { name: "bylex", kind: "pure-token", token: Some("BYLEX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "rev", kind: "pure-token", token: Some("REV"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZRANK`.
pub static ZRANK: Facts = Facts {
    name: "zrank",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N))",
    summary: "Determine the index of a member in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZREM`.
pub static ZREM: Facts = Facts {
    name: "zrem",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
    summary: "Remove one or more members from a sorted set",
    history: &[("2.4.0", "Accepts multiple elements.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZREMRANGEBYLEX`.
pub static ZREMRANGEBYLEX: Facts = Facts {
    name: "zremrangebylex",
    arity: 4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    summary: "Remove all members in a sorted set between the given lexicographical range",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "string", ..Argument::BLANK },
        Argument { name: "max", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZREMRANGEBYRANK`.
pub static ZREMRANGEBYRANK: Facts = Facts {
    name: "zremrangebyrank",
    arity: 4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    summary: "Remove all members in a sorted set within the given indexes",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "stop", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZREMRANGEBYSCORE`.
pub static ZREMRANGEBYSCORE: Facts = Facts {
    name: "zremrangebyscore",
    arity: 4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    summary: "Remove all members in a sorted set within the given scores",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "min", kind: "double", ..Argument::BLANK },
        Argument { name: "max", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZREVRANGE`.
pub static ZREVRANGE: Facts = Facts {
    name: "zrevrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
    summary: "Return a range of members in a sorted set, by index, with scores ordered from high to low",
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` argument" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "stop", kind: "integer", ..Argument::BLANK },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZREVRANGEBYLEX`.
pub static ZREVRANGEBYLEX: Facts = Facts {
    name: "zrevrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
    summary: "Return a range of members in a sorted set, by lexicographical range, ordered from higher to lower strings.",
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` and `BYLEX` arguments" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "max", kind: "string", ..Argument::BLANK },
        Argument { name: "min", kind: "string", ..Argument::BLANK },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZREVRANGEBYSCORE`.
pub static ZREVRANGEBYSCORE: Facts = Facts {
    name: "zrevrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.2.0",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
    summary: "Return a range of members in a sorted set, by score, with scores ordered from high to low",
    history: &[("2.1.6", "`min` and `max` can be exclusive.")],
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` and `BYSCORE` arguments" }),
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "max", kind: "double", ..Argument::BLANK },
        Argument { name: "min", kind: "double", ..Argument::BLANK },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "offset_count",
            kind: "block",
            token: Some("LIMIT"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "offset", kind: "integer", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZREVRANK`.
pub static ZREVRANK: Facts = Facts {
    name: "zrevrank",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N))",
    summary: "Determine the index of a member in a sorted set, with scores ordered from high to low",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZSCAN`.
pub static ZSCAN: Facts = Facts {
    name: "zscan",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
    summary: "Incrementally iterate sorted sets elements and associated scores",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "cursor", kind: "integer", ..Argument::BLANK },
        Argument { name: "pattern", kind: "pattern", token: Some("MATCH"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZSCORE`.
pub static ZSCORE: Facts = Facts {
    name: "zscore",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@sortedset", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Get the score associated with the given member in a sorted set",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "member", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `ZUNION`.
pub static ZUNION: Facts = Facts {
    name: "zunion",
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    categories: &["@read", "@sortedset", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
    summary: "Add multiple sorted sets",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "weight",
            kind: "integer",
            token: Some("WEIGHTS"),
            flags: &["optional", "multiple"],
            ..Argument::BLANK
        },
        Argument {
            name: "aggregate",
            kind: "oneof",
            token: Some("AGGREGATE"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "sum", kind: "pure-token", token: Some("SUM"), ..Argument::BLANK },
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "withscores",
            kind: "pure-token",
            token: Some("WITHSCORES"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `ZUNIONSTORE`.
pub static ZUNIONSTORE: Facts = Facts {
    name: "zunionstore",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: (1, 1, 1),
    categories: &["@write", "@sortedset", "@slow"],
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
            find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
    summary: "Add multiple sorted sets and store the resulting sorted set in a new key",
    arguments: &[
        Argument { name: "destination", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(1), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "weight",
            kind: "integer",
            token: Some("WEIGHTS"),
            flags: &["optional", "multiple"],
            ..Argument::BLANK
        },
        Argument {
            name: "aggregate",
            kind: "oneof",
            token: Some("AGGREGATE"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "sum", kind: "pure-token", token: Some("SUM"), ..Argument::BLANK },
                Argument { name: "min", kind: "pure-token", token: Some("MIN"), ..Argument::BLANK },
                Argument { name: "max", kind: "pure-token", token: Some("MAX"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};
