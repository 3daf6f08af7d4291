use std::future::Future;
use std::time::Duration;

use basalt_storage::log::{Durability, LogOptions, LogSyncer};
use futures_util::StreamExt;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{AsyncRuntime, RaftLogReader};

use super::*;
use crate::entry::new_batch;
use crate::ids::NodeId;
use crate::limits::{LOG_DISK_FULL_RETRY, READ_BYTES};
use crate::runtime::GlommioRuntime;
use crate::support::{Held, Threads, open_log, run};
use crate::types::{Entry, EntryPayload, Vote, log_id};

fn entry(index: u64, bytes: usize) -> Entry {
    use openraft::entry::RaftEntry;
    Entry::new(log_id(1, index), EntryPayload::Normal(new_batch(&vec![7; bytes])))
}

#[test]
fn a_full_disk_turns_batches_away_and_holds_the_append_inside() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let options = LogOptions { warm_files: 0, reserve_bytes: u64::MAX / 2, ..LogOptions::default() };
        let log = RaftLog::open(&directory.path().join("log"), &options, &syncer).unwrap();
        let mut log = LogStore::new(log, Rc::new(Threads), Arc::new(|| {}));
        assert_eq!(log.admit(1), Err(ProposeError::DiskFull));
        let mut appending = Box::pin(log.append([entry(0, 2000)], IOFlushed::noop()));
        for _ in 0..3 {
            let pending = poll_fn(|context| Poll::Ready(appending.as_mut().poll(context).is_pending())).await;
            assert!(pending, "an append that fails would stop the group");
            GlommioRuntime::sleep(LOG_DISK_FULL_RETRY).await;
        }
        drop(appending);
        assert_eq!(log.fault(), None);
    });
}

#[test]
fn the_newest_entries_are_counted_by_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        assert_eq!(log.newest(1000), 0);
        // The log knows the place of every 64 KiB.
        let (count, bytes) = (40, 64 << 10);
        log.append((0..count).map(|index| entry(index, bytes)), IOFlushed::noop()).await.unwrap();
        for kept in [0, 1, 7, 20] {
            let first = log.newest((kept * bytes + kept * 100) as u64);
            assert!((count - kept as u64).abs_diff(first) <= 1, "{first} for {kept}");
        }
        assert_eq!((log.newest(0), log.newest(u64::MAX)), (count, 0));
        log.purge(log_id(1, 29)).await.unwrap();
        assert_eq!((log.newest(0), log.newest(u64::MAX)), (count, 30));
    });
}

