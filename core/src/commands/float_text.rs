//! Floating-point numbers written as text, read as C's `strtod` reads them. Nothing else reads them.
//!
//! What a newcomer would get wrong: Redis asks `strtod` in two ways. A score or an increment must be a number from its first
//! byte to its last, and one that is too large, or so small that it becomes zero, is refused. A bound of a range is what a C
//! string begins with: white space may precede it, nothing at all is 0, a NUL ends it, and what is out of range is taken as
//! infinity or zero.

use std::cmp::Ordering;

use super::command_error::until_nul;

/// Reads a number as Redis' `string2d` does, without NaN: the whole of `bytes`, in range.
pub fn read_f64(bytes: &[u8]) -> Option<f64> {
    let (number, in_range) = FloatText::whole(bytes)?.to_f64()?;
    in_range.then_some(number)
}

/// Reads the bound of a range of scores, as Redis' `zslParseRange` does.
pub(super) fn read_f64_bound(bytes: &[u8]) -> Option<f64> {
    let text = until_nul(bytes);
    if text.is_empty() {
        return Some(0.0);
    }
    let number = FloatText::scan(text).filter(|number| number.length == text.len())?;
    number.to_f64().map(|(number, _)| number)
}

/// Reads a weight, as Redis' SORT does: a bound that is in range, where what is so small that a double has not all of it is not.
pub(super) fn read_f64_weight(bytes: &[u8]) -> Option<f64> {
    let text = until_nul(bytes);
    if text.is_empty() {
        return Some(0.0);
    }
    let number = FloatText::scan(text).filter(|number| number.length == text.len())?;
    let (weight, in_range) = number.to_f64()?;
    let is_whole = match number.magnitude {
        Magnitude::Decimal(_) => !weight.is_subnormal(),
        Magnitude::Hexadecimal(digits) => !weight.is_subnormal() || digits.is_multiple_of_least(),
        Magnitude::Infinite | Magnitude::NotANumber => true,
    };
    (in_range && is_whole).then_some(weight)
}

/// The number that a text begins with.
pub(super) struct FloatText<'a> {
    /// True if it has a minus sign.
    pub(super) negative: bool,
    /// The number behind the sign.
    pub(super) magnitude: Magnitude<'a>,
    /// Bytes from the start of the text to the end of the number.
    length: usize,
}

/// A number without its sign.
pub(super) enum Magnitude<'a> {
    /// `inf` or `infinity`.
    Infinite,
    /// `nan`, or `nan(…)`.
    NotANumber,
    /// `1.5e3`
    Decimal(Digits<'a>),
    /// `0x1.8p3`
    Hexadecimal(Digits<'a>),
}

/// Digits with a point somewhere among them, and an exponent.
pub(super) struct Digits<'a> {
    /// The digits before the point.
    pub(super) whole: &'a [u8],
    /// The digits behind it.
    pub(super) fraction: &'a [u8],
    /// Of ten, or of two if the digits are hexadecimal. One beyond all bounds is clamped to [`EXPONENT_MAX`].
    pub(super) exponent: i64,
    /// All of it, as it is written.
    text: &'a [u8],
}

/// Exponents are clamped to this. No text is so long that its digits make up for it.
const EXPONENT_MAX: i64 = 1_000_000_000_000_000;

/// Longest text whose exponent std reads exactly: it clamps those above 65,535, which digits of a longer text might make up for.
const DIRECT_BYTES_MAX: usize = 400;

/// Decimal digits that decide how a double is rounded: 767 say what it is, and one more whether anything follows.
const DECIDING_DIGITS: usize = 768;

