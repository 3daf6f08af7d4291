//! From a decoded command to the shard that runs it.

use basalt_net::resp::{Argv, Protocol};
use basalt_net::ring::ConnId;
use basalt_storage::ColdRead;
use basalt_storage::keyspace::Slot;
use smallvec::SmallVec;

use super::access::is_open;
use super::core::Core;
use super::pending::PendingRequest;
use super::piecemeal::Mget;
use super::relaying::Course;
use crate::acl;
use crate::clients::{Connection, DuePiece, Expects, Piece, ReplyMode, Session, Started};
use crate::cluster::Elsewhere;
use crate::commands::table;
use crate::commands::{
    Args, Command, CommandError, Kind, Merge, MultiShard, PatternKeys, Run, Scatter, once, run_on_nothing,
    why_not_by_patterns, why_not_in_cluster,
};
use crate::entry::request::{self, Mode, RequestHeader};
use crate::entry::script_trial::SENT_BACK;
use crate::ids::{Origin, ShardId, Ticket};
use crate::limits;
use crate::multi_shard::{self, Coordinator, Gather, Part, Plan, Progress};
use crate::shard::{ReadOutcome, Shard};
use basalt_net::resp::Reply;

/// Words of HTTP requests that could otherwise pass for commands; Redis closes such connections too.
const HTTP_WORDS: [&[u8]; 2] = [b"post", b"host:"];

/// Returns whether a connection may not call `command`: with the old protocol, one that has subscribed may do little else, since
/// its client could not tell replies from messages.
pub(super) fn is_bound(session: &Session, command: &Command) -> bool {
    session.is_subscriber() && session.protocol == Protocol::Resp2 && !command.is_for_subscribers
}

pub(super) fn only_for_subscribers(command: &Command) -> CommandError {
    let name = command.name();
    CommandError::owned(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    ))
}

/// The number by which shards know a connection of this core. Who gets the place of one that is gone has another.
pub(super) fn client_number(connection: ConnId) -> u32 {
    let generation = connection.generation() << limits::CLIENTS_MAX.next_power_of_two().trailing_zeros();
    (connection.index() as u32 ^ generation) % limits::SPANNING_CLIENTS
}

/// The place of the connection that shards know by this number.
pub(super) fn client_index(number: u32) -> usize {
    (number & (limits::CLIENTS_MAX.next_power_of_two() - 1)) as usize
}

