//! The receiving side: a store, a receiver, and a port that accepts and greets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use basalt_net::peer::{
    Acquaintance, Bounds, Greeter, GroupNumber, NodeNumber, Nonce, Recipient, Session, Unable, UnableReason,
};
use basalt_raft::{NodeId, ReceivedSnapshot, VoteParts};
use basalt_storage::Store;

use super::source::{GROUP, RECEIVER, open, own};
use crate::mail::HandedPeer;
use crate::snapshots::failpoint::fault;
use crate::snapshots::{Answer, Groups, Receiver, ReceiverOptions};

/// The vote that the receiving node answers.
pub(super) const ANSWER: VoteParts = VoteParts { term: 77, node: NodeId(0xa1), is_committed: true };

/// The group of the receiving node.
pub(super) struct Group {
    directory: PathBuf,
    store: Mutex<Option<Store>>,
    /// The number of the group's replica.
    pub(super) replica: Mutex<NodeNumber>,
    /// The members that snapshots were begun for.
    pub(super) asked: Mutex<Vec<Recipient>>,
    /// Installs that were begun.
    pub(super) begun: AtomicU64,
    /// Installs that are done.
    pub(super) installed: AtomicU64,
    /// Set while installs wait.
    pub(super) holds: AtomicBool,
}

impl Group {
    pub(super) fn new(directory: &Path) -> Arc<Group> {
        Arc::new(Group {
            directory: directory.to_owned(),
            store: Mutex::new(Some(open(&directory.join("data")))),
            replica: Mutex::new(RECEIVER),
            asked: Mutex::default(),
            begun: AtomicU64::new(0),
            installed: AtomicU64::new(0),
            holds: AtomicBool::new(false),
        })
    }
}

impl Groups for Arc<Group> {
    fn place(&self, group: GroupNumber, to: Recipient) -> Result<PathBuf, Unable> {
        self.asked.lock().unwrap().push(to);
        if !to.is(*self.replica.lock().unwrap(), Some(RECEIVER)) {
            Err(Unable::new(UnableReason::NotHere, "another member is here"))
        } else if group == GROUP {
            Ok(self.directory.join("received"))
        } else {
            Err(Unable::new(UnableReason::NotHere, format!("group {group} is not here")))
        }
    }

    fn install(&self, _: GroupNumber, to: Recipient, snapshot: ReceivedSnapshot, answer: Answer) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.asked.lock().unwrap().last(), Some(&to), "it is for whom it was begun for");
        let group = self.clone();
        std::thread::spawn(move || {
            while group.holds.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut store = group.store.lock().unwrap();
            let Some(store) = store.as_mut() else { return };
            let applied = basalt_storage::applied_in_checkpoint(&snapshot.directory).unwrap();
            assert_eq!([applied.log_id, applied.membership].concat(), snapshot.meta);
            store.install(&snapshot.directory).unwrap();
            fault("installed", &group.directory).unwrap();
            group.installed.fetch_add(1, Ordering::SeqCst);
            answer.send(Ok(ANSWER));
        });
    }
}

/// A port that accepts connections, greets, and hands them to a receiver, as a core does.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    /// Connections that the receiver has taken.
    pub(super) taken: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Port {
    pub(super) fn open(number: NodeNumber, receiver: Arc<Receiver>) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(AtomicUsize::new(0));
        let (over, count) = (is_over.clone(), taken.clone());
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(peer) = greet(stream, number) {
                    let is_taken = receiver.take(peer).is_ok();
                    count.fetch_add(usize::from(is_taken), Ordering::SeqCst);
                }
            }
        });
        Port { address, taken, is_over, accepting: Some(accepting) }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

/// A node that receives.
pub(super) struct Node {
    pub(super) directory: PathBuf,
    pub(super) group: Arc<Group>,
    pub(super) receiver: Arc<Receiver>,
    pub(super) address: SocketAddr,
    pub(super) port: Port,
}

pub(super) fn receiver_options() -> ReceiverOptions {
    let options = ReceiverOptions::new(Bounds::default(), 0);
    ReceiverOptions { sign_every: Duration::from_millis(20), ..options }
}

impl Node {
    pub(super) fn new(directory: &Path) -> Node {
        Node::with(directory, receiver_options())
    }

    pub(super) fn with(directory: &Path, options: ReceiverOptions) -> Node {
        let group = Group::new(directory);
        let receiver = Arc::new(Receiver::start(options, Arc::new(group.clone())).unwrap());
        let port = Port::open(RECEIVER, receiver.clone());
        Node { directory: directory.to_owned(), group, receiver, address: port.address, port }
    }

    pub(super) fn received(&self) -> PathBuf {
        self.directory.join("received")
    }

    /// Bytes of the files that have come.
    pub(super) fn received_bytes(&self) -> u64 {
        received_bytes(&self.directory)
    }

    /// Ends it, and returns its store.
    pub(super) fn end(self) -> Store {
        let Node { group, receiver, port, .. } = self;
        drop(port);
        receiver.stop();
        group.store.lock().unwrap().take().unwrap()
    }
}

/// Bytes of the files that have come to the node in `directory`, also those that are on their way to its store.
pub(super) fn received_bytes(directory: &Path) -> u64 {
    let inside = std::fs::read_dir(directory.join("received")).into_iter().flatten();
    let directories = inside.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = directories.flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten());
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Greets whoever has connected, as a core does.
pub(super) fn greet(stream: TcpStream, number: NodeNumber) -> Option<HandedPeer> {
    let (stream, session, received) = greet_by_hand(stream, number)?;
    Some(HandedPeer { socket: OwnedFd::from(stream), session, received })
}

pub(super) fn greet_by_hand(mut stream: TcpStream, number: NodeNumber) -> Option<(TcpStream, Session, Vec<u8>)> {
    let mut greeter = Greeter::accept(own(number), Nonce(rand::random()));
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        let (mut input, mut output) = (&buffer[..read], Vec::new());
        let session = greeter.feed(&mut input, |_| Acquaintance::Unknown, &mut output);
        let written = stream.write_all(&output);
        match session {
            Ok(None) => written.ok()?,
            Ok(Some(session)) => return Some((stream, session, input.to_vec())),
            Err(_) => {
                let _ = stream.shutdown(Shutdown::Both);
                return None;
            }
        }
    }
}
