//! Replies that come some time after they are asked for.

use std::time::Duration;

use glommio::timer::Timer;

use super::core::Core;
use crate::ids::Ticket;
use crate::node::Asker;

impl Core {
    /// Answers `OK` under `ticket` when so much time has passed. Its connection waits; nothing else does.
    pub(super) fn answer_after(&self, time: Duration, ticket: Ticket) {
        let (server, asker) = (self.server.clone(), Asker { core: self.id, ticket });
        let waiting = async move {
            Timer::new(time).await;
            server.answer_late(asker, b"+OK\r\n".to_vec());
        };
        glommio::spawn_local(waiting).detach();
    }
}
