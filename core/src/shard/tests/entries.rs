//! Entries that are applied: whom they answer, and rows that they wait for.

use basalt_storage::keyspace::{Keyspace, Scratch, VersionSource};

use super::*;

#[test]
fn an_entry_answers_the_batch_it_was_proposed_with_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    // The first is lost with the leadership, which its outcome tells later.
    machine.in_flight.borrow_mut().extend([pending(4, 3), pending(5, 1), pending(6, 2)]);
    let mut apply = |index, commands: &[&[&str]], ticket| {
        let replies = whole(machine.apply(EntryId { term: 1, index }, &entry(commands), ticket).unwrap());
        let applied: Vec<bool> = machine.in_flight.borrow().iter().map(|batch| batch.applied).collect();
        (String::from_utf8(replies.bytes).unwrap(), applied)
    };

    let others = apply(1, &[&["SET", "a", "1"], &["SET", "b", "2"]], None);
    let own = apply(2, &[&["INCR", "a"]], Some(5));
    let after = apply(3, &[&["INCR", "b"], &["INCR", "a"]], Some(6));

    assert_eq!(others, (String::new(), vec![false, false, false]), "an entry of another leader");
    assert_eq!(own, (":2\r\n".to_owned(), vec![false, true, false]));
    assert_eq!(after, (":3\r\n:3\r\n".to_owned(), vec![false, true, true]));
}

#[test]
fn commands_that_change_rows_are_unsaved_until_their_generation_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let apply = |machine: &mut ShardMachine, index, commands: &[&[&str]]| {
        whole(machine.apply(EntryId { term: 1, index }, &entry(commands), None).unwrap());
        machine.store.set_applied(index, b"id", None);
    };
    apply(&mut machine, 1, &[&["SET", "a", "1"], &["INCR", "a"], &["RPUSH", "list", "x", "y"]]);
    // These change nothing.
    apply(&mut machine, 2, &[&["DEL", "none"], &["SETNX", "a", "1"], &["INCR", "list"]]);
    assert_eq!((machine.store.unsaved_changes(), machine.store.generations_written()), (3, 0));

    let job = machine.store.freeze().expect("there is something to write");
    apply(&mut machine, 3, &[&["SET", "b", "1"]]);
    assert_eq!(machine.store.unsaved_changes(), 4, "it is not on disk yet");
    drop(machine.store.finish(job.run()).unwrap());
    assert_eq!((machine.store.unsaved_changes(), machine.store.generations_written()), (1, 1));
}

#[test]
fn an_entry_waits_for_rows_and_goes_on_where_it_stood() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(10_000);
    // Opening reads what is first and what is last, and their blocks with them.
    let fillers: Vec<String> = (0..100).map(|number| format!("filler:{number}")).collect();
    let mut fill: Vec<Vec<&str>> = fillers.iter().map(|key| vec!["SET", key, &value]).collect();
    fill.extend([vec!["RPUSH", "list", &value, "b"], vec!["SET", "text", "1"], vec!["SADD", "set", "a", "b"]]);
    let fill = entry(&fill.iter().map(Vec::as_slice).collect::<Vec<_>>());
    whole(machine.apply(EntryId { term: 1, index: 1 }, &fill, None).unwrap());
    machine.core = Some((server_alone(), CORE));
    let mut machine = reopen(machine, directory.path(), 1, 64 << 20);
    let mut batch = pending(0, 4);
    batch.reads = command(&["GET", "text"]);
    let read = 0..batch.reads.len();
    machine.in_flight.borrow_mut().push_back(batch);
    let bytes = entry(&[&["INCR", "counter"], &["LPOP", "list"], &["INCR", "counter"], &["SPOP", "set", "5"]]);
    let (id, mut pauses, mut counters) = (EntryId { term: 1, index: 2 }, 0, Vec::new());

    let replies = loop {
        match machine.apply(id, &bytes, Some(0)).unwrap() {
            Executed::Whole(replies) => break replies,
            Executed::Cold { read, pins } => fetch(&mut machine, &read, pins),
            Executed::Later(_) => panic!("there are no views"),
        }
        assert!(machine.store.freeze().is_none(), "half an entry may be frozen");
        assert!(!machine.in_flight.borrow()[0].applied, "reads behind it must wait");
        let mut counter = Vec::new();
        machine.reading(1, |execution| {
            execution.run(&command(&["GET", "counter"]), &mut NamesLooked::default(), &mut counter).is_ok()
        });
        counters.push(String::from_utf8(counter).unwrap());
        if pauses == 0 {
            // It came while the entry waited.
            let operation = Operation { origin: Some(origin(4)), read: Some(read.clone()), returns_values: true };
            machine.in_flight.borrow_mut()[0].operations.push(operation);
        }
        pauses += 1;
    };

    let text = String::from_utf8(replies.bytes).unwrap();
    assert_eq!(text, format!(":1\r\n$10000\r\n{value}\r\n:2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\n1\r\n"));
    assert_eq!(replies.ends.len(), 5);
    assert!(counters.contains(&"$1\r\n1\r\n".to_owned()), "it never stood between its commands: {counters:?}");
    assert_eq!((machine.pauses, machine.store.disk_waits()), (pauses, 0));
    assert!(machine.in_flight.borrow()[0].applied);
}

#[test]
fn entries_that_wait_for_rows_come_to_the_same_as_those_that_find_them_in_memory() {
    assert_eq!(compare(RandomCommands::with_drawing(11), 3000, 64 << 20), 0, "nothing is evicted");
}

