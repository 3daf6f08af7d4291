//! The names of what a ring has.

/// Names one connection of one ring, and never another: the generation changes when its place is used again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnId {
    /// A small number, unique among the connections open now, for tables of one's own beside the ring's. Check the whole
    /// id against the entry: the place may have been used again.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Returns how often the place was used before.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

/// Names one of a ring's listeners, in the order they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(super) u32);

impl ListenerId {
    /// 0 for the first listener of the ring, 1 for the next.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
