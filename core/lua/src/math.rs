//! The library `math`, and the arithmetic of Lua that is more than one instruction of a processor.
//!
//! What a newcomer would get wrong: nothing here is the platform's. The functions of C's library differ in their last bits from one
//! version and processor to another, and a script is run by every replica; those of the crate `libm` are the same code everywhere.

use crate::limits::MATH_WORK;
use crate::stack::{Raised, Stack, to_int};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
/// The bits that the generator's state has.
pub(crate) const STATE_BITS: u64 = (1 << 48) - 1;
/// Bits below those of a seed.
const SEED_LOW: u64 = 0x330E;

/// The remainder of Lua, which has the sign of the divisor.
#[inline]
pub(crate) fn modulo(left: f64, right: f64) -> f64 {
    left - libm::floor(left / right) * right
}

/// The power of Lua.
pub(crate) fn power(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// Returns the state of the generator that `seed` begins.
pub(crate) fn seeded(seed: i32) -> u64 {
    u64::from(seed as u32) << 16 | SEED_LOW
}

/// `math.random`: drand48's generator. In Redis it goes on from script to script; here each script's begins with a seed of its own.
pub(crate) fn random(stack: &mut Stack) -> Result<usize, Raised> {
    let budget = stack.budget();
    budget.random = budget.random.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & STATE_BITS;
    let drawn = (budget.random >> 17) as i64;
    let largest = i64::from(i32::MAX);
    let fraction = (drawn % largest) as f64 / largest as f64;
    let number = match stack.top() {
        0 => fraction,
        1 => {
            let upper = stack.integer_argument(1)? as i32;
            if upper < 1 {
                return Err(stack.bad_argument(1, "interval is empty"));
            }
            libm::floor(fraction * f64::from(upper)) + 1.0
        }
        2 => {
            let lower = stack.integer_argument(1)? as i32;
            let upper = stack.integer_argument(2)? as i32;
            if lower > upper {
                return Err(stack.bad_argument(2, "interval is empty"));
            }
            libm::floor(fraction * f64::from(upper.wrapping_sub(lower).wrapping_add(1))) + f64::from(lower)
        }
        _ => return Err(stack.error("wrong number of arguments")),
    };
    stack.push_number(number);
    Ok(1)
}

/// `math.randomseed`.
pub(crate) fn randomseed(stack: &mut Stack) -> Result<usize, Raised> {
    let seed = stack.integer_argument(1)? as i32;
    stack.budget().random = seeded(seed);
    Ok(0)
}

/// Defines functions of one number.
macro_rules! of_one {
    ($($(#[$doc:meta])* $name:ident $compute:expr;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(stack: &mut Stack) -> Result<usize, Raised> {
            stack.pay(MATH_WORK)?;
            let number = stack.number_argument(1)?;
            let compute: fn(f64) -> f64 = $compute;
            stack.push_number(compute(number));
            Ok(1)
        })*
    };
}

of_one! {
    /// `math.abs`.
    abs libm::fabs;
    /// `math.acos`.
    acos libm::acos;
    /// `math.asin`.
    asin libm::asin;
    /// `math.atan`.
    atan libm::atan;
    /// `math.ceil`.
    ceil libm::ceil;
    /// `math.cos`.
    cos libm::cos;
    /// `math.cosh`.
    cosh libm::cosh;
    /// `math.deg`.
    deg |number| number / (std::f64::consts::PI / 180.0);
    /// `math.exp`.
    exp libm::exp;
    /// `math.floor`.
    floor libm::floor;
    /// `math.log`.
    log libm::log;
    /// `math.log10`.
    log10 libm::log10;
    /// `math.rad`.
    rad |number| number * (std::f64::consts::PI / 180.0);
    /// `math.sin`.
    sin libm::sin;
    /// `math.sinh`.
    sinh libm::sinh;
    /// `math.sqrt`.
    sqrt libm::sqrt;
    /// `math.tan`.
    tan libm::tan;
    /// `math.tanh`.
    tanh libm::tanh;
}

/// Defines functions of two numbers.
macro_rules! of_two {
    ($($(#[$doc:meta])* $name:ident $compute:path;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(stack: &mut Stack) -> Result<usize, Raised> {
            // The remainder of very different numbers takes a step for each bit.
            stack.pay(8 * MATH_WORK)?;
            let (left, right) = (stack.number_argument(1)?, stack.number_argument(2)?);
            stack.push_number($compute(left, right));
            Ok(1)
        })*
    };
}

of_two! {
    /// `math.atan2`.
    atan2 libm::atan2;
    /// `math.fmod`.
    fmod libm::fmod;
    /// `math.pow`.
    pow libm::pow;
}

/// `math.frexp`.
pub(crate) fn frexp(stack: &mut Stack) -> Result<usize, Raised> {
    let (mantissa, exponent) = libm::frexp(stack.number_argument(1)?);
    stack.push_number(mantissa);
    stack.push_number(exponent.into());
    Ok(2)
}

/// `math.ldexp`.
pub(crate) fn ldexp(stack: &mut Stack) -> Result<usize, Raised> {
    let number = stack.number_argument(1)?;
    let exponent = to_int(stack.number_argument(2)?);
    stack.push_number(libm::ldexp(number, exponent));
    Ok(1)
}

/// `math.modf`.
pub(crate) fn modf(stack: &mut Stack) -> Result<usize, Raised> {
    let number = stack.number_argument(1)?;
    let whole = libm::trunc(number);
    stack.push_number(whole);
    stack.push_number(if number.is_infinite() { 0.0f64.copysign(number) } else { (number - whole).copysign(number) });
    Ok(2)
}

fn extreme(stack: &mut Stack, is_better: fn(f64, f64) -> bool) -> Result<usize, Raised> {
    let mut best = stack.number_argument(1)?;
    for index in 2..=stack.top() {
        stack.pay(1)?;
        let number = stack.number_argument(index)?;
        if is_better(number, best) {
            best = number;
        }
    }
    stack.push_number(best);
    Ok(1)
}

/// `math.max`.
pub(crate) fn max(stack: &mut Stack) -> Result<usize, Raised> {
    extreme(stack, |number, best| number > best)
}

/// `math.min`.
pub(crate) fn min(stack: &mut Stack) -> Result<usize, Raised> {
    extreme(stack, |number, best| number < best)
}
