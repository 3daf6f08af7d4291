//! A script, with one argument: it ends, and ends in the same way on every machine that has run others before.

#![no_main]

use std::cell::RefCell;

use basalt_lua::{Called, Engine, Host, Outcome, SHORT_SCRIPT_WORK, Script, Stop};
use libfuzzer_sys::fuzz_target;

/// Work that a script may do here: a thousandth of what it may on a node, so that many are tried.
const WORK: u64 = SHORT_SCRIPT_WORK / 1000;

thread_local! {
    static ENGINES: RefCell<[Engine; 2]> = RefCell::new([Engine::new(), Engine::new()]);
}

/// Answers a command by the word behind its name as it is: a reply of any shape, or none.
struct Parrot;

impl Host for Parrot {
    fn call(&mut self, args: &[&[u8]], _: bool, bytes_max: usize, work: &mut u64, reply: &mut Vec<u8>) -> Called {
        *work = work.saturating_sub(1);
        let [_, word, ..] = args else { return Called::Refused("Wrong number of args".to_owned()) };
        let whole = [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat();
        if whole.len() > bytes_max {
            return Called::TooLong;
        }
        *reply = whole;
        Called::Replied
    }

    fn may_call(&mut self, args: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(args.len() > 1)
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let Some((argument, text)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else { return };
    let script = Script { text, keys: &[b"key"], args: &[argument], seed: 1, work: WORK };
    ENGINES.with_borrow_mut(|engines| {
        let [first, second] = engines.each_mut().map(|engine| engine.run(&script, &mut Parrot));
        assert_ne!(first, Outcome::Stopped(Stop::Panic), "the engine has panicked");
        // What is no number is not equal to itself, and is written as any other.
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "a script does the same each time");
    });
});
