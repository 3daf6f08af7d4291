//! The places of the clients of all cores, for who names one by its id.
//!
//! Each core writes of its own clients alone, when they come and go, so that it waits for a lock only while somebody looks one up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use basalt_net::ring::ConnId;

use crate::ids::CoreId;

/// The clients of each core by their ids.
#[derive(Debug)]
pub struct ClientPlaces {
    cores: Box<[Mutex<HashMap<u64, ConnId>>]>,
}

impl ClientPlaces {
    /// Those of a node with so many cores, which has no clients yet.
    pub fn new(core_count: usize) -> ClientPlaces {
        ClientPlaces { cores: (0..core_count).map(|_| Mutex::default()).collect() }
    }

    fn of(&self, core: CoreId) -> MutexGuard<'_, HashMap<u64, ConnId>> {
        self.cores[core.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a client of `core` has come.
    pub fn add(&self, core: CoreId, id: u64, connection: ConnId) {
        self.of(core).insert(id, connection);
    }

    /// Notes that it is gone.
    pub fn remove(&self, core: CoreId, id: u64) {
        self.of(core).remove(&id);
    }

    /// Returns whether `core` has this client.
    pub fn has(&self, core: CoreId, id: u64) -> bool {
        self.of(core).contains_key(&id)
    }

    /// The core and the place of a client, if it is there.
    pub fn find(&self, id: u64) -> Option<(CoreId, ConnId)> {
        let cores = (0..self.cores.len()).map(|core| CoreId(core as u16));
        cores.into_iter().find_map(|core| Some((core, *self.of(core).get(&id)?)))
    }
}
