//! The library `string`, but for patterns.

use crate::heap::{Function, Val};
use crate::limits::{BYTES_PER_WORK, SCRIPT_BYTES_MAX};
use crate::numbers::{fixed, general, scientific};
use crate::stack::{Raised, Stack, to_int, to_integer};

/// `string.rep`.
pub(crate) fn rep(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.string_argument(1)?;
    let count = usize::try_from(stack.integer_argument(2)? as i32).unwrap_or(0);
    let length = text.len().saturating_mul(count);
    if length > SCRIPT_BYTES_MAX {
        return Err(stack.machine.stop(crate::Stop::Memory));
    }
    if text.is_empty() {
        stack.push_bytes(b"");
        return Ok(1);
    }
    // A short text takes a step each time.
    stack.pay(length / BYTES_PER_WORK)?;
    stack.push_bytes(&text.repeat(count));
    Ok(1)
}

/// The place of the byte that an argument says, from 1 on; from the end if it is negative.
fn position(argument: i64, length: usize) -> i64 {
    let argument = if argument < 0 { argument.saturating_add(length as i64 + 1) } else { argument };
    argument.max(0)
}

/// `string.sub`.
pub(crate) fn sub(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.as_string_argument(1)?;
    let first = position(stack.integer_argument(2)?, text.len()).max(1);
    let last = position(stack.integer_argument_or(3, -1)?, text.len()).min(text.len() as i64);
    let part = if first <= last { &text[first as usize - 1..last as usize] } else { &[] };
    stack.push_bytes(part);
    Ok(1)
}

/// `string.byte`.
pub(crate) fn byte(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.as_string_argument(1)?;
    let first = position(stack.integer_argument_or(2, 1)?, text.len());
    let last = position(stack.integer_argument_or(3, first)?, text.len()).min(text.len() as i64);
    let first = first.max(1);
    if first > last {
        return Ok(0);
    }
    let count = (last - first + 1) as usize;
    if !stack.has_room(count) {
        return Err(stack.error("stack overflow (string slice too long)"));
    }
    stack.pay(count / 2)?;
    for &byte in &text[first as usize - 1..last as usize] {
        stack.push_number(byte.into());
    }
    Ok(count)
}

/// `string.char`.
pub(crate) fn char(stack: &mut Stack) -> Result<usize, Raised> {
    let count = stack.top();
    stack.pay(count as usize)?;
    let mut text = Vec::with_capacity(count as usize);
    for index in 1..=count {
        let number = to_int(stack.number_argument(index)?);
        match u8::try_from(number) {
            Ok(byte) => text.push(byte),
            Err(_) => return Err(stack.bad_argument(index, "invalid value")),
        }
    }
    stack.push_bytes(&text);
    Ok(1)
}

/// `string.len`.
pub(crate) fn len(stack: &mut Stack) -> Result<usize, Raised> {
    let length = stack.as_string_argument(1)?.len();
    stack.push_number(length as f64);
    Ok(1)
}

fn converted(stack: &mut Stack, convert: fn(&mut [u8])) -> Result<usize, Raised> {
    let mut text = stack.string_argument(1)?.to_vec();
    stack.pay(text.len() / BYTES_PER_WORK)?;
    convert(&mut text);
    stack.push_bytes(&text);
    Ok(1)
}

/// `string.lower`.
pub(crate) fn lower(stack: &mut Stack) -> Result<usize, Raised> {
    converted(stack, |text| text.make_ascii_lowercase())
}

/// `string.upper`.
pub(crate) fn upper(stack: &mut Stack) -> Result<usize, Raised> {
    converted(stack, |text| text.make_ascii_uppercase())
}

/// `string.reverse`.
pub(crate) fn reverse(stack: &mut Stack) -> Result<usize, Raised> {
    converted(stack, |text| text.reverse())
}

