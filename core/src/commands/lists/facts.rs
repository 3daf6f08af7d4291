//! Facts of the commands on lists.

use crate::commands::facts::{Argument, BeginSearch, Deprecation, Facts, FindKeys, Flags, Group, KeySpec};

/// `BLMOVE`.
pub static BLMOVE: Facts = Facts {
    name: "blmove",
    arity: 6,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT).and(Flags::BLOCKING),
    keys: (1, 2, 1),
    categories: &["@write", "@list", "@slow", "@blocking"],
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
    group: Group::List,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Pop an element from a list, push it to another list and return it; or block until one is available",
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument {
            name: "wherefrom",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "whereto",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BLMPOP`.
pub static BLMPOP: Facts = Facts {
    name: "blmpop",
    arity: -5,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    categories: &["@write", "@list", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    summary: "Pop elements from a list, or block until one is available",
    arguments: &[
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "where",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BLPOP`.
pub static BLPOP: Facts = Facts {
    name: "blpop",
    arity: -3,
    flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
    keys: (1, -2, 1),
    categories: &["@write", "@list", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -2, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N) where N is the number of provided keys.",
    summary: "Remove and get the first element in a list, or block until one is available",
    history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BRPOP`.
pub static BRPOP: Facts = Facts {
    name: "brpop",
    arity: -3,
    flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
    keys: (1, -2, 1),
    categories: &["@write", "@list", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: -2, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N) where N is the number of provided keys.",
    summary: "Remove and get the last element in a list, or block until one is available",
    history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `BRPOPLPUSH`.
pub static BRPOPLPUSH: Facts = Facts {
    name: "brpoplpush",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT).and(Flags::BLOCKING),
    keys: (1, 2, 1),
    categories: &["@write", "@list", "@slow", "@blocking"],
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
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Pop an element from a list, push it to another list and return it; or block until one is available",
    history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`BLMOVE` with the `RIGHT` and `LEFT` arguments" }),
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument { name: "timeout", kind: "double", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LINDEX`.
pub static LINDEX: Facts = Facts {
    name: "lindex",
    arity: 3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).",
    summary: "Get an element from a list by its index",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "index", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LINSERT`.
pub static LINSERT: Facts = Facts {
    name: "linsert",
    arity: 5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).",
    summary: "Insert an element before or after another element in a list",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "where",
            kind: "oneof",
            arguments: &[
                Argument { name: "before", kind: "pure-token", token: Some("BEFORE"), ..Argument::BLANK },
                Argument { name: "after", kind: "pure-token", token: Some("AFTER"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "pivot", kind: "string", ..Argument::BLANK },
        Argument { name: "element", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LLEN`.
pub static LLEN: Facts = Facts {
    name: "llen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get the length of a list",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `LMOVE`.
pub static LMOVE: Facts = Facts {
    name: "lmove",
    arity: 5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 2, 1),
    categories: &["@write", "@list", "@slow"],
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
    group: Group::List,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Pop an element from a list, push it to another list and return it",
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
        Argument {
            name: "wherefrom",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "whereto",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `LMPOP`.
pub static LMPOP: Facts = Facts {
    name: "lmpop",
    arity: -4,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    categories: &["@write", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Count { count_at: 0, first: 1, step: 1 },
    }],
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    summary: "Pop elements from a list",
    arguments: &[
        Argument { name: "numkeys", kind: "integer", ..Argument::BLANK },
        Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
        Argument {
            name: "where",
            kind: "oneof",
            arguments: &[
                Argument { name: "left", kind: "pure-token", token: Some("LEFT"), ..Argument::BLANK },
                Argument { name: "right", kind: "pure-token", token: Some("RIGHT"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LPOP`.
pub static LPOP: Facts = Facts {
    name: "lpop",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements returned",
    summary: "Remove and get the first elements in a list",
    history: &[("6.2.0", "Added the `count` argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", since: Some("6.2.0"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LPOS`.
pub static LPOS: Facts = Facts {
    name: "lpos",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "6.0.6",
    complexity: "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
    summary: "Return the index of matching elements on a list",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "element", kind: "string", ..Argument::BLANK },
        Argument { name: "rank", kind: "integer", token: Some("RANK"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "num-matches",
            kind: "integer",
            token: Some("COUNT"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument { name: "len", kind: "integer", token: Some("MAXLEN"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LPUSH`.
pub static LPUSH: Facts = Facts {
    name: "lpush",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "Prepend one or multiple elements to a list",
    history: &[("2.4.0", "Accepts multiple `element` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "element", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LPUSHX`.
pub static LPUSHX: Facts = Facts {
    name: "lpushx",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "Prepend an element to a list, only if the list exists",
    history: &[("4.0.0", "Accepts multiple `element` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "element", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LRANGE`.
pub static LRANGE: Facts = Facts {
    name: "lrange",
    arity: 4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
    summary: "Get a range of elements from a list",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "stop", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LREM`.
pub static LREM: Facts = Facts {
    name: "lrem",
    arity: 4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
    summary: "Remove elements from a list",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", ..Argument::BLANK },
        Argument { name: "element", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LSET`.
pub static LSET: Facts = Facts {
    name: "lset",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).",
    summary: "Set the value of an element in a list by its index",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "index", kind: "integer", ..Argument::BLANK },
        Argument { name: "element", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `LTRIM`.
pub static LTRIM: Facts = Facts {
    name: "ltrim",
    arity: 4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements to be removed by the operation.",
    summary: "Trim a list to the specified range",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "integer", ..Argument::BLANK },
        Argument { name: "stop", kind: "integer", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `RPOP`.
pub static RPOP: Facts = Facts {
    name: "rpop",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "access", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements returned",
    summary: "Remove and get the last elements in a list",
    history: &[("6.2.0", "Added the `count` argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "count", kind: "integer", since: Some("6.2.0"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `RPOPLPUSH`.
pub static RPOPLPUSH: Facts = Facts {
    name: "rpoplpush",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (1, 2, 1),
    categories: &["@write", "@list", "@slow"],
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
    group: Group::List,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Remove the last element in a list, prepend it to another list and return it",
    deprecation: Some(Deprecation { since: "6.2.0", replaced_by: "`LMOVE` with the `RIGHT` and `LEFT` arguments" }),
    arguments: &[
        Argument { name: "source", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "destination", kind: "key", key_spec: Some(1), ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `RPUSH`.
pub static RPUSH: Facts = Facts {
    name: "rpush",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "Append one or multiple elements to a list",
    history: &[("2.4.0", "Accepts multiple `element` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "element", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `RPUSHX`.
pub static RPUSHX: Facts = Facts {
    name: "rpushx",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@list", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "Append an element to a list, only if the list exists",
    history: &[("4.0.0", "Accepts multiple `element` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "element", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};
