//! Texts of strangers inside a message: escaped so that they mention nobody, and cut so that they fit.
//!
//! Slack reads `&`, `<` and `>` as control characters
//! (<https://docs.slack.dev/messaging/formatting-message-text#escaping>). Mattermost also reads `@here` and
//! Markdown (<https://docs.mattermost.com/developers/integrate/reference/message-attachments>).

use tocsin_plugin_kit::text;

use crate::limits::character_size;

/// Markup of the receiving server, which a [`Layout`](crate::options::Layout) decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Markup {
    /// Only `<...>` has a meaning beyond bold text and the like.
    Slack,
    /// A name after `@` mentions, and `[...](...)` links.
    Markdown,
}

/// Limits of one text, see [`crate::limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Longest text, in UTF-16 code units.
    pub(crate) length: usize,
    /// Largest [size](crate::limits::size).
    pub(crate) bytes: usize,
}

impl Limit {
    pub(crate) const fn length(length: usize) -> Self {
        Self { length, bytes: usize::MAX }
    }
}

const CUT: char = '…';

impl Markup {
    /// Returns a text on one line, escaped and cut; `None` if it is blank.
    pub(crate) fn line(self, text: &str, limit: Limit) -> Option<String> {
        self.fitted(&text::one_line(text)?, limit)
    }

    /// Returns a text of several lines, escaped and cut; `None` if it is blank.
    pub(crate) fn lines(self, text: &str, limit: Limit) -> Option<String> {
        self.fitted(&text::several_lines(text)?, limit)
    }

    /// Escapes a text and cuts it between two characters; `None` if nothing fits.
    fn fitted(self, text: &str, limit: Limit) -> Option<String> {
        let mut fitted = String::new();
        let (mut length, mut bytes) = (0, 0);
        // End of the longest beginning that leaves room for the mark of the cut.
        let mut end = 0;
        for character in text.chars() {
            let mut piece = [0; 4];
            let piece = self.escaped(character, &mut piece);
            let needed_length = length + piece.encode_utf16().count();
            let needed_bytes = bytes + piece.chars().map(character_size).sum::<usize>();
            if needed_length > limit.length || needed_bytes > limit.bytes {
                fitted.truncate(end);
                fitted.truncate(fitted.trim_end().len());
                return (!fitted.is_empty()).then(|| fitted + "…");
            }
            fitted.push_str(piece);
            (length, bytes) = (needed_length, needed_bytes);
            if length < limit.length && bytes + character_size(CUT) <= limit.bytes {
                end = fitted.len();
            }
        }
        Some(fitted)
    }

    fn escaped(self, character: char, buffer: &mut [u8; 4]) -> &str {
        match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '@' if self == Self::Markdown => "@\u{200B}",
            '[' if self == Self::Markdown => "\\[",
            _ => character.encode_utf8(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slack(text: &str, length: usize) -> String {
        Markup::Slack.line(text, Limit::length(length)).unwrap_or_default()
    }

    #[test]
    fn control_forms_stay_text() {
        assert_eq!(slack("<!here> a&b <@U1>", 99), "&lt;!here&gt; a&amp;b &lt;@U1&gt;");
        let markdown = Markup::Markdown.line("@all ![x](http://x) <!here>", Limit::length(99));
        assert_eq!(markdown.as_deref(), Some("@\u{200B}all !\\[x](http://x) &lt;!here&gt;"));
    }

    #[test]
    fn a_cut_never_splits_an_entity_or_a_character() {
        assert_eq!(slack("ab&", 7), "ab&amp;");
        assert_eq!(slack("ab&", 6), "ab…");
        assert_eq!(slack("🔥🔥🔥", 5), "🔥🔥…");
        assert_eq!(slack("🔥🔥🔥", 6), "🔥🔥🔥");
        assert_eq!(slack("ab cd", 4), "ab…");
        assert_eq!(slack("abc", 0), "");
        let bytes = |bytes| Markup::Slack.line("éé", Limit { length: 9, bytes });
        assert_eq!(bytes(12).as_deref(), Some("éé"));
        assert_eq!(bytes(11), None);
        assert_eq!(Markup::Slack.line("aéé", Limit { length: 9, bytes: 7 }).as_deref(), Some("a…"));
    }

    #[test]
    fn lines_are_kept_or_joined() {
        assert_eq!(slack("a\n\tb\u{202E}\0", 9), "a b");
        let lines = Markup::Slack.lines("a\n\tb\u{202E}\0\n", Limit::length(9));
        assert_eq!(lines.as_deref(), Some("a\n\tb"));
        assert_eq!(Markup::Slack.lines("\u{200B}\n", Limit::length(9)), None);
    }
}
