//! `cjson.decode`: it takes some texts for JSON that are none, as Lua CJSON does, and says where the others go wrong.

use crate::cjson::{JSON_DEPTH_MAX, setting};
use crate::heap::Val;
use crate::numbers::{NumberAt, number_at};
use crate::stack::{Raised, Stack};

/// A word of JSON.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    /// The word as errors show it.
    fn shown(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(reason) => reason,
        }
    }
}

/// A text being read. It ends with a zero, and one inside of it is an end as well.
struct Reader {
    text: Vec<u8>,
    at: usize,
    depth_max: usize,
    invalid_numbers: bool,
    /// Work of the numbers that were read, which nobody has paid for yet.
    owed: usize,
}

/// `cjson.decode`.
pub(crate) fn decode(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 1 {
        return Err(stack.bad_argument(1, "expected 1 argument"));
    }
    let mut text = stack.string_argument(1)?.to_vec();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(stack.error("JSON parser does not support UTF-16 or UTF-32"));
    }
    stack.pay(text.len() / 4)?;
    text.push(0);
    let depth_max = setting(stack, "decode depth") as usize;
    let invalid_numbers = setting(stack, "decode invalid numbers") != 0.0;
    let mut reader = Reader { text, at: 0, depth_max, invalid_numbers, owed: 0 };
    let (token, at) = reader.next();
    reader.push_value(stack, token, at, 0)?;
    let (token, at) = reader.next();
    match token {
        Token::End => Ok(1),
        token => Err(unexpected(stack, "the end", &token, at)),
    }
}

fn unexpected(stack: &mut Stack, expected: &str, found: &Token, at: usize) -> Raised {
    stack.error(&format!("Expected {expected} but found {} at character {}", found.shown(), at + 1))
}

impl Reader {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The next word, and where it begins; of one that is wrong, where it goes wrong.
    fn next(&mut self) -> (Token, usize) {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let single = match self.byte(at) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return (Token::End, at),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' if !self.invalid_numbers && self.is_invalid_number() => {
                return (Token::Wrong("invalid number"), at);
            }
            b'-' | b'0'..=b'9' => return (self.number(), at),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return (self.word(), at),
            _ => return (Token::Wrong("invalid token"), at),
        };
        self.at += 1;
        (single, at)
    }

    fn word(&mut self) -> Token {
        for (word, token) in [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        if self.invalid_numbers && self.is_invalid_number() {
            return self.number();
        }
        Token::Wrong("invalid token")
    }

    fn number(&mut self) -> Token {
        let NumberAt { number, length, work } = number_at(&self.text[self.at..]);
        self.owed += work;
        if length == 0 {
            return Token::Wrong("invalid number");
        }
        self.at += length;
        Token::Number(number)
    }

    /// Returns whether C takes what comes for a number and JSON does not.
    fn is_invalid_number(&self) -> bool {
        let mut at = self.at;
        match self.byte(at) {
            b'+' => return true,
            b'-' => at += 1,
            _ => {}
        }
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            0..=b'9' => false,
            _ => {
                let word: Vec<u8> = self.text[at..].iter().take(3).map(u8::to_ascii_lowercase).collect();
                word == b"inf" || word == b"nan"
            }
        }
    }

    fn string(&mut self) -> (Token, usize) {
        let begin = self.at;
        self.at += 1;
        let mut string = Vec::new();
        loop {
            match self.byte(self.at) {
                b'"' => break,
                0 => return (Token::Wrong("unexpected end of string"), self.at),
                b'\\' => {
                    let plain = match self.byte(self.at + 1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        b'u' => {
                            let Some((character, length)) = self.unicode() else {
                                return (Token::Wrong("invalid unicode escape code"), self.at);
                            };
                            string.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                            self.at += length;
                            continue;
                        }
                        _ => return (Token::Wrong("invalid escape code"), self.at),
                    };
                    string.push(plain);
                    self.at += 2;
                }
                byte => {
                    string.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        (Token::Text(string), begin)
    }

    /// The character that is escaped by its number at this place, and the length of that.
    fn unicode(&self) -> Option<(char, usize)> {
        let high = self.hex(self.at + 2)?;
        if high & 0xf800 != 0xd800 {
            return Some((char::from_u32(high)?, 6));
        }
        let is_pair = high & 0x400 == 0 && self.byte(self.at + 6) == b'\\' && self.byte(self.at + 7) == b'u';
        let low = self.hex(self.at + 8).filter(|low| is_pair && low & 0xfc00 == 0xdc00)?;
        Some((char::from_u32(((high & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000)?, 12))
    }

    fn hex(&self, at: usize) -> Option<u32> {
        (at..at + 4).try_fold(0, |value, at| Some(value << 4 | char::from(self.byte(at)).to_digit(16)?))
    }

    /// Pushes the value that begins with `token`.
    fn push_value(&mut self, stack: &mut Stack, token: Token, at: usize, depth: usize) -> Result<(), Raised> {
        stack.pay(2 + std::mem::take(&mut self.owed))?;
        match token {
            Token::Text(text) => stack.push_bytes(&text),
            Token::Number(number) => stack.push_number(number),
            Token::Boolean(value) => stack.push_boolean(value),
            Token::Null => stack.push(Val::Null),
            Token::ObjectBegin => self.push_object(stack, depth + 1)?,
            Token::ArrayBegin => self.push_array(stack, depth + 1)?,
            token => return Err(unexpected(stack, "value", &token, at)),
        }
        Ok(())
    }

    fn descend(&self, stack: &mut Stack, depth: usize) -> Result<(), Raised> {
        if depth <= self.depth_max.min(JSON_DEPTH_MAX) && stack.has_room(6) {
            return Ok(());
        }
        let text = format!("Found too many nested data structures ({depth}) at character {}", self.at);
        Err(stack.error(&text))
    }

    fn push_object(&mut self, stack: &mut Stack, depth: usize) -> Result<(), Raised> {
        self.descend(stack, depth)?;
        stack.push_table(0, 0);
        let (mut token, mut at) = self.next();
        if matches!(token, Token::ObjectEnd) {
            return Ok(());
        }
        loop {
            match token {
                Token::Text(key) => stack.push_bytes(&key),
                token => return Err(unexpected(stack, "object key string", &token, at)),
            }
            match self.next() {
                (Token::Colon, _) => {}
                (token, at) => return Err(unexpected(stack, "colon", &token, at)),
            }
            (token, at) = self.next();
            self.push_value(stack, token, at, depth)?;
            stack.set(-3);
            match self.next() {
                (Token::ObjectEnd, _) => return Ok(()),
                (Token::Comma, _) => {}
                (token, at) => return Err(unexpected(stack, "comma or object end", &token, at)),
            }
            (token, at) = self.next();
        }
    }

    fn push_array(&mut self, stack: &mut Stack, depth: usize) -> Result<(), Raised> {
        self.descend(stack, depth)?;
        stack.push_table(0, 0);
        let (mut token, mut at) = self.next();
        if matches!(token, Token::ArrayEnd) {
            return Ok(());
        }
        for number in 1.. {
            self.push_value(stack, token, at, depth)?;
            stack.set_element(-2, number);
            match self.next() {
                (Token::ArrayEnd, _) => break,
                (Token::Comma, _) => {}
                (token, at) => return Err(unexpected(stack, "comma or array end", &token, at)),
            }
            (token, at) = self.next();
        }
        Ok(())
    }
}
