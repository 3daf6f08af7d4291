//! A group with a real log and a real store, on an executor of its own.

use std::rc::Rc;
use std::time::Duration;

use basalt_storage::log::{Durability, LogRecord, LogSyncer};
use openraft::AsyncRuntime;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;

use crate::entry::{encode_snapshot_meta, new_batch};
use crate::error::{Error, ProposeError, Refused};
use crate::group::Role;
use crate::runtime::GlommioRuntime;
use crate::support::{Appender, Held, PATIENCE, Setup, copy_directory, hooks, open_log, run, voters};
use crate::types::{Entry, EntryPayload, SnapshotMeta, Vote, log_id};
use crate::{Group, GroupOptions, NodeId, ReceivedSnapshot, VoteParts};

#[test]
fn the_only_voter_leads_at_once() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log = open_log(directory.path(), &syncer);
        let hooks = hooks(&Default::default(), &Default::default(), &Default::default());
        let machine = std::rc::Rc::new(std::cell::RefCell::new(Appender::open(directory.path(), 1 << 20)));
        // Far more than a test waits: who waits for a timeout is not there in time.
        let options = GroupOptions { election_timeout_ms: (60_000, 120_000), ..Setup::new(directory.path()).options() };
        let group = Group::open(options, hooks, log, machine).await.unwrap();
        GlommioRuntime::timeout(PATIENCE, group.wait_ready()).await.expect("it waits for no timeout").unwrap();
        let status = group.status();
        assert_eq!((status.role, status.leader, status.voter_count), (Role::Leader, Some(NodeId(1)), 1));
        assert!(!group.needs_read_barrier());
        group.read_barrier().await.unwrap();
        group.shutdown().await.unwrap();
    });
}

#[test]
fn outcomes_come_in_the_order_of_the_proposals_with_their_replies() {
    for durability in [Durability::Always, Durability::None] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let shard = Setup { durability, ..Setup::new(directory.path()) }.open().await;
            shard.group.wait_ready().await.unwrap();
            let texts: Vec<String> = (0..200).map(|number| format!("{number};")).collect();
            shard.write(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
            for (place, (ticket, outcome)) in shard.outcomes.borrow().iter().enumerate() {
                assert_eq!(*ticket, place as u64);
                assert_eq!(outcome.as_ref().unwrap().bytes, (place + 1).to_string().into_bytes());
            }
            assert_eq!(shard.machine.borrow().text(), texts.concat());
            let tickets: Vec<_> = (0..200).map(Some).collect();
            assert_eq!(shard.machine.borrow().tickets, tickets, "each entry is executed with its own ticket");
            assert_eq!(shard.group.status().in_flight_count, 0);
            shard.close().await;
        });
    }
}

#[test]
fn a_restart_brings_everything_back_without_asking_for_replies() {
    for clean in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(directory.path());
        run(async {
            let shard = setup.open().await;
            shard.group.wait_ready().await.unwrap();
            shard.write(&["a", "b", "c"]).await;
            let term = shard.group.status().term;
            if clean {
                shard.group.write_out().await.unwrap();
            }
            shard.close().await;

            let shard = setup.open().await;
            shard.group.wait_ready().await.unwrap();
            assert_eq!(shard.machine.borrow().text(), "abc");
            assert_eq!(shard.machine.borrow().applied.len(), if clean { 0 } else { 3 });
            assert!(shard.machine.borrow().tickets.iter().all(Option::is_none));
            assert!(shard.group.status().term > term, "a restarted leader is elected anew");
            shard.write(&["d"]).await;
            assert_eq!(shard.machine.borrow().text(), "abcd");
            shard.close().await;
        });
    }
}

#[test]
fn a_small_memtable_keeps_the_log_short_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { memtable_bytes: 4096, log_entries_kept: 5, ..Setup::new(directory.path()) };
    run(async {
        let mut expected = String::new();
        for _ in 0..3 {
            let shard = setup.open().await;
            shard.group.wait_ready().await.unwrap();
            assert_eq!(shard.machine.borrow().text(), expected);
            for round in 0..20 {
                let texts: Vec<String> = (0..10).map(|number| format!("{round}.{number};")).collect();
                shard.write(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
                expected.push_str(&texts.concat());
                let status = shard.group.status();
                assert!(status.purged <= status.durable_applied, "{status:?}");
                let store_says = shard.machine.borrow().store.durable_applied();
                assert!(status.durable_applied.unwrap_or(0) <= store_says, "{status:?}, the store has {store_says}");
            }
            shard.group.write_out().await.unwrap();
            shard
                .until("the purge", |shard| {
                    let status = shard.group.status();
                    assert!(status.purged <= status.durable_applied, "{status:?}");
                    shard.group.drain_completions();
                    status.purged == status.durable_applied.map(|index| index - 5)
                })
                .await;
            let store_says = shard.machine.borrow().store.durable_applied();
            assert_eq!(shard.group.status().durable_applied, Some(store_says));
            shard.close().await;
        }
    });
}

