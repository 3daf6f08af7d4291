//! The library `struct`: numbers and strings as C lays them out (<http://www.inf.puc-rio.br/~roberto/struct/>).

use crate::limits::{BYTES_PER_WORK, STRUCT_INTEGER_BYTES_MAX};
use crate::numbers::{bits_of, short_bits_of};
use crate::stack::{Raised, Stack, to_integer};

/// Alignment that `!` alone asks for.
const NATIVE_ALIGNMENT: usize = 8;

/// A format being read.
struct Format<'a> {
    rest: &'a [u8],
    is_little: bool,
    alignment: usize,
}

/// A letter of a format with its size.
struct Item {
    letter: u8,
    bytes: usize,
}

/// The reason that a format is none.
enum Malformed {
    Error(String),
    Argument(String),
}

impl Malformed {
    fn raise(self, stack: &mut Stack) -> Raised {
        match self {
            Malformed::Error(text) => stack.error(&text),
            Malformed::Argument(text) => stack.bad_argument(1, &text),
        }
    }
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Format<'a> {
        Format { rest: text.split(|&byte| byte == 0).next().unwrap_or_default(), is_little: true, alignment: 1 }
    }

    /// The number that comes next, or `default`.
    fn number(&mut self, default: usize) -> Result<usize, Malformed> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut value = 0usize;
        for digit in number {
            value = value * 10 + usize::from(digit - b'0');
            if value > i32::MAX as usize {
                return Err(Malformed::Error("integral size overflow".into()));
            }
        }
        Ok(value)
    }

    /// The next letter.
    fn next(&mut self) -> Result<Option<Item>, Malformed> {
        let Some((&letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let bytes = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let bytes = self.number(4)?;
                if bytes > STRUCT_INTEGER_BYTES_MAX {
                    let text = format!("integral size {bytes} is larger than limit of {STRUCT_INTEGER_BYTES_MAX}");
                    return Err(Malformed::Error(text));
                }
                bytes
            }
            _ => 0,
        };
        Ok(Some(Item { letter, bytes }))
    }

    /// Bytes that stand before `item` at `position`.
    fn padding(&self, item: &Item, position: usize) -> usize {
        if item.bytes == 0 || item.letter == b'c' {
            return 0;
        }
        let unit = item.bytes.min(self.alignment);
        (unit.wrapping_sub(position & (unit - 1))) & (unit - 1)
    }

    /// Does what a letter says that stands for no value.
    fn control(&mut self, letter: u8) -> Result<(), Malformed> {
        match letter {
            b' ' => {}
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let alignment = self.number(NATIVE_ALIGNMENT)?;
                if !alignment.is_power_of_two() {
                    return Err(Malformed::Error(format!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment;
            }
            other => {
                return Err(Malformed::Argument(format!("invalid format option '{}'", char::from(other))));
            }
        }
        Ok(())
    }
}

fn add_ordered(out: &mut Vec<u8>, little: &[u8], is_little: bool) {
    if is_little {
        out.extend_from_slice(little);
    } else {
        out.extend(little.iter().rev());
    }
}

/// `struct.pack`.
pub(crate) fn pack(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.string_argument(1)?;
    let mut format = Format::new(&text);
    // The first argument that is missing is nil to the library.
    stack.push_nil();
    let (mut out, mut argument) = (Vec::new(), 2);
    while let Some(item) = format.next().map_err(|malformed| malformed.raise(stack))? {
        stack.pay(1)?;
        out.resize(out.len() + format.padding(&item, out.len()), 0);
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'i' | b'I' | b'T' => {
                let number = stack.number_argument(argument)?;
                argument += 1;
                let value = if number < 0.0 { to_integer(number) as u64 } else { unsigned(number) };
                let mut bytes = [0; STRUCT_INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                add_ordered(&mut out, &bytes[..item.bytes], format.is_little);
            }
            b'x' => out.push(0),
            b'f' => {
                let number = stack.number_argument(argument)? as f32;
                argument += 1;
                add_ordered(&mut out, &short_bits_of(number).to_le_bytes(), format.is_little);
            }
            b'd' => {
                let number = stack.number_argument(argument)?;
                argument += 1;
                add_ordered(&mut out, &bits_of(number).to_le_bytes(), format.is_little);
            }
            b'c' | b's' => {
                let string = stack.as_string_argument(argument)?;
                argument += 1;
                let length = if item.bytes == 0 { string.len() } else { item.bytes };
                if string.len() < length {
                    return Err(stack.bad_argument(argument, "string too short"));
                }
                stack.append(&mut out, &string[..length])?;
                if item.letter == b's' {
                    out.push(0);
                }
            }
            letter => format.control(letter).map_err(|malformed| malformed.raise(stack))?,
        }
        if out.len() > crate::limits::SCRIPT_BYTES_MAX {
            return Err(stack.machine.stop(crate::Stop::Memory));
        }
    }
    stack.pay(out.len() / BYTES_PER_WORK)?;
    stack.push_bytes(&out);
    Ok(1)
}

/// `number` as C casts it to an unsigned integer, which is not laid down where it does not fit.
fn unsigned(number: f64) -> u64 {
    // 2^63
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number < HALF { number as u64 } else { (to_integer(number - HALF) as u64) ^ (1 << 63) }
}

fn integer(bytes: &[u8], is_little: bool, is_signed: bool) -> f64 {
    let mut value = 0u64;
    let mut take = |byte: &u8| value = value << 8 | u64::from(*byte);
    if is_little {
        bytes.iter().rev().for_each(&mut take);
    } else {
        bytes.iter().for_each(&mut take);
    }
    if !is_signed {
        return value as f64;
    }
    let bits = (bytes.len() * 8) as u32;
    let unused = 64u32.saturating_sub(bits);
    if unused == 64 {
        return 0.0;
    }
    ((value << unused) as i64 >> unused) as f64
}

/// `struct.unpack`.
pub(crate) fn unpack(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.string_argument(1)?;
    let mut format = Format::new(&text);
    let input = stack.as_string_argument(2)?;
    let from = stack.integer_argument_or(3, 1)?;
    if from == 0 {
        return Err(stack.bad_argument(3, "offset must be 1 or greater"));
    }
    let mut at = usize::try_from(from - 1).unwrap_or(usize::MAX);
    stack.set_top(2);
    let length = input.len();
    let mut count = 0;
    while let Some(mut item) = format.next().map_err(|malformed| malformed.raise(stack))? {
        stack.pay(1)?;
        at = at.saturating_add(format.padding(&item, at));
        if item.bytes > length || at > length - item.bytes {
            return Err(stack.bad_argument(2, "data string too short"));
        }
        if !stack.has_room(2) {
            return Err(stack.error("stack overflow (too many results)"));
        }
        let data = &input[at..];
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'i' | b'I' | b'T' => {
                let number = integer(&data[..item.bytes], format.is_little, item.letter.is_ascii_lowercase());
                stack.push_number(number);
                count += 1;
            }
            b'x' => {}
            b'f' => {
                let bytes: [u8; 4] = data[..4].try_into().expect("four bytes");
                let number = if format.is_little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) };
                stack.push_number(number.into());
                count += 1;
            }
            b'd' => {
                let bytes: [u8; 8] = data[..8].try_into().expect("eight bytes");
                let number = if format.is_little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
                stack.push_number(number);
                count += 1;
            }
            b'c' => {
                if item.bytes == 0 {
                    let number = if count == 0 { None } else { stack.number(-1) };
                    let Some(number) = number else {
                        return Err(stack.error("format 'c0' needs a previous size"));
                    };
                    item.bytes = unsigned(number) as usize;
                    stack.pop(1);
                    count -= 1;
                    if item.bytes > length || at > length - item.bytes {
                        return Err(stack.bad_argument(2, "data string too short"));
                    }
                }
                stack.push_bytes(&input[at..at + item.bytes]);
                count += 1;
            }
            b's' => {
                stack.pay(data.len() / BYTES_PER_WORK)?;
                let Some(end) = memchr::memchr(0, data) else {
                    return Err(stack.error("unfinished string in data"));
                };
                item.bytes = end + 1;
                stack.push_bytes(&input[at..at + end]);
                count += 1;
            }
            letter => format.control(letter).map_err(|malformed| malformed.raise(stack))?,
        }
        stack.pay(item.bytes / BYTES_PER_WORK)?;
        at += item.bytes;
    }
    stack.push_number((at + 1) as f64);
    Ok(count + 1)
}

/// `struct.size`.
pub(crate) fn size(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.string_argument(1)?;
    let mut format = Format::new(&text);
    let mut at = 0usize;
    while let Some(item) = format.next().map_err(|malformed| malformed.raise(stack))? {
        stack.pay(1)?;
        at += format.padding(&item, at);
        match item.letter {
            b's' => return Err(stack.bad_argument(1, "option 's' has no fixed size")),
            b'c' if item.bytes == 0 => return Err(stack.bad_argument(1, "option 'c0' has no fixed size")),
            letter if !letter.is_ascii_alphanumeric() => {
                format.control(letter).map_err(|malformed| malformed.raise(stack))?;
            }
            _ => {}
        }
        at += item.bytes;
    }
    stack.push_number(at as f64);
    Ok(1)
}