impl<'a> FloatText<'a> {
    /// The number that is the whole of `text`, without white space before it.
    pub(super) fn whole(text: &'a [u8]) -> Option<FloatText<'a>> {
        let number = FloatText::scan(text)?;
        (number.length == text.len() && !is_space(text[0])).then_some(number)
    }

    /// The number that `text` begins with, after white space.
    fn scan(text: &'a [u8]) -> Option<FloatText<'a>> {
        let mut start = text.iter().take_while(|&&byte| is_space(byte)).count();
        let negative = text.get(start) == Some(&b'-');
        if matches!(text.get(start), Some(b'+' | b'-')) {
            start += 1;
        }
        let (magnitude, length) = Magnitude::scan(&text[start..])?;
        Some(FloatText { negative, magnitude, length: start + length })
    }

    /// The nearest double, the even one of two, and whether the number is in range: neither too large nor, without being zero,
    /// so small that zero is nearest. `None` for NaN.
    fn to_f64(&self) -> Option<(f64, bool)> {
        let (magnitude, in_range) = match &self.magnitude {
            Magnitude::NotANumber => return None,
            Magnitude::Infinite => (f64::INFINITY, true),
            Magnitude::Decimal(digits) => digits.in_range(digits.decimal_to_f64()?),
            Magnitude::Hexadecimal(digits) => digits.in_range(digits.hexadecimal_to_f64()),
        };
        Some((if self.negative { -magnitude } else { magnitude }, in_range))
    }
}

/// As C's `isspace`, which has one more than Rust's: the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

impl<'a> Magnitude<'a> {
    /// The number that `text` begins with, and its length.
    fn scan(text: &'a [u8]) -> Option<(Magnitude<'a>, usize)> {
        let begins_with = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        match text.first()? {
            b'i' | b'I' if begins_with(b"infinity") => Some((Magnitude::Infinite, 8)),
            b'i' | b'I' if begins_with(b"inf") => Some((Magnitude::Infinite, 3)),
            b'n' | b'N' if begins_with(b"nan") => Some((Magnitude::NotANumber, 3 + payload_length(&text[3..]))),
            b'0' if begins_with(b"0x") => match Digits::scan(&text[2..], 16) {
                Some((digits, length)) => Some((Magnitude::Hexadecimal(digits), 2 + length)),
                // then it is a zero, and what follows is something else
                None => Digits::scan(&text[..1], 10).map(|(digits, length)| (Magnitude::Decimal(digits), length)),
            },
            _ => Digits::scan(text, 10).map(|(digits, length)| (Magnitude::Decimal(digits), length)),
        }
    }
}

/// The length of the `(…)` that may follow `nan`.
fn payload_length(text: &[u8]) -> usize {
    let [b'(', rest @ ..] = text else { return 0 };
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if rest.get(length) == Some(&b')') { length + 2 } else { 0 }
}

impl<'a> Digits<'a> {
    /// The digits that `text` begins with, and the length of all that belongs to them.
    fn scan(text: &'a [u8], base: u32) -> Option<(Digits<'a>, usize)> {
        let leading = |text: &[u8]| text.iter().take_while(|&&byte| (byte as char).is_digit(base)).count();
        let (whole, rest) = text.split_at(leading(text));
        let fraction = match rest {
            [b'.', rest @ ..] => &rest[..leading(rest)],
            _ => &[],
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let has_point = rest.first() == Some(&b'.');
        let mut length = whole.len() + usize::from(has_point) + fraction.len();
        let mut exponent = 0;
        if let (Some(b'e' | b'E'), 10) | (Some(b'p' | b'P'), 16) = (text.get(length), base)
            && let Some((number, exponent_length)) = scan_exponent(&text[length + 1..])
        {
            exponent = number;
            length += 1 + exponent_length;
        }
        Some((Digits { whole, fraction, exponent, text: &text[..length] }, length))
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }

    /// Returns whether there are only zeros.
    pub(super) fn is_zero(&self) -> bool {
        self.digits().all(|digit| digit == b'0')
    }

    /// `number`, which these digits became, and whether they fitted.
    fn in_range(&self, number: f64) -> (f64, bool) {
        (number, number.is_finite() && (number != 0.0 || self.is_zero()))
    }

    /// The hexadecimal number as `bits * 2^exponent`, and whether there is a little more than that.
    pub(super) fn to_binary(&self) -> (u128, i64, bool) {
        let (mut bits, mut is_more) = (0u128, false);
        let mut exponent = self.exponent - 4 * self.fraction.len() as i64;
        for digit in self.digits() {
            let digit = (digit as char).to_digit(16).unwrap_or(0);
            if bits >> 124 == 0 {
                bits = bits << 4 | u128::from(digit);
            } else {
                is_more |= digit != 0;
                exponent += 4;
            }
        }
        (bits, exponent, is_more)
    }

    /// Returns whether the hexadecimal number is a multiple of the least double there is.
    fn is_multiple_of_least(&self) -> bool {
        let (bits, exponent, is_more) = self.to_binary();
        !is_more && exponent + i64::from(bits.trailing_zeros()) >= i64::from(BinaryFormat::DOUBLE.exponent_min)
    }

    fn hexadecimal_to_f64(&self) -> f64 {
        /// Bits of the mantissa that are stored, and what is added to the exponent of its last bit.
        const STORED_BITS: u32 = 52;
        const BIAS: i32 = 1075;
        let (bits, exponent, is_more) = self.to_binary();
        match BinaryFormat::DOUBLE.round(bits, exponent, is_more) {
            None => f64::INFINITY,
            Some((mantissa, _)) if mantissa >> STORED_BITS == 0 => f64::from_bits(mantissa),
            Some((mantissa, exponent)) => {
                let stored = mantissa & ((1 << STORED_BITS) - 1);
                f64::from_bits(((exponent + BIAS) as u64) << STORED_BITS | stored)
            }
        }
    }

    /// The decimal number as std rounds it, which is exact.
    fn decimal_to_f64(&self) -> Option<f64> {
        let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
        if self.text.len() <= DIRECT_BYTES_MAX {
            return parse(self.text);
        }
        let zeros = self.digits().take_while(|&digit| digit == b'0').count();
        let point = self.exponent + self.whole.len() as i64 - zeros as i64;
        let mut text = b"0.".to_vec();
        text.extend(self.digits().skip(zeros).take(DECIDING_DIGITS));
        if self.digits().skip(zeros + DECIDING_DIGITS).any(|digit| digit != b'0') {
            text.push(b'1');
        }
        // Out of range is out of range.
        text.extend_from_slice(format!("0e{}", point.clamp(-10_000, 10_000)).as_bytes());
        parse(&text)
    }
}

/// Reads a decimal exponent and its length; it must have digits.
fn scan_exponent(text: &[u8]) -> Option<(i64, usize)> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let add = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX);
    let magnitude = digits[..length].iter().fold(0, add);
    (length > 0).then_some((sign * magnitude, text.len() - digits.len() + length))
}

/// A format of numbers `mantissa * 2^exponent`.
pub(super) struct BinaryFormat {
    /// Bits of the mantissa, 64 at most.
    mantissa_bits: u32,
    /// Exponents of the mantissa's last bit in the smallest and in the largest number.
    exponent_min: i32,
    exponent_max: i32,
}

impl BinaryFormat {
    /// IEEE 754 binary64.
    pub(super) const DOUBLE: BinaryFormat = BinaryFormat::new(53, 1023);

