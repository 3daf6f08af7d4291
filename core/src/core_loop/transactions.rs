//! Commands after MULTI, and the keys that a connection watches.
//!
//! EXEC sends the commands that concern keys to their shard, as one request that is run or not. Those that concern the connection
//! or the node run where it lives, in their turns, once the shard has answered ([`super::exec`]): so nothing of a transaction is
//! done if the shard does none of it, and who hears of what it publishes finds what it wrote.

use basalt_net::resp::{Protocol, Reply};
use basalt_net::ring::ConnId;
use basalt_storage::keyspace::Slot;

use super::access::{check_queued, is_open};
use super::core::Core;
use super::exec::Exec;
use super::pending::{NOBODY, PendingRequest};
use super::relaying::Course;
use crate::clients::{Connection, Expects, Full, Kept, ReplyMode, Session, Started, Transaction, Watching};
use crate::cluster::Elsewhere;
use crate::commands::facts::Flags;
use crate::commands::table::{self, STEP_EXEC, STEP_UNWATCH, STEP_WATCH};
use crate::commands::{Args, Command, CommandError, InTransaction, Merge};
use crate::entry::request::{self, ArgList, Mode, RequestHeader};
use crate::entry::transaction::{self, Guard};
use crate::ids::{Origin, ShardId};
use crate::multi_shard::spanning::{ScriptRun, Side, Work};
use crate::multi_shard::{Gather, Part};
use crate::session_commands::{self, SessionContext};

const NOT_IN_TRANSACTIONS: CommandError = CommandError::text("ERR Command not allowed inside a transaction");

const FLAWED: CommandError = CommandError::text("EXECABORT Transaction discarded because of previous errors.");

/// The shards of those commands of a transaction that concern keys.
enum Way {
    /// They run in this shard, in this way.
    One(ShardId, Mode),
    /// They run in several, as one.
    Several,
}

/// The same, with all that several shards are asked for.
pub(super) enum Plan {
    /// They run in this shard, in this way.
    One(ShardId, Mode),
    /// They run in several, as one.
    Several(Box<(Vec<Side>, Box<dyn Work>)>),
    /// The same of a transaction that has scripts.
    Scripts(Box<ScriptRun>),
}

/// The watch of a transaction's connection, and the shards that know of it.
type WatchedBy = Option<(u64, Vec<ShardId>)>;

/// The text of an error behind EXECABORT.
fn reason(error: &CommandError) -> String {
    let text = error.to_string();
    text.strip_prefix("ERR ").map(str::to_owned).unwrap_or(text)
}

impl Core {
    /// Starts a command of a connection that has sent MULTI: queues it, for the most part.
    #[cold]
    pub(super) fn command_in_transaction(
        &mut self,
        connection: &mut Connection,
        found: Result<&'static Command, CommandError>,
        args: Args<'_>,
    ) -> Started {
        if matches!(found, Ok(command) if command.in_transaction == InTransaction::Executes)
            && let Some(waits) = self.why_exec_waits(connection)
        {
            return waits;
        }
        self.count_command(connection);
        let called = found.as_ref().ok().copied();
        match found {
            Ok(command)
                if !is_open(connection)
                    && let Some(error) = self.why_denied(&connection.session, command, args) =>
            {
                self.refuse_call(connection, Some(command), &error);
            }
            Ok(command) if command.facts.flags.contains(Flags::NO_MULTI) => {
                self.refuse_call(connection, Some(command), &NOT_IN_TRANSACTIONS);
            }
            Ok(command) if let Err(error) = check_queued(command, args) => {
                self.refuse_call(connection, Some(command), &error);
            }
            Ok(command) if let Some(error) = self.why_not(connection, command, args) => {
                let error = self.marked(connection, error);
                self.refuse_call(connection, Some(command), &error);
            }
            Ok(command) => {
                connection.session.last_command = Some(command.id);
                match command.in_transaction {
                    InTransaction::Queued => self.queue(connection, command, args),
                    InTransaction::AtOnce => self.call(connection, command, args),
                    InTransaction::Executes => {
                        self.stats().by_command[usize::from(command.id)].calls.add(1);
                        self.exec(connection, command.id);
                        self.monitor(connection, command, args);
                    }
                    InTransaction::Refused(text) => {
                        self.stats().by_command[usize::from(command.id)].calls.add(1);
                        self.fail(connection, command.id, &CommandError::text(text));
                    }
                }
            }
            Err(error) => self.refuse_unknown(connection, args, &error),
        }
        Core::end_choice(connection, called);
        if connection.session.reply_mode == ReplyMode::Skip {
            connection.session.reply_mode = ReplyMode::On;
        }
        Started::Yes
    }

