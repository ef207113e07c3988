//! Classes of characters, by what people see of them.
//!
//! The standard library knows white space ([`char::is_whitespace`]) and control characters
//! ([`char::is_control`]). This module adds classes from the Unicode Character Database
//! (<https://www.unicode.org/reports/tr44/>), version 16; the tests compare the lists with it.

/// Returns whether a character changes the direction of writing (property `Bidi_Control`), which
/// can make a text look like another one.
pub fn is_bidi_control(character: char) -> bool {
    matches!(
        character,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns whether a character has to be removed from text that people see: a control character,
/// which can steer a terminal, or a [bidi control](is_bidi_control).
pub fn is_control_or_bidi(character: char) -> bool {
    character.is_control() || is_bidi_control(character)
}

/// Returns whether a character leaves no mark of its own.
///
/// Such a character is one of:
///
/// - a control character (general category `Cc`);
/// - a format character (`Cf`): joiners, bidi controls, tags; but not those with the property
///   `Prepended_Concatenation_Mark`, which are drawn, such as the Arabic number sign. The Syriac
///   abbreviation mark has that property as well and counts as invisible, because alone it is not
///   drawn;
/// - a character with the property `Default_Ignorable_Code_Point`: variation selectors, the fillers
///   of Hangul, and code points that are reserved for further such characters;
/// - a letter, mark or symbol with a blank glyph: the blank pattern of Braille, two blanks of
///   Egyptian hieroglyphs, the filler of Khitan, and the musical note without a head.
///
/// White space is not among them, except for control characters such as a tab.
///
/// Invisible characters between others matter: emoji are made with them. [`is_blank`] judges a
/// whole text.
///
/// [`is_blank`]: crate::text::is_blank
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Soft hyphen, combining grapheme joiner, Arabic letter mark, Syriac abbreviation mark.
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{70F}'
            // Fillers of Hangul, inherent vowels of Khmer, selectors of Mongolian.
            | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            // Zero-width spaces and joiners, bidi controls, invisible operators.
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            // The blank of Braille and the filler of Hangul.
            | '\u{2800}' | '\u{3164}'
            // Variation selectors, byte order mark, half-width filler, annotations.
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            // Controls and blanks of hieroglyphs, and the filler of Khitan.
            | '\u{13430}'..='\u{1343F}' | '\u{13441}' | '\u{13442}' | '\u{16FE4}'
            // Format characters of shorthand and music, and the note without a head.
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D159}' | '\u{1D173}'..='\u{1D17A}'
            // Tags, further variation selectors, and code points that are reserved for further such
            // characters.
            | '\u{E0000}'..='\u{E0FFF}'
        )
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    /// Asserts that a class holds the characters that a pattern matches, and no others.
    fn assert_matches(class: fn(char) -> bool, pattern: &str) {
        let pattern = Regex::new(pattern).expect("a pattern");
        for character in '\0'..=char::MAX {
            let is_match = pattern.is_match(character.encode_utf8(&mut [0; 4]));
            assert_eq!(class(character), is_match, "{character:?}");
        }
    }

    #[test]
    fn bidi_controls_are_those_of_unicode() {
        assert_matches(is_bidi_control, r"^\p{Bidi_Control}$");
    }

    #[test]
    fn invisible_characters_are_those_of_unicode_and_blank_glyphs() {
        assert_matches(
            is_invisible,
            r"(?x)^(?:
                \p{Cc}
                | [\p{Cf}--\p{Prepended_Concatenation_Mark}]
                | \p{Default_Ignorable_Code_Point}
                | \u{70F}
                | [\u{2800}\u{13441}\u{13442}\u{16FE4}\u{1D159}]
            )$",
        );
    }

    #[test]
    fn visible_characters_are_not_invisible() {
        let seen = "a.é漢한ㄅ\u{FFFD}\u{FFFC}\u{301}🔥🇩\u{1F3FD}\u{2801}\u{3163}\u{FDFD}\u{E1000}";
        for character in seen.chars() {
            assert!(!is_invisible(character), "{character:?}");
        }
    }
}
