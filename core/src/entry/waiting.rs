//! A client that waits for elements, as the shards of its keys know it: what is to be run for it, and who may.
//!
//! What a newcomer would get wrong: a client may wait in several shards, on several cores, and the first one that has something
//! gives it to it. They agree by its [`Claim`], the one thing of the data path that cores share: a message to the client's core and
//! back would let others take the elements meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use basalt_net::resp::Protocol;
use basalt_storage::keyspace::{StreamId, Type};

use super::request::{self, RequestHeader};

/// A shard takes elements for the client at the moment.
const TAKEN: u32 = 1;
/// The client's time is over: it gets what its keys have when they are first looked at, and waits no more.
const OVERDUE: u32 = 2;
/// The client waits no more, and gets nothing that is not being taken for it already.
const ENDED: u32 = 4;
/// One shard that has yet to note that the client waits.
const MISSING: u32 = 8;

/// The right to take elements for a client that waits: one shard has it at a time, and none once the client waits no more.
#[derive(Debug)]
pub struct Claim(AtomicU32);

/// The outcome of asking for a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Whoever asked has it.
    Yes,
    /// Another shard has it at the moment.
    Elsewhere,
    /// The client waits no more.
    Ended,
}

impl Claim {
    /// The claim of a client that is to wait in `shard_count` shards.
    pub fn new(shard_count: u16) -> Claim {
        Claim(AtomicU32::new(MISSING * u32::from(shard_count)))
    }

    /// Takes it, if nobody has it.
    pub fn take(&self) -> Claimed {
        self.take_unless(OVERDUE | ENDED)
    }

    /// Takes it for what the keys have when they are first looked at for the client, who gets that also if its time is over.
    pub fn take_at_first_look(&self) -> Claimed {
        self.take_unless(ENDED)
    }

    fn take_unless(&self, over: u32) -> Claimed {
        match self.update(|state| if state & (TAKEN | over) == 0 { Some(state | TAKEN) } else { None }) {
            Ok(_) => Claimed::Yes,
            Err(state) if state & over != 0 => Claimed::Ended,
            Err(_) => Claimed::Elsewhere,
        }
    }

    /// Gives it back, since nothing was found. False if the client waits no more.
    pub fn release(&self) -> bool {
        self.update(|state| if state & (OVERDUE | ENDED) == 0 { Some(state & !TAKEN) } else { None }).is_ok()
    }

    /// Has nobody take it any more. True if until now the client was known to wait by all its shards.
    pub fn end(&self) -> bool {
        self.end_by(ENDED)
    }

    /// Has nobody take it any more but who has yet to look at the keys: the client's time is over. True as with [`Claim::end`].
    pub fn run_out(&self) -> bool {
        self.end_by(OVERDUE)
    }

    fn end_by(&self, how: u32) -> bool {
        let before = self.0.fetch_or(how, Ordering::AcqRel);
        before & (OVERDUE | ENDED) == 0 && before < MISSING
    }

    /// Returns whether the client waits no more.
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) & (OVERDUE | ENDED) != 0
    }

    /// Returns whether the client gets nothing any more that is not being taken for it already.
    pub fn gets_nothing(&self) -> bool {
        self.0.load(Ordering::Acquire) & ENDED != 0
    }

    /// Notes that one more shard knows that the client waits. True if with it all do, and the client has not stopped waiting.
    pub fn note_waiting(&self) -> bool {
        let next = |state: u32| if state & (OVERDUE | ENDED) == 0 { state.checked_sub(MISSING) } else { None };
        self.update(next).is_ok_and(|before| before - MISSING < MISSING)
    }

    /// Returns whether the client waits, and all its shards know.
    pub fn is_waiting(&self) -> bool {
        let state = self.0.load(Ordering::Acquire);
        state & (OVERDUE | ENDED) == 0 && state < MISSING
    }

    fn update(&self, next: impl FnMut(u32) -> Option<u32>) -> Result<u32, u32> {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
    }
}

/// A command that takes elements, without its keys: it can be called for any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pop {
    /// The command's id.
    pub command: u16,
    /// The id of what is called for one key that has come to have something: the command, or a step of it.
    pub call: u16,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// The database.
    pub db: u8,
    /// The type of the keys that it takes from.
    pub kind: Type,
    /// True if an error may come from another key than the one that it takes from.
    pub has_destination: bool,
    /// True if the number of keys stands before them.
    pub is_counted: bool,
    /// Arguments before the number of keys, or before the keys.
    pub before: Vec<Box<[u8]>>,
    /// Arguments behind the keys, or behind their ids.
    pub after: Vec<Box<[u8]>>,
}

