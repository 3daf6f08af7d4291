//! Every bound of this crate: queues, buffers, batches, retries, waits. What is not here is a setting, see [`crate::config`], or a
//! bound of another crate, in its `limits`.
//!
//! Bounds stand by room, and in it by what they bound; one that several rooms use stands with the room that keeps to it.
//!
//! A bound is part of the design: what would exceed it waits, is slowed down or is refused; nothing grows instead.

use std::time::Duration;

// --- config: the settings ----------------------------------------------------------------------------------------------------

/// Shards of one node: each has a Raft group and a RocksDB instance for its rows, and one for its log where it shares none.
pub const SHARDS_MAX: usize = 1024;

/// Cores of one node. Mailboxes are per ordered pair of cores, so their number grows with the square of this.
pub const CORES_MAX: usize = 256;

/// Processor numbers beyond this one exist on no machine that Linux supports (`CONFIG_NR_CPUS` ends at 8192).
pub const CPU_NUMBER_MAX: u16 = 8191;

/// Smallest `election-timeout`: a core may be busy with one large collection for a fifth of a second, and disks stall as long.
pub const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// Largest `maxclients`.
pub const CLIENTS_MAX: u32 = 1_000_000;

/// Smallest `proto-max-bulk-len`, as in Redis.
pub const BULK_BYTES_MIN: u64 = 1 << 20;

/// Largest `proto-max-bulk-len`: Redis' own default, and far below the 4 GiB that the decoder's 32-bit ranges reach.
pub const BULK_BYTES_MAX: u64 = 512 << 20;

/// Smallest bound of a shard's Raft log.
pub const RAFT_LOG_BYTES_MIN: u64 = 8 << 20;

/// Least memory for a node: below, RocksDB's own buffers leave nothing for data.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// Least memory per shard: two memtables of [`MEMTABLE_BYTES_MIN`], the log's tail and RocksDB's tables of contents.
pub const SHARD_MEMORY_BYTES_MIN: u64 = 8 << 20;

/// Longest password, and longest name of a user that is a setting.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Largest `acllog-max-len`.
pub const ACL_LOG_MAX: u32 = 10_000;

// --- acl ---------------------------------------------------------------------------------------------------------------------

/// Users of a node: each SETUSER copies their table.
pub const ACL_USERS_MAX: usize = 10_000;

/// Patterns, passwords, selectors and rules on commands of one user, of each: every command of the user is compared with them.
pub const ACL_RULES_MAX: usize = 1000;

/// Longest name of a user.
pub const ACL_NAME_BYTES_MAX: usize = 512;

/// Longest pattern, and longest argument of a command that a rule names.
pub const ACL_RULE_BYTES_MAX: usize = 64 << 10;

/// Bytes of all rules of a user, and of a call that makes one.
pub const ACL_USER_BYTES_MAX: usize = 1 << 20;

/// Words of such a call: each may be a category, which is as much work as the table of commands is long.
pub const ACL_WORDS_MAX: usize = 10_000;

/// Largest file of users: as many as there may be, with long rules.
pub const ACL_FILE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a key, a channel or a client in an entry of ACL LOG.
pub const ACL_LOG_TEXT_BYTES_MAX: usize = 1024;

/// Entries of ACL LOG that are looked at for the same, and how long they are the same: as in Redis.
pub const ACL_LOG_LOOKS_BACK: usize = 10;

/// Time within which what is denied again is no entry of its own.
pub const ACL_LOG_SAME: Duration = Duration::from_secs(60);

/// Denials of one transaction that are noted in ACL LOG.
pub const TRANSACTION_DENIALS_NOTED: usize = 16;

/// Bits of a password that ACL GENPASS makes, as in Redis.
pub const PASSWORD_BITS_MAX: i64 = 4096;

/// Arguments that a client may send in a command before it has said who it is, and the size of each: as in Redis.
pub const UNKNOWN_CLIENT_ARGS_MAX: usize = 10;

/// Size of each of them.
pub const UNKNOWN_CLIENT_BULK_BYTES_MAX: usize = 16 << 10;

// --- debug ------------------------------------------------------------------------------------------------------------------

/// The longest DEBUG SLEEP: a client that is gone leaves its timer behind.
pub const DEBUG_SLEEP_MAX: Duration = Duration::from_secs(3600);

// --- monitor -----------------------------------------------------------------------------------------------------------------

/// Bytes of the line that monitors are told of a command, about: what is beyond is told as a number.
pub const MONITOR_LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the lines that monitors are told of a transaction, each of which counts for [`DELIVERY_COST_BYTES`] besides: some
/// milliseconds of work.
pub const MONITOR_TRANSACTION_COST_MAX: usize = 1 << 20;

// --- memory -----------------------------------------------------------------------------------------------------------------

/// Elements that MEMORY USAGE looks at from either end of a collection, whatever is asked for: some hundred microseconds.
pub const MEMORY_USAGE_SAMPLES_MAX: u64 = 1000;
/// Time between the beginnings of two MEMORY PURGE that do something.
pub const MEMORY_PURGE_PAUSE: Duration = Duration::from_secs(1);

// --- pause ------------------------------------------------------------------------------------------------------------------

/// The longest CLIENT PAUSE: what is asked for beyond comes to the same.
pub const PAUSE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

// --- latency monitor ---------------------------------------------------------------------------------------------------------

/// Seconds of which the worst is kept, of each event, as in Redis.
pub const LATENCY_SAMPLES_MAX: usize = 160;

// --- slow log ----------------------------------------------------------------------------------------------------------------

/// Bytes of the entries of one core: some thousands.
pub const SLOW_LOG_BYTES_MAX: usize = 4 << 20;

/// Arguments of an entry, as in Redis.
pub const SLOW_LOG_ARGS_MAX: usize = 32;

/// Bytes of each of them, as in Redis.
pub const SLOW_LOG_ARG_BYTES_MAX: usize = 128;

/// Calls that wait for their core's next turn: with so many in one turn, the log forgets all but the last ones anyway.
pub const SLOW_RUNS_ARRIVED_MAX: usize = 1024;

// --- config: MemoryBudget ----------------------------------------------------------------------------------------------------

/// Smallest memtable: small enough for tests to freeze all the time, large enough for a file per freeze to make sense.
pub const MEMTABLE_BYTES_MIN: u64 = 256 << 10;

/// Largest memtable that follows from `memory`; larger ones make recovery slow and save little.
pub const MEMTABLE_BYTES_DEFAULT_MAX: usize = 256 << 20;

/// Times its budget that a memtable may hold while the one before it is being written; then batches wait. Only where slowing
/// writers down has not been enough, see `shard/pace/slow_down.rs`.
pub const MEMTABLE_OVERFLOW: usize = 2;

/// Memtables that may be in memory at once in each shard, in budgets of one: the active one and the one before it, each overgrown.
pub const MEMTABLES_PER_SHARD: u64 = 2 * MEMTABLE_OVERFLOW as u64;

/// Least bytes of its newest log entries that a shard keeps in memory.
pub const LOG_TAIL_BYTES_MIN: u64 = 256 << 10;

/// Most bytes of its newest log entries that a shard keeps in memory: a follower that is further behind is served from the disk.
pub const LOG_TAIL_BYTES_MAX: u64 = 64 << 20;

/// Smallest segment of a shard's log. Each is written as a table, which costs files and syncs.
pub const LOG_SEGMENT_BYTES_MIN: u64 = 256 << 10;

// --- boot: the machine and the data directory --------------------------------------------------------------------------------

/// Processors of which `cores = auto` leaves one without a core: syncing, flushing and compacting take about so much of what the
/// cores take, and have to run somewhere.
pub const PROCESSORS_PER_FREE_ONE: usize = 8;

/// Arenas of the C heap, which is RocksDB's: with one for each thread a loaded node of 256 MiB was 44 MB larger.
pub const HEAP_ARENAS: u16 = 2;

/// Locked memory that glommio demands of the limit before it starts an executor.
pub const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Disk space set aside for each shard's part of the next start: RocksDB's lists of files, options, notes and first write-ahead
/// file, beside those they take the place of. A start of eight shards was seen to end with 0.3 MiB less than before, in all
/// (`a_node_of_many_shards_starts_again_and_again_on_a_full_disk` prints it); what it takes in passing is more.
pub const BALLAST_BYTES_PER_SHARD: u64 = 1 << 20;

/// The largest number of a group: TOML's integers, in which the manifest has it, have a sign.
pub const GROUP_NUMBER_MAX: u64 = i64::MAX as u64;

// --- boot: OpenFiles ---------------------------------------------------------------------------------------------------------

/// Open files of a node beside its clients and shards: listeners, rings, pipes, the log, the configuration.
pub const OPEN_FILES_NODE: u64 = 64;

/// Open files per core: its rings, wake-up pipes and glommio's own.
pub const OPEN_FILES_PER_CORE: u64 = 32;

/// Open files per shard beside its tables: write-ahead files, lists of files, locks, what is being written.
pub const OPEN_FILES_PER_SHARD: u64 = 64;

/// Tables of a shard's log that RocksDB keeps open at most: others are opened anew for each read.
pub const OPEN_LOG_TABLES_MAX: u32 = 512;

/// The same at least, where the limit of open files is low.
pub const OPEN_LOG_TABLES_MIN: u32 = 64;

/// Tables of a shard's rows that RocksDB keeps open at most.
pub const OPEN_ROW_TABLES_MAX: u32 = 1024;

/// The same at least, where the limit of open files is low.
pub const OPEN_ROW_TABLES_MIN: u32 = 64;

