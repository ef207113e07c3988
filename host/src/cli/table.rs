//! Lists as people read them: aligned columns, colours only on a terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints rows below a header; on a terminal, long cells are wrapped to its width.
pub(super) fn print(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| printable(cell))));
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
    Ok(writeln!(io::stdout(), "{}", serde_json::to_string_pretty(value)?)?)
}

/// Prints a line.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    let lines: Vec<_> = line.split('\n').map(printable).collect();
    Ok(writeln!(io::stdout(), "{}", lines.join("\n"))?)
}

/// What a sender wrote must not steer the terminal of whoever reads it.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
