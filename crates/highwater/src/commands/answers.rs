//! Answers to `SHOW`, `DESCRIBE` and `EXPLAIN`, for people.

use std::io::Write;

use highwater_sql::Answer;

/// Prints aligned columns, or the text alone where an answer is one text.
pub(crate) fn print(answers: &[Answer], out: &mut dyn Write) -> std::io::Result<()> {
    for answer in answers {
        if answer.columns == ["result"] {
            for row in &answer.rows {
                writeln!(out, "{}", row.join(" ").trim_end())?;
            }
            continue;
        }
        let header: Vec<String> = answer.columns.iter().map(|name| (*name).to_owned()).collect();
        let rows = || std::iter::once(&header).chain(&answer.rows);
        let width = |column: usize| rows().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        for row in rows() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
    }
    Ok(())
}
