//! The parameters of `CONFIG GET` and `CONFIG SET`: every setting, and what Redis' clients ask for besides.
//!
//! Values are written as Redis writes them, so that a client can compute with them.

use super::choice::Durability;
use super::error::ConfigError;
use super::setting::Setting;
use super::table::{Config, SETTINGS};

/// Parameters of Redis that are no settings here, with the value that describes what Basalt does.
const FIXED: &[(&str, &str)] = &[
    // The Raft log is what an append-only file is: every write, in order, on disk.
    ("appendonly", "yes"),
    ("no-appendfsync-on-rewrite", "no"),
    ("save", ""),
    ("dbfilename", ""),
    ("databases", "16"),
    // Data may be larger than memory: nothing bounds it but the disk, and nothing is evicted.
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("maxmemory-eviction-tenacity", "10"),
    ("activedefrag", "no"),
    ("active-expire-effort", "1"),
    ("hz", "10"),
    ("dynamic-hz", "no"),
    // The keys of a deleted collection go at once, its elements later.
    ("lazyfree-lazy-expire", "yes"),
    ("lazyfree-lazy-server-del", "yes"),
    ("lazyfree-lazy-user-del", "yes"),
    ("lazyfree-lazy-user-flush", "yes"),
    // Up to where collections are kept in one row. Entries of the log mean these, so that they are the same on every node.
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    // What there is not, as Redis tells that it is off.
    ("busy-reply-threshold", "5000"),
    ("cluster-replica-no-failover", "no"),
    ("cluster-replica-validity-factor", "10"),
    ("daemonize", "no"),
    ("io-threads", "1"),
    ("latency-tracking", "no"),
    ("logfile", ""),
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("pidfile", ""),
    ("repl-backlog-size", "0"),
    ("repl-ping-replica-period", "10"),
    ("replica-announce-ip", ""),
    ("replica-announce-port", "0"),
    ("replica-ignore-maxmemory", "yes"),
    ("replica-lazy-flush", "no"),
    ("replica-priority", "100"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("replicaof", ""),
    // Where the disk fails, writes are refused, whatever wrote to it.
    ("stop-writes-on-bgsave-error", "yes"),
    ("supervised", "no"),
    ("tls-port", "0"),
    ("unixsocket", ""),
];

/// Parameters that Redis 7.0 renamed, with the names that they had before: it answers to both.
const OLD_NAMES: &[(&str, &str)] = &[
    ("cluster-slave-no-failover", "cluster-replica-no-failover"),
    ("cluster-slave-validity-factor", "cluster-replica-validity-factor"),
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("lua-time-limit", "busy-reply-threshold"),
    ("min-slaves-max-lag", "min-replicas-max-lag"),
    ("min-slaves-to-write", "min-replicas-to-write"),
    ("repl-ping-slave-period", "repl-ping-replica-period"),
    ("slave-announce-ip", "replica-announce-ip"),
    ("slave-announce-port", "replica-announce-port"),
    ("slave-ignore-maxmemory", "replica-ignore-maxmemory"),
    ("slave-lazy-flush", "replica-lazy-flush"),
    ("slave-priority", "replica-priority"),
    ("slave-read-only", "replica-read-only"),
    ("slave-serve-stale-data", "replica-serve-stale-data"),
    ("slaveof", "replicaof"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
];

/// The reasons that parameters of Redis have one value here, for who sets another.
const REASONS: &[(&str, &str)] = &[
    ("appendonly", "every write is in the log on disk, as durability says, and there is no other way"),
    ("maxmemory", "data may be larger than memory, and the disk bounds it: memory sets how much memory the node takes"),
    (
        "maxmemory-policy",
        "nothing is evicted: data may be larger than memory. What is to go has to expire or to be deleted",
    ),
    ("save", "every write is in the log on disk, as durability says: there are no snapshots at times"),
    ("stop-writes-on-bgsave-error", "a disk that fails or is full takes no writes, whatever wrote to it"),
];

/// The reason that `CONFIG SET` was refused. The text is Redis', without its `ERR`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// There is no such parameter.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),

    /// The parameter cannot have the value, or cannot change.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {why}")]
    Refused {
        /// The parameter.
        name: String,
        /// The reason.
        why: String,
    },
}

/// Returns every parameter with its value, for `CONFIG GET` to choose from; those that were renamed under both names.
pub fn parameters(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let settings = SETTINGS.iter().map(|setting| (setting.name, (setting.show_plain)(config)));
    let fixed = FIXED.iter().map(|(name, value)| (*name, String::from(*value)));
    let old = OLD_NAMES.iter().flat_map(|(old, name)| {
        // All of them are fixed.
        FIXED.iter().find(|(known, _)| known == name).map(|(_, value)| (*old, String::from(*value)))
    });
    settings.chain(fixed).chain(old).chain(derived(config))
}

/// Redis' own words for some settings.
fn derived(config: &Config) -> [(&'static str, String); 2] {
    let appendfsync = match config.durability {
        Durability::Always => "always",
        Durability::Interval => "everysec",
        Durability::None => "no",
    };
    let loglevel = match config.log_level.as_str() {
        "trace" | "debug" => "debug",
        "warn" | "error" | "off" => "warning",
        _ => "notice",
    };
    [("appendfsync", appendfsync.to_owned()), ("loglevel", loglevel.to_owned())]
}

impl Config {
    /// Changes the parameters named by `pairs`, as `CONFIG SET` asks: all of them, or none. Setting one that never changes to
    /// the value that it has is allowed, as many clients do at start.
    ///
    /// # Errors
    /// [`ParameterError`] for the first pair that cannot be set.
    pub fn set_parameters(&mut self, pairs: &[(&str, &str)]) -> Result<(), ParameterError> {
        let mut changed = self.clone();
        for (index, (name, text)) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(refused(name, "duplicate parameter"));
            }
            changed.set_parameter(name, text)?;
        }
        let last = pairs.last().map_or("", |(name, _)| name);
        changed.check().map_err(|error| refused(last, error))?;
        *self = changed;
        Ok(())
    }

    fn set_parameter(&mut self, name: &str, text: &str) -> Result<(), ParameterError> {
        let Some((_, now)) = parameters(self).find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Err(ParameterError::Unknown(name.to_owned()));
        };
        if now == text {
            return Ok(());
        }
        if Setting::find(name).is_none() {
            let reason = REASONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let why = reason.map_or_else(String::new, |(_, why)| format!(": {why}"));
            return Err(refused(name, format!("can't set immutable config, it is always '{now}'{why}")));
        }
        // A class of clients that is not named keeps what it has: the last word on each counts.
        let of_classes = name.eq_ignore_ascii_case("client-output-buffer-limit").then(|| with_class(&now, text));
        match self.set_live(name, of_classes.as_deref().unwrap_or(text)) {
            Err(ConfigError::Fixed(_)) => Err(refused(name, "can't set immutable config, it is read at start")),
            Err(ConfigError::Invalid { invalid, .. }) => Err(refused(name, invalid)),
            Err(other) => Err(refused(name, other)),
            Ok(()) => Ok(()),
        }
    }
}

