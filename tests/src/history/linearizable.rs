//! Histories of GET, SET, INCR and APPEND on one key: there is an order of the operations, each of them between its call and its
//! answer, in which one key of one server gives all the answers.
//!
//! The search of Wing and Gong (1993), with Lowe's memory (2017) of what was tried: two ways to the same set of operations with the
//! same value behind them go on alike. A read that fits is taken at once, since whatever comes after it could have come after it
//! anyway; so only writes are tried in one order and another.

use std::collections::HashSet;

use super::operation::{Action, Operation, Outcome};

/// Configurations that are looked at, at most: more would be a history of too many operations at a time, not a wrong one.
const CONFIGURATIONS_MAX: usize = 3_000_000;

/// The value of the key.
type Value = Option<String>;

/// The operations that have been taken, a bit each.
type Taken = Box<[u64]>;

/// A way to go on: the operations that were taken, the value after them, and the writes that may be next.
struct Configuration {
    taken: Taken,
    value: Value,
    next: Vec<usize>,
}

/// Checks the operations on one key.
///
/// # Errors
/// Where the search came furthest, and what did not fit there; or that it was given up.
pub fn check(operations: &[&Operation]) -> Result<(), String> {
    let mut search = Search::new(operations);
    let mut way = vec![search.configuration(vec![0; operations.len().div_ceil(64)].into(), None)];
    let mut seen: HashSet<(Taken, Value)> = HashSet::new();
    while let Some(last) = way.last_mut() {
        if search.is_whole(&last.taken) {
            return Ok(());
        }
        let Some(next) = last.next.pop() else {
            way.pop();
            continue;
        };
        let Some(value) = search.operations[next].after(&last.value) else { continue };
        let mut taken = last.taken.clone();
        take(&mut taken, next);
        let configuration = search.configuration(taken, value);
        if seen.insert((configuration.taken.clone(), configuration.value.clone())) {
            way.push(configuration);
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return Err(format!("not decided after {CONFIGURATIONS_MAX} configurations, {}", search.furthest));
        }
    }
    Err(search.furthest)
}

fn take(taken: &mut Taken, place: usize) {
    taken[place / 64] |= 1 << (place % 64);
}

fn is_taken(taken: &Taken, place: usize) -> bool {
    taken[place / 64] & (1 << (place % 64)) != 0
}

struct Search<'a> {
    /// In the order of their calls.
    operations: Vec<&'a Operation>,
    known: usize,
    furthest_known: usize,
    furthest: String,
}

