//! Arguments of the functions that scripts call, and errors in Lua's words.

use std::rc::Rc;

use crate::limits::BYTES_PER_WORK;
use crate::stack::{Raised, Stack, Type, to_integer};

impl Stack<'_, '_> {
    /// Makes the argument `number` a string, if it is a number.
    ///
    /// # Errors
    /// Lua's for another type.
    pub(crate) fn as_string_argument(&mut self, number: i32) -> Result<Rc<[u8]>, Raised> {
        match self.text(number) {
            Some(text) => Ok(text),
            None => Err(self.bad_type(number, "string")),
        }
    }

    /// The error that the argument `number` is bad for this reason, as Lua tells it.
    pub(crate) fn bad_argument(&mut self, number: i32, reason: &str) -> Raised {
        self.bad_argument_bytes(number, reason.as_bytes())
    }

    /// As [`Stack::bad_argument`], for a reason that shows bytes of a script.
    pub(crate) fn bad_argument_bytes(&mut self, number: i32, reason: &[u8]) -> Raised {
        let index = self.machine.frames.len() - 1;
        let name = self.machine.name_of_called(index);
        let mut number = number;
        let shown = match &name {
            Some((what, name)) => {
                if *what == "method" {
                    number -= 1;
                    if number == 0 {
                        return self.error_bytes(&[b"calling '", &name[..], b"' on bad self (", reason, b")"].concat());
                    }
                }
                &name[..]
            }
            None => b"?",
        };
        let begin = format!("bad argument #{number} to '");
        self.error_bytes(&[begin.as_bytes(), shown, b"' (", reason, b")"].concat())
    }

    /// The error that the argument `number` is no `expected`.
    pub(crate) fn bad_type(&mut self, number: i32, expected: &str) -> Raised {
        let reason = format!("{expected} expected, got {}", self.kind_name(number));
        self.bad_argument(number, &reason)
    }

    /// The string that is the argument `number`, for who looks at all of it.
    ///
    /// # Errors
    /// Lua's for another type.
    pub(crate) fn string_argument(&mut self, number: i32) -> Result<Rc<[u8]>, Raised> {
        let text = self.as_string_argument(number)?;
        self.pay(text.len() / BYTES_PER_WORK)?;
        Ok(text)
    }

    /// The number that is the argument `number`.
    ///
    /// # Errors
    /// Lua's for another type.
    pub(crate) fn number_argument(&mut self, number: i32) -> Result<f64, Raised> {
        match self.number(number) {
            Some(value) => Ok(value),
            None => Err(self.bad_type(number, "number")),
        }
    }

    /// As [`Stack::number_argument`], or `default` if there is none.
    pub(crate) fn number_argument_or(&mut self, number: i32, default: f64) -> Result<f64, Raised> {
        match self.kind(number) {
            Type::None | Type::Nil => Ok(default),
            _ => self.number_argument(number),
        }
    }

    /// The integer that is the argument `number`, cut off as C does.
    ///
    /// # Errors
    /// Lua's for another type.
    pub(crate) fn integer_argument(&mut self, number: i32) -> Result<i64, Raised> {
        Ok(to_integer(self.number_argument(number)?))
    }

    /// As [`Stack::integer_argument`], or `default` if there is none.
    pub(crate) fn integer_argument_or(&mut self, number: i32, default: i64) -> Result<i64, Raised> {
        match self.kind(number) {
            Type::None | Type::Nil => Ok(default),
            _ => self.integer_argument(number),
        }
    }

    /// Fails unless the argument `number` is a table.
    pub(crate) fn table_argument(&mut self, number: i32) -> Result<(), Raised> {
        if self.kind(number) == Type::Table { Ok(()) } else { Err(self.bad_type(number, "table")) }
    }

    /// Fails unless the argument `number` is a function.
    pub(crate) fn function_argument(&mut self, number: i32) -> Result<(), Raised> {
        if self.kind(number) == Type::Function { Ok(()) } else { Err(self.bad_type(number, "function")) }
    }

    /// Fails unless there is an argument `number`.
    pub(crate) fn any_argument(&mut self, number: i32) -> Result<(), Raised> {
        if self.kind(number) == Type::None { Err(self.bad_argument(number, "value expected")) } else { Ok(()) }
    }
}
