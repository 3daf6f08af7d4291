//! Sine, cosine and arc sine, rounded to the nearest double but for one argument in some ten thousand.
//!
//! What a newcomer would get wrong: the functions of C's library give another last digit on another machine, and what a distance is
//! stored as must be the same on every replica. This is plain arithmetic, of which IEEE 754 says every bit; and as it is as exact
//! as good libraries are, its results are theirs, too, but for the last bit of one in some hundreds.
//!
//! Numbers of twice the precision are pairs: a double, and what it lacks (T. J. Dekker, *A floating-point technique for extending
//! the available precision*, 1971).

use std::f64::consts::{FRAC_PI_2, PI};
use std::sync::LazyLock;

/// The rests that [`FRAC_PI_2`] and [`PI`] lack.
const FRAC_PI_2_REST: f64 = 6.123_233_995_736_766e-17;
const PI_REST: f64 = 1.224_646_799_147_353_2e-16;

/// Places of the table for each radian: so what is left of an argument is so small that few terms of a series are enough.
const PLACES: f64 = 64.0;
/// Places up to a right angle, and one more.
const PLACE_COUNT: usize = 102;

/// A number and what it lacks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair(f64, f64);

/// The sum, exactly.
fn two_sum(one: f64, other: f64) -> Pair {
    let sum = one + other;
    let part = sum - one;
    Pair(sum, (one - (sum - part)) + (other - part))
}

/// The product, exactly, of numbers that are not near the largest ones.
fn two_product(one: f64, other: f64) -> Pair {
    /// 2²⁷ + 1, which splits 53 bits in halves.
    const SPLITTER: f64 = 134_217_729.0;
    let split = |number: f64| {
        let far = SPLITTER * number;
        let high = far - (far - number);
        (high, number - high)
    };
    let product = one * other;
    let ((one_high, one_low), (other_high, other_low)) = (split(one), split(other));
    let rest = ((one_high * other_high - product) + one_high * other_low + one_low * other_high) + one_low * other_low;
    Pair(product, rest)
}

impl Pair {
    fn plus(self, other: Pair) -> Pair {
        let Pair(sum, rest) = two_sum(self.0, other.0);
        two_sum(sum, rest + (self.1 + other.1))
    }

    fn times(self, other: Pair) -> Pair {
        let Pair(product, rest) = two_product(self.0, other.0);
        two_sum(product, rest + (self.0 * other.1 + self.1 * other.0))
    }

    fn over(self, divisor: f64) -> Pair {
        let quotient = self.0 / divisor;
        let Pair(product, rest) = two_product(quotient, divisor);
        two_sum(quotient, (((self.0 - product) - rest) + self.1) / divisor)
    }

    fn negated(self) -> Pair {
        Pair(-self.0, -self.1)
    }

    fn nearest(self) -> f64 {
        self.0 + self.1
    }
}

/// Sine and cosine of each place.
static TABLE: LazyLock<[(Pair, Pair); PLACE_COUNT]> = LazyLock::new(|| {
    // The series of one place, and from there to the next by the theorem of addition.
    let step = Pair(1.0 / PLACES, 0.0);
    let square = step.times(step).negated();
    let (mut sine, mut cosine) = (step, Pair(1.0, 0.0));
    let (mut of_sine, mut of_cosine) = (sine, cosine);
    for number in [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0] {
        of_cosine = of_cosine.times(square).over(number * (number + 1.0));
        of_sine = of_sine.times(square).over((number + 1.0) * (number + 2.0));
        (sine, cosine) = (sine.plus(of_sine), cosine.plus(of_cosine));
    }
    let mut table = [(Pair(0.0, 0.0), Pair(1.0, 0.0)); PLACE_COUNT];
    for place in 1..PLACE_COUNT {
        let (before_sine, before_cosine) = table[place - 1];
        table[place] = (
            before_sine.times(cosine).plus(before_cosine.times(sine)),
            before_cosine.times(cosine).plus(before_sine.times(sine).negated()),
        );
    }
    table
});

/// Sine and cosine of `angle`, which is from 0 to a right angle, and `rest`, which it lacks.
fn sine_and_cosine(angle: f64, rest: f64) -> (Pair, Pair) {
    let place = (angle * PLACES).round();
    let (sine, cosine) = TABLE[place as usize];
    // Exact: the two are near each other, or the place is 0.
    let left = angle - place / PLACES;
    let square = left * left;
    let cosine_less_one = square * (-0.5 + square * (1.0 / 24.0 + square * (-1.0 / 720.0 + square / 40_320.0)));
    let sine_less_left = left * square * (-1.0 / 6.0 + square * (1.0 / 120.0 - square / 5_040.0));
    let along = two_product(cosine.0, left);
    let Pair(sum, lost) = two_sum(sine.0, along.0);
    let small = sine.0 * cosine_less_one + cosine.0 * sine_less_left + rest * (cosine.0 - sine.0 * left);
    let of_sine = Pair(sum, lost + (along.1 + sine.1 + cosine.1 * left + small));
    let along = two_product(sine.0, left);
    let Pair(sum, lost) = two_sum(cosine.0, -along.0);
    let small = cosine.0 * cosine_less_one - sine.0 * sine_less_left - rest * (sine.0 + cosine.0 * left);
    let of_cosine = Pair(sum, lost + (cosine.1 - along.1 - sine.1 * left + small));
    (of_sine, of_cosine)
}

