//! Numbers as texts and texts as numbers, as C's `printf` and `strtod` have them, without C: the same digits on every machine.
//!
//! What a newcomer would get wrong: Rust prints a number with any count of digits exactly and rounds it as C does (to even, of the
//! exact value), so only the layout is made here.

/// The bits of a number, the same for all that are none.
pub(crate) fn bits_of(number: f64) -> u64 {
    if number.is_nan() { 0xfff8 << 48 } else { number.to_bits() }
}

/// As [`bits_of`], of a short number.
pub(crate) fn short_bits_of(number: f32) -> u32 {
    if number.is_nan() { 0xffc0 << 16 } else { number.to_bits() }
}

/// `number` as `%.14g` has it: how Lua shows numbers.
pub(crate) fn text_of(number: f64) -> String {
    // Most numbers of scripts. 2^53, and none of more than 14 digits.
    if number == number.trunc() && number.abs() < 1e14 && (number != 0.0 || number.is_sign_positive()) {
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

/// The number that `text` begins with, as C's `strtod` reads it, and its length: 0 if there is none.
pub(crate) fn number_at(text: &[u8]) -> (f64, usize) {
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
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits_at((end + 1 + sign).min(text.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[at..end]).expect("digits are ASCII").parse().expect("digits are a number");
    (signed(number), end)
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
            let value = text[begin..begin + count]
                .iter()
                .fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 30));
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

/// The number that `text` is, as Lua takes it: spaces around it are none of its business.
pub(crate) fn number_of_text(text: &[u8]) -> Option<f64> {
    let (number, length) = number_at(text);
    if length == 0 {
        return None;
    }
    // Lua stops where C's texts do.
    let rest = &text[length..];
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    rest.iter().take_while(|byte| **byte != 0).all(is_space).then_some(number)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(number_at(text.as_bytes()), (number, length), "{text}");
        }
        assert!(number_at(b"nan(x1)").0.is_nan() && number_at(b"nan(x1)").1 == 7);
        assert_eq!(
            (number_of_text(b" 7 "), number_of_text(b"7 x"), number_of_text(b"7\0x")),
            (Some(7.0), None, Some(7.0))
        );
    }
}
