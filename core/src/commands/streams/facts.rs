//! Facts of the commands on streams.

use crate::commands::facts::{Argument, BeginSearch, Facts, FindKeys, Flags, Group, KeySpec};

/// `XACK`.
pub static XACK: Facts = Facts {
    name: "xack",
    arity: -4,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1) for each message ID processed.",
    summary: "Marks a pending message as correctly processed, effectively removing it from the pending entries list of the consumer group. Return value of the command is the number of messages successfully acknowledged, that is, the IDs we were actually able to resolve in the PEL.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "group", kind: "string", ..Argument::BLANK },
        Argument { name: "id", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XADD`.
pub static XADD: Facts = Facts {
    name: "xadd",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: Some("UPDATE instead of INSERT because of the optional trimming feature"),
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
    summary: "Appends a new entry to a stream",
    history: &[
        ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
    ],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "nomkstream",
            kind: "pure-token",
            token: Some("NOMKSTREAM"),
            since: Some("6.2.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "trim",
            kind: "block",
            flags: &["optional"],
            arguments: &[
                Argument {
                    name: "strategy",
                    kind: "oneof",
                    arguments: &[
                        Argument { name: "maxlen", kind: "pure-token", token: Some("MAXLEN"), ..Argument::BLANK },
                        Argument {
                            name: "minid",
                            kind: "pure-token",
                            token: Some("MINID"),
                            since: Some("6.2.0"),
                            ..Argument::BLANK
                        },
                    ],
                    ..Argument::BLANK
                },
                Argument {
                    name: "operator",
                    kind: "oneof",
                    flags: &["optional"],
                    arguments: &[
                        Argument { name: "equal", kind: "pure-token", token: Some("="), ..Argument::BLANK },
                        Argument { name: "approximately", kind: "pure-token", token: Some("~"), ..Argument::BLANK },
                    ],
                    ..Argument::BLANK
                },
                Argument { name: "threshold", kind: "string", ..Argument::BLANK },
                Argument {
                    name: "count",
                    kind: "integer",
                    token: Some("LIMIT"),
                    since: Some("6.2.0"),
                    flags: &["optional"],
                    ..Argument::BLANK
                },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "id_or_auto",
            kind: "oneof",
            arguments: &[
                Argument { name: "auto_id", kind: "pure-token", token: Some("*"), ..Argument::BLANK },
                Argument { name: "id", kind: "string", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
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

/// `XAUTOCLAIM`.
pub static XAUTOCLAIM: Facts = Facts {
    name: "xautoclaim",
    arity: -6,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "6.2.0",
    complexity: "O(1) if COUNT is small.",
    summary: "Changes (or acquires) ownership of messages in a consumer group, as if the messages were delivered to the specified consumer.",
    history: &[(
        "7.0.0",
        "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
    )],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "group", kind: "string", ..Argument::BLANK },
        Argument { name: "consumer", kind: "string", ..Argument::BLANK },
        Argument { name: "min-idle-time", kind: "string", ..Argument::BLANK },
        Argument { name: "start", kind: "string", ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "justid", kind: "pure-token", token: Some("JUSTID"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XCLAIM`.
pub static XCLAIM: Facts = Facts {
    name: "xclaim",
    arity: -6,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
    summary: "Changes (or acquires) ownership of a message in a consumer group, as if the message was delivered to the specified consumer.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "group", kind: "string", ..Argument::BLANK },
        Argument { name: "consumer", kind: "string", ..Argument::BLANK },
        Argument { name: "min-idle-time", kind: "string", ..Argument::BLANK },
        Argument { name: "id", kind: "string", flags: &["multiple"], ..Argument::BLANK },
        Argument { name: "ms", kind: "integer", token: Some("IDLE"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "unix-time-milliseconds",
            kind: "unix-time",
            token: Some("TIME"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("RETRYCOUNT"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "force", kind: "pure-token", token: Some("FORCE"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "justid", kind: "pure-token", token: Some("JUSTID"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "id", kind: "string", token: Some("LASTID"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XDEL`.
pub static XDEL: Facts = Facts {
    name: "xdel",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
    summary: "Removes the specified entries from the stream. Returns the number of items actually deleted, that may be different from the number of IDs passed in case certain IDs do not exist.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "id", kind: "string", flags: &["multiple"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XGROUP`.
pub static XGROUP: Facts = Facts {
    name: "xgroup",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for consumer groups commands",
    ..Facts::BLANK
};

/// `XGROUP DESTROY`.
pub static XGROUP_DESTROY: Facts = Facts {
    name: "xgroup|destroy",
    arity: 4,
    flags: Flags::WRITE,
    keys: (2, 2, 1),
    categories: &["@write", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
    summary: "Destroy a consumer group.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XGROUP DELCONSUMER`.
pub static XGROUP_DELCONSUMER: Facts = Facts {
    name: "xgroup|delconsumer",
    arity: 5,
    flags: Flags::WRITE,
    keys: (2, 2, 1),
    categories: &["@write", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Delete a consumer from a consumer group.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
        Argument { name: "consumername", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XGROUP CREATECONSUMER`.
pub static XGROUP_CREATECONSUMER: Facts = Facts {
    name: "xgroup|createconsumer",
    arity: 5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (2, 2, 1),
    categories: &["@write", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Create a consumer in a consumer group.",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
        Argument { name: "consumername", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XGROUP CREATE`.
pub static XGROUP_CREATE: Facts = Facts {
    name: "xgroup|create",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: (2, 2, 1),
    categories: &["@write", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "insert"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Create a consumer group.",
    history: &[("7.0.0", "Added the `entries_read` named argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
        Argument {
            name: "id",
            kind: "oneof",
            arguments: &[
                Argument { name: "id", kind: "string", ..Argument::BLANK },
                Argument { name: "new_id", kind: "pure-token", token: Some("$"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "mkstream",
            kind: "pure-token",
            token: Some("MKSTREAM"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "entries_read",
            kind: "integer",
            token: Some("ENTRIESREAD"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XGROUP SETID`.
pub static XGROUP_SETID: Facts = Facts {
    name: "xgroup|setid",
    arity: -5,
    flags: Flags::WRITE,
    keys: (2, 2, 1),
    categories: &["@write", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Set a consumer group to an arbitrary last delivered ID value.",
    history: &[("7.0.0", "Added the optional `entries_read` argument.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
        Argument {
            name: "id",
            kind: "oneof",
            arguments: &[
                Argument { name: "id", kind: "string", ..Argument::BLANK },
                Argument { name: "new_id", kind: "pure-token", token: Some("$"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "entries_read",
            kind: "integer",
            token: Some("ENTRIESREAD"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XGROUP HELP`.
pub static XGROUP_HELP: Facts = Facts {
    name: "xgroup|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@stream", "@slow"],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `XINFO`.
pub static XINFO: Facts = Facts {
    name: "xinfo",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for stream introspection commands",
    ..Facts::BLANK
};

/// `XINFO STREAM`.
pub static XINFO_STREAM: Facts = Facts {
    name: "xinfo|stream",
    arity: -3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@read", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Get information about a stream",
    history: &[
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields",
        ),
    ],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "full",
            kind: "block",
            token: Some("FULL"),
            flags: &["optional"],
            arguments: &[Argument {
                name: "count",
                kind: "integer",
                token: Some("COUNT"),
                flags: &["optional"],
                ..Argument::BLANK
            }],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XINFO HELP`.
pub static XINFO_HELP: Facts = Facts {
    name: "xinfo|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@stream", "@slow"],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `XINFO GROUPS`.
pub static XINFO_GROUPS: Facts = Facts {
    name: "xinfo|groups",
    arity: 3,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@read", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "List the consumer groups of a stream",
    history: &[("7.0.0", "Added the `entries-read` and `lag` fields")],
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `XINFO CONSUMERS`.
pub static XINFO_CONSUMERS: Facts = Facts {
    name: "xinfo|consumers",
    arity: 4,
    flags: Flags::READONLY,
    keys: (2, 2, 1),
    categories: &["@read", "@stream", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "List the consumers in a consumer group",
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "groupname", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XLEN`.
pub static XLEN: Facts = Facts {
    name: "xlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@read", "@stream", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RO"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Return the number of entries in a stream",
    arguments: &[Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `XPENDING`.
pub static XPENDING: Facts = Facts {
    name: "xpending",
    arity: -3,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@stream", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
    summary: "Return information and entries from a stream consumer group pending entries list, that are messages fetched but never acknowledged.",
    history: &[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "group", kind: "string", ..Argument::BLANK },
        Argument {
            name: "filters",
            kind: "block",
            flags: &["optional"],
            arguments: &[
                Argument {
                    name: "min-idle-time",
                    kind: "integer",
                    token: Some("IDLE"),
                    since: Some("6.2.0"),
                    flags: &["optional"],
                    ..Argument::BLANK
                },
                Argument { name: "start", kind: "string", ..Argument::BLANK },
                Argument { name: "end", kind: "string", ..Argument::BLANK },
                Argument { name: "count", kind: "integer", ..Argument::BLANK },
                Argument { name: "consumer", kind: "string", flags: &["optional"], ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XRANGE`.
pub static XRANGE: Facts = Facts {
    name: "xrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    summary: "Return a range of elements in a stream, with IDs matching the specified IDs interval",
    history: &[("6.2.0", "Added exclusive ranges.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "start", kind: "string", ..Argument::BLANK },
        Argument { name: "end", kind: "string", ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XREAD`.
pub static XREAD: Facts = Facts {
    name: "xread",
    arity: -4,
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    categories: &["@read", "@stream", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Keyword("STREAMS", 1),
        find: FindKeys::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order to serve the M clients blocked on the stream getting new data.",
    summary: "Return never seen elements in multiple streams, with IDs greater than the ones reported by the caller for each stream. Can block.",
    arguments: &[
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "milliseconds",
            kind: "integer",
            token: Some("BLOCK"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "streams",
            kind: "block",
            token: Some("STREAMS"),
            arguments: &[
                Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
                Argument { name: "id", kind: "string", flags: &["multiple"], ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XREADGROUP`.
pub static XREADGROUP: Facts = Facts {
    name: "xreadgroup",
    arity: -7,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    categories: &["@write", "@stream", "@slow", "@blocking"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Keyword("STREAMS", 4),
        find: FindKeys::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.",
    summary: "Return new entries from a stream using a consumer group, or access the history of the pending entries for a given consumer. Can block.",
    arguments: &[
        Argument {
            name: "group_consumer",
            kind: "block",
            token: Some("GROUP"),
            arguments: &[
                Argument { name: "group", kind: "string", ..Argument::BLANK },
                Argument { name: "consumer", kind: "string", ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "milliseconds",
            kind: "integer",
            token: Some("BLOCK"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument { name: "noack", kind: "pure-token", token: Some("NOACK"), flags: &["optional"], ..Argument::BLANK },
        Argument {
            name: "streams",
            kind: "block",
            token: Some("STREAMS"),
            arguments: &[
                Argument { name: "key", kind: "key", key_spec: Some(0), flags: &["multiple"], ..Argument::BLANK },
                Argument { name: "id", kind: "string", flags: &["multiple"], ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XREVRANGE`.
pub static XREVRANGE: Facts = Facts {
    name: "xrevrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: (1, 1, 1),
    categories: &["@read", "@stream", "@slow"],
    key_specs: &[KeySpec {
        flags: &["RO", "access"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    summary: "Return a range of elements in a stream, with IDs matching the specified IDs interval, in reverse order (from greater to smaller IDs) compared to XRANGE",
    history: &[("6.2.0", "Added exclusive ranges.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "end", kind: "string", ..Argument::BLANK },
        Argument { name: "start", kind: "string", ..Argument::BLANK },
        Argument { name: "count", kind: "integer", token: Some("COUNT"), flags: &["optional"], ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `XSETID`.
pub static XSETID: Facts = Facts {
    name: "xsetid",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@fast"],
    key_specs: &[KeySpec {
        flags: &["RW", "update"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "An internal command for replicating stream values",
    history: &[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument { name: "last-id", kind: "string", ..Argument::BLANK },
        Argument {
            name: "entries_added",
            kind: "integer",
            token: Some("ENTRIESADDED"),
            since: Some("7.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "max_deleted_entry_id",
            kind: "string",
            token: Some("MAXDELETEDID"),
            since: Some("7.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `XTRIM`.
pub static XTRIM: Facts = Facts {
    name: "xtrim",
    arity: -4,
    flags: Flags::WRITE,
    keys: (1, 1, 1),
    categories: &["@write", "@stream", "@slow"],
    tips: &["nondeterministic_output"],
    key_specs: &[KeySpec {
        flags: &["RW", "delete"],
        notes: None,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.",
    summary: "Trims the stream to (approximately if '~' is passed) a certain size",
    history: &[("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")],
    arguments: &[
        Argument { name: "key", kind: "key", key_spec: Some(0), ..Argument::BLANK },
        Argument {
            name: "trim",
            kind: "block",
            arguments: &[
                Argument {
                    name: "strategy",
                    kind: "oneof",
                    arguments: &[
                        Argument { name: "maxlen", kind: "pure-token", token: Some("MAXLEN"), ..Argument::BLANK },
                        Argument {
                            name: "minid",
                            kind: "pure-token",
                            token: Some("MINID"),
                            since: Some("6.2.0"),
                            ..Argument::BLANK
                        },
                    ],
                    ..Argument::BLANK
                },
                Argument {
                    name: "operator",
                    kind: "oneof",
                    flags: &["optional"],
                    arguments: &[
                        Argument { name: "equal", kind: "pure-token", token: Some("="), ..Argument::BLANK },
                        Argument { name: "approximately", kind: "pure-token", token: Some("~"), ..Argument::BLANK },
                    ],
                    ..Argument::BLANK
                },
                Argument { name: "threshold", kind: "string", ..Argument::BLANK },
                Argument {
                    name: "count",
                    kind: "integer",
                    token: Some("LIMIT"),
                    since: Some("6.2.0"),
                    flags: &["optional"],
                    ..Argument::BLANK
                },
            ],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};