    /// The 80-bit extended precision of x86.
    pub(super) const LONG_DOUBLE: BinaryFormat = BinaryFormat::new(64, 16383);

    const fn new(mantissa_bits: u32, bias: i32) -> BinaryFormat {
        let below_point = mantissa_bits as i32 - 1;
        BinaryFormat { mantissa_bits, exponent_min: 1 - bias - below_point, exponent_max: bias - below_point }
    }

    /// Rounds `bits * 2^exponent`, plus a little if `is_more`, to the nearest mantissa and exponent, to the even one of two;
    /// `None` if that is too large. All bits of the mantissa are used, unless the exponent is the smallest.
    pub(super) fn round(&self, bits: u128, exponent: i64, is_more: bool) -> Option<(u64, i32)> {
        if bits == 0 {
            return Some((0, self.exponent_min));
        }
        let excess = 128 - i64::from(bits.leading_zeros()) - i64::from(self.mantissa_bits);
        let dropped = excess.max(i64::from(self.exponent_min) - exponent);
        debug_assert!(!is_more || dropped > 0, "what is more than all bits would be lost");
        let (mut mantissa, rest) = match dropped {
            ..=0 => (bits << -dropped, Ordering::Less),
            1..=128 => {
                let half = 1u128 << (dropped - 1);
                let rest = bits & (half | (half - 1));
                let rest = if is_more && rest == half { Ordering::Greater } else { rest.cmp(&half) };
                (bits.checked_shr(dropped as u32).unwrap_or(0), rest)
            }
            _ => (0, Ordering::Less),
        };
        mantissa += match rest {
            Ordering::Less => 0,
            Ordering::Equal => mantissa & 1,
            Ordering::Greater => 1,
        };
        let mut exponent = exponent + dropped;
        if mantissa >> self.mantissa_bits != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        (exponent <= i64::from(self.exponent_max)).then_some((mantissa as u64, exponent as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What glibc 2.36 reads.

    #[test]
    fn whole_numbers_in_range_are_read_as_strtod_reads_them() {
        let least = f64::from_bits(1);
        for (text, expected) in [
            ("1.5", 1.5),
            ("+1.5", 1.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("007", 7.0),
            ("0e999999999999999999999", 0.0),
            ("inf", f64::INFINITY),
            ("+INF", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            // the largest, and what is rounded to it
            ("1.7976931348623157e308", f64::MAX),
            ("1.797693134862315807e308", f64::MAX),
            // the smallest normal number and what lies below
            ("2.2250738585072014e-308", f64::MIN_POSITIVE),
            ("2.2250738585072011e-308", 2.225073858507201e-308),
            ("4.9e-324", least),
            ("2.4703282292062328e-324", least),
            ("-4.9e-324", -least),
            ("0x10", 16.0),
            ("0X.8", 0.5),
            ("0x1.", 1.0),
            ("0x1.8p1", 3.0),
            ("-0x1P-3", -0.125),
            ("0x0p99999", 0.0),
            ("0x1p-1074", least),
            // half way to the even one, and to the odd one
            ("0x1.8p-1074", 2.0 * least),
            ("0x2.8p-1074", 2.0 * least),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.00000000000018p0", 1.0000000000000004),
            ("0x1.0000000000000800000000000000000000000000000001p0", 1.0000000000000002),
            ("0x1.fffffffffffff7p1023", f64::MAX),
            ("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE),
            ("0x1p1023", 8.98846567431158e307),
            ("0x00000000000000000000000000000000000000000000000000001p0", 1.0),
        ] {
            assert_eq!(read_f64(text.as_bytes()), Some(expected), "{text}");
        }
        assert!(read_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn what_is_no_number_or_out_of_range_is_refused() {
        for text in [
            "",
            " ",
            " 1",
            "1 ",
            "\x0b1",
            "\n1",
            "1\n",
            "1\0",
            "\x001",
            ".",
            "+",
            "-",
            "--1",
            "+-1",
            "1e",
            "1e+",
            "e5",
            "1.2.3",
            "1_000",
            "1,5",
            "abc",
            "infinit",
            "infinity1",
            "in",
            "nan",
            "-nan",
            "NaN",
            "nan(1)",
            "0x",
            "0x.",
            "0xp1",
            "0x1p",
            "0x1p+",
            "0xg",
            "1p3",
            "1f",
            "é", // and out of range
            "1e400",
            "-1e400",
            "1e999999999999999999999",
            "1.7976931348623159e308",
            "1e-400",
            "-1e-400",
            "1e-999999999999999999999",
            "2.4703282292062327e-324",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "0x1p-1075",
            "0x1p99999999999999999999",
            "0x1p-99999999999999999999",
        ] {
            assert_eq!(read_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_bound_is_what_a_c_string_begins_with() {
        for (text, expected) in [
            ("", Some(0.0)),
            ("\0abc", Some(0.0)),
            ("1\0abc", Some(1.0)),
            (" \t\n\x0b\x0c\r1", Some(1.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-0x1p1024", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("0x1p-1075", Some(0.0)),
            ("0x", None),
            (" ", None),
            ("1 ", None),
            ("nan", None),
            ("nan(x)", None),
        ] {
            assert_eq!(read_f64_bound(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn weights_are_read_as_by_sort() {
        for (text, expected) in [
            ("", Some(0.0)),
            (" 2", Some(2.0)),
            ("0x10", Some(16.0)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("5\0ab", Some(5.0)),
            ("0x1p-1074", Some(f64::from_bits(1))),
            ("0x1p-1075", None),
            ("0x1.8p-1074", None),
            ("1e-310", None),
            ("1e-400", None),
            ("1e400", None),
            ("nan", None),
            ("1 ", None),
            (" ", None),
            ("3abc", None),
        ] {
            assert_eq!(read_f64_weight(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_read_to_their_last_digit() {
        let zeros = "0".repeat(70_000);
        assert_eq!(read_f64(format!("0.{zeros}25e70001").as_bytes()), Some(2.5));
        assert_eq!(read_f64(format!("25{zeros}e-70001").as_bytes()), Some(2.5));
        assert_eq!(read_f64(format!("{zeros}1").as_bytes()), Some(1.0));
        assert_eq!(read_f64(format!("{zeros}.{zeros}").as_bytes()), Some(0.0));
        assert_eq!(read_f64(format!("1{zeros}").as_bytes()), None);
        assert_eq!(read_f64(format!("0.{zeros}1").as_bytes()), None);
        assert_eq!(read_f64(format!("0x1{zeros}p-280000").as_bytes()), Some(1.0));
        assert_eq!(read_f64(format!("0x.{zeros}1p280004").as_bytes()), Some(1.0));
        // half way between two numbers, and a little above
        let half = "1.00000000000000011102230246251565404236316680908203125";
        assert_eq!(read_f64(format!("{half}{zeros}").as_bytes()), Some(1.0));
        assert_eq!(read_f64(format!("{half}{zeros}1").as_bytes()), Some(1.0000000000000002));
    }

    #[test]
    fn hexadecimal_doubles_read_back_bit_by_bit() {
        let mut state = 1u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = (state ^ state >> 29) & !(1 << 63);
            let number = f64::from_bits(bits);
            let (biased, stored) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
            let text = match biased {
                0x7ff => continue,
                0 => format!("0x0.{stored:013x}p-1022"),
                _ => format!("0x1.{stored:013x}p{}", biased - 1023),
            };
            assert_eq!(read_f64(text.as_bytes()), Some(number), "{text}");
        }
    }
}
