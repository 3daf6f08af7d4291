//! Arithmetic in the 80-bit extended precision of x86, which Redis uses for `INCRBYFLOAT` and `HINCRBYFLOAT`.
//!
//! Rust has no such type, and with 64-bit floats `10.5 + 0.1` would print as `10.59999999999999964`. Only what these
//! commands need is here: read, add, print with 17 digits after the point. All of it is exact integer arithmetic, so
//! replicas on different machines agree.

use std::cmp::Ordering;
use std::fmt;

use super::float_text::{BinaryFormat, Digits, FloatText, Magnitude};

/// Longest text that Redis reads as such a number.
const TEXT_BYTES_MAX: usize = 5 * 1024;

/// Digits after the point when printed.
const FRACTION_DIGITS: u32 = 17;

/// A finite number or an infinity: `mantissa * 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

impl LongDouble {
    /// Zero.
    pub const ZERO: LongDouble = LongDouble { negative: false, mantissa: 0, exponent: 0, infinite: false };

    /// Reads a decimal or hexadecimal number, or an infinity, as Redis' `string2ld` does: `None` for anything else, for NaN and
    /// for numbers too large or too small.
    pub fn read(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let FloatText { negative, magnitude, .. } = FloatText::whole(text)?;
        let (number, digits) = match magnitude {
            Magnitude::NotANumber => return None,
            Magnitude::Infinite => return Some(LongDouble { negative, mantissa: 0, exponent: 0, infinite: true }),
            Magnitude::Hexadecimal(digits) => {
                let (bits, exponent, is_more) = digits.to_binary();
                (round(negative, bits, exponent, is_more)?, digits)
            }
            Magnitude::Decimal(digits) => (read_decimal(negative, &digits)?, digits),
        };
        // C reports an underflow to zero as an error.
        (number.mantissa != 0 || digits.is_zero()).then_some(number)
    }

    /// Returns whether it is a number and no infinity.
    pub fn is_finite(self) -> bool {
        !self.infinite
    }

    /// A thousand times this number, rounded as it is held, then up to a whole number; `None` if that is no 64-bit integer.
    pub fn thousandfold(self) -> Option<i64> {
        if self.infinite {
            return None;
        }
        let product = round(self.negative, u128::from(self.mantissa) * 1000, self.exponent.into(), false)?;
        let mantissa = u128::from(product.mantissa);
        let (whole, is_more) = match u32::try_from(product.exponent) {
            Ok(shift) => (mantissa.checked_shl(shift).filter(|_| shift < u64::BITS || mantissa == 0)?, false),
            Err(_) => {
                let whole = mantissa.checked_shr(product.exponent.unsigned_abs()).unwrap_or(0);
                let back = whole.checked_shl(product.exponent.unsigned_abs()).unwrap_or(0);
                (whole, back != mantissa)
            }
        };
        if product.negative {
            return i64::try_from(whole).ok().map(|whole| -whole);
        }
        i64::try_from(whole + u128::from(is_more)).ok()
    }

    /// The sum, rounded to nearest, ties to even; `None` if it is not a finite number.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        if self.infinite || other.infinite {
            return None;
        }
        if other.mantissa == 0 {
            return Some(self);
        }
        if self.mantissa == 0 {
            return Some(other);
        }
        let (large, small) = match self.exponent.cmp(&other.exponent).then(self.mantissa.cmp(&other.mantissa)) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        // 62 bits below the mantissa and one above it leave room for the carry and for exact rounding.
        const GUARD: u32 = 62;
        let distance = (large.exponent - small.exponent) as u32;
        let aligned = u128::from(small.mantissa) << GUARD;
        let kept = aligned.checked_shr(distance).unwrap_or(0);
        let lost = distance >= 128 || kept << distance != aligned;
        let large_bits = u128::from(large.mantissa) << GUARD;
        let bits =
            if large.negative == small.negative { large_bits + kept } else { large_bits - kept - u128::from(lost) };
        round(large.negative, bits, i64::from(large.exponent) - i64::from(GUARD), lost)
    }
}

