//! The file of settings, as CONFIG REWRITE writes it.

use super::core::Core;
use crate::ids::Ticket;
use crate::node::Asker;

const BUSY: &[u8] = b"-BUSY other work of the disk is under way, try again\r\n";

impl Core {
    /// Has another thread put what was set into the file of settings; the answer comes under `ticket`.
    pub(super) fn order_rewrite(&mut self, ticket: Ticket) {
        let (server, asker) = (self.server.clone(), Asker { core: self.id, ticket });
        let job = move || {
            let reply = match server.settings.rewrite() {
                Ok(()) => b"+OK\r\n".to_vec(),
                Err(why) => {
                    tracing::warn!(why, "the file of settings could not be rewritten");
                    format!("-ERR Rewriting config file: {}\r\n", why.replace(['\r', '\n'], " ")).into_bytes()
                }
            };
            server.ring_all();
            server.answer_late(asker, reply);
        };
        if self.cold_reads.readers.submit(Box::new(job)).is_err() {
            self.server.answer_late(asker, BUSY.to_vec());
        }
    }
}
