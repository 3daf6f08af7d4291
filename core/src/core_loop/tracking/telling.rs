//! Word of changed keys: from the shards of a core to the cores of those who are to hear it, and from there to their connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_net::ring::ConnId;
use basalt_storage::{Changed, ChangedKey};
use smallvec::SmallVec;

use super::super::core::Core;
use super::super::dispatch::{client_index, client_number};
use super::super::outbox::Outbox;
use crate::clients::{Connection, Redirect};
use crate::entry::tracking::{client_of_reader, reader_id};
use crate::ids::CoreId;
use crate::mail::{Invalidation, Invalidations, WrittenKey};

/// The channel on which clients of the old protocol are told.
const CHANNEL: &str = "__redis__:invalidate";

/// Keys that are told of, or `None` if everything is to be dropped.
type Keys<'a> = Option<&'a [Arc<[u8]>]>;

/// The word that connections of a core are to be told.
#[derive(Default)]
pub(in crate::core_loop) struct Telling {
    due: Invalidations,
}

impl Telling {
    /// Returns whether something is to be told.
    pub(in crate::core_loop) fn has_some(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes in what another core has left.
    pub(in crate::core_loop) fn arrive(&mut self, mut invalidations: Invalidations) {
        self.due.append(&mut invalidations);
    }

    /// Bytes of memory that it takes.
    pub(in crate::core_loop) fn bytes(&self) -> usize {
        self.due.bytes()
    }
}

/// Hands on to `core`, which may be this one.
fn hand_on(telling: &mut Telling, outbox: &mut Outbox, here: CoreId, core: CoreId, invalidation: Invalidation) {
    match core == here {
        true => telling.due.push(invalidation),
        false => outbox.invalidations(core).push(invalidation),
    }
}

/// Word for a connection: with `channel`, in the form of a message on it.
fn encode(protocol: Protocol, is_message: bool, keys: Keys<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, protocol);
    match is_message {
        true => {
            reply.push(3);
            reply.bulk("message");
            reply.bulk(CHANNEL);
        }
        false => {
            reply.push(2);
            reply.bulk("invalidate");
        }
    }
    match keys {
        Some(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        None => reply.null(),
    }
    bytes
}

impl Core {
    /// Returns whether clients are to hear of keys that shards of this core have changed.
    pub(in crate::core_loop) fn has_changed_keys(&self) -> bool {
        self.shards.iter().flatten().any(|shard| shard.has_changed_keys())
    }

    /// Hands on which keys have changed in the shards of this core.
    pub(in crate::core_loop) fn take_changed_keys(&mut self) {
        for index in 0..self.shards.len() {
            let changed = self.shards[index].as_mut().and_then(|shard| shard.take_changed_keys());
            if let Some(changed) = changed {
                self.hand_on_changes(&changed);
            }
        }
    }

    /// Hands on which keys have changed to the cores of those who are to hear it.
    pub(super) fn hand_on_changes(&mut self, changed: &Changed) {
        if !self.server.has_tracking() {
            return;
        }
        if changed.is_all {
            for core in (0..self.server.mailboxes.core_count() as u16).map(CoreId) {
                match core == self.id {
                    true => self.telling.due.push_all(),
                    false => self.outbox.invalidations(core).push_all(),
                }
            }
        }
        for key in &changed.keys {
            self.hand_on_key(key);
        }
        if self.fanout.has_prefixes() {
            self.hand_on_by_prefix(&changed.keys);
        }
    }

    fn hand_on_key(&mut self, changed: &ChangedKey) {
        let mut by_core: SmallVec<[(CoreId, SmallVec<[u32; 2]>); 2]> = SmallVec::new();
        for reader in &changed.readers {
            let (core, client) = client_of_reader(*reader);
            match by_core.iter_mut().find(|(of, _)| *of == core) {
                Some((_, clients)) => clients.push(client),
                None => by_core.push((core, SmallVec::from_slice(&[client]))),
            }
        }
        for (core, clients) in by_core {
            let invalidation = Invalidation::Key(changed.key.clone(), clients);
            hand_on(&mut self.telling, &mut self.outbox, self.id, core, invalidation);
        }
    }

