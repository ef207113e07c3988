//! Names of urgencies: the four built-in ones, and the operator's own words.
//!
//! The words of a text are in [`crate::words`].

use std::collections::BTreeMap;

use tocsin_plugin_api::{OptionsError, Urgency};
use tocsin_plugin_kit::text::is_blank;

use crate::{product::Product, word_boundary::is_hyphen, words::Words};

/// Names of urgencies.
#[derive(Debug, Default)]
pub(crate) struct UrgencyNames {
    /// Operator's own words, [folded](folded_character).
    own: BTreeMap<String, Urgency>,
}

impl UrgencyNames {
    /// Takes the option `urgencies`. If `urgency_pattern` finds the names, they need not be words.
    ///
    /// # Errors
    ///
    /// If a name is blank, is not one word, lowers a built-in name, or comes twice with different
    /// urgencies.
    pub(crate) fn new(
        own: BTreeMap<String, Urgency>,
        has_pattern: bool,
    ) -> Result<Self, OptionsError> {
        let mut written: BTreeMap<String, (String, Urgency)> = BTreeMap::new();
        for (word, urgency) in own {
            refuse_blank(&word)?;
            if !has_pattern {
                refuse_unless_one_word(&word)?;
            }
            refuse_lowered(&word, urgency)?;
            match written.get(&folded(&word)) {
                Some((other, of_other)) if *of_other != urgency => {
                    return Err(OptionsError::at(
                        path(&word),
                        format!(
                            "differs from `{other}` in case alone and has another urgency\n\
                             hint: remove one of the two"
                        ),
                    ));
                }
                _ => written.insert(folded(&word), (word, urgency)),
            };
        }
        let own = written.into_iter().map(|(folded, (_, urgency))| (folded, urgency));
        Ok(Self { own: own.collect() })
    }

    /// Returns the urgency of a name. Built-in names are compared without the case of ASCII
    /// letters, the operator's own words without the case of any letter.
    pub(crate) fn urgency(&self, name: &str) -> Option<Urgency> {
        let built_in = built_in(name);
        if self.own.is_empty() {
            return built_in;
        }
        built_in.max(self.own.get(&folded(name)).copied())
    }

    /// Returns the operator's own words, folded.
    pub(crate) fn own(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }
}

/// Maps characters that differ in case alone to one of them. The hyphens are mapped to one as well,
/// and so are the four letters i of Turkish.
pub(crate) fn folded_character(character: char) -> char {
    match character {
        _ if character.is_ascii() => character.to_ascii_lowercase(),
        _ if is_hyphen(character) => '-',
        'İ' => 'i',
        _ => {
            let upper = only(character.to_uppercase()).unwrap_or(character);
            only(upper.to_lowercase()).unwrap_or(upper)
        }
    }
}

fn only(mut mapped: impl ExactSizeIterator<Item = char>) -> Option<char> {
    mapped.next().filter(|_| mapped.len() == 0)
}

fn folded(word: &str) -> String {
    word.chars().map(folded_character).collect()
}

fn built_in(name: &str) -> Option<Urgency> {
    Urgency::ALL.into_iter().find(|urgency| urgency.as_str().eq_ignore_ascii_case(name))
}

fn refuse_blank(word: &str) -> Result<(), OptionsError> {
    if is_blank(word) {
        return Err(OptionsError::at("urgencies", "a word is empty\nhint: remove it"));
    }
    Ok(())
}

fn refuse_unless_one_word(word: &str) -> Result<(), OptionsError> {
    let mut words = Words::new(Product::Slack, word);
    if words.next() == Some(word) && words.next().is_none() {
        return Ok(());
    }
    Err(OptionsError::at(
        path(word),
        "is not one word, so no text can contain it as a word\n\
         hint: a word is made of letters and digits, with `_`, `-` or `.` only between them; use \
         `urgency_pattern` for other names, such as Chinese, Japanese or Korean ones",
    ))
}

fn refuse_lowered(word: &str, urgency: Urgency) -> Result<(), OptionsError> {
    if built_in(word).is_none_or(|built_in| built_in <= urgency) {
        return Ok(());
    }
    Err(OptionsError::at(
        path(word),
        format!(
            "is the built-in name of an urgency higher than `{urgency}`, and the higher one applies\n\
             hint: remove it"
        ),
    ))
}