#[test]
fn a_vote_is_durable_when_save_vote_returns() {
    let directory = tempfile::tempdir().unwrap();
    for durability in [Durability::Always, Durability::None] {
        run(async {
            let syncer = LogSyncer::start(0, durability).unwrap();
            let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
            let vote = Vote::new(log.read_vote().await.unwrap().map_or(1, |vote| vote.leader_id.term + 1), NodeId(4));
            let drained = log.clone();
            let mut saving = Box::pin(log.save_vote(&vote));
            // Nobody reports the sync, so it must not be taken for done.
            let early = poll_fn(|context| Poll::Ready(saving.as_mut().poll(context).is_ready())).await;
            assert!(!early, "{durability:?}: returned before a sync can have been reported");
            let mut saved = None;
            while saved.is_none() {
                drained.drain();
                GlommioRuntime::sleep(Duration::from_millis(1)).await;
                saved = poll_fn(|context| match saving.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => Poll::Ready(None),
                })
                .await;
            }
            saved.unwrap().unwrap();
            // What is in the files now is what a crash of the process leaves.
            let copy = tempfile::tempdir().unwrap();
            copy_files(&directory.path().join("log"), &copy.path().join("log"));
            let other = LogSyncer::start(1, durability).unwrap();
            let mut copied = LogStore::new(open_log(copy.path(), &other), Rc::new(Threads), Arc::new(|| {}));
            assert_eq!(copied.read_vote().await.unwrap(), Some(vote));
        });
    }
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() && file.file_name() != "LOCK" {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// A log whose syncs do not begin before the sender is dropped.
fn held_log(directory: &std::path::Path) -> (LogStore, LogSyncer, std::sync::mpsc::Sender<()>) {
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let hold = move || assert!(wait.recv().is_err(), "nobody sends");
    let syncer = LogSyncer::start_with(0, Durability::Always, hold).unwrap();
    (LogStore::new(open_log(directory, &syncer), Rc::new(Threads), Arc::new(|| {})), syncer, let_go)
}

#[test]
fn a_sync_of_truncated_entries_is_none_of_those_in_their_place() {
    let directory = tempfile::tempdir().unwrap();
    for (kept, expected) in [(Some(5), Some(5)), (None, None)] {
        let directory = directory.path().join(format!("{kept:?}"));
        run(async {
            let (log, _syncer, _let_go) = held_log(&directory);
            let mut writer = log.clone();
            writer.append((0..=10).map(|index| entry(index, 10)), IOFlushed::noop()).await.unwrap();
            let mut truncater = log.clone();
            let mut truncating = Box::pin(truncater.truncate_after(kept.map(|index| log_id(1, index))));
            assert!(poll_fn(|context| Poll::Ready(truncating.as_mut().poll(context).is_pending())).await);
            let next = kept.map_or(0, |kept| kept + 1);
            writer.append([entry(next, 10)], IOFlushed::noop()).await.unwrap();
            assert_eq!(log.0.syncs_started.get(), 3, "one for each");

            // Those of the first append and of the truncation are over.
            log.0.syncs.finish(2, Ok(()));
            log.drain();
            assert_eq!(log.0.flushed.get(), expected);

            log.0.syncs.finish(3, Ok(()));
            log.drain();
            assert_eq!(log.0.flushed.get(), Some(next));
        });
    }
}

#[test]
fn long_ranges_are_read_in_pieces_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        for index in 0..20 {
            log.append([entry(index, READ_BYTES / 4)], IOFlushed::noop()).await.unwrap();
        }
        let stream = log.entries_stream(3..19).await;
        let read: Vec<Entry> = futures_util::TryStreamExt::try_collect(stream).await.unwrap();
        assert_eq!(read.iter().map(|entry| entry.log_id.index()).collect::<Vec<_>>(), (3..19).collect::<Vec<_>>());
        let piece = log.limited_get_log_entries(3, 19).await.unwrap();
        assert!(!piece.is_empty() && piece.len() < 16, "{} entries at once", piece.len());
    });
}

/// Waits for `future`, and looks for syncs that are over, as a core does.
async fn draining<F: Future>(log: &LogStore, future: F) -> F::Output {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let mut future = std::pin::pin!(future);
    loop {
        log.drain();
        if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return output;
        }
        assert!(std::time::Instant::now() < deadline, "it does not end");
        GlommioRuntime::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_purge_that_replaces_the_log_and_a_snapshot_that_is_expected_are_durable_when_they_return() {
    for durability in [Durability::Always, Durability::None] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let syncer = LogSyncer::start(0, durability).unwrap();
            let log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
            let mut writer = log.clone();
            draining(&log, writer.append([entry(0, 10)], IOFlushed::noop())).await.unwrap();
            draining(&log, log.expect_snapshot(20)).await.unwrap();
            let expecting = tempfile::tempdir().unwrap();
            copy_files(&directory.path().join("log"), &expecting.path().join("log"));
            draining(&log, writer.purge(log_id(3, 20))).await.unwrap();
            let purged = tempfile::tempdir().unwrap();
            copy_files(&directory.path().join("log"), &purged.path().join("log"));
            let other = LogSyncer::start(1, durability).unwrap();
            assert_eq!(open_log(expecting.path(), &other).expected_snapshot(), Some(20));
            assert_eq!(open_log(purged.path(), &other).purged().map(|(index, _)| index), Some(20));
        });
    }
}