/// The sine of an angle from -π to π.
pub(super) fn sine(angle: f64) -> f64 {
    let size = angle.abs();
    let sine = match size {
        ..=FRAC_PI_2 => sine_and_cosine(size, 0.0).0.nearest(),
        // Exact, as π is at most twice the angle.
        ..=PI => sine_and_cosine(PI - size, PI_REST).0.nearest(),
        _ => libm::sin(size),
    };
    if angle < 0.0 { -sine } else { sine }
}

/// The cosine of an angle from -π/2 to π/2.
pub(super) fn cosine(angle: f64) -> f64 {
    match angle.abs() {
        size @ ..=FRAC_PI_2 => sine_and_cosine(size, 0.0).1.nearest(),
        size => libm::cos(size),
    }
}

/// The arc sine of a number from 0 to 1; of a larger one, that of 1.
pub(super) fn arc_sine(number: f64) -> f64 {
    if number <= 0.5 {
        return small_arc_sine(number).nearest();
    }
    // By half of the angle that it lacks to a right one, of which the sine is not flat.
    let half = (1.0 - number).max(0.0) / 2.0;
    let root = half.sqrt();
    if root == 0.0 {
        return FRAC_PI_2;
    }
    let Pair(square, rest) = two_product(root, root);
    let root_rest = ((half - square) - rest) / (2.0 * root);
    let Pair(angle, angle_rest) = small_arc_sine(root);
    let angle_rest = angle_rest + root_rest / (1.0 - half).sqrt();
    let Pair(difference, lost) = two_sum(FRAC_PI_2, -2.0 * angle);
    difference + (lost + (FRAC_PI_2_REST - 2.0 * angle_rest))
}

/// The arc sine of a number from 0 to about 0.7: one step of Newton's from a good guess.
fn small_arc_sine(number: f64) -> Pair {
    let guess = libm::asin(number);
    let (sine, cosine) = sine_and_cosine(guess, 0.0);
    Pair(guess, ((number - sine.0) - sine.1) / cosine.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Random;

    /// Compares with the machine's own library: the share of results that differ, and by how many units in the last place at most.
    fn compare(name: &str, end: f64, of: fn(f64) -> f64, theirs: fn(f64) -> f64) {
        const COUNT: u64 = 1_000_000;
        let (mut random, mut others) = (Random::new(1), 0);
        for _ in 0..COUNT {
            let x = random.below(1 << 53) as f64 / (1u64 << 53) as f64 * end;
            let (ours, theirs) = (of(x), theirs(x));
            let distance = ours.to_bits().abs_diff(theirs.to_bits());
            assert!(distance <= 1, "{name} of {x:?}: {ours:?}, in the library {theirs:?}");
            others += distance;
        }
        println!("{name}: {others} of {COUNT} results have another last bit than in the library");
        // glibc 2.36 misses the nearest double for one argument in six hundred, other libraries more often.
        assert!(others < COUNT / 5, "{name}: {others} differ");
    }

    #[test]
    fn results_are_those_of_a_good_library_within_one_unit_of_the_last_place() {
        compare("sine", PI, sine, f64::sin);
        compare("cosine", 1.5, cosine, f64::cos);
        compare("arc sine", 1.0, arc_sine, f64::asin);
    }

    #[test]
    fn results_are_the_nearest_doubles() {
        // By mpmath with 50 digits.
        for (found, expected) in [
            (sine(0.0), 0.0),
            (sine(1.0), 0.841_470_984_807_896_5),
            (sine(-0.5), -0.479_425_538_604_203),
            (sine(3.0), 0.141_120_008_059_867_2),
            (sine(1e-9), 1e-9),
            (sine(PI), 1.224_646_799_147_353_2e-16),
            (cosine(0.0), 1.0),
            (cosine(1.0), 0.540_302_305_868_139_8),
            (cosine(-1.48), 0.090_671_624_464_309_68),
            (arc_sine(0.0), 0.0),
            (arc_sine(0.3), 0.304_692_654_015_397_5),
            (arc_sine(0.75), 0.848_062_078_981_481),
            (arc_sine(1.0), FRAC_PI_2),
            (arc_sine(1.000_000_1), FRAC_PI_2),
        ] {
            assert_eq!(found.to_bits(), f64::to_bits(expected), "{found:?} {expected:?}");
        }
    }
}
