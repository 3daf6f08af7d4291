//! Handlers of PFADD, PFCOUNT and PFMERGE, on strings that are HyperLogLogs.
//!
//! What a newcomer would get wrong: PFCOUNT changes nothing. Redis notes in the string what was counted; here that would be a write
//! through the log, and to count again takes some microseconds.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Lookup, Prior, Record, Type};

use super::hyperloglog::{self, Corrupted, REGISTERS};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

const NO_HYPERLOGLOG: CommandError = CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> CommandError {
        CommandError::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// A HyperLogLog that is to be changed.
struct Opened {
    bytes: Vec<u8>,
    prior: Prior,
    deadline_ms: Option<u64>,
    is_new: bool,
}

fn check(record: &Record<'_>) -> Outcome {
    if hyperloglog::is_hyperloglog(record.body()) { Ok(()) } else { Err(NO_HYPERLOGLOG) }
}

/// The HyperLogLog at `key`, an empty one if there is none.
fn open(context: &Context<'_>, key: &[u8]) -> Result<Opened, CommandError> {
    let Lookup { record, prior } = context.keyspace.lookup(key)?;
    let Some(record) = record else {
        return Ok(Opened { bytes: hyperloglog::empty(), prior, deadline_ms: None, is_new: true });
    };
    if record.kind() != Type::String {
        return Err(CommandError::WrongType);
    }
    check(&record)?;
    Ok(Opened { bytes: record.body().to_vec(), prior, deadline_ms: record.deadline_ms(), is_new: false })
}

impl Opened {
    fn save(mut self, context: &mut Context<'_>, key: &[u8]) {
        hyperloglog::forget_cardinality(&mut self.bytes);
        context.keyspace.put_string(key, self.prior, &self.bytes, self.deadline_ms);
        context.keyspace.notify(EventClasses::STRING, "pfadd", key);
    }
}

/// `PFADD key [element [element …]]`
pub(super) fn pfadd(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut opened = open(context, args[1])?;
    let mut is_changed = opened.is_new;
    for element in &args[2..] {
        is_changed |= hyperloglog::add(&mut opened.bytes, element)?;
    }
    if is_changed {
        opened.save(context, args[1]);
    }
    reply.integer(is_changed.into());
    Ok(())
}

/// `PFCOUNT key [key …]`
pub(super) fn pfcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut registers = [0; REGISTERS];
    for key in &args[1..] {
        let Some(record) = context.keyspace.string(key)? else { continue };
        check(&record)?;
        if let ([_, _], Some(known)) = (args, hyperloglog::known_cardinality(record.body())) {
            reply.integer(known as i64);
            return Ok(());
        }
        hyperloglog::merge(&mut registers, record.body())?;
    }
    reply.integer(hyperloglog::cardinality(&registers) as i64);
    Ok(())
}

/// `PFMERGE destkey [sourcekey [sourcekey …]]`
pub(super) fn pfmerge(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut registers, mut is_dense) = ([0; REGISTERS], false);
    for key in &args[1..] {
        let Some(record) = context.keyspace.string(key)? else { continue };
        check(&record)?;
        is_dense |= hyperloglog::is_dense(record.body());
        hyperloglog::merge(&mut registers, record.body())?;
    }
    let mut opened = open(context, args[1])?;
    if is_dense {
        hyperloglog::make_dense(&mut opened.bytes)?;
    }
    for (register, &value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        hyperloglog::raise(&mut opened.bytes, register, value)?;
    }
    opened.save(context, args[1]);
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn different_elements_are_counted() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("PFADD k", ":1"),
                ("PFCOUNT k", ":0"),
                ("PFADD k a b c", ":1"),
                ("PFADD k a", ":0"),
                ("PFCOUNT k k", ":3"),
                ("PFADD k2 c d", ":1"),
                ("PFCOUNT k k2 none2", ":4"),
                ("PFMERGE k3 k k2", "+OK"),
                ("PFCOUNT k3", ":4"),
                ("STRLEN k3", ":30"),
                ("PFMERGE k4", "+OK"),
                ("PFCOUNT k4 k3", ":4"),
                ("EXPIREAT k 4000000000", ":1"),
                ("PFADD k z", ":1"),
                ("PFMERGE k k3", "+OK"),
                ("EXPIRETIME k", ":4000000000"),
                ("PFCOUNT none", ":0"),
                ("TYPE k", "+string"),
            ],
        );
    }

    #[test]
    fn other_strings_are_refused() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SET t x", "+OK"),
                ("PFADD t a", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
                ("PFCOUNT t", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
                ("PFMERGE k t", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
                ("PFMERGE t k", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
                ("RPUSH l a", ":1"),
                ("PFADD l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("PFCOUNT l none", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("PFMERGE l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SET s HYLL000000000000", "+OK"),
                ("PFADD s a", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
                ("EXISTS k", ":0"),
            ],
        );
    }

    #[test]
    fn a_corrupted_one_is_refused_and_stays_as_it_is() {
        let mut shard = Shard::new();
        shard.run(Protocol::Resp2, &[&b"SET"[..], b"k", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x40\x63"]);
        let before = shard.content();
        for line in ["PFADD k a b c d e f g h", "PFCOUNT k", "PFCOUNT k k", "PFMERGE k", "PFMERGE other k"] {
            assert_eq!(shard.line(line), "-INVALIDOBJ Corrupted HLL object detected", "{line}");
        }
        assert_eq!(shard.content(), before);
    }
}
