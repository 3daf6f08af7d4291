//! Numbers as texts and texts as numbers, as C's `printf` and `strtod` have them, without C: the same digits on every machine. They
//! say the work that they take, which is hundreds of times that of most for some.
//!
//! What a newcomer would get wrong: Rust prints a number with any count of digits exactly and rounds it as C does (to even, of the
//! exact value), so only the layout is made here.

use crate::limits::{EXTREME_TEXT_WORK, FRACTION_TEXT_WORK, MIDDLE_TEXT_WORK, NUMBER_TEXT_WORK};

/// Digits of a text that a number has in any case, whatever follows them.
const DIGITS_AT_ONCE: usize = 19;
/// Digits that say on which side of the middle of two numbers a text lies: none of those has more than 767.
const DIGITS_MAX: usize = 768;

/// The bits of a number, the same for all that are none.
pub(crate) fn bits_of(number: f64) -> u64 {
    if number.is_nan() { 0xfff8 << 48 } else { number.to_bits() }
}

/// As [`bits_of`], of a short number.
pub(crate) fn short_bits_of(number: f32) -> u32 {
    if number.is_nan() { 0xffc0 << 16 } else { number.to_bits() }
}

/// Returns whether a number is an integer of no more than 14 digits, as most of those of scripts are.
fn is_plain(number: f64) -> bool {
    number == number.trunc() && number.abs() < 1e14 && (number != 0.0 || number.is_sign_positive())
}

/// The work of making a text of some digits of `number`.
pub(crate) fn text_work(number: f64) -> usize {
    match number.abs() {
        _ if is_plain(number) || !number.is_finite() => NUMBER_TEXT_WORK,
        1e-30..1e30 => FRACTION_TEXT_WORK,
        _ => EXTREME_TEXT_WORK,
    }
}

/// `number` as `%.14g` has it: how Lua shows numbers.
pub(crate) fn text_of(number: f64) -> String {
    if is_plain(number) {
        return (number as i64).to_string();
    }
    general(number, 14, false, false)
}

/// A number that has no digits.
fn special(number: f64, is_upper: bool) -> String {
    // Processors differ in the sign of what is no number, and so do compilers: here it is that of x86-64.
    let sign = if number.is_sign_negative() || number.is_nan() { "-" } else { "" };
    let text = if number.is_nan() { "nan" } else { "inf" };
    format!("{sign}{}", if is_upper { text.to_uppercase() } else { text.to_owned() })
}

/// `number` as `%.{precision}e` has it; with `#` the point is always there.
pub(crate) fn scientific(number: f64, precision: usize, is_alternate: bool, is_upper: bool) -> String {
    if !number.is_finite() {
        return special(number, is_upper);
    }
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').expect("there is an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let point = if is_alternate && precision == 0 { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    let letter = if is_upper { 'E' } else { 'e' };
    format!("{digits}{point}{letter}{sign}{:02}", exponent.abs())
}

/// `number` as `%.{precision}f` has it.
pub(crate) fn fixed(number: f64, precision: usize, is_alternate: bool, is_upper: bool) -> String {
    if !number.is_finite() {
        return special(number, is_upper);
    }
    let point = if is_alternate && precision == 0 { "." } else { "" };
    format!("{number:.precision$}{point}")
}

/// `number` as `%.{precision}g` has it.
pub(crate) fn general(number: f64, precision: usize, is_alternate: bool, is_upper: bool) -> String {
    if !number.is_finite() {
        return special(number, is_upper);
    }
    let precision = precision.max(1);
    let text = format!("{number:.*e}", precision - 1);
    let (digits, exponent) = text.split_once('e').expect("there is an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let without_zeros = |text: &str| -> String {
        if !is_alternate && text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else if is_alternate && !text.contains('.') {
            format!("{text}.")
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        let letter = if is_upper { 'E' } else { 'e' };
        return format!("{}{letter}{sign}{:02}", without_zeros(digits), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{number:.decimals$}"))
}

/// `number` with all its digits.
pub(crate) fn exact_text(number: f64) -> String {
    general(number, 17, false, false)
}

/// A number that a text begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NumberAt {
    pub(crate) number: f64,
    /// Bytes of it: 0 if there is none.
    pub(crate) length: usize,
    /// The work that it took to read it.
    pub(crate) work: usize,
}

/// The number that `text` begins with, as C's `strtod` reads it.
pub(crate) fn number_at(text: &[u8]) -> NumberAt {
    let mut work = NUMBER_TEXT_WORK;
    let (number, length) = read_number(text, &mut work);
    NumberAt { number, length, work: work + length / 8 }
}

fn read_number(text: &[u8], work: &mut usize) -> (f64, usize) {
    let begin = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    let mut at = begin;
    let is_negative = text.get(at) == Some(&b'-');
    if matches!(text.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let signed = |number: f64| if is_negative { -number } else { number };
    let word = |word: &str| text[at..].get(..word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()));
    for (name, number) in [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)] {
        if word(name) {
            let mut end = at + name.len();
            if name == "nan" && text.get(end) == Some(&b'(') {
                let inside =
                    text[end + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                if text.get(end + 1 + inside) == Some(&b')') {
                    end += inside + 2;
                }
            }
            return (signed(number), end);
        }
    }
    if word("0x")
        && let Some((number, length)) = hexadecimal(&text[at + 2..])
    {
        return (signed(number), at + 2 + length);
    }
    let digits_at = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits_at(at);
    let mut end = at + whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = digits_at(end + 1);
        end += if whole + fraction > 0 { 1 + fraction } else { 0 };
    }
    if whole + fraction == 0 {
        return (0.0, 0);
    }
    let digits = text[at..end].iter().filter(|byte| byte.is_ascii_digit());
    let mut exponent = -(fraction as i64);
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let begin = (end + 1 + sign).min(text.len());
        let count = digits_at(begin);
        if count > 0 {
            let value = small_integer(&text[begin..begin + count]);
            exponent += if text[end + 1] == b'-' { -value } else { value };
            end = begin + count;
        }
    }
    (signed(decimal(digits.copied(), whole + fraction, exponent, work)), end)
}

