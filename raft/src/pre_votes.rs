//! Questions for whether there would be a vote, from one that its peers do not want: less and less often.
//!
//! A member that was removed may never hear of it. It hears of no leader any more, and asks all others again and again, who refuse
//! because they have one. One that a leader only cannot reach asks the same, so it is let ask at its own pace for a while.
//!
//! What a newcomer would get wrong: silence is no refusal. A group whose members do not reach each other has to elect a leader as
//! soon as they do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::limits::{PRE_VOTE_WAIT_MAX, PRE_VOTES_REFUSED};
use crate::source::Instant;
use crate::types::VoteResponse;

/// Holds back a member's questions for whether there would be a vote.
pub(crate) struct PreVotes {
    /// The questions of one round follow each other by less, those of two rounds by more.
    round: Duration,
    /// The begin of the newest round.
    since: Cell<Option<Instant>>,
    /// Rounds in a row that were refused, the newest included.
    refused: Cell<u32>,
    /// The answer that refused the newest round, or the one before while that has no answer.
    refusal: RefCell<Option<VoteResponse>>,
    is_refused: Cell<bool>,
}

impl PreVotes {
    /// For a member that waits so long for a leader, at least, before it asks.
    pub(crate) fn new(election_timeout: Duration) -> PreVotes {
        PreVotes {
            round: election_timeout / 2,
            since: Cell::new(None),
            refused: Cell::new(0),
            refusal: RefCell::new(None),
            is_refused: Cell::new(false),
        }
    }

    /// Returns the answer to a question that is not to be asked now: the one that others like it were given. `None` if it is to be
    /// asked.
    pub(crate) fn held_back(&self) -> Option<VoteResponse> {
        let now = Instant::now();
        let passed = self.since.get().map(|since| now - since);
        if passed.is_some_and(|passed| passed < self.round) {
            return None;
        }
        let refusal = self.refusal.borrow();
        if let (Some(passed), Some(refusal)) = (passed, &*refusal)
            && passed < wait_after(self.refused.get())
        {
            return Some(refusal.clone());
        }
        if !self.is_refused.take() {
            self.refused.set(0);
        }
        self.since.set(Some(now));
        None
    }

    /// Notes the answer to one that was asked.
    pub(crate) fn note(&self, answer: &VoteResponse) {
        if answer.vote_granted {
            return;
        }
        *self.refusal.borrow_mut() = Some(answer.clone());
        if !self.is_refused.replace(true) {
            self.refused.set(self.refused.get().saturating_add(1));
        }
    }

    /// A leader counts this member among the group's: it asks at its own pace again.
    pub(crate) fn reset(&self) {
        self.since.set(None);
        self.refused.set(0);
        self.is_refused.set(false);
        *self.refusal.borrow_mut() = None;
    }
}

/// The wait after so many rounds in a row that were refused.
fn wait_after(refused: u32) -> Duration {
    match refused.checked_sub(PRE_VOTES_REFUSED) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << more.min(16)).min(PRE_VOTE_WAIT_MAX),
    }
}
