//! A client that sees every byte.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::reply::Reply;
use crate::wait::DEADLINE;

/// Before what was answered `BUSY` is sent again.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// A connection to a node. What it sends is what it is told to send, at once and not changed.
///
/// Methods that give no `Result` panic when the connection fails: for tests in which that is the failure.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        Client::connect_within(address, DEADLINE)
    }

    /// Connects, and waits for this and for each reply no longer than `patience`.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Client { reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// Appends one command to `out`, as clients send it.
    pub fn encode<W: AsRef<[u8]>>(out: &mut Vec<u8>, words: impl IntoIterator<Item = W>) {
        let words: Vec<W> = words.into_iter().collect();
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in &words {
            let word = word.as_ref();
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// Those of the connection, and bytes that are no reply.
    pub fn read(&mut self) -> io::Result<Reply> {
        Reply::read(&mut self.reader)
    }

    /// Sends one command and reads its reply.
    ///
    /// # Errors
    /// Those of the connection, and bytes that are no reply.
    pub fn try_call<W: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = W>) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, words);
        self.send(&bytes)?;
        self.read()
    }

    /// Sends one command and reads its reply.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = W>) -> Reply {
        self.try_call(words).expect("the node answers")
    }

    /// Sends one command, its words separated by spaces, and reads its reply.
    pub fn ask(&mut self, line: &str) -> Reply {
        self.call(line.split_whitespace())
    }

    /// Sends commands in one piece and then reads their replies.
    ///
    /// # Errors
    /// As [`Client::try_call`].
    pub fn try_pipeline<W: AsRef<[u8]>, C: IntoIterator<Item = W>>(
        &mut self,
        commands: impl IntoIterator<Item = C>,
    ) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        let mut count = 0;
        for command in commands {
            Client::encode(&mut bytes, command);
            count += 1;
        }
        self.send(&bytes)?;
        (0..count).map(|_| self.read()).collect()
    }

    /// As [`Client::try_pipeline`], of a node that must be there.
    pub fn pipeline<W: AsRef<[u8]>, C: IntoIterator<Item = W>>(
        &mut self,
        commands: impl IntoIterator<Item = C>,
    ) -> Vec<Reply> {
        self.try_pipeline(commands).expect("the node answers")
    }

    /// As [`Client::try_pipeline`], of commands that do not depend on each other's order: what is answered `BUSY`, which is right
    /// while the disk stands still, was not executed and is sent again, for as long as [`DEADLINE`].
    ///
    /// # Errors
    /// As [`Client::try_call`].
    pub fn try_pipeline_patiently<W: AsRef<[u8]>, C: IntoIterator<Item = W>>(
        &mut self,
        commands: impl IntoIterator<Item = C>,
    ) -> io::Result<Vec<Reply>> {
        let encoded = |command: C| {
            let mut bytes = Vec::new();
            Client::encode(&mut bytes, command);
            bytes
        };
        let commands: Vec<Vec<u8>> = commands.into_iter().map(encoded).collect();
        let mut replies = vec![Reply::Null; commands.len()];
        let mut open: Vec<usize> = (0..commands.len()).collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.send(open.iter().map(|place| commands[*place].as_slice()).collect::<Vec<_>>().concat())?;
            for place in &open {
                replies[*place] = self.read()?;
            }
            open.retain(|place| replies[*place].is_error("BUSY "));
            if open.is_empty() || Instant::now() >= deadline {
                return Ok(replies);
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }

    /// As [`Client::try_pipeline_patiently`], of a node that must be there.
    pub fn pipeline_patiently<W: AsRef<[u8]>, C: IntoIterator<Item = W>>(
        &mut self,
        commands: impl IntoIterator<Item = C>,
    ) -> Vec<Reply> {
        self.try_pipeline_patiently(commands).expect("the node answers")
    }

    /// Sends one command and reads its reply, as [`Client::try_pipeline_patiently`] does.
    pub fn call_patiently<W: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = W>) -> Reply {
        self.pipeline_patiently([words]).remove(0)
    }

    /// Reads `count` bytes.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("the node answers");
        bytes
    }

    /// Reads until the node closes the connection. A reset counts as closed: bytes were on their way to it.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("the node neither closes nor answers more than \"{}\": {error}", bytes.escape_ascii())
            }
            _ => bytes,
        }
    }

    /// Returns whether the node has closed the connection, waiting for it for `within`.
    pub fn is_closed_within(&mut self, within: Duration) -> bool {
        self.stream.set_read_timeout(Some(within)).expect("it is a valid time");
        let read = self.reader.read(&mut [0]);
        self.stream.set_read_timeout(Some(DEADLINE)).expect("it is a valid time");
        match read {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Tells the node that nothing more will be sent.
    pub fn finish(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            // A node that has closed the connection may have reset it already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            outcome => outcome.expect("it is a socket"),
        }
    }

    /// The socket, for what clients do not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
