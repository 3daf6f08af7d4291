//! MONITOR: what monitors are told of a command.
//!
//! What a newcomer would get wrong: a command is told by the core of its connection, before it is executed, and so in the order in
//! which the connection has sent it; of what several cores take at the same time, whichever order the messages arrive in.

use super::core::Core;
use crate::clients::{Connection, Session, Transaction};
use crate::commands::facts::Flags;
use crate::commands::{Args, Command, REDACTED};
use crate::entry::request::{self, ArgList};
use crate::limits;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Core {
    /// Tells monitors, if there are some, of a command that a connection calls. What only operators call is not told, as in Redis.
    #[inline]
    pub(super) fn monitor(&mut self, connection: &Connection, command: &Command, args: Args<'_>) {
        if self.fanout.is_monitored() {
            self.tell_monitors(&connection.session, command, args);
        }
    }

    /// Returns the bytes that were told.
    #[cold]
    fn tell_monitors(&mut self, session: &Session, command: &Command, args: Args<'_>) -> usize {
        let flags = command.facts.flags;
        // A script is told of by itself, as in Redis.
        if flags.contains(Flags::ADMIN) || (flags.contains(Flags::SKIP_MONITOR) && !command.runs_script) {
            return 0;
        }
        let line = line(self.head_of_line(session), command, args);
        let bytes = line.len();
        self.publish_command(line);
        bytes
    }

    /// The beginning of the line of a connection's command.
    fn head_of_line(&self, session: &Session) -> String {
        let now = self.server.clock.unix();
        let address = session.peer.map_or_else(|| String::from("?:0"), |address| address.to_string());
        format!("{}.{:06} [{} {address}]", now.as_secs(), now.subsec_micros(), session.db)
    }

    /// Tells monitors of the commands of a transaction that is executed: of the first ones, and how many more there are.
    pub(super) fn monitor_transaction(&mut self, connection: &Connection, transaction: &Transaction) {
        if !self.fanout.is_monitored() {
            return;
        }
        let mut allowed = (0..transaction.len()).filter(|index| transaction.denial(*index).is_none());
        let mut cost = 0;
        while cost < limits::MONITOR_TRANSACTION_COST_MAX {
            let Some(index) = allowed.next() else { return };
            let command = transaction.row(index);
            let name = command.name().to_ascii_uppercase();
            let name = name.split('|').next().unwrap_or_default();
            let mut args = ArgList::new();
            args.push(name.as_bytes());
            if request::decode(transaction.command(index), &mut args).is_some() {
                cost += limits::DELIVERY_COST_BYTES + self.tell_monitors(&connection.session, command, &args);
            }
        }
        let more = allowed.count();
        if more > 0 {
            let line = format!("{} ... ({more} more commands)", self.head_of_line(&connection.session));
            self.publish_command(line.into_bytes());
        }
    }
}

/// The line of a command, without its secrets, as Redis writes it.
fn line(head: String, command: &Command, args: Args<'_>) -> Vec<u8> {
    let mut line = head.into_bytes();
    for (position, arg) in args.iter().enumerate() {
        let shown: &[u8] = if command.is_secret(args, position) { REDACTED } else { arg };
        line.push(b' ');
        // An escaped byte has four letters at most.
        let left = limits::MONITOR_LINE_BYTES_MAX.saturating_sub(line.len()) / 4;
        let (shown, rest) = shown.split_at(shown.len().min(left));
        quote(&mut line, shown);
        if !rest.is_empty() {
            line.extend_from_slice(format!("... ({} more bytes)", rest.len()).as_bytes());
        }
        let more = args.len() - position - 1;
        if left == 0 && more > 0 {
            line.extend_from_slice(format!(" ... ({more} more arguments)").as_bytes());
            break;
        }
    }
    line
}

fn quote(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => {
                let digit = |half: u8| HEX_DIGITS[usize::from(half)];
                line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    fn shown(args: &[&[u8]]) -> String {
        let line = line(String::from("1.000002 [3 ?:0]"), table::find(args).unwrap(), args);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn words_are_quoted_as_in_redis_and_secrets_are_not_told() {
        assert_eq!(
            shown(&[b"SET", b"a \"b\"\\", b"\r\n\t\x07\x08\x00\xff"]),
            concat!("1.000002 [3 ?:0] \"SET\" \"a \\\"b\\\"\\\\\" ", "\"\\r\\n\\t\\a\\b\\x00\\xff\"")
        );
        assert_eq!(shown(&[b"auth", b"secret"]), "1.000002 [3 ?:0] \"auth\" \"(redacted)\"");
    }

    #[test]
    fn a_line_is_bounded_however_long_a_command_is() {
        let value = vec![0xff; 8 << 20];
        let mut args: Vec<&[u8]> = vec![b"rpush", b"k"];
        args.extend(std::iter::repeat_n(value.as_slice(), 100));
        let line = shown(&args);
        assert!(line.len() < limits::MONITOR_LINE_BYTES_MAX + 1000, "{} bytes", line.len());
        assert!(line.contains("more bytes)") && line.ends_with(" more arguments)"), "{}", &line[line.len() - 100..]);
    }
}
