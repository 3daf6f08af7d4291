//! The ACL commands (<https://redis.io/docs/latest/commands/?name=acl>), and the note of what was denied.

use std::time::Instant;

use basalt_net::resp::Reply;

use super::SessionContext;
use super::client::{ClientBuffers, client_line};
use super::outcome::{Outcome, Ran, UserFile};
use crate::acl::{self, CATEGORIES, Context, DEFAULT_USER, Denied, LogEntry, Reason, User, is_name};
use crate::clients::Session;
use crate::commands::{Args, CommandError, Merge, parse_i64, table};
use crate::config::ChannelsAtFirst;
use crate::limits;
use crate::mail::Control;
use crate::node::Server;

/// Bits of one that nobody has said more of.
const PASSWORD_BITS: i64 = 256;

const NO_FILE: CommandError = CommandError::text(
    "ERR This node is not configured to use an ACL file: set aclfile to the path of one that is there, and start the node again",
);

/// Notes what was denied to a connection's user, or, of [`Reason::Auth`], that it is not `user`.
pub fn note_denied(
    server: &Server,
    session: &Session,
    context: Context,
    (reason, object): (Reason, &[u8]),
    user: &[u8],
) {
    let mut client = Vec::new();
    client_line(&mut client, session, ClientBuffers::default(), 0, Instant::now());
    let entry = LogEntry {
        count: 1,
        reason,
        context,
        object: object.into(),
        user: user.into(),
        at_ms: server.clock.unix_ms(),
        client: client.into(),
    };
    server.users.log().add(entry, server.settings.config().acllog_max_len as usize);
}

/// `ACL WHOAMI`.
pub(super) fn who_am_i(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.bulk(context.session.user.name());
    Ok(Outcome::Done)
}

/// `ACL USERS`.
pub(super) fn users(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let table = context.server.users.now();
    reply.array(table.users().len());
    table.users().for_each(|user| reply.bulk(user.name()));
    Ok(Outcome::Done)
}

/// `ACL LIST`.
pub(super) fn list(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let table = context.server.users.now();
    reply.array(table.users().len());
    table.users().for_each(|user| reply.bulk(user.line()));
    Ok(Outcome::Done)
}

/// `ACL GETUSER username`.
pub(super) fn get_user(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let table = context.server.users.now();
    match table.user(args[2]) {
        Some(user) => describe(user, reply),
        None => reply.null(),
    }
    Ok(Outcome::Done)
}

fn describe(user: &User, reply: &mut Reply<'_>) {
    let describe_selector = |[commands, keys, channels]: &[Vec<u8>; 3], reply: &mut Reply<'_>| {
        for (name, rules) in [("commands", commands), ("keys", keys), ("channels", channels)] {
            reply.bulk(name);
            reply.bulk(rules);
        }
    };
    let selectors = user.selectors();
    let (root, others) = selectors.split_first().expect("a user has one at least");
    let flags: Vec<&str> = user.flags().collect();
    reply.map(6);
    reply.bulk("flags");
    reply.set(flags.len());
    flags.into_iter().for_each(|flag| reply.bulk(flag));
    reply.bulk("passwords");
    reply.array(user.passwords().len());
    user.passwords().for_each(|hash| reply.bulk(hash));
    describe_selector(root, reply);
    reply.bulk("selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        describe_selector(selector, reply);
    }
}

/// `ACL SETUSER username [rule …]`: all of the rules, or none.
pub(super) fn set_user(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if args[2].is_empty() || args[2].len() > limits::ACL_NAME_BYTES_MAX {
        let most = limits::ACL_NAME_BYTES_MAX;
        return Err(CommandError::owned(format!("ERR Usernames have at least one byte, and {most} at most")));
    }
    if !is_name(args[2]) {
        return Err(CommandError::text("ERR Usernames can't contain spaces or null characters"));
    }
    let server = context.server;
    let all_channels = gives_channels(server);
    let changed = server.users.change(context.session.id, |table| table.set(args[2], &args[3..], all_channels));
    changed.map_err(|text| CommandError::owned(format!("ERR {text}")))?;
    Ok(Outcome::Control(Control::TakeUsers(None), Merge::Ok))
}

fn gives_channels(server: &Server) -> bool {
    server.settings.config().acl_pubsub_default == ChannelsAtFirst::All
}

/// `ACL DELUSER username [username …]`.
pub(super) fn delete_user(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if args[2..].contains(&DEFAULT_USER) {
        return Err(CommandError::text("ERR The 'default' user cannot be removed"));
    }
    let removed = context.server.users.change(context.session.id, |table| {
        Ok::<_, CommandError>(args[2..].iter().filter(|name| table.remove(name)).count())
    })?;
    Ok(Outcome::Control(Control::TakeUsers(Some(removed as i64)), Merge::Sum))
}

