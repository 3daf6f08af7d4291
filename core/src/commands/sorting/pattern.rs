//! Patterns of BY and GET: where the weight, or what is to be told, of an element is.
//!
//! What a newcomer would get wrong: what comes behind a NUL is no part of a pattern when Redis looks for the `*` and the `->` in
//! it, and is one when the key is put together.

use basalt_storage::Result;
use basalt_storage::keyspace::{Keyspace, Type};

use crate::commands::command_error::until_nul;

/// The thing that a pattern names for an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `#`: the element.
    Element,
    /// Nothing, as it has no place for the element.
    Nothing,
    /// A string, or a field of a hash, at a key that has the element in it.
    Key {
        /// The key before the element.
        before: &'a [u8],
        /// The key behind the element.
        behind: &'a [u8],
        /// The field.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    pub(super) fn new(text: &'a [u8]) -> Pattern<'a> {
        let visible = until_nul(text);
        if visible == b"#" {
            return Pattern::Element;
        }
        let Some(place) = visible.iter().position(|&byte| byte == b'*') else { return Pattern::Nothing };
        let arrow = visible[place + 1..].windows(2).position(|pair| pair == b"->").map(|at| place + 1 + at);
        let (end, field) = match arrow {
            Some(arrow) if arrow + 2 < visible.len() => (arrow, Some(&text[arrow + 2..])),
            _ => (text.len(), None),
        };
        Pattern::Key { before: &text[..place], behind: &text[place + 1..end], field }
    }

    /// Returns whether it names another key for each element.
    pub(super) fn names_keys(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// A name in the slot of all keys that it names, if they are in one whatever the elements are: if a hash tag stands before the
    /// element.
    pub(super) fn tagged(&self) -> Option<&'a [u8]> {
        let Pattern::Key { before, .. } = self else { return None };
        let open = before.iter().position(|&byte| byte == b'{')?;
        let length = before[open + 1..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then_some(before)
    }

    /// Gives `take` what it names for `element`, if that is there.
    pub(super) fn look_up<T>(
        &self,
        keyspace: &Keyspace<'_>,
        element: &[u8],
        take: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T> {
        let &Pattern::Key { before, behind, field } = self else {
            return Ok(take((*self == Pattern::Element).then_some(element)));
        };
        let key = [before, element, behind].concat();
        let kind = keyspace.record(&key)?.map(|record| record.kind());
        match (kind, field) {
            (Some(Type::String), None) => {
                let record = keyspace.string(&key)?;
                Ok(take(record.as_ref().map(|record| record.body())))
            }
            (Some(Type::Hash), Some(field)) => match keyspace.hash(&key)? {
                Some(hash) => Ok(take(hash.get(keyspace, field)?.as_deref())),
                None => Ok(take(None)),
            },
            _ => Ok(take(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(before: &'a str, behind: &'a str, field: Option<&'a str>) -> Pattern<'a> {
        Pattern::Key { before: before.as_bytes(), behind: behind.as_bytes(), field: field.map(str::as_bytes) }
    }

    #[test]
    fn patterns_are_taken_apart_as_by_redis() {
        for (text, expected) in [
            ("#", Pattern::Element),
            ("#\0x", Pattern::Element),
            ("##", Pattern::Nothing),
            ("", Pattern::Nothing),
            ("x", Pattern::Nothing),
            ("x\0*", Pattern::Nothing),
            ("*", key("", "", None)),
            ("w_*", key("w_", "", None)),
            ("a*b*c", key("a", "b*c", None)),
            ("a_*->f", key("a_", "", Some("f"))),
            ("a_*_x->f->g", key("a_", "_x", Some("f->g"))),
            ("a->b*", key("a->b", "", None)),
            ("a*->", key("a", "->", None)),
            ("a*->\0f", key("a", "->\0f", None)),
            ("a*->f\0g", key("a", "", Some("f\0g"))),
            ("a*\0->f", key("a", "\0->f", None)),
        ] {
            assert_eq!(Pattern::new(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn keys_are_in_one_slot_if_a_tag_stands_before_the_element() {
        for (text, expected) in [
            ("{a}w_*", Some("{a}w_")),
            ("x{a}{*}", Some("x{a}{")),
            ("w_*", None),
            ("{a*}", None),
            ("{a_*}b", None),
            ("*{a}", None),
            ("{}a{b}*", None),
            ("{a}", None),
            ("#", None),
        ] {
            assert_eq!(Pattern::new(text.as_bytes()).tagged(), expected.map(str::as_bytes), "{text}");
        }
    }
}
