//! Stored form of the effects of requests.

use crate::request::Effect;

/// Returns the text of [effects](Effect): a letter each, with the number of the alert.
pub(in crate::store) fn write_effects(effects: &[Effect]) -> String {
    let word = |effect: &Effect| {
        let letter = match effect {
            Effect::Opened(_) => 'o',
            Effect::Occurred(_) => 'c',
            Effect::Acknowledged(_) => 'a',
            Effect::Resolved(_) => 'r',
            Effect::Duplicate(_) => 'd',
            Effect::NoMatch => 'n',
            Effect::Suppressed => 's',
        };
        effect.alert().map_or_else(|| letter.to_string(), |number| format!("{letter}{number}"))
    };
    effects.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Reads the text of [`write_effects`]. Unknown words are left out.
pub(super) fn read_effects(text: &str) -> Vec<Effect> {
    let read = |word: &str| {
        let number = word.get(1..)?.parse().ok();
        Some(match word.as_bytes().first()? {
            b'o' => Effect::Opened(number?),
            b'c' => Effect::Occurred(number?),
            b'a' => Effect::Acknowledged(number?),
            b'r' => Effect::Resolved(number?),
            b'd' => Effect::Duplicate(number),
            b'n' => Effect::NoMatch,
            b's' => Effect::Suppressed,
            _ => return None,
        })
    };
    text.split_whitespace().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_read_as_they_were_written() {
        let effects = [
            Effect::Opened(1),
            Effect::Occurred(20),
            Effect::Acknowledged(3),
            Effect::Resolved(u64::MAX),
            Effect::Duplicate(Some(7)),
            Effect::Duplicate(None),
            Effect::NoMatch,
            Effect::Suppressed,
        ];
        assert_eq!(read_effects(&write_effects(&effects)), effects);
        assert_eq!(read_effects("o x é 12"), []);
    }
}
