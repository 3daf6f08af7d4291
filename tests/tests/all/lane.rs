//! A lane: commands on the keys of one slot, sent by one connection, so that they take effect in the order they were sent.
//!
//! That order is what makes a crash checkable to the byte: whatever survives must be what a *prefix* of the commands sent makes of
//! the keys, and the prefix must hold every acknowledged command. A lost acknowledged write, a command applied twice, half an
//! `MSET`, a hole in the middle: each leaves keys that no such prefix explains.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use basalt_tests::{Client, Reply};
use rand::RngExt as _;
use rand::rngs::SmallRng;

/// One command of a lane. The number is never used twice in a lane, so that a command that was lost in one crash and comes back
/// after another is seen.
#[derive(Debug, Clone, Copy)]
enum Step {
    Increment,
    Append(u64),
    Push(u64),
    Pop,
    SetPair(u64),
    SetOne(u64),
    SetField(u64),
    Score(u64),
    AddEntry(u64),
    Clear,
}

/// The content of a lane's keys.
#[derive(Debug, Clone, Default, PartialEq)]
struct Keys {
    counter: i64,
    text: String,
    list: VecDeque<u64>,
    pair: [Option<u64>; 2],
    one: Option<u64>,
    fields: BTreeMap<u64, u64>,
    scores: BTreeMap<u64, u64>,
    entries: Vec<u64>,
}

/// Fields of the hash and members of the sorted set.
const FIELDS: u64 = 4;

const NAMES: [&str; 9] = ["counter", "text", "list", "a", "b", "one", "hash", "zset", "stream"];

/// The commands of a lane, and how many of them were answered.
#[derive(Debug)]
pub struct Lane {
    tag: String,
    next_number: u64,
    /// The keys as the answered commands leave them.
    acknowledged: Keys,
    acknowledged_count: u64,
    /// Sent and not answered, the oldest first.
    outstanding: VecDeque<Step>,
    cleared: bool,
}

/// Number of commands that were not acknowledged, and of those among them that had taken effect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unanswered {
    pub count: u64,
    pub survived: u64,
}

impl Lane {
    /// A lane on keys that do not exist, which share the hash tag `tag`.
    pub fn new(tag: String) -> Lane {
        Lane {
            tag,
            next_number: 1,
            acknowledged: Keys::default(),
            acknowledged_count: 0,
            outstanding: VecDeque::new(),
            cleared: false,
        }
    }

    /// Number of commands that were acknowledged.
    pub fn acknowledged_count(&self) -> u64 {
        self.acknowledged_count
    }

    /// Adds a command to what is to be sent.
    pub fn send(&mut self, random: &mut SmallRng, out: &mut Vec<u8>) {
        let number = self.next_number;
        self.next_number += 1;
        let step = match random.random_range(0..20) {
            0..4 => Step::Increment,
            4..8 => Step::Append(number),
            8..11 => Step::Push(number),
            11 => Step::Pop,
            12..14 => Step::SetPair(number),
            14 => Step::SetOne(number),
            15 => Step::SetField(number),
            16 => Step::Score(number),
            17..19 => Step::AddEntry(number),
            _ if number.is_multiple_of(8) => Step::Clear,
            _ => Step::SetOne(number),
        };
        let key = |name: &str| format!("{{{}}}:{name}", self.tag);
        let text = number.to_string();
        let field = (number % FIELDS).to_string();
        match step {
            Step::Increment => Client::encode(out, ["INCR", &key("counter")]),
            Step::Append(_) => Client::encode(out, ["APPEND", &key("text"), &format!("{number};")]),
            Step::Push(_) => Client::encode(out, ["RPUSH", &key("list"), &text]),
            Step::Pop => Client::encode(out, ["LPOP", &key("list")]),
            Step::SetPair(_) => Client::encode(out, ["MSET", &key("a"), &text, &key("b"), &text]),
            Step::SetOne(_) => Client::encode(out, ["SET", &key("one"), &text, "GET"]),
            Step::SetField(_) => Client::encode(out, ["HSET", &key("hash"), &field, &text]),
            Step::Score(_) => Client::encode(out, ["ZADD", &key("zset"), &text, &field]),
            Step::AddEntry(_) => Client::encode(out, ["XADD", &key("stream"), &format!("{number}-1"), "n", &text]),
            Step::Clear => Client::encode(out, ["DEL", &key("text"), &key("list")]),
        }
        self.outstanding.push_back(step);
    }

