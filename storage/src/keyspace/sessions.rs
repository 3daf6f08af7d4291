//! Rows of sessions: of each client that has commands executed once at most, the last such command in the shard, and its reply.
//!
//! ```text
//! totals    [0xFA][0x00]                                       → [format u8 = 1][epoch u32][sessions u32][earlier ones u32]
//! session   [0xFA][0x01][epoch u32 BE][client …]               → [format u8 = 1][flags u8][number u64][digest 8 bytes][reply …]
//! ```
//!
//! Numbers in values are little-endian. An *epoch* is a stretch of [`SESSION_EPOCH_MS`] of the entries' time. A session stands in
//! the epoch of its last use; those of the epoch before the current one are found, too, and all older ones are forgotten.
//!
//! What a newcomer would get wrong: these rows are no key's. No read, walk or count of keys meets them, and no flush deletes them.
//! And they are of no slot: a client sends a command when it has the answer to the one before, so its last one in the shard is
//! enough, as long as a shard gets or loses no slots but with all rows that it has.

use super::Keyspace;
use crate::limits::{SESSION_EPOCH_MS, SESSIONS_MAX};
use crate::{Error, Result, Rows};

const SESSION_SPACE: u8 = 0xFA;
const TOTALS: u8 = 0x00;
const SESSION: u8 = 0x01;
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 18;

/// The last command of a client in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub number: u64,
    /// A digest of the command.
    pub digest: [u8; 8],
    /// Flags of the reply, opaque to the store.
    pub flags: u8,
    /// The reply, opaque to the store.
    pub reply: Vec<u8>,
}

/// The counts of the sessions of an epoch and of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Totals {
    epoch: u32,
    current: u32,
    earlier: u32,
}

/// The outcome of looking for a session.
#[derive(Debug)]
pub struct SessionLookup {
    totals: Totals,
    /// True if there are sessions that are older than those of the epoch before.
    has_old: bool,
    found: Option<(u32, Session)>,
}

impl SessionLookup {
    /// The session, if it is there.
    pub fn session(&self) -> Option<&Session> {
        self.found.as_ref().map(|(_, session)| session)
    }

    /// Returns whether there are so many that another one is not to be added.
    pub fn is_full(&self) -> bool {
        self.totals.current.saturating_add(self.totals.earlier) >= SESSIONS_MAX
    }
}

fn row(epoch: u32, client: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(6 + client.len());
    row.extend_from_slice(&[SESSION_SPACE, SESSION]);
    row.extend_from_slice(&epoch.to_be_bytes());
    row.extend_from_slice(client);
    row
}

fn damaged(what: &str) -> Error {
    Error::Corruption { path: std::path::PathBuf::from("data"), detail: format!("{what} is not readable") }
}

impl Totals {
    fn read(value: &[u8]) -> Option<Totals> {
        let (format, rest) = value.split_first()?;
        let [epoch, current, earlier] = *rest.as_chunks::<4>().0 else { return None };
        let is_whole = *format == FORMAT && rest.len() == 12;
        let number = u32::from_le_bytes;
        is_whole.then(|| Totals { epoch: number(epoch), current: number(current), earlier: number(earlier) })
    }

    fn encode(self) -> Vec<u8> {
        let numbers = [self.epoch, self.current, self.earlier].map(u32::to_le_bytes);
        [&[FORMAT][..], numbers.as_flattened()].concat()
    }

    /// The same in a later epoch.
    fn at(self, epoch: u32) -> Totals {
        match epoch.saturating_sub(self.epoch) {
            0 => self,
            1 => Totals { epoch, current: 0, earlier: self.current },
            _ => Totals { epoch, current: 0, earlier: 0 },
        }
    }
}

impl Session {
    fn read(value: &[u8]) -> Option<Session> {
        let (head, reply) = value.split_first_chunk::<HEAD_BYTES>().filter(|(head, _)| head[0] == FORMAT)?;
        let number = u64::from_le_bytes(head[2..10].try_into().ok()?);
        Some(Session { number, digest: head[10..].try_into().ok()?, flags: head[1], reply: reply.to_vec() })
    }

