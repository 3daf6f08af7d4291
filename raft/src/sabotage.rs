//! Faults that are put into the crate on purpose, to prove that simulations find them. Outside of the crate's own tests there are
//! none, and all that asks for one is gone when it is compiled.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// An append is reported as on disk when it is written, not when it is synced.
    UnsyncedAppends,
    /// The leader takes entries for replicated that it has not sent.
    QuorumOfOne,
    /// A vote is given before it is on disk.
    UnsyncedVotes,
    /// A read asks no quorum.
    NoReadBarrier,
    /// A leader of one goes on as one when it has others beside it.
    AloneForEver,
    /// A member that starts takes learners for voters.
    LearnersVote,
    /// A node that was removed and has forgotten all comes back under its number.
    #[cfg(test)]
    NumbersReused,
    /// Some entries are executed twice.
    AppliedTwice,
    /// A write whose leader was lost is said to have come to nothing.
    SureRefusals,
    /// The log is purged up to where rows are applied, on disk or not.
    PurgedTooFar,
    /// A leader purges what its followers need.
    PurgedBeyondFollowers,
}

#[cfg(test)]
thread_local! {
    static WANTED: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}

/// Has everything on this thread work with this fault from now on, or with none.
#[cfg(test)]
pub(crate) fn want(sabotage: Option<Sabotage>) {
    WANTED.set(sabotage);
}

/// Does `work` without any fault.
#[cfg(test)]
pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
    let wanted = WANTED.take();
    let result = work();
    WANTED.set(wanted);
    result
}

/// Returns true if this fault is wanted.
#[cfg(test)]
pub(crate) fn is(sabotage: Sabotage) -> bool {
    WANTED.get() == Some(sabotage)
}

/// Returns true if this fault is wanted: never.
#[cfg(not(test))]
pub(crate) const fn is(_: Sabotage) -> bool {
    false
}