    /// Takes the reply to the oldest command that is not answered; returns whether it was executed. It was not when it is answered
    /// `BUSY`, which is right while the disk stands still.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn acknowledge(&mut self, reply: &Reply) -> Result<bool, String> {
        let step = self.outstanding.pop_front().expect("a reply answers a command");
        if reply.is_error("BUSY ") {
            return Ok(false);
        }
        let expected = self.acknowledged.apply(step);
        if *reply != expected {
            return Err(format!("{}: {step:?} was answered {reply:?} instead of {expected:?}", self.tag));
        }
        self.acknowledged_count += 1;
        Ok(true)
    }

    /// Reads the keys and finds out how many of the commands without an answer had taken effect. The lane goes on from there.
    ///
    /// # Errors
    /// What the keys hold, when no prefix of the commands explains it.
    pub fn check(&mut self, client: &mut Client) -> io::Result<Result<Unanswered, String>> {
        let found = match self.read(client)? {
            Ok(found) => found,
            Err(reply) => return Ok(Err(format!("{}: {reply:?}", self.tag))),
        };
        let mut unanswered = Unanswered { count: self.outstanding.len() as u64, survived: 0 };
        let mut keys = self.acknowledged.clone();
        let mut steps = self.outstanding.iter();
        while keys != found {
            let Some(&step) = steps.next() else {
                let (tag, count, sent) = (&self.tag, self.acknowledged_count, &self.outstanding);
                let expected = &self.acknowledged;
                return Ok(Err(format!(
                    "{tag}: {count} commands were acknowledged and {sent:?} sent;\nfound    {found:?},\nexpected {expected:?}, or what the commands sent make of it"
                )));
            };
            keys.apply(step);
            unanswered.survived += 1;
        }
        self.acknowledged = keys;
        self.outstanding.clear();
        Ok(Ok(unanswered))
    }

    fn read(&self, client: &mut Client) -> io::Result<Result<Keys, Reply>> {
        let key = |name: &str| format!("{{{}}}:{name}", self.tag);
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, ["MGET", &key("counter"), &key("text"), &key("a"), &key("b"), &key("one")]);
        Client::encode(&mut bytes, ["LRANGE", &key("list"), "0", "-1"]);
        Client::encode(&mut bytes, ["HGETALL", &key("hash")]);
        Client::encode(&mut bytes, ["ZRANGE", &key("zset"), "0", "-1", "WITHSCORES"]);
        Client::encode(&mut bytes, ["XRANGE", &key("stream"), "-", "+"]);
        client.send(&bytes)?;
        let mut replies = Vec::new();
        for _ in 0..5 {
            match client.read()? {
                Reply::Error(text) => return Ok(Err(Reply::Error(text))),
                reply => replies.push(reply),
            }
        }
        let strings = replies[0].elements();
        let optional = |reply: &Reply| (*reply != Reply::Null).then(|| reply.text());
        let number = |reply: &Reply| reply.text().parse::<u64>().expect("only numbers were written");
        let pairs = |reply: &Reply| reply.elements().chunks(2).map(|two| (number(&two[0]), number(&two[1]))).collect();
        Ok(Ok(Keys {
            counter: optional(&strings[0]).map_or(0, |text| text.parse().expect("INCR makes numbers")),
            text: optional(&strings[1]).unwrap_or_default(),
            pair: [&strings[2], &strings[3]].map(|reply| optional(reply).map(|_| number(reply))),
            one: optional(&strings[4]).map(|_| number(&strings[4])),
            list: replies[1].elements().iter().map(number).collect(),
            fields: pairs(&replies[2]),
            scores: pairs(&replies[3]),
            entries: replies[4].elements().iter().map(|entry| number(&entry.elements()[1].elements()[1])).collect(),
        }))
    }

    /// Deletes the keys. A lane that was cleared takes no more commands.
    ///
    /// # Errors
    /// Those of the connection; the keys may then be there or not, and the lane cannot be checked.
    pub fn clear(&mut self, client: &mut Client) -> io::Result<()> {
        let keys = NAMES.map(|name| format!("{{{}}}:{name}", self.tag));
        let unlink = ["UNLINK".to_owned()];
        let reply = client.try_pipeline_patiently([unlink.iter().chain(&keys)])?.remove(0);
        assert!(matches!(reply, Reply::Integer(_)), "{}: UNLINK was answered {reply:?}", self.tag);
        self.acknowledged = Keys::default();
        self.cleared = true;
        Ok(())
    }

    /// Returns whether the keys were deleted.
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }
}

impl Keys {
    /// Does what the node is to do, and gives the reply that it is to give.
    fn apply(&mut self, step: Step) -> Reply {
        match step {
            Step::Increment => {
                self.counter += 1;
                Reply::Integer(self.counter)
            }
            Step::Append(number) => {
                self.text += &format!("{number};");
                Reply::Integer(self.text.len() as i64)
            }
            Step::Push(number) => {
                self.list.push_back(number);
                Reply::Integer(self.list.len() as i64)
            }
            Step::Pop => self.list.pop_front().map_or(Reply::Null, |number| Reply::bulk(number.to_string())),
            Step::SetPair(number) => {
                self.pair = [Some(number); 2];
                Reply::ok()
            }
            Step::SetOne(number) => {
                self.one.replace(number).map_or(Reply::Null, |number| Reply::bulk(number.to_string()))
            }
            Step::SetField(number) => Reply::Integer(i64::from(self.fields.insert(number % FIELDS, number).is_none())),
            Step::Score(number) => Reply::Integer(i64::from(self.scores.insert(number % FIELDS, number).is_none())),
            Step::AddEntry(number) => {
                self.entries.push(number);
                Reply::bulk(format!("{number}-1"))
            }
            Step::Clear => {
                let count = i64::from(!self.text.is_empty()) + i64::from(!self.list.is_empty());
                (self.text, self.list) = (String::new(), VecDeque::new());
                Reply::Integer(count)
            }
        }
    }
}
