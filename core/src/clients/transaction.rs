//! Commands that a connection has sent after MULTI, and the keys that it watches.

use std::collections::HashSet;
use std::mem::size_of;

use basalt_net::resp::Protocol;
use basalt_storage::WatchedKeys;
use basalt_storage::keyspace::Slot;

use crate::acl::Denied;
use crate::commands::{Args, Command, Kind, table};
use crate::entry::request::{self, RequestHeader};
use crate::entry::transaction;
use crate::ids::ShardId;
use crate::limits;

/// Commands that wait for EXEC.
#[derive(Debug, Default, Clone)]
pub struct Transaction {
    /// The commands one behind the other, as `request::encode` writes them; databases and protocols are theirs at EXEC.
    bytes: Vec<u8>,
    /// The end of each.
    ends: Vec<usize>,
    /// True if one could not be queued: EXEC executes none then.
    pub is_flawed: bool,
    /// The slot of the first key.
    pub slot: Option<Slot>,
    /// True if there are keys of other slots.
    pub has_other_slots: bool,
    /// The id of the first command that concerns all shards.
    pub of_all_shards: Option<u16>,
    /// Number of commands that concern the connection or the node, and no shard.
    pub session_count: usize,
    /// True if one publishes a message, or may: a script that writes.
    pub publishes: bool,
    /// True if one changes its shard.
    pub writes: bool,
    /// True if one runs a script.
    pub runs_scripts: bool,
    /// True if a reply may have values in it.
    pub returns_values: bool,
    /// The users by whose rights the first command was allowed.
    pub users_version: u64,
    /// Commands that are not to be run, by their places, in ascending order.
    denied: Vec<(usize, Denied)>,
}

/// The room for one more command is used up.
pub struct Full;

impl Transaction {
    /// Queues a command whose arity has been checked. All of them may have `bytes_max`.
    ///
    /// # Errors
    /// [`Full`] if it finds no room: then none of them is executed, and they are let go.
    pub fn queue(&mut self, command: &Command, args: Args<'_>, bytes_max: u64) -> Result<(), Full> {
        if self.is_flawed {
            // Nobody will ask for it.
            return Ok(());
        }
        if self.ends.len() >= limits::TRANSACTION_COMMANDS_MAX {
            self.flaw();
            return Err(Full);
        }
        let header = RequestHeader { seed: command.seed(), ..RequestHeader::new(Protocol::Resp2, 0, command.id) };
        request::encode(&mut self.bytes, header, args[1..].iter().copied());
        self.ends.push(self.bytes.len());
        if self.held_bytes() as u64 > bytes_max {
            self.flaw();
            return Err(Full);
        }
        self.publishes |= command.publishes || (command.runs_script && matches!(command.kind, Kind::Write(_)));
        if command.is_of_session() {
            self.session_count += 1;
            return Ok(());
        }
        self.writes |= matches!(command.kind, Kind::Write(_));
        self.runs_scripts |= command.runs_script;
        self.returns_values |= command.returns_values(args);
        if command.concerns_all_shards() {
            self.of_all_shards = self.of_all_shards.or(Some(command.id));
        }
        for position in command.keys(args) {
            let slot = Slot::of(args[position]);
            self.has_other_slots |= *self.slot.get_or_insert(slot) != slot;
        }
        Ok(())
    }

    /// Has EXEC execute nothing, and lets go of what is queued.
    pub fn flaw(&mut self) {
        *self = Transaction { is_flawed: true, ..Transaction::default() };
    }

    /// Number of commands that are queued.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Number of commands that run on a shard.
    pub fn keyed_count(&self) -> usize {
        self.len() - self.session_count
    }

    /// The command `index`, encoded.
    pub fn command(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The command that the client has sent as the command `index`, by its id.
    pub fn asked(&self, index: usize) -> u16 {
        request::asked_id(self.command(index)).expect("it was encoded here")
    }

    /// Puts another command in the place of the command `index`: a step of it.
    pub fn replace(&mut self, index: usize, command: &[u8]) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let (before, end) = (self.bytes.len(), self.ends[index]);
        self.bytes.splice(start..end, command.iter().copied());
        let after = self.bytes.len();
        self.ends[index..].iter_mut().for_each(|end| *end = *end + after - before);
    }

