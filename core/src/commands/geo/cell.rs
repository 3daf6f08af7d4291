//! Geohashes: the cells of a grid over the earth, each with a number in which the bits of its row and its column alternate
//! (<https://en.wikipedia.org/wiki/Geohash>). The number of the finest cell is the score of a member.
//!
//! What a newcomer would get wrong: a position at the very end of a range is in a row or a column behind the last one. Its number
//! has a bit more, and Redis stores it like that.

/// Longitudes, in degrees.
pub(super) const LONGITUDES: Span = Span { min: -180.0, max: 180.0 };
/// Latitudes of the square map of the web, EPSG:3857, in degrees: what can be stored.
pub(super) const LATITUDES: Span = Span { min: -85.05112878, max: 85.05112878 };
/// Latitudes of standard geohashes, in degrees.
const ALL_LATITUDES: Span = Span { min: -90.0, max: 90.0 };

/// Times that each side is halved for the finest cells: 52 bits, which a double holds.
pub(super) const FINEST_STEPS: u32 = 26;

/// Numbers between two, both of them included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Span {
    pub(super) fn has(self, number: f64) -> bool {
        self.min <= number && number <= self.max
    }

    /// The part of `1 << steps` equal ones that has `number`.
    fn part_of(self, number: f64, steps: u32) -> u32 {
        let place = (number - self.min) / (self.max - self.min);
        (place * (1u64 << steps) as f64) as u32
    }

    fn part(self, index: u32, steps: u32) -> Span {
        let (parts, width) = ((1u64 << steps) as f64, self.max - self.min);
        let start = |index: f64| self.min + (index / parts) * width;
        Span { min: start(f64::from(index)), max: start(f64::from(index) + 1.0) }
    }

    fn middle(self, bounds: Span) -> f64 {
        ((self.min + self.max) / 2.0).min(bounds.max).max(bounds.min)
    }
}

/// A point, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl Position {
    /// The position that `score` stands for: the middle of its cell.
    pub(super) fn of_score(score: f64) -> Position {
        let cell = Cell::of_number(as_unsigned(score), FINEST_STEPS);
        Position { longitude: cell.longitudes().middle(LONGITUDES), latitude: cell.latitudes().middle(LATITUDES) }
    }

    /// The score of a member with this position.
    pub(super) fn score(self) -> f64 {
        Cell::at(self, FINEST_STEPS).number() as f64
    }

    /// The text of eleven letters that other programs know as its geohash. There are bits for ten of them.
    pub(super) fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let (column, row) =
            (LONGITUDES.part_of(self.longitude, FINEST_STEPS), ALL_LATITUDES.part_of(self.latitude, FINEST_STEPS));
        let number = Cell { column, row, steps: FINEST_STEPS }.number();
        let letter = |index: u32| match index {
            10 => LETTERS[0],
            index => LETTERS[(number >> (2 * FINEST_STEPS - 5 * (index + 1)) & 31) as usize],
        };
        std::array::from_fn(|index| letter(index as u32))
    }
}

/// One of the cells into which the earth is divided by halving each side `steps` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    column: u32,
    row: u32,
    steps: u32,
}

impl Cell {
    pub(super) fn at(position: Position, steps: u32) -> Cell {
        let (column, row) =
            (LONGITUDES.part_of(position.longitude, steps), LATITUDES.part_of(position.latitude, steps));
        Cell { column, row, steps }
    }

    fn of_number(number: u64, steps: u32) -> Cell {
        Cell { column: every_other_bit(number >> 1), row: every_other_bit(number), steps }
    }

    fn number(self) -> u64 {
        spread(self.row) | spread(self.column) << 1
    }

    /// The cell so many columns to the east and rows to the north, 1 at most, round the earth and over the poles.
    pub(super) fn neighbor(self, columns: i32, rows: i32) -> Cell {
        let last = ((1u64 << self.steps) - 1) as u32;
        let moved = |index: u32, by: i32| if by == 0 { index } else { index.wrapping_add_signed(by) & last };
        Cell { column: moved(self.column, columns), row: moved(self.row, rows), ..self }
    }

    pub(super) fn longitudes(self) -> Span {
        LONGITUDES.part(self.column, self.steps)
    }

    pub(super) fn latitudes(self) -> Span {
        LATITUDES.part(self.row, self.steps)
    }

    /// The scores of members in it: the first one, and the first one behind it.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (FINEST_STEPS - self.steps);
        ((self.number() << shift) as f64, ((self.number() + 1) << shift) as f64)
    }
}

/// The bits of `number`, one place of two apart.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// The inverse of [`spread`]; the bits between do not count.
fn every_other_bit(bits: u64) -> u32 {
    let mut number = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        number = (number | number >> shift) & mask;
    }
    number as u32
}

/// A score as an integer, as C for x86-64 takes it: any double can be a member's score.
pub(super) fn as_signed(score: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&score) { score as i64 } else { i64::MIN }
}

fn as_unsigned(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if score >= HALF { as_signed(score - HALF) as u64 ^ 1 << 63 } else { as_signed(score) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_the_scores_and_geohashes_of_redis() {
        // GEOADD, ZSCORE and GEOHASH of redis-server 7.0.15.
        for (longitude, latitude, score, geohash) in [
            (13.361389, 38.115556, 3479099956230698.0, "sqc8b49rny0"),
            (15.087269, 37.502669, 3479447370796909.0, "sqdtr74hyu0"),
            (0.0, 0.0, 3377699720527872.0, "s0000000000"),
            (-180.0, -85.05112878, 0.0, "00bh0hbj200"),
        ] {
            let position = Position { longitude, latitude };
            assert_eq!(position.score(), score);
            let stored = Position::of_score(score);
            assert_eq!(String::from_utf8_lossy(&stored.geohash()), geohash);
            assert!((stored.longitude - longitude).abs() < 1e-5 && (stored.latitude - latitude).abs() < 1e-5);
        }
    }

    #[test]
    fn neighbors_lie_round_the_earth() {
        let cell = Cell { column: 0, row: 3, steps: 2 };
        assert_eq!(cell.neighbor(-1, 1), Cell { column: 3, row: 0, steps: 2 });
        assert_eq!(cell.neighbor(1, -1), Cell { column: 1, row: 2, steps: 2 });
        assert_eq!(cell.neighbor(0, 0), cell);
        // Behind the last row.
        let pole = Cell { column: 1, row: 4, steps: 2 };
        assert_eq!((pole.neighbor(0, 1).row, pole.neighbor(0, -1).row, pole.neighbor(1, 0).row), (1, 3, 4));
        assert_eq!(Cell { column: 3, row: 5, steps: 3 }.number(), 0b01_10_11);
        assert_eq!(Cell::of_number(0b01_10_11, 3), Cell { column: 3, row: 5, steps: 3 });
    }

    #[test]
    fn scores_become_integers_as_with_redis() {
        for (score, signed, unsigned) in [
            (-1.5, -1, u64::MAX),
            (1e19, i64::MIN, 10_000_000_000_000_000_000),
            (f64::INFINITY, i64::MIN, 0),
            (f64::NEG_INFINITY, i64::MIN, 1 << 63),
            (2.9, 2, 2),
        ] {
            assert_eq!((as_signed(score), as_unsigned(score)), (signed, unsigned), "{score}");
        }
    }
}
