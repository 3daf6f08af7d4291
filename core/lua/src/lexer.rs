//! The words of Lua 5.1 (`llex.c`), and errors in its words.

use std::collections::HashSet;
use std::rc::Rc;

use crate::names::shown;
use crate::numbers::number_of_text;

/// The text of an error of the compiler.
pub(crate) type Message = Vec<u8>;
pub(crate) type Made<T> = Result<T, Message>;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A sign of one byte.
    Sign(u8),
    /// A reserved word, or a sign of several bytes: its place in [`WORDS`].
    Word(Word),
    Number(f64),
    Name(Rc<[u8]>),
    Text(Rc<[u8]>),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    And,
    Break,
    Do,
    Else,
    ElseIf,
    End,
    False,
    For,
    Function,
    If,
    In,
    Local,
    Nil,
    Not,
    Or,
    Repeat,
    Return,
    Then,
    True,
    Until,
    While,
    Concat,
    Dots,
    Eq,
    Ge,
    Le,
    Ne,
}

/// Reserved words and signs, in the order of [`Word`].
const WORDS: &[(Word, &str)] = &[
    (Word::And, "and"),
    (Word::Break, "break"),
    (Word::Do, "do"),
    (Word::Else, "else"),
    (Word::ElseIf, "elseif"),
    (Word::End, "end"),
    (Word::False, "false"),
    (Word::For, "for"),
    (Word::Function, "function"),
    (Word::If, "if"),
    (Word::In, "in"),
    (Word::Local, "local"),
    (Word::Nil, "nil"),
    (Word::Not, "not"),
    (Word::Or, "or"),
    (Word::Repeat, "repeat"),
    (Word::Return, "return"),
    (Word::Then, "then"),
    (Word::True, "true"),
    (Word::Until, "until"),
    (Word::While, "while"),
    (Word::Concat, ".."),
    (Word::Dots, "..."),
    (Word::Eq, "=="),
    (Word::Ge, ">="),
    (Word::Le, "<="),
    (Word::Ne, "~="),
];
/// Reserved words of them.
const RESERVED: usize = 21;

/// A text that is being read.
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// The line of the byte that comes next.
    pub(crate) line: u32,
    /// The line of the last word that was taken.
    pub(crate) last_line: u32,
    pub(crate) token: Token,
    ahead: Option<Token>,
    /// The bytes of the word that was read last.
    word: Vec<u8>,
    /// The name of the chunk as messages show it.
    pub(crate) source: Rc<[u8]>,
    /// Names that were read.
    names: HashSet<Rc<[u8]>>,
    /// Work of the numbers that were read, which nobody has paid for yet.
    pub(crate) owed: usize,
}

