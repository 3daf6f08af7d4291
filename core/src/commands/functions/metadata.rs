//! The first line of a library, which says who runs it and its name: `#!lua name=mylib`.

use basalt_lua::is_name;
use basalt_net::resp::split_line;

use crate::commands::CommandError;
use crate::limits::SHOWN_NAME_BYTES_MAX;

/// The first line of a library, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The library's name.
    pub(super) name: Vec<u8>,
    /// The end of the line, where the code begins: so lines keep their numbers.
    pub(super) end: usize,
}

/// A name as it is shown in an error.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(SHOWN_NAME_BYTES_MAX)]).into_owned()
}

/// Reads the first line of a library.
///
/// # Errors
/// Redis' texts.
pub(super) fn read_metadata(code: &[u8]) -> Result<Metadata, CommandError> {
    const INVALID: CommandError = CommandError::text("ERR Invalid library metadata");
    if !code.starts_with(b"#!") {
        return Err(CommandError::text("ERR Missing library metadata"));
    }
    let end = code.iter().position(|&byte| byte == b'\n').ok_or(INVALID)?;
    let words = split_line(&code[..end]).map_err(|_| INVALID)?;
    let (engine, words) = words.split_first().ok_or(INVALID)?;
    let engine = engine.get(2..).unwrap_or_default();
    let mut name = None;
    for word in words {
        match word.split_at_checked(5) {
            Some((key, _)) if key.eq_ignore_ascii_case(b"name=") && name.is_some() => {
                let text = "ERR Invalid metadata value, name argument was given multiple times";
                return Err(CommandError::text(text));
            }
            Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => name = Some(value.to_vec()),
            _ => return Err(CommandError::owned(format!("ERR Invalid metadata value given: {}", shown(word)))),
        }
    }
    let name = name.ok_or(CommandError::text("ERR Library name was not given"))?;
    if !is_name(&name) {
        return Err(CommandError::text(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(CommandError::owned(format!("ERR Engine '{}' not found", shown(engine))));
    }
    Ok(Metadata { name, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_as_redis_does() {
        for (code, name, end) in [
            ("#!lua name=a\nx", "a", 12),
            ("#!LUA  NAME=\"e\" \t\r\n", "", 0),
            ("#!lua  name=e  \r\n", "e", 16),
            ("#!lua 'name=e_1'\n", "e_1", 16),
        ] {
            let read = read_metadata(code.as_bytes());
            match name {
                // A quote that opens in a word ends it, and what is within is taken as it is.
                "" => assert_eq!(read.unwrap().name, b"e"),
                name => assert_eq!(read.unwrap(), Metadata { name: name.as_bytes().to_vec(), end }, "{code}"),
            }
        }
        const NAMES: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
        for (code, error) in [
            ("return 1", "Missing library metadata"),
            ("", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua name=\"a\n", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!\n", "Library name was not given"),
            ("#! lua name=a\n", "Invalid metadata value given: lua"),
            ("#!lua name=a flags=x\n", "Invalid metadata value given: flags=x"),
            ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=\n", NAMES),
            ("#!lua name=a-b\n", NAMES),
            ("#!lua \"name=a b\"\n", NAMES),
            ("#!js name=a\n", "Engine 'js' not found"),
            ("#!js name=a-b\n", NAMES),
        ] {
            assert_eq!(read_metadata(code.as_bytes()).unwrap_err().to_string(), format!("ERR {error}"), "{code:?}");
        }
    }
}
