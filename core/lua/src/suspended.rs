//! Scripts that wait for the answer to a command: the machine between two of its hosts.
//!
//! What a newcomer would get wrong: a script waits only where nothing of this thread's stack is between its beginning and the call,
//! which is one from its own code. Elsewhere, in a function that `pcall` or `table.sort` has called or in a coroutine, it is
//! stopped, and whoever has the answers begins it anew.

use crate::Host;
use crate::budget::Stop;
use crate::heap::{Frame, Heap, Val};
use crate::machine::{Exit, Machine, Mark};
use crate::redis::answered;
use crate::stack::{Raised, Stack};
use crate::{Called, limits};

/// A script that waits for the answer to a command. It belongs to the engine that it was begun on, and to its thread.
pub struct Suspended(Box<Kept>);

/// All of a machine but its host.
struct Kept {
    heap: Heap,
    stack: Vec<Val>,
    frames: Vec<Frame>,
    open: Vec<(usize, u32)>,
    depth: usize,
    boundary: usize,
    waits: Option<bool>,
    handler: Val,
    paid: (usize, usize),
}

impl Suspended {
    /// Takes a machine apart that waits.
    pub(crate) fn of(machine: Machine<'_>) -> Suspended {
        assert!(machine.thread == 0 && machine.loading.is_none(), "a coroutine does not wait, nor does a library");
        let Machine { heap, stack, frames, open, depth, boundary, waits, handler, paid, .. } = machine;
        Suspended(Box::new(Kept { heap, stack, frames, open, depth, boundary, waits, handler, paid }))
    }

    /// Puts it together again.
    pub(crate) fn machine(self, host: &mut dyn Host) -> Machine<'_> {
        let Kept { heap, stack, frames, open, depth, boundary, waits, handler, paid } = *self.0;
        let mut machine = Machine::new(heap, host);
        (machine.stack, machine.frames, machine.open) = (stack, frames, open);
        (machine.depth, machine.boundary, machine.waits) = (depth, boundary, waits);
        (machine.handler, machine.paid) = (handler, paid);
        machine
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.0.heap.budget.bytes + limits::LIBRARIES_BYTES
    }

    /// Work that the script may still do.
    pub fn work_left(&self) -> u64 {
        self.0.heap.budget.work_left
    }
}

impl Machine<'_> {
    /// Returns whether the script waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Has the script wait for the answer to the command that it calls, or stops it if it cannot.
    pub(crate) fn wait_for_answer(&mut self, raises: bool) -> Raised {
        let caller = self.frames.len().checked_sub(2).map(|place| &self.frames[place]);
        let is_called_by_script = caller.is_some_and(|frame| frame.proto.is_some());
        if self.depth == 1 && self.thread == 0 && is_called_by_script && !self.is_handling {
            // The frame of the call stays, as behind an error.
            self.waits = Some(raises);
            return Raised(Val::Nil);
        }
        self.stop(Stop::Host)
    }

    /// Goes on with the answer that the script has waited for, which was so much work. Its results are then on the stack.
    ///
    /// # Errors
    /// What it has raised, as its handler has made it; or anything, if it waits again.
    pub(crate) fn go_on(&mut self, reply: &[u8], work: u64) -> Result<(), Raised> {
        let raises = self.waits.take().expect("it has waited");
        let handler = self.handler;
        match self.run_on(reply, work, raises) {
            Ok(Exit::Returned(count)) => {
                self.stack.truncate(count);
                (self.depth, self.boundary) = (0, 0);
                Ok(())
            }
            Ok(Exit::Yielded(_)) => unreachable!("it is no coroutine"),
            Err(raised) => Err(self.bottom().handled(Mark::default(), 0, handler, raised)),
        }
    }

    fn run_on(&mut self, reply: &[u8], work: u64, raises: bool) -> Result<Exit, Raised> {
        let &Frame { func, base, wanted, .. } = self.frames.last().expect("the call has left its frame");
        let mut stack = Stack { machine: self, base };
        stack.pay(usize::try_from(work).unwrap_or(usize::MAX))?;
        let outcome = match answered(&mut stack, Called::Replied, reply) {
            Ok(true) if raises => Err(Raised(stack.take())),
            Ok(_) => Ok(()),
            Err(raised) => Err(raised),
        };
        if self.is_stopped() {
            return Err(self.stopped());
        }
        outcome?;
        self.frames.pop();
        let count = self.put_results(func, 1, wanted);
        self.top = func + count;
        self.restore_registers()?;
        self.execute(1)
    }
}
