//! LCS: the longest common subsequence of two strings.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{Record, Type};

use crate::commands::arguments::{Options, parse_i64};
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// The options of LCS.
#[derive(Default)]
struct LcsOptions {
    length: bool,
    indexes: bool,
    with_match_length: bool,
    match_length_min: u64,
}

impl LcsOptions {
    fn read(args: Args<'_>) -> Result<LcsOptions, CommandError> {
        let mut options = LcsOptions::default();
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"len" => options.length = true,
                b"idx" => options.indexes = true,
                b"withmatchlen" => options.with_match_length = true,
                b"minmatchlen" => options.match_length_min = parse_i64(words.argument()?)?.max(0) as u64,
                _ => return Err(CommandError::SYNTAX),
            }
        }
        if options.length && options.indexes {
            return Err(CommandError::text("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]`
pub(super) fn lcs(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let strings = [context.keyspace.record(args[1])?, context.keyspace.record(args[2])?];
    if strings.iter().flatten().any(|record| record.kind() != Type::String) {
        return Err(CommandError::text("ERR The specified keys must contain string values"));
    }
    let options = LcsOptions::read(args)?;
    let [a, b] = strings.each_ref().map(|record| record.as_ref().map_or(&[][..], Record::body));
    // Each byte of one is compared with each of the other.
    context.pay((a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1) / limits::LCS_CELLS_PER_WORK)?;
    if options.length {
        reply.integer(common_length(a, b)?.into());
        return Ok(());
    }
    let table = LcsTable::new(a, b)?;
    if options.indexes {
        write_matches(&table, &options, reply);
    } else {
        let mut common = Vec::with_capacity(table.length() as usize);
        table.walk(&mut |step| {
            if let LcsStep::Match { a: at, .. } = step {
                common.push(a[at]);
            }
        });
        common.reverse();
        reply.bulk(common);
    }
    Ok(())
}

/// Writes the reply of `LCS … IDX`: the common ranges from the last one to the first, and the length of all together.
fn write_matches(table: &LcsTable<'_>, options: &LcsOptions, reply: &mut Reply<'_>) {
    let mut ranges: Vec<(std::ops::Range<usize>, usize)> = Vec::new();
    let mut open: Option<(std::ops::Range<usize>, usize)> = None;
    table.walk(&mut |step| match step {
        LcsStep::Match { a, b } => match &mut open {
            Some((range, b_start)) => {
                range.start = a;
                *b_start = b;
            }
            None => open = Some((a..a + 1, b)),
        },
        LcsStep::Skip => ranges.extend(open.take()),
    });
    ranges.extend(open);
    ranges.retain(|(range, _)| range.len() as u64 >= options.match_length_min);
    reply.map(2);
    reply.bulk("matches");
    reply.array(ranges.len());
    for (range, b_start) in &ranges {
        reply.array(2 + usize::from(options.with_match_length));
        reply.array(2);
        reply.integer(range.start as i64);
        reply.integer(range.end as i64 - 1);
        reply.array(2);
        reply.integer(*b_start as i64);
        reply.integer((b_start + range.len()) as i64 - 1);
        if options.with_match_length {
            reply.integer(range.len() as i64);
        }
    }
    reply.bulk("len");
    reply.integer(table.length().into());
}

/// Returns the number of pairs of prefixes of two strings.
///
/// # Errors
/// The reply to who asks for more of them than a table may have. Who needs no table waits as long for as many: so it is the same,
/// as in Redis.
fn pair_count(a: &[u8], b: &[u8]) -> Result<usize, CommandError> {
    let pairs = (a.len() + 1).checked_mul(b.len() + 1);
    pairs
        .filter(|pairs| *pairs <= limits::LCS_BYTES_MAX / size_of::<u32>())
        .ok_or(CommandError::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"))
}

/// Fills in the lengths of the longest common subsequences of a prefix of one string, which ends with `byte`, and of all of `b`,
/// from those of the prefix without it, `above`. Of the empty prefix of `b` it is 0 already.
fn fill_row(above: &[u32], below: &mut [u32], byte: u8, b: &[u8]) {
    // Their lengths are known then, and are not looked at for each byte.
    let (above, below) = (&above[..=b.len()], &mut below[..=b.len()]);
    for (column, b_byte) in b.iter().enumerate() {
        below[column + 1] = if byte == *b_byte { above[column] + 1 } else { above[column + 1].max(below[column]) };
    }
}

/// The length of the longest common subsequence: two rows of an [`LcsTable`] are enough for that, and stay in the caches.
fn common_length(a: &[u8], b: &[u8]) -> Result<u32, CommandError> {
    pair_count(a, b)?;
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let [mut above, mut below] = [(); 2].map(|()| vec![0u32; short.len() + 1]);
    for byte in long {
        fill_row(&above, &mut below, *byte, short);
        std::mem::swap(&mut above, &mut below);
    }
    Ok(above[short.len()])
}

/// Lengths of the longest common subsequence of every pair of prefixes.
struct LcsTable<'a> {
    a: &'a [u8],
    b: &'a [u8],
    lengths: Vec<u32>,
}

/// One step of the way back through an [`LcsTable`], from the ends to the starts.
enum LcsStep {
    /// `a[a]` and `b[b]` are the same byte of the subsequence.
    Match { a: usize, b: usize },
    /// A byte of one of them is not part of it.
    Skip,
}

impl<'a> LcsTable<'a> {
    fn new(a: &'a [u8], b: &'a [u8]) -> Result<LcsTable<'a>, CommandError> {
        let width = b.len() + 1;
        let mut lengths = vec![0u32; pair_count(a, b)?];
        for (row, a_byte) in a.iter().enumerate() {
            let (above, below) = lengths[row * width..].split_at_mut(width);
            fill_row(above, below, *a_byte, b);
        }
        Ok(LcsTable { a, b, lengths })
    }

    /// The length of the longest common subsequence.
    fn length(&self) -> u32 {
        self.at(self.a.len(), self.b.len())
    }

    fn at(&self, a_length: usize, b_length: usize) -> u32 {
        self.lengths[a_length * (self.b.len() + 1) + b_length]
    }

    /// Walks one longest common subsequence backwards; where several are as long, it takes the one that Redis takes.
    fn walk(&self, visit: &mut dyn FnMut(LcsStep)) {
        let (mut a, mut b) = (self.a.len(), self.b.len());
        while a > 0 && b > 0 {
            if self.a[a - 1] == self.b[b - 1] {
                (a, b) = (a - 1, b - 1);
                visit(LcsStep::Match { a, b });
            } else {
                if self.at(a - 1, b) > self.at(a, b - 1) {
                    a -= 1
                } else {
                    b -= 1
                }
                visit(LcsStep::Skip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn longest_common_subsequences_are_those_of_redis() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("MSET a ohmytext b mynewtext", "+OK"),
                ("LCS a b", "$6 mytext"),
                ("LCS a b LEN", ":6"),
                ("LCS a none", "$0"),
                ("LCS a b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
                ("LCS a b IDX MINMATCHLEN 4", "*4 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6"),
                ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"),
                ("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX."),
                ("LCS a b MINMATCHLEN", "-ERR syntax error"),
                ("RPUSH l x", ":1"),
                ("LCS a l", "-ERR The specified keys must contain string values"),
            ],
        );
        shard.expect(Protocol::Resp3, &[("LCS a none IDX", "%2 $7 matches *0 $3 len :0")]);
    }

    #[test]
    fn the_length_alone_is_that_of_the_subsequence() {
        let mut shard = Shard::new();
        let mut seed = 1u32;
        for (a_bytes, b_bytes) in [(0, 5), (1, 1), (3, 200), (200, 3), (700, 650)] {
            for (key, bytes) in [("a", a_bytes), ("b", b_bytes)] {
                let text: String = (0..bytes)
                    .map(|_| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        char::from(b'a' + (seed >> 24) as u8 % 4)
                    })
                    .collect();
                shard.run(Protocol::Resp2, &["SET", key, &text]);
            }
            let common = shard.run(Protocol::Resp2, &["LCS", "a", "b"]);
            let length = basalt_net::resp::value::read_bulk(&common).unwrap().len();
            assert_eq!(shard.line("LCS a b LEN"), format!(":{length}"), "{a_bytes} {b_bytes}");
        }
        for key in ["a", "b"] {
            shard.line(&format!("SETRANGE {key} 20000 x"));
        }
        let refused = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        assert_eq!((shard.line("LCS a b LEN"), shard.line("LCS a b")), (refused.into(), refused.into()));
    }
}
