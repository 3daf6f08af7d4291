//! Counts of what a core's links do, for INFO.

use basalt_net::peer::ErrorCounts;

/// Running totals of a core's links, but for those that say how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Links that are open now and that this core has made.
    pub dialed_open: usize,
    /// Links that are open now and that others have made.
    pub accepted_open: usize,
    /// Connections that this core has begun to make.
    pub dials: u64,
    /// Those that could not be made, or were not greeted.
    pub dial_failures: u64,
    /// Those that took the place of one that had ended.
    pub reconnects: u64,
    /// Connections that others have made.
    pub accepted: u64,
    /// Those that went to another core.
    pub handed_over: u64,
    /// Those that were closed without a look, since too many had not greeted yet.
    pub strangers_refused: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent, or about to be.
    pub bytes_out: u64,
    /// Questions of this core's groups that got no answer: there was no way to the peer, or it had no answer.
    pub unreached: u64,
    /// Questions that went to another core of the peer, which has the group.
    pub referrals: u64,
    /// Questions whose link ended before the answer came.
    pub lost: u64,
    /// Questions of others that this core could not answer.
    pub unable: u64,
    /// Links cut off since the peer did not read.
    pub cut_off: u64,
    /// Messages of this core's publishers that subscribers of other nodes were given, once for each node.
    pub published_out: u64,
    /// Those that some node was not told of, or has not answered: it may have heard them.
    pub published_lost: u64,
    /// Messages of other nodes' publishers that this one's subscribers were given.
    pub published_in: u64,
    /// Those that were not taken, since too many waited.
    pub published_refused: u64,
    /// Errors of peers, by name.
    pub errors: ErrorCounts,
}

impl Figures {
    /// The figures by name, and the errors by theirs.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let figures = [
            ("dialed_open", self.dialed_open as u64),
            ("accepted_open", self.accepted_open as u64),
            ("dials", self.dials),
            ("dial_failures", self.dial_failures),
            ("reconnects", self.reconnects),
            ("accepted", self.accepted),
            ("handed_over", self.handed_over),
            ("strangers_refused", self.strangers_refused),
            ("messages_in", self.messages_in),
            ("messages_out", self.messages_out),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("unreached", self.unreached),
            ("referrals", self.referrals),
            ("lost", self.lost),
            ("unable", self.unable),
            ("cut_off", self.cut_off),
            ("published_out", self.published_out),
            ("published_lost", self.published_lost),
            ("published_in", self.published_in),
            ("published_refused", self.published_refused),
        ];
        figures.into_iter().chain(self.errors.iter()).collect()
    }
}