/// `ACL CAT [category]`.
pub(super) fn categories(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let Some(wanted) = args.get(2) else {
        reply.array(CATEGORIES.len());
        CATEGORIES.iter().for_each(|category| reply.bulk(category));
        return Ok(Outcome::Done);
    };
    let category = CATEGORIES.iter().find(|category| category.as_bytes().eq_ignore_ascii_case(wanted));
    let category = category
        .ok_or_else(|| CommandError::owned(format!("ERR Unknown category '{}'", String::from_utf8_lossy(wanted))))?;
    let commands: Vec<_> = table::with_subcommands().filter(|command| command.is_in_category(category)).collect();
    reply.array(commands.len());
    commands.into_iter().for_each(|command| reply.bulk(command.name()));
    Ok(Outcome::Done)
}

/// `ACL LOG [count | RESET]`.
pub(super) fn log(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let server = context.server;
    let count = match args.get(2) {
        None => 10,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            server.users.log().clear();
            reply.ok();
            return Ok(Outcome::Done);
        }
        Some(count) => usize::try_from(parse_i64(count)?).unwrap_or(0),
    };
    let now_ms = server.clock.unix_ms();
    let entries: Vec<LogEntry> = server.users.log().newest(count).cloned().collect();
    reply.array(entries.len());
    for entry in entries {
        reply.map(7);
        reply.bulk("count");
        reply.integer(entry.count as i64);
        for (name, text) in [
            ("reason", entry.reason.name().as_bytes()),
            ("context", entry.context.name().as_bytes()),
            ("object", &entry.object),
            ("username", &entry.user),
        ] {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk("age-seconds");
        reply.double(now_ms.saturating_sub(entry.at_ms) as f64 / 1000.0);
        reply.bulk("client-info");
        reply.bulk(&entry.client);
    }
    Ok(Outcome::Done)
}

/// `ACL GENPASS [bits]`.
pub(super) fn generate_password(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let bits = match args.get(2) {
        None => PASSWORD_BITS,
        Some(bits) => Some(parse_i64(bits)?).filter(|bits| (1..=limits::PASSWORD_BITS_MAX).contains(bits)).ok_or_else(|| {
            CommandError::owned(format!(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
                 {}",
                limits::PASSWORD_BITS_MAX
            ))
        })?,
    };
    let digits = (bits as usize).div_ceil(4);
    let drawn: String = (0..digits.div_ceil(16)).map(|_| format!("{:016x}", rand::random::<u64>())).collect();
    reply.bulk(&drawn[..digits]);
    Ok(Outcome::Done)
}

/// `ACL DRYRUN username command [arg …]`.
pub(super) fn dry_run(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let table = context.server.users.now();
    let user = table.user(args[2]);
    let user = user.ok_or_else(|| CommandError::owned(format!("ERR User '{}' not found", text(args[2]))))?;
    let call = &args[3..];
    let command = table::called(call);
    let command = command.ok_or_else(|| CommandError::owned(format!("ERR Command '{}' not found", text(call[0]))))?;
    command.check_arity(call)?;
    let (name, word) = (command.name(), |denied: Denied| text(call[denied.position()]));
    match acl::check(user, command, call) {
        Ok(()) => reply.ok(),
        Err(Denied::Command) => reply.bulk(format!("This user has no permissions to run the '{name}' command")),
        Err(denied @ Denied::Key(_)) => {
            reply.bulk(format!("This user has no permissions to access the '{}' key", word(denied)));
        }
        Err(denied @ Denied::Channel(_)) => {
            reply.bulk(format!("This user has no permissions to access the '{}' channel", word(denied)));
        }
    }
    Ok(Outcome::Done)
}

/// `ACL SAVE`.
pub(super) fn save(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if context.server.config.aclfile.is_none() { Err(NO_FILE) } else { Ok(Outcome::UserFile(UserFile::Save)) }
}

