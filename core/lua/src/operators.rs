//! Operators of a text that is being compiled, and conditions. Those on constants are computed at once, as Lua 5.1 does.

use crate::code::{self, NO_REG};
use crate::emit::{Binary, Expression, NO_JUMP, Place};
use crate::lexer::Made;
use crate::parser::Compiler;

/// The result of an operation on constants; none where it is left to the machine.
fn fold(op: u32, left: f64, right: f64) -> Option<f64> {
    let result = match op {
        code::ADD => left + right,
        code::SUB => left - right,
        code::MUL => left * right,
        code::DIV if right != 0.0 => left / right,
        code::MOD if right != 0.0 => crate::math::modulo(left, right),
        code::POW => crate::math::power(left, right),
        code::UNM => -left,
        _ => return None,
    };
    (!result.is_nan()).then_some(result)
}

impl Compiler<'_> {
    fn invert_jump(&mut self, jump: usize) {
        let control = self.control_of(jump);
        let instruction = self.building().code[control];
        let is_inverse = usize::from(code::a(instruction) == 0);
        self.building().code[control] = code::with_a(instruction, is_inverse);
    }

    fn jump_on(&mut self, expression: &mut Expression, condition: bool) -> Made<i32> {
        if let Place::Relocatable(pc) = expression.place {
            let instruction = self.building().code[pc];
            if code::op(instruction) == code::NOT {
                let building = self.building();
                building.code.pop();
                building.lines.pop();
                return self.conditional_jump(code::TEST, code::b(instruction), 0, usize::from(!condition));
            }
        }
        self.discharge_to_any(expression)?;
        self.free(expression);
        let Place::Register(register) = expression.place else { unreachable!("it was put into a register") };
        self.conditional_jump(code::TESTSET, NO_REG, register, usize::from(condition))
    }

    /// Goes on where the expression is true.
    pub(crate) fn go_if_true(&mut self, expression: &mut Expression) -> Made<()> {
        self.discharge_variable(expression)?;
        let jump = match expression.place {
            Place::Constant(_) | Place::Number(_) | Place::True => NO_JUMP,
            Place::Jump(pc) => {
                self.invert_jump(pc);
                pc as i32
            }
            _ => self.jump_on(expression, false)?,
        };
        self.join_jumps(&mut expression.if_false, jump)?;
        self.patch_to_here(expression.if_true)?;
        expression.if_true = NO_JUMP;
        Ok(())
    }

    fn go_if_false(&mut self, expression: &mut Expression) -> Made<()> {
        self.discharge_variable(expression)?;
        let jump = match expression.place {
            Place::Nil | Place::False => NO_JUMP,
            Place::Jump(pc) => pc as i32,
            _ => self.jump_on(expression, true)?,
        };
        self.join_jumps(&mut expression.if_true, jump)?;
        self.patch_to_here(expression.if_false)?;
        expression.if_false = NO_JUMP;
        Ok(())
    }

    pub(crate) fn emit_not(&mut self, expression: &mut Expression) -> Made<()> {
        self.discharge_variable(expression)?;
        match expression.place {
            Place::Nil | Place::False => expression.place = Place::True,
            Place::Constant(_) | Place::Number(_) | Place::True => expression.place = Place::False,
            Place::Jump(pc) => self.invert_jump(pc),
            Place::Relocatable(_) | Place::Register(_) => {
                self.discharge_to_any(expression)?;
                self.free(expression);
                let Place::Register(register) = expression.place else { unreachable!("it was put into a register") };
                expression.place = Place::Relocatable(self.emit(code::NOT, 0, register, 0)?);
            }
            _ => unreachable!("it was discharged"),
        }
        std::mem::swap(&mut expression.if_true, &mut expression.if_false);
        self.remove_values(expression.if_false)?;
        self.remove_values(expression.if_true)
    }

    fn emit_arithmetic(&mut self, op: u32, left: &mut Expression, right: &mut Expression) -> Made<()> {
        if !matches!(op, code::LEN | code::CONCAT)
            && let (Some(first), Some(second)) = (left.is_numeral(), right.is_numeral())
            && let Some(result) = fold(op, first, second)
        {
            left.place = Place::Number(result);
            return Ok(());
        }
        let second = if matches!(op, code::UNM | code::LEN) { 0 } else { self.make_operand(right)? };
        let first = self.make_operand(left)?;
        if first > second {
            self.free(left);
            self.free(right);
        } else {
            self.free(right);
            self.free(left);
        }
        *left = Expression::at(Place::Relocatable(self.emit(op, 0, first, second)?));
        Ok(())
    }

    fn emit_comparison(&mut self, op: u32, is_wanted: bool, left: &mut Expression, right: &mut Expression) -> Made<()> {
        let mut first = self.make_operand(left)?;
        let mut second = self.make_operand(right)?;
        self.free(right);
        self.free(left);
        let mut is_wanted = is_wanted;
        if !is_wanted && op != code::EQ {
            std::mem::swap(&mut first, &mut second);
            is_wanted = true;
        }
        let jump = self.conditional_jump(op, usize::from(is_wanted), first, second)?;
        *left = Expression::at(Place::Jump(jump as usize));
        Ok(())
    }

    pub(crate) fn emit_minus(&mut self, expression: &mut Expression) -> Made<()> {
        if expression.is_numeral().is_none() {
            self.fill_any_register(expression)?;
        }
        let mut zero = Expression::at(Place::Number(0.0));
        self.emit_arithmetic(code::UNM, expression, &mut zero)
    }

    pub(crate) fn emit_length(&mut self, expression: &mut Expression) -> Made<()> {
        self.fill_any_register(expression)?;
        let mut zero = Expression::at(Place::Number(0.0));
        self.emit_arithmetic(code::LEN, expression, &mut zero)
    }

    /// Prepares the left side of an operator, before the right one is read.
    pub(crate) fn begin_binary(&mut self, op: Binary, left: &mut Expression) -> Made<()> {
        match op {
            Binary::And => self.go_if_true(left),
            Binary::Or => self.go_if_false(left),
            Binary::Concat => self.fill_next_register(left),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Mod | Binary::Pow
                if left.is_numeral().is_some() =>
            {
                Ok(())
            }
            _ => self.make_operand(left).map(|_| ()),
        }
    }

    /// Makes `left` the result of an operator.
    pub(crate) fn end_binary(&mut self, op: Binary, left: &mut Expression, right: &mut Expression) -> Made<()> {
        match op {
            Binary::And => {
                self.discharge_variable(right)?;
                self.join_jumps(&mut right.if_false, left.if_false)?;
                *left = *right;
                Ok(())
            }
            Binary::Or => {
                self.discharge_variable(right)?;
                self.join_jumps(&mut right.if_true, left.if_true)?;
                *left = *right;
                Ok(())
            }
            Binary::Concat => {
                self.make_value(right)?;
                if let Place::Relocatable(pc) = right.place
                    && code::op(self.building().code[pc]) == code::CONCAT
                {
                    self.free(left);
                    let Place::Register(first) = left.place else { unreachable!("the left side is in a register") };
                    let instruction = &mut self.building().code[pc];
                    *instruction = code::with_b(*instruction, first);
                    left.place = Place::Relocatable(pc);
                    return Ok(());
                }
                self.fill_next_register(right)?;
                self.emit_arithmetic(code::CONCAT, left, right)
            }
            Binary::Add => self.emit_arithmetic(code::ADD, left, right),
            Binary::Sub => self.emit_arithmetic(code::SUB, left, right),
            Binary::Mul => self.emit_arithmetic(code::MUL, left, right),
            Binary::Div => self.emit_arithmetic(code::DIV, left, right),
            Binary::Mod => self.emit_arithmetic(code::MOD, left, right),
            Binary::Pow => self.emit_arithmetic(code::POW, left, right),
            Binary::Eq => self.emit_comparison(code::EQ, true, left, right),
            Binary::Ne => self.emit_comparison(code::EQ, false, left, right),
            Binary::Lt => self.emit_comparison(code::LT, true, left, right),
            Binary::Le => self.emit_comparison(code::LE, true, left, right),
            Binary::Gt => self.emit_comparison(code::LT, false, left, right),
            Binary::Ge => self.emit_comparison(code::LE, false, left, right),
        }
    }
}
