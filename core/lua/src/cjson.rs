//! The library `cjson`: JSON, as version 2.1.0 of Lua CJSON reads and writes it
//! (<https://kyne.au/~mark/software/lua-cjson-manual.html>).
//!
//! Its settings are those of one script: they begin anew with the next one, as all does.

use crate::heap::Val;
use crate::limits::SCRIPT_BYTES_MAX;
use crate::names::shown;
use crate::numbers::text_work;
use crate::stack::{GLOBALS, REGISTRY, Raised, Stack, Type};

pub(crate) use crate::cjson_decode::decode;

/// The settings, as fields of a table in the registry, with their first values.
const SETTINGS: &[(&str, f64)] = &[
    ("sparse convert", 0.0),
    ("sparse ratio", 2.0),
    ("sparse safe", 10.0),
    ("encode depth", 1000.0),
    ("decode depth", 1000.0),
    ("precision", 14.0),
    ("keep buffer", 1.0),
    ("encode invalid numbers", 0.0),
    ("decode invalid numbers", 1.0),
];

/// Depth beyond which nothing is written or read, whatever the settings are: it nests in the stack of a thread.
pub(crate) const JSON_DEPTH_MAX: usize = 1000;

/// Field of the registry that has the settings.
const TABLE: &str = "cjson settings";

/// Adds the library's texts and null to its table.
pub(crate) fn set_up(stack: &mut Stack) {
    stack.push_table(0, SETTINGS.len());
    for &(name, value) in SETTINGS {
        stack.push_number(value);
        stack.set_field(-2, name);
    }
    stack.set_field(REGISTRY, TABLE);
    stack.get_field(GLOBALS, "cjson");
    add_texts(stack);
    stack.pop(1);
}

/// Adds them to the table on top.
fn add_texts(stack: &mut Stack) {
    stack.push(Val::Null);
    stack.set_field(-2, "null");
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        stack.push_bytes(text.as_bytes());
        stack.set_field(-2, name);
    }
}

/// `cjson.new`: another table of the library. Settings are shared with it.
pub(crate) fn new(stack: &mut Stack) -> Result<usize, Raised> {
    stack.push_table(0, 16);
    for (number, (name, _)) in crate::functions::FUNCTIONS.iter().enumerate() {
        if let Some(name) = name.strip_prefix("cjson.") {
            stack.push_closure(number, 0);
            stack.set_field(-2, name);
        }
    }
    add_texts(stack);
    Ok(1)
}

/// The value of a setting.
pub(crate) fn setting(stack: &mut Stack, name: &'static str) -> f64 {
    stack.get_field(REGISTRY, TABLE);
    stack.get_field(-1, name);
    let value = stack.number(-1).expect("every setting has a number");
    stack.pop(2);
    value
}

fn set(stack: &mut Stack, name: &'static str, value: f64) {
    stack.get_field(REGISTRY, TABLE);
    stack.push_number(value);
    stack.set_field(-2, name);
    stack.pop(1);
}

/// Fails if there are more than `count` arguments.
fn at_most(stack: &mut Stack, count: i32) -> Result<(), Raised> {
    if stack.top() > count { Err(stack.bad_argument(count + 1, "found too many arguments")) } else { Ok(()) }
}

/// Sets an integer setting by the argument `index`, if there is one, and pushes it.
fn integer_setting(stack: &mut Stack, name: &'static str, index: i32, least: i64, most: i64) -> Result<(), Raised> {
    if !matches!(stack.kind(index), Type::None | Type::Nil) {
        let value = stack.integer_argument(index)?;
        if value < least || value > most {
            let reason = format!("expected integer between {least} and {most}");
            return Err(stack.bad_argument(index, &reason));
        }
        set(stack, name, value as f64);
    }
    let value = setting(stack, name);
    stack.push_number(value);
    Ok(())
}

