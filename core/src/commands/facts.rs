//! Public facts of each command: arity, flags, where its keys are, and what `COMMAND DOCS` tells about it.
//!
//! These are the interface facts of Redis 7.0.15, as `COMMAND INFO` and `COMMAND DOCS` answer them: `make facts` writes those of a
//! family's commands into its folder. Where Basalt takes longer than Redis, `complexity` says so. How a command runs is not here:
//! [`table`](super::table) ties facts to handlers.

/// The version of Redis whose commands and replies are spoken; clients look at it to know what they may use.
pub const REDIS_VERSION: &str = "7.0.15";

/// A set of the flags that `COMMAND INFO` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($name:ident = $text:literal @ $bit:literal, $doc:literal;)*) => {
        impl Flags {
            $(#[doc = $doc] pub const $name: Flags = Flags(1 << $bit);)*

            const ALL: &[(Flags, &'static str)] = &[$((Flags::$name, $text)),*];
        }
    };
}

flags! {
    WRITE = "write" @ 0, "May change the keyspace.";
    READONLY = "readonly" @ 1, "Only reads keys.";
    DENYOOM = "denyoom" @ 2, "Refused while memory or disk is short.";
    ADMIN = "admin" @ 3, "For operators.";
    PUBSUB = "pubsub" @ 4, "Belongs to publish/subscribe.";
    NOSCRIPT = "noscript" @ 5, "Not allowed in scripts.";
    BLOCKING = "blocking" @ 6, "May wait for data.";
    LOADING = "loading" @ 7, "Allowed before the node is ready.";
    STALE = "stale" @ 8, "Allowed on a replica that lags.";
    SKIP_MONITOR = "skip_monitor" @ 9, "Not shown to monitors.";
    SKIP_SLOWLOG = "skip_slowlog" @ 10, "Not put in the slow log.";
    ASKING = "asking" @ 11, "Allowed on a slot that is being imported.";
    FAST = "fast" @ 12, "Takes constant or logarithmic time.";
    NO_AUTH = "no_auth" @ 13, "Allowed before authentication.";
    NO_ASYNC_LOADING = "no_async_loading" @ 14, "Refused during an asynchronous load.";
    NO_MULTI = "no_multi" @ 15, "Not allowed in a transaction.";
    NO_MANDATORY_KEYS = "no_mandatory_keys" @ 18, "May be called without any key.";
    MOVABLEKEYS = "movablekeys" @ 16, "Its keys are not at fixed positions.";
    ALLOW_BUSY = "allow_busy" @ 17, "Allowed while a script runs.";
}

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// These flags and those.
    pub const fn and(self, more: Flags) -> Flags {
        Flags(self.0 | more.0)
    }

    /// Returns whether all of `flags` are set.
    pub const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The names of the set flags, as Redis spells them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::ALL.iter().filter(move |(flag, _)| self.contains(*flag)).map(|&(_, name)| name)
    }
}

/// The family a command belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Strings as bits.
    Bitmap,
    /// Management of the cluster.
    Cluster,
    /// Connection management.
    Connection,
    /// Commands on keys of any type.
    Generic,
    /// Positions in sorted sets.
    Geo,
    /// Hashes.
    Hash,
    /// Estimates of how many different elements there were.
    Hyperloglog,
    /// Lists.
    List,
    /// Publish and subscribe.
    Pubsub,
    /// Scripts.
    Scripting,
    /// Server management.
    Server,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Streams.
    Stream,
    /// Strings.
    String,
    /// Transactions.
    Transactions,
}

impl Group {
    /// The name `COMMAND DOCS` answers.
    pub fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::Hyperloglog => "hyperloglog",
            Group::List => "list",
            Group::Pubsub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// The place at which a key specification starts to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument.
    Index(i64),
    /// After this word, which is looked for from an argument on.
    Keyword(&'static str, i64),
    /// Nobody can tell but who knows the command.
    Unknown,
}

/// The way a key specification goes on from where it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// A range; a negative `last` counts from the end; `limit` 2 takes only the first half of it, and so on.
    Range {
        /// The last key, relative to the first one, or from the end if negative.
        last: i64,
        /// Distance from one key to the next.
        step: i64,
        /// The part of the range that is keys: its first half if 2, its first third if 3, and so on; all of it if 0 or 1.
        limit: i64,
    },
    /// A count of keys stands in front of them.
    Count {
        /// Position of the count, relative to the start.
        count_at: i64,
        /// Position of the first key, relative to the start.
        first: i64,
        /// Distance from one key to the next.
        step: i64,
    },
    /// Nobody can tell but who knows the command.
    Unknown,
}

/// One key specification (<https://redis.io/docs/latest/develop/reference/key-specs/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The use that is made of the keys: `RO`, `RW`, `access`, `update`, and so on.
    pub flags: &'static [&'static str],
    /// A remark for readers, if there is one.
    pub notes: Option<&'static str>,
    /// The place to start at.
    pub begin: BeginSearch,
    /// The keys from there on.
    pub find: FindKeys,
}

/// One argument as `COMMAND DOCS` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its type, such as `key`, `integer` or `oneof`.
    pub kind: &'static str,
    /// The word in front of it.
    pub token: Option<&'static str>,
    /// The index of the key specification that it belongs to.
    pub key_spec: Option<i64>,
    /// Since which version of Redis, if later than the command.
    pub since: Option<&'static str>,
    /// Since which version of Redis it should not be used any more, if so.
    pub deprecated_since: Option<&'static str>,
    /// `optional`, `multiple`, `multiple_token`.
    pub flags: &'static [&'static str],
    /// Arguments that it consists of, for kinds such as `oneof` and `block`.
    pub arguments: &'static [Argument],
}

/// The reason not to use a command in new programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deprecation {
    /// Since which version of Redis.
    pub since: &'static str,
    /// The command to use instead.
    pub replaced_by: &'static str,
}

/// The facts of one command or subcommand.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The name in lower case; a subcommand's is `container|subcommand`.
    pub name: &'static str,
    /// Number of arguments, the name included; negative: at least that many.
    pub arity: i16,
    /// The flags.
    pub flags: Flags,
    /// First key, last key (negative: from the end) and step; all 0 without keys at fixed positions.
    pub keys: (i16, i16, i16),
    /// ACL categories.
    pub categories: &'static [&'static str],
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// Positions of the keys, in full.
    pub key_specs: &'static [KeySpec],
    /// The family.
    pub group: Group,
    /// Since which version of Redis.
    pub since: &'static str,
    /// Time complexity; empty if nobody tells.
    pub complexity: &'static str,
    /// Its effect, in one line.
    pub summary: &'static str,
    /// Versions of Redis that changed it, each with the change.
    pub history: &'static [(&'static str, &'static str)],
    /// True if it is for tests and for servers among themselves.
    pub is_internal: bool,
    /// Set if it is deprecated.
    pub deprecation: Option<Deprecation>,
    /// Its arguments.
    pub arguments: &'static [Argument],
}

impl Facts {
    /// Facts with nothing in them: the base that rows are written over.
    pub(crate) const BLANK: Facts = Facts {
        name: "",
        arity: 0,
        flags: Flags::NONE,
        keys: (0, 0, 0),
        categories: &[],
        tips: &[],
        key_specs: &[],
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "",
        history: &[],
        is_internal: false,
        deprecation: None,
        arguments: &[],
    };
}

impl Argument {
    pub(super) const BLANK: Argument = Argument {
        name: "",
        kind: "",
        token: None,
        key_spec: None,
        since: None,
        deprecated_since: None,
        flags: &[],
        arguments: &[],
    };
}
