//! From a configuration to a node that can start: every check that a machine may fail, each with one sentence that says what to
//! do.
//!
//! The checks also take what they check (the lock of the data directory, the listening sockets, the raised limits), so that
//! nothing can change between the check and the use. Nothing is served yet when [`prepare`] returns.

mod ballast;
mod cores;
mod error;
mod layout;
mod listen;
mod log;
mod manifest;
mod resources;
mod stop;

use std::net::TcpListener;

use basalt_net::ring::probe_io_uring;

pub use ballast::Ballast;
pub use cores::CpuId;
pub use error::BootError;
pub use layout::{DataDir, LaneDir, ShardDir};
pub use log::{LogGuard, start_log};
pub use manifest::{FORMAT_VERSIONS, GroupEntry, GroupState, META_INDEX};
pub use resources::{OpenFiles, OpenTables};
pub use stop::{StopRequest, watch_signals};

use crate::config::{Config, Durability};
use crate::limits::SHARDS_MAX;
use crate::limits::map::REPLICATION_FACTOR;

/// Everything that a node needs to run, checked and taken.
#[derive(Debug)]
pub struct Prepared {
    /// The effective configuration; `maxclients` is lower than it was set where the limit of open files is.
    pub config: Config,
    /// Files that may be open, by their purpose.
    pub open_files: OpenFiles,
    /// The processor of each core, one at least; ascending, and again from the first where cores share processors.
    pub cpus: Vec<CpuId>,
    /// The data directory, locked by this process until dropped.
    pub data: DataDir,
    /// The number of shards that memory and files are divided among at first.
    pub shard_count: u16,
    /// The sockets of `bind` and `port`, listening; with `port = 0` all on the same free port.
    pub listeners: Vec<TcpListener>,
    /// Those for other nodes; none on a node alone.
    pub peer_listeners: Vec<TcpListener>,
    /// Is requested by signals; request it to stop the node from within.
    pub stop: StopRequest,
}

/// Checks that this machine can run a node configured by `config`, and takes what it needs.
///
/// # Errors
/// [`BootError`], whose text is one sentence that says what to do.
pub fn prepare(mut config: Config, stop: StopRequest) -> Result<Prepared, BootError> {
    if config.disable_thp {
        resources::disable_huge_pages();
    }
    resources::raise_memlock()?;
    probe_io_uring()?;
    let cpus = cores::choose(&config.cores, config.pin)?;
    let data = if config.cluster_enabled {
        DataDir::open_in_cluster(&config.dir, cpus.len())?
    } else {
        DataDir::open(&config.dir, config.shards, cpus.len())?
    };
    let shard_count = shards_to_come(&config, &data, cpus.len());
    config.check_memory(shard_count)?;
    // Of other nodes' groups there are replicas, and the group of the map is one more.
    let group_count = if config.cluster_enabled {
        shard_count.saturating_mul(REPLICATION_FACTOR.into()).min(SHARDS_MAX as u16) + 1
    } else {
        shard_count
    };
    let open_files = resources::raise_open_files(&mut config, cpus.len(), group_count)?;
    let listeners = listen::listen(&config)?;
    let peer_listeners = listen::listen_for_peers(&config, &listeners)?;
    announce(&config, &cpus, &data);
    Ok(Prepared { config, open_files, cpus, data, shard_count, listeners, peer_listeners, stop })
}

/// The number of shards that a node prepares for: those of its directory, and in a cluster at least those that it will found.
fn shards_to_come(config: &Config, data: &DataDir, core_count: usize) -> u16 {
    let found = data.shard_count();
    if !config.cluster_enabled {
        return found;
    }
    found.max(config.shards.unwrap_or(core_count as u16))
}

fn announce(config: &Config, cpus: &[CpuId], data: &DataDir) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        cores = cpus.len(),
        shards = data.shard_count(),
        durability = config.durability.word(),
        memory_bytes = config.memory,
        dir = %data.root().display(),
        "starting"
    );
    let lane_count = usize::from(data.lane_count());
    if lane_count < cpus.len() {
        tracing::warn!(
            cores = cpus.len(),
            lanes = lane_count,
            "some cores have no shards: a data directory has as many lanes as there were cores when it was created, or as shards if \
             those are fewer"
        );
    }
    match config.durability {
        Durability::Always => {}
        Durability::Interval => tracing::warn!(
            interval_ms = u64::try_from(config.durability_interval.as_millis()).unwrap_or(u64::MAX),
            "durability = interval: a power failure loses the writes acknowledged within the last interval"
        ),
        Durability::None => tracing::warn!(
            "durability = none: a power failure loses the acknowledged writes that the kernel had not written yet"
        ),
    }
}
