//! The line of a configuration at which an error points, without the values that may be secret.
//!
//! A value is shown only if its key is known to be harmless. Anything else is replaced by `***`: the
//! options of a plugin, tokens, URLs, unknown keys, comments, and what is no TOML at all.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::lookup::reference;

/// The text in place of a value that is not shown.
const MASK: &str = "***";

/// A part of a line, to be shown with a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The line.
    pub(super) line: String,
    /// The place, in characters from its start.
    pub(super) start: usize,
    /// How many characters the place has.
    pub(super) width: usize,
}

/// Gives the line of a text in which a span begins.
pub(super) fn excerpt(text: &str, span: &Range<usize>) -> Excerpt {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let source = text[line_start..].lines().next().unwrap_or_default();
    let line = line_start..line_start + source.len();
    let pieces = match DeTable::parse(text) {
        Ok(root) => pieces_of_toml(text, root.get_ref(), &line),
        Err(_) => pieces_of_broken_toml(text, &line),
    };
    let end = text.ceil_char_boundary(span.end.clamp(start, line.end.max(start)));
    place(text, &pieces, start, end)
}

/// Returns whether the value of a key may be shown, whatever it is. No key of the host with a secret is
/// among these, and no URL, which may hold a password.
pub(super) fn is_harmless(key: &[&str]) -> bool {
    match key {
        ["server", "public_url"] => false,
        ["server" | "watch" | "requests" | "retention" | "log", name] => {
            HARMLESS.contains(name) || name.ends_with("_timeout")
        }
        ["admin", name] => *name == "listen" || name.starts_with("max_"),
        ["plugins", "checksums", _] => true,
        ["plugins", name] => *name != "public_keys" && HARMLESS.contains(name),
        ["integrations", _, "maintenance", "from" | "to"] => true,
        ["integrations", _, name] => *name != "options" && HARMLESS.contains(name),
        _ => false,
    }
}

/// Names of keys whose values are shown, of all sections.
const HARMLESS: &[&str] = &[
    "allow_writable_by_others",
    "body_limit_bytes",
    "body_memory_bytes",
    "call_deadline",
    "description",
    "dir",
    "enabled",
    "format",
    "header_limit_bytes",
    "hide_integrations",
    "keep",
    "level",
    "listen",
    "lock",
    "look_every",
    "maintenance",
    "max_connections",
    "max_connections_per_address",
    "max_store_bytes",
    "max_wrong_tokens_per_minute",
    "plugin",
    "quarantine_bytes",
    "quarantine_count",
    "rate_limit",
    "raw_limit_bytes",
    "raw_requests",
    "records",
    "required",
    "resolve_after",
    "resolved_alerts",
    "sender_rate_limit",
    "settle",
    "slow_call",
    "title",
    "trusted_proxies",
    "urgency",
    "verify",
    "version",
];

/// The first part of every key.
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

/// A piece of a line: shown as it is, or masked.
struct Piece {
    range: Range<usize>,
    is_shown: bool,
}

impl Piece {
    fn shown(range: Range<usize>) -> Self {
        Self { range, is_shown: true }
    }

    fn masked(range: Range<usize>) -> Self {
        Self { range, is_shown: false }
    }
}

/// Puts pieces together, and finds the place of a span among them.
fn place(text: &str, pieces: &[Piece], from: usize, to: usize) -> Excerpt {
    let (mut line, mut count, mut start, mut end) = (String::new(), 0, None, None);
    for Piece { range, is_shown } in pieces {
        let shown = if *is_shown { &text[range.clone()] } else { MASK };
        let length = shown.chars().count();
        let within = |at: usize| if *is_shown { text[range.start..at].chars().count() } else { 0 };
        if start.is_none() && from < range.end {
            start = Some(count + within(from.max(range.start)));
        }
        if start.is_some() && to <= range.end && end.is_none() {
            let to = to.max(range.start);
            end = Some(count + if *is_shown { within(to) } else { length });
        }
        line.push_str(shown);
        count += length;
    }
    let kept = line.trim_end().chars().count();
    line.truncate(line.trim_end().len());
    let start = start.unwrap_or(count).min(kept);
    let width = end.unwrap_or(kept).min(kept).saturating_sub(start).max(1);
    Excerpt { line, start, width }
}

/// The pieces of a line where the whole text is TOML, so that every value has its place.
fn pieces_of_toml(text: &str, root: &DeTable<'_>, line: &Range<usize>) -> Vec<Piece> {
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
        // Between keys and values stand blanks and signs, and before the next line a comment.
        pieces.push(Piece::shown(at..range.start));
        at = range.end;
        pieces.push(Piece { range, is_shown });
    }
    let rest = text[at..line.end].find('#').map_or(line.end, |comment| at + comment);
    pieces.push(Piece::shown(at..rest));
    pieces
}

/// Marks every key and every value, and whether it is shown.
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
        _ => marks.push(Piece { range: value.span(), is_shown: is_harmless(path) }),
    }
}

