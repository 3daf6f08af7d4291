//! A client that goes where it is told to, and elsewhere when it is told nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::reply::Reply;
use crate::wait::DEADLINE;

/// Errors of commands that were certainly not executed.
const REFUSALS: [&str; 6] = ["MOVED ", "CLUSTERDOWN ", "TRYAGAIN ", "LOADING ", "BUSY ", "MISCONF "];

/// The end of a command that was sent once.
pub enum Asked {
    /// The reply.
    Done(Reply),
    /// It may have been executed.
    Unknown,
    /// It was certainly not executed.
    Refused,
    /// An error that no fault accounts for.
    Wrong(String),
}

/// A client of a cluster.
pub struct Seeker {
    nodes: Vec<SocketAddr>,
    clients: BTreeMap<SocketAddr, Client>,
    /// The node that had the keys of each tag last.
    places: BTreeMap<String, SocketAddr>,
    next: usize,
    patience: Duration,
}

impl Seeker {
    /// A client that begins with the node at `first` of `nodes`, and waits for each reply for so long.
    pub fn new(nodes: &[SocketAddr], first: usize, patience: Duration) -> Seeker {
        Seeker { nodes: nodes.to_vec(), clients: BTreeMap::new(), places: BTreeMap::new(), next: first, patience }
    }

    /// Asks once, where keys with the same tag were found last.
    pub fn ask(&mut self, tag: &str, words: &[String]) -> Asked {
        let somewhere = self.nodes[self.next % self.nodes.len()];
        let place = *self.places.get(tag).unwrap_or(&somewhere);
        let connected = match self.clients.remove(&place) {
            Some(client) => Ok(client),
            None => Client::connect_within(place, self.patience),
        };
        let Ok(mut client) = connected else {
            self.turn_away(tag);
            return Asked::Refused;
        };
        match client.try_call(words) {
            Ok(Reply::Error(text)) => {
                self.clients.insert(place, client);
                if let Some(address) = text.strip_prefix("MOVED ").and_then(|moved| moved.rsplit(' ').next()) {
                    self.places.insert(tag.to_owned(), address.parse().expect("MOVED has an address"));
                } else {
                    self.turn_away(tag);
                }
                if REFUSALS.iter().any(|prefix| text.starts_with(prefix)) {
                    Asked::Refused
                } else if text.starts_with("UNCERTAIN ") {
                    Asked::Unknown
                } else {
                    Asked::Wrong(text)
                }
            }
            Ok(reply) => {
                self.clients.insert(place, client);
                Asked::Done(reply)
            }
            // The connection is gone or nothing comes, and what was sent may have arrived.
            Err(_) => {
                self.turn_away(tag);
                Asked::Unknown
            }
        }
    }

    /// Asks until there is a reply, for what may be executed several times.
    ///
    /// # Panics
    /// With an error that no fault accounts for, or where no reply comes for very long.
    pub fn insist(&mut self, tag: &str, line: &str) -> Reply {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.ask(tag, &words) {
                Asked::Done(reply) => return reply,
                Asked::Wrong(text) => panic!("{line}: {text}"),
                Asked::Unknown | Asked::Refused => {}
            }
            assert!(Instant::now() < deadline, "{line}: no answer");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn turn_away(&mut self, tag: &str) {
        self.places.remove(tag);
        self.next += 1;
    }
}