impl<'a> Search<'a> {
    fn new(operations: &[&'a Operation]) -> Search<'a> {
        let mut operations: Vec<&Operation> =
            operations.iter().copied().filter(|operation| may_matter(operation, operations)).collect();
        operations.sort_by_key(|operation| operation.called);
        let known = operations.iter().filter(|operation| operation.ended.is_some()).count();
        Search { operations, known, furthest_known: 0, furthest: String::from("nothing fits") }
    }

    /// The number of operations taken whose answer is known.
    fn known(&self, taken: &Taken) -> usize {
        let is_known = |place: &usize| is_taken(taken, *place) && self.operations[*place].ended.is_some();
        (0..self.operations.len()).filter(is_known).count()
    }

    fn is_whole(&self, taken: &Taken) -> bool {
        self.known(taken) == self.known
    }

    /// The places of operations that may be next: none that was not taken was answered before they were called.
    fn candidates(&self, taken: &Taken) -> Vec<usize> {
        let (mut candidates, mut first_end) = (Vec::new(), u64::MAX);
        for (place, operation) in self.operations.iter().enumerate() {
            if operation.called > first_end {
                break;
            }
            if !is_taken(taken, place) {
                candidates.push(place);
                first_end = first_end.min(operation.end());
            }
        }
        candidates.retain(|place| self.operations[*place].called <= first_end);
        candidates
    }

    /// Takes all reads that fit now, and gives the writes that may come then, the most urgent one last.
    fn configuration(&mut self, mut taken: Taken, value: Value) -> Configuration {
        let next = loop {
            let candidates = self.candidates(&taken);
            let fits = |place: &usize| {
                let operation = self.operations[*place];
                operation.action.is_read() && operation.after(&value).is_some()
            };
            let reads: Vec<usize> = candidates.iter().copied().filter(fits).collect();
            if reads.is_empty() {
                break candidates;
            }
            reads.into_iter().for_each(|read| take(&mut taken, read));
        };
        let known = self.known(&taken);
        if known >= self.furthest_known {
            self.furthest_known = known;
            let waiting: Vec<&Operation> = next.iter().map(|place| self.operations[*place]).collect();
            self.furthest =
                format!("{known} of {} fit, then {value:?} is there, and next are {waiting:#?}", self.known);
        }
        let mut next: Vec<usize> = next.into_iter().filter(|place| !self.operations[*place].action.is_read()).collect();
        next.sort_by_key(|place| self.operations[*place].end());
        self.leave_out_alike(&mut next);
        next.reverse();
        Configuration { taken, value, next }
    }

    /// Of operations that are alike and whose end is not known, one is enough to be tried: the one that was called first.
    fn leave_out_alike(&self, next: &mut Vec<usize>) {
        let mut first: Vec<&Action> = Vec::new();
        next.retain(|place| {
            let operation = self.operations[*place];
            let is_new = operation.ended.is_some() || !first.contains(&&operation.action);
            if is_new && operation.ended.is_none() {
                first.push(&operation.action);
            }
            is_new
        });
    }
}

/// Returns false for a write of which no answer came, if nothing that is known could have seen it: then it need not have been.
/// Where there are only SET and GET, it is seen by its value; where there are only APPEND and GET, by the last read at the latest.
fn may_matter(operation: &Operation, all: &[&Operation]) -> bool {
    if operation.ended.is_some() {
        return true;
    }
    let are_all = |is_one: fn(&Action) -> bool| all.iter().all(|one| one.action == Action::Get || is_one(&one.action));
    match &operation.action {
        Action::Get | Action::Range => false,
        Action::Set(value) if are_all(|action| matches!(action, Action::Set(_))) => {
            all.iter().filter_map(|one| one.value_read()).any(|read| read == value)
        }
        Action::Append(value) if are_all(|action| matches!(action, Action::Append(_))) => {
            let last = all.iter().max_by_key(|one| one.called).expect("this is one of them");
            let comes_last = all.iter().all(|one| one == last || one.ended.is_none() || one.end() < last.called);
            !comes_last || last.value_read().is_none_or(|read| read.contains(value))
        }
        _ => true,
    }
}

impl Operation {
    /// The value that it has read, if it has read one.
    fn value_read(&self) -> Option<&String> {
        match &self.ended {
            Some((_, Outcome::Value(value))) => value.as_ref(),
            _ => None,
        }
    }

    /// The value after it on one that was `before`; `None` if its answer would have been another one.
    fn after(&self, before: &Value) -> Option<Value> {
        let answer = self.ended.as_ref().map(|(_, outcome)| outcome);
        let (after, expected) = match &self.action {
            Action::Get => (before.clone(), Outcome::Value(before.clone())),
            Action::Set(value) => (Some(value.clone()), Outcome::Done),
            Action::Incr => match before.as_deref().unwrap_or("0").parse::<i64>() {
                Ok(number) => (Some((number + 1).to_string()), Outcome::Number(number + 1)),
                // It is refused, which nobody hears.
                Err(_) if answer.is_none() => return Some(before.clone()),
                Err(_) => return None,
            },
            Action::Append(value) => {
                let value = before.as_deref().unwrap_or_default().to_owned() + value;
                let length = i64::try_from(value.len()).expect("it is in memory");
                (Some(value), Outcome::Number(length))
            }
            Action::Push(_) | Action::Range => return None,
        };
        answer.is_none_or(|answer| *answer == expected).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::operation::testing::{known, unknown};
    use super::*;

    fn set(client: usize, called: u64, ended: u64, value: &str) -> Operation {
        known(client, called, ended, Action::Set(value.to_owned()), Outcome::Done)
    }

    fn get(client: usize, called: u64, ended: u64, value: &str) -> Operation {
        let value = (!value.is_empty()).then(|| value.to_owned());
        known(client, called, ended, Action::Get, Outcome::Value(value))
    }

    fn incr(client: usize, called: u64, ended: u64, value: i64) -> Operation {
        known(client, called, ended, Action::Incr, Outcome::Number(value))
    }

    fn append(client: usize, called: u64, ended: u64, value: &str, length: i64) -> Operation {
        known(client, called, ended, Action::Append(value.to_owned()), Outcome::Number(length))
    }

    fn set_in_the_dark(client: usize, called: u64, value: &str) -> Operation {
        unknown(client, called, Action::Set(value.to_owned()))
    }

    fn check_all(operations: &[Operation]) -> Result<(), String> {
        check(&operations.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_can_have_been_is_right() {
        let right: [&[Operation]; 9] = [
            &[],
            &[set(1, 0, 10, "a"), get(2, 5, 6, ""), get(2, 7, 8, "a"), get(1, 11, 12, "a")],
            // A read beside a write sees it or not, and who reads later does not see less.
            &[set(1, 0, 1, "a"), set(2, 2, 9, "b"), get(1, 3, 4, "a"), get(3, 5, 6, "b"), get(1, 7, 8, "b")],
            // Answers that come later than what they have seen.
            &[set(1, 0, 10, "a"), set(2, 0, 10, "b"), get(1, 11, 12, "a"), get(2, 13, 14, "a")],
            &[incr(1, 0, 10, 2), incr(2, 5, 6, 1), get(2, 11, 12, "2")],
            &[
                append(1, 0, 9, "a", 1),
                append(2, 0, 9, "bc", 3),
                get(1, 10, 11, "abc"),
                set(1, 12, 13, "5"),
                incr(1, 14, 15, 6),
            ],
            // No answer came: it takes effect late, or never.
            &[set_in_the_dark(1, 0, "z"), set(2, 1, 2, "a"), get(2, 3, 4, "a"), get(2, 5, 6, "z"), get(2, 7, 8, "z")],
            &[set_in_the_dark(1, 0, "z"), set(2, 1, 2, "a"), get(2, 3, 4, "a")],
            &[
                incr(1, 0, 1, 1),
                unknown(2, 2, Action::Incr),
                unknown(3, 2, Action::Incr),
                incr(1, 5, 6, 3),
                get(1, 7, 8, "4"),
            ],
        ];
        for history in right {
            assert_eq!(check_all(history), Ok(()));
        }
    }

    #[test]
    fn what_cannot_have_been_is_found() {
        let wrong: [(&str, &[Operation]); 13] = [
            ("a stale read", &[set(1, 0, 1, "a"), set(1, 2, 3, "b"), get(2, 4, 5, "a")]),
            ("a lost write", &[set(1, 0, 1, "a"), get(1, 2, 3, "")]),
            ("acknowledged, seen, then lost", &[set(1, 0, 1, "a"), get(2, 2, 3, "a"), get(2, 4, 5, "")]),
            ("a write that comes back", &[set(1, 0, 1, "a"), set(1, 2, 3, "b"), get(2, 4, 5, "b"), get(2, 6, 7, "a")]),
            ("a later read sees less", &[set(1, 0, 9, "a"), get(2, 1, 2, "a"), get(3, 3, 4, "")]),
            ("counted twice", &[incr(1, 0, 1, 1), incr(1, 2, 3, 3)]),
            (
                "counted twice by one that nobody heard of",
                &[incr(1, 0, 1, 1), unknown(2, 0, Action::Incr), get(1, 2, 3, "3")],
            ),
            ("the same number twice", &[incr(1, 0, 9, 1), incr(2, 0, 9, 1)]),
            ("a count that is lost", &[incr(1, 0, 1, 1), incr(1, 2, 3, 2), get(1, 4, 5, "1")]),
            ("added twice", &[append(1, 0, 1, "a", 1), get(1, 2, 3, "aa")]),
            ("added and lost", &[append(1, 0, 1, "a", 1), append(1, 2, 3, "b", 2), get(1, 4, 5, "a")]),
            ("of nobody", &[get(1, 0, 1, "a")]),
            ("read before it was sent", &[get(1, 0, 1, "a"), set_in_the_dark(2, 2, "a")]),
        ];
        for (text, history) in wrong {
            assert!(check_all(history).is_err(), "{text}: {history:#?}");
        }
    }

    /// Answers that one server could have given: each operation takes effect at a moment of its own, between its call and its end.
    fn made(steps: &[(u8, u64, u64, bool)]) -> Vec<Operation> {
        let (mut value, mut operations): (Value, Vec<Operation>) = (None, Vec::new());
        for (place, (kind, before, after, is_known)) in steps.iter().enumerate() {
            let moment = (place as u64 + 10) * 10;
            let action = match kind % 4 {
                0 => Action::Get,
                1 => Action::Set(place.to_string()),
                2 => Action::Incr,
                _ => Action::Append("1".to_owned()),
            };
            let mut operation = unknown(place, moment - before, action);
            let answer = match (&operation.action, operation.after(&value)) {
                (_, None) => continue,
                (Action::Set(_), Some(_)) => Outcome::Done,
                (Action::Get, Some(same)) => Outcome::Value(same),
                (Action::Incr, Some(Some(number))) => match number.parse() {
                    Ok(number) => Outcome::Number(number),
                    Err(_) => continue,
                },
                (_, Some(text)) => Outcome::Number(text.unwrap_or_default().len() as i64),
            };
            value = operation.after(&value).expect("it was just looked at");
            if *is_known {
                operation.ended = Some((moment + after, answer));
            }
            operations.push(operation);
        }
        operations
    }

    /// Looks for an order by trying all of them.
    fn has_order(operations: &[Operation], taken: &mut Vec<usize>, value: &Value) -> bool {
        let left: Vec<usize> = (0..operations.len()).filter(|place| !taken.contains(place)).collect();
        if left.iter().all(|place| operations[*place].ended.is_none()) {
            return true;
        }
        left.iter().any(|place| {
            let operation = &operations[*place];
            if left.iter().any(|other| operations[*other].end() < operation.called) {
                return false;
            }
            let Some(after) = operation.after(value) else { return false };
            taken.push(*place);
            let has = has_order(operations, taken, &after);
            taken.pop();
            has
        })
    }

    proptest! {
        #[test]
        fn what_one_server_answers_is_right(
            steps in prop::collection::vec((any::<u8>(), 0_u64..60, 1_u64..60, prop::bool::weighted(0.9)), 0..60),
        ) {
            prop_assert_eq!(check_all(&made(&steps)), Ok(()));
        }

        #[test]
        fn it_says_what_trying_all_orders_says(
            steps in prop::collection::vec((any::<u8>(), 0_u64..30, 1_u64..30, prop::bool::weighted(0.8)), 2..7),
            changed in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
        ) {
            let mut operations = made(&steps);
            if operations.len() >= 2 {
                // Two of the same kind swap their answers.
                let (one, other) = (changed.index(operations.len()), other.index(operations.len()));
                if std::mem::discriminant(&operations[one].action) == std::mem::discriminant(&operations[other].action)
                    && let (Some((one_end, first)), Some((other_end, second))) =
                        (operations[one].ended.clone(), operations[other].ended.clone())
                {
                    operations[one].ended = Some((one_end, second));
                    operations[other].ended = Some((other_end, first));
                }
            }
            let has = has_order(&operations, &mut Vec::new(), &None);
            prop_assert_eq!(check_all(&operations).is_ok(), has, "{:#?}", operations);
        }
    }

    /// Hundreds of reads that wait behind a server that stands still, and writes of which nobody has heard.
    #[test]
    fn many_at_a_time_are_decided() {
        let begun = Instant::now();
        let mut operations = vec![set(0, 0, 1, "first"), set(0, 100, 101, "last")];
        operations
            .extend((0..400).map(|client| get(client, 2 + client as u64 % 50, 500, ["first", "last"][client % 2])));
        operations.extend((0..30).map(|client| set_in_the_dark(client, 50, &format!("dark-{client}"))));
        assert_eq!(check_all(&operations), Ok(()));
        operations.push(get(0, 102, 103, "first"));
        assert!(check_all(&operations).is_err());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
