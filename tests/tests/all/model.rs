//! A model of the keys that one connection has to itself: what each command is to answer.

use std::collections::{BTreeMap, VecDeque};

use basalt_tests::Reply;
use rand::RngExt as _;
use rand::rngs::SmallRng;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_INTEGER: &str = "ERR value is not an integer or out of range";
const NO_KEY: &str = "ERR no such key";

type Word = Vec<u8>;
/// A database and a key.
type Place = (u8, Word);

#[derive(Debug, Clone)]
enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

/// The keys and the selected database.
pub struct Model {
    prefix: String,
    key_count: u32,
    value_bytes: usize,
    db: u8,
    values: BTreeMap<Place, Value>,
    written: u64,
}

fn words<const N: usize>(parts: [&[u8]; N]) -> Vec<Word> {
    parts.into_iter().map(<[u8]>::to_vec).collect()
}

fn error(text: &str) -> Reply {
    Reply::Error(text.to_owned())
}

impl Model {
    /// A model of `key_count` keys that begin with `prefix`, with values of up to `value_bytes`.
    pub fn new(prefix: String, key_count: u32, value_bytes: usize) -> Model {
        Model { prefix, key_count, value_bytes, db: 0, values: BTreeMap::new(), written: 0 }
    }

    /// The selected database.
    pub fn db(&self) -> u8 {
        self.db
    }

    fn key(&self, random: &mut SmallRng) -> Word {
        format!("{}:{}", self.prefix, random.random_range(0..self.key_count)).into_bytes()
    }

    fn value(&mut self, random: &mut SmallRng) -> Vec<u8> {
        self.written += 1;
        if random.random_range(0..4) == 0 {
            let length = random.random_range(0..=self.value_bytes);
            return (0..length).map(|_| random.random()).collect();
        }
        self.written.to_string().into_bytes()
    }

    fn place(&self, key: &[u8]) -> Place {
        (self.db, key.to_vec())
    }

    fn text(&self, key: &[u8]) -> Result<Option<&Vec<u8>>, Reply> {
        match self.values.get(&self.place(key)) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::List(_)) => Err(error(WRONG_TYPE)),
            None => Ok(None),
        }
    }

    fn list(&mut self, key: &[u8]) -> Result<Option<&mut VecDeque<Vec<u8>>>, Reply> {
        match self.values.get_mut(&(self.db, key.to_vec())) {
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::Text(_)) => Err(error(WRONG_TYPE)),
            None => Ok(None),
        }
    }

    fn set(&mut self, key: &[u8], text: &[u8]) {
        self.values.insert(self.place(key), Value::Text(text.to_vec()));
    }

    /// A command, and the reply that it must have.
    pub fn next(&mut self, random: &mut SmallRng) -> (Vec<Word>, Reply) {
        let key = self.key(random);
        let (command, reply) = match random.random_range(0..26) {
            0..3 => self.write(key, random),
            3..6 => self.read(key),
            6 => self.increment(key),
            7 => self.append(key, random),
            8..10 => self.write_many(random),
            10..12 => self.read_many(random),
            12 => self.delete_many(random),
            13 => self.count_many(random),
            14..16 => self.push(key, random),
            16 => self.pop(key),
            17..19 => self.range(key),
            19 => self.rename(key, random),
            20 => self.copy(key, random),
            21 => self.read_and_delete(key),
            22 => self.type_of(key),
            23 => self.select(random),
            24 => (words([b"ECHO", &key]), Ok(Reply::Bulk(key))),
            _ => self.mistake(random),
        };
        (command, reply.unwrap_or_else(|refusal| refusal))
    }
}

/// A command, and its reply or the error that it must have instead.
type Turn = (Vec<Word>, Result<Reply, Reply>);

impl Model {
    fn write(&mut self, key: Word, random: &mut SmallRng) -> Turn {
        let value = self.value(random);
        let exists = self.values.contains_key(&self.place(&key));
        let (option, writes) = match random.random_range(0..6) {
            0 => (Some("NX"), !exists),
            1 => (Some("XX"), exists),
            _ => (None, true),
        };
        let mut command = words([b"SET", &key, &value]);
        command.extend(option.map(|option| option.as_bytes().to_vec()));
        if writes {
            self.set(&key, &value);
        }
        (command, Ok(if writes { Reply::ok() } else { Reply::Null }))
    }

    fn read(&mut self, key: Word) -> Turn {
        let reply = self.text(&key).map(|text| text.map_or(Reply::Null, Reply::bulk));
        (words([b"GET", &key]), reply)
    }

    fn increment(&mut self, key: Word) -> Turn {
        let text = self.text(&key).map(|text| text.cloned());
        let reply = text.and_then(|text| {
            let text = text.unwrap_or_else(|| b"0".to_vec());
            let number: Option<i64> = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            // "007" and "+7" are no integers to Redis.
            let number =
                number.filter(|number| number.to_string().as_bytes() == text).ok_or_else(|| error(NO_INTEGER))?;
            self.set(&key, (number + 1).to_string().as_bytes());
            Ok(Reply::Integer(number + 1))
        });
        (words([b"INCR", &key]), reply)
    }

    fn append(&mut self, key: Word, random: &mut SmallRng) -> Turn {
        let value = self.value(random);
        let text = self.text(&key).map(|text| text.cloned().unwrap_or_default());
        let reply = text.map(|mut text| {
            text.extend_from_slice(&value);
            self.set(&key, &text);
            Reply::Integer(text.len() as i64)
        });
        (words([b"APPEND", &key, &value]), reply)
    }

