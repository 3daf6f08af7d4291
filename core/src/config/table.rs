//! The one table of settings. A new one is a new row here and nothing else.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::buffer_limit::{OutputLimit, OutputLimits};
use super::byte_size::{Bytes, Memory, show_bytes};
use super::choice::{ChannelsAtFirst, Choice, DebugCommand, Durability, LogFormat, Pinning, ReadConsistency, Redirect};
use super::cpu_list::{CpuChoice, Cpus};
use super::error::ConfigError;
use super::key_event_choice::{KeyEventChoice, KeyEventLetters};
use super::kind::{
    AddressOrBlank, Addresses, Directory, HostName, HostPorts, Kind, LogFilter, Number, Number16, Number32,
    NumberOrAuto,
};
use super::microseconds::MicrosOrNever;
use super::secret::{FileOrBlank, Password, PasswordOrBlank, SecretOrBlank, UserOrBlank};
use super::setting::{Change, Group, Setting, settings};
use super::skipped_entry::{EntryOrNone, SkippedEntry};
use super::source::Source;
use super::time_span::Span;
use super::written::unknown;
use crate::limits::LOG_KEPT_BYTES_MAX;
use crate::limits::MEMTABLES_PER_SHARD;
use crate::limits::{
    ACL_LOG_MAX, BULK_BYTES_MAX, BULK_BYTES_MIN, CLIENTS_MAX, ELECTION_TIMEOUT_MIN, MEMORY_BYTES_MIN,
    MEMTABLE_BYTES_MIN, RAFT_LOG_BYTES_MIN, SCRIPT_WORK_LEAST, SCRIPT_WORK_MOST, SHARD_MEMORY_BYTES_MIN, SHARDS_MAX,
};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const TIB: u64 = 1 << 40;

