//! A command or transaction over several shards, from the first key that is held to the reply.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::prepared::TransactionId;

use super::{Task, Tasks};
use crate::clients::Connection;
use crate::commands::CommandError;
use crate::commands::table::{self, STEP_ABORT, STEP_COMMIT, STEP_DECIDE, STEP_EXEC, STEP_PREPARE};
use crate::core_loop::core::Core;
use crate::core_loop::dispatch::client_number;
use crate::entry::request::RequestHeader;
use crate::entry::spanning::{HoldOrder, Left, SpanningOrder, encode_step, shards_arg};
use crate::entry::transaction;
use crate::ids::{ShardId, Ticket};
use crate::limits;
use crate::multi_shard::spanning::{Migration, Next, ScriptRun, Side, Work};

/// The reply to a transaction that is decided, of which a shard has not executed its part.
const DECIDED: &str = "UNCERTAIN The transaction is executed, but not in all shards yet: one has failed or its log stands still, and does its \
     part as soon as it goes on";

/// The reply to one that is executed, but for the reply of a shard that has done its part before it was told to.
const REPLY_LOST: &str =
    "UNCERTAIN The transaction is executed, but the replies of a shard that was opened again meanwhile are lost";

/// The reply to one that is not executed since nobody knows if a part is prepared.
const STANDS_STILL: &str = "BUSY The log of a shard stands still, nothing was executed: try again";

const TOO_MANY: &str =
    "ERR A transaction over several shards changes too many keys in one of them, nothing was executed";

pub(super) const TOO_MUCH: &str =
    "BUSY Too much is carried between shards at the moment, nothing was executed: try again";

/// The point that a coordinator has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for the keys of the side with this number.
    Holding(usize),
    Reading,
    /// Its script waits for more keys.
    HoldingMore,
    /// Its script runs.
    Running,
    /// The keys that it sends elsewhere are dumped.
    Dumping,
    /// They are sent.
    Sending,
    /// The one side that writes does.
    Writing,
    Preparing,
    Deciding,
    Committing,
    /// It is not executed: parts that are prepared are taken back.
    Aborting,
}

/// A command or transaction over several shards.
pub(in crate::core_loop) struct Spanning {
    pub(super) id: TransactionId,
    /// The place of its client's reply.
    ticket: Ticket,
    protocol: Protocol,
    asked: u16,
    pub(super) work: Box<dyn Work>,
    pub(super) sides: Vec<Side>,
    /// The script that it runs, until that has come to its end.
    pub(super) script: Option<Box<ScriptRun>>,
    /// The keys that it sends to another server, until that has answered.
    pub(super) migration: Option<Box<Migration>>,
    /// True if it has a thread that sends keys.
    pub(super) has_sender: bool,
    /// True if another server has taken keys, which are to be deleted.
    pub(super) has_sent: bool,
    /// The watch of its connection, and the shards that know of it.
    watch: Option<(u64, Vec<ShardId>)>,
    /// The number of its client, if that does not want to hear of keys that it changes itself.
    pub(super) deaf_client: Option<u32>,
    pub(super) stage: Stage,
    /// Sides whose keys it holds: the first ones.
    held_count: usize,
    /// Orders that are not answered.
    pub(super) awaited: usize,
    read: Vec<Vec<u8>>,
    written: Vec<Vec<u8>>,
    /// Sides whose part is prepared, or may be.
    prepared: Vec<bool>,
    /// Sides that are left to be settled.
    left: Vec<bool>,
    carried_bytes: usize,
    pub(super) error: Option<Vec<u8>>,
    /// True if a shard did not hold more keys.
    pub(super) is_refused: bool,
    /// Bytes of its script's machine, which waits.
    pub(super) machine_bytes: usize,
}

/// These sides, and those of the shards that know of a watch.
fn with_watched(mut sides: Vec<Side>, watch: &Option<(u64, Vec<ShardId>)>) -> Vec<Side> {
    for shard in watch.iter().flat_map(|(_, shards)| shards) {
        if let Err(place) = sides.binary_search_by_key(&shard.0, |side| side.shard) {
            sides.insert(place, Side { shard: shard.0, ..Side::default() });
        }
    }
    sides
}

