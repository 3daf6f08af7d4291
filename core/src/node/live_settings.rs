//! The settings of a running node: `CONFIG SET` changes them, every core reads a copy of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use basalt_net::resp::Limits;

use crate::config::{Change, Config, KeyEventChoice, OutputLimits, ParameterError, Setting, client_bytes_max, rewrite};
use crate::limits;

/// The settings in force. Cores look at the version each turn and take a new copy when it has changed.
#[derive(Debug)]
pub struct Settings {
    config: RwLock<Config>,
    version: AtomicU64,
    /// The file that the node was started with, if there was one.
    file: Option<PathBuf>,
    /// The names of the settings that were changed since the start.
    changed: Mutex<BTreeSet<&'static str>>,
}

impl Settings {
    /// The settings the node starts with.
    pub fn new(config: Config) -> Settings {
        Settings { config: RwLock::new(config), version: AtomicU64::new(0), file: None, changed: Mutex::default() }
    }

    /// The settings as they are now.
    pub fn config(&self) -> Config {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the parameters named by `pairs`, as `CONFIG SET` asks: all of them, or none.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be set.
    pub fn set_parameters(&self, pairs: &[(&str, &str)]) -> Result<(), ParameterError> {
        self.config.write().unwrap_or_else(PoisonError::into_inner).set_parameters(pairs)?;
        self.version.fetch_add(1, Ordering::Release);
        let settings = pairs.iter().filter_map(|(name, _)| Setting::find(name));
        let live = settings.filter(|setting| setting.change == Change::Live).map(|setting| setting.name);
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(live);
        Ok(())
    }

    /// Tells which file the node was started with.
    pub fn set_file(&mut self, file: Option<PathBuf>) {
        self.file = file;
    }

    /// The path of that file; nothing if there is none.
    pub fn file_shown(&self) -> String {
        let path = self.file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        path.map_or_else(String::new, |path| path.display().to_string())
    }

    /// Returns whether it was started with one.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Puts what was changed since the start into the file, which takes as long as the disk does.
    ///
    /// # Errors
    /// The reason that it could not be read or written.
    pub fn rewrite(&self) -> Result<(), String> {
        let path = self.file.as_ref().ok_or("there is none")?;
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Of several at a time each has all that was set before it was asked for.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        rewrite(path, &self.config(), &changed)
    }

    /// A number that changes with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// Work that a script may do: in a cluster no more than an eighth of `election-timeout` takes, since its core sends and hears no
/// heartbeats meanwhile.
fn script_work_max(config: &Config) -> u64 {
    let most = match config.cluster_enabled {
        true => (config.election_timeout.as_millis() / 8) as u64 * limits::SCRIPT_WORK_PER_MS,
        false => u64::MAX,
    };
    u64::from(config.script_work_max).min(most)
}

/// One core's copy of the settings it needs per command.
#[derive(Debug)]
pub struct LiveSettings {
    version: u64,
    /// The decoder's limits.
    pub resp_limits: Limits,
    /// Bytes a client may have sent and the node not executed.
    pub query_bytes_max: usize,
    /// Bytes that all clients may have sent and the node not executed, or been answered and not read.
    pub client_bytes_max: u64,
    /// Clients of the node.
    pub clients_max: usize,
    /// True if clients of other machines are refused while the default user has no password.
    pub is_protected: bool,
    /// Seconds between keepalive probes; 0 for none.
    pub keepalive_s: u32,
    /// Time after which a client hears that its write is uncertain.
    pub write_timeout: Option<Duration>,
    /// Idle time after which a client is disconnected.
    pub idle_max: Option<Duration>,
    /// Time that a command takes to be noted; `None` if none is.
    pub slow_least: Option<Duration>,
    /// Time from which on the latency monitor notes things; `None` if it does not.
    pub latency_least: Option<Duration>,
    /// Commands that are kept of those.
    pub slow_log_max: usize,
    /// Events of keys that are told.
    pub key_events: KeyEventChoice,
    /// Keys that are remembered for clients which keep copies; 0 for as many as have room.
    pub tracked_keys_max: usize,
    /// Work that a script may do.
    pub script_work_max: u64,
    output: OutputLimits,
}

impl LiveSettings {
    /// The settings in force.
    pub fn of(settings: &Settings) -> LiveSettings {
        let (version, config) = (settings.version(), settings.config());
        LiveSettings {
            version,
            resp_limits: Limits {
                inline_bytes_max: limits::INLINE_BYTES_MAX,
                args_max: limits::ARGS_MAX,
                bulk_bytes_max: config.proto_max_bulk_len as usize,
                request_bytes_max: config.client_query_buffer_limit as usize,
            },
            query_bytes_max: config.client_query_buffer_limit as usize,
            client_bytes_max: client_bytes_max(&config),
            clients_max: config.maxclients as usize,
            is_protected: config.protected_mode,
            keepalive_s: config.tcp_keepalive.as_secs() as u32,
            write_timeout: Some(config.write_timeout).filter(|timeout| !timeout.is_zero()),
            idle_max: Some(config.timeout).filter(|timeout| !timeout.is_zero()),
            slow_least: u64::try_from(config.slowlog_log_slower_than).ok().map(Duration::from_micros),
            latency_least: Some(config.latency_monitor_threshold)
                .filter(|least_ms| *least_ms > 0)
                .map(|least_ms| Duration::from_millis(least_ms.into())),
            slow_log_max: config.slowlog_max_len as usize,
            key_events: config.notify_keyspace_events,
            tracked_keys_max: config.tracking_table_max_keys as usize,
            script_work_max: script_work_max(&config),
            output: config.client_output_buffer_limit,
        }
    }

    /// Takes a new copy if the settings have changed; returns whether they have.
    pub fn refresh(&mut self, settings: &Settings) -> bool {
        let has_changed = self.version != settings.version();
        if has_changed {
            *self = LiveSettings::of(settings);
        }
        has_changed
    }

    /// Returns whether `bytes` of unread output are reason to look at the limits, for a client above the soft one since `since`.
    pub fn output_is_newly_over(&self, is_subscriber: bool, bytes: usize, since: Option<Instant>) -> bool {
        let (limit, is_over) = (self.output.of(is_subscriber), |limit: u64| limit != 0 && bytes as u64 >= limit);
        is_over(limit.hard_bytes) || (since.is_none() && is_over(limit.soft_bytes))
    }

    /// Returns whether a client with `bytes` of unread output, above the soft limit since `since`, is to be disconnected.
    pub fn output_is_over(&self, is_subscriber: bool, bytes: usize, since: &mut Option<Instant>, now: Instant) -> bool {
        let limit = self.output.of(is_subscriber);
        let bytes = bytes as u64;
        if limit.hard_bytes != 0 && bytes >= limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
            *since = None;
            return false;
        }
        now.duration_since(*since.get_or_insert(now)) > limit.soft
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BufferLimit;

    #[test]
    fn output_limits_are_hard_at_once_and_soft_after_a_while() {
        let mut live = LiveSettings::of(&Settings::new(Config::default()));
        live.output.normal = BufferLimit { hard_bytes: 100, soft_bytes: 50, soft: Duration::from_secs(1) };
        live.output.subscriber = BufferLimit { hard_bytes: 1000, ..live.output.normal };
        let (start, mut since) = (Instant::now(), None);
        assert!(live.output_is_over(false, 100, &mut since, start));
        assert!(live.output_is_over(true, 1000, &mut None, start) && !live.output_is_over(true, 999, &mut None, start));
        assert!(!live.output_is_over(false, 60, &mut since, start));
        assert!(!live.output_is_over(false, 10, &mut since, start + Duration::from_secs(3)), "it went below");
        assert!(!live.output_is_over(false, 60, &mut since, start + Duration::from_secs(4)));
        assert!(live.output_is_over(false, 60, &mut since, start + Duration::from_secs(6)));

        assert!(!live.output_is_newly_over(false, 49, None) && live.output_is_newly_over(false, 50, None));
        assert!(!live.output_is_newly_over(false, 99, since) && live.output_is_newly_over(false, 100, since));
    }

    #[test]
    fn in_a_cluster_no_script_is_as_long_as_an_election_takes_to_begin() {
        let of = |config: Config| LiveSettings::of(&Settings::new(config)).script_work_max;
        let alone = Config::default();
        assert_eq!(of(alone.clone()), limits::SCRIPT_WORK_DEFAULT);
        let long = Config { script_work_max: limits::SCRIPT_WORK_MOST as u32, ..alone };
        assert_eq!(of(long.clone()), limits::SCRIPT_WORK_MOST);
        for (ms, work_max) in [(1000, 12_500_000), (200, 2_500_000), (10_000, limits::SCRIPT_WORK_MOST)] {
            let tuned = Config { cluster_enabled: true, election_timeout: Duration::from_millis(ms), ..long.clone() };
            assert_eq!(of(tuned), work_max, "{ms} ms");
        }
    }

    #[test]
    fn a_change_is_all_or_nothing_and_seen_by_cores() {
        let settings = Settings::new(Config::default());
        let mut live = LiveSettings::of(&settings);
        assert!(settings.set_parameters(&[("maxclients", "5"), ("port", "1")]).is_err());
        live.refresh(&settings);
        assert_ne!(live.clients_max, 5);
        settings.set_parameters(&[("maxclients", "5")]).unwrap();
        live.refresh(&settings);
        assert_eq!(live.clients_max, 5);
    }
}