/// Rounds `bits * 2^exponent`, plus a little if `sticky`; `None` if that is too large.
fn round(negative: bool, bits: u128, exponent: i64, sticky: bool) -> Option<LongDouble> {
    let (mantissa, exponent) = BinaryFormat::LONG_DOUBLE.round(bits, exponent, sticky)?;
    if mantissa == 0 {
        return Some(LongDouble::ZERO);
    }
    Some(LongDouble { negative, mantissa, exponent, infinite: false })
}

/// A decimal number, rounded; `None` if it is too large.
fn read_decimal(negative: bool, digits: &Digits<'_>) -> Option<LongDouble> {
    let mut natural = Natural::default();
    for digit in digits.whole.iter().chain(digits.fraction) {
        natural.multiply_add(10, u32::from(digit - b'0'));
    }
    if natural.is_zero() {
        return Some(LongDouble::ZERO);
    }
    scale_decimal(negative, natural, digits.exponent - digits.fraction.len() as i64)
}

/// `digits * 10^exponent`, rounded.
fn scale_decimal(negative: bool, mut digits: Natural, exponent: i64) -> Option<LongDouble> {
    /// Beyond these the number is out of range whatever its digits are: it has fewer than 5200 of them.
    const EXPONENT_LIMIT: i64 = 11_000;
    if exponent > EXPONENT_LIMIT {
        return None;
    }
    if exponent < -EXPONENT_LIMIT {
        return Some(LongDouble::ZERO);
    }
    if exponent >= 0 {
        digits.multiply_power_of_ten(exponent as u32);
        let (bits, shift, sticky) = digits.top_bits();
        return round(negative, bits, i64::from(shift), sticky);
    }
    let mut divisor = Natural::from(1);
    divisor.multiply_power_of_ten(-exponent as u32);
    // Shifted so that the quotient has 65 or 66 bits: 64 and enough to round.
    let shift = divisor.bit_length() as i32 + 65 - digits.bit_length() as i32;
    if shift >= 0 {
        digits.shift_left(shift as u32)
    } else {
        divisor.shift_left(-shift as u32)
    }
    let (quotient, sticky) = digits.divide(&divisor);
    // The sticky bit is one more bit at the end, so that a tie is told from just above a tie.
    round(negative, quotient << 1 | u128::from(sticky), i64::from(-shift - 1), false)
}

impl fmt::Display for LongDouble {
    /// As `%.17Lf` with trailing zeros, and a trailing point, cut off; never `-0`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.infinite {
            return out.write_str(if self.negative { "-inf" } else { "inf" });
        }
        let scale = 10u128.pow(FRACTION_DIGITS);
        let (whole, fraction) = if self.exponent >= 0 {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent as u32);
            (whole.to_decimal(), 0)
        } else {
            // at most 64 + 57 bits
            let scaled = shift_right_rounded(u128::from(self.mantissa) * scale, -self.exponent as u32);
            ((scaled / scale).to_string(), scaled % scale)
        };
        if self.negative && (whole != "0" || fraction != 0) {
            out.write_str("-")?;
        }
        out.write_str(&whole)?;
        if fraction == 0 {
            return Ok(());
        }
        let digits = format!("{fraction:0width$}", width = FRACTION_DIGITS as usize);
        write!(out, ".{}", digits.trim_end_matches('0'))
    }
}

/// `bits / 2^distance`, rounded to nearest, ties to even.
fn shift_right_rounded(bits: u128, distance: u32) -> u128 {
    if distance > 127 {
        return 0;
    }
    let whole = bits >> distance;
    let rest = bits & ((1u128 << distance) - 1);
    let half = 1u128 << (distance - 1);
    if rest > half || (rest == half && whole & 1 == 1) { whole + 1 } else { whole }
}

/// A natural number of any size, the lowest limb first, without leading zero limbs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Natural {
    limbs: Vec<u32>,
}

