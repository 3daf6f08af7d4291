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
