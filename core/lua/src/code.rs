//! The instructions of the virtual machine: those of Lua 5.1 (`lopcodes.h`), with the same numbers and the same layout.

use std::rc::Rc;

use crate::heap::Val;

pub(crate) const MOVE: u32 = 0;
pub(crate) const LOADK: u32 = 1;
pub(crate) const LOADBOOL: u32 = 2;
pub(crate) const LOADNIL: u32 = 3;
pub(crate) const GETUPVAL: u32 = 4;
pub(crate) const GETGLOBAL: u32 = 5;
pub(crate) const GETTABLE: u32 = 6;
pub(crate) const SETGLOBAL: u32 = 7;
pub(crate) const SETUPVAL: u32 = 8;
pub(crate) const SETTABLE: u32 = 9;
pub(crate) const NEWTABLE: u32 = 10;
pub(crate) const SELF: u32 = 11;
pub(crate) const ADD: u32 = 12;
pub(crate) const SUB: u32 = 13;
pub(crate) const MUL: u32 = 14;
pub(crate) const DIV: u32 = 15;
pub(crate) const MOD: u32 = 16;
pub(crate) const POW: u32 = 17;
pub(crate) const UNM: u32 = 18;
pub(crate) const NOT: u32 = 19;
pub(crate) const LEN: u32 = 20;
pub(crate) const CONCAT: u32 = 21;
pub(crate) const JMP: u32 = 22;
pub(crate) const EQ: u32 = 23;
pub(crate) const LT: u32 = 24;
pub(crate) const LE: u32 = 25;
pub(crate) const TEST: u32 = 26;
pub(crate) const TESTSET: u32 = 27;
pub(crate) const CALL: u32 = 28;
pub(crate) const TAILCALL: u32 = 29;
pub(crate) const RETURN: u32 = 30;
pub(crate) const FORLOOP: u32 = 31;
pub(crate) const FORPREP: u32 = 32;
pub(crate) const TFORLOOP: u32 = 33;
pub(crate) const SETLIST: u32 = 34;
pub(crate) const CLOSE: u32 = 35;
pub(crate) const CLOSURE: u32 = 36;
pub(crate) const VARARG: u32 = 37;

pub(crate) const MAX_A: usize = 255;
pub(crate) const MAX_C: usize = 511;
pub(crate) const MAX_BX: usize = (1 << 18) - 1;
pub(crate) const MAX_SBX: i32 = (MAX_BX >> 1) as i32;
/// Operands from here on are constants.
pub(crate) const CONSTANT: usize = 256;
/// The largest index of a constant that an operand can have.
pub(crate) const MAX_RK: usize = CONSTANT - 1;
/// No register.
pub(crate) const NO_REG: usize = MAX_A;
/// Elements that one instruction sets in a list.
pub(crate) const FIELDS_PER_FLUSH: usize = 50;

#[inline]
pub(crate) fn op(instruction: u32) -> u32 {
    instruction & 0x3f
}

#[inline]
pub(crate) fn a(instruction: u32) -> usize {
    (instruction >> 6 & 0xff) as usize
}

#[inline]
pub(crate) fn b(instruction: u32) -> usize {
    (instruction >> 23) as usize
}

#[inline]
pub(crate) fn c(instruction: u32) -> usize {
    (instruction >> 14 & 0x1ff) as usize
}

#[inline]
pub(crate) fn bx(instruction: u32) -> usize {
    (instruction >> 14) as usize
}

#[inline]
pub(crate) fn sbx(instruction: u32) -> i32 {
    (instruction >> 14) as i32 - MAX_SBX
}

pub(crate) fn make_abc(op: u32, a: usize, b: usize, c: usize) -> u32 {
    op | (a as u32) << 6 | (b as u32) << 23 | (c as u32) << 14
}

pub(crate) fn make_abx(op: u32, a: usize, bx: usize) -> u32 {
    op | (a as u32) << 6 | (bx as u32) << 14
}

pub(crate) fn with_op(instruction: u32, op: u32) -> u32 {
    instruction & !0x3f | op
}

pub(crate) fn with_a(instruction: u32, a: usize) -> u32 {
    instruction & !(0xff << 6) | (a as u32) << 6
}

pub(crate) fn with_b(instruction: u32, b: usize) -> u32 {
    instruction & !(0x1ff << 23) | (b as u32) << 23
}

pub(crate) fn with_c(instruction: u32, c: usize) -> u32 {
    instruction & !(0x1ff << 14) | (c as u32) << 14
}

pub(crate) fn with_sbx(instruction: u32, sbx: i32) -> u32 {
    instruction & 0x3fff | ((sbx + MAX_SBX) as u32) << 14
}

/// Returns whether an instruction of this kind is a test, which a jump follows.
pub(crate) fn is_test(op: u32) -> bool {
    matches!(op, EQ | LT | LE | TEST | TESTSET)
}

/// Returns whether an instruction of this kind sets the register A.
pub(crate) fn sets_a(op: u32) -> bool {
    !matches!(op, SETGLOBAL | SETUPVAL | SETTABLE | JMP | EQ | LT | LE | TEST | RETURN | TFORLOOP | SETLIST | CLOSE)
}

/// A size as one byte, as the instruction for a new table has it: three bits and an exponent, rounded up.
pub(crate) fn size_to_byte(size: usize) -> usize {
    let (mut size, mut exponent) = (size, 0);
    while size >= 16 {
        size = (size + 1) >> 1;
        exponent += 1;
    }
    if size < 8 { size } else { ((exponent + 1) << 3) | (size - 8) }
}

pub(crate) fn byte_to_size(byte: usize) -> usize {
    let exponent = byte >> 3 & 31;
    if exponent == 0 { byte } else { ((byte & 7) + 8) << (exponent - 1) }
}

/// A local variable: its name, and the instructions between which it is one.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) name: Rc<[u8]>,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

/// The code of a function.
#[derive(Debug)]
pub(crate) struct Proto {
    pub(crate) code: Vec<u32>,
    /// The line of each instruction.
    pub(crate) lines: Vec<u32>,
    pub(crate) constants: Vec<Val>,
    pub(crate) protos: Vec<Rc<Proto>>,
    pub(crate) locals: Vec<Local>,
    pub(crate) upvalue_names: Vec<Rc<[u8]>>,
    pub(crate) parameter_count: usize,
    pub(crate) is_vararg: bool,
    /// True if the function has the table `arg` of Lua 5.0.
    pub(crate) needs_arg: bool,
    /// Registers.
    pub(crate) stack_size: usize,
    /// The name of its chunk, with the sign that says how it is shown.
    pub(crate) chunk: Rc<[u8]>,
    /// That name as messages show it.
    pub(crate) source: Rc<[u8]>,
}
