//! The parameters of CONFIG GET: Basalt's settings, and the names that clients and tools of Redis ask for.
//!
//! Where a setting has Redis' name it is shown in Redis' unit, a bare number of bytes or seconds, since clients read it as
//! one. The other names of Redis tell what is true here, or Redis' default where they describe nothing here. Only
//! Basalt's own settings can be changed.

use std::borrow::Cow;

use basalt_storage::DATABASE_COUNT;

use crate::config::{Config, Durability, SETTINGS};

/// One parameter: its name and how its value is told.
pub(super) struct Parameter {
    /// The name, in lower case.
    pub(super) name: &'static str,
    value: Value,
}

enum Value {
    /// Always the same.
    Fixed(&'static str),
    /// Follows from the settings.
    Of(fn(&Config) -> String),
    /// The value of the setting at this place in [`SETTINGS`], as a user would write it.
    Setting(usize),
}

impl Parameter {
    /// The value under `config`.
    pub(super) fn value(&self, config: &Config) -> Cow<'static, str> {
        match self.value {
            Value::Fixed(text) => Cow::Borrowed(text),
            Value::Of(value) => Cow::Owned(value(config)),
            Value::Setting(place) => Cow::Owned(SETTINGS[place].value(config)),
        }
    }
}

/// Every parameter: the settings in the order of `--help`, then Redis' names.
pub(super) fn parameters() -> impl Iterator<Item = Parameter> {
    let settings = SETTINGS.iter().enumerate().map(|(place, setting)| {
        let in_redis = IN_UNITS_OF_REDIS.iter().find(|(name, _)| *name == setting.name);
        Parameter { name: setting.name, value: in_redis.map_or(Value::Setting(place), |(_, value)| Value::Of(*value)) }
    });
    let derived = DERIVED.iter().map(|&(name, value)| Parameter { name, value: Value::Of(value) });
    let fixed = FIXED.iter().map(|&(name, text)| Parameter { name, value: Value::Fixed(text) });
    settings.chain(derived).chain(fixed)
}

/// The parameter of Redis called `name` that is not a setting of Basalt's, and so cannot be changed.
pub(super) fn unchangeable(name: &str) -> Option<Parameter> {
    parameters().skip(SETTINGS.len()).find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

type Derived = (&'static str, fn(&Config) -> String);

/// Settings that Redis has too, shown as Redis shows them.
static IN_UNITS_OF_REDIS: &[Derived] = &[
    ("bind", |config| config.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    ("timeout", |config| config.timeout.as_secs().to_string()),
    ("tcp-keepalive", |config| config.tcp_keepalive.as_secs().to_string()),
    ("proto-max-bulk-len", |config| config.proto_max_bulk_len.to_string()),
    ("client-query-buffer-limit", |config| config.client_query_buffer_limit.to_string()),
    ("client-output-buffer-limit", |config| {
        let limit = config.client_output_buffer_limit;
        format!("normal {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft.as_secs())
    }),
    ("dir", |config| match std::path::absolute(&config.dir) {
        Ok(path) => path.display().to_string(),
        Err(_) => config.dir.display().to_string(),
    }),
];

/// Names of Redis whose value follows from Basalt's settings.
static DERIVED: &[Derived] = &[
    ("databases", |_| DATABASE_COUNT.to_string()),
    ("appendfsync", |config| {
        let word = match config.durability {
            Durability::Always => "always",
            Durability::Interval => "everysec",
            Durability::None => "no",
        };
        word.to_owned()
    }),
    ("loglevel", |config| config.log_level.clone()),
];

/// Names of Redis whose value is always the same: true here, or Redis' default where it describes nothing here.
static FIXED: &[(&str, &str)] = &[
    // Every write goes through a log, and there are no snapshots that a client could ask for.
    ("appendonly", "yes"),
    ("save", ""),
    ("no-appendfsync-on-rewrite", "no"),
    ("dbfilename", ""),
    ("rdbcompression", "yes"),
    ("rdbchecksum", "yes"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("shutdown-on-sigint", "default"),
    ("shutdown-on-sigterm", "default"),
    // What does not fit memory is on disk: nothing is evicted.
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("maxmemory-clients", "0"),
    ("maxmemory-eviction-tenacity", "10"),
    ("activedefrag", "no"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("hz", "10"),
    ("dynamic-hz", "no"),
    // Collections are stored by element whatever their size; OBJECT ENCODING names encodings by Redis' thresholds.
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "128"),
    ("hash-max-ziplist-value", "64"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("list-compress-depth", "0"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("zset-max-ziplist-entries", "128"),
    ("zset-max-ziplist-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    // Features there are not, as Redis tells that they are off.
    ("requirepass", ""),
    ("aclfile", ""),
    ("masterauth", ""),
    ("masteruser", ""),
    ("protected-mode", "no"),
    ("tls-port", "0"),
    ("unixsocket", ""),
    ("cluster-enabled", "no"),
    ("notify-keyspace-events", ""),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "0"),
    ("latency-monitor-threshold", "0"),
    ("latency-tracking", "no"),
    ("tracking-table-max-keys", "0"),
    ("busy-reply-threshold", "5000"),
    ("lua-time-limit", "5000"),
    ("replicaof", ""),
    ("slaveof", ""),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("replica-priority", "100"),
    ("min-replicas-to-write", "0"),
    ("min-slaves-to-write", "0"),
    ("repl-backlog-size", "0"),
    ("repl-diskless-sync", "no"),
    ("daemonize", "no"),
    ("supervised", "no"),
    ("pidfile", ""),
    ("logfile", ""),
    ("syslog-enabled", "no"),
    ("io-threads", "1"),
    ("io-threads-do-reads", "no"),
    ("enable-debug-command", "no"),
    ("enable-module-command", "no"),
    ("enable-protected-configs", "no"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    #[test]
    fn every_name_stands_once_and_in_lower_case() {
        let names: Vec<_> = parameters().map(|parameter| parameter.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(!names[..index].contains(name), "{name} is there twice");
        }
        for (name, _) in IN_UNITS_OF_REDIS {
            assert!(Setting::find(name).is_some(), "{name} is no setting");
        }
    }

    #[test]
    fn appendfsync_tells_the_durability() {
        let value = |durability| {
            let config = Config { durability, ..Config::default() };
            unchangeable("AppendFsync").unwrap().value(&config).into_owned()
        };
        assert_eq!(value(Durability::Always), "always");
        assert_eq!(value(Durability::Interval), "everysec");
        assert_eq!(value(Durability::None), "no");
    }
}