#[test]
fn a_long_log_forces_a_generation_out() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { log_entries_max: 100, ..Setup::new(directory.path()) };
    run(async {
        let shard = setup.open().await;
        shard.group.wait_ready().await.unwrap();
        for _ in 0..50 {
            shard.write(&["x"; 10]).await;
        }
        shard
            .until("the purge", |shard| {
                let status = shard.group.status();
                status.last_log.unwrap() - status.purged.unwrap_or(0) < 100
            })
            .await;
        assert_eq!(shard.machine.borrow().text().len(), 500);
        shard.close().await;
    });
}

#[test]
fn a_crash_at_any_step_of_a_generation_loses_and_repeats_nothing() {
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The tenth entry, the group's own counted, is the last of the generation.
    let setup = Setup { log_entries_max: 20, ..Setup::new(directory.path()) };
    let copy = |name: &str| copy_directory(directory.path(), &copies.path().join(name));
    run(async {
        let held = Rc::new(Held::default());
        let shard = setup.open_with(held.clone()).await;
        shard.group.wait_ready().await.unwrap();
        let texts: Vec<String> = (0..15).map(|number| format!("{number};")).collect();
        shard.write(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;

        shard.until("the generation", |_| held.job_count() > 0).await;
        copy("frozen");
        let rows = directory.path().join("data/db-1");
        let has_table = || {
            let mut files = std::fs::read_dir(&rows).unwrap();
            files.any(|file| file.unwrap().path().extension().is_some_and(|extension| extension == "sst"))
        };
        assert!(!has_table(), "the job has not run");
        shard
            .until("the rows in RocksDB", |_| {
                held.run_all();
                has_table()
            })
            .await;
        assert_eq!(shard.machine.borrow().store.durable_applied(), 0, "the core has not heard of it");
        copy("ingested");
        shard.group.drain_completions();
        let durable = shard.machine.borrow().store.durable_applied();
        assert!(durable > 0, "the core has heard of it");
        assert_eq!(shard.group.status().purged, None, "openraft has had no turn to purge the log");
        copy("finished");
        // The log forgets at once, and another thread writes that down.
        let state_file = directory.path().join("log/STATE");
        let state = std::fs::read(&state_file).unwrap();
        shard
            .until("the purge", |shard| {
                shard.group.status().purged == Some(durable) && std::fs::read(&state_file).unwrap() != state
            })
            .await;
        copy("purged");
        let later = shard.machine.borrow().applied.iter().filter(|entry| entry.index > durable).count();
        assert!(0 < later && later < texts.len(), "{later} entries came after the generation");
        shard.close().await;

        let replayed = [("frozen", texts.len()), ("ingested", later), ("finished", later), ("purged", later)];
        for (name, replayed) in replayed {
            let shard = Setup { directory: copies.path().join(name), ..setup.clone() }.open().await;
            shard.group.wait_ready().await.unwrap();
            assert_eq!(shard.machine.borrow().text(), texts.concat(), "{name}");
            assert_eq!(shard.machine.borrow().applied.len(), replayed, "{name}");
            if name == "purged" {
                assert_eq!(shard.group.status().purged, Some(durable));
            }
            shard.write(&["more"]).await;
            assert_eq!(shard.machine.borrow().text(), texts.concat() + "more", "{name}");
            shard.close().await;
        }
    });
}

#[test]
fn too_many_batches_are_refused_and_nothing_is_done() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup { in_flight_max: 4, ..Setup::new(directory.path()) }.open().await;
        shard.group.wait_ready().await.unwrap();
        for ticket in 0..4 {
            shard.propose("a", ticket).unwrap();
        }
        assert_eq!(shard.propose("b", 4), Err(ProposeError::Backlog));
        shard.until("the outcomes", |shard| shard.outcomes.borrow().len() == 4).await;
        shard.propose("c", 5).unwrap();
        shard.until("the outcome", |shard| shard.outcomes.borrow().len() == 5).await;
        assert_eq!(shard.machine.borrow().text(), "aaaac");
        shard.close().await;
    });
}

