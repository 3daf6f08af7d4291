//! CLIENT PAUSE: commands that are not begun before some time.
//!
//! What a newcomer would get wrong: each core has the pause for itself, and whoever asked for it is answered when all of them have.
//! Nothing that a pause bars is begun from then on; what was begun before comes to its end. What is barred is dropped if its client
//! goes meanwhile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use basalt_net::ring::ConnId;

use super::access::is_open;
use super::core::Core;
use crate::clients::{Connection, Transaction};
use crate::commands::connection::facts::CLIENT_UNPAUSE;
use crate::commands::facts::Flags;
use crate::commands::{Args, Command, CommandError, InTransaction, Kind};

/// The pause of a core.
#[derive(Default)]
pub(super) struct Pause {
    now: Option<Paused>,
    /// Connections whose next command it bars.
    waiting: HashSet<ConnId>,
}

struct Paused {
    until: Instant,
    /// True if it bars all commands, and not only those that write.
    is_of_all: bool,
}

impl Pause {
    /// Returns whether there is one.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.now.is_some()
    }

    /// The time until it ends.
    pub(super) fn ends_in(&self, now: Instant) -> Option<Duration> {
        self.now.as_ref().map(|paused| paused.until.saturating_duration_since(now))
    }

    /// Begins one. Of two at the same time the longer one holds, and the stricter one, as in Redis.
    pub(super) fn begin(&mut self, until: Instant, is_of_all: bool) {
        let paused = self.now.get_or_insert(Paused { until, is_of_all });
        paused.until = paused.until.max(until);
        paused.is_of_all |= is_of_all;
    }

    /// Has a connection go on when it ends.
    pub(super) fn wait(&mut self, connection: ConnId) {
        self.waiting.insert(connection);
    }

    /// Forgets a connection that is closed.
    pub(super) fn leave(&mut self, connection: ConnId) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&connection);
        }
    }

    /// Returns whether it bars the next command of a connection.
    pub(super) fn is_barring(&self, connection: ConnId) -> bool {
        self.waiting.contains(&connection)
    }
}

/// Returns whether it is one of the commands that an operator needs to log in and to end a pause of all commands.
fn ends_pauses(command: &Command) -> bool {
    command.facts.flags.contains(Flags::NO_AUTH) || command.name() == CLIENT_UNPAUSE.name
}

impl Core {
    /// Returns whether a command of a connection is not to be begun now.
    #[cold]
    pub(super) fn is_paused(
        &self,
        connection: &Connection,
        found: &Result<&'static Command, CommandError>,
        args: Args<'_>,
    ) -> bool {
        // What is refused is refused at once.
        let (Some(paused), Ok(command)) = (&self.pause.now, found) else { return false };
        if !is_open(connection) && !self.may_call(&connection.session, command, args) {
            return false;
        }
        if ends_pauses(command) {
            return false;
        }
        let executes = command.in_transaction == InTransaction::Executes;
        let has_writes = |transaction: &Transaction| transaction.writes || transaction.publishes;
        let transaction = connection.session.transaction.as_deref().filter(|_| executes);
        let writes = matches!(command.kind, Kind::Write(_)) || command.publishes;
        let writes = writes || transaction.is_some_and(has_writes);
        paused.is_of_all || writes
    }

    /// Ends the pause if its time is over.
    pub(super) fn look_at_pause(&mut self) {
        if self.pause.ends_in(self.clock.now).is_some_and(|left| left.is_zero()) {
            self.end_pause();
        }
    }

    /// Ends the pause: who waited for that goes on.
    pub(super) fn end_pause(&mut self) {
        self.pause.now = None;
        self.pause.waiting.drain().for_each(|connection| self.clients.stalled.push(connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    #[test]
    fn of_two_pauses_the_longer_and_the_stricter_one_holds() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pause = Pause::default();
        assert!(!pause.is_on() && pause.ends_in(now).is_none());
        pause.begin(now + 5 * second, false);
        pause.begin(now + second, true);
        assert!(pause.is_on() && pause.now.as_ref().is_some_and(|paused| paused.is_of_all));
        assert_eq!(pause.ends_in(now + second), Some(4 * second));
        assert_eq!(pause.ends_in(now + 9 * second), Some(Duration::ZERO));
    }

    #[test]
    fn who_has_to_log_in_and_to_end_a_pause_is_never_barred() {
        let ends = |line: &[&[u8]]| ends_pauses(table::find(line).unwrap());
        assert!(ends(&[b"client", b"UNPAUSE"]) && ends(&[b"AUTH", b"secret"]) && ends(&[b"hello"]));
        assert!(!ends(&[b"client", b"pause", b"1"]) && !ends(&[b"ping"]) && !ends(&[b"set", b"k", b"v"]));
    }
}
