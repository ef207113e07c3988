//! The words of a text.
//!
//! A word is made of letters, digits, `_` and `-`, and of a `.` between two of them: what names one
//! thing (`high_cpu`, `low-latency`, `critical.log`) is one word. At its ends, `_` and `-` are marks
//! and not part of it, and with them goes a `.` that is then at an end. URLs, mentions and names of
//! channels have no words.

use crate::{
    product::Product,
    reference::{is_sigil, reference_len},
};

/// The words of a text of a product.
pub(crate) struct Words<'a> {
    product: Product,
    text: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(crate) fn new(product: Product, text: &'a str) -> Self {
        Self { product, text, rest: text }
    }

    /// Skips the reference at the beginning of the rest, or the sigil if it begins none.
    fn skip_sigil(&mut self) {
        let before = self.text[..self.text.len() - self.rest.len()].chars().next_back();
        let sigil = self.rest.chars().next().map_or(0, char::len_utf8);
        let reference = reference_len(self.product, before, self.rest);
        self.rest = &self.rest[reference.unwrap_or(sigil)..];
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let product = self.product;
            let start = match product {
                Product::Slack => self.rest.find(joins)?,
                _ => self.rest.find(|c| joins(c) || is_sigil(product, c))?,
            };
            self.rest = &self.rest[start..];
            let (word, after) = self.rest.split_at(word_len(self.rest));
            if word.is_empty() {
                self.skip_sigil();
            } else if begins_url(word, after) {
                self.rest = &after[after.find(ends_url).unwrap_or(after.len())..];
            } else {
                self.rest = after;
                return Some(without_marks(word));
            }
        }
    }
}

/// Returns the length in bytes of the word at the beginning of a text.
pub(crate) fn word_len(text: &str) -> usize {
    let ascii = text.bytes().take_while(|byte| joins_ascii(*byte)).count();
    // Most words end with a space.
    if text[ascii..].starts_with(' ') {
        return ascii;
    }
    let mut characters = text[ascii..].char_indices();
    while let Some((at, character)) = characters.next() {
        let at = ascii + at;
        let is_inner_dot = character == '.' && at > 0 && characters.as_str().starts_with(joins);
        if !joins(character) && !is_inner_dot {
            return at;
        }
    }
    text.len()
}

/// Returns whether a word and what follows it are the beginning of a URL: a scheme, whichever it is.
fn begins_url(word: &str, after: &str) -> bool {
    after.starts_with("://") || after.starts_with(':') && word.eq_ignore_ascii_case("mailto")
}

fn ends_url(character: char) -> bool {
    character.is_whitespace() || matches!(character, '<' | '>' | '"' | '`' | '|')
}

fn joins(character: char) -> bool {
    match character {
        '_' | '-' => true,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => joins_beyond_ascii(character),
    }
}

fn joins_ascii(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn joins_beyond_ascii(character: char) -> bool {
    is_hyphen(character)
        || is_hidden_inside(character)
        || is_accent(character)
        || (character.is_alphanumeric() && !is_cjk(character))
}

/// Returns a word without the marks at its ends. Most words have none.
fn without_marks(word: &str) -> &str {
    match word.as_bytes() {
        [first, .., last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => word,
        _ => word.trim_matches(falls_off),
    }
}

fn falls_off(character: char) -> bool {
    match character {
        '_' | '-' | '.' => true,
        _ => !character.is_ascii() && (is_hyphen(character) || is_hidden_inside(character)),
    }
}

/// Returns whether a character is a hyphen of word processors: one that may end a line, or one that
/// may not.
pub(crate) fn is_hyphen(character: char) -> bool {
    matches!(character, '\u{2010}' | '\u{2011}')
}

/// Returns whether a character is invisible and joins its neighbours, so that people see one word. A
/// zero-width space separates words instead.
pub(crate) fn is_hidden_inside(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{200C}' | '\u{200D}' | '\u{2060}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
    )
}

/// Returns whether a character is an accent that is written as a character of its own.
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36F}'
            | '\u{1AB0}'..='\u{1AFF}'
            | '\u{1DC0}'..='\u{1DFF}'
            | '\u{FE20}'..='\u{FE2F}'
    )
}