    /// The reason that a command cannot be called now, of those that do not depend on its arity.
    fn why_not(&self, connection: &Connection, command: &Command, args: Args<'_>) -> Option<CommandError> {
        if super::dispatch::is_bound(&connection.session, command) {
            return Some(super::dispatch::only_for_subscribers(command));
        }
        if self.local_read(connection, command, args).is_some() {
            return None;
        }
        if self.passes_on(connection) {
            match self.course_of(connection.session.db, command, args) {
                Course::Own => {}
                Course::To(_) => return self.why_not_by_patterns(connection, command, args),
                Course::AllGroups => {
                    return Some(CommandError::owned(format!(
                        "CROSSSLOT '{}' concerns all groups of the cluster, and a transaction runs in one: call it outside of MULTI",
                        command.name()
                    )));
                }
                Course::Refused(error) => return Some(error),
            }
        }
        if self.routing.cluster.is_some()
            && let Some(elsewhere) = self.why_elsewhere(connection.session.db, command, args)
        {
            return Some(elsewhere);
        }
        self.why_not_by_patterns(connection, command, args).or_else(|| self.why_away(command, args))
    }

    fn queue(&mut self, connection: &mut Connection, command: &Command, args: Args<'_>) {
        let bytes_max = self.live.query_bytes_max as u64;
        let transaction = connection.session.transaction.as_mut().expect("MULTI was sent");
        let before = transaction.held_bytes();
        if transaction.len() == 0 {
            transaction.users_version = self.users_version;
        }
        match transaction.queue(command, args, bytes_max) {
            Ok(()) => {
                self.clients.handed_over_bytes += transaction.held_bytes().saturating_sub(before);
                if connection.session.reply_mode == ReplyMode::On {
                    self.reply_raw(connection, b"+QUEUED\r\n");
                }
            }
            Err(Full) => {
                let text = format!(
                    "ERR the transaction is discarded: its commands have more bytes than client-query-buffer-limit, or are more \
                     than {}",
                    crate::limits::TRANSACTION_COMMANDS_MAX
                );
                self.fail(connection, command.id, &CommandError::owned(text));
            }
        }
    }

    /// Notes that a command was refused before it was called. After MULTI that spoils the transaction; EXEC itself ends it.
    pub(super) fn note_rejected(&mut self, connection: &mut Connection, command: Option<&Command>) -> bool {
        if let Some(command) = command {
            self.stats().by_command[usize::from(command.id)].rejected.add(1);
        }
        let ends = command.is_some_and(|command| command.in_transaction == InTransaction::Executes);
        match &mut connection.session.transaction {
            Some(_) if ends => {
                connection.session.transaction = None;
                self.unwatch(connection);
            }
            Some(transaction) => transaction.flaw(),
            None => {}
        }
        ends
    }

    /// Refuses a command that cannot be called.
    pub(super) fn refuse_call(&mut self, connection: &mut Connection, command: Option<&Command>, error: &CommandError) {
        if self.note_rejected(connection, command) {
            let text = format!("EXECABORT Transaction discarded because of: {}", reason(error));
            return self.refuse(connection, &CommandError::owned(text));
        }
        self.refuse(connection, error);
    }

