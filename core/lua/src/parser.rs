//! The grammar of Lua 5.1 (`lparser.c`): one pass from words to instructions.
//!
//! What a newcomer would get wrong: there is no tree of a script. A text of a megabyte that nests nothing (`a.a.a…`, `a+a+a…`)
//! would be a tree as deep as it is long; here it is a loop, and what nests is bounded by [`SYNTAX_DEPTH_MAX`].

use std::rc::Rc;

use crate::base::chunk_name;
use crate::code::{self, Proto};
use crate::emit::{Building, Expression, NO_JUMP, Place};
use crate::heap::Heap;
use crate::lexer::{Lexer, Made, Message, Token, Word};
use crate::limits::SYNTAX_DEPTH_MAX;

/// Places at which a function finds the variables of those around it: true for a register of the next one, else its upvalue.
type Places = Vec<(bool, usize)>;

/// A text on its way to a function.
pub(crate) struct Compiler<'a> {
    pub(crate) lexer: Lexer<'a>,
    pub(crate) heap: &'a mut Heap,
    pub(crate) functions: Vec<Building>,
    chunk_name: Rc<[u8]>,
    pub(crate) depth: usize,
}

/// Compiles `text`; `chunk` is its name, as Lua takes it. Pays for it as it goes.
///
/// # Errors
/// Lua's text for what is wrong with it, or any text if the budget was used up.
pub(crate) fn compile(heap: &mut Heap, text: &[u8], chunk: &[u8]) -> Result<Rc<Proto>, Message> {
    // Bytes are read one by one, and names and texts of very many bytes are looked for among those that were there before.
    if !heap.budget.pay(text.len() / 8) || !heap.budget.take(2 * text.len() + 1024) {
        return Err(Message::new());
    }
    let lexer = Lexer::new(text, chunk_name(chunk).into());
    let mut compiler = Compiler { lexer, heap, functions: Vec::new(), chunk_name: chunk.into(), depth: 0 };
    compiler.open_function(0);
    compiler.building().is_vararg = true;
    compiler.next()?;
    compiler.chunk()?;
    if compiler.lexer.token != Token::End {
        return Err(compiler.expected(&Token::End));
    }
    compiler.close_function().map(|(proto, _)| proto)
}

