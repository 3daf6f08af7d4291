//! A redis-server as a host, and replies as bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use basalt_lua::{Called, Host, Outcome, Value};
use basalt_tests::RedisServer;

/// A connection with a server.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    pub is_resp3: bool,
}

impl Connection {
    pub fn open(server: &RedisServer, is_resp3: bool) -> Connection {
        let stream = TcpStream::connect(server.address()).expect("redis-server accepts");
        stream.set_nodelay(true).expect("a TCP connection");
        let mut connection = Connection { stream, input: Vec::new(), is_resp3 };
        if is_resp3 {
            connection.run(&[b"HELLO", b"3"]);
        }
        connection
    }

    pub fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).expect("redis-server reads");
        let mut buffer = [0; 4096];
        loop {
            if let Some(length) = length_of_reply(&self.input) {
                return self.input.drain(..length).collect();
            }
            let read = self.stream.read(&mut buffer).expect("redis-server replies");
            assert!(read > 0, "redis-server closed the connection after {:?}", String::from_utf8_lossy(&request));
            self.input.extend_from_slice(&buffer[..read]);
        }
    }
}

/// The length of the reply at the beginning of `bytes`, if it is whole.
fn length_of_reply(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).expect("digits").parse::<i64>().expect("a number");
    match bytes[0] {
        b'$' | b'=' if number() >= 0 => {
            let length = end + number() as usize + 2;
            (bytes.len() >= length).then_some(length)
        }
        kind @ (b'*' | b'~' | b'%' | b'>') => {
            let mut length = end;
            for _ in 0..number().max(0) * if kind == b'%' { 2 } else { 1 } {
                length += length_of_reply(&bytes[length..])?;
            }
            Some(length)
        }
        _ => Some(end),
    }
}

/// A server that runs the commands of the engine.
pub struct RedisHost {
    connections: [Connection; 2],
}

impl RedisHost {
    pub fn new(server: &RedisServer) -> RedisHost {
        RedisHost { connections: [false, true].map(|is_resp3| Connection::open(server, is_resp3)) }
    }
}

impl Host for RedisHost {
    fn call(&mut self, args: &[&[u8]], is_resp3: bool, _: usize, _: &mut u64, reply: &mut Vec<u8>) -> Called {
        let name = String::from_utf8_lossy(args[0]).to_lowercase();
        let refused = |reason: &str| Called::Refused(reason.to_owned());
        if ["multi", "exec", "subscribe", "blpop", "eval", "config", "script", "watch", "brpop"]
            .contains(&name.as_str())
        {
            return refused("This Redis command is not allowed from script");
        }
        *reply = self.connections[usize::from(is_resp3)].run(args);
        if reply.starts_with(b"-ERR unknown") {
            return refused("Unknown Redis command called from script");
        }
        if reply.starts_with(b"-ERR wrong number of arguments") {
            return refused("Wrong number of args calling Redis command from script");
        }
        Called::Replied
    }

    fn may_call(&mut self, args: &[&[u8]], _: &mut u64) -> Option<bool> {
        (args[0] != b"nosuch").then_some(true)
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

/// The reply that a client gets, as the server writes it.
pub fn encode(outcome: &Outcome, is_resp3: bool, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Returned(value) => add(value, is_resp3, out),
        Outcome::Failed(error) => add(&Value::Error(error.clone()), is_resp3, out),
        Outcome::Stopped(stop) => out.extend_from_slice(format!("stopped: {stop:?}").as_bytes()),
    }
}

fn line(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }).collect()
}

fn add(value: &Value, is_resp3: bool, out: &mut Vec<u8>) {
    let add_line = |out: &mut Vec<u8>, kind: &str, text: &[u8]| {
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    };
    let add_bulk = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    };
    match value {
        Value::Null => out.extend_from_slice(if is_resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Value::Boolean(value) if is_resp3 => add_line(out, "#", if *value { b"t" } else { b"f" }),
        Value::Boolean(value) => add_line(out, ":", if *value { b"1" } else { b"0" }),
        Value::Integer(number) => add_line(out, ":", number.to_string().as_bytes()),
        Value::Bulk(bytes) => add_bulk(out, bytes),
        Value::Error(text) => add_line(out, "-", &line(text)),
        Value::Status(text) => add_line(out, "+", &line(text)),
        Value::Double(number) => {
            let text = basalt_lua_double(*number);
            if is_resp3 { add_line(out, ",", text.as_bytes()) } else { add_bulk(out, text.as_bytes()) }
        }
        Value::BigNumber(digits) if is_resp3 => add_line(out, "(", &line(digits)),
        Value::BigNumber(digits) => add_bulk(out, &line(digits)),
        Value::Verbatim(format, text) if is_resp3 => {
            out.extend_from_slice(format!("={}\r\n", text.len() + 4).as_bytes());
            out.extend_from_slice(&[&format[..], b":"].concat());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Value::Verbatim(_, text) => add_bulk(out, text),
        Value::Array(elements) => {
            add_line(out, "*", elements.len().to_string().as_bytes());
            elements.iter().for_each(|element| add(element, is_resp3, out));
        }
        Value::Set(elements) => {
            add_line(out, if is_resp3 { "~" } else { "*" }, elements.len().to_string().as_bytes());
            elements.iter().for_each(|element| add(element, is_resp3, out));
        }
        Value::Map(entries) => {
            let (kind, count) = if is_resp3 { ("%", entries.len()) } else { ("*", 2 * entries.len()) };
            add_line(out, kind, count.to_string().as_bytes());
            for (key, value) in entries {
                add(key, is_resp3, out);
                add(value, is_resp3, out);
            }
        }
    }
}

/// A number as Redis 7.0 prints it: with up to 17 digits.
fn basalt_lua_double(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    let mut text = vec![0u8; 64];
    let format = format!("{number:e}");
    // The shortest text that gives the number again has at most 17 digits, and is the one of `%.17g` only if it has as many.
    let digits = format.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).count();
    if number == number.trunc() && number.abs() < 1e17 && digits <= 17 {
        return format!("{number}");
    }
    text.clear();
    precise(number)
}

/// `%.17g`.
fn precise(number: f64) -> String {
    let text = format!("{number:.16e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    if !(-4..17).contains(&exponent) {
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let text = format!("{number:.*}", (16 - exponent).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