settings! {
    /// Addresses to accept clients on.
    [Network, Restart] "bind" = bind: Vec<IpAddr>, "127.0.0.1", Addresses;

    /// TCP port to accept clients on; 0 takes any free one and logs it.
    [Network, Restart] "port" = port: u16, "6379",
        Number16(Number { least: 0, most: 65_535, what: "port" });

    /// Clients connected at the same time; one more is told so and disconnected.
    [Network, Live] "maxclients" = maxclients: u32, "10000",
        Number32(Number { least: 1, most: CLIENTS_MAX as u64, what: "clients" });

    /// Disconnects a client after it was idle for this long.
    [Network, Live] "timeout" = timeout: Duration, "0",
        Span { least: Duration::from_secs(1), most: YEAR, zero_means: Some("never"), bare_seconds: true };

    /// Asks an idle client's machine this often whether it is still there.
    [Network, Live] "tcp-keepalive" = tcp_keepalive: Duration, "300",
        Span { least: Duration::from_secs(1), most: DAY, zero_means: Some("never"), bare_seconds: true };

    /// Connections that may wait in the kernel to be accepted.
    [Network, Restart] "tcp-backlog" = tcp_backlog: u32, "511",
        Number32(Number { least: 1, most: 65_535, what: "connections" });

    /// Largest key, value or other single argument of a command, and longest string that APPEND and SETRANGE make.
    [Network, Live] "proto-max-bulk-len" = proto_max_bulk_len: u64, "64mb",
        Bytes { least: BULK_BYTES_MIN, most: BULK_BYTES_MAX, zero_means: None };

    /// Bytes that one client may have sent and the node not yet executed; beyond, it is disconnected.
    [Network, Live] "client-query-buffer-limit" = client_query_buffer_limit: u64, "256mb",
        Bytes { least: BULK_BYTES_MIN, most: 4 * BULK_BYTES_MAX, zero_means: None };

    /// Disconnects a client that leaves more replies than this unread, or more messages if it has subscribed to some.
    [Network, Live] "client-output-buffer-limit" = client_output_buffer_limit: OutputLimits, "normal 256mb 64mb 60 pubsub 32mb 8mb 60",
        OutputLimit;

    /// Most that all clients together may have sent and not had executed, or been answered and not read; beyond, those that hold
    /// most are disconnected, unless they have said CLIENT NO-EVICT ON.
    [Network, Live] "maxmemory-clients" = maxmemory_clients: u64, "0",
        Bytes { least: BULK_BYTES_MIN, most: TIB, zero_means: Some("a sixteenth of memory") };

    /// Events of keys that are told to clients that have subscribed to __keyspace@DB__:KEY or __keyevent@DB__:EVENT, as in Redis.
    /// Without subscribers they cost some tenths of a microsecond each.
    [Network, Live] "notify-keyspace-events" = notify_keyspace_events: KeyEventChoice, "", KeyEventLetters;

    /// Keys that are remembered for clients which keep copies of what they have read (CLIENT TRACKING); beyond, some clients drop
    /// copies that are still good.
    [Network, Live] "tracking-table-max-keys" = tracking_table_max_keys: u32, "1000000",
        Number32(Number { least: 0, most: u32::MAX as u64, what: "keys; 0 is as many as have room" });

    /// Password of the default user, whose commands are those of every client that has not named another one. Give it in the file
    /// or by the variable: flags are seen by all users of the machine.
    [Security, Live] "requirepass" = requirepass: Password, "", PasswordOrBlank;

    /// Refuses clients of other machines while the default user has no password.
    [Security, Live] "protected-mode" = protected_mode: bool, "yes", Choice::<bool>(PhantomData);

    /// File of users, in dir unless its path begins with a slash. Read at the start and by ACL LOAD, written by ACL SAVE, for which
    /// its folder has to be writable. With it, requirepass is not looked at.
    [Security, Restart] "aclfile" = aclfile: Option<PathBuf>, "", FileOrBlank;

    /// Entries of ACL LOG.
    [Security, Live] "acllog-max-len" = acllog_max_len: u32, "128",
        Number32(Number { least: 0, most: ACL_LOG_MAX as u64, what: "entries" });

    /// Channels of publish and subscribe that a new user has.
    [Security, Live] "acl-pubsub-default" = acl_pubsub_default: ChannelsAtFirst, "resetchannels",
        Choice::<ChannelsAtFirst>(PhantomData);

    /// Lets clients call DEBUG: no, yes, or local = those on this machine. It is for tests of programs.
    [Security, Restart] "enable-debug-command" = enable_debug_command: DebugCommand, "no",
        Choice::<DebugCommand>(PhantomData);

    /// User by which this node asks other nodes of the cluster over their port for clients; the default one if there is none.
    [Security, Live] "masteruser" = masteruser: String, "", UserOrBlank;

    /// Password by which this node asks other nodes of the cluster over their port for clients; without one, that of requirepass.
    [Security, Live] "masterauth" = masterauth: Password, "", PasswordOrBlank;

    /// Processors to run on, one core thread each (auto: all but one of eight, and but one at least, which are left to the threads
    /// that sync and compact, to the kernel and to other programs); with pin = no a count may exceed the processors, which the
    /// cores then share.
    [Cores, Restart] "cores" = cores: CpuChoice, "auto", Cpus;

    /// Keeps each core's thread on its processor: auto = if cores lists processors, which are then meant for this node; no = the
    /// kernel may move it to an idle one.
    [Cores, Restart] "pin" = pin: Pinning, "auto", Choice::<Pinning>(PhantomData);

    /// Work that a script may do, in instructions of 2 to 13 ns; beyond, it is stopped and undone. Its core does nothing else
    /// meanwhile, so that in a cluster none does more than takes an eighth of election-timeout.
    [Cores, Live] "script-work-max" = script_work_max: u32, "20000000",
        Number32(Number { least: SCRIPT_WORK_LEAST, most: SCRIPT_WORK_MOST, what: "instructions" });

    /// Shards of a new data directory (auto: one per core); fixed from then on. In a cluster: groups that the node founds for the
    /// slots that it has claimed.
    [Cores, Restart] "shards" = shards: Option<u16>, "auto",
        NumberOrAuto(Number { least: 1, most: SHARDS_MAX as u64, what: "shards" });

    /// Speaks Redis Cluster with clients: a new node begins without slots, keys are known by their slots, there is one database.
    [Cluster, Restart] "cluster-enabled" = cluster_enabled: bool, "no", Choice::<bool>(PhantomData);

    /// Port to accept other nodes on.
    [Cluster, Restart] "cluster-port" = cluster_port: u16, "0",
        Number16(Number { least: 0, most: 65_535, what: "port; 0 is the one for clients and 10000" });

    /// Secret that all nodes of a cluster share, and prove to each other on cluster-port that they know; without one that port
    /// takes whoever knows the cluster's id.
    [Cluster, Restart] "cluster-secret" = cluster_secret: Password, "", SecretOrBlank;

    /// Address that clients and other nodes are told for this one.
    [Cluster, Restart] "cluster-announce-ip" = cluster_announce_ip: Option<IpAddr>, "", AddressOrBlank;

    /// Nodes that form a cluster by themselves, this one among them, as host:port for clients, the same list on all. A node that
    /// has no cluster yet joins the others; when all are there, the slots are dealt to them. Once that has groups nobody
    /// looks at it any more.
    [Cluster, Restart] "cluster-seeds" = cluster_seeds: Vec<String>, "", HostPorts;

    /// Port that clients are told for this node.
    [Cluster, Restart] "cluster-announce-port" = cluster_announce_port: u16, "0",
        Number16(Number { least: 0, most: 65_535, what: "port; 0 is the one that is listened on" });

    /// Port that other nodes are told for this one.
    [Cluster, Restart] "cluster-announce-bus-port" = cluster_announce_bus_port: u16, "0",
        Number16(Number { least: 0, most: 65_535, what: "port; 0 is the one that is listened on" });

    /// Host name that clients are told for this node.
    [Cluster, Restart] "cluster-announce-hostname" = cluster_announce_hostname: String, "", HostName;

    /// The shortest time without a word of its leader before a replica stands for election, the same on all nodes; some wait for
    /// two fifths more, and leaders send a heartbeat four times in it.
    [Cluster, Restart] "election-timeout" = election_timeout: Duration, "1s",
        Span { least: ELECTION_TIMEOUT_MIN, most: Duration::from_secs(60), zero_means: None, bare_seconds: false };

    /// State that reads of this node's clients show in a cluster: linearizable = the newest, of the node that leads; local = what
    /// this node's replica has, as after READONLY, which may be some seconds old; nothing that was not committed.
    [Cluster, Restart] "read-consistency" = read_consistency: ReadConsistency, "linearizable",
        Choice::<ReadConsistency>(PhantomData);

    /// Answer to a command for keys that another node of the cluster leads: moved = its address, as Redis Cluster does, for clients
    /// that know of clusters; proxy = its reply: the command is passed on to it, for clients that know of none.
    [Cluster, Restart] "redirect" = redirect: Redirect, "moved", Choice::<Redirect>(PhantomData);

    /// Data directory.
    [Durability, Restart] "dir" = dir: PathBuf, "basalt-data", Directory;

    /// Moment at which a write is acknowledged: always = after it was synced to disk; interval = at once, synced every
    /// durability-interval; none = at once, synced when the kernel likes.
    [Durability, Restart] "durability" = durability: Durability, "always", Choice::<Durability>(PhantomData);

    /// With durability = interval: how often the log is synced, which is what a power failure can lose.
    [Durability, Restart] "durability-interval" = durability_interval: Duration, "100ms",
        Span { least: Duration::from_millis(1), most: Duration::from_secs(60), zero_means: None, bare_seconds: false };

    /// Tells a client that its write is UNCERTAIN once the log has kept it for this long, and BUSY if the write waits in front of
    /// the log; a slow disk needs less, a stuck one holds clients up no longer.
    [Durability, Live] "write-timeout" = write_timeout: Duration, "60s",
        Span { least: Duration::from_secs(1), most: DAY, zero_means: Some("never"), bare_seconds: false };

    /// Size of one shard's Raft log at which its writes wait until rows are on disk and the oldest part of it can go.
    [Durability, Restart] "raft-log-size-max" = raft_log_size_max: u64, "1gb",
        Bytes { least: RAFT_LOG_BYTES_MIN, most: TIB, zero_means: None };

    /// Size to which a shard's Raft log is kept: rows are written to disk after half as many bytes of it.
    [Durability, Restart] "snapshot-log-size" = snapshot_log_size: u64, "0",
        Bytes { least: RAFT_LOG_BYTES_MIN / 2, most: TIB, zero_means: Some("half of raft-log-size-max") };

    /// Free space of the data directory's disk below which writes are refused until there is space again.
    [Durability, Restart] "disk-reserve" = disk_reserve: u64, "256mb",
        Bytes { least: 1 << 20, most: TIB, zero_means: Some("none") };

    /// Skips one entry of a shard's log, in this start and all later ones: the one that has stopped the shard since it cannot be
    /// executed. All that the entry writes is given up.
    [Durability, Restart] "skip-entry" = skip_entry: Option<SkippedEntry>, "none", EntryOrNone;

    /// Memory for data, caches and client buffers together.
    [Memory, Restart] "memory" = memory: u64, "50%", Memory { least: MEMORY_BYTES_MIN };

    /// Newly written rows that one shard keeps in memory before it writes them out as a file.
    [Memory, Restart] "memtable-bytes" = memtable_bytes: u64, "0",
        Bytes { least: MEMTABLE_BYTES_MIN, most: 64 << 30, zero_means: Some("a share of memory") };

    /// Does without transparent huge pages, whose first use can hold up a core for milliseconds.
    [Memory, Restart] "disable-thp" = disable_thp: bool, "yes", Choice::<bool>(PhantomData);

    /// Level from which on lines are logged, to the standard error.
    [Log, Restart] "log-level" = log_level: String, "info", LogFilter;

    /// Time that a command takes to be noted in SLOWLOG: of its execution, not of waits for the disk or for other nodes. Below two
    /// ticks of the kernel, 8 ms as a rule, each command is timed, which costs some hundredths of a core.
    [Log, Live] "slowlog-log-slower-than" = slowlog_log_slower_than: i64, "10000", MicrosOrNever;

    /// Milliseconds that a command, a turn of a core or the commit of a batch of writes takes to be noted by LATENCY; 0 for none.
    [Log, Live] "latency-monitor-threshold" = latency_monitor_threshold: u32, "0",
        Number32(Number { least: 0, most: u32::MAX as u64, what: "milliseconds" });

    /// Entries of SLOWLOG, as far as they have room in 4 MB for each core.
    [Log, Live] "slowlog-max-len" = slowlog_max_len: u32, "128",
        Number32(Number { least: 0, most: u32::MAX as u64, what: "entries" });

    /// Form of log lines.
    [Log, Restart] "log-format" = log_format: LogFormat, "text", Choice::<LogFormat>(PhantomData);

    /// Runs a timer of 1 ms on every core and shows in INFO how late it was at worst; costs about 1 % of a core each.
    [Log, Restart] "timer-probe" = timer_probe: bool, "no", Choice::<bool>(PhantomData);
}

