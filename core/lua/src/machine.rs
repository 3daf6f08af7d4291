//! The virtual machine: calls, coroutines and errors of Lua 5.1 (`ldo.c`). What instructions do is in `execute`.
//!
//! Functions of a script that call each other take frames, not the stack of this thread; that is used by calls through functions of
//! this crate and through metamethods, and nests as deeply as [`CALL_DEPTH_MAX`] says.
//!
//! What a newcomer would get wrong: an error leaves the frames where they are. Whoever catches it looks at them, if it has a
//! handler, and takes them away ([`Machine::unwind`]).

use std::rc::Rc;

use crate::Host;
use crate::budget::Stop;
use crate::code::Proto;
use crate::functions::FUNCTIONS;
use crate::heap::{CALL, Frame, Function, Heap, LENGTH_FIELD, Status, Thread, Upvalue, Val};
use crate::library::Registered;
use crate::limits::{CALL_DEPTH_MAX, CALL_THROUGH_WORK, FRAMES_MAX, HANDLER_FRAMES};
use crate::parser::compile;
use crate::stack::{Raised, Stack};

/// The place of `coroutine.yield` in the list of functions, which the machine runs itself.
pub(crate) fn yield_number() -> u16 {
    static NUMBER: std::sync::LazyLock<u16> =
        std::sync::LazyLock::new(|| crate::functions::number_of("coroutine.yield") as u16);
    *NUMBER
}

/// The end of a run of instructions.
pub(crate) enum Exit {
    /// The function has returned so many values, which are where it was.
    Returned(usize),
    /// The coroutine yields what lies on top of its stack from here on.
    Yielded(usize),
}

/// The beginning of a call.
pub(crate) enum Begun {
    /// Its frame was made, and it runs next.
    Lua,
    /// It is over, and so many results are where the function was.
    Over(usize),
    /// As [`Exit::Yielded`].
    Yielded(usize),
}

/// The machine of one script.
pub(crate) struct Machine<'h> {
    pub(crate) heap: Heap,
    pub(crate) host: &'h mut dyn Host,
    /// Registers of the running thread.
    pub(crate) stack: Vec<Val>,
    pub(crate) frames: Vec<Frame>,
    /// Open variables of the running thread, by their places, the lowest first.
    pub(crate) open: Vec<(usize, u32)>,
    /// One past the last of values whose number is not in the code.
    pub(crate) top: usize,
    pub(crate) thread: u32,
    /// Calls that nest in the stack of this thread.
    pub(crate) depth: usize,
    /// Those of the running coroutine.
    pub(crate) boundary: usize,
    /// True while the handler of an error runs, which may have some frames more.
    pub(crate) is_handling: bool,
    /// Set while the script waits for the answer to a command: true if that is raised if it is an error.
    pub(crate) waits: Option<bool>,
    /// The handler of errors of what was called first.
    pub(crate) handler: Val,
    /// Functions that are registered, while a library is loaded.
    pub(crate) loading: Option<Vec<Registered>>,
    pub(crate) paid: (usize, usize),
    no_upvalues: Rc<[u32]>,
}

/// The state of the machine before a call that may fail.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mark {
    frames: usize,
    depth: usize,
    boundary: usize,
}