/// Returns whether a character is of a script that is written without spaces between words: Han,
/// Hiragana, Katakana, Hangul and Bopomofo.
fn is_cjk(character: char) -> bool {
    matches!(
        character,
        '\u{1100}'..='\u{11FF}'
            | '\u{2E80}'..='\u{9FFF}'
            | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FFDC}'
            | '\u{1AFF0}'..='\u{1B16F}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(product: Product, text: &str) -> Vec<&str> {
        Words::new(product, text).collect()
    }

    #[test]
    fn words_are_what_names_one_thing() {
        assert_eq!(
            words(Product::Slack, "high_cpu: low-latency, critical.log. _a_ 緊急b c"),
            ["high_cpu", "low-latency", "critical.log", "a", "b", "c"]
        );
    }

    #[test]
    fn hyphens_of_word_processors_join_and_fall_off_as_others_do() {
        for hyphen in ["-", "\u{2010}", "\u{2011}"] {
            let text = format!("low{hyphen}latency {hyphen}high{hyphen} a.{hyphen} {hyphen}");
            let joined = format!("low{hyphen}latency");
            assert_eq!(words(Product::Slack, &text), [&joined, "high", "a", ""]);
        }
        for dash in ["\u{2012}", "–", "—", "\u{2212}"] {
            assert_eq!(words(Product::Slack, &format!("low{dash}high")), ["low", "high"]);
        }
    }

    #[test]
    fn what_is_invisible_inside_a_word_parts_it_only_where_a_line_may_break() {
        for hidden in ["\u{AD}", "\u{200C}", "\u{200D}", "\u{2060}", "\u{FEFF}"] {
            let word = format!("be{hidden}low");
            assert_eq!(words(Product::Slack, &word), [&word], "{hidden:?}");
            assert_eq!(words(Product::Slack, &format!("{hidden}low{hidden}")), ["low"]);
        }
        for blank in ["\u{200B}", "\u{2800}", "\u{3164}"] {
            assert_eq!(words(Product::Slack, &format!("be{blank}low")), ["be", "low"], "{blank:?}");
        }
        assert_eq!(words(Product::Slack, "👩‍💻a❤️b"), ["", "a", "b"]);
    }

    #[test]
    fn references_of_the_product_have_no_words() {
        let text = "@a ~b #c @**d e** @_**f** @*g* #**h>i** j";
        let slack = ["a", "b", "c", "d", "e", "_", "f", "g", "h", "i", "j"];
        assert_eq!(words(Product::Slack, text), slack.map(|word| word.trim_matches('_')));
        let mattermost = words(Product::Mattermost, text);
        assert_eq!(mattermost, ["c", "d", "e", "f", "g", "h", "i", "j"]);
        let rocket_chat = words(Product::RocketChat, text);
        assert_eq!(rocket_chat, ["b", "d", "e", "f", "g", "h", "i", "j"]);
        assert_eq!(words(Product::Zulip, text), ["a", "b", "c", "j"]);
    }

    #[test]
    fn sigils_inside_urls_do_not_end_them() {
        let text = "https://x.example/~a/@b/#c/[d](e) f [g](https://x.example/(h))i";
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            assert_eq!(words(product, text), ["f", "g", "i"], "{product:?}");
        }
    }

    #[test]
    fn sigils_without_end_take_no_time() {
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            for part in ["](", "](a", "@*", "@**", "#**a", "@a", "@_", "~", "@", "a@", "](("] {
                let text = part.repeat((1 << 17) / part.len());
                assert!(Words::new(product, &text).count() <= text.len());
            }
        }
    }
}