impl Default for Config {
    fn default() -> Config {
        Config::defaults().expect("every default of the table is valid, and /proc/meminfo tells the machine's memory")
    }
}

impl Config {
    /// Changes one setting of a running node, as `CONFIG SET` asks.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`], [`ConfigError::Fixed`], [`ConfigError::Invalid`] or [`ConfigError::Conflict`]; the
    /// configuration is then as before.
    pub fn change(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let mut changed = self.clone();
        changed.set_live(name, text)?;
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Sets one setting that may change while the node runs, without looking at the others.
    pub(super) fn set_live(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let setting = Setting::find(name).ok_or_else(|| unknown(Source::Command, name))?;
        match setting.change {
            Change::Restart => Err(ConfigError::Fixed(setting.name)),
            Change::Live => setting.set(self, text, &Source::Command),
        }
    }

    /// The path of the file of users, if there is one.
    pub fn acl_file(&self) -> Option<PathBuf> {
        self.aclfile.as_ref().map(|file| self.dir.join(file))
    }

    /// The user and the password by which this node asks others over their ports for clients; `None` if it is everybody's there.
    pub fn for_other_nodes(&self) -> Option<(String, String)> {
        let own = if self.masterauth.text().is_empty() { &self.requirepass } else { &self.masterauth };
        if own.text().is_empty() && self.masteruser.is_empty() {
            return None;
        }
        let user = if self.masteruser.is_empty() { "default" } else { &self.masteruser };
        Some((user.to_owned(), own.text().to_owned()))
    }

    /// Returns whether each core's thread stays on one processor.
    pub fn pins_cores(&self) -> bool {
        match self.pin {
            Pinning::Auto => matches!(self.cores, CpuChoice::List(_)),
            Pinning::Yes => true,
            Pinning::No => false,
        }
    }

    /// Returns the snapshot threshold of a shard in bytes of Raft log, whether it was set or follows from the log's bound.
    pub fn snapshot_log_bytes(&self) -> u64 {
        match self.snapshot_log_size {
            0 => self.raft_log_size_max / 2,
            bytes => bytes,
        }
    }

    /// Bytes of entries that a log keeps for other replicas though their rows are on disk: with what makes a shard write its rows
    /// they are below the size at which writes wait.
    pub fn log_kept_bytes(&self) -> u64 {
        (self.raft_log_size_max.saturating_sub(self.snapshot_log_bytes()) / 2).min(LOG_KEPT_BYTES_MAX)
    }

    /// Checks what no single setting can know of the others.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.client_query_buffer_limit < self.proto_max_bulk_len {
            return conflict(format!(
                "client-query-buffer-limit = {} holds no argument of proto-max-bulk-len = {}: raise the first to {1} or lower \
                 the second",
                show_bytes(self.client_query_buffer_limit),
                show_bytes(self.proto_max_bulk_len),
            ));
        }
        if self.snapshot_log_bytes() > self.raft_log_size_max {
            return conflict(format!(
                "snapshot-log-size = {} lies above raft-log-size-max = {}: the log would be full before a snapshot could \
                 shorten it; set snapshot-log-size to {} or less",
                show_bytes(self.snapshot_log_size),
                show_bytes(self.raft_log_size_max),
                show_bytes(self.raft_log_size_max / 2),
            ));
        }
        match self.shards {
            Some(shards) => self.check_memory(shards),
            None => Ok(()),
        }
    }

    /// Checks that `memory` is enough for so many shards.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`], naming the settings and what would fit.
    pub fn check_memory(&self, shards: u16) -> Result<(), ConfigError> {
        let shards_fit = self.memory / SHARD_MEMORY_BYTES_MIN;
        if u64::from(shards) > shards_fit {
            return conflict(format!(
                "{shards} shards need {} of memory at least, but memory = {}: set --memory {0} or --shards {shards_fit}",
                show_bytes(u64::from(shards) * SHARD_MEMORY_BYTES_MIN),
                show_bytes(self.memory),
                shards_fit = shards_fit,
                shards = shards,
            ));
        }
        // The rest is for logs, clients and caches.
        let memtables = MEMTABLES_PER_SHARD * u64::from(shards);
        let memtables_bytes_max = self.memory / 4 * 3;
        if self.memtable_bytes.saturating_mul(memtables) > memtables_bytes_max {
            return conflict(format!(
                "memtable-bytes = {} for {shards} shards, {MEMTABLES_PER_SHARD} times while one is written out, exceeds three \
                 quarters of memory = {}: set memtable-bytes to {} or less",
                show_bytes(self.memtable_bytes),
                show_bytes(self.memory),
                show_bytes((memtables_bytes_max / memtables) >> 10 << 10),
            ));
        }
        Ok(())
    }
}

