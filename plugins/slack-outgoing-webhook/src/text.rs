//! The text of a message as people see it: what becomes title and description.
//!
//! It takes meaning from no word: see [`crate::urgency`].

use std::{iter, ops::Range};

use memchr::memchr;

use crate::{
    characters::{can_be_seen, is_bidi_control, is_line_break},
    markup::{self, Shown},
    product::Product,
};

/// What a title has at most. The host would cut it there.
const TITLE_LIMIT_CHARS: usize = 1024;

/// A text as people see it: plain, without control and bidi characters, without white space at its
/// ends and those of its lines, and with single spaces.
#[derive(Debug)]
pub(crate) struct VisibleText {
    text: String,
    /// Where URLs, mentions and names of channels are, in order.
    references: Vec<Range<usize>>,
}

impl VisibleText {
    /// Reads a text as its product writes it.
    pub(crate) fn of(product: Product, text: &str) -> Self {
        if product.is_raw() { Self::from_raw(text) } else { Self::from_markup(text) }
    }

    /// Reads a text that is sent as it was typed.
    pub(crate) fn from_raw(raw: &str) -> Self {
        let mut text = Clean::with_capacity(raw.len());
        text.push_str(raw);
        Self { text: text.text, references: Vec::new() }
    }

    /// Reads a text in Slack's format.
    pub(crate) fn from_markup(marked_up: &str) -> Self {
        let mut text = Clean::with_capacity(marked_up.len());
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

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }

    /// Whether there is nothing to see.
    pub(crate) fn is_blank(&self) -> bool {
        !can_be_seen(&self.text)
    }

    /// The first line on which there is something to see, cut where it is too long.
    pub(crate) fn title(&self) -> &str {
        let line = self.text.split('\n').find(|line| can_be_seen(line)).unwrap_or_default();
        match line.char_indices().nth(TITLE_LIMIT_CHARS) {
            Some((end, _)) => line[..end].trim_end(),
            None => line,
        }
    }

    /// What was said: the text in pieces, without URLs, mentions and names of channels that were
    /// marked as such.
    pub(crate) fn said(&self) -> impl Iterator<Item = &str> {
        let starts = iter::once(0).chain(self.references.iter().map(|range| range.end));
        let ends = self.references.iter().map(|range| range.start);
        let ends = ends.chain(iter::once(self.text.len()));
        starts.zip(ends).map(|(start, end)| &self.text[start..end])
    }
}

/// A value for people to see on one line: plain, as a text is.
pub(crate) fn on_one_line(value: &str) -> String {
    let mut line = Clean::with_capacity(value.len());
    for piece in value.split_whitespace() {
        line.push_str(piece);
        line.push(' ');
    }
    line.text
}

fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    memchr(byte, text.as_bytes()).and_then(|at| text.split_at_checked(at))
}

/// Text to which only what may be seen is added. White space waits until something follows it.
struct Clean {
    text: String,
    space_waits: bool,
    line_breaks_waiting: usize,
}

impl Clean {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), space_waits: false, line_breaks_waiting: 0 }
    }

    /// Adds what is shown for a control form, and says where it is.
    fn push_shown(&mut self, shown: Shown<'_>) -> Range<usize> {
        let start = self.text.len();
        self.push_str(shown.before);
        self.push_escaped(shown.text);
        self.push_str(shown.after);
        start..self.text.len()
    }

    /// Adds text in which entities stand for characters. They are resolved once: what that makes is
    /// not looked at again.
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
            self.line_breaks_waiting += 1;
        } else if character.is_whitespace() {
            self.space_waits = true;
        } else if !character.is_control() && !is_bidi_control(character) {
            self.push_visible(character.encode_utf8(&mut [0; 4]));
        }
    }

    fn push_visible(&mut self, visible: &str) {
        if !self.text.is_empty() {
            if self.line_breaks_waiting > 0 {
                self.text.extend(iter::repeat_n('\n', self.line_breaks_waiting));
            } else if self.space_waits {
                self.text.push(' ');
            }
        }
        (self.space_waits, self.line_breaks_waiting) = (false, 0);
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

    fn said(text: &str) -> Vec<String> {
        VisibleText::from_markup(text).said().map(str::to_owned).collect()
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
    fn brackets_that_hold_no_control_form_stay() {
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
    fn raw_text_is_as_it_was_typed() {
        assert_eq!(raw("&lt; <@U1|bob> &amp;"), "&lt; <@U1|bob> &amp;");
    }

    #[test]
    fn white_space_runs_to_one_space_and_goes_at_the_ends_of_lines() {
        assert_eq!(raw(" \t a \u{A0}\u{3000} b\t"), "a b");
        assert_eq!(raw("a  \n  b"), "a\nb");
    }

    #[test]
    fn lines_stay_and_blank_ones_go_at_both_ends() {
        assert_eq!(raw("\n \na\r\nb\n\n\u{B}c\u{2028}d\u{85}e\n \n"), "a\nb\n\n\nc\nd\ne");
    }

    #[test]
    fn control_and_bidi_characters_go() {
        let hidden =
            "\0\x1B\x7F\u{80}\u{9F}\u{61C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}";
        for character in hidden.chars() {
            assert_eq!(raw(&format!("a{character}b")), "ab", "{character:?}");
        }
        assert_eq!(raw("a \0 b"), "a b");
        assert_eq!(marked_up("<@U1|b\u{202E}ob>"), "@bob");
    }

    #[test]
    fn emoji_keep_what_holds_them_together() {
        for emoji in ["👩‍💻", "❤️", "🏳️‍🌈", "👍🏽", "1️⃣"] {
            assert_eq!(raw(emoji), emoji);
        }
    }

    #[test]
    fn a_text_is_blank_if_there_is_nothing_to_see() {
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
    fn the_title_is_the_first_line_with_something_on_it() {
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
    fn references_are_not_among_what_was_said() {
        assert_eq!(said("a <@U1|b c> d <#C1|e>"), ["a", " d", ""]);
        assert_eq!(said("<https://x.example/> a <https://x.example/|label>"), ["", " a label"]);
        assert_eq!(said("<!date^1^x|b> <!foo>"), ["b <foo>"]);
        assert_eq!(said(""), [""]);
    }

    #[test]
    fn many_open_brackets_take_no_time() {
        let text = "<".repeat(1 << 20);
        assert_eq!(marked_up(&text), text);
    }

    #[test]
    fn a_value_fits_on_one_line() {
        assert_eq!(on_one_line(" On-call / EU \r\n\u{2028}\u{202E}x"), "On-call / EU x");
        assert_eq!(on_one_line(" \0 "), "");
    }
}