/// With commands on deadlines of fields among the others. How often rows are kept is no matter here, only what comes of it.
#[test]
fn entries_on_deadlines_of_fields_come_to_the_same_as_those_that_find_their_rows_in_memory() {
    compare(RandomCommands::with_newer(12), 1500, 64 << 20);
}

#[test]
fn entries_whose_rows_no_cache_holds_come_to_the_same_as_those_that_find_them_in_memory() {
    let pins = compare(RandomCommands::with_newer(11), 1500, 1 << 20);
    assert!(pins > 100, "rows were kept {pins} times");
}

#[test]
fn entries_of_another_version_stop_the_shard_and_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))).unwrap();
    let mut machine = ShardMachine::new(store);
    let mut batch = Vec::new();
    batch::begin(&mut batch);
    batch[0] = 9;
    let mut unknown = Vec::new();
    batch::begin(&mut unknown);
    let header = RequestHeader::new(Protocol::Resp2, 0, 1000);
    batch::push(&mut unknown, |out| request::encode(out, header, [b"key".as_slice()].into_iter()));
    for (bytes, expected) in [
        (&batch, "the entry is a batch of version 9, this program reads up to version 3"),
        (&unknown, "it holds a command this version does not know"),
    ] {
        let refusal = machine.apply(EntryId { term: 1, index: 7 }, bytes, None).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn entries_of_programs_that_packed_nothing_make_what_those_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let mut index = 0;
    let mut apply = |packs: bool, commands: &[&[&str]]| {
        index += 1;
        let mut entry = entry(commands);
        assert_eq!(entry[..2], [3, 12], "batches of this program say that they pack and count");
        entry[1] = if packs { 4 } else { 0 };
        machine.in_flight.borrow_mut().push_back(pending(index, commands.len() as u32));
        let replies = whole(machine.apply(EntryId { term: 1, index }, &entry, Some(index)).unwrap());
        String::from_utf8(replies.bytes).unwrap()
    };
    let (listpack, hashtable) = ("$8\r\nlistpack\r\n", "$9\r\nhashtable\r\n");
    assert_eq!(apply(false, &[&["HSET", "old", "f", "v"], &["SADD", "set", "1"]]), ":1\r\n:1\r\n");
    let look: [&[&str]; 3] =
        [&["OBJECT", "ENCODING", "old"], &["OBJECT", "ENCODING", "new"], &["OBJECT", "ENCODING", "set"]];
    assert_eq!(apply(true, &[&["HSET", "new", "f", "v"], &["HSET", "old", "g", "w"], &["SADD", "set", "2"]]).len(), 12);
    assert_eq!(apply(true, &look), [hashtable, listpack, hashtable].concat());
    // Another entry of before, as of a leader that was not replaced yet.
    assert_eq!(apply(false, &[&["HSET", "new", "g", "w"], &["COPY", "new", "set", "REPLACE"]]), ":1\r\n:1\r\n");
    assert_eq!(apply(true, &look), [hashtable, hashtable, hashtable].concat());
    assert_eq!(apply(true, &[&["HGET", "set", "f"], &["HLEN", "new"]]), "$1\r\nv\r\n:2\r\n");
}

#[test]
fn entries_of_programs_that_counted_nothing_give_no_set_a_tree_and_keep_those_right_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let mut index = 0;
    let mut apply = |machine: &mut ShardMachine, counts: bool, command: &[&str]| {
        index += 1;
        let mut entry = entry(&[command]);
        entry[1] = if counts { 12 } else { 4 };
        machine.in_flight.borrow_mut().push_back(pending(index, 1));
        let replies = whole(machine.apply(EntryId { term: 1, index }, &entry, Some(index)).unwrap());
        String::from_utf8(replies.bytes).unwrap()
    };
    // Bytes of a sorted set's metadata: a tree adds some.
    let metadata_bytes = |machine: &mut ShardMachine| {
        let mut scratch = Scratch::default();
        let keyspace = Keyspace::new(&mut machine.store, &mut scratch, VersionSource::none(), 0, 1000);
        keyspace.record(b"z").unwrap().unwrap().body().len()
    };
    let numbers: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let add = |range: std::ops::Range<usize>| {
        let pairs = numbers[range].iter().flat_map(|number| [number.as_str(), number.as_str()]);
        ["ZADD", "z"].into_iter().chain(pairs).collect::<Vec<_>>()
    };
    assert_eq!(apply(&mut machine, false, &add(0..2000)), ":2000\r\n");
    assert_eq!(apply(&mut machine, false, &add(2000..2100)), ":100\r\n");
    let without = metadata_bytes(&mut machine);
    assert_eq!(apply(&mut machine, true, &add(2100..2200)), ":100\r\n");
    let with = metadata_bytes(&mut machine);
    assert!(with > without, "{with} bytes of metadata with a tree, {without} without");
    assert_eq!(apply(&mut machine, false, &add(2200..3000)), ":800\r\n");
    assert_eq!(apply(&mut machine, false, &["ZREM", "z", "5", "2500", "2999"]), ":3\r\n");
    assert!(metadata_bytes(&mut machine) >= with);
    for (command, expected) in [
        (&["ZRANK", "z", "2998"][..], ":2996\r\n"),
        (&["ZREVRANK", "z", "2998"], ":0\r\n"),
        (&["ZCOUNT", "z", "4", "(2501"], ":2495\r\n"),
        (&["ZRANGE", "z", "1500", "1500"], "*1\r\n$4\r\n1501\r\n"),
    ] {
        assert_eq!(apply(&mut machine, true, command), expected, "{command:?}");
    }
}
