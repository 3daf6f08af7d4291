//! The objects of a script: strings, tables, functions, variables that functions share, and coroutines. Values name them by number.
//!
//! Nothing is given back before the script ends: what a script makes is bounded by its budget, and then all of it goes at once. So
//! no object is ever visited that is not asked for, and the number of an object, by which tables hash it, is a function of the
//! script.
//!
//! What a newcomer would get wrong: an object that is not paid for is not made. Who asks for one gets another (the empty
//! string, the first table), and the script ends before it can look at it, see [`Budget::stop`].

use std::collections::HashMap;
use std::rc::Rc;

use crate::budget::Budget;
use crate::code::Proto;
use crate::table::{Key, Table};

/// A value of Lua.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Val {
    Nil,
    Boolean(bool),
    Number(f64),
    String(u32),
    Table(u32),
    Function(u32),
    Thread(u32),
    /// The null pointer, which cjson has for JSON's null.
    Null,
}

impl Val {
    #[inline]
    pub(crate) fn is_nil(self) -> bool {
        matches!(self, Val::Nil)
    }

    /// Returns whether it counts as true.
    #[inline]
    pub(crate) fn is_true(self) -> bool {
        !matches!(self, Val::Nil | Val::Boolean(false))
    }

    /// The name of its type, as Lua tells it.
    pub(crate) fn kind_name(self) -> &'static str {
        match self {
            Val::Nil => "nil",
            Val::Boolean(_) => "boolean",
            Val::Number(_) => "number",
            Val::String(_) => "string",
            Val::Table(_) => "table",
            Val::Function(_) => "function",
            Val::Thread(_) => "thread",
            Val::Null => "userdata",
        }
    }
}

/// A string with the hash that Lua 5.1 has for it.
#[derive(Debug, Clone)]
pub(crate) struct Str {
    pub(crate) hash: u32,
    pub(crate) bytes: Rc<[u8]>,
}

/// A function that can be called.
#[derive(Debug, Clone)]
pub(crate) enum Function {
    /// One of a script.
    Lua { proto: Rc<Proto>, upvalues: Rc<[u32]> },
    /// One of this crate: its place in [`FUNCTIONS`](crate::functions::FUNCTIONS), and the values that it keeps.
    Native { number: u16, upvalues: Vec<Val> },
}

/// A variable that functions share.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upvalue {
    /// It still is a register of a function that runs: the thread, and the place on its stack.
    Open {
        thread: u32,
        index: usize,
    },
    Closed(Val),
}

/// The state of a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Suspended,
    Running,
    /// It has resumed another one.
    Normal,
    Dead,
}

/// A function that was called and is not over.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Its code; none of a function of this crate.
    pub(crate) proto: Option<Rc<Proto>>,
    pub(crate) upvalues: Rc<[u32]>,
    /// The place of the function on the stack, where its results go.
    pub(crate) func: usize,
    /// The place of its first register, or of its first argument.
    pub(crate) base: usize,
    /// The instruction that comes next.
    pub(crate) pc: usize,
    /// Results that are wanted; -1 for all.
    pub(crate) wanted: i32,
    /// Calls that it has taken the place of.
    pub(crate) tail_calls: u32,
}

/// A coroutine, while it does not run.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    pub(crate) stack: Vec<Val>,
    pub(crate) frames: Vec<Frame>,
    /// Open variables, by their places, the lowest first.
    pub(crate) open: Vec<(usize, u32)>,
    pub(crate) status: Status,
    /// The place for the results of the yield that it waits in, and the wanted number.
    pub(crate) pending: Option<(usize, i32)>,
    /// Calls of functions of this crate that are in progress: none may be when it yields.
    pub(crate) boundary: usize,
    /// The largest sizes of stack and frames that were paid for.
    pub(crate) paid: (usize, usize),
}

