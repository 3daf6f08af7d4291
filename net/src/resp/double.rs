//! Floating point numbers as Redis 7.0 prints them: C's `%.17g`.

use std::io::Write;

use super::integer::write_integer;

/// Integers up to this magnitude are exact, and `%.17g` prints them without an exponent.
const EXACT_INTEGER_MAX: f64 = (1_u64 << 53) as f64;

/// The significant digits of `%.17g`.
const DIGITS: usize = 17;

/// Appends `value` as C's `%.17g` prints it, with `inf`, `-inf` and `nan` for what is no number.
///
/// That is 17 significant digits without trailing zeros, with an exponent below 1e-4 and from 1e17 on.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    if value == value.trunc() && value.abs() <= EXACT_INTEGER_MAX && !(value == 0.0 && value.is_sign_negative()) {
        return write_integer(out, value as i64);
    }
    if !value.is_finite() {
        let name = if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        };
        return out.extend_from_slice(name.as_bytes());
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    // "d.dddddddddddddddde-308": std rounds a given number of digits exactly, as C does.
    let mut buffer = [0_u8; 32];
    let mut rest = &mut buffer[..];
    write!(rest, "{:.*e}", DIGITS - 1, value.abs()).expect("17 digits and an exponent fit 32 bytes");
    let unused = rest.len();
    let text = &buffer[..buffer.len() - unused];
    let mut digits = [0_u8; DIGITS];
    digits[0] = text[0];
    digits[1..].copy_from_slice(&text[2..=DIGITS]);
    let exponent = std::str::from_utf8(&text[DIGITS + 2..]).ok().and_then(|exponent| exponent.parse::<i32>().ok());
    let exponent = exponent.expect("std writes a decimal exponent after the e");
    let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    write_digits(out, &digits[..significant], exponent);
}

/// Writes the digits of a number whose first digit counts `10^exponent`.
fn write_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    match exponent {
        -4..0 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
            out.extend_from_slice(digits);
        }
        0..17 => {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                out.extend_from_slice(digits);
                out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
            } else {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
        _ => {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                out.push(b'0');
            }
            write_integer(out, i64::from(exponent.unsigned_abs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).expect("only ASCII is written")
    }

    #[test]
    fn doubles_are_printed_as_printf_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.10000000000000001"),
            (3.0e3 + 0.5, "3000.5"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (9007199254740992.0, "9007199254740992"),
            (9007199254740993.0, "9007199254740992"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-1.5e300, "-1.5000000000000001e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(written(value), text);
        }
    }

    proptest! {
        #[test]
        fn every_double_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let read: f64 = written(value).parse().expect("what is written is a number");
            prop_assert!(read == value || (read.is_nan() && value.is_nan()));
        }
    }
}
