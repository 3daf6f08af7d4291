//! Facts of the commands on connections.

use crate::commands::facts::{Argument, Facts, Flags, Group};

/// `AUTH`.
pub static AUTH: Facts = Facts {
    name: "auth",
    arity: -2,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(N) where N is the number of passwords defined for the user",
    summary: "Authenticate to the server",
    history: &[("6.0.0", "Added ACL style (username and password).")],
    arguments: &[
        Argument { name: "username", kind: "string", since: Some("6.0.0"), flags: &["optional"], ..Argument::BLANK },
        Argument { name: "password", kind: "string", ..Argument::BLANK },
    ],
    ..Facts::BLANK
};

/// `CLIENT`.
pub static CLIENT: Facts = Facts {
    name: "client",
    arity: -2,
    flags: Flags::NONE,
    categories: &["@slow"],
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands",
    ..Facts::BLANK
};

/// `CLIENT REPLY`.
pub static CLIENT_REPLY: Facts = Facts {
    name: "client|reply",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "3.2.0",
    complexity: "O(1)",
    summary: "Instruct the server whether to reply to commands",
    arguments: &[Argument {
        name: "on_off_skip",
        kind: "oneof",
        arguments: &[
            Argument { name: "on", kind: "pure-token", token: Some("ON"), ..Argument::BLANK },
            Argument { name: "off", kind: "pure-token", token: Some("OFF"), ..Argument::BLANK },
            Argument { name: "skip", kind: "pure-token", token: Some("SKIP"), ..Argument::BLANK },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `CLIENT INFO`.
pub static CLIENT_INFO: Facts = Facts {
    name: "client|info",
    arity: 2,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    tips: &["nondeterministic_output"],
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns information about the current client connection.",
    ..Facts::BLANK
};

/// `CLIENT ID`.
pub static CLIENT_ID: Facts = Facts {
    name: "client|id",
    arity: 2,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Returns the client ID for the current connection",
    ..Facts::BLANK
};

/// `CLIENT NO-EVICT`.
pub static CLIENT_NO_EVICT: Facts = Facts {
    name: "client|no-evict",
    arity: 3,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous", "@connection"],
    group: Group::Connection,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Set client eviction mode for the current connection",
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

/// `CLIENT LIST`.
pub static CLIENT_LIST: Facts = Facts {
    name: "client|list",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous", "@connection"],
    tips: &["nondeterministic_output"],
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Get the list of client connections",
    history: &[
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
    ],
    arguments: &[
        Argument {
            name: "normal_master_replica_pubsub",
            kind: "oneof",
            token: Some("TYPE"),
            since: Some("5.0.0"),
            flags: &["optional"],
            arguments: &[
                Argument { name: "normal", kind: "pure-token", token: Some("NORMAL"), ..Argument::BLANK },
                Argument { name: "master", kind: "pure-token", token: Some("MASTER"), ..Argument::BLANK },
                Argument { name: "replica", kind: "pure-token", token: Some("REPLICA"), ..Argument::BLANK },
                Argument { name: "pubsub", kind: "pure-token", token: Some("PUBSUB"), ..Argument::BLANK },
            ],
            ..Argument::BLANK
        },
        Argument {
            name: "id",
            kind: "block",
            token: Some("ID"),
            since: Some("6.2.0"),
            flags: &["optional"],
            arguments: &[Argument { name: "client-id", kind: "integer", flags: &["multiple"], ..Argument::BLANK }],
            ..Argument::BLANK
        },
    ],
    ..Facts::BLANK
};

/// `CLIENT HELP`.
pub static CLIENT_HELP: Facts = Facts {
    name: "client|help",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Show helpful text about the different subcommands",
    ..Facts::BLANK
};

/// `CLIENT KILL`.
pub static CLIENT_KILL: Facts = Facts {
    name: "client|kill",
    arity: -3,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    categories: &["@admin", "@slow", "@dangerous", "@connection"],
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Kill the connection of a client",
    history: &[
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."),
        ("6.2.0", "`LADDR` option."),
    ],
    arguments: &[Argument {
        name: "filter",
        kind: "oneof",
        arguments: &[
            Argument { name: "ip:port", kind: "string", deprecated_since: Some("2.8.12"), ..Argument::BLANK },
            Argument {
                name: "new-format",
                kind: "oneof",
                flags: &["multiple"],
                arguments: &[
                    Argument {
                        name: "client-id",
                        kind: "integer",
                        token: Some("ID"),
                        since: Some("2.8.12"),
                        flags: &["optional"],
                        ..Argument::BLANK
                    },
                    Argument {
                        name: "normal_master_slave_pubsub",
                        kind: "oneof",
                        token: Some("TYPE"),
                        since: Some("2.8.12"),
                        flags: &["optional"],
                        arguments: &[
                            Argument { name: "normal", kind: "pure-token", token: Some("NORMAL"), ..Argument::BLANK },
                            Argument {
                                name: "master",
                                kind: "pure-token",
                                token: Some("MASTER"),
                                since: Some("3.2.0"),
                                ..Argument::BLANK
                            },
                            Argument { name: "slave", kind: "pure-token", token: Some("SLAVE"), ..Argument::BLANK },
                            Argument {
                                name: "replica",
                                kind: "pure-token",
                                token: Some("REPLICA"),
                                since: Some("5.0.0"),
                                ..Argument::BLANK
                            },
                            Argument { name: "pubsub", kind: "pure-token", token: Some("PUBSUB"), ..Argument::BLANK },
                        ],
                        ..Argument::BLANK
                    },
                    Argument {
                        name: "username",
                        kind: "string",
                        token: Some("USER"),
                        flags: &["optional"],
                        ..Argument::BLANK
                    },
                    Argument {
                        name: "ip:port",
                        kind: "string",
                        token: Some("ADDR"),
                        flags: &["optional"],
                        ..Argument::BLANK
                    },
                    Argument {
                        name: "ip:port",
                        kind: "string",
                        token: Some("LADDR"),
                        since: Some("6.2.0"),
                        flags: &["optional"],
                        ..Argument::BLANK
                    },
                    Argument {
                        name: "yes/no",
                        kind: "string",
                        token: Some("SKIPME"),
                        flags: &["optional"],
                        ..Argument::BLANK
                    },
                ],
                ..Argument::BLANK
            },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `CLIENT SETNAME`.
pub static CLIENT_SETNAME: Facts = Facts {
    name: "client|setname",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Set the current connection name",
    arguments: &[Argument { name: "connection-name", kind: "string", ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `CLIENT GETNAME`.
pub static CLIENT_GETNAME: Facts = Facts {
    name: "client|getname",
    arity: 2,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    categories: &["@slow", "@connection"],
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Get the current connection name",
    ..Facts::BLANK
};

/// `ECHO`.
pub static ECHO: Facts = Facts {
    name: "echo",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Echo the given string",
    arguments: &[Argument { name: "message", kind: "string", ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `HELLO`.
pub static HELLO: Facts = Facts {
    name: "hello",
    arity: -1,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Handshake with Redis",
    history: &[(
        "6.2.0",
        "`protover` made optional; when called without arguments the command reports the current connection's context.",
    )],
    arguments: &[Argument {
        name: "arguments",
        kind: "block",
        flags: &["optional"],
        arguments: &[
            Argument { name: "protover", kind: "integer", ..Argument::BLANK },
            Argument {
                name: "username_password",
                kind: "block",
                token: Some("AUTH"),
                flags: &["optional"],
                arguments: &[
                    Argument { name: "username", kind: "string", ..Argument::BLANK },
                    Argument { name: "password", kind: "string", ..Argument::BLANK },
                ],
                ..Argument::BLANK
            },
            Argument {
                name: "clientname",
                kind: "string",
                token: Some("SETNAME"),
                flags: &["optional"],
                ..Argument::BLANK
            },
        ],
        ..Argument::BLANK
    }],
    ..Facts::BLANK
};

/// `PING`.
pub static PING: Facts = Facts {
    name: "ping",
    arity: -1,
    flags: Flags::FAST,
    categories: &["@fast", "@connection"],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Ping the server",
    arguments: &[Argument { name: "message", kind: "string", flags: &["optional"], ..Argument::BLANK }],
    ..Facts::BLANK
};

/// `QUIT`.
pub static QUIT: Facts = Facts {
    name: "quit",
    arity: -1,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Close the connection",
    ..Facts::BLANK
};

/// `RESET`.
pub static RESET: Facts = Facts {
    name: "reset",
    arity: 1,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Reset the connection",
    ..Facts::BLANK
};

/// `SELECT`.
pub static SELECT: Facts = Facts {
    name: "select",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    categories: &["@fast", "@connection"],
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Change the selected database for the current connection",
    arguments: &[Argument { name: "index", kind: "integer", ..Argument::BLANK }],
    ..Facts::BLANK
};

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
