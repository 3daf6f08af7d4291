//! Histories of RPUSH and LRANGE on one list: no element is lost, none is there twice, there is one order, and nobody has seen
//! otherwise. In the manner of Elle (Kingsbury and Alvaro, 2020): what is read of a list tells what was before it, so that the
//! order of all operations is there to be read instead of searched for.

use std::collections::HashMap;

use super::operation::{Action, Operation, Outcome};

/// Checks the operations on one list, each of whose elements is pushed once.
///
/// # Errors
/// What cannot be.
pub fn check(operations: &[&Operation]) -> Result<(), String> {
    let order = longest(operations);
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, element) in order.iter().enumerate() {
        if places.insert(element, place).is_some() {
            return Err(format!("{element} is there twice: {order:?}"));
        }
    }
    // Each operation that has had an effect or seen one, by its place in the order: behind the first element is a push at 2, and a
    // read of it at 3.
    let mut placed: Vec<(usize, &Operation)> = Vec::new();
    for operation in operations {
        let place = match (&operation.action, operation.ended.as_ref().map(|(_, outcome)| outcome)) {
            (Action::Range, None) => continue,
            (Action::Range, Some(Outcome::Elements(elements))) => {
                if !order.starts_with(elements) {
                    return Err(format!("there are two orders: {operation:?}, but {order:?}"));
                }
                2 * elements.len() + 1
            }
            (Action::Push(element), outcome) => match (places.get(element.as_str()), outcome) {
                (Some(place), Some(Outcome::Number(length))) if *length != *place as i64 + 1 => {
                    return Err(format!("it is at place {}: {operation:?}, {order:?}", place + 1));
                }
                (Some(place), _) => 2 * (place + 1),
                // It is not there, or behind the last read.
                (None, Some(Outcome::Number(length))) => {
                    let length = usize::try_from(*length).map_err(|_| format!("a length below 0: {operation:?}"))?;
                    if length <= order.len() {
                        return Err(format!("it is lost: {operation:?}, {order:?}"));
                    }
                    2 * length
                }
                (None, _) => continue,
            },
            _ => return Err(format!("it is no operation on lists: {operation:?}")),
        };
        placed.push((place, operation));
    }
    let pushed =
        |element: &String| placed.iter().any(|(_, one)| matches!(&one.action, Action::Push(known) if known == element));
    if let Some(element) = order.iter().find(|element| !pushed(element)) {
        return Err(format!("nobody has pushed {element}: {order:?}"));
    }
    in_time(&mut placed)
}

/// The elements of the longest read.
fn longest<'a>(operations: &[&'a Operation]) -> &'a [String] {
    let reads = operations.iter().filter_map(|operation| match &operation.ended {
        Some((_, Outcome::Elements(elements))) => Some(elements.as_slice()),
        _ => None,
    });
    reads.max_by_key(|elements| elements.len()).unwrap_or_default()
}

/// Checks that none was answered before one was called that stands before it in their order.
fn in_time(placed: &mut [(usize, &Operation)]) -> Result<(), String> {
    placed.sort_by_key(|(place, _)| *place);
    let mut latest: Option<&Operation> = None;
    for same in placed
        .chunk_by(|(one, first), (other, second)| one == other && first.action.is_read() && second.action.is_read())
    {
        for (_, operation) in same {
            if let Some(latest) = latest.filter(|latest| operation.end() < latest.called) {
                return Err(format!("{latest:?} was called after {operation:?}, and stands before it"));
            }
        }
        let last = same.iter().map(|(_, operation)| *operation).max_by_key(|operation| operation.called);
        latest = latest.into_iter().chain(last).max_by_key(|operation| operation.called);
    }
    // Two pushes behind the last read may say that they have the same place.
    let pushes: Vec<_> = placed.iter().filter(|(_, operation)| !operation.action.is_read()).collect();
    match pushes.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(format!("both have the same place: {:?}, {:?}", two[0].1, two[1].1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::testing::{known, unknown};
    use super::*;

    fn push(client: usize, called: u64, ended: u64, element: &str, length: i64) -> Operation {
        known(client, called, ended, Action::Push(element.to_owned()), Outcome::Number(length))
    }

    fn range(client: usize, called: u64, ended: u64, elements: &str) -> Operation {
        let elements = elements.split_whitespace().map(str::to_owned).collect();
        known(client, called, ended, Action::Range, Outcome::Elements(elements))
    }

    fn lost_in_the_dark(client: usize, called: u64, element: &str) -> Operation {
        unknown(client, called, Action::Push(element.to_owned()))
    }

    fn check_all(operations: &[Operation]) -> Result<(), String> {
        check(&operations.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_can_have_been_is_right() {
        let right: [&[Operation]; 5] = [
            &[],
            &[push(1, 0, 10, "a", 1), push(2, 5, 15, "b", 2), range(1, 7, 20, "a"), range(2, 21, 22, "a b")],
            // Of two that overlap either may be the first.
            &[push(1, 0, 10, "a", 2), push(2, 5, 15, "b", 1), range(1, 16, 20, "b a")],
            // No answer came, and it is there late; of another it never is.
            &[
                lost_in_the_dark(1, 0, "a"),
                lost_in_the_dark(2, 0, "z"),
                range(2, 5, 6, ""),
                push(2, 7, 8, "b", 1),
                range(2, 9, 10, "b a"),
            ],
            // Nobody has read the last two.
            &[push(1, 0, 10, "a", 1), range(1, 11, 12, "a"), push(1, 13, 14, "b", 2), push(1, 15, 16, "c", 3)],
        ];
        for history in right {
            assert_eq!(check_all(history), Ok(()));
        }
    }

    #[test]
    fn what_cannot_have_been_is_named() {
        let wrong: [(&str, &[Operation]); 10] = [
            (
                "lost",
                &[push(1, 0, 1, "a", 1), push(1, 2, 3, "b", 2), range(1, 4, 5, "a c"), lost_in_the_dark(2, 0, "c")],
            ),
            ("stands before it", &[push(1, 0, 1, "a", 1), range(2, 2, 3, "")]),
            ("there twice", &[push(1, 0, 1, "a", 1), range(1, 2, 3, "a a")]),
            ("there twice", &[lost_in_the_dark(1, 0, "a"), push(1, 1, 2, "b", 2), range(1, 2, 3, "a b a")]),
            (
                "two orders",
                &[push(1, 0, 9, "a", 1), push(2, 0, 9, "b", 2), range(1, 2, 3, "b"), range(1, 10, 11, "a b")],
            ),
            ("at place 2", &[push(1, 0, 9, "a", 1), push(2, 0, 9, "b", 1), range(1, 10, 11, "a b")]),
            ("nobody has pushed", &[push(1, 0, 9, "a", 1), range(1, 10, 11, "a b")]),
            // A read after another one sees less.
            ("stands before it", &[push(1, 0, 9, "a", 1), range(1, 1, 2, "a"), range(2, 3, 4, "")]),
            // It was read before it was pushed.
            ("stands before it", &[range(1, 0, 1, "a"), push(1, 2, 3, "a", 1)]),
            ("the same place", &[push(1, 0, 1, "a", 1), push(1, 2, 3, "b", 1)]),
        ];
        for (text, history) in wrong {
            let anomaly = check_all(history).expect_err(text);
            assert!(anomaly.contains(text), "{text}: {anomaly}");
        }
    }
}
