//! The promises that a group keeps at every step, whatever fails: Raft's, and ours on top of them.
//!
//! All of it is checked where it happens and costs a few lookups. The first violation ends the run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use basalt_storage::log::LogRecord;

use super::configs::{Config, Configs};
use super::executor;
use super::log_twin::LogFiles;
use super::store_twin::Rows;
use crate::entry::decode_vote;
use crate::ids::{EntryId, NodeId};
use crate::limits::FOLLOWER_GONE_AFTER;
use crate::messages::VoteParts;
use crate::types::Vote;

/// Events that a trace shows, the last ones before a violation; `SIMULATE_EVENTS` says another number.
const TRACE_EVENTS: usize = 400;

/// The longest time from when a leader decides on a purge until it is made.
const PURGE_TAKES: Duration = Duration::from_secs(10);

/// A write that some member has applied.
struct Write {
    term: u64,
    id: u64,
    /// The machine's sum up to it.
    digest: u64,
    /// The newest term in which somebody led when it was applied for the first time.
    known_term: u64,
}

/// Everything that was seen so far.
#[derive(Default)]
pub(crate) struct Checks {
    violation: Option<String>,
    trace: Option<VecDeque<String>>,
    trace_events: usize,
    /// The leader of each term.
    leaders: BTreeMap<u64, NodeId>,
    /// Content of each record and the term of the one before, by index and term.
    records: BTreeMap<(u64, u64), (u64, Option<u64>)>,
    /// The writes that were applied, by index.
    writes: BTreeMap<u64, Write>,
    /// The index of each write that was applied, by its number.
    places: BTreeMap<u64, u64>,
    /// The writes that were refused: nobody may ever apply one.
    refused: BTreeSet<u64>,
    /// The newest index of a write that a client knows of, by its acknowledgement or by having read it.
    known: u64,
    /// Compares answers with what is on disk.
    looks_at_disks: bool,
    /// The logs' files of all members.
    files: BTreeMap<NodeId, Rc<RefCell<LogFiles>>>,
    /// The time when a member was last seen to lead.
    led_at: BTreeMap<NodeId, Duration>,
    /// The memberships that members have.
    pub(crate) configs: Configs,
    pub(crate) counts: Counts,
}

/// Counts of what a run has brought about, so that one that does nothing is noticed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) leaders: u64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) crashes: u64,
    pub(crate) installs: u64,
    pub(crate) truncations: u64,
    pub(crate) changes: u64,
    pub(crate) destroyed: u64,
    pub(crate) lost: u64,
    pub(crate) shutdowns: u64,
}

impl Counts {
    fn numbers(&mut self) -> [&mut u64; 10] {
        let Counts {
            leaders,
            acknowledged,
            reads,
            crashes,
            installs,
            truncations,
            changes,
            destroyed,
            lost,
            shutdowns,
        } = self;
        [leaders, acknowledged, reads, crashes, installs, truncations, changes, destroyed, lost, shutdowns]
    }

    /// Adds those of another run.
    pub(crate) fn add(&mut self, other: &Counts) {
        let mut other = *other;
        for (sum, more) in self.numbers().into_iter().zip(other.numbers()) {
            *sum += *more;
        }
    }

    /// Returns true if each is so many times as large as another's.
    pub(crate) fn is_at_least(&self, least: &Counts, times: u64) -> bool {
        let (mut own, mut least) = (*self, *least);
        own.numbers().into_iter().zip(least.numbers()).all(|(own, least)| *own >= *least * times)
    }
}

impl Checks {
    pub(crate) fn new(files: BTreeMap<NodeId, Rc<RefCell<LogFiles>>>, is_traced: bool, looks_at_disks: bool) -> Checks {
        let trace_events = std::env::var("SIMULATE_EVENTS").ok().and_then(|text| text.parse().ok());
        let trace_events = trace_events.unwrap_or(TRACE_EVENTS);
        Checks { files, trace_events, trace: is_traced.then(VecDeque::new), looks_at_disks, ..Checks::default() }
    }