/// The integer that `digits` are, or a very large one.
fn small_integer(digits: &[u8]) -> i64 {
    digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 30))
}

/// `mantissa` times ten to the `exponent`, of as many digits as can be read at once.
fn short_decimal(mantissa: u64, exponent: i64) -> f64 {
    format!("{mantissa}e{exponent}").parse().expect("digits are a number")
}

/// The number that is `count` digits times ten to the `exponent`, rounded once. Of more digits than can be read at once the first
/// ones say it, but for texts that lie next to the middle of two numbers: those are dear, and are added to the `work`.
fn decimal(digits: impl Iterator<Item = u8> + Clone, count: usize, exponent: i64, work: &mut usize) -> f64 {
    let zeros = digits.clone().take_while(|digit| *digit == b'0').count();
    let digits = digits.skip(zeros);
    let count = count - zeros;
    let first = digits.clone().take(DIGITS_AT_ONCE).fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    let exponent = exponent.saturating_add(count.saturating_sub(DIGITS_AT_ONCE) as i64);
    let least = short_decimal(first, exponent);
    if count <= DIGITS_AT_ONCE || digits.clone().skip(DIGITS_AT_ONCE).all(|digit| digit == b'0') {
        return least;
    }
    if least == short_decimal(first + 1, exponent) {
        return least;
    }
    *work += MIDDLE_TEXT_WORK;
    // What is behind those that count says that there was more.
    let mut text: String = digits.clone().take(DIGITS_MAX).map(char::from).collect();
    let is_more = digits.skip(DIGITS_MAX).any(|digit| digit != b'0');
    text.push(if is_more { '1' } else { '0' });
    let behind = text.len() - DIGITS_AT_ONCE;
    text.push_str(&format!("e{}", exponent - behind as i64));
    text.parse().expect("digits are a number")
}

/// The hexadecimal number behind `0x`, and its length. Digits beyond those that a number has are a rest, which rounds.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let (mut mantissa, mut exponent, mut digits, mut at) = (0u64, 0i64, 0, 0);
    let mut is_behind_point = false;
    loop {
        match text.get(at) {
            Some(b'.') if !is_behind_point => is_behind_point = true,
            Some(byte) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(*byte).to_digit(16).expect("a digit"));
                digits += 1;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | digit;
                    exponent -= if is_behind_point { 4 } else { 0 };
                } else {
                    // The lowest bit says that there was more.
                    mantissa |= u64::from(digit != 0);
                    exponent += if is_behind_point { 0 } else { 4 };
                }
            }
            _ => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    if matches!(text.get(at), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let begin = at + 1 + sign;
        let count = text.get(begin..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count > 0 {
            let value = small_integer(&text[begin..begin + count]);
            exponent += if text[at + 1] == b'-' { -value } else { value };
            at = begin + count;
        }
    }
    let exponent = exponent.clamp(-5000, 5000) as i32;
    Some((scaled(mantissa, exponent), at))
}

/// `mantissa` times two to the `exponent`, rounded once.
fn scaled(mantissa: u64, exponent: i32) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let top = 63 - mantissa.leading_zeros() as i32 + exponent;
    if top > 1023 {
        return f64::INFINITY;
    }
    // Bits that fit: 53, fewer where the number is very small.
    let lowest = (top - 52).max(-1074);
    let shift = lowest - exponent;
    let bits = if shift <= 0 {
        mantissa << -shift
    } else if shift > 64 {
        0
    } else {
        let wide = u128::from(mantissa);
        let (kept, half) = (wide >> shift, 1u128 << (shift - 1));
        let rest = wide & ((1u128 << shift) - 1);
        (kept + u128::from(rest > half || (rest == half && kept & 1 == 1))) as u64
    };
    libm::ldexp(bits as f64, lowest)
}

