//! Pieces of a line if the text is not TOML, so that no parser tells keys from values.

use std::ops::Range;

use super::Piece;
use crate::config::masking::may_be_shown;

/// Returns the [`Piece`]s of a line of a text that is not TOML. A key is shown, and its value if both are
/// simple and the key is harmless.
pub(super) fn pieces_of_broken_toml(text: &str, line: &Range<usize>) -> Vec<Piece> {
    let lines = Lines::before(text, line.start);
    let source = &text[line.clone()];
    let indent = line.start + (source.len() - source.trim_start().len());
    let shown_to = match header(source.trim_start()) {
        _ if lines.is_inside => indent,
        Some((shown, _)) => indent + shown,
        None => match key(source.trim_start()) {
            Some((name, length)) => {
                let value = indent + length;
                let path: Vec<_> = lines.section.iter().map(String::as_str).collect();
                let path = [path, name.split('.').map(str::trim).collect()].concat();
                let value_is_shown = may_be_shown(&path) && is_simple(&text[value..line.end]);
                if value_is_shown { line.end } else { value }
            }
            None => indent,
        },
    };
    // The blanks before a value that is not shown.
    let rest = &text[shown_to..line.end];
    let blanks = shown_to + (rest.len() - rest.trim_start().len());
    vec![Piece::shown(line.start..blanks), masked_unless_blank(text, blanks..line.end)]
}

fn masked_unless_blank(text: &str, range: Range<usize>) -> Piece {
    let is_blank = text[range.clone()].trim().is_empty();
    if is_blank { Piece::shown(range) } else { Piece::masked(range) }
}

/// Returns true if nothing, such as a second key or a comment, follows a value.
fn is_simple(value: &str) -> bool {
    let value = value.trim();
    let quoted =
        ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let inner = quoted.unwrap_or(value);
    let is_plain = |c: char| !c.is_whitespace() && !"\"'#,=[]{}\\".contains(c);
    inner.chars().all(is_plain)
}

/// Returns the end of a section's header in a line without indent, and the parts of the section's name.
fn header(line: &str) -> Option<(usize, Vec<String>)> {
    let inner = line.trim_start_matches('[');
    let brackets = line.len() - inner.len();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_. '\"".contains(c);
    let length = inner.find(|c| !is_word(c)).unwrap_or(inner.len());
    let names: Vec<_> = inner[..length]
        .split('.')
        .map(|name| name.trim().trim_matches(['"', '\'']).to_owned())
        .collect();
    let is_section = (1..=2).contains(&brackets) && SECTIONS.contains(&&*names[0]);
    let closing = inner[length..].bytes().take_while(|byte| *byte == b']').count().min(brackets);
    is_section.then_some((brackets + length + closing, names))
}

/// Names of all sections.
const SECTIONS: &[&str] = &[
    "server",
    "admin",
    "store",
    "plugins",
    "requests",
    "retention",
    "watch",
    "log",
    "integrations",
];

/// Returns the key at the start of a line, and the start of its value. A word with digits, capitals or
/// many letters may be a secret and does not count as a key; no key of the host looks like that.
fn key(line: &str) -> Option<(&str, usize)> {
    const LONGEST: usize = 40;
    let (name, value) = line.split_once('=')?;
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let name = name.trim_end();
    let is_key = !name.is_empty()
        && name.len() <= LONGEST
        && name.chars().all(is_word)
        && !value.starts_with('=');
    is_key.then(|| (name, line.len() - value.len()))
}

/// The state of a text at the start of one of its lines.
struct Lines {
    /// True if the line starts inside a string or a list, where no key can be.
    is_inside: bool,
    /// The section of the line.
    section: Vec<String>,
}

impl Lines {
    fn before(text: &str, end: usize) -> Self {
        let (mut string, mut depth, mut section) = (None, 0_usize, Vec::new());
        for line in text[..end].split_inclusive('\n') {
            let named = header(line.trim_start()).filter(|_| string.is_none() && depth == 0);
            if let Some((_, names)) = named {
                section = names;
                continue;
            }
            read_line(line, &mut string, &mut depth);
        }
        Self { is_inside: string.is_some() || depth > 0, section }
    }
}

/// Reads to the end of a line, and updates the open multi-line string and the depth of open lists.
fn read_line(line: &str, string: &mut Option<&'static str>, depth: &mut usize) {
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        if let Some(quotes) = *string {
            let Some(at) = end_of_string(rest, quotes) else { return };
            rest = &rest[at + quotes.len()..];
            *string = None;
            continue;
        }
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|it| rest.starts_with(it));
        if let Some(quotes) = quotes {
            rest = &rest[quotes.len()..];
            if quotes.len() == 3 {
                *string = Some(quotes);
            } else {
                // A string that is not closed ends with its line.
                let Some(at) = end_of_string(rest, quotes) else { return };
                rest = &rest[at + 1..];
            }
            continue;
        }
        match next {
            '#' => return,
            '[' | '{' => *depth += 1,
            ']' | '}' => *depth = depth.saturating_sub(1),
            _ => {}
        }
        rest = &rest[next.len_utf8()..];
    }
}

fn end_of_string(text: &str, quotes: &str) -> Option<usize> {
    let has_escapes = quotes.starts_with('"');
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(quotes) {
            return Some(at);
        }
        let mut chars = rest.chars();
        let next = chars.next()?;
        at += next.len_utf8();
        if has_escapes && next == '\\' {
            at += chars.next().map_or(0, char::len_utf8);
        }
    }
    None
}
