//! Output for people: tables, fields, lines and errors. Characters that would control the terminal are
//! replaced, see [`printable`](crate::printable).

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::printable::{json, lines, one_line};

/// Prints a table with aligned columns. On a terminal, long cells are wrapped to its width.
pub(super) fn print_table(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| one_line(cell).into_owned())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(io::stdout(), "{}", line.trim_end())?;
    }
    Ok(())
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

/// Prints an error or a warning to standard error.
pub(super) fn print_error(text: &str) {
    // If standard error is closed, the message cannot be shown.
    let _ = writeln!(io::stderr(), "{}", lines(text));
}
