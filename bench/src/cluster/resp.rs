//! A connection that speaks RESP: for what is asked once, and for load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A server that takes longer to answer is not there.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Replies that were read, and how many bytes they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whole replies.
    pub count: usize,
    /// The bytes of these.
    pub bytes: usize,
}

/// Counts the whole replies at the beginning of `bytes`, up to `wanted`: lines, numbers and strings, as writes and reads of a
/// string are answered.
///
/// # Errors
/// The first reply that is an error, or of another kind.
pub fn take_replies(bytes: &[u8], wanted: usize) -> Result<Taken> {
    let mut taken = Taken::default();
    while taken.count < wanted {
        let rest = &bytes[taken.bytes..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { break };
        let line = &rest[..end];
        let length = match line.first() {
            Some(b'+' | b':' | b'_') => end + 2,
            Some(b'$') => match std::str::from_utf8(&line[1..]).ok().and_then(|digits| digits.parse::<i64>().ok()) {
                Some(-1) => end + 2,
                Some(length) => end + 4 + usize::try_from(length).context("a string has a length")?,
                None => bail!("a string without a length: {}", String::from_utf8_lossy(line)),
            },
            _ => bail!("a server answered: {}", String::from_utf8_lossy(line)),
        };
        if rest.len() < length {
            break;
        }
        taken = Taken { count: taken.count + 1, bytes: taken.bytes + length };
    }
    Ok(taken)
}

/// Writes a command.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A connection that asks one thing after the other.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects to the server on `port`.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn open(port: u16) -> Result<Connection> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX).context("a server does not listen")?;
        stream.set_read_timeout(Some(ANSWER_MAX)).context("a socket has timeouts")?;
        stream.set_nodelay(true).context("a socket sends at once")?;
        Ok(Connection(stream))
    }

    /// Asks, and returns the reply: the text of a line, a number or a string, an error with its minus sign.
    ///
    /// # Errors
    /// If the server hangs up, takes too long, or answers something else. The connection is of no use then.
    pub fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut request = Vec::new();
        write_command(&mut request, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        self.0.write_all(&request).context("a server does not take what it is asked")?;
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let count = self.0.read(&mut part).context("a server does not answer")?;
            ensure!(count > 0, "a server hung up");
            received.extend_from_slice(&part[..count]);
            let is_error = received.first() == Some(&b'-');
            if (is_error && received.ends_with(b"\r\n")) || (!is_error && take_replies(&received, 1)?.count == 1) {
                let of_string = received.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                return Ok(text(&received[if received.first() == Some(&b'$') { of_string } else { 0 }..]));
            }
        }
    }
}

/// Asks the server on `port` once, as [`Connection::ask`] does.
///
/// # Errors
/// If it cannot be asked.
pub fn ask(port: u16, words: &[&str]) -> Result<String> {
    Connection::open(port)?.ask(words)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().trim_start_matches(['+', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_when_they_are_whole() {
        let all = b"+OK\r\n:12\r\n$3\r\na\r\n\r\n$-1\r\n$0\r\n\r\n";
        for end in 0..all.len() {
            let taken = take_replies(&all[..end], 9).unwrap();
            assert!(taken.count < 5 && taken.bytes <= end, "{end}: {taken:?}");
        }
        assert_eq!(take_replies(all, 9).unwrap(), Taken { count: 5, bytes: all.len() });
        assert_eq!(take_replies(all, 2).unwrap(), Taken { count: 2, bytes: 10 });
        assert!(take_replies(b"+OK\r\n-MOVED 1 a:1\r\n", 9).unwrap_err().to_string().contains("MOVED"));
        assert!(take_replies(b"$x\r\n", 9).is_err());
    }
}