/// `ACL LOAD`.
pub(super) fn load(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if context.server.config.aclfile.is_none() { Err(NO_FILE) } else { Ok(Outcome::UserFile(UserFile::Load)) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::acl::LogEntry;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn users_are_made_told_and_deleted() {
        let mut client = Client::new();
        for (line, told) in [
            ("acl whoami", "$7|default|"),
            ("acl users", "*1|$7|default|"),
            ("acl list", "*1|$34|user default on nopass ~* &* +@all|"),
            ("acl getuser nobody", "$-1|"),
            ("acl setuser bob on nopass ~k* (+get ~x)", ""),
            ("acl users", "*2|$3|bob|$7|default|"),
            (
                "acl getuser bob",
                "*12|$5|flags|*2|$2|on|$6|nopass|$9|passwords|*0|$8|commands|$5|-@all|$4|keys|$3|~k*|$8|channels|$0||\
                 $9|selectors|*1|*6|$8|commands|$10|-@all +get|$4|keys|$2|~x|$8|channels|$0||",
            ),
            ("acl deluser default", "-ERR The 'default' user cannot be removed|"),
            ("acl deluser bob nobody", ""),
            ("acl users", "*1|$7|default|"),
        ] {
            assert_eq!(client.ask(line), told, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_the_words_of_redis() {
        let mut client = Client::new();
        for (line, error) in [
            ("acl setuser bob nonsense", "ERR Error in ACL SETUSER modifier 'nonsense': Syntax error"),
            (
                "acl setuser bob on +nosuch",
                "ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
            ),
            ("acl setuser bob (+get", "ERR Unmatched parenthesis in acl selector starting at '(+get'."),
            ("acl cat nosuch", "ERR Unknown category 'nosuch'"),
            (
                "acl genpass 0",
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
            ),
            ("acl genpass x", "ERR value is not an integer or out of range"),
            ("acl log x", "ERR value is not an integer or out of range"),
            ("acl dryrun nobody get k", "ERR User 'nobody' not found"),
            ("acl dryrun default nosuch", "ERR Command 'nosuch' not found"),
            ("acl dryrun default get", "ERR wrong number of arguments for 'get' command"),
            ("acl save", &NO_FILE.to_string()),
            ("acl nosuch", "ERR unknown subcommand 'nosuch'. Try ACL HELP."),
        ] {
            assert_eq!(client.ask(line), format!("-{error}|"), "{line}");
        }
        assert_eq!(
            client.ask_args(&[b"acl", b"setuser", b"a b"]),
            "-ERR Usernames can't contain spaces or null characters|"
        );
        assert_eq!(client.ask("acl users"), "*1|$7|default|", "nothing has changed");
    }

    #[test]
    fn passwords_are_drawn_and_tried() {
        let mut client = Client::new();
        let drawn: Vec<String> = ["", " 5", " 4096"].map(|bits| client.ask(&format!("acl genpass{bits}"))).into();
        let lengths: Vec<_> = drawn.iter().map(|reply| reply.split('|').nth(1).unwrap_or_default().len()).collect();
        assert_eq!(lengths, [64, 2, 1024]);
        client.ask("acl setuser bob on >secret +@all ~*");
        assert_eq!(client.ask("auth bob wrong"), "-WRONGPASS invalid username-password pair or user is disabled.|");
        assert_eq!(client.ask("acl whoami"), "$7|default|");
        assert_eq!(client.ask("auth bob secret"), "+OK|");
        assert_eq!(client.ask("acl whoami"), "$3|bob|");
        assert!(client.ask("client info").contains(" user=bob redir="));
        let log: Vec<LogEntry> = client.server.users.log().newest(9).cloned().collect();
        let [entry] = &log[..] else { panic!("{log:?}") };
        assert_eq!((entry.reason, &*entry.object, &*entry.user), (Reason::Auth, &b"auth"[..], &b"bob"[..]));
        assert!(client.ask("acl log").starts_with("*1|*14|$5|count|:1|$6|reason|$4|auth|$7|context|$8|toplevel|"));
        assert_eq!(client.ask("acl log reset"), "+OK|");
        assert_eq!(client.ask("acl log 5"), "*0|");
        client.ask("acl setuser default off");
        client.ask("reset");
        assert_eq!(client.ask("hello 3").split(' ').next(), Some("-NOAUTH"));
        assert!(client.ask("hello 3 auth bob secret setname me").starts_with("%7|"));
        assert_eq!(client.ask("acl whoami"), "$3|bob|");
    }

    #[test]
    fn a_dry_run_tells_what_is_denied() {
        let mut client = Client::new();
        client.ask("acl setuser bob +get +subscribe +mget ~k* &news");
        for (line, told) in [
            ("get k1", "OK"),
            ("get x", "This user has no permissions to access the 'x' key"),
            ("mget k1 k2 y", "This user has no permissions to access the 'y' key"),
            ("set k1 v", "This user has no permissions to run the 'set' command"),
            ("config get x", "This user has no permissions to run the 'config|get' command"),
            ("subscribe news other", "This user has no permissions to access the 'other' channel"),
        ] {
            let reply = client.ask(&format!("acl dryrun bob {line}"));
            let expected = if told == "OK" { "+OK|".to_owned() } else { format!("${}|{told}|", told.len()) };
            assert_eq!(reply, expected, "{line}");
        }
        assert!(client.ask("acl cat").starts_with("*21|$8|keyspace|$4|read|"));
        assert!(client.ask("acl cat HASH").contains("|hset|"));
    }
}