/// Clients that are let in before tables are kept open, where the limit of open files is too low for both.
pub const CLIENTS_BEFORE_TABLES: u32 = 1000;

/// Clients without which a node is of no use.
pub const CLIENTS_MIN: u32 = 16;

// --- boot: ports, the log of lines, the stop ---------------------------------------------------------------------------------

/// Time that a start waits for the port of a predecessor that was killed a moment ago.
pub const LISTEN_RETRY_MAX: Duration = Duration::from_secs(1);

/// Interval at which a start tries meanwhile.
pub const LISTEN_RETRY: Duration = Duration::from_millis(20);

/// Log lines waiting for the standard error to take them; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 4096;

/// Time that a stop waits for waiting log lines to be written.
pub const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Time that a graceful stop may take. After it the process ends at once, which loses nothing acknowledged under
/// `durability = always`: a restart replays the log.
pub const STOP_MAX: Duration = Duration::from_secs(5);

// --- start: threads ----------------------------------------------------------------------------------------------------------

/// Delay that the timers of a core may have: a part of [`GATHER`].
pub const TIMER_SLACK: Duration = Duration::from_micros(5);

/// The time slice a log syncer asks of the kernel: the shortest it grants, so that the thread runs soon after it is woken though
/// another program keeps the processor busy; redis-benchmark beside it held a sync up for 0.2 ms. Not for cores, which would only
/// interrupt their clients more often.
pub const TIME_SLICE: Duration = Duration::from_micros(100);

/// Threads per core that read what is not in memory.
pub const READER_THREADS_PER_CORE: usize = 2;

/// Threads per core that execute clients' reads which need much from disk, and as many for those that stand between writes.
pub const VIEW_THREADS_PER_CORE: usize = 2;

/// Threads that write generations and snapshots.
pub const BACKGROUND_THREADS: usize = 2;

/// Jobs that may wait for the background threads; each shard has five at most.
pub const BACKGROUND_JOBS: usize = 5 * SHARDS_MAX;

/// Interval at which a node that has started on a full disk looks whether there is room to compact.
pub const COMPACTION_RETRY: Duration = Duration::from_millis(500);

/// The longest that is waited, when a failed group is opened again, for threads that still use its files.
pub const REOPEN_PATIENCE: Duration = Duration::from_secs(30);
/// Interval at which it is tried.
pub const REOPEN_LOOKS: Duration = Duration::from_millis(20);
/// Interval at which a start whose groups are open looks whether the cores have taken them: they do in their next turns.
pub const SEAT_LOOKS: Duration = Duration::from_millis(1);

// --- mail: Mailboxes ---------------------------------------------------------------------------------------------------------

/// Batches of requests that one core may leave for another. A full queue stops the sender from decoding.
pub const MAILBOX_REQUEST_BATCHES: usize = 256;

/// Orders of transactions over several shards in one mailbox: what finds no room waits with its sender.
pub const MAILBOX_ORDERS: usize = 1024;

/// Bytes of requests that one core may leave for another, beside the batch that reaches them.
pub const MAILBOX_REQUEST_BYTES: usize = 8 << 20;

/// Batches of replies that one core may leave for another. More wait with the sender.
pub const MAILBOX_REPLY_BATCHES: usize = 32;

/// Bytes of replies that one core may leave for another, beside the batch that reaches them: each has [`OUTBOX_REPLY_BYTES_MAX`]
/// and one reply at most. A core that is behind is left no more.
pub const MAILBOX_REPLY_BYTES: usize = 8 << 20;

/// Bytes of what another core has left that are read ahead: with more, that would drive out what it has read.
pub const FETCHED_BYTES_MAX: usize = 16 << 10;

// --- node: Scripts -----------------------------------------------------------------------------------------------------------

/// Scripts that a node keeps for who calls them by their digest. Applications have some dozens; those that make a text of every
/// call make their own drop each other.
pub const CACHED_SCRIPTS_MAX: usize = 10_000;

/// Work that a script may do unless `script-work-max` says else: 40 to 260 milliseconds. Scripts of queues do a thousand jobs with
/// a tenth of it.
pub const SCRIPT_WORK_DEFAULT: u64 = 20 * basalt_lua::SHORT_SCRIPT_WORK;

/// The least that `script-work-max` may say: below, not even usual scripts come to their end.
pub const SCRIPT_WORK_LEAST: u64 = basalt_lua::SHORT_SCRIPT_WORK / 10;

/// The most: with it a script holds its core for a second, and as long again at each replay of the log.
pub const SCRIPT_WORK_MOST: u64 = 100 * basalt_lua::SHORT_SCRIPT_WORK;

/// Work that a script of a cluster may do for each millisecond of an eighth of `election-timeout`, whatever `script-work-max` says:
/// its core sends and hears no heartbeats meanwhile. The last one before may be twice as old, and the script take three times as
/// long where processors are shared, and nobody stands for election.
pub const SCRIPT_WORK_PER_MS: u64 = basalt_lua::SHORT_SCRIPT_WORK / 10;

/// Work of the scripts in one batch, by their budgets, at which its shard takes nothing but plain reads until it is proposed: one
/// batch is applied in one go but for turns of its core in between, and whoever writes to its shard waits for that. What scripts do
/// is a small part of their budgets.
pub const BATCH_SCRIPT_WORK_MAX: u64 = 16 * SCRIPT_WORK_DEFAULT;

/// Time after which a core that runs scripts goes on with something else: between two of a batch, and between two commands of a
/// connection. As long as a short script may take.
pub const SCRIPTS_TURN: Duration = Duration::from_millis(10);

/// Bytes of the rights of a script's caller, patterns and all: they stand in each entry of the log that runs one.
pub const SCRIPT_RIGHTS_BYTES_MAX: usize = 64 << 10;

/// Bytes of a function's name by which it is known to access keys of other shards: those that begin alike are taken for one.
pub const FUNCTION_NAME_SHOWN: usize = 100;

/// Scripts of one transaction: the libraries are copied for each, some microseconds.
pub const TRANSACTION_SCRIPTS_MAX: usize = 1000;

/// Bytes of the texts of the scripts of one transaction and of the rights of their callers together, which stand in the entry
/// whatever the client has sent: as many as one script may have.
pub const TRANSACTION_SCRIPT_BYTES_MAX: usize = basalt_lua::INPUT_BYTES_MAX;

/// Work of a script over several shards together with that of its beginnings: where it cannot wait for the answer to a call, it
/// begins anew behind that. It is enough for about 1,500 short calls through `pcall`, in pieces that are never longer than the
/// script itself.
pub const SPANNING_SCRIPT_WORK_MAX: u64 = 256 * basalt_lua::SHORT_SCRIPT_WORK;

/// Messages that a script may publish: it may do little more in the work that a short one has. It is a part of what a batch means.
pub const SCRIPT_MESSAGES_MAX: usize = 10_000;

/// Bytes of them, with their channels: as many as one reply to it may have. It is a part of what a batch means.
pub const SCRIPT_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Work of a message that a script publishes, in units of a script's work: finding its receivers, which its client's core does. It
/// is a part of what a batch means.
pub const MESSAGE_WORK: u64 = 50;

/// Bytes of a message for one unit more. It is a part of what a batch means.
pub const MESSAGE_BYTES_PER_WORK: u64 = 32;

/// Times that a script over several shards begins from its start with keys that it has not declared held by their names. Then it
/// holds all shards.
pub const SCRIPT_STARTS_BY_KEY: u32 = 3;

/// Keys that a script over several shards may hold, before it holds all shards instead of them: those of some thousand jobs.
pub const SCRIPT_KEYS_LEARNT_MAX: usize = 20_000;

/// Writes of a script that shards run again while it learns which keys it needs: nothing is kept of it then, so each call is run
/// behind all writes before. So many are those behind some 300 calls that all write in one shard, and take some 100 ms; beyond, it
/// learns no more, and holds all shards.
pub const SCRIPT_LEARNING_REPEATS_MAX: u64 = 50_000;

/// Bytes of what scripts over several shards have written in one shard, which are kept there for their next calls: as much as one
/// may write there. Those for which there is no room write it anew with each call.
pub const KEPT_TRIAL_BYTES_MAX: usize = SCRIPT_TRIAL_BYTES_MAX * SCRIPT_TRIAL_TIMES_MAX as usize;

/// Bytes of the machines of a core's scripts over several shards that wait for the answer to a call. Those for which there is no
/// room begin anew behind it.
pub const WAITING_MACHINES_BYTES_MAX: usize = 128 << 20;

/// Bytes of those scripts that are kept. Texts have a few kilobytes.
pub const CACHED_SCRIPT_BYTES_MAX: usize = 16 << 20;

// --- node: LiveSettings ------------------------------------------------------------------------------------------------------

/// Longest inline command (a line that is no RESP array), as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Most arguments of one command, as in Redis since 7.0. What they take counts as part of the command, whose bytes are bounded.
pub const ARGS_MAX: usize = i32::MAX as usize;

// --- clients: Connection -----------------------------------------------------------------------------------------------------

/// Requests of one connection that may be unanswered; then it is not decoded any further. Of reads that are not answered at
/// once, and of writes with large replies, it is fewer: see [`REPLY_BYTES_EXPECTED`].
pub const REQUESTS_PER_CONNECTION: usize = 8192;

/// Reads of a fresh connection that may be on their way to another core or wait in order, and writes that return what they remove
/// or replace: their replies may be large, all of them come to be held in memory, and those behind one write are read in one go.
/// While replies are small the number doubles with each round trip, so that a pipeline of 16 waits twice in the life of its
/// connection and one of 1000 eight times.
pub const VALUES_ON_THEIR_WAY_AT_FIRST: usize = 4;

