//! The global functions of Lua, as Redis has them: they hide addresses, keep the library as it is, and cannot go on where a
//! script is to stop.

use crate::heap::Val;
use crate::limits::{FRAMES_PER_WORK, INPUT_BYTES_MAX};
use crate::machine::line_of;
use crate::names::shown;
use crate::numbers::{text_of, text_work};
use crate::operations::READ_ONLY;
use crate::stack::{GLOBALS, REGISTRY, Raised, Stack, Type, to_int};

/// Field of the registry: the number of each object whose text was asked for.
const OBJECT_NUMBERS: &str = "object numbers";

/// Makes the registry's tables.
pub(crate) fn prepare(stack: &mut Stack) {
    stack.push_table(0, 0);
    stack.set_field(REGISTRY, OBJECT_NUMBERS);
}

/// `__index` of the globals.
pub(crate) fn refuse_unknown_global(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 2 {
        return Err(stack.error("Wrong number of arguments to luaProtectedTableError"));
    }
    let Some(name) = stack.text(2) else {
        return Err(stack.error("Second argument to luaProtectedTableError must be a string or number"));
    };
    let text = [b"Script attempted to access nonexistent global variable '", shown(&name), b"'"].concat();
    Err(stack.error_bytes(&text))
}

/// Makes an error a table that says where it was raised.
pub(crate) fn handle_error(stack: &mut Stack) -> Result<usize, Raised> {
    stack.set_top(1);
    let mut level = 1;
    if stack.frame(1).is_some_and(|frame| frame.proto.is_none()) {
        level = 2;
    }
    let caller = stack.frame(level).map(|frame| {
        let source = frame.proto.as_ref().map_or(b"=[C]".to_vec(), |proto| proto.chunk.to_vec());
        (source, line_of(frame))
    });
    if stack.kind(1) != Type::Table {
        let text = text_of_value(stack, 1)?;
        stack.push_table(0, 3);
        stack.push_bytes(&[b"ERR ", &text[..]].concat());
        stack.set_field(-2, "err");
        stack.replace(1);
    }
    if let Some((source, line)) = caller {
        stack.push_bytes(&source);
        stack.set_field(1, "source");
        stack.push_number(line as f64);
        stack.set_field(1, "line");
    }
    stack.set_top(1);
    Ok(1)
}

/// `pcall`: of an error that is a table with a text, the caller gets the text.
pub(crate) fn pcall(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() == 0 {
        // Redis calls the place that it keeps for the result.
        stack.push_boolean(true);
    }
    let arguments = stack.top() - 1;
    let outcome = stack.call_protected(arguments, None);
    caught(stack, outcome)
}

/// The results of a protected call.
fn caught(stack: &mut Stack, outcome: Result<i32, Raised>) -> Result<usize, Raised> {
    match outcome {
        Ok(count) => {
            stack.reserve(1)?;
            stack.push_boolean(true);
            stack.insert(1);
            stack.pay(count as usize / 16)?;
            Ok(count as usize + 1)
        }
        Err(Raised(error)) => {
            stack.push_boolean(false);
            stack.push(error);
            if stack.kind(-1) == Type::Table {
                stack.get_field(-1, "err");
                if matches!(stack.kind(-1), Type::String | Type::Number) {
                    stack.replace(-2);
                } else {
                    stack.pop(1);
                }
            }
            Ok(2)
        }
    }
}

/// `xpcall`.
pub(crate) fn xpcall(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(2)?;
    stack.set_top(2);
    let handler = stack.value(2).unwrap_or(Val::Nil);
    stack.set_top(1);
    match stack.call_handled(0, None, handler) {
        Ok(count) => {
            stack.reserve(1)?;
            stack.push_boolean(true);
            stack.insert(1);
            Ok(count as usize + 1)
        }
        Err(Raised(error)) => {
            stack.push_boolean(false);
            stack.push(error);
            Ok(2)
        }
    }
}

/// `assert`.
pub(crate) fn assert(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(1)?;
    if stack.boolean(1) {
        return Ok(stack.top() as usize);
    }
    let message = match stack.kind(2) {
        Type::None | Type::Nil => b"assertion failed!".as_slice().into(),
        _ => stack.as_string_argument(2)?,
    };
    let message = message.split(|&byte| byte == 0).next().unwrap_or_default();
    Err(stack.error_bytes(message))
}

/// `error`.
pub(crate) fn error(stack: &mut Stack) -> Result<usize, Raised> {
    let level = to_int(stack.number_argument_or(2, 1.0)?);
    stack.set_top(1);
    if matches!(stack.kind(1), Type::String | Type::Number) && level > 0 {
        stack.pay((level as usize).min(stack.machine.frames.len()) / FRAMES_PER_WORK)?;
        let mut message = stack.position(level as usize);
        let text = stack.string_argument(1)?;
        message.extend_from_slice(&text);
        stack.push_bytes(&message);
    }
    Err(Raised(stack.take()))
}

