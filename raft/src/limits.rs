//! Every bound, wait and retry of this crate. What the core decides comes in [`GroupOptions`](crate::GroupOptions).

use std::time::Duration;

// The log.

/// Bytes of entries read from the log at once, for applying or replicating: one frame to a peer, and little beside a memtable.
pub(crate) const READ_BYTES: usize = 1 << 20;
/// Wait before a log that has a write stall is asked again. A stall ends with the table that is being written, within some
/// milliseconds.
pub(crate) const STALL_RETRY: Duration = Duration::from_millis(1);
/// Wait before a log on a full disk is asked again. Somebody has to make room: nobody sees 50 ms of that.
pub(crate) const LOG_DISK_FULL_RETRY: Duration = Duration::from_millis(50);

// Applying.

/// Time for which entries are applied before other tasks of the core get a turn: the core's budget for one task's run.
pub(crate) const APPLY_SLICE: Duration = Duration::from_micros(500);

/// Memtables' worth of rows in memory, beside the generation that is being written, at which a replica of several waits with
/// applying: the core's own bound for what it proposes, which a follower does not.
pub(crate) const APPLY_MEMTABLES_MAX: usize = 2;
/// Bytes of committed entries that wait to be applied, beyond which no more entries of the leader are let in. As much as a long log
/// read ahead, and far less than a log may have.
pub(crate) const UNAPPLIED_BYTES_MAX: u64 = 64 << 20;

/// Messages with entries that wait at once until more is applied. A leader sends a peer one after the other, and another one when
/// it has waited long enough; so there are as many as leaders and their patience make, and each may be as long as a read.
pub(crate) const WAITING_APPENDS_MAX: u32 = 4;

// Generations.

/// Wait before a generation that found no room on the disk is tried again: it writes a whole memtable, so not as often as the log.
pub(crate) const GENERATION_DISK_FULL_RETRY: Duration = Duration::from_millis(500);

// The group.

/// Time between two looks of a group for finished syncs and jobs while nobody else looks: when it is opened and shut down. One
/// sync takes about as long.
pub(crate) const DRIVE_EVERY: Duration = Duration::from_micros(100);
/// Time after which openraft is told again what is on disk if it does not say that it knows: it drops such a question while it is
/// busy with another, and a log that is purged 50 ms later costs nothing.
pub(crate) const REPORT_AGAIN: Duration = Duration::from_millis(50);

/// Bytes of its newest entries that a replica of several keeps although its rows are on disk: half a dozen seconds of a shard's
/// heaviest writes, and minutes of ordinary ones. A log is read through when it is opened, which takes a quarter of a second for so
/// many.
pub(crate) const LOG_KEPT_BYTES: u64 = 128 << 20;
/// The part of the log's bytes that is kept so at most: what writes out rows has to have the other part, or the log would be full
/// of what is kept.
pub(crate) const LOG_KEPT_PART: u64 = 2;
/// Silence of a follower for which the log is still held for it, within the bytes above. A machine that is started anew is back
/// within minutes; to hold so little for longer costs nothing, while a snapshot is all that a group has. Who is away for longer is
/// gone, and the log is no longer than rows need.
pub(crate) const FOLLOWER_GONE_AFTER: Duration = Duration::from_secs(600);
/// Time between two looks whether a follower that the log is held for has what it needed: as much as is written in a second stays
/// for a second more.
pub(crate) const PURGE_LOOK: Duration = Duration::from_secs(1);
/// The longest wait of a shutdown for the group's tasks to let go of log and store. They end within a turn; who does not after
/// seconds never will.
pub(crate) const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// Messages to openraft that have room in its queue beside all proposals: questions for snapshots and leaders, of which each kind
/// has one on its way.
pub(crate) const MESSAGES_MAX: u64 = 1024;

/// Heartbeats in the shortest time without a leader: some may be late or lost.
pub(crate) const HEARTBEATS_A_TIMEOUT: u64 = 4;
/// Quarters of a heartbeat's interval after which a leader that was not heard of is quiet.
pub(crate) const QUIET_HEARTBEAT_QUARTERS: u64 = 5;
/// Heartbeats in the time between two looks whether the leader is quiet. With the time after which it is, that is less than the
/// shortest time without a leader before a follower campaigns: nobody is late.
pub(crate) const QUIET_LOOK_HEARTBEATS: u64 = 2;
const _: () = assert!(QUIET_HEARTBEAT_QUARTERS + 4 * QUIET_LOOK_HEARTBEATS < 4 * HEARTBEATS_A_TIMEOUT);
/// The shortest time without a leader before a follower campaigns, if nobody says another. A core may be busy with one large
/// collection for a fifth of a second; that must be no reason. Two seconds are the promise for a leader that is gone.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Tenths of the shortest time without a leader that a leader's lease has. openraft adds a timeout to it before a follower
/// campaigns, of no more than the lease and, since no follower is to campaign earlier, of no less than the other tenths: those who
/// campaign have four tenths to be apart, and a leader is refused proposals when more than two heartbeats are lost.
pub(crate) const LEASE_TENTHS: u64 = 7;
/// The grid that long timers end on, and the shortest that do. openraft looks at its clocks 20 times a second for each group, each
/// at a time of its own; woken together, a core of hundreds of idle groups sleeps.
pub(crate) const TIMER_GRID: Duration = Duration::from_millis(25);
/// For so many of the longest times without a leader, a leader that hears from no quorum is silent, and sends again, in turns: one
/// that can send but not receive would keep its followers from electing another for ever. openraft wants two at least: one for
/// its lease to end, one for the election.
pub(crate) const SILENT_ELECTIONS: u64 = 2;

/// Time between two looks at a disk that does not answer beyond which it is not known that it did not.
pub(crate) const SILENCE_LOOKS_APART: Duration = Duration::from_millis(500);

// Members.

/// Bytes of the entries that a learner may be behind by and still become a voter: as a voter it has them after one more message,
/// and holds nobody up for longer than that.
pub(crate) const CAUGHT_UP_BYTES: u64 = READ_BYTES as u64;
/// The longest address of a member: a host's longest name, a colon and a port.
pub(crate) const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;
/// Bytes of a membership, beyond which no more members are added. A snapshot's meta has to fit into 64 KiB, and a change of voters
/// has two sets of them.
pub(crate) const MEMBERSHIP_BYTES_MAX: usize = 60 << 10;

// Peers.

/// Rounds of questions for whether there would be a vote, each refused and no leader heard of, after which a member asks less
/// and less often: ten seconds, or most of a minute for one that lacks entries. Of those who may come to lead, the one with the
/// longest log is not refused for so long.
pub(crate) const PRE_VOTES_REFUSED: u32 = 8;
/// The longest wait between two such rounds. Whoever is removed and asks twice a minute is no burden; whoever was refused in
/// error is back by then.
pub(crate) const PRE_VOTE_WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest silence of the receiver of a snapshot. Who carries it knows better why nothing comes, and goes on with one that is
/// back where it stood: it gives up after two minutes without progress, and one more attempt of some seconds. So this is longer:
/// what is given up here begins from nothing, and nobody learns why.
pub(crate) const SNAPSHOT_SILENCE: Duration = Duration::from_secs(150);
/// Waits before a peer that cannot be reached is sent entries again, in openraft's words: these, doubled up to the last. Heartbeats
/// go on meanwhile, so that one that is back does not campaign.
pub(crate) const UNREACHABLE_BACKOFF: &str = "100ms 200ms ...1s";

// What is decoded.

/// Members that a membership may name, voters and learners. Far above any real cluster; bounds what a damaged count asks for.
pub(crate) const MEMBERS_MAX: usize = 1024;
