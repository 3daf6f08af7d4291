//! Expressions of Lua 5.1, and the functions among them: the second half of `lparser.c`.

use crate::code;
use crate::emit::{Binary, Expression, Place};
use crate::lexer::{Made, Token, Word};
use crate::parser::Compiler;

/// The priority of the operators before an expression.
const UNARY_PRIORITY: u8 = 8;

impl Compiler<'_> {
    pub(crate) fn field(&mut self, table: &mut Expression) -> Made<()> {
        self.fill_any_register(table)?;
        self.next()?;
        let name = self.name()?;
        let mut key = Expression::at(Place::Constant(self.text_constant(&name)?));
        self.make_indexed(table, &mut key)
    }

    fn bracketed(&mut self) -> Made<Expression> {
        self.next()?;
        let mut key = self.expression()?;
        self.make_value(&mut key)?;
        self.take(Token::Sign(b']'))?;
        Ok(key)
    }

    pub(crate) fn expression_list(&mut self) -> Made<(usize, Expression)> {
        let mut count = 1;
        let mut last = self.expression()?;
        while self.take_if(&Token::Sign(b','))? {
            self.fill_next_register(&mut last)?;
            last = self.expression()?;
            count += 1;
        }
        Ok((count, last))
    }

    pub(crate) fn expression(&mut self) -> Made<Expression> {
        self.sub_expression(0).map(|(expression, _)| expression)
    }

    /// Reads an expression of operators with a priority above `limit`, and the operator behind it.
    fn sub_expression(&mut self, limit: u8) -> Made<(Expression, Option<Binary>)> {
        self.descend()?;
        let unary = match self.lexer.token {
            Token::Word(Word::Not) => Some(code::NOT),
            Token::Sign(b'-') => Some(code::UNM),
            Token::Sign(b'#') => Some(code::LEN),
            _ => None,
        };
        let mut left;
        if let Some(unary) = unary {
            self.next()?;
            (left, _) = self.sub_expression(UNARY_PRIORITY)?;
            match unary {
                code::NOT => self.emit_not(&mut left)?,
                code::UNM => self.emit_minus(&mut left)?,
                _ => self.emit_length(&mut left)?,
            }
        } else {
            left = self.simple()?;
        }
        let mut op = self.binary();
        while let Some(operator) = op.filter(|operator| priority(*operator).0 > limit) {
            self.next()?;
            self.begin_binary(operator, &mut left)?;
            let (mut right, next) = self.sub_expression(priority(operator).1)?;
            self.end_binary(operator, &mut left, &mut right)?;
            op = next;
        }
        self.depth -= 1;
        Ok((left, op))
    }

    fn binary(&self) -> Option<Binary> {
        Some(match &self.lexer.token {
            Token::Sign(b'+') => Binary::Add,
            Token::Sign(b'-') => Binary::Sub,
            Token::Sign(b'*') => Binary::Mul,
            Token::Sign(b'/') => Binary::Div,
            Token::Sign(b'%') => Binary::Mod,
            Token::Sign(b'^') => Binary::Pow,
            Token::Sign(b'<') => Binary::Lt,
            Token::Sign(b'>') => Binary::Gt,
            Token::Word(Word::Concat) => Binary::Concat,
            Token::Word(Word::Ne) => Binary::Ne,
            Token::Word(Word::Eq) => Binary::Eq,
            Token::Word(Word::Le) => Binary::Le,
            Token::Word(Word::Ge) => Binary::Ge,
            Token::Word(Word::And) => Binary::And,
            Token::Word(Word::Or) => Binary::Or,
            _ => return None,
        })
    }

    fn simple(&mut self) -> Made<Expression> {
        let place = match &self.lexer.token {
            Token::Number(number) => Place::Number(*number),
            Token::Text(text) => {
                let text = text.clone();
                Place::Constant(self.text_constant(&text)?)
            }
            Token::Word(Word::Nil) => Place::Nil,
            Token::Word(Word::True) => Place::True,
            Token::Word(Word::False) => Place::False,
            Token::Word(Word::Dots) => {
                if !self.building().is_vararg {
                    return Err(self.lexer.error("cannot use '...' outside a vararg function"));
                }
                self.building().needs_arg = false;
                Place::Vararg(self.emit(code::VARARG, 0, 1, 0)?)
            }
            Token::Sign(b'{') => return self.constructor(),
            Token::Word(Word::Function) => {
                self.next()?;
                let line = self.lexer.line;
                return self.function_body(false, line);
            }
            _ => return self.primary(),
        };
        self.next()?;
        Ok(Expression::at(place))
    }

    fn prefix(&mut self) -> Made<Expression> {
        match self.lexer.token {
            Token::Sign(b'(') => {
                let line = self.lexer.line;
                self.next()?;
                let mut expression = self.expression()?;
                self.take_closing(Token::Sign(b')'), &Token::Sign(b'('), line)?;
                self.discharge_variable(&mut expression)?;
                Ok(expression)
            }
            Token::Name(_) => self.variable(),
            _ => Err(self.lexer.error("unexpected symbol")),
        }
    }

    pub(crate) fn primary(&mut self) -> Made<Expression> {
        let mut expression = self.prefix()?;
        loop {
            match &self.lexer.token {
                Token::Sign(b'.') => self.field(&mut expression)?,
                Token::Sign(b'[') => {
                    self.fill_any_register(&mut expression)?;
                    let mut key = self.bracketed()?;
                    self.make_indexed(&mut expression, &mut key)?;
                }
                Token::Sign(b':') => {
                    self.next()?;
                    let name = self.name()?;
                    let mut key = Expression::at(Place::Constant(self.text_constant(&name)?));
                    self.make_method(&mut expression, &mut key)?;
                    self.arguments(&mut expression)?;
                }
                Token::Sign(b'(' | b'{') | Token::Text(_) => {
                    self.fill_next_register(&mut expression)?;
                    self.arguments(&mut expression)?;
                }
                _ => return Ok(expression),
            }
        }
    }

    fn arguments(&mut self, function: &mut Expression) -> Made<()> {
        let line = self.lexer.line;
        let mut arguments = match &self.lexer.token {
            Token::Sign(b'(') => {
                if line != self.lexer.last_line {
                    return Err(self.lexer.error("ambiguous syntax (function call x new statement)"));
                }
                self.next()?;
                let arguments = if self.is_at(b')') {
                    Expression::at(Place::Void)
                } else {
                    let (_, last) = self.expression_list()?;
                    self.set_results(&last, -1)?;
                    last
                };
                self.take_closing(Token::Sign(b')'), &Token::Sign(b'('), line)?;
                arguments
            }
            Token::Sign(b'{') => self.constructor()?,
            Token::Text(text) => {
                let text = text.clone();
                let text = Expression::at(Place::Constant(self.text_constant(&text)?));
                self.next()?;
                text
            }
            _ => return Err(self.lexer.error("function arguments expected")),
        };
        let Place::Register(base) = function.place else { unreachable!("a function is in a register") };
        let count = if arguments.has_multiple_results() {
            0
        } else {
            if arguments.place != Place::Void {
                self.fill_next_register(&mut arguments)?;
            }
            self.building().free_register - base
        };
        *function = Expression::at(Place::Call(self.emit(code::CALL, base, count, 2)?));
        self.fix_line(line);
        self.building().free_register = base + 1;
        Ok(())
    }

    fn constructor(&mut self) -> Made<Expression> {
        let line = self.lexer.line;
        let pc = self.emit(code::NEWTABLE, 0, 0, 0)?;
        let mut table = Expression::at(Place::Relocatable(pc));
        self.fill_next_register(&mut table)?;
        let Place::Register(register) = table.place else { unreachable!("it was put into a register") };
        let (mut elements, mut fields, mut to_store) = (0, 0, 0);
        let mut element = Expression::at(Place::Void);
        self.take(Token::Sign(b'{'))?;
        while !self.is_at(b'}') {
            if element.place != Place::Void {
                self.fill_next_register(&mut element)?;
                element.place = Place::Void;
                if to_store == code::FIELDS_PER_FLUSH {
                    self.emit_set_list(register, elements, to_store as i32)?;
                    to_store = 0;
                }
            }
            let is_named = match &self.lexer.token {
                Token::Name(_) => *self.lexer.look_ahead()? == Token::Sign(b'='),
                Token::Sign(b'[') => true,
                _ => false,
            };
            if is_named {
                self.record_field(register)?;
                fields += 1;
            } else {
                element = self.expression()?;
                elements += 1;
                to_store += 1;
            }
            if !self.take_if(&Token::Sign(b','))? && !self.take_if(&Token::Sign(b';'))? {
                break;
            }
        }
        self.take_closing(Token::Sign(b'}'), &Token::Sign(b'{'), line)?;
        if to_store > 0 {
            if element.has_multiple_results() {
                self.set_results(&element, -1)?;
                self.emit_set_list(register, elements, -1)?;
                elements -= 1;
            } else {
                if element.place != Place::Void {
                    self.fill_next_register(&mut element)?;
                }
                self.emit_set_list(register, elements, to_store as i32)?;
            }
        }
        let instruction = &mut self.building().code[pc];
        *instruction =
            code::with_c(code::with_b(*instruction, code::size_to_byte(elements)), code::size_to_byte(fields));
        Ok(table)
    }

    fn record_field(&mut self, table: usize) -> Made<()> {
        let free = self.building().free_register;
        let mut key = if self.is_at(b'[') {
            self.bracketed()?
        } else {
            let name = self.name()?;
            Expression::at(Place::Constant(self.text_constant(&name)?))
        };
        self.take(Token::Sign(b'='))?;
        let key = self.make_operand(&mut key)?;
        let mut value = self.expression()?;
        let value = self.make_operand(&mut value)?;
        self.emit(code::SETTABLE, table, key, value)?;
        self.building().free_register = free;
        Ok(())
    }

    pub(crate) fn function_body(&mut self, is_method: bool, line: u32) -> Made<Expression> {
        // Functions in functions nest as blocks do.
        self.open_function(line);
        self.take(Token::Sign(b'('))?;
        if is_method {
            let name = self.lexer.name_of(b"self");
            self.new_local(name, 0)?;
            self.add_variables(1);
        }
        self.parameters()?;
        self.take(Token::Sign(b')'))?;
        self.chunk()?;
        self.take_closing(Token::Word(Word::End), &Token::Word(Word::Function), line)?;
        let (proto, places) = self.close_function()?;
        let index = self.building().protos.len();
        if index > code::MAX_BX {
            return Err(self.lexer.plain_error("constant table overflow"));
        }
        self.building().protos.push(proto);
        let closure = self.emit_bx(code::CLOSURE, 0, index)?;
        for (is_local, index) in places {
            self.emit(if is_local { code::MOVE } else { code::GETUPVAL }, 0, index, 0)?;
        }
        Ok(Expression::at(Place::Relocatable(closure)))
    }

    fn parameters(&mut self) -> Made<()> {
        let mut count = 0;
        let mut hidden = 0;
        if !self.is_at(b')') {
            loop {
                match &self.lexer.token {
                    Token::Name(_) => {
                        let name = self.name()?;
                        self.new_local(name, count)?;
                        count += 1;
                    }
                    Token::Word(Word::Dots) => {
                        self.next()?;
                        // The table that Lua 5.0 had.
                        let name = self.lexer.name_of(b"arg");
                        self.new_local(name, count)?;
                        hidden = 1;
                        let building = self.building();
                        (building.has_arg, building.needs_arg, building.is_vararg) = (true, true, true);
                    }
                    _ => return Err(self.lexer.error("<name> or '...' expected")),
                }
                if self.building().is_vararg || !self.take_if(&Token::Sign(b','))? {
                    break;
                }
            }
        }
        self.add_variables(count + hidden);
        let building = self.building();
        building.parameter_count = building.active.len() - hidden;
        let registers = building.active.len();
        self.reserve(registers)
    }
}

/// The priorities of an operator to its left and to its right.
fn priority(op: Binary) -> (u8, u8) {
    match op {
        Binary::Add | Binary::Sub => (6, 6),
        Binary::Mul | Binary::Div | Binary::Mod => (7, 7),
        Binary::Pow => (10, 9),
        Binary::Concat => (5, 4),
        Binary::Ne | Binary::Eq | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => (3, 3),
        Binary::And => (2, 2),
        Binary::Or => (1, 1),
    }
}
