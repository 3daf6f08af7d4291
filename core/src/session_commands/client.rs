//! The CLIENT commands (<https://redis.io/docs/latest/commands/?name=client>).

use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, Instant};

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use super::tracking::redirection;
use crate::clients::{Audience, ClientFilter, Connection, ReplyMode, Session, Tracking, protocol_number};
use crate::commands::{Args, CommandError, Merge, parse_i64, table};
use crate::limits;
use crate::mail::{Control, Unblocking};

pub(super) const NAME_REFUSED: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// `CLIENT LIST [TYPE type] [ID id …]`.
pub(super) fn list(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let filter = ClientFilter::for_list(args)?;
    Ok(Outcome::Control(Control::ListClients(Box::new(filter)), Merge::ConcatText))
}

/// `CLIENT KILL`: by address in its old form, which answers whether there was such a client, or by options, which answers
/// how many were closed.
pub(super) fn kill(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let filter = ClientFilter::for_kill(args, context.session.id, &context.server.users.now())?;
    let merge = if args.len() == 3 { Merge::OkIfAny("ERR No such client") } else { Merge::Sum };
    Ok(Outcome::Control(Control::KillClients(Box::new(filter)), merge))
}

/// `CLIENT UNBLOCK client-id [TIMEOUT|ERROR]`.
pub(super) fn unblock(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if args.len() > 4 {
        return Err(wrong_subcommand(args[1]));
    }
    let how = match args.get(3).map(|word| word.to_ascii_lowercase()) {
        None => Unblocking::Timeout,
        Some(word) if word == b"timeout" => Unblocking::Timeout,
        Some(word) if word == b"error" => Unblocking::Error,
        Some(_) => return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_i64(args[2])?;
    // No client has another number.
    Ok(Outcome::Control(Control::Unblock(u64::try_from(id).unwrap_or(0), how), Merge::Sum))
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`.
pub(super) fn pause(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if args.len() > 4 {
        return Err(wrong_subcommand(args[1]));
    }
    let is_of_all = match args.get(3).map(|word| word.to_ascii_lowercase()).as_deref() {
        None | Some(b"all") => true,
        Some(b"write") => false,
        Some(_) => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let not_a_time = CommandError::text("ERR timeout is not an integer or out of range");
    let timeout_ms = parse_i64(args[2]).map_err(|_| not_a_time)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let until = Instant::now() + Duration::from_millis(timeout_ms).min(limits::PAUSE_MAX);
    Ok(Outcome::Control(Control::Pause(until, is_of_all), Merge::Ok))
}

/// `CLIENT UNPAUSE`.
pub(super) fn unpause(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Ok(Outcome::Control(Control::Unpause, Merge::Ok))
}

/// The refusal of a subcommand with too many arguments, in Redis' words.
fn wrong_subcommand(name: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(name);
    CommandError::owned(format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLIENT HELP."))
}

/// `CLIENT ID`.
pub(super) fn id(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.integer(context.session.id as i64);
    Ok(Outcome::Done)
}

/// `CLIENT GETNAME`.
pub(super) fn get_name(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.bulk_or_null(Some(&context.session.name).filter(|name| !name.is_empty()));
    Ok(Outcome::Done)
}

/// `CLIENT SETNAME name`; no name takes the old one away.
pub(super) fn set_name(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    check_attribute(args[2], NAME_REFUSED)?;
    context.session.name = args[2].into();
    reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT SETINFO LIB-NAME name` and `CLIENT SETINFO LIB-VER version`, as since Redis 7.2.
pub(super) fn set_info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let session = &mut *context.session;
    let (attribute, place) = match args[2].to_ascii_lowercase().as_slice() {
        b"lib-name" => ("lib-name", &mut session.library),
        b"lib-ver" => ("lib-ver", &mut session.library_version),
        _ => {
            let option = String::from_utf8_lossy(args[2]);
            return Err(CommandError::owned(format!("ERR Unrecognized option '{option}'")));
        }
    };
    check_attribute(args[3], format!("ERR {attribute} cannot contain spaces, newlines or special characters."))?;
    *place = String::from_utf8_lossy(args[3]).into();
    reply.ok();
    Ok(Outcome::Done)
}

/// Checks that `value` does not break the lines of `CLIENT LIST`; `refusal` is the error if it does.
pub(super) fn check_attribute(value: &[u8], refusal: impl Into<Cow<'static, str>>) -> Result<(), CommandError> {
    if value.len() > limits::CLIENT_NAME_BYTES_MAX {
        let most = limits::CLIENT_NAME_BYTES_MAX;
        return Err(CommandError::owned(format!("ERR a client's name has {most} bytes at most, not {}", value.len())));
    }
    if value.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(CommandError::Refused(refusal.into())) }
}

