//! A client that stays with one node and reads there, whoever else may have taken its place.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Shared, TAGS, outcome, read_of};
use crate::client::Client;
use crate::history::{Action, Operation};
use crate::reply::Reply;

/// Time between two reads.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads of which no answer has come.
const WAITING_MAX: usize = 1_000;

/// Time that it waits for the next answer, which is longer than a node stands still in any test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A read that was sent.
struct Sent {
    key: String,
    action: Action,
    called: u64,
}

pub fn run(client: usize, node: SocketAddr, shared: &Shared) -> Vec<Operation> {
    let mut operations = Vec::new();
    while !shared.has_ended() {
        let connected = Client::connect_within(node, PATIENCE);
        let Some((connection, stream)) = connected.ok().and_then(|one| Some((one.stream().try_clone().ok()?, one)))
        else {
            thread::sleep(PAUSE);
            continue;
        };
        let (sender, sent) = sync_channel(WAITING_MAX);
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(client, stream, sent, shared));
            send(connection, |one| sender.send(one).is_ok(), shared);
            drop(sender);
            operations.extend(reader.join().expect("reading does not fail"));
        });
    }
    operations
}

/// Sends reads of all keys in turn, until the connection or the workload ends.
fn send(mut connection: TcpStream, note: impl Fn(Sent) -> bool, shared: &Shared) {
    for number in 0.. {
        if shared.has_ended() {
            // What was asked is still answered.
            return;
        }
        let tag = number % TAGS;
        let (_, key) = shared.key(tag, shared.begun[tag].load(Ordering::Relaxed));
        let action = read_of(tag);
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, action.words(&key));
        let called = shared.now();
        if !note(Sent { key, action, called }) || connection.write_all(&bytes).is_err() {
            break;
        }
        thread::sleep(PAUSE);
    }
    // Closed already, or so slow that nothing will come.
    let _ = connection.shutdown(Shutdown::Both);
}

/// Reads the answers; redirects and refusals are none.
fn read(client: usize, mut connection: Client, sent: Receiver<Sent>, shared: &Shared) -> Vec<Operation> {
    let mut operations = Vec::new();
    for Sent { key, action, called } in sent {
        let Ok(reply) = connection.read() else { break };
        let ended = shared.now();
        match (outcome(&action, &reply), reply) {
            (Some(outcome), _) => {
                operations.push(Operation { client, key, action, called, ended: Some((ended, outcome)) })
            }
            (None, Reply::Error(_)) => {}
            (None, reply) => shared.note_wrong(format!("{action:?} of {key}: {reply:?}")),
        }
    }
    operations
}
