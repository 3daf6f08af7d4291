//! Names of values for messages: "attempt to call field 'x' (a nil value)", as Lua 5.1 finds them in the code (`ldebug.c`).

use crate::code::{self, Proto};
use crate::heap::{Frame, Val};
use crate::limits::SHOWN_BYTES_MAX;
use crate::machine::Machine;
use crate::stack::Raised;

/// The kind of a variable, and its name.
pub(crate) type Name = (&'static str, Vec<u8>);

/// A name as messages show it: up to its first zero, and not all of one that is very long. Names are as long as texts may be, and
/// nobody has paid for a copy of this one.
pub(crate) fn shown(name: &[u8]) -> &[u8] {
    let name = &name[..name.len().min(SHOWN_BYTES_MAX)];
    &name[..memchr::memchr(0, name).unwrap_or(name.len())]
}

/// As [`shown`], of a text: its last character may be cut off.
pub(crate) fn shown_text(name: &str) -> &str {
    let mut end = shown(name.as_bytes()).len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The instruction that has given `register` its value when `last` is executed.
fn setter(proto: &Proto, last: usize, register: usize) -> u32 {
    let mut found = proto.code.len() - 1;
    let mut pc = 0;
    while pc < last {
        let instruction = proto.code[pc];
        let (op, a, b) = (code::op(instruction), code::a(instruction), code::b(instruction));
        if code::sets_a(op) && a == register {
            found = pc;
        }
        match op {
            code::LOADNIL if a <= register && register <= b => found = pc,
            code::SELF if register == a + 1 => found = pc,
            code::TFORLOOP if register >= a + 2 => found = pc,
            code::CALL | code::TAILCALL if register >= a => found = pc,
            code::VARARG if register >= a && (b == 0 || register < a + b - 1) => found = pc,
            code::JMP | code::FORLOOP | code::FORPREP => {
                let target = pc as i64 + 1 + i64::from(code::sbx(instruction));
                if target > pc as i64 && target <= last as i64 {
                    pc = target as usize - 1;
                }
            }
            code::CLOSURE => {
                // Instructions that say where its variables are.
                pc += proto.protos[code::bx(instruction)].upvalue_names.len();
            }
            code::SETLIST if code::c(instruction) == 0 => pc += 1,
            _ => {}
        }
        pc += 1;
    }
    proto.code[found]
}

impl Machine<'_> {
    fn text_constant(&self, proto: &Proto, operand: usize) -> Vec<u8> {
        match proto.constants.get(operand.wrapping_sub(code::CONSTANT)) {
            Some(Val::String(string)) if operand >= code::CONSTANT => shown(self.heap.bytes(*string)).to_vec(),
            _ => b"?".to_vec(),
        }
    }

    fn constant(&self, proto: &Proto, index: usize) -> Vec<u8> {
        self.text_constant(proto, index + code::CONSTANT)
    }

    /// The name of what a register of a frame has.
    fn name_of(&mut self, frame: &Frame, register: usize) -> Option<Name> {
        let proto = frame.proto.clone()?;
        let pc = frame.pc.checked_sub(1)?;
        let mut register = register;
        loop {
            self.heap.budget.pay((proto.code.len() + proto.locals.len()) / 2);
            let mut count = register + 1;
            for local in proto.locals.iter().take_while(|local| local.begin <= pc) {
                if pc < local.end {
                    count -= 1;
                    if count == 0 {
                        return Some(("local", shown(&local.name).to_vec()));
                    }
                }
            }
            let instruction = setter(&proto, pc, register);
            let b = code::b(instruction);
            return match code::op(instruction) {
                code::GETGLOBAL => Some(("global", self.constant(&proto, code::bx(instruction)))),
                code::MOVE if b < code::a(instruction) => {
                    register = b;
                    continue;
                }
                code::GETTABLE => Some(("field", self.text_constant(&proto, code::c(instruction)))),
                code::GETUPVAL => {
                    Some(("upvalue", proto.upvalue_names.get(b).map_or(b"?".to_vec(), |name| shown(name).to_vec())))
                }
                code::SELF => Some(("method", self.text_constant(&proto, code::c(instruction)))),
                _ => None,
            };
        }
    }

    /// The name by which the function of the frame `index` was called.
    pub(crate) fn name_of_called(&mut self, index: usize) -> Option<Name> {
        let caller = self.frames.get(index.checked_sub(1)?)?.clone();
        let called = &self.frames[index];
        if called.proto.is_some() && called.tail_calls > 0 {
            return None;
        }
        let proto = caller.proto.as_ref()?;
        let instruction = *proto.code.get(caller.pc.checked_sub(1)?)?;
        match code::op(instruction) {
            code::CALL | code::TAILCALL | code::TFORLOOP => self.name_of(&caller, code::a(instruction)),
            _ => None,
        }
    }

    /// Raises that an operation cannot be done on the value of a register, or of none.
    pub(crate) fn type_error(&mut self, value: Val, place: Option<usize>, operation: &str) -> Raised {
        let frame = self.frames.last().cloned();
        let name = match (frame, place) {
            (Some(frame), Some(place)) if place >= frame.base => self.name_of(&frame, place - frame.base),
            _ => None,
        };
        let kind = value.kind_name();
        let text = match name {
            Some((what, name)) => {
                let (before, behind) = (format!("attempt to {operation} {what} '"), format!("' (a {kind} value)"));
                [before.as_bytes(), &name[..], behind.as_bytes()].concat()
            }
            None => format!("attempt to {operation} a {kind} value").into_bytes(),
        };
        self.error_bytes(&text)
    }

    pub(crate) fn call_error(&mut self, func: usize) -> Raised {
        self.type_error(self.stack[func], Some(func), "call")
    }
}