/// `CLIENT REPLY ON|OFF|SKIP`. Only ON is answered.
pub(super) fn reply_mode(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let session = &mut *context.session;
    match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            session.reply_mode = ReplyMode::On;
            reply.ok();
        }
        b"off" => session.reply_mode = ReplyMode::Off,
        b"skip" if session.reply_mode != ReplyMode::Off => session.reply_mode = ReplyMode::SkipNext,
        b"skip" => {}
        _ => return Err(CommandError::SYNTAX),
    }
    Ok(Outcome::Done)
}

/// `CLIENT NO-EVICT ON|OFF`. See `maxmemory-clients`.
pub(super) fn no_evict(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.session.no_evict = parse_switch(args[2])?;
    reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT NO-TOUCH ON|OFF`. The wish is kept and shown, and keys that its client uses count as used all the same.
pub(super) fn no_touch(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.session.no_touch = parse_switch(args[2])?;
    reply.ok();
    Ok(Outcome::Done)
}

fn parse_switch(word: &[u8]) -> Result<bool, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

/// `CLIENT INFO`. Its own command is decoded and its reply not queued yet: both buffers count as empty.
pub(super) fn info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let mut line = Vec::new();
    let argument_bytes = args.iter().map(|arg| arg.len()).sum();
    client_line(&mut line, context.session, ClientBuffers::default(), argument_bytes, Instant::now());
    line.push(b'\n');
    reply.verbatim(b"txt", line);
    Ok(Outcome::Done)
}

/// Bytes that a connection holds: received and not executed, and of replies that are not sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientBuffers {
    /// Bytes received and not executed.
    pub input_bytes: usize,
    /// Memory for them.
    pub input_capacity: usize,
    /// Bytes of replies not sent yet.
    pub output_bytes: usize,
    /// Memory for them.
    pub output_capacity: usize,
}

/// Appends the line of `CLIENT LIST` for one connection, without its line end; `argument_bytes` are those of the command that it
/// waits for.
///
/// All of Redis' fields are there, in its order, and then those that it has since 7.2. There is no list of replies behind a buffer:
/// `oll` is that of a connection without. Of the buffer for replies (`rbs`) nobody remembers how full it was (`rbp`).
pub fn client_line(out: &mut Vec<u8>, session: &Session, buffers: ClientBuffers, argument_bytes: usize, now: Instant) {
    let address = |address: Option<std::net::SocketAddr>| match address {
        Some(address) => address.to_string(),
        None => String::from("?:0"),
    };
    let (peer, local) = (address(session.peer), address(session.local));
    let age = now.saturating_duration_since(session.connected).as_secs();
    let idle = now.saturating_duration_since(session.active).as_secs();
    let ClientBuffers { input_bytes, input_capacity, output_bytes, output_capacity } = buffers;
    let input_free = input_capacity.saturating_sub(input_bytes);
    let words = session.name.len() + session.library.len() + session.library_version.len();
    let queued_bytes = session.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
    let queued = session.transaction.as_ref().map_or(-1, |transaction| transaction.len() as i64);
    let watched = session.watching.as_ref().map_or(0, |watching| watching.count());
    let memory_bytes = size_of::<Connection>() + words + argument_bytes + input_capacity + output_capacity;
    let memory_bytes = memory_bytes + session.transaction_bytes();
    let events = if output_bytes > 0 { "rw" } else { "r" };
    let command = session.last_command.and_then(table::by_id).map_or("NULL", |command| command.name());
    let subscribed = |audience| {
        let subscriptions = session.subscriptions.as_ref();
        subscriptions.map_or(0, |subscriptions| subscriptions.of(audience).len())
    };
    // Writing to a Vec does not fail.
    let _ = write!(out, "id={} addr={peer} laddr={local} fd={} name=", session.id, session.fd);
    out.extend_from_slice(&session.name);
    let _ = write!(
        out,
        " age={age} idle={idle} flags={} db={} sub={} psub={} ssub={} multi={queued} qbuf={input_bytes} qbuf-free={input_free} \
         argv-mem={argument_bytes} multi-mem={queued_bytes} rbs={output_capacity} rbp=0 obl={output_bytes} oll=0 omem={output_bytes} \
         tot-mem={memory_bytes} events={events} cmd={command} user=",
        flags(session),
        session.db,
        subscribed(Audience::Channel),
        subscribed(Audience::Pattern),
        subscribed(Audience::ShardChannel),
    );
    out.extend_from_slice(session.user.name());
    let _ = write!(
        out,
        " redir={} resp={} lib-name={} lib-ver={} watch={watched} tot-cmds={}",
        redirection(session),
        protocol_number(session.protocol),
        session.library,
        session.library_version,
        session.command_count,
    );
}

/// Redis' letters: `O` monitor, `P` subscriber, `x` after MULTI, `t` told of changed keys, `R` if nobody is there to be
/// told in its place, `B` by prefixes, `b` waiting, `c` closed after what is queued, `r` after READONLY,
/// `e` not to be evicted, `T` no touch, `N` none of them.
fn flags(session: &Session) -> String {
    let is_tracking = |is: fn(&Tracking) -> bool| session.tracking.as_deref().is_some_and(is);
    let letters = [
        (session.is_monitor(), 'O'),
        (session.is_subscriber(), 'P'),
        (session.transaction.is_some(), 'x'),
        (session.is_blocked(), 'b'),
        (is_tracking(|_| true), 't'),
        (is_tracking(|tracking| tracking.is_broken), 'R'),
        (is_tracking(|tracking| tracking.is_broadcast), 'B'),
        (session.closing, 'c'),
        (session.is_readonly, 'r'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let set: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| *letter).collect();
    if set.is_empty() { String::from("N") } else { set }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::clients::Watching;
    use crate::ids::ShardId;

    #[test]
    fn a_name_is_kept_shown_and_taken_away() {
        let mut client = Client::new();
        assert_eq!(client.ask("client getname"), "$-1|");
        assert_eq!(client.ask("client setname worker-1"), "+OK|");
        assert_eq!(client.ask("client getname"), "$8|worker-1|");
        assert_eq!(client.ask_args(&[b"client", b"setname", b"a b"]), format!("-{NAME_REFUSED}|"));
        assert_eq!(client.ask_args(&[b"client", b"setname", "é".as_bytes()]), format!("-{NAME_REFUSED}|"));
        let long = vec![b'x'; limits::CLIENT_NAME_BYTES_MAX + 1];
        assert!(client.ask_args(&[b"client", b"setname", &long]).starts_with("-ERR a client's name has "));
        assert_eq!(client.ask("client getname"), "$8|worker-1|");
        assert_eq!(client.ask_args(&[b"client", b"setname", b""]), "+OK|");
        assert_eq!(client.ask("client getname"), "$-1|");
    }

    #[test]
    fn a_library_introduces_itself() {
        let mut client = Client::new();
        assert_eq!(client.ask("client setinfo LIB-NAME redis-py(app_v1)"), "+OK|");
        assert_eq!(client.ask("client setinfo lib-ver 5.0.1"), "+OK|");
        assert_eq!(client.ask("client setinfo a b"), "-ERR Unrecognized option 'a'|");
        assert_eq!(
            client.ask_args(&[b"client", b"setinfo", b"lib-ver", b"1 2"]),
            "-ERR lib-ver cannot contain spaces, newlines or special characters.|"
        );
        let info = client.ask("client info");
        assert!(info.contains(" lib-name=redis-py(app_v1) lib-ver=5.0.1 "), "{info}");
        assert!(info.contains(" resp=2 ") && info.contains(" cmd=client|info "), "{info}");
    }

    #[test]
    fn a_line_says_what_the_connection_is() {
        let mut client = Client::new();
        client.ask("client setname me");
        client.ask("client no-touch on");
        client.ask("client no-evict on");
        client.ask("select 4");
        let now = client.session.connected + std::time::Duration::from_secs(9);
        let mut line = Vec::new();
        client.session.fd = 12;
        let buffers = ClientBuffers { input_bytes: 3, input_capacity: 10, output_bytes: 5, output_capacity: 20 };
        client_line(&mut line, &client.session, buffers, 8, now);
        let memory_bytes = size_of::<Connection>() + "me".len() + 10 + 20 + 8;
        assert_eq!(
            String::from_utf8(line).unwrap(),
            format!(
                "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=12 name=me age=9 idle=9 flags=eT db=4 sub=0 psub=0 ssub=0 \
                 multi=-1 qbuf=3 qbuf-free=7 argv-mem=8 multi-mem=0 rbs=20 rbp=0 obl=5 oll=0 omem=5 tot-mem={memory_bytes} \
                 events=rw cmd=select user=default redir=-1 resp=2 lib-name= lib-ver= watch=0 tot-cmds=4"
            )
        );
    }

    #[test]
    fn a_line_tells_what_is_queued_and_watched() {
        let mut client = Client::new();
        let line = |client: &Client| {
            let mut line = Vec::new();
            client_line(&mut line, &client.session, ClientBuffers::default(), 0, Instant::now());
            String::from_utf8(line).unwrap()
        };
        assert!(line(&client).contains(" flags=N ") && line(&client).contains(" multi=-1 "), "{}", line(&client));
        client.ask("multi");
        assert!(line(&client).contains(" flags=x ") && line(&client).contains(" multi=0 "), "{}", line(&client));
        let args: [&[u8]; 2] = [b"get", b"k"];
        let queued = client.session.transaction.as_mut().unwrap().queue(table::lookup(b"get").unwrap(), &args, 1 << 20);
        assert!(queued.is_ok());
        let mut watching = Watching::new(1);
        watching.add(ShardId(0), 0, b"k");
        client.session.watching = Some(Box::new(watching));
        let bytes = client.session.transaction.as_ref().unwrap().held_bytes();
        let line = line(&client);
        assert!(line.contains(" multi=1 ") && line.contains(&format!(" multi-mem={bytes} ")), "{line}");
        assert!(bytes > 0 && line.contains(" watch=1 "), "{line}");
        let memory_bytes = size_of::<Connection>() + bytes + Watching::bytes_of(b"k");
        assert!(line.contains(&format!(" tot-mem={memory_bytes} ")), "{line}");
    }

    #[test]
    fn switches_are_on_or_off() {
        let mut client = Client::new();
        assert_eq!(client.ask("client no-evict x"), "-ERR syntax error|");
        assert_eq!(client.ask("client no-touch x"), "-ERR syntax error|");
        assert_eq!(client.ask("client no-touch ON"), "+OK|");
        assert!(client.session.no_touch);
        assert_eq!(client.ask("client no-touch off"), "+OK|");
        assert!(!client.session.no_touch);
    }

    #[test]
    fn only_reply_on_is_answered() {
        let mut client = Client::new();
        assert_eq!(client.ask("client reply skip"), "");
        assert_eq!(client.session.reply_mode, ReplyMode::SkipNext);
        assert_eq!(client.ask("client reply off"), "");
        assert_eq!(client.ask("client reply skip"), "");
        assert_eq!(client.session.reply_mode, ReplyMode::Off, "there is nothing to skip");
        assert_eq!(client.ask("client reply on"), "+OK|");
        assert_eq!(client.session.reply_mode, ReplyMode::On);
        assert_eq!(client.ask("client reply x"), "-ERR syntax error|");
    }

    #[test]
    fn list_and_kill_ask_every_core() {
        let mut client = Client::new();
        let kill = client.run("client kill 127.0.0.1:50000").unwrap();
        assert!(matches!(kill, Outcome::Control(Control::KillClients(_), Merge::OkIfAny("ERR No such client"))));
        let kill = client.run("client kill id 7 skipme no").unwrap();
        assert!(matches!(kill, Outcome::Control(Control::KillClients(_), Merge::Sum)));
        let list = client.run("client list").unwrap();
        assert!(matches!(list, Outcome::Control(Control::ListClients(_), Merge::ConcatText)));
    }
}
