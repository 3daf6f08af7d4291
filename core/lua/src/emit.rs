//! From expressions to instructions: Lua 5.1's code generator (`lcode.c`), so that registers and lines are those of Lua's messages.

use std::collections::HashMap;
use std::rc::Rc;

use crate::code::{self, CONSTANT, Local, MAX_BX, MAX_RK, MAX_SBX, NO_REG};
use crate::heap::Val;
use crate::lexer::Made;
use crate::parser::Compiler;

/// No instruction: the end of a list of jumps.
pub(crate) const NO_JUMP: i32 = -1;
/// Registers of a function.
const REGISTERS: usize = 250;

/// The place where the value of an expression is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Void,
    Nil,
    True,
    False,
    /// The constant of this index.
    Constant(usize),
    Number(f64),
    /// The register of a local variable.
    Local(usize),
    Upvalue(usize),
    /// The global whose name is the constant.
    Global(usize),
    /// A table in a register, and the register or constant of a key.
    Indexed(usize, usize),
    /// The jump of a comparison.
    Jump(usize),
    /// An instruction that can put it into any register.
    Relocatable(usize),
    Register(usize),
    Call(usize),
    Vararg(usize),
}

/// An expression, with the jumps that leave it where it is true and where it is false.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expression {
    pub(crate) place: Place,
    pub(crate) if_true: i32,
    pub(crate) if_false: i32,
}

impl Expression {
    pub(crate) fn at(place: Place) -> Expression {
        Expression { place, if_true: NO_JUMP, if_false: NO_JUMP }
    }

    fn has_jumps(&self) -> bool {
        self.if_true != self.if_false
    }

    pub(crate) fn has_multiple_results(&self) -> bool {
        matches!(self.place, Place::Call(_) | Place::Vararg(_))
    }

    pub(crate) fn is_numeral(&self) -> Option<f64> {
        match self.place {
            Place::Number(number) if self.if_true == NO_JUMP && self.if_false == NO_JUMP => Some(number),
            _ => None,
        }
    }
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Concat,
    Ne,
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

/// A constant by which the same one is found again.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConstantKey {
    Nil,
    Boolean(bool),
    Number(u64),
    Text(Rc<[u8]>),
}

/// A function that is being compiled.
#[derive(Default)]
pub(crate) struct Building {
    pub(crate) code: Vec<u32>,
    pub(crate) lines: Vec<u32>,
    pub(crate) constants: Vec<Val>,
    pub(crate) constant_indices: HashMap<ConstantKey, usize>,
    pub(crate) protos: Vec<Rc<code::Proto>>,
    pub(crate) locals: Vec<Local>,
    /// Names, and where each is found: true for a register of the function around, else an upvalue of it.
    pub(crate) upvalues: Vec<(Rc<[u8]>, bool, usize)>,
    /// Variables in scope: indices of `locals`, one for each register.
    pub(crate) active: Vec<usize>,
    pub(crate) parameter_count: usize,
    pub(crate) is_vararg: bool,
    pub(crate) has_arg: bool,
    pub(crate) needs_arg: bool,
    pub(crate) stack_size: usize,
    pub(crate) first_line: u32,
    pub(crate) free_register: usize,
    /// Jumps to the next instruction.
    pub(crate) pending: i32,
    pub(crate) last_target: i32,
    pub(crate) blocks: Vec<Block>,
}

/// A block of statements.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) breaks: i32,
    pub(crate) active_count: usize,
    pub(crate) has_upvalue: bool,
    pub(crate) is_breakable: bool,
}

