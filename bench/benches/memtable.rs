//! The memtable beside other ordered tables, and a hash table as the bound of what point operations can cost: rows of 19-byte
//! keys, as those of strings are, and 72-byte values.
//!
//! Basalt's is measured through an empty store, as a shard uses it. What a row costs beside its key and value is what the
//! allocator hands out, its rounding included. The largest size needs 2 GB: `make bench BENCH=memtable ARGS=10000`.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::hint::black_box;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::time::{Duration, Instant};

use basalt_bench::requests::Keys;
use basalt_storage::keyspace::{KeyPosition, ROW_RULES};
use basalt_storage::{BlockCache, Direction, Rows, Store, StoreOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use tempfile::TempDir;
use tikv_jemallocator::{Jemalloc, usable_size};

thread_local! {
    /// Bytes that this thread has from the allocator.
    static HELD_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// jemalloc, as in the node, with a count of what it hands out.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to jemalloc as it is, so its guarantees hold. The count is a `Cell` that is made without the
// allocator and has no destructor, and `usable_size` is asked of blocks that jemalloc holds just then.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            let block = Jemalloc.alloc(layout);
            HELD_BYTES.set(HELD_BYTES.get() + usable_size(block) as isize);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            HELD_BYTES.set(HELD_BYTES.get() - usable_size(block) as isize);
            Jemalloc.dealloc(block, layout);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            let before = usable_size(block) as isize;
            let block = Jemalloc.realloc(block, layout, bytes);
            HELD_BYTES.set(HELD_BYTES.get() - before + usable_size(block) as isize);
            block
        }
    }
}

/// Rows of each size.
const SIZES: [u32; 3] = [10_000, 1_000_000, 10_000_000];
const KEY_BYTES: usize = 19;
const VALUE: [u8; 72] = [b'x'; 72];
/// Rows that are asked for, in random order, again and again; of small tables each is asked for more than once.
const SAMPLE_COUNT: usize = 1 << 18;
/// Rows that are inserted before they are removed again, so that the table's size stays.
const INSERTED_COUNT: usize = 1 << 12;
/// Rows of a scan.
const SCANNED_COUNT: usize = 100;

type Key = [u8; KEY_BYTES];

/// The metadata row's key of a name: database, slot, kind and hash, then the name (see `storage/FORMAT.md`).
fn key(prefix: &str, number: u32) -> Key {
    let name = format!("{prefix}:{number:07}");
    let [.., high, low, a, b, c, d] = KeyPosition::of(name.as_bytes()).to_bits().to_be_bytes();
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&[0, high, low, 0, a, b, c, d]);
    key[8..].copy_from_slice(name.as_bytes());
    key
}

/// A table of rows.
trait Table: Sized {
    const NAME: &'static str;
    const IS_ORDERED: bool = true;
    fn new() -> Self;
    fn put(&mut self, key: &[u8], value: &[u8]);
    fn delete(&mut self, key: &[u8]);
    /// A byte of the value.
    fn get(&self, key: &[u8]) -> Option<u8>;
    /// The sum of one byte of each of `count` values from `key` on.
    fn scan(&self, key: &[u8], count: usize) -> usize;
    /// The bytes that the table believes to hold.
    fn believed_bytes(&self) -> Option<usize> {
        None
    }
}

struct Basalt {
    store: Store,
    _dir: TempDir,
}

impl Table for Basalt {
    const NAME: &'static str = "basalt";

    fn new() -> Basalt {
        let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory can be made");
        let options = StoreOptions::new(ROW_RULES, usize::MAX, BlockCache::new(1 << 20));
        Basalt { store: Store::open(dir.path(), &options).expect("a store can be made"), _dir: dir }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.store.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.store.delete(key);
    }

    fn get(&self, key: &[u8]) -> Option<u8> {
        self.store.get(key).expect("everything is in memory").map(|row| row[0])
    }

