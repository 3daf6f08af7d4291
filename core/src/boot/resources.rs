//! The process' limits of open files and locked memory: raised where that is allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::BootError;
use crate::config::Config;
use crate::limits::{MEMLOCK_BYTES_MIN, OPEN_FILES_NODE, OPEN_FILES_PER_CORE, OPEN_FILES_PER_SHARD};

/// Returns how many files a node may have open at once: its clients, its shards' tables, its cores' rings.
pub fn open_files_needed(maxclients: u32, core_count: usize, shard_count: u16) -> u64 {
    u64::from(maxclients)
        + OPEN_FILES_NODE
        + OPEN_FILES_PER_CORE * core_count as u64
        + OPEN_FILES_PER_SHARD * u64::from(shard_count)
}

/// Raises the limit of open files to what `config` needs; also before `maxclients` grows in a running node.
///
/// # Errors
/// [`BootError::Limit`] when the hard limit is lower; its text names the `maxclients` that would fit.
pub fn raise_open_files(config: &Config, core_count: usize, shard_count: u16) -> Result<(), BootError> {
    let needed = open_files_needed(config.maxclients, core_count, shard_count);
    raise(Resource::RLIMIT_NOFILE, needed).map_err(|short| {
        let others = needed - u64::from(config.maxclients);
        let less = match short.hard.checked_sub(others) {
            Some(clients @ 1..) => format!(", or set --maxclients {clients}"),
            _ => String::new(),
        };
        BootError::Limit {
            resource: "open files",
            found: short.hard.to_string(),
            needed: format!("{needed} ({} clients, {others} for {shard_count} shards and {core_count} cores)", config.maxclients),
            advice: format!("LimitNOFILE={needed} in the systemd unit, --ulimit nofile={needed} of the container or ulimit -Hn{less}"),
        }
    })
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
        let config = Config { maxclients: 2_000, ..Config::default() };
        let needed = open_files_needed(2_000, 2, 2);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a readable limit");
        assert!(hard >= needed, "this test needs a hard limit of {needed} open files, it is {hard}");
        setrlimit(Resource::RLIMIT_NOFILE, 1_000, hard).expect("a soft limit may be lowered");

        raise_open_files(&config, 2, 2).expect("the hard limit allows it");

        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((needed, hard)));
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_refused_with_what_would_fit() {
        // Above /proc/sys/fs/nr_open not even root may go.
        let config = Config { maxclients: 1_000_000, ..Config::default() };
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a readable limit");
        let nr_open: u64 =
            std::fs::read_to_string("/proc/sys/fs/nr_open").expect("proc").trim().parse().expect("a number");
        let shard_count =
            u16::try_from((hard.max(nr_open) / OPEN_FILES_PER_SHARD + 1).min(u64::from(u16::MAX))).expect("bounded");
        let needed = open_files_needed(config.maxclients, 2, shard_count);
        assert!(needed > hard.max(nr_open), "{needed} open files are not out of reach here");

        let refusal = raise_open_files(&config, 2, shard_count).expect_err("out of reach").to_string();

        assert!(refusal.starts_with(&format!("the open files limit is {hard} where {needed} ")), "{refusal}");
        assert!(refusal.contains(&format!("LimitNOFILE={needed}")), "{refusal}");
    }
}
