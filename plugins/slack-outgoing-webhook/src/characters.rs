//! Characters by what people see of them.
//!
//! The standard library knows white space and control characters. The rest is here, from the
//! Unicode Character Database (<https://www.unicode.org/reports/tr44/>).

/// Returns whether a character ends a line: the mandatory breaks of UAX #14, save for the carriage
/// return, which only comes before a line feed.
pub(crate) fn is_line_break(character: char) -> bool {
    matches!(character, '\n' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns whether a character turns the direction of writing: it can make a text look like another.
pub(crate) fn is_bidi_control(character: char) -> bool {
    matches!(
        character,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns whether there is something to see in a text. White space and invisible characters stay
/// where they are, for emoji are made with some of them, but alone they are nothing to see.
pub(crate) fn can_be_seen(text: &str) -> bool {
    text.chars().any(|character| {
        character.is_ascii_graphic()
            || !(character.is_ascii() || character.is_whitespace() || is_invisible(character))
    })
}

/// Returns whether a character leaves no mark: controls, the property
/// `Default_Ignorable_Code_Point`, other characters of format, and letters and symbols whose glyph
/// is blank.
pub(crate) fn is_invisible(character: char) -> bool {
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
            // Characters of format in shorthand and music, and the blank note.
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D159}' | '\u{1D173}'..='\u{1D17A}'
            // Tags, further variation selectors, and what is reserved for more of their kind.
            | '\u{E0000}'..='\u{E0FFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_alone_are_nothing_to_see() {
        let invisible = [
            ('\0', '\u{1F}'),
            ('\u{7F}', '\u{9F}'),
            ('\u{AD}', '\u{AD}'),
            ('\u{34F}', '\u{34F}'),
            ('\u{61C}', '\u{61C}'),
            ('\u{115F}', '\u{1160}'),
            ('\u{17B4}', '\u{17B5}'),
            ('\u{180B}', '\u{180F}'),
            ('\u{2000}', '\u{200F}'),
            ('\u{2028}', '\u{202F}'),
            ('\u{205F}', '\u{206F}'),
            ('\u{2800}', '\u{2800}'),
            ('\u{3000}', '\u{3000}'),
            ('\u{3164}', '\u{3164}'),
            ('\u{FE00}', '\u{FE0F}'),
            ('\u{FEFF}', '\u{FEFF}'),
            ('\u{FFA0}', '\u{FFA0}'),
            ('\u{FFF0}', '\u{FFFB}'),
            ('\u{1BCA0}', '\u{1BCA3}'),
            ('\u{1D159}', '\u{1D159}'),
            ('\u{1D173}', '\u{1D17A}'),
            ('\u{E0000}', '\u{E0FFF}'),
        ];
        for character in invisible.into_iter().flat_map(|(first, last)| first..=last) {
            let text = character.to_string();
            assert!(!can_be_seen(&text), "{character:?}");
            assert!(can_be_seen(&(text + "x")), "{character:?}");
        }
    }

    #[test]
    fn whatever_leaves_a_mark_can_be_seen() {
        let seen = "a.é漢한ㄅ\u{FFFD}\u{FFFC}\u{301}🔥🇩\u{1F3FD}\u{2801}\u{3163}\u{FDFD}\u{E1000}";
        for character in seen.chars() {
            assert!(can_be_seen(&character.to_string()), "{character:?}");
        }
        for emoji in ["❤️", "👩‍💻", "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}"]
        {
            assert!(can_be_seen(emoji), "{emoji}");
        }
    }
}
