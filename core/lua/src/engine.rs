//! The engine: the libraries, made once, and a machine for each script, which begins with a copy of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::budget::{Budget, Stop};
use crate::functions::{FUNCTIONS, number_of};
use crate::heap::{GLOBALS_TABLE, Heap, Val};
use crate::limits::{BEGIN_WORK, BYTES_PER_WORK, INPUT_BYTES_MAX};
use crate::machine::Machine;
use crate::replies::{line_of, take_value};
use crate::stack::{GLOBALS, Raised, Stack, Type};
use crate::{
    Called, Host, Library, Registered, Suspended, Value, base, cjson, cmsgpack, digest, library, read_flags, redis,
};

/// The libraries of scripts.
const LIBRARIES: [&str; 9] = ["redis", "cjson", "cmsgpack", "bit", "struct", "string", "math", "table", "coroutine"];

/// A script and what it is called with.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Its text, with the first line that has its flags.
    pub text: &'a [u8],
    /// `KEYS`.
    pub keys: &'a [&'a [u8]],
    /// `ARGV`.
    pub args: &'a [&'a [u8]],
    /// The beginning of the random numbers of `math.random`.
    pub seed: u64,
    /// Work that it may do, see [`SHORT_SCRIPT_WORK`](crate::SHORT_SCRIPT_WORK).
    pub work: u64,
}

/// A call of a function of a library.
#[derive(Debug, Clone, Copy)]
pub struct FunctionCall<'a> {
    /// Its library.
    pub library: &'a Library,
    /// One of the library's functions.
    pub function: &'a Registered,
    /// The keys: its first argument.
    pub keys: &'a [&'a [u8]],
    /// The arguments: its second one.
    pub args: &'a [&'a [u8]],
    /// As that of a [`Script`].
    pub seed: u64,
    /// As that of a [`Script`].
    pub work: u64,
}

/// The end of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It has returned this.
    Returned(Value),
    /// It has failed, or was none: the error that its client gets, without `-`. What it did before is done.
    Failed(Vec<u8>),
    /// It was stopped, and what it did should be undone.
    Stopped(Stop),
}

/// The point that a script has come to.
pub enum Progress {
    /// Its end.
    Over(Outcome),
    /// A command whose answer comes later.
    Waits(Suspended),
}

impl Progress {
    /// The end of a script whose host answers at once.
    fn outcome(self) -> Outcome {
        match self {
            Progress::Over(outcome) => outcome,
            Progress::Waits(_) => Outcome::Stopped(Stop::Host),
        }
    }
}

/// The libraries that scripts have. Not for several threads: each has its own.
pub struct Engine {
    beginning: Heap,
    /// The same for libraries of functions.
    of_functions: Heap,
}

/// The error of a text that would take too long to be compiled.
const TOO_LONG: &[u8] = b"ERR Error compiling script (new function): it is too long";

/// A host of nobody, for what runs no commands.
struct NoHost;

impl Host for NoHost {
    fn call(&mut self, _: &[&[u8]], _: bool, _: usize, _: &mut u64, _: &mut Vec<u8>) -> Called {
        Called::Stop
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        None
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

impl Engine {
    /// Makes the libraries: some hundred microseconds, and some ten kilobytes.
    #[expect(clippy::new_without_default, reason = "it takes its time")]
    pub fn new() -> Engine {
        let mut host = NoHost;
        let mut machine = Machine::new(Heap::new(), &mut host);
        set_up(&mut machine.bottom());
        assert!(!machine.is_stopped(), "there is a budget for the libraries");
        let beginning = machine.heap;
        let mut machine = Machine::new(beginning.clone(), &mut host);
        library::set_up(&mut machine.bottom());
        let of_functions = machine.heap;
        Engine { beginning, of_functions }
    }

    fn begin<'h>(&self, host: &'h mut dyn Host, work: u64, seed: u64) -> Machine<'h> {
        let mut heap = self.beginning.clone();
        heap.budget = Budget::new(work, seed);
        Machine::new(heap, host)
    }

    /// Looks whether a script can be compiled.
    ///
    /// # Errors
    /// The error that its client gets, without `-`.
    pub fn check(&mut self, text: &[u8]) -> Result<(), Vec<u8>> {
        if text.len() > INPUT_BYTES_MAX {
            return Err(TOO_LONG.to_vec());
        }
        let mut host = NoHost;
        let mut machine = self.begin(&mut host, crate::SHORT_SCRIPT_WORK, 0);
        let compiled = catch_unwind(AssertUnwindSafe(|| compile(&mut machine, text).map(|_| ())));
        match (compiled, machine.heap.budget.stop) {
            (Ok(compiled), None) => compiled,
            _ => Err(TOO_LONG.to_vec()),
        }
    }

    /// Runs a script on `host`, which answers at once. A panic of either ends the script alone.
    pub fn run(&mut self, script: &Script<'_>, host: &mut dyn Host) -> Outcome {
        self.start(script, host).outcome()
    }