/// Returns whether it is not known what becomes of a write that was answered so.
fn is_uncertain(reply: &[u8]) -> bool {
    reply.starts_with(b"-UNCERTAIN ")
}

impl Spanning {
    /// The ticket of its client's reply.
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// A command or transaction of the client behind `ticket`, which has called the command `asked`.
    pub(in crate::core_loop) fn new(
        (ticket, protocol, asked): (Ticket, Protocol, u16),
        (sides, work): (Vec<Side>, Box<dyn Work>),
        watch: Option<(u64, Vec<ShardId>)>,
    ) -> Spanning {
        let sides = with_watched(sides, &watch);
        let count = sides.len();
        Spanning {
            id: 0,
            ticket,
            protocol,
            asked,
            work,
            sides,
            script: None,
            migration: None,
            has_sender: false,
            has_sent: false,
            watch,
            deaf_client: None,
            stage: Stage::Holding(0),
            held_count: 0,
            awaited: 0,
            read: vec![Vec::new(); count],
            written: vec![Vec::new(); count],
            prepared: vec![false; count],
            left: vec![false; count],
            carried_bytes: 0,
            error: None,
            is_refused: false,
            machine_bytes: 0,
        }
    }

    /// Commands of a side as one, encoded.
    fn encode(&self, commands: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = RequestHeader { asked: self.asked, ..RequestHeader::new(self.protocol, 0, STEP_EXEC) };
        transaction::encode(&mut bytes, header, None, commands.iter().map(Vec::as_slice));
        bytes
    }

    /// Returns whether its connection watches keys in this shard.
    fn is_watched(&self, shard: ShardId) -> bool {
        self.watch.as_ref().is_some_and(|(_, shards)| shards.contains(&shard))
    }

    /// The sides that write.
    fn writers(&self) -> Vec<usize> {
        (0..self.sides.len()).filter(|&side| !self.sides[side].writes.is_empty()).collect()
    }

    /// This one, which `connection` has called.
    pub(in crate::core_loop) fn called_by(self, connection: &Connection) -> Spanning {
        let tracking = connection.session.tracking.as_ref().filter(|tracking| tracking.is_deaf_to_itself);
        Spanning { deaf_client: tracking.map(|_| client_number(connection.ring)), ..self }
    }

    /// This one, which runs a script.
    pub(super) fn running(self, script: Box<ScriptRun>) -> Spanning {
        Spanning { script: Some(script), ..self }
    }

    /// This one, which sends keys to another server.
    pub(super) fn sending(self, migration: Box<Migration>) -> Spanning {
        Spanning { migration: Some(migration), ..self }
    }

    /// The command that its client has called.
    pub(super) fn asked(&self) -> u16 {
        self.asked
    }

    /// Holds nothing any more. Gives the shards whose keys it has held.
    pub(super) fn let_go_of_all(&mut self) -> Vec<ShardId> {
        let held_count = std::mem::take(&mut self.held_count);
        self.sides.iter().take(held_count).map(Side::shard).collect()
    }

    /// Begins anew with other sides, as another transaction. Gives the shards whose keys it has held.
    pub(super) fn begin_anew(&mut self, id: TransactionId, sides: Vec<Side>) -> Vec<ShardId> {
        let held = self.let_go_of_all();
        let sides = with_watched(sides, &self.watch);
        let count = sides.len();
        (self.id, self.sides, self.error) = (id, sides, None);
        (self.read, self.written) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        (self.prepared, self.left) = (vec![false; count], vec![false; count]);
        held
    }

    /// Makes room for another side, of which it holds something: all others are held by now.
    pub(super) fn add_side(&mut self, shard: ShardId) {
        let Err(place) = self.sides.binary_search_by_key(&shard.0, |side| side.shard) else { return };
        self.sides.insert(place, Side { shard: shard.0, ..Side::default() });
        let count = self.sides.len();
        self.held_count = count;
        (self.read, self.written) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        (self.prepared, self.left) = (vec![false; count], vec![false; count]);
    }

