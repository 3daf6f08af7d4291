//! The process' limits of open files and locked memory: raised where that is allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::BootError;
use crate::config::{Config, Redirect};
use crate::limits::{
    CLIENTS_BEFORE_TABLES, CLIENTS_MIN, MEMLOCK_BYTES_MIN, OPEN_FILES_NODE, OPEN_FILES_PER_CORE, OPEN_FILES_PER_SHARD,
    OPEN_LOG_TABLES_MAX, OPEN_LOG_TABLES_MIN, OPEN_ROW_TABLES_MAX, OPEN_ROW_TABLES_MIN,
};

/// Tables that RocksDB keeps open for one shard, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTables {
    /// Of its log.
    pub log: u32,
    /// Of its rows.
    pub rows: u32,
}

impl OpenTables {
    const MOST: OpenTables = OpenTables { log: OPEN_LOG_TABLES_MAX, rows: OPEN_ROW_TABLES_MAX };
    const LEAST: OpenTables = OpenTables { log: OPEN_LOG_TABLES_MIN, rows: OPEN_ROW_TABLES_MIN };

    fn total(self) -> u64 {
        u64::from(self.log) + u64::from(self.rows)
    }

    /// `count` tables, shared out as the most are, but no fewer than the least of either.
    fn share(count: u64) -> OpenTables {
        let (least, most) = (OpenTables::LEAST, OpenTables::MOST);
        let count = count.clamp(least.total(), most.total()) as u32;
        let log = (u64::from(count) * u64::from(most.log) / most.total()) as u32;
        let log = log.max(least.log);
        OpenTables { log, rows: count - log }
    }
}

/// Number of files that a node may have open at once, by their purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// Clients.
    pub clients: u32,
    /// Each shard's tables.
    pub tables: OpenTables,
    /// Relays of commands between nodes of a cluster, for each client that there may be.
    relays_per_client: u32,
    core_count: usize,
    shard_count: u16,
}

impl OpenFiles {
    /// The files that a node would like to have for so many clients.
    pub fn wanted(clients: u32, core_count: usize, shard_count: u16) -> OpenFiles {
        OpenFiles { clients, tables: OpenTables::MOST, relays_per_client: 0, core_count, shard_count }
    }

    /// The same with so many relays for each client.
    pub fn with_relays(self, relays_per_client: u32) -> OpenFiles {
        OpenFiles { relays_per_client, ..self }
    }

    fn per_client(&self) -> u64 {
        1 + u64::from(self.relays_per_client)
    }

    /// Returns the number of all of them.
    pub fn total(&self) -> u64 {
        u64::from(self.clients) * self.per_client() + self.beside_clients()
    }

    fn beside_clients(&self) -> u64 {
        self.fixed() + self.tables.total() * u64::from(self.shard_count)
    }

    /// Files of the node, its cores and its shards that are neither clients nor tables.
    fn fixed(&self) -> u64 {
        OPEN_FILES_NODE
            + OPEN_FILES_PER_CORE * self.core_count as u64
            + OPEN_FILES_PER_SHARD * u64::from(self.shard_count)
    }

    /// The least that a node can do with.
    fn least(&self) -> OpenFiles {
        OpenFiles { clients: self.clients.min(CLIENTS_MIN), tables: OpenTables::LEAST, ..*self }
    }

    /// The best that fits in `limit` files: some clients, then tables, then more clients. `None` if not even the least does.
    fn within(&self, limit: u64) -> Option<OpenFiles> {
        if limit < self.least().total() {
            return None;
        }
        let left = limit - self.fixed();
        let clients_first = u64::from(self.clients.min(CLIENTS_BEFORE_TABLES)) * self.per_client();
        let tables = OpenTables::share(left.saturating_sub(clients_first) / u64::from(self.shard_count.max(1)));
        let fitting = OpenFiles { clients: 0, tables, ..*self };
        let clients = (limit.saturating_sub(fitting.total()) / self.per_client()).min(u64::from(self.clients));
        Some(OpenFiles { clients: clients as u32, ..fitting })
    }