    /// The reason that EXEC has to wait, if it has to.
    fn why_exec_waits(&self, connection: &Connection) -> Option<Started> {
        let session = &connection.session;
        let transaction = session.transaction.as_ref()?;
        if transaction.is_flawed {
            return None;
        }
        if !connection.is_caught_up()
            && self.passes_on(connection)
            && (connection.sent_under != self.routing_version || self.exec_is_elsewhere(connection, transaction))
        {
            return Some(Started::WaitsForReplies);
        }
        let stands_alone = transaction.session_count > 0 || session.watching.is_some();
        if stands_alone && !connection.is_caught_up() {
            return Some(Started::WaitsForReplies);
        }
        if (transaction.publishes || self.fanout.is_monitored()) && !self.may_publish() {
            return Some(Started::WaitsForFanout);
        }
        match self.plan(session, transaction) {
            Ok(Some(Way::Several)) if !connection.is_caught_up() => Some(Started::WaitsForReplies),
            Ok(Some(Way::Several)) => {
                let shard = if self.some_shard_is_full() { self.shard_without_room_of(transaction) } else { None };
                shard.map(|shard| Started::WaitsForShard(shard, Mode::Write))
            }
            Ok(Some(Way::One(shard, mode))) => {
                let mode =
                    if mode == Mode::Read && connection.ordered_unanswered > 0 { Mode::ReadInOrder } else { mode };
                (!self.shard_has_room(shard, mode)).then_some(Started::WaitsForShard(shard, mode))
            }
            _ => None,
        }
    }

    /// Finds the way of a connection's transaction; none if it has no business with a shard.
    fn plan(&self, session: &Session, transaction: &Transaction) -> Result<Option<Way>, CommandError> {
        let router = &self.routing.router;
        if let Some(shard) = self.replica_for_transaction(session, transaction) {
            return Ok(Some(Way::One(shard, Mode::Local)));
        }
        let watched = session.watching.as_ref().map_or(&[][..], |watching| &watching.shards);
        let is_keyed = transaction.keyed_count() > 0;
        if self.routing.cluster.is_some() && transaction.has_other_slots {
            return Err(CommandError::CROSS_SLOT);
        }
        let of_keys = match transaction.slot {
            Some(slot) => Some(self.shard_of_slot(slot)?),
            None => None,
        };
        let shard = of_keys.or(watched.first().copied()).or(router.first_shard().filter(|_| is_keyed));
        let Some(shard) = shard else {
            return if is_keyed { Err(CommandError::owned(Elsewhere::NotServed.to_string())) } else { Ok(None) };
        };
        let concerns_all = is_keyed && transaction.of_all_shards.is_some() && !router.is_whole();
        if concerns_all && self.routing.cluster.is_some() {
            let name = transaction.of_all_shards.and_then(table::by_id).map_or("", Command::name);
            return Err(CommandError::owned(format!(
                "CROSSSLOT '{name}' concerns all shards of this node, and a transaction runs in one: call it outside of MULTI, or \
                 give the node one shard"
            )));
        }
        let is_watched_elsewhere = watched.iter().any(|watched| *watched != shard);
        if is_watched_elsewhere && self.routing.cluster.is_some() {
            return Err(CommandError::CROSS_SLOT);
        }
        let reaches = transaction.runs_scripts && self.may_reach(transaction);
        if concerns_all || is_watched_elsewhere || reaches || self.has_keys_elsewhere(transaction, shard) {
            return Ok(Some(Way::Several));
        }
        if let Some(error) = self.server.some_group_is_away().then(|| self.server.why_away(shard)).flatten() {
            return Err(CommandError::owned(format!("EXECABORT Transaction discarded because of: {}", reason(&error))));
        }
        let mode = match (transaction.writes, watched.is_empty()) {
            (true, true) => Mode::Write,
            (true, false) => Mode::Guarded,
            (false, _) => Mode::Read,
        };
        Ok(Some(Way::One(shard, mode)))
    }

    /// The shard that answers a transaction as it is: one that only reads, of a connection that watches nothing.
    fn replica_for_transaction(&self, session: &Session, transaction: &Transaction) -> Option<ShardId> {
        let may_be = self.reads_locally(session)
            && !transaction.writes
            && !transaction.has_other_slots
            && transaction.of_all_shards.is_none()
            && session.watching.is_none();
        let slot = transaction.slot.filter(|_| may_be)?;
        // Where it is led here, the newest is as near.
        if self.routing.router.shard_of_slot(slot).is_some() { None } else { self.replica_of(slot) }
    }