impl Thread {
    pub(crate) fn new(status: Status) -> Thread {
        Thread {
            stack: Vec::new(),
            frames: Vec::new(),
            open: Vec::new(),
            status,
            pending: None,
            boundary: 0,
            paid: (0, 0),
        }
    }
}

/// Texts that are there from the beginning: the number of each is its place.
pub(crate) const EVENTS: &[&str] = &[
    "",
    "__index",
    "__newindex",
    "__call",
    "__add",
    "__sub",
    "__mul",
    "__div",
    "__mod",
    "__pow",
    "__unm",
    "__len",
    "__eq",
    "__lt",
    "__le",
    "__concat",
    "__metatable",
    "__tostring",
    "n",
];
pub(crate) const EMPTY: u32 = 0;
pub(crate) const INDEX: u32 = 1;
pub(crate) const NEWINDEX: u32 = 2;
pub(crate) const CALL: u32 = 3;
pub(crate) const ADD: u32 = 4;
pub(crate) const UNM: u32 = 10;
pub(crate) const LEN: u32 = 11;
pub(crate) const EQ: u32 = 12;
pub(crate) const LT: u32 = 13;
pub(crate) const LE: u32 = 14;
pub(crate) const CONCAT: u32 = 15;
pub(crate) const LENGTH_FIELD: u32 = 18;

/// The registry, which scripts cannot see, is the first table; the globals are the second.
pub(crate) const REGISTRY_TABLE: u32 = 0;
pub(crate) const GLOBALS_TABLE: u32 = 1;

/// All objects.
#[derive(Debug, Clone)]
pub(crate) struct Heap {
    pub(crate) budget: Budget,
    strings: Vec<Str>,
    tables: Vec<Table>,
    functions: Vec<Function>,
    pub(crate) upvalues: Vec<Upvalue>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) string_metatable: Option<u32>,
    /// Strings that functions of this crate have for names of fields.
    names: HashMap<&'static str, u32>,
}

/// The hash of a string in Lua 5.1, which decides the order of its keys.
fn hash_of(bytes: &[u8]) -> u32 {
    let mut hash = bytes.len() as u32;
    let step = (bytes.len() >> 5) + 1;
    let mut at = bytes.len();
    while at >= step {
        hash ^= (hash << 5).wrapping_add(hash >> 2).wrapping_add(bytes[at - 1].into());
        at -= step;
    }
    hash
}

impl Heap {
    /// A heap with registry and globals, both empty, and the main thread.
    pub(crate) fn new() -> Heap {
        let mut heap = Heap {
            budget: Budget::new(u64::MAX, 0),
            strings: Vec::new(),
            tables: vec![Table::default(), Table::default()],
            functions: Vec::new(),
            upvalues: Vec::new(),
            threads: vec![Thread::new(Status::Running)],
            string_metatable: None,
            names: HashMap::new(),
        };
        for name in EVENTS {
            heap.string(name.as_bytes());
        }
        heap
    }

    /// A new string.
    pub(crate) fn string(&mut self, bytes: &[u8]) -> Val {
        if !self.budget.take(bytes.len() + size_of::<Str>() + 16) {
            return Val::String(EMPTY);
        }
        self.strings.push(Str { hash: hash_of(bytes), bytes: bytes.into() });
        Val::String(self.strings.len() as u32 - 1)
    }

    /// The string of a name that this crate has, which is made once.
    pub(crate) fn name(&mut self, name: &'static str) -> u32 {
        if let Some(&string) = self.names.get(name) {
            return string;
        }
        let Val::String(string) = self.string(name.as_bytes()) else { unreachable!("a string was made") };
        self.names.insert(name, string);
        string
    }

    /// The bytes of a string, to be held while others are made.
    pub(crate) fn shared_bytes(&self, string: u32) -> Rc<[u8]> {
        self.strings[string as usize].bytes.clone()
    }

    #[inline]
    pub(crate) fn bytes(&self, string: u32) -> &[u8] {
        &self.strings[string as usize].bytes
    }