    fn encode(&self) -> Vec<u8> {
        let Session { number, digest, flags, reply } = self;
        [&[FORMAT, *flags][..], &number.to_le_bytes(), digest, reply].concat()
    }
}

fn totals(rows: &(impl Rows + ?Sized)) -> Result<Option<Totals>> {
    let value = rows.get(&[SESSION_SPACE, TOTALS])?;
    let read = |value: &[u8]| Totals::read(value).ok_or_else(|| damaged("the row of the sessions' totals"));
    value.map(|value| read(&value)).transpose()
}

/// The number of sessions in `rows`, those included that the next one drives out because they are old.
///
/// # Errors
/// Those of reading the row, or that it is damaged.
pub fn session_count(rows: &(impl Rows + ?Sized)) -> Result<u64> {
    Ok(totals(rows)?.map_or(0, |totals| u64::from(totals.current) + u64::from(totals.earlier)))
}

impl Keyspace<'_> {
    /// Looks for the session of a client. Reads all that [`Keyspace::put_session`] depends on.
    ///
    /// # Errors
    /// Those of reading the rows, or that one is damaged.
    pub fn session(&self, client: &[u8]) -> Result<SessionLookup> {
        let now = u32::try_from(self.now_ms / SESSION_EPOCH_MS).unwrap_or(u32::MAX);
        let before = totals(&*self.rows)?.unwrap_or(Totals { epoch: now, current: 0, earlier: 0 });
        let totals = before.at(now);
        let mut found = None;
        for epoch in [Some(totals.epoch), totals.epoch.checked_sub(1)].into_iter().flatten() {
            if let Some(value) = self.rows.get(&row(epoch, client))? {
                let session = Session::read(&value).ok_or_else(|| damaged("the row of a session"))?;
                found = Some((epoch, session));
                break;
            }
        }
        Ok(SessionLookup { totals, has_old: before != totals, found })
    }

    /// Keeps the session of a client, which `lookup` has looked for, and forgets those that have not been used for an
    /// epoch.
    pub fn put_session(&mut self, client: &[u8], lookup: SessionLookup, session: &Session) {
        let SessionLookup { mut totals, has_old, found } = lookup;
        if let Some(oldest) = totals.epoch.checked_sub(1).filter(|_| has_old) {
            self.rows.delete_range(&row(0, &[]), &row(oldest, &[]));
        }
        match found {
            Some((epoch, _)) if epoch == totals.epoch => {}
            Some((epoch, _)) => {
                self.rows.delete(&row(epoch, client));
                totals.earlier = totals.earlier.saturating_sub(1);
                totals.current = totals.current.saturating_add(1);
            }
            None => totals.current = totals.current.saturating_add(1),
        }
        self.rows.put(&row(totals.epoch, client), &session.encode());
        self.rows.put(&[SESSION_SPACE, TOTALS], &totals.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRows;
    use crate::keyspace::{Scratch, VersionSource};

    const START: u64 = 500_000 * SESSION_EPOCH_MS;

    fn at<R>(rows: &mut MemoryRows, now_ms: u64, work: impl FnOnce(&mut Keyspace<'_>) -> R) -> R {
        let mut scratch = Scratch::default();
        work(&mut Keyspace::new(rows, &mut scratch, VersionSource::entry(1), 0, now_ms))
    }

    fn session(number: u64) -> Session {
        Session { number, digest: [7; 8], flags: 1, reply: b":1\r\n".to_vec() }
    }

    fn put(rows: &mut MemoryRows, now_ms: u64, client: u8, number: u64) {
        at(rows, now_ms, |keyspace| {
            let lookup = keyspace.session(&[client]).unwrap();
            keyspace.put_session(&[client], lookup, &session(number));
        });
    }

    fn number(rows: &mut MemoryRows, now_ms: u64, client: u8) -> Option<u64> {
        at(rows, now_ms, |keyspace| keyspace.session(&[client]).unwrap().session().map(|session| session.number))
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut rows = MemoryRows::default();
        put(&mut rows, START, b'c', 0x0304);
        let epoch = 500_000u32;
        let key = [&[0xFA, 1][..], &epoch.to_be_bytes(), b"c"].concat();
        let value = [&[1, 1, 4, 3, 0, 0, 0, 0, 0, 0][..], &[7; 8], b":1\r\n"].concat();
        assert_eq!(rows.get(&key).unwrap().unwrap().to_vec(), value);
        let totals = [&[1][..], &epoch.to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(rows.get(&[0xFA, 0]).unwrap().unwrap().to_vec(), totals);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_used_for_an_epoch_is_forgotten() {
        let mut rows = MemoryRows::default();
        put(&mut rows, START, 1, 1);
        put(&mut rows, START, 2, 5);
        let next = START + SESSION_EPOCH_MS;
        assert_eq!((number(&mut rows, next, 1), number(&mut rows, next, 2)), (Some(1), Some(5)));
        put(&mut rows, next, 1, 2);
        assert_eq!(rows.len(), 3, "it has moved");
        let later = next + SESSION_EPOCH_MS;
        assert_eq!((number(&mut rows, later, 1), number(&mut rows, later, 2)), (Some(2), None));
        put(&mut rows, later, 1, 3);
        assert_eq!(rows.len(), 2, "the other one is gone");
        assert_eq!(number(&mut rows, later + 2 * SESSION_EPOCH_MS, 1), None);
        put(&mut rows, later + 9 * SESSION_EPOCH_MS, 2, 1);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn so_many_are_kept_and_counted() {
        let mut rows = MemoryRows::default();
        let totals = |epoch: u32, current, earlier| Totals { epoch, current, earlier }.encode();
        let is_full =
            |rows: &mut MemoryRows, now_ms| at(rows, now_ms, |keyspace| keyspace.session(&[1]).unwrap().is_full());
        rows.put(&[SESSION_SPACE, TOTALS], &totals(500_000, SESSIONS_MAX / 2, SESSIONS_MAX / 2));
        assert!(is_full(&mut rows, START));
        assert!(!is_full(&mut rows, START + SESSION_EPOCH_MS), "the earlier ones are forgotten");
        rows.put(&[SESSION_SPACE, TOTALS], &totals(500_000, 1, 1));
        put(&mut rows, START, 1, 1);
        let read = |rows: &MemoryRows| Totals::read(&rows.get(&[SESSION_SPACE, TOTALS]).unwrap().unwrap()).unwrap();
        assert_eq!(read(&rows), Totals { epoch: 500_000, current: 2, earlier: 1 });
        assert_eq!(session_count(&rows).unwrap(), 3);
        put(&mut rows, START + SESSION_EPOCH_MS, 1, 2);
        assert_eq!(read(&rows), Totals { epoch: 500_001, current: 1, earlier: 1 });
    }

    #[test]
    fn no_flush_and_no_walk_meets_them() {
        let mut rows = MemoryRows::default();
        put(&mut rows, START, 1, 1);
        at(&mut rows, START, |keyspace| {
            keyspace.set_string(b"k", b"v", Some(START + 10)).unwrap();
            keyspace.flush().unwrap();
            keyspace.flush_all();
        });
        assert_eq!((rows.len(), number(&mut rows, START, 1)), (2, Some(1)));
    }

    #[test]
    fn damaged_rows_are_refused() {
        let lookup = |rows: &mut MemoryRows| at(rows, START, |keyspace| keyspace.session(&[1]).map(drop));
        let mut rows = MemoryRows::default();
        for value in [&[][..], &[2; 13], &[1; 12], &[1; 14]] {
            rows.put(&[SESSION_SPACE, TOTALS], value);
            assert!(lookup(&mut rows).is_err(), "{value:?}");
        }
        rows.delete(&[SESSION_SPACE, TOTALS]);
        for value in [&[][..], &[2; 18], &[1; 17]] {
            rows.put(&row(500_000, &[1]), value);
            assert!(lookup(&mut rows).is_err(), "{value:?}");
        }
    }
}
