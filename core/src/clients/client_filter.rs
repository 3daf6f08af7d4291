//! The choice of connections that CLIENT LIST shows and CLIENT KILL closes.

use super::session::Session;
use crate::acl::UserTable;
use crate::commands::{Args, CommandError, parse_i64};

/// The type of a client, as Redis tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientKind {
    Normal,
    Subscriber,
    /// Of which there are none: no replicas and no masters.
    Nobody,
}

impl ClientKind {
    fn of(session: &Session) -> ClientKind {
        if session.is_subscriber() { ClientKind::Subscriber } else { ClientKind::Normal }
    }
}

/// Properties that a connection must have; the default lets all through.
#[derive(Debug, Clone, Default)]
pub struct ClientFilter {
    /// One of these ids, if there are any.
    ids: Vec<u64>,
    /// From this address and port.
    peer: Option<String>,
    /// To this address and port.
    local: Option<String>,
    /// Not this connection.
    except: Option<u64>,
    /// Of this type.
    kind: Option<ClientKind>,
    /// Of this user.
    user: Option<Box<[u8]>>,
    /// The connection that asks, by its id.
    asker: Option<u64>,
}

impl ClientFilter {
    /// Returns whether the connection is one of those asked for.
    pub fn matches(&self, session: &Session) -> bool {
        let is_at = |wanted: &Option<String>, address: Option<std::net::SocketAddr>| match wanted {
            Some(wanted) => address.is_some_and(|address| address.to_string() == *wanted),
            None => true,
        };
        self.kind.is_none_or(|kind| kind == ClientKind::of(session))
            && self.except != Some(session.id)
            && (self.ids.is_empty() || self.ids.contains(&session.id))
            && self.user.as_ref().is_none_or(|user| **user == *session.user.name())
            && is_at(&self.peer, session.peer)
            && is_at(&self.local, session.local)
    }

    /// Returns whether the connection is the one that asks: when it closes itself, it still gets its reply.
    pub fn is_asker(&self, session: &Session) -> bool {
        self.asker == Some(session.id)
    }

