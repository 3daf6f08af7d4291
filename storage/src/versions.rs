//! Versions of a format: those that are read, and the one that is written.

/// The versions of one format on disk. Each format has one such constant, beside what reads and writes it.
///
/// A program reads the version that it writes and the one before, so that the nodes of a cluster can be replaced one by one: a
/// newer node reads what an older one writes. The number of any other version is refused by name, never guessed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    oldest: u32,
    newest: u32,
}

impl Versions {
    /// The versions from `oldest` to `newest` are read.
    ///
    /// # Panics
    /// If there are more than two: what is older than the version before is nobody's any more. Version 0 never exists.
    pub const fn new(oldest: u32, newest: u32) -> Versions {
        assert!(oldest > 0 && oldest <= newest && newest - oldest <= 1, "a program reads two versions at most");
        Versions { oldest, newest }
    }

    /// True if what has this version can be read.
    pub const fn reads(self, found: u32) -> bool {
        self.oldest <= found && found <= self.newest
    }

    /// The newest version that is read.
    pub const fn newest(self) -> u32 {
        self.newest
    }

    /// The version that is written: the newest, since all that read it are of this program's version.
    pub const fn written(self) -> u32 {
        self.newest
    }

    /// [`Versions::written`], of a format whose number takes one byte.
    ///
    /// # Panics
    /// If it does not fit one.
    pub const fn written_u8(self) -> u8 {
        assert!(self.written() <= u8::MAX as u32, "this format's number takes one byte");
        self.written() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_version_and_the_one_before_are_read() {
        let versions = Versions::new(2, 3);
        assert_eq!(
            (0..6).map(|found| versions.reads(found)).collect::<Vec<_>>(),
            [false, false, true, true, false, false]
        );
        assert_eq!((versions.written(), versions.written_u8(), versions.newest()), (3, 3, 3));
        assert!(Versions::new(1, 1).reads(1) && !Versions::new(1, 1).reads(2) && !Versions::new(1, 1).reads(0));
    }
}