impl Compiler<'_> {
    pub(crate) fn pc(&mut self) -> usize {
        self.building().code.len()
    }

    pub(crate) fn emit_raw(&mut self, instruction: u32, line: u32) -> Made<usize> {
        let pending = std::mem::replace(&mut self.building().pending, NO_JUMP);
        let here = self.pc();
        self.patch_list_aux(pending, here, NO_REG, here)?;
        self.pay(1)?;
        let building = self.building();
        building.code.push(instruction);
        building.lines.push(line);
        Ok(here)
    }

    pub(crate) fn emit(&mut self, op: u32, a: usize, b: usize, c: usize) -> Made<usize> {
        let line = self.lexer.last_line;
        self.emit_raw(code::make_abc(op, a, b, c), line)
    }

    pub(crate) fn emit_bx(&mut self, op: u32, a: usize, bx: usize) -> Made<usize> {
        let line = self.lexer.last_line;
        self.emit_raw(code::make_abx(op, a, bx), line)
    }

    pub(crate) fn emit_sbx(&mut self, op: u32, a: usize, sbx: i32) -> Made<usize> {
        self.emit_bx(op, a, (sbx + MAX_SBX) as usize)
    }

    /// Gives the last instruction another line.
    pub(crate) fn fix_line(&mut self, line: u32) {
        if let Some(last) = self.building().lines.last_mut() {
            *last = line;
        }
    }

    pub(crate) fn emit_nil(&mut self, from: usize, count: usize) -> Made<()> {
        let pc = self.pc();
        let active = self.building().active.len();
        if pc as i32 > self.building().last_target {
            if pc == 0 {
                // Registers are nil where a function begins.
                if from >= active {
                    return Ok(());
                }
            } else {
                let previous = self.building().code[pc - 1];
                if code::op(previous) == code::LOADNIL {
                    let (first, last) = (code::a(previous), code::b(previous));
                    if first <= from && from <= last + 1 {
                        if from + count - 1 > last {
                            self.building().code[pc - 1] = code::with_b(previous, from + count - 1);
                        }
                        return Ok(());
                    }
                }
            }
        }
        self.emit(code::LOADNIL, from, from + count - 1, 0)?;
        Ok(())
    }

    pub(crate) fn emit_return(&mut self, first: usize, count: i32) -> Made<()> {
        self.emit(code::RETURN, first, (count + 1) as usize, 0)?;
        Ok(())
    }

    fn check_stack(&mut self, count: usize) -> Made<()> {
        let size = self.building().free_register + count;
        if size > self.building().stack_size {
            if size >= REGISTERS {
                return Err(self.lexer.error("function or expression too complex"));
            }
            self.building().stack_size = size;
        }
        Ok(())
    }

    pub(crate) fn reserve(&mut self, count: usize) -> Made<()> {
        self.check_stack(count)?;
        self.building().free_register += count;
        Ok(())
    }

    fn free_register(&mut self, register: usize) {
        if register < CONSTANT && register >= self.building().active.len() {
            self.building().free_register -= 1;
        }
    }

    pub(crate) fn free(&mut self, expression: &Expression) {
        if let Place::Register(register) = expression.place {
            self.free_register(register);
        }
    }

    fn constant(&mut self, key: ConstantKey, value: Val) -> Made<usize> {
        let building = self.building();
        if let Some(&index) = building.constant_indices.get(&key) {
            return Ok(index);
        }
        let index = building.constants.len();
        if index > MAX_BX {
            return Err(self.lexer.plain_error("constant table overflow"));
        }
        building.constants.push(value);
        building.constant_indices.insert(key, index);
        Ok(index)
    }

    pub(crate) fn text_constant(&mut self, text: &Rc<[u8]>) -> Made<usize> {
        let key = ConstantKey::Text(text.clone());
        if let Some(&index) = self.building().constant_indices.get(&key) {
            return Ok(index);
        }
        let value = self.heap.string(text);
        self.constant(key, value)
    }

    fn number_constant(&mut self, number: f64) -> Made<usize> {
        // The first one of zero and minus zero stands for both, as in Lua 5.1: it looks constants up in a table.
        let key = if number == 0.0 { 0 } else { number.to_bits() };
        self.constant(ConstantKey::Number(key), Val::Number(number))
    }

    /// Sets the number of results of a call or of `...`; -1 for all.
    pub(crate) fn set_results(&mut self, expression: &Expression, count: i32) -> Made<()> {
        match expression.place {
            Place::Call(pc) => {
                let instruction = &mut self.building().code[pc];
                *instruction = code::with_c(*instruction, (count + 1) as usize);
            }
            Place::Vararg(pc) => {
                let register = self.building().free_register;
                let instruction = &mut self.building().code[pc];
                *instruction = code::with_a(code::with_b(*instruction, (count + 1) as usize), register);
                self.reserve(1)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn set_one_result(&mut self, expression: &mut Expression) {
        match expression.place {
            Place::Call(pc) => {
                let register = code::a(self.building().code[pc]);
                expression.place = Place::Register(register);
            }
            Place::Vararg(pc) => {
                let instruction = &mut self.building().code[pc];
                *instruction = code::with_b(*instruction, 2);
                expression.place = Place::Relocatable(pc);
            }
            _ => {}
        }
    }

    pub(crate) fn discharge_variable(&mut self, expression: &mut Expression) -> Made<()> {
        expression.place = match expression.place {
            Place::Local(register) => Place::Register(register),
            Place::Upvalue(index) => Place::Relocatable(self.emit(code::GETUPVAL, 0, index, 0)?),
            Place::Global(name) => Place::Relocatable(self.emit_bx(code::GETGLOBAL, 0, name)?),
            Place::Indexed(table, key) => {
                self.free_register(key);
                self.free_register(table);
                Place::Relocatable(self.emit(code::GETTABLE, 0, table, key)?)
            }
            Place::Call(_) | Place::Vararg(_) => {
                self.set_one_result(expression);
                return Ok(());
            }
            _ => return Ok(()),
        };
        Ok(())
    }

    fn discharge_to(&mut self, expression: &mut Expression, register: usize) -> Made<()> {
        self.discharge_variable(expression)?;
        match expression.place {
            Place::Nil => self.emit_nil(register, 1)?,
            Place::False | Place::True => {
                let value = usize::from(expression.place == Place::True);
                self.emit(code::LOADBOOL, register, value, 0)?;
            }
            Place::Constant(index) => {
                self.emit_bx(code::LOADK, register, index)?;
            }
            Place::Number(number) => {
                let index = self.number_constant(number)?;
                self.emit_bx(code::LOADK, register, index)?;
            }
            Place::Relocatable(pc) => {
                let instruction = &mut self.building().code[pc];
                *instruction = code::with_a(*instruction, register);
            }
            Place::Register(other) => {
                if other != register {
                    self.emit(code::MOVE, register, other, 0)?;
                }
            }
            _ => return Ok(()),
        }
        expression.place = Place::Register(register);
        Ok(())
    }

    pub(crate) fn discharge_to_any(&mut self, expression: &mut Expression) -> Made<()> {
        if matches!(expression.place, Place::Register(_)) {
            return Ok(());
        }
        self.reserve(1)?;
        let register = self.building().free_register - 1;
        self.discharge_to(expression, register)
    }

    fn fill_register(&mut self, expression: &mut Expression, register: usize) -> Made<()> {
        self.discharge_to(expression, register)?;
        if let Place::Jump(pc) = expression.place {
            self.join_jumps(&mut expression.if_true, pc as i32)?;
        }
        if expression.has_jumps() {
            let (mut load_false, mut load_true) = (NO_JUMP, NO_JUMP);
            if self.needs_value(expression.if_true)? || self.needs_value(expression.if_false)? {
                let is_jump = matches!(expression.place, Place::Jump(_));
                let over = if is_jump { NO_JUMP } else { self.jump()? };
                self.label();
                load_false = self.emit(code::LOADBOOL, register, 0, 1)? as i32;
                self.label();
                load_true = self.emit(code::LOADBOOL, register, 1, 0)? as i32;
                self.patch_to_here(over)?;
            }
            let end = self.label();
            self.patch_list_aux(expression.if_false, end, register, load_false as usize)?;
            self.patch_list_aux(expression.if_true, end, register, load_true as usize)?;
        }
        *expression = Expression::at(Place::Register(register));
        Ok(())
    }

    pub(crate) fn fill_next_register(&mut self, expression: &mut Expression) -> Made<()> {
        self.discharge_variable(expression)?;
        self.free(expression);
        self.reserve(1)?;
        let register = self.building().free_register - 1;
        self.fill_register(expression, register)
    }

    pub(crate) fn fill_any_register(&mut self, expression: &mut Expression) -> Made<usize> {
        self.discharge_variable(expression)?;
        if let Place::Register(register) = expression.place {
            if !expression.has_jumps() {
                return Ok(register);
            }
            if register >= self.building().active.len() {
                self.fill_register(expression, register)?;
                return Ok(register);
            }
        }
        self.fill_next_register(expression)?;
        match expression.place {
            Place::Register(register) => Ok(register),
            _ => unreachable!("it was put into a register"),
        }
    }

    pub(crate) fn make_value(&mut self, expression: &mut Expression) -> Made<()> {
        if expression.has_jumps() {
            self.fill_any_register(expression)?;
            Ok(())
        } else {
            self.discharge_variable(expression)
        }
    }

    /// A register or a constant that has the value.
    pub(crate) fn make_operand(&mut self, expression: &mut Expression) -> Made<usize> {
        self.make_value(expression)?;
        let is_room = self.building().constants.len() <= MAX_RK;
        let index = match expression.place {
            Place::Nil if is_room => Some(self.constant(ConstantKey::Nil, Val::Nil)?),
            Place::True if is_room => Some(self.constant(ConstantKey::Boolean(true), Val::Boolean(true))?),
            Place::False if is_room => Some(self.constant(ConstantKey::Boolean(false), Val::Boolean(false))?),
            Place::Number(number) if is_room => Some(self.number_constant(number)?),
            Place::Constant(index) if index <= MAX_RK => Some(index),
            _ => None,
        };
        if let Some(index) = index
            && index <= MAX_RK
        {
            expression.place = Place::Constant(index);
            return Ok(index | CONSTANT);
        }
        self.fill_any_register(expression)
    }

    pub(crate) fn store(&mut self, variable: &Expression, value: &mut Expression) -> Made<()> {
        match variable.place {
            Place::Local(register) => {
                self.free(value);
                return self.fill_register(value, register);
            }
            Place::Upvalue(index) => {
                let register = self.fill_any_register(value)?;
                self.emit(code::SETUPVAL, register, index, 0)?;
            }
            Place::Global(name) => {
                let register = self.fill_any_register(value)?;
                self.emit_bx(code::SETGLOBAL, register, name)?;
            }
            Place::Indexed(table, key) => {
                let operand = self.make_operand(value)?;
                self.emit(code::SETTABLE, table, key, operand)?;
            }
            _ => unreachable!("only variables are assigned to"),
        }
        self.free(value);
        Ok(())
    }

    /// Makes `expression` the method of that name, with the object behind it.
    pub(crate) fn make_method(&mut self, expression: &mut Expression, key: &mut Expression) -> Made<()> {
        let object = self.fill_any_register(expression)?;
        self.free(expression);
        let function = self.building().free_register;
        self.reserve(2)?;
        let operand = self.make_operand(key)?;
        self.emit(code::SELF, function, object, operand)?;
        self.free(key);
        expression.place = Place::Register(function);
        Ok(())
    }

    /// Makes `table` the element `key` of it.
    pub(crate) fn make_indexed(&mut self, table: &mut Expression, key: &mut Expression) -> Made<()> {
        let Place::Register(register) = table.place else { unreachable!("a table is in a register") };
        let operand = self.make_operand(key)?;
        table.place = Place::Indexed(register, operand);
        Ok(())
    }

    /// Sets elements of the list in `table`, which are in the registers behind it; -1 for all.
    pub(crate) fn emit_set_list(&mut self, table: usize, element_count: usize, count: i32) -> Made<()> {
        let block = element_count.saturating_sub(1) / code::FIELDS_PER_FLUSH + 1;
        let b = if count < 0 { 0 } else { count as usize };
        if block <= code::MAX_C {
            self.emit(code::SETLIST, table, b, block)?;
        } else {
            self.emit(code::SETLIST, table, b, 0)?;
            let line = self.lexer.last_line;
            self.emit_raw(block as u32, line)?;
        }
        self.building().free_register = table + 1;
        Ok(())
    }
}
