//! Variables of a text that is being compiled: local ones, those of functions around, and the blocks in which they are.

use std::rc::Rc;

use crate::code::{self, Local};
use crate::emit::{Block, Expression, NO_JUMP, Place};
use crate::lexer::Made;
use crate::parser::Compiler;

/// Local variables of a function.
const LOCALS: usize = 200;
/// Variables of functions around that one function uses.
const UPVALUES: usize = 60;

impl Compiler<'_> {
    /// Makes the next local variable; `ahead` are made, but not in scope yet.
    pub(crate) fn new_local(&mut self, name: Rc<[u8]>, ahead: usize) -> Made<()> {
        if self.building().active.len() + ahead + 1 > LOCALS {
            return Err(self.over_limit(LOCALS, "local variables"));
        }
        self.building().locals.push(Local { name, begin: 0, end: 0 });
        Ok(())
    }

    /// Brings the last `count` variables into scope.
    pub(crate) fn add_variables(&mut self, count: usize) {
        let building = self.building();
        let (begin, first) = (building.code.len(), building.locals.len() - count);
        for index in first..first + count {
            building.locals[index].begin = begin;
            building.active.push(index);
        }
    }

    pub(crate) fn remove_variables(&mut self, count: usize) {
        let building = self.building();
        let end = building.code.len();
        for index in building.active.drain(count..) {
            building.locals[index].end = end;
        }
    }

    /// Finds a variable in the function `level` or those around it.
    pub(crate) fn find_variable(&mut self, level: usize, name: &Rc<[u8]>, is_base: bool) -> Made<Option<Place>> {
        self.pay(1 + self.functions[level].active.len() / 4)?;
        let building = &mut self.functions[level];
        // The lexer gives the same name each time.
        let found = building.active.iter().rposition(|&index| Rc::ptr_eq(&building.locals[index].name, name));
        if let Some(register) = found {
            if !is_base
                && let Some(block) = building.blocks.iter_mut().rev().find(|block| block.active_count <= register)
            {
                block.has_upvalue = true;
            }
            return Ok(Some(Place::Local(register)));
        }
        if level == 0 {
            return Ok(None);
        }
        let Some(place) = self.find_variable(level - 1, name, false)? else { return Ok(None) };
        let (is_local, index) = match place {
            Place::Local(register) => (true, register),
            Place::Upvalue(index) => (false, index),
            _ => unreachable!("variables are local ones or those of functions around"),
        };
        let upvalues = &mut self.functions[level].upvalues;
        let known = upvalues.iter().position(|&(_, other_local, other)| (other_local, other) == (is_local, index));
        if let Some(known) = known {
            return Ok(Some(Place::Upvalue(known)));
        }
        if upvalues.len() + 1 > UPVALUES {
            let first_line = self.functions[level].first_line;
            let text = match first_line {
                0 => format!("main function has more than {UPVALUES} upvalues"),
                line => format!("function at line {line} has more than {UPVALUES} upvalues"),
            };
            return Err(self.lexer.plain_error(&text));
        }
        upvalues.push((name.clone(), is_local, index));
        Ok(Some(Place::Upvalue(upvalues.len() - 1)))
    }

    pub(crate) fn variable(&mut self) -> Made<Expression> {
        let name = self.name()?;
        let level = self.functions.len() - 1;
        Ok(Expression::at(match self.find_variable(level, &name, true)? {
            Some(place) => place,
            None => Place::Global(self.text_constant(&name)?),
        }))
    }

    /// Makes so many values of those that were read.
    pub(crate) fn adjust(&mut self, wanted: usize, given: usize, last: &mut Expression) -> Made<()> {
        let mut extra = wanted as i32 - given as i32;
        if last.has_multiple_results() {
            extra = (extra + 1).max(0);
            self.set_results(last, extra)?;
            if extra > 1 {
                self.reserve(extra as usize - 1)?;
            }
            return Ok(());
        }
        if last.place != Place::Void {
            self.fill_next_register(last)?;
        }
        if extra > 0 {
            let register = self.building().free_register;
            self.reserve(extra as usize)?;
            self.emit_nil(register, extra as usize)?;
        }
        Ok(())
    }

    pub(crate) fn enter_block(&mut self, is_breakable: bool) {
        let active_count = self.building().active.len();
        self.building().blocks.push(Block { breaks: NO_JUMP, active_count, has_upvalue: false, is_breakable });
    }

    pub(crate) fn leave_block(&mut self) -> Made<()> {
        let block = self.building().blocks.pop().expect("a block was entered");
        self.remove_variables(block.active_count);
        if block.has_upvalue {
            self.emit(code::CLOSE, block.active_count, 0, 0)?;
        }
        self.building().free_register = self.building().active.len();
        self.patch_to_here(block.breaks)
    }
}