/// The number that `text` is, as Lua takes it: spaces around it are none of its business. Also the work that it took.
pub(crate) fn number_of_text(text: &[u8]) -> (Option<f64>, usize) {
    let NumberAt { number, length, work } = number_at(text);
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    if length == 0 {
        let spaces = text.iter().take_while(|byte| is_space(byte)).count();
        return (None, work + spaces / 4);
    }
    // Lua stops where C's texts do.
    let rest = &text[length..];
    let spaces = rest.iter().take_while(|byte| is_space(byte)).count();
    let is_over = rest.get(spaces).is_none_or(|byte| *byte == 0);
    (is_over.then_some(number), work + spaces / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_printed_as_by_c() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1e14, "1e+14"),
            (123456789012345.0, "1.2345678901234e+14"),
            (12345678901234.0, "12345678901234"),
            (1e100, "1e+100"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.0 / 3.0, "0.33333333333333"),
            (0.1 + 0.2, "0.3"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "-nan"),
            (5e-324, "4.9406564584125e-324"),
        ] {
            assert_eq!(text_of(number), text);
        }
        assert_eq!(exact_text(0.1), "0.10000000000000001");
        assert_eq!(exact_text(1e15), "1000000000000000");
        assert_eq!(general(100000.0, 3, true, false), "1.00e+05");
        assert_eq!((fixed(2.5, 0, false, false), fixed(3.5, 0, true, false)), ("2".into(), "4.".into()));
        assert_eq!(scientific(12345.0, 2, false, true), "1.23E+04");
    }

    #[test]
    fn texts_are_read_as_by_c() {
        for (text, number, length) in [
            ("12", 12.0, 2),
            (" -12.5e2x", -1250.0, 8),
            (".5", 0.5, 2),
            ("5.", 5.0, 2),
            (".", 0.0, 0),
            ("e5", 0.0, 0),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("0x", 0.0, 1),
            ("0x10", 16.0, 4),
            ("-0xA.8p1", -21.0, 8),
            ("0x1p-1074", 5e-324, 9),
            ("0x1p2000", f64::INFINITY, 8),
            ("inf", f64::INFINITY, 3),
            ("-Infinityx", f64::NEG_INFINITY, 9),
            ("0x1.fffffffffffff8p0", 2.0, 20),
            ("0x1.fffffffffffff7p0", 1.9999999999999998, 20),
            ("1e400", f64::INFINITY, 5),
        ] {
            let read = number_at(text.as_bytes());
            assert_eq!((read.number, read.length), (number, length), "{text}");
        }
        assert!(number_at(b"nan(x1)").number.is_nan() && number_at(b"nan(x1)").length == 7);
        let read = [&b" 7 "[..], b"7 x", b"7\0x", b"7 \0x", b"   "].map(|text| number_of_text(text).0);
        assert_eq!(read, [Some(7.0), None, Some(7.0), Some(7.0), None]);
    }

    proptest! {
        /// Digits of any count, those around the middle of two numbers among them, are rounded as the standard library does.
        #[test]
        fn decimals_are_rounded_once(
            bits in any::<u64>(), digits in "[0-9]{0,40}", tail in "[09]{0,30}", exponent in -400..400i64, cut in 1..800usize,
        ) {
            let number = f64::from_bits(bits & !(1 << 63));
            prop_assume!(number.is_finite());
            // The middle of it and the next one, exactly: both have a digit less than twice those of their sum.
            let next = f64::from_bits(number.to_bits() + 1);
            let exact = middle_of(number, next);
            let mut texts = vec![format!("{digits}.{tail}e{exponent}"), format!("{digits}{tail}e-{}", exponent.abs())];
            for end in ["", "1", "0", "00000000000000000000000000001"] {
                texts.push(format!("{exact}{end}"));
            }
            texts.push(exact.chars().take(cut).collect());
            for text in texts {
                let Ok(expected) = text.parse::<f64>() else { continue };
                let read = number_at(text.as_bytes());
                prop_assert_eq!((read.number.to_bits(), read.length), (expected.to_bits(), text.len()), "{}", text);
            }
        }
    }

    /// The middle of two numbers that follow each other, with all its digits.
    fn middle_of(number: f64, next: f64) -> String {
        // Digit by digit: what both have in decimal fractions of the same length, added and halved.
        let (low, high) = (format!("{number:.1100}"), format!("{next:.1100}"));
        let width = low.len().max(high.len());
        let digits = |text: &str| -> Vec<u8> {
            let padded = format!("{}{text}", "0".repeat(width - text.len()));
            padded.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
        };
        let (low, high) = (digits(&low), digits(&high));
        let mut sum = vec![0u8; low.len() + 1];
        let mut carry = 0;
        for place in (0..low.len()).rev() {
            let value = low[place] + high[place] + carry;
            (sum[place + 1], carry) = (value % 10, value / 10);
        }
        sum[0] = carry;
        let mut rest = 0;
        let halves: String = sum
            .iter()
            .map(|digit| {
                let value = rest * 10 + digit;
                rest = value % 2;
                char::from(b'0' + value / 2)
            })
            .collect();
        let point = halves.len() - 1100;
        format!("{}.{}", &halves[..point], &halves[point..])
    }
}