    /// A new table with room for so many list elements and fields.
    pub(crate) fn table(&mut self, elements: usize, fields: usize) -> u32 {
        let bytes = size_of::<Table>() + 32 + Table::bytes_for(elements, fields);
        if !self.budget.take(bytes) {
            return REGISTRY_TABLE;
        }
        self.tables.push(Table::new(elements, fields));
        self.tables.len() as u32 - 1
    }

    pub(crate) fn function(&mut self, function: Function) -> Val {
        let bytes = match &function {
            Function::Lua { upvalues, .. } => 4 * upvalues.len(),
            Function::Native { upvalues, .. } => size_of::<Val>() * upvalues.len(),
        };
        if self.budget.take(bytes + size_of::<Function>() + 16) || self.functions.is_empty() {
            self.functions.push(function);
        }
        Val::Function(self.functions.len() as u32 - 1)
    }

    pub(crate) fn upvalue(&mut self, upvalue: Upvalue) -> u32 {
        if self.budget.take(size_of::<Upvalue>()) || self.upvalues.is_empty() {
            self.upvalues.push(upvalue);
        }
        self.upvalues.len() as u32 - 1
    }

    pub(crate) fn thread(&mut self) -> u32 {
        if self.budget.take(size_of::<Thread>() + 256) {
            self.threads.push(Thread::new(Status::Suspended));
        }
        self.threads.len() as u32 - 1
    }

    #[inline]
    pub(crate) fn function_of(&self, function: u32) -> &Function {
        &self.functions[function as usize]
    }

    /// The values that a function of this crate keeps.
    pub(crate) fn native_upvalues(&mut self, function: u32) -> &mut [Val] {
        match &mut self.functions[function as usize] {
            Function::Native { upvalues, .. } => upvalues,
            Function::Lua { .. } => &mut [],
        }
    }

    #[inline]
    pub(crate) fn table_of(&self, table: u32) -> &Table {
        &self.tables[table as usize]
    }

    pub(crate) fn table_mut(&mut self, table: u32) -> &mut Table {
        &mut self.tables[table as usize]
    }

    /// Has each of two tables what the other one had.
    pub(crate) fn exchange_tables(&mut self, left: u32, right: u32) {
        self.tables.swap(left as usize, right as usize);
    }

    fn key(&self, key: Val) -> Key {
        let (value, hash) = match key {
            Val::String(string) => (key, self.strings[string as usize].hash),
            Val::Number(number) => {
                let bits = number.to_bits();
                (key, (bits as u32).wrapping_add((bits >> 32) as u32))
            }
            Val::Boolean(value) => (key, value.into()),
            // Lua has the address of an object here. Kinds are told apart, since their numbers are counted apart.
            Val::Table(object) => (key, object.wrapping_mul(64).wrapping_add(16)),
            Val::Function(object) => (key, object.wrapping_mul(64).wrapping_add(32)),
            Val::Thread(object) => (key, object.wrapping_mul(64).wrapping_add(48)),
            Val::Null | Val::Nil => (key, 0),
        };
        Key { value, hash }
    }

    /// The value of a key, without metamethods; nil if there is none.
    #[inline]
    pub(crate) fn get(&mut self, table: u32, key: Val) -> Val {
        if let Val::Number(number) = key
            && let Some(value) = self.tables[table as usize].element(number)
        {
            return value;
        }
        let key = self.key(key);
        let mut steps = 0;
        let found = self.tables[table as usize].find(&key, &self.strings, &mut steps);
        self.budget.owe(steps);
        found
    }

    /// The value of a key that is a string.
    #[inline]
    pub(crate) fn get_string(&mut self, table: u32, string: u32) -> Val {
        let key = Key { value: Val::String(string), hash: self.strings[string as usize].hash };
        let mut steps = 0;
        let found = self.tables[table as usize].find(&key, &self.strings, &mut steps);
        self.budget.owe(steps);
        found
    }