    fn shard_of_slot(&self, slot: Slot) -> Result<ShardId, CommandError> {
        let elsewhere = || match &self.routing.cluster {
            Some(cluster) => cluster.elsewhere(slot),
            None => Elsewhere::NotServed,
        };
        self.routing.router.shard_of_slot(slot).ok_or_else(|| CommandError::owned(elsewhere().to_string()))
    }

    /// Returns whether a command of a transaction has a key in another shard than this one.
    fn has_keys_elsewhere(&self, transaction: &Transaction, shard: ShardId) -> bool {
        let router = &self.routing.router;
        if !transaction.has_other_slots || router.is_whole() {
            return false;
        }
        let mut args = ArgList::new();
        (0..transaction.len()).filter(|index| transaction.is_keyed(*index)).any(|index| {
            args.clear();
            args.push(b"");
            let command = transaction.row(index);
            let decoded = request::decode(transaction.command(index), &mut args);
            decoded.is_some() && command.keys(&args).any(|key| router.shard_of(args[key]) != shard)
        })
    }

    /// Returns whether a script of a transaction is known to access keys which it has not declared.
    #[cold]
    fn may_reach(&self, transaction: &Transaction) -> bool {
        let mut args = ArgList::new();
        (0..transaction.len()).filter(|index| transaction.is_keyed(*index)).any(|index| {
            let command = transaction.row(index);
            args.clear();
            args.push(command.name().as_bytes());
            command.runs_script
                && request::decode(transaction.command(index), &mut args).is_some()
                && self.calls_reaching(command, &args)
        })
    }

    /// A shard of a transaction over several that has no room for it, if there is one.
    #[cold]
    fn shard_without_room_of(&self, transaction: &Transaction) -> Option<ShardId> {
        let mut args = ArgList::new();
        (0..transaction.len()).filter(|index| transaction.is_keyed(*index)).find_map(|index| {
            args.clear();
            args.push(b"");
            let command = transaction.row(index);
            request::decode(transaction.command(index), &mut args)?;
            self.concerned_shard(command, &args, |shard| !self.shard_has_room(*shard, Mode::Write))
        })
    }

    /// Runs what a connection has queued.
    fn exec(&mut self, connection: &mut Connection, asked: u16) {
        let mut transaction = connection.session.transaction.take().expect("MULTI was sent");
        if transaction.is_flawed {
            self.unwatch(connection);
            return self.fail(connection, asked, &FLAWED);
        }
        // Each was looked at when it was queued.
        if !is_open(connection) && transaction.users_version != self.users_version {
            self.deny_queued(&connection.session, &mut transaction);
        }
        if self.exec_is_elsewhere(connection, &transaction) && self.exec_elsewhere(connection, &transaction, asked) {
            return;
        }
        let plan = match self.plan(&connection.session, &transaction) {
            Ok(plan) => plan,
            Err(error) => {
                self.unwatch(connection);
                let error = self.marked(connection, error);
                return self.fail(connection, asked, &error);
            }
        };
        self.readdress(&connection.session, &mut transaction);
        self.load_queued(&mut transaction);
        let plan = match plan {
            None => None,
            Some(Way::One(shard, mode)) => Some(Plan::One(shard, mode)),
            Some(Way::Several) => match self.plan_several(connection, &transaction) {
                Ok(plan) => Some(plan),
                Err(error) => {
                    self.unwatch(connection);
                    return self.fail(connection, asked, &error);
                }
            },
        };
        if connection.session.tracking.is_some() {
            let shard = if let Some(Plan::One(shard, _)) = &plan { Some(*shard) } else { None };
            self.track_queued(connection, &transaction, shard);
        }
        self.monitor_transaction(connection, &transaction);
        for index in 0..transaction.len() {
            self.stats().by_command[usize::from(transaction.asked(index))].calls.add(1);
        }
        // The shard forgets it with the transaction.
        let watched = connection.session.watching.take().map(|watching| (watching.watch, watching.shards));
        // Nothing that follows may overtake what waits for its keys, or what runs here.
        let is_spanning = matches!(plan, Some(Plan::Several(_) | Plan::Scripts(_)));
        connection.barrier |= watched.is_some() || transaction.session_count > 0 || is_spanning;
        let silent = connection.session.reply_mode != ReplyMode::On;
        if transaction.session_count > 0 {
            let bytes_max = self.server.reply_bounds().one_bytes_max;
            let exec = Exec::new(
                *transaction,
                self.users_version,
                connection.session.protocol,
                connection.session.reply_mode,
                bytes_max,
            );
            return self.exec_with_session_commands(connection, exec, asked, plan, watched);
        }
        let Some(plan) = plan else {
            if !silent {
                self.reply_raw(connection, b"*0\r\n");
            }
            return;
        };
        let expects = if transaction.returns_values { Expects::Values } else { Expects::Word };
        let is_write = !matches!(&plan, Plan::One(_, mode) if mode.is_plain_read());
        let place = connection.open_place(expects, is_write, silent);
        if self.passes_on(connection)
            && let Some(slot) = transaction.slot
        {
            // It cannot be sent on from here, and its client does not know where to go.
            connection.keep(Kept { place, slot, writes: is_write, bytes: Vec::new() });
        }
        self.send_transaction(connection, place, plan, &transaction, asked, watched);
    }