    fn scan(&self, key: &[u8], count: usize) -> usize {
        let (mut sum, mut left) = (0, count);
        let mut visit = |_: &[u8], value: &[u8]| {
            sum += usize::from(value[0]);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let scanned = self.store.scan(Bound::Included(key), Bound::Unbounded, Direction::Forward, &mut visit);
        scanned.expect("everything is in memory");
        sum
    }

    fn believed_bytes(&self) -> Option<usize> {
        Some(self.store.memory().active_bytes)
    }
}

/// The memtable as it was before.
type OrderedMap = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;

impl Table for OrderedMap {
    const NAME: &'static str = "std BTreeMap";

    fn new() -> OrderedMap {
        OrderedMap::default()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.entry(key.into()) {
            btree_map::Entry::Vacant(vacant) => drop(vacant.insert(Some(value.into()))),
            btree_map::Entry::Occupied(mut occupied) => match occupied.get_mut() {
                Some(old) if old.len() == value.len() => old.copy_from_slice(value),
                old => *old = Some(value.into()),
            },
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.remove(key);
    }

    fn get(&self, key: &[u8]) -> Option<u8> {
        BTreeMap::get(self, key)?.as_ref().map(|value| value[0])
    }

    fn scan(&self, key: &[u8], count: usize) -> usize {
        let rows = self.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).take(count);
        rows.map(|(_, value)| value.as_ref().map_or(0, |value| usize::from(value[0]))).sum()
    }
}

type HashedMap = HashMap<Box<[u8]>, Box<[u8]>>;

impl Table for HashedMap {
    const NAME: &'static str = "std HashMap";
    const IS_ORDERED: bool = false;

    fn new() -> HashedMap {
        HashedMap::default()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.entry(key.into()) {
            hash_map::Entry::Vacant(vacant) => drop(vacant.insert(value.into())),
            hash_map::Entry::Occupied(mut occupied) => occupied.get_mut().copy_from_slice(value),
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.remove(key);
    }

    fn get(&self, key: &[u8]) -> Option<u8> {
        HashMap::get(self, key).map(|value| value[0])
    }

    fn scan(&self, _: &[u8], _: usize) -> usize {
        unreachable!("it has no order")
    }
}

/// An adaptive radix tree.
type RadixTree = blart::TreeMap<Box<[u8]>, Box<[u8]>>;

impl Table for RadixTree {
    const NAME: &'static str = "blart";

    fn new() -> RadixTree {
        RadixTree::new()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.get_mut(key) {
            Some(old) => old.copy_from_slice(value),
            None => drop(self.try_insert(key.into(), value.into()).expect("no key is the beginning of another")),
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.remove(key);
    }

    fn get(&self, key: &[u8]) -> Option<u8> {
        blart::TreeMap::get(self, key).map(|value| value[0])
    }

    fn scan(&self, key: &[u8], count: usize) -> usize {
        let rows = self.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).take(count);
        rows.map(|(_, value)| usize::from(value[0])).sum()
    }
}

/// A skip list that many threads could write to.
type SkipList = SkipMap<Box<[u8]>, Box<[u8]>>;

impl Table for SkipList {
    const NAME: &'static str = "crossbeam-skiplist";

    fn new() -> SkipList {
        SkipList::new()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.insert(key.into(), value.into());
    }

    fn delete(&mut self, key: &[u8]) {
        self.remove(key);
    }

    fn get(&self, key: &[u8]) -> Option<u8> {
        SkipMap::get(self, key).map(|entry| entry.value()[0])
    }

