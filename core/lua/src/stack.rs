//! The stack as functions of this crate see it: values by index, as in Lua's own C interface.
//!
//! What a newcomer would get wrong: nothing here calls a metamethod unless it says so, and an error is a value that is returned
//! ([`Raised`]), never something that is jumped with.

use std::rc::Rc;

use crate::Host;
use crate::budget::{Budget, Stop};
use crate::heap::{Frame, Function as HeapFunction, GLOBALS_TABLE, REGISTRY_TABLE, Val};
use crate::limits::{BYTES_PER_WORK, SCRIPT_BYTES_MAX};
use crate::machine::{Machine, Mark, position};

/// An error that is on its way: the value that is raised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raised(pub(crate) Val);

/// A function of this crate that scripts call: takes its arguments from the stack and returns the number of results on top of it.
pub(crate) type Function = fn(&mut Stack<'_, '_>) -> Result<usize, Raised>;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    None,
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Function,
    Thread,
    Userdata,
}

/// The index of the registry, which scripts cannot see.
pub(crate) const REGISTRY: i32 = i32::MIN;
/// The index of the table of globals.
pub(crate) const GLOBALS: i32 = i32::MIN + 1;
/// Values that a function may have on its stack.
const VALUES_MAX: usize = 8000;

/// The stack of the function that is being called.
pub(crate) struct Stack<'m, 'h> {
    pub(crate) machine: &'m mut Machine<'h>,
    pub(crate) base: usize,
}

