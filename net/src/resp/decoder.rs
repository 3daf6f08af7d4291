//! The decoder of a connection's requests: arrays of bulk strings, and inline commands.
//!
//! It follows `processMultibulkBuffer` and `processInlineBuffer` of Redis 7.0, leniencies included: an array of no or
//! of negative length is an empty command, what follows a carriage return is taken for a line feed, and so are the
//! two bytes after a bulk string. What it decodes does not depend on how the bytes were cut on their way.

use std::mem;

use memchr::memchr;

use super::argv::{ArgRange, Argv};
use super::inline::split_words;
use super::integer::parse_integer;
use super::limits::Limits;
use super::protocol_error::ProtocolError;
use crate::limits::{ARGS_KEPT, REWALK_ARGS_MAX};

/// The memory of an argument beside its bytes and their framing: its range here, and where it is while its command is run.
const ARG_OVERHEAD_BYTES: usize = size_of::<ArgRange>() + size_of::<&[u8]>();

/// The incremental decoder of one connection's requests.
///
/// It holds no bytes, only how far it got in a command that is not complete yet, so that the next call neither scans
/// the arguments seen before nor looks at anything until enough bytes are there.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Fewer bytes of input than this cannot complete the next argument.
    bytes_needed: usize,
    /// The arguments found in the incomplete command, if they are too many to be found again.
    found: Vec<ArgRange>,
    /// The start of the next argument, and how many the command has; 0 unless `found` is in use.
    next_arg: usize,
    args: usize,
}

/// The content of the input's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Part of a command.
    Incomplete {
        /// The bytes that are missing at least, as far as can be told: the rest of the current argument. It is what
        /// the client claims, so cap what is reserved for it.
        missing: usize,
    },
    /// A command, whose arguments are in the [`Argv`]. None at all mean an empty line or array: skip it, no reply.
    Command {
        /// The bytes of the input that belong to it.
        consumed: usize,
    },
}

impl Decoder {
    /// A decoder at the start of a command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes the command at the start of `input` into `argv`.
    ///
    /// `input` starts with the first byte of the first command that is not consumed yet. After
    /// [`Decoded::Incomplete`] the next call gets the same bytes again and whatever came after them; `argv` may have
    /// served another connection in between.
    ///
    /// # Errors
    /// A [`ProtocolError`] to be sent to the client before its connection is closed.
    #[inline]
    pub fn decode(&mut self, input: &[u8], limits: &Limits, argv: &mut Argv) -> Result<Decoded, ProtocolError> {
        argv.clear();
        if input.len() < self.bytes_needed {
            return Ok(Decoded::Incomplete { missing: self.bytes_needed - input.len() });
        }
        self.bytes_needed = 0;
        match input.first() {
            Some(b'*') => self.decode_array(input, limits, argv),
            Some(_) => self.decode_inline(input, limits, argv),
            None => Ok(Decoded::Incomplete { missing: 1 }),
        }
    }

    /// Returns true in the middle of a command, as far as the decoder has been told.
    pub fn is_mid_command(&self) -> bool {
        self.bytes_needed > 0
    }

    /// The memory kept for an incomplete command of many arguments, in bytes; 0 at any other time.
    pub fn heap_bytes(&self) -> usize {
        self.found.capacity() * size_of::<ArgRange>()
    }

    #[inline]
    fn decode_array(&mut self, input: &[u8], limits: &Limits, argv: &mut Argv) -> Result<Decoded, ProtocolError> {
        let (args, mut at) = if self.args > 0 {
            self.resume(argv)
        } else {
            match short_length(input, 0, b'*') {
                Some((args, next)) if args <= limits.args_max => (args, next),
                _ => match array_length(input, limits)? {
                    Some((args, next)) => (args, next),
                    None => return Ok(self.wait_for(input.len() + 1, input)),
                },
            }
        };
        let request_bytes_max = limits.request_bytes_max.min(Limits::REQUEST_BYTES_CEILING);
        while argv.ranges.len() < args {
            let (bytes, start) = match short_length(input, at, b'$') {
                Some(length) => length,
                None => match bulk_length(input, at, limits)? {
                    Some(length) => length,
                    None => return Ok(self.suspend(args, at, input.len() + 1, input, argv)),
                },
            };
            if bytes > limits.bulk_bytes_max {
                return Err(ProtocolError::InvalidBulkLength);
            }
            let end = start + bytes;
            let next = end + 2;
            // Very short arguments take more memory than bytes.
            let overhead = argv.ranges.len().saturating_sub(ARGS_KEPT) * ARG_OVERHEAD_BYTES;
            if next + overhead > request_bytes_max {
                return Err(ProtocolError::TooBigRequest);
            }
            if next > input.len() {
                return Ok(self.suspend(args, at, next, input, argv));
            }
            // Both fit: they are below `request_bytes_max`.
            argv.ranges.push(ArgRange { start: start as u32, end: end as u32 });
            at = next;
        }
        Ok(Decoded::Command { consumed: at })
    }