    /// Plans a transaction over several shards.
    fn plan_several(&mut self, connection: &Connection, transaction: &Transaction) -> Result<Plan, CommandError> {
        let runs_script = |index: usize| transaction.is_keyed(index) && transaction.row(index).runs_script;
        if (0..transaction.len()).any(runs_script) {
            return Ok(Plan::Scripts(Box::new(self.run_of(connection, transaction)?)));
        }
        Ok(Plan::Several(Box::new(self.plan_spanning(connection.session.protocol, transaction)?)))
    }

    /// Gives each command of a transaction the database and the protocol that it has by then.
    fn readdress(&self, session: &Session, transaction: &mut Transaction) {
        let (mut protocol, mut db) = (session.protocol, session.db);
        for index in 0..transaction.len() {
            let command = transaction.row(index);
            // What is denied changes nothing for those behind it.
            if command.readdresses && transaction.denial(index).is_none() {
                let mut tried = Session::new(session.id, session.peer, session.local, session.connected);
                (tried.protocol, tried.db) = (protocol, db);
                let mut args = ArgList::new();
                args.push(command.name().as_bytes());
                let mut nowhere = Vec::new();
                if request::decode(transaction.command(index), &mut args).is_some() {
                    let (server, routing) = (&*self.server, &self.routing);
                    let mut context = SessionContext { session: &mut tried, server, routing, is_trial: true };
                    let reply = &mut Reply::new(&mut nowhere, protocol);
                    // What it refuses it will refuse when its turn comes.
                    let _ = session_commands::run(command, &mut context, &args, reply);
                }
                (protocol, db) = (tried.protocol, tried.db);
            }
            transaction.readdress(index, protocol, db);
        }
    }

    /// Sends the commands of a transaction that concern keys to their shards, for a reply in `place`.
    pub(super) fn send_transaction(
        &mut self,
        connection: &mut Connection,
        place: u64,
        plan: Plan,
        transaction: &Transaction,
        asked: u16,
        watched: WatchedBy,
    ) {
        let (shard, mode) = match plan {
            Plan::One(shard, mode) => (shard, mode),
            Plan::Several(planned) => return self.span_transaction(connection, place, asked, *planned, watched),
            Plan::Scripts(mut run) => {
                if watched.is_some() {
                    // What is watched is let go of with the keys.
                    run.hold_all();
                }
                self.note_script();
                let protocol = connection.session.protocol;
                return self.span_run_in(connection, place, (protocol, asked), run, watched);
            }
        };
        let guard = watched.map(|(watch, _)| Guard::of(watch));
        let scripts = self.scripts_of(connection, transaction, shard);
        let mut steps = scripts.iter().peekable();
        let keyed: Vec<&[u8]> = (0..transaction.len())
            .filter(|index| transaction.is_keyed(*index))
            .map(|index| match steps.next_if(|(place, _)| *place == index) {
                Some((_, step)) => step,
                None => transaction.command(index),
            })
            .collect();
        let header = RequestHeader { asked, ..RequestHeader::new(connection.session.protocol, 0, STEP_EXEC) };
        let encode = |out: &mut Vec<u8>| transaction::encode(out, header, guard, keyed.into_iter());
        self.send(connection, place, 0, shard, mode, None, encode);
        if !scripts.is_empty() {
            self.note_script();
        }
    }

