//! One reply, read off a stream. The tests' own reader of RESP, so that a mistake of Basalt's cannot hide in Basalt's own.

use std::fmt;
use std::io::{self, BufRead, Read};

/// A reply in RESP2 or RESP3.
#[derive(Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`, without the dash.
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*2`
    Array(Vec<Reply>),
    /// `%1`, keys and values in turn.
    Map(Vec<Reply>),
    /// `~2`
    Set(Vec<Reply>),
    /// `>2`
    Push(Vec<Reply>),
    /// `,1.5`
    Double(f64),
    /// `#t`
    Boolean(bool),
    /// `=7`, without the format.
    Verbatim(Vec<u8>),
    /// `(123`
    BigNumber(String),
}

impl Reply {
    /// `+OK`.
    pub fn ok() -> Reply {
        Reply::Simple("OK".to_owned())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// An array of bulk strings.
    pub fn bulks<B: AsRef<[u8]>>(items: impl IntoIterator<Item = B>) -> Reply {
        Reply::Array(items.into_iter().map(Reply::bulk).collect())
    }

    /// The text of a simple, bulk or verbatim string.
    ///
    /// # Panics
    /// When the reply is something else.
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) => text.clone(),
            Reply::Bulk(bytes) | Reply::Verbatim(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The number of an integer reply.
    ///
    /// # Panics
    /// When the reply is something else.
    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    /// The elements of an array, set, map or push.
    ///
    /// # Panics
    /// When the reply is something else.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Map(items) | Reply::Push(items) => items,
            other => panic!("elements were expected, not {other:?}"),
        }
    }

    /// Returns whether this is an error that begins with `prefix`.
    pub fn is_error(&self, prefix: &str) -> bool {
        matches!(self, Reply::Error(text) if text.starts_with(prefix))
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidData`] when it carries something else.
    pub fn read(from: &mut impl BufRead) -> io::Result<Reply> {
        let line = read_line(from)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| invalid("an empty line"))?;
        let items = |from: &mut _, count: i64| (0..count).map(|_| Reply::read(from)).collect::<io::Result<Vec<_>>>();
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number(rest)?),
            "$" | "*" if number(rest)? == -1 => Reply::Null,
            "$" => Reply::Bulk(read_bulk(from, number(rest)?)?),
            "*" => Reply::Array(items(from, number(rest)?)?),
            "%" => Reply::Map(items(from, 2 * number(rest)?)?),
            "~" => Reply::Set(items(from, number(rest)?)?),
            ">" => Reply::Push(items(from, number(rest)?)?),
            "_" => Reply::Null,
            "," => Reply::Double(rest.parse().map_err(|_| invalid(rest))?),
            "#" => Reply::Boolean(rest == "t"),
            "=" => Reply::Verbatim(read_bulk(from, number(rest)?)?.split_off(4)),
            "(" => Reply::BigNumber(rest.to_owned()),
            _ => return Err(invalid(&line)),
        })
    }
}

fn invalid(seen: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a reply cannot begin with {seen:?}"))
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| invalid(text))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(invalid(&String::from_utf8_lossy(&line))),
    }
}

fn read_bulk(from: &mut impl Read, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| invalid("a negative length"))?;
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(invalid("a string without its end"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(out, "+{text}"),
            Reply::Error(text) => write!(out, "-{text}"),
            Reply::Integer(number) => write!(out, ":{number}"),
            Reply::Bulk(bytes) if bytes.len() > 200 => {
                write!(out, "\"{}\"… ({} bytes)", bytes[..100].escape_ascii(), bytes.len())
            }
            Reply::Bulk(bytes) | Reply::Verbatim(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Reply::Null => write!(out, "null"),
            Reply::Array(items) => out.debug_list().entries(items).finish(),
            Reply::Map(items) => write!(out, "map{items:?}"),
            Reply::Set(items) => write!(out, "set{items:?}"),
            Reply::Push(items) => write!(out, "push{items:?}"),
            Reply::Double(number) => write!(out, ",{number}"),
            Reply::Boolean(truth) => write!(out, "{truth}"),
            Reply::BigNumber(text) => write!(out, "({text}"),
        }
    }
}