#[test]
fn a_range_that_begins_with_purged_entries_is_refused_where_a_hole_would_do_harm() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        log.append((0..10).map(|index| entry(index, 10)), IOFlushed::noop()).await.unwrap();
        for (purged, range) in [(4, 2..8), (4, 4..5), (9, 9..10), (20, 12..15)] {
            let mut purger = log.clone();
            draining(&log, purger.purge(log_id(1, purged))).await.unwrap();
            let words = format!("record {} is purged", range.start);
            let streamed: Vec<_> = log.entries_stream(range.clone()).await.collect().await;
            let [Err(refused)] = &streamed[..] else { panic!("{range:?}: {streamed:?}") };
            assert!(refused.kind() == io::ErrorKind::NotFound && refused.to_string().contains(&words), "{refused}");
            let refused = log.limited_get_log_entries(range.start, range.end).await.unwrap_err();
            assert!(refused.kind() == io::ErrorKind::NotFound && refused.to_string().contains(&words), "{refused}");
            let tolerated = log.try_get_log_entries(range.clone()).await.unwrap();
            let there: Vec<u64> = tolerated.iter().map(|entry| entry.log_id.index()).collect();
            assert_eq!(there, (purged + 1..range.end.min(10)).collect::<Vec<_>>(), "{range:?}");
            assert!(log.limited_get_log_entries(purged + 1, purged + 1).await.unwrap().is_empty());
        }
        assert_eq!(log.fault(), None, "nothing is wrong with the log");
    });
}

#[test]
fn a_purge_behind_a_reader_is_no_silent_hole() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        for index in 0..20 {
            log.append([entry(index, READ_BYTES / 4)], IOFlushed::noop()).await.unwrap();
        }
        let mut purger = log.clone();
        let mut stream = log.entries_stream(0..20).await;
        let mut read = vec![stream.next().await.unwrap().unwrap().log_id.index()];
        purger.purge(log_id(1, 15)).await.unwrap();
        let end = loop {
            match stream.next().await {
                Some(Ok(entry)) => read.push(entry.log_id.index()),
                end => break end,
            }
        };
        assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>(), "no hole");
        assert!(matches!(&end, Some(Err(error)) if error.kind() == io::ErrorKind::NotFound), "{end:?}");
        assert!(stream.next().await.is_none());
    });
}

#[test]
fn a_truncation_waits_out_a_stalled_log() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        let mut writer = log.clone();
        draining(&log, writer.append((0..10).map(|index| entry(index, 10)), IOFlushed::noop())).await.unwrap();
        log.0.stalls.set(5);
        let mut truncating = Box::pin(writer.truncate_after(Some(log_id(1, 3))));
        let pending = poll_fn(|context| Poll::Ready(truncating.as_mut().poll(context).is_pending())).await;
        assert!(pending, "a truncation that fails would stop the group");
        assert_eq!(log.0.log.borrow().last_index(), Some(9), "nothing is truncated yet");
        assert_eq!(log.admit(1), Err(ProposeError::WriteStall));
        draining(&log, truncating).await.unwrap();
        assert_eq!((log.0.log.borrow().last_index(), log.0.stalls.get()), (Some(3), 0));
        assert_eq!((log.admit(1), log.fault()), (Ok(()), None));
    });
}

