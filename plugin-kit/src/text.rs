//! Text of strangers, made safe to show to people.
//!
//! Senders choose the text of their webhooks. Control characters in it can steer a terminal, bidi
//! characters can make it look like another text, and a title of invisible characters looks empty.
//! The functions of this module remove control and bidi characters, and return `None` for a text
//! that would look empty. Markup (HTML, Markdown) stays as it is: the formats of most senders
//! define none.

use crate::characters::{is_control_or_bidi, is_invisible};

/// Length in characters at which a host cuts the title of an event.
pub const TITLE_LIMIT_CHARS: usize = 1024;

/// Puts a text on one line, for a title or the value of a detail.
///
/// Control and bidi characters are removed. Runs of white space, line breaks included, become one
/// space, and white space at both ends is removed. Returns `None` if the result [is
/// blank](is_blank).
///
/// ```
/// use tocsin_plugin_kit::text::one_line;
///
/// assert_eq!(one_line(" disk\r\n\tfull\u{202E} ").as_deref(), Some("disk full"));
/// assert_eq!(one_line("\u{200B} \u{2800}"), None);
/// ```
pub fn one_line(text: &str) -> Option<String> {
    let mut line = String::with_capacity(text.len());
    let mut pending_space = false;
    for character in text.chars() {
        if character.is_whitespace() {
            pending_space = !line.is_empty();
        } else if !is_control_or_bidi(character) {
            if std::mem::take(&mut pending_space) {
                line.push(' ');
            }
            line.push(character);
        }
    }
    (!is_blank(&line)).then_some(line)
}

/// Cleans a text of several lines, for a description.
///
/// Control and bidi characters are removed, except for line feeds and tabs, and white space at both
/// ends of the text is removed. Lines keep their indents. Returns `None` if the result
/// [is blank](is_blank).
///
/// ```
/// use tocsin_plugin_kit::text::several_lines;
///
/// assert_eq!(several_lines("\nload:\r\n\t17\0\n").as_deref(), Some("load:\n\t17"));
/// assert_eq!(several_lines("\n\n"), None);
/// ```
pub fn several_lines(text: &str) -> Option<String> {
    let is_kept =
        |character: &char| matches!(character, '\n' | '\t') || !is_control_or_bidi(*character);
    let lines: String = text.chars().filter(is_kept).collect();
    let lines = lines.trim();
    (!is_blank(lines)).then(|| lines.to_owned())
}

/// Returns the beginning of a text, with at most `limit_chars` characters. A text that is cut also
/// loses the white space before the cut.
///
/// ```
/// use tocsin_plugin_kit::text::truncated;
///
/// assert_eq!(truncated("é è", 3), "é è");
/// assert_eq!(truncated("é è", 2), "é");
/// ```
pub fn truncated(text: &str, limit_chars: usize) -> &str {
    match text.char_indices().nth(limit_chars) {
        Some((end, _)) => text[..end].trim_end(),
        None => text,
    }
}

/// Returns whether a text looks empty: all of its characters are white space or
/// [invisible](is_invisible).
pub fn is_blank(text: &str) -> bool {
    !text.chars().any(|character| {
        character.is_ascii_graphic()
            || !(character.is_ascii() || character.is_whitespace() || is_invisible(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_runs_to_one_space_on_one_line() {
        let line = one_line(" \r\n a \t b\n\nc\u{2028}\u{3000}d \n");
        assert_eq!(line.as_deref(), Some("a b c d"));
        assert_eq!(one_line("a \0 b").as_deref(), Some("a b"));
    }

    #[test]
    fn control_and_bidi_characters_are_removed() {
        for character in "\0\x1B\x7F\u{80}\u{9F}\u{61C}\u{200E}\u{202A}\u{202E}\u{2069}".chars() {
            let text = format!("a{character}b");
            assert_eq!(one_line(&text).as_deref(), Some("ab"), "{character:?}");
            assert_eq!(several_lines(&text).as_deref(), Some("ab"), "{character:?}");
        }
    }

    #[test]
    fn several_lines_keep_their_indents() {
        let lines = several_lines("\n Load is high\r\n  VALUE = 3\n\n\tLABELS = map[]\n \n");
        assert_eq!(lines.as_deref(), Some("Load is high\n  VALUE = 3\n\n\tLABELS = map[]"));
    }

    #[test]
    fn a_text_that_looks_empty_is_none() {
        for blank in ["", " \n\t", "\0\x1B", "\u{202E}", "\u{200D}\u{FE0F}", "\u{FEFF} \u{200B}"] {
            assert!(is_blank(blank), "{blank:?}");
            assert_eq!(one_line(blank), None, "{blank:?}");
            assert_eq!(several_lines(blank), None, "{blank:?}");
        }
    }

    #[test]
    fn each_invisible_character_alone_is_blank_and_stays_beside_others() {
        for character in ('\0'..=char::MAX).filter(|character| is_invisible(*character)) {
            let text = character.to_string();
            assert!(is_blank(&text), "{character:?}");
            assert!(!is_blank(&(text.clone() + "x")), "{character:?}");
            assert_eq!(one_line(&text), None, "{character:?}");
            assert_eq!(several_lines(&text), None, "{character:?}");
            if !character.is_whitespace() && !is_control_or_bidi(character) {
                let beside = format!("a{character}b");
                assert_eq!(one_line(&beside).as_deref(), Some(beside.as_str()), "{character:?}");
            }
        }
    }

    #[test]
    fn emoji_accents_and_markup_stay() {
        for text in [
            "👩‍💻 ❤️ 1️⃣",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "\u{115F}\u{1161}",
            "<b>a</b> &amp; *b*",
            "日本 é e\u{301}",
            "\u{FFFC}",
        ] {
            assert!(!is_blank(text), "{text}");
            assert_eq!(one_line(text).as_deref(), Some(text));
            assert_eq!(several_lines(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "é".repeat(1025);
        assert_eq!(truncated(&long, TITLE_LIMIT_CHARS), "é".repeat(1024));
        assert_eq!(truncated(&long[2..], TITLE_LIMIT_CHARS), "é".repeat(1024));
        let spaced = "x".repeat(1023) + " x";
        assert_eq!(truncated(&spaced, TITLE_LIMIT_CHARS), "x".repeat(1023));
        assert_eq!(truncated("a ", 2), "a ");
        assert_eq!(truncated("a", 0), "");
    }
}
