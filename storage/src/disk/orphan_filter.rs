//! The compaction filter that drops orphans: element rows of a collection that was deleted or overwritten.
//!
//! An element row is an orphan if the metadata row of its key is missing from RocksDB or carries another version: the rule is the
//! keyspace's, which hands it over with the options ([`RowRules`]). RocksDB's own view decides soundly, whatever the memtables
//! hold: generations are ingested whole, so that view is the keyspace as it stood after some log entry; a version is given out
//! once; so a version that is not its key's there never comes back.
//!
//! Whoever reads a snapshot of RocksDB may need what is an orphan by now, and a filter does not ask for snapshots: so while there
//! are views (see [`View`](crate::View)) every row stays. A filter looks for them after it has looked the key up: a view that it
//! does not see is taken later, and shows the key as it was found or newer.
//!
//! The one thing to get wrong: the view must not be older than the files being compacted. While a generation is being
//! ingested a compaction might pick the new file before reads see it, and would take its elements for orphans; see
//! [`IngestEpoch`].

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{CompactionDecision, DB, ReadOptions};

use crate::rows::RowRules;

const NAME: &CStr = c"basalt.orphans.1";

/// Counts the beginnings and ends of ingests: odd while one is under way.
///
/// A filter created in an even epoch reads a view at least as new as its compaction's files. One created in an odd epoch keeps
/// everything until that epoch has passed.
#[derive(Debug, Default)]
pub(crate) struct IngestEpoch(AtomicU64);

impl IngestEpoch {
    /// Begins an ingest, which ends when the guard is dropped. Ingests do not overlap.
    pub(crate) fn enter(&self) -> IngestGuard<'_> {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(before.is_multiple_of(2), "two ingests at once");
        IngestGuard(self)
    }

    fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct IngestGuard<'a>(&'a IngestEpoch);

impl Drop for IngestGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// While it is there, orphans stay.
pub(crate) struct OrphansStay<'a>(&'a AtomicU64);

impl<'a> OrphansStay<'a> {
    /// Begins a view; whatever it is to see is looked up after that.
    pub(crate) fn begin(views: &'a AtomicU64) -> OrphansStay<'a> {
        views.fetch_add(1, Ordering::SeqCst);
        OrphansStay(views)
    }
}

impl Drop for OrphansStay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Holder of the database for the filter, once that is open. Weak: the database owns its options, which own the factory.
pub(crate) type DatabaseSlot = Arc<OnceLock<Weak<DB>>>;

pub(crate) struct OrphanFilterFactory {
    rules: RowRules,
    epoch: Arc<IngestEpoch>,
    views: Arc<AtomicU64>,
    slot: DatabaseSlot,
}

impl OrphanFilterFactory {
    pub(crate) fn new(rules: RowRules) -> (OrphanFilterFactory, Arc<IngestEpoch>, DatabaseSlot) {
        let (epoch, slot) = (Arc::<IngestEpoch>::default(), DatabaseSlot::default());
        let views = Arc::default();
        (OrphanFilterFactory { rules, epoch: epoch.clone(), views, slot: slot.clone() }, epoch, slot)
    }