    fn keys(&self, random: &mut SmallRng) -> Vec<Word> {
        (0..random.random_range(1..8)).map(|_| self.key(random)).collect()
    }

    fn write_many(&mut self, random: &mut SmallRng) -> Turn {
        let mut command = words([b"MSET"]);
        for key in self.keys(random) {
            let value = self.value(random);
            self.set(&key, &value);
            command.extend([key, value]);
        }
        (command, Ok(Reply::ok()))
    }

    fn with_keys(name: &str, keys: &[Word]) -> Vec<Word> {
        [name.as_bytes().to_vec()].into_iter().chain(keys.iter().cloned()).collect()
    }

    fn read_many(&mut self, random: &mut SmallRng) -> Turn {
        let keys = self.keys(random);
        let read = |key: &Word| self.text(key).ok().flatten().map_or(Reply::Null, Reply::bulk);
        (Model::with_keys("MGET", &keys), Ok(Reply::Array(keys.iter().map(read).collect())))
    }

    fn delete_many(&mut self, random: &mut SmallRng) -> Turn {
        let keys = self.keys(random);
        let count = keys.iter().filter(|key| self.values.remove(&(self.db, key.to_vec())).is_some()).count();
        let name = if random.random_bool(0.5) { "DEL" } else { "UNLINK" };
        (Model::with_keys(name, &keys), Ok(Reply::Integer(count as i64)))
    }

    fn count_many(&mut self, random: &mut SmallRng) -> Turn {
        let keys = self.keys(random);
        let count = keys.iter().filter(|key| self.values.contains_key(&self.place(key))).count();
        let name = if random.random_bool(0.5) { "EXISTS" } else { "TOUCH" };
        (Model::with_keys(name, &keys), Ok(Reply::Integer(count as i64)))
    }

    fn push(&mut self, key: Word, random: &mut SmallRng) -> Turn {
        let value = self.value(random);
        let left = random.random_bool(0.5);
        let place = self.place(&key);
        let reply = self.list(&key).map(|list| list.map(std::mem::take).unwrap_or_default()).map(|mut list| {
            if left {
                list.push_front(value.clone())
            } else {
                list.push_back(value.clone())
            }
            let length = list.len() as i64;
            self.values.insert(place, Value::List(list));
            Reply::Integer(length)
        });
        (words([if left { b"LPUSH" } else { b"RPUSH" }, &key, &value]), reply)
    }

    fn pop(&mut self, key: Word) -> Turn {
        let popped = self.list(&key).map(|list| list.map(|list| (list.pop_front(), list.is_empty())));
        let reply = popped.map(|popped| match popped {
            Some((element, emptied)) => {
                if emptied {
                    self.values.remove(&self.place(&key));
                }
                element.map_or(Reply::Null, Reply::Bulk)
            }
            None => Reply::Null,
        });
        (words([b"LPOP", &key]), reply)
    }

    fn range(&mut self, key: Word) -> Turn {
        let reply = self.list(&key).map(|list| Reply::bulks(list.map(|list| list.clone()).unwrap_or_default()));
        (words([b"LRANGE", &key, b"0", b"-1"]), reply)
    }

    fn rename(&mut self, key: Word, random: &mut SmallRng) -> Turn {
        let to = self.key(random);
        let reply = match self.values.remove(&self.place(&key)) {
            Some(value) => {
                self.values.insert(self.place(&to), value);
                Ok(Reply::ok())
            }
            None => Err(error(NO_KEY)),
        };
        (words([b"RENAME", &key, &to]), reply)
    }

    fn copy(&mut self, key: Word, random: &mut SmallRng) -> Turn {
        let mut to = self.key(random);
        if to == key {
            to.extend_from_slice(b"-copy");
        }
        let value = self.values.get(&self.place(&key)).cloned();
        let exists = self.values.contains_key(&self.place(&to));
        let copied = match value {
            Some(value) if !exists => self.values.insert(self.place(&to), value).is_none(),
            _ => false,
        };
        (words([b"COPY", &key, &to]), Ok(Reply::Integer(i64::from(copied))))
    }

    fn read_and_delete(&mut self, key: Word) -> Turn {
        let reply = self.text(&key).map(|text| text.map_or(Reply::Null, Reply::bulk));
        if reply.is_ok() {
            self.values.remove(&self.place(&key));
        }
        (words([b"GETDEL", &key]), reply)
    }

    fn type_of(&mut self, key: Word) -> Turn {
        let name = match self.values.get(&self.place(&key)) {
            Some(Value::Text(_)) => "string",
            Some(Value::List(_)) => "list",
            None => "none",
        };
        (words([b"TYPE", &key]), Ok(Reply::Simple(name.to_owned())))
    }

    fn select(&mut self, random: &mut SmallRng) -> Turn {
        self.db = random.random_range(0..3);
        (words([b"SELECT", self.db.to_string().as_bytes()]), Ok(Reply::ok()))
    }

    fn mistake(&mut self, random: &mut SmallRng) -> Turn {
        match random.random_range(0..3) {
            0 => (words([b"GET"]), Err(error("ERR wrong number of arguments for 'get' command"))),
            1 => (words([b"NOSUCH", b"x"]), Err(error("ERR unknown command 'NOSUCH', with args beginning with: 'x' "))),
            _ => (words([b"SELECT", b"16"]), Err(error("ERR DB index is out of range"))),
        }
    }
}