/// Bytes of replies that one connection may have on their way, judged by the largest of the last: as much as it may have
/// unsent before it is not decoded any further.
pub const REPLY_BYTES_EXPECTED: usize = OUTPUT_BYTES_STALLED;

/// Capacity for unanswered requests that a connection keeps when it has none.
pub const PLACES_KEPT: usize = 64;

/// Capacity of an empty input buffer that is kept: a connection with nothing to say costs little.
pub const INPUT_BUFFER_KEPT: usize = 4 << 10;

// --- clients: Traffic --------------------------------------------------------------------------------------------------------

/// Time that traffic is counted before it is judged.
pub const TRAFFIC_WINDOW: Duration = Duration::from_millis(2);

/// Clients that must speak within [`TRAFFIC_WINDOW`] for a core to gather: fewer may all wait for what it has not looked at.
pub const GATHER_CLIENTS_MIN: usize = 16;

/// Times that clients must be heard in each [`GATHER`] of time, on average, for a core to gather; a pipeline is heard once.
pub const GATHER_RECEIVES_MIN: usize = 3;

/// Clients heard that end gathering early, however many there are.
pub const GATHER_RECEIVES_MAX: usize = 64;

// --- core_loop: sleep --------------------------------------------------------------------------------------------------------

/// Busy time after which a core lets glommio look at its timers, files and foreign wakers.
pub const REACTOR_TURN: Duration = Duration::from_millis(2);

/// Time that other tasks of a core run, if they have so much to do, before it looks at its ring again.
pub const TASKS_RUN: Duration = Duration::from_micros(100);

/// Time that a core blocks in its ring before it parks in glommio.
pub const BLOCK: Duration = Duration::from_millis(1);

/// The same if it has replies to send first: a socket that is full would hold up what else comes for so long.
pub const BLOCK_SENDING: Duration = Duration::from_micros(100);

/// Time that a core sleeps which much traffic wakes often, before it looks at what has come meanwhile. In interleaved
/// runs of GET -c 50 -P 1, 50 µs saved a tenth of the processor time of a request and 200 µs half of it; what it comes to now:
/// `make bench-compare ARGS='--only "get -c 50 -P 1"'`.
pub const GATHER: Duration = Duration::from_micros(200);

/// The same while many clients write: then most of them wait for the next sync, which is not to begin later than it has to.
/// In interleaved runs of SET -c 50 -P 1 on one core, 100 µs gave a tenth more requests per second than 200, and 30 or 50 as many.
pub const GATHER_WRITES: Duration = Duration::from_micros(100);

// --- core_loop: turn ---------------------------------------------------------------------------------------------------------

/// Uninterrupted run of a core's loop above which a stall is counted.
pub const TURN_MAX: Duration = Duration::from_micros(500);

/// Interval at which a core looks after expiry, idle clients and its figures.
pub const TICK: Duration = Duration::from_millis(100);

/// The same for a core which nothing but heartbeats of other nodes has woken for [`IDLE_PARKS`] ticks and which has no keys with
/// deadlines.
pub const TICK_IDLE: Duration = Duration::from_secs(1);

/// Ticks without anything else after which a core ticks less often.
pub const IDLE_PARKS: u32 = 5;

/// Interval at which the watchdog looks at the cores.
pub const WATCHDOG: Duration = Duration::from_millis(10);

/// Interval at which the watchdog looks while all cores are parked. A core that wakes meanwhile has its first look a little later.
pub const WATCHDOG_IDLE: Duration = Duration::from_millis(100);

/// Time that a stop waits for clients to take their replies.
pub const STOP_DRAIN_MAX: Duration = Duration::from_secs(2);

// --- core_loop: room ---------------------------------------------------------------------------------------------------------

/// Unsent replies of one connection at which it is not decoded any further, until the peer has read some.
pub const OUTPUT_BYTES_STALLED: usize = 1 << 20;

/// Unsent replies of a connection that had too many at which it is decoded again.
pub const OUTPUT_BYTES_TAKEN: usize = 256 << 10;

/// Input of a connection that is not being decoded at which receiving pauses, unless it is the client that must read first.
pub const INPUT_BYTES_STALLED: usize = 64 << 10;

/// Times that a core looks at what all clients hold while they are given as much as they may hold.
pub const CLIENT_LOOKS: u64 = 8;

/// Least bytes of a client that is closed because all clients together hold too much.
pub const EVICTED_BYTES_MIN: u64 = 64 << 10;

// --- client-side caching --------------------------------------------------------------------------------------------------------

/// Bytes of memory that all shards may take to remember what clients have read: a million keys of a hundred bytes have room.
pub const TRACKING_BYTES_MAX: usize = 256 << 20;

/// Bytes of changed keys that wait for the clients of a core: beyond, each of them is told to drop everything.
pub const INVALIDATION_BYTES_MAX: usize = 4 << 20;

// --- core_loop: Outbox -------------------------------------------------------------------------------------------------------

/// Requests that may wait with the sender for a full mailbox.
pub const OUTBOX_REQUESTS_MAX: usize = 64 << 10;

/// Messages that a core gives to its subscribers in a turn: some hundred nanoseconds each.
pub const DELIVERIES_PER_TURN: usize = 1024;
/// Bytes that it gives to them in a turn, beside the message that reaches them.
pub const DELIVERY_BYTES_PER_TURN: usize = 1 << 20;
/// Bytes of published messages due to subscribers of a core, each of whom counts for [`DELIVERY_COST_BYTES`], at which it takes no
/// more of them.
pub const FANOUT_COST_MAX: usize = 4 << 20;
/// Bytes that a message counts for with each of its receivers: its place among what is due.
pub const DELIVERY_COST_BYTES: usize = 64;
/// Bytes of published messages that one core may leave for another, beside the batch that reaches them.
pub const MAILBOX_PUBLISHED_BYTES: usize = 4 << 20;
/// Batches of published messages that one core may leave for another.
pub const MAILBOX_PUBLISHED_BATCHES: usize = 64;
/// Bytes of events of keys that are carried to the keys' shards with what commands over several shards have made of these: they are
/// in the entry with that. What is beyond is dropped.
pub const CARRIED_EVENTS_BYTES_MAX: usize = 1 << 20;
/// Bytes that each of those events counts for beside its key.
pub const CARRIED_EVENT_OVERHEAD: usize = 32;
/// Events of keys that a core tells in a turn, to those who have subscribed to them: some hundred nanoseconds each.
pub const KEY_EVENTS_PER_TURN: usize = 512;
/// Steps of matching names of channels with patterns in a turn, beside the message that reaches them: about a nanosecond each.
pub const CHANNEL_STEPS_PER_TURN: u32 = 500_000;
/// Steps that the name of a channel may take with one pattern; beyond them it does not match.
pub const CHANNEL_STEPS_MAX: u32 = 20_000;
/// The same once a turn's steps were taken for one name.
pub const CHANNEL_STEPS_LEFT: u32 = 512;
/// Messages of other nodes' publishers that a core takes over in a turn, and bytes of them beside the message that reaches these:
/// some hundred nanoseconds each, and a copy.
pub const PEER_MESSAGES_PER_TURN: usize = 512;
/// See [`PEER_MESSAGES_PER_TURN`].
pub const PEER_MESSAGE_BYTES_PER_TURN: usize = 1 << 20;
/// Channels and patterns that one client may subscribe to: all cores take note of each.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;

/// Bytes of requests, or of published messages, that may wait with the sender for a full mailbox; then it stops decoding.
pub const OUTBOX_BYTES_MAX: usize = 4 << 20;

/// Bytes of replies for another core at which a core takes no more requests from there until they are handed over, so that
/// a turn neither copies for long nor fills the memory: a copy of this takes some 100 µs.
pub const OUTBOX_REPLY_BYTES_MAX: usize = 1 << 20;

/// Capacity of a reply buffer that is kept for the next turn.
pub const REPLY_BUFFER_KEPT: usize = 1 << 20;

/// Emptied batches of requests, and of replies, that a core keeps for those it sends next.
pub const SPARE_BATCHES: usize = 64;

/// Largest emptied batch that a core keeps.
pub const SPARE_BATCH_BYTES_MAX: usize = 64 << 10;

// --- core_loop: take_mail ----------------------------------------------------------------------------------------------------

/// Requests of another core at which a core takes no more of them in the same turn, beside the batch that reaches them: their
/// replies leave at the turn's end, and the other core may be waiting for them. A core that has as many for another one hands them
/// over at once.
pub const REQUESTS_PER_TURN: usize = 256;

/// Bytes of replies of another core that a core deals out in one turn, beside the batch that reaches them.
pub const REPLY_BYTES_PER_TURN: usize = 4 << 20;

// --- core_loop: SetAside -----------------------------------------------------------------------------------------------------

/// Requests of other cores set aside for one shard that takes no more, at which the others are told to send no more for it.
pub const ASIDE_REQUESTS_MUCH: usize = 1 << 10;

/// The same for their bytes.
pub const ASIDE_BYTES_MUCH: usize = 256 << 10;

/// The part of them that is left when the others are told to go on: a quarter.
pub const ASIDE_LITTLE_SHARE: usize = 4;

/// The part of the same that each shard may have once all of them together have much: few requests, so that as many shards as a
/// node has find room. A log that stands still stops all shards of its core.
pub const ASIDE_CROWD_SHARE: usize = 64;

