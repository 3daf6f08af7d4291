use std::future::{Future, poll_fn};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use openraft::RaftSnapshotBuilder;
use openraft::storage::{IOFlushed, RaftLogStorage};

use super::*;
use crate::entry::new_batch;
use crate::runtime::GlommioRuntime;
use crate::support::{Held, PATIENCE, Scene, Setup, Threads, run};
use crate::types::log_id;

/// A state machine without openraft, on what `scene` has.
fn state_machine(scene: &Scene, directory: &Path) -> StateMachine {
    let checkpoints =
        Checkpoints::open::<basalt_storage::Store>(&Setup::new(directory).options().snapshot_directory, &Threads)
            .unwrap();
    let outcomes = Outcomes::new(Box::new(|_, _| {}));
    let (machine, log, generations) = (scene.machine.clone(), scene.log.clone(), scene.generations.clone());
    StateMachine::new(7, machine, log, outcomes, generations, checkpoints)
}

#[test]
fn a_snapshot_that_is_asked_for_reports_what_is_on_disk_and_one_that_must_be_forces_a_generation_out() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let scene = Scene::new(directory.path());
        let mut state_machine = state_machine(&scene, directory.path());
        let Scene { mut log, machine, generations, syncer: _syncer } = scene;
        let turns = {
            let (log, generations) = (log.clone(), generations.clone());
            glommio::spawn_local(async move {
                loop {
                    log.drain();
                    generations.advance();
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        for (index, text) in [(0, b"a"), (1, b"b")] {
            let entry = Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(text)));
            log.append([entry.clone()], IOFlushed::noop()).await.unwrap();
            state_machine.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();
            assert_eq!(machine.borrow().store.durable_applied(), 0, "there is no other reason to write it out");
            // As often as it is asked for.
            let mut builder = state_machine.try_create_snapshot_builder(false).await.unwrap();
            let report = builder.build_snapshot().await.unwrap();
            assert_eq!((report.meta.last_log_id, generations.durable_id()), (None, None));
        }
        // One that was asked for and is not made changes nothing for the next one.
        drop(state_machine.try_create_snapshot_builder(false).await.unwrap());
        let mut builder = state_machine.try_create_snapshot_builder(true).await.unwrap();
        let snapshot = builder.build_snapshot().await.unwrap();
        assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 1)));
        assert_eq!(machine.borrow().store.durable_applied(), 1);
        turns.cancel().await;
    });
}

#[test]
fn an_entry_that_does_not_follow_the_one_before_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        for (applied, next) in [(None, 0_u64), (Some(0), 1), (Some(41), 42)] {
            let directory = directory.path().join(next.to_string());
            for (index, words) in [
                (next, None),
                (next + 1, Some(format!("came before entry {next}"))),
                (next + 7, Some(format!("came before entry {next}"))),
                (next.wrapping_sub(1), Some(format!("came again: entry {} is applied", next.wrapping_sub(1)))),
            ] {
                if index == u64::MAX {
                    continue;
                }
                let scene = Scene::new(&directory.join(index.to_string()));
                scene.log.assume_flushed();
                if let Some(applied) = applied {
                    let id = encode_log_id(&log_id(1, applied));
                    scene.machine.borrow_mut().store.set_applied(applied, &id, None);
                }
                let mut state_machine = state_machine(&scene, &directory);
                let entry = Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(b"a")));
                let outcome = state_machine.apply(futures_util::stream::iter([Ok((entry, None))])).await;
                match words {
                    None => outcome.unwrap(),
                    Some(words) => {
                        let refused = outcome.unwrap_err().to_string();
                        assert!(refused.contains(&words), "{refused}");
                        assert_eq!(scene.machine.borrow().text(), "", "it is not executed");
                        assert_eq!(scene.log.fault(), Some(refused.into()));
                    }
                }
            }
        }
    });
}

#[test]
fn an_entry_is_not_executed_before_its_flush_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let scene = Scene::new(directory.path());
        let mut state_machine = state_machine(&scene, directory.path());
        let Scene { mut log, machine, generations: _, syncer: _syncer } = scene;

        // Committed by a quorum elsewhere while the local log is still syncing.
        let entry = Entry::new(log_id(1, 0), EntryPayload::Normal(new_batch(b"a")));
        log.append([entry.clone()], IOFlushed::noop()).await.unwrap();
        let applying =
            glommio::spawn_local(
                async move { state_machine.apply(futures_util::stream::iter([Ok((entry, None))])).await },
            );
        glommio::timer::sleep(Duration::from_millis(50)).await;
        assert_eq!(machine.borrow().text(), "", "executed although nobody said that it is durable");

        let deadline = Instant::now() + PATIENCE;
        while machine.borrow().text().is_empty() {
            assert!(Instant::now() < deadline, "not executed although it is durable");
            log.drain();
            <GlommioRuntime as openraft::AsyncRuntime>::sleep(Duration::from_millis(1)).await;
        }
        applying.await.unwrap();
        assert_eq!(machine.borrow().text(), "a");
    });
}