    /// Runs a script on `host`, to its end or to the first command whose answer comes later.
    pub fn start(&mut self, script: &Script<'_>, host: &mut dyn Host) -> Progress {
        let input: usize = script.keys.iter().chain(script.args).map(|arg| arg.len() + 64).sum();
        if input + script.text.len() > INPUT_BYTES_MAX {
            return Progress::Over(Outcome::Stopped(Stop::Memory));
        }
        let mut machine = self.begin(host, script.work, script.seed);
        // What a panic leaves is dropped with the machine.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut machine, script)));
        progress_of(outcome, machine)
    }
}

impl Engine {
    /// Loads a library: compiles `code`, which begins at the end of its first line, and runs it on `host`, which it may log to.
    ///
    /// # Errors
    /// The error that its client gets, without `-`.
    pub fn load(&mut self, code: &[u8], work: u64, host: &mut dyn Host) -> Result<Library, Vec<u8>> {
        library::load(&self.of_functions, code, work, host)
    }

    /// Calls a function on `host`, as [`Engine::run`] runs a script.
    pub fn call(&mut self, call: &FunctionCall<'_>, host: &mut dyn Host) -> Outcome {
        self.start_call(call, host).outcome()
    }

    /// The same as [`Engine::start`] starts a script.
    pub fn start_call(&mut self, call: &FunctionCall<'_>, host: &mut dyn Host) -> Progress {
        let input: usize = call.keys.iter().chain(call.args).map(|arg| arg.len() + 64).sum();
        if input > INPUT_BYTES_MAX {
            return Progress::Over(Outcome::Stopped(Stop::Memory));
        }
        let Some(heap) = call.library.begin(call.work, call.seed) else {
            return Progress::Over(Outcome::Stopped(Stop::Work));
        };
        let mut machine = Machine::new(heap, host);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            library::push_call(&mut machine, call.function.callback(), call.keys, call.args);
            finish(&mut machine, 2, |stack| name_of_function(stack, &call.function.name))
        }));
        progress_of(outcome, machine)
    }

    /// Goes on with a script that waits for `reply`, which was so much work, on `host`. `text` is that of the script, or the name
    /// of the function if it is one.
    pub fn go_on(
        &mut self,
        suspended: Suspended,
        (reply, work): (&[u8], u64),
        (text, is_function): (&[u8], bool),
        host: &mut dyn Host,
    ) -> Progress {
        let mut machine = suspended.machine(host);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let called = machine.go_on(reply, work);
            end(&mut machine.bottom(), called, |stack| match is_function {
                true => name_of_function(stack, text),
                false => name_of_script(stack, text),
            })
        }));
        progress_of(outcome, machine)
    }
}

/// The point that a machine has come to.
fn progress_of(outcome: std::thread::Result<Outcome>, machine: Machine<'_>) -> Progress {
    Progress::Over(match (outcome, machine.heap.budget.stop) {
        (Err(payload), _) => {
            // A payload that panics where it is dropped would end the process; those of `panic!` are texts.
            drop(payload);
            Outcome::Stopped(Stop::Panic)
        }
        (Ok(_), Some(stop)) => Outcome::Stopped(stop),
        (Ok(_), None) if machine.is_waiting() => return Progress::Waits(Suspended::of(machine)),
        (Ok(outcome), None) => outcome,
    })
}

/// The names by which clients are told what has failed.
fn name_of_script(stack: &mut Stack, text: &[u8]) -> Result<Vec<u8>, Raised> {
    stack.pay(10 + text.len() / 8)?;
    Ok(digest(text).into_bytes())
}

fn name_of_function(stack: &mut Stack, name: &[u8]) -> Result<Vec<u8>, Raised> {
    stack.pay(10)?;
    Ok(name.to_vec())
}

/// Makes a table of these strings.
pub(crate) fn list_of(machine: &mut Machine<'_>, values: &[&[u8]]) -> u32 {
    let list = machine.heap.table(values.len(), 0);
    for (value, number) in values.iter().zip(1..) {
        machine.heap.budget.pay(value.len() / BYTES_PER_WORK);
        let value = machine.heap.string(value);
        machine.heap.set_number(list, number, value);
    }
    list
}

/// Runs a script; if the machine is stopped, nobody asks for the outcome.
fn run(machine: &mut Machine<'_>, script: &Script<'_>) -> Outcome {
    machine.heap.budget.pay(BEGIN_WORK);
    let function = match compile(machine, script.text) {
        Ok(function) => function,
        Err(error) => return Outcome::Failed(error),
    };
    for (name, values) in [("KEYS", script.keys), ("ARGV", script.args)] {
        let list = list_of(machine, values);
        let name = machine.heap.name(name);
        machine.heap.set(GLOBALS_TABLE, Val::String(name), Val::Table(list));
    }
    machine.bottom().push(function);
    finish(machine, 0, |stack| name_of_script(stack, script.text))
}

/// Calls what lies on the stack below so many arguments; `name` is what its client is told that has failed.
fn finish(
    machine: &mut Machine<'_>,
    arguments: i32,
    name: impl FnOnce(&mut Stack) -> Result<Vec<u8>, Raised>,
) -> Outcome {
    let mut stack = machine.bottom();
    stack.push_closure(number_of("handle error"), 0);
    let handler = stack.take();
    stack.machine.handler = handler;
    let called = stack.call_handled(arguments, Some(1), handler);
    end(&mut stack, called.map(|_| ()), name)
}

