//! The rest of transactions whose coordinator has come to no end, and the questions by which it is settled.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use basalt_storage::keyspace::prepared::{self, TransactionId};
use basalt_storage::{Error as StorageError, Store};

use super::is_coordinators;
use crate::entry::spanning::Left;
use crate::ids::{CoreId, Origin, ShardId};
use crate::limits;
use crate::shard::{Shard, ShardHost};

const YES: &[u8] = b":1\r\n";
const NO: &[u8] = b":0\r\n";
/// The reply to who asks about a transaction that is under way.
const UNDER_WAY: &[u8] = b"-BUSY The transaction is under way\r\n";

/// The thing that somebody wants to know of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    /// If it is decided here to execute it.
    Decision(TransactionId),
    /// If there is a part of it here that is not executed.
    Part(TransactionId),
}

/// A question about a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    about: About,
    /// Times that its row was fetched from disk.
    fetches: u32,
    is_fetching: bool,
}

impl Question {
    pub(super) fn new(about: About) -> Question {
        Question { about, fetches: 0, is_fetching: false }
    }
}

/// Something that is left of a transaction.
struct Leftover {
    left: Left,
    /// True while somebody settles it.
    is_busy: bool,
    /// The moment at which somebody began to settle it, and the time that the core had been away by then.
    tried: Option<(Instant, Duration)>,
    /// The time after which it is said that this is in vain.
    said_after: Duration,
}

impl Leftover {
    fn new(left: Left) -> Leftover {
        Leftover { left, is_busy: false, tried: None, said_after: limits::SETTLED_IN_VAIN }
    }
}

/// All that is left of transactions.
#[derive(Default)]
pub(super) struct Leftovers {
    left: HashMap<TransactionId, Leftover>,
    /// Those that nobody settles, in the order in which they are tried. Some may be settled since.
    idle: VecDeque<TransactionId>,
}

impl Leftovers {
    /// All that the rows of a shard have which was just opened.
    ///
    /// # Errors
    /// Those of reading the rows.
    pub(super) fn recovered(store: &Store) -> basalt_storage::Result<Leftovers> {
        let mut leftovers = Leftovers::default();
        for (transaction, others) in prepared::all_decisions(store)? {
            let others = others.into_iter().map(ShardId).collect();
            leftovers.add(transaction, Left::Decision(others));
        }
        for (transaction, prepared) in prepared::all_prepared(store)? {
            leftovers.add(transaction, Left::Part(ShardId(prepared.decided_by)));
        }
        Ok(leftovers)
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn add(&mut self, transaction: TransactionId, left: Left) {
        let before = self.left.insert(transaction, Leftover::new(left));
        if before.is_none_or(|before| before.is_busy) {
            self.idle.push_back(transaction);
        }
    }

    pub(super) fn remove(&mut self, transaction: TransactionId) {
        self.left.remove(&transaction);
    }

    fn next(&mut self, away: Duration) -> Option<(TransactionId, Left)> {
        while let Some(transaction) = self.idle.pop_front() {
            if let Some(leftover) = self.left.get_mut(&transaction).filter(|leftover| !leftover.is_busy) {
                leftover.is_busy = true;
                leftover.tried.get_or_insert((Instant::now(), away));
                return Some((transaction, leftover.left.clone()));
            }
        }
        None
    }

    /// Puts something behind all others that could not be settled.
    fn put_back(&mut self, transaction: TransactionId) {
        let Some(leftover) = self.left.get_mut(&transaction) else { return };
        if std::mem::take(&mut leftover.is_busy) {
            self.idle.push_back(transaction);
        }
    }

    /// All that is to be told by now that it cannot be settled, with the `age` of what was begun as [`Leftover::tried`] says.
    fn in_vain(&mut self, age: impl Fn((Instant, Duration)) -> Duration) -> Vec<(TransactionId, Left)> {
        let mut in_vain = Vec::new();
        for (transaction, leftover) in &mut self.left {
            if leftover.tried.is_some_and(|tried| age(tried) >= leftover.said_after) {
                leftover.said_after = leftover.said_after.saturating_mul(2);
                in_vain.push((*transaction, leftover.left.clone()));
            }
        }
        in_vain
    }
}

impl Shard {
    pub(super) fn ask(&mut self, origin: Origin, about: About, now_ms: u64, host: &mut impl ShardHost) {
        let waiter = self.waiter(origin, Question::new(about));
        self.holding.questions.push(waiter);
        self.take_questions(now_ms, host);
    }

