//! MEMORY USAGE: the bytes of a key.

use basalt_net::resp::Reply;

use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits::MEMORY_USAGE_SAMPLES_MAX;

/// Elements that are looked at if nobody says how many, as in Redis.
const SAMPLES: u64 = 5;

/// `MEMORY USAGE key [SAMPLES count]`: the bytes of its rows, in memory and on disk; with 0 as many elements are looked at as
/// with the largest count that there is.
pub(in crate::commands) fn memory_usage(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let mut samples = SAMPLES;
    for option in args[3..].chunks(2) {
        let [word, count] = option else { return Err(CommandError::SYNTAX) };
        if !word.eq_ignore_ascii_case(b"samples") {
            return Err(CommandError::SYNTAX);
        }
        let count = u64::try_from(parse_i64(count)?).map_err(|_| CommandError::SYNTAX)?;
        // All of a large collection would hold up everybody on its core.
        samples = if count == 0 { MEMORY_USAGE_SAMPLES_MAX } else { count.min(MEMORY_USAGE_SAMPLES_MAX) };
    }
    context.keyspace.note_accesses(false);
    match context.keyspace.row_bytes(args[2], Some(samples))? {
        Some(bytes) => reply.integer(bytes as i64),
        None => reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shard;
    use crate::limits::MEMORY_USAGE_SAMPLES_MAX;

    fn bytes(shard: &mut Shard, line: &str) -> i64 {
        let reply = shard.line(line);
        reply
            .trim_start_matches(':')
            .trim_end_matches(['|', '\r', '\n'])
            .parse()
            .unwrap_or_else(|_| panic!("{line}: {reply}"))
    }

    #[test]
    fn all_rows_of_a_key_are_counted_and_samples_come_near() {
        let mut shard = Shard::new();
        shard.line("SET short v");
        shard.line(&format!("SET string {}", "x".repeat(1000)));
        let (short, string) = (bytes(&mut shard, "MEMORY USAGE short"), bytes(&mut shard, "MEMORY USAGE string"));
        assert_eq!(string - short, 1000, "999 more of the value, 1 of the name");
        shard.line("SET short v EX 100");
        assert_eq!(
            bytes(&mut shard, "MEMORY USAGE short") - short,
            8 + 10 + 5,
            "the deadline, and its row in the index"
        );
        shard.line("HSET small f v");
        let row = bytes(&mut shard, "MEMORY USAGE small");
        shard.line("HSET small name value");
        assert_eq!(bytes(&mut shard, "MEMORY USAGE small") - row, 11, "it is one row, and grows by two strings");
        for number in 0..900 {
            for line in [
                format!("RPUSH list element:{number}"),
                format!("SADD set element:{number}"),
                format!("HSET hash field:{number} value:{number}"),
                format!("ZADD sorted {number} element:{number}"),
                format!("XADD stream {number}-1 field value:{number}"),
            ] {
                shard.line(&line);
            }
        }
        let before = bytes(&mut shard, "MEMORY USAGE stream");
        shard.line("XGROUP CREATE stream group 0");
        shard.line("XREADGROUP GROUP group consumer COUNT 100 STREAMS stream >");
        assert!(bytes(&mut shard, "MEMORY USAGE stream") > before + 100 * 30, "entries that are pending are counted");
        for key in ["list", "set", "hash", "sorted", "stream"] {
            let all = bytes(&mut shard, &format!("MEMORY USAGE {key} SAMPLES 0"));
            let about = bytes(&mut shard, &format!("MEMORY USAGE {key}"));
            assert!(all > 900 * 20, "{key}: {all}");
            assert!((about - all).abs() * 10 < all, "{key}: {about}, and {all} in truth");
            assert_eq!(bytes(&mut shard, &format!("MEMORY USAGE {key} SAMPLES 1000")), all, "{key}");
        }
        // Of a large one no more is looked at, whatever is asked for: what is long in its middle is not seen.
        for number in 0..3000 {
            let value = if number == 1500 { "v".repeat(1_000_000) } else { "v".repeat(number % 10) };
            shard.line(&format!("RPUSH large {value}."));
        }
        let about = bytes(&mut shard, &format!("MEMORY USAGE large SAMPLES {MEMORY_USAGE_SAMPLES_MAX}"));
        assert!(about < 1_000_000, "{about}");
        for samples in ["0", "1000000000"] {
            assert_eq!(bytes(&mut shard, &format!("MEMORY USAGE large SAMPLES {samples}")), about, "{samples}");
        }
        assert!(shard.line("MEMORY USAGE nosuch").contains("-1") || shard.line("MEMORY USAGE nosuch").contains('_'));
        for (line, said) in [
            ("MEMORY USAGE list SAMPLES", "syntax error"),
            ("MEMORY USAGE list SAMPLES -1", "syntax error"),
            ("MEMORY USAGE list SAMPLES x", "not an integer"),
            ("MEMORY USAGE list FOO 1", "syntax error"),
        ] {
            assert!(shard.line(line).contains(said), "{line}");
        }
    }
}
