//! The table of a ring's connections: an index finds one without hashing, a generation tells a reused place from its
//! former owner.

use super::{connection::Connection, ids::ConnId, token::INDEX_MAX};

#[derive(Debug)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

/// All connections of a ring, open ones and free places.
#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Vec<Place>,
    /// Last in, first out: the places used most recently are in the cache.
    free: Vec<u32>,
}

impl Connections {
    pub(super) fn insert(&mut self, connection: Connection) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.places.len() as u32;
            assert!(index <= INDEX_MAX, "more connections than a token can tell apart");
            self.places.push(Place { generation: 0, connection: None });
            index
        });
        let place = &mut self.places[index as usize];
        assert!(place.connection.is_none(), "a free place holds no connection");
        place.connection = Some(connection);
        ConnId { index, generation: place.generation }
    }

    #[inline]
    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.connection.as_ref() } else { None }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.connection.as_mut() } else { None }
    }

    /// Takes a connection out and frees its place; its id is stale from now on.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let connection = self.take(id)?;
        self.vacate(id);
        Some(connection)
    }

    /// Takes a connection out; its id is stale from now on, and nobody gets its place until it is [`vacate`](Self::vacate)d.
    pub(super) fn take(&mut self, id: ConnId) -> Option<Connection> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let connection = place.connection.take()?;
        place.generation = place.generation.wrapping_add(1);
        Some(connection)
    }

    /// Frees the place of a connection that was taken out.
    pub(super) fn vacate(&mut self, id: ConnId) {
        debug_assert!(!self.free.contains(&id.index), "a place is freed once");
        self.free.push(id.index);
    }

    /// Connections, and places that are not free yet.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().filter_map(|place| place.connection.as_ref())
    }

    /// Bytes of the table itself.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::OwnedFd};

    use super::*;

    fn connection() -> Connection {
        Connection::new(OwnedFd::from(File::open("/dev/null").expect("/dev/null")))
    }

    #[test]
    fn an_id_is_stale_once_its_place_is_free_or_reused() {
        let mut connections = Connections::default();
        let first = connections.insert(connection());
        assert!(connections.get(first).is_some());
        assert!(connections.remove(first).is_some());
        assert!(connections.get(first).is_none());
        let second = connections.insert(connection());
        assert_eq!((second.index(), second.generation()), (first.index(), 1));
        assert!(connections.get_mut(first).is_none() && connections.remove(first).is_none());
        assert!(connections.get_mut(second).is_some());
        assert_eq!(connections.len(), 1);
    }

    #[test]
    fn a_place_that_is_not_vacated_is_nobody_elses() {
        let mut connections = Connections::default();
        let first = connections.insert(connection());
        assert!(connections.take(first).is_some() && connections.take(first).is_none());
        let second = connections.insert(connection());
        assert_ne!(second.index(), first.index());
        connections.vacate(first);
        assert_eq!(connections.len(), 1);
        let third = connections.insert(connection());
        assert_eq!((third.index(), third.generation()), (first.index(), 1));
    }

    #[test]
    fn a_place_takes_at_most_two_cache_lines() {
        assert!(size_of::<Place>() <= 128, "{}", size_of::<Place>());
    }
}
