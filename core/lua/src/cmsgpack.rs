//! The library `cmsgpack`: MessagePack, as version 0.4.0 of lua-cmsgpack reads and writes it (<https://msgpack.org>).

use std::rc::Rc;

use crate::limits::{BYTES_PER_WORK, SCRIPT_BYTES_MAX};
use crate::numbers::bits_of;
use crate::stack::{GLOBALS, Raised, Stack, Type, to_integer};

/// Depth of tables beyond which there is nil instead.
const NESTING: usize = 16;

/// Depth to which values are read.
const UNPACK_DEPTH_MAX: usize = 1000;

/// Adds the library's texts to its table.
pub(crate) fn set_up(stack: &mut Stack) {
    stack.get_field(GLOBALS, "cmsgpack");
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        stack.push_bytes(text.as_bytes());
        stack.set_field(-2, name);
    }
    stack.pop(1);
}

/// `cmsgpack.pack`.
pub(crate) fn pack(stack: &mut Stack) -> Result<usize, Raised> {
    let count = stack.top();
    if count == 0 {
        return Err(stack.bad_argument(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for index in 1..=count {
        stack.reserve(4)?;
        stack.push_copy(index);
        add_value(stack, 0, &mut out)?;
    }
    stack.pay(out.len() / BYTES_PER_WORK)?;
    stack.push_bytes(&out);
    Ok(1)
}

/// Adds the value on top, which goes.
fn add_value(stack: &mut Stack, level: usize, out: &mut Vec<u8>) -> Result<(), Raised> {
    stack.pay(2)?;
    stack.reserve(4)?;
    if out.len() > SCRIPT_BYTES_MAX {
        return Err(stack.machine.stop(crate::Stop::Memory));
    }
    match stack.kind(-1) {
        Type::String => {
            let text = stack.text(-1).unwrap_or_default();
            add_head_of_bytes(text.len(), out);
            stack.append(out, &text)?;
        }
        Type::Boolean => out.push(if stack.boolean(-1) { 0xc3 } else { 0xc2 }),
        Type::Number => add_number(stack.number(-1).unwrap_or_default(), out),
        Type::Table if level < NESTING => add_table(stack, level, out)?,
        _ => out.push(0xc0),
    }
    stack.pop(1);
    Ok(())
}

/// Adds the beginning of a string.
fn add_head_of_bytes(length: usize, out: &mut Vec<u8>) {
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn add_number(number: f64, out: &mut Vec<u8>) {
    let integer = to_integer(number);
    // 2^63 fits no integer, but equals the largest one as a number.
    if number.is_finite() && integer as f64 == number {
        return add_integer(integer, out);
    }
    let short = number as f32;
    if f64::from(short) == number {
        out.push(0xca);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&bits_of(number).to_be_bytes());
    }
}

fn add_integer(integer: i64, out: &mut Vec<u8>) {
    let (kind, length) = match integer {
        -32..=127 => return out.push(integer as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&integer.to_be_bytes()[8 - length..]);
}

/// Adds the beginning of an array or a map.
fn add_head(short: u8, long: [u8; 2], count: usize, out: &mut Vec<u8>) {
    match count {
        0..=15 => out.push(short | count as u8),
        16..=0xffff => {
            out.push(long[0]);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(long[1]);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

/// Returns whether the table on top has the keys from 1 to their number, and that number.
fn measure(stack: &mut Stack) -> Result<(bool, usize), Raised> {
    let (mut count, mut largest, mut is_array) = (0usize, 0.0, true);
    stack.push_nil();
    while stack.next(-2)? {
        stack.pay(1)?;
        stack.pop(1);
        count += 1;
        let number = if stack.kind(-1) == Type::Number { stack.number(-1) } else { None };
        match number.filter(|&number| number > 0.0 && number.is_finite() && number == f64::from(number as i32)) {
            Some(number) if number > largest => largest = number,
            Some(_) => {}
            None => is_array = false,
        }
    }
    Ok((is_array && largest == count as f64, count))
}

fn add_table(stack: &mut Stack, level: usize, out: &mut Vec<u8>) -> Result<(), Raised> {
    let (is_array, count) = measure(stack)?;
    if is_array {
        let length = stack.length(-1);
        add_head(0x90, [0xdc, 0xdd], length, out);
        for number in 1..=length as i32 {
            stack.get_element(-1, number);
            add_value(stack, level + 1, out)?;
        }
        return Ok(());
    }
    add_head(0x80, [0xde, 0xdf], count, out);
    stack.push_nil();
    while stack.next(-2)? {
        stack.push_copy(-2);
        add_value(stack, level + 1, out)?;
        add_value(stack, level + 1, out)?;
    }
    Ok(())
}

/// The reason that bytes cannot be read.
enum Unreadable {
    Missing,
    Malformed,
    Raised(Raised),
}

impl From<Raised> for Unreadable {
    fn from(raised: Raised) -> Unreadable {
        Unreadable::Raised(raised)
    }
}

/// Bytes being read, from `at` on.
struct Input {
    bytes: Rc<[u8]>,
    at: usize,
    /// Depth of the value that is read.
    depth: usize,
}

impl Input {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let bytes = self.bytes.get(self.at..self.at + N).ok_or(Unreadable::Missing)?;
        self.at += N;
        Ok(bytes.try_into().expect("so many were taken"))
    }

    fn push_string(&mut self, stack: &mut Stack, length: usize) -> Result<(), Unreadable> {
        if length > self.bytes.len() - self.at {
            return Err(Unreadable::Missing);
        }
        stack.pay(length / BYTES_PER_WORK)?;
        stack.push_bytes(&self.bytes[self.at..self.at + length]);
        self.at += length;
        Ok(())
    }

    /// Pushes the next value.
    fn push(&mut self, stack: &mut Stack) -> Result<(), Unreadable> {
        stack.pay(2)?;
        // Lua has room for so many in its stack, and this thread in its own.
        if !stack.has_room(6) || self.depth > UNPACK_DEPTH_MAX {
            return Err(stack.error("stack overflow (in function mp_decode_to_lua_array)").into());
        }
        let [kind] = self.take::<1>()?;
        match kind {
            0x00..=0x7f => stack.push_number(kind.into()),
            0xe0..=0xff => stack.push_number((kind as i8).into()),
            0xa0..=0xbf => return self.push_string(stack, usize::from(kind & 0x1f)),
            0x90..=0x9f => return self.push_array(stack, usize::from(kind & 0xf)),
            0x80..=0x8f => return self.push_map(stack, usize::from(kind & 0xf)),
            0xc0 => stack.push_nil(),
            0xc2 => stack.push_boolean(false),
            0xc3 => stack.push_boolean(true),
            0xcc => {
                let [byte] = self.take::<1>()?;
                stack.push_number(byte.into());
            }
            0xcd => {
                let bytes = self.take::<2>()?;
                stack.push_number(u16::from_be_bytes(bytes).into());
            }
            0xce => {
                let bytes = self.take::<4>()?;
                stack.push_number(u32::from_be_bytes(bytes).into());
            }
            0xcf => {
                let bytes = self.take::<8>()?;
                // A large one is a negative number to the library.
                stack.push_number(i64::from_be_bytes(bytes) as f64);
            }
            0xd0 => {
                let [byte] = self.take::<1>()?;
                stack.push_number((byte as i8).into());
            }
            0xd1 => {
                let bytes = self.take::<2>()?;
                stack.push_number(i16::from_be_bytes(bytes).into());
            }
            0xd2 => {
                let bytes = self.take::<4>()?;
                stack.push_number(i32::from_be_bytes(bytes).into());
            }
            0xd3 => {
                let bytes = self.take::<8>()?;
                stack.push_number(i64::from_be_bytes(bytes) as f64);
            }
            0xca => {
                let bytes = self.take::<4>()?;
                stack.push_number(f32::from_be_bytes(bytes).into());
            }
            0xcb => {
                let bytes = self.take::<8>()?;
                stack.push_number(f64::from_be_bytes(bytes));
            }
            0xd9 => {
                let [length] = self.take::<1>()?;
                return self.push_string(stack, length.into());
            }
            0xda => {
                let length = u16::from_be_bytes(self.take()?);
                return self.push_string(stack, length.into());
            }
            0xdb => {
                let length = u32::from_be_bytes(self.take()?);
                return self.push_string(stack, length as usize);
            }
            0xdc => {
                let count = u16::from_be_bytes(self.take()?);
                return self.push_array(stack, count.into());
            }
            0xdd => {
                let count = u32::from_be_bytes(self.take()?);
                return self.push_array(stack, count as usize);
            }
            0xde => {
                let count = u16::from_be_bytes(self.take()?);
                return self.push_map(stack, count.into());
            }
            0xdf => {
                let count = u32::from_be_bytes(self.take()?);
                return self.push_map(stack, count as usize);
            }
            _ => return Err(Unreadable::Malformed),
        }
        Ok(())
    }

    fn push_array(&mut self, stack: &mut Stack, count: usize) -> Result<(), Unreadable> {
        stack.push_table(0, 0);
        self.depth += 1;
        for number in 1..=count {
            self.push(stack)?;
            stack.set_element(-2, number as i32);
        }
        self.depth -= 1;
        Ok(())
    }

    fn push_map(&mut self, stack: &mut Stack, count: usize) -> Result<(), Unreadable> {
        stack.push_table(0, 0);
        self.depth += 1;
        for _ in 0..count {
            self.push(stack)?;
            self.push(stack)?;
            match stack.kind(-2) {
                Type::Nil => return Err(stack.plain_error("table index is nil").into()),
                Type::Number if stack.number(-2).is_some_and(f64::is_nan) => {
                    return Err(stack.plain_error("table index is NaN").into());
                }
                _ => stack.set(-3),
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Reads up to `limit` values from `offset` on, or all that there are.
fn unpack_some(stack: &mut Stack, limit: i64, offset: i64) -> Result<usize, Raised> {
    let bytes = stack.as_string_argument(1)?;
    stack.set_top(1);
    let length = bytes.len();
    let is_all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(stack.error(&text));
    }
    if offset as usize > length {
        return Err(stack.error(&format!("Start offset {offset} greater than input length {length}.")));
    }
    let limit = if is_all { i64::from(i32::MAX) } else { limit };
    let mut input = Input { bytes, at: offset as usize, depth: 0 };
    let mut count = 0;
    while input.at < length && (count as i64) < limit {
        match input.push(stack) {
            Ok(()) => count += 1,
            Err(Unreadable::Missing) => return Err(unreadable(stack, "Missing bytes in input.")),
            Err(Unreadable::Malformed) => return Err(unreadable(stack, "Bad data format in input.")),
            Err(Unreadable::Raised(raised)) => return Err(raised),
        }
    }
    if !is_all {
        stack.reserve(2)?;
        let next = if input.at == length { -1.0 } else { input.at as f64 };
        stack.push_number(next);
        if count > 0 {
            stack.insert(2);
        }
        count += 1;
    }
    Ok(count)
}

fn unreadable(stack: &mut Stack, text: &str) -> Raised {
    stack.set_top(0);
    stack.error(text)
}

/// `cmsgpack.unpack`.
pub(crate) fn unpack(stack: &mut Stack) -> Result<usize, Raised> {
    unpack_some(stack, 0, 0)
}

/// `cmsgpack.unpack_one`.
pub(crate) fn unpack_one(stack: &mut Stack) -> Result<usize, Raised> {
    let offset = i64::from(stack.integer_argument_or(2, 0)? as i32);
    unpack_some(stack, 1, offset)
}

/// `cmsgpack.unpack_limit`.
pub(crate) fn unpack_limit(stack: &mut Stack) -> Result<usize, Raised> {
    let limit = i64::from(stack.integer_argument(2)? as i32);
    let offset = i64::from(stack.integer_argument_or(3, 0)? as i32);
    unpack_some(stack, limit, offset)
}
