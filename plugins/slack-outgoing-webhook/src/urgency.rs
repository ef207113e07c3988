//! How urgent a message is, by what it says.
//!
//! Where it says nothing, nothing is made up: the integration's own urgency applies.

use regex::Regex;
use tocsin_plugin_api::{OptionsError, Urgency};

use crate::text::VisibleText;

/// The group of `urgency_pattern` that captures the name of an urgency.
const GROUP: &str = "urgency";

/// How the urgency is found.
pub(crate) enum UrgencyRule {
    /// By the names of urgencies standing alone in what was said.
    Words,
    /// By what a pattern captures.
    Pattern(Regex),
}

impl UrgencyRule {
    /// From the option `urgency_pattern`.
    pub(crate) fn new(pattern: Option<&str>) -> Result<Self, OptionsError> {
        let Some(pattern) = pattern else { return Ok(Self::Words) };
        let refused = |message: String| OptionsError::at("urgency_pattern", message);
        let regex = Regex::new(pattern).map_err(|error| {
            refused(format!(
                "not a regular expression\n{error}\n\
                 hint: its syntax is that of the Rust crate `regex`, without look-around and back-references"
            ))
        })?;
        if !regex.capture_names().flatten().any(|name| name == GROUP) {
            return Err(refused(
                "has no group `urgency`\n\
                 hint: name the group that captures the urgency: `(?<urgency>\\w+)`"
                    .into(),
            ));
        }
        Ok(Self::Pattern(regex))
    }

    /// The highest urgency that a text names.
    pub(crate) fn of(&self, text: &VisibleText) -> Option<Urgency> {
        match self {
            Self::Words => highest(text.said().flat_map(Words::new)),
            Self::Pattern(regex) => {
                let matches = regex.captures_iter(text.as_str());
                highest(matches.filter_map(|captured| Some(captured.name(GROUP)?.as_str())))
            }
        }
    }
}

fn highest<'a>(words: impl Iterator<Item = &'a str>) -> Option<Urgency> {
    words.filter_map(named).max()
}

fn named(word: &str) -> Option<Urgency> {
    Urgency::ALL.into_iter().find(|urgency| urgency.as_str().eq_ignore_ascii_case(word))
}

/// The words of a text, without the URLs in it.
///
/// A word is made of letters, digits, `_` and `-`, and of a `.` between two of them: what names one
/// thing (`high_cpu`, `low-latency`, `critical.log`) is one word. At its ends, `_` and `-` are
/// marks and not part of it, and with them goes a `.` that is then at an end.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let from_word = &self.rest[self.rest.find(joins)?..];
            let (word, after) = from_word.split_at(word_len(from_word));
            if begins_url(word, after) {
                self.rest = &after[after.find(ends_url).unwrap_or(after.len())..];
            } else {
                self.rest = after;
                return Some(word.trim_matches(['_', '-', '.']));
            }
        }
    }
}

/// How many bytes the word has with which a text begins.
fn word_len(text: &str) -> usize {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let is_inner_dot = character == '.' && characters.as_str().starts_with(joins);
        if !joins(character) && !is_inner_dot {
            return at;
        }
    }
    text.len()
}

/// Whether a word and what follows it are the beginning of a URL: a scheme, whichever it is.
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
        _ => is_accent(character) || (character.is_alphanumeric() && !is_cjk(character)),
    }
}

/// An accent that is written as a character of its own.
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36F}'
            | '\u{1AB0}'..='\u{1AFF}'
            | '\u{1DC0}'..='\u{1DFF}'
            | '\u{FE20}'..='\u{FE2F}'
    )
}

