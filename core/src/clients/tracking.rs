//! The wish of a client to be told when keys change that it keeps copies of (`CLIENT TRACKING`).

use basalt_net::ring::ConnId;

use crate::ids::CoreId;

/// The wish of one connection. The prefixes that it has named are among its subscriptions.
#[derive(Debug, Clone, Default)]
pub struct Tracking {
    /// True if it is told of all keys that begin with its prefixes, and not of those that it has read.
    pub is_broadcast: bool,
    /// True if it is told of what it has read behind `CLIENT CACHING YES` alone.
    pub is_opt_in: bool,
    /// True if it is told of all that it has read but behind `CLIENT CACHING NO`.
    pub is_opt_out: bool,
    /// True if it is not told of what it changes itself.
    pub is_deaf_to_itself: bool,
    /// True if `CLIENT CACHING` was said for the next command or transaction.
    pub is_next_chosen: bool,
    /// The connection that is told in its place.
    pub redirect: Option<Redirect>,
    /// True once that was found to be gone.
    pub is_broken: bool,
    /// True if it was told to drop everything, and has called nothing since.
    pub has_dropped_all: bool,
}

/// A connection that is told in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// Its client's id.
    pub id: u64,
    /// Its core.
    pub core: CoreId,
    /// Its place there.
    pub connection: ConnId,
}

impl Tracking {
    /// Returns whether the keys are tracked that the next command reads.
    pub fn tracks_next(&self) -> bool {
        match (self.is_broadcast, self.is_opt_in, self.is_opt_out) {
            (true, ..) => false,
            (false, true, _) => self.is_next_chosen,
            (false, false, true) => !self.is_next_chosen,
            (false, false, false) => true,
        }
    }
}
