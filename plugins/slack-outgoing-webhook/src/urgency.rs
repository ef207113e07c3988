//! Urgency of a message, from the words or a pattern in its text.
//!
//! For a text that names no urgency, the integration's own urgency applies.

use std::collections::BTreeMap;

use regex::Regex;
use tocsin_plugin_api::{OptionsError, Urgency};

use crate::{
    pattern_check::can_capture_name, product::Product, text::VisibleText,
    urgency_names::UrgencyNames, word_boundary::is_hidden_in_word, words::Words,
};

/// Group of `urgency_pattern` that captures the name of an urgency.
const GROUP: &str = "urgency";

/// Rule that finds the urgency of a message in its [`VisibleText`].
pub(crate) struct UrgencyRule {
    names: UrgencyNames,
    /// Pattern that captures the names. Without it, names are words that stand alone.
    pattern: Option<Regex>,
}

impl UrgencyRule {
    /// Takes the options `urgency_pattern` and `urgencies`.
    ///
    /// # Errors
    ///
    /// If a name is refused (see [`UrgencyNames::new`]), or the pattern is no regular expression,
    /// has no group `urgency`, or can never capture a name.
    pub(crate) fn new(
        pattern: Option<&str>,
        own_names: BTreeMap<String, Urgency>,
    ) -> Result<Self, OptionsError> {
        let names = UrgencyNames::new(own_names, pattern.is_some())?;
        let pattern = pattern.map(|pattern| compiled(pattern, &names)).transpose()?;
        Ok(Self { names, pattern })
    }

    /// Returns the highest urgency that a text names.
    pub(crate) fn of(&self, product: Product, text: &VisibleText) -> Option<Urgency> {
        match &self.pattern {
            Some(pattern) => {
                let matches = pattern.captures_iter(text.as_str());
                let names = matches.filter_map(|captured| Some(captured.name(GROUP)?.as_str()));
                names.filter_map(|name| self.names.urgency(name)).max()
            }
            None => {
                let words =
                    text.pieces_between_references().flat_map(|piece| Words::new(product, piece));
                words.filter_map(|word| self.of_word(word)).max()
            }
        }
    }

    /// Returns the urgency of a word, without the characters that people do not see.
    fn of_word(&self, word: &str) -> Option<Urgency> {
        if word.is_ascii() || !word.contains(is_hidden_in_word) {
            return self.names.urgency(word);
        }
        let seen: String = word.chars().filter(|c| !is_hidden_in_word(*c)).collect();
        self.names.urgency(&seen)
    }
}

