//! Events of keys: made by what is applied, once, and not by what is undone, run again, or was applied in an earlier run.

use super::*;

const ALL: u16 = u16::MAX;

/// The events that wait, in their order: database, event and key.
pub(super) fn events(machine: &ShardMachine) -> Vec<String> {
    let mut events = Vec::new();
    let mut note = |event: KeyEvent<'_>| {
        let [name, key] = [event.event, event.key].map(String::from_utf8_lossy);
        events.push(format!("{} {name} {key}", event.db));
    };
    while machine.scratch.take_event(&mut note) {}
    events
}

fn batch_of(index: u64, lines: &[&[&str]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::begin(&mut bytes);
    for line in lines {
        batch::push(&mut bytes, |out| out.extend_from_slice(&command(line)));
    }
    batch::seal(&mut bytes, 1, index, STRING_BYTES_MAX);
    bytes
}

#[test]
fn what_the_log_had_at_the_start_is_told_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    machine.scratch.tell(EventClasses::of_bits(ALL));
    machine.told_until = 2;
    for index in 1..=3 {
        let bytes = batch_of(index, &[&["SET", &format!("k{index}"), "v"], &["GET", "none"]]);
        whole(machine.apply(EntryId { term: 1, index }, &bytes, None).unwrap());
        machine.store.set_applied(index, b"id", None);
    }
    assert_eq!(events(&machine), ["0 new k3", "0 set k3", "0 keymiss none"]);
}

#[test]
fn without_somebody_who_wants_to_hear_nothing_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let bytes = batch_of(1, &[&["SET", "k", "v"], &["LPUSH", "l", "a"], &["LPOP", "l"], &["GET", "none"]]);
    whole(machine.apply(EntryId { term: 1, index: 1 }, &bytes, None).unwrap());
    assert!(!machine.scratch.has_events());
    machine.scratch.tell(EventClasses::LIST);
    let bytes = batch_of(2, &[&["SET", "k", "v"], &["LPUSH", "l", "a"], &["LPOP", "l"], &["GET", "none"]]);
    machine.store.set_applied(1, b"id", None);
    whole(machine.apply(EntryId { term: 1, index: 2 }, &bytes, None).unwrap());
    assert_eq!(events(&machine), ["0 lpush l", "0 lpop l"]);
}

/// Rows that are on disk have a script and a transaction begin anew; a script that does too much is undone.
#[test]
fn what_begins_anew_is_told_once_and_what_is_undone_not_at_all() {
    with_shard(log_options(), |mut shard| async move {
        put_on_disk(&mut shard, &[&["MSET", "a", "1", "b", "2", "c", "3"], &["RPUSH", "list", "x"]]).await;
        shard.tell_key_events(EventClasses::of_bits(ALL).without(EventClasses::MISS));
        let mut host = Host::default();
        let text = "redis.call('incr', 'a') redis.call('lpop', 'list') redis.call('set', 'new', 1) return redis.call('incr', 'b')";
        shard.submit(origin(1), Mode::Write, &scripts::script(table::STEP_SCRIPT, text), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 1).await;
        assert_eq!(host.replies[0].1, ":3\r\n");
        let expected = ["0 incrby a", "0 lpop list", "0 del list", "0 new new", "0 set new", "0 incrby b"];
        assert_eq!(events(&shard.machine.borrow()), expected);
        let endless = "redis.call('set', 'a', 'undone') while true do redis.call('incr', 'b') end";
        shard.submit(origin(1), Mode::Write, &scripts::script(table::STEP_SCRIPT, endless), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 2).await;
        assert!(host.replies[1].1.starts_with("-ERR the script was stopped and undone"), "{:?}", host.replies[1]);
        assert_eq!(events(&shard.machine.borrow()), [""; 0]);
        put_on_disk(&mut shard, &[&["MSET", "a", "1", "b", "2", "c", "3"]]).await;
        shard.forget_key_events();
        let lines = [&["GETSET", "a", "5"][..], &["LPUSH", "a", "x"], &["DEL", "b", "none"], &["GETDEL", "c"]];
        let whole = transactions::exec(None, &lines);
        shard.submit(origin(1), Mode::Write, &whole, 1, &mut host);
        run_until_replied(&mut shard, &mut host, 3).await;
        assert_eq!(events(&shard.machine.borrow()), ["0 set a", "0 del b", "0 del c"]);
    });
}