/// `ipairs`.
pub(crate) fn ipairs(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.push_upvalue(0);
    stack.push_copy(1);
    stack.push_number(0.0);
    Ok(3)
}

/// The function that [`ipairs`] gives.
pub(crate) fn next_element(stack: &mut Stack) -> Result<usize, Raised> {
    let number = to_int(stack.number_argument(2)?).wrapping_add(1);
    stack.table_argument(1)?;
    stack.push_number(number.into());
    stack.get_element(1, number);
    Ok(if stack.kind(-1) == Type::Nil { 0 } else { 2 })
}

/// `rawequal`.
pub(crate) fn rawequal(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(1)?;
    stack.any_argument(2)?;
    let (left, right) = (stack.value(1).unwrap_or(Val::Nil), stack.value(2).unwrap_or(Val::Nil));
    let is_same = stack.machine.heap.is_same(left, right);
    stack.push_boolean(is_same);
    Ok(1)
}

/// `select`.
pub(crate) fn select(stack: &mut Stack) -> Result<usize, Raised> {
    let count = stack.top();
    if stack.kind(1) == Type::String && stack.bytes(1).is_some_and(|text| text.first() == Some(&b'#')) {
        stack.push_number((count - 1).into());
        return Ok(1);
    }
    let number = to_int(stack.number_argument(1)?);
    let first = if number < 0 { count.saturating_add(number) } else { number.min(count) };
    if first < 1 {
        return Err(stack.bad_argument(1, "index out of range"));
    }
    Ok((count - first) as usize)
}

/// `tonumber`.
pub(crate) fn tonumber(stack: &mut Stack) -> Result<usize, Raised> {
    let base = to_int(stack.number_argument_or(2, 10.0)?);
    if base == 10 {
        stack.any_argument(1)?;
        match stack.number(1) {
            Some(number) => stack.push_number(number),
            None => stack.push_nil(),
        }
        return Ok(1);
    }
    let text = stack.string_argument(1)?;
    if !(2..=36).contains(&base) {
        return Err(stack.bad_argument(2, "base out of range"));
    }
    stack.pay(text.len())?;
    match whole_number(&text, base as u32) {
        Some(number) => stack.push_number(number),
        None => stack.push_nil(),
    }
    Ok(1)
}

/// The number that `text` is in digits of another base, as C's `strtoul` reads it.
fn whole_number(text: &[u8], base: u32) -> Option<f64> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut at = text.iter().take_while(|byte| is_space(byte)).count();
    let is_negative = text.get(at) == Some(&b'-');
    at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
    let digit_at = |at: usize| char::from(*text.get(at)?).to_digit(36).filter(|&digit| digit < base);
    if base == 16
        && text.get(at) == Some(&b'0')
        && matches!(text.get(at + 1), Some(b'x' | b'X'))
        && digit_at(at + 2).is_some()
    {
        at += 2;
    }
    let begin = at;
    let (mut value, mut is_over) = (0u64, false);
    while let Some(digit) = digit_at(at) {
        match value.checked_mul(base.into()).and_then(|value| value.checked_add(digit.into())) {
            Some(next) => value = next,
            None => is_over = true,
        }
        at += 1;
    }
    if at == begin || !text[at..].iter().all(is_space) {
        return None;
    }
    Some(match (is_over, is_negative) {
        (true, _) => u64::MAX as f64,
        (false, true) => value.wrapping_neg() as f64,
        (false, false) => value as f64,
    })
}

/// `type`.
pub(crate) fn kind(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(1)?;
    let name = stack.kind_name(1);
    stack.push_bytes(name.as_bytes());
    Ok(1)
}

/// Calls `__tostring` of the value at `index`, if it has one; the result is pushed.
fn call_tostring(stack: &mut Stack, index: i32) -> Result<bool, Raised> {
    if !stack.metatable(index) {
        return Ok(false);
    }
    stack.get_field(-1, "__tostring");
    stack.remove(-2);
    if stack.kind(-1) == Type::Nil {
        stack.pop(1);
        return Ok(false);
    }
    stack.push_copy(index);
    stack.call(1, Some(1))?;
    Ok(true)
}

/// The text of the value at `index`, as `tostring` gives it.
fn text_of_value(stack: &mut Stack, index: i32) -> Result<Vec<u8>, Raised> {
    if call_tostring(stack, index)? {
        let text = stack.bytes(-1).map(<[u8]>::to_vec).unwrap_or_default();
        stack.pop(1);
        return Ok(text);
    }
    plain_text_of(stack, index)
}