    /// Raises the limit of open files to these, or as far as it goes: what is returned is what it is enough for.
    ///
    /// # Errors
    /// [`BootError::Limit`] when the hard limit is too low for a node with few clients.
    pub fn raise(&self) -> Result<OpenFiles, BootError> {
        let Err(Short { hard }) = raise(Resource::RLIMIT_NOFILE, self.total()) else { return Ok(*self) };
        let fitting = self.within(hard).filter(|fitting| raise(Resource::RLIMIT_NOFILE, fitting.total()).is_ok());
        let least = self.least();
        fitting.ok_or_else(|| BootError::Limit {
            resource: "open files",
            found: hard.to_string(),
            needed: format!(
                "{} ({} clients, {} for {} shards and {} cores)",
                least.total(),
                least.clients,
                least.beside_clients(),
                self.shard_count,
                self.core_count,
            ),
            advice: format!(
                "LimitNOFILE={0} in the systemd unit, --ulimit nofile={0} of the container or ulimit -Hn, which is enough for {1} \
                 clients",
                self.total(),
                self.clients,
            ),
        })
    }

    /// Raises the limit of open files for so many clients, with the tables there are.
    ///
    /// # Errors
    /// How many clients the hard limit is enough for.
    pub fn raise_for_clients(&self, clients: u32) -> Result<(), u32> {
        raise(Resource::RLIMIT_NOFILE, OpenFiles { clients, ..*self }.total()).map_err(|Short { hard }| {
            let fitting = hard.saturating_sub(self.beside_clients()) / self.per_client();
            u32::try_from(fitting).unwrap_or(u32::MAX)
        })
    }
}

/// Raises the limit of open files to what `config` needs. Where that is not allowed, as many clients are let in as fit:
/// `maxclients` becomes their number.
///
/// # Errors
/// [`BootError::Limit`] when the hard limit is too low for a node with few clients.
pub(super) fn raise_open_files(
    config: &mut Config,
    core_count: usize,
    shard_count: u16,
) -> Result<OpenFiles, BootError> {
    // A node of a cluster takes as many of others as it lets clients in, and makes as many if it passes commands on.
    let relays_per_client = match config.redirect {
        _ if !config.cluster_enabled => 0,
        Redirect::Moved => 1,
        Redirect::Proxy => 2,
    };
    let wanted = OpenFiles::wanted(config.maxclients, core_count, shard_count).with_relays(relays_per_client);
    let fitting = wanted.raise()?;
    if fitting.clients < wanted.clients {
        tracing::warn!(
            maxclients = fitting.clients,
            wanted = wanted.clients,
            files = fitting.total(),
            files_wanted = wanted.total(),
            "the hard limit of open files is too low for maxclients: fewer clients are let in; LimitNOFILE= in the systemd unit, \
             --ulimit nofile= of the container or ulimit -Hn raises it"
        );
        config.maxclients = fitting.clients;
    } else if fitting != wanted {
        tracing::warn!(
            files = fitting.total(),
            files_wanted = wanted.total(),
            "the hard limit of open files is low: fewer tables are kept open, and reads from disk open them more often"
        );
    }
    Ok(fitting)
}

/// Raises the limit of locked memory to what the executors of the cores demand.
pub(super) fn raise_memlock() -> Result<(), BootError> {
    raise(Resource::RLIMIT_MEMLOCK, MEMLOCK_BYTES_MIN).map_err(|short| BootError::Limit {
        resource: "locked memory",
        found: format!("{} bytes", short.hard),
        needed: format!("{MEMLOCK_BYTES_MIN} bytes"),
        advice: String::from(
            "LimitMEMLOCK=infinity in the systemd unit, --ulimit memlock=-1 of the container or ulimit -Hl",
        ),
    })
}

/// Has the kernel give this process no transparent huge pages.
///
/// Random reads of much memory are a tenth faster with them, where the kernel gives them to everybody. But the first write to one
/// clears 2 MiB, and takes those from the host of a virtual machine: a memtable that grows met that again and again, and the
/// P99 of SET -c 50 -P 16 was 6.4 ms instead of 2.7 (medians of six runs of redis-benchmark, interleaved).
pub(super) fn disable_huge_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "transparent huge pages stay enabled");
    }
}

/// The hard limit is below what is needed.
struct Short {
    hard: u64,
}