fn path(word: &str) -> String {
    format!("urgencies.{word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(own: &[(&str, Urgency)]) -> Result<UrgencyNames, String> {
        let own = own.iter().map(|(word, urgency)| (word.to_string(), *urgency));
        UrgencyNames::new(own.collect(), false).map_err(|error| error.to_string())
    }

    fn error(word: &str, urgency: Urgency) -> String {
        names(&[(word, urgency)]).expect_err("refused")
    }

    #[test]
    fn the_four_built_in_names_are_always_known() {
        let names = UrgencyNames::default();
        for urgency in Urgency::ALL {
            assert_eq!(names.urgency(urgency.as_str()), Some(urgency));
            assert_eq!(names.urgency(&urgency.as_str().to_uppercase()), Some(urgency));
        }
        for other in ["", "P1", "highs", "CRİTİCAL", "crıtıcal", "ｈｉｇｈ"] {
            assert_eq!(names.urgency(other), None, "{other}");
        }
    }

    #[test]
    fn own_words_are_compared_without_the_case_of_any_letter() {
        for (word, spellings) in [
            ("P1", &["P1", "p1"][..]),
            ("kritisch", &["kritisch", "KRITISCH", "KRİTİSCH", "Krıtısch", "\u{212A}ritiſch"]),
            ("Élevé", &["élevé", "ÉLEVÉ", "ÉlevÉ"]),
            ("срочно", &["СРОЧНО", "Срочно"]),
            ("ΚΡΊΣΙΣ", &["κρίσις", "κρίσισ", "Κρίσις"]),
            ("GROẞ", &["groß", "GROß"]),
            ("sev-1", &["SEV-1", "sev\u{2011}1", "Sev\u{2010}1"]),
            ("v1.2", &["V1.2"]),
        ] {
            let names = names(&[(word, Urgency::Critical)]).expect("a word");
            for spelling in spellings {
                assert_eq!(names.urgency(spelling), Some(Urgency::Critical), "{word} {spelling}");
            }
            for other in ["P2", "kritische", "eleve", "gross", "sev1", "", "v1-2"] {
                assert_eq!(names.urgency(other), None, "{word} {other}");
            }
            assert_eq!(names.urgency("HIGH"), Some(Urgency::High));
        }
    }

    #[test]
    fn a_built_in_name_can_be_raised_and_not_lowered() {
        let raised = names(&[("High", Urgency::Critical)]).expect("a word");
        assert_eq!(raised.urgency("high"), Some(Urgency::Critical));
        assert!(names(&[("low", Urgency::Low)]).is_ok());
        assert_eq!(
            error("Critical", Urgency::Low),
            "`urgencies.Critical`: is the built-in name of an urgency higher than `low`, and the \
             higher one applies\nhint: remove it"
        );
    }

    #[test]
    fn a_blank_word_is_refused() {
        for word in ["", " ", "\t", "\u{200B}", "\u{2800}", "\u{3164}"] {
            let expected = "`urgencies`: a word is empty\nhint: remove it";
            assert_eq!(error(word, Urgency::High), expected, "{word:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_one_word_is_refused() {
        for word in [
            "P 1",
            " P1",
            "P1 ",
            "P1\n",
            "P1:",
            "#P1",
            "@oncall",
            "_P1",
            "P1-",
            "P1.",
            ".P1",
            "P1..2",
            "sev/1",
            "!",
            "-",
            "🔥",
            "緊急",
            "緊急P1",
            "위험",
            "P1,P2",
            "https://x",
            "P\u{200B}1",
            "P\u{202E}1",
            "P\u{0}1",
            "\u{2011}P1",
        ] {
            assert_eq!(
                error(word, Urgency::High),
                format!(
                    "`urgencies.{word}`: is not one word, so no text can contain it as a word\n\
                     hint: a word is made of letters and digits, with `_`, `-` or `.` only between \
                     them; use `urgency_pattern` for other names, such as Chinese, Japanese or \
                     Korean ones"
                )
            );
        }
    }

    #[test]
    fn with_a_pattern_a_name_need_not_be_a_word() {
        let own = [("緊急", Urgency::Critical), ("!!", Urgency::High), ("P 1", Urgency::High)];
        let own = own.map(|(word, urgency)| (word.to_owned(), urgency));
        let names = UrgencyNames::new(own.clone().into(), true).expect("names");
        assert_eq!(names.urgency("緊急"), Some(Urgency::Critical));
        assert_eq!(names.urgency("p 1"), Some(Urgency::High));
        assert!(UrgencyNames::new(own.into(), false).is_err());
        assert!(UrgencyNames::new([(" ".to_owned(), Urgency::High)].into(), true).is_err());
    }

    #[test]
    fn a_word_with_two_urgencies_is_refused() {
        assert_eq!(
            names(&[("P1", Urgency::Critical), ("p1", Urgency::High)]).expect_err("refused"),
            "`urgencies.p1`: differs from `P1` in case alone and has another urgency\n\
             hint: remove one of the two"
        );
        assert!(names(&[("É", Urgency::Low), ("é", Urgency::High)]).is_err());
        assert!(names(&[("P1", Urgency::High), ("p1", Urgency::High)]).is_ok());
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for character in '\0'..=char::MAX {
            let once = folded_character(character);
            assert_eq!(folded_character(once), once, "{character:?}");
        }
    }
}