/// Returns whether a name is written as names of variables usually are. Anything else may be a secret that
/// somebody wrote where its variable should be named.
pub(super) fn is_usual_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// The pieces of a line of a text that is no TOML: the key where there is one, and a value that is
/// simple and harmless.
fn pieces_of_broken_toml(text: &str, line: &Range<usize>) -> Vec<Piece> {
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
                let value_is_shown = is_harmless(&path) && is_simple(&text[value..line.end]);
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

/// A value without anything behind it, such as a second key or a comment.
fn is_simple(value: &str) -> bool {
    let value = value.trim();
    let quoted =
        ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let inner = quoted.unwrap_or(value);
    let is_plain = |c: char| !c.is_whitespace() && !"\"'#,=[]{}\\".contains(c);
    inner.chars().all(is_plain)
}

/// The end of a section's header in a line without indent, and the section.
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

/// The key at the beginning of a line, and where its value begins. A word that may be a secret is no
/// key: it has digits, capitals or many letters, and no key of the host is written so.
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

/// The state of a text at the beginning of one of its lines.
struct Lines {
    /// True if the line begins inside a string or a list, where no key can stand.
    is_inside: bool,
    /// The section that it belongs to.
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

/// Reads on to the end of a line: in which string of several lines that is, and in how many lists.
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
                // One that is not closed ends with its line.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The line in which a word stands, and the place of the word.
    fn shown(text: &str, word: &str) -> String {
        let at = text.find(word).expect("the word is there");
        let Excerpt { line, start, width } = excerpt(text, &(at..at + word.len()));
        format!("{line}\n{}{}", " ".repeat(start), "^".repeat(width))
    }

    #[test]
    fn only_values_of_harmless_keys_are_shown() {
        for (text, word, line) in [
            (
                "[server]\nlisten = '127.0.0.1:1' # s3cret",
                "'127",
                "listen = '127.0.0.1:1'\n         ^^^^",
            ),
            ("[admin]\ntokens = ['s3cret', 17]", "17", "tokens = [***, ***]\n               ^^^"),
            ("[admin]\ntoken = 's3cret'", "token", "token = ***\n^^^^^"),
            ("[server]\npassword = 's3cret'", "password", "password = ***\n^^^^^^^^"),
            (
                "[server]\npublic_url = 'ftp://me:s3cret@x'",
                "'ftp",
                "public_url = ***\n             ^^^",
            ),
            (
                "admin = { listen = 'x', tokens = ['s3cret'] }",
                "'x'",
                "admin = { listen = 'x', tokens = [***] }\n                   ^^^",
            ),
            (
                "[integrations.a]\nplugin = 'x'\noptions.token = 's3cret'",
                "'s3",
                "options.token = ***\n                ^^^",
            ),
            ("[integrations.a]\ntitle = '{{ x }'", "{{", "title = '{{ x }'\n         ^^"),
            ("[integrations.a]\nenabeld = true", "enabeld", "enabeld = true\n^^^^^^^"),
            (
                "[admin]\ntokens = [{ env = 'NOPE' }, { file = 'a.token' }]",
                "NOPE",
                "tokens = [{ env = 'NOPE' }, { file = 'a.token' }]\n                   ^^^^",
            ),
            (
                "[admin]\ntokens = [{ env = 's3cret' }]",
                "'s3cret'",
                "tokens = [{ env = *** }]\n                  ^^^",
            ),
        ] {
            assert_eq!(shown(text, word), line, "{text}");
        }
    }

    #[test]
    fn a_string_of_several_lines_is_masked_in_each_of_them() {
        let text =
            "[integrations.a.options]\nkey = '''\ns3cret # = \nand more''' # why\nnext = 1\n";
        assert_eq!(shown(text, "s3cret"), "***\n^^^");
        assert_eq!(shown(text, "more"), "***\n^^^");
        assert_eq!(shown(text, "key"), "key = ***\n^^^");
        assert_eq!(shown(text, "next"), "next = ***\n^^^^");
    }

    #[test]
    fn of_what_is_no_toml_no_value_is_shown_that_may_be_secret() {
        for (text, word, line) in [
            ("[server\n", "[server", "[server\n^^^^^^^"),
            (
                "[server]\nlisten = 127.0.0.1:8080\n",
                "0.1",
                "listen = 127.0.0.1:8080\n               ^^^",
            ),
            ("[server]\nlisten = 'x' token = 's3cret'\n", "token", "listen = ***\n         ^^^"),
            ("[admin]\ntokens = ['s3cret]\n", "'s3", "tokens = ***\n         ^^^"),
            ("[admin]\ntokens = [\n  AbC=\n]\n", "AbC", "  ***\n  ^^^"),
            (
                "[integrations.a]\noptions.token = s3cret\n",
                "s3cret",
                "options.token = ***\n                ^^^",
            ),
            ("[integrations.a]\noptions.token \"s3cret\"\n", "\"s3", "***\n^^^"),
            ("[integrations.a.options]\nkey = \"\"\"\nabc =\n", "abc", "***\n^^^"),
            ("deadbeef42 = = 1", "= 1", "***\n^^^"),
        ] {
            assert_eq!(shown(text, word), line, "{text}");
        }
    }
}
