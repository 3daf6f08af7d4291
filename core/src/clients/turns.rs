//! Turns for commands that hold much while they run: one of a core at a time.
//!
//! A RENAME to another shard has the whole key in hand for two round trips through a log. Keys of a usual size do not wait; of
//! large ones, each would be in memory several times for every client that moves one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use basalt_net::ring::ConnId;

/// The turn, and the connections that wait for it.
#[derive(Default)]
pub struct Turns {
    is_taken: Rc<Cell<bool>>,
    /// A connection may be gone when its turn comes.
    waiting: VecDeque<ConnId>,
}

/// The turn; given back when it is dropped.
pub struct Turn(Rc<Cell<bool>>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Turns {
    /// Takes the turn, unless somebody has it.
    pub fn take(&self) -> Option<Turn> {
        if self.is_taken.replace(true) { None } else { Some(Turn(self.is_taken.clone())) }
    }

    /// Puts a connection behind those that wait. Each waits once at most.
    pub fn wait(&mut self, id: ConnId) {
        self.waiting.push_back(id);
    }

    /// Returns whether the turn is somebody's who waits.
    pub fn has_next(&self) -> bool {
        !self.waiting.is_empty() && !self.is_taken.get()
    }

    /// Takes the turn for the connection that has waited longest, if nobody has it.
    pub fn take_next(&mut self) -> Option<(ConnId, Turn)> {
        if !self.has_next() {
            return None;
        }
        let turn = self.take()?;
        self.waiting.pop_front().map(|id| (id, turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_turn() {
        let mut turns = Turns::default();
        assert!(turns.take_next().is_none());
        let first = turns.take();
        assert!(first.is_some() && turns.take().is_none());
        turns.wait(ConnId::default());
        assert!(!turns.has_next() && turns.take_next().is_none());
        drop(first);
        let (_, second) = turns.take_next().expect("it was given back");
        assert!(turns.take().is_none());
        drop(second);
        assert!(turns.take().is_some() && turns.take_next().is_none());
    }
}