    #[cold]
    fn decode_inline(&mut self, input: &[u8], limits: &Limits, argv: &mut Argv) -> Result<Decoded, ProtocolError> {
        let line_bytes = match find_within(b'\n', input, limits.inline_bytes_max) {
            Found::At(position) => position,
            Found::Not => return Ok(self.wait_for(input.len() + 1, input)),
            Found::TooFar => return Err(ProtocolError::TooBigInlineRequest),
        };
        let line = &input[..line_bytes];
        split_words(line.strip_suffix(b"\r").unwrap_or(line), argv)?;
        Ok(Decoded::Command { consumed: line_bytes + 1 })
    }

    /// Gives the arguments found in the incomplete command back to `argv`.
    #[cold]
    fn resume(&mut self, argv: &mut Argv) -> (usize, usize) {
        argv.ranges = mem::take(&mut self.found);
        (mem::take(&mut self.args), mem::take(&mut self.next_arg))
    }

    /// Leaves the command of `args` arguments incomplete, before the argument that starts `at`.
    #[cold]
    fn suspend(&mut self, args: usize, at: usize, bytes_needed: usize, input: &[u8], argv: &mut Argv) -> Decoded {
        if argv.ranges.len() > REWALK_ARGS_MAX {
            self.found = mem::take(&mut argv.ranges);
            (self.args, self.next_arg) = (args, at);
        }
        argv.clear();
        self.wait_for(bytes_needed, input)
    }

    fn wait_for(&mut self, bytes_needed: usize, input: &[u8]) -> Decoded {
        self.bytes_needed = bytes_needed;
        Decoded::Incomplete { missing: bytes_needed - input.len() }
    }
}

/// Reads the length after `tag` at `at`, if it has one to three digits, ends in CR LF and is all there, and tells what
/// position follows it. None says nothing: the line may be longer, wrong, or incomplete.
#[inline(always)]
fn short_length(input: &[u8], at: usize, tag: u8) -> Option<(usize, usize)> {
    match *input.get(at..)? {
        [first, a @ b'0'..=b'9', b'\r', b'\n', ..] if first == tag => Some((digit(a), at + 4)),
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] if first == tag => {
            Some((digit(a) * 10 + digit(b), at + 5))
        }
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] if first == tag => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 6))
        }
        _ => None,
    }
}

fn digit(byte: u8) -> usize {
    usize::from(byte - b'0')
}

/// Reads the number of arguments, in any form that Redis takes, and tells where the first argument starts.
#[cold]
fn array_length(input: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    let Some((line, next)) = length_line(input, 0, limits, ProtocolError::TooBigMultibulkCount)? else {
        return Ok(None);
    };
    let args = parse_integer(&line[1..]).ok_or(ProtocolError::InvalidMultibulkLength)?;
    let args = usize::try_from(args).unwrap_or(0);
    if args > limits.args_max {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    Ok(Some((args, next)))
}

/// Reads the length of the argument at `at`, in any form that Redis takes, and tells where its bytes start.
#[cold]
fn bulk_length(input: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    let Some((line, next)) = length_line(input, at, limits, ProtocolError::TooBigBulkCount)? else {
        return Ok(None);
    };
    // The first byte is the carriage return itself where the line is empty.
    let first = input[at];
    if first != b'$' {
        return Err(ProtocolError::ExpectedBulk(first));
    }
    let bytes = parse_integer(&line[1..]).and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| *bytes <= limits.bulk_bytes_max).ok_or(ProtocolError::InvalidBulkLength)?;
    Ok(Some((bytes, next)))
}