/// `string.dump`: the beginning of bytecode, and no more. Nothing loads it, here or in Redis.
pub(crate) fn dump(stack: &mut Stack) -> Result<usize, Raised> {
    stack.function_argument(1)?;
    let Some(Val::Function(function)) = stack.value(1) else { unreachable!("it was looked at above") };
    if matches!(stack.machine.heap.function_of(function), Function::Native { .. }) {
        return Err(stack.error("unable to dump given function"));
    }
    stack.push_bytes(b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0");
    Ok(1)
}

/// A format of one value.
#[derive(Debug, Default)]
struct Spec {
    is_left: bool,
    has_plus: bool,
    has_space: bool,
    is_alternate: bool,
    has_zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    /// Reads what stands between `%` and the letter; its length.
    fn read(text: &[u8]) -> Result<(Spec, usize), &'static str> {
        let mut spec = Spec::default();
        let mut at = 0;
        while let Some(flag @ (b'-' | b'+' | b' ' | b'#' | b'0')) = text.get(at) {
            match flag {
                b'-' => spec.is_left = true,
                b'+' => spec.has_plus = true,
                b' ' => spec.has_space = true,
                b'#' => spec.is_alternate = true,
                _ => spec.has_zeros = true,
            }
            at += 1;
        }
        if at >= 6 {
            return Err("invalid format (repeated flags)");
        }
        let two_digits = |at: &mut usize| {
            let mut value = 0;
            for _ in 0..2 {
                let Some(digit @ b'0'..=b'9') = text.get(*at) else { break };
                value = value * 10 + usize::from(digit - b'0');
                *at += 1;
            }
            value
        };
        spec.width = two_digits(&mut at);
        if text.get(at) == Some(&b'.') {
            at += 1;
            spec.precision = Some(two_digits(&mut at));
        }
        if text.get(at).is_some_and(u8::is_ascii_digit) {
            return Err("invalid format (width or precision too long)");
        }
        Ok((spec, at))
    }

    /// Pads to the width: `sign` and digits, with zeros between them if that is asked for.
    fn pad(&self, sign: &str, digits: &str, may_have_zeros: bool) -> String {
        let length = sign.len() + digits.len();
        let missing = self.width.saturating_sub(length);
        if self.is_left {
            format!("{sign}{digits}{}", " ".repeat(missing))
        } else if self.has_zeros && may_have_zeros {
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{sign}{digits}", " ".repeat(missing))
        }
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.has_plus, self.has_space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn digits_of(&self, digits: String, is_zero: bool) -> String {
        match self.precision {
            Some(0) if is_zero => String::new(),
            Some(precision) => format!("{digits:0>precision$}"),
            None => digits,
        }
    }

    fn signed(&self, number: i64) -> String {
        let digits = self.digits_of(number.unsigned_abs().to_string(), number == 0);
        self.pad(self.sign(number < 0), &digits, self.precision.is_none())
    }

    fn unsigned(&self, number: u64, letter: u8) -> String {
        let digits = match letter {
            b'o' => format!("{number:o}"),
            b'x' => format!("{number:x}"),
            b'X' => format!("{number:X}"),
            _ => number.to_string(),
        };
        let mut digits = self.digits_of(digits, number == 0);
        let mut prefix = "";
        if self.is_alternate {
            match letter {
                b'o' if !digits.starts_with('0') => digits.insert(0, '0'),
                b'x' if number != 0 => prefix = "0x",
                b'X' if number != 0 => prefix = "0X",
                _ => {}
            }
        }
        self.pad(prefix, &digits, self.precision.is_none())
    }

    fn float(&self, number: f64, letter: u8) -> String {
        let precision = self.precision.unwrap_or(6);
        let is_upper = letter.is_ascii_uppercase();
        let text = match letter.to_ascii_lowercase() {
            b'e' => scientific(number, precision, self.is_alternate, is_upper),
            b'f' => fixed(number, precision, self.is_alternate, is_upper),
            _ => general(number, precision, self.is_alternate, is_upper),
        };
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, &text[..]),
        };
        self.pad(self.sign(is_negative), digits, number.is_finite())
    }
}