impl Core {
    /// Starts one command of a connection: answers it, or opens a place for its reply and sends it on its way. Or says why it must
    /// wait.
    pub(crate) fn command(&mut self, connection: &mut Connection, argv: &Argv, input: &[u8]) -> Started {
        let args: SmallVec<[&[u8]; 8]> = argv.iter(input).collect();
        if connection.session.forwarded.is_some()
            && let Some(started) = self.relay_word(connection, &args)
        {
            return started;
        }
        let found = table::find(&args);
        if self.pause.is_on() && self.is_paused(connection, &found, &args) {
            return Started::WaitsForPause;
        }
        if connection.session.transaction.is_some() {
            return self.command_in_transaction(connection, found, &args);
        }
        if matches!(found, Ok(command) if command.is_after_replies(&args)) && !connection.is_caught_up() {
            return Started::WaitsForReplies;
        }
        if let Ok(command) = found
            && let Some((shard, run)) = self.local_read(connection, command, &args)
            // What is denied goes the way of all others, and is refused there.
            && (is_open(connection) || self.may_call(&connection.session, command, &args))
        {
            return self.start_local_read(connection, command, (shard, run), &args);
        }
        // What its connection has sent is in other shards, maybe, and not executed there.
        if !connection.is_caught_up()
            && matches!(found, Ok(command) if self.spans(command, &args) || self.calls_reaching(command, &args))
        {
            return Started::WaitsForReplies;
        }
        let course = match found {
            Ok(command) if self.passes_on(connection) => self.course_of(connection.session.db, command, &args),
            _ => Course::Own,
        };
        let is_passed_on = matches!(course, Course::To(_) | Course::AllGroups);
        if self.is_proxy && matches!(found, Ok(command) if self.waits_for_order(connection, command, &course)) {
            return Started::WaitsForReplies;
        }
        let elsewhere = match (&found, &course) {
            (Ok(command), Course::Own) if self.routing.cluster.is_some() => {
                self.why_elsewhere(connection.session.db, command, &args)
            }
            (_, Course::Refused(error)) => Some(CommandError::owned(error.to_string())),
            _ => None,
        };
        if self.some_shard_is_full()
            && elsewhere.is_none()
            && !is_passed_on
            && let Ok(command) = found
            && let Some((shard, mode)) = self.shard_without_room(connection, command, &args)
        {
            return Started::WaitsForShard(shard, mode);
        }
        // Whoever is told of all commands is sent what the turns before have told first.
        let publishes =
            self.fanout.is_monitored() || matches!(found, Ok(command) if command.publishes || command.runs_script);
        if publishes && !self.may_publish() {
            return Started::WaitsForFanout;
        }
        self.count_command(connection);
        let called = found.as_ref().ok().copied();
        match found {
            Ok(command)
                if !is_open(connection)
                    && let Some(error) = self.why_denied(&connection.session, command, &args) =>
            {
                self.refuse_call(connection, Some(command), &error);
            }
            Ok(command) if is_bound(&connection.session, command) => {
                self.refuse_call(connection, Some(command), &only_for_subscribers(command));
            }
            Ok(command) if command.is_of_cluster && self.routing.cluster.is_none() => {
                self.refuse_call(connection, Some(command), &CommandError::NO_CLUSTER);
            }
            Ok(command) if is_passed_on => {
                connection.session.last_command = Some(command.id);
                self.call_elsewhere(connection, command, &args, course);
            }
            Ok(command) if let Some(error) = elsewhere.or_else(|| self.why_away(command, &args)) => {
                let error = self.marked(connection, error);
                self.refuse_call(connection, Some(command), &error);
            }
            Ok(command) => {
                connection.session.last_command = Some(command.id);
                let place = connection.next_place();
                self.call(connection, command, &args);
                if self.is_proxy {
                    self.keep_request(connection, command, &args, place);
                }
            }
            Err(error) => self.refuse_unknown(connection, &args, &error),
        }
        Core::end_choice(connection, called);
        if connection.session.reply_mode == ReplyMode::Skip {
            connection.session.reply_mode = ReplyMode::On;
        }
        Started::Yes
    }

    /// Counts a command that a connection has sent.
    pub(super) fn count_command(&mut self, connection: &mut Connection) {
        let session = &mut connection.session;
        session.command_count += 1;
        if session.reply_mode == ReplyMode::SkipNext {
            session.reply_mode = ReplyMode::Skip;
        }
        self.stats().commands.add(1);
    }

    /// Calls a command.
    pub(super) fn call(&mut self, connection: &mut Connection, command: &'static Command, args: Args<'_>) {
        self.stats().by_command[usize::from(command.id)].calls.add(1);
        // As Redis does, which shows SELECT with the database that it has selected.
        let is_told_behind = command.is_of_session();
        if !is_told_behind {
            self.monitor(connection, command, args);
        }
        if connection.session.tracking.is_some() {
            self.track_reads(connection, command, args, None);
        }
        self.start(connection, command, args);
        if is_told_behind {
            self.monitor(connection, command, args);
        }
    }

    /// True if a command that is passed on, or stays here while others are on their way, must wait for these.
    fn waits_for_order(&mut self, connection: &mut Connection, command: &Command, course: &Course) -> bool {
        let is_passed_on = matches!(course, Course::To(_) | Course::AllGroups);
        if !is_passed_on && (command.is_of_session() || !self.passes_on(connection)) {
            return false;
        }
        let stands_alone = command.watches || command.waits.is_some() || matches!(course, Course::AllGroups);
        self.waits_to_pass_on(connection, is_passed_on, stands_alone)
    }