#[test]
fn an_entry_that_waits_for_rows_lets_other_tasks_run_and_nothing_is_written_out_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let readers = Rc::new(Held::default());
        let scene = Scene::with_readers(directory.path(), readers.clone());
        let mut state_machine = state_machine(&scene, directory.path());
        let Scene { mut log, machine, generations, syncer: _syncer } = scene;
        let entries = [(0, b"x".as_slice()), (1, b"halves:abcd"), (2, b"y")]
            .map(|(index, text)| Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(text))));
        log.append(entries.clone(), IOFlushed::noop()).await.unwrap();
        let applying = glommio::spawn_local(async move {
            state_machine.apply(futures_util::stream::iter(entries.map(|entry| Ok((entry, None))))).await
        });
        let turn = async || {
            log.drain();
            generations.advance();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        };
        let deadline = Instant::now() + PATIENCE;
        while readers.job_count() == 0 {
            assert!(Instant::now() < deadline, "it asks for no row");
            turn().await;
        }
        assert_eq!(machine.borrow().text(), "xab");
        let of_writing = generations.clone();
        let writing = glommio::spawn_local(async move { of_writing.write_out().await });
        for _ in 0..50 {
            turn().await;
        }
        assert!(machine.borrow_mut().store.freeze().is_none(), "half an entry may be frozen");
        assert_eq!(machine.borrow().text(), "xab");

        readers.run_all();
        let written = glommio::spawn_local(writing);
        while machine.borrow().store.durable_applied() == 0 {
            assert!(Instant::now() < deadline, "nothing is written out: {}", machine.borrow().text());
            turn().await;
        }

        assert!(written.await.unwrap().last_log_id >= Some(log_id(1, 1)));
        applying.await.unwrap();
        assert_eq!(machine.borrow().text(), "xabcdy");
    });
}

#[test]
fn a_replica_whose_disk_is_slow_waits_with_applying_and_one_alone_does_not() {
    for is_paced in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let disk = Rc::new(Held::default());
            let scene = Scene::with_threads(directory.path(), disk.clone(), Rc::new(Threads));
            let mut state_machine = state_machine(&scene, directory.path());
            let Scene { mut log, machine, generations, syncer: _syncer } = scene;
            generations.set_paced(is_paced);
            let memory = || machine.borrow().store.memory();
            // Each is the whole row so far and a bit more.
            let text = "x".repeat(memory().memtable_bytes / 2);
            let count = 8;
            let entries: Vec<_> = (0..count)
                .map(|index| Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(text.as_ref()))))
                .collect();
            for entry in &entries {
                log.append([entry.clone()], IOFlushed::noop()).await.unwrap();
            }
            let (applier, turns) = (entries.clone(), (log.clone(), generations.clone()));
            let applying = glommio::spawn_local(async move {
                let entries = applier.into_iter().map(|entry| Ok((entry, None)));
                state_machine.apply(futures_util::stream::iter(entries)).await
            });
            let turn = async || {
                turns.0.drain();
                turns.1.advance();
                glommio::timer::sleep(Duration::from_millis(1)).await;
            };
            let applied = || machine.borrow().applied.len();
            let deadline = Instant::now() + PATIENCE;
            let is_over = || memory().active_bytes >= 2 * memory().memtable_bytes;
            while !is_over() || (!is_paced && applied() < count as usize) {
                assert!(Instant::now() < deadline, "{} applied", applied());
                turn().await;
            }
            let so_far = applied();
            for _ in 0..100 {
                turn().await;
            }
            assert_eq!(applied(), so_far, "it goes on though nothing gets to the disk");
            if is_paced {
                assert!(so_far < count as usize, "nothing waits");
            }
            while applied() < count as usize {
                assert!(Instant::now() < deadline, "{} applied", applied());
                disk.run_all();
                turn().await;
            }
            applying.await.unwrap();
        });
    }
}

#[test]
fn no_more_is_received_while_too_much_that_is_committed_waits_to_be_applied() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let scene = Scene::new(directory.path());
        let mut state_machine = state_machine(&scene, directory.path());
        let Scene { mut log, machine, generations, syncer: _syncer } = scene;
        generations.unapplied_bytes_max.set(1 << 20);
        let entries: Vec<_> = (0..8)
            .map(|index| Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(&[b'x'; 300_000]))))
            .collect();
        for entry in &entries {
            log.append([entry.clone()], IOFlushed::noop()).await.unwrap();
        }
        // They may be truncated as well, and the leader has to send more before they can be committed.
        generations.catch_up().await;
        log.save_committed(Some(log_id(1, 7))).await.unwrap();
        let waiting = generations.clone();
        let mut waiting = Box::pin(async move { waiting.catch_up().await });
        assert!(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await, "nothing waits");
        let applying = glommio::spawn_local(async move {
            state_machine.apply(futures_util::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
        });
        let deadline = Instant::now() + PATIENCE;
        while poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await {
            assert!(Instant::now() < deadline, "{} applied", machine.borrow().applied.len());
            log.drain();
            generations.advance();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert!(machine.borrow().applied.len() >= 4);
        while machine.borrow().applied.len() < 8 {
            assert!(Instant::now() < deadline, "{} applied", machine.borrow().applied.len());
            log.drain();
            generations.advance();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        applying.await.unwrap();
    });
}