impl Stack<'_, '_> {
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.machine.heap.budget
    }

    /// The value at `index`, which may be beyond the top.
    pub(crate) fn value(&self, index: i32) -> Option<Val> {
        match index {
            REGISTRY => Some(Val::Table(REGISTRY_TABLE)),
            GLOBALS => Some(Val::Table(GLOBALS_TABLE)),
            1.. => self.machine.stack.get(self.base + index as usize - 1).copied(),
            _ => {
                let place = self.machine.stack.len().checked_sub(index.unsigned_abs() as usize)?;
                (place >= self.base && index < 0).then(|| self.machine.stack[place])
            }
        }
    }

    /// The place of the value at `index`.
    #[track_caller]
    fn place(&self, index: i32) -> usize {
        let top = self.machine.stack.len();
        let place = if index > 0 { self.base + index as usize - 1 } else { top - index.unsigned_abs() as usize };
        assert!(place >= self.base && place < top, "there is no value at {index}, the stack has {}", self.top());
        place
    }

    /// Returns whether there is room for `count` values more, as Lua has it for functions of C.
    #[must_use]
    pub(crate) fn has_room(&mut self, count: usize) -> bool {
        let length = self.machine.stack.len();
        length - self.base + count <= VALUES_MAX && self.machine.grow_paid(length + count)
    }

    /// Makes room for `count` values, which are a few.
    ///
    /// # Errors
    /// Lua's "stack overflow", if the script has used it up.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), Raised> {
        if self.has_room(count) { Ok(()) } else { Err(self.error("stack overflow")) }
    }

    /// The number of values.
    pub(crate) fn top(&self) -> i32 {
        (self.machine.stack.len() - self.base) as i32
    }

    /// Drops values, or adds nils, until there are `top`.
    pub(crate) fn set_top(&mut self, top: i32) {
        assert!(top >= 0 && top <= self.top() + 10, "a stack grows by a few");
        self.machine.stack.resize(self.base + top as usize, Val::Nil);
    }

    /// Drops the `count` values on top.
    pub(crate) fn pop(&mut self, count: i32) {
        self.set_top(self.top() - count);
    }

    /// The type of the value at `index`, which may be beyond the top.
    pub(crate) fn kind(&self, index: i32) -> Type {
        match self.value(index) {
            None => Type::None,
            Some(Val::Nil) => Type::Nil,
            Some(Val::Boolean(_)) => Type::Boolean,
            Some(Val::Number(_)) => Type::Number,
            Some(Val::String(_)) => Type::String,
            Some(Val::Table(_)) => Type::Table,
            Some(Val::Function(_)) => Type::Function,
            Some(Val::Thread(_)) => Type::Thread,
            Some(Val::Null) => Type::Userdata,
        }
    }

    /// The name of that type, as Lua tells it.
    pub(crate) fn kind_name(&self, index: i32) -> &'static str {
        self.value(index).map_or("no value", Val::kind_name)
    }

    /// The truth of the value at `index`: nil, false and none are false.
    pub(crate) fn boolean(&self, index: i32) -> bool {
        self.value(index).is_some_and(Val::is_true)
    }

    /// The number at `index`, or that of the text there.
    pub(crate) fn number(&mut self, index: i32) -> Option<f64> {
        let value = self.value(index)?;
        self.machine.number_of(value)
    }

    /// Makes the value at `index` a string, if it is a number. Its bytes, if it is either; so this is never used on a key that a
    /// walk goes on from.
    pub(crate) fn text(&mut self, index: i32) -> Option<Rc<[u8]>> {
        let value = self.value(index)?;
        let string = self.machine.string_of(value)?;
        let place = self.place(index);
        self.machine.stack[place] = Val::String(string);
        Some(self.machine.heap.shared_bytes(string))
    }

    /// As [`Stack::text`], borrowed.
    pub(crate) fn bytes(&mut self, index: i32) -> Option<&[u8]> {
        let value = self.value(index)?;
        let string = self.machine.string_of(value)?;
        let place = self.place(index);
        self.machine.stack[place] = Val::String(string);
        Some(self.machine.heap.bytes(string))
    }

    /// Calls `with` with the host and the `count` strings at the bottom of the stack.
    pub(crate) fn call_host<R>(&mut self, count: i32, with: impl FnOnce(&mut dyn Host, &[&[u8]]) -> R) -> R {
        let strings: Vec<Rc<[u8]>> = (1..=count).filter_map(|index| self.text(index)).collect();
        assert!(strings.len() == count as usize, "all are strings");
        let strings: Vec<&[u8]> = strings.iter().map(|string| &string[..]).collect();
        with(&mut *self.machine.host, &strings)
    }

    /// The length of the table's list at `index`, as `#` tells it without metamethods.
    pub(crate) fn length(&mut self, index: i32) -> usize {
        let table = self.table(index);
        self.machine.heap.length(table)
    }

    pub(crate) fn push(&mut self, value: Val) {
        self.machine.stack.push(value);
    }

    pub(crate) fn push_nil(&mut self) {
        self.push(Val::Nil);
    }

    pub(crate) fn push_boolean(&mut self, value: bool) {
        self.push(Val::Boolean(value));
    }

    pub(crate) fn push_number(&mut self, value: f64) {
        self.push(Val::Number(value));
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        let string = self.machine.heap.string(bytes);
        self.push(string);
    }

    /// Pushes the value at `index` once more.
    #[track_caller]
    pub(crate) fn push_copy(&mut self, index: i32) {
        let value = self.value(index).expect("there is a value");
        self.push(value);
    }

    /// Pushes a new table with room for so many list elements and fields.
    pub(crate) fn push_table(&mut self, elements: usize, fields: usize) {
        let table = self.machine.heap.table(elements, fields);
        self.push(Val::Table(table));
    }

    /// Replaces the `upvalues` on top by the function `number` of [`FUNCTIONS`](crate::functions::FUNCTIONS), which has them.
    pub(crate) fn push_closure(&mut self, number: usize, upvalues: usize) {
        let first = self.machine.stack.len() - upvalues;
        let upvalues = self.machine.stack.split_off(first);
        let function = self.machine.heap.function(HeapFunction::Native { number: number as u16, upvalues });
        self.push(function);
    }

    fn called(&self) -> u32 {
        match self.machine.stack[self.base - 1] {
            Val::Function(function) => function,
            _ => unreachable!("a function is below its arguments"),
        }
    }

    /// The upvalue `index` of the function being called, from 0 on.
    pub(crate) fn upvalue(&mut self, index: usize) -> Val {
        let function = self.called();
        self.machine.heap.native_upvalues(function)[index]
    }

    pub(crate) fn push_upvalue(&mut self, index: usize) {
        let value = self.upvalue(index);
        self.push(value);
    }

    /// Takes the value on top, and makes it the upvalue `index` of the function being called.
    pub(crate) fn set_upvalue(&mut self, index: usize) {
        let value = self.take();
        let function = self.called();
        self.machine.heap.native_upvalues(function)[index] = value;
    }

    /// Takes the value on top.
    #[track_caller]
    pub(crate) fn take(&mut self) -> Val {
        assert!(self.top() > 0, "there is a value");
        self.machine.stack.pop().expect("there is a value")
    }

    /// Moves the value on top to `index`, and those from there on up.
    pub(crate) fn insert(&mut self, index: i32) {
        let place = self.place(index);
        self.machine.stack[place..].rotate_right(1);
    }

    /// Removes the value at `index`, and moves those above down.
    pub(crate) fn remove(&mut self, index: i32) {
        let place = self.place(index);
        self.machine.stack.remove(place);
    }

    /// Moves the value on top to `index`, in place of what is there.
    pub(crate) fn replace(&mut self, index: i32) {
        let place = self.place(index);
        self.machine.stack[place] = self.take();
    }

    #[track_caller]
    pub(crate) fn table(&self, index: i32) -> u32 {
        match self.value(index) {
            Some(Val::Table(table)) => table,
            other => panic!("there is no table at {index}, but {other:?}"),
        }
    }

    /// Replaces the key on top by its value in the table at `index`, without metamethods.
    pub(crate) fn get(&mut self, index: i32) {
        let table = self.table(index);
        let key = self.take();
        let value = self.machine.heap.get(table, key);
        self.push(value);
    }

    /// Pushes the field `name` of the table at `index`, without metamethods.
    pub(crate) fn get_field(&mut self, index: i32, name: &'static str) {
        let table = self.table(index);
        let key = self.machine.heap.name(name);
        let value = self.machine.heap.get_string(table, key);
        self.push(value);
    }

    /// Pushes the element `number` of the table at `index`, without metamethods.
    pub(crate) fn get_element(&mut self, index: i32, number: i32) {
        let table = self.table(index);
        let value = self.machine.heap.get_number(table, number.into());
        self.push(value);
    }

    /// Takes value and key from the top, and sets them in the table at `index`, without metamethods. The key is neither nil nor
    /// NaN.
    pub(crate) fn set(&mut self, index: i32) {
        let table = self.table(index);
        let (value, key) = (self.take(), self.take());
        let is_key = !key.is_nil() && !matches!(key, Val::Number(number) if number.is_nan());
        assert!(is_key || self.machine.is_stopped(), "nothing has such a key");
        self.machine.heap.set(table, key, value);
    }

    /// Replaces the key on top by its value in the table at `index`, by `__index` if that is how it has it.
    ///
    /// # Errors
    /// Those of `__index`.
    pub(crate) fn get_by_metamethods(&mut self, index: i32) -> Result<(), Raised> {
        let table = self.value(index).expect("there is a value");
        let key = self.take();
        let value = self.machine.index(table, key, None)?;
        self.push(value);
        Ok(())
    }

    /// Returns whether the first value is less than the second, by metamethods.
    ///
    /// # Errors
    /// Those of metamethods, and Lua's if the two cannot be compared.
    pub(crate) fn is_less(&mut self, left: i32, right: i32) -> Result<bool, Raised> {
        let left = self.value(left).expect("there is a value");
        let right = self.value(right).expect("there is a value");
        self.machine.is_less(left, right)
    }

    /// Takes the value on top, and sets it as the field `name` of the table at `index`, without metamethods.
    pub(crate) fn set_field(&mut self, index: i32, name: &'static str) {
        let table = self.table(index);
        let value = self.take();
        let key = self.machine.heap.name(name);
        self.machine.heap.set(table, Val::String(key), value);
    }

    /// Takes the value on top, and sets it as the element `number` of the table at `index`, without metamethods.
    pub(crate) fn set_element(&mut self, index: i32, number: i32) {
        let table = self.table(index);
        let value = self.take();
        self.machine.heap.set_number(table, number.into(), value);
    }

    /// Takes the value on top, a table or nil, and makes it the metatable of the table at `index`; nil is none.
    pub(crate) fn set_metatable(&mut self, index: i32) {
        let table = self.table(index);
        let metatable = match self.take() {
            Val::Table(metatable) => Some(metatable),
            _ => None,
        };
        self.machine.heap.table_mut(table).metatable = metatable;
    }

    /// Pushes the metatable of the value at `index`; false if it has none, and nothing is pushed.
    pub(crate) fn metatable(&mut self, index: i32) -> bool {
        let value = self.value(index).expect("there is a value");
        match self.machine.heap.metatable(value) {
            Some(metatable) => {
                self.push(Val::Table(metatable));
                true
            }
            None => false,
        }
    }

    /// Replaces the key on top by the next one of the table at `index`, and pushes its value; pops it and is false behind the last
    /// one.
    ///
    /// # Errors
    /// Lua's, if the table has no such key.
    pub(crate) fn next(&mut self, index: i32) -> Result<bool, Raised> {
        let table = self.table(index);
        let key = self.take();
        match self.machine.heap.next(table, key) {
            Ok(Some((key, value))) => {
                self.push(key);
                self.push(value);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(()) => Err(self.plain_error("invalid key to 'next'")),
        }
    }

    /// Calls the function below its `arguments` on top, which go; leaves its results, all or so many. Returns their number.
    ///
    /// # Errors
    /// That of the function: then nothing can be done but to raise it in turn.
    pub(crate) fn call(&mut self, arguments: i32, results: Option<i32>) -> Result<i32, Raised> {
        let func = self.machine.stack.len() - arguments as usize - 1;
        assert!(func >= self.base, "a function is below its arguments");
        self.machine.call(func, arguments as usize, results.unwrap_or(-1)).map(|count| count as i32)
    }

    /// As [`Stack::call`], but an error is caught: function and arguments are gone then, and so is what the error has left.
    ///
    /// # Errors
    /// That of the function.
    pub(crate) fn call_protected(&mut self, arguments: i32, results: Option<i32>) -> Result<i32, Raised> {
        let func = self.machine.stack.len() - arguments as usize - 1;
        let mark = self.machine.mark();
        self.call(arguments, results).map_err(|raised| self.catch(mark, func, raised))
    }

    fn catch(&mut self, mark: Mark, func: usize, raised: Raised) -> Raised {
        self.machine.unwind(mark, func);
        raised
    }

    /// As [`Stack::call_protected`] with a function that is called with an error where it is raised; its result is the error.
    ///
    /// # Errors
    /// That of the function, as the handler has made it.
    pub(crate) fn call_handled(&mut self, arguments: i32, results: Option<i32>, handler: Val) -> Result<i32, Raised> {
        let func = self.machine.stack.len() - arguments as usize - 1;
        let mark = self.machine.mark();
        self.call(arguments, results).map_err(|raised| self.handled(mark, func, handler, raised))
    }

    /// The error that a call ends with whose function was at `func`, as its handler has made it. That of one that waits is none.
    pub(crate) fn handled(&mut self, mark: Mark, func: usize, handler: Val, raised: Raised) -> Raised {
        if self.machine.is_waiting() {
            return raised;
        }
        let Raised(error) = raised;
        let handled = if self.machine.is_stopped() { Ok(Val::Nil) } else { self.machine.handle(mark, handler, error) };
        self.machine.unwind(mark, func);
        handled.map_or_else(|Raised(_)| Raised(self.machine.heap.string(b"error in error handling")), Raised)
    }

    /// `text` as an error, with the line that has called this function before it.
    pub(crate) fn error(&mut self, text: &str) -> Raised {
        self.error_bytes(text.as_bytes())
    }

    /// As [`Stack::error`], of bytes.
    pub(crate) fn error_bytes(&mut self, text: &[u8]) -> Raised {
        let mut message = self.position(1);
        message.extend_from_slice(text);
        Raised(self.machine.heap.string(&message))
    }

    /// `text` as an error by itself.
    pub(crate) fn plain_error(&mut self, text: &str) -> Raised {
        Raised(self.machine.heap.string(text.as_bytes()))
    }

    /// The line of the function at `level` of the calls, as messages begin with it: level 1 has called this one.
    pub(crate) fn position(&self, level: usize) -> Vec<u8> {
        self.frame(level).map_or_else(Vec::new, position)
    }

    /// The frame at a level of the calls; calls whose place another one has taken are levels, too, without a frame.
    pub(crate) fn frame(&self, level: usize) -> Option<&Frame> {
        let mut level = level as i64;
        for frame in self.machine.frames.iter().rev() {
            if level == 0 {
                return Some(frame);
            }
            level -= 1 + i64::from(frame.tail_calls);
            if level < 0 {
                return None;
            }
        }
        None
    }

    /// Takes `work` off the script's budget.
    ///
    /// # Errors
    /// If there is not as much left.
    pub(crate) fn pay(&mut self, work: usize) -> Result<(), Raised> {
        self.machine.pay(work)
    }

    /// Adds bytes to a text that is being made, and pays for them.
    ///
    /// # Errors
    /// If the script cannot, or the text is larger than what it may have.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Raised> {
        self.pay(1 + bytes.len() / BYTES_PER_WORK)?;
        if out.len() + bytes.len() > SCRIPT_BYTES_MAX {
            return Err(self.machine.stop(Stop::Memory));
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}

/// `number` as C casts it to a 64-bit integer: what does not fit is the smallest one.
pub(crate) fn to_integer(number: f64) -> i64 {
    // 2^63
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}

/// `number` as C casts it to a 32-bit one on its way through a larger one, as Lua does.
pub(crate) fn to_int(number: f64) -> i32 {
    to_integer(number) as i32
}