/// The word of an error: one that is read, or one that could not be.
enum Near<'a> {
    Nothing,
    Token(&'a Token),
    /// The bytes that were read so far.
    Word,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], source: Rc<[u8]>) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            line: 1,
            last_line: 1,
            token: Token::End,
            ahead: None,
            word: Vec::new(),
            source,
            names: HashSet::new(),
            owed: 0,
        }
    }

    /// The name that is written so: the same one each time, so that names are compared by where they lie.
    pub(crate) fn name_of(&mut self, text: &[u8]) -> Rc<[u8]> {
        self.names.get(text).cloned().unwrap_or_else(|| {
            let name: Rc<[u8]> = text.into();
            self.names.insert(name.clone());
            name
        })
    }

    /// Takes the next word.
    pub(crate) fn next(&mut self) -> Made<()> {
        self.last_line = self.line;
        self.token = match self.ahead.take() {
            Some(token) => token,
            None => self.read()?,
        };
        Ok(())
    }

    /// The word behind the next one.
    pub(crate) fn look_ahead(&mut self) -> Made<&Token> {
        if self.ahead.is_none() {
            self.ahead = Some(self.read()?);
        }
        Ok(self.ahead.as_ref().expect("it was read above"))
    }

    /// A word as messages show it, without its quotes.
    pub(crate) fn shown(token: &Token) -> String {
        match token {
            Token::Sign(byte) if byte.is_ascii_control() => format!("char({byte})"),
            Token::Sign(byte) if byte.is_ascii() => char::from(*byte).to_string(),
            Token::Sign(_) => "?".to_owned(),
            Token::Word(word) => WORDS[*word as usize].1.to_owned(),
            Token::Number(_) => "<number>".to_owned(),
            Token::Name(_) => "<name>".to_owned(),
            Token::Text(_) => "<string>".to_owned(),
            Token::End => "<eof>".to_owned(),
        }
    }

    fn fail(&self, message: &str, near: Near<'_>) -> Message {
        let mut text = self.source.to_vec();
        text.extend_from_slice(format!(":{}: {message}", self.line).as_bytes());
        let shown = match near {
            Near::Nothing => return text,
            Near::Word | Near::Token(Token::Number(_) | Token::Name(_) | Token::Text(_)) => shown(&self.word).to_vec(),
            Near::Token(Token::Sign(byte)) if !byte.is_ascii_control() => vec![*byte],
            Near::Token(token) => Lexer::shown(token).into_bytes(),
        };
        text.extend_from_slice(b" near '");
        text.extend_from_slice(&shown);
        text.push(b'\'');
        text
    }

    /// An error at the next word.
    pub(crate) fn error(&self, message: &str) -> Message {
        self.fail(message, Near::Token(&self.token))
    }

    /// An error without a word.
    pub(crate) fn plain_error(&self, message: &str) -> Message {
        self.fail(message, Near::Nothing)
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn is_at(&self, byte: u8) -> bool {
        self.byte() == Some(byte)
    }

    fn save(&mut self) {
        if let Some(byte) = self.byte() {
            self.word.push(byte);
        }
        self.at += 1;
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let is_it = self.is_at(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn is_at_line_end(&self) -> bool {
        matches!(self.byte(), Some(b'\n' | b'\r'))
    }

    fn skip_line_end(&mut self) {
        let first = self.byte();
        self.at += 1;
        if self.is_at_line_end() && self.byte() != first {
            self.at += 1;
        }
        self.line += 1;
    }

    fn read(&mut self) -> Made<Token> {
        self.word.clear();
        loop {
            let Some(byte) = self.byte() else { return Ok(Token::End) };
            match byte {
                b'\n' | b'\r' => self.skip_line_end(),
                b'-' => {
                    self.at += 1;
                    if !self.take_if(b'-') {
                        return Ok(Token::Sign(b'-'));
                    }
                    self.skip_comment()?;
                }
                b'[' => {
                    let level = self.long_bracket();
                    if level >= 0 {
                        return self.long_text(level, true);
                    }
                    if level == -1 {
                        return Ok(Token::Sign(b'['));
                    }
                    return Err(self.fail("invalid long string delimiter", Near::Word));
                }
                b'=' => return Ok(self.maybe_equal(b'=', Word::Eq)),
                b'<' => return Ok(self.maybe_equal(b'<', Word::Le)),
                b'>' => return Ok(self.maybe_equal(b'>', Word::Ge)),
                b'~' => return Ok(self.maybe_equal(b'~', Word::Ne)),
                b'"' | b'\'' => return self.quoted(byte),
                b'.' => {
                    self.save();
                    if self.take_if(b'.') {
                        return Ok(Token::Word(if self.take_if(b'.') { Word::Dots } else { Word::Concat }));
                    }
                    if !self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                        return Ok(Token::Sign(b'.'));
                    }
                    return self.numeral();
                }
                b' ' | b'\t' | 0x0b | 0x0c => self.at += 1,
                b'0'..=b'9' => return self.numeral(),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                    while self.byte().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                        self.save();
                    }
                    let reserved = WORDS[..RESERVED].iter().find(|(_, text)| text.as_bytes() == self.word);
                    return Ok(match reserved {
                        Some((word, _)) => Token::Word(*word),
                        None => {
                            let word = std::mem::take(&mut self.word);
                            let name = self.name_of(&word);
                            self.word = word;
                            Token::Name(name)
                        }
                    });
                }
                _ => {
                    self.at += 1;
                    return Ok(Token::Sign(byte));
                }
            }
        }
    }

    fn maybe_equal(&mut self, byte: u8, word: Word) -> Token {
        self.at += 1;
        if self.take_if(b'=') { Token::Word(word) } else { Token::Sign(byte) }
    }

    fn skip_comment(&mut self) -> Made<()> {
        if self.is_at(b'[') {
            let level = self.long_bracket();
            self.word.clear();
            if level >= 0 {
                self.long_text(level, false)?;
                self.word.clear();
                return Ok(());
            }
        }
        while self.byte().is_some() && !self.is_at_line_end() {
            self.at += 1;
        }
        Ok(())
    }

    /// Takes a bracket and the signs `=` behind it; their number, if another bracket follows, else less than zero.
    fn long_bracket(&mut self) -> i64 {
        let bracket = self.byte();
        self.save();
        let mut count = 0;
        while self.is_at(b'=') {
            self.save();
            count += 1;
        }
        if self.byte() == bracket { count } else { -count - 1 }
    }

    fn long_text(&mut self, level: i64, is_text: bool) -> Made<Token> {
        self.save();
        if self.is_at_line_end() {
            self.skip_line_end();
        }
        loop {
            match self.byte() {
                None => {
                    let what = if is_text { "unfinished long string" } else { "unfinished long comment" };
                    return Err(self.fail(what, Near::Token(&Token::End)));
                }
                Some(b'[') => {
                    if self.long_bracket() == level {
                        self.save();
                        if level == 0 {
                            let near = Token::Sign(b'[');
                            return Err(self.fail("nesting of [[...]] is deprecated", Near::Token(&near)));
                        }
                    }
                }
                Some(b']') => {
                    if self.long_bracket() == level {
                        self.save();
                        break;
                    }
                }
                Some(b'\n' | b'\r') => {
                    self.word.push(b'\n');
                    self.skip_line_end();
                    if !is_text {
                        self.word.clear();
                    }
                }
                Some(_) if is_text => self.save(),
                Some(_) => self.at += 1,
            }
        }
        if !is_text {
            return Ok(Token::End);
        }
        let edge = level as usize + 2;
        Ok(Token::Text(self.word[edge..self.word.len() - edge].into()))
    }

    fn quoted(&mut self, quote: u8) -> Made<Token> {
        self.save();
        loop {
            match self.byte() {
                Some(byte) if byte == quote => break,
                None => return Err(self.fail("unfinished string", Near::Token(&Token::End))),
                Some(b'\n' | b'\r') => return Err(self.fail("unfinished string", Near::Word)),
                Some(b'\\') => self.escaped()?,
                Some(_) => self.save(),
            }
        }
        self.save();
        Ok(Token::Text(self.word[1..self.word.len() - 1].into()))
    }

    fn escaped(&mut self) -> Made<()> {
        self.at += 1;
        let plain = match self.byte() {
            None => return Ok(()),
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(b'\n' | b'\r') => {
                self.word.push(b'\n');
                self.skip_line_end();
                return Ok(());
            }
            Some(b'0'..=b'9') => {
                let mut value = 0u32;
                for _ in 0..3 {
                    let Some(digit @ b'0'..=b'9') = self.byte() else { break };
                    value = value * 10 + u32::from(digit - b'0');
                    self.at += 1;
                }
                let Ok(byte) = u8::try_from(value) else {
                    return Err(self.fail("escape sequence too large", Near::Word));
                };
                self.word.push(byte);
                return Ok(());
            }
            Some(other) => other,
        };
        self.word.push(plain);
        self.at += 1;
        Ok(())
    }

    fn numeral(&mut self) -> Made<Token> {
        while self.byte().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.') {
            self.save();
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.save();
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.save();
            }
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.save();
        }
        let (number, work) = number_of_text(&self.word);
        self.owed += work;
        number.map(Token::Number).ok_or_else(|| self.fail("malformed number", Near::Word))
    }
}
