use std::pin::{Pin, pin};
use std::time::Duration;

use openraft::AsyncRuntime;

use super::*;
use crate::entry::encode_log_id;
use crate::runtime::GlommioRuntime;
use crate::support::{Appender, PATIENCE, Scene, run};
use crate::types::{entry_id, log_id};

impl Scene {
    /// Applies an entry that appends `text` to the row.
    fn apply(&self, index: u64, text: &str) {
        let id = log_id(1, index);
        let mut machine = self.machine.borrow_mut();
        machine.apply(entry_id(&id), text.as_bytes(), None).unwrap();
        machine.store.set_applied(index, &encode_log_id(&id), None);
        self.generations.applied(text.len(), &mut machine.store);
    }

    /// Waits for `future`, and looks for what other threads have finished, as a core does.
    async fn drive<F: Future>(&self, future: F) -> F::Output {
        let deadline = Instant::now() + PATIENCE;
        let mut future = pin!(future);
        loop {
            self.log.drain();
            self.generations.advance();
            let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
            if let Poll::Ready(output) = polled {
                return output;
            }
            assert!(Instant::now() < deadline, "on disk is {:?}", self.generations.durable_id());
            GlommioRuntime::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn a_checkpoint_that_finds_the_disk_full_leaves_a_generation_that_is_tried_again_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let long = "b".repeat(300_000);
    run(async {
        let scene = Scene::new(directory.path());
        scene.apply(1, "a");
        let mut checkpoint = Box::pin(scene.generations.checkpoint(directory.path().join("checkpoint")));
        let waits = poll_fn(|context| Poll::Ready(checkpoint.as_mut().poll(context).is_pending())).await;
        assert!(waits, "it waits until the first entry is on disk");
        // The first entry is frozen, so the second goes out with the checkpoint.
        scene.apply(2, &long);
        // Every write to its file fails with ENOSPC.
        std::os::unix::fs::symlink("/dev/full", directory.path().join("data/incoming/db-1-2.sst")).unwrap();

        let failed = scene.drive(checkpoint).await.unwrap_err();

        assert!(matches!(failed, Error::Storage(basalt_storage::Error::DiskFull { .. })), "{failed}");
        assert_eq!(scene.generations.durable_id(), Some(log_id(1, 1)));
        scene.apply(3, "c");
        let tried_again = async {
            while scene.generations.durable_id() == Some(log_id(1, 1)) {
                scene.generations.changed().await;
            }
        };
        scene.drive(tried_again).await;
        assert_eq!(scene.generations.durable_id(), Some(log_id(1, 2)), "the third entry came after it was frozen");
        let point = scene.drive(scene.generations.write_out()).await.unwrap();
        assert_eq!(point.last_log_id, Some(log_id(1, 3)));
    });
    let text = Appender::open(directory.path(), 1 << 20).text();
    assert!(text == format!("a{long}c"), "{} bytes", text.len());
}

/// Polls the making of a checkpoint, which is done on other threads.
async fn poll_once<F: Future>(mut checkpoint: Pin<&mut F>) {
    let is_pending = poll_fn(|context| Poll::Ready(checkpoint.as_mut().poll(context).is_pending())).await;
    assert!(is_pending, "it is over before it has begun");
}

#[test]
fn a_checkpoint_that_nobody_waits_for_any_more_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let scene = Scene::new(directory.path());
        for (round, texts) in [["a", "b"], ["c", "d"]].into_iter().enumerate() {
            let made = directory.path().join(format!("checkpoint-{round}"));
            let first = 3 * round as u64 + 1;
            scene.apply(first, texts[0]);
            {
                let mut checkpoint = Box::pin(scene.generations.checkpoint(made.clone()));
                poll_once(checkpoint.as_mut()).await;
                // It goes out with the checkpoint.
                scene.apply(first + 1, texts[1]);
                let deadline = Instant::now() + PATIENCE;
                while !scene.generations.is_checkpointing.get() {
                    assert!(Instant::now() < deadline, "it does not begin");
                    scene.log.drain();
                    scene.generations.advance();
                    poll_once(checkpoint.as_mut()).await;
                    GlommioRuntime::sleep(Duration::from_millis(1)).await;
                }
                // Now, or when it has begun its work.
                if round == 1 {
                    GlommioRuntime::sleep(Duration::from_millis(1)).await;
                }
            }
            scene.apply(first + 2, "x");

            let point = scene.drive(scene.generations.write_out()).await.unwrap();

            assert_eq!(point.last_log_id, Some(log_id(1, first + 2)));
            let removed = async {
                while made.exists() {
                    scene.generations.changed().await;
                }
            };
            scene.drive(removed).await;
        }
    });
    assert_eq!(Appender::open(directory.path(), 1 << 20).text(), "abxcdx");
}

#[test]
fn a_generation_that_goes_out_with_a_checkpoint_waits_for_the_sync_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let mut scene = Scene::new(directory.path());
        let generations = scene.generations.clone();
        scene.apply(1, "a");
        let mut checkpoint = Box::pin(generations.checkpoint(directory.path().join("checkpoint")));
        let waits = poll_fn(|context| Poll::Ready(checkpoint.as_mut().poll(context).is_pending())).await;
        assert!(waits, "it waits until the first entry is on disk");
        scene.apply(2, "b");
        // The sync that was asked for is done, every later one fails.
        scene.syncer = None;

        let failed = scene.drive(checkpoint).await.unwrap_err().to_string();

        assert!(failed.contains("syncing the log"), "{failed}");
        assert_eq!(scene.machine.borrow().store.durable_applied(), 1);
        assert_eq!(scene.generations.fault(), Some(failed.into()), "nothing is written out any more");
    });
}
