//! Libraries of functions: what loading one comes to, and what `redis.register_function` does meanwhile.
//!
//! As in Redis, the globals of functions are an empty table whose metatable leads to the libraries of scripts, and while a library
//! is loaded to a table that has nothing but what loading may do.
//!
//! What a newcomer would get wrong: a library is loaded once, and each call begins with a copy of what that has left. What a
//! function changes of its library's variables is gone behind the call: a call is a function of the library's code, the
//! arguments and the keys, on every replica.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Host;
use crate::budget::{Budget, Stop};
use crate::engine::list_of;
use crate::functions::number_of;
use crate::heap::{GLOBALS_TABLE, Heap, Val};
use crate::limits::{BEGIN_WORK, BYTES_PER_WORK, INPUT_BYTES_MAX, REGISTER_WORK};
use crate::machine::Machine;
use crate::redis::{LOG_LEVELS, NUMBERS, REDIS_VERSION, raise};
use crate::replies::line_of;
use crate::stack::{GLOBALS, REGISTRY, Raised, Stack, Type};

/// Fields of the registry: the globals of a library that is loaded, those of functions, and the metatable that leads to either.
const LOAD_GLOBALS: &str = "load globals";
const CALL_GLOBALS: &str = "call globals";
const GLOBALS_METATABLE: &str = "globals metatable";
/// Functions of `redis` that only scripts have.
const ONLY_FOR_SCRIPTS: [&str; 3] = ["breakpoint", "debug", "replicate_commands"];

/// The flags of a function, in Redis' order: the place of a name is its bit.
const FLAG_NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

const BAD_NAME: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
const REGISTERING: &[u8] = b"ERR Error registering functions: ";

/// Flags of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionFlags(u8);

impl FunctionFlags {
    /// The flags of a byte that [`FunctionFlags::bits`] gave.
    pub fn from_bits(bits: u8) -> FunctionFlags {
        FunctionFlags(bits)
    }

    /// They as a byte.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether it says that it writes nothing.
    pub fn no_writes(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns whether it is not to be called in a cluster.
    pub fn no_cluster(self) -> bool {
        self.0 & 8 != 0
    }

    /// Their names, in Redis' order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FLAG_NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 != 0).map(|(_, name)| name)
    }

    fn add(&mut self, name: &[u8]) -> bool {
        let bit = FLAG_NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        self.0 |= bit.map_or(0, |bit| 1 << bit);
        bit.is_some()
    }
}

/// A function that a library has registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name.
    pub name: Vec<u8>,
    /// Its purpose, in the words of the library.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: FunctionFlags,
    callback: Val,
}

impl Registered {
    pub(crate) fn callback(&self) -> Val {
        self.callback
    }
}

/// A library that is loaded. Not for several threads: each has its own.
#[derive(Debug)]
pub struct Library {
    heap: Heap,
    functions: Vec<Registered>,
    work: u64,
}

impl Library {
    /// Its functions, in the order in which they were registered; at least one.
    pub fn functions(&self) -> &[Registered] {
        &self.functions
    }

    /// The function of this name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<&Registered> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    /// Bytes of its objects.
    pub fn heap_bytes(&self) -> usize {
        self.heap.budget.bytes
    }

    /// Work that loading it was.
    pub fn work(&self) -> u64 {
        self.work
    }

    /// The heap that a call with so much work begins with, which is paid for before it is copied; `None` if it cannot be.
    pub(crate) fn begin(&self, work: u64, seed: u64) -> Option<Heap> {
        let bytes = self.heap.budget.bytes;
        let mut budget = Budget { bytes, ..Budget::new(work, seed) };
        if !budget.pay(BEGIN_WORK + bytes / BYTES_PER_WORK) {
            return None;
        }
        let mut heap = self.heap.clone();
        heap.budget = budget;
        Some(heap)
    }
}

