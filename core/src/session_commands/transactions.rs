//! MULTI, EXEC, DISCARD, WATCH and UNWATCH (<https://redis.io/docs/latest/develop/using-commands/transactions/>).
//!
//! What a newcomer would get wrong: after MULTI the core queues commands and runs EXEC itself (`core_loop/transactions.rs`); none
//! of these but DISCARD runs then.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::clients::Transaction;
use crate::commands::{Args, CommandError};

/// `MULTI`.
pub(super) fn multi(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.session.transaction = Some(Box::new(Transaction::default()));
    reply.ok();
    Ok(Outcome::Done)
}

/// `EXEC` of a connection that has not sent MULTI.
pub(super) fn exec(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Err(CommandError::text("ERR EXEC without MULTI"))
}

/// `DISCARD`.
pub(super) fn discard(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    if context.session.transaction.take().is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    reply.ok();
    Ok(Outcome::Unwatch)
}

/// `WATCH key …`.
pub(super) fn watch(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Ok(Outcome::Watch)
}

/// `UNWATCH`.
pub(super) fn unwatch(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.ok();
    Ok(Outcome::Unwatch)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn exec_and_discard_ask_for_multi() {
        let mut client = Client::new();
        assert_eq!(client.ask("exec"), "-ERR EXEC without MULTI|");
        assert_eq!(client.ask("discard"), "-ERR DISCARD without MULTI|");
        assert_eq!(client.ask("multi"), "+OK|");
        assert!(client.session.transaction.is_some());
        assert!(matches!(client.run("discard"), Ok(Outcome::Unwatch)));
        assert!(client.session.transaction.is_none());
        assert_eq!(client.ask("multi"), "+OK|");
        assert_eq!(client.ask("reset"), "+RESET|");
        assert!(client.session.transaction.is_none());
        assert!(matches!(client.run("watch k"), Ok(Outcome::Watch)));
    }
}
