//! Calls of scripts, on their way from a connection to the shard of their keys.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::Slot;
use smallvec::SmallVec;

use super::access::is_open;
use super::core::Core;
use crate::clients::{Connection, Transaction};
use crate::commands::scripts::{self, Call, Reach, Terms};
use crate::commands::table::{STEP_EXEC, STEP_FUNCTION, STEP_FUNCTION_RO, STEP_SCRIPT, STEP_SCRIPT_RO};
use crate::commands::{Args, Command, CommandError, Kind, table};
use crate::entry::request::{self, ArgList, Mode, RequestHeader};
use crate::entry::transaction::Transaction as EncodedTransaction;
use crate::ids::ShardId;
use crate::limits;
use crate::multi_shard::spanning::{Item, ScriptRun, SpanningScript};

/// The reply to a script that makes its transaction too long.
const TOO_LONG_TEXTS: CommandError =
    CommandError::text("ERR the texts of the transaction's scripts have more bytes together than one script may have");
/// The reply to the scripts of a transaction that has more of them than may be begun in one go.
const TOO_MANY: CommandError =
    CommandError::text("ERR the transaction has too many scripts, of which none is executed");

/// The reply to the scripts of a user with very many rules.
const TOO_MANY_RIGHTS: CommandError =
    CommandError::text("NOPERM the rules of this user have too many bytes: they go with each script into the log");

/// A script that is called, before it is known where it runs.
struct KnownScript<'a> {
    text: Arc<[u8]>,
    /// The name by which it is known to reach for keys of other shards: its digest.
    digest: String,
    is_read_only: bool,
    /// True if the text is the name of a function, which only its shard knows.
    is_function: bool,
    /// True of a function whose call names no number of keys: its shard says what is wrong.
    is_misshapen: bool,
    call: Call<'a>,
}

/// The step that a call of EVAL or its like becomes, FCALL included, whose text is the function's name.
struct Step {
    shard: ShardId,
    command: &'static Command,
    terms: Vec<u8>,
    text: Arc<[u8]>,
}

impl Step {
    /// The step's arguments, its name included, for a call with these.
    fn words<'a>(&'a self, args: Args<'a>) -> SmallVec<[&'a [u8]; 8]> {
        let mut words: SmallVec<[&[u8]; 8]> = SmallVec::new();
        words.extend([self.command.name().as_bytes(), &self.terms, &self.text]);
        words.extend_from_slice(&args[2..]);
        words
    }
}

/// A script of a transaction.
struct Queued<'a> {
    /// Its place among the commands.
    place: usize,
    header: RequestHeader,
    args: Args<'a>,
    known: Result<KnownScript<'a>, CommandError>,
    /// Work that it may do.
    work: u64,
    rights: &'a Option<Arc<[u8]>>,
}

/// The terms of a script's step, and its script.
fn known_of_step<'a>(is_function: bool, args: Args<'a>) -> (Terms, KnownScript<'a>) {
    let terms = args.first().and_then(|terms| Terms::decode(terms)).expect("a script's step has its terms");
    let call = scripts::read_call(args);
    let is_misshapen = call.is_err();
    let call = call.unwrap_or(Call { keys: &[], args: &[] });
    let digest = if is_function { name_of_function(args[1]) } else { basalt_lua::digest(args[1]) };
    let (text, is_read_only) = (args[1].into(), terms.is_read_only);
    (terms, KnownScript { text, digest, is_read_only, is_function, is_misshapen, call })
}

/// The step of a script of a transaction, or what stands in its place if it cannot be run.
fn encode_step(header: RequestHeader, args: Args<'_>, step: Result<Step, CommandError>) -> Vec<u8> {
    match step {
        Ok(step) => {
            let header = RequestHeader { command: step.command.id, seed: step.command.seed(), ..header };
            let mut bytes = Vec::new();
            request::encode(&mut bytes, header, step.words(args)[1..].iter().copied());
            bytes
        }
        Err(error) => refusal(header, &error),
    }
}

/// The stand-in for a script of a transaction that cannot be run.
fn refusal(header: RequestHeader, error: &CommandError) -> Vec<u8> {
    let (mut bytes, header) = (Vec::new(), RequestHeader { command: table::STEP_REFUSE, ..header });
    request::encode(&mut bytes, header, [error.to_string().as_bytes()].into_iter());
    bytes
}