/// Makes the soft limit of `resource` at least `needed`, raising the hard one too where this process may.
fn raise(resource: Resource, needed: u64) -> Result<(), Short> {
    let (soft, hard) = getrlimit(resource).map_err(|_| Short { hard: 0 })?;
    if soft >= needed {
        return Ok(());
    }
    setrlimit(resource, needed, hard.max(needed)).map_err(|_| Short { hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_disabled_for_the_process() {
        disable_huge_pages();
        assert_eq!(nix::sys::prctl::get_thp_disable(), Ok(true));
        nix::sys::prctl::set_thp_disable(false).expect("it was allowed a moment ago");
    }

    #[test]
    fn the_soft_limit_is_raised_to_what_is_needed() {
        let wanted = OpenFiles::wanted(2_000, 2, 2);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a readable limit");
        assert!(hard >= wanted.total(), "this test needs a hard limit of {} open files, it is {hard}", wanted.total());
        setrlimit(Resource::RLIMIT_NOFILE, 1_000, hard).expect("a soft limit may be lowered");

        assert_eq!(wanted.raise().expect("the hard limit allows it"), wanted);

        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((wanted.total(), hard)));
    }

    #[test]
    fn clients_and_tables_are_fewer_where_the_limit_is_lower() {
        let wanted = OpenFiles::wanted(10_000, 2, 2);
        let fitting =
            |limit| wanted.within(limit).map(|fitting| (fitting.clients, fitting.tables.log, fitting.tables.rows));
        assert_eq!(wanted.total(), 10_000 + 64 + 2 * 32 + 2 * (64 + 512 + 1024));
        assert_eq!(fitting(wanted.total()), Some((10_000, 512, 1024)));
        assert_eq!(fitting(wanted.total() - 1), Some((9_999, 512, 1024)), "all tables, and fewer clients");
        assert_eq!(fitting(4096), Some((1000, 473, 947)), "a thousand clients, and fewer tables");
        assert_eq!(fitting(1024), Some((512, 64, 64)), "few tables, and as many clients as are left");
        assert_eq!(fitting(528), Some((16, 64, 64)), "the least");
        assert_eq!(fitting(527), None);
        for limit in 528..=wanted.total() {
            let fitting = wanted.within(limit).expect("the least fits");
            assert!(fitting.total() <= limit && fitting.total() + 1 >= limit, "{fitting:?} of {limit}");
        }
        // A node that passes commands on needs three for each client.
        let proxy = wanted.with_relays(2);
        assert_eq!(proxy.total(), wanted.total() + 20_000);
        assert_eq!(proxy.within(proxy.total()), Some(proxy));
        assert_eq!(proxy.within(proxy.total() - 1).map(|fitting| fitting.clients), Some(9_999));
        for limit in 560..=proxy.total() {
            let fitting = proxy.within(limit).expect("the least fits");
            assert!(fitting.total() <= limit && fitting.total() + 3 >= limit, "{fitting:?} of {limit}");
        }
        // Whoever wants few clients gets them first.
        let few = OpenFiles::wanted(100, 2, 2).within(1024).expect("they fit");
        assert_eq!((few.clients, few.tables.log + few.tables.rows), (100, 334));
        assert_eq!(OpenFiles::wanted(1, 2, 2).within(513).map(|fitting| fitting.clients), Some(1));
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_refused_with_what_is_needed() {
        // Above /proc/sys/fs/nr_open not even root may go.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a readable limit");
        let nr_open: u64 =
            std::fs::read_to_string("/proc/sys/fs/nr_open").expect("proc").trim().parse().expect("a number");
        let per_shard = OPEN_FILES_PER_SHARD + OpenTables::LEAST.total();
        let shard_count = u16::try_from((hard.max(nr_open) / per_shard + 1).min(u64::from(u16::MAX))).expect("bounded");
        let wanted = OpenFiles::wanted(1_000_000, 2, shard_count);
        let least = wanted.least().total();
        assert!(least > hard.max(nr_open), "{least} open files are not out of reach here");

        let refusal = wanted.raise().expect_err("out of reach").to_string();

        assert!(
            refusal.starts_with(&format!("the open files limit is {hard} where {least} (16 clients, ")),
            "{refusal}"
        );
        assert!(refusal.contains(&format!("LimitNOFILE={} ", wanted.total())), "{refusal}");
    }
}
