//! The map as a state machine: one row of a store, changed by each entry.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_raft::{EntryId, Executed, Machine, MachineError, Replies};
use basalt_storage::{Fetched, Rows as _, Store};

use crate::cluster::map::{Change, Map, Outcome, Refused};
use crate::node::Server;

/// The row that has the map.
const MAP_ROW: &[u8] = b"map";

/// Reads the map that is in `store`: an empty one if there is none yet. May wait for the disk.
///
/// # Errors
/// The reason that it cannot be read, in words.
pub fn read_map(store: &Store) -> Result<Map, String> {
    match store.get(MAP_ROW).map_err(|error| error.to_string())? {
        None => Ok(Map::new()),
        Some(bytes) => Map::decode(&bytes).map_err(|error| format!("{}: {error}", store.directory().display())),
    }
}

/// Applies changes to the map.
pub(super) struct MetaMachine {
    store: Store,
    map: Arc<Map>,
    /// The epoch of the last change that was not refused, since the start.
    changed: u64,
    /// Takes each new map, once the node has all that was in its log.
    server: Option<Arc<Server>>,
}

impl MetaMachine {
    /// A machine on `store`, in which `map` is.
    pub(super) fn new(store: Store, map: Map) -> MetaMachine {
        MetaMachine { store, map: Arc::new(map), changed: 0, server: None }
    }

    /// The store, for who closes it.
    pub(super) fn into_store(self) -> Store {
        self.store
    }

    /// The map after the last entry.
    pub(super) fn map(&self) -> Arc<Map> {
        self.map.clone()
    }

    /// The epoch of the last change that was made, none of those that were refused: of this start alone, so for comparing.
    pub(super) fn changed(&self) -> u64 {
        self.changed
    }

    /// Puts the map in force on this node, and each that follows.
    pub(super) fn publish_to(&mut self, server: Arc<Server>) {
        self.server = Some(server);
        self.publish();
    }

    fn publish(&self) {
        if let Some(server) = &self.server {
            server.routes.set_map(self.map.clone());
            server.orders.follow_map();
        }
    }
}

impl Machine for MetaMachine {
    fn apply(&mut self, entry: EntryId, batch: &[u8], _ticket: Option<u64>) -> Result<Executed, MachineError> {
        let change = Change::decode(batch).map_err(|error| MachineError::Batch(error.to_string()))?;
        let mut map = Map::clone(&self.map);
        let outcome = map.apply(entry.index, change);
        if outcome.is_ok() {
            self.changed = entry.index;
        }
        self.store.put(MAP_ROW, &map.encode());
        self.map = Arc::new(map);
        self.publish();
        let bytes = reply(outcome);
        Ok(Executed::Whole(Replies { ends: vec![bytes.len()], bytes }))
    }

    fn take_fetched(&mut self, rows: Fetched) {
        self.store.take_fetched(&rows);
    }

    fn installed(&mut self) {
        match read_map(&self.store) {
            Ok(map) => {
                self.changed = map.epoch();
                self.map = Arc::new(map);
                self.publish();
            }
            // Whoever sent it could read it; the next entry finds the same.
            Err(error) => tracing::error!(error, "the map that came from another node cannot be read"),
        }
    }

    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}

/// The reply to the client that asked for the change.
fn reply(outcome: Result<Outcome, Refused>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
    match outcome {
        Ok(Outcome::Done | Outcome::Unchanged | Outcome::Founded { .. }) => reply.ok(),
        Ok(Outcome::ConfigEpoch { epoch, is_new: true }) => reply.simple(format!("BUMPED {epoch}")),
        Ok(Outcome::ConfigEpoch { epoch, is_new: false }) => reply.simple(format!("STILL {epoch}")),
        Err(refused) => reply.error_display(refused),
    }
    bytes
}