    /// Hands on to the cores whose clients want to hear of all keys that begin with a prefix.
    fn hand_on_by_prefix(&mut self, changed: &[ChangedKey]) {
        let mut by_prefix: BTreeMap<Arc<[u8]>, Vec<WrittenKey>> = BTreeMap::new();
        for key in changed.iter().filter(|key| key.is_written) {
            for prefix in self.fanout.prefixes_of(&key.key) {
                by_prefix.entry(prefix).or_default().push((key.key.clone(), key.writer));
            }
        }
        for (prefix, mut keys) in by_prefix {
            keys.sort();
            let keys: Arc<[WrittenKey]> = keys.into();
            for core in self.fanout.cores_of_prefix(&prefix) {
                let invalidation = Invalidation::Prefix(prefix.clone(), keys.clone());
                hand_on(&mut self.telling, &mut self.outbox, self.id, core, invalidation);
            }
        }
    }

    /// Takes word of changed keys that other cores have left, and tells connections of it before they are answered anything that
    /// they have asked since. Returns how much there was.
    pub(in crate::core_loop) fn take_word_of_changes(&mut self) -> usize {
        // What was applied since the last turn comes first, or a read of this one would be told of it.
        self.take_changed_keys();
        let mut count = usize::from(self.telling.has_some());
        for core in (0..self.server.mailboxes.core_count() as u16).map(CoreId) {
            while let Some(word) = self.server.mailboxes.next_invalidations(core, self.id) {
                self.telling.arrive(word);
                count += 1;
            }
        }
        if count > 0 { count + self.tell_changes() } else { 0 }
    }

    /// Tells connections of this core what is due to them, as far as they may be given more. Returns how many were told.
    pub(in crate::core_loop) fn tell_changes(&mut self) -> usize {
        if !self.telling.has_some() {
            return 0;
        }
        let mut count = 0;
        // However many: nothing that they ask is to be answered first.
        if self.telling.due.take_all() {
            let connections = self.clients.connections.iter().flatten();
            let tracking = connections.filter(|connection| connection.session.tracking.is_some());
            let all: Vec<ConnId> = tracking.map(|connection| connection.ring).collect();
            count += all.len();
            all.into_iter().for_each(|id| self.tell_client(id, None));
        }
        while !self.has_handed_over_much()
            && let Some(next) = self.telling.due.pop()
        {
            count += self.tell_invalidation(next);
        }
        count
    }

    fn tell_invalidation(&mut self, next: Invalidation) -> usize {
        match next {
            Invalidation::Key(key, readers) => {
                let keys = [key];
                for client in &readers {
                    let place = self.clients.connections.get(client_index(*client)).and_then(Option::as_ref);
                    let id = place.map(|connection| connection.ring);
                    if let Some(id) = id.filter(|id| client_number(*id) == *client) {
                        self.tell_client(id, Some(&keys));
                    }
                }
                readers.len()
            }
            Invalidation::Prefix(prefix, keys) => {
                let receivers = self.fanout.receivers_by_prefix(&prefix);
                let all: Vec<Arc<[u8]>> = keys.iter().map(|(key, _)| key.clone()).collect();
                for id in &receivers {
                    let own = reader_id(self.id, client_number(*id));
                    let is_own = |key: &&WrittenKey| key.1 == Some(own);
                    if self.is_deaf_to_itself(*id) && keys.iter().any(|key| is_own(&key)) {
                        let others = keys.iter().filter(|key| !is_own(key)).map(|(key, _)| key.clone());
                        let others: Vec<_> = others.collect();
                        if !others.is_empty() {
                            self.tell_client(*id, Some(&others));
                        }
                    } else {
                        self.tell_client(*id, Some(&all));
                    }
                }
                receivers.len()
            }
            Invalidation::Redirected(to, keys) => {
                self.tell_in_place_of_another(to, keys.as_deref());
                1
            }
        }
    }

