//! MIGRATE: keys that go to another server, any that speaks Redis' protocol.
//!
//! What a newcomer would get wrong: no shard runs this, and it is in no log. Who has the client holds the keys, reads them as DUMP
//! does, sends them, and has those deleted that were taken. The handler is what a shard says of a call, of which none comes to it.

use std::time::Duration;

use basalt_net::resp::Reply;

use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits::migrations as limits;

/// The refusal of a call that stands beside other commands.
const NOT_ALONE: CommandError = CommandError::text(
    "ERR MIGRATE waits for another server, so it is executed by itself alone: call it outside of MULTI, scripts and functions",
);

/// A call of MIGRATE, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateCall {
    /// The server, and the way in which it is told.
    pub target: Target,
    /// True if the keys stay here, too.
    pub copies: bool,
    /// The positions of the keys among the arguments.
    pub keys: std::ops::Range<usize>,
}

/// The server that keys are sent to, and the way in which it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name or address.
    pub host: Vec<u8>,
    /// Its port, as it was given.
    pub port: Vec<u8>,
    /// The database there, which it may have or not.
    pub db: i64,
    /// The longest time that it may stand still.
    pub timeout: Duration,
    /// The words by which it lets somebody in.
    pub login: Option<Login>,
    /// True if keys that are there are replaced.
    pub replaces: bool,
}

/// The words by which a server lets somebody in.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user, if it is not the default one.
    pub user: Option<Vec<u8>>,
    /// The password.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(redacted)")
    }
}

impl MigrateCall {
    /// Reads the arguments `host port key db timeout [COPY] [REPLACE] [AUTH password] [AUTH2 user password] [KEYS key …]`.
    ///
    /// # Errors
    /// Redis' words for what is wrong with them, in its order.
    pub fn read(args: Args<'_>) -> Result<MigrateCall, CommandError> {
        let (mut copies, mut replaces, mut login, mut keys) = (false, false, None, 3..4);
        let mut at = 6;
        while let Some(word) = args.get(at) {
            at += 1;
            match (word.to_ascii_lowercase().as_slice(), args.get(at), args.get(at + 1)) {
                (b"copy", ..) => copies = true,
                (b"replace", ..) => replaces = true,
                (b"auth", Some(password), _) => {
                    login = Some(Login { user: None, password: password.to_vec() });
                    at += 1;
                }
                (b"auth2", Some(user), Some(password)) => {
                    login = Some(Login { user: Some(user.to_vec()), password: password.to_vec() });
                    at += 2;
                }
                (b"keys", ..) if args[3].is_empty() => {
                    keys = at..args.len();
                    break;
                }
                (b"keys", ..) => {
                    return Err(CommandError::text(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        let timeout_ms = parse_i64(args[5])?;
        let db = parse_i64(args[4])?;
        let timeout = match u64::try_from(timeout_ms) {
            Ok(0) | Err(_) => limits::TIMEOUT,
            Ok(timeout_ms) => Duration::from_millis(timeout_ms).min(limits::TIMEOUT_MAX),
        };
        let target = Target { host: args[1].to_vec(), port: args[2].to_vec(), db, timeout, login, replaces };
        Ok(MigrateCall { target, copies, keys })
    }
}

/// `MIGRATE host port key db timeout …`, where nobody sends anything.
pub(super) fn migrate(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let call = MigrateCall::read(args)?;
    for key in &args[call.keys] {
        if context.keyspace.exists(key)? {
            return Err(NOT_ALONE);
        }
    }
    reply.simple("NOKEY");
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;
    use crate::commands::testing::Shard;

    fn read(line: &str) -> Result<MigrateCall, String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        MigrateCall::read(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_call_is_taken_apart() {
        let call = read("MIGRATE h 6379 k 3 50").unwrap();
        let target = Target {
            host: b"h".to_vec(),
            port: b"6379".to_vec(),
            db: 3,
            timeout: Duration::from_millis(50),
            login: None,
            replaces: false,
        };
        assert_eq!(call, MigrateCall { target: target.clone(), copies: false, keys: 3..4 });
        let all = read("MIGRATE h 6379  3 50 copy AUTH2 keys auth Replace KEYS a keys").unwrap();
        let login = Some(Login { user: Some(b"keys".to_vec()), password: b"auth".to_vec() });
        let expected = Target { login, replaces: true, ..target.clone() };
        assert_eq!(all, MigrateCall { target: expected, copies: true, keys: 12..14 });
        // As in Redis, the last one counts.
        let login = read("MIGRATE h 1 k 0 1 AUTH2 u p AUTH q").unwrap().target.login;
        assert_eq!(login, Some(Login { user: None, password: b"q".to_vec() }));
        assert_eq!(read("MIGRATE h 1  0 1 KEYS").unwrap().keys, 7..7);
        assert_eq!(read("MIGRATE h 1  0 1").unwrap().keys, 3..4);
    }

    #[test]
    fn no_time_or_less_is_a_second_and_more_than_an_hour_is_one() {
        for (given, ms) in [("0", 1000), ("-5", 1000), ("1", 1), ("9223372036854775807", 3_600_000)] {
            let timeout = read(&format!("MIGRATE h 1 k 0 {given}")).unwrap().target.timeout;
            assert_eq!(timeout, Duration::from_millis(ms), "{given}");
        }
    }

    #[test]
    fn nobody_sees_a_password_by_chance() {
        let call = read("MIGRATE h 1 k 0 1 AUTH2 someone secret").unwrap();
        let shown = format!("{call:?}");
        assert!(!shown.contains("secret") && !shown.contains(&format!("{:?}", b"secret".to_vec())), "{shown}");
    }

    #[test]
    fn a_shard_sends_nothing() {
        let mut shard = Shard::new();
        shard.line("SET k v");
        let not_integer = "-ERR value is not an integer or out of range";
        shard.expect(
            Protocol::Resp2,
            &[
                ("MIGRATE h 1 none 0 1", "+NOKEY"),
                ("MIGRATE h 1 none x 1", not_integer),
                ("MIGRATE h 1 none 0 1.5", not_integer),
                ("MIGRATE h 1 k 0 1 x", "-ERR syntax error"),
                ("MIGRATE h 1 k 0 1 AUTH", "-ERR syntax error"),
                ("MIGRATE h 1 k 0 1 AUTH2 u", "-ERR syntax error"),
                ("MIGRATE h 1 k x y COPY x", "-ERR syntax error"),
                (
                    "MIGRATE h 1 k 0 1 KEYS a",
                    "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                ),
                ("GET k", "$1 v"),
            ],
        );
        assert_eq!(shard.line("MIGRATE h 1 k 0 1"), format!("-{NOT_ALONE}"));
    }
}
