//! The work that scripts may do, as their requests say: batches and turns of the core have bounds of it.

use crate::commands::scripts::Terms;
use crate::commands::table::{STEP_EXEC, STEP_FUNCTION, STEP_FUNCTION_RO, STEP_SCRIPT, STEP_SCRIPT_RO, STEP_TRY};
use crate::entry::request::{self, ArgList};
use crate::entry::script_trial::ScriptTrial;
use crate::entry::transaction::Transaction;

/// The work that the scripts in an encoded request may do together: one, those of a transaction, or what one has called on trial.
pub fn work_of(bytes: &[u8]) -> u64 {
    match request::command_id(bytes) {
        Some(STEP_SCRIPT | STEP_SCRIPT_RO | STEP_FUNCTION | STEP_FUNCTION_RO) => {
            let mut args = ArgList::new();
            let terms = request::decode(bytes, &mut args).and_then(|_| Terms::decode(args.first()?));
            terms.map_or(0, |terms| terms.work)
        }
        Some(STEP_EXEC) => {
            let members = Transaction::read(bytes).into_iter().flat_map(|transaction| transaction.commands());
            members.flatten().map(work_of).fold(0, u64::saturating_add)
        }
        Some(STEP_TRY) => ScriptTrial::read(bytes).map_or(0, |trial| trial.terms.work),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;
    use crate::commands::scripts::Reach;
    use crate::entry::request::RequestHeader;
    use crate::entry::script_trial::{self, TrialTerms};
    use crate::entry::transaction;

    #[test]
    fn the_work_of_a_request_is_that_of_its_scripts() {
        let encoded = |id: u16, work: u64| {
            let terms = Terms {
                is_read_only: false,
                in_cluster: false,
                reach: Reach::All,
                stops_elsewhere: false,
                is_wide: true,
                work,
                rights: None,
            }
            .encode();
            let (mut out, words) = (Vec::new(), [&terms[..], b"return 1", b"0"]);
            request::encode(&mut out, RequestHeader::new(Protocol::Resp2, 0, id), words.into_iter());
            out
        };
        let members = [encoded(STEP_FUNCTION, 5), encoded(1, 100), encoded(STEP_SCRIPT_RO, 7)];
        assert_eq!(members.each_ref().map(|member| work_of(member)), [5, 0, 7]);
        let mut exec = Vec::new();
        let header = RequestHeader::new(Protocol::Resp2, 0, STEP_EXEC);
        transaction::encode(&mut exec, header, None, members.iter().map(Vec::as_slice));
        assert_eq!(work_of(&exec), 12);
        let terms = TrialTerms {
            transaction: 0,
            time_ms: 0,
            string_bytes_max: 0,
            work: 3,
            reply_bytes_max: 0,
            before: 0,
            kept: 0,
        };
        assert_eq!(work_of(&script_trial::encode(STEP_TRY, terms, [&members[1][..]].into_iter())), 3);
    }
}
