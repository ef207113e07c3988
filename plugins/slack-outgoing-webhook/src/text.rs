//! Text of a message as people see it, for title and description.
//!
//! The urgency is found in the words of a text in [`crate::urgency`].

use std::{iter, ops::Range};

use memchr::memchr;
use tocsin_plugin_kit::{
    characters::is_control_or_bidi,
    text::{TITLE_LIMIT_CHARS, is_blank, truncated},
};

use crate::{
    markup::{self, Shown},
    product::Product,
};

/// Text as people see it: control forms and entities are resolved, control and bidi characters are
/// removed, spaces are single, and neither the text nor a line has white space at its ends.
#[derive(Debug)]
pub(crate) struct VisibleText {
    text: String,
    /// Ranges of URLs, mentions and names of channels, in order.
    references: Vec<Range<usize>>,
}

impl VisibleText {
    /// Reads a text in the format of a product.
    pub(crate) fn of(product: Product, text: &str) -> Self {
        if product.is_raw() { Self::from_raw(text) } else { Self::from_markup(text) }
    }

    /// Reads a text that the product sends as it was typed.
    pub(crate) fn from_raw(raw: &str) -> Self {
        let mut text = Cleaner::with_capacity(raw.len());
        text.push_str(raw);
        Self { text: text.text, references: Vec::new() }
    }

    /// Reads a text with Slack's [markup].
    pub(crate) fn from_markup(marked_up: &str) -> Self {
        let mut text = Cleaner::with_capacity(marked_up.len());
        let mut references = Vec::new();
        let mut rest = marked_up;
        while let Some((before, from_bracket)) = split_at_byte(rest, b'<') {
            text.push_escaped(before);
            rest = match markup::control_form(from_bracket) {
                Some((shown, rest)) => {
                    let range = text.push_shown(shown);
                    if shown.is_reference {
                        references.push(range);
                    }
                    rest
                }
                None => {
                    text.push('<');
                    &from_bracket[1..]
                }
            };
        }
        text.push_escaped(rest);
        Self { text: text.text, references }
    }

    /// Returns the whole text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the whole text.
    pub(crate) fn into_string(self) -> String {
        self.text
    }

    /// Returns whether the text looks empty: see [`is_blank`].
    pub(crate) fn is_blank(&self) -> bool {
        is_blank(&self.text)
    }

    /// Returns the first line that is not blank, cut at [`TITLE_LIMIT_CHARS`].
    pub(crate) fn title(&self) -> &str {
        let line = self.text.split('\n').find(|line| !is_blank(line)).unwrap_or_default();
        truncated(line, TITLE_LIMIT_CHARS)
    }

    /// Returns the text between URLs, mentions and names of channels that are marked up, in pieces.
    pub(crate) fn pieces_between_references(&self) -> impl Iterator<Item = &str> {
        let starts = iter::once(0).chain(self.references.iter().map(|range| range.end));
        let ends = self.references.iter().map(|range| range.start);
        let ends = ends.chain(iter::once(self.text.len()));
        starts.zip(ends).map(|(start, end)| &self.text[start..end])
    }
}

