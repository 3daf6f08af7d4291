//! Facts of the commands on the server.

use crate::commands::facts::{Argument, Facts, Flags, Group};

/// `COMMAND`.
pub static COMMAND: Facts = Facts {
    name: "command",
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["nondeterministic_output_order"],
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Get array of Redis command details",
    ..Facts::BLANK
};

/// `COMMAND DOCS`.
pub static COMMAND_DOCS: Facts = Facts {
    name: "command|docs",
    arity: -2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["nondeterministic_output_order"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Get array of specific Redis command documentation",
    arguments: &[Argument {
        name: "command-name",
        kind: "string",
        flags: &["optional", "multiple"],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `COMMAND COUNT`.
pub static COMMAND_COUNT: Facts = Facts {
    name: "command|count",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Get total number of Redis commands",
    ..Facts::BLANK
};

/// `COMMAND GETKEYS`.
pub static COMMAND_GETKEYS: Facts = Facts {
    name: "command|getkeys",
    arity: -4,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the number of arguments to the command",
    summary: "Extract keys given a full Redis command",
    ..Facts::BLANK
};

/// `COMMAND HELP`.
pub static COMMAND_HELP: Facts = Facts {
    name: "command|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `COMMAND INFO`.
pub static COMMAND_INFO: Facts = Facts {
    name: "command|info",
    arity: -2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["nondeterministic_output_order"],
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Get array of specific Redis command details, or all when no argument is given.",
    history: &[("7.0.0", "Allowed to be called with no argument to get info on all commands.")],
    arguments: &[Argument {
        name: "command-name",
        kind: "string",
        flags: &["optional", "multiple"],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `COMMAND GETKEYSANDFLAGS`.
pub static COMMAND_GETKEYSANDFLAGS: Facts = Facts {
    name: "command|getkeysandflags",
    arity: -4,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the number of arguments to the command",
    summary: "Extract keys and access flags given a full Redis command",
    ..Facts::BLANK
};

/// `COMMAND LIST`.
pub static COMMAND_LIST: Facts = Facts {
    name: "command|list",
    arity: -2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["nondeterministic_output_order"],
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Get an array of Redis command names",
    arguments: &[Argument {
        name: "filterby",
        kind: "oneof",
        token: Some("FILTERBY"),
        flags: &["optional"],
        arguments: &[
            Argument { name: "module-name", kind: "string", token: Some("MODULE"), ..Argument::BLANK },
            Argument { name: "category", kind: "string", token: Some("ACLCAT"), ..Argument::BLANK },
            Argument { name: "pattern", kind: "pattern", token: Some("PATTERN"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `CONFIG`.
pub static CONFIG: Facts = Facts {
    name: "config",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for server configuration commands",
    ..Facts::BLANK
};

/// `CONFIG RESETSTAT`.
pub static CONFIG_RESETSTAT: Facts = Facts {
    name: "config|resetstat",
    arity: 2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Reset the stats returned by INFO",
    ..Facts::BLANK
};

/// `CONFIG GET`.
pub static CONFIG_GET: Facts = Facts {
    name: "config|get",
    arity: -3,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(N) when N is the number of configuration parameters provided",
    summary: "Get the values of configuration parameters",
    history: &[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")],
    arguments: &[Argument {
        name: "parameter",
        kind: "block",
        flags: &["multiple"],
        arguments: &[Argument { name: "parameter", kind: "string", ..Argument::BLANK }],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `CONFIG REWRITE`.
pub static CONFIG_REWRITE: Facts = Facts {
    name: "config|rewrite",
    arity: 2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Server,
    since: "2.8.0",
    complexity: "O(1)",
    summary: "Rewrite the configuration file with the in memory configuration",
    ..Facts::BLANK
};

/// `CONFIG HELP`.
pub static CONFIG_HELP: Facts = Facts {
    name: "config|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow"],
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `CONFIG SET`.
pub static CONFIG_SET: Facts = Facts {
    name: "config|set",
    arity: -4,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous"],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(N) when N is the number of configuration parameters provided",
    summary: "Set configuration parameters to the given values",
    history: &[("7.0.0", "Added the ability to set multiple parameters in one call.")],
    arguments: &[Argument {
        name: "parameter_value",
        kind: "block",
        flags: &["multiple"],
        arguments: &[
            Argument { name: "parameter", kind: "string", ..Argument::BLANK },
            Argument { name: "value", kind: "string", ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `DBSIZE`.
pub static DBSIZE: Facts = Facts {
    name: "dbsize",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: &["@keyspace", "@read", "@fast"],
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Return the number of keys in the selected database",
    ..Facts::BLANK
};

/// `FLUSHALL`.
pub static FLUSHALL: Facts = Facts {
    name: "flushall",
    arity: -1,
    flags: Flags::WRITE,
    categories: &["@keyspace", "@write", "@slow", "@dangerous"],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of keys in all databases",
    summary: "Remove all keys from all databases",
    history: &[
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ],
    arguments: &[Argument {
        name: "async",
        kind: "oneof",
        flags: &["optional"],
        arguments: &[
            Argument {
                name: "async",
                kind: "pure-token",
                token: Some("ASYNC"),
                since: Some("4.0.0"),
                ..Argument::BLANK
            },
            Argument { name: "sync", kind: "pure-token", token: Some("SYNC"), since: Some("6.2.0"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `FLUSHDB`.
pub static FLUSHDB: Facts = Facts {
    name: "flushdb",
    arity: -1,
    flags: Flags::WRITE,
    categories: &["@keyspace", "@write", "@slow", "@dangerous"],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys in the selected database",
    summary: "Remove all keys from the current database",
    history: &[
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ],
    arguments: &[Argument {
        name: "async",
        kind: "oneof",
        flags: &["optional"],
        arguments: &[
            Argument {
                name: "async",
                kind: "pure-token",
                token: Some("ASYNC"),
                since: Some("4.0.0"),
                ..Argument::BLANK
            },
            Argument { name: "sync", kind: "pure-token", token: Some("SYNC"), since: Some("6.2.0"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `INFO`.
pub static INFO: Facts = Facts {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@dangerous"],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get information and statistics about the server",
    history: &[("7.0.0", "Added support for taking multiple section arguments.")],
    arguments: &[Argument { name: "section", kind: "string", flags: &["optional", "multiple"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `LASTSAVE`.
pub static LASTSAVE: Facts = Facts {
    name: "lastsave",
    arity: 1,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    categories: &["@admin", "@fast", "@dangerous"],
    tips: &["nondeterministic_output"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Get the UNIX time stamp of the last successful save to disk",
    ..Facts::BLANK
};

/// `ROLE`.
pub static ROLE: Facts = Facts {
    name: "role",
    arity: 1,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST),
    categories: &["@admin", "@fast", "@dangerous"],
    group: Group::Server,
    since: "2.8.12",
    complexity: "O(1)",
    summary: "Return the role of the instance in the context of replication",
    ..Facts::BLANK
};

/// `SHUTDOWN`.
pub static SHUTDOWN: Facts = Facts {
    name: "shutdown",
    arity: -1,
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::NO_MULTI)
        .and(Flags::ALLOW_BUSY),
    categories: &["@admin", "@slow", "@dangerous"],
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    summary: "Synchronously save the dataset to disk and then shut down the server",
    history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
    arguments: &[
        Argument {
            name: "nosave_save",
            kind: "oneof",
            flags: &["optional"],
            arguments: &[
                Argument { name: "nosave", kind: "pure-token", token: Some("NOSAVE"), ..Argument::BLANK },
                Argument { name: "save", kind: "pure-token", token: Some("SAVE"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "now",
            kind: "pure-token",
            token: Some("NOW"),
            since: Some("7.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "force",
            kind: "pure-token",
            token: Some("FORCE"),
            since: Some("7.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
        Argument {
            name: "abort",
            kind: "pure-token",
            token: Some("ABORT"),
            since: Some("7.0.0"),
            flags: &["optional"],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `TIME`.
pub static TIME: Facts = Facts {
    name: "time",
    arity: 1,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    categories: &["@fast"],
    tips: &["nondeterministic_output"],
    group: Group::Server,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Return the current server time",
    ..Facts::BLANK
};