    /// Reads the options of CLIENT LIST.
    pub(crate) fn for_list(args: Args<'_>) -> Result<ClientFilter, CommandError> {
        let mut filter = ClientFilter::default();
        match args {
            [_, _] => {}
            [_, _, option, kind] if option.eq_ignore_ascii_case(b"type") => filter.kind = Some(parse_kind(kind)?),
            [_, _, option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
                filter.ids = ids.iter().copied().map(parse_listed_id).collect::<Result<_, _>>()?;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        Ok(filter)
    }

    /// Reads the options of CLIENT KILL, sent by connection `asker`, which is spared unless it says `SKIPME no`. The old form
    /// with an address alone spares nobody.
    pub(crate) fn for_kill(args: Args<'_>, asker: u64, users: &UserTable) -> Result<ClientFilter, CommandError> {
        let mut filter = ClientFilter { asker: Some(asker), ..ClientFilter::default() };
        if let [_, _, address] = args {
            filter.peer = Some(text(address));
            return Ok(filter);
        }
        filter.except = Some(asker);
        for option in args[2..].chunks(2) {
            let [name, value] = option else { return Err(CommandError::SYNTAX) };
            filter.add(name, value, asker, users)?;
        }
        Ok(filter)
    }

    fn add(&mut self, name: &[u8], value: &[u8], asker: u64, users: &UserTable) -> Result<(), CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"id" => self.ids = vec![parse_killed_id(value)?],
            b"type" => self.kind = Some(parse_kind(value)?),
            b"addr" => self.peer = Some(text(value)),
            b"laddr" => self.local = Some(text(value)),
            b"user" if users.user(value).is_some() => self.user = Some(value.into()),
            b"user" => return Err(CommandError::owned(format!("ERR No such user '{}'", text(value)))),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.except = Some(asker),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.except = None,
            _ => return Err(CommandError::SYNTAX),
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_listed_id(arg: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::text("ERR Invalid client ID");
    u64::try_from(parse_i64(arg).map_err(|_| invalid())?).map_err(|_| invalid())
}

fn parse_killed_id(arg: &[u8]) -> Result<u64, CommandError> {
    match parse_i64(arg) {
        Ok(id @ 1..) => Ok(id as u64),
        _ => Err(CommandError::text("ERR client-id should be greater than 0")),
    }
}

fn parse_kind(kind: &[u8]) -> Result<ClientKind, CommandError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientKind::Normal),
        b"pubsub" => Ok(ClientKind::Subscriber),
        b"master" | b"replica" | b"slave" => Ok(ClientKind::Nobody),
        _ => Err(CommandError::owned(format!("ERR Unknown client type '{}'", text(kind)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_commands::testing::{session, words};

    fn list(line: &str) -> Result<ClientFilter, String> {
        ClientFilter::for_list(&words(line)).map_err(|error| error.to_string())
    }

    fn kill(line: &str) -> Result<ClientFilter, String> {
        ClientFilter::for_kill(&words(line), 7, &UserTable::plain()).map_err(|error| error.to_string())
    }

    /// Returns whether connections 7 (which asks) and 8 are let through.
    fn chosen(filter: Result<ClientFilter, String>) -> [bool; 2] {
        let filter = filter.unwrap();
        [7, 8].map(|id| filter.matches(&session(id)))
    }

    #[test]
    fn list_chooses_by_type_or_id() {
        assert_eq!(chosen(list("client list")), [true, true]);
        assert_eq!(chosen(list("client list type NORMAL")), [true, true]);
        assert_eq!(chosen(list("client list type replica")), [false, false]);
        assert_eq!(chosen(list("client list id 8 9")), [false, true]);
        assert_eq!(list("client list type x").unwrap_err(), "ERR Unknown client type 'x'");
        assert_eq!(list("client list id").unwrap_err(), "ERR syntax error");
        assert_eq!(list("client list id a").unwrap_err(), "ERR Invalid client ID");
        assert_eq!(list("client list x y").unwrap_err(), "ERR syntax error");
        assert_eq!(list("client list type normal x").unwrap_err(), "ERR syntax error");
    }

    #[test]
    fn kill_spares_who_asks_unless_told_otherwise() {
        assert_eq!(chosen(kill("client kill type normal")), [false, true]);
        assert_eq!(chosen(kill("client kill type normal skipme yes")), [false, true]);
        assert_eq!(chosen(kill("client kill type normal skipme NO")), [true, true]);
        assert_eq!(chosen(kill("client kill 127.0.0.1:50000")), [true, true], "the old form spares nobody");
        assert!(kill("client kill type normal").unwrap().is_asker(&session(7)));
        assert!(!kill("client kill type normal").unwrap().is_asker(&session(8)));
    }

    #[test]
    fn kill_chooses_those_that_all_options_fit() {
        assert_eq!(chosen(kill("client kill id 8 user default")), [false, true]);
        assert_eq!(chosen(kill("client kill id 9 skipme no")), [false, false]);
        assert_eq!(chosen(kill("client kill addr 127.0.0.1:50000 skipme no")), [true, true]);
        assert_eq!(chosen(kill("client kill addr 127.0.0.1:50001 skipme no")), [false, false]);
        assert_eq!(chosen(kill("client kill laddr 127.0.0.1:6379 skipme no")), [true, true]);
        assert_eq!(chosen(kill("client kill laddr 127.0.0.1:1 skipme no")), [false, false]);
        assert_eq!(chosen(kill("client kill type pubsub skipme no")), [false, false]);
    }

    #[test]
    fn kill_refuses_in_the_words_of_redis() {
        for (line, error) in [
            ("client kill id 0", "ERR client-id should be greater than 0"),
            ("client kill id x", "ERR client-id should be greater than 0"),
            ("client kill user bob", "ERR No such user 'bob'"),
            ("client kill type x", "ERR Unknown client type 'x'"),
            ("client kill skipme x", "ERR syntax error"),
            ("client kill id 1 type", "ERR syntax error"),
            ("client kill foo bar", "ERR syntax error"),
        ] {
            assert_eq!(kill(line).unwrap_err(), error, "{line}");
        }
    }
}
