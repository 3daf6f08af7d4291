//! Commands that took long: what is noted of them, and whose they were.

use basalt_net::ring::ConnId;

use super::core::Core;
use super::dispatch::{client_index, client_number};
use crate::ids::{Origin, Ticket};
use crate::node::SlowClient;

impl Core {
    /// Has commands noted as the settings say.
    pub(super) fn watch_slow(&self) {
        let of_log = self.live.slow_least.filter(|_| self.live.slow_log_max > 0);
        let of_monitor = self.live.latency_least;
        self.stats().slow.set_least([of_log, of_monitor].into_iter().flatten().min());
        self.server.slow_log.set_least(of_log);
        self.server.slow_log.set_most(self.live.slow_log_max);
        self.server.latency.set_least(of_monitor.map(|least| least.as_millis() as u64));
    }

    /// Notes that a connection's commands are executed from here on.
    #[inline]
    pub(super) fn serve(&self, connection: ConnId) {
        let origin = Origin { core: self.id, client: client_number(connection), ticket: Ticket(0) };
        self.stats().slow.serve(Some(origin));
    }

    /// Puts commands of this core's clients into the log that took long.
    pub(super) fn take_slow(&self) {
        if self.server.slow_log.has_arrived(self.id) {
            self.take_slow_in();
        }
    }

    #[cold]
    fn take_slow_in(&self) {
        self.server.slow_log.take_in(self.id, |number| {
            let of_task = self.connection_of_task(number);
            let is_wanted = |id: ConnId| of_task.map_or_else(|| client_number(id) == number, |task| id == task);
            let index = of_task.map_or_else(|| client_index(number), ConnId::index);
            let place = self.clients.connections.get(index).and_then(Option::as_ref);
            let found = place.filter(|connection| is_wanted(connection.ring));
            let address = found.and_then(|connection| connection.session.peer);
            SlowClient {
                address: address.map_or_else(|| String::from("?:0"), |address| address.to_string()),
                name: found.map(|connection| connection.session.name.clone()).unwrap_or_default(),
            }
        });
    }
}
