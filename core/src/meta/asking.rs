//! Questions to other nodes by their port for clients: before they are of one cluster there is no other way, and a change of the
//! map is too seldom to need one.
//!
//! Blocks: for threads that are no cores.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use basalt_net::resp::value;

use crate::limits;

/// The reason that a node has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It was certainly not asked.
    #[error("node at {0} is not reached: {1}")]
    NotAsked(SocketAddr, String),
    /// It may have done what it was asked for.
    #[error("node at {0} does not answer: {1}")]
    NoAnswer(SocketAddr, String),
}

/// Asks a node, as `user` with a password if there is one, and returns its reply as it came, which must be there after `within`,
/// or before `is_over` says that nobody waits for it any more. If it does not let the user in, it has not been asked, and the
/// reply says so.
///
/// # Errors
/// [`AskError`]; an error reply is none.
pub fn ask(
    address: SocketAddr,
    user: Option<(String, String)>,
    words: &[&[u8]],
    within: Duration,
    is_over: &dyn Fn() -> bool,
) -> Result<Vec<u8>, AskError> {
    let not_asked = |error: io::Error| AskError::NotAsked(address, error.to_string());
    let no_answer = |error: io::Error| AskError::NoAnswer(address, error.to_string());
    let mut stream = TcpStream::connect_timeout(&address, limits::ASK_CONNECT).map_err(not_asked)?;
    let deadline = Instant::now() + within;
    stream.set_write_timeout(Some(within)).map_err(not_asked)?;
    let (mut reply, mut piece) = (Vec::new(), [0; 4096]);
    let mut waits_to_be_let_in = user.is_some();
    let mut request = Vec::new();
    encode(&mut request, words);
    match &user {
        Some((user, password)) => {
            let mut login = Vec::new();
            encode(&mut login, &[b"AUTH", user.as_bytes(), password.as_bytes()]);
            stream.write_all(&login).map_err(not_asked)?;
        }
        None => stream.write_all(&request).map_err(no_answer)?,
    }
    loop {
        // One that sends a byte now and then does not hold up whoever asks.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || is_over() {
            return Err(AskError::NoAnswer(address, "its reply takes too long".to_owned()));
        }
        stream.set_read_timeout(Some(left.min(limits::ASK_LOOKS))).map_err(no_answer)?;
        match stream.read(&mut piece) {
            Ok(0) => return Err(AskError::NoAnswer(address, "it has closed the connection".to_owned())),
            Ok(count) => reply.extend_from_slice(&piece[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Err(no_answer(error)),
        }
        if reply.len() > limits::ASK_REPLY_BYTES_MAX {
            return Err(AskError::NoAnswer(address, "its reply is too long".to_owned()));
        }
        if waits_to_be_let_in && let Some(length) = value::skip_value(&reply) {
            if value::is_error(&reply) {
                reply.truncate(length);
                return Ok(reply);
            }
            waits_to_be_let_in = false;
            reply.drain(..length);
            // Whoever does not let the user in is not told what is wanted.
            stream.write_all(&request).map_err(no_answer)?;
        }
        if !waits_to_be_let_in && value::skip_value(&reply) == Some(reply.len()) && !reply.is_empty() {
            return Ok(reply);
        }
    }
}

fn encode(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_node_is_asked_and_its_reply_comes_in_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let node = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 22];
            stream.read_exact(&mut request).unwrap();
            for piece in [&b"*2\r\n$3\r"[..], b"\nabc\r\n:", b"7\r\n"] {
                stream.write_all(piece).unwrap();
                stream.flush().unwrap();
            }
            request
        });
        let within = Duration::from_secs(60);
        assert_eq!(ask(address, None, &[b"GET", b"k\r\n"], within, &|| false).unwrap(), b"*2\r\n$3\r\nabc\r\n:7\r\n");
        assert_eq!(&node.join().unwrap(), b"*2\r\n$3\r\nGET\r\n$3\r\nk\r\n\r\n");
        // Nobody listens any more.
        assert!(matches!(ask(address, None, &[b"PING"], within, &|| false), Err(AskError::NotAsked(..))));
    }

    #[test]
    fn who_has_a_password_says_it_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (login, expected) in
            [(&["+OK\r\n"][..], ":7\r\n"), (&["+O", "K\r\n"], ":7\r\n"), (&["-WRONGPASS no\r\n"], "-WRONGPASS no\r\n")]
        {
            std::thread::scope(|scope| {
                let node = scope.spawn(|| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = [0; 35];
                    stream.read_exact(&mut request).unwrap();
                    assert_eq!(&request[..], b"*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$6\r\nsecret\r\n");
                    for piece in login {
                        stream.write_all(piece.as_bytes()).unwrap();
                    }
                    // What is wanted is told to one alone who has let it in.
                    let mut rest = [0; 14];
                    let is_told = stream.read_exact(&mut rest).is_ok();
                    assert_eq!(is_told, expected == ":7\r\n");
                    if is_told {
                        assert_eq!(&rest[..], b"*1\r\n$4\r\nPING\r\n");
                        stream.write_all(expected.as_bytes()).unwrap();
                    }
                });
                let user = Some(("bob".to_owned(), "secret".to_owned()));
                let reply = ask(address, user, &[b"PING"], Duration::from_secs(60), &|| false).unwrap();
                assert_eq!(String::from_utf8(reply).unwrap(), expected);
                node.join().unwrap();
            });
        }
    }

    #[test]
    fn whoever_asks_waits_as_long_as_was_said_and_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // It accepts, and says a byte now and then at most.
        let node = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                while stream.write_all(b"$").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let late = ask(address, None, &[b"PING"], Duration::from_millis(200), &|| false);
        assert!(matches!(late, Err(AskError::NoAnswer(..))), "{late:?}");
        let asked = std::sync::atomic::AtomicBool::new(false);
        let over = ask(address, None, &[b"PING"], Duration::from_secs(600), &|| {
            asked.swap(true, std::sync::atomic::Ordering::Relaxed)
        });
        assert!(matches!(over, Err(AskError::NoAnswer(..))), "{over:?}");
        node.join().unwrap();
    }
}