impl From<u64> for Natural {
    fn from(number: u64) -> Natural {
        let mut natural = Natural { limbs: vec![number as u32, (number >> 32) as u32] };
        natural.trim();
        natural
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn bit_length(&self) -> u32 {
        self.limbs.last().map_or(0, |last| self.limbs.len() as u32 * 32 - last.leading_zeros())
    }

    fn bit(&self, index: u32) -> bool {
        self.limbs.get((index / 32) as usize).is_some_and(|limb| limb >> (index % 32) & 1 == 1)
    }

    /// `self * factor + addend`
    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_power_of_ten(&mut self, exponent: u32) {
        for _ in 0..exponent / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        self.multiply_add(10u32.pow(exponent % 9), 0);
    }

    fn shift_left(&mut self, distance: u32) {
        let (limbs, bits) = ((distance / 32) as usize, distance % 32);
        if bits != 0 {
            self.multiply_add(1 << bits, 0);
        }
        if !self.is_zero() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    /// The highest 128 bits (or all of them), how far they were shifted down, and whether bits were lost.
    fn top_bits(&self) -> (u128, u32, bool) {
        let shift = self.bit_length().saturating_sub(128);
        let bits = (shift..self.bit_length()).rev().fold(0u128, |bits, index| bits << 1 | u128::from(self.bit(index)));
        (bits, shift, (0..shift).any(|index| self.bit(index)))
    }

    /// The quotient, which must fit 127 bits, and whether there is a remainder. Plain long division, bit by bit.
    fn divide(&self, divisor: &Natural) -> (u128, bool) {
        let steps = (self.bit_length() + 1).saturating_sub(divisor.bit_length());
        debug_assert!(steps < 128, "the quotient is known to be short");
        let mut rest = self.clone();
        let mut shifted = divisor.clone();
        shifted.shift_left(steps);
        let mut quotient = 0u128;
        for _ in 0..=steps {
            quotient <<= 1;
            if rest.compare(&shifted) != Ordering::Less {
                rest.subtract(&shifted);
                quotient |= 1;
            }
            shifted.halve();
        }
        (quotient, !rest.is_zero())
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let (difference, first) = limb.overflowing_sub(other.limbs.get(index).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        debug_assert!(!borrow, "only smaller numbers are subtracted");
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.limbs.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0u64;
            for limb in rest.limbs.iter_mut().rev() {
                let part = remainder << 32 | u64::from(*limb);
                *limb = (part / 1_000_000_000) as u32;
                remainder = part % 1_000_000_000;
            }
            rest.trim();
            groups.push(remainder);
        }
        let Some(first) = groups.pop() else { return "0".to_owned() };
        groups.iter().rev().fold(first.to_string(), |text, group| format!("{text}{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let (a, b) = (LongDouble::read(a.as_bytes()).unwrap(), LongDouble::read(b.as_bytes()).unwrap());
        a.checked_add(b).map_or("overflow".to_owned(), |sum| sum.to_string())
    }

    #[test]
    fn sums_print_as_redis_prints_them() {
        // `INCRBYFLOAT` of redis-server 7.0.15 on x86-64
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0", "0.1", "0.1"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-1.5", "0", "-1.5"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("0x10", "1", "17"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("12345678901234567890", "1", "12345678901234567891"),
            ("inf", "1", "overflow"),
            ("1e4932", "1e4932", "overflow"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", " 1", "1 ", "nan", "1e", "1e+", ".", "0x", "1.2.3", "1e5000", "1e-5000", "abc", "--1", "1p3"] {
            assert_eq!(LongDouble::read(text.as_bytes()), None, "{text}");
        }
        for text in ["1.", ".5", "+1", "1E3", "-0", "0x1p-3", "0x.8", "INF", "-infinity", "0e99999"] {
            assert!(LongDouble::read(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn sums_of_ordinary_floats_agree_with_64_bit_arithmetic_where_that_is_exact() {
        let mut state = 1u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (a, b) = ((state >> 33) as i32 as i64, (state >> 5) as i32 as i64);
            let (x, y) = (a as f64 / 1024.0, b as f64 / 1024.0);
            assert_eq!(sum(&x.to_string(), &y.to_string()), (x + y).to_string(), "{x} + {y}");
        }
    }
}