    /// The row of the table of the command `index`.
    pub fn row(&self, index: usize) -> &'static Command {
        let id = request::command_id(self.command(index)).expect("it was encoded here");
        table::by_id(id).expect("it was found in the table")
    }

    /// Has the command `index` not run, but answered with an error. Those before it have been looked at.
    pub fn deny(&mut self, index: usize, denied: Denied) {
        assert!(self.denied.last().is_none_or(|(last, _)| *last < index), "they are looked at in their order");
        self.session_count += usize::from(self.is_keyed(index));
        self.denied.push((index, denied));
    }

    /// The reason that the command `index` is answered with an error in place of being run.
    pub fn denial(&self, index: usize) -> Option<Denied> {
        let at = self.denied.binary_search_by_key(&index, |(denied, _)| *denied).ok()?;
        Some(self.denied[at].1)
    }

    /// Returns whether a shard runs the command `index`.
    pub fn is_keyed(&self, index: usize) -> bool {
        !self.row(index).is_of_session() && self.denial(index).is_none()
    }

    /// Sets the database and the protocol in which the command `index` runs.
    pub fn readdress(&mut self, index: usize, protocol: Protocol, db: u8) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        transaction::readdress(&mut self.bytes[start..self.ends[index]], protocol, db);
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.denied.capacity() * size_of::<(usize, Denied)>()
    }
}

/// Keys that a connection watches.
#[derive(Debug)]
pub struct Watching {
    /// The watch, a number that no other ever has in this process.
    pub watch: u64,
    /// The shards that have some of the keys.
    pub shards: Vec<ShardId>,
    keys: HashSet<(u8, Box<[u8]>)>,
    bytes: usize,
}

impl Watching {
    /// No keys yet.
    pub fn new(watch: u64) -> Watching {
        Watching { watch, shards: Vec::new(), keys: HashSet::new(), bytes: 0 }
    }

    /// Adds a key of a shard.
    pub fn add(&mut self, shard: ShardId, db: u8, key: &[u8]) {
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
        if self.keys.insert((db, key.into())) {
            self.bytes += Watching::bytes_of(key);
        }
    }

    /// Number of the keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory that they take in this node, about: here and with their shards.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory that watching one key takes, about.
    pub fn bytes_of(key: &[u8]) -> usize {
        key.len() + size_of::<(u8, Box<[u8]>)>() + WatchedKeys::bytes_of(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(transaction: &mut Transaction, line: &str, bytes_max: u64) -> bool {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        transaction.queue(table::find(&args).expect("a command"), &args, bytes_max).is_ok()
    }

    #[test]
    fn it_knows_what_its_commands_concern() {
        let mut transaction = Transaction::default();
        for line in ["ping", "get {a}1", "client id", "strlen {a}2"] {
            assert!(queue(&mut transaction, line, 1 << 20));
        }
        assert_eq!((transaction.len(), transaction.session_count, transaction.keyed_count()), (4, 2, 2));
        assert!(transaction.slot.is_some() && !transaction.has_other_slots && !transaction.writes);
        assert!(!transaction.publishes && transaction.of_all_shards.is_none());
        for line in ["mset {a}1 x b y", "publish a b", "dbsize"] {
            assert!(queue(&mut transaction, line, 1 << 20));
        }
        assert!(transaction.has_other_slots && transaction.writes && transaction.publishes);
        assert_eq!(transaction.of_all_shards, table::lookup(b"dbsize").map(|command| command.id));
        assert_eq!(transaction.row(2).name(), "client|id");
    }

    #[test]
    fn what_finds_no_room_ends_it() {
        let mut transaction = Transaction::default();
        let value = "v".repeat(1000);
        assert!(queue(&mut transaction, &format!("set k {value}"), 5000));
        assert!((0..5).any(|_| !queue(&mut transaction, &format!("set k {value}"), 5000)));
        assert!(transaction.is_flawed && transaction.len() == 0 && transaction.held_bytes() == 0);
        assert!(queue(&mut transaction, "set k v", 5000), "the client was told");
        assert_eq!(transaction.len(), 0);
        let mut transaction = Transaction::default();
        for _ in 0..limits::TRANSACTION_COMMANDS_MAX {
            assert!(queue(&mut transaction, "ping", 1 << 30));
        }
        assert!(!queue(&mut transaction, "ping", 1 << 30) && transaction.is_flawed);
    }

    #[test]
    fn a_key_is_watched_once() {
        let mut watching = Watching::new(1);
        for (shard, db, key) in [(0, 0, b"a"), (1, 0, b"b"), (0, 0, b"a"), (0, 1, b"a")] {
            watching.add(ShardId(shard), db, key);
        }
        assert_eq!((watching.count(), watching.shards.len()), (3, 2));
        assert_eq!(watching.bytes(), 3 * Watching::bytes_of(b"a"));
    }
}
