//! Histories: the operations of several clients at the same time, and what must hold of them whatever failed meanwhile.
//!
//! What a newcomer would get wrong: an operation of which no answer came is neither done nor not done. It may take effect at any
//! later time, also after its client has gone on, or never.

mod linearizable;
mod lists;
mod operation;

pub use operation::{Action, Operation, Outcome};

use std::collections::BTreeMap;

/// The result of checking a history.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Operations that were looked at.
    pub operations: usize,
    /// Of these, the ones of which no answer came.
    pub unknown: usize,
    /// Keys that they were on.
    pub keys: usize,
    /// Answers that no server could have given that acts on one operation after the other.
    pub anomalies: Vec<String>,
}

/// Checks each key of a history for itself: linearizability is a property of each object (Herlihy and Wing, 1990). Keys of RPUSH
/// and LRANGE are checked as lists, all others as strings.
pub fn check(operations: &[Operation]) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let unknown = operations.iter().filter(|operation| operation.ended.is_none()).count();
    let mut verdict = Verdict { operations: operations.len(), unknown, keys: keys.len(), anomalies: Vec::new() };
    for (key, operations) in keys {
        let is_list = operations.iter().any(|operation| operation.action.is_of_lists());
        let checked = if is_list { lists::check(&operations) } else { linearizable::check(&operations) };
        if let Err(anomaly) = checked {
            verdict.anomalies.push(format!("{key}: {anomaly}"));
        }
    }
    verdict
}
