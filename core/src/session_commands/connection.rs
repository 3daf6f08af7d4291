//! PING, ECHO, QUIT, RESET, HELLO, SELECT and AUTH (<https://redis.io/docs/latest/commands/?group=connection>).

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::DATABASE_COUNT;

use super::SessionContext;
use super::acl::note_denied;
use super::client::{NAME_REFUSED, check_attribute};
use super::outcome::{Outcome, Ran};
use crate::acl::{Context, DEFAULT_USER, Reason, User};
use crate::clients::{Gate, Session, protocol_number};
use crate::commands::facts::REDIS_VERSION;
use crate::commands::{Args, CommandError, parse_i64};
use crate::node::Server;

const UNKNOWN: CommandError = CommandError::text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used \
     to authenticate the client and select the RESP protocol version at the same time",
);

const WRONG_PASSWORD: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");

/// `PING [message]`. A client that has subscribed by the old protocol hears of it as it does of messages.
pub(super) fn ping(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let is_bound = context.session.is_subscriber() && context.session.protocol == Protocol::Resp2;
    match args {
        [_] | [_, _] if is_bound => {
            reply.array(2);
            reply.bulk("pong");
            reply.bulk(args.get(1).copied().unwrap_or_default());
        }
        [_] => reply.simple("PONG"),
        [_, message] => reply.bulk(message),
        _ => return Err(CommandError::wrong_argument_count("ping")),
    }
    Ok(Outcome::Done)
}

/// `ECHO message`.
pub(super) fn echo(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.bulk(args[1]);
    Ok(Outcome::Done)
}

/// `QUIT`.
pub(super) fn quit(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.ok();
    Ok(Outcome::Close)
}

/// `RESET`: the connection is as new.
pub(super) fn reset(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let ended = context.session.end_subscriptions();
    if context.session.tracking.is_some() {
        context.server.note_tracking(false);
    }
    context.session.reset(&context.server.users.now());
    let mut bytes = Vec::new();
    // The protocol is the old one again.
    Reply::new(&mut bytes, context.session.protocol).simple("RESET");
    reply.raw(&bytes);
    Ok(Outcome::Reset(ended))
}

/// `SELECT index`.
pub(super) fn select(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let index = parse_i64(args[1])?;
    if i32::try_from(index).is_err() {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return Err(CommandError::text(text));
    }
    if index != 0 && context.server.config.cluster_enabled {
        return Err(CommandError::text("ERR SELECT is not allowed in cluster mode"));
    }
    match u8::try_from(index) {
        Ok(db) if usize::from(db) < DATABASE_COUNT => context.session.db = db,
        _ => return Err(CommandError::text("ERR DB index is out of range")),
    }
    reply.ok();
    Ok(Outcome::Done)
}