impl<'h> Machine<'h> {
    pub(crate) fn new(heap: Heap, host: &'h mut dyn Host) -> Machine<'h> {
        Machine {
            heap,
            host,
            stack: Vec::with_capacity(256),
            frames: Vec::with_capacity(16),
            open: Vec::new(),
            top: 0,
            thread: 0,
            depth: 0,
            boundary: 0,
            is_handling: false,
            waits: None,
            handler: Val::Nil,
            loading: None,
            paid: (256, 16),
            no_upvalues: Rc::new([]),
        }
    }

    /// The stack without any function being called.
    pub(crate) fn bottom(&mut self) -> Stack<'_, 'h> {
        Stack { machine: self, base: 0 }
    }

    /// Raises `text` with the line of the function that runs.
    pub(crate) fn error(&mut self, text: &str) -> Raised {
        self.error_bytes(text.as_bytes())
    }

    /// As [`Machine::error`], of bytes.
    pub(crate) fn error_bytes(&mut self, text: &[u8]) -> Raised {
        let mut message = match self.frames.last() {
            Some(frame) => position(frame),
            None => Vec::new(),
        };
        message.extend_from_slice(text);
        Raised(self.heap.string(&message))
    }

    /// The error of a script that is stopped; nobody sees it.
    pub(crate) fn stopped(&self) -> Raised {
        debug_assert!(self.heap.budget.stop.is_some(), "there is a reason");
        Raised(Val::Nil)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.heap.budget.stop.is_some()
    }

    /// Takes work off the budget.
    #[inline]
    pub(crate) fn pay(&mut self, work: usize) -> Result<(), Raised> {
        if self.heap.budget.pay(work) { Ok(()) } else { Err(self.stopped()) }
    }

    /// Makes the stack `length` long, if it is shorter.
    #[inline]
    pub(crate) fn grow(&mut self, length: usize) -> Result<(), Raised> {
        if !self.grow_paid(length) {
            return Err(self.stopped());
        }
        if self.stack.len() < length {
            self.stack.resize(length, Val::Nil);
        }
        Ok(())
    }

    /// Pays for a stack of this length. False if the script is stopped.
    #[inline]
    pub(crate) fn grow_paid(&mut self, length: usize) -> bool {
        if length > self.paid.0 {
            if !self.heap.budget.take((length - self.paid.0) * size_of::<Val>()) {
                return false;
            }
            self.paid.0 = length;
        }
        true
    }

    fn push_frame(&mut self, frame: Frame) -> Result<(), Raised> {
        let count = self.frames.len() + 1;
        if count > self.paid.1 {
            if count > FRAMES_MAX + HANDLER_FRAMES || (count > FRAMES_MAX && !self.is_handling) {
                return Err(self.error("stack overflow"));
            }
            let more = count.next_power_of_two();
            if !self.heap.budget.take((more - self.paid.1) * size_of::<Frame>()) {
                return Err(self.stopped());
            }
            self.paid.1 = more;
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Begins a call of the function at `func` with so many arguments behind it.
    pub(crate) fn begin_call(&mut self, func: usize, arguments: usize, wanted: i32) -> Result<Begun, Raised> {
        let mut arguments = arguments;
        let function = match self.stack[func] {
            Val::Function(function) => function,
            other => {
                let callable = self.heap.metamethod(other, CALL);
                let Val::Function(function) = callable else { return Err(self.call_error(func)) };
                self.stack.truncate(func + 1 + arguments);
                self.grow(func + 2 + arguments)?;
                self.stack.copy_within(func..func + 1 + arguments, func + 1);
                self.pay(arguments / 4)?;
                self.stack[func] = callable;
                arguments += 1;
                function
            }
        };
        match self.heap.function_of(function) {
            Function::Lua { proto, upvalues } => {
                let (proto, upvalues) = (proto.clone(), upvalues.clone());
                self.enter(func, arguments, wanted, proto, upvalues)?;
                Ok(Begun::Lua)
            }
            Function::Native { number, .. } if *number == yield_number() => {
                if self.boundary > 0 || self.thread == 0 {
                    // As the function itself would raise it: it has no line.
                    let text = b"attempt to yield across metamethod/C-call boundary";
                    return Err(Raised(self.heap.string(text)));
                }
                self.stack.truncate(func + 1 + arguments);
                self.heap.threads[self.thread as usize].pending = Some((func, wanted));
                Ok(Begun::Yielded(func + 1))
            }
            Function::Native { number, .. } => {
                let number = *number;
                self.run_native(func, arguments, number, wanted).map(Begun::Over)
            }
        }
    }

    fn enter(
        &mut self,
        func: usize,
        arguments: usize,
        wanted: i32,
        proto: Rc<Proto>,
        upvalues: Rc<[u32]>,
    ) -> Result<(), Raised> {
        let parameters = proto.parameter_count;
        let mut base = func + 1;
        if proto.is_vararg {
            self.stack.truncate(base + arguments);
            base += arguments.max(parameters);
            self.grow(base + proto.stack_size)?;
            self.pay(arguments / 4)?;
            for place in 0..parameters {
                self.stack[base + place] = std::mem::replace(&mut self.stack[func + 1 + place], Val::Nil);
            }
            if proto.needs_arg {
                let count = arguments.saturating_sub(parameters);
                let table = self.heap.table(count, 1);
                for number in 0..count {
                    let value = self.stack[func + 1 + parameters + number];
                    self.heap.set_number(table, number as i64 + 1, value);
                }
                let name = Val::String(LENGTH_FIELD);
                self.heap.set(table, name, Val::Number(count as f64));
                self.stack[base + parameters] = Val::Table(table);
            }
        } else {
            self.stack.truncate(base + arguments.min(parameters));
            self.grow(base + proto.stack_size)?;
        }
        // Registers are set to nil.
        self.pay(2 + proto.stack_size / 16)?;
        self.push_frame(Frame { proto: Some(proto), upvalues, func, base, pc: 0, wanted, tail_calls: 0 })
    }

    fn run_native(&mut self, func: usize, arguments: usize, number: u16, wanted: i32) -> Result<usize, Raised> {
        let base = func + 1;
        self.stack.truncate(base + arguments);
        self.grow(base + arguments)?;
        let upvalues = self.no_upvalues.clone();
        self.push_frame(Frame { proto: None, upvalues, func, base, pc: 0, wanted, tail_calls: 0 })?;
        self.pay(4)?;
        let mut stack = Stack { machine: self, base };
        let outcome = FUNCTIONS[number as usize].1(&mut stack);
        if self.is_stopped() {
            return Err(self.stopped());
        }
        let count = outcome?;
        self.frames.pop();
        Ok(self.put_results(func, count, wanted))
    }

    /// Moves the `count` values on top to `func`, and makes them as many as are wanted.
    pub(crate) fn put_results(&mut self, func: usize, count: usize, wanted: i32) -> usize {
        let first = self.stack.len() - count;
        self.stack.copy_within(first.., func);
        self.stack.truncate(func + count);
        if wanted < 0 {
            return count;
        }
        self.stack.resize(func + wanted as usize, Val::Nil);
        wanted as usize
    }

    /// Calls the function at `func`: its results, all or so many, are then in its place, and nothing is behind them.
    pub(crate) fn call(&mut self, func: usize, arguments: usize, wanted: i32) -> Result<usize, Raised> {
        if self.depth >= CALL_DEPTH_MAX {
            return Err(self.error("C stack overflow"));
        }
        self.pay(CALL_THROUGH_WORK)?;
        self.depth += 1;
        self.boundary += 1;
        let count = match self.begin_call(func, arguments, wanted)? {
            Begun::Over(count) => count,
            Begun::Lua => match self.execute(self.frames.len())? {
                Exit::Returned(count) => {
                    self.stack.truncate(func + count);
                    count
                }
                Exit::Yielded(_) => unreachable!("nothing yields across a call of a function of this crate"),
            },
            Begun::Yielded(_) => unreachable!("nothing yields across a call of a function of this crate"),
        };
        self.boundary -= 1;
        self.depth -= 1;
        Ok(count)
    }

    /// Calls the handler of an error of a call that began at `mark`. The frames are there that it was raised in.
    pub(crate) fn handle(&mut self, mark: Mark, handler: Val, error: Val) -> Result<Val, Raised> {
        let func = self.stack.len();
        (self.depth, self.boundary) = (mark.depth, mark.boundary);
        self.stack.push(handler);
        self.stack.push(error);
        self.grow(func + 2)?;
        let was_handling = std::mem::replace(&mut self.is_handling, true);
        let called = self.call(func, 1, 1);
        self.is_handling = was_handling;
        called?;
        Ok(self.stack[func])
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { frames: self.frames.len(), depth: self.depth, boundary: self.boundary }
    }

    /// Takes away what an error has left, and what lies on the stack from `func` on.
    pub(crate) fn unwind(&mut self, mark: Mark, func: usize) {
        self.close(func);
        self.frames.truncate(mark.frames);
        (self.depth, self.boundary) = (mark.depth, mark.boundary);
        self.stack.truncate(func);
    }

    /// Calls `function` with a few values; gives its first result.
    pub(crate) fn call_metamethod(&mut self, function: Val, arguments: &[Val]) -> Result<Val, Raised> {
        let func = self.free_place();
        let length = self.stack.len();
        self.stack.truncate(func);
        self.stack.push(function);
        self.stack.extend_from_slice(arguments);
        self.grow(func + 1 + arguments.len())?;
        self.call(func, arguments.len(), 1)?;
        let result = self.stack[func];
        self.stack.truncate(func);
        // The registers of the function that runs are there again.
        if self.frames.last().is_some_and(|frame| frame.proto.is_some()) {
            self.stack.resize(length, Val::Nil);
        }
        Ok(result)
    }

    /// The first place of the stack that the function that runs does not use.
    fn free_place(&self) -> usize {
        match self.frames.last() {
            Some(Frame { proto: Some(proto), base, .. }) => (base + proto.stack_size).min(self.stack.len()),
            _ => self.stack.len(),
        }
    }

    // --- variables that functions share ---

    /// The shared variable that is at `index` of the stack.
    pub(crate) fn find_upvalue(&mut self, index: usize) -> u32 {
        match self.open.binary_search_by_key(&index, |&(index, _)| index) {
            Ok(place) => self.open[place].1,
            Err(place) => {
                let upvalue = self.heap.upvalue(Upvalue::Open { thread: self.thread, index });
                self.heap.budget.owe((self.open.len() - place) / 4);
                self.open.insert(place, (index, upvalue));
                upvalue
            }
        }
    }

    /// Gives the shared variables from `index` of the stack on a place of their own.
    pub(crate) fn close(&mut self, index: usize) {
        while let Some(&(place, upvalue)) = self.open.last()
            && place >= index
        {
            let value = self.stack.get(place).copied().unwrap_or(Val::Nil);
            self.heap.upvalues[upvalue as usize] = Upvalue::Closed(value);
            self.open.pop();
        }
    }

    #[inline]
    pub(crate) fn upvalue(&self, upvalue: u32) -> Val {
        match self.heap.upvalues[upvalue as usize] {
            Upvalue::Closed(value) => value,
            Upvalue::Open { thread, index } if thread == self.thread => self.stack[index],
            Upvalue::Open { thread, index } => self.heap.threads[thread as usize].stack[index],
        }
    }

    #[inline]
    pub(crate) fn set_upvalue(&mut self, upvalue: u32, value: Val) {
        match &mut self.heap.upvalues[upvalue as usize] {
            Upvalue::Closed(place) => *place = value,
            Upvalue::Open { thread, index } if *thread == self.thread => self.stack[*index] = value,
            Upvalue::Open { thread, index } => self.heap.threads[*thread as usize].stack[*index] = value,
        }
    }

    /// Compiles `text`: a function, or the text of an error. `chunk` is its name as Lua takes it.
    pub(crate) fn load(&mut self, text: &[u8], chunk: &[u8]) -> Result<Val, Vec<u8>> {
        let proto = compile(&mut self.heap, text, chunk)?;
        let upvalues = self.no_upvalues.clone();
        Ok(self.heap.function(Function::Lua { proto, upvalues }))
    }

    // --- coroutines ---

    /// Changes the running thread.
    fn switch_to(&mut self, thread: u32) {
        let exchange = |machine: &mut Machine<'h>, index: u32| {
            let kept: &mut Thread = &mut machine.heap.threads[index as usize];
            std::mem::swap(&mut kept.stack, &mut machine.stack);
            std::mem::swap(&mut kept.frames, &mut machine.frames);
            std::mem::swap(&mut kept.open, &mut machine.open);
            std::mem::swap(&mut kept.boundary, &mut machine.boundary);
            std::mem::swap(&mut kept.paid, &mut machine.paid);
        };
        exchange(self, self.thread);
        exchange(self, thread);
        self.thread = thread;
    }

    /// Goes on with a coroutine, with the values on top of the stack from `first` on, which go. Its results are then in their
    /// place.
    ///
    /// # Errors
    /// What it has raised.
    pub(crate) fn resume(&mut self, coroutine: u32, first: usize) -> Result<usize, Raised> {
        let (status, depth) = (self.heap.threads[coroutine as usize].status, self.depth);
        let why_not = match status {
            Status::Suspended if depth >= CALL_DEPTH_MAX => "C stack overflow",
            Status::Suspended => "",
            Status::Dead => "cannot resume dead coroutine",
            Status::Running => "cannot resume running coroutine",
            Status::Normal => "cannot resume normal coroutine",
        };
        if !why_not.is_empty() {
            return Err(Raised(self.heap.string(why_not.as_bytes())));
        }
        let values = self.stack.split_off(first);
        self.pay(20 + values.len() / 4)?;
        let before = self.thread;
        self.heap.threads[before as usize].status = Status::Normal;
        self.heap.threads[coroutine as usize].status = Status::Running;
        self.switch_to(coroutine);
        self.depth += 1;
        let top = self.top;
        let outcome = self.run_coroutine(values);
        (self.depth, self.top) = (depth, top);
        let status = if matches!(outcome, Ok(Exit::Yielded(_))) { Status::Suspended } else { Status::Dead };
        let results = match outcome {
            Ok(Exit::Yielded(from)) => Ok(self.stack.split_off(from)),
            Ok(Exit::Returned(count)) => {
                self.stack.truncate(count);
                Ok(std::mem::take(&mut self.stack))
            }
            Err(raised) => {
                self.close(0);
                Err(raised)
            }
        };
        self.heap.threads[coroutine as usize].status = status;
        self.switch_to(before);
        self.heap.threads[before as usize].status = Status::Running;
        if self.is_stopped() {
            return Err(self.stopped());
        }
        let results = results?;
        self.pay(results.len() / 4)?;
        self.stack.extend_from_slice(&results);
        self.grow(first + results.len())?;
        Ok(results.len())
    }

    /// Runs the coroutine that was just switched to.
    fn run_coroutine(&mut self, values: Vec<Val>) -> Result<Exit, Raised> {
        if let Some((func, wanted)) = self.heap.threads[self.thread as usize].pending.take() {
            // Its yield returns them.
            self.stack.truncate(func);
            self.stack.extend_from_slice(&values);
            self.grow(func + values.len())?;
            let count = self.put_results(func, values.len(), wanted);
            if self.frames.is_empty() {
                // The coroutine is `yield` itself.
                return Ok(Exit::Returned(count));
            }
            self.top = func + count;
            self.restore_registers()?;
            return self.execute(1);
        }
        // The function is all that there is on the stack yet.
        self.stack.extend_from_slice(&values);
        self.grow(1 + values.len())?;
        Ok(match self.begin_call(0, values.len(), -1)? {
            Begun::Over(count) => Exit::Returned(count),
            Begun::Yielded(from) => Exit::Yielded(from),
            Begun::Lua => self.execute(1)?,
        })
    }

    /// Makes the stack as long as the function that runs needs it, behind a call of another one.
    pub(crate) fn restore_registers(&mut self) -> Result<(), Raised> {
        let Some(Frame { proto: Some(proto), base, .. }) = self.frames.last() else { return Ok(()) };
        let length = base + proto.stack_size;
        self.grow(length)
    }

    /// Makes a coroutine of the function on top.
    pub(crate) fn make_coroutine(&mut self, function: Val) -> u32 {
        let thread = self.heap.thread();
        if !self.is_stopped() {
            self.heap.threads[thread as usize].stack.push(function);
        }
        thread
    }

    /// Ends the script for this reason.
    pub(crate) fn stop(&mut self, reason: Stop) -> Raised {
        self.heap.budget.stop(reason);
        self.stopped()
    }
}

/// The line that a function is at, as messages begin with it; nothing for one of this crate.
pub(crate) fn position(frame: &Frame) -> Vec<u8> {
    match &frame.proto {
        Some(proto) => [&proto.source[..], b":", line_of(frame).to_string().as_bytes(), b": "].concat(),
        None => Vec::new(),
    }
}

/// The line that a function is at, or -1.
pub(crate) fn line_of(frame: &Frame) -> i64 {
    match &frame.proto {
        Some(proto) => proto.lines.get(frame.pc.saturating_sub(1)).map_or(-1, |&line| line.into()),
        None => -1,
    }
}
