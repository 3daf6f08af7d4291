//! Random messages, sound ones and others, in any order: nothing panics, nothing is written elsewhere, and only what was announced
//! is installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use basalt_net::peer::{
    GroupNumber, Message, NodeNumber, Recipient, Refusal, RefusalReason, RequestId, SnapshotBegin, SnapshotFile,
    SnapshotPiece, SnapshotPosition, Unable, UnableReason, Vote,
};
use basalt_raft::ReceivedSnapshot;
use proptest::collection::vec;
use proptest::prelude::*;

use super::node::{ANSWER, receiver_options};
use super::source::{SENDER, log_id};
use crate::snapshots::receiver::Shared;
use crate::snapshots::receiving::{Conversation, Replies};
use crate::snapshots::transfers::Transfers;
use crate::snapshots::wire::{Incoming, WireError};
use crate::snapshots::{Answer, Groups};

/// Bytes of the files of all snapshots that are offered, by name.
fn contents(checkpoint: u64) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |seed: u8, length: usize| (0..length).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
    match checkpoint {
        0 => vec![("000007.sst", bytes(1, 300)), ("CURRENT", bytes(2, 16)), ("EMPTY", Vec::new())],
        1 => vec![("000007.sst", bytes(3, 300)), ("CURRENT", bytes(2, 16)), ("MANIFEST-5", bytes(4, 40))],
        _ => vec![("A", Vec::new()), ("B", bytes(9, 1)), ("C", Vec::new())],
    }
}

fn begin(checkpoint: u64, term: u64, lies: bool) -> Message {
    let files = contents(checkpoint).into_iter().map(|(name, bytes)| SnapshotFile {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes) ^ u32::from(lies),
    });
    Message::SnapshotBegin(SnapshotBegin {
        vote: Vote { term, node: SENDER, is_committed: true },
        checkpoint: checkpoint + if lies { 100 } else { 0 },
        meta: log_id(checkpoint + 1).into(),
        files: files.collect(),
    })
}

/// An offer of one file that would lie elsewhere.
fn outside(name: &str) -> Message {
    let Message::SnapshotBegin(mut offer) = begin(2, 2, false) else { panic!("it is an offer") };
    offer.files = vec![SnapshotFile { name: name.to_owned(), bytes: 0, crc32c: 0 }];
    Message::SnapshotBegin(offer)
}

/// One step of a sender.
#[derive(Debug, Clone)]
enum Step {
    Begin {
        checkpoint: u64,
        term: u64,
        lies: bool,
    },
    /// The bytes that were announced, at the place that the receiver wants, so many of them.
    Due(usize),
    /// Bytes at any place.
    Piece {
        file: u32,
        offset: u64,
        bytes: Vec<u8>,
    },
    End,
    Other(Message),
    /// The process ends and is started again.
    Restart,
    /// A byte of a file on disk changes.
    Damage(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let position = || SnapshotPosition { file: 0, offset: 0 };
    let others = vec![
        Message::SnapshotResume(position()),
        Message::SnapshotAck(position()),
        Message::SnapshotAnswer(Vote { term: 1, node: SENDER, is_committed: true }),
        Message::Unable(Unable::new(UnableReason::Closed, "no more")),
        Message::Refusal(Refusal::new(RefusalReason::Closing, "bye")),
        Message::SnapshotBegin(SnapshotBegin {
            vote: Vote { term: 1, node: SENDER, is_committed: true },
            checkpoint: 9,
            meta: vec![1, 2, 3].into(),
            files: Vec::new(),
        }),
        // A decoder lets none of these through.
        outside("../outside"),
        outside("/tmp/outside"),
        outside(".."),
    ];
    let offset = prop_oneof![Just(0), Just(1), 0..400_u64, Just(u64::MAX - 8)];
    prop_oneof![
        3 => (0..3_u64, 1..3_u64, prop::bool::weighted(0.2)).prop_map(|(checkpoint, term, lies)| Step::Begin { checkpoint, term, lies }),
        12 => (1..400_usize).prop_map(Step::Due),
        3 => (0..5_u32, offset, vec(any::<u8>(), 1..8)).prop_map(|(file, offset, bytes)| Step::Piece { file, offset, bytes }),
        4 => Just(Step::End),
        1 => prop::sample::select(others).prop_map(Step::Other),
        1 => Just(Step::Restart),
        1 => any::<usize>().prop_map(Step::Damage),
    ]
}

/// A group that looks at what it is given.
struct Checking {
    place: PathBuf,
    installed: AtomicU64,
}

impl Groups for Checking {
    fn place(&self, group: GroupNumber, _: Recipient) -> Result<PathBuf, Unable> {
        match group {
            GroupNumber(1) => Ok(self.place.clone()),
            _ => Err(Unable::new(UnableReason::NotHere, "")),
        }
    }