/// The same without `__tostring`. Of objects it has a number instead of their address: the first that is asked for is 1.
fn plain_text_of(stack: &mut Stack, index: i32) -> Result<Vec<u8>, Raised> {
    Ok(match stack.value(index) {
        None | Some(Val::Nil) => b"nil".to_vec(),
        Some(Val::Boolean(value)) => value.to_string().into_bytes(),
        Some(Val::Number(number)) => text_of(number).into_bytes(),
        Some(Val::String(_)) => stack.string_argument(index)?.to_vec(),
        Some(Val::Null) => b"userdata: (nil)".to_vec(),
        Some(object) => {
            stack.get_field(REGISTRY, OBJECT_NUMBERS);
            let numbers = stack.table(-1);
            stack.pop(1);
            let number = match stack.machine.heap.get(numbers, object) {
                Val::Number(number) => number,
                _ => {
                    stack.budget().shown_objects += 1;
                    let number = stack.budget().shown_objects as f64;
                    stack.machine.heap.set(numbers, object, Val::Number(number));
                    number
                }
            };
            format!("{}: 0x{number:014}", object.kind_name()).into_bytes()
        }
    })
}

/// `tostring`.
pub(crate) fn tostring(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(1)?;
    if stack.kind(1) == Type::String {
        stack.set_top(1);
        return if call_tostring(stack, 1)? { Ok(1) } else { stack_copy(stack) };
    }
    if call_tostring(stack, 1)? {
        return Ok(1);
    }
    if stack.kind(1) == Type::Number {
        let number = stack.number(1).unwrap_or_default();
        stack.pay(text_work(number))?;
    }
    let text = plain_text_of(stack, 1)?;
    stack.push_bytes(&text);
    Ok(1)
}

fn stack_copy(stack: &mut Stack) -> Result<usize, Raised> {
    stack.push_copy(1);
    Ok(1)
}

/// `next`.
pub(crate) fn next(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.set_top(2);
    if stack.next(1)? {
        return Ok(2);
    }
    stack.push_nil();
    Ok(1)
}

/// `pairs`.
pub(crate) fn pairs(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.push_upvalue(0);
    stack.push_copy(1);
    stack.push_nil();
    Ok(3)
}

/// `rawget`.
pub(crate) fn rawget(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.any_argument(2)?;
    stack.set_top(2);
    stack.get(1);
    Ok(1)
}

/// Fails if the table at 1 is one of the library.
pub(crate) fn check_writable(stack: &mut Stack) -> Result<(), Raised> {
    let table = stack.table(1);
    if stack.machine.heap.table_of(table).is_read_only { Err(stack.plain_error(READ_ONLY)) } else { Ok(()) }
}

/// `rawset`.
pub(crate) fn rawset(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    stack.any_argument(2)?;
    stack.any_argument(3)?;
    check_writable(stack)?;
    stack.set_top(3);
    match stack.value(2) {
        Some(Val::Nil) => return Err(stack.plain_error("table index is nil")),
        Some(Val::Number(number)) if number.is_nan() => return Err(stack.plain_error("table index is NaN")),
        _ => stack.set(1),
    }
    Ok(1)
}

/// `getmetatable`.
pub(crate) fn getmetatable(stack: &mut Stack) -> Result<usize, Raised> {
    stack.any_argument(1)?;
    if !stack.metatable(1) {
        stack.push_nil();
        return Ok(1);
    }
    stack.get_field(-1, "__metatable");
    if stack.kind(-1) == Type::Nil {
        stack.pop(1);
    }
    Ok(1)
}

/// `setmetatable`. A finalizer is never called: Lua 5.1 has them for userdata alone, of which scripts have none.
pub(crate) fn setmetatable(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    if !matches!(stack.kind(2), Type::Nil | Type::Table) {
        return Err(stack.bad_argument(2, "nil or table expected"));
    }
    if stack.metatable(1) {
        stack.get_field(-1, "__metatable");
        if stack.kind(-1) != Type::Nil {
            return Err(stack.error("cannot change a protected metatable"));
        }
    }
    check_writable(stack)?;
    stack.set_top(2);
    stack.set_metatable(1);
    Ok(1)
}

