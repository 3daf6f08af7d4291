//! Tests of a shard whose clock steps, while it runs and over a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use basalt_raft::{EntryId, GroupOptions, Machine, NodeId};
use basalt_storage::Store;
use basalt_storage::log::{Durability, LogSyncer};

use super::tests::{CORE, Host, STRING_BYTES_MAX, command, log_options, origin, server, store, with_server};
use super::*;
use crate::commands::{Kind, table};
use crate::entry::request::Mode;

/// The time at which these tests begin, in Unix milliseconds.
const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A shard, and a clock that the test sets.
struct Scene {
    shard: Shard,
    host: Host,
    now_ms: u64,
}

impl Scene {
    fn new(shard: Shard) -> Scene {
        Scene { shard, host: Host::default(), now_ms: START_MS }
    }

    /// A turn of the core, but for the tick.
    async fn turn(&mut self) {
        self.shard.propose(Instant::now(), self.now_ms, STRING_BYTES_MAX, &mut self.host);
        self.shard.group.drain_completions();
        glommio::timer::sleep(limits::HELD_RETRY).await;
        self.shard.take_outcomes(self.now_ms, &mut self.host);
    }

    /// Submits a command, whose reply is `ticket`'s.
    fn submit(&mut self, ticket: u32, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let is_read = matches!(table::lookup(words[0].as_bytes()).unwrap().kind, Kind::Read(_));
        let mode = if is_read { Mode::Read } else { Mode::Write };
        self.shard.submit(origin(ticket), mode, &command(&words), self.now_ms, &mut self.host);
    }

    /// The reply to a command, with spaces in the place of line ends.
    async fn ask(&mut self, line: &str) -> String {
        self.submit(1, line);
        let deadline = Instant::now() + PATIENCE;
        while self.host.replies.is_empty() {
            assert!(Instant::now() < deadline, "no reply to {line}");
            self.turn().await;
        }
        let (_, reply) = self.host.replies.pop().unwrap();
        reply.replace("\r\n", " ").trim_end().to_owned()
    }

    /// Ticks until the shard has so many keys.
    async fn sweep_to(&mut self, keys: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.shard.machine.borrow().store.counters().keys[0] != keys {
            let found = self.shard.machine.borrow().store.counters().keys[0];
            assert!(Instant::now() < deadline, "{found} keys instead of {keys}");
            self.shard.tick(Instant::now(), self.now_ms, None, &mut self.host);
            self.turn().await;
        }
    }
}

#[test]
fn a_key_that_was_gone_stays_gone_when_the_clock_steps_back() {
    for writes_meanwhile in [false, true] {
        with_server(1, log_options(), |_, shard| async move {
            let mut scene = Scene::new(shard);
            assert_eq!(scene.ask("SET key 5 PX 1000").await, "+OK");
            assert_eq!(scene.ask("RPUSH list a").await, ":1");
            assert_eq!(scene.ask("PEXPIRE list 1000").await, ":1");
            scene.now_ms = START_MS + 1_001;
            if writes_meanwhile {
                assert_eq!(scene.ask("SET other value").await, "+OK");
            } else {
                assert_eq!(scene.ask("GET key").await, "$-1");
            }

            scene.now_ms = START_MS - HOUR_MS;

            assert_eq!(scene.ask("GET key").await, "$-1");
            assert_eq!(scene.ask("TTL key").await, ":-2");
            assert_eq!(scene.ask("EXISTS key list").await, ":0");
            assert_eq!(scene.ask("INCR key").await, ":1");
            assert_eq!(scene.ask("PTTL key").await, ":-1");
            assert_eq!(scene.ask("SET new value PX 500").await, "+OK");
            assert_eq!(scene.ask("PEXPIRETIME new").await, format!(":{}", START_MS + 1_501));
        });
    }
}

#[test]
fn a_clock_that_is_far_behind_is_reported_once_and_shown_as_long_as_it_is() {
    with_server(1, log_options(), |server, shard| async move {
        let mut scene = Scene::new(shard);
        assert_eq!(scene.ask("SET key value").await, "+OK");
        let behind_ms = |scene: &mut Scene, now_ms| {
            scene.now_ms = now_ms;
            scene.shard.tick(Instant::now(), now_ms, None, &mut scene.host);
            server.shards[0].clock_behind_ms.get()
        };
        assert_eq!(behind_ms(&mut scene, START_MS), 0);
        assert_eq!(behind_ms(&mut scene, START_MS - limits::CLOCK_BEHIND_MS), limits::CLOCK_BEHIND_MS);
        assert!(server.clock.is_newly_behind(true), "a few seconds are worth no warning");
        assert!(!server.clock.is_newly_behind(true), "it was said before");
        assert_eq!(behind_ms(&mut scene, START_MS - HOUR_MS), HOUR_MS);
        assert_eq!(behind_ms(&mut scene, START_MS + 1), 0);
    });
}