    pub(crate) fn get_number(&mut self, table: u32, number: i64) -> Val {
        self.get(table, Val::Number(number as f64))
    }

    /// Sets a key, which is neither nil nor NaN, without metamethods.
    #[inline]
    pub(crate) fn set(&mut self, table: u32, key: Val, value: Val) {
        if self.budget.stop.is_some() {
            return;
        }
        if let Val::Number(number) = key
            && let Some(place) = self.tables[table as usize].element_mut(number)
        {
            *place = value;
            return;
        }
        let key = self.key(key);
        let mut steps = 0;
        let grown = self.tables[table as usize].set(&key, value, &self.strings, &mut steps);
        self.budget.owe(steps);
        if grown > 0 {
            self.budget.take(grown);
        }
    }

    pub(crate) fn set_number(&mut self, table: u32, number: i64, value: Val) {
        self.set(table, Val::Number(number as f64), value);
    }

    /// Makes room for so many list elements.
    pub(crate) fn reserve_elements(&mut self, table: u32, count: usize) {
        let mut steps = 0;
        if count > self.tables[table as usize].element_room() && self.budget.take(count * size_of::<Val>()) {
            self.tables[table as usize].reserve_elements(count, &self.strings, &mut steps);
            self.budget.owe(steps);
        }
    }

    /// The key behind `key`, and its value; behind the last one there is none.
    ///
    /// # Errors
    /// If the table has no such key.
    pub(crate) fn next(&mut self, table: u32, key: Val) -> Result<Option<(Val, Val)>, ()> {
        let key = self.key(key);
        let mut steps = 0;
        let found = self.tables[table as usize].next(&key, &self.strings, &mut steps);
        self.budget.owe(steps);
        found
    }

    /// The length that `#` tells, without metamethods.
    pub(crate) fn length(&mut self, table: u32) -> usize {
        let mut steps = 0;
        let length = self.tables[table as usize].length(&self.strings, &mut steps);
        self.budget.owe(steps);
        length
    }

    /// Returns whether two values are the same, without metamethods.
    #[inline]
    pub(crate) fn is_same(&mut self, left: Val, right: Val) -> bool {
        let mut steps = 0;
        let is_same = is_same(left, right, &self.strings, &mut steps);
        self.budget.owe(steps);
        is_same
    }

    /// The metatable of a value.
    #[inline]
    pub(crate) fn metatable(&self, value: Val) -> Option<u32> {
        match value {
            Val::Table(table) => self.tables[table as usize].metatable,
            Val::String(_) => self.string_metatable,
            _ => None,
        }
    }

    /// The metamethod of a value for an event; nil if there is none.
    #[inline]
    pub(crate) fn metamethod(&mut self, value: Val, event: u32) -> Val {
        self.metatable(value).map_or(Val::Nil, |metatable| self.get_string(metatable, event))
    }
}

/// Returns whether two values are the same. The bytes that had to be looked at are steps.
#[inline]
pub(crate) fn is_same(left: Val, right: Val, strings: &[Str], steps: &mut usize) -> bool {
    match (left, right) {
        (Val::Nil, Val::Nil) | (Val::Null, Val::Null) => true,
        (Val::Boolean(left), Val::Boolean(right)) => left == right,
        (Val::Number(left), Val::Number(right)) => left == right,
        (Val::Table(left), Val::Table(right))
        | (Val::Function(left), Val::Function(right))
        | (Val::Thread(left), Val::Thread(right)) => left == right,
        (Val::String(left), Val::String(right)) => {
            if left == right {
                return true;
            }
            let (left, right) = (&strings[left as usize], &strings[right as usize]);
            if left.hash != right.hash || left.bytes.len() != right.bytes.len() {
                return false;
            }
            *steps += 1 + left.bytes.len() / 8;
            left.bytes == right.bytes
        }
        _ => false,
    }
}