/// The source of a chunk as messages show it.
pub(crate) fn chunk_name(name: &[u8]) -> Vec<u8> {
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    match name.split_first() {
        // As Lua cuts names to 60 bytes: of files the end is shown, of others the beginning.
        Some((b'=', rest)) => return rest[..rest.len().min(59)].to_vec(),
        Some((b'@', rest)) if rest.len() > 52 => return [b"...", &rest[rest.len() - 52..]].concat(),
        Some((b'@', rest)) => return rest.to_vec(),
        _ => {}
    }
    // As much of the first line as fits 60 bytes, of which Lua takes 17 for the words around it.
    let line = name.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default();
    let shown = &line[..line.len().min(43)];
    let dots: &[u8] = if shown.len() < name.len() { b"..." } else { b"" };
    [b"[string \"", shown, dots, b"\"]"].concat()
}

fn load(stack: &mut Stack, text: &[u8], name: &[u8]) -> Result<usize, Raised> {
    stack.set_top(0);
    let message = match stack.machine.load(text, name) {
        Ok(function) => {
            stack.push(function);
            return Ok(1);
        }
        Err(message) => message,
    };
    stack.push_nil();
    stack.push_bytes(&message);
    Ok(2)
}

/// `loadstring`. There is no bytecode: it is a text that is none.
pub(crate) fn loadstring(stack: &mut Stack) -> Result<usize, Raised> {
    let text = stack.string_argument(1)?;
    let name = match stack.kind(2) {
        Type::None | Type::Nil => text.clone(),
        _ => stack.string_argument(2)?,
    };
    load(stack, &text, &name)
}

/// `load`: asks a function for the pieces of the text.
pub(crate) fn load_pieces(stack: &mut Stack) -> Result<usize, Raised> {
    stack.function_argument(1)?;
    let name = match stack.kind(2) {
        Type::None | Type::Nil => b"=(load)".as_slice().into(),
        _ => stack.string_argument(2)?,
    };
    stack.set_top(1);
    let mut text = Vec::new();
    loop {
        stack.push_copy(1);
        if let Err(Raised(error)) = stack.call_protected(0, Some(1)) {
            stack.push_nil();
            stack.push(error);
            return Ok(2);
        }
        let piece = match stack.kind(-1) {
            Type::Nil => break,
            Type::String | Type::Number => stack.text(-1).unwrap_or_default(),
            _ => {
                stack.push_nil();
                let Raised(error) = stack.error("reader function must return a string");
                stack.push(error);
                return Ok(2);
            }
        };
        if piece.is_empty() {
            break;
        }
        stack.append(&mut text, &piece)?;
        if text.len() > INPUT_BYTES_MAX {
            return Err(stack.machine.stop(crate::Stop::Memory));
        }
        stack.pop(1);
        stack.pay(10)?;
    }
    load(stack, &text, &name)
}

/// `collectgarbage`: there is nothing to collect before the end, and counts would say how much memory this version of the program
/// needs.
pub(crate) fn collectgarbage(stack: &mut Stack) -> Result<usize, Raised> {
    let option = match stack.kind(1) {
        Type::None | Type::Nil => b"collect".as_slice().into(),
        _ => stack.string_argument(1)?,
    };
    match &option[..] {
        b"collect" | b"stop" | b"restart" | b"count" => stack.push_number(0.0),
        b"step" => stack.push_boolean(true),
        b"setpause" | b"setstepmul" => stack.push_number(200.0),
        other => {
            let reason = [b"invalid option '", shown(other), b"'"].concat();
            return Err(stack.bad_argument_bytes(1, &reason));
        }
    }
    Ok(1)
}

/// `gcinfo`, as hidden as the counts of [`collectgarbage`].
pub(crate) fn gcinfo(stack: &mut Stack) -> Result<usize, Raised> {
    stack.push_number(0.0);
    Ok(1)
}

/// `unpack`.
pub(crate) fn unpack(stack: &mut Stack) -> Result<usize, Raised> {
    stack.table_argument(1)?;
    let first = to_int(stack.number_argument_or(2, 1.0)?);
    let last = match stack.kind(3) {
        Type::None | Type::Nil => stack.length(1) as i32,
        _ => stack.integer_argument(3)? as i32,
    };
    if first > last {
        return Ok(0);
    }
    let count = i64::from(last) - i64::from(first) + 1;
    if count > i64::from(i32::MAX) || !stack.has_room(count as usize) {
        return Err(stack.error("too many results to unpack"));
    }
    stack.pay(2 * count as usize)?;
    for number in first..=last {
        stack.get_element(1, number);
    }
    Ok(count as usize)
}

/// Makes the table `name` of the globals, and all in it, one that scripts cannot change.
pub(crate) fn protect(stack: &mut Stack, name: &'static str) {
    stack.get_field(GLOBALS, name);
    let table = stack.table(-1);
    stack.machine.heap.table_mut(table).is_read_only = true;
    stack.pop(1);
}
