//! The scripts that clients may call by their digest, the same ones on every core.
//!
//! What a newcomer would get wrong: nothing that is applied looks here, an entry has the text of its script. What is dropped here
//! for want of room is missed by a client that calls it by its digest, and is sent again, as clients do after NOSCRIPT.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::limits;

/// The scripts that this node knows.
#[derive(Debug, Default)]
pub struct Scripts {
    // Readers do not wait for each other, and a writer holds it for as long as it takes to add an entry to a map.
    known: RwLock<Known>,
    /// True once a script was found to access keys that it has not declared.
    some_reach: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    by_digest: HashMap<String, Arc<[u8]>>,
    /// Digests of those of them that access keys of other shards than those that they declare, and names of such functions.
    reaching: HashSet<String>,
    /// Their digests, the oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

/// Returns whether a name is a script's; else it is a function's.
fn is_digest(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Bytes that one script takes: its text, its digest twice, and what maps and pointers need.
fn bytes_of(text: &[u8]) -> usize {
    text.len() + 200
}

impl Scripts {
    /// The text of a script; `digest` in lower case.
    pub fn get(&self, digest: &str) -> Option<Arc<[u8]>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_digest.get(digest).cloned()
    }

    /// Adds a script, and drops the oldest ones for which there is no room.
    pub fn add(&self, digest: String, text: &[u8]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.by_digest.contains_key(&digest) {
            return;
        }
        known.bytes += bytes_of(text);
        known.order.push_back(digest.clone());
        known.by_digest.insert(digest, text.into());
        while known.order.len() > 1
            && (known.bytes > limits::CACHED_SCRIPT_BYTES_MAX || known.order.len() > limits::CACHED_SCRIPTS_MAX)
        {
            let oldest = known.order.pop_front().expect("there is more than one");
            let text = known.by_digest.remove(&oldest).expect("each of the order is known");
            known.bytes -= bytes_of(&text);
            known.reaching.remove(&oldest);
        }
    }

    /// Notes of a script that it accesses keys which it has not declared, in other shards than those that it has.
    pub fn note_reaching(&self, digest: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.by_digest.contains_key(digest) || !is_digest(digest);
        if !is_digest(digest) && known.reaching.len() >= limits::CACHED_SCRIPTS_MAX {
            known.reaching.clear();
        }
        if is_known && !known.reaching.contains(digest) {
            known.reaching.insert(digest.to_owned());
            self.some_reach.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether a script is known to access keys that it has not declared.
    pub fn is_reaching(&self, digest: &str) -> bool {
        self.has_reaching() && self.known.read().unwrap_or_else(PoisonError::into_inner).reaching.contains(digest)
    }

    /// Returns whether some script may be.
    pub fn has_reaching(&self) -> bool {
        self.some_reach.load(Ordering::Relaxed)
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// The number of them, and their bytes.
    pub fn figures(&self) -> (usize, usize) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        (known.order.len(), known.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_scripts_make_room() {
        let scripts = Scripts::default();
        let text = vec![b' '; limits::CACHED_SCRIPT_BYTES_MAX / 4];
        for name in ["a", "b", "c", "b"] {
            scripts.add(name.to_owned(), &text);
        }
        assert_eq!(scripts.figures(), (3, 3 * bytes_of(&text)));
        scripts.add("d".to_owned(), &text);
        assert_eq!((scripts.get("a"), scripts.get("d").is_some(), scripts.figures().0), (None, true, 3));
        assert!(!scripts.has_reaching());
        ["a", "d"].iter().for_each(|digest| scripts.note_reaching(digest));
        assert_eq!(["a", "b", "d"].map(|digest| scripts.is_reaching(digest)), [false, false, true]);
        scripts.clear();
        assert_eq!((scripts.get("d"), scripts.figures()), (None, (0, 0)));
        for number in 0..=limits::CACHED_SCRIPTS_MAX {
            scripts.add(number.to_string(), b"");
        }
        assert_eq!((scripts.get("0"), scripts.figures().0), (None, limits::CACHED_SCRIPTS_MAX));
    }
}
