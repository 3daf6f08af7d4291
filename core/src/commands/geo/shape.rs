//! The area of a search, and distances on the earth.
//!
//! What a newcomer would get wrong: the order in which the factors of a distance are multiplied is Redis', so that the last bit is,
//! too.

use std::f64::consts::PI;

use super::cell::{Cell, FINEST_STEPS, Position, Span};
use super::trigonometry::{arc_sine, cosine, sine};

/// The radius of the sphere that distances are measured on, in metres.
const EARTH_RADIUS: f64 = 6_372_797.560856;

/// Half of the equator of the square map of the web, in metres.
const MAP_RADIUS: f64 = 20_037_726.37;

/// Radians of a degree.
const DEGREE: f64 = PI / 180.0;

/// The distance between two points, in metres, on the great circle (the haversine formula).
pub(super) fn distance(one: Position, other: Position) -> f64 {
    let (one_latitude, other_latitude) = (one.latitude * DEGREE, other.latitude * DEGREE);
    let (one_longitude, other_longitude) = (one.longitude * DEGREE, other.longitude * DEGREE);
    let up = sine((other_latitude - one_latitude) / 2.0);
    let along = sine((other_longitude - one_longitude) / 2.0);
    let square = up * up + cosine(one_latitude) * cosine(other_latitude) * along * along;
    2.0 * EARTH_RADIUS * arc_sine(square.sqrt())
}

/// The distance between two latitudes, in metres.
fn latitude_distance(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (other * DEGREE - one * DEGREE).abs()
}

/// The form of a search's area. Lengths are in metres, never negative, and may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Circle { radius: f64 },
    Rectangle { width: f64, height: f64 },
}

/// The area of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) center: Position,
    pub(super) form: Form,
}

impl Shape {
    /// The distance from the center to `position`, in metres, if that is within the area.
    pub(super) fn distance_within(&self, position: Position) -> Option<f64> {
        match self.form {
            Form::Circle { radius } => Some(distance(self.center, position)).filter(|distance| *distance <= radius),
            Form::Rectangle { width, height } => {
                if latitude_distance(position.latitude, self.center.latitude) > height / 2.0 {
                    return None;
                }
                let below = Position { longitude: self.center.longitude, latitude: position.latitude };
                if distance(position, below) > width / 2.0 {
                    return None;
                }
                Some(distance(self.center, position))
            }
        }
    }

    /// Longitudes and latitudes that it reaches, about.
    fn bounds(&self) -> (Span, Span) {
        let Position { longitude, latitude } = self.center;
        let (width, height) = match self.form {
            Form::Circle { radius } => (radius, radius),
            Form::Rectangle { width, height } => (width / 2.0, height / 2.0),
        };
        let up = height / EARTH_RADIUS / DEGREE;
        // The side that is nearer to a pole has the longer arc.
        let far_latitude = if latitude < 0.0 { latitude - up } else { latitude + up };
        let along = width / EARTH_RADIUS / libm::cos(far_latitude * DEGREE) / DEGREE;
        let around = |middle: f64, reach: f64| Span { min: middle - reach, max: middle + reach };
        (around(longitude, along), around(latitude, up))
    }