/// The things that a client wants of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Elements, which nobody else gets.
    Elements,
    /// Elements that the client's core moves to another shard: it is told when there are some, and takes them itself.
    ElementsToMove,
    /// Entries of streams, behind an id for each key. Everybody may read them.
    EntriesAfter(Vec<StreamId>),
    /// Entries of streams which nobody of this consumer group has got.
    EntriesFor(Box<[u8]>),
}

impl Wanted {
    /// The id behind which entries of the key `index` are wanted, as text.
    fn id_of(&self, index: usize) -> Option<String> {
        match self {
            Wanted::Elements | Wanted::ElementsToMove => None,
            Wanted::EntriesAfter(ids) => ids.get(index).map(StreamId::to_string),
            Wanted::EntriesFor(_) => Some(">".to_owned()),
        }
    }

    /// Returns whether they are entries of streams.
    pub fn is_of_streams(&self) -> bool {
        !matches!(self, Wanted::Elements | Wanted::ElementsToMove)
    }

    /// The things wanted of some of the keys.
    pub fn of_keys(&self, indexes: &[usize]) -> Wanted {
        match self {
            Wanted::EntriesAfter(ids) => Wanted::EntriesAfter(indexes.iter().map(|&index| ids[index]).collect()),
            others => others.clone(),
        }
    }

    /// Bytes of memory that it holds on to.
    pub fn bytes(&self) -> usize {
        match self {
            Wanted::Elements | Wanted::ElementsToMove => 0,
            Wanted::EntriesAfter(ids) => ids.capacity() * size_of::<StreamId>(),
            Wanted::EntriesFor(group) => group.len(),
        }
    }
}

impl Pop {
    /// Appends the command for `keys`, of which that is wanted, to `out`.
    pub fn encode<'a>(&self, out: &mut Vec<u8>, keys: impl ExactSizeIterator<Item = &'a [u8]>, wanted: &Wanted) {
        let ids: Vec<String> = (0..keys.len()).map_while(|index| wanted.id_of(index)).collect();
        self.encode_as(self.command, out, keys, &ids);
    }

    /// Appends the call for one key that has come to have something, the one of this index among those of which that is wanted.
    pub fn encode_call(&self, out: &mut Vec<u8>, key: &[u8], index: usize, wanted: &Wanted) {
        self.encode_as(self.call, out, [key].into_iter(), wanted.id_of(index).as_slice());
    }

    fn encode_as<'a>(
        &self,
        command: u16,
        out: &mut Vec<u8>,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        ids: &[String],
    ) {
        let count = keys.len().to_string();
        let mut args: Vec<&[u8]> = self.before.iter().map(|arg| &**arg).collect();
        if self.is_counted {
            args.push(count.as_bytes());
        }
        for key in keys {
            args.push(key);
        }
        args.extend(ids.iter().map(|id| id.as_bytes()));
        args.extend(self.after.iter().map(|arg| &**arg));
        let header = RequestHeader { asked: self.command, ..RequestHeader::new(self.protocol, self.db, command) };
        request::encode(out, header, args.into_iter());
    }

    /// Bytes of memory that it holds on to.
    pub fn bytes(&self) -> usize {
        let of_args = self.before.iter().chain(&self.after).map(|arg| arg.len() + size_of::<Box<[u8]>>());
        size_of::<Pop>() + of_args.sum::<usize>()
    }
}

/// A client's wish to wait in a shard.
#[derive(Debug, Clone)]
pub struct WaitOrder {
    /// The command that takes the elements.
    pub pop: Pop,
    /// Its keys of this shard, in the order in which it wants them.
    pub keys: Vec<Box<[u8]>>,
    /// The things that it wants of them.
    pub wanted: Wanted,
    /// The right that a shard needs to take elements for it.
    pub claim: Arc<Claim>,
}

impl WaitOrder {
    /// Appends the command for all its keys to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.pop.encode(out, self.keys.iter().map(|key| &**key), &self.wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::ArgList;
    use super::*;