/// The same of a function, which no digest is.
fn name_of_function(name: &[u8]) -> String {
    format!("function {}", String::from_utf8_lossy(&name[..name.len().min(limits::FUNCTION_NAME_SHOWN)]).to_lowercase())
}

/// The rights of a connection's user, unless that may do everything.
fn rights_of(connection: &Connection) -> Option<Arc<[u8]>> {
    if let Some(forwarded) = &connection.session.forwarded {
        return forwarded.rights.clone();
    }
    (!is_open(connection)).then(|| connection.session.user.rights())
}

impl Core {
    /// Makes of a call of EVAL and its like the step that its shard runs.
    pub(super) fn run_script(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        any: ShardId,
        args: Args<'_>,
    ) {
        let rights = rights_of(connection);
        let known = self.known_script(command, args, &rights);
        // Behind what its connection has sent, which is answered if its keys are in several shards.
        let is_caught_up = connection.is_caught_up();
        let spans = |known: &KnownScript<'_>| {
            // It may have become known only now: then it is sent back, and waits for its turn.
            let may_reach = || is_caught_up && self.may_span_scripts();
            self.spans(command, args) || (may_reach() && self.server.scripts.is_reaching(&known.digest))
        };
        let step = match known {
            Ok(known) if !known.is_misshapen && spans(&known) => {
                let (at, work) = ((connection.session.protocol, connection.session.db), self.live.script_work_max);
                let script = self.spanning_script(at, known, work, rights);
                return self.span_script(connection, command, args, script);
            }
            Ok(known) => {
                let is_hinted = true;
                self.script_step(known, any, (self.live.script_work_max, &rights), (is_hinted, self.may_span_scripts()))
            }
            Err(error) => Err(error),
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                // To learn that it cannot be compiled may have taken as long.
                self.note_script();
                return self.fail(connection, command.id, &error);
            }
        };
        let (run, mode) = match step.command.kind {
            Kind::Read(run) if connection.ordered_unanswered == 0 => (run, Mode::Read),
            Kind::Read(run) => (run, Mode::ReadInOrder),
            Kind::Write(run) => (run, Mode::Write),
            _ => unreachable!("a step runs on a shard"),
        };
        self.run_step_on(connection, step.shard, (step.command, command.id), run, mode, &step.words(args));
        self.note_script();
    }

    /// Runs a call of EVAL_RO and its like on a replica of this node, as that is.
    pub(super) fn run_script_locally(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        shard: ShardId,
        args: Args<'_>,
    ) {
        let rights = rights_of(connection);
        let known = self.known_script(command, args, &rights);
        match known
            .and_then(|known| self.script_step(known, shard, (self.live.script_work_max, &rights), (true, false)))
        {
            Ok(step) => {
                let Kind::Read(run) = step.command.kind else { unreachable!("what only reads is called") };
                let asked = (step.command, command.id);
                self.run_step_on(connection, shard, asked, run, Mode::Local, &step.words(args));
            }
            Err(error) => self.fail(connection, command.id, &error),
        }
        self.note_script();
    }

    /// Ends the turn of those who have sent commands, if the scripts of this turn have taken long: everything else goes on first.
    pub(super) fn note_script(&mut self) {
        self.clock.note_script();
    }

    /// The steps that stand for the scripts of a transaction in `shard`: places of its commands, and what is sent instead.
    pub(super) fn scripts_of(
        &mut self,
        connection: &Connection,
        transaction: &Transaction,
        shard: ShardId,
    ) -> Vec<(usize, Vec<u8>)> {
        let mut steps = Vec::new();
        self.for_each_script(connection, transaction, &mut |core, queued| {
            let Queued { place, header, args, known, work, rights } = queued;
            // A function that only reads now may have been replaced by then, by this transaction itself.
            let how = (false, core.may_span_scripts());
            let step = known.and_then(|known| core.script_step(known, shard, (work, rights), how));
            steps.push((place, encode_step(header, args, step)));
        });
        steps
    }

    /// A transaction with scripts as it is run over several shards.
    ///
    /// # Errors
    /// That it cannot be.
    pub(super) fn run_of(
        &mut self,
        connection: &Connection,
        transaction: &Transaction,
    ) -> Result<ScriptRun, CommandError> {
        let mut scripts = Vec::new();
        self.for_each_script(connection, transaction, &mut |core, queued| {
            let Queued { place, header, args, known, work, rights } = queued;
            let item = match known {
                Ok(known) if known.is_misshapen => {
                    let first = core.routing.router.first_shard().unwrap_or(ShardId(0));
                    let step = core.script_step(known, first, (work, rights), (false, false));
                    Item::Command(encode_step(header, args, step))
                }
                Ok(known) => {
                    let at = (header.protocol, header.db);
                    Item::Script(core.spanning_script(at, known, work, rights.clone()))
                }
                Err(error) => Item::Command(refusal(header, &error)),
            };
            scripts.push((place, item));
        });
        let mut scripts = scripts.into_iter().peekable();
        let keyed = (0..transaction.len()).filter(|index| transaction.is_keyed(*index));
        let items = keyed.map(|index| match scripts.next_if(|(place, _)| *place == index) {
            Some((_, item)) => item,
            None => Item::Command(transaction.command(index).to_vec()),
        });
        let string_bytes_max = self.live.resp_limits.bulk_bytes_max;
        let protocol = connection.session.protocol;
        let run = ScriptRun::of(items.collect(), protocol, string_bytes_max, self.server.reply_bounds());
        run.commands().try_for_each(|command| self.check_over_shards(command))?;
        Ok(run)
    }

    /// Takes apart each script of a transaction. They have the work of one together, so that none of them holds a core for longer.
    fn for_each_script(
        &mut self,
        connection: &Connection,
        transaction: &Transaction,
        visit: &mut dyn FnMut(&Core, Queued<'_>),
    ) {
        let runs_script = |index: &usize| transaction.row(*index).runs_script && transaction.is_keyed(*index);
        let places: Vec<usize> = (0..transaction.len()).filter(runs_script).collect();
        let rights = if places.is_empty() { None } else { rights_of(connection) };
        let work = self.live.script_work_max / places.len().max(1) as u64;
        let is_too_many = places.len() > limits::TRANSACTION_SCRIPTS_MAX;
        let mut bytes_left = limits::TRANSACTION_SCRIPT_BYTES_MAX;
        for place in places {
            let command = transaction.row(place);
            let mut args = ArgList::new();
            args.push(command.name().as_bytes());
            let header = request::decode(transaction.command(place), &mut args).expect("it was encoded by this core");
            let known = if is_too_many { Err(TOO_MANY) } else { self.known_script(command, &args, &rights) };
            let known = known.and_then(|known| {
                // They stand in the entry whatever the client has sent.
                let bytes = known.text.len() + rights.as_ref().map_or(0, |rights| rights.len());
                bytes_left = bytes_left.checked_sub(bytes).ok_or(TOO_LONG_TEXTS)?;
                Ok(known)
            });
            visit(self, Queued { place, header, args: &args, known, work, rights: &rights });
        }
    }

    /// Returns whether scripts may have keys in several shards: the node is alone, and has some.
    fn may_span_scripts(&self) -> bool {
        !self.routing.router.is_whole() && self.routing.cluster.is_none()
    }

    /// Returns whether a call is one of a script that is known to access keys which it has not declared.
    pub(super) fn calls_reaching(&self, command: &Command, args: Args<'_>) -> bool {
        if !command.runs_script || !self.server.scripts.has_reaching() || !self.may_span_scripts() {
            return false;
        }
        let digest = match command.name() {
            _ if command.calls_function => Some(name_of_function(args[1])),
            "evalsha" | "evalsha_ro" => scripts::read_digest(args[1]),
            _ => (args[1].len() <= basalt_lua::INPUT_BYTES_MAX).then(|| basalt_lua::digest(args[1])),
        };
        digest.is_some_and(|digest| self.server.scripts.is_reaching(&digest))
    }

    fn spanning_script(
        &self,
        (protocol, db): (Protocol, u8),
        known: KnownScript<'_>,
        work: u64,
        rights: Option<Arc<[u8]>>,
    ) -> SpanningScript {
        let KnownScript { text, is_read_only, is_function, call, .. } = known;
        let owned = |args: Args<'_>| args.iter().map(|arg| arg.to_vec()).collect();
        let (keys, args) = (owned(call.keys), owned(call.args));
        let reach = Reach::All;
        let terms =
            Terms { is_read_only, in_cluster: false, reach, stops_elsewhere: false, is_wide: true, work, rights };
        SpanningScript { text, is_function, keys, args, terms, protocol, db, seed: rand::random() }
    }

    /// Takes a script whose step was sent back: it has done nothing, since it accesses keys of other shards than the one that has
    /// run it. What its connection has sent to those before it may not be there yet.
    pub(super) fn take_sent_back(&mut self, connection: &mut Connection, place: u64, request: &[u8]) {
        self.clients.handed_over_bytes += request.len();
        connection.keep_sent_back(place, request);
    }

    /// Runs scripts that were sent back over several shards, once all that their connection has sent before is answered.
    pub(super) fn run_sent_back(&mut self, connection: &mut Connection) {
        while let Some((place, request)) = connection.take_sent_back() {
            self.span_sent_back(connection, place, &request);
        }
    }

    fn span_sent_back(&mut self, connection: &mut Connection, place: u64, request: &[u8]) {
        if request::command_id(request) == Some(STEP_EXEC) {
            return self.span_transaction_sent_back(connection, place, request);
        }
        let mut args = ArgList::new();
        let header = request::decode(request, &mut args).expect("a request is sent back as it came");
        let (terms, known) = known_of_step(matches!(header.command, STEP_FUNCTION | STEP_FUNCTION_RO), &args);
        self.server.scripts.note_reaching(&known.digest);
        let script = self.spanning_script((header.protocol, header.db), known, terms.work, terms.rights);
        self.span_script_in(connection, place, (header.protocol, header.asked), script);
    }

    fn span_transaction_sent_back(&mut self, connection: &mut Connection, place: u64, request: &[u8]) {
        let (request, index) = request.split_last_chunk().expect("the place of a script stands behind it");
        let transaction = EncodedTransaction::read(request).expect("a request is sent back as it came");
        let mut items = Vec::with_capacity(transaction.count);
        for (number, bytes) in transaction.commands().flatten().enumerate() {
            let mut args = ArgList::new();
            let header = request::decode(bytes, &mut args).expect("it was encoded by this core");
            let is_function = matches!(header.command, STEP_FUNCTION | STEP_FUNCTION_RO);
            if !is_function && !matches!(header.command, STEP_SCRIPT | STEP_SCRIPT_RO) {
                items.push(Item::Command(bytes.to_vec()));
                continue;
            }
            let (terms, known) = known_of_step(is_function, &args);
            if number == u32::from_le_bytes(*index) as usize {
                self.server.scripts.note_reaching(&known.digest);
            }
            if known.is_misshapen {
                items.push(Item::Command(bytes.to_vec()));
                continue;
            }
            items.push(Item::Script(self.spanning_script(
                (header.protocol, header.db),
                known,
                terms.work,
                terms.rights,
            )));
        }
        let (protocol, asked) = (transaction.header.protocol, transaction.header.asked);
        if transaction.guard.is_some() {
            // Nobody looks at what it watches any more: as if that had changed.
            let mut reply = Vec::new();
            Reply::new(&mut reply, protocol).null_array();
            return self.fill_or_advance(connection, place, &reply);
        }
        let string_bytes_max = self.live.resp_limits.bulk_bytes_max;
        let run = ScriptRun::of(items, protocol, string_bytes_max, self.server.reply_bounds());
        let checked = run.commands().try_for_each(|command| self.check_over_shards(command));
        if let Err(error) = checked {
            let mut reply = Vec::new();
            Reply::new(&mut reply, protocol).error_display(&error);
            return self.fill_or_advance(connection, place, &reply);
        }
        self.span_run_in(connection, place, (protocol, asked), Box::new(run), None);
    }

    /// Gives a place its reply, or the coordinator that waits there.
    pub(super) fn fill_or_advance(&mut self, connection: &mut Connection, place: u64, reply: &[u8]) {
        match connection.coordinator(place).is_some() {
            true => self.advance(connection, place, 0, reply),
            false => self.fill(connection, place, reply),
        }
    }

    /// A call's script, with what is known of it before its keys are looked at.
    fn known_script<'a>(
        &mut self,
        command: &Command,
        args: Args<'a>,
        rights: &Option<Arc<[u8]>>,
    ) -> Result<KnownScript<'a>, CommandError> {
        let is_by_digest = command.name().starts_with("evalsha");
        let digest = if is_by_digest { Some(scripts::read_digest(args[1]).ok_or(scripts::NO_SCRIPT)?) } else { None };
        let is_function = command.calls_function;
        let (call, is_misshapen) = match scripts::read_call(args) {
            Ok(call) => (call, false),
            // First of all there has to be a function of this name, which its shard knows.
            Err(_) if is_function => (Call { keys: &[], args: &[] }, true),
            Err(error) => return Err(error),
        };
        let (text, digest) = if is_function {
            (args[1].into(), name_of_function(args[1]))
        } else if let Some(digest) = digest {
            (self.server.scripts.get(&digest).ok_or(scripts::NO_SCRIPT)?, digest)
        } else {
            (args[1].into(), self.learn_script(args[1])?)
        };
        let in_cluster = self.routing.cluster.is_some();
        let is_ro = matches!(command.kind, Kind::Read(_));
        // Terms of a function are those of the call; what it says of itself is known where it runs.
        let is_read_only = if is_function { is_ro } else { scripts::is_only_reading(&text, is_ro, in_cluster)? };
        if rights.as_ref().is_some_and(|rights| rights.len() > limits::SCRIPT_RIGHTS_BYTES_MAX) {
            return Err(TOO_MANY_RIGHTS);
        }
        Ok(KnownScript { text, digest, is_read_only, is_function, is_misshapen, call })
    }

    /// The step of a script whose keys are in one shard. A function is called as one that only reads if it is one by now, if
    /// `is_hinted`.
    fn script_step(
        &self,
        known: KnownScript<'_>,
        any: ShardId,
        (work, rights): (u64, &Option<Arc<[u8]>>),
        (is_hinted, stops_elsewhere): (bool, bool),
    ) -> Result<Step, CommandError> {
        let KnownScript { text, is_read_only, is_function, call, .. } = known;
        let in_cluster = self.routing.cluster.is_some();
        let (shard, reach) = self.place_script(call.keys, any)?;
        let terms =
            Terms { is_read_only, in_cluster, reach, stops_elsewhere, is_wide: true, work, rights: rights.clone() }
                .encode();
        let says_so = || self.server.shards.get(shard).is_some_and(|stats| stats.reading_functions.has(&text));
        let reads = is_read_only || (is_function && is_hinted && says_so());
        let id = match (is_function, reads) {
            (false, false) => table::STEP_SCRIPT,
            (false, true) => table::STEP_SCRIPT_RO,
            (true, false) => table::STEP_FUNCTION,
            (true, true) => table::STEP_FUNCTION_RO,
        };
        let command = table::by_id(id).expect("the step is in the table");
        Ok(Step { shard, command, terms, text })
    }

    /// Keeps a script for who calls it by its digest, once it is known that it can be compiled. Gives the digest.
    pub(super) fn learn_script(&mut self, text: &[u8]) -> Result<String, CommandError> {
        let name = scripts::learn(text, |name| self.server.scripts.get(name).is_some())?;
        self.server.scripts.add(name.clone(), text);
        Ok(name)
    }

    /// The shard that runs a script with these keys, and the keys that it may access there.
    fn place_script(&self, keys: Args<'_>, any: ShardId) -> Result<(ShardId, Reach), CommandError> {
        let router = &self.routing.router;
        let shard = keys.first().map_or(any, |key| router.shard_of(key));
        if self.routing.cluster.is_some() {
            // Keys of one slot, as was looked at before; another one may be elsewhere tomorrow.
            let reach = match keys.first() {
                Some(key) => {
                    let slot = Slot::of(key).index();
                    Reach::Slots(vec![(slot, slot)])
                }
                None => Reach::of_slots(|slot| router.shard_of_slot(slot) == Some(shard)),
            };
            return Ok((shard, reach));
        }
        if router.is_whole() {
            return Ok((shard, Reach::All));
        }
        if keys.iter().any(|key| router.shard_of(key) != shard) {
            return Err(CommandError::CROSS_SHARD);
        }
        let slots = router.slots_of(shard);
        Ok((shard, Reach::Slots(vec![(slots.start, slots.end - 1)])))
    }
}
