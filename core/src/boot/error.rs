//! Reasons that a node cannot start: one sentence each, saying what was found and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use basalt_net::ring::RingError;

use crate::config::ConfigError;

/// The reason that a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The settings do not fit the machine or the data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The kernel lacks io_uring as the node uses it, or does not let this process use it.
    #[error(transparent)]
    Ring(#[from] RingError),

    /// A resource limit is too low and may not be raised.
    #[error("the {resource} limit is {found} where {needed} is needed: raise it with {advice}")]
    Limit {
        /// The limit's name.
        resource: &'static str,
        /// The hard limit.
        found: String,
        /// The least that is needed, and for what.
        needed: String,
        /// The way to raise it, or to need less.
        advice: String,
    },

    /// The processors asked for are not there, or not for this process.
    #[error("cores = {asked} names {missing}, but this process may run on {available} only: {advice}")]
    Cores {
        /// The setting.
        asked: String,
        /// The first processor of a list that is not there, or a count that is too large.
        missing: String,
        /// The processors that are, as a list.
        available: String,
        /// A value to set instead.
        advice: String,
    },

    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({source}): {advice}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Advice to the operator.
        advice: String,
        /// The system's error.
        source: io::Error,
    },

    /// Another process has the data directory.
    #[error(
        "the data directory {} is in use by {holder}: stop that process, or give this one a directory of its own with --dir",
        .dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that has it, as far as is known.
        holder: String,
    },

    /// The data directory cannot be made, read or written.
    #[error("cannot {doing} {} ({source}): {advice}", .path.display())]
    DataDir {
        /// The attempt that failed, as a verb with its object.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Advice to the operator.
        advice: String,
        /// The system's error.
        source: io::Error,
    },

    /// The data directory was written by another version, a newer one or one from before the first release.
    #[error(
        "the data directory {} has format {found}, written by Basalt {writer}, and this is Basalt {} which reads format {known}: \
         run the version that wrote it, or start with a new --dir",
        .dir.display(), env!("CARGO_PKG_VERSION")
    )]
    OtherFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u64,
        /// The format that this version knows.
        known: u64,
        /// The version that wrote it.
        writer: String,
    },

    /// The data directory has groups that cannot be served.
    #[error("{what}; start a version that serves it, or put back what was there, with its node.toml, from a copy")]
    NotServed {
        /// The groups, and the reason.
        what: String,
    },

    /// The data directory belongs to a node of a cluster.
    #[error(
        "the data directory {} is that of a node in a cluster: start it with --cluster-enabled yes, or another node with a new --dir",
        .dir.display()
    )]
    OfCluster {
        /// The directory.
        dir: PathBuf,
    },

    /// The data directory has another number of shards than was asked for.
    #[error(
        "the data directory {} was created with {found} shards, which is fixed, and --shards asks for {asked}: leave --shards \
         out, or start with a new --dir",
        .dir.display()
    )]
    Shards {
        /// The directory.
        dir: PathBuf,
        /// Its number of shards.
        found: u16,
        /// The setting.
        asked: u16,
    },

    /// The data directory lacks something or holds nonsense; starting would serve less than was acknowledged.
    #[error("the data directory is damaged: {} {what}; restore it from a copy, or start with a new --dir", .path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// The damage, as a clause that follows the path.
        what: String,
    },

    /// The system refused something that works everywhere.
    #[error("cannot {doing} ({source}): check what confines this process (container, seccomp, systemd unit)")]
    System {
        /// The attempt that failed, as a verb with its object.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
}