/// Opens the shard in `directory`, as the start of a node does.
async fn open(directory: &Path, syncer: &LogSyncer) -> Shard {
    let log = RaftLog::open(&directory.join("log"), &log_options(), syncer).unwrap();
    let machine = Rc::new(RefCell::new(ShardMachine::new(store(directory))));
    let threads = Threads {
        background: Background::start("test", 1, 8).unwrap(),
        readers: Background::start("test", 1, 8).unwrap(),
        entry_readers: Background::start("test", 1, 8).unwrap(),
        viewers: Background::start("test", 1, 8).unwrap(),
        entry_viewers: Background::start("test", 1, 8).unwrap(),
    };
    let options = GroupOptions::alone(0, NodeId(1), directory.join("snapshots"));
    Shard::open(ShardId(0), options, log, machine, (&server(1), CORE), &threads, Ties::default()).await.unwrap()
}

#[test]
fn a_key_that_was_gone_stays_gone_when_the_node_starts_with_its_clock_set_back() {
    for is_written_out in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
        executor.run(async {
            let syncer = LogSyncer::start(0, Durability::Always).unwrap();
            let mut scene = Scene::new(open(directory.path(), &syncer).await);
            assert_eq!(scene.ask("SET key 5 PX 1000").await, "+OK");
            scene.now_ms += 2_000;
            assert_eq!(scene.ask("SET other value").await, "+OK");
            // A failed shard writes nothing out: everything is in the log, as after a crash.
            let mut turns = scene.shard;
            turns.close(!is_written_out).await.unwrap();
            drop(turns);
            let time_on_disk_ms = store_time_ms(directory.path());
            assert_eq!(time_on_disk_ms, if is_written_out { START_MS + 2_000 } else { 0 });

            let mut scene = Scene::new(open(directory.path(), &syncer).await);
            scene.now_ms = START_MS + 500;

            assert_eq!(scene.ask("GET key").await, "$-1", "written out: {is_written_out}");
            assert_eq!(scene.ask("INCR key").await, ":1", "written out: {is_written_out}");
            assert_eq!(scene.ask("SET new value PX 500").await, "+OK");
            assert_eq!(scene.ask("PEXPIRETIME new").await, format!(":{}", START_MS + 2_500));
            scene.shard.close(false).await.unwrap();
        });
    }
}

/// The time in the applied row of the store in `directory`.
fn store_time_ms(directory: &Path) -> u64 {
    let store: Store = store(directory);
    store.applied().time_ms
}

/// An entry of one command.
fn entry_at(time_ms: u64, line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::begin(&mut bytes);
    batch::push(&mut bytes, |out| out.extend_from_slice(&command(&line.split(' ').collect::<Vec<_>>())));
    batch::seal(&mut bytes, time_ms, 1, STRING_BYTES_MAX);
    bytes
}

#[test]
fn an_entry_of_a_leader_whose_clock_is_behind_the_last_ones_is_executed_at_the_last_ones_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let lines = [
        (START_MS, "SET key value PX 1000"),
        (START_MS + 2_000, "SET other value"),
        (START_MS + 500, "SET key new NX PX 1000"),
    ];
    for (index, (time_ms, line)) in (1..).zip(lines) {
        machine.apply(EntryId { term: index, index }, &entry_at(time_ms, line), None).unwrap();
        machine.store.set_applied(index, b"id", None);
    }
    let mut deadline = Vec::new();
    machine.reading(1, |execution| {
        execution.run(&command(&["PEXPIRETIME", "key"]), &mut Default::default(), &mut deadline).is_ok()
    });
    assert_eq!(String::from_utf8(deadline).unwrap(), format!(":{}\r\n", START_MS + 3_000));
    assert_eq!(machine.store.applied().time_ms, START_MS + 2_000);
}

#[test]
fn a_key_whose_deadline_was_below_the_sweeps_floor_when_its_entry_was_applied_is_deleted() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        scene.submit(1, "SET key value PX 1000");
        scene.shard.propose(Instant::now(), scene.now_ms, STRING_BYTES_MAX, &mut scene.host);
        // The entry is on its way for so long that the sweep is far beyond its deadline.
        scene.now_ms += HOUR_MS;
        scene.shard.tick(Instant::now(), scene.now_ms, None, &mut scene.host);
        assert!(scene.shard.expiry.floor_ms > START_MS + 1_000);
        let deadline = Instant::now() + PATIENCE;
        while scene.host.replies.is_empty() {
            assert!(Instant::now() < deadline, "no reply");
            scene.turn().await;
        }
        assert_eq!(scene.ask("DBSIZE").await, ":1");

        scene.sweep_to(0).await;
    });
}

