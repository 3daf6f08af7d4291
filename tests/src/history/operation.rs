//! One operation of one client.

use std::fmt;

/// An operation on a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// GET
    Get,
    /// SET
    Set(String),
    /// INCR
    Incr,
    /// APPEND
    Append(String),
    /// RPUSH of one element
    Push(String),
    /// LRANGE of all
    Range,
}

impl Action {
    /// Returns whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Action::Get | Action::Range)
    }

    pub(super) fn is_of_lists(&self) -> bool {
        matches!(self, Action::Push(_) | Action::Range)
    }

    /// The words of the command.
    pub fn words(&self, key: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Action::Get => &["GET", key],
            Action::Set(value) => &["SET", key, value],
            Action::Incr => &["INCR", key],
            Action::Append(value) => &["APPEND", key, value],
            Action::Push(value) => &["RPUSH", key, value],
            Action::Range => &["LRANGE", key, "0", "-1"],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words("_");
        write!(out, "{}", words[0])?;
        words[2..].iter().filter(|_| !self.is_read()).try_for_each(|word| write!(out, " {word}"))
    }
}

/// The answer to an operation.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `OK`
    Done,
    /// A string, or none.
    Value(Option<String>),
    /// A number: the value of a counter, the length of a string or a list.
    Number(i64),
    /// The elements of a list.
    Elements(Vec<String>),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => write!(out, "OK"),
            Outcome::Value(None) => write!(out, "nothing"),
            Outcome::Value(Some(value)) => write!(out, "{value:?}"),
            Outcome::Number(number) => write!(out, "{number}"),
            Outcome::Elements(elements) => write!(out, "{elements:?}"),
        }
    }
}

/// An operation on a key, with when it was called and when it was answered, in nanoseconds since any moment before.
#[derive(Clone, PartialEq, Eq)]
pub struct Operation {
    /// The number of its client.
    pub client: usize,
    /// Its key.
    pub key: String,
    /// The command.
    pub action: Action,
    /// The moment before it was sent.
    pub called: u64,
    /// The moment after it was answered, and the answer; `None` if it is not known whether it was executed.
    pub ended: Option<(u64, Outcome)>,
}

impl Operation {
    /// The moment after which it has certainly had its effect, if it has one.
    pub(super) fn end(&self) -> u64 {
        self.ended.as_ref().map_or(u64::MAX, |(ended, _)| *ended)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        write!(out, "client {} {:?} at {:.6}", self.client, self.action, seconds(self.called))?;
        match &self.ended {
            Some((ended, outcome)) => write!(out, " to {:.6}: {outcome:?}", seconds(*ended)),
            None => write!(out, ", not known"),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::{Action, Operation, Outcome};

    /// An operation on the key `x`, which is answered.
    pub fn known(client: usize, called: u64, ended: u64, action: Action, outcome: Outcome) -> Operation {
        Operation { client, key: "x".to_owned(), action, called, ended: Some((ended, outcome)) }
    }

    /// The same of which no answer came.
    pub fn unknown(client: usize, called: u64, action: Action) -> Operation {
        Operation { client, key: "x".to_owned(), action, called, ended: None }
    }
}
