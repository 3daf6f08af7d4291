//! The decimal numbers of RESP, read and written.

/// Reads a decimal as Redis' `string2ll` does: an optional minus, no plus, no leading zeros, nothing around it.
/// None if it is none, or does not fit 64 bits.
#[inline]
pub fn parse_integer(digits: &[u8]) -> Option<i64> {
    let (is_negative, magnitude) = match *digits {
        [b'0'] => return Some(0),
        [b'-', ref magnitude @ ..] => (true, magnitude),
        ref magnitude => (false, magnitude),
    };
    // 19 digits are the most an i64 has, and no u64 sum of 19 digits overflows.
    if !matches!(magnitude.first(), Some(b'1'..=b'9')) || magnitude.len() > 19 {
        return None;
    }
    let mut value = 0_u64;
    for digit in magnitude {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if is_negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Appends `value` in decimal.
#[inline]
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends `value` in decimal.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    while value >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        start -= 1;
        digits[start] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_decimals_are_numbers() {
        for (digits, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("9999999999999999999", None),
            ("10000000000000000000", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("1:", None),
            ("1/", None),
        ] {
            assert_eq!(parse_integer(digits.as_bytes()), value, "{digits:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_written_as_std_does_and_read_back(shift in 0_u32..64, bits: i64) {
            let value = bits >> shift;
            let mut out = Vec::new();
            write_integer(&mut out, value);
            prop_assert_eq!(&out, &value.to_string().into_bytes());
            prop_assert_eq!(parse_integer(&out), Some(value));
        }
    }

    #[test]
    fn integers_at_the_edges_are_written_as_std_does() {
        for value in [0, 9, 10, 99, 100, 999, 1000, -1, -9, -10, -100, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
