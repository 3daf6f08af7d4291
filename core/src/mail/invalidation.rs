//! Word for clients that what they keep copies of has changed, on its way to their core.

use std::collections::HashSet;
use std::sync::Arc;

use basalt_net::ring::ConnId;
use basalt_storage::ReaderId;
use smallvec::SmallVec;

use crate::limits;

/// A key and the client that has changed it, if it was one and one alone.
pub type WrittenKey = (Arc<[u8]>, Option<ReaderId>);

/// Word of changed keys, for clients of one core.
#[derive(Debug, Clone)]
pub enum Invalidation {
    /// A key, for the clients with these numbers, who have read it.
    Key(Arc<[u8]>, SmallVec<[u32; 2]>),
    /// Keys that begin with a prefix, for those who want to hear of all of these.
    Prefix(Arc<[u8]>, Arc<[WrittenKey]>),
    /// The keys of which another client is to be told here, or `None` if everything is to be dropped.
    Redirected(ConnId, Option<Vec<Arc<[u8]>>>),
}

impl Invalidation {
    fn bytes(&self) -> usize {
        let keys = match self {
            Invalidation::Key(key, readers) => key.len() + readers.len() * size_of::<u32>(),
            Invalidation::Prefix(_, keys) => keys.iter().map(|(key, _)| key.len() + size_of::<WrittenKey>()).sum(),
            Invalidation::Redirected(_, keys) => {
                keys.iter().flatten().map(|key| key.len() + size_of::<Arc<[u8]>>()).sum()
            }
        };
        size_of::<Invalidation>() + keys
    }
}

/// Invalidations in the order in which they are told. Where they would be too many, they become one for each client: that it is to
/// drop everything.
#[derive(Debug, Default)]
pub struct Invalidations {
    some: std::collections::VecDeque<Invalidation>,
    bytes: usize,
    is_all: bool,
}

impl Invalidations {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.some.is_empty() && !self.is_all
    }

    /// Bytes of memory that they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one.
    pub fn push(&mut self, invalidation: Invalidation) {
        // The others drop everything in any case.
        if self.is_all && !matches!(invalidation, Invalidation::Redirected(..)) {
            return;
        }
        self.bytes += invalidation.bytes();
        self.some.push_back(invalidation);
        if self.bytes > limits::INVALIDATION_BYTES_MAX {
            self.make_one();
        }
    }

    /// Has all clients drop everything.
    pub fn push_all(&mut self) {
        self.is_all = true;
    }

    /// Adds those of another.
    pub fn append(&mut self, other: &mut Invalidations) {
        self.is_all |= std::mem::take(&mut other.is_all);
        other.bytes = 0;
        std::mem::take(&mut other.some).into_iter().for_each(|invalidation| self.push(invalidation));
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Invalidation> {
        let next = self.some.pop_front()?;
        self.bytes -= next.bytes();
        Some(next)
    }

    /// Takes the word that all are to drop everything.
    pub fn take_all(&mut self) -> bool {
        std::mem::take(&mut self.is_all)
    }

    fn make_one(&mut self) {
        let mut redirected = HashSet::new();
        for invalidation in std::mem::take(&mut self.some) {
            match invalidation {
                Invalidation::Redirected(to, _) => drop(redirected.insert(to)),
                Invalidation::Key(..) | Invalidation::Prefix(..) => self.is_all = true,
            }
        }
        self.some.extend(redirected.into_iter().map(|to| Invalidation::Redirected(to, None)));
        self.bytes = self.some.iter().map(Invalidation::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_in_their_order() {
        let mut all = Invalidations::default();
        for key in [b"a", b"b"] {
            all.push(Invalidation::Key(Arc::from(&key[..]), SmallVec::from_slice(&[7])));
        }
        let mut further = Invalidations::default();
        further.push(Invalidation::Key(Arc::from(&b"c"[..]), SmallVec::from_slice(&[7])));
        all.append(&mut further);
        assert!(further.is_empty() && further.bytes() == 0);
        let mut told = Vec::new();
        while let Some(Invalidation::Key(key, _)) = all.pop() {
            told.push(key[0]);
        }
        assert_eq!((told, all.bytes(), all.is_empty()), (b"abc".to_vec(), 0, true));
    }

    #[test]
    fn too_many_become_one_for_each_client() {
        let mut all = Invalidations::default();
        let to = ConnId::default();
        let key: Arc<[u8]> = vec![b'k'; 1 << 20].into();
        for _ in 0..limits::INVALIDATION_BYTES_MAX >> 20 {
            all.push(Invalidation::Redirected(to, Some(vec![key.clone()])));
        }
        assert!(!all.take_all(), "nobody else was to be told");
        assert!(matches!(all.pop(), Some(Invalidation::Redirected(_, None))));
        assert!(all.is_empty() && all.bytes() == 0);
        for _ in 0..limits::INVALIDATION_BYTES_MAX >> 20 {
            all.push(Invalidation::Key(key.clone(), SmallVec::from_slice(&[7])));
        }
        assert!(all.pop().is_none() && all.take_all() && all.is_empty());
    }
}
