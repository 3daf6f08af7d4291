//! The places of the rows of each database.
//!
//! What a newcomer would get wrong: the number that a client selects is not the one that its keys' rows begin with. That is a
//! *space*, and SWAPDB has two databases exchange theirs, however many keys they have. Rows are made of spaces alone, and only the
//! keyspace, which knows the rows' [`Spaces`], makes spaces of databases: all else has the numbers that clients know.

/// Databases a client may `SELECT`.
pub const DATABASE_COUNT: usize = 16;

/// The byte that the rows of a database begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space(u8);

impl Space {
    /// The first of all.
    pub(crate) const FIRST: Space = Space(0);

    /// The space of a row that begins with `byte`; `None` if it is of no database.
    pub(crate) fn read(byte: u8) -> Option<Space> {
        (usize::from(byte) < DATABASE_COUNT).then_some(Space(byte))
    }

    /// The byte.
    #[inline]
    pub(crate) fn byte(self) -> u8 {
        self.0
    }

    /// The range of its rows.
    pub(crate) fn rows(self) -> ([u8; 1], [u8; 1]) {
        ([self.0], [self.0 + 1])
    }
}

/// The space of each database: a permutation, which is a part of a shard's rows. Each is in its own until some are swapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spaces([Space; DATABASE_COUNT]);

impl Default for Spaces {
    fn default() -> Spaces {
        Spaces(std::array::from_fn(|db| Space(db as u8)))
    }
}

impl Spaces {
    /// The space of database `db`.
    ///
    /// # Panics
    /// If `db` is not below [`DATABASE_COUNT`].
    #[inline]
    pub(crate) fn of(&self, db: u8) -> Space {
        self.0[usize::from(db)]
    }

    /// The database that is in `space`.
    pub(crate) fn database_at(&self, space: Space) -> u8 {
        let db = self.0.iter().position(|of| *of == space);
        db.expect("every space is some database's") as u8
    }

    /// Has two databases exchange their spaces.
    pub(crate) fn swap(&mut self, first: u8, second: u8) {
        self.0.swap(usize::from(first), usize::from(second));
    }

    /// Returns whether each database is in its own space.
    pub(crate) fn are_own(&self) -> bool {
        *self == Spaces::default()
    }

    /// The spaces as bytes, by database.
    pub(crate) fn to_bytes(&self) -> [u8; DATABASE_COUNT] {
        self.0.map(Space::byte)
    }

    /// Reads spaces back from bytes; `None` if two databases have the same, or one has none.
    pub(crate) fn read(bytes: &[u8; DATABASE_COUNT]) -> Option<Spaces> {
        let mut spaces = Spaces::default();
        let mut taken = [false; DATABASE_COUNT];
        for (space, byte) in spaces.0.iter_mut().zip(bytes) {
            *space = Space::read(*byte)?;
            if std::mem::replace(&mut taken[usize::from(*byte)], true) {
                return None;
            }
        }
        Some(spaces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_exchange_their_spaces_and_come_back() {
        let mut spaces = Spaces::default();
        assert!(spaces.are_own());
        spaces.swap(0, 15);
        spaces.swap(15, 3);
        assert_eq!([0, 3, 15].map(|db| spaces.of(db).byte()), [15, 0, 3]);
        for db in 0..DATABASE_COUNT as u8 {
            assert_eq!(spaces.database_at(spaces.of(db)), db);
        }
        assert_eq!(Spaces::read(&spaces.to_bytes()), Some(spaces.clone()));
        spaces.swap(15, 3);
        assert!(!spaces.are_own());
        spaces.swap(15, 0);
        assert!(spaces.are_own());
    }

    #[test]
    fn only_a_permutation_is_read() {
        let mut bytes = Spaces::default().to_bytes();
        bytes[3] = 4;
        assert_eq!(Spaces::read(&bytes), None, "two in one space");
        bytes[3] = 16;
        assert_eq!(Spaces::read(&bytes), None, "there is no such space");
    }
}
