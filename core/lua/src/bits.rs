//! The library `bit`: operations on numbers of 32 bits, as <https://bitop.luajit.org> describes them.

use crate::stack::{Raised, Stack, Type};

/// The argument `index` as a number of 32 bits.
fn argument(stack: &mut Stack, index: i32) -> Result<u32, Raised> {
    let number = stack.number_argument(index)?;
    // 2^52 + 2^51: added, a double keeps the integer in its lower bits, rounded to even. What is no number has none.
    let number = if number.is_nan() { 0.0 } else { number };
    let bits = (number + 6_755_399_441_055_744.0).to_bits() as u32;
    if bits == 0 && stack.kind(index) == Type::None {
        return Err(stack.bad_type(index, "number"));
    }
    Ok(bits)
}

fn give(stack: &mut Stack, bits: u32) -> Result<usize, Raised> {
    stack.push_number((bits as i32).into());
    Ok(1)
}

pub(crate) fn tobit(stack: &mut Stack) -> Result<usize, Raised> {
    let bits = argument(stack, 1)?;
    give(stack, bits)
}

pub(crate) fn bnot(stack: &mut Stack) -> Result<usize, Raised> {
    let bits = argument(stack, 1)?;
    give(stack, !bits)
}

fn fold(stack: &mut Stack, join: fn(u32, u32) -> u32) -> Result<usize, Raised> {
    let mut bits = argument(stack, 1)?;
    for index in 2..=stack.top() {
        bits = join(bits, argument(stack, index)?);
    }
    give(stack, bits)
}

pub(crate) fn band(stack: &mut Stack) -> Result<usize, Raised> {
    fold(stack, |left, right| left & right)
}

pub(crate) fn bor(stack: &mut Stack) -> Result<usize, Raised> {
    fold(stack, |left, right| left | right)
}

pub(crate) fn bxor(stack: &mut Stack) -> Result<usize, Raised> {
    fold(stack, |left, right| left ^ right)
}

fn shift(stack: &mut Stack, by: fn(u32, u32) -> u32) -> Result<usize, Raised> {
    let bits = argument(stack, 1)?;
    let count = argument(stack, 2)? & 31;
    give(stack, by(bits, count))
}

pub(crate) fn lshift(stack: &mut Stack) -> Result<usize, Raised> {
    shift(stack, |bits, count| bits << count)
}

pub(crate) fn rshift(stack: &mut Stack) -> Result<usize, Raised> {
    shift(stack, |bits, count| bits >> count)
}

pub(crate) fn arshift(stack: &mut Stack) -> Result<usize, Raised> {
    shift(stack, |bits, count| (bits as i32 >> count) as u32)
}

pub(crate) fn rol(stack: &mut Stack) -> Result<usize, Raised> {
    shift(stack, u32::rotate_left)
}

pub(crate) fn ror(stack: &mut Stack) -> Result<usize, Raised> {
    shift(stack, u32::rotate_right)
}

pub(crate) fn bswap(stack: &mut Stack) -> Result<usize, Raised> {
    let bits = argument(stack, 1)?;
    give(stack, bits.swap_bytes())
}

/// `bit.tohex`: so many digits, in upper case if their number is negative.
pub(crate) fn tohex(stack: &mut Stack) -> Result<usize, Raised> {
    let bits = argument(stack, 1)?;
    let count = if stack.kind(2) == Type::None { 8 } else { argument(stack, 2)? as i32 };
    let digits = (count.unsigned_abs() as usize).min(8);
    let text = if count < 0 { format!("{bits:08X}") } else { format!("{bits:08x}") };
    stack.push_bytes(&text.as_bytes()[8 - digits..]);
    Ok(1)
}

/// `number` as the library takes it, for tests of its rounding.
#[cfg(test)]
fn rounded(number: f64) -> u32 {
    (number + 6_755_399_441_055_744.0).to_bits() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::to_integer;

    #[test]
    fn numbers_are_taken_modulo_two_to_the_32() {
        for number in [0.0, 1.0, -1.0, 4_294_967_295.0, 4_294_967_296.0, -4_294_967_297.0, 1e15] {
            assert_eq!(rounded(number), to_integer(number) as u32, "{number}");
        }
        assert_eq!((rounded(1.5), rounded(2.5)), (2, 2));
    }
}
