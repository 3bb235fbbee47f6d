//! Tables as kubectl prints them: columns three blanks apart, the last one not padded.

use std::fmt;

/// Between two columns.
const GAP: usize = 3;
/// The narrowest column with its gap.
const NARROWEST: usize = 6;

/// Rows of text under headings.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings, written as they are.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// A table without headings.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells =
                self.rows.iter().filter(|row| column + 1 < row.len()).filter_map(|row| row.get(column));
            cells.map(|cell| visible(cell) + GAP).max().unwrap_or_default().max(NARROWEST)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                f.write_str(cell)?;
                if index + 1 < row.len() {
                    write!(f, "{:1$}", "", width.saturating_sub(visible(cell)))?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// How many characters of a text are seen: escape sequences of styles aren't.
pub fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letter by letter the table of the manual.
    #[test]
    fn as_kubectl() {
        let mut table = Table::new(["Name", "Alias", "HubAccepted"]);
        table.row(["mc-hz1", "cluster1-hangzhou", "true"]);
        table.row(["mc-bj2", "cluster2-beijing", "true"]);
        let expected = "\
Name     Alias               HubAccepted
mc-hz1   cluster1-hangzhou   true
mc-bj2   cluster2-beijing    true
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_narrow_column_has_six() {
        let mut table = Table::new(["A", "B"]);
        table.row(["1", "2"]);
        assert_eq!(table.to_string(), "A     B\n1     2\n");
    }

    #[test]
    fn styles_take_no_room() {
        use crate::output::style::{GOOD, paint};
        assert_eq!(visible(&paint(GOOD, "okay")), 4);
    }
}