    fn scan(&self, key: &[u8], count: usize) -> usize {
        let rows = self.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).take(count);
        rows.map(|entry| usize::from(entry.value()[0])).sum()
    }
}

fn bench_table<T: Table>(criterion: &mut Criterion, rows: u32) {
    // Filling the table is left to the first bench that runs: a filter may leave out all of them.
    let filled: std::cell::OnceCell<std::cell::RefCell<T>> = std::cell::OnceCell::new();
    let table = || filled.get_or_init(|| std::cell::RefCell::new(fill(rows)));
    let mut draw = Keys::new(u64::from(rows));
    let hits: Vec<Key> = (0..SAMPLE_COUNT).map(|_| key("key", draw.number() as u32)).collect();
    let misses: Vec<Key> = (0..SAMPLE_COUNT as u32).map(|number| key("new", number)).collect();

    let mut group = criterion.benchmark_group(format!("memtable {}k", rows / 1000));
    group.throughput(Throughput::Elements(1));
    let mut next = hits.iter().cycle();
    group.bench_function(format!("{} get hit", T::NAME), |bench| {
        let table = table().borrow();
        bench.iter(|| table.get(next.next().expect("it never ends")).expect("it is there"));
    });
    let mut next = misses.iter().cycle();
    group.bench_function(format!("{} get miss", T::NAME), |bench| {
        let table = table().borrow();
        bench.iter(|| assert!(table.get(next.next().expect("it never ends")).is_none()));
    });
    let mut next = hits.iter().cycle();
    group.bench_function(format!("{} overwrite", T::NAME), |bench| {
        let mut table = table().borrow_mut();
        bench.iter(|| table.put(next.next().expect("it never ends"), black_box(&VALUE)));
    });
    let mut next = misses.chunks(INSERTED_COUNT).cycle();
    group.bench_function(format!("{} insert", T::NAME), |bench| {
        let mut table = table().borrow_mut();
        bench.iter_custom(|times| {
            let (mut taken, mut left) = (Duration::ZERO, times as usize);
            while left > 0 {
                let keys = next.next().expect("it never ends");
                let keys = &keys[..keys.len().min(left)];
                let begun = Instant::now();
                keys.iter().for_each(|key| table.put(key, black_box(&VALUE)));
                taken += begun.elapsed();
                keys.iter().for_each(|key| table.delete(key));
                left -= keys.len();
            }
            taken
        });
    });
    if T::IS_ORDERED {
        let mut next = hits.iter().cycle();
        group.bench_function(format!("{} scan of {SCANNED_COUNT}", T::NAME), |bench| {
            let table = table().borrow();
            bench.iter(|| table.scan(next.next().expect("it never ends"), SCANNED_COUNT));
        });
    }
    group.finish();
}

/// A table with `rows` rows, which come in random order. Says how long that took and what memory they need.
fn fill<T: Table>(rows: u32) -> T {
    let mut table = T::new();
    let held = HELD_BYTES.get();
    let mut slowest = Duration::ZERO;
    let mut taken = Duration::ZERO;
    for number in 0..rows {
        let key = key("key", number);
        let begun = Instant::now();
        table.put(&key, &VALUE);
        let elapsed = begun.elapsed();
        taken += elapsed;
        slowest = slowest.max(elapsed);
    }
    let held = (HELD_BYTES.get() - held) as f64;
    let overhead = held / f64::from(rows) - (KEY_BYTES + VALUE.len()) as f64;
    let each = taken / rows;
    println!(
        "{} with {rows} rows: {overhead:.1} bytes of overhead a row; {each:?} an insert, at most {slowest:?}",
        T::NAME
    );
    if let Some(believed) = table.believed_bytes() {
        let ratio = believed as f64 / held;
        println!("{}: {believed} bytes by its own count, {ratio:.3} of the allocator's", T::NAME);
        assert!((0.95..1.05).contains(&ratio), "a memtable's budget means real memory");
    }
    table
}

fn memtable(criterion: &mut Criterion) {
    for rows in SIZES {
        bench_table::<Basalt>(criterion, rows);
        bench_table::<OrderedMap>(criterion, rows);
        bench_table::<HashedMap>(criterion, rows);
        bench_table::<RadixTree>(criterion, rows);
        bench_table::<SkipList>(criterion, rows);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = memtable
}
criterion_main!(benches);