/// The part of what all of them may have that is much: a quarter. What is on its way when the others are told comes on top of it,
/// from each core, and one request for each shard of which nobody was told yet.
pub const ASIDE_CROWDED_PART: usize = 4;

/// Requests set aside for all shards of a core at which it takes no more from other cores at all. What is on its way when the
/// others are told to stop comes on top of [`ASIDE_REQUESTS_MUCH`], so there is room for many shards at once.
pub const ASIDE_REQUESTS_MAX: usize = 64 << 10;

/// The same for their bytes.
pub const ASIDE_BYTES_MAX: usize = 32 << 20;

// --- core_loop: piecemeal, cold_reads, SyncPlacement -------------------------------------------------------------------------

/// Bytes of replies to one MGET that a shard reads at one moment, beside the value that reaches them; of more, a few keys are read
/// at a time, as the client takes their values.
pub const MGET_BYTES_AT_ONCE: usize = 8 << 20;

/// Keys of such an MGET that are read at a time, at most.
pub const MGET_KEYS_AT_A_TIME: usize = 1024;

/// Cold reads of one core that reader threads work on at once.
pub const COLD_READS_IN_FLIGHT: usize = 256;

/// Bytes of batches up to which their sync is best done on the core's own processor: see [`crate::core_loop::SyncPlacement`].
pub const SMALL_SYNC_BYTES: usize = 16 << 10;

// --- commands: ReplyBounds ---------------------------------------------------------------------------------------------------

/// The share of `memory` that the replies to one command may take, and those that the batches of all shards have made and nobody
/// has taken.
pub const REPLIES_SHARE: usize = 8;

/// Largest reply to one command, whatever `memory` is, unless it is a single value: as much as one connection may have to be sent.
pub const REPLY_BYTES_MAX: usize = 1 << 30;

/// The same at least, however small `memory` is.
pub const REPLY_BYTES_MIN: usize = 64 << 20;

/// Bytes of replies of one shard's batches, made and not taken, at which the reads that are left in a batch are refused, and the
/// larger replies to writes dropped: those of a batch are all made in one go, since each must see the writes before it and none of
/// those behind. Requests whose replies are expected to be as large wait for the next batch. Half of what a client may leave
/// unread.
pub const BATCH_REPLY_BYTES_MAX: usize = 128 << 20;

/// The same at least, however small the shard's share of [`REPLIES_SHARE`] is.
pub const BATCH_REPLY_BYTES_MIN: usize = 1 << 20;

// --- commands, session_commands: one command ---------------------------------------------------------------------------------

/// Keys that one step of SCAN or KEYS looks at, whatever COUNT says: a step holds its core for less than half a millisecond.
pub const SCAN_KEYS_MAX: usize = 1000;

/// Names that one step of HSCAN, SSCAN or ZSCAN looks at, whatever COUNT says: as those of SCAN.
pub const SCAN_NAMES_MAX: u64 = 1000;

/// Keys of a command on many collections (`SINTER` …) up to which one that comes again is opened again (`commands/names.rs`):
/// each that is opened is a copy of its row, if it is small.
pub const SOURCES_OPENED_AGAIN_MAX: usize = 8;

/// Bytes of names and values after which such a step ends.
pub const SCAN_NAMES_BYTES: usize = 1 << 20;

/// Names of a collection that one step answers all at once: as many as Redis keeps in one piece unless it is told otherwise.
pub const SCANNED_WHOLE_NAMES_MAX: u64 = 128;

/// Members that a search by position keeps, to tell the nearest or farthest of them, before it drops those that are certainly not
/// asked for. Twice as many as are asked for, if that is more. They take some megabytes.
pub const GEO_MATCHES_KEPT: usize = 1 << 16;

/// Bytes of members that such a search may keep in any case, however little room for its reply is left.
pub const GEO_BYTES_KEPT: usize = 64 << 20;

/// Bytes that one SORT keeps: elements, their weights, and what it stores of them. It holds its core meanwhile.
pub const SORT_BYTES_MAX: usize = 64 << 20;

/// Bytes that each of them counts as beside its own: what it takes in memory at least.
pub const SORT_VALUE_OVERHEAD: usize = 32;

/// Elements of a list that SORT reads before it looks how much it keeps.
pub const SORT_ELEMENTS_AT_ONCE: u64 = 1000;

/// Rows that the patterns of one SORT have led to and that are fetched from disk at once.
pub const SORT_COLD_ROWS_MAX: usize = 2048;

/// Values that the patterns of one SORT look up, for BY and for GET each: a twentieth of a second if they are in memory. Those on
/// disk are fetched [`SORT_COLD_ROWS_MAX`] at a time, and it begins anew each time.
pub const SORT_LOOKUPS_MAX: usize = 20_000;

/// Names of a set that are read before they are written into another one.
pub const COPIED_NAMES_AT_ONCE: usize = 1000;

/// Steps one match of a pattern may take; beyond them it is taken as not matching, so that `*a*a*a*…` cannot hold a core.
pub const GLOB_STEPS_MAX: u32 = 1_000_000;

/// Pairs of bytes that LCS compares for one unit of a script's work: it is a part of what a batch means.
pub const LCS_CELLS_PER_WORK: u64 = 4;

/// Work of a key that a walk over all keys visits, in units of a script's work: it is a part of what a batch means.
pub const WALKED_KEY_WORK: u64 = 40;

/// Work of a walk over all keys, in which it may come by each slot: rows that are no key's any more are there on one replica and
/// gone on another, so it costs the same without. It is a part of what a batch means.
pub const WALK_WORK: u64 = 20_000;

/// Work of a random key: it is a part of what a batch means.
pub const RANDOM_KEY_WORK: u64 = 400;

/// Steps of a match of a pattern for one unit of a script's work: it is a part of what a batch means.
pub const GLOB_STEPS_PER_WORK: u64 = 4;

/// Memory for one LCS: what it takes is also a bound on how long it holds the core.
pub const LCS_BYTES_MAX: usize = 64 << 20;

/// Bytes of a value that DUMP replies, those of its strings and some for each: writing it holds the core, for a tenth of a second
/// if it is so large and is compressed.
/// It is a part of what a batch means, since a script may call it.
pub const DUMPED_BYTES_MAX: usize = 32 << 20;

/// Bytes of a collection that RESTORE reads, counted in the same way. A string may be as long as any. It is a part of what a batch
/// means.
pub const RESTORED_BYTES_MAX: usize = 32 << 20;

/// Bytes of the rows of a collection that RESTORE writes: the key is in each of them, so that many small elements become a multiple
/// of what they are. It is a part of what a batch means.
pub const RESTORED_ROWS_BYTES_MAX: usize = 512 << 20;

/// Bytes that a row counts for beside the key and what it holds. It is a part of what a batch means.
pub const RESTORED_ROW_OVERHEAD: usize = 32;

/// Bytes of them for one unit of a script's work: a nanosecond or two each to compress, a part of one to read. It is a part of what
/// a batch means.
pub const DUMPED_BYTES_PER_WORK: u64 = 4;

/// Pending entries that XAUTOCLAIM reads from one scan before it claims them.
pub const CLAIM_CHUNK: u64 = 1024;

/// Entries that `MAXLEN ~` and `MINID ~` delete at most unless told otherwise: Redis' 100 nodes of 100 entries.
pub const APPROXIMATE_TRIM_MAX: u64 = 100 * 100;

/// Bytes of a HyperLogLog up to which it is sparse: the default of Redis' `hll-sparse-max-bytes`.
pub const HYPERLOGLOG_SPARSE_BYTES_MAX: usize = 3000;

/// Longest id of a stream's entry that Redis reads.
pub const STREAM_ID_BYTES_MAX: usize = 127;

/// Longest name that a connection gives itself or its library: it is kept for as long as the connection.
pub const CLIENT_NAME_BYTES_MAX: usize = 4 << 10;

// --- commands: once -----------------------------------------------------------------------------------------------------------

/// Milliseconds for which a client's id is good where nothing is known of it yet. With the following ones it decides what an entry
/// does.
pub const ONCE_ID_AGE_MS: u64 = 60 * 60_000;

/// Milliseconds by which a client's clock may be ahead of the shard's.
pub const ONCE_ID_AHEAD_MS: u64 = 60_000;

/// Bytes of a client's id.
pub const ONCE_ID_BYTES_MAX: usize = 128;

/// Bytes of a reply that is kept for who sends the command again: more than any number or word has.
pub const ONCE_KEPT_BYTES_MAX: usize = 1024;

/// Bytes of the reply to a command that is executed once, whatever this node's memory: as those of a script's commands.
pub const ONCE_REPLY_BYTES_MAX: usize = SCRIPT_REPLY_BYTES_MAX;

// --- commands: scripts -------------------------------------------------------------------------------------------------------

/// Bytes of the reply to one command of a short script. It does not follow from the node's memory, since whether a script goes on
/// must be the same on every replica; a script's objects may have a few times as much.
pub const SCRIPT_REPLY_BYTES_MAX: usize = 4 << 20;

/// Times as many bytes for one that may do more work, at most.
pub const SCRIPT_REPLY_TIMES_MAX: u64 = 4;

/// Versions of an entry that the scripts in it leave: for the transactions behind them, and for the others.
pub const VERSIONS_BEHIND_SCRIPTS: u64 =
    VERSIONS_FOR_OTHERS + (TRANSACTION_COMMANDS_MAX as u64 + 1) * VERSIONS_PER_COMMAND;

// --- commands: functions -----------------------------------------------------------------------------------------------------