/// The end of a call whose results are on top; if the machine is stopped or waits, nobody asks for it.
fn end(
    stack: &mut Stack,
    called: Result<(), Raised>,
    name: impl FnOnce(&mut Stack) -> Result<Vec<u8>, Raised>,
) -> Outcome {
    if stack.machine.is_stopped() || stack.machine.is_waiting() {
        return Outcome::Returned(Value::Null);
    }
    match called {
        Ok(()) => take_value(stack).map_or(Outcome::Returned(Value::Null), Outcome::Returned),
        Err(Raised(error)) => {
            stack.push(error);
            let failed = name(stack).map(|name| failure(stack, &name));
            failed.map_or(Outcome::Returned(Value::Null), Outcome::Failed)
        }
    }
}

/// Makes the libraries what scripts see of them.
fn set_up(stack: &mut Stack) {
    base::prepare(stack);
    for library in LIBRARIES {
        stack.push_table(0, 24);
        stack.set_field(GLOBALS, library);
    }
    for (number, (name, _)) in FUNCTIONS.iter().enumerate() {
        // Those with a space in their name are no scripts' business.
        if name.contains(' ') {
            continue;
        }
        stack.push_closure(number, 0);
        match name.split_once('.') {
            Some((library, function)) => {
                stack.get_field(GLOBALS, library);
                stack.insert(-2);
                stack.set_field(-2, function);
                stack.pop(1);
            }
            None => stack.set_field(GLOBALS, name),
        }
    }
    // Both have a function of their own, as in Lua 5.1.
    for (name, of) in [("pairs", "next"), ("ipairs", "next element")] {
        stack.push_closure(number_of(of), 0);
        stack.push_closure(number_of(name), 1);
        stack.set_field(GLOBALS, name);
    }
    stack.push_bytes(b"Lua 5.1");
    stack.set_field(GLOBALS, "_VERSION");
    stack.get_field(GLOBALS, "math");
    for (name, value) in [("pi", std::f64::consts::PI), ("huge", f64::INFINITY)] {
        stack.push_number(value);
        stack.set_field(-2, name);
    }
    stack.pop(1);
    stack.get_field(GLOBALS, "redis");
    for &(name, value) in redis::NUMBERS {
        stack.push_number(value);
        stack.set_field(-2, name);
    }
    stack.push_bytes(redis::REDIS_VERSION.as_bytes());
    stack.set_field(-2, "REDIS_VERSION");
    stack.pop(1);
    cjson::set_up(stack);
    cmsgpack::set_up(stack);
    // Strings find their methods in the library.
    stack.push_table(0, 1);
    stack.get_field(GLOBALS, "string");
    stack.set_field(-2, "__index");
    let metatable = stack.table(-1);
    stack.machine.heap.string_metatable = Some(metatable);
    stack.pop(1);
    // Anything else that is asked for is an error.
    stack.push_copy(GLOBALS);
    stack.set_field(GLOBALS, "_G");
    stack.push_table(0, 1);
    stack.push_closure(number_of("refuse unknown global"), 0);
    stack.set_field(-2, "__index");
    let metatable = stack.table(-1);
    stack.pop(1);
    stack.machine.heap.table_mut(GLOBALS_TABLE).metatable = Some(metatable);
    for library in LIBRARIES.into_iter().chain(["_G"]) {
        base::protect(stack, library);
    }
    // Names that are looked for in every reply.
    for name in ["err", "ok", "double", "big_number", "verbatim_string", "map", "set", "source", "line"] {
        stack.machine.heap.name(name);
    }
}

/// Compiles a script.
fn compile(machine: &mut Machine<'_>, text: &[u8]) -> Result<Val, Vec<u8>> {
    let (_, begin) = read_flags(text).map_err(|reason| [b"ERR ", reason.as_bytes()].concat())?;
    machine
        .load(&text[begin..], b"@user_script")
        .map_err(|failure| line_of(&[b"ERR Error compiling script (new function): ", &failure[..]].concat()))
}

/// The error on top of the stack, with the line that it comes from and the name of what has failed.
fn failure(stack: &mut Stack, name: &[u8]) -> Vec<u8> {
    if stack.kind(-1) != Type::Table {
        let text = stack.text(-1).unwrap_or_else(|| b"execution failure".as_slice().into());
        let shown = &text[..text.len().min(100)];
        return line_of(&[b"ERR Error running script ", name, b", ", shown].concat());
    }
    let mut fields = ["err", "source", "line"].map(|name| {
        stack.get_field(-1, name);
        let text = stack.bytes(-1).map(<[u8]>::to_vec);
        stack.pop(1);
        text
    });
    // Redis has no such text: an error without one ends it.
    let mut text = fields[0].take().unwrap_or_else(|| b"ERR unknown error".to_vec());
    if let [_, Some(source), Some(line)] = &fields {
        text.extend_from_slice(&[b" script: ", name, b", on ", source, b":", line, b"."].concat());
    }
    line_of(&text)
}
