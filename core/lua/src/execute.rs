//! The instructions of the virtual machine (`lvm.c` of Lua 5.1).

use std::rc::Rc;

use crate::code::{self, CONSTANT, FIELDS_PER_FLUSH, Proto};
use crate::heap::{self, Function, Val};
use crate::machine::{Begun, Exit, Machine};
use crate::math::{modulo, power};
use crate::stack::Raised;

/// The value of a register or a constant.
#[inline]
fn operand<'a>(stack: &'a [Val], proto: &'a Proto, base: usize, operand: usize) -> &'a Val {
    if operand >= CONSTANT { &proto.constants[operand - CONSTANT] } else { &stack[base + operand] }
}

impl Machine<'_> {
    /// Runs the function of the frame on top, and those that it calls, until there are less than `entry` frames.
    pub(crate) fn execute(&mut self, entry: usize) -> Result<Exit, Raised> {
        loop {
            let frame = self.frames.last().expect("a function runs");
            let proto = frame.proto.clone().expect("it is one of a script");
            if let Some(exit) = self.run_frame(&proto, entry)? {
                return Ok(exit);
            }
        }
    }

    /// Runs instructions until another frame is on top, or the run is over.
    fn run_frame(&mut self, proto: &Rc<Proto>, entry: usize) -> Result<Option<Exit>, Raised> {
        let frame = self.frames.last().expect("a function runs");
        let (base, mut pc) = (frame.base, frame.pc);
        loop {
            let instruction = proto.code[pc];
            pc += 1;
            if self.heap.budget.work_left == 0 {
                return Err(self.stop(crate::Stop::Work));
            }
            self.heap.budget.work_left -= 1;
            let a = base + code::a(instruction);
            macro_rules! save {
                () => {
                    self.frames.last_mut().expect("a function runs").pc = pc
                };
            }
            macro_rules! rk_b {
                () => {
                    operand(&self.stack, proto, base, code::b(instruction))
                };
            }
            macro_rules! rk_c {
                () => {
                    operand(&self.stack, proto, base, code::c(instruction))
                };
            }
            macro_rules! arithmetic {
                ($compute:expr) => {
                    match (rk_b!(), rk_c!()) {
                        (&Val::Number(left), &Val::Number(right)) => {
                            let compute: fn(f64, f64) -> f64 = $compute;
                            self.stack[a] = Val::Number(compute(left, right));
                        }
                        (&left, &right) => {
                            save!();
                            self.stack[a] = self.arithmetic(instruction, left, right)?;
                        }
                    }
                };
            }
            match code::op(instruction) {
                code::MOVE => self.stack[a] = self.stack[base + code::b(instruction)],
                code::LOADK => self.stack[a] = proto.constants[code::bx(instruction)],
                code::LOADBOOL => {
                    self.stack[a] = Val::Boolean(code::b(instruction) != 0);
                    pc += usize::from(code::c(instruction) != 0);
                }
                code::LOADNIL => self.stack[a..=base + code::b(instruction)].fill(Val::Nil),
                code::GETUPVAL => self.stack[a] = self.upvalue(self.upvalue_number(code::b(instruction))),
                code::GETGLOBAL => {
                    save!();
                    let key = proto.constants[code::bx(instruction)];
                    self.stack[a] = self.index(Val::Table(heap::GLOBALS_TABLE), key, None)?;
                }
                code::GETTABLE => {
                    let place = base + code::b(instruction);
                    let (table, key) = (self.stack[place], *rk_c!());
                    let value = match table {
                        Val::Table(number) => self.heap.get(number, key),
                        _ => Val::Nil,
                    };
                    self.stack[a] = if value.is_nil() {
                        save!();
                        self.index(table, key, Some(place))?
                    } else {
                        value
                    };
                }
                code::SETGLOBAL => {
                    save!();
                    let key = proto.constants[code::bx(instruction)];
                    let value = self.stack[a];
                    self.set_index(Val::Table(heap::GLOBALS_TABLE), key, value, None)?;
                }
                code::SETUPVAL => {
                    let upvalue = self.upvalue_number(code::b(instruction));
                    self.set_upvalue(upvalue, self.stack[a]);
                }
                code::SETTABLE => {
                    save!();
                    self.set_index(self.stack[a], *rk_b!(), *rk_c!(), Some(a))?;
                }
                code::NEWTABLE => {
                    let elements = code::byte_to_size(code::b(instruction));
                    let fields = code::byte_to_size(code::c(instruction));
                    self.stack[a] = Val::Table(self.heap.table(elements, fields));
                }
                code::SELF => {
                    save!();
                    let place = base + code::b(instruction);
                    let (object, key) = (self.stack[place], *rk_c!());
                    self.stack[a + 1] = object;
                    self.stack[a] = self.index(object, key, Some(place))?;
                }
                code::ADD => arithmetic!(|left, right| left + right),
                code::SUB => arithmetic!(|left, right| left - right),
                code::MUL => arithmetic!(|left, right| left * right),
                code::DIV => arithmetic!(|left, right| left / right),
                code::MOD => arithmetic!(modulo),
                code::POW => {
                    // About as long as so many others.
                    self.heap.budget.pay(10);
                    arithmetic!(power);
                }
                code::UNM => match self.stack[base + code::b(instruction)] {
                    Val::Number(number) => self.stack[a] = Val::Number(-number),
                    value => {
                        save!();
                        self.stack[a] = self.arithmetic(instruction, value, value)?;
                    }
                },
                code::NOT => self.stack[a] = Val::Boolean(!self.stack[base + code::b(instruction)].is_true()),
                code::LEN => {
                    let place = base + code::b(instruction);
                    let length = match self.stack[place] {
                        Val::Table(table) => self.heap.length(table) as f64,
                        Val::String(string) => self.heap.bytes(string).len() as f64,
                        value => {
                            save!();
                            let method = self.heap.metamethod(value, heap::LEN);
                            if method.is_nil() {
                                return Err(self.type_error(value, Some(place), "get length of"));
                            }
                            self.stack[a] = self.call_metamethod(method, &[value, Val::Nil])?;
                            continue;
                        }
                    };
                    self.stack[a] = Val::Number(length);
                }
                code::CONCAT => {
                    save!();
                    let (first, last) = (base + code::b(instruction), base + code::c(instruction));
                    self.concat(first, last)?;
                    self.stack[a] = self.stack[first];
                }
                code::JMP => pc = pc.wrapping_add_signed(code::sbx(instruction) as isize),
                code::EQ => {
                    save!();
                    let is_equal = self.is_equal(*rk_b!(), *rk_c!())?;
                    pc = follow(proto, pc, is_equal == (code::a(instruction) != 0));
                }
                code::LT => {
                    let is_less = match (rk_b!(), rk_c!()) {
                        (&Val::Number(left), &Val::Number(right)) => left < right,
                        (&left, &right) => {
                            save!();
                            self.is_less(left, right)?
                        }
                    };
                    pc = follow(proto, pc, is_less == (code::a(instruction) != 0));
                }
                code::LE => {
                    let is_less = match (rk_b!(), rk_c!()) {
                        (&Val::Number(left), &Val::Number(right)) => left <= right,
                        (&left, &right) => {
                            save!();
                            self.is_not_more(left, right)?
                        }
                    };
                    pc = follow(proto, pc, is_less == (code::a(instruction) != 0));
                }
                code::TEST => {
                    let is_wanted = self.stack[a].is_true() == (code::c(instruction) != 0);
                    pc = follow(proto, pc, is_wanted);
                }
                code::TESTSET => {
                    let value = self.stack[base + code::b(instruction)];
                    let is_wanted = value.is_true() == (code::c(instruction) != 0);
                    if is_wanted {
                        self.stack[a] = value;
                    }
                    pc = follow(proto, pc, is_wanted);
                }
                code::CALL | code::TAILCALL => {
                    save!();
                    let b = code::b(instruction);
                    let arguments = if b != 0 { b - 1 } else { self.top - a - 1 };
                    let is_tail = code::op(instruction) == code::TAILCALL;
                    let wanted = if is_tail { -1 } else { code::c(instruction) as i32 - 1 };
                    if is_tail && self.calls_script(self.stack[a]) {
                        self.tail_call(a, arguments)?;
                        return Ok(None);
                    }
                    match self.begin_call(a, arguments, wanted)? {
                        Begun::Lua => return Ok(None),
                        Begun::Yielded(from) => return Ok(Some(Exit::Yielded(from))),
                        Begun::Over(count) => {
                            self.top = a + count;
                            self.grow(base + proto.stack_size)?;
                        }
                    }
                }
                code::RETURN => {
                    let b = code::b(instruction);
                    let count = if b != 0 { b - 1 } else { self.top - a };
                    return self.leave(a, count, entry);
                }
                code::FORLOOP => {
                    let &[Val::Number(index), Val::Number(limit), Val::Number(step)] = &self.stack[a..a + 3] else {
                        unreachable!("they are numbers from the beginning on")
                    };
                    let index = index + step;
                    if if step > 0.0 { index <= limit } else { limit <= index } {
                        pc = pc.wrapping_add_signed(code::sbx(instruction) as isize);
                        self.stack[a] = Val::Number(index);
                        self.stack[a + 3] = Val::Number(index);
                    }
                }
                code::FORPREP => {
                    save!();
                    for (offset, what) in ["initial value", "limit", "step"].into_iter().enumerate() {
                        let Some(number) = self.number_of(self.stack[a + offset]) else {
                            return Err(self.error(&format!("'for' {what} must be a number")));
                        };
                        self.stack[a + offset] = Val::Number(number);
                    }
                    if let (Val::Number(index), Val::Number(step)) = (self.stack[a], self.stack[a + 2]) {
                        self.stack[a] = Val::Number(index - step);
                    }
                    pc = pc.wrapping_add_signed(code::sbx(instruction) as isize);
                }
                code::TFORLOOP => {
                    save!();
                    let variables = code::c(instruction);
                    let func = a + 3;
                    let values = [self.stack[a], self.stack[a + 1], self.stack[a + 2]];
                    self.stack.truncate(func);
                    self.stack.extend_from_slice(&values);
                    self.call(func, 2, variables as i32)?;
                    self.grow(base + proto.stack_size)?;
                    if self.stack[func].is_nil() {
                        pc += 1;
                    } else {
                        self.stack[a + 2] = self.stack[func];
                        pc = follow(proto, pc, true);
                    }
                }
                code::SETLIST => {
                    let b = code::b(instruction);
                    let count = if b != 0 { b } else { self.top - a - 1 };
                    let mut block = code::c(instruction);
                    if block == 0 {
                        block = proto.code[pc] as usize;
                        pc += 1;
                    }
                    let Val::Table(table) = self.stack[a] else { unreachable!("a list is set in a table") };
                    let last = (block - 1) * FIELDS_PER_FLUSH + count;
                    self.pay(count / 2)?;
                    self.heap.reserve_elements(table, last);
                    for number in (1..=count).rev() {
                        let value = self.stack[a + number];
                        self.heap.set_number(table, (last - count + number) as i64, value);
                    }
                    self.grow(base + proto.stack_size)?;
                }
                code::CLOSE => self.close(a),
                code::CLOSURE => {
                    let inner = proto.protos[code::bx(instruction)].clone();
                    let count = inner.upvalue_names.len();
                    let mut upvalues = Vec::with_capacity(count);
                    for &place in &proto.code[pc..pc + count] {
                        let b = code::b(place);
                        upvalues.push(if code::op(place) == code::MOVE {
                            self.find_upvalue(base + b)
                        } else {
                            self.upvalue_number(b)
                        });
                    }
                    pc += count;
                    self.stack[a] = self.heap.function(Function::Lua { proto: inner, upvalues: upvalues.into() });
                }
                code::VARARG => {
                    let b = code::b(instruction);
                    let func = self.frames.last().expect("a function runs").func;
                    let given = (base - func - 1).saturating_sub(proto.parameter_count);
                    let count = if b != 0 { b - 1 } else { given };
                    self.pay(count / 4)?;
                    self.grow((a + count).max(base + proto.stack_size))?;
                    let first = func + 1 + proto.parameter_count;
                    let copied = count.min(given);
                    self.stack.copy_within(first..first + copied, a);
                    self.stack[a + copied..a + count].fill(Val::Nil);
                    self.top = a + count;
                }
                other => unreachable!("no instruction has the number {other}"),
            }
        }
    }

    #[inline]
    fn upvalue_number(&self, index: usize) -> u32 {
        self.frames.last().expect("a function runs").upvalues[index]
    }

    #[inline]
    fn is_of_script(&self, function: u32) -> bool {
        matches!(self.heap.function_of(function), Function::Lua { .. })
    }

    /// Returns whether a call of `value` is one of a function of the script, be it by `__call`.
    fn calls_script(&mut self, value: Val) -> bool {
        let called = if matches!(value, Val::Function(_)) { value } else { self.heap.metamethod(value, heap::CALL) };
        matches!(called, Val::Function(number) if self.is_of_script(number))
    }

    /// Lets a function of the script take the place of the one that runs.
    fn tail_call(&mut self, func: usize, arguments: usize) -> Result<(), Raised> {
        let frame = self.frames.last().expect("a function runs");
        let (target, wanted, tail_calls) = (frame.func, frame.wanted, frame.tail_calls);
        self.close(frame.base);
        self.pay(arguments / 4)?;
        self.stack.copy_within(func..func + 1 + arguments, target);
        self.frames.pop();
        match self.begin_call(target, arguments, wanted)? {
            Begun::Lua => self.frames.last_mut().expect("it was pushed").tail_calls = tail_calls + 1,
            _ => unreachable!("a function of a script takes a frame"),
        }
        Ok(())
    }

    /// Ends the function that runs, which returns `count` values from `first` on.
    fn leave(&mut self, first: usize, count: usize, entry: usize) -> Result<Option<Exit>, Raised> {
        self.pay(count / 8)?;
        let frame = self.frames.last().expect("a function runs");
        let (func, base, wanted) = (frame.func, frame.base, frame.wanted);
        self.close(base);
        self.stack.truncate(first + count);
        let count = self.put_results(func, count, wanted);
        self.frames.pop();
        if self.frames.len() < entry {
            return Ok(Some(Exit::Returned(count)));
        }
        self.top = func + count;
        self.restore_registers()?;
        Ok(None)
    }
}

/// The instruction behind a test: where the jump behind it goes, if that is taken, or behind that.
fn follow(proto: &Proto, pc: usize, is_taken: bool) -> usize {
    if is_taken { (pc + 1).wrapping_add_signed(code::sbx(proto.code[pc]) as isize) } else { pc + 1 }
}