    /// Calls a command that other nodes execute.
    fn call_elsewhere(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        course: Course,
    ) {
        let Course::To(aim) = course else {
            if let Some(error) = self.why_not_by_patterns(connection, command, args) {
                return self.refuse_call(connection, Some(command), &error);
            }
            self.stats().by_command[usize::from(command.id)].calls.add(1);
            self.monitor(connection, command, args);
            if !self.start_over_groups(connection, command, args) {
                self.start(connection, command, args);
            }
            return;
        };
        self.stats().by_command[usize::from(command.id)].calls.add(1);
        self.monitor(connection, command, args);
        self.pass_on_command(connection, command, args, aim);
    }

    /// Refuses what is no command, or has too few or too many arguments.
    pub(super) fn refuse_unknown(&mut self, connection: &mut Connection, args: Args<'_>, error: &CommandError) {
        // A browser, maybe made by a web page to talk to this port: what follows is not a client's wish.
        if HTTP_WORDS.iter().any(|word| args[0].eq_ignore_ascii_case(word)) {
            tracing::warn!(client = connection.session.id, "client closed: it speaks HTTP");
            connection.session.closing = true;
        } else {
            self.refuse_call(connection, table::called(args), error);
        }
    }

    /// The reason that a command cannot be run by a node in a cluster: its keys are in several slots, or in one that is not here.
    pub(super) fn why_elsewhere(&self, db: u8, command: &Command, args: Args<'_>) -> Option<CommandError> {
        let cluster = self.routing.cluster.as_ref()?;
        if command.is_of_session() && !command.is_by_slot && !command.watches {
            return None;
        }
        if command.swaps_databases || command.migrates {
            return why_not_in_cluster(command, args, db).map(|reason| CommandError::owned(format!("ERR {reason}")));
        }
        let mut slots = command.keys(args).map(|key| Slot::of(args[key]));
        let slot = slots.next()?;
        let is_here = self.routing.router.shard_of_slot(slot).is_some();
        let elsewhere = (!is_here).then(|| cluster.elsewhere(slot));
        // In the order in which Redis looks.
        if let Some(nowhere @ (Elsewhere::NotServed | Elsewhere::Loading)) = elsewhere {
            return Some(CommandError::owned(nowhere.to_string()));
        }
        if slots.any(|other| other != slot) {
            return Some(CommandError::CROSS_SLOT);
        }
        match elsewhere {
            // As Redis does with `cluster-allow-pubsubshard-when-down`.
            Some(Elsewhere::Down) if command.is_by_slot => return None,
            Some(elsewhere) => return Some(CommandError::owned(elsewhere.to_string())),
            None => {}
        }
        let (command, args) = once::inner(command, args).unwrap_or((command, args));
        why_not_in_cluster(command, args, db).map(|reason| CommandError::owned(format!("ERR {reason}")))
    }

    /// The reason that a command cannot be run whose arguments have patterns for names of keys: these may be in other shards, or
    /// none of its connection's user.
    pub(super) fn why_not_by_patterns(
        &self,
        connection: &Connection,
        command: &Command,
        args: Args<'_>,
    ) -> Option<CommandError> {
        if !command.has_patterns {
            return None;
        }
        let router = &self.routing.router;
        let shard_of = |key: &[u8]| router.shard_of_slot(Slot::of(key));
        let is_here = |key: &[u8]| shard_of(key) == shard_of(args[1]);
        let keys = PatternKeys {
            in_cluster: self.routing.cluster.is_some(),
            may_read_all: is_open(connection) || acl::may_read_all(&connection.session.user, command, args),
            is_here: if router.is_whole() { None } else { Some(&is_here) },
        };
        why_not_by_patterns(command, args, keys)
    }

    /// The reason that a command cannot be run, if it needs a shard whose group takes no requests.
    pub(super) fn why_away(&self, command: &Command, args: Args<'_>) -> Option<CommandError> {
        if self.server.some_group_is_away() { self.why_shard_is_away(command, args) } else { None }
    }