    /// The steps of cells that are about as large as the area.
    fn steps(&self) -> u32 {
        let mut radius = match self.form {
            Form::Circle { radius } => radius,
            Form::Rectangle { width, height } => {
                let (half_width, half_height) = (width / 2.0, height / 2.0);
                (half_width * half_width + half_height * half_height).sqrt()
            }
        };
        if radius == 0.0 {
            return FINEST_STEPS;
        }
        let mut steps: i32 = 1;
        while radius < MAP_RADIUS {
            radius *= 2.0;
            steps += 1;
        }
        // So that the area is within nine cells; near the poles cells are narrow.
        let latitude = self.center.latitude.abs();
        steps -= 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, FINEST_STEPS as i32) as u32
    }

    /// The cells that have all of it: up to nine, none of them twice.
    pub(super) fn cells(&self) -> Vec<Cell> {
        /// The cell of the center and those around it, in the order in which they are searched.
        const AROUND: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let (longitudes, latitudes) = self.bounds();
        let mut steps = self.steps();
        let mut center = Cell::at(self.center, steps);
        let is_too_small = center.neighbor(0, 1).latitudes().max < latitudes.max
            || center.neighbor(0, -1).latitudes().min > latitudes.min
            || center.neighbor(1, 0).longitudes().max < longitudes.max
            || center.neighbor(-1, 0).longitudes().min > longitudes.min;
        if steps > 1 && is_too_small {
            steps -= 1;
            center = Cell::at(self.center, steps);
        }
        let (east_west, north_south) = (center.longitudes(), center.latitudes());
        let is_needless = |columns: i32, rows: i32| {
            steps >= 2
                && ((rows < 0 && north_south.min < latitudes.min)
                    || (rows > 0 && north_south.max > latitudes.max)
                    || (columns < 0 && east_west.min < longitudes.min)
                    || (columns > 0 && east_west.max > longitudes.max))
        };
        let mut cells: Vec<Cell> = Vec::with_capacity(AROUND.len());
        for (columns, rows) in AROUND {
            let cell = center.neighbor(columns, rows);
            // Of four cells on the whole earth the neighbors on both sides are the same.
            if !is_needless(columns, rows) && !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Position = Position { longitude: 13.361389338970184, latitude: 38.1155563954963 };
    const CATANIA: Position = Position { longitude: 15.087267458438873, latitude: 37.50266842333162 };

    #[test]
    fn distances_are_those_of_redis() {
        assert_eq!(format!("{:.4}", distance(PALERMO, CATANIA)), "166274.1516");
        assert_eq!(distance(PALERMO, PALERMO), 0.0);
        let antipode = Position { longitude: PALERMO.longitude - 180.0, latitude: -PALERMO.latitude };
        assert!((distance(PALERMO, antipode) - PI * EARTH_RADIUS).abs() < 1.0);
    }

    #[test]
    fn distances_are_the_same_bits_on_every_machine() {
        let mut random = crate::commands::Random::new(11);
        let mut degrees = |reach: i64| (random.below(2_000_000) as i64 - 1_000_000) as f64 / 1e6 * reach as f64;
        let mut digest = 0u64;
        for round in 0..20_000 {
            let one = Position { longitude: degrees(180), latitude: degrees(85) };
            let near = if round % 2 == 0 { 1 } else { 90 };
            let other = Position { longitude: one.longitude + degrees(near), latitude: degrees(85) };
            digest = digest.rotate_left(5) ^ distance(one, other).to_bits();
        }
        // What was stored must be what an entry of the log stores again.
        assert_eq!(digest, 7_250_744_882_579_857_922);
    }

    #[test]
    fn every_position_of_an_area_is_in_one_of_its_cells() {
        let mut random = crate::commands::Random::new(3);
        let mut degrees = |reach: f64| (random.below(2_000_001) as f64 / 1e6 - 1.0) * reach;
        for round in 0..2_000 {
            let center = Position { longitude: degrees(150.0), latitude: degrees(70.0) };
            let radius = 10f64.powf(2.0 + f64::from(round % 40) / 10.0);
            let shape = Shape { center, form: Form::Circle { radius } };
            let cells = shape.cells();
            assert!(cells.len() <= 9);
            for _ in 0..50 {
                let reach = radius / EARTH_RADIUS / DEGREE;
                let position = Position {
                    longitude: (center.longitude + degrees(2.0 * reach)).clamp(-180.0, 180.0),
                    latitude: (center.latitude + degrees(reach)).clamp(-85.0, 85.0),
                };
                if shape.distance_within(position).is_none() {
                    continue;
                }
                let score = position.score();
                let is_found = cells.iter().any(|cell| (cell.scores().0..cell.scores().1).contains(&score));
                assert!(is_found, "{position:?} of {shape:?}");
            }
        }
    }
}