#[test]
fn a_batch_that_cannot_be_executed_stops_the_group_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.propose("a", 0).unwrap();
        shard.propose("poison", 1).unwrap();
        shard.propose("b", 2).unwrap();
        shard.until("the end", |shard| shard.fatal.borrow().is_some()).await;
        let fatal = shard.fatal.borrow().clone().unwrap();
        assert!(fatal.contains("the batch is poison"), "{fatal}");
        shard.until("the outcomes", |shard| shard.outcomes.borrow().len() == 3).await;
        let outcomes = shard.outcomes.borrow().clone();
        assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
        assert!(outcomes[1].1.is_err() && outcomes[2].1.is_err(), "{outcomes:?}");
        assert_eq!(shard.propose("c", 3), Err(ProposeError::Fatal(fatal)));
        assert_eq!(shard.machine.borrow().text(), "a");
    });
}

#[test]
fn an_entry_that_stops_the_group_is_named_at_each_start_until_it_is_skipped() {
    for (poison, reason) in
        [("poison", "the batch is poison"), ("panic", "executing it panicked: the batch is unlucky")]
    {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(directory.path());
        run(async {
            let shard = setup.open().await;
            shard.group.wait_ready().await.unwrap();
            shard.write(&["a", "b"]).await;
            shard.propose(poison, 2).unwrap();
            shard.propose("c", 3).unwrap();
            shard.until("the end", |shard| shard.fatal.borrow().is_some()).await;
            let poisoned = shard.machine.borrow().applied.last().unwrap().index + 1;
            let fatal = shard.fatal.borrow().clone().unwrap();
            let words = [
                format!("entry {poisoned} of term 1 cannot be executed: {reason}"),
                format!("--skip-entry 7:{poisoned}"),
            ];
            assert!(words.iter().all(|words| fatal.contains(words)), "{fatal}");
            shard.close().await;

            // It is in the log, and the log is what counts.
            let refused = setup.start().await.err().expect("it is executed again");
            assert!(words.iter().all(|words| refused.contains(words)), "{refused}");

            let order = |index| {
                let syncer = LogSyncer::start(0, Durability::Always).unwrap();
                open_log(directory.path(), &syncer).skip_entry(index).map_err(|error| error.to_string())
            };
            let refused = order(poisoned - 1).unwrap_err();
            assert!(refused.contains(&format!("stopped by entry {poisoned}: {reason}")), "{refused}");
            order(poisoned).unwrap();

            // Without the order from now on: what was skipped once is skipped in each replay.
            for written in ["abc", "abcd", "abcdd"] {
                let shard = setup.start().await.unwrap();
                assert_eq!(shard.machine.borrow().text(), written);
                shard.write(&["d"]).await;
                shard.close().await;
            }
            let shard = setup.start().await.unwrap();
            shard.group.write_out().await.unwrap();
            shard.close().await;
            let shard = setup.start().await.unwrap();
            assert_eq!(shard.machine.borrow().text(), "abcddd");
            shard.close().await;
        });
    }
}

#[test]
fn a_voter_without_its_peers_neither_leads_nor_takes_writes() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log = open_log(directory.path(), &syncer);
        let setup = Setup::new(directory.path());
        let hooks = hooks(&Default::default(), &Default::default(), &Default::default());
        let machine = std::rc::Rc::new(std::cell::RefCell::new(Appender::open(directory.path(), 1 << 20)));
        let options = GroupOptions { voters: voters(&[1, 2, 3]), ..setup.options() };
        let group = Group::open(options, hooks, log, machine).await.unwrap();
        let later = std::time::Instant::now() + Duration::from_secs(1);
        while std::time::Instant::now() < later {
            group.drain_completions();
            crate::runtime::yield_now().await;
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_ne!(group.status().role, Role::Leader);
        assert!(group.needs_read_barrier());
        let refused = group.propose("a".into(), 0).unwrap_err();
        assert_eq!(refused, Refused { reason: ProposeError::NotLeader { leader: None }, batch: "a".into() });
        assert!(group.read_barrier().await.is_err());
        group.shutdown().await.unwrap();
    });
}

