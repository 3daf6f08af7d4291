//! The time that commands take: some of them are timed, and those that take long are noted.

use std::time::Instant;

use crate::commands::{Args, table};
use crate::entry::request::RequestHeader;
use crate::node::{CommandStats, CoreStats};

/// The figures of the core that executes a command, and those of the command there.
pub(super) fn figures_of(core: Option<&CoreStats>, asked: u16) -> (Option<&CoreStats>, Option<&CommandStats>) {
    (core, core.and_then(|core| core.by_command.get(usize::from(asked))))
}

/// Notes that a command begins; returns the time if it is one of those that are timed.
#[inline]
pub(super) fn begin(core: Option<&CoreStats>, stats: Option<&CommandStats>) -> Option<Instant> {
    let (core, stats) = (core?, stats?);
    core.slow.begin(stats.is_short);
    stats.time.start()
}

/// Notes that a command has ended.
#[inline]
pub(super) fn end(
    (core, stats): (Option<&CoreStats>, Option<&CommandStats>),
    started: Option<Instant>,
    header: RequestHeader,
    args: Args<'_>,
) {
    let (Some(core), Some(stats)) = (core, stats) else { return };
    if let Some(started) = started {
        stats.time.stop(started);
    }
    if let Some(ns) = core.slow.end() {
        note_slow(core, ns, header, args);
    }
}

/// Notes a command that took long, as its client has called it: a script has its terms in front of its text here.
#[cold]
pub(super) fn note_slow(core: &CoreStats, ns: u64, header: RequestHeader, args: Args<'_>) {
    let Some(command) = table::by_id(header.asked) else { return };
    let name = command.name().to_ascii_uppercase();
    let (name, subcommand) = name.split_once('|').unwrap_or((&name, ""));
    let has_terms = table::by_id(header.command).is_some_and(|step| step.is_undoable);
    let rest = &args[1 + usize::from(has_terms)..];
    debug_assert!(subcommand.is_empty() || !rest.is_empty(), "the word of a subcommand is one of its arguments");
    let words: Vec<&[u8]> = std::iter::once(name.as_bytes()).chain(rest.iter().copied()).collect();
    core.note_slow(ns, command, &words);
}