/// Libraries of functions on a node. This and the next five decide whether a library is kept, on every replica alike.
pub const LIBRARIES_MAX: u32 = 256;

/// Functions of all of them.
pub const FUNCTIONS_MAX: u32 = 4096;

/// Bytes of one, its code and all that it says of its functions. A call reads them, which counts as what it may read and write.
pub const ONE_LIBRARY_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all of them. They stand in one entry of the log if they are restored, and are read at once if they are listed.
pub const LIBRARY_BYTES_MAX: u64 = 4 << 20;

/// Bytes of the objects that they have once they are loaded, which each thread that runs some has.
pub const LIBRARY_HEAP_BYTES_MAX: u64 = 16 << 20;

/// Work of loading all of them, which each thread does once: as that of some scripts.
pub const LIBRARY_WORK_MAX: u64 = 8 * basalt_lua::SHORT_SCRIPT_WORK;

/// Bytes of a library that a call reads for one unit of its work: it is a part of what a batch means.
pub const LIBRARY_BYTES_PER_WORK: u64 = 32;

/// Bytes of the payload of FUNCTION RESTORE, in which each library has a few beside its own.
pub const LIBRARY_PAYLOAD_BYTES_MAX: usize = LIBRARY_BYTES_MAX as usize + 16 * LIBRARIES_MAX as usize;

/// Compiled libraries that a thread keeps: those of two sets, since libraries are exchanged, and groups of a cluster may have
/// different ones.
pub const COMPILED_LIBRARIES_MAX: usize = 2 * LIBRARIES_MAX as usize;

/// Bytes of their objects.
pub const COMPILED_LIBRARY_BYTES_MAX: usize = 2 * LIBRARY_HEAP_BYTES_MAX as usize;

/// Bytes of a name of a client's that is shown in an error.
pub const SHOWN_NAME_BYTES_MAX: usize = 128;

// --- multi_shard -------------------------------------------------------------------------------------------------------------

/// Keys one step of KEYS looks at before others get their turn. HGETALL, SMEMBERS, LRANGE and ZRANGE of a whole collection have
/// no steps, since what they show must have been there at one moment: with a million elements they hold their core for 95 to
/// 140 ms, the first time up to 220 ms (2 cores of an AMD EPYC VM; `INFO everything`, `stall_us_max`).
pub const KEYS_PER_STEP: usize = 1000;

// --- reads of what a replica has ----------------------------------------------------------------------------------------------

/// Age up to which a replica's rows are shown to who reads without asking the leader: one that has heard nothing newer for so long
/// is cut off, or does not keep up. Redis' `cluster-node-timeout` is 15 s: its replicas go on for as long at least.
pub const LOCAL_READ_AGE_MAX: Duration = Duration::from_secs(10);

// --- clients that wait for elements ------------------------------------------------------------------------------------------

/// Keys that one command may wait for. Redis has no such bound; a client that polls ten thousand queues is known.
pub const WAITED_KEYS_MAX: usize = 64 << 10;

/// Streams that one command may wait for. What a waiter of streams misses is looked for in all of its keys, for each of them in
/// all of them: with 8,192 keys that took half a second, with 64 Ki 22 s (2 cores of an AMD EPYC VM).
pub const WAITED_STREAMS_MAX: usize = 1024;

/// Bytes that a shard keeps for clients that wait in it, about: 100,000 that wait for a key each, or ten with as many keys as they
/// may have. A client beyond that is refused.
pub const WAITER_BYTES_MAX: usize = 64 << 20;

/// Bytes that an entry of a hash map and one of a tree cost beside what they hold, about.
pub const WAITER_KEY_BYTES: usize = 128;

/// Clients that are called behind a write that may give their key elements, where nobody knows how many: most that wait for one key
/// are fewer, and each is a command in the log that may find nothing.
pub const WAITERS_CALLED_UNSEEN: usize = 64;

/// Clients that read behind a write that adds an entry to their stream, in its batch. More read when they see it: what follows in
/// the batch may have removed the entry by then.
pub const READERS_CALLED_UNSEEN: usize = 1024;

/// Shortest sleep of a core before the next client has waited for long enough.
pub const WAIT_SLEEP_MIN: Duration = Duration::from_micros(50);

// --- shard: batches ----------------------------------------------------------------------------------------------------------

/// Bytes of one batch (one Raft entry) at which its shard takes nothing but plain reads until it is proposed.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Requests of one batch at which its shard takes nothing but plain reads until it is proposed.
pub const BATCH_OPERATIONS_MAX: usize = 16 << 10;

/// Distance of a node's port for other nodes from that for clients, as in Redis Cluster.
pub const PEER_PORT_OFFSET: u16 = 10_000;

/// Threads that ask other nodes to change the map: one that does not answer holds up one of them.
pub const ASK_THREADS: usize = 4;

/// Longest wait for the connection to another node that is asked for a change of the map.
pub const ASK_CONNECT: Duration = Duration::from_secs(1);

/// Longest wait for its answer.
pub const ASK_ANSWER: Duration = Duration::from_secs(5);

/// The time between two looks whether an answer is still waited for.
pub const ASK_LOOKS: Duration = Duration::from_millis(200);

/// Longest answer: a map of a thousand nodes and all slots apart is shorter.
pub const ASK_REPLY_BYTES_MAX: usize = 16 << 20;

/// Time for which a change is sent to the leader of the map's group again while there is none, or another one.
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(10);

/// Time between two such attempts, and between two looks at the members of that group.
pub const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Time between two questions to another node if it is there.
pub const LOOK_OUT: Duration = Duration::from_millis(500);

/// Time between two questions about who leads a group that a node does not have: short where its home is silent or was said not to
/// lead it, since clients are sent there, and long elsewhere.
pub const ASK_WHO_LEADS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// Silence of another node after which it is suspected to be lost.
pub const PEER_SUSPECTED: Duration = Duration::from_secs(2);

/// Silence after which it is thought to be lost.
pub const PEER_FAILED: Duration = Duration::from_secs(5);

/// Time without a change of the map after which groups get replicas on nodes that have come: nodes come one after the other, and
/// may be made replicas of others a moment later.
pub const MAP_AT_REST: Duration = Duration::from_secs(3);

/// Time between two looks at the members of the groups that a core leads.
pub const MEMBERS_LOOK: Duration = Duration::from_millis(250);

/// The same where the last look found all members as they are to be, and the map is still the same one. A member that is lost, or
/// whose turn it is to vote, is seen to a second later.
pub const MEMBERS_AT_REST_LOOK: Duration = Duration::from_secs(1);

/// Time between two questions of a leader to the node of a member that does not get on, if it has that still.
pub const REPLICA_DOUBT: Duration = Duration::from_secs(5);

/// Nodes whose groups are asked at the same time if they go on without them.
pub const PROOFS_MAX: usize = 8;

/// Groups of such a node whose leaders are asked at the same time.
pub const PROOF_GROUPS: usize = 64;

/// Time within which leaders have to say that all groups of a node go on without it: who has sent the change waits no longer than
/// [`ASK_ANSWER`] for what comes of it.
pub const PROOF_MAX: Duration = Duration::from_secs(3);

/// Wait for the answer of one node to that question.
pub const PROOF_ANSWER: Duration = Duration::from_millis(500);

/// Other nodes that have to answer before one may be drained: groups of two lose nothing if one fails.
pub const REPLICAS_OTHER_MIN: usize = 2;

/// Groups led by a core that copy a replica to another node at the same time: each is a snapshot, and the work of two nodes.
pub const COPIES_MAX: usize = 4;

/// Bytes of entries that a log keeps at most for replicas that are behind.
pub const LOG_KEPT_BYTES_MAX: u64 = 128 << 20;

/// Longest pause between two attempts to change the members of a group, after several have failed.
pub const MEMBERS_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The same for the group that has the map: other steps wait for it.
pub const META_STEP_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pause between two such attempts from which on the operator is told.
pub const MEMBERS_PAUSE_TOLD: Duration = Duration::from_secs(2);

/// Longest wait at a stop until other nodes lead what this one has led.
pub const LEADS_LEAVE_MAX: Duration = Duration::from_secs(2);

/// Leads that a core hands over at a time to their groups' homes.
pub const HAND_OVERS_MAX: usize = 4;

/// Election timeouts for which a disk may end no sync before its node gives its leads away: others would take a leader for gone
/// that says nothing for one, and a disk that writes out much, or a virtual one, may well stand still for one.
pub const DISK_SILENCE_ELECTIONS: u32 = 2;

/// Shortest such time, with however short an election timeout: ordinary syncs take a part of a second now and then, and a process
/// that was stopped for a moment cannot tell that from a silence.
pub const DISK_SILENCE_MIN: Duration = Duration::from_millis(1500);

/// Part of that time after which a node takes no lead that it is given: whoever gives one away may have found its disk silent a
/// moment earlier, on the same storage.
pub const DISK_DELAY_PART: u32 = 2;

/// Time between two questions for a node that could take a lead, while the disk is silent and there was none.
pub const DISK_HEIR_AGAIN: Duration = Duration::from_secs(1);

/// Election timeouts without a leader after which also a node campaigns whose disk has not answered well for long: a group that is
/// led from a slow disk is better than one that is not led.
pub const LEADERLESS_ELECTIONS: u32 = 4;

/// Time for which a disk is taken to be silent once one core has found it so: several looks of that core.
pub const DISK_SILENCE_HOLDS: Duration = Duration::from_millis(500);