/// The line at `at` up to its carriage return, and the position after its line feed; none if it is not all there.
fn length_line<'a>(
    input: &'a [u8],
    at: usize,
    limits: &Limits,
    too_big: ProtocolError,
) -> Result<Option<(&'a [u8], usize)>, ProtocolError> {
    let rest = &input[at..];
    match find_within(b'\r', rest, limits.inline_bytes_max) {
        // The line feed has to be there, but is not looked at.
        Found::At(position) if position + 1 < rest.len() => Ok(Some((&rest[..position], at + position + 2))),
        Found::At(_) | Found::Not => Ok(None),
        Found::TooFar => Err(too_big),
    }
}

enum Found {
    At(usize),
    /// Not in the bytes there are, which are few enough to wait for more.
    Not,
    /// Not within the bytes that may precede it.
    TooFar,
}

/// Looks for `byte` behind at most `bytes_max` others.
fn find_within(byte: u8, bytes: &[u8], bytes_max: usize) -> Found {
    let window = &bytes[..bytes.len().min(bytes_max.saturating_add(1))];
    match memchr(byte, window) {
        Some(position) => Found::At(position),
        None if window.len() > bytes_max => Found::TooFar,
        None => Found::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Commands = Vec<Vec<Vec<u8>>>;

    fn small_limits() -> Limits {
        Limits { inline_bytes_max: 40, args_max: 50, bulk_bytes_max: 60, request_bytes_max: 400 }
    }

    /// Decodes a stream that arrives in `pieces`, as a connection does: what is left over goes before the next piece.
    fn decode_pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        limits: &Limits,
    ) -> (Commands, Option<ProtocolError>, Vec<u8>) {
        let (mut decoder, mut argv, mut commands) = (Decoder::new(), Argv::new(), Vec::new());
        let mut input = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                // Another connection uses the same scratch in between.
                Decoder::new().decode(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", limits, &mut argv).expect("it is a command");
                match decoder.decode(&input, limits, &mut argv) {
                    Ok(Decoded::Command { consumed }) => {
                        assert!(consumed > 0, "a command takes at least a byte");
                        commands.push(argv.iter(&input).map(<[u8]>::to_vec).collect());
                        input.drain(..consumed);
                    }
                    Ok(Decoded::Incomplete { missing }) => {
                        assert!(missing > 0, "a complete command is not incomplete");
                        assert!(argv.is_empty(), "an incomplete command shows no arguments");
                        break;
                    }
                    Err(error) => return (commands, Some(error), input),
                }
            }
        }
        (commands, None, input)
    }

    fn decode_whole(stream: &[u8], limits: &Limits) -> (Commands, Option<ProtocolError>, Vec<u8>) {
        decode_pieces([stream], limits)
    }

    fn error_of(stream: &[u8], limits: &Limits) -> Option<ProtocolError> {
        decode_whole(stream, limits).1
    }

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    #[test]
    fn pipelined_commands_of_both_kinds_are_decoded_in_order() {
        let stream =
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING \"a b\"\r\n\n*0\r\n*-7\r\n*1\r\n$0\r\n\r\nECHO x\n*1\r\n$4\r\nQU";
        let (commands, error, rest) = decode_whole(stream, &Limits::default());
        let expected: &[&[&[u8]]] = &[&[b"GET", b"k"], &[b"PING", b"a b"], &[], &[], &[], &[b""], &[b"ECHO", b"x"]];
        assert_eq!(commands, expected);
        assert_eq!((error, rest), (None, b"*1\r\n$4\r\nQU".to_vec()));
    }

    #[test]
    fn line_ends_are_taken_as_leniently_as_redis_does() {
        let (commands, error, rest) = decode_whole(b"*1\rX$4\rXPINGxx\rPING\r\n", &Limits::default());
        assert_eq!(commands, [[b"PING"], [b"PING"]]);
        assert_eq!((error, rest.len()), (None, 0));
    }

    #[test]
    fn malformed_requests_get_the_error_that_redis_gives() {
        use ProtocolError::*;
        let limits = Limits::default();
        let cases: &[(&[u8], ProtocolError)] = &[
            (b"*3x\r\n", InvalidMultibulkLength),
            (b"*\r\n", InvalidMultibulkLength),
            (b"*01\r\n", InvalidMultibulkLength),
            (b"*+1\r\n", InvalidMultibulkLength),
            (b"*2147483648\r\n", InvalidMultibulkLength),
            (b"*-9223372036854775809\r\n", InvalidMultibulkLength),
            (b"*1\r\n$a\r\n", InvalidBulkLength),
            (b"*1\r\n$-1\r\n", InvalidBulkLength),
            (b"*1\r\n$\r\n", InvalidBulkLength),
            (b"*1\r\n$04\r\n", InvalidBulkLength),
            (b"*1\r\n$67108865\r\n", InvalidBulkLength),
            (b"*1\r\n$9223372036854775807\r\n", InvalidBulkLength),
            (b"*1\r\nfoo\r\n", ExpectedBulk(b'f')),
            (b"*1\r\n\xfffoo\r\n", ExpectedBulk(0xff)),
            (b"*1\r\n\r\n", ExpectedBulk(b'\r')),
            (b"*2\r\n$1\r\na\r\n:1\r\n", ExpectedBulk(b':')),
            (b"PING \"a\r\n", UnbalancedQuotes),
            (b"PING 'a'b\r\n", UnbalancedQuotes),
        ];
        for (stream, error) in cases {
            assert_eq!(error_of(stream, &limits), Some(*error), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn commands_before_a_malformed_one_are_decoded() {
        let (commands, error, _) = decode_whole(b"PING\r\n*1\r\n$4\r\nPING\r\n*x\r\n", &Limits::default());
        assert_eq!(commands, [[b"PING"], [b"PING"]]);
        assert_eq!(error, Some(ProtocolError::InvalidMultibulkLength));
    }

    #[test]
    fn lines_are_refused_one_byte_past_their_limit() {
        let limits = Limits::default();
        let long = |start: &str, count: usize| [start.as_bytes(), &b"1".repeat(count)].concat();
        for (start, error) in [
            ("1", ProtocolError::TooBigInlineRequest),
            ("*", ProtocolError::TooBigMultibulkCount),
            ("*1\r\n$", ProtocolError::TooBigBulkCount),
            ("*1\r\nx", ProtocolError::TooBigBulkCount),
        ] {
            assert_eq!(error_of(&long(start, 65535), &limits), None, "{start:?}");
            assert_eq!(error_of(&long(start, 65536), &limits), Some(error), "{start:?}");
            // As strict when the line end has come along.
            assert_eq!(error_of(&[long(start, 65536), b"\r\n".to_vec()].concat(), &limits), Some(error), "{start:?}");
        }
        let line = [long("", 65535), b"\r\n".to_vec()].concat();
        assert_eq!(decode_whole(&line, &limits).0[0][0].len(), 65535);
    }

    #[test]
    fn requests_are_bounded_in_arguments_and_bytes() {
        let limits = small_limits();
        let args = |count: usize, bytes: usize| encode(&vec![vec![b'x'; bytes]; count]);
        assert_eq!(decode_whole(&args(50, 1), &limits).0[0].len(), 50);
        assert_eq!(error_of(&args(51, 1), &limits), Some(ProtocolError::InvalidMultibulkLength));
        assert_eq!(decode_whole(&args(1, 60), &limits).0[0][0].len(), 60);
        assert_eq!(error_of(&args(1, 61), &limits), Some(ProtocolError::InvalidBulkLength));
        assert_eq!(error_of(&args(7, 60), &limits), Some(ProtocolError::TooBigRequest));
        let stream = args(3, 20);
        let limits_of = |request_bytes_max| Limits { request_bytes_max, ..small_limits() };
        assert_eq!(error_of(&stream, &limits_of(stream.len())), None);
        assert_eq!(error_of(&stream, &limits_of(stream.len() - 1)), Some(ProtocolError::TooBigRequest));
        let limits = Limits { bulk_bytes_max: usize::MAX, request_bytes_max: usize::MAX, ..limits };
        assert_eq!(error_of(b"*1\r\n$4294967295\r\n", &limits), Some(ProtocolError::TooBigRequest));
        assert_eq!(error_of(b"*1\r\n$4294967270\r\n", &limits), None);
        assert_eq!(error_of(b"*1\r\n$9223372036854775807\r\n", &limits), Some(ProtocolError::TooBigRequest));
    }

    #[test]
    fn a_large_argument_is_waited_for_without_a_look_at_it() {
        let (mut decoder, mut argv, limits) = (Decoder::new(), Argv::new(), Limits::default());
        let mut input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".to_vec();
        let total = input.len() + 1_000_000 + 2;
        let missing = 1_000_002;
        assert_eq!(decoder.decode(&input, &limits, &mut argv), Ok(Decoded::Incomplete { missing }));
        assert!(decoder.is_mid_command());
        // Bytes that are spoiled and then repaired unseen show that nobody looked.
        input[0] = b'?';
        input.resize(total - 1, b'v');
        assert_eq!(decoder.decode(&input, &limits, &mut argv), Ok(Decoded::Incomplete { missing: 1 }));
        input[0] = b'*';
        input.push(b'\n');
        assert_eq!(decoder.decode(&input, &limits, &mut argv), Ok(Decoded::Command { consumed: total }));
        assert_eq!(argv.get(&input, 2).len(), 1_000_000);
        assert!(!decoder.is_mid_command());
    }

    #[test]
    fn many_arguments_are_not_walked_over_again() {
        let (mut decoder, mut argv, limits) = (Decoder::new(), Argv::new(), Limits::default());
        let stream = encode(&vec![b"abc".to_vec(); 1000]);
        let half = stream.len() / 2;
        assert!(matches!(decoder.decode(&stream[..half], &limits, &mut argv), Ok(Decoded::Incomplete { .. })));
        assert!(decoder.heap_bytes() >= 8 * 450);
        let mut spoiled = stream.clone();
        spoiled[7..half - 20].fill(b'?');
        assert_eq!(decoder.decode(&spoiled, &limits, &mut argv), Ok(Decoded::Command { consumed: stream.len() }));
        assert_eq!(argv.len(), 1000);
        assert!(argv.iter(&stream).all(|arg| arg == b"abc"));
        assert_eq!(decoder.heap_bytes(), 0);
    }

    #[test]
    fn an_idle_decoder_is_tiny() {
        assert!(size_of::<Decoder>() <= 64);
        assert_eq!(Decoder::new().heap_bytes(), 0);
    }

    fn a_command() -> impl Strategy<Value = Vec<u8>> {
        let arg = prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..12),
            1 => prop::collection::vec(prop::sample::select(b"*$\r\n0123".to_vec()), 0..70),
        ];
        prop_oneof![
            6 => prop::collection::vec(arg, 0..40).prop_map(|args| encode(&args)),
            2 => "(PING|SET| |\"a b\"|'c\\\\x41'|\\\\x41|x){0,8}(\r\n|\n)".prop_map(String::into_bytes),
            // Bytes that are likely to be malformed.
            1 => prop::collection::vec(prop::sample::select(b"*$\r\n-0123x \"'".to_vec()), 0..60),
        ]
    }

    fn cut_at(stream: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
        cuts.iter_mut().for_each(|cut| *cut %= stream.len() + 1);
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([stream.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_gives_the_same_commands(
            commands in prop::collection::vec(a_command(), 1..6),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let stream = commands.concat();
            for limits in [small_limits(), Limits::default()] {
                let whole = decode_whole(&stream, &limits);
                let in_pieces = decode_pieces(cut_at(&stream, cuts.clone()), &limits);
                let by_byte = decode_pieces(stream.chunks(1), &limits);
                prop_assert_eq!((&in_pieces.0, in_pieces.1), (&whole.0, whole.1));
                prop_assert_eq!((&by_byte.0, by_byte.1), (&whole.0, whole.1));
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1200), 1..40)
        ) {
            let stream = encode(&args);
            let (commands, error, rest) = decode_whole(&stream, &Limits::default());
            prop_assert_eq!((commands, error, rest.len()), (vec![args], None, 0));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(stream: Vec<u8>) {
            decode_whole(&stream, &small_limits());
        }
    }
}