/// `number` as C casts it on x86-64 to an unsigned integer: beyond a signed one, what is above its half is taken.
fn to_unsigned(number: f64) -> u64 {
    // 2^63
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number < HALF { to_integer(number) as u64 } else { (to_integer(number - HALF) as u64) ^ (1 << 63) }
}

/// `string.format`.
pub(crate) fn format(stack: &mut Stack) -> Result<usize, Raised> {
    let format = stack.string_argument(1)?;
    let arguments = stack.top();
    let (mut out, mut argument, mut at) = (Vec::new(), 1, 0);
    while at < format.len() {
        let plain = memchr::memchr(b'%', &format[at..]).unwrap_or(format.len() - at);
        if plain > 0 {
            stack.append(&mut out, &format[at..at + plain])?;
            at += plain;
            continue;
        }
        at += 1;
        if format.get(at) == Some(&b'%') {
            stack.pay(4)?;
            stack.append(&mut out, b"%")?;
            at += 1;
            continue;
        }
        argument += 1;
        if argument > arguments {
            return Err(stack.bad_argument(argument, "no value"));
        }
        let (spec, length) = match Spec::read(&format[at..]) {
            Ok(read) => read,
            Err(reason) => return Err(stack.error(reason)),
        };
        at += length;
        let letter = format.get(at).copied().unwrap_or(0);
        at += 1;
        stack.pay(30)?;
        let text = match letter {
            b'c' => {
                let byte = to_int(stack.number_argument(argument)?) as u8;
                let padding = vec![b' '; spec.width.saturating_sub(1)];
                let text =
                    if spec.is_left { [&[byte][..], &padding].concat() } else { [&padding[..], &[byte]].concat() };
                stack.append(&mut out, &text)?;
                continue;
            }
            b'd' | b'i' => spec.signed(to_integer(stack.number_argument(argument)?)),
            b'o' | b'u' | b'x' | b'X' => spec.unsigned(to_unsigned(stack.number_argument(argument)?), letter),
            b'e' | b'E' | b'f' | b'g' | b'G' => {
                let number = stack.number_argument(argument)?;
                // Some hundred digits before or behind the point are computed one by one.
                let is_usual =
                    spec.precision.unwrap_or(6) <= 17 && (number == 0.0 || (1e-9..1e17).contains(&number.abs()));
                stack.pay(if is_usual { 0 } else { 600 })?;
                spec.float(number, letter)
            }
            b'q' => {
                add_quoted(stack, argument, &mut out)?;
                continue;
            }
            b's' => {
                add_text(stack, argument, &spec, &mut out)?;
                continue;
            }
            other => {
                let shown = if other == 0 { String::new() } else { char::from(other).to_string() };
                return Err(stack.error(&format!("invalid option '%{shown}' to 'format'")));
            }
        };
        stack.append(&mut out, text.as_bytes())?;
    }
    stack.push_bytes(&out);
    Ok(1)
}

fn add_quoted(stack: &mut Stack, argument: i32, out: &mut Vec<u8>) -> Result<(), Raised> {
    let text = stack.string_argument(argument)?;
    stack.pay(text.len() / 4)?;
    let mut quoted = vec![b'"'];
    for &byte in &text[..] {
        match byte {
            b'"' | b'\\' | b'\n' => quoted.extend_from_slice(&[b'\\', byte]),
            b'\r' => quoted.extend_from_slice(b"\\r"),
            0 => quoted.extend_from_slice(b"\\000"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    stack.append(out, &quoted)
}

fn add_text(stack: &mut Stack, argument: i32, spec: &Spec, out: &mut Vec<u8>) -> Result<(), Raised> {
    let text = stack.string_argument(argument)?;
    if spec.precision.is_none() && text.len() >= 100 {
        // As it is, with its zeros.
        return stack.append(out, &text);
    }
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let shown = &text[..text.len().min(spec.precision.unwrap_or(text.len()))];
    let padding = vec![b' '; spec.width.saturating_sub(shown.len())];
    if spec.is_left {
        stack.append(out, shown)?;
        return stack.append(out, &padding);
    }
    stack.append(out, &padding)?;
    stack.append(out, shown)
}
