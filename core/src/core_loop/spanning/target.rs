//! The conversation with the server that keys are sent to. Blocks: for threads that are no cores.
//!
//! What a newcomer would get wrong: a key counts as taken once that server has said so, and at no other sign. It may have one all
//! the same whose answer has not come: then it is on both. Redis sends the login, the database and the keys in one go; here the
//! keys wait until the first two are answered, since those behind a refused SELECT would go into another database.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::commands::Target;
use crate::limits::migrations as limits;
use crate::multi_shard::spanning::{Delivery, Parcel, Parcelled};

/// The errors of Redis, to the word.
const CONNECTING: &[u8] = b"IOERR error or timeout connecting to the client";
const WRITING: &[u8] = b"IOERR error or timeout writing to target instance";
const READING: &[u8] = b"IOERR error or timeout reading to target instance";
const REFUSED: &[u8] = b"ERR Target instance replied with error: ";

/// The error of a server that answers as none of Redis' kind does.
const ODD: &[u8] = b"ERR Target instance does not answer as Redis does: ";

/// Sends a parcel. `now_ms` tells the time, in Unix milliseconds.
pub(super) fn deliver(parcel: &Parcel, now_ms: &dyn Fn() -> u64) -> Delivery {
    let mut delivery = Delivery::default();
    if let Err(error) = try_to_deliver(parcel, now_ms, &mut delivery) {
        delivery.fail(&error);
    }
    delivery
}

/// The same, up to where it cannot go on: gives the reason then.
fn try_to_deliver(parcel: &Parcel, now_ms: &dyn Fn() -> u64, delivery: &mut Delivery) -> Result<(), Vec<u8>> {
    let target = &*parcel.target;
    let mut talk = Conversation::begin(target)?;
    let login = talk.log_in(target).and_then(|count| talk.flush().map(|()| count));
    for _ in 0..login.map_err(|_| WRITING)? {
        // Nothing was sent: the first error ends it.
        talk.answer()?.map_or(Ok(()), Err)?;
    }
    let mut left = parcel.keys();
    loop {
        // One whose deadline has passed by now is gone, here as there.
        let is_there = |key: &Parcelled<'_>| key.deadline_ms.is_none_or(|deadline_ms| deadline_ms >= now_ms());
        let some: Vec<Parcelled<'_>> = left.by_ref().filter(is_there).take(limits::SENT_AT_ONCE).collect();
        if some.is_empty() {
            return Ok(());
        }
        let sent = some.iter().try_for_each(|key| talk.restore(key, target.replaces, now_ms()));
        sent.and_then(|()| talk.flush()).map_err(|_| WRITING)?;
        for key in some {
            match talk.answer()? {
                None => delivery.taken.push(key.number),
                Some(error) => delivery.fail(&error),
            }
        }
    }
}

/// A connection with another server.
struct Conversation {
    stream: TcpStream,
    timeout: Duration,
    output: Vec<u8>,
    /// Bytes that have come, of which the first ones are used.
    input: Vec<u8>,
    used: usize,
}