/// Han, Hiragana, Katakana, Hangul and Bopomofo, which are written without spaces between words.
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
    use crate::text::VisibleText;

    fn in_markup(text: &str) -> Option<Urgency> {
        UrgencyRule::Words.of(&VisibleText::from_markup(text))
    }

    fn in_raw(text: &str) -> Option<Urgency> {
        UrgencyRule::Words.of(&VisibleText::from_raw(text))
    }

    fn by_pattern(pattern: &str, text: &str) -> Option<Urgency> {
        let rule = UrgencyRule::new(Some(pattern)).expect("a pattern");
        rule.of(&VisibleText::from_markup(text))
    }

    fn pattern_error(pattern: &str) -> String {
        UrgencyRule::new(Some(pattern)).err().expect("refused").to_string()
    }

    #[test]
    fn each_urgency_is_named_by_its_word_in_any_case() {
        for urgency in Urgency::ALL {
            let name = urgency.as_str();
            assert_eq!(in_raw(name), Some(urgency));
            assert_eq!(in_raw(&name.to_uppercase()), Some(urgency));
            assert_eq!(in_raw(&format!("db1 is {name}, again")), Some(urgency));
        }
        assert_eq!(in_raw("cRitICal"), Some(Urgency::Critical));
    }

    #[test]
    fn part_of_a_longer_word_does_not_count() {
        for text in [
            "below",
            "lower",
            "higher",
            "slow",
            "low1",
            "1low",
            "high_cpu",
            "low-latency",
            "critical.log",
            "db.high",
            "a.high.b",
            "high.2",
            "low-",
            "x-high_",
            "élow",
            "lowé",
            "e\u{301}low",
            "high\u{301}",
            "highﬁ",
            "низкlow",
            "low.é",
            "a_.high",
        ] {
            let expected = (text == "low-").then_some(Urgency::Low);
            assert_eq!(in_raw(text), expected, "{text}");
        }
    }

    #[test]
    fn underscores_and_hyphens_fall_off_at_the_ends() {
        for text in ["_high_", "--high", "high-", "-_high_-", "_-high.", "high.- x", "(high-)"] {
            assert_eq!(in_raw(text), Some(Urgency::High), "{text}");
        }
        assert_eq!(in_raw("- _ -- ."), None);
    }

    #[test]
    fn a_full_stop_joins_only_between_two_characters_of_a_word() {
        for text in ["high.", ".high", "high...", "down.. high", "x. high.", "low..high", "high."] {
            assert_eq!(in_raw(text), Some(Urgency::High), "{text}");
        }
    }

    #[test]
    fn punctuation_and_emoji_do_not_join() {
        for text in [
            "high!",
            "\"high\"",
            "'high'",
            "high's",
            "level=high",
            "high/x",
            "#high",
            "@high",
            "high,low",
            "🔥high🔥",
            "low→high",
            "high…",
            "*high*",
            "~high~",
            ":high:",
            "(high)",
            "high—x",
            "high\u{200D}",
            "high|x",
            "&high;",
        ] {
            assert_eq!(in_raw(text), Some(Urgency::High), "{text}");
        }
        assert_eq!(in_raw(":critical:"), Some(Urgency::Critical));
    }

    #[test]
    fn cjk_characters_do_not_join() {
        for text in [
            "緊急high対応",
            "サーバーhighです",
            "ひhighら",
            "한high글",
            "ㄅhighㄆ",
            "々high〇",
            "ｱhighｲ",
        ] {
            assert_eq!(in_raw(text), Some(Urgency::High), "{text}");
        }
    }

    #[test]
    fn the_highest_counts() {
        assert_eq!(in_raw("low critical medium"), Some(Urgency::Critical));
        assert_eq!(in_raw("high medium low"), Some(Urgency::High));
        assert_eq!(in_markup("low <https://x.example/|medium>"), Some(Urgency::Medium));
    }

    #[test]
    fn only_ascii_letters_are_compared_without_case() {
        assert_eq!(in_raw("CRİTİCAL"), None);
        assert_eq!(in_raw("ｈｉｇｈ"), None);
        assert_eq!(in_raw("high\u{212A}"), None);
    }

    #[test]
    fn names_and_urls_do_not_count() {
        for text in [
            "<@U1|high>",
            "<#C1|high>",
            "<!subteam^S1|@high>",
            "<https://x.example/high>",
            "<mailto:high@x.example>",
            "https://x.example/high",
            "http://high/?a=low&amp;b=critical",
            "HTTPS://high",
            "mailto:high@x.example?subject=low",
            "(https://x.example/,high)",
            "<slack://high>",
            "_https://x.example/high_",
        ] {
            assert_eq!(in_markup(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_said_around_names_and_urls_counts() {
        for text in [
            "<@U1|low>high",
            "high<@U1>",
            "https://x.example/low high",
            "high:https://x.example/",
            "\"https://x.example/\"high",
            "<https://x.example/low>high",
            "mailto: high",
            "`https://x.example/low`high",
            "https: high",
            "https:high",
        ] {
            assert_eq!(in_markup(text), Some(Urgency::High), "{text}");
        }
    }

    #[test]
    fn labels_of_links_count_as_they_are_seen() {
        assert_eq!(in_markup("<https://x.example/low|high>"), Some(Urgency::High));
        assert_eq!(in_markup("<https://x.example/|high>way"), None);
        assert_eq!(in_markup("<https://x.example/high|https://x.example/high>"), None);
        assert_eq!(in_markup("<!foo|high>"), Some(Urgency::High));
        assert_eq!(in_markup("&lt;high&gt;"), Some(Urgency::High));
        assert_eq!(in_markup("hi\0gh"), Some(Urgency::High));
    }

    #[test]
    fn a_pattern_takes_the_place_of_the_rule() {
        let pattern = r"(?i)sev:(?<urgency>\w+)";
        assert_eq!(by_pattern(pattern, "critical, but sev:LOW"), Some(Urgency::Low));
        assert_eq!(by_pattern(pattern, "critical"), None);
        assert_eq!(by_pattern(pattern, "sev:low sev:none SEV:High"), Some(Urgency::High));
        assert_eq!(by_pattern(pattern, "sev:2"), None);
    }

    #[test]
    fn a_pattern_is_matched_against_the_visible_text() {
        let pattern = r"^<@bob> (?<urgency>\w+)$";
        assert_eq!(by_pattern(pattern, "&lt;<@U1|bob>&gt;   high"), Some(Urgency::High));
        assert_eq!(by_pattern("(x)|(?<urgency>high)", "x high"), Some(Urgency::High));
    }

    #[test]
    fn a_pattern_has_to_be_one_with_the_group() {
        assert_eq!(
            pattern_error("(low|high)"),
            "`urgency_pattern`: has no group `urgency`\n\
             hint: name the group that captures the urgency: `(?<urgency>\\w+)`"
        );
        assert_eq!(
            pattern_error("(?<urgency>low"),
            "`urgency_pattern`: not a regular expression\n\
             regex parse error:\n    (?<urgency>low\n    ^\nerror: unclosed group\n\
             hint: its syntax is that of the Rust crate `regex`, without look-around and back-references"
        );
    }
}
