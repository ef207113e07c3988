//! Boundaries of words: which characters join a word, and where a word ends.
//!
//! The words of a whole text are in [`crate::words`].

/// Returns the length in bytes of the word at the beginning of a text. A `.` belongs to the word
/// only between two characters that join.
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

/// Returns whether a character joins its neighbours in a word.
pub(crate) fn joins(character: char) -> bool {
    match character {
        '_' | '-' => true,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => joins_beyond_ascii(character),
    }
}

/// Returns a word without `_`, `-` and `.` at its ends.
pub(crate) fn without_marks(word: &str) -> &str {
    match word.as_bytes() {
        // Most words have no marks.
        [first, .., last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => word,
        _ => word.trim_matches(is_mark),
    }
}

/// Returns whether a character is one of Unicode's two hyphens: HYPHEN and NON-BREAKING HYPHEN,
/// which word processors write.
pub(crate) fn is_hyphen(character: char) -> bool {
    matches!(character, '\u{2010}' | '\u{2011}')
}

/// Returns whether a character is invisible and joins its neighbours, so that people see one word.
/// A zero-width space is not among them: it separates words.
pub(crate) fn is_hidden_in_word(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{200C}' | '\u{200D}' | '\u{2060}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
    )
}

fn joins_ascii(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn joins_beyond_ascii(character: char) -> bool {
    is_hyphen(character)
        || is_hidden_in_word(character)
        || is_accent(character)
        || (character.is_alphanumeric() && !is_cjk(character))
}

fn is_mark(character: char) -> bool {
    match character {
        '_' | '-' | '.' => true,
        _ => !character.is_ascii() && (is_hyphen(character) || is_hidden_in_word(character)),
    }
}

/// Returns whether a character is a combining accent (Unicode's blocks of combining diacritical
/// marks).
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36F}'
            | '\u{1AB0}'..='\u{1AFF}'
            | '\u{1DC0}'..='\u{1DFF}'
            | '\u{FE20}'..='\u{FE2F}'
    )
}

/// Returns whether a character belongs to a script without spaces between words: Han, Hiragana,
/// Katakana, Hangul or Bopomofo.
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

    #[test]
    fn a_word_ends_before_the_first_character_that_does_not_join() {
        for (text, word) in [
            ("high cpu", "high"),
            ("high_cpu-1!", "high_cpu-1"),
            ("critical.log.", "critical.log"),
            ("low..high", "low"),
            (".high", ""),
            ("élevé,", "élevé"),
            ("e\u{301}low", "e\u{301}low"),
            ("high対応", "high"),
            ("low\u{2011}latency", "low\u{2011}latency"),
            ("be\u{AD}low", "be\u{AD}low"),
            ("be\u{200B}low", "be"),
        ] {
            assert_eq!(&text[..word_len(text)], word, "{text}");
        }
    }

    #[test]
    fn marks_are_removed_at_both_ends_only() {
        for (word, bare) in [
            ("_high_", "high"),
            ("--a-b", "a-b"),
            ("high.-", "high"),
            ("\u{2011}a\u{AD}", "a"),
            ("a_b", "a_b"),
            ("-", ""),
        ] {
            assert_eq!(without_marks(word), bare, "{word}");
        }
    }
}
