//! Between Lua's values and replies: those of commands become Lua values, and the value of a script becomes a reply.

use crate::limits::{REPLY_DEPTH_MAX, REPLY_TABLE_WORK, REPLY_WORK};
use crate::stack::{Raised, Stack, Type, to_integer};
use crate::value::Value;

/// Pushes the table that an error is. `text` begins with `-` and a code, or the code is `ERR`.
pub(crate) fn push_error(stack: &mut Stack, text: &[u8]) {
    let text = until_zero(text);
    let text = match text.strip_prefix(b"-") {
        Some(coded) => match coded.iter().position(|&byte| byte == b' ') {
            Some(at) => [&coded[..at], b" ", trim_line_ends(&coded[at + 1..])].concat(),
            None => [b"ERR ", trim_line_ends(coded)].concat(),
        },
        None => [b"ERR ", trim_line_ends(text)].concat(),
    };
    stack.push_table(0, 2);
    stack.push_bytes(&text);
    stack.set_field(-2, "err");
}

fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn trim_line_ends(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let first = text.iter().position(is_text).unwrap_or(text.len());
    let last = text.iter().rposition(is_text).map_or(first, |at| at + 1);
    &text[first..last]
}

/// Pushes the Lua value of a reply in RESP.
///
/// # Errors
/// "stack overflow".
///
/// # Panics
/// If `reply` is no reply: the host has written it.
pub(crate) fn push_reply(stack: &mut Stack, reply: &[u8]) -> Result<(), Raised> {
    let mut reader = Reader { rest: reply };
    reader.push(stack)?;
    assert!(reader.rest.is_empty(), "there is something behind a reply");
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = self.rest.windows(2).position(|two| two == b"\r\n").expect("a reply's line ends");
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        line
    }

    fn bytes(&mut self, length: i64) -> &'a [u8] {
        let length = usize::try_from(length).expect("a length");
        let bytes = &self.rest[..length];
        self.rest = &self.rest[length + 2..];
        bytes
    }

    fn push(&mut self, stack: &mut Stack) -> Result<(), Raised> {
        stack.reserve(8)?;
        stack.pay(1)?;
        let line = self.line();
        let (kind, text) = line.split_first().expect("a reply begins with its type");
        let number = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).expect("a number");
        match kind {
            b':' => stack.push_number(number() as f64),
            b'$' | b'*' if number() < 0 => stack.push_boolean(false),
            b'$' => stack.push_bytes(self.bytes(number())),
            b'+' => {
                stack.push_table(0, 1);
                stack.push_bytes(text);
                stack.set_field(-2, "ok");
            }
            b'-' => {
                push_error(stack, line);
                stack.push_boolean(true);
                stack.set_field(-2, "ignore_error_stats_update");
            }
            b'*' | b'>' => {
                stack.push_table(0, 0);
                for element in 1..=number() as i32 {
                    self.push(stack)?;
                    stack.set_element(-2, element);
                }
            }
            b'_' => stack.push_nil(),
            b'#' => stack.push_boolean(text == b"t"),
            b',' => {
                let double = match text {
                    b"inf" => f64::INFINITY,
                    b"-inf" => f64::NEG_INFINITY,
                    b"nan" => f64::NAN,
                    _ => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("a double"),
                };
                stack.push_table(0, 1);
                stack.push_number(double);
                stack.set_field(-2, "double");
            }
            b'(' => {
                stack.push_table(0, 1);
                stack.push_bytes(text);
                stack.set_field(-2, "big_number");
            }
            b'=' => {
                let text = self.bytes(number());
                stack.push_table(0, 1);
                stack.push_table(0, 2);
                stack.push_bytes(&text[4..]);
                stack.set_field(-2, "string");
                stack.push_bytes(&text[..3]);
                stack.set_field(-2, "format");
                stack.set_field(-2, "verbatim_string");
            }
            b'%' | b'~' => {
                let (is_map, count) = (*kind == b'%', number());
                stack.push_table(0, 1);
                stack.push_table(0, 0);
                for _ in 0..count {
                    self.push(stack)?;
                    if is_map {
                        self.push(stack)?;
                    } else {
                        stack.push_boolean(true);
                    }
                    if stack.kind(-2) == Type::Nil {
                        stack.pop(2);
                    } else {
                        stack.set(-3);
                    }
                }
                stack.set_field(-2, if is_map { "map" } else { "set" });
            }
            other => panic!("a reply of the type {:?}", char::from(*other)),
        }
        Ok(())
    }
}

/// Takes the value on top, as it is told to the client.
///
/// # Errors
/// If it is more than the script may return.
pub(crate) fn take_value(stack: &mut Stack) -> Result<Value, Raised> {
    let value = value_at_depth(stack, 0)?;
    stack.pop(1);
    Ok(value)
}