    /// Returns the counter of views; see [`OrphansStay`].
    pub(crate) fn views(&self) -> Arc<AtomicU64> {
        self.views.clone()
    }
}

impl CompactionFilterFactory for OrphanFilterFactory {
    type Filter = OrphanFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> OrphanFilter {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        OrphanFilter {
            rules: self.rules,
            blind_epoch: Some(self.epoch.current()).filter(|epoch| !epoch.is_multiple_of(2)),
            epoch: self.epoch.clone(),
            views: self.views.clone(),
            // Held for one compaction, which ends before the database is closed (see `Database::drop`).
            db: self.slot.get().and_then(Weak::upgrade),
            options,
            prefix: Vec::new(),
            prefix_is_orphan: false,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// The filter of one compaction.
pub(crate) struct OrphanFilter {
    rules: RowRules,
    epoch: Arc<IngestEpoch>,
    views: Arc<AtomicU64>,
    /// The epoch of an ingest that was under way when the compaction began: until it has passed, everything is kept.
    blind_epoch: Option<u64>,
    db: Option<Arc<DB>>,
    options: ReadOptions,
    /// The element prefix (key and version) asked last, and the answer: elements of one key follow each other.
    prefix: Vec<u8>,
    prefix_is_orphan: bool,
}

impl OrphanFilter {
    fn is_blind(&mut self) -> bool {
        match self.blind_epoch {
            Some(epoch) if epoch == self.epoch.current() => true,
            _ => {
                self.blind_epoch = None;
                false
            }
        }
    }

    fn is_orphan(&mut self, row: &[u8]) -> bool {
        let Some(prefix) = (self.rules.element_prefix)(row).map(|length| &row[..length]) else { return false };
        if prefix != self.prefix {
            let Some(answer) = self.look_up(prefix) else { return false };
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            self.prefix_is_orphan = answer;
        }
        self.prefix_is_orphan && self.views.load(Ordering::SeqCst) == 0
    }

    /// Returns whether the elements with this prefix are of a version that is no more; `None` if that cannot be told.
    fn look_up(&self, prefix: &[u8]) -> Option<bool> {
        let deciding = (self.rules.deciding_row)(prefix)?;
        let row = self.db.as_ref()?.get_pinned_opt(deciding, &self.options).ok()?;
        (self.rules.is_orphan)(prefix, row.as_deref())
    }
}

impl CompactionFilter for OrphanFilter {
    fn filter(&mut self, _level: u32, key: &[u8], _value: &[u8]) -> CompactionDecision {
        if !self.is_blind() && self.is_orphan(key) { CompactionDecision::Remove } else { CompactionDecision::Keep }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

#[cfg(test)]
mod tests {
    use std::ops::{Bound, ControlFlow};

    use super::*;
    use crate::cold_read::Direction;
    use crate::keyspace::{ElementKey, Keyspace, Packing, ROW_RULES, Scratch, Slot, VersionSource};
    use crate::rows::Rows;
    use crate::spaces::Space;
    use crate::{BlockCache, Store, StoreOptions};

    fn options() -> StoreOptions {
        StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))
    }

    /// Applies `commands` as the next log entry, in which nothing is packed.
    fn apply(store: &mut Store, commands: impl FnOnce(&mut Keyspace<'_>)) {
        apply_packing(store, &Packing::NONE, commands);
    }

    fn apply_packing(store: &mut Store, packing: &'static Packing, commands: impl FnOnce(&mut Keyspace<'_>)) {
        let index = store.applied().index + 1;
        let mut scratch = Scratch::default();
        let versions = VersionSource::entry(index).with_packing(packing);
        commands(&mut Keyspace::new(store, &mut scratch, versions, 0, 1000));
        store.set_applied(index, b"id", None);
    }

    fn add_set(keyspace: &mut Keyspace<'_>, key: &[u8]) {
        let mut set = keyspace.set_or_new(key).unwrap();
        for member in [b"x", b"y"] {
            assert!(set.insert(keyspace, member).unwrap());
        }
        set.save(keyspace).unwrap();
    }

    /// Returns whether both members of the set are there, as commands see it.
    fn is_whole(store: &mut Store, key: &[u8]) -> bool {
        let mut scratch = Scratch::default();
        let keyspace = Keyspace::new(store, &mut scratch, VersionSource::none(), 0, 1000);
        let Some(set) = keyspace.set(key).unwrap() else { return false };
        set.len() == 2 && [b"x", b"y"].iter().all(|member| set.contains(&keyspace, *member).unwrap())
    }

    fn write_out(store: &mut Store) {
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
    }

    /// The keys and versions of all element rows, once for each element.
    fn elements(store: &Store) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        store
            .scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |row, _| {
                if let Some(element) = ElementKey::read(row) {
                    found.push((String::from_utf8_lossy(element.key).into_owned(), element.version));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        found.sort();
        found
    }

    /// A store on disk with: a live set, a deleted one, an overwritten one, and one whose key is a string by now.
    fn sets() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path(), &options()).unwrap();
        apply(&mut store, |keyspace| {
            for key in [b"live", b"dead", b"anew", b"text"] {
                add_set(keyspace, key);
            }
        });
        write_out(&mut store);
        apply(&mut store, |keyspace| {
            assert!(keyspace.delete(b"dead").unwrap());
            assert!(keyspace.delete(b"anew").unwrap());
            add_set(keyspace, b"anew");
            keyspace.set_string(b"text", b"value", None).unwrap();
        });
        write_out(&mut store);
        (home, store)
    }

    #[test]
    fn compaction_drops_the_elements_of_dead_versions_only() {
        let (_home, mut store) = sets();
        assert_eq!(elements(&store).len(), 10, "orphans are there until compaction comes by");
        store.database().db().compact_range(None::<&[u8]>, None::<&[u8]>);
        let left: Vec<_> = elements(&store).into_iter().map(|(key, version)| (key, version >> 20)).collect();
        let expected = [("anew", 2), ("anew", 2), ("live", 1), ("live", 1)];
        assert_eq!(left, expected.map(|(key, entry)| (key.to_string(), entry)));
        assert!(is_whole(&mut store, b"live") && is_whole(&mut store, b"anew"));
    }

    #[test]
    fn elements_of_a_key_that_is_packed_by_now_are_orphans() {
        let (_home, mut store) = sets();
        apply_packing(&mut store, &Packing::STANDARD, |keyspace| {
            assert!(keyspace.delete(b"anew").unwrap());
            add_set(keyspace, b"anew");
        });
        write_out(&mut store);
        store.database().db().compact_range(None::<&[u8]>, None::<&[u8]>);
        assert!(elements(&store).iter().all(|(key, _)| key == "live"), "{:?}", elements(&store));
        assert!(is_whole(&mut store, b"live") && is_whole(&mut store, b"anew"));
    }

    #[test]
    fn the_elements_of_what_is_deleted_in_memory_only_stay_on_disk() {
        let (home, mut store) = sets();
        apply(&mut store, |keyspace| assert!(keyspace.delete(b"live").unwrap()));
        store.database().db().compact_range(None::<&[u8]>, None::<&[u8]>);
        drop(store);
        // As after a crash that lost the memtable: the log will delete the set again, but so far it is there.
        let mut store = Store::open(home.path(), &options()).unwrap();
        assert!(is_whole(&mut store, b"live"));
    }

    #[test]
    fn a_compaction_that_began_during_an_ingest_keeps_everything_until_it_ends() {
        let (_home, store) = sets();
        let (mut factory, epoch, slot) = OrphanFilterFactory::new(ROW_RULES);
        let db: &Arc<DB> = store.database().handle();
        slot.set(Arc::downgrade(db)).unwrap();
        let orphan = ElementKey::prefix(Space::FIRST, Slot::of(b"dead"), b"dead", 1 << 20);
        let context = || CompactionFilterContext { is_full_compaction: false, is_manual_compaction: false };
        let is_removed =
            |filter: &mut OrphanFilter| matches!(filter.filter(0, &orphan, b""), CompactionDecision::Remove);

        let before = &mut factory.create(context());
        let ingest = epoch.enter();
        let during = &mut factory.create(context());
        assert!(is_removed(before), "its files are older than the ingest");
        assert!(!is_removed(during), "its files may be newer than what it can read");
        drop(ingest);
        assert!(is_removed(during));
        let _next = epoch.enter();
        assert!(is_removed(during), "the next ingest brings nothing into this compaction");
    }
}