#[test]
fn options_that_cannot_work_are_refused_by_name() {
    let good = GroupOptions::alone(0, NodeId(1), "snapshots".into());
    assert!(good.check().is_ok());
    for (bad, name) in [
        (GroupOptions { heartbeat_ms: 0, ..good.clone() }, "heartbeat_ms"),
        (GroupOptions { election_timeout_ms: (50, 300), ..good.clone() }, "election_timeout_ms"),
        (GroupOptions { voters: voters(&[2]), ..good.clone() }, "voters"),
        (GroupOptions { in_flight_max: 0, ..good.clone() }, "in_flight_max"),
    ] {
        let refused = bad.check().unwrap_err().to_string();
        assert!(refused.starts_with(name), "{refused}");
    }
}

#[test]
fn a_failed_sync_stops_the_group_and_names_the_log() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let mut shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        // A log without its syncer can sync nothing any more.
        shard.stop_syncer();
        let refused = shard.propose("b", 7).unwrap_err();
        shard
            .until("the end", |shard| {
                shard.group.drain_completions();
                shard.fatal.borrow().is_some()
            })
            .await;
        let fatal = shard.fatal.borrow().clone().unwrap();
        assert!(fatal.contains("syncing the log"), "{fatal}");
        assert_eq!(refused, ProposeError::Fatal(fatal));
        assert_eq!(shard.machine.borrow().text(), "a", "an entry that is not durable is not executed");
    });
}

#[test]
fn a_group_dropped_without_a_shutdown_lets_go_of_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(directory.path());
    run(async {
        let shard = setup.open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        let machine = std::rc::Rc::downgrade(&shard.machine);
        drop(shard);
        let deadline = std::time::Instant::now() + PATIENCE;
        while machine.upgrade().is_some() {
            assert!(std::time::Instant::now() < deadline, "tasks of the group live on");
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        let shard = setup.open().await;
        shard.group.wait_ready().await.unwrap();
        assert_eq!(shard.machine.borrow().text(), "a");
        shard.close().await;
    });
}

#[test]
fn an_entry_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        let last = shard.group.status().last_log.unwrap();
        shard.close().await;

        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let mut log = open_log(directory.path(), &syncer);
        let record = LogRecord { index: last + 1, term: 9, body: bytes::Bytes::from_static(&[2, 0]) };
        log.append(&[record]).unwrap();
        let hooks = hooks(&Default::default(), &Default::default(), &Default::default());
        let machine = std::rc::Rc::new(std::cell::RefCell::new(Appender::open(directory.path(), 1 << 20)));
        let refused = Group::open(Setup::new(directory.path()).options(), hooks, log, machine).await;
        let refused = refused.err().expect("an entry of format 2 is not read").to_string();
        assert!(refused.contains("format 2") && refused.contains("up to 1"), "{refused}");
    });
}

#[test]
fn rows_that_cannot_be_written_out_stop_the_group_and_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        let incoming = directory.path().join("data/incoming");
        std::fs::remove_dir_all(&incoming).unwrap();
        std::fs::write(&incoming, b"in the way").unwrap();
        let failed = shard.group.write_out().await.unwrap_err().to_string();
        shard.until("the end", |shard| shard.fatal.borrow().is_some()).await;
        assert_eq!(shard.fatal.borrow().as_deref(), Some(&*failed));
        assert!(failed.contains("data"), "{failed}");
        assert!(matches!(shard.propose("b", 1), Err(ProposeError::Fatal(_))));
        let status = shard.group.status();
        assert_eq!((status.durable_applied, status.purged), (None, None));
    });
}

#[test]
fn a_panic_of_a_task_that_nobody_waits_for_stops_the_group() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        // A child of openraft's core, as those are that replicate and send heartbeats; its handle is dropped.
        let spawns = |_: &_| drop(GlommioRuntime::spawn(async { panic!("on purpose") }));
        shard.group.0.raft.external_request(spawns).await.unwrap();
        shard.until("the end", |shard| shard.fatal.borrow().is_some()).await;
        let fatal = shard.fatal.borrow().clone().unwrap();
        assert!(fatal.contains("a task of the group panicked: on purpose"), "{fatal}");
        assert_eq!(shard.propose("b", 1), Err(ProposeError::Fatal(fatal)));
    });
}

