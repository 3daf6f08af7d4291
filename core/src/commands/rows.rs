//! Rows that a command reads: what its row of the table says of them, so that they can be looked for before it runs.
//!
//! What a newcomer would get wrong: this must not promise too much. A row that a command reads and that is not named here is met
//! when its entry is applied, which then waits for the disk; so who is not sure leaves it at [`Rows::KeysAndOthers`].

use basalt_storage::keyspace::{End, Type};

/// Rows that a command reads, as far as its arguments name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The metadata of its keys, with the values of strings; nothing else.
    Keys,
    /// As [`Rows::Keys`]; of several keys all is read before the first one is changed.
    KeysFirst,
    /// As [`Rows::Keys`], and others that nobody knows before it runs: what is so unless its row says otherwise.
    KeysAndOthers,
    /// As [`Rows::Keys`], unless one of these words is among the six arguments from the third on: then others, too.
    KeysUnless(&'static [&'static str]),
    /// Elements of the collection at the first key.
    Elements(Elements),
    /// Entries of the stream at the first key, by the ids from the third argument on, and others.
    Entries,
    /// The element at an end of the list at the first key; with a count, others.
    End(End),
    /// All of the collection at the first key, and the other key's metadata; the latter alone if it is there and stays. With `DB`,
    /// others: a key of another database is not among those that arguments name.
    Whole,
    /// Names in the collection of this type at the first key, drawn at random, as many as the third argument says, and others.
    Drawn(Type),
    /// The metadata of keys whose deadline has passed: the arguments are how many at most, and when the first one may be.
    Due,
    /// The metadata of hashes with fields whose deadline has passed, and these fields: the arguments are as of [`Rows::Due`].
    DueFields,
}

/// Elements of a collection that arguments name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements {
    /// The collection's type.
    pub kind: Type,
    /// Position of the first one's name among the arguments, without options.
    pub first: usize,
    /// Words that may come as the third argument and behind, each of which moves the names by one.
    pub options: &'static [&'static str],
    /// From one to the next; `None` if there is one only.
    pub step: Option<usize>,
    /// True if rows go, so that the collection may be written anew.
    pub removes: bool,
}

impl Rows {
    /// The one element that is named by the argument `at` of a collection of the type `kind`.
    pub(super) const fn element(kind: Type, at: usize) -> Rows {
        Rows::Elements(Elements { kind, first: at, options: &[], step: None, removes: false })
    }

    /// The elements that are named by every `step`th argument from `first` on.
    pub(super) const fn elements(kind: Type, first: usize, step: usize) -> Rows {
        Rows::Elements(Elements { kind, first, options: &[], step: Some(step), removes: false })
    }

    /// These rows, some of which go.
    pub(super) const fn removed(self) -> Rows {
        match self {
            Rows::Elements(elements) => Rows::Elements(Elements { removes: true, ..elements }),
            _ => panic!("only elements are told to go"),
        }
    }

    /// These rows, whose names may come after `options`.
    pub(super) const fn after(self, options: &'static [&'static str]) -> Rows {
        match self {
            Rows::Elements(elements) => Rows::Elements(Elements { options, ..elements }),
            _ => panic!("only elements are named after options"),
        }
    }
}
