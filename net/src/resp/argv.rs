//! Positions of the arguments of a decoded command.
//!
//! Arguments are not copied: an [`Argv`] holds positions within the bytes that were decoded, so it is only meaningful
//! together with that very slice. Inline commands are the exception: their quoting has to be undone, so their
//! arguments are kept in the `Argv` itself.

use crate::limits::ARGS_KEPT;

/// The arguments of one command, reused from command to command.
///
/// Its memory stays what its larger commands needed, 8 bytes for each of `ARGS_KEPT` arguments at most; keep one per core, not
/// one per connection.
#[derive(Debug, Default)]
pub struct Argv {
    pub(super) ranges: Vec<ArgRange>,
    /// The arguments of an inline command, without their quotes. Empty for any other command.
    pub(super) unquoted: Vec<u8>,
    /// Set if `ranges` are positions in `unquoted` rather than in the input.
    pub(super) is_inline: bool,
}

/// The first byte of an argument and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArgRange {
    pub start: u32,
    pub end: u32,
}

impl Argv {
    /// An `Argv` without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the arguments of the command, its name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns true if there is no command, only an empty line or an empty array.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, 0 being the command's name, out of the `input` that was decoded.
    ///
    /// # Panics
    /// If there is no such argument, or if `input` is shorter than the slice that was decoded.
    #[inline]
    pub fn get<'a>(&'a self, input: &'a [u8], index: usize) -> &'a [u8] {
        self.slice(input, self.ranges[index])
    }

    /// All arguments in order, out of the `input` that was decoded.
    ///
    /// # Panics
    /// The iterator panics when `input` is shorter than the slice that was decoded.
    #[inline]
    pub fn iter<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator {
        let bytes = if self.is_inline { &self.unquoted } else { input };
        self.ranges.iter().map(move |range| &bytes[range.start as usize..range.end as usize])
    }

    /// Forgets the arguments, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        if self.ranges.capacity() > ARGS_KEPT {
            self.ranges = Vec::new();
        }
        self.ranges.clear();
        self.unquoted.clear();
        self.is_inline = false;
    }

    fn slice<'a>(&'a self, input: &'a [u8], range: ArgRange) -> &'a [u8] {
        let bytes = if self.is_inline { &self.unquoted } else { input };
        &bytes[range.start as usize..range.end as usize]
    }
}