/// Returns whether a library or a function may have this name.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Makes of the globals of scripts those of functions.
pub(crate) fn set_up(stack: &mut Stack) {
    stack.push_nil();
    stack.set_field(GLOBALS, "__redis__err__handler");
    stack.get_field(GLOBALS, "redis");
    for name in ONLY_FOR_SCRIPTS {
        stack.push_nil();
        stack.set_field(-2, name);
    }
    stack.pop(1);
    let refusing = stack.machine.heap.table_of(GLOBALS_TABLE).metatable;
    stack.push_table(0, 1);
    stack.push_table(0, 8);
    stack.push_closure(number_of("register function"), 0);
    stack.set_field(-2, "register_function");
    stack.push_closure(number_of("redis.log"), 0);
    stack.set_field(-2, "log");
    let is_of_loading = |name: &str| name == "REDIS_VERSION_NUM" || name.starts_with(LOG_LEVELS);
    for &(name, value) in NUMBERS.iter().filter(|(name, _)| is_of_loading(name)) {
        stack.push_number(value);
        stack.set_field(-2, name);
    }
    stack.push_bytes(REDIS_VERSION.as_bytes());
    stack.set_field(-2, "REDIS_VERSION");
    for table in [stack.table(-1), stack.table(-2)] {
        let table = stack.machine.heap.table_mut(table);
        (table.metatable, table.is_read_only) = (refusing, true);
    }
    stack.set_field(-2, "redis");
    stack.set_field(REGISTRY, LOAD_GLOBALS);
    // The globals move to a table that another one in their place leads to.
    stack.push_table(0, 0);
    let moved = stack.table(-1);
    stack.machine.heap.exchange_tables(GLOBALS_TABLE, moved);
    stack.push_copy(-1);
    stack.set_field(-2, "_G");
    stack.set_field(REGISTRY, CALL_GLOBALS);
    stack.push_table(0, 1);
    let metatable = stack.table(-1);
    stack.set_field(REGISTRY, GLOBALS_METATABLE);
    stack.machine.heap.table_mut(metatable).is_read_only = true;
    let globals = stack.machine.heap.table_mut(GLOBALS_TABLE);
    (globals.metatable, globals.is_read_only) = (Some(metatable), true);
    lead_globals_to(stack, CALL_GLOBALS);
    for name in ["function_name", "description", "callback", "flags"] {
        stack.machine.heap.name(name);
    }
}

fn lead_globals_to(stack: &mut Stack, globals: &'static str) {
    stack.get_field(REGISTRY, GLOBALS_METATABLE);
    stack.get_field(REGISTRY, globals);
    stack.set_field(-2, "__index");
    stack.pop(1);
}

/// Loads a library's code, which begins at the end of its first line, on a heap that [`set_up`] has made.
///
/// # Errors
/// The error that its client gets, without `-`.
pub(crate) fn load(heap: &Heap, code: &[u8], work: u64, host: &mut dyn Host) -> Result<Library, Vec<u8>> {
    const TIMEOUT: &[u8] = b"ERR FUNCTION LOAD timeout";
    let failed = |text: &[u8]| Err([REGISTERING, text].concat());
    if code.len() > INPUT_BYTES_MAX {
        return failed(b"ERR the library is too long");
    }
    let mut budget = Budget::new(work, 0);
    if !budget.pay(BEGIN_WORK) {
        return failed(TIMEOUT);
    }
    let mut machine = Machine::new(heap.clone(), host);
    machine.heap.budget = budget;
    machine.loading = Some(Vec::new());
    let loaded = catch_unwind(AssertUnwindSafe(|| run(&mut machine, code)));
    match (loaded, machine.heap.budget.stop) {
        (Ok(Ok(())), None) => {}
        (Ok(Err(error)), None) => return Err(error),
        (_, Some(Stop::Work)) => return failed(TIMEOUT),
        (_, Some(Stop::Memory)) => return failed(b"ERR the library needs more memory than a script may have"),
        // What a panic leaves is dropped with the machine.
        _ => return failed(b"ERR the library has met a fault of this program"),
    }
    let work = work - machine.heap.budget.work_left;
    let functions = machine.loading.take().unwrap_or_default();
    if functions.is_empty() {
        Err(b"ERR No functions registered".to_vec())
    } else {
        Ok(Library { heap: machine.heap, functions, work })
    }
}

fn run(machine: &mut Machine<'_>, code: &[u8]) -> Result<(), Vec<u8>> {
    let compiled = machine.load(code, b"@user_function");
    let function = compiled.map_err(|failure| line_of(&[b"ERR Error compiling function: ", &failure[..]].concat()))?;
    let mut stack = machine.bottom();
    lead_globals_to(&mut stack, LOAD_GLOBALS);
    stack.push(function);
    let called = stack.call_protected(0, Some(0));
    lead_globals_to(&mut stack, CALL_GLOBALS);
    let Err(Raised(error)) = called else { return Ok(()) };
    stack.push(error);
    let mut text = Vec::new();
    if stack.kind(-1) == Type::Table {
        stack.get_field(-1, "err");
    } else {
        text.extend_from_slice(b"ERR ");
    }
    text.extend_from_slice(stack.bytes(-1).unwrap_or(b"ERR unknown error"));
    Err(line_of(&[REGISTERING, &text].concat()))
}

/// Calls a function of a library that `machine` has a copy of; if the machine is stopped, nobody asks for the outcome.
pub(crate) fn push_call(machine: &mut Machine<'_>, callback: Val, keys: &[&[u8]], args: &[&[u8]]) {
    let tables = [list_of(machine, keys), list_of(machine, args)];
    let mut stack = machine.bottom();
    stack.push(callback);
    tables.into_iter().for_each(|table| stack.push(Val::Table(table)));
}