fn conflict(sentence: String) -> Result<(), ConfigError> {
    Err(ConfigError::Conflict(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_says_what_it_is() {
        let config = Config::default();

        config.check().expect("the defaults agree with each other");
        assert_eq!((config.port, config.maxclients, config.proto_max_bulk_len), (6379, 10_000, 64 << 20));
        assert_eq!((config.durability, config.tcp_keepalive), (Durability::Always, Duration::from_secs(300)));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_value() {
        let config = Config::default();
        for setting in SETTINGS {
            let mut copy = config.clone();
            let text = setting.value(&config);
            setting.set(&mut copy, &text, &Source::Default).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(copy, config, "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_spelt_with_dashes() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(setting.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", setting.name);
            assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name), "{}", setting.name);
            assert!(setting.help.trim().ends_with('.'), "{}", setting.name);
        }
    }

    #[test]
    fn a_live_setting_changes_and_a_fixed_one_does_not() {
        let mut config = Config::default();

        config.change("MaxClients", "5").expect("maxclients changes live");
        assert_eq!(config.maxclients, 5);

        let refusal = config.change("port", "7000").expect_err("port is fixed").to_string();
        assert_eq!(refusal, "port is read at start only: set it there and restart the node");
        let refusal = config.change("maxclient", "7").expect_err("misspelt").to_string();
        assert!(refusal.contains("did you mean 'maxclients'?"), "{refusal}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_and_change_nothing() {
        let mut config = Config::default();
        let before = config.clone();

        let refusal = config.change("client-query-buffer-limit", "1mb").expect_err("too small").to_string();

        assert!(refusal.contains("proto-max-bulk-len = 64mb"), "{refusal}");
        assert_eq!(config, before);
    }

    #[test]
    fn more_shards_than_memory_holds_are_refused() {
        let config = Config { memory: 64 << 20, ..Config::default() };

        config.check_memory(4).expect("four shards fit in 64 MiB");
        let refusal = config.check_memory(1000).expect_err("a thousand do not").to_string();
        assert!(refusal.contains("--shards"), "{refusal}");

        let config = Config { memtable_bytes: 1 << 30, memory: 1 << 30, ..config };
        assert!(config.check_memory(1).expect_err("no room").to_string().contains("memtable-bytes to 192mb"));
    }
}