/// Time for which a disk that was silent must have answered before its node comes to lead anything again.
pub const DISK_WELL_AFTER: Duration = Duration::from_secs(5);

/// Time for which the home of a group must have been caught up before its leader gives it the lead back.
pub const HOME_IS_BACK: Duration = Duration::from_secs(5);

/// The longest such time, after homes have not come to lead several times.
pub const HOME_IS_BACK_MAX: Duration = Duration::from_secs(300);

/// Time for which the others are asked, each time, if a node that leaves has no vote on the map any more.
pub const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// Longest wait until a node that joins a cluster has its map.
pub const JOIN_MAX: Duration = Duration::from_secs(120);

/// Things that were said of `cluster-seeds` last, which are not said again.
pub const SEEDS_SAID: usize = 8;

/// Letters of another node's refusal that are shown.
pub const REFUSAL_SHOWN: usize = 200;

/// Time after which the keeper tries again what the map wants and could not be done.
pub const FOLLOW_RETRY: Duration = Duration::from_secs(1);

/// Orders of clients to the keeper of the groups that wait for it. Each takes seconds, some of them most of a minute.
pub const KEEPER_ORDERS_MAX: usize = 32;

/// Changes of the cluster's map on their way through the log.
pub const META_CHANGES_MAX: usize = 256;

/// Size to which the log of the cluster's map is kept.
pub const META_LOG_BYTES: u64 = 4 << 20;

/// Changes of the cluster's map that are kept for nodes that join, or were away: nobody is sent the map as a whole.
pub const META_ENTRIES_KEPT: u64 = 100_000;

/// Newly written rows of the cluster's map in memory, and cached ones from disk: it is one row, of a few megabytes at most.
pub const META_MEMTABLE_BYTES: usize = 1 << 20;

/// Batches of one shard on their way through the log.
pub const BATCHES_IN_FLIGHT: usize = 64;

/// Age below which a batch is likely to be over in a moment: several syncs of a fast disk.
pub const COMMITS_SOON: Duration = Duration::from_millis(1);

/// Time that batches wait for a memtable to be written or for a log that cannot take more right now; then writes are refused until
/// they can go on.
pub const MEMTABLE_WAIT: Duration = Duration::from_secs(2);

/// Interval at which a core that sleeps looks whether a batch that waits so can go on.
pub const HELD_RETRY: Duration = Duration::from_millis(1);

// --- shard: replies, copies --------------------------------------------------------------------------------------------------

/// Bytes that the reply to a command that takes elements of a collection is believed to have before any was seen.
pub const REPLY_BYTES_AT_FIRST: usize = 1 << 10;

/// Keys of one command that are looked up for how large its reply may be.
pub const WEIGHED_KEYS_MAX: usize = 64;

/// Bytes of a collection that are looked at to tell how much a copy of it is: of a larger one, the rest is believed to be like
/// them.
pub const WEIGHED_BYTES_MAX: usize = 64 << 10;

/// Commands of one transaction. Each may make some collections, and an entry has a million versions for them.
///
/// Entries that prepare a part of a transaction are executed by it: with another bound, logs that are there would be replayed to
/// something else.
pub const TRANSACTION_COMMANDS_MAX: usize = 100_000;

/// Versions of collections that one command draws at most, generously: a SMOVE draws two.
pub const VERSIONS_PER_COMMAND: u64 = 4;

/// Versions of an entry that its transactions leave to its other commands, of which there are [`BATCH_OPERATIONS_MAX`], and to
/// those that waited beside the batch.
pub const VERSIONS_FOR_OTHERS: u64 = 1 << 19;

/// Times that a transaction finds another write on its way to what its connection watches, before that counts as a change.
pub const WATCH_ROUNDS_MAX: u32 = 16;

/// Largest reply that is made once those of its shard have reached their bound: errors, and all that is no value.
pub const SMALL_REPLY_BYTES_MAX: usize = 256;

// --- transactions over several shards -------------------------------------------------------------------------------------------

/// Clients of a shard from this number on are transactions over several shards, and not connections, of which there are fewer.
pub const SPANNING_CLIENTS: u32 = 1 << 31;

/// Bytes of keys that are carried between shards for one command or transaction.
pub const CARRIED_BYTES_AT_ONCE: usize = 64 << 20;

/// Bytes of keys that are carried between shards for one unit of a script's work: what is copied costs as much.
pub const CARRIED_BYTES_PER_WORK: u64 = 32;

/// Bytes of keys that one core carries between shards at a time for its transactions, before it refuses more.
pub const CARRIED_BYTES_MAX: usize = 256 << 20;

/// Transactions whose rest is settled with one tick, by shard.
pub const SETTLED_AT_ONCE: usize = 64;

/// Time for which somebody tries to settle the rest of a transaction before that is logged, and then at each doubling. From then on
/// whoever wants its keys is refused at once. A shard that does well says all that is asked of it within some syncs.
pub const SETTLED_IN_VAIN: Duration = Duration::from_secs(6);

/// Keys of a transaction that are named in the node's log.
pub const KEYS_LOGGED: usize = 8;

/// Times that the row which a question about a transaction is about is fetched, before the core waits for it.
pub const QUESTION_FETCHES_MAX: u32 = 3;

/// Decisions that are forgotten with one entry, at the next tick at the latest.
pub const FORGOTTEN_AT_ONCE: usize = 256;

// --- shard: Expiry -----------------------------------------------------------------------------------------------------------

/// The latest deadline that a command gives to a field of a hash, Unix milliseconds: that of Redis 7.4 (`HFE_MAX_ABS_TIME_MSEC`).
pub const FIELD_DEADLINE_MS_MAX: i64 = (1 << 46) - 1;

/// Keys one entry deletes because their deadline has passed, and fields of hashes that another command of it removes for that.
pub const EXPIRED_KEYS_PER_BATCH: usize = 256;

/// Milliseconds that a sweep looks back of the last one that found nothing due: an entry may set a deadline that
/// lies a little before the clock of the core that looks.
pub const EXPIRY_OVERLAP_MS: u64 = 60_000;

/// Times that one look for due keys has rows fetched from disk. Then the deletion waits for those of the keys, which are evicted
/// faster than they are read; if the deadlines themselves are cold, the next tick looks again.
pub const EXPIRY_WARM_ATTEMPTS: u32 = 64;

// --- shard: Presence, figures ------------------------------------------------------------------------------------------------

/// Time between two looks at batches that are on their way beyond which the core was not running: several of the longest it sleeps.
pub const LOOKS_APART_MAX: Duration = Duration::from_secs(3);

/// Interval at which a shard asks RocksDB for the size of its files.
pub const DISK_MEASURE: Duration = Duration::from_secs(1);

/// Milliseconds that the clock may be behind the newest entry of a shard before it is reported: clocks that are kept in
/// step by small corrections never are.
pub const CLOCK_BEHIND_MS: u64 = 5_000;

// --- shard/pace: GroupCommit -------------------------------------------------------------------------------------------------

/// Writes outstanding lately below which a batch never waits for others. An entry costs the core as much as ten writes in it: in
/// interleaved runs of SET -c 8 -P 1 on one core, 4 took a quarter less processor time than 16, and of -c 4 a seventh less.
pub const HOLD_OUTSTANDING_MIN: usize = 4;

/// Writes in a batch from which on it goes at once.
pub const HOLD_WRITES_MAX: usize = 64;

/// Time that a batch waits for writes of clients that were just acknowledged: about half a sync.
pub const HOLD: Duration = Duration::from_micros(50);

/// Time that a batch waits for the one before it: several syncs of a fast disk, one of a slow one.
pub const HOLD_BEHIND: Duration = Duration::from_millis(10);

/// Time that the greatest number of writes outstanding at once is remembered, at least.
pub const OUTSTANDING_WINDOW: Duration = Duration::from_millis(10);

// --- shard/pace: SlowDown ----------------------------------------------------------------------------------------------------

/// Steepness with which writers are slowed down above a memtable's budget. With 4, writers of any speed come to a memtable of 1.6
/// to 1.8 times its budget and do not see its bound: the unit tests of `shard/pace/slow_down.rs` print it.
pub const SLOW_DOWN_GAIN: f64 = 4.0;

/// The longest that a batch waits behind the one before it so that writers are slowed down. Each shard so takes twenty times
/// a second what its clients have for it, until nothing more fits.
pub const SLOW_DOWN_MAX: Duration = Duration::from_millis(50);

/// Time in which a batch leaves that is collected while writers are slowed down. Short, so that those who find no
/// room wait evenly, and reads behind writes of their own connections with them.
pub const SLOW_DOWN_STEP: Duration = Duration::from_millis(5);

/// Least bytes of such a batch.
pub const SLOW_DOWN_BATCH_BYTES_MIN: usize = 4 << 10;

/// Most bytes of a memtable that a byte of a batch is believed to become: a row has some 26 beside its key and value, and one
/// command may write several.
pub const SLOW_DOWN_GROWTH_MAX: f64 = 16.0;

/// Batches that a memtable holds at least.
pub const MEMTABLE_BATCHES_MIN: usize = 16;

// --- shard/pace: Pressure ----------------------------------------------------------------------------------------------------

/// Part of a memtable that batches on their way may fill before they are applied: a half.
pub const UNAPPLIED_SHARE: usize = 2;

/// Batches that may be on their way however large they are.
pub const UNAPPLIED_BATCHES_MIN: usize = 2;

/// Looks that a shard takes at the segments of its log that wait, for each of them that it fills.
pub const LOG_LOOKS_PER_SEGMENT: usize = 8;

// --- shard/cold: Parking -----------------------------------------------------------------------------------------------------

