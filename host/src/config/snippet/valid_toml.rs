//! Pieces of a line if the whole text is valid TOML.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Piece;
use crate::config::{
    masking::{is_usual_variable, may_be_shown},
    references::reference,
};

/// Returns the [`Piece`]s of a line if the whole text is TOML, so that the span of every value is known.
pub(super) fn pieces_of_toml(text: &str, root: &DeTable<'_>, line: &Range<usize>) -> Vec<Piece> {
    let mut marks = Vec::new();
    mark_table(text, root, &mut Vec::new(), &mut marks);
    marks.retain(|mark| mark.range.start < line.end && mark.range.end > line.start);
    marks.sort_by_key(|mark| mark.range.start);
    let (mut pieces, mut at) = (Vec::new(), line.start);
    for Piece { range, is_shown } in marks {
        let range = range.start.max(at)..range.end.min(line.end);
        if range.is_empty() {
            continue;
        }
        // Between keys and values are only blanks and punctuation.
        pieces.push(Piece::shown(at..range.start));
        at = range.end;
        pieces.push(Piece { range, is_shown });
    }
    let rest = text[at..line.end].find('#').map_or(line.end, |comment| at + comment);
    pieces.push(Piece::shown(at..rest));
    pieces
}

/// Adds a [`Piece`] for every key and every value of a table.
fn mark_table<'t>(
    text: &str,
    table: &'t DeTable<'_>,
    path: &mut Vec<&'t str>,
    marks: &mut Vec<Piece>,
) {
    for (name, value) in table {
        marks.push(Piece::shown(name.span()));
        path.push(name.get_ref());
        mark_value(text, value, path, marks);
        path.pop();
    }
}

fn mark_value<'t>(
    text: &str,
    value: &'t toml::Spanned<DeValue<'_>>,
    path: &mut Vec<&'t str>,
    marks: &mut Vec<Piece>,
) {
    match value.get_ref() {
        DeValue::Table(table) => {
            let is_shown = match reference(table) {
                Some(("env", name)) => is_usual_variable(&name),
                Some(_) => true,
                None => return mark_table(text, table, path, marks),
            };
            for (name, value) in table {
                marks.push(Piece::shown(name.span()));
                marks.push(Piece { range: value.span(), is_shown });
            }
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| mark_value(text, item, path, marks));
        }
        DeValue::Boolean(_) => marks.push(Piece::shown(value.span())),
        _ => marks.push(Piece { range: value.span(), is_shown: may_be_shown(path) }),
    }
}