/// Pays for a text that leaves the engine.
fn pay_text(stack: &mut Stack, bytes: usize) -> Result<(), Raised> {
    if !stack.budget().take(bytes) {
        return Err(stack.machine.stopped());
    }
    Ok(())
}

/// The text of the field `name` of the table on top.
fn text_field(stack: &mut Stack, name: &'static str) -> Result<Option<Vec<u8>>, Raised> {
    stack.get_field(-1, name);
    let text = if stack.kind(-1) == Type::String { stack.text(-1) } else { None };
    stack.pop(1);
    let Some(text) = text else { return Ok(None) };
    pay_text(stack, text.len())?;
    Ok(Some(text.to_vec()))
}

fn value_at_depth(stack: &mut Stack, depth: usize) -> Result<Value, Raised> {
    if depth > REPLY_DEPTH_MAX || !stack.has_room(6) {
        return Ok(Value::Error(b"ERR reached lua stack limit".to_vec()));
    }
    // Values of values, and the same ones again and again: who returns them pays for each time.
    pay_text(stack, size_of::<Value>())?;
    stack.pay(REPLY_WORK)?;
    Ok(match stack.kind(-1) {
        Type::String => {
            let text = stack.text(-1).unwrap_or_default();
            pay_text(stack, text.len())?;
            Value::Bulk(text.to_vec())
        }
        Type::Boolean if stack.budget().is_resp3 => Value::Boolean(stack.boolean(-1)),
        Type::Boolean if stack.boolean(-1) => Value::Integer(1),
        Type::Boolean => Value::Null,
        Type::Number => Value::Integer(to_integer(stack.number(-1).unwrap_or_default())),
        Type::Table => table_value(stack, depth)?,
        _ => Value::Null,
    })
}

fn table_value(stack: &mut Stack, depth: usize) -> Result<Value, Raised> {
    stack.pay(REPLY_TABLE_WORK)?;
    if let Some(text) = text_field(stack, "err")? {
        stack.pay(text.len() / 8)?;
        return Ok(Value::Error(line_of(&text)));
    }
    if let Some(text) = text_field(stack, "ok")? {
        return Ok(Value::Status(until_zero(&text).to_vec()));
    }
    stack.get_field(-1, "double");
    let double = if stack.kind(-1) == Type::Number { stack.number(-1) } else { None };
    stack.pop(1);
    if let Some(double) = double {
        return Ok(Value::Double(double));
    }
    if let Some(text) = text_field(stack, "big_number")? {
        return Ok(Value::BigNumber(text));
    }
    stack.get_field(-1, "verbatim_string");
    if stack.kind(-1) == Type::Table
        && let Some(format) = text_field(stack, "format")?
        && let Some(text) = text_field(stack, "string")?
    {
        stack.pop(1);
        return Ok(Value::Verbatim(format_of(&format), text));
    }
    stack.pop(1);
    for (name, is_map) in [("map", true), ("set", false)] {
        stack.get_field(-1, name);
        if stack.kind(-1) == Type::Table {
            let entries = entries_of(stack, depth, is_map)?;
            stack.pop(1);
            return Ok(match is_map {
                true => Value::Map(entries),
                false => Value::Set(entries.into_iter().map(|(key, _)| key).collect()),
            });
        }
        stack.pop(1);
    }
    let mut elements = Vec::new();
    for number in 1.. {
        stack.get_element(-1, number);
        if stack.kind(-1) == Type::Nil {
            stack.pop(1);
            break;
        }
        elements.push(value_at_depth(stack, depth + 1)?);
        stack.pop(1);
    }
    Ok(Value::Array(elements))
}

/// The format of a text: of what is there three bytes, as Redis takes them, but none that a client would take for something else.
fn format_of(format: &[u8]) -> [u8; 3] {
    let mut bytes = [b' '; 3];
    for (byte, &given) in bytes.iter_mut().zip(until_zero(format)) {
        *byte = if given.is_ascii_graphic() { given } else { b'?' };
    }
    bytes
}

/// The entries of the table on top.
fn entries_of(stack: &mut Stack, depth: usize, with_values: bool) -> Result<Vec<(Value, Value)>, Raised> {
    let mut entries = Vec::new();
    stack.push_nil();
    while stack.next(-2)? {
        let value = if with_values { value_at_depth(stack, depth + 1)? } else { Value::Null };
        stack.pop(1);
        stack.push_copy(-1);
        entries.push((value_at_depth(stack, depth + 1)?, value));
        stack.pop(1);
    }
    Ok(entries)
}

/// `text` as an error's line.
pub(crate) fn line_of(text: &[u8]) -> Vec<u8> {
    let text = until_zero(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    text[..end].to_vec()
}