/// Requests of one shard that may wait for rows on disk, or behind such requests of their connections, and reads that may wait
/// behind the newest batch in flight; then the shard takes no more until some have run. As many as one batch may hold.
pub const WAITING_REQUESTS_MAX: usize = 16 << 10;

/// Bytes of such requests. More than one batch, since large writes behind one cold read should not hold up the whole shard for
/// the few milliseconds a disk takes.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

// --- shard/cold: Names -------------------------------------------------------------------------------------------------------

/// Names of a request that are looked at together, one after the other with others if it names more: as many as rows are fetched
/// at once.
pub const NAMES_AT_ONCE: usize = 1024;

/// Names of one request that a core looks at before others get their turn, if it finds all of them in memory: a few milliseconds.
pub const NAMES_PER_LOOK: usize = 8 * NAMES_AT_ONCE;

// --- shard/cold: ColdProgress ------------------------------------------------------------------------------------------------

/// Times that a command finds evicted what a reader thread had fetched for it; then the rows are kept for it until it is done.
pub const COLD_READ_ATTEMPTS: u32 = 3;

/// Times that a script has rows fetched: it begins anew each time, so the work of a script is done so often. Then it waits for the
/// disk, and its core with it.
pub const SCRIPT_COLD_ROUNDS_MAX: u32 = 16;

/// Rows on disk that a script is taken to need which has met one, and goes on without it to learn which else it needs.
pub const SCRIPT_COLD_ROWS_MAX: usize = 1000;

/// Times that a command has rows fetched; each one beyond counts as one that found them evicted.
pub const COLD_READ_ROUNDS_MAX: u32 = 256;

/// Times that all rows which a command names are fetched in vain, beside the first; then its core waits for those that are missing.
pub const NAME_SWEEPS_MAX: u32 = 1;

/// Scans of a command that are fetched as small as it asks for, since it knows how few rows it needs; then larger ones each time.
pub const SMALL_SCANS_MAX: u32 = 16;

/// Bytes that a reader thread fetches at most for one scan. A scan is run from its beginning each time it has met the disk, so
/// that as many are fetched again as before: with ever the same number, the time for a long one would grow with its square.
pub const COLD_SCAN_BYTES_MAX: usize = 8 << 20;

/// Times that a read has rows fetched before it is executed on another thread.
pub const COLD_ROUNDS: u32 = 8;

/// Single rows that a read has fetched at once before it is run again; one that needs more is executed on another thread, as is one
/// that meets the disk again in a scan, or what was fetched for it evicted.
pub const COLD_ROWS_FETCHED: usize = 256;

// --- shard/cold: pinned rows, trials -----------------------------------------------------------------------------------------

/// The part of a shard's share of `memory`, beside which it is, that may be pinned for one command: for one of the clients' and one
/// of the entry's at a time.
pub const PINNED_SHARE: usize = 4;

/// Least bytes that may be pinned, however small that share is.
pub const PINNED_BYTES_MIN: usize = 32 << 20;

/// Times that a command has rows fetched which are kept for it.
pub const PINNED_ROUNDS_MAX: u32 = 1024;

/// Times that rows which are kept for a command are lost, since a generation has reached the disk.
pub const PINNED_LOSSES_MAX: u32 = 8;

/// Bytes that a reader thread fetches at most for one scan whose rows are kept.
pub const PINNED_SCAN_BYTES_MAX: usize = 32 << 20;

/// Bytes that a command may read and write on trial: what is kept meanwhile is beside the memory budget. One that needs more
/// changes rows as it goes, and waits for the disk, with its core, for those that it finds missing then.
pub const TRIAL_BYTES_MAX: usize = 16 << 20;

/// Bytes that a short script may read and write, one at a time on each core: it always runs on trial, so that it can be undone. One
/// that needs more is undone on every replica, so this number is part of what a batch means.
pub const SCRIPT_TRIAL_BYTES_MAX: usize = 4 << 20;

/// Times as many bytes for one that may do more work, at most.
pub const SCRIPT_TRIAL_TIMES_MAX: u64 = 8;

// --- shard/cold: Views -------------------------------------------------------------------------------------------------------

/// Reads of one shard's clients that threads execute on views at once. Each may hold a copy of what memory has of the keys that it
/// reads.
pub const VIEWS_MAX: usize = 4;

/// The same for reads that stand between writes.
pub const ENTRY_VIEWS_MAX: usize = 4;

/// Bytes that the reply of a view takes of what those of its shard may have, each time that it has read as many.
pub const VIEW_REPLY_STEP_BYTES: usize = 64 << 10;

// --- peers: connections between nodes ----------------------------------------------------------------------------------------

/// The bounds of a core's connections with other nodes.
pub mod peers {
    use std::time::Duration;

    /// Bytes of messages that wait for one peer, before it is cut off: the longest message of 68 MiB, and answers beside it.
    pub const QUEUE_BYTES_MAX: usize = 80 << 20;

    /// Unsent bytes in the ring at which a peer is given no more until it has taken some: as for a client, and more than the ring
    /// wants before it tells of that.
    pub const OUTPUT_BYTES_MAX: usize = super::OUTPUT_BYTES_STALLED + 1;

    /// Questions of one connection that wait for their answers: each group has a few.
    pub const QUESTIONS_MAX: usize = 8 * super::SHARDS_MAX;

    /// Questions that wait for a connection which is being made.
    pub const WAITING_MAX: usize = 2 * super::SHARDS_MAX;

    /// Bytes of entries in those questions, beside the one that reaches them.
    pub const WAITING_BYTES_MAX: usize = 16 << 20;

    /// Bytes of published messages that wait for one node, beside the one that reaches them; more are dropped.
    pub const PUBLISHED_QUEUE_BYTES: usize = 16 << 20;

    /// Bytes of those that go together, unless one alone is longer.
    pub const PUBLISHED_BATCH_BYTES: usize = 1 << 20;

    /// Bytes of those that one node has heard and not answered, beside the batch that reaches them: with the longest message they
    /// are less than [`QUEUE_BYTES_MAX`], so that nobody is cut off for them.
    pub const PUBLISHED_UNANSWERED_BYTES: usize = 4 << 20;

    /// Batches that a core says to all nodes together in one turn, those included that fail at once since nobody can be reached.
    pub const PUBLISHED_BATCHES_PER_TURN: usize = 4;

    /// Batches that one node has heard and not answered: the next one is on its way while the one before is answered.
    pub const PUBLISHED_BATCHES: usize = 4;

    /// Bytes of published messages of other nodes that wait for a core to take them over, beside the batch that reaches them: what
    /// some ten cores may say before they are answered.
    pub const PUBLISHED_ARRIVED_BYTES: usize = 64 << 20;

    /// Questions of one connection that are being answered; more are refused.
    pub const ANSWERING_MAX: usize = QUESTIONS_MAX;

    /// Connections of a core that others have made and that have not greeted yet.
    pub const STRANGERS_MAX: usize = 128;

    /// Connections of a core that others have made: four for each core of each of many nodes.
    pub const ACCEPTED_MAX: usize = 4096;

    /// Groups of other nodes of which the core there is remembered. Beyond, all are forgotten, and asked for again.
    pub const PLACES_MAX: usize = 64 << 10;

    /// Wait for what a node says of its replica of a group: it may have to hear of a quorum first.
    pub const REPLICA_ANSWER: Duration = Duration::from_secs(5);

    /// Cores that one question is taken to: core 0, the one that it names, and one more if the group moved meanwhile.
    pub const CORES_ASKED_MAX: u32 = 3;

    /// Time in which a connection is to be made and greeted; and in which one that another core is to have must be free.
    pub const GREETING_WAIT: Duration = Duration::from_secs(3);

    /// Time that a peer is left in peace after it could not be reached; twice as long each time.
    pub const BACKOFF_MIN: Duration = Duration::from_millis(20);

    /// The same at most: a peer that is back is talked to a second later.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

    /// The life of a connection after whose end it is made anew at once.
    pub const SOUND_AFTER: Duration = Duration::from_secs(1);

    /// Time that the kernel waits for a peer to take what it was sent, before the connection is broken. Elections take one to two
    /// seconds, and a peer that is gone for longer is one that others have taken the place of.
    pub const SILENCE_MAX: Duration = Duration::from_secs(5);

    /// Seconds without a word after which the kernel asks whether the peer is still there.
    pub const KEEPALIVE_S: u32 = 10;

    /// Time without a question or an answer after which a connection is closed.
    pub const IDLE_MAX: Duration = Duration::from_secs(300);
}

// --- core_loop: relaying -------------------------------------------------------------------------------------------------------

/// The bounds of connections that pass commands of clients on to other nodes.
pub mod relays {
    use std::time::Duration;

    /// Connections that a core makes for its clients, and as many that it takes of other nodes. Each costs two descriptors of files
    /// in the cluster; the system's own bound comes first, mostly.
    pub const RELAYS_MAX: usize = 64 << 10;

    /// The longest request that is kept until it is answered, so that it can be sent again if it was refused.
    pub const KEPT_REQUEST_BYTES_MAX: usize = 1 << 20;

    /// Bytes of requests that one connection may have on their way before its next command waits for their replies.
    pub const OUTSTANDING_BYTES_MAX: usize = 1 << 20;

    /// The same of those that a relay has not sent.
    pub const UNSENT_BYTES_MAX: usize = super::OUTPUT_BYTES_STALLED;

    /// Bytes of a reply that are passed on before its end has come. Shorter ones are cheaper in one piece.
    pub const PASSED_ON_BYTES_MIN: usize = 64 << 10;