    fn install(&self, _: GroupNumber, _: Recipient, snapshot: ReceivedSnapshot, answer: Answer) {
        let checkpoint = (0..3).find(|&checkpoint| log_id(checkpoint + 1) == snapshot.meta).unwrap();
        let found = tree(&snapshot.directory);
        let announced = contents(checkpoint);
        let announced: BTreeMap<_, _> =
            announced.into_iter().map(|(name, bytes)| (PathBuf::from(name), bytes)).collect();
        assert_eq!(found, announced, "only what was announced is installed");
        fs::remove_dir_all(&snapshot.directory).unwrap();
        self.installed.fetch_add(1, Ordering::SeqCst);
        answer.send(Ok(ANSWER));
    }
}

/// All files below `directory` with their bytes.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[derive(Default)]
struct Collected(Vec<Message>);

impl Replies for Collected {
    fn reply(&mut self, _: GroupNumber, _: RequestId, message: Message) -> Result<(), WireError> {
        self.0.push(message);
        Ok(())
    }
}

/// A sender's view of a receiver.
struct Scene {
    home: tempfile::TempDir,
    groups: Arc<Checking>,
    conversation: Conversation,
    /// The checkpoint that was offered last, and the place that the receiver wants.
    offered: Option<u64>,
    due: Option<SnapshotPosition>,
    request: u64,
}

impl Scene {
    fn new() -> Scene {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("outside"), "untouched").unwrap();
        let groups = Arc::new(Checking { place: home.path().join("received"), installed: AtomicU64::new(0) });
        let conversation = conversation(&groups);
        Scene { home, groups, conversation, offered: None, due: None, request: 0 }
    }

    fn take(&mut self, step: Step) {
        let message = match step {
            Step::Begin { checkpoint, term, lies } => {
                self.offered = Some(checkpoint);
                self.request += 1;
                begin(checkpoint, term, lies)
            }
            Step::Due(bytes) => {
                let (Some(due), Some(checkpoint)) = (self.due, self.offered) else { return };
                let files = contents(checkpoint);
                let Some((_, content)) = files.get(due.file as usize) else { return };
                let rest = content.get(due.offset as usize..).unwrap_or_default();
                let bytes = &rest[..bytes.min(rest.len())];
                if bytes.is_empty() {
                    return;
                }
                // If it is taken, the next ones are due.
                let (file, offset) = if bytes.len() == rest.len() {
                    (due.file + 1, 0)
                } else {
                    (due.file, due.offset + bytes.len() as u64)
                };
                self.due = Some(SnapshotPosition { file, offset });
                Message::SnapshotPiece(SnapshotPiece { position: due, bytes: bytes.to_vec().into() })
            }
            Step::Piece { file, offset, bytes } => {
                let position = SnapshotPosition { file, offset };
                Message::SnapshotPiece(SnapshotPiece { position, bytes: bytes.into() })
            }
            Step::End => Message::SnapshotEnd,
            Step::Other(message) => message,
            Step::Restart => return self.restart(),
            Step::Damage(at) => return self.damage(at),
        };
        let mut replies = Collected::default();
        let incoming = Incoming { group: GroupNumber(1), request: RequestId(self.request), message };
        let ended = self.conversation.take(incoming, &mut replies);
        for reply in replies.0 {
            match reply {
                Message::SnapshotResume(at) => self.due = Some(at),
                Message::Unable(_) | Message::SnapshotAnswer(_) => self.due = None,
                Message::SnapshotAck(_) => {}
                other => panic!("a {} from a receiver", other.kind()),
            }
        }
        if ended.is_err() {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.conversation = conversation(&self.groups);
        self.due = None;
    }

    fn damage(&mut self, at: usize) {
        let files = tree(&self.home.path().join("received/files"));
        let files: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        if files.is_empty() {
            return;
        }
        let (name, mut bytes) = files[at % files.len()].clone();
        let place = at % bytes.len();
        bytes[place] ^= 1;
        fs::write(self.home.path().join("received/files").join(name), bytes).unwrap();
    }

    fn check(&self) {
        let found = tree(self.home.path());
        let (outside, received): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(path, _)| !path.starts_with("received"));
        assert_eq!(outside, [(PathBuf::from("outside"), b"untouched".to_vec())]);
        let bytes: usize = received.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 356 + 400 && received.len() <= 5, "{bytes} bytes in {} files", received.len());
    }
}

fn conversation(groups: &Arc<Checking>) -> Conversation {
    let shared = Shared {
        options: receiver_options(),
        groups: groups.clone(),
        claims: Arc::default(),
        transfers: Transfers::default(),
        tag: format!("{:016x}", rand::random::<u64>()),
    };
    Conversation::new(Arc::new(shared), Arc::default(), NodeNumber(1))
}

/// Installs of all cases: the steps are worth nothing if none ever gets there.
static INSTALLED: Mutex<u64> = Mutex::new(0);

#[test]
fn random_messages_neither_panic_nor_write_elsewhere_nor_install_what_was_not_announced() {
    let config = ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in vec(any_step(), 1..60))| {
        let mut scene = Scene::new();
        for step in steps {
            scene.take(step);
            scene.check();
        }
        *INSTALLED.lock().unwrap() += scene.groups.installed.load(Ordering::SeqCst);
    });
    assert!(*INSTALLED.lock().unwrap() > 5);
}

#[test]
fn a_file_that_changes_while_another_is_asked_for_again_is_found_too() {
    let mut scene = Scene::new();
    let all = || Step::Due(400);
    scene.take(Step::Begin { checkpoint: 0, term: 1, lies: false });
    // The second is damaged, and once it was found so, the first.
    for step in [all(), all(), Step::Damage(1), Step::End, Step::Damage(0), all(), Step::End] {
        scene.take(step);
    }
    assert_eq!(scene.due, Some(SnapshotPosition { file: 0, offset: 0 }));
    assert_eq!(scene.groups.installed.load(Ordering::SeqCst), 0);
    scene.take(all());
    scene.take(Step::End);
    assert_eq!(scene.groups.installed.load(Ordering::SeqCst), 1);
}