    /// Notes an event, where somebody will read it.
    pub(crate) fn note(&mut self, event: impl FnOnce() -> String) {
        let Some(trace) = self.trace.as_mut() else { return };
        if trace.len() == self.trace_events {
            trace.pop_front();
        }
        let now = executor::now().unwrap_or_default();
        trace.push_back(format!("{:>12.6} {}", now.as_secs_f64(), event()));
    }

    /// The last events.
    pub(crate) fn trace(&self) -> String {
        self.trace.iter().flatten().fold(String::new(), |text, event| text + event + "\n")
    }

    /// Ends the run.
    pub(crate) fn fail(&mut self, violation: String) {
        self.note(|| format!("VIOLATION {violation}"));
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// A member has appended `records` to its log, in which `get` finds the one before.
    pub(crate) fn appended(&mut self, node: NodeId, get: impl Fn(u64) -> Option<LogRecord>, records: &[LogRecord]) {
        let Some((first, last)) = records.first().zip(records.last()) else { return };
        self.note(|| format!("node {node} appends {}.{} to {}.{}", first.term, first.index, last.term, last.index));
        let mut before = first.index.checked_sub(1).and_then(get).map(|record| record.term);
        for record in records {
            let mut content = DefaultHasher::new();
            record.body.hash(&mut content);
            let found = (content.finish(), before);
            let is_new = !self.records.contains_key(&(record.index, record.term));
            let known = *self.records.entry((record.index, record.term)).or_insert(found);
            // Whose predecessor is purged is not asked for its term.
            let follows = known.1.is_none() || before.is_none() || known.1 == before;
            if known.0 != found.0 || !follows {
                let (index, term) = (record.index, record.term);
                self.fail(format!("logs do not match: node {node} has another entry {term}.{index} than others"));
            }
            before = Some(record.term);
            if let Some(config) = Config::of(record) {
                self.changed(node, config, is_new);
            }
        }
    }

    /// A member has a change of the members in its log; if it is new, a leader has just made it. Then the change before must be
    /// committed, and have a set of voters in common with it.
    fn changed(&mut self, node: NodeId, config: Config, is_new: bool) {
        let Config { entry, sets, .. } = &config;
        self.note(|| format!("node {node} has members at {entry}: voters {sets:?} of {:?}", config.members));
        if let Some(before) = self.configs.before(node, entry.index).filter(|_| is_new) {
            if !config.may_follow(before) {
                let text = format!("the voters of entry {entry} have nothing in common with those of {}", before.entry);
                return self.fail(text);
            }
            if self.looks_at_disks && !before.is_quorum(|voter| self.holds_on_disk(*voter, before.entry)) {
                let text = format!("entry {entry} changes the members while entry {} is not committed", before.entry);
                return self.fail(text);
            }
        }
        self.configs.appended(node, config);
    }

    /// A member has crashed, and has what its disk has.
    pub(crate) fn crashed(&mut self, node: NodeId) {
        let files = self.files[&node].borrow();
        self.configs.retain(node, |entry| files.holds(entry.index, entry.term));
    }

    /// A member removes `removed` from its log. Of what is committed it may remove entries when a snapshot is to take their place,
    /// as long as a quorum has them without this member.
    pub(crate) fn truncated(&mut self, node: NodeId, removed: &[EntryId]) {
        let Some(first) = removed.first() else { return };
        self.counts.truncations += 1;
        self.note(|| format!("node {node} removes {} records from {first} on", removed.len()));
        for entry in removed {
            let is_committed = self.writes.get(&entry.index).is_some_and(|write| write.term == entry.term);
            let mut configs = self.files.keys().flat_map(|any| self.configs.deciding(*any, entry.index));
            let is_safe = configs.any(|config| self.has_quorum(config, *entry, Some(node)));
            drop(configs);
            if is_committed && self.looks_at_disks && !is_safe {
                return self.fail(format!("node {node} removes entry {entry}, which is committed and nowhere else"));
            }
        }
        self.configs.truncated(node, first.index);
    }

    /// A member has applied the write `id`.
    pub(crate) fn applied(&mut self, node: NodeId, entry: EntryId, id: u64, digest: u64) {
        self.note(|| format!("node {node} applies {entry}: write {id}"));
        let EntryId { term, index } = entry;
        if let Some(known) = self.writes.get(&index) {
            if (known.term, known.id) != (term, id) {
                let (term, id) = (known.term, known.id);
                self.fail(format!("node {node} applies another entry {entry} than others: {term}.{index}, write {id}"));
            } else if known.digest != digest {
                self.fail(format!("node {node} has other rows than others after entry {entry}"));
            }
            return;
        }
        if let Some((last, _)) = self.writes.last_key_value().filter(|(last, _)| **last > index) {
            self.fail(format!("node {node} applies entry {entry} as a write, others that went on to {last} did not"));
        }
        if let Some(other) = self.places.insert(id, index) {
            self.fail(format!("write {id} is in the log twice: at {other} and {index}"));
        }
        // Who commits it leads, or has led, in a term that is known by now.
        let known_term = self.leaders.last_key_value().map_or(term, |(term, _)| *term);
        self.writes.insert(index, Write { term, id, digest, known_term });
        if self.refused.contains(&id) {
            self.fail(format!("node {node} applies write {id}, which was refused"));
        }
    }

    /// A client is told that its write was not and will not be executed.
    pub(crate) fn refused(&mut self, node: NodeId, id: u64) {
        self.note(|| format!("node {node} refuses write {id}"));
        self.refused.insert(id);
        if self.places.contains_key(&id) {
            self.fail(format!("node {node} refuses write {id}, which was applied"));
        }
    }

    /// A member goes on with the rows of a snapshot.
    pub(crate) fn installed(&mut self, node: NodeId, rows: &Rows, membership: &[u8]) {
        self.configs.installed(node, membership);
        self.counts.installs += 1;
        self.note(|| format!("node {node} installs a snapshot up to write at {}", rows.last));
        self.check_rows(node, rows, "a snapshot");
    }

    fn check_rows(&mut self, node: NodeId, rows: &Rows, whence: &str) {
        let expected = self.writes.get(&rows.last).map_or(0, |write| write.digest);
        if rows.digest != expected {
            self.fail(format!("node {node} has rows from {whence} that nobody ever had at entry {}", rows.last));
        }
    }

    /// A member leads in `term`; `get` finds the records of its log, `first` is the first of them.
    pub(crate) fn leads(&mut self, node: NodeId, term: u64, first: u64, get: impl Fn(u64) -> Option<LogRecord>) {
        match self.leaders.insert(term, node) {
            Some(known) if known == node => return,
            Some(known) => return self.fail(format!("two leaders in term {term}: nodes {known} and {node}")),
            None => {}
        }
        self.counts.leaders += 1;
        self.note(|| format!("node {node} leads in term {term}"));
        let lost = self.writes.iter().rev().take_while(|(index, _)| **index >= first).find_map(|(index, write)| {
            // One that a later leader has committed may be unknown to who was elected before, and hears of it only now.
            let is_older = write.term < term && write.known_term < term;
            (is_older && get(*index).map(|record| record.term) != Some(write.term)).then_some((*index, write.term))
        });
        if let Some((index, of)) = lost {
            self.fail(format!("node {node} leads in term {term} without entry {of}.{index}, which is committed"));
        }
    }

    /// A member leads now.
    pub(crate) fn leads_still(&mut self, node: NodeId) {
        self.led_at.insert(node, executor::now().unwrap_or_default());
    }

    /// A member purges its log up to an entry that belongs to those which a group of several keeps: this is for leaders, and for
    /// what their followers have on disk.
    pub(crate) fn purges_newest(&mut self, node: NodeId, upto: u64) {
        let now = executor::now().unwrap_or_default();
        if !self.looks_at_disks || now >= FOLLOWER_GONE_AFTER {
            return;
        }
        // Those who were members then, and have been since: who has left in between has let go of what it needed.
        let mut configs = self.configs.deciding(node, upto);
        let Some(then) = configs.next() else { return };
        let members = configs.fold(then.members.clone(), |all, config| &all & &config.members);
        let others: Vec<_> = members.iter().filter(|other| **other != node).collect();
        let needs = |other: &&&NodeId| self.files.get(other).is_some_and(|files| !files.borrow().reaches(upto));
        let leads = self.led_at.get(&node).is_some_and(|at| now - *at < PURGE_TAKES);
        let text = match (others.is_empty(), leads, others.iter().find(needs)) {
            (true, ..) | (_, true, None) => return,
            (_, true, Some(other)) => format!("leader {node} purges entry {upto}, which node {other} needs"),
            (_, false, _) => format!("node {node} purges entry {upto}, which it may have to send as a leader"),
        };
        self.fail(text);
    }

    /// A client is told that its write was executed.
    pub(crate) fn acknowledged(&mut self, node: NodeId, id: u64) {
        self.counts.acknowledged += 1;
        self.note(|| format!("node {node} acknowledges write {id}"));
        let Some((index, write)) = self.places.get(&id).and_then(|at| self.writes.get(at).map(|write| (*at, write)))
        else {
            return self.fail(format!("node {node} acknowledges write {id}, which nobody has applied"));
        };
        let entry = EntryId { term: write.term, index };
        // By the members as anybody has them: who was removed learns late what others have decided.
        let mut configs = self.files.keys().flat_map(|any| self.configs.deciding(*any, index));
        let is_held = configs.any(|config| self.has_quorum(config, entry, None));
        drop(configs);
        if self.looks_at_disks && !is_held {
            self.fail(format!("node {node} acknowledges write {id}, entry {entry}, which no quorum has on disk"));
        }
        self.known = self.known.max(index);
    }

    /// Returns true if a quorum has an entry on disk, also without this member.
    fn has_quorum(&self, config: &Config, entry: EntryId, without: Option<NodeId>) -> bool {
        config.is_quorum(|node| Some(*node) != without && self.holds_on_disk(*node, entry))
    }

    pub(crate) fn holds_on_disk(&self, node: NodeId, entry: EntryId) -> bool {
        self.files.get(&node).is_some_and(|files| files.borrow().holds(entry.index, entry.term))
    }

    /// The oldest state that a linearizable read may show that begins now.
    pub(crate) fn read_begins(&self) -> u64 {
        self.known
    }

    /// A linearizable read that began at `oldest` has shown `rows`.
    pub(crate) fn read_ends(&mut self, node: NodeId, oldest: u64, rows: &Rows) {
        self.counts.reads += 1;
        self.note(|| format!("node {node} is read at {}, {oldest} or newer is expected", rows.last));
        if rows.last < oldest {
            self.fail(format!("a read of node {node} shows entry {}, older than {oldest}", rows.last));
        }
        self.check_rows(node, rows, "a read");
        self.known = self.known.max(rows.last);
    }

    /// A member answers that it has given this vote.
    pub(crate) fn voted(&mut self, node: NodeId, vote: VoteParts) {
        let on_disk = self.vote_on_disk(node);
        let is_older = |on_disk: Vote| {
            let leader = on_disk.leader_id();
            // One of the same term gives way to none but the vote of who has won.
            let is_another =
                (leader.term, on_disk.is_committed()) == (vote.term, false) && leader.voted_for != vote.node;
            leader.term < vote.term || is_another
        };
        if self.looks_at_disks && on_disk.is_none_or(is_older) {
            self.fail(format!("node {node} answers with vote {vote:?}, which is not on its disk: {on_disk:?}"));
        }
    }

    fn vote_on_disk(&self, node: NodeId) -> Option<Vote> {
        self.files[&node].borrow().vote().and_then(|bytes| decode_vote(bytes).ok())
    }

    /// A member answers a leader of `term` that it has entries up to this one. A newer leader may have replaced them before they
    /// were on disk: that does no harm, since of those who elected it nobody had them.
    pub(crate) fn holds(&mut self, node: NodeId, entry: EntryId, term: u64) {
        let has_gone_on = self.vote_on_disk(node).is_some_and(|vote| vote.leader_id().term > term);
        if self.looks_at_disks && !has_gone_on && !self.files[&node].borrow().holds(entry.index, entry.term) {
            self.fail(format!("node {node} answers that it has entry {entry}, which is not on its disk"));
        }
    }

    /// The newest write that anybody has applied.
    pub(crate) fn newest(&self) -> u64 {
        self.writes.last_key_value().map_or(0, |(index, _)| *index)
    }
}