    pub(super) fn fail(&mut self, reply: &[u8]) {
        if self.error.is_none() {
            self.error = Some(reply.to_vec());
        }
    }
}

/// Bytes of memory that a command or transaction takes before it has decided.
fn bytes_of(sides: &[Side], work: &dyn Work) -> usize {
    sides.iter().map(Side::bytes).sum::<usize>() + work.bytes()
}

/// The text of an error as a reply.
pub(super) fn error_reply(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

impl Tasks {
    /// A number that no other transaction ever has.
    pub(super) fn next_id(&mut self, core: u16) -> TransactionId {
        self.next += 1;
        u128::from(rand::random::<u64>()) << 64 | u128::from(core) << 48 | u128::from(self.next)
    }
}

impl Core {
    /// Begins with a command or transaction.
    pub(in crate::core_loop) fn begin_spanning(&mut self, spanning: Spanning) {
        let index = self.enter_spanning(spanning);
        let Some(Task::Spanning(spanning)) = self.tasks.take(index) else { return };
        self.hold_next(index, spanning, 0);
    }

    /// Enters a command or transaction among the tasks, of which nothing is begun.
    pub(super) fn enter_spanning(&mut self, mut spanning: Spanning) -> u32 {
        assert!(
            !spanning.sides.is_empty(),
            "one without shards would end while its connection is not there to be answered"
        );
        spanning.id = self.tasks.next_id(self.id.0);
        let stats = self.stats();
        stats.spanning_transactions.add(1);
        let bytes = bytes_of(&spanning.sides, &*spanning.work);
        self.carry(&mut spanning, bytes);
        self.tasks.insert(Task::Spanning(Box::new(spanning)))
    }

    /// Checks that there is room for what several shards are asked for.
    ///
    /// # Errors
    /// That there is none at the moment. One that is alone may have what it needs.
    pub(in crate::core_loop) fn check_room(
        &self,
        (sides, work): &(Vec<Side>, Box<dyn Work>),
    ) -> Result<(), CommandError> {
        let (carried, bytes) = (self.tasks.carried_bytes, bytes_of(sides, &**work));
        let has_room = carried == 0 || carried + bytes <= limits::CARRIED_BYTES_MAX;
        if has_room { Ok(()) } else { Err(CommandError::text(TOO_MUCH)) }
    }

    /// Counts bytes that a transaction has in memory until its end. Returns whether it may: one alone may have what it needs.
    pub(super) fn carry(&mut self, spanning: &mut Spanning, bytes: usize) -> bool {
        spanning.carried_bytes += bytes;
        self.tasks.carried_bytes += bytes;
        let carried = self.tasks.carried_bytes;
        carried <= limits::CARRIED_BYTES_MAX || carried == spanning.carried_bytes
    }

    /// Forgets all that was counted of a transaction so far.
    pub(super) fn carry_no_more(&mut self, spanning: &mut Spanning) {
        self.tasks.carried_bytes -= std::mem::take(&mut spanning.carried_bytes);
    }

    pub(super) fn hold_next(&mut self, index: u32, mut spanning: Box<Spanning>, number: usize) {
        let Some(side) = spanning.sides.get_mut(number) else { return self.read_sides(index, spanning) };
        spanning.stage = Stage::Holding(number);
        let (transaction, keys, shard) = (spanning.id, std::mem::take(&mut side.keys), side.shard());
        let watch = spanning.watch.as_ref().filter(|_| spanning.is_watched(shard)).map(|(watch, _)| *watch);
        let (keeps_time, deaf_client) = (spanning.script.is_some(), spanning.deaf_client);
        self.tasks.put(index, Task::Spanning(spanning));
        let order = HoldOrder { transaction, keys, watch, keeps_time, deaf_client, is_more: false };
        self.order(index, number, shard, SpanningOrder::Hold(Box::new(order)));
    }

    /// Sends an order to each of these sides, and awaits all answers in `stage`.
    fn order_all(
        &mut self,
        index: u32,
        mut spanning: Box<Spanning>,
        stage: Stage,
        orders: Vec<(usize, SpanningOrder)>,
    ) {
        assert!(!orders.is_empty(), "a stage without orders would never end");
        (spanning.stage, spanning.awaited) = (stage, orders.len());
        let shards: Vec<ShardId> = orders.iter().map(|(side, _)| spanning.sides[*side].shard()).collect();
        self.tasks.put(index, Task::Spanning(spanning));
        for ((side, order), shard) in orders.into_iter().zip(shards) {
            self.order(index, side, shard, order);
        }
    }

    pub(super) fn read_sides(&mut self, index: u32, spanning: Box<Spanning>) {
        if spanning.script.is_some() {
            return self.let_script_go_on(index, spanning);
        }
        if spanning.migration.is_some() {
            return self.let_migration_go_on(index, spanning);
        }
        // All keys are held by now. A side that is read or written is found to be held by that; one of which nothing but the watch
        // is wanted is asked.
        let order_to = |side: &Side| match (side.reads.is_empty(), side.writes.is_empty()) {
            (false, _) => Some(SpanningOrder::Read(Some(spanning.id), spanning.encode(&side.reads))),
            (true, true) if spanning.is_watched(side.shard()) => Some(SpanningOrder::CheckHeld(spanning.id)),
            (true, _) => None,
        };
        let orders = spanning.sides.iter().enumerate();
        let reads: Vec<(usize, SpanningOrder)> =
            orders.filter_map(|(number, side)| Some((number, order_to(side)?))).collect();
        if reads.is_empty() {
            return self.execute(index, spanning);
        }
        self.order_all(index, spanning, Stage::Reading, reads);
    }

    /// Has the sides execute what follows from what was read.
    fn execute(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let Spanning { work, sides, read, protocol, .. } = &mut *spanning;
        let mut bytes = Vec::new();
        if work.decide(sides, read, &mut Reply::new(&mut bytes, *protocol)) == Next::Reply {
            return self.end_spanning(index, spanning, bytes);
        }
        self.write_sides(index, spanning);
    }

    /// Has the sides execute what they have to.
    pub(super) fn write_sides(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let written = spanning.sides.iter().flat_map(|side| &side.writes).map(Vec::len).sum();
        // What another server has taken already is deleted in any case: names of keys are less than the dumps were.
        if !self.carry(&mut spanning, written) && !spanning.has_sent {
            return self.end_spanning(index, spanning, error_reply(TOO_MUCH));
        }
        if spanning.sides.iter().any(|side| side.writes.len() > limits::TRANSACTION_COMMANDS_MAX) {
            // Nobody could ever execute it once it is decided: an entry has no versions for so many.
            return self.end_spanning(index, spanning, error_reply(TOO_MANY));
        }
        let writers = spanning.writers();
        match writers[..] {
            [] => self.reply_of_work(index, spanning),
            [only] => {
                let write = SpanningOrder::Write(Some(spanning.id), spanning.encode(&spanning.sides[only].writes));
                self.order_all(index, spanning, Stage::Writing, vec![(only, write)]);
            }
            [first, ref others @ ..] => {
                let decided_by = spanning.sides[first].shard.to_le_bytes();
                let prepare = |side: &usize| {
                    let part = spanning.encode(&spanning.sides[*side].writes);
                    let args: [&[u8]; 3] = [&spanning.id.to_le_bytes(), &decided_by, &part];
                    (*side, SpanningOrder::Write(Some(spanning.id), encode_step(STEP_PREPARE, spanning.asked, &args)))
                };
                let orders = others.iter().map(prepare).collect();
                self.order_all(index, spanning, Stage::Preparing, orders);
            }
        }
    }

    fn reply_of_work(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let Spanning { work, sides, read, written, protocol, .. } = &mut *spanning;
        let mut bytes = Vec::new();
        work.finish(sides, read, written, &mut Reply::new(&mut bytes, *protocol));
        self.end_spanning(index, spanning, bytes);
    }

    /// Takes a shard's answer.
    pub(super) fn advance_spanning(&mut self, index: u32, mut spanning: Box<Spanning>, side: usize, reply: &[u8]) {
        let is_error = reply.starts_with(b"-");
        match spanning.stage {
            Stage::Running => return self.script_answered(index, spanning, ShardId(side as u16), reply),
            Stage::HoldingMore => return self.more_answered(index, spanning, reply),
            Stage::Dumping => return self.dumped(index, spanning, ShardId(side as u16), reply),
            Stage::Sending => return self.delivered(index, spanning, reply),
            Stage::Holding(_) if is_error => return self.end_spanning(index, spanning, reply.to_vec()),
            Stage::Holding(_) if reply.starts_with(b"*") => {
                // What is watched has changed.
                let mut bytes = Vec::new();
                Reply::new(&mut bytes, spanning.protocol).null_array();
                return self.end_spanning(index, spanning, bytes);
            }
            Stage::Holding(number) => {
                spanning.held_count = number + 1;
                return self.hold_next(index, spanning, number + 1);
            }
            Stage::Reading if is_error => spanning.fail(reply),
            Stage::Reading if spanning.sides[side].reads.is_empty() => {}
            Stage::Reading => {
                if self.carry(&mut spanning, reply.len()) {
                    spanning.read[side] = reply.to_vec();
                } else {
                    spanning.fail(&error_reply(TOO_MUCH));
                }
            }
            Stage::Writing | Stage::Deciding if is_error => spanning.fail(reply),
            // Who settles what is left has been there before.
            Stage::Committing if reply.starts_with(b"*-1") => spanning.fail(&error_reply(REPLY_LOST)),
            Stage::Writing | Stage::Deciding | Stage::Committing if !is_error => {
                spanning.written[side] = reply.to_vec()
            }
            Stage::Preparing if is_uncertain(reply) => {
                spanning.left[side] = true;
                spanning.fail(&error_reply(STANDS_STILL));
            }
            Stage::Preparing if is_error => spanning.fail(reply),
            Stage::Preparing => spanning.prepared[side] = true,
            Stage::Committing => {
                spanning.left[side] = true;
                spanning.fail(&error_reply(DECIDED));
            }
            Stage::Aborting => spanning.left[side] = is_error,
            Stage::Writing | Stage::Deciding => unreachable!("an answer is an error, or none"),
        }
        spanning.awaited -= 1;
        if spanning.awaited > 0 {
            return self.tasks.put(index, Task::Spanning(spanning));
        }
        self.next_stage(index, spanning);
    }

    /// Goes on, once all sides have answered.
    fn next_stage(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let error = spanning.error.clone();
        match (spanning.stage, error) {
            (Stage::Reading, None) => self.execute(index, spanning),
            (Stage::Writing, None) => self.reply_of_work(index, spanning),
            (Stage::Reading | Stage::Writing, Some(error)) => self.end_spanning(index, spanning, error),
            (Stage::Preparing, None) => {
                let [first, others @ ..] = &spanning.writers()[..] else { unreachable!("several write") };
                let others: Vec<ShardId> = others.iter().map(|side| spanning.sides[*side].shard()).collect();
                let part = spanning.encode(&spanning.sides[*first].writes);
                let args: [&[u8]; 3] = [&spanning.id.to_le_bytes(), &shards_arg(&others), &part];
                let decide = SpanningOrder::Write(Some(spanning.id), encode_step(STEP_DECIDE, spanning.asked, &args));
                self.order_all(index, spanning, Stage::Deciding, vec![(*first, decide)]);
            }
            (Stage::Deciding, None) => {
                let orders = self.to_prepared(&spanning, STEP_COMMIT);
                self.order_all(index, spanning, Stage::Committing, orders);
            }
            (Stage::Deciding, Some(error)) if is_uncertain(&error) => {
                // Whoever asks its shard hears what has become of it.
                for side in 0..spanning.sides.len() {
                    spanning.left[side] = spanning.prepared[side];
                }
                self.end_decided(index, spanning, error);
            }
            (Stage::Preparing | Stage::Deciding, Some(error)) => {
                let orders = self.to_prepared(&spanning, STEP_ABORT);
                if orders.is_empty() {
                    return self.end_spanning(index, spanning, error);
                }
                self.order_all(index, spanning, Stage::Aborting, orders);
            }
            (Stage::Aborting, error) => {
                let error = error.expect("a transaction is given up for a reason");
                self.end_spanning(index, spanning, error);
            }
            (Stage::Committing, error) => match error {
                None => {
                    let decided_by = spanning.sides[spanning.writers()[0]].shard();
                    self.tasks.done.push((decided_by, spanning.id));
                    if self.tasks.done.len() >= limits::FORGOTTEN_AT_ONCE {
                        self.forget_decisions();
                    }
                    self.reply_of_work(index, spanning);
                }
                Some(error) => self.end_decided(index, spanning, error),
            },
            (Stage::Holding(_) | Stage::HoldingMore | Stage::Running | Stage::Dumping | Stage::Sending, _) => {
                unreachable!("none of these ends by the answers of all sides")
            }
        }
    }

    /// Ends a transaction that is decided, or may be, and leaves its decision to be forgotten by whoever settles the rest.
    fn end_decided(&mut self, index: u32, spanning: Box<Spanning>, error: Vec<u8>) {
        let (id, decided_by) = (spanning.id, spanning.sides[spanning.writers()[0]].shard());
        let left = (0..spanning.sides.len()).filter(|&side| spanning.left[side]);
        let others: Vec<ShardId> = left.map(|side| spanning.sides[side].shard()).collect();
        self.end_spanning(index, spanning, error);
        self.tell(decided_by, SpanningOrder::Leave(id, Left::Decision(others)));
    }

    /// A step for each side that is prepared.
    fn to_prepared(&self, spanning: &Spanning, step: u16) -> Vec<(usize, SpanningOrder)> {
        let order = || SpanningOrder::Write(None, encode_step(step, spanning.asked, &[&spanning.id.to_le_bytes()]));
        (0..spanning.sides.len()).filter(|&side| spanning.prepared[side]).map(|side| (side, order())).collect()
    }

    /// Lets go of all keys, and answers the client.
    pub(super) fn end_spanning(&mut self, index: u32, mut spanning: Box<Spanning>, mut reply: Vec<u8>) {
        self.tasks.end(index);
        self.carry_no_more(&mut spanning);
        self.tasks.machine_bytes -= spanning.machine_bytes;
        let decided_by = spanning.writers().first().map(|first| spanning.sides[*first].shard());
        for (number, side) in spanning.sides.iter().enumerate().take(spanning.held_count) {
            match decided_by.filter(|_| spanning.left[number]) {
                Some(decided_by) => self.tell(side.shard(), SpanningOrder::Leave(spanning.id, Left::Part(decided_by))),
                None => self.tell(side.shard(), SpanningOrder::Release(spanning.id)),
            }
        }
        if let Some((watch, shards)) = spanning.watch {
            let client = limits::SPANNING_CLIENTS;
            shards.into_iter().for_each(|shard| self.end_watch(client, shard, watch));
        }
        if spanning.has_sent && spanning.error.is_some() && reply.ends_with(b"\r\n") {
            // It is the error of a shard, which knows nothing of another server.
            reply.truncate(reply.len() - 2);
            reply.extend_from_slice(b". The target instance has keys that may be here still\r\n");
        }
        if reply.starts_with(b"-") && table::by_id(spanning.asked).is_some_and(|command| !command.is_of_session()) {
            self.stats().by_command[usize::from(spanning.asked)].failed.add(1);
        }
        self.answer(spanning.ticket, &reply);
        if spanning.has_sender {
            self.release_sender();
        }
    }
}