impl Conversation {
    /// Connects to a server, or gives the reason that this is not possible in its time. The look for the address of a name has time
    /// of its own, as the system's resolver is set up.
    fn begin(target: &Target) -> Result<Conversation, &'static [u8]> {
        let host = std::str::from_utf8(&target.host).map_err(|_| CONNECTING)?;
        let port: u16 = std::str::from_utf8(&target.port).ok().and_then(|port| port.parse().ok()).ok_or(CONNECTING)?;
        let deadline = Instant::now() + target.timeout;
        let mut why = CONNECTING;
        for address in (host, port).to_socket_addrs().map_err(|_| CONNECTING)? {
            let connected = time_left(deadline).and_then(|left| TcpStream::connect_timeout(&address, left));
            // Answers are small, and one of them waits for each piece that is sent.
            match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => {
                    let [output, input] = [Vec::new(), Vec::new()];
                    return Ok(Conversation { stream, timeout: target.timeout, output, input, used: 0 });
                }
                // Redis learns that it was turned away when it writes.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => why = WRITING,
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// Says who asks, and which database is meant. Gives the number of answers to come.
    fn log_in(&mut self, target: &Target) -> io::Result<usize> {
        if let Some(login) = &target.login {
            match &login.user {
                Some(user) => self.say(&[b"AUTH", user, &login.password])?,
                None => self.say(&[b"AUTH", &login.password])?,
            }
        }
        self.say(&[b"SELECT", target.db.to_string().as_bytes()])?;
        Ok(1 + usize::from(target.login.is_some()))
    }

    /// Sends a key.
    fn restore(&mut self, key: &Parcelled<'_>, replaces: bool, now_ms: u64) -> io::Result<()> {
        // 0 would be no deadline.
        let time_to_live = key.deadline_ms.map_or(0, |deadline_ms| deadline_ms.saturating_sub(now_ms).max(1));
        let time_to_live = time_to_live.to_string();
        let words: [&[u8]; 5] = [b"RESTORE", key.key, time_to_live.as_bytes(), key.payload, b"REPLACE"];
        self.say(if replaces { &words } else { &words[..4] })
    }

    fn say(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.put(format!("*{}\r\n", words.len()).as_bytes())?;
        for word in words {
            self.put(format!("${}\r\n", word.len()).as_bytes())?;
            self.put(word)?;
            self.put(b"\r\n")?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.output.len() + bytes.len() > limits::OUTPUT_BYTES {
            self.flush()?;
        }
        if bytes.len() > limits::OUTPUT_BYTES {
            return bytes.chunks(limits::OUTPUT_BYTES).try_for_each(|piece| self.send(piece));
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let output = std::mem::take(&mut self.output);
        self.send(&output)?;
        self.output = output;
        self.output.clear();
        Ok(())
    }

    /// Sends a piece, all of which is to be taken in time.
    fn send(&self, mut piece: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.timeout;
        while !piece.is_empty() {
            self.stream.set_write_timeout(Some(time_left(deadline)?))?;
            match (&self.stream).write(piece) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => piece = &piece[count..],
                Err(error) if is_to_be_tried_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next answer: none if that is yes, else the error.
    ///
    /// # Errors
    /// The reason that there is none, or none that makes sense.
    fn answer(&mut self) -> Result<Option<Vec<u8>>, Vec<u8>> {
        let line = self.line().map_err(|_| READING)?;
        match line.split_first() {
            Some((b'+', b"OK")) => Ok(None),
            Some((b'-', error)) => Ok(Some([REFUSED, error].concat())),
            _ => Err([ODD, &line[..line.len().min(64)]].concat()),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.timeout;
        let mut piece = [0; 4096];
        loop {
            let unused = &self.input[self.used..];
            if let Some(end) = unused.iter().position(|&byte| byte == b'\n') {
                let line = unused[..end].strip_suffix(b"\r").unwrap_or(&unused[..end]).to_vec();
                self.used += end + 1;
                return Ok(line);
            }
            self.input.drain(..std::mem::take(&mut self.used));
            if self.input.len() > limits::ANSWER_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            // One that sends a byte now and then has no more time than others.
            self.stream.set_read_timeout(Some(time_left(deadline)?))?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&piece[..count]),
                Err(error) if is_to_be_tried_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The time until `deadline`: some, or an error.
fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Returns whether it is for the clock to say if there is time for another try.
fn is_to_be_tried_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use basalt_net::resp::{Argv, Decoded, Decoder, Limits};

    use super::*;
    use crate::commands::Login;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn target(listener: &TcpListener) -> Target {
        Target {
            host: b"127.0.0.1".to_vec(),
            port: listener.local_addr().unwrap().port().to_string().into_bytes(),
            db: 3,
            timeout: Duration::from_secs(60),
            login: None,
            replaces: false,
        }
    }

    /// A server that gives these answers, one to each command, and then closes; the commands that it has heard.
    fn serve(listener: &TcpListener, answers: &[&str]) -> Vec<String> {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut heard, mut input, mut piece) = (Vec::new(), Vec::new(), vec![0; 1 << 20]);
        let (mut decoder, mut argv) = (Decoder::default(), Argv::new());
        while heard.len() < answers.len() {
            match decoder.decode(&input, &Limits::default(), &mut argv).unwrap() {
                Decoded::Command { consumed } => {
                    let words: Vec<String> = argv
                        .iter(&input)
                        .map(|word| String::from_utf8_lossy(&word[..word.len().min(30)]).into_owned())
                        .collect();
                    input.drain(..consumed);
                    stream.write_all(answers[heard.len()].as_bytes()).unwrap();
                    heard.push(words.join(" "));
                }
                Decoded::Incomplete { .. } => match stream.read(&mut piece).unwrap_or(0) {
                    0 => return heard,
                    count => input.extend_from_slice(&piece[..count]),
                },
            }
        }
        // What it has answered arrives: a connection that is closed with something unread would be broken off.
        // Unless that one has closed it.
        let _ = stream.shutdown(Shutdown::Write);
        while stream.read(&mut piece).is_ok_and(|count| count > 0) {}
        heard
    }

    /// Sends keys, each with its deadline, to a server that gives these answers. Gives what came of it, and what that has heard.
    fn send(
        answers: &[&str],
        keys: &[(&str, Option<u64>)],
        change: impl FnOnce(&mut Target),
    ) -> (Vec<usize>, String, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(&listener);
        change(&mut target);
        let keys: Vec<(&[u8], Option<u64>, &[u8])> =
            keys.iter().map(|(key, deadline_ms)| (key.as_bytes(), *deadline_ms, &b"value"[..])).collect();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, answers));
            let delivery = deliver(&Parcel::of(target, &keys), &|| NOW_MS);
            let error = String::from_utf8(delivery.error.unwrap_or_default()).unwrap();
            (delivery.taken, error, server.join().unwrap())
        })
    }

    #[test]
    fn keys_are_sent_in_their_order_with_their_time_to_live() {
        let keys = [("a", None), ("b", Some(NOW_MS + 5000)), ("c", Some(NOW_MS - 1)), ("d", Some(NOW_MS))];
        let heard = ["SELECT 3", "RESTORE a 0 value", "RESTORE b 5000 value", "RESTORE d 1 value"];
        let (taken, error, said) = send(&["+OK\r\n"; 4], &keys, |_| ());
        assert_eq!((taken, error.as_str(), said), (vec![0, 1, 3], "", heard.map(str::to_owned).to_vec()));
        let (.., said) = send(&["+OK\r\n"; 4], &keys, |target| target.replaces = true);
        assert_eq!(said, heard.map(|line| if line == heard[0] { line.to_owned() } else { format!("{line} REPLACE") }));
    }

    #[test]
    fn a_key_that_is_refused_is_not_taken_and_the_first_error_is_told() {
        let answers = ["+OK\r\n", "+OK\r\n", "-BUSYKEY it is there\r\n", "+OK\r\n", "-OOM no room\r\n"];
        let keys = [("a", None), ("b", None), ("c", None), ("d", None)];
        let (taken, error, _) = send(&answers, &keys, |_| ());
        let expected = "ERR Target instance replied with error: BUSYKEY it is there";
        assert_eq!((taken, error.as_str()), (vec![0, 2], expected));
        // It goes away behind the first one.
        let (taken, error, _) = send(&answers[..2], &keys, |_| ());
        assert_eq!(taken, [0]);
        assert!([READING, WRITING].contains(&error.as_bytes()), "{error}");
        for odd in ["HTTP/1.1 400 Bad Request", "+QUEUED", ":1"] {
            let (taken, error, _) = send(&["+OK\r\n", &format!("{odd}\r\n")], &keys[..1], |_| ());
            let expected = format!("ERR Target instance does not answer as Redis does: {odd}");
            assert_eq!((taken.len(), error), (0, expected));
        }
    }

    #[test]
    fn who_is_not_let_in_sends_no_key() {
        let login = |user: Option<&str>| {
            let user = user.map(|user| user.as_bytes().to_vec());
            move |target: &mut Target| target.login = Some(Login { user, password: b"secret".to_vec() })
        };
        let keys = [("a", None)];
        let (taken, error, said) = send(&["+OK\r\n"; 3], &keys, login(Some("bob")));
        assert_eq!((taken, error.as_str()), (vec![0], ""));
        assert_eq!(said, ["AUTH bob secret", "SELECT 3", "RESTORE a 0 value"]);
        let refused = ["-WRONGPASS no\r\n", "-NOAUTH first\r\n"];
        let (taken, error, said) = send(&refused, &keys, login(None));
        assert_eq!((taken.len(), error.as_str()), (0, "ERR Target instance replied with error: WRONGPASS no"));
        assert_eq!(said, ["AUTH secret", "SELECT 3"]);
        let (.., said) = send(&["-ERR DB index is out of range\r\n"], &keys, |_| ());
        assert_eq!(said, ["SELECT 3"]);
    }

    #[test]
    fn large_values_and_many_keys_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let value = vec![b'x'; 3 * limits::OUTPUT_BYTES];
        let names: Vec<String> = (0..2 * limits::SENT_AT_ONCE + 1).map(|number| format!("key{number}")).collect();
        let keys: Vec<(&[u8], Option<u64>, &[u8])> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (name.as_bytes(), None, if number % 50 == 0 { &value[..] } else { b"v" }))
            .collect();
        let answers = vec!["+OK\r\n"; keys.len() + 1];
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, &answers));
            let delivery = deliver(&Parcel::of(target(&listener), &keys), &|| NOW_MS);
            assert_eq!(delivery, Delivery { taken: (0..keys.len()).collect(), error: None });
            assert_eq!(server.join().unwrap().len(), answers.len());
        });
    }

    #[test]
    fn a_server_that_stands_still_or_is_not_there_is_not_waited_for_beyond_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keys: [(&[u8], Option<u64>, &[u8]); 1] = [(b"a", None, b"v")];
        let slow = target(&listener);
        let mut talk = Conversation::begin(&slow).unwrap();
        talk.timeout = Duration::from_millis(50);
        assert_eq!(talk.answer(), Err(READING.to_vec()));
        // More than there is room for on the way, while nobody reads.
        let large = vec![b'x'; 32 << 20];
        let key = Parcelled { number: 0, key: b"a", deadline_ms: None, payload: &large };
        let refused = talk.restore(&key, false, NOW_MS).and_then(|()| talk.flush());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(listener);
        for (target, error) in [
            (slow.clone(), WRITING),
            (Target { port: b"port".to_vec(), ..slow.clone() }, CONNECTING),
            (Target { port: b"70000".to_vec(), ..slow.clone() }, CONNECTING),
            (Target { host: b"\xff".to_vec(), ..slow }, CONNECTING),
        ] {
            let delivery = deliver(&Parcel::of(target, &keys), &|| NOW_MS);
            assert_eq!(delivery, Delivery { taken: Vec::new(), error: Some(error.to_vec()) });
        }
    }
}
