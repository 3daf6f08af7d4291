//! Every bound and wait of this crate that nobody sets. What the core decides comes in [`RingOptions`](crate::ring::RingOptions)
//! and in [`Limits`](crate::resp::Limits).

use std::time::Duration;

// Requests and replies.

/// Arguments that are cheaper to walk over again than to keep between two calls: the walk skips their bytes.
pub(crate) const REWALK_ARGS_MAX: usize = 16;
/// Arguments whose memory is kept for the next command: 8 bytes each, once per core.
pub(crate) const ARGS_KEPT: usize = 64 << 10;
/// Bytes of a bounded reply that are no value yet: the headers of aggregates around the first one, a dozen bytes each.
pub(crate) const HEADERS_BYTES_MAX: usize = 64;

/// Bytes of the first line of a reply that is passed on: an error with a long text in it.
pub(crate) const REPLY_LINE_BYTES_MAX: usize = 1 << 20;

// The ring.

/// Offers of a full submission queue to a kernel that does not take it. It takes all in one, so far more than ever needed.
pub(crate) const PUSH_TRIES_MAX: u32 = 1000;
/// Bytes of wake-ups taken out of the pipe at once: each core may have left one.
pub(crate) const WAKE_BYTES: usize = 64;
/// The longest wait of a ring that is dropped for the kernel to let go of its memory; beyond, the memory is leaked.
pub(crate) const DROP_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for a byte through a socket pair, when a ring is tried out at start-up. It takes microseconds.
pub(crate) const ECHO_WAIT: Duration = Duration::from_secs(2);

// Output.

/// Capacity in bytes that a new output buffer starts with: a pipeline of 16 small replies fits.
pub(crate) const OUTPUT_FIRST_BYTES: usize = 1 << 10;
/// Capacity in bytes beyond which an output buffer goes back to the allocator: a few large replies would hold the memory of many.
pub(crate) const OUTPUT_KEPT_BYTES_MAX: usize = 64 << 10;
/// Bytes of what is being sent that are still sent before the last word to a peer that is cut off: about what its socket takes.
pub(crate) const CUT_REST_BYTES_MAX: usize = 64 << 10;

// Sockets.

/// Probes that a peer may leave unanswered, as in Redis.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;

// Between nodes. What stands in the greeting or in a frame's layout is part of the protocol: PEER.md has it too.

/// The longest frame in bytes, its header included: half a millisecond of a network with 1 Gbit/s, so that is the longest wait of a
/// small message behind a piece of a large one.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 10;
/// The longest payload of a frame before the greeting is over, in bytes: the greeting of version 1 has 108, a refusal has a text.
pub(crate) const GREETING_BYTES_MAX: usize = 1 << 10;
/// The longest text in a refusal, in bytes; what is longer is cut.
pub(crate) const REASON_BYTES_MAX: usize = 400;
/// The longest message in bytes that a node takes unless it says otherwise: a command of 64 MiB, and a batch of 1 MB around it.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 68 << 20;
/// The smallest bound on a message that a node may name: the longest list of a snapshot's files fits, and a batch of small
/// commands.
pub(crate) const MESSAGE_BYTES_LEAST: u32 = 4 << 20;
/// Bytes of messages that one connection joins at a time, unless the node says otherwise: two of the longest.
pub(crate) const JOINED_BYTES_MAX: u32 = 2 * MESSAGE_BYTES_MAX;
/// The longest message in bytes that carries neither entries nor what was published. A snapshot's list of files is the longest:
/// 3.1 MB with the longest names.
pub(crate) const CONTROL_BYTES_MAX: u32 = MESSAGE_BYTES_LEAST;
/// Entries of one message. Beyond, a message of empty ones would take many times its size in memory.
pub(crate) const ENTRIES_MAX: usize = 16 << 10;
/// Published messages in one message between nodes. Beyond, one of empty ones would take many times its size in memory.
pub(crate) const PUBLISHED_MAX: usize = 1024;
/// Groups in one frame of heartbeats or of their answers: it fits into a frame.
pub(crate) const HEARTBEATS_MAX: usize = 512;
/// Files of one snapshot: 2.5 TB in files of 64 MB.
pub(crate) const SNAPSHOT_FILES_MAX: usize = 40_000;
/// The longest name of a snapshot's file in bytes: those of RocksDB have about twenty.
pub(crate) const FILE_NAME_BYTES_MAX: usize = 64;
/// The longest description of a snapshot (its last entry and membership, encoded) in bytes.
pub(crate) const SNAPSHOT_META_BYTES_MAX: usize = 64 << 10;