    #[cold]
    fn why_shard_is_away(&self, command: &Command, args: Args<'_>) -> Option<CommandError> {
        let is_away = |shard: &ShardId| self.server.why_away(*shard).is_some();
        let is_walk =
            matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan | MultiShard::Keys | MultiShard::RandomKey));
        let shard = match command.kind {
            _ if command.is_of_session() => None,
            _ if is_walk => self.routing.router.shards().find(is_away),
            _ => self.concerned_shard(command, args, is_away),
        };
        self.server.why_away(shard?)
    }

    /// A shard that has no room for what a command asks of it, if there is one: no part of the command is started then. The steps
    /// of walks are few and short, and are sent all the same.
    #[cold]
    fn shard_without_room(
        &self,
        connection: &Connection,
        command: &Command,
        args: Args<'_>,
    ) -> Option<(ShardId, Mode)> {
        let mode = match command.kind {
            Kind::Read(_) if connection.ordered_unanswered == 0 => Mode::Read,
            Kind::Read(_) => Mode::ReadInOrder,
            Kind::Write(_) => Mode::Write,
            _ => return None,
        };
        let shard = self.concerned_shard(command, args, |shard| !self.shard_has_room(*shard, mode));
        shard.map(|shard| (shard, mode))
    }

    /// The first shard for which `is_so` among those that run a command, but for the steps of walks.
    pub(super) fn concerned_shard(
        &self,
        command: &Command,
        args: Args<'_>,
        is_so: impl Fn(&ShardId) -> bool,
    ) -> Option<ShardId> {
        let router = &self.routing.router;
        let of_keys = |step| args[1..].chunks(step).map(|group| router.shard_of(group[0]));
        match command.scatter {
            Scatter::None => router.first_shard().filter(is_so),
            Scatter::Keys => {
                let mut shards = command.keys(args).map(|key| router.shard_of(args[key])).peekable();
                if shards.peek().is_none() { router.first_shard().filter(is_so) } else { shards.find(is_so) }
            }
            Scatter::Split { step, .. } => of_keys(step).find(is_so),
            Scatter::AllShards { .. } => router.shards().find(is_so),
            Scatter::MultiShard(MultiShard::Rename | MultiShard::Copy) => of_keys(1).take(2).find(is_so),
            Scatter::MultiShard(MultiShard::Scan | MultiShard::Keys | MultiShard::RandomKey) => None,
        }
    }

    /// Refuses a command that was called, because of its arguments or the state of its connection.
    pub(super) fn fail(&mut self, connection: &mut Connection, command: u16, error: &CommandError) {
        self.stats().by_command[usize::from(command)].failed.add(1);
        self.refuse(connection, error);
    }

    pub(super) fn refuse(&mut self, connection: &mut Connection, error: &CommandError) {
        self.stats().error_replies.count(error.to_string().as_bytes());
        if connection.session.reply_mode == ReplyMode::On {
            self.reply_with(connection, |reply| reply.error_display(error));
        }
    }

    fn start(&mut self, connection: &mut Connection, command: &'static Command, args: Args<'_>) {
        let asked = command.id;
        let command = command.for_call(args);
        let (run, mode) = match command.kind {
            Kind::Read(run) if connection.ordered_unanswered == 0 => (run, Mode::Read),
            Kind::Read(run) => (run, Mode::ReadInOrder),
            Kind::Write(run) => (run, Mode::Write),
            _ => return self.session_command(connection, command, args),
        };
        if let Some(error) = self.why_not_by_patterns(connection, command, args) {
            return self.fail(connection, asked, &error);
        }
        if asked == table::ONCE
            && let Err(error) = once::check(args)
        {
            return self.fail(connection, asked, &error);
        }
        if let Some(change) = command.changes_functions {
            return self.change_functions(connection, command, change, args);
        }
        let router = &self.routing.router;
        let Some(any) = router.first_shard() else {
            return self.answer_without_shards(connection, command, run, args);
        };
        if command.migrates {
            return self.migrate(connection, command, args);
        }
        if command.runs_script {
            return self.run_script(connection, command, any, args);
        }
        if let Some(waits) = command.waits {
            return self.begin_wait(connection, command, waits, run, args);
        }
        if command.waits_for_entries
            && let Some(call) = self.entry_call(command, args)
        {
            return self.begin_entry_wait(connection, command, call, args);
        }
        if self.spans(command, args) {
            return self.span_call(connection, command, run, args);
        }
        let router = &self.routing.router;
        match command.scatter {
            Scatter::None => self.run_on(connection, any, command, run, mode, args),
            Scatter::Keys => {
                let mut keys = command.keys(args);
                let shard = keys.next().map_or(any, |key| router.shard_of(args[key]));
                // In a cluster, or one that would cost too much.
                if !router.is_whole() && keys.any(|key| router.shard_of(args[key]) != shard) {
                    return self.fail(connection, asked, &CommandError::CROSS_SHARD);
                }
                self.run_step_on(connection, shard, (command, asked), run, mode, args);
            }
            Scatter::Split { step, merge } => {
                let first = router.shard_of(args[1]);
                let groups = args[1..].chunks(step);
                if matches!(merge, Merge::ArrayInOrder) && args.len() > 2 {
                    return self.mget(connection, command, run, (mode, None), args);
                }
                if router.is_whole() || groups.clone().all(|group| router.shard_of(group[0]) == first) {
                    return self.run_on(connection, first, command, run, mode, args);
                }
                let (parts, coordinator) = self.split(connection, command, mode, args, step, merge);
                self.coordinate(connection, command.id, Box::new(coordinator), parts);
            }
            Scatter::AllShards { merge } if !router.is_whole() => {
                let part = |shard| Part {
                    shard,
                    mode,
                    command: command.id,
                    db: connection.session.db,
                    args: args[1..].iter().map(|arg| arg.to_vec()).collect(),
                };
                let parts: Vec<Part> = router.shards().map(part).collect();
                let bytes_max = self.server.reply_bounds().one_bytes_max;
                let gather = Gather::new(merge, parts.len()).bounded(bytes_max).of_writes(mode == Mode::Write);
                self.coordinate(connection, command.id, Box::new(gather), parts);
            }
            Scatter::AllShards { .. } => self.run_on(connection, any, command, run, mode, args),
            Scatter::MultiShard(steps) => {
                let (db, bounds) = (connection.session.db, self.server.reply_bounds());
                match multi_shard::plan(command, steps, db, router, &bounds, args) {
                    Ok(Plan::Whole(shard)) => self.run_on(connection, shard, command, run, mode, args),
                    Ok(Plan::Parts(parts, coordinator)) => {
                        // Later parts are sent when earlier ones are answered: nothing of this connection may overtake them.
                        connection.barrier = true;
                        self.coordinate(connection, command.id, coordinator, parts);
                    }
                    Err(error) => self.fail(connection, command.id, &error),
                }
            }
        }
    }

    /// Answers a command that concerns all keys of a node which has no shards.
    #[cold]
    fn answer_without_shards(&mut self, connection: &mut Connection, command: &Command, run: Run, args: Args<'_>) {
        let concerns_all =
            matches!(command.scatter, Scatter::AllShards { .. } | Scatter::MultiShard(_)) || command.is_of_functions;
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.protocol);
        let ran = match run_on_nothing(run, args, &mut reply) {
            Ok(()) if concerns_all => Ok(()),
            Ok(()) => Err(CommandError::owned(Elsewhere::NotServed.to_string())),
            Err(error) => Err(error),
        };
        match ran {
            Err(error) => self.fail(connection, command.id, &error),
            Ok(()) if connection.session.reply_mode == ReplyMode::On => self.reply_raw(connection, &bytes),
            Ok(()) => {}
        }
    }

    /// Runs a command on the one shard it concerns.
    pub(super) fn run_on(
        &mut self,
        connection: &mut Connection,
        shard: ShardId,
        command: &'static Command,
        run: Run,
        mode: Mode,
        args: Args<'_>,
    ) {
        self.run_step_on(connection, shard, (command, command.id), run, mode, args);
    }

    /// Runs a command, or the one step of the command `asked`, on the one shard it concerns.
    pub(super) fn run_step_on(
        &mut self,
        connection: &mut Connection,
        shard: ShardId,
        (command, asked): (&'static Command, u16),
        run: Run,
        mode: Mode,
        args: Args<'_>,
    ) {
        let header = RequestHeader {
            seed: command.seed(),
            asked,
            ..RequestHeader::new(connection.session.protocol, connection.session.db, command.id)
        };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let mut cold = None;
        if mode.is_plain_read() && !silent {
            match self.read_here(connection, (shard, mode), run, header, args) {
                Some(ReadOutcome::Done) => return,
                Some(ReadOutcome::Cold(read)) => cold = Some(read),
                // Only MGET of several keys is read in pieces, and does not come here.
                Some(ReadOutcome::Piecemeal) | None => {}
            }
        }
        let place = connection.open_place(Expects::of(command, args), mode == Mode::Write, silent);
        let encode = |out: &mut Vec<u8>| request::encode(out, header, args[1..].iter().copied());
        self.send(connection, place, 0, shard, mode, cold, encode);
    }

    /// Runs an MGET of several keys: at once if they are all on a shard of this core, else by its parts. All are read from
    /// `replica`, if one is named.
    pub(super) fn mget(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        run: Run,
        (mode, replica): (Mode, Option<ShardId>),
        args: Args<'_>,
    ) {
        let (protocol, db) = (connection.session.protocol, connection.session.db);
        let router = &self.routing.router;
        let shard_of = |key: &[u8]| replica.unwrap_or_else(|| router.shard_of(key));
        let first = shard_of(args[1]);
        let is_whole = args[2..].iter().all(|key| shard_of(key) == first);
        let silent = connection.session.reply_mode != ReplyMode::On;
        let mut in_pieces = false;
        if mode.is_plain_read() && is_whole && !silent {
            let header = RequestHeader::new(protocol, db, command.id);
            match self.read_here(connection, (first, mode), run, header, args) {
                Some(ReadOutcome::Done) => return,
                Some(ReadOutcome::Piecemeal) => in_pieces = true,
                Some(ReadOutcome::Cold(_)) | None => {}
            }
        }
        // Nothing of this connection may change what the pieces read.
        connection.barrier |= in_pieces;
        let keys = args[1..].iter().copied();
        let places = (&self.server, &self.routing, replica);
        let (parts, mget) = Mget::start(places, protocol, (command.id, db), keys, in_pieces);
        self.coordinate(connection, command.id, Box::new(mget), parts);
    }

    /// Sends the pieces of a reply whose turn it is, as far as the client takes them, and asks for the next ones.
    pub(crate) fn send_pieces(&mut self, connection: &mut Connection) {
        while connection.has_piece() && self.takes_replies(connection) {
            let Some(due) = connection.take_piece() else { return };
            let DuePiece { piece, place, first_part, asked, silent } = due;
            // Of a client that is gone nothing more is read: its connection is about to be closed.
            let Some(out) = self.ring.output(connection.ring) else { return };
            if !silent {
                out.extend_from_slice(&piece.bytes);
                self.clients.handed_over_bytes += piece.bytes.len();
            }
            self.send_parts(connection, place, first_part, asked, piece.parts);
        }
        // It goes on when the client has taken some.
        connection.stalled |= connection.has_piece();
    }

    /// Tries to answer a read from this core's own shard. `None` if it must go the long way.
    fn read_here(
        &mut self,
        connection: &mut Connection,
        (shard, mode): (ShardId, Mode),
        run: Run,
        header: RequestHeader,
        args: Args<'_>,
    ) -> Option<ReadOutcome> {
        let client = client_number(connection.ring);
        let (now_ms, id) = (self.clock.now_ms, self.id);
        let is_barred = |local: &Shard| local.holds_keys() && local.bars_read(header.command, header.db, args);
        let may_read = |local: &&mut Shard| {
            let is_known = !local.reads_wait() || (mode == Mode::Local && local.may_read_locally());
            is_known && !local.has_parked(id, client) && !is_barred(local) && !local.takes_nothing()
        };
        self.serve(connection.ring);
        let local = self.shards.get_mut(shard.index())?.as_mut().filter(may_read)?;
        if connection.is_caught_up() {
            let Some(out) = self.ring.output(connection.ring) else { return Some(ReadOutcome::Done) };
            let mark = out.len();
            let outcome = local.read_now(run, header, args, now_ms, out);
            if out[mark..].starts_with(SENT_BACK) {
                // The long way has somebody who takes it.
                out.truncate(mark);
                return None;
            }
            self.clients.handed_over_bytes += out.len() - mark;
            self.server.cores[id.index()].note_reply(&out[mark..]);
            return Some(outcome);
        }
        let mut out = Vec::new();
        let outcome = local.read_now(run, header, args, now_ms, &mut out);
        if out.starts_with(SENT_BACK) {
            return None;
        }
        if matches!(outcome, ReadOutcome::Done) {
            self.stats().note_reply(&out);
            self.clients.handed_over_bytes += out.len();
            connection.push_ready(&out);
        }
        Some(outcome)
    }

    /// Sends an encoded request to its shard, on this core or another. `cold` is what it has met if it was tried here already.
    #[allow(clippy::too_many_arguments, reason = "they are what a request consists of")]
    pub(super) fn send(
        &mut self,
        connection: &mut Connection,
        place: u64,
        part: u32,
        shard: ShardId,
        mode: Mode,
        cold: Option<ColdRead>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let mode = if mode == Mode::Read && connection.ordered_unanswered > 0 { Mode::ReadInOrder } else { mode };
        let ordered = !mode.is_plain_read();
        if matches!(mode, Mode::Write | Mode::Guarded) {
            connection.note_written(shard);
        }
        connection.ordered_unanswered += u32::from(ordered);
        let ticket = self.pending.insert(PendingRequest { connection: connection.ring, place, part, ordered });
        let origin = Origin { core: self.id, client: client_number(connection.ring), ticket };
        self.send_for(origin, shard, mode, cold, encode);
    }

    /// The same for a ticket that there is.
    pub(super) fn send_for(
        &mut self,
        origin: Origin,
        shard: ShardId,
        mode: Mode,
        cold: Option<ColdRead>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(local) = self.shards.get_mut(shard.index()).and_then(Option::as_mut) else {
            // A command of several steps may go on when a shard is gone.
            let Some(core) = self.routing.router.core_of(shard) else { return self.refuse_away(shard, origin) };
            self.stats().forwarded.add(1);
            return self.outbox.request(core, origin, shard, mode, encode);
        };
        if local.takes_nothing() {
            return self.refuse_away(shard, origin);
        }
        if mode == Mode::Write && !local.has_parked(self.id, origin.client) {
            return local.take_write(origin, encode, self.clock.now_ms, &mut self.outbox);
        }
        let mut bytes = Vec::new();
        encode(&mut bytes);
        match cold {
            Some(cold) => local.park(origin, mode, &bytes, cold, &mut self.outbox),
            None => local.submit(origin, mode, &bytes, self.clock.now_ms, &mut self.outbox),
        }
    }

    /// Splits a command by the shards of its keys; `step` arguments belong to each key.
    fn split(
        &self,
        connection: &Connection,
        command: &'static Command,
        mode: Mode,
        args: Args<'_>,
        step: usize,
        merge: Merge,
    ) -> (Vec<Part>, Gather) {
        let mut parts: Vec<Part> = Vec::new();
        for group in args[1..].chunks(step) {
            let shard = self.routing.router.shard_of(group[0]);
            let index = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
                parts.push(Part { shard, mode, command: command.id, db: connection.session.db, args: Vec::new() });
                parts.len() - 1
            });
            parts[index].args.extend(group.iter().map(|arg| arg.to_vec()));
        }
        let gather = Gather::new(merge, parts.len()).of_writes(mode == Mode::Write);
        (parts, gather)
    }

    /// Opens a place for a command of several parts and sends them.
    pub(super) fn coordinate(
        &mut self,
        connection: &mut Connection,
        asked: u16,
        coordinator: Box<dyn Coordinator>,
        parts: Vec<Part>,
    ) {
        let silent = connection.session.reply_mode != ReplyMode::On;
        // Not by its first parts: those of a RENAME over shards begin with a read.
        let write = table::by_id(asked).is_some_and(|command| matches!(command.kind, Kind::Write(_)));
        let expects = if write { Expects::Word } else { Expects::Values };
        let place = connection.open_coordinated(coordinator, parts.len(), asked, expects, write, silent);
        self.send_parts(connection, place, 0, asked, parts);
    }

    pub(super) fn send_parts(
        &mut self,
        connection: &mut Connection,
        place: u64,
        first: usize,
        asked: u16,
        parts: Vec<Part>,
    ) {
        let protocol = connection.session.protocol;
        for (number, part) in (first as u32..).zip(parts) {
            let seed = table::by_id(part.command).and_then(Command::seed);
            let header = RequestHeader { asked, seed, ..RequestHeader::new(protocol, part.db, part.command) };
            let args = || part.args.iter().map(Vec::as_slice);
            let encode = |out: &mut Vec<u8>| request::encode(out, header, args());
            self.send(connection, place, number, part.shard, part.mode, None, encode);
        }
    }

    /// Gives a part's reply to the coordinator of its command.
    pub(crate) fn advance(&mut self, connection: &mut Connection, place: u64, part: usize, reply: &[u8]) {
        let protocol = connection.session.protocol;
        let Some((coordinator, asked)) = connection.coordinator(place) else { return };
        let mut bytes = Vec::new();
        match coordinator.answered(part, reply, &mut Reply::new(&mut bytes, protocol)) {
            Progress::Wait => {}
            Progress::Send(parts) => {
                let first = connection.count_parts(place, parts.len());
                self.send_parts(connection, place, first, asked, parts);
            }
            Progress::InPieces(_) if connection.has_writes_behind(place) => {
                Reply::new(&mut bytes, protocol).error_display(CommandError::Piecemeal);
                self.fill(connection, place, &bytes);
            }
            Progress::InPieces(parts) => {
                connection.barrier = true;
                self.forget_kept(connection, place);
                let first = connection.count_parts(place, parts.len());
                self.send_parts(connection, place, first, asked, parts);
            }
            Progress::ToGroups(parts) => {
                let first = connection.count_parts(place, parts.len());
                self.send_to_groups(connection, place, first, parts);
            }
            Progress::Queued => self.run_queued(connection, place),
            Progress::Piece(parts) => {
                self.forget_kept(connection, place);
                connection.hold(place, Piece { bytes, parts });
            }
            Progress::Done => {
                let is_put_together =
                    table::by_id(asked).is_some_and(|command| matches!(command.scatter, Scatter::MultiShard(_)));
                if is_put_together && bytes.starts_with(b"-") {
                    self.stats().by_command[usize::from(asked)].failed.add(1);
                }
                self.fill(connection, place, &bytes);
            }
        }
    }

    pub(super) fn ticket(&mut self, connection: &Connection, place: u64, part: u32) -> Ticket {
        self.pending.insert(PendingRequest { connection: connection.ring, place, part, ordered: false })
    }

    pub(super) fn reply_raw(&mut self, connection: &mut Connection, bytes: &[u8]) {
        if connection.is_caught_up() {
            if let Some(out) = self.ring.output(connection.ring) {
                out.extend_from_slice(bytes);
            }
        } else {
            connection.push_ready(bytes);
        }
    }
}