/// `redis.register_function`.
pub(crate) fn register(stack: &mut Stack) -> Result<usize, Raised> {
    let Some(before) = stack.machine.loading.as_ref().map(Vec::len) else {
        return Err(raise(stack, "redis.register_function can only be called on FUNCTION LOAD command"));
    };
    let registered = match stack.top() {
        1 => read_named(stack)?,
        2 => read_positional(stack)?,
        _ => return Err(raise(stack, "wrong number of arguments to redis.register_function")),
    };
    if !is_name(&registered.name) {
        return Err(raise(stack, BAD_NAME));
    }
    stack.pay(REGISTER_WORK + before.saturating_mul(1 + registered.name.len() / BYTES_PER_WORK))?;
    let bytes = size_of::<Registered>() + registered.name.len() + registered.description.as_ref().map_or(0, Vec::len);
    if !stack.budget().take(bytes) {
        return Err(stack.machine.stopped());
    }
    let functions = stack.machine.loading.get_or_insert_default();
    let same = functions.iter().find(|function| function.name.eq_ignore_ascii_case(&registered.name));
    match same.map(|same| same.name == registered.name) {
        Some(true) => return Err(raise(stack, "Function already exists in the library")),
        // They are called in any case: Redis has no such text, it ends there.
        Some(false) => {
            let text = format!("Function {} already exists", String::from_utf8_lossy(&registered.name));
            return Err(raise(stack, &text));
        }
        None => functions.push(registered),
    }
    Ok(0)
}

/// Copies a text that a function is registered with, which is paid for before.
fn copy(stack: &mut Stack, text: &[u8]) -> Result<Vec<u8>, Raised> {
    stack.pay(text.len() / BYTES_PER_WORK)?;
    Ok(text.to_vec())
}

fn read_positional(stack: &mut Stack) -> Result<Registered, Raised> {
    let Some(name) = stack.text(1) else {
        return Err(raise(stack, "first argument to redis.register_function must be a string"));
    };
    let name = copy(stack, &name)?;
    match stack.value(2) {
        Some(callback @ Val::Function(_)) => {
            Ok(Registered { name, description: None, flags: FunctionFlags::default(), callback })
        }
        _ => Err(raise(stack, "second argument to redis.register_function must be a function")),
    }
}

fn read_named(stack: &mut Stack) -> Result<Registered, Raised> {
    if stack.kind(1) != Type::Table {
        let text = "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).";
        return Err(raise(stack, text));
    }
    let (mut name, mut description, mut callback, mut flags) = (None, None, None, FunctionFlags::default());
    stack.push_nil();
    while stack.next(1)? {
        stack.pay(4)?;
        let key = match stack.kind(-2) {
            Type::String => stack.bytes(-2).unwrap_or_default().to_ascii_lowercase(),
            Type::Number => Vec::new(),
            _ => return Err(raise(stack, "named argument key given to redis.register_function is not a string")),
        };
        match &key[..] {
            b"function_name" => {
                name = stack.text(-1);
                if name.is_none() {
                    let text = "function_name argument given to redis.register_function must be a string";
                    return Err(raise(stack, text));
                }
            }
            b"description" => {
                description = stack.text(-1);
                if description.is_none() {
                    let text = "description argument given to redis.register_function must be a string";
                    return Err(raise(stack, text));
                }
            }
            b"callback" => match stack.value(-1) {
                Some(function @ Val::Function(_)) => callback = Some(function),
                _ => {
                    let text = "callback argument given to redis.register_function must be a function";
                    return Err(raise(stack, text));
                }
            },
            b"flags" => flags = read_flags(stack)?,
            _ => return Err(raise(stack, "unknown argument given to redis.register_function")),
        }
        stack.pop(1);
    }
    let Some(name) = name else {
        return Err(raise(stack, "redis.register_function must get a function name argument"));
    };
    let Some(callback) = callback else {
        return Err(raise(stack, "redis.register_function must get a callback argument"));
    };
    // A table has each of them in thousands of spellings: those that were met last are copied, the others were only looked at.
    let name = copy(stack, &name)?;
    let description = description.map(|text| copy(stack, &text)).transpose()?;
    Ok(Registered { name, description, flags, callback })
}

/// Reads the flags that the table on top lists.
fn read_flags(stack: &mut Stack) -> Result<FunctionFlags, Raised> {
    if stack.kind(-1) != Type::Table {
        let text = "flags argument to redis.register_function must be a table representing function flags";
        return Err(raise(stack, text));
    }
    let mut flags = FunctionFlags::default();
    for number in 1.. {
        stack.pay(4)?;
        stack.get_element(-1, number);
        let is_known = match stack.kind(-1) {
            Type::Nil => break,
            Type::String => stack.bytes(-1).is_some_and(|name| flags.add(name)),
            _ => false,
        };
        if !is_known {
            return Err(raise(stack, "unknown flag given"));
        }
        stack.pop(1);
    }
    stack.pop(1);
    Ok(flags)
}
