//! Figures whose names their core brings.

use std::sync::OnceLock;

use super::Figure;

/// Figures of a part of a core that not every node has: none before they are published for the first time.
#[derive(Debug, Default)]
pub struct NamedFigures(OnceLock<Box<[(&'static str, Figure)]>>);

impl NamedFigures {
    /// Sets the figures. Their names are the same each time. Only the core that owns them may call this, see [`Figure::add`].
    pub fn publish(&self, values: &[(&'static str, u64)]) {
        let figures = self.0.get_or_init(|| values.iter().map(|&(name, _)| (name, Figure::default())).collect());
        assert_eq!(figures.len(), values.len(), "the names are the same each time");
        for ((name, figure), &(same, value)) in figures.iter().zip(values) {
            debug_assert_eq!(*name, same, "the names are the same each time");
            figure.set(value);
        }
    }

    /// The names and figures.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.get().into_iter().flatten().map(|(name, figure)| (*name, figure.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_last_is_read_by_name() {
        let figures = NamedFigures::default();
        assert_eq!(figures.iter().count(), 0);
        figures.publish(&[("links", 1), ("dials", 7)]);
        figures.publish(&[("links", 2), ("dials", 8)]);
        assert!(figures.iter().eq([("links", 2), ("dials", 8)]));
    }
}
