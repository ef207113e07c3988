//! Text for people to read, made of what the sender wrote.
//!
//! Markup of any kind is left as it is: nothing in the format says that there is some.

/// What a title has at most. The host would cut it there.
const LONGEST_TITLE_CHARS: usize = 1024;

/// A text on one line, without control and bidi characters and with single spaces. None where there
/// is nothing to see.
pub(crate) fn on_one_line(text: &str) -> Option<String> {
    let mut line = String::with_capacity(text.len());
    let mut space_waits = false;
    for character in text.chars() {
        if character.is_whitespace() {
            space_waits = !line.is_empty();
        } else if is_harmless(character) {
            if std::mem::take(&mut space_waits) {
                line.push(' ');
            }
            line.push(character);
        }
    }
    can_be_seen(&line).then_some(line)
}

/// A text with its lines and their indents, without control and bidi characters and without white
/// space at its ends. None where there is nothing to see.
pub(crate) fn on_many_lines(text: &str) -> Option<String> {
    let is_kept = |character: &char| matches!(character, '\n' | '\t') || is_harmless(*character);
    let lines: String = text.chars().filter(is_kept).collect();
    let lines = lines.trim();
    can_be_seen(lines).then(|| lines.to_owned())
}

/// The title cut where it is too long, and whether it was.
pub(crate) fn cut_title(mut title: String) -> (String, bool) {
    match title.char_indices().nth(LONGEST_TITLE_CHARS) {
        Some((end, _)) => {
            title.truncate(title[..end].trim_end().len());
            (title, true)
        }
        None => (title, false),
    }
}

/// Whether a character neither controls a terminal nor turns the direction of writing, which can
/// make a text look like another.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

/// Returns whether a text has a character that leaves a mark: neither white space nor one of those that are
/// drawn as nothing.
pub(crate) fn can_be_seen(text: &str) -> bool {
    text.chars().any(|character| !character.is_whitespace() && !is_invisible(character))
}

/// Returns whether a character is drawn as nothing: it has Unicode's property `Default_Ignorable_Code_Point`
/// (joiners, variation selectors, the fillers of Hangul, tags), or is blank in every font without being
/// white space.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFF8}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
            // The blank pattern of Braille, the marks around ruby text, and the note without a head.
            | '\u{2800}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D159}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_runs_to_one_space() {
        let line = on_one_line(" \r\n a \t b\n\nc\u{2028}\u{3000}d \n");
        assert_eq!(line.as_deref(), Some("a b c d"));
    }

    #[test]
    fn control_and_bidi_characters_go() {
        for character in "\0\x1B\x7F\u{80}\u{9F}\u{61C}\u{200E}\u{202A}\u{202E}\u{2069}".chars() {
            let text = format!("a{character}b");
            assert_eq!(on_one_line(&text).as_deref(), Some("ab"), "{character:?}");
            assert_eq!(on_many_lines(&text).as_deref(), Some("ab"), "{character:?}");
        }
        assert_eq!(on_one_line("a \0 b").as_deref(), Some("a b"));
    }

    #[test]
    fn lines_stay_with_their_indents() {
        let lines = on_many_lines("\n Load is high\r\n  VALUE = 3\n\n\tLABELS = map[]\n \n");
        assert_eq!(lines.as_deref(), Some("Load is high\n  VALUE = 3\n\n\tLABELS = map[]"));
    }

    #[test]
    fn a_text_with_nothing_to_see_is_none() {
        for blank in ["", " \n\t", "\0\x1B", "\u{202E}", "\u{200D}\u{FE0F}", "\u{FEFF} \u{200B}"] {
            assert_eq!(on_one_line(blank), None, "{blank:?}");
            assert_eq!(on_many_lines(blank), None, "{blank:?}");
        }
    }

    #[test]
    fn invisible_characters_alone_are_no_text() {
        let invisible = "\u{2800}\u{3164}\u{115F}\u{1160}\u{FFA0}\u{34F}\u{17B4}\u{180E}\u{200B}\
                         \u{2060}\u{2065}\u{FFF9}\u{1D159}\u{1D173}\u{E0001}\u{E0041}\u{E007F}\u{E0100}";
        for character in invisible.chars() {
            let text = character.to_string();
            assert_eq!(on_one_line(&text), None, "{character:?}");
            assert_eq!(on_many_lines(&text), None, "{character:?}");
        }
        assert_eq!(on_one_line(invisible), None);
        assert_eq!(on_many_lines(invisible), None);
    }

    #[test]
    fn invisible_characters_beside_others_stay() {
        for text in
            ["a\u{2800}b", "\u{1F3F4}\u{E0067}\u{E0062}\u{E007F}", "\u{115F}\u{1161}", "\u{FFFC}"]
        {
            assert_eq!(on_one_line(text).as_deref(), Some(text));
            assert_eq!(on_many_lines(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn emoji_and_markup_stay() {
        for text in ["👩‍💻 ❤️ 1️⃣", "<b>a</b> &amp; *b*", "日本 é e\u{301}"] {
            assert_eq!(on_one_line(text).as_deref(), Some(text));
            assert_eq!(on_many_lines(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_long_title_is_cut_at_a_character() {
        assert_eq!(cut_title("é".repeat(1025)), ("é".repeat(1024), true));
        assert_eq!(cut_title("é".repeat(1024)), ("é".repeat(1024), false));
        assert_eq!(cut_title("x".repeat(1023) + " x"), ("x".repeat(1023), true));
    }
}
