//! Outcome of executing a batch, pinned to the batch's version.
//!
//! Beside the handlers themselves, constants decide which rows a command writes. Replicas of one group that had other values of
//! these would have other rows, and go on. Whoever changes one of them makes a new version of the batch, and keeps the old
//! value for batches of the version before; the test below says so to whoever forgets.

use basalt_lua::SHORT_SCRIPT_WORK;
use basalt_storage::keyspace::deciding_constants;

use crate::commands::Random;
use crate::commands::scripts::{reply_bytes_of, trial_bytes_of};
use crate::entry::batch::BATCH_VERSIONS;
use crate::limits::{
    self, APPROXIMATE_TRIM_MAX, DUMPED_BYTES_MAX, DUMPED_BYTES_PER_WORK, HYPERLOGLOG_SPARSE_BYTES_MAX,
    RESTORED_BYTES_MAX, RESTORED_ROW_OVERHEAD, RESTORED_ROWS_BYTES_MAX,
};

#[test]
fn what_decides_results_is_that_of_the_batchs_version() {
    let mut random = Random::new(1_234_567);
    let mut found = deciding_constants();
    found.extend([
        ("entries that an approximate trim deletes", APPROXIMATE_TRIM_MAX),
        ("bytes of a sparse HyperLogLog", HYPERLOGLOG_SPARSE_BYTES_MAX as u64),
        ("bytes of a collection that is restored", RESTORED_BYTES_MAX as u64),
        ("bytes of the rows of it", RESTORED_ROWS_BYTES_MAX as u64),
        ("bytes of such a row beside the key", RESTORED_ROW_OVERHEAD as u64),
        ("bytes of a value that is dumped", DUMPED_BYTES_MAX as u64),
        ("bytes of it for one unit of work", DUMPED_BYTES_PER_WORK),
        ("libraries of functions", u64::from(limits::LIBRARIES_MAX)),
        ("functions", u64::from(limits::FUNCTIONS_MAX)),
        ("bytes of a library", limits::ONE_LIBRARY_BYTES_MAX),
        ("bytes of all libraries", limits::LIBRARY_BYTES_MAX),
        ("bytes of their objects", limits::LIBRARY_HEAP_BYTES_MAX),
        ("work of loading them", limits::LIBRARY_WORK_MAX),
        ("bytes of a library for one unit of a call's work", limits::LIBRARY_BYTES_PER_WORK),
        ("milliseconds after which a client's id is old", limits::ONCE_ID_AGE_MS),
        ("milliseconds by which it may be ahead", limits::ONCE_ID_AHEAD_MS),
        ("bytes of a reply that is kept", limits::ONCE_KEPT_BYTES_MAX as u64),
        ("bytes of a reply to what is executed once", limits::ONCE_REPLY_BYTES_MAX as u64),
        ("bytes of a client's id", limits::ONCE_ID_BYTES_MAX as u64),
        ("bytes that a script may read and write", limits::SCRIPT_TRIAL_BYTES_MAX as u64),
        ("messages of a script", limits::SCRIPT_MESSAGES_MAX as u64),
        ("bytes of them", limits::SCRIPT_MESSAGE_BYTES_MAX as u64),
        ("work of a message", limits::MESSAGE_WORK),
        ("bytes of a message for one unit more", limits::MESSAGE_BYTES_PER_WORK),
        ("bytes that a long one may", trial_bytes_of(u64::MAX) as u64),
        ("bytes that a transaction may whose scripts may be sent back", limits::TRIAL_BYTES_MAX as u64),
        ("bytes of a reply to a script", limits::SCRIPT_REPLY_BYTES_MAX as u64),
        ("bytes of a reply to a long one", reply_bytes_of(u64::MAX) as u64),
        ("work of a short script", SHORT_SCRIPT_WORK),
        ("latest deadline of a field", limits::FIELD_DEADLINE_MS_MAX as u64),
        ("a random number", random.next_u64()),
        ("a random number below 1000", random.below(1000)),
    ]);
    found.extend(basalt_rdb::deciding_constants());
    let of_version_3 = [
        ("databases", 16),
        ("slots", 16_384),
        ("longest key on its way", 32 << 20),
        ("bytes of a type's fields", 240),
        ("counter bits of a version", 20),
        ("hash of a name", 330_051_302),
        ("names that are drawn by rank", 64),
        ("names that a draw chooses among", 16),
        ("elements that are renewed", 128),
        ("removed rows for each element that is renewed", 16),
        ("removed rows that are renewed", 1024),
        ("bytes of a sorted set's bound", 28),
        ("milliseconds of an epoch of sessions", 3_660_000),
        ("sessions", 262_144),
        ("entries acknowledged before the lowest is looked for", 64),
        // of batches with the flag that says so, in others nothing is packed
        ("bytes of a row for one unit of work", 64),
        ("bytes of a row that is looked for on trial", 512),
        ("fields of a packed hash", 512),
        ("members of a packed set", 128),
        ("integers of a packed set", 512),
        ("members of a packed sorted set", 128),
        ("bytes of a packed list", 8192),
        ("bytes of a packed string", 64),
        // of batches with the flag for it, in others no sorted set gets counts, and no type's fields have more than 64 bytes
        ("members of a sorted set with counts", 1024),
        ("order rows of a block", 64),
        ("children of a node of counts", 500),
        ("bytes of such a node's bounds", 12 << 10),
        ("bytes of the counts of the root", 161),
        ("bytes of a bound of a block", 512),
        ("share below which it is joined", 4),
        ("blocks that a write cuts", 8),
        ("order rows of such a block", 48),
        ("bytes of rows behind which a block is cut", 64 << 10),
        ("bytes of rows among which no cut is looked for any more", 512 << 10),
        ("entries that an approximate trim deletes", 10_000),
        ("bytes of a sparse HyperLogLog", 3000),
        ("bytes of a collection that is restored", 32 << 20),
        ("bytes of the rows of it", 512 << 20),
        ("bytes of such a row beside the key", 32),
        ("bytes of a value that is dumped", 32 << 20),
        ("bytes of it for one unit of work", 4),
        ("libraries of functions", 256),
        ("functions", 4096),
        ("bytes of a library", 1 << 20),
        ("bytes of all libraries", 4 << 20),
        ("bytes of their objects", 16 << 20),
        ("work of loading them", 8_000_000),
        ("bytes of a library for one unit of a call's work", 32),
        ("milliseconds after which a client's id is old", 3_600_000),
        ("milliseconds by which it may be ahead", 60_000),
        ("bytes of a reply that is kept", 1024),
        ("bytes of a reply to what is executed once", 4 << 20),
        ("bytes of a client's id", 128),
        ("bytes that a script may read and write", 4 << 20),
        ("messages of a script", 10_000),
        ("bytes of them", 4 << 20),
        ("work of a message", 50),
        ("bytes of a message for one unit more", 32),
        ("bytes that a long one may", 32 << 20),
        ("bytes that a transaction may whose scripts may be sent back", 16 << 20),
        ("bytes of a reply to a script", 4 << 20),
        ("bytes of a reply to a long one", 16 << 20),
        ("work of a short script", 1_000_000),
        ("latest deadline of a field", (1 << 46) - 1),
        ("a random number", 6_457_827_717_110_365_317),
        ("a random number below 1000", 173),
        ("bytes of a string of a payload", 8),
        ("bytes of a score of a payload", 8),
        ("bytes of an entry of a payload", 24),
        ("bytes of a group of a payload", 104),
        ("bytes of a consumer of a payload", 32),
        ("bytes of a pending entry of a payload", 40),
        ("bytes that a compressed byte becomes", 88),
        ("times that pieces are as large as their collection", 4),
        ("newest version of a payload", 11),
        // of RESTORE by the ids 1434 and 1435, which entries of before do not have
        ("newest version of a payload that may have deadlines of fields", 12),
        ("bytes of a deadline of a payload", 8),
        ("latest deadline of a payload", (1 << 48) - 1),
        ("payload of a string", 11_037_358_885_670_361_490),
        ("payload of a list", 10_414_112_541_610_440_693),
        ("payload of a set", 7_861_827_291_157_468_770),
        ("payload of a hash", 12_812_381_841_090_953_713),
        ("payload of a hash with deadlines", 7_166_114_786_063_998_733),
        ("payload of a sorted set", 3_663_350_711_744_789_195),
        ("payload of a stream", 10_554_723_326_724_385_069),
    ];
    let advice = "a batch of this version would have another outcome on other replicas: it needs a new version";
    assert_eq!((BATCH_VERSIONS.written(), &found[..]), (3, &of_version_3[..]), "{advice}");
}
