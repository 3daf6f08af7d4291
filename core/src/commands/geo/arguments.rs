//! Reading positions, lengths and units out of arguments.

use super::cell::{LATITUDES, LONGITUDES, Position};
use crate::commands::float_text::read_f64;
use crate::commands::{CommandError, parse_f64};

/// Reads a longitude and a latitude, in degrees.
///
/// # Errors
/// [`CommandError::NOT_A_FLOAT`], or "invalid longitude,latitude pair".
pub(super) fn read_position(longitude: &[u8], latitude: &[u8]) -> Result<Position, CommandError> {
    let (longitude, latitude) = (parse_f64(longitude)?, parse_f64(latitude)?);
    if !LONGITUDES.has(longitude) || !LATITUDES.has(latitude) {
        return Err(CommandError::owned(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")));
    }
    Ok(Position { longitude, latitude })
}

/// Reads a unit of length: its metres.
///
/// # Errors
/// "unsupported unit provided".
pub(super) fn read_unit(arg: &[u8]) -> Result<f64, CommandError> {
    Ok(match arg.to_ascii_lowercase().as_slice() {
        b"m" => 1.0,
        b"km" => 1000.0,
        b"ft" => 0.3048,
        b"mi" => 1609.34,
        _ => return Err(CommandError::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
    })
}

/// Reads a length; `text` is the whole error of what is no number.
///
/// # Errors
/// That one.
pub(super) fn read_length(arg: &[u8], text: &'static str) -> Result<f64, CommandError> {
    read_f64(arg).ok_or(CommandError::text(text))
}