    fn exec_with_session_commands(
        &mut self,
        connection: &mut Connection,
        exec: Exec,
        asked: u16,
        plan: Option<Plan>,
        watched: WatchedBy,
    ) {
        let waits_for_shard = exec.transaction.keyed_count() > 0 || watched.is_some();
        let part_count = usize::from(waits_for_shard);
        let keyed = waits_for_shard.then(|| exec.transaction.clone());
        let place = connection.open_coordinated(Box::new(exec), part_count, asked, Expects::Values, true, false);
        match (keyed, plan) {
            (Some(transaction), Some(plan)) => {
                self.send_transaction(connection, place, plan, &transaction, asked, watched);
            }
            _ => self.run_queued(connection, place),
        }
    }

    /// Has the shards of `args`' keys watch them for a connection.
    pub(super) fn watch(&mut self, connection: &mut Connection, asked: u16, args: Args<'_>) {
        if self.watches_elsewhere(connection) {
            return self.fail(connection, asked, &CommandError::CROSS_SLOT);
        }
        let router = &self.routing.router;
        if router.first_shard().is_none() {
            return self.fail(connection, asked, &CommandError::owned(Elsewhere::NotServed.to_string()));
        }
        let session = &mut connection.session;
        let bytes: usize = args[1..].iter().map(|key| Watching::bytes_of(key)).sum();
        if (session.transaction_bytes() + bytes) as u64 > self.live.query_bytes_max as u64 {
            let text =
                "ERR the keys that the connection watches have more bytes than client-query-buffer-limit, UNWATCH some";
            return self.fail(connection, asked, &CommandError::text(text));
        }
        self.clients.next_watch += 1;
        // No other core makes the same.
        let watch = u64::from(self.id.0) << 48 | self.clients.next_watch;
        let watching = session.watching.get_or_insert_with(|| Box::new(Watching::new(watch)));
        let mut parts: Vec<Part> = Vec::new();
        for key in &args[1..] {
            let shard = router.shard_of(key);
            watching.add(shard, session.db, key);
            let index = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
                let args = vec![watching.watch.to_le_bytes().to_vec()];
                parts.push(Part { shard, mode: Mode::Read, command: STEP_WATCH, db: session.db, args });
                parts.len() - 1
            });
            parts[index].args.push(key.to_vec());
        }
        self.clients.handed_over_bytes += bytes;
        connection.barrier = true;
        let gather = Gather::new(Merge::Ok, parts.len());
        self.coordinate(connection, asked, Box::new(gather), parts);
    }

    /// Ends what a connection watches. Nobody waits for that: its next watch is another one.
    pub(super) fn unwatch(&mut self, connection: &mut Connection) {
        if connection.has_relays {
            self.unwatch_elsewhere(connection);
        }
        let Some(watching) = connection.session.watching.take() else { return };
        let (client, watch) = (connection.ring, watching.watch);
        watching
            .shards
            .into_iter()
            .for_each(|shard| self.end_watch(super::dispatch::client_number(client), shard, watch));
    }

    /// Has a shard forget a watch; it hears of that behind what `client` has sent it.
    pub(super) fn end_watch(&mut self, client: u32, shard: ShardId, watch: u64) {
        let request = PendingRequest { connection: ConnId::default(), place: NOBODY, part: 0, ordered: false };
        let origin = Origin { core: self.id, client, ticket: self.pending.insert(request) };
        let header = RequestHeader::new(Protocol::Resp2, 0, STEP_UNWATCH);
        let watch = watch.to_le_bytes();
        let encode = |out: &mut Vec<u8>| request::encode(out, header, [&watch[..]].into_iter());
        self.send_for(origin, shard, Mode::Read, None, encode);
    }
}
