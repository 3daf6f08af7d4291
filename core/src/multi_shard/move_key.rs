//! RENAME and COPY from one shard to another.

use basalt_net::resp::{Reply, value};

use super::gather::{Coordinator, Part, Plan, Progress};
use crate::cluster::Router;
use crate::commands::table::{STEP_DELETE, STEP_READ, STEP_WRITE};
use crate::commands::{Args, Command, CopyOptions, Overwrites};
use crate::entry::request::Mode;
use crate::ids::ShardId;
use crate::limits;

/// A key on its way to another shard.
pub(super) struct Move {
    from: (ShardId, u8, Vec<u8>),
    to: (ShardId, u8, Vec<u8>),
    replace: bool,
    /// RENAME deletes the source, COPY keeps it.
    delete_source: bool,
    /// True if a source that is not there is an error, as for RENAME; else the reply is 0, as for COPY.
    missing_is_error: bool,
    /// RENAME says OK, RENAMENX and COPY say whether.
    answer_ok: bool,
    bytes: Vec<u8>,
    step: MoveStep,
    /// True if it may hold a large key.
    has_turn: bool,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveStep {
    Reading,
    Writing,
    Deleting,
}

pub(super) fn start_move(db: u8, router: &Router, args: Args<'_>, moving: Move) -> Plan {
    if router.shard_of(args[1]) == router.shard_of(args[2]) {
        return Plan::Whole(moving.from.0);
    }
    let part = Part { shard: moving.from.0, mode: Mode::Read, command: STEP_READ, db, args: vec![args[1].to_vec()] };
    Plan::Parts(vec![part], Box::new(moving))
}

impl Move {
    fn between(db: (u8, u8), router: &Router, args: Args<'_>) -> Move {
        Move {
            from: (router.shard_of(args[1]), db.0, args[1].to_vec()),
            to: (router.shard_of(args[2]), db.1, args[2].to_vec()),
            replace: true,
            delete_source: true,
            missing_is_error: true,
            answer_ok: true,
            bytes: Vec::new(),
            step: MoveStep::Reading,
            has_turn: false,
            attempts: 0,
        }
    }

    pub(super) fn rename(command: &Command, db: u8, router: &Router, args: Args<'_>) -> Move {
        let only_if_free = command.overwrites == Overwrites::Never;
        Move { replace: !only_if_free, answer_ok: !only_if_free, ..Move::between((db, db), router, args) }
    }

    pub(super) fn copy(db: u8, options: CopyOptions, router: &Router, args: Args<'_>) -> Move {
        Move {
            replace: options.replace,
            delete_source: false,
            missing_is_error: false,
            answer_ok: false,
            ..Move::between((db, options.db), router, args)
        }
    }

    fn read(&mut self) -> Vec<Part> {
        self.step = MoveStep::Reading;
        let (shard, db, key) = self.from.clone();
        vec![Part { shard, mode: Mode::Read, command: STEP_READ, db, args: vec![key] }]
    }

    fn write(&mut self, bytes: &[u8]) -> Progress {
        self.step = MoveStep::Writing;
        self.bytes = bytes.to_vec();
        let how = if self.replace { b"replace".to_vec() } else { b"keep".to_vec() };
        let (shard, db, key) = self.to.clone();
        let args = vec![key, self.bytes.clone(), how];
        Progress::Send(vec![Part { shard, mode: Mode::Write, command: STEP_WRITE, db, args }])
    }

    fn delete(&mut self) -> Progress {
        self.step = MoveStep::Deleting;
        let (shard, db, key) = self.from.clone();
        let args = vec![key, std::mem::take(&mut self.bytes)];
        Progress::Send(vec![Part { shard, mode: Mode::Write, command: STEP_DELETE, db, args }])
    }

    fn done(&self, out: &mut Reply<'_>) -> Progress {
        if self.answer_ok {
            out.ok()
        } else {
            out.integer(1)
        }
        Progress::Done
    }
}

impl Coordinator for Move {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        if reply.starts_with(b"-") {
            if self.step == MoveStep::Deleting || self.attempts > 0 {
                // Not what a refusal says, that nothing was done.
                out.error("UNCERTAIN the key was copied to its new name, and may still have its old one");
            } else {
                out.raw(reply);
            }
            return Progress::Done;
        }
        match self.step {
            MoveStep::Reading => match value::read_bulk(reply) {
                Some(bytes) if bytes.len() > limits::MOVED_BYTES_AT_WILL && !self.has_turn => {
                    // Read again then: meanwhile it is not held.
                    self.has_turn = true;
                    Progress::Turn(self.read())
                }
                Some(bytes) => self.write(bytes),
                // It was there when the last attempt copied it, and someone has deleted it since: the rename is through.
                None if self.attempts > 0 => self.done(out),
                None if self.missing_is_error => {
                    out.error("ERR no such key");
                    Progress::Done
                }
                None => {
                    out.integer(0);
                    Progress::Done
                }
            },
            MoveStep::Writing if value::read_integer(reply) == Some(0) => {
                out.integer(0);
                Progress::Done
            }
            MoveStep::Writing if self.delete_source => self.delete(),
            MoveStep::Writing => self.done(out),
            MoveStep::Deleting if value::read_integer(reply) == Some(1) => self.done(out),
            MoveStep::Deleting if self.attempts < limits::MOVE_ATTEMPTS => {
                // A write came between reading and deleting: what was copied is old. From here on the new name is ours.
                self.attempts += 1;
                self.replace = true;
                Progress::Send(self.read())
            }
            MoveStep::Deleting => {
                out.error("ERR the key is written to so often that it could not be moved; both names hold it now");
                Progress::Done
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;

    #[test]
    fn a_rename_that_has_written_does_not_say_that_nothing_was_done() {
        let place = |shard| (ShardId(shard), 0, b"key".to_vec());
        let answer = |step, attempts| {
            let (from, to) = (place(0), place(1));
            let (replace, delete_source, missing_is_error, answer_ok) = (false, true, true, false);
            let bytes = Vec::new();
            let has_turn = false;
            let mut moving =
                Move { from, to, replace, delete_source, missing_is_error, answer_ok, bytes, step, has_turn, attempts };
            let mut out = Vec::new();
            let progress = moving.answered(0, b"-BUSY try again\r\n", &mut Reply::new(&mut out, Protocol::Resp2));
            assert!(matches!(progress, Progress::Done));
            String::from_utf8(out).unwrap()
        };
        for step in [MoveStep::Reading, MoveStep::Writing] {
            assert_eq!(answer(step, 0), "-BUSY try again\r\n");
            assert!(answer(step, 1).starts_with("-UNCERTAIN the key was copied"), "{step:?}");
        }
        assert!(answer(MoveStep::Deleting, 0).starts_with("-UNCERTAIN the key was copied"));
    }
}
