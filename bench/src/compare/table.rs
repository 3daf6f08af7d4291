//! A table of text, for the terminal or in Markdown.

/// The form in which a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Columns under each other.
    Plain,
    /// Markdown's pipes, and columns under each other.
    Markdown,
}

/// A table; its first columns hold text, which is aligned left, the others figures, which are aligned right.
#[derive(Debug)]
pub struct Table {
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, of which so many hold text.
    pub fn new<'a>(text_columns: usize, titles: impl IntoIterator<Item = &'a str>) -> Table {
        Table { text_columns, rows: vec![titles.into_iter().map(String::from).collect()] }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as there are columns.
    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.rows[0].len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    /// Writes the table.
    pub fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| self.pad(column, cell, width))
                .collect();
            match style {
                Style::Plain => out.push_str(cells.join("  ").trim_end()),
                Style::Markdown => out.push_str(&format!("| {} |", cells.join(" | "))),
            }
            out.push('\n');
            if index == 0 {
                out.push_str(&self.rule(&widths, style));
            }
        }
        out
    }

    fn pad(&self, column: usize, cell: &str, width: usize) -> String {
        if column < self.text_columns { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    }

    /// The line below the titles.
    fn rule(&self, widths: &[usize], style: Style) -> String {
        if style == Style::Plain {
            return format!("{}\n", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
        }
        let cell = |(column, &width): (usize, &usize)| {
            if column < self.text_columns { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
        };
        format!("|{}|\n", widths.iter().enumerate().map(cell).collect::<Vec<String>>().join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(1, ["load", "µs"]);
        table.push(vec!["GET".into(), "1234".into()]);
        table
    }

    #[test]
    fn plain_columns_stand_under_each_other() {
        assert_eq!(table().render(Style::Plain), "load    µs\n----------\nGET   1234\n");
    }

    #[test]
    fn markdown_has_pipes_and_alignment() {
        assert_eq!(table().render(Style::Markdown), "| load |   µs |\n|------|-----:|\n| GET  | 1234 |\n");
    }
}
