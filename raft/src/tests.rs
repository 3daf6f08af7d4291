//! openraft's own suite for log stores and state machines, on the RocksDB log and the store.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use basalt_storage::log::{Durability, LogSyncer};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::generations::Generations;
use crate::log_store::LogStore;
use crate::outcomes::Outcomes;
use crate::runtime::GlommioRuntime;
use crate::snapshot::Checkpoints;
use crate::state_machine::StateMachine;
use crate::support::{Appender, Setup, Threads, open_log, run};
use crate::types::TypeConfig;

struct Builder;

/// Removes the directory and stops the syncer when a test of the suite is over.
struct Guard {
    _directory: tempfile::TempDir,
    _syncer: LogSyncer,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(directory.path());
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let wake: crate::Wake = Arc::new(|| {});
        let threads = Rc::new(Threads);
        let log = LogStore::new(open_log(directory.path(), &syncer), threads.clone(), wake.clone());
        // The suite applies entries that it never appended.
        log.assume_flushed();
        let machine = Rc::new(RefCell::new(Appender::open(directory.path(), 1 << 20)));
        let options = setup.options();
        let generations =
            Generations::new(&options, machine.clone(), log.clone(), threads.clone(), threads, wake).unwrap();
        let checkpoints = Checkpoints::open::<basalt_storage::Store>(&options.snapshot_directory, &Threads).unwrap();
        let outcomes = Outcomes::new(Box::new(|_, _| {}));
        let state_machine = StateMachine::new(7, machine, log.clone(), outcomes, generations.clone(), checkpoints);
        state_machine.takes_gaps.set(true);
        let (drained, generations) = (log.clone(), Rc::downgrade(&generations));
        glommio::spawn_local(async move {
            while let Some(generations) = generations.upgrade() {
                drained.drain();
                generations.advance();
                drop(generations);
                glommio::timer::sleep(Duration::from_micros(100)).await;
            }
        })
        .detach();
        Ok((Guard { _directory: directory, _syncer: syncer }, log, state_machine))
    }
}

#[test]
fn passes_the_storage_suite_of_openraft() {
    run(async {
        Suite::<TypeConfig, LogStore, StateMachine, Builder, Guard>::test_all(Builder).await.unwrap();
    });
    let _ = std::any::type_name::<GlommioRuntime>();
}