#[test]
fn the_log_is_purged_though_openraft_forgets_to_take_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a", "b"]).await;
        shard.group.0.reports_lost.set(3);
        shard.group.write_out().await.unwrap();
        shard
            .until("the purge", |shard| {
                shard.group.drain_completions();
                let status = shard.group.status();
                status.purged.is_some() && status.purged == status.durable_applied
            })
            .await;
        assert_eq!(shard.group.0.reports_lost.get(), 0);
        assert!(!shard.group.0.is_unreported.get());
        shard.close().await;
    });
}

/// A follower of a group of three, whose peers are not there.
fn follower(directory: &std::path::Path) -> Setup {
    Setup { node: NodeId(2), voters: voters(&[1, 2, 3]), ..Setup::new(directory) }
}

#[test]
fn a_snapshot_must_be_of_the_entry_that_it_says() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let sender = Setup::new(&directory.path().join("sender")).open().await;
        sender.group.wait_ready().await.unwrap();
        sender.write(&["a", "b"]).await;
        let generations = sender.group.0.generations.clone();
        let asked_for = sender.group.drive(generations.write_out()).await.unwrap();
        // Its store goes on before the checkpoint is made.
        sender.write(&["c"]).await;
        let checkpoint = directory.path().join("checkpoint");
        let made = sender.group.drive(generations.checkpoint(checkpoint.clone())).await.unwrap();
        assert!(made.last_log_id > asked_for.last_log_id);
        let received = |meta: &SnapshotMeta, name: &str| {
            copy_directory(&checkpoint, &directory.path().join(name));
            ReceivedSnapshot {
                vote: VoteParts { term: 70, node: NodeId(1), is_committed: true },
                meta: encode_snapshot_meta(&meta.last_log_id.unwrap(), &meta.last_membership),
                directory: directory.path().join(name),
            }
        };

        let shard = follower(&directory.path().join("follower")).open().await;
        let other = SnapshotMeta { last_log_id: Some(log_id(70, 1000)), ..made.clone() };
        for (meta, name) in [(&asked_for, "newer"), (&other, "older")] {
            let refused = shard.group.receive_snapshot(received(meta, name)).await.unwrap_err().to_string();
            assert!(refused.contains("its rows are those of") && refused.contains(name), "{refused}");
        }
        let torn = received(&made, "torn");
        std::fs::remove_file(torn.directory.join("CURRENT")).unwrap();
        let refused = shard.group.receive_snapshot(torn).await.unwrap_err();
        assert!(matches!(refused, Error::Snapshot { .. }), "{refused}");
        let gone = || ["newer", "older", "torn"].iter().all(|name| !directory.path().join(name).exists());
        shard.until("that they are removed", |_| gone()).await;
        assert_eq!((shard.fatal.borrow().clone(), shard.machine.borrow().installs), (None, 0));

        shard.group.receive_snapshot(received(&made, "right")).await.unwrap();
        assert_eq!(shard.machine.borrow().text(), "abc");
        assert_eq!(shard.machine.borrow().installs, 1, "the machine is told");
        let id = log_id(70, made.last_log_id.unwrap().index() + 1);
        let next = AppendEntriesRequest {
            vote: Vote::new_committed(70, NodeId(1)),
            prev_log_id: made.last_log_id,
            entries: vec![Entry::new(id, EntryPayload::Normal(new_batch(b"d")))],
            leader_commit: Some(id),
        };
        let appended = shard.group.drive(shard.group.0.raft.append_entries(next)).await.unwrap();
        assert!(appended.is_success(), "{appended}");
        shard.until("the next entry", |shard| shard.machine.borrow().text() == "abcd").await;
        assert_eq!(shard.fatal.borrow().clone(), None);
        shard.close().await;
        sender.close().await;
    });
}

#[test]
fn damage_that_an_entry_meets_is_not_called_the_entrys_own_fault() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let shard = Setup::new(directory.path()).open().await;
        shard.group.wait_ready().await.unwrap();
        shard.write(&["a"]).await;
        shard.propose("damage", 1).unwrap();
        shard.until("the end", |shard| shard.fatal.borrow().is_some()).await;
        let fatal = shard.fatal.borrow().clone().unwrap();
        assert!(fatal.contains("met damage") && fatal.contains("a row is damaged"), "{fatal}");
        assert!(!fatal.contains("cannot be executed"), "{fatal}");
        shard.close().await;
    });
}