    #[test]
    fn one_shard_at_a_time_has_a_claim_and_none_once_it_has_ended() {
        let claim = Claim::new(2);
        assert!(!claim.note_waiting() && !claim.is_waiting());
        assert!(claim.note_waiting() && claim.is_waiting());
        assert_eq!((claim.take(), claim.take()), (Claimed::Yes, Claimed::Elsewhere));
        assert!(claim.release());
        assert_eq!(claim.take(), Claimed::Yes);
        assert!(claim.is_waiting() && claim.end() && !claim.end());
        assert!(claim.has_ended() && !claim.is_waiting());
        assert_eq!(claim.take(), Claimed::Ended);
        assert!(!claim.release(), "who has it goes on to its end, and nobody after");
        assert_eq!(claim.take(), Claimed::Ended);
        let claim = Claim::new(2);
        assert!(!claim.note_waiting() && !claim.end(), "one shard did not know yet");
        assert!(!claim.note_waiting(), "and hears that it is over");
    }

    #[test]
    fn who_is_overdue_gets_only_what_is_there_at_the_first_look() {
        let claim = Claim::new(1);
        assert!(claim.note_waiting() && claim.run_out() && !claim.run_out(), "it ends once");
        assert!(claim.has_ended() && !claim.gets_nothing() && !claim.is_waiting());
        assert_eq!((claim.take(), claim.take_at_first_look()), (Claimed::Ended, Claimed::Yes));
        assert_eq!(claim.take_at_first_look(), Claimed::Elsewhere);
        assert!(!claim.release(), "there was nothing, and it waits no more");
        let ended = Claim::new(1);
        assert!(!ended.run_out() && !ended.note_waiting() && !ended.end(), "it was never known to wait");
        assert_eq!(ended.take_at_first_look(), Claimed::Ended);
        assert!(ended.gets_nothing());
    }

    #[test]
    fn a_call_is_made_for_some_of_the_keys() {
        let words =
            |line: &str| -> Vec<Box<[u8]>> { line.split_terminator(' ').map(|word| word.as_bytes().into()).collect() };
        for (before, is_counted, after, keys, expected) in [
            ("", false, "0", "b", "b 0"),
            ("", false, "b left right 0", "a", "a b left right 0"),
            ("0", true, "left count 2", "c", "0 1 c left count 2"),
            ("0", true, "min", "a c", "0 2 a c min"),
        ] {
            let pop = Pop {
                command: 7,
                call: 8,
                protocol: Protocol::Resp3,
                db: 3,
                kind: Type::List,
                has_destination: false,
                is_counted,
                before: words(before),
                after: words(after),
            };
            let (mut out, keys) = (Vec::new(), words(keys));
            pop.encode(&mut out, keys.iter().map(|key| &**key), &Wanted::Elements);
            let mut args = ArgList::new();
            assert_eq!(request::decode(&out, &mut args), Some(RequestHeader::new(Protocol::Resp3, 3, 7)));
            assert_eq!(args.join(&b' '), expected.as_bytes());
            let mut call = Vec::new();
            pop.encode_call(&mut call, b"key", 0, &Wanted::Elements);
            let header = RequestHeader { asked: 7, ..RequestHeader::new(Protocol::Resp3, 3, 8) };
            assert_eq!(request::decode(&call, &mut ArgList::new()), Some(header));
        }
    }

    #[test]
    fn entries_are_wanted_behind_an_id_for_each_key() {
        let pop = Pop {
            command: 7,
            call: 8,
            protocol: Protocol::Resp2,
            db: 0,
            kind: Type::Stream,
            has_destination: false,
            is_counted: false,
            before: vec![b"STREAMS".as_slice().into()],
            after: Vec::new(),
        };
        let after = Wanted::EntriesAfter((1..4).map(|ms| StreamId { ms, sequence: 9 }).collect());
        let keys = || [&b"a"[..], b"b"].into_iter();
        for (wanted, whole, call) in [
            (after.of_keys(&[2, 0]), "STREAMS a b 3-9 1-9", "STREAMS b 1-9"),
            (Wanted::EntriesFor(b"g".as_slice().into()).of_keys(&[1]), "STREAMS a b > >", "STREAMS b >"),
        ] {
            let (mut out, mut args) = (Vec::new(), ArgList::new());
            pop.encode(&mut out, keys(), &wanted);
            request::decode(&out, &mut args).unwrap();
            assert_eq!(args.join(&b' '), whole.as_bytes());
            let (mut out, mut args) = (Vec::new(), ArgList::new());
            pop.encode_call(&mut out, b"b", 1, &wanted);
            request::decode(&out, &mut args).unwrap();
            assert_eq!(args.join(&b' '), call.as_bytes());
        }
    }
}