/// Sets a setting that is on or off by the argument `index`, if there is one, and pushes it.
fn boolean_setting(stack: &mut Stack, name: &'static str, index: i32) -> Result<(), Raised> {
    match stack.kind(index) {
        Type::None | Type::Nil => {}
        Type::Boolean => {
            let value = f64::from(stack.boolean(index));
            set(stack, name, value);
        }
        _ => {
            let Some(word) = stack.text(index) else {
                return Err(stack.bad_type(index, "string"));
            };
            match &word[..] {
                b"off" => set(stack, name, 0.0),
                b"on" => set(stack, name, 1.0),
                // Only numbers have this, but the library knows it everywhere.
                other => {
                    let reason = [b"invalid option '", shown(other), b"'"].concat();
                    return Err(stack.bad_argument_bytes(index, &reason));
                }
            }
        }
    }
    let value = setting(stack, name) != 0.0;
    stack.push_boolean(value);
    Ok(())
}

pub(crate) fn encode_sparse_array(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 3)?;
    // Three arguments, also where fewer are given: results come behind them.
    stack.set_top(3);
    boolean_setting(stack, "sparse convert", 1)?;
    integer_setting(stack, "sparse ratio", 2, 0, i32::MAX.into())?;
    integer_setting(stack, "sparse safe", 3, 0, i32::MAX.into())?;
    Ok(3)
}

pub(crate) fn encode_max_depth(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    integer_setting(stack, "encode depth", 1, 1, i32::MAX.into())?;
    Ok(1)
}

pub(crate) fn decode_max_depth(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    integer_setting(stack, "decode depth", 1, 1, i32::MAX.into())?;
    Ok(1)
}

pub(crate) fn encode_number_precision(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    integer_setting(stack, "precision", 1, 1, 14)?;
    Ok(1)
}

pub(crate) fn encode_keep_buffer(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    boolean_setting(stack, "keep buffer", 1)?;
    Ok(1)
}

pub(crate) fn encode_invalid_numbers(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    if stack.kind(1) == Type::String && stack.bytes(1) == Some(b"null") {
        set(stack, "encode invalid numbers", 2.0);
    } else {
        boolean_setting(stack, "encode invalid numbers", 1)?;
    }
    if setting(stack, "encode invalid numbers") == 2.0 {
        stack.push_bytes(b"null");
    }
    Ok(1)
}

pub(crate) fn decode_invalid_numbers(stack: &mut Stack) -> Result<usize, Raised> {
    at_most(stack, 1)?;
    boolean_setting(stack, "decode invalid numbers", 1)?;
    Ok(1)
}

/// A text being written.
struct Writer {
    out: Vec<u8>,
    sparse_convert: bool,
    sparse_ratio: f64,
    sparse_safe: f64,
    depth_max: usize,
    precision: usize,
    invalid_numbers: f64,
}

/// `cjson.encode`.
pub(crate) fn encode(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 1 {
        return Err(stack.bad_argument(1, "expected 1 argument"));
    }
    let mut writer = Writer {
        out: Vec::new(),
        sparse_convert: setting(stack, "sparse convert") != 0.0,
        sparse_ratio: setting(stack, "sparse ratio"),
        sparse_safe: setting(stack, "sparse safe"),
        depth_max: setting(stack, "encode depth") as usize,
        precision: setting(stack, "precision") as usize,
        invalid_numbers: setting(stack, "encode invalid numbers"),
    };
    writer.add(stack, 0)?;
    stack.push_bytes(&writer.out);
    Ok(1)
}

impl Writer {
    fn refuse(&self, stack: &mut Stack, index: i32, reason: &str) -> Raised {
        let kind = stack.kind_name(index);
        stack.error(&format!("Cannot serialise {kind}: {reason}"))
    }

    /// Adds the value on top.
    fn add(&mut self, stack: &mut Stack, depth: usize) -> Result<(), Raised> {
        stack.pay(2)?;
        if self.out.len() > SCRIPT_BYTES_MAX {
            return Err(stack.machine.stop(crate::Stop::Memory));
        }
        match stack.kind(-1) {
            Type::String => self.add_text(stack, -1)?,
            Type::Number => self.add_number(stack, -1)?,
            Type::Boolean => self.out.extend_from_slice(stack.boolean(-1).to_string().as_bytes()),
            Type::Nil => self.out.extend_from_slice(b"null"),
            Type::Userdata => self.out.extend_from_slice(b"null"),
            Type::Table => {
                let depth = depth + 1;
                if depth > self.depth_max.min(JSON_DEPTH_MAX) || !stack.has_room(8) {
                    return Err(stack.error(&format!("Cannot serialise, excessive nesting ({depth})")));
                }
                match self.array_length(stack)? {
                    Some(length) if length > 0 => self.add_array(stack, length, depth)?,
                    _ => self.add_object(stack, depth)?,
                }
            }
            _ => return Err(self.refuse(stack, -1, "type not supported")),
        }
        Ok(())
    }

