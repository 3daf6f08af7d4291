//! A shard in memory that runs commands, for the tests of their handlers.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{EventClasses, KeyEvent, Keyspace, Scratch, VersionSource};
use basalt_storage::{MemoryRows, Rows};

use super::{Command, CommandError, Context, Kind, Random, table};
use crate::limits;

/// A shard: rows, and what a keyspace over them needs.
pub(super) struct Shard<R = MemoryRows> {
    pub(super) rows: R,
    scratch: Scratch,
    entries: u64,
    /// The time, in Unix milliseconds.
    pub(super) now_ms: u64,
    /// The database that commands are called in.
    pub(super) db: u8,
    /// Longest string that a write may make, in bytes.
    pub(super) string_bytes_max: usize,
}

impl Shard {
    pub(super) fn new() -> Shard {
        Shard::over(MemoryRows::default())
    }

    /// A shard with the same content.
    pub(super) fn copy(&self) -> Shard {
        let rows = self.rows.clone();
        let Shard { entries, now_ms, db, string_bytes_max, .. } = *self;
        Shard { rows, scratch: Scratch::default(), entries, now_ms, db, string_bytes_max }
    }

    /// All rows and counters, to compare.
    pub(super) fn content(&self) -> String {
        format!("{:?}", self.rows)
    }
}

impl<R: Rows> Shard<R> {
    pub(super) fn over(rows: R) -> Shard<R> {
        let string_bytes_max = limits::BULK_BYTES_MAX as usize;
        let (mut scratch, now_ms) = (Scratch::default(), 1_700_000_000_000);
        scratch.keep_access_times(now_ms);
        Shard { rows, scratch, entries: 0, now_ms, db: 0, string_bytes_max }
    }

    /// Its rows.
    pub(super) fn into_rows(self) -> R {
        self.rows
    }

    /// The same shard over the rows that `open` opens once these are closed.
    pub(super) fn reopened(self, open: impl FnOnce() -> R) -> Shard<R> {
        let Shard { rows, entries, now_ms, db, string_bytes_max, .. } = self;
        drop(rows);
        Shard { rows: open(), scratch: Scratch::default(), entries, now_ms, db, string_bytes_max }
    }

    /// Has events of keys noted, of these classes.
    pub(super) fn tell(&mut self, classes: EventClasses) {
        self.scratch.tell(classes);
    }

    /// The events since this was asked last: database, event and key.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        let mut note = |event: KeyEvent<'_>| {
            let [name, key] = [event.event, event.key].map(String::from_utf8_lossy);
            events.push(format!("{} {name} {key}", event.db));
        };
        while self.scratch.take_event(&mut note) {}
        events
    }

    /// Runs one command; the reply is what a client gets, error or not.
    pub(super) fn run<W: AsRef<[u8]>>(&mut self, protocol: Protocol, words: &[W]) -> Vec<u8> {
        let args: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, protocol);
        if let Err(error) = self.try_run(&args, &mut reply) {
            reply.truncate(0);
            reply.error(error.to_string());
        }
        out
    }

    /// Runs a step that only the core calls, by its id.
    pub(super) fn step_bytes(&mut self, id: u16, args: &[&[u8]]) -> Vec<u8> {
        let command = table::by_id(id).unwrap();
        let args = [&[command.name().as_bytes()], args].concat();
        command.check_arity(&args).unwrap();
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        if let Err(error) = self.run_command(command, &args, &mut reply) {
            reply.truncate(0);
            reply.error(error.to_string());
        }
        out
    }

    /// As [`Shard::step_bytes`]; the reply as text.
    pub(super) fn step(&mut self, id: u16, args: &[&[u8]]) -> String {
        String::from_utf8_lossy(&self.step_bytes(id, args)).replace("\r\n", " ").trim_end().to_owned()
    }

    /// Deletes `key`.
    pub(super) fn delete(&mut self, key: &[u8]) {
        let versions = VersionSource::none();
        Keyspace::new(&mut self.rows, &mut self.scratch, versions, self.db, self.now_ms).delete(key).unwrap();
    }

    pub(super) fn try_run(&mut self, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), CommandError> {
        self.run_command(table::find(args)?, args, reply)
    }

    fn run_command(&mut self, command: &Command, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), CommandError> {
        let (Kind::Read(run) | Kind::Write(run)) = command.kind else { panic!("{} needs a node", command.name()) };
        self.entries += 1;
        let versions = if command.is_write() { VersionSource::entry(self.entries) } else { VersionSource::none() };
        let mut keyspace = Keyspace::new(&mut self.rows, &mut self.scratch, versions, self.db, self.now_ms);
        keyspace.tell_misses(command.tells_misses());
        keyspace.note_accesses(true);
        let random = &mut Random::new(self.entries);
        let work_left = std::cell::Cell::new(u64::MAX);
        run(&mut Context { keyspace, random, string_bytes_max: self.string_bytes_max, work_left }, args, reply)
    }

    /// Runs one line, words separated by spaces, in RESP2; returns its reply, in which spaces stand for line ends.
    pub(super) fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        String::from_utf8_lossy(&self.run(Protocol::Resp2, &words)).replace("\r\n", " ").trim_end().to_owned()
    }

    /// Runs each line, words separated by spaces, and compares its reply, in which spaces stand for line ends.
    pub(super) fn expect(&mut self, protocol: Protocol, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let reply = String::from_utf8_lossy(&self.run(protocol, &words)).replace("\r\n", " ");
            assert_eq!(reply.trim_end(), *expected, "{line}");
        }
    }
}
