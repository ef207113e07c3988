//! The line of a configuration at which an error points, with possible secrets masked.
//!
//! A value is shown only if [`masking`](super::masking) allows its key. Anything else is replaced by `***`:
//! the options of a plugin, tokens, URLs, unknown keys, comments, and text that is not TOML.

mod broken_toml;
mod valid_toml;

use std::ops::Range;

use toml::de::DeTable;

use self::{broken_toml::pieces_of_broken_toml, valid_toml::pieces_of_toml};

/// Text in place of a value that is not shown.
const MASK: &str = "***";

/// A line of a file and the place in it at which an error points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    /// The line, with possible secrets masked.
    pub(super) line: String,
    /// Start of the place, in characters from the start of the line.
    pub(super) start: usize,
    /// Length of the place, in characters.
    pub(super) width: usize,
}

/// Returns the line of a text in which a span starts.
pub(super) fn snippet(text: &str, span: &Range<usize>) -> Snippet {
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

/// A piece of a line, either shown or masked.
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

/// Joins pieces, and finds the place of a span among them.
fn place(text: &str, pieces: &[Piece], from: usize, to: usize) -> Snippet {
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
    Snippet { line, start, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the line of a word, and below it a mark under the word.
    fn shown(text: &str, word: &str) -> String {
        let at = text.find(word).expect("the word is there");
        let Snippet { line, start, width } = snippet(text, &(at..at + word.len()));
        format!("{line}\n{}{}", " ".repeat(start), "^".repeat(width))
    }

    #[test]
    fn shows_only_values_of_harmless_keys() {
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
    fn masks_every_line_of_a_multi_line_string() {
        let text =
            "[integrations.a.options]\nkey = '''\ns3cret # = \nand more''' # why\nnext = 1\n";
        assert_eq!(shown(text, "s3cret"), "***\n^^^");
        assert_eq!(shown(text, "more"), "***\n^^^");
        assert_eq!(shown(text, "key"), "key = ***\n^^^");
        assert_eq!(shown(text, "next"), "next = ***\n^^^^");
    }

    #[test]
    fn masks_possible_secrets_in_text_that_is_not_toml() {
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