    /// Adds the string at `index`, each byte of which may become six.
    fn add_text(&mut self, stack: &mut Stack, index: i32) -> Result<(), Raised> {
        let text = stack.text(index).unwrap_or_default();
        stack.pay(1 + text.len() / 4)?;
        if self.out.len() + text.len() > SCRIPT_BYTES_MAX {
            return Err(stack.machine.stop(crate::Stop::Memory));
        }
        self.add_string(&text);
        Ok(())
    }

    fn add_string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for &byte in bytes {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=31 | 127 => {
                    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                    self.out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn add_number(&mut self, stack: &mut Stack, index: i32) -> Result<(), Raised> {
        let number = stack.number(index).unwrap_or_default();
        if number.is_finite() || self.invalid_numbers == 1.0 {
            stack.pay(text_work(number))?;
            let text = crate::numbers::general(number, self.precision, false, false);
            self.out.extend_from_slice(text.as_bytes());
        } else if self.invalid_numbers == 2.0 {
            self.out.extend_from_slice(b"null");
        } else {
            return Err(self.refuse(stack, index, "must not be NaN or Inf"));
        }
        Ok(())
    }

    /// The length of the table on top, if all its keys are integers from 1 on, and there are not too few of them.
    fn array_length(&self, stack: &mut Stack) -> Result<Option<usize>, Raised> {
        let (mut largest, mut count) = (0i32, 0i64);
        stack.push_nil();
        while stack.next(-2)? {
            stack.pay(1)?;
            stack.pop(1);
            let number = if stack.kind(-1) == Type::Number { stack.number(-1) } else { None };
            let Some(number) = number.filter(|number| *number >= 1.0 && number.floor() == *number) else {
                stack.pop(1);
                return Ok(None);
            };
            if number > f64::from(largest) {
                // As C casts it: what is too large for an array is none.
                largest = if number <= f64::from(i32::MAX) { number as i32 } else { i32::MIN };
            }
            count += 1;
        }
        let is_sparse = self.sparse_ratio > 0.0
            && f64::from(largest) > count as f64 * self.sparse_ratio
            && f64::from(largest) > self.sparse_safe;
        if is_sparse && !self.sparse_convert {
            return Err(self.refuse(stack, -1, "excessively sparse array"));
        }
        Ok(usize::try_from(largest).ok().filter(|_| !is_sparse))
    }

    fn add_array(&mut self, stack: &mut Stack, length: usize, depth: usize) -> Result<(), Raised> {
        self.out.push(b'[');
        for number in 1..=length {
            if number > 1 {
                self.out.push(b',');
            }
            stack.get_element(-1, i32::try_from(number).unwrap_or(i32::MAX));
            self.add(stack, depth)?;
            stack.pop(1);
        }
        self.out.push(b']');
        Ok(())
    }

    fn add_object(&mut self, stack: &mut Stack, depth: usize) -> Result<(), Raised> {
        self.out.push(b'{');
        let begin = self.out.len();
        stack.push_nil();
        while stack.next(-2)? {
            if self.out.len() > begin {
                self.out.push(b',');
            }
            match stack.kind(-2) {
                Type::Number => {
                    self.out.push(b'"');
                    self.add_number(stack, -2)?;
                    self.out.extend_from_slice(b"\":");
                }
                Type::String => {
                    self.add_text(stack, -2)?;
                    self.out.push(b':');
                }
                _ => return Err(self.refuse(stack, -2, "table key must be a number or string")),
            }
            self.add(stack, depth)?;
            stack.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }
}