    pub(super) fn take_questions(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let mut count = 0;
        for mut waiter in std::mem::take(&mut self.holding.questions) {
            if waiter.what.is_fetching || !self.is_settled(waiter.below) {
                self.holding.questions.push(waiter);
                continue;
            }
            match self.answer_question(waiter.what, now_ms) {
                Ok(answer) => {
                    count += 1;
                    host.reply(waiter.origin, answer);
                }
                Err(StorageError::Cold(read)) => {
                    (waiter.what.is_fetching, waiter.what.fetches) = (true, waiter.what.fetches + 1);
                    host.warm(self.id, (waiter.origin.core, waiter.origin.client), read, false);
                    self.holding.questions.push(waiter);
                }
                Err(error) => {
                    count += 1;
                    host.reply(waiter.origin, format!("-ERR {error}\r\n").as_bytes());
                }
            }
        }
        count
    }

    fn answer_question(&self, question: Question, now_ms: u64) -> basalt_storage::Result<&'static [u8]> {
        let mut machine = self.machine.borrow_mut();
        let mut look = |look: &dyn Fn(&Store) -> basalt_storage::Result<bool>| {
            // What was evicted again and again it reads itself.
            match question.fetches < limits::QUESTION_FETCHES_MAX {
                true => machine.reading(now_ms, |execution| look(execution.store)),
                false => machine.reading_waiting(now_ms, |execution| look(execution.store)),
            }
        };
        let is_so = match question.about {
            About::Decision(transaction) => look(&|store| prepared::has_decision(store, transaction)),
            About::Part(transaction) => look(&|store| Ok(prepared::prepared(store, transaction)?.is_some())),
        };
        Ok(match (is_so?, question.about) {
            (true, _) => YES,
            // Its coordinator may be about to decide.
            (false, About::Decision(transaction)) if self.holding.held.contains_key(&transaction) => UNDER_WAY,
            (false, _) => NO,
        })
    }

    /// Takes note that rows were fetched for a question of this coordinator, if there is one.
    pub(in crate::shard) fn fetched_for_question(
        &mut self,
        client: (CoreId, u32),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        if !is_coordinators(client.1) {
            return;
        }
        let questions = self.holding.questions.iter_mut();
        for waiter in questions.filter(|waiter| (waiter.origin.core, waiter.origin.client) == client) {
            waiter.what.is_fetching = false;
        }
        self.take_questions(now_ms, host);
    }

    /// Something that is left of a transaction and that nobody settles; from now on the caller does.
    pub fn next_left(&mut self) -> Option<(TransactionId, Left)> {
        self.holding.left.next(self.batches.presence.away())
    }

    /// Notes that what is left of a transaction could not be settled now.
    pub fn leave_for_later(&mut self, transaction: TransactionId) {
        self.holding.left.put_back(transaction);
    }

    /// Notes of what was tried to be settled for long, whether that was refused or nobody has answered, that nobody knows when it
    /// will be. To be called now and then.
    pub(in crate::shard) fn note_settled_in_vain(&mut self, now: Instant) {
        let presence = self.batches.presence;
        for (transaction, left) in self.holding.left.in_vain(|(since, away)| presence.age(since, away, now)) {
            let key_count = self.holding.held.get(&transaction).map_or(0, |held| held.keys.keys.len());
            self.holding.note_stuck(transaction);
            let transaction = format!("{transaction:032x}");
            tracing::warn!(
                shard = self.id.0,
                transaction,
                ?left,
                key_count,
                "a transaction over several shards cannot be settled: a shard that has to do with it is not open, or takes or \
                 says nothing; the keys of its part are refused until it does"
            );
        }
    }

    /// Returns whether what is left of transactions can be settled: it leads its group, and takes requests.
    pub fn may_settle(&self) -> bool {
        self.has_left() && self.group.is_leader() && !self.takes_nothing()
    }

    /// Returns whether something is left of transactions that somebody should settle.
    pub fn has_left(&self) -> bool {
        self.holding.left.len() > 0
    }
}
