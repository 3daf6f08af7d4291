//! Bytes that a script reads with the libraries for values: JSON, MessagePack, C structures; and writes again.

#![no_main]

use std::cell::RefCell;

use basalt_lua::{Called, Engine, Host, Outcome, SHORT_SCRIPT_WORK, Script, Stop, Value};
use libfuzzer_sys::fuzz_target;

/// Scripts that read the argument, the second of which is a format. Each returns a text if something does not hold.
const SCRIPTS: &[&str] = &[
    "local ok, value = pcall(cjson.decode, ARGV[1]) if not ok then return 0 end
     local ok, text = pcall(cjson.encode, value) if not ok then return 0 end
     local ok, again = pcall(cjson.decode, text) if not ok then return 'unreadable: ' .. text end
     if cjson.encode(again) ~= text then return 'another: ' .. text end return 0",
    "local ok, value = pcall(cmsgpack.unpack, ARGV[1]) if not ok then return 0 end
     local ok, bytes = pcall(cmsgpack.pack, value) if not ok then return 0 end
     local ok = pcall(cmsgpack.unpack, bytes) if not ok then return 'unreadable' end return 0",
    "pcall(cmsgpack.unpack_limit, ARGV[1], 3, #ARGV[2]) pcall(cmsgpack.unpack_one, ARGV[1], #ARGV[2]) return 0",
    "pcall(struct.unpack, ARGV[2], ARGV[1]) pcall(struct.size, ARGV[2]) pcall(struct.pack, ARGV[2], ARGV[1], 1, 2, 3) return 0",
    "pcall(string.format, ARGV[2], ARGV[1], 1, 2.5, ARGV[1]) pcall(string.find, ARGV[1], ARGV[2])
     pcall(string.gsub, ARGV[1], ARGV[2], ARGV[2]) pcall(tonumber, ARGV[1]) pcall(tonumber, ARGV[1], 36) return 0",
];

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new());
}

struct Nobody;

impl Host for Nobody {
    fn call(&mut self, _: &[&[u8]], _: bool, _: usize, _: &mut u64, _: &mut Vec<u8>) -> Called {
        Called::Refused("nobody is here".to_owned())
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        None
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else { return };
    let Some((format, bytes)) = rest.split_at_checked(usize::from(length)) else { return };
    ENGINE.with_borrow_mut(|engine| {
        for text in SCRIPTS {
            let args = [bytes, format];
            let script = Script { text: text.as_bytes(), keys: &[], args: &args, seed: 1, work: SHORT_SCRIPT_WORK / 100 };
            match engine.run(&script, &mut Nobody) {
                Outcome::Returned(Value::Integer(0)) | Outcome::Stopped(Stop::Work | Stop::Memory) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    });
});