/// `AUTH [username] password`.
pub(super) fn auth(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let users = context.server.users.now();
    let (name, password) = match *args {
        [_, _] if users.default_user().needs_no_password() => {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        [_, password] => (DEFAULT_USER, password),
        [_, user, password] => (user, password),
        _ => return Err(CommandError::SYNTAX),
    };
    let user = let_in(context, name, password, args)?;
    context.session.log_in(user, &users);
    reply.ok();
    Ok(Outcome::Done)
}

/// The user who is let in by a name with a password, which a command with `args` has; who is not is noted.
fn let_in(
    context: &SessionContext<'_>,
    name: &[u8],
    password: &[u8],
    args: Args<'_>,
) -> Result<Arc<User>, CommandError> {
    let found = context.server.users.now().let_in(name, password).cloned();
    if found.is_none() && !context.is_trial {
        note_denied(context.server, context.session, Context::TopLevel, (Reason::Auth, args[0]), name);
    }
    found.ok_or(WRONG_PASSWORD)
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`.
pub(super) fn hello(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let greeting = Greeting::parse(context, args)?;
    let session = &mut *context.session;
    if let Some(user) = greeting.user {
        session.log_in(user, &context.server.users.now());
    }
    if session.gate == Gate::Locked {
        return Err(UNKNOWN);
    }
    if let Some(protocol) = greeting.protocol {
        session.protocol = protocol;
    }
    if let Some(name) = greeting.name {
        session.name = name.into();
    }
    // The reply is in the protocol it announces, not in the one the command came in.
    let mut bytes = Vec::new();
    greet(session, context.server, &mut Reply::new(&mut bytes, session.protocol));
    reply.raw(&bytes);
    Ok(Outcome::Done)
}

/// The arguments of a HELLO.
#[derive(Default)]
struct Greeting<'a> {
    protocol: Option<Protocol>,
    user: Option<Arc<User>>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn parse(context: &SessionContext<'_>, args: Args<'a>) -> Result<Greeting<'a>, CommandError> {
        let Some(version) = args.get(1) else { return Ok(Greeting::default()) };
        let invalid = |_| CommandError::text("ERR Protocol version is not an integer or out of range");
        let protocol = match parse_i64(version).map_err(invalid)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        };
        let mut greeting = Greeting { protocol: Some(protocol), user: None, name: None };
        // The last counts, and it alone takes the time of a hash.
        let mut said = None;
        let mut rest = &args[2..];
        while let [option, values @ ..] = rest {
            rest = match values {
                [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                    said = Some((*user, *password));
                    rest
                }
                [name, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                    check_attribute(name, NAME_REFUSED)?;
                    greeting.name = Some(name);
                    rest
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::owned(format!("ERR Syntax error in HELLO option '{option}'")));
                }
            };
        }
        if let Some((user, password)) = said {
            greeting.user = Some(let_in(context, user, password, args)?);
        }
        Ok(greeting)
    }
}

/// The mode of the node, in Redis' words.
pub(super) fn mode(server: &Server) -> &'static str {
    if server.config.cluster_enabled { "cluster" } else { "standalone" }
}

fn greet(session: &Session, server: &Server, reply: &mut Reply<'_>) {
    reply.map(7);
    reply.bulk("server");
    // Clients compare this name before they trust the version.
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(REDIS_VERSION);
    reply.bulk("proto");
    reply.integer(protocol_number(session.protocol));
    reply.bulk("id");
    reply.integer(session.id as i64);
    reply.bulk("mode");
    reply.bulk(mode(server));
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("modules");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;

    #[test]
    fn ping_and_echo_answer_what_they_are_given() {
        let mut client = Client::new();
        assert_eq!(client.ask("ping"), "+PONG|");
        assert_eq!(client.ask("PING hi"), "$2|hi|");
        assert_eq!(client.ask("ping a b"), "-ERR wrong number of arguments for 'ping' command|");
        assert_eq!(client.ask("echo x"), "$1|x|");
    }

    #[test]
    fn select_takes_the_databases_there_are() {
        let mut client = Client::new();
        assert_eq!(client.ask("select 15"), "+OK|");
        assert_eq!(client.session.db, 15);
        for (argument, error) in [
            ("16", "ERR DB index is out of range"),
            ("-1", "ERR DB index is out of range"),
            ("256", "ERR DB index is out of range"),
            ("01", "ERR value is not an integer or out of range"),
            ("9999999999999999999999", "ERR value is not an integer or out of range"),
            ("99999999999", "ERR value is out of range, value must between -2147483648 and 2147483647"),
        ] {
            assert_eq!(client.ask(&format!("select {argument}")), format!("-{error}|"));
        }
        assert_eq!(client.session.db, 15, "a refused SELECT changes nothing");
    }

    #[test]
    fn hello_answers_in_the_protocol_it_announces() {
        let mut client = Client::new();
        let fields = "$6|server|$5|redis|$7|version|$6|7.0.15|$5|proto|:3|$2|id|:7|$4|mode|$10|standalone|$4|role|\
                      $6|master|$7|modules|*0|";
        assert_eq!(client.ask("hello 3 auth default any setname me"), format!("%7|{fields}"));
        assert_eq!(client.ask("client getname"), "$2|me|");
        assert!(client.ask("hello").starts_with("%7|"), "without a version the protocol stays");
        assert!(client.ask("hello 2").starts_with("*14|"));
        assert_eq!(client.ask("hello 3 setname"), "-ERR Syntax error in HELLO option 'setname'|");
        assert_eq!(client.ask("hello 3 auth a"), "-ERR Syntax error in HELLO option 'auth'|");
        assert_eq!(client.ask("hello 4"), "-NOPROTO unsupported protocol version|");
        assert_eq!(client.ask("hello x"), "-ERR Protocol version is not an integer or out of range|");
        assert_eq!(
            client.ask("hello 3 setname x auth bob secret"),
            "-WRONGPASS invalid username-password pair or user is disabled.|"
        );
        assert_eq!(client.ask("client getname"), "$2|me|", "a refused HELLO changes nothing");
        assert!(client.ask("hello").starts_with("*14|"));
    }

    #[test]
    fn auth_answers_as_a_redis_without_a_password() {
        let mut client = Client::new();
        assert!(client.ask("auth x").starts_with("-ERR AUTH <password> called without any password configured"));
        assert_eq!(client.ask("auth default x"), "+OK|");
        assert!(client.ask("auth bob x").starts_with("-WRONGPASS "));
        assert_eq!(client.ask("auth a b c"), "-ERR syntax error|");
    }

    #[test]
    fn reset_makes_the_connection_new() {
        let mut client = Client::new();
        for line in ["hello 3 setname me", "select 3", "client no-evict on", "client setinfo lib-name lib"] {
            assert!(!client.ask(line).starts_with('-'), "{line}");
        }
        assert_eq!(client.ask("reset"), "+RESET|");
        assert_eq!((client.session.db, client.session.no_evict), (0, false));
        assert_eq!(client.ask("client getname"), "$-1|", "RESP2 again, and no name");
        assert_eq!(&*client.session.library, "lib", "the library behind the connection is still the same");
    }
}
