//! Scripts in batches: how many one takes, turns of the core between them, and rows that they find on disk.

use basalt_lua::SHORT_SCRIPT_WORK;

use super::*;
use crate::commands::scripts::{Reach, Terms};
use crate::commands::table::{STEP_SCRIPT, STEP_SCRIPT_RO};

/// A script that takes as long as one may.
const ENDLESS: &str = "while true do end";

/// A script as a core sends it to its shard.
pub(super) fn script(id: u16, text: &str) -> Vec<u8> {
    script_of(id, text, &[])
}

/// The same with keys that it declares.
pub(super) fn script_of(id: u16, text: &str, keys: &[&str]) -> Vec<u8> {
    let terms = Terms {
        is_read_only: id == STEP_SCRIPT_RO,
        in_cluster: false,
        reach: Reach::All,
        stops_elsewhere: false,
        is_wide: true,
        work: SHORT_SCRIPT_WORK,
        rights: None,
    };
    let header = RequestHeader { seed: Some(1), ..RequestHeader::new(Protocol::Resp2, 0, id) };
    let (mut bytes, terms) = (Vec::new(), terms.encode());
    let count = keys.len().to_string();
    let args = [&terms[..], text.as_bytes(), count.as_bytes()].into_iter().chain(keys.iter().map(|key| key.as_bytes()));
    let args: Vec<&[u8]> = args.collect();
    request::encode(&mut bytes, header, args.into_iter());
    bytes
}

/// Submits a request as often as the shard has room for it.
fn fill(shard: &mut Shard, host: &mut Host, mode: Mode, bytes: &[u8]) -> u64 {
    let mut count = 0;
    while shard.has_room_for(mode) && count < 1000 {
        shard.submit(origin(1), mode, bytes, 1, host);
        count += 1;
    }
    count
}

#[test]
fn a_batch_takes_scripts_by_the_work_that_they_may_do() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let most = limits::BATCH_SCRIPT_WORK_MAX / SHORT_SCRIPT_WORK;
        let one = script(STEP_SCRIPT, "return 1");
        let exec = transaction(None, &[command(&["GET", "key"]), one.clone()]);
        for bytes in [&one, &exec] {
            assert_eq!(fill(&mut shard, &mut host, Mode::Write, bytes), most);
            settle(&mut shard, &mut host).await;
        }
        // Reads among writes are applied with them.
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "value"]), 1, &mut host);
        let read = script(STEP_SCRIPT_RO, "return 1");
        assert_eq!(fill(&mut shard, &mut host, Mode::ReadInOrder, &read), most);
        settle(&mut shard, &mut host).await;
        assert_eq!(host.replies.len() as u64, 3 * most + 1);
        // So are those behind a batch that is on its way.
        *shard.batches.in_flight.borrow_mut() = stuck();
        assert_eq!(fill(&mut shard, &mut host, Mode::ReadInOrder, &read), most);
    });
}

#[test]
fn a_core_has_turns_between_the_scripts_of_a_batch() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        let count = fill(&mut shard, &mut host, Mode::Write, &script(STEP_SCRIPT, ENDLESS));
        let write = script(STEP_SCRIPT, "return redis.call('incr', 'key')");
        shard.submit(origin(2), Mode::Write, &write, 1, &mut host);
        let began = Instant::now();
        settle(&mut shard, &mut host).await;
        let pauses = shard.machine.borrow().pauses;
        println!("{count} scripts in {:?}, with {pauses} turns between", began.elapsed());
        assert!(pauses > 1 || began.elapsed() < 2 * limits::SCRIPTS_TURN, "{pauses} turns in {:?}", began.elapsed());
        assert_eq!(host.replies.len() as u64, count + 1);
        assert_eq!(host.replies.last().unwrap().1, ":1\r\n", "each is executed once");
    });
}

#[test]
fn rows_on_disk_that_a_script_needs_are_fetched_together() {
    const KEYS: usize = 500;
    with_shard(log_options(), |mut shard| async move {
        let names: Vec<String> = (0..KEYS).map(|number| format!("name:{number}")).collect();
        let fill: Vec<&str> = ["MSET"].into_iter().chain(names.iter().flat_map(|name| [name, "7"])).collect();
        for (id, mode) in [(STEP_SCRIPT, Mode::Write), (STEP_SCRIPT_RO, Mode::Read)] {
            put_on_disk(&mut shard, &[&fill]).await;
            let sum = "local n = 0 for i = 0, 499 do n = n + redis.call('get', 'name:' .. i) end return n";
            let mut host = Host::default();
            shard.submit(origin(1), mode, &script(id, sum), 1, &mut host);
            let mut rounds = 0;
            while host.replies.is_empty() {
                rounds += usize::from(!host.warms.is_empty());
                fetch_all(&mut shard, &mut host);
                shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
                shard.group.drain_completions();
                glommio::timer::sleep(limits::HELD_RETRY).await;
                shard.take_outcomes(1, &mut host);
                assert!(rounds < KEYS, "each row is fetched by itself");
            }
            assert_eq!(host.replies[0].1, format!(":{}\r\n", 7 * KEYS));
            assert!((1..=limits::SCRIPT_COLD_ROUNDS_MAX as usize).contains(&rounds), "{rounds} rounds");
        }
    });
}

#[test]
fn a_script_that_goes_on_without_a_row_has_done_nothing_with_what_it_takes_for_it() {
    with_shard(log_options(), |mut shard| async move {
        put_on_disk(&mut shard, &[&["MSET", "here", "1", "other", "2"], &["RPUSH", "list", "a", "b"]]).await;
        let mut host = Host::default();
        for text in [
            "if redis.call('get', 'here') == '1' then return 1 end redis.call('set', 'wrong', 1) error('wrong')",
            "if redis.call('get', 'other') == '2' then return 1 end while true do redis.call('rpush', 'wrong', 1) end",
            "if redis.call('lrange', 'list', 0, -1)[1] == 'a' then return 1 end return redis.call('lpop', 'list')",
        ] {
            shard.submit(origin(1), Mode::Write, &script(STEP_SCRIPT, text), 1, &mut host);
            let count = host.replies.len() + 1;
            run_until_replied(&mut shard, &mut host, count).await;
            assert_eq!(host.replies.last().unwrap().1, ":1\r\n", "{text}");
        }
        shard.submit(origin(1), Mode::Read, &command(&["EXISTS", "wrong"]), 1, &mut host);
        assert_eq!(host.replies.last().unwrap().1, ":0\r\n");
    });
}

#[test]
fn a_script_may_change_a_small_collection_as_often_as_it_has_time() {
    const TEXT: &str = "for i = 1, 60 do redis.call('hset', 'h', 'field:' .. i, 'a value of that hash') end \
                        redis.call('hset', 'h', 'n', 0) \
                        for i = 1, 1200 do redis.call('hincrby', 'h', 'n', 1) end \
                        return redis.call('hget', 'h', 'n')";
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        shard.submit(origin(1), Mode::Write, &script(STEP_SCRIPT, TEXT), 1, &mut host);
        settle(&mut shard, &mut host).await;
        assert_eq!(host.replies, [(1, "$4\r\n1200\r\n".to_owned())], "it reads and writes more than four megabytes");
    });
}
