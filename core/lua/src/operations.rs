//! Operators on values: by themselves, or by metamethods (`lvm.c` and `ltm.c` of Lua 5.1).

use std::cmp::Ordering;

use crate::code;
use crate::heap::{self, Val};
use crate::limits::{BYTES_PER_WORK, METATABLES_MAX};
use crate::machine::Machine;
use crate::math::{modulo, power};
use crate::numbers::{number_of_text, text_of, text_work};
use crate::stack::Raised;

impl Machine<'_> {
    /// The number that a value is or, as a text, stands for.
    pub(crate) fn number_of(&mut self, value: Val) -> Option<f64> {
        match value {
            Val::Number(number) => Some(number),
            Val::String(string) => {
                let (number, work) = number_of_text(self.heap.bytes(string));
                // Also if it is none.
                let is_paid = self.heap.budget.pay(work);
                number.filter(|_| is_paid)
            }
            _ => None,
        }
    }

    /// The string that a value is or, as a number, is shown as.
    pub(crate) fn string_of(&mut self, value: Val) -> Option<u32> {
        match value {
            Val::String(string) => Some(string),
            Val::Number(number) => {
                if !self.heap.budget.pay(text_work(number)) {
                    return Some(heap::EMPTY);
                }
                match self.heap.string(text_of(number).as_bytes()) {
                    Val::String(string) => Some(string),
                    _ => unreachable!("a string was made"),
                }
            }
            _ => None,
        }
    }

    /// The element `key` of `table`, by metamethods. `place` is where that lies, for messages.
    pub(crate) fn index(&mut self, table: Val, key: Val, place: Option<usize>) -> Result<Val, Raised> {
        let (mut table, mut place) = (table, place);
        for _ in 0..METATABLES_MAX {
            let method = match table {
                Val::Table(number) => {
                    let value = self.heap.get(number, key);
                    if !value.is_nil() {
                        return Ok(value);
                    }
                    let Some(metatable) = self.heap.table_of(number).metatable else { return Ok(Val::Nil) };
                    let method = self.heap.get_string(metatable, heap::INDEX);
                    if method.is_nil() {
                        return Ok(Val::Nil);
                    }
                    method
                }
                value => {
                    let method = self.heap.metamethod(value, heap::INDEX);
                    if method.is_nil() {
                        return Err(self.type_error(value, place, "index"));
                    }
                    method
                }
            };
            if matches!(method, Val::Function(_)) {
                return self.call_metamethod(method, &[table, key]);
            }
            self.pay(1)?;
            (table, place) = (method, None);
        }
        Err(self.error("loop in gettable"))
    }

    /// Sets the element `key` of `table`, by metamethods.
    pub(crate) fn set_index(&mut self, table: Val, key: Val, value: Val, place: Option<usize>) -> Result<(), Raised> {
        let (mut table, mut place) = (table, place);
        for _ in 0..METATABLES_MAX {
            let method = match table {
                Val::Table(number) => {
                    if self.heap.table_of(number).is_read_only {
                        return Err(self.error(READ_ONLY));
                    }
                    let method = match self.heap.table_of(number).metatable {
                        Some(metatable) => self.heap.get_string(metatable, heap::NEWINDEX),
                        None => Val::Nil,
                    };
                    if method.is_nil() || !self.heap.get(number, key).is_nil() {
                        return self.set_raw(number, key, value);
                    }
                    // Lua makes the key, which has no value yet.
                    self.set_raw(number, key, Val::Nil)?;
                    method
                }
                other => {
                    let method = self.heap.metamethod(other, heap::NEWINDEX);
                    if method.is_nil() {
                        return Err(self.type_error(other, place, "index"));
                    }
                    method
                }
            };
            if matches!(method, Val::Function(_)) {
                self.call_metamethod(method, &[table, key, value])?;
                return Ok(());
            }
            self.pay(1)?;
            (table, place) = (method, None);
        }
        Err(self.error("loop in settable"))
    }

    fn set_raw(&mut self, table: u32, key: Val, value: Val) -> Result<(), Raised> {
        match key {
            Val::Nil => return Err(self.error("table index is nil")),
            Val::Number(number) if number.is_nan() => return Err(self.error("table index is NaN")),
            _ => self.heap.set(table, key, value),
        }
        Ok(())
    }

    /// Calls the metamethod for an event of either value; nothing if neither has one.
    fn call_binary(&mut self, event: u32, left: Val, right: Val) -> Result<Option<Val>, Raised> {
        let mut method = self.heap.metamethod(left, event);
        if method.is_nil() {
            method = self.heap.metamethod(right, event);
        }
        if method.is_nil() {
            return Ok(None);
        }
        self.call_metamethod(method, &[left, right]).map(Some)
    }

    /// The result of an operation on values that are not both numbers.
    pub(crate) fn arithmetic(&mut self, instruction: u32, left: Val, right: Val) -> Result<Val, Raised> {
        let op = code::op(instruction);
        let numbers = self.number_of(left).zip(self.number_of(right));
        if self.is_stopped() {
            return Err(self.stopped());
        }
        if let Some((left, right)) = numbers {
            return Ok(Val::Number(match op {
                code::ADD => left + right,
                code::SUB => left - right,
                code::MUL => left * right,
                code::DIV => left / right,
                code::MOD => modulo(left, right),
                code::POW => power(left, right),
                _ => -left,
            }));
        }
        let event = if op == code::UNM { heap::UNM } else { heap::ADD + (op - code::ADD) };
        if let Some(result) = self.call_binary(event, left, right)? {
            return Ok(result);
        }
        let is_first = self.number_of(left).is_none();
        let (value, place) = if is_first { (left, code::b(instruction)) } else { (right, code::c(instruction)) };
        Err(self.type_error(value, self.place_of(place), "perform arithmetic on"))
    }

    /// The place on the stack of an operand, if it is a register.
    fn place_of(&self, operand: usize) -> Option<usize> {
        (operand < code::CONSTANT).then(|| self.frames.last().map_or(0, |frame| frame.base) + operand)
    }

    /// Puts the values from `first` to `last` on the stack together, and the result at `first`.
    pub(crate) fn concat(&mut self, first: usize, last: usize) -> Result<(), Raised> {
        let is_text = |value: Val| matches!(value, Val::String(_) | Val::Number(_));
        let mut last = last;
        while last > first {
            let (left, right) = (self.stack[last - 1], self.stack[last]);
            if !is_text(left) || !is_text(right) {
                let Some(result) = self.call_binary(heap::CONCAT, left, right)? else {
                    let (value, place) = if is_text(left) { (right, last) } else { (left, last - 1) };
                    return Err(self.type_error(value, Some(place), "concatenate"));
                };
                self.stack[last - 1] = result;
                last -= 1;
                continue;
            }
            // As many as are texts, from the end on.
            let mut begin = last;
            let mut length = 0;
            while let Some(string) = self.string_of(self.stack[begin]) {
                if self.is_stopped() {
                    return Err(self.stopped());
                }
                self.stack[begin] = Val::String(string);
                length += self.heap.bytes(string).len();
                if begin == first || !is_text(self.stack[begin - 1]) {
                    break;
                }
                begin -= 1;
            }
            self.pay(length / BYTES_PER_WORK)?;
            if length > crate::limits::SCRIPT_BYTES_MAX {
                return Err(self.stop(crate::Stop::Memory));
            }
            let mut text = Vec::with_capacity(length);
            for &value in &self.stack[begin..=last] {
                let Val::String(string) = value else { unreachable!("it was made one") };
                text.extend_from_slice(self.heap.bytes(string));
            }
            self.stack[begin] = self.heap.string(&text);
            last = begin;
        }
        Ok(())
    }

    /// Returns whether two values are equal, by metamethods.
    pub(crate) fn is_equal(&mut self, left: Val, right: Val) -> Result<bool, Raised> {
        if self.heap.is_same(left, right) {
            return Ok(true);
        }
        let (Val::Table(one), Val::Table(other)) = (left, right) else { return Ok(false) };
        let (Some(one), Some(other)) = (self.heap.table_of(one).metatable, self.heap.table_of(other).metatable) else {
            return Ok(false);
        };
        let method = self.heap.get_string(one, heap::EQ);
        if method.is_nil() {
            return Ok(false);
        }
        if one != other {
            let second = self.heap.get_string(other, heap::EQ);
            if !self.heap.is_same(method, second) {
                return Ok(false);
            }
        }
        Ok(self.call_metamethod(method, &[left, right])?.is_true())
    }

    /// The order of two values, which are two numbers or two texts.
    fn compare(&mut self, left: Val, right: Val) -> Option<Option<Ordering>> {
        match (left, right) {
            (Val::Number(left), Val::Number(right)) => Some(left.partial_cmp(&right)),
            (Val::String(left), Val::String(right)) => {
                let shorter = self.heap.bytes(left).len().min(self.heap.bytes(right).len());
                self.heap.budget.pay(shorter / BYTES_PER_WORK);
                Some(Some(self.heap.bytes(left).cmp(self.heap.bytes(right))))
            }
            _ => None,
        }
    }

    /// Calls the metamethod of an order, which both values have; nothing if they do not.
    fn call_order(&mut self, event: u32, left: Val, right: Val) -> Result<Option<bool>, Raised> {
        let method = self.heap.metamethod(left, event);
        if method.is_nil() {
            return Ok(None);
        }
        let other = self.heap.metamethod(right, event);
        if !self.heap.is_same(method, other) {
            return Ok(None);
        }
        Ok(Some(self.call_metamethod(method, &[left, right])?.is_true()))
    }

    fn order_error(&mut self, left: Val, right: Val) -> Raised {
        let (left, right) = (left.kind_name(), right.kind_name());
        let text = if left == right {
            format!("attempt to compare two {left} values")
        } else {
            format!("attempt to compare {left} with {right}")
        };
        self.error(&text)
    }

    fn is_same_kind(left: Val, right: Val) -> bool {
        std::mem::discriminant(&left) == std::mem::discriminant(&right)
    }

    pub(crate) fn is_less(&mut self, left: Val, right: Val) -> Result<bool, Raised> {
        if let Some(order) = self.compare(left, right) {
            return Ok(order == Some(Ordering::Less));
        }
        if Self::is_same_kind(left, right)
            && let Some(is_less) = self.call_order(heap::LT, left, right)?
        {
            return Ok(is_less);
        }
        Err(self.order_error(left, right))
    }

    pub(crate) fn is_not_more(&mut self, left: Val, right: Val) -> Result<bool, Raised> {
        if let Some(order) = self.compare(left, right) {
            return Ok(matches!(order, Some(Ordering::Less | Ordering::Equal)));
        }
        if Self::is_same_kind(left, right) {
            if let Some(is_not_more) = self.call_order(heap::LE, left, right)? {
                return Ok(is_not_more);
            }
            if let Some(is_less) = self.call_order(heap::LT, right, left)? {
                return Ok(!is_less);
            }
        }
        Err(self.order_error(left, right))
    }
}

/// The error of who changes a table of the library.
pub(crate) const READ_ONLY: &str = "Attempt to modify a readonly table";
