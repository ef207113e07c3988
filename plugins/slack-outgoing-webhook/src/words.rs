//! Words of a text.
//!
//! A word is made of letters, digits, `_` and `-`, and of a `.` between two of them, so a name such
//! as `high_cpu`, `low-latency` or `critical.log` is one word. `_`, `-` and `.` at the ends of a
//! word are removed. URLs, mentions and names of channels are skipped.

use crate::{
    product::Product,
    reference::{is_sigil, reference_len},
    word_boundary::{joins, without_marks, word_len},
};

/// Iterator over the words of a text.
pub(crate) struct Words<'a> {
    product: Product,
    text: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Starts at the beginning of a text, with the mentions and channels that the product knows.
    pub(crate) fn new(product: Product, text: &'a str) -> Self {
        Self { product, text, rest: text }
    }

    /// Skips the [reference](crate::reference) at the beginning of the remaining text, or one
    /// character if no reference begins there.
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

/// Returns whether a word and the text after it begin a URL. Every scheme counts.
fn begins_url(word: &str, after: &str) -> bool {
    after.starts_with("://") || after.starts_with(':') && word.eq_ignore_ascii_case("mailto")
}

fn ends_url(character: char) -> bool {
    character.is_whitespace() || matches!(character, '<' | '>' | '"' | '`' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(product: Product, text: &str) -> Vec<&str> {
        Words::new(product, text).collect()
    }

    #[test]
    fn names_with_inner_marks_are_one_word() {
        assert_eq!(
            words(Product::Slack, "high_cpu: low-latency, critical.log. _a_ 緊急b c"),
            ["high_cpu", "low-latency", "critical.log", "a", "b", "c"]
        );
    }

    #[test]
    fn unicode_hyphens_behave_like_ascii_hyphens() {
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
    fn invisible_characters_split_a_word_only_if_they_allow_a_line_break() {
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
    fn references_of_the_product_are_skipped() {
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
    fn a_url_does_not_end_at_a_sigil() {
        let text = "https://x.example/~a/@b/#c/[d](e) f [g](https://x.example/(h))i";
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            assert_eq!(words(product, text), ["f", "g", "i"], "{product:?}");
        }
    }

    #[test]
    fn many_sigils_take_linear_time() {
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            for part in ["](", "](a", "@*", "@**", "#**a", "@a", "@_", "~", "@", "a@", "](("] {
                let text = part.repeat((1 << 17) / part.len());
                assert!(Words::new(product, &text).count() <= text.len());
            }
        }
    }
}