#[test]
fn entries_that_are_in_memory_no_more_are_read_on_another_thread_and_may_be_purged_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let options = LogOptions { warm_files: 0, tail_bytes: READ_BYTES, ..LogOptions::default() };
        let log = RaftLog::open(&directory.path().join("log"), &options, &syncer).unwrap();
        let readers = Rc::new(Held::default());
        let mut log = LogStore::new(log, readers.clone(), Arc::new(|| {}));
        for index in 0..40 {
            log.append([entry(index, READ_BYTES / 4)], IOFlushed::noop()).await.unwrap();
        }
        let newest = log.limited_get_log_entries(39, 40).await.unwrap();
        assert_eq!((newest.len(), readers.job_count()), (1, 0), "it is in memory");

        let mut streamer = log.clone();
        let mut stream = streamer.entries_stream(0..40).await;
        let mut read = Vec::new();
        while read.len() < 40 {
            let next = poll_fn(|context| Poll::Ready(stream.poll_next_unpin(context))).await;
            match next {
                Poll::Ready(Some(entry)) => read.push(entry.unwrap().log_id.index()),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    assert_eq!(readers.job_count(), 1, "after {read:?}");
                    readers.run_all();
                    log.drain();
                }
            }
        }
        assert_eq!(read, (0..40).collect::<Vec<_>>());

        let mut whole = log.clone();
        let mut whole = Box::pin(whole.try_get_log_entries(1..40));
        let whole = loop {
            match poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await {
                Poll::Ready(entries) => break entries.unwrap(),
                Poll::Pending => readers.run_all(),
            }
        };
        let there: Vec<u64> = whole.iter().map(|entry| entry.log_id.index()).collect();
        assert_eq!(there, (1..40).collect::<Vec<_>>(), "with those in memory");

        // Two at once take turns.
        let (mut one, mut two) = (log.clone(), log.clone());
        let mut one = Box::pin(one.limited_get_log_entries(5, 7));
        let mut two = Box::pin(two.limited_get_log_entries(20, 22));
        for future in [&mut one, &mut two] {
            assert!(poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await);
        }
        assert_eq!(readers.job_count(), 1);
        // One is purged before it is read.
        let mut purger = log.clone();
        purger.purge(log_id(1, 15)).await.unwrap();
        readers.run_all();
        log.drain();
        let first = draining(&log, one).await;
        assert!(
            first.is_ok() || first.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
            "{first:?}"
        );
        assert!(poll_fn(|context| Poll::Ready(two.as_mut().poll(context).is_pending())).await);
        readers.run_all();
        log.drain();
        assert_eq!(draining(&log, two).await.unwrap().len(), 2);
        assert_eq!(log.fault(), None, "nothing is wrong with the log");
    });
}

#[test]
fn what_was_read_of_a_log_that_was_truncated_meanwhile_is_read_anew() {
    // What is left of what was asked for, if anything is.
    for (from, left) in [(8, vec![8]), (9, vec![])] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let syncer = LogSyncer::start(0, Durability::None).unwrap();
            let options = LogOptions { warm_files: 0, tail_bytes: READ_BYTES, ..LogOptions::default() };
            let log = RaftLog::open(&directory.path().join("log"), &options, &syncer).unwrap();
            let readers = Rc::new(Held::default());
            let log = LogStore::new(log, readers.clone(), Arc::new(|| {}));
            let mut writer = log.clone();
            for index in 0..40 {
                writer.append([entry(index, READ_BYTES / 4)], IOFlushed::noop()).await.unwrap();
            }
            let mut reader = log.clone();
            let mut reading = Box::pin(reader.limited_get_log_entries(from, 12));
            assert!(poll_fn(|context| Poll::Ready(reading.as_mut().poll(context).is_pending())).await);
            draining(&log, writer.truncate_after(Some(log_id(1, 8)))).await.unwrap();
            readers.run_all();
            let mut again = None;
            while again.is_none() {
                log.drain();
                readers.run_all();
                again = match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
                    Poll::Ready(read) => Some(read.unwrap()),
                    Poll::Pending => None,
                };
            }
            let indexes = again.iter().flatten().map(|entry| entry.log_id.index()).collect::<Vec<u64>>();
            assert_eq!((indexes, log.fault()), (left.clone(), None));
        });
    }
}

#[test]
fn a_read_that_finds_nothing_since_a_purge_came_in_between_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let syncer = LogSyncer::start(0, Durability::None).unwrap();
        let log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
        let mut writer = log.clone();
        writer.append((0..10).map(|index| entry(index, 10)), IOFlushed::noop()).await.unwrap();
        writer.purge(log_id(1, 5)).await.unwrap();
        let missing = || basalt_storage::Error::Corruption {
            path: directory.path().into(),
            detail: "record 3 is missing".into(),
        };
        let late = log.take_read(3, Ok(Err(missing()))).unwrap_err();
        assert_eq!((late.kind(), log.fault()), (io::ErrorKind::NotFound, None), "{late}");
        let damaged = log.take_read(7, Ok(Err(missing()))).unwrap_err();
        assert!(damaged.kind() != io::ErrorKind::NotFound && log.fault().is_some(), "{damaged}");
    });
}