/// Returns whether a character ends a line: the mandatory breaks of UAX #14, except for the
/// carriage return, which only comes before a line feed.
fn is_line_break(character: char) -> bool {
    matches!(character, '\n' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    memchr(byte, text.as_bytes()).and_then(|at| text.split_at_checked(at))
}

/// Builder of a [`VisibleText`]. White space waits until a visible character follows, so none is
/// left at the ends of the text and of its lines.
struct Cleaner {
    text: String,
    pending_space: bool,
    pending_line_breaks: usize,
}

impl Cleaner {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), pending_space: false, pending_line_breaks: 0 }
    }

    /// Adds the visible text of a control form, and returns its range.
    fn push_shown(&mut self, shown: Shown<'_>) -> Range<usize> {
        let start = self.text.len();
        self.push_str(shown.before);
        self.push_escaped(shown.text);
        self.push_str(shown.after);
        start..self.text.len()
    }

    /// Adds text with entities, and resolves each entity once: `&amp;lt;` becomes `&lt;`.
    fn push_escaped(&mut self, escaped: &str) {
        let mut rest = escaped;
        while let Some((before, from_ampersand)) = split_at_byte(rest, b'&') {
            self.push_str(before);
            let (character, after) =
                markup::entity(from_ampersand).unwrap_or(('&', &from_ampersand[1..]));
            self.push(character);
            rest = after;
        }
        self.push_str(rest);
    }

    fn push_str(&mut self, text: &str) {
        let mut rest = text;
        loop {
            let graphic = rest.bytes().take_while(u8::is_ascii_graphic).count();
            if graphic > 0 {
                self.push_visible(&rest[..graphic]);
            }
            let mut after = rest[graphic..].chars();
            let Some(character) = after.next() else { return };
            self.push(character);
            rest = after.as_str();
        }
    }

    fn push(&mut self, character: char) {
        if is_line_break(character) {
            self.pending_line_breaks += 1;
        } else if character.is_whitespace() {
            self.pending_space = true;
        } else if !is_control_or_bidi(character) {
            self.push_visible(character.encode_utf8(&mut [0; 4]));
        }
    }

    fn push_visible(&mut self, visible: &str) {
        if !self.text.is_empty() {
            if self.pending_line_breaks > 0 {
                self.text.extend(iter::repeat_n('\n', self.pending_line_breaks));
            } else if self.pending_space {
                self.text.push(' ');
            }
        }
        (self.pending_space, self.pending_line_breaks) = (false, 0);
        self.text.push_str(visible);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked_up(text: &str) -> String {
        VisibleText::from_markup(text).into_string()
    }

    fn raw(text: &str) -> String {
        VisibleText::from_raw(text).into_string()
    }

    fn title(text: &str) -> String {
        VisibleText::from_raw(text).title().to_owned()
    }

    fn pieces(text: &str) -> Vec<String> {
        VisibleText::from_markup(text).pieces_between_references().map(str::to_owned).collect()
    }

    #[test]
    fn control_forms_are_resolved_before_entities() {
        assert_eq!(marked_up("<@U1|bob>: &lt;@U1|bob&gt;"), "@bob: <@U1|bob>");
        assert_eq!(marked_up("<https://x.example/?a=1&amp;b=2>"), "https://x.example/?a=1&b=2");
        assert_eq!(marked_up("<https://x.example/|a &amp; b>"), "a & b");
    }

    #[test]
    fn entities_are_resolved_once() {
        assert_eq!(marked_up("&amp;lt;b&amp;gt; &amp;amp;"), "&lt;b&gt; &amp;");
        assert_eq!(marked_up("a & b &quot; &"), "a & b &quot; &");
        assert_eq!(marked_up("&l<t;"), "&l<t;");
    }

    #[test]
    fn brackets_without_a_control_form_stay() {
        assert_eq!(marked_up("a < b <@U1> > <> <"), "a < b @U1 > <> <");
        assert_eq!(marked_up("<<@U1>>"), "<@U1>");
    }

    #[test]
    fn links_of_any_scheme_are_resolved() {
        assert_eq!(marked_up("call <tel:+15551234567|555-123-4567> now"), "call 555-123-4567 now");
        assert_eq!(marked_up("call <tel:+15551234567>"), "call tel:+15551234567");
        assert_eq!(marked_up("<sip:a@x.example?b&amp;c>"), "sip:a@x.example?b&c");
    }

    #[test]
    fn raw_text_stays_as_it_was_typed() {
        assert_eq!(raw("&lt; <@U1|bob> &amp;"), "&lt; <@U1|bob> &amp;");
    }

    #[test]
    fn white_space_becomes_one_space_and_is_removed_at_the_ends_of_lines() {
        assert_eq!(raw(" \t a \u{A0}\u{3000} b\t"), "a b");
        assert_eq!(raw("a  \n  b"), "a\nb");
    }

    #[test]
    fn lines_stay_and_empty_ones_are_removed_at_both_ends() {
        assert_eq!(raw("\n \na\r\nb\n\n\u{B}c\u{2028}d\u{85}e\n \n"), "a\nb\n\n\nc\nd\ne");
    }

    #[test]
    fn control_and_bidi_characters_are_removed() {
        let hidden =
            "\0\x1B\x7F\u{80}\u{9F}\u{61C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}";
        for character in hidden.chars() {
            assert_eq!(raw(&format!("a{character}b")), "ab", "{character:?}");
        }
        assert_eq!(raw("a \0 b"), "a b");
        assert_eq!(marked_up("<@U1|b\u{202E}ob>"), "@bob");
    }

    #[test]
    fn emoji_keep_their_joiners() {
        for emoji in ["👩‍💻", "❤️", "🏳️‍🌈", "👍🏽", "1️⃣"] {
            assert_eq!(raw(emoji), emoji);
        }
    }

    #[test]
    fn a_text_of_white_space_and_invisible_characters_is_blank() {
        for blank in [
            "",
            " \n\t",
            "\0\x1B",
            "\u{202E}",
            "\u{200D}\u{FE0F}",
            "\u{FEFF}\u{200B}",
            "\u{2800}",
            "\u{3164}\n\u{115F}\u{1160} \u{FFA0}",
            "\u{E0001}\u{E0068}\u{E0069}\u{E007F}",
            "\u{AD}\u{34F}\u{180E}\u{2066}\u{E0100}",
        ] {
            assert!(VisibleText::from_raw(blank).is_blank(), "{blank:?}");
            assert!(VisibleText::from_markup(blank).is_blank(), "{blank:?}");
        }
        for seen in ["a", ".", "\u{FFFD}", "❤️", "\u{200B}a", "\u{2800}\u{2801}"] {
            assert!(!VisibleText::from_raw(seen).is_blank(), "{seen:?}");
        }
    }

    #[test]
    fn the_title_is_the_first_line_that_is_not_blank() {
        assert_eq!(title("\n \n db1  down \nsince noon"), "db1 down");
        for invisible in ["\u{200D}", "\u{2800}\u{2800}", "\u{3164}", "\u{E0041}", "\u{AD}"] {
            assert_eq!(title(&format!("{invisible}\ndb1\nx")), "db1", "{invisible:?}");
        }
        assert_eq!(title(""), "");
    }

    #[test]
    fn a_long_title_is_cut_at_a_character() {
        assert_eq!(title(&"é".repeat(1025)), "é".repeat(1024));
        assert_eq!(title(&"é".repeat(1024)), "é".repeat(1024));
        assert_eq!(title(&("a".repeat(1023) + " b")), "a".repeat(1023));
        assert_eq!(raw(&"é".repeat(1025)), "é".repeat(1025));
    }

    #[test]
    fn references_are_left_out_of_the_pieces() {
        assert_eq!(pieces("a <@U1|b c> d <#C1|e>"), ["a", " d", ""]);
        assert_eq!(pieces("<https://x.example/> a <https://x.example/|label>"), ["", " a label"]);
        assert_eq!(pieces("<!date^1^x|b> <!foo>"), ["b <foo>"]);
        assert_eq!(pieces(""), [""]);
    }

    #[test]
    fn many_open_brackets_take_linear_time() {
        let text = "<".repeat(1 << 20);
        assert_eq!(marked_up(&text), text);
    }
}