#[test]
fn a_field_whose_deadline_was_below_the_sweeps_floor_when_its_entry_was_applied_is_removed() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        assert_eq!(scene.ask("HSET hash f v").await, ":1");
        scene.submit(1, "HPEXPIRE hash 1000 FIELDS 1 f");
        scene.shard.propose(Instant::now(), scene.now_ms, STRING_BYTES_MAX, &mut scene.host);
        // The entry is on its way for so long that the sweep is far beyond its deadline.
        scene.now_ms += HOUR_MS;
        scene.shard.tick(Instant::now(), scene.now_ms, None, &mut scene.host);
        assert!(scene.shard.expiry.fields_floor_ms > START_MS + 1_000);
        let deadline = Instant::now() + PATIENCE;
        while scene.host.replies.is_empty() {
            assert!(Instant::now() < deadline, "no reply");
            scene.turn().await;
        }
        assert!(scene.shard.has_deadlines(), "its core does not sleep long");
        assert_eq!(scene.ask("HLEN hash").await, ":0");
        assert_eq!(scene.ask("DBSIZE").await, ":1");

        scene.sweep_to(0).await;
    });
}

#[test]
fn a_field_that_was_gone_stays_gone_when_the_clock_steps_back() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        let long = "x".repeat(100);
        assert_eq!(scene.ask("HSET small a 5 b 6").await, ":2");
        assert_eq!(scene.ask(&format!("HSET large a 5 b {long}")).await, ":2");
        for hash in ["small", "large"] {
            assert_eq!(scene.ask(&format!("HPEXPIRE {hash} 1000 FIELDS 1 a")).await, "*1 :1");
        }
        scene.now_ms = START_MS + 1_001;
        assert_eq!(scene.ask("HGET small a").await, "$-1");

        scene.now_ms = START_MS - HOUR_MS;

        for hash in ["small", "large"] {
            assert_eq!(scene.ask(&format!("HGET {hash} a")).await, "$-1");
            assert_eq!(scene.ask(&format!("HTTL {hash} FIELDS 1 a")).await, "*1 :-2");
            assert_eq!(scene.ask(&format!("HINCRBY {hash} a 1")).await, ":1");
            assert_eq!(scene.ask(&format!("HPEXPIRE {hash} 500 FIELDS 1 a")).await, "*1 :1");
            let deadline_ms = START_MS + 1_501;
            assert_eq!(scene.ask(&format!("HPEXPIRETIME {hash} FIELDS 1 a")).await, format!("*1 :{deadline_ms}"));
        }
    });
}

#[test]
fn a_shard_that_leads_anew_sweeps_from_the_beginning() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        assert_eq!(scene.ask("SET key value PX 1000").await, "+OK");
        // As if it had lost the lead, and got the key in a snapshot.
        scene.shard.machine.borrow_mut().scratch.take_earliest_deadline_ms();
        (scene.shard.expiry.floor_ms, scene.shard.expiry.term) = (START_MS + HOUR_MS, 0);
        scene.now_ms += HOUR_MS;

        scene.sweep_to(0).await;
    });
}

#[test]
fn a_shard_that_got_its_rows_in_a_snapshot_sweeps_from_the_beginning() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        assert_eq!(scene.ask("SET key value PX 1000").await, "+OK");
        scene.shard.tick(Instant::now(), scene.now_ms, None, &mut scene.host);
        // As if the key had come in the snapshot.
        scene.shard.machine.borrow_mut().scratch.take_earliest_deadline_ms();
        scene.shard.expiry.floor_ms = START_MS + HOUR_MS;
        basalt_raft::Machine::installed(&mut *scene.shard.machine.borrow_mut());
        scene.now_ms += HOUR_MS;

        scene.sweep_to(0).await;
    });
}

#[test]
fn a_deadline_in_the_past_is_not_stored_after_the_sweep_is_beyond_it() {
    with_server(1, log_options(), |_, shard| async move {
        let mut scene = Scene::new(shard);
        scene.shard.tick(Instant::now(), scene.now_ms, None, &mut scene.host);
        assert_eq!(scene.ask("SET key value PXAT 1").await, "+OK");
        assert_eq!(scene.ask("DBSIZE").await, ":0");
        assert_eq!(scene.ask("EXISTS key").await, ":0");
    });
}