    /// Bytes of a reply that wait for those before it, or for their client, before no more are received.
    pub const INPUT_BYTES_MAX: usize = 256 << 10;

    /// Capacity of a relay's input that is kept.
    pub const INPUT_BYTES_KEPT: usize = 64 << 10;

    /// Time in which a relay is to be made and greeted.
    pub const GREETING_WAIT: Duration = Duration::from_secs(2);

    /// Relays of one core to one node that are being greeted at the same time: they are among the strangers of that node, as its
    /// links with others are that have to be made anew.
    pub const GREETING_MAX: usize = 16;

    /// Time in which a node that was not reached is not dialed again, at first. It doubles each time.
    pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(100);

    /// The same at most.
    pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(1);

    /// Times that a request waits anew since a relay was lost that had worked.
    pub const LOSSES_MAX: u32 = 2;

    /// Time that a request which was certainly not executed waits for a leader: an election takes one to two seconds, and what is
    /// elected has to be heard of.
    pub const WAIT_MAX: Duration = Duration::from_secs(5);

    /// Times that a request which was refused goes at once where it is sent. Beyond, nodes do not agree yet, and a tick is waited.
    pub const HOPS_MAX: u32 = 2;

    /// Time without a word after which the relay to a node that does not answer others either is given up.
    pub const SILENT_WAIT: Duration = Duration::from_secs(2);

    /// Time beyond `write-timeout` after which a reply is not awaited any more: until then the other node says what it knows.
    pub const ANSWER_MARGIN: Duration = Duration::from_secs(5);

    /// Time without a request after which a relay is closed.
    pub const IDLE_MAX: Duration = Duration::from_secs(60);

    /// The largest number of a group that fits into a cursor of SCAN beside the place in the group.
    pub const CURSOR_GROUP_MAX: u64 = (1 << 18) - 1;
}

// --- core_loop: migrations -----------------------------------------------------------------------------------------------------

/// The bounds of keys that are sent to other servers.
pub mod migrations {
    use std::time::Duration;

    /// The longest time that a server may stand still if nobody says another one, as in Redis.
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// The same at most: keys are held as long.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

    /// Calls of MIGRATE of a node that hold keys, each of which has a thread for itself. Redis does one at a time and nothing else.
    pub const AT_ONCE: usize = 8;

    /// Calls of a core that wait until another one is over, holding nothing, before more are refused.
    pub const WAITING_MAX: usize = 1024;

    /// Bytes of the dumps of one call: they are in memory all together. A single key may have half of it.
    pub const BYTES_MAX: usize = super::CARRIED_BYTES_AT_ONCE;

    /// Keys that a shard dumps for one call before others have their turn, if all are small: some microseconds each.
    pub const DUMPED_AT_ONCE: usize = 32;

    /// Bytes of dumps behind which no other key is dumped in the same go.
    pub const DUMPED_BYTES_WANTED: usize = 64 << 10;

    /// Keys that are sent before the answers are awaited. More of those might find no room in the sockets while nobody reads them.
    pub const SENT_AT_ONCE: usize = 256;

    /// Bytes that are collected before they are sent, and of which the other server takes each so many within its time.
    pub const OUTPUT_BYTES: usize = 64 << 10;

    /// The longest answer to a key: an error.
    pub const ANSWER_BYTES_MAX: usize = 16 << 10;
}

// --- cluster: the map --------------------------------------------------------------------------------------------------------

/// The bounds of a cluster's map.
pub mod map {
    /// Nodes of one cluster: Redis' own recommendation ends there.
    pub const NODES_MAX: usize = 1000;

    /// Groups of one cluster: each has a slot at least, but for those that are about to be removed.
    pub const GROUPS_MAX: usize = 16384;

    /// Nodes that vote on changes of the map.
    pub const META_VOTERS_MAX: usize = 5;

    /// Replicas of a group in a new cluster: it survives the loss of one node.
    pub const REPLICATION_FACTOR: u8 = 3;

    /// Replicas of one group. With more than seven, a write waits for the fourth slowest, and no more failures are survived in
    /// practice.
    pub const REPLICAS_MAX: usize = 7;

    /// Nodes that have left whose names and numbers are remembered, the latest ones.
    pub const FORGOTTEN_MAX: usize = NODES_MAX;

    /// Longest host name of a node, as in DNS.
    pub const HOSTNAME_BYTES_MAX: usize = 253;

    /// Nodes that may form a cluster by themselves.
    pub const SEEDS_MAX: usize = 64;

    /// Longest label of a zone.
    pub const ZONE_BYTES_MAX: usize = 64;

    /// Ranges of slots in one change: as many as there are slots and one more, so that the first slot that is named twice is
    /// among them.
    pub const RANGES_MAX: usize = 16385;

    /// The greatest configuration epoch: clients read it as an integer with a sign.
    pub const CONFIG_EPOCH_MAX: u64 = i64::MAX as u64;
}

// --- snapshots ---------------------------------------------------------------------------------------------------------------

/// The bounds of snapshots on their way between nodes.
pub mod snapshots {
    use std::time::Duration;

    /// Bytes per second of all snapshots that a node sends: a gigabit network carries them, and the disks have time for others.
    pub const BYTES_PER_SECOND: u64 = 100 << 20;

    /// Bytes that go at once when none have gone for long.
    pub const BURST_BYTES: u64 = 8 << 20;

    /// Bytes of a file in one message: it goes in one frame, with its head and position.
    pub const PIECE_BYTES: usize = 60 << 10;

    /// Bytes that are sent and not acknowledged: a network with 1 Gbit/s carries them in 64 ms, longer than any way there and back
    /// within a continent.
    pub const WINDOW_BYTES: u64 = 8 << 20;

    /// Bytes after which a receiver acknowledges: some in each window, and few messages.
    pub const ACKNOWLEDGED_BYTES: u64 = 1 << 20;

    /// Bytes that are read at once from a socket, and of a file for its checksum.
    pub const INPUT_BYTES: usize = 128 << 10;

    /// The same of a file.
    pub const READ_BYTES: usize = 256 << 10;

    /// Bytes of messages that one connection joins: the longest list of files, one piece of the longest message, and room for a
    /// buffer that has grown by doubling.
    pub const JOINED_BYTES_MAX: usize = 16 << 20;

    /// Threads that send: more at once share the same disks and network, and a node that is dead holds one of them for a minute.
    pub const SENDER_THREADS: usize = 4;

    /// Snapshots that wait to be sent or are sent: one for each replica that this node leads.
    pub const SENT_MAX: usize = 4 * super::SHARDS_MAX;

    /// Snapshots that are received at once: each may need the disk space of a whole group.
    pub const RECEIVED_MAX: usize = 4;

    /// Connections for snapshots that are served at once: those beyond [`RECEIVED_MAX`] are told so.
    pub const CONNECTIONS_MAX: usize = 16;

    /// The longest attempt to connect.
    pub const CONNECT_WAIT: Duration = Duration::from_secs(3);

    /// The longest greeting.
    pub const GREETING_WAIT: Duration = Duration::from_secs(10);

    /// The longest silence of a peer that has to say or take something.
    pub const SILENCE_WAIT: Duration = Duration::from_secs(30);

    /// Time without progress after which a snapshot is given up: a node that restarts within that goes on with what it had. A group
    /// waits half a minute longer for a sign of its receiver, so that who gives up is who can say why.
    pub const PROGRESS_WAIT: Duration = Duration::from_secs(120);

    /// The same for a node that could not be greeted at all: it is not there, and others wait for the thread.
    pub const UNREACHED_WAIT: Duration = Duration::from_secs(10);

    /// Interval at which a receiver that checks or installs a snapshot says so.
    pub const SIGN_EVERY: Duration = Duration::from_secs(2);

    /// The shortest time between two signs of life that a group is told of, each of which wakes its core. It waits minutes.
    pub const SIGN_TOLD_EVERY: Duration = Duration::from_secs(1);

    /// The longest wait for a group to install a snapshot. Then its sender is told to come again; the group goes on with it.
    pub const INSTALL_WAIT: Duration = Duration::from_secs(600);

    /// The longest wait for an older snapshot of the same group to give way.
    pub const TAKE_OVER_WAIT: Duration = Duration::from_secs(10);

    /// Interval at which that wait looks whether it is still wanted.
    pub const TAKE_OVER_LOOKS: Duration = Duration::from_millis(50);

    /// Times that one file is asked for again because it is damaged. Then it is damaged where it comes from, or the disk is bad.
    pub const DAMAGED_FILE_MAX: u32 = 3;

    /// Times its bytes, and as many windows, that may be sent of one snapshot.
    pub const SENT_AGAIN_MAX: u64 = 8;

    /// The first wait after a connection was cut; the next is twice as long, up to [`BACK_OFF_LONGEST`].
    pub const BACK_OFF_SHORTEST: Duration = Duration::from_millis(100);

    /// Connections one after the other on which the receiver has got nothing new, before a snapshot is given up.
    pub const FRUITLESS_MAX: u32 = 50;

    /// The longest wait for the answer to a whole snapshot, whose receiver checks and installs it: a terabyte in an hour.
    pub const ANSWER_WAIT: Duration = Duration::from_secs(3600);

    /// The longest of these waits.
    pub const BACK_OFF_LONGEST: Duration = Duration::from_secs(5);

    /// Age of a part of a snapshot, of which nothing more has come, at which it is removed.
    pub const UNFINISHED_KEPT: Duration = Duration::from_secs(3600);
}
