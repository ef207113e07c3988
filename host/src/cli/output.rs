//! Output for people: tables, fields, lines and errors. Characters that would control the terminal are
//! replaced, see [`printable`](crate::printable).

use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::printable::{json, lines, one_line};

/// Prints a table with aligned columns. On a terminal, long cells are wrapped to its width.
pub(super) fn print_table(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
    for line in table(header, rows, width) {
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

/// Narrowest column of a table that is still readable.
const NARROWEST_COLUMN: u16 = 6;

/// Returns the lines of a table that fits a width, if there is one. If the columns have no room beside each
/// other, each row is a block with a line for each cell that is not empty.
fn table(header: &[&str], rows: &[Vec<String>], width: Option<u16>) -> Vec<String> {
    let cells = |row: &[String]| -> Vec<String> {
        row.iter().map(|cell| one_line(cell).into_owned()).collect()
    };
    let is_used = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let used = (0..header.len()).filter(is_used).count();
    let has_room = |width: u16| usize::from(width / NARROWEST_COLUMN) >= used;
    if let Some(width) = width.filter(|width| !has_room(*width)) {
        return rows.iter().flat_map(|row| block(header, &cells(row), width.into())).collect();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.add_rows(rows.iter().map(|row| cells(row)));
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        // On a terminal, a column without any value leaves its room to the others.
        if width.is_some() && !is_used(&place) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Returns a row as lines of labels and values, cut to a width, and an empty line.
fn block(header: &[&str], row: &[String], width: usize) -> Vec<String> {
    let filled = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
    let line = |(label, cell): (&&str, &String)| {
        let line: Vec<char> = format!("{label} {cell}").chars().collect();
        line.chunks(width.max(1)).map(|part| part.iter().collect()).collect::<Vec<String>>()
    };
    filled.flat_map(line).chain([String::new()]).collect()
}

/// Prints a generated file as it is.
pub(super) fn print_file(contents: &[u8]) -> anyhow::Result<()> {
    io::stdout().write_all(contents)?;
    Ok(io::stdout().flush()?)
}

/// Prints JSON, indented.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", json(&serde_json::to_string_pretty(value)?))?)
}

/// Prints JSON on a line.
pub(super) fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", json(&serde_json::to_string(value)?))?)
}

/// Prints a text as [one line](one_line), even if it has line breaks.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", one_line(line))?)
}

/// Prints a text of this program, with its line breaks.
pub(super) fn print_lines(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", lines(text))?)
}

/// Prints a field below a heading. Further lines of its value are indented, so that none of them looks like
/// a field.
pub(super) fn print_field(indent: usize, label: &str, value: &str) -> anyhow::Result<()> {
    let mut label = format!("{:indent$}{:<12} ", "", one_line(label));
    for line in value.trim_end_matches('\n').split('\n') {
        print_line(format!("{label}{line}").trim_end())?;
        label = " ".repeat(indent + 13);
    }
    Ok(())
}

/// Prints text from outside the host, each line behind a bar.
pub(super) fn print_quoted(indent: usize, text: &str) -> anyhow::Result<()> {
    for line in text.lines() {
        print_line(format!("{:indent$}| {line}", "").trim_end())?;
    }
    Ok(())
}

/// Prints a question to standard error. The answer is typed on the same line.
pub(super) fn print_question(text: &str) {
    // If standard error is closed, the question cannot be shown.
    let _ = write!(io::stderr(), "{}", one_line(text));
}

/// Prints an error or a warning to standard error.
pub(super) fn print_error(text: &str) {
    // If standard error is closed, the message cannot be shown.
    let _ = writeln!(io::stderr(), "{}", lines(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 4] = ["NUMBER", "STATUS", "TITLE", "LINK"];

    fn rows() -> Vec<Vec<String>> {
        let row =
            |number: &str, title: &str| [number, "open", title, ""].map(str::to_owned).to_vec();
        vec![row("1", "the disk of db1 is full, and nobody has said why"), row("2", "load")]
    }

    #[test]
    fn a_table_fits_the_terminal() {
        for width in [20, 24, 30, 40, 80, 200] {
            for line in table(&HEADER, &rows(), Some(width)) {
                assert!(line.chars().count() <= width.into(), "{width}: {line}");
            }
        }
        let all = table(&HEADER, &rows(), Some(40)).join("\n");
        for word in ["NUMBER", "nobody", "said", "load"] {
            assert!(all.contains(word), "{all}");
        }
        assert!(!all.contains("LINK"), "no alert has a link: {all}");
    }

    #[test]
    fn rows_are_blocks_on_a_terminal_that_is_too_narrow_for_columns() {
        let lines = table(&HEADER, &rows()[1..], Some(12));
        assert_eq!(lines, ["NUMBER 2", "STATUS open", "TITLE load", ""]);
    }

    #[test]
    fn a_table_that_is_not_for_a_terminal_has_every_column_on_one_line() {
        let lines = table(&HEADER, &rows(), None);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].ends_with("LINK"), "{lines:?}");
    }
}