    fn is_deaf_to_itself(&self, id: ConnId) -> bool {
        let place = self.clients.connections.get(id.index()).and_then(Option::as_ref);
        let tracking = place.and_then(|connection| connection.session.tracking.as_ref());
        tracking.is_some_and(|tracking| tracking.is_deaf_to_itself)
    }

    /// Tells a connection that tracks keys, or the one that is told in its place.
    fn tell_client(&mut self, id: ConnId, keys: Keys<'_>) {
        let Some(mut connection) = self.take_connection(id) else { return };
        let redirect = self.tell_directly(&mut connection, keys);
        self.put_connection(connection);
        match redirect {
            Some(Redirect { core, connection, .. }) if core != self.id => {
                let keys = keys.map(<[_]>::to_vec);
                self.outbox.invalidations(core).push(Invalidation::Redirected(connection, keys));
            }
            Some(Redirect { connection, .. }) => self.tell_in_place_of_another(connection, keys),
            None => {}
        }
    }

    /// Tells a connection, unless another is to be told in its place, which is returned.
    fn tell_directly(&mut self, connection: &mut Connection, keys: Keys<'_>) -> Option<Redirect> {
        let (protocol, is_closing) = (connection.session.protocol, connection.session.closing);
        let tracking = connection.session.tracking.as_mut().filter(|_| !is_closing)?;
        // It has read nothing since it was told so.
        let is_told =
            keys.is_none() && !tracking.is_broadcast && std::mem::replace(&mut tracking.has_dropped_all, true);
        if is_told {
            return None;
        }
        let Some(redirect) = tracking.redirect else {
            if protocol == Protocol::Resp3 {
                self.give(connection, &encode(protocol, false, keys));
            }
            return None;
        };
        if self.server.client_places.has(redirect.core, redirect.id) {
            return Some(redirect);
        }
        tracking.is_broken = true;
        if protocol == Protocol::Resp3 {
            let mut bytes = Vec::new();
            let mut reply = Reply::new(&mut bytes, protocol);
            reply.push(2);
            reply.bulk("tracking-redir-broken");
            reply.integer(redirect.id as i64);
            self.give(connection, &bytes);
        }
        None
    }

    /// Tells a connection of this core what another one is to be told. With the old protocol it has to have subscribed to
    /// something.
    fn tell_in_place_of_another(&mut self, id: ConnId, keys: Keys<'_>) {
        let Some(mut connection) = self.take_connection(id) else { return };
        let protocol = connection.session.protocol;
        let is_message = protocol == Protocol::Resp2;
        if !connection.session.closing && (!is_message || connection.session.is_subscriber()) {
            self.give(&mut connection, &encode(protocol, is_message, keys));
        }
        self.put_connection(connection);
    }

    /// Gives a connection what it has not asked for, behind the replies that it has. Who waits for what others do is told
    /// meanwhile.
    fn give(&mut self, connection: &mut Connection, bytes: &[u8]) {
        self.clients.handed_over_bytes += bytes.len();
        if connection.may_be_told() {
            if let Some(out) = self.ring.output(connection.ring) {
                out.extend_from_slice(bytes);
            }
        } else {
            connection.push_ready(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_has_redis_form() {
        let keys: [Arc<[u8]>; 2] = [Arc::from(&b"a"[..]), Arc::from(&b"bc"[..])];
        let text = |protocol, is_message, keys| {
            String::from_utf8(encode(protocol, is_message, keys)).unwrap().replace("\r\n", "|")
        };
        assert_eq!(text(Protocol::Resp3, false, Some(&keys[..])), ">2|$10|invalidate|*2|$1|a|$2|bc|");
        assert_eq!(text(Protocol::Resp3, false, None), ">2|$10|invalidate|_|");
        let message = "*3|$7|message|$20|__redis__:invalidate|";
        assert_eq!(text(Protocol::Resp2, true, Some(&keys[..1])), format!("{message}*1|$1|a|"));
        assert_eq!(text(Protocol::Resp2, true, None), format!("{message}$-1|"));
    }
}