/// The output limits as they are, and behind them what is set.
fn with_class(now: &str, text: &str) -> String {
    let is_named = text.trim_start().starts_with(|first: char| first.is_ascii_alphabetic());
    format!("{now} {}{text}", if is_named { "" } else { "normal " })
}

fn refused<W: ToString>(name: &str, why: W) -> ParameterError {
    ParameterError::Refused { name: name.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(config: &Config, name: &str) -> String {
        parameters(config).find(|(known, _)| *known == name).map(|(_, value)| value).expect("a known parameter")
    }

    #[test]
    fn values_are_written_as_redis_writes_them() {
        let config = Config::default();
        let cases = [
            ("proto-max-bulk-len", "67108864"),
            ("tcp-keepalive", "300"),
            ("client-output-buffer-limit", "normal 268435456 67108864 60 pubsub 33554432 8388608 60"),
            ("save", ""),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("databases", "16"),
            ("maxmemory", "0"),
        ];
        for (name, expected) in cases {
            assert_eq!(value(&config, name), expected, "{name}");
        }
    }

    #[test]
    fn old_names_mean_what_the_new_ones_do() {
        let mut config = Config::default();
        for (old, name) in OLD_NAMES {
            let now = value(&config, name);
            assert_eq!(value(&config, old), now, "{old}");
            assert_eq!(config.set_parameters(&[(old, &now)]), Ok(()), "{old}");
            assert!(config.set_parameters(&[(old, "77")]).is_err(), "{old}");
        }
    }

    #[test]
    fn reasons_are_those_of_parameters_that_there_are() {
        for (name, why) in REASONS {
            let refusal = Config::default().set_parameters(&[(name, "another")]).expect_err("refused").to_string();
            assert!(FIXED.iter().any(|(known, _)| known == name) && refusal.ends_with(why), "{refusal}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<&str> = parameters(&Config::default()).map(|(name, _)| name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
        }
    }

    #[test]
    fn all_parameters_are_set_or_none() {
        let mut config = Config::default();
        config.set_parameters(&[("MAXCLIENTS", "5"), ("timeout", "60"), ("save", "")]).expect("all can be set");
        assert_eq!((config.maxclients, config.timeout.as_secs()), (5, 60));

        let before = config.clone();
        let refusal =
            config.set_parameters(&[("maxclients", "6"), ("timeout", "soon")]).expect_err("no duration").to_string();

        assert!(
            refusal.starts_with("CONFIG SET failed (possibly related to argument 'timeout') - it takes a dur"),
            "{refusal}"
        );
        assert_eq!(config, before);
    }

    #[test]
    fn two_settings_that_only_fit_together_are_set_together() {
        let mut config = Config::default();

        config
            .set_parameters(&[("client-query-buffer-limit", "2mb"), ("proto-max-bulk-len", "1mb")])
            .expect("they agree once both are set");

        assert!(config.set_parameters(&[("proto-max-bulk-len", "64mb")]).is_err());
    }

    #[test]
    fn what_cannot_be_set_is_refused_in_the_words_of_redis() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[("nosuch", "1")], "Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
            (
                &[("maxmemory", "1gb")],
                "CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config, it is always '0': data \
                 may be larger than memory, and the disk bounds it: memory sets how much memory the node takes",
            ),
            (
                &[("hz", "100")],
                "CONFIG SET failed (possibly related to argument 'hz') - can't set immutable config, it is always '10'",
            ),
            (
                &[("port", "1")],
                "CONFIG SET failed (possibly related to argument 'port') - can't set immutable config, it is read at start",
            ),
            (
                &[("timeout", "1"), ("Timeout", "2")],
                "CONFIG SET failed (possibly related to argument 'Timeout') - duplicate parameter",
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(Config::default().set_parameters(pairs).expect_err("refused").to_string(), expected);
        }
    }
}