impl Compiler<'_> {
    /// The function that is being compiled.
    pub(crate) fn building(&mut self) -> &mut Building {
        self.functions.last_mut().expect("there is a function")
    }

    /// Takes work off the script's budget.
    pub(crate) fn pay(&mut self, work: usize) -> Made<()> {
        if self.heap.budget.pay(work) { Ok(()) } else { Err(Message::new()) }
    }

    pub(crate) fn next(&mut self) -> Made<()> {
        // A word of some bytes, and what it leads to.
        self.pay(4)?;
        let read = self.lexer.next();
        let owed = std::mem::take(&mut self.lexer.owed);
        self.pay(owed)?;
        read
    }

    pub(crate) fn open_function(&mut self, first_line: u32) {
        self.functions.push(Building {
            first_line,
            pending: NO_JUMP,
            last_target: -1,
            stack_size: 2,
            ..Building::default()
        });
    }

    /// The function that is at its end, and where it finds the variables of the functions around it.
    pub(crate) fn close_function(&mut self) -> Made<(Rc<Proto>, Places)> {
        self.remove_variables(0);
        self.emit_return(0, 0)?;
        let building = self.functions.pop().expect("there is a function");
        let bytes = 8 * building.code.len() + 32 * (building.constants.len() + building.locals.len()) + 256;
        if !self.heap.budget.take(bytes) {
            return Err(Message::new());
        }
        let places = building.upvalues.iter().map(|&(_, is_local, index)| (is_local, index)).collect();
        let proto = Proto {
            code: building.code,
            lines: building.lines,
            constants: building.constants,
            protos: building.protos,
            locals: building.locals,
            upvalue_names: building.upvalues.into_iter().map(|(name, ..)| name).collect(),
            parameter_count: building.parameter_count,
            is_vararg: building.is_vararg,
            needs_arg: building.has_arg && building.needs_arg,
            stack_size: building.stack_size,
            chunk: self.chunk_name.clone(),
            source: self.lexer.source.clone(),
        };
        Ok((Rc::new(proto), places))
    }

    pub(crate) fn over_limit(&mut self, limit: usize, what: &str) -> Message {
        let text = match self.building().first_line {
            0 => format!("main function has more than {limit} {what}"),
            line => format!("function at line {line} has more than {limit} {what}"),
        };
        self.lexer.plain_error(&text)
    }

    pub(crate) fn expected(&self, token: &Token) -> Message {
        self.lexer.error(&format!("'{}' expected", Lexer::shown(token)))
    }

    pub(crate) fn is_at(&self, sign: u8) -> bool {
        self.lexer.token == Token::Sign(sign)
    }

    pub(crate) fn is_at_word(&self, word: Word) -> bool {
        self.lexer.token == Token::Word(word)
    }

    pub(crate) fn take_if(&mut self, token: &Token) -> Made<bool> {
        let is_it = self.lexer.token == *token;
        if is_it {
            self.next()?;
        }
        Ok(is_it)
    }

    pub(crate) fn take(&mut self, token: Token) -> Made<()> {
        if self.take_if(&token)? { Ok(()) } else { Err(self.expected(&token)) }
    }

    /// Takes what closes the word `open` of that line.
    pub(crate) fn take_closing(&mut self, close: Token, open: &Token, line: u32) -> Made<()> {
        if self.take_if(&close)? {
            return Ok(());
        }
        if line == self.lexer.line {
            return Err(self.expected(&close));
        }
        let (close, open) = (Lexer::shown(&close), Lexer::shown(open));
        Err(self.lexer.error(&format!("'{close}' expected (to close '{open}' at line {line})")))
    }

    pub(crate) fn name(&mut self) -> Made<Rc<[u8]>> {
        let Token::Name(name) = &self.lexer.token else {
            return Err(self.lexer.error("'<name>' expected"));
        };
        let name = name.clone();
        self.next()?;
        Ok(name)
    }

    pub(crate) fn descend(&mut self) -> Made<()> {
        self.depth += 1;
        if self.depth > SYNTAX_DEPTH_MAX {
            return Err(self.lexer.plain_error("chunk has too many syntax levels"));
        }
        Ok(())
    }

    fn is_block_over(&self) -> bool {
        match self.lexer.token {
            Token::End => true,
            Token::Word(word) => matches!(word, Word::Else | Word::ElseIf | Word::End | Word::Until),
            _ => false,
        }
    }

    pub(crate) fn chunk(&mut self) -> Made<()> {
        self.descend()?;
        let mut is_last = false;
        while !is_last && !self.is_block_over() {
            is_last = self.statement()?;
            self.take_if(&Token::Sign(b';'))?;
            self.building().free_register = self.building().active.len();
        }
        self.depth -= 1;
        Ok(())
    }

    fn block(&mut self) -> Made<()> {
        self.enter_block(false);
        self.chunk()?;
        self.leave_block()
    }

    /// Reads a statement; true if it has to be the last one of its block.
    fn statement(&mut self) -> Made<bool> {
        let line = self.lexer.line;
        let Token::Word(word) = self.lexer.token else {
            self.expression_statement()?;
            return Ok(false);
        };
        match word {
            Word::If => self.if_statement(line)?,
            Word::While => self.while_statement(line)?,
            Word::Do => {
                self.next()?;
                self.block()?;
                self.take_closing(Token::Word(Word::End), &Token::Word(Word::Do), line)?;
            }
            Word::For => self.for_statement(line)?,
            Word::Repeat => self.repeat_statement(line)?,
            Word::Function => self.function_statement(line)?,
            Word::Local => {
                self.next()?;
                if self.take_if(&Token::Word(Word::Function))? {
                    self.local_function()?;
                } else {
                    self.local_statement()?;
                }
            }
            Word::Return => {
                self.return_statement()?;
                return Ok(true);
            }
            Word::Break => {
                self.next()?;
                self.break_statement()?;
                return Ok(true);
            }
            _ => self.expression_statement()?,
        }
        Ok(false)
    }

    fn condition(&mut self) -> Made<i32> {
        let mut condition = self.expression()?;
        if condition.place == Place::Nil {
            condition.place = Place::False;
        }
        self.go_if_true(&mut condition)?;
        Ok(condition.if_false)
    }

    fn test_then_block(&mut self) -> Made<i32> {
        self.next()?;
        let exit = self.condition()?;
        self.take(Token::Word(Word::Then))?;
        self.block()?;
        Ok(exit)
    }

    fn if_statement(&mut self, line: u32) -> Made<()> {
        let mut escapes = NO_JUMP;
        let mut exit = self.test_then_block()?;
        while self.is_at_word(Word::ElseIf) {
            let jump = self.jump()?;
            self.join_jumps(&mut escapes, jump)?;
            self.patch_to_here(exit)?;
            exit = self.test_then_block()?;
        }
        if self.is_at_word(Word::Else) {
            let jump = self.jump()?;
            self.join_jumps(&mut escapes, jump)?;
            self.patch_to_here(exit)?;
            self.next()?;
            self.block()?;
        } else {
            self.join_jumps(&mut escapes, exit)?;
        }
        self.patch_to_here(escapes)?;
        self.take_closing(Token::Word(Word::End), &Token::Word(Word::If), line)
    }

    fn while_statement(&mut self, line: u32) -> Made<()> {
        self.next()?;
        let begin = self.label();
        let exit = self.condition()?;
        self.enter_block(true);
        self.take(Token::Word(Word::Do))?;
        self.block()?;
        let back = self.jump()?;
        self.patch_list(back, begin)?;
        self.take_closing(Token::Word(Word::End), &Token::Word(Word::While), line)?;
        self.leave_block()?;
        self.patch_to_here(exit)
    }

    fn repeat_statement(&mut self, line: u32) -> Made<()> {
        let begin = self.label();
        self.enter_block(true);
        self.enter_block(false);
        self.next()?;
        self.chunk()?;
        self.take_closing(Token::Word(Word::Until), &Token::Word(Word::Repeat), line)?;
        let exit = self.condition()?;
        if self.building().blocks.last().is_some_and(|block| block.has_upvalue) {
            self.break_statement()?;
            self.patch_to_here(exit)?;
            self.leave_block()?;
            let back = self.jump()?;
            self.patch_list(back, begin)?;
        } else {
            self.leave_block()?;
            self.patch_list(exit, begin)?;
        }
        self.leave_block()
    }

    fn for_statement(&mut self, line: u32) -> Made<()> {
        self.enter_block(true);
        self.next()?;
        let name = self.name()?;
        match self.lexer.token {
            Token::Sign(b'=') => self.numeric_for(name, line)?,
            Token::Sign(b',') | Token::Word(Word::In) => self.list_for(name)?,
            _ => return Err(self.lexer.error("'=' or 'in' expected")),
        }
        self.take_closing(Token::Word(Word::End), &Token::Word(Word::For), line)?;
        self.leave_block()
    }

    fn register_expression(&mut self) -> Made<()> {
        let mut expression = self.expression()?;
        self.fill_next_register(&mut expression)
    }

    fn numeric_for(&mut self, name: Rc<[u8]>, line: u32) -> Made<()> {
        let base = self.building().free_register;
        for (hidden, ahead) in ["(for index)", "(for limit)", "(for step)"].into_iter().zip(0..) {
            self.new_local(hidden.as_bytes().into(), ahead)?;
        }
        self.new_local(name, 3)?;
        self.take(Token::Sign(b'='))?;
        self.register_expression()?;
        self.take(Token::Sign(b','))?;
        self.register_expression()?;
        if self.take_if(&Token::Sign(b','))? {
            self.register_expression()?;
        } else {
            let register = self.building().free_register;
            let mut one = Expression::at(Place::Number(1.0));
            self.fill_next_register(&mut one)?;
            debug_assert!(self.building().free_register == register + 1, "the step is in its register");
        }
        self.for_body(base, line, 1, true)
    }

    fn list_for(&mut self, first: Rc<[u8]>) -> Made<()> {
        let base = self.building().free_register;
        for (hidden, ahead) in ["(for generator)", "(for state)", "(for control)"].into_iter().zip(0..) {
            self.new_local(hidden.as_bytes().into(), ahead)?;
        }
        let mut count = 3;
        self.new_local(first, count)?;
        count += 1;
        while self.take_if(&Token::Sign(b','))? {
            let name = self.name()?;
            self.new_local(name, count)?;
            count += 1;
        }
        self.take(Token::Word(Word::In))?;
        let line = self.lexer.line;
        let (given, mut last) = self.expression_list()?;
        self.adjust(3, given, &mut last)?;
        // Room to call the generator.
        self.reserve(3)?;
        self.building().free_register -= 3;
        self.for_body(base, line, count - 3, false)
    }

    fn for_body(&mut self, base: usize, line: u32, variables: usize, is_numeric: bool) -> Made<()> {
        // The hidden ones come into scope before the others, which are behind them in the list.
        let building = self.building();
        let begin = building.code.len();
        let first = building.locals.len() - variables - 3;
        for index in first..first + 3 {
            building.locals[index].begin = begin;
            building.active.push(index);
        }
        self.take(Token::Word(Word::Do))?;
        let prepare = if is_numeric { self.emit_sbx(code::FORPREP, base, NO_JUMP)? as i32 } else { self.jump()? };
        self.enter_block(false);
        self.add_for_variables(first + 3, variables);
        self.reserve(variables)?;
        self.block()?;
        self.leave_block()?;
        self.patch_to_here(prepare)?;
        let end = if is_numeric {
            self.emit_sbx(code::FORLOOP, base, NO_JUMP)? as i32
        } else {
            self.emit(code::TFORLOOP, base, 0, variables)? as i32
        };
        self.fix_line(line);
        let back = if is_numeric { end } else { self.jump()? };
        self.patch_list(back, prepare as usize + 1)
    }

    fn add_for_variables(&mut self, first: usize, count: usize) {
        let building = self.building();
        let begin = building.code.len();
        for index in first..first + count {
            building.locals[index].begin = begin;
            building.active.push(index);
        }
    }

    fn break_statement(&mut self) -> Made<()> {
        let mut has_upvalue = false;
        let mut found = None;
        for (index, block) in self.building().blocks.iter().enumerate().rev() {
            if block.is_breakable {
                found = Some((index, block.active_count));
                break;
            }
            has_upvalue |= block.has_upvalue;
        }
        let Some((index, active_count)) = found else { return Err(self.lexer.error("no loop to break")) };
        if has_upvalue {
            self.emit(code::CLOSE, active_count, 0, 0)?;
        }
        let jump = self.jump()?;
        let mut breaks = self.building().blocks[index].breaks;
        self.join_jumps(&mut breaks, jump)?;
        self.building().blocks[index].breaks = breaks;
        Ok(())
    }

    fn function_statement(&mut self, line: u32) -> Made<()> {
        self.next()?;
        let mut variable = self.variable()?;
        let mut is_method = false;
        while self.is_at(b'.') {
            self.field(&mut variable)?;
        }
        if self.is_at(b':') {
            is_method = true;
            self.field(&mut variable)?;
        }
        let mut function = self.function_body(is_method, line)?;
        self.store(&variable, &mut function)?;
        self.fix_line(line);
        Ok(())
    }

    fn local_function(&mut self) -> Made<()> {
        let name = self.name()?;
        self.new_local(name, 0)?;
        let register = self.building().free_register;
        self.reserve(1)?;
        self.add_variables(1);
        let line = self.lexer.line;
        let mut function = self.function_body(false, line)?;
        self.store(&Expression::at(Place::Local(register)), &mut function)?;
        let building = self.building();
        let index = *building.active.last().expect("the variable is in scope");
        building.locals[index].begin = building.code.len();
        Ok(())
    }

    fn local_statement(&mut self) -> Made<()> {
        let mut names = 0;
        loop {
            let name = self.name()?;
            self.new_local(name, names)?;
            names += 1;
            if !self.take_if(&Token::Sign(b','))? {
                break;
            }
        }
        // Functions among the values have locals of their own list, so these stay the last of this one.
        let (given, mut last) =
            if self.take_if(&Token::Sign(b'='))? { self.expression_list()? } else { (0, Expression::at(Place::Void)) };
        self.adjust(names, given, &mut last)?;
        self.add_variables(names);
        Ok(())
    }

    fn return_statement(&mut self) -> Made<()> {
        self.next()?;
        if self.is_block_over() || self.is_at(b';') {
            return self.emit_return(0, 0);
        }
        let (count, mut last) = self.expression_list()?;
        let active = self.building().active.len();
        if last.has_multiple_results() {
            self.set_results(&last, -1)?;
            if let Place::Call(pc) = last.place
                && count == 1
            {
                let instruction = &mut self.building().code[pc];
                *instruction = code::with_op(*instruction, code::TAILCALL);
            }
            return self.emit_return(active, -1);
        }
        if count == 1 {
            let register = self.fill_any_register(&mut last)?;
            return self.emit_return(register, 1);
        }
        self.fill_next_register(&mut last)?;
        self.emit_return(active, count as i32)
    }

    fn expression_statement(&mut self) -> Made<()> {
        let expression = self.primary()?;
        if let Place::Call(pc) = expression.place {
            let instruction = &mut self.building().code[pc];
            *instruction = code::with_c(*instruction, 1);
            return Ok(());
        }
        self.assignment(vec![expression])
    }

    fn assignment(&mut self, mut variables: Vec<Expression>) -> Made<()> {
        let check = |compiler: &Self, variable: &Expression| match variable.place {
            Place::Local(_) | Place::Upvalue(_) | Place::Global(_) | Place::Indexed(..) => Ok(()),
            _ => Err(compiler.lexer.error("syntax error")),
        };
        check(self, &variables[0])?;
        while self.take_if(&Token::Sign(b','))? {
            let variable = self.primary()?;
            if let Place::Local(register) = variable.place {
                self.keep_from_conflict(&mut variables, register)?;
            }
            if variables.len() + self.depth > SYNTAX_DEPTH_MAX {
                return Err(self.over_limit(SYNTAX_DEPTH_MAX - self.depth, "variables in assignment"));
            }
            check(self, &variable)?;
            variables.push(variable);
        }
        self.take(Token::Sign(b'='))?;
        let (given, mut last) = self.expression_list()?;
        let wanted = variables.len();
        if given == wanted {
            self.set_one_result(&mut last);
            let variable = variables.pop().expect("there is one");
            self.store(&variable, &mut last)?;
        } else {
            self.adjust(wanted, given, &mut last)?;
            if given > wanted {
                self.building().free_register -= given - wanted;
            }
        }
        while let Some(variable) = variables.pop() {
            let register = self.building().free_register - 1;
            self.store(&variable, &mut Expression::at(Place::Register(register)))?;
        }
        Ok(())
    }

    /// Has variables that are indexed by a local one, which is assigned to, go on with a copy of it.
    fn keep_from_conflict(&mut self, variables: &mut [Expression], register: usize) -> Made<()> {
        let extra = self.building().free_register;
        let mut has_conflict = false;
        for variable in variables.iter_mut().rev() {
            if let Place::Indexed(table, key) = &mut variable.place {
                for place in [table, key] {
                    if *place == register {
                        has_conflict = true;
                        *place = extra;
                    }
                }
            }
        }
        if has_conflict {
            self.emit(code::MOVE, extra, register, 0)?;
            self.reserve(1)?;
        }
        Ok(())
    }
}
