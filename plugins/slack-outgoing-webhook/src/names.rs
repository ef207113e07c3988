//! The names of urgencies: the four that the host knows, and the words of the operator.
//!
//! The words of a text are found elsewhere: see [`crate::words`].

use std::collections::BTreeMap;

use tocsin_plugin_api::{OptionsError, Urgency};

use crate::{
    characters::can_be_seen,
    product::Product,
    words::{Words, is_hyphen},
};

/// The names of urgencies.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The operator's own, folded.
    own: BTreeMap<String, Urgency>,
}

impl Names {
    /// Reads the option `urgencies`. If `urgency_pattern` finds the names, they need not be words.
    pub(crate) fn new(
        own: BTreeMap<String, Urgency>,
        has_pattern: bool,
    ) -> Result<Self, OptionsError> {
        let mut written: BTreeMap<String, (String, Urgency)> = BTreeMap::new();
        for (word, urgency) in own {
            refuse_empty(&word)?;
            if !has_pattern {
                refuse_in_pieces(&word)?;
            }
            refuse_lower(&word, urgency)?;
            match written.get(&folded(&word)) {
                Some((other, of_other)) if *of_other != urgency => {
                    return Err(OptionsError::at(
                        path(&word),
                        format!(
                            "the same word as `{other}`, for case makes no difference, with \
                             another urgency\nhint: remove one of the two"
                        ),
                    ));
                }
                _ => written.insert(folded(&word), (word, urgency)),
            };
        }
        let own = written.into_iter().map(|(folded, (_, urgency))| (folded, urgency));
        Ok(Self { own: own.collect() })
    }

    /// Returns the urgency of that name. The four names are compared without the case of ASCII
    /// letters, the operator's own ones without the case of any letter.
    pub(crate) fn urgency(&self, name: &str) -> Option<Urgency> {
        let known = known(name);
        if self.own.is_empty() {
            return known;
        }
        known.max(self.own.get(&folded(name)).copied())
    }

    /// Returns the operator's own names, folded.
    pub(crate) fn own(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }
}

/// Returns one character for all that differ in case alone. The hyphens count as one, and so do the
/// four letters i of Turkish.
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

fn known(name: &str) -> Option<Urgency> {
    Urgency::ALL.into_iter().find(|urgency| urgency.as_str().eq_ignore_ascii_case(name))
}

fn refuse_empty(word: &str) -> Result<(), OptionsError> {
    if can_be_seen(word) {
        return Ok(());
    }
    Err(OptionsError::at("urgencies", "a word is empty\nhint: remove it"))
}

fn refuse_in_pieces(word: &str) -> Result<(), OptionsError> {
    let mut words = Words::new(Product::Slack, word);
    if words.next() == Some(word) && words.next().is_none() {
        return Ok(());
    }
    Err(OptionsError::at(
        path(word),
        "can never stand alone as a word\n\
         hint: a word is made of letters and digits, with `_`, `-` or `.` only between them; find \
         anything else, such as Chinese, Japanese or Korean, with `urgency_pattern`",
    ))
}

fn refuse_lower(word: &str, urgency: Urgency) -> Result<(), OptionsError> {
    if known(word).is_none_or(|known| known <= urgency) {
        return Ok(());
    }
    Err(OptionsError::at(
        path(word),
        format!(
            "is the name of a higher urgency than `{urgency}`, and the highest counts\n\
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

    fn names(own: &[(&str, Urgency)]) -> Result<Names, String> {
        let own = own.iter().map(|(word, urgency)| (word.to_string(), *urgency));
        Names::new(own.collect(), false).map_err(|error| error.to_string())
    }

    fn error(word: &str, urgency: Urgency) -> String {
        names(&[(word, urgency)]).expect_err("refused")
    }

    #[test]
    fn the_four_names_are_there_from_the_start() {
        let names = Names::default();
        for urgency in Urgency::ALL {
            assert_eq!(names.urgency(urgency.as_str()), Some(urgency));
            assert_eq!(names.urgency(&urgency.as_str().to_uppercase()), Some(urgency));
        }
        for other in ["", "P1", "highs", "CRİTİCAL", "crıtıcal", "ｈｉｇｈ"] {
            assert_eq!(names.urgency(other), None, "{other}");
        }
    }

    #[test]
    fn own_words_are_compared_without_case() {
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
    fn a_known_name_can_be_raised_and_not_lowered() {
        let raised = names(&[("High", Urgency::Critical)]).expect("a word");
        assert_eq!(raised.urgency("high"), Some(Urgency::Critical));
        assert!(names(&[("low", Urgency::Low)]).is_ok());
        assert_eq!(
            error("Critical", Urgency::Low),
            "`urgencies.Critical`: is the name of a higher urgency than `low`, and the highest \
             counts\nhint: remove it"
        );
    }

    #[test]
    fn an_empty_word_is_refused() {
        for word in ["", " ", "\t", "\u{200B}", "\u{2800}", "\u{3164}"] {
            let expected = "`urgencies`: a word is empty\nhint: remove it";
            assert_eq!(error(word, Urgency::High), expected, "{word:?}");
        }
    }

    #[test]
    fn a_word_that_never_stands_alone_is_refused() {
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
                    "`urgencies.{word}`: can never stand alone as a word\n\
                     hint: a word is made of letters and digits, with `_`, `-` or `.` only between \
                     them; find anything else, such as Chinese, Japanese or Korean, with \
                     `urgency_pattern`"
                )
            );
        }
    }

    #[test]
    fn what_a_pattern_finds_need_not_be_a_word() {
        let own = [("緊急", Urgency::Critical), ("!!", Urgency::High), ("P 1", Urgency::High)];
        let own = own.map(|(word, urgency)| (word.to_owned(), urgency));
        let names = Names::new(own.clone().into(), true).expect("names");
        assert_eq!(names.urgency("緊急"), Some(Urgency::Critical));
        assert_eq!(names.urgency("p 1"), Some(Urgency::High));
        assert!(Names::new(own.into(), false).is_err());
        assert!(Names::new([(" ".to_owned(), Urgency::High)].into(), true).is_err());
    }

    #[test]
    fn one_word_with_two_urgencies_is_refused() {
        assert_eq!(
            names(&[("P1", Urgency::Critical), ("p1", Urgency::High)]).expect_err("refused"),
            "`urgencies.p1`: the same word as `P1`, for case makes no difference, with another \
             urgency\nhint: remove one of the two"
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