fn compiled(pattern: &str, names: &UrgencyNames) -> Result<Regex, OptionsError> {
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
    if !can_capture_name(pattern, GROUP, names) {
        return Err(refused(
            "its group `urgency` can never capture the name of an urgency\n\
             hint: let it capture `low`, `medium`, `high` or `critical`, or give what it captures \
             an urgency: `urgencies = { P1 = \"critical\" }`"
                .into(),
        ));
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::VisibleText;

    fn by_words(product: Product, text: &str) -> Option<Urgency> {
        let rule = UrgencyRule::new(None, BTreeMap::new()).expect("no options");
        rule.of(product, &VisibleText::of(product, text))
    }

    fn in_markup(text: &str) -> Option<Urgency> {
        by_words(Product::Slack, text)
    }

    fn in_raw(text: &str) -> Option<Urgency> {
        let rule = UrgencyRule::new(None, BTreeMap::new()).expect("no options");
        rule.of(Product::Slack, &VisibleText::from_raw(text))
    }

    fn own_names(names: &[(&str, Urgency)]) -> BTreeMap<String, Urgency> {
        names.iter().map(|(name, urgency)| (name.to_string(), *urgency)).collect()
    }

    fn by_pattern(pattern: &str, text: &str) -> Option<Urgency> {
        let rule = UrgencyRule::new(Some(pattern), BTreeMap::new()).expect("a pattern");
        rule.of(Product::Slack, &VisibleText::from_markup(text))
    }

    fn pattern_error(pattern: &str) -> String {
        UrgencyRule::new(Some(pattern), BTreeMap::new()).err().expect("refused").to_string()
    }

    #[test]
    fn the_name_of_each_urgency_counts_in_any_case() {
        for urgency in Urgency::ALL {
            let name = urgency.as_str();
            assert_eq!(in_raw(name), Some(urgency));
            assert_eq!(in_raw(&name.to_uppercase()), Some(urgency));
            assert_eq!(in_raw(&format!("db1 is {name}, again")), Some(urgency));
        }
        assert_eq!(in_raw("cRitICal"), Some(Urgency::Critical));
    }

    #[test]
    fn a_name_inside_a_longer_word_does_not_count() {
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
            "low\u{2010}latency",
            "low\u{2011}latency",
            "mission\u{2010}critical",
            "high\u{2011}",
            "be\u{AD}low",
        ] {
            let expected = match text {
                "low-" => Some(Urgency::Low),
                "high\u{2011}" => Some(Urgency::High),
                _ => None,
            };
            assert_eq!(in_raw(text), expected, "{text}");
        }
    }

    #[test]
    fn underscores_and_hyphens_at_the_ends_of_a_word_are_removed() {
        for text in [
            "_high_",
            "--high",
            "high-",
            "-_high_-",
            "_-high.",
            "high.- x",
            "(high-)",
            "high\u{2010}",
            "\u{2011}_high",
        ] {
            assert_eq!(in_raw(text), Some(Urgency::High), "{text}");
        }
        assert_eq!(in_raw("- _ -- ."), None);
    }

    #[test]
    fn a_full_stop_joins_only_inside_a_word() {
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
    fn the_highest_urgency_applies() {
        assert_eq!(in_raw("low critical medium"), Some(Urgency::Critical));
        assert_eq!(in_raw("high medium low"), Some(Urgency::High));
        assert_eq!(in_markup("low <https://x.example/|medium>"), Some(Urgency::Medium));
    }

    #[test]
    fn built_in_names_ignore_the_case_of_ascii_letters_only() {
        assert_eq!(in_raw("CRİTİCAL"), None);
        assert_eq!(in_raw("ｈｉｇｈ"), None);
        assert_eq!(in_raw("high\u{212A}"), None);
    }

    #[test]
    fn words_in_mentions_channels_and_urls_do_not_count() {
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
            "<tel:high>",
            "<high>",
            "<#/high>",
            "_https://x.example/high_",
        ] {
            assert_eq!(in_markup(text), None, "{text}");
        }
    }

    #[test]
    fn words_beside_mentions_channels_and_urls_count() {
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
    fn labels_of_links_count_as_visible_text() {
        assert_eq!(in_markup("<https://x.example/low|high>"), Some(Urgency::High));
        assert_eq!(in_markup("<https://x.example/|high>way"), None);
        assert_eq!(in_markup("<https://x.example/high|https://x.example/high>"), None);
        assert_eq!(in_markup("<!foo|high>"), Some(Urgency::High));
        assert_eq!(in_markup("&lt;high&gt;"), Some(Urgency::High));
        assert_eq!(in_markup("hi\0gh"), Some(Urgency::High));
        assert_eq!(in_markup("hi\u{AD}gh"), Some(Urgency::High));
        assert_eq!(in_markup("<tel:low|high>"), Some(Urgency::High));
    }

    #[test]
    fn words_in_mentions_and_channels_of_raw_text_do_not_count() {
        for (product, text) in [
            (Product::Mattermost, "@high-priority @critical: see ~low, ~critical-alerts"),
            (Product::Mattermost, "(@high) [graph](/critical) https://x.example/~high/@critical"),
            (Product::RocketChat, "@critical @high.ops see #low and #critical-alerts"),
            (Product::RocketChat, "[ ](https://x.example/channel/high?msg=a) @low"),
            (Product::Zulip, "@**Critical Alerts** disk is at 81%"),
            (Product::Zulip, "@**Pager** cc @_**Low Ops** @*high team* @_*critical*"),
            (Product::Zulip, "@**Pager** see #**high priority>critical path@12**"),
            (Product::Zulip, "[#high > critical](#narrow/channel/1-high/topic/critical)"),
        ] {
            let expected = text.starts_with("[#high").then_some(Urgency::Critical);
            assert_eq!(by_words(product, text), expected, "{product:?} {text}");
        }
    }

    #[test]
    fn words_beside_mentions_and_channels_of_raw_text_count() {
        for (product, text) in [
            (Product::Mattermost, "@critical high"),
            (Product::Mattermost, "~critical: high"),
            (Product::Mattermost, "~~high~~ #low"),
            (Product::Mattermost, "@critical,high"),
            (Product::RocketChat, "#critical/high"),
            (Product::RocketChat, "@critical's high"),
            (Product::Zulip, "@**Critical Alerts**high"),
            (Product::Zulip, "@**Critical Alerts** disk is **high**, @low #medium"),
            (Product::Zulip, "[high](/critical)"),
        ] {
            assert_eq!(by_words(product, text), Some(Urgency::High), "{product:?} {text}");
        }
    }

    #[test]
    fn own_words_count_beside_the_built_in_names() {
        let own = own_names(&[
            ("P1", Urgency::Critical),
            ("P3", Urgency::Low),
            ("dringend", Urgency::High),
            ("élevé", Urgency::High),
        ]);
        let rule = UrgencyRule::new(None, own).expect("words");
        let of = |text: &str| rule.of(Product::Zulip, &VisibleText::from_raw(text));
        assert_eq!(of("p1: db1"), Some(Urgency::Critical));
        assert_eq!(of("P3, medium"), Some(Urgency::Medium));
        assert_eq!(of("low P3 DRINGEND"), Some(Urgency::High));
        assert_eq!(of("niveau ÉLEVÉ!"), Some(Urgency::High));
        assert_eq!(of("nothing"), None);
        for part in
            ["P10", "XP1", "P1-db", "undringend", "P1.log", "élevés", "@**P1**", "P\u{2011}1"]
        {
            assert_eq!(of(part), None, "{part}");
        }
        assert_eq!(of("_P1_ https://x.example/"), Some(Urgency::Critical));
        assert_eq!(of("https://x.example/P1"), None);
    }

    #[test]
    fn a_pattern_can_capture_own_words() {
        let own = own_names(&[("P1", Urgency::Critical), ("緊急", Urgency::High)]);
        let rule = UrgencyRule::new(Some(r"【(?<urgency>.+?)】"), own).expect("a pattern");
        let of = |text: &str| rule.of(Product::Slack, &VisibleText::from_raw(text));
        assert_eq!(of("【緊急】db1"), Some(Urgency::High));
        assert_eq!(of("【p1】【緊急】"), Some(Urgency::Critical));
        assert_eq!(of("【LOW】"), Some(Urgency::Low));
        assert_eq!(of("P1 緊急 critical"), None);
    }

    #[test]
    fn a_pattern_that_can_never_capture_a_name_is_refused() {
        assert_eq!(
            pattern_error(r"\b(?<urgency>P[12])\b"),
            "`urgency_pattern`: its group `urgency` can never capture the name of an urgency\n\
             hint: let it capture `low`, `medium`, `high` or `critical`, or give what it captures \
             an urgency: `urgencies = { P1 = \"critical\" }`"
        );
        let own = own_names(&[("P2", Urgency::High)]);
        assert!(UrgencyRule::new(Some(r"\b(?<urgency>P[12])\b"), own).is_ok());
    }

    #[test]
    fn a_pattern_replaces_the_built_in_rule() {
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
    fn a_pattern_must_be_a_regular_expression_with_the_group() {
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
