//! Graphs of characters, as LATENCY GRAPH draws them: a column a sample, its label below it.

/// Characters of one row of a bar, from the lowest to the highest step.
const STEPS: [u8; 3] = *b"_o#";
/// Rows of bars.
const ROWS: usize = 4;
/// Columns side by side; what is beyond comes below.
pub(super) const COLUMNS: usize = 80;

/// Draws `samples`, each with its label.
pub(super) fn draw(samples: &[(u64, String)]) -> String {
    let values = || samples.iter().map(|(value, _)| *value);
    let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    let pieces = samples.chunks(COLUMNS).map(|piece| draw_piece(piece, least, most));
    pieces.collect::<Vec<_>>().join("\n")
}

fn draw_piece(samples: &[(u64, String)], least: u64, most: u64) -> String {
    let steps = STEPS.len() * ROWS;
    let span = if most == least { 1.0 } else { (most - least) as f64 };
    let step_of = |value: u64| (((value - least) as f64 * steps as f64 / span) as usize).min(steps - 1);
    let mut out = String::new();
    let mut line = |character: &dyn Fn(&(u64, String)) -> u8| {
        out.extend(samples.iter().map(|sample| char::from(character(sample))));
        out.push('\n');
    };
    for row in 0..ROWS {
        let below = (ROWS - row - 1) * STEPS.len();
        line(&|(value, _)| match step_of(*value).checked_sub(below) {
            None => b' ',
            Some(step) => STEPS.get(step).copied().unwrap_or(b'|'),
        });
    }
    line(&|_| b' ');
    let longest = samples.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
    for position in 0..longest {
        line(&|(_, label)| label.as_bytes().get(position).copied().unwrap_or(b' '));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values_and_labels_stand_below() {
        let samples = [(0, "9s"), (50, "12s"), (100, "1m")].map(|(value, label)| (value, label.to_owned()));
        assert_eq!(draw(&samples), "  #\n _|\n ||\n_||\n   \n911\ns2m\n s \n");
        let many: Vec<_> = (0..90).map(|_| (7, "1s".to_owned())).collect();
        assert_eq!(draw(&many).lines().filter(|line| line.starts_with('_')).count(), 2, "{}", draw(&many));
        assert_eq!(draw(&[]), "");
    }
}
