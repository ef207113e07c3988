//! Makes text of plugins, senders and files safe for terminals and logs.
//!
//! Characters that move the cursor, break lines, reverse the direction of writing or hide text are replaced
//! or escaped. Stored text, and the JSON of the API, stay as they are.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use tracing_subscriber::fmt::MakeWriter;

/// Replacement for a character that is invisible and changes the look of others.
const REPLACEMENT: char = '\u{fffd}';

/// Returns a text on one line: control characters become blanks, other characters that are
/// [unprintable](is_unprintable) become `U+FFFD`. Joiners and variation selectors of emoji stay.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    replaced(text, |_| None)
}

/// Does the same as [`one_line`], but keeps line breaks.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| (c == '\n').then_some('\n'))
}

fn replaced(text: &str, exception: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        c if !is_unprintable(c) => c,
        c if exception(c).is_some() => c,
        c if c.is_control() || is_separator(c) => ' ',
        _ => REPLACEMENT,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Returns true if a character moves the cursor, breaks the line, changes the direction of writing, or
/// hides text.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || is_separator(c) || is_invisible(c)
}

fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        // Bidirectional marks, embeddings, overrides and isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Deprecated characters that change shapes and digits.
        | '\u{206a}'..='\u{206f}'
        // Blanks without width, and invisible operators.
        | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}'
        // Annotations between lines, and controls of musical notation.
        | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        // Tags: text that is invisible to people.
        | '\u{e0000}'..='\u{e007f}')
}

/// Returns JSON with [unprintable](is_unprintable) characters escaped, such as `\u202e`. A parser reads the
/// same values.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // Between values, JSON has line breaks and no other control characters.
    if !text.contains(|c| c != '\n' && is_unprintable(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if is_unprintable(c) => push_code(&mut shown, c),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn push_code(json: &mut String, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        json.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Form of the lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLineFormat {
    /// Text without colours.
    Text,
    /// Text with colours.
    ColouredText,
    /// JSON, with one object a line.
    Json,
}

impl LogLineFormat {
    /// Returns an event of the log with [unprintable](is_unprintable) characters escaped: in a JSON object
    /// as in JSON, which loses nothing, and in text as in Rust, such as `\u{202e}`, with `\n` for a line
    /// break within the event. Colours of coloured text stay: only the log itself writes them, as it escapes
    /// fields.
    pub(crate) fn printable(self, event: &[u8]) -> Cow<'_, [u8]> {
        let (line, end) = match event.strip_suffix(b"\n") {
            Some(line) => (line, "\n"),
            None => (event, ""),
        };
        let Ok(text) = std::str::from_utf8(line) else {
            return Cow::Owned(String::from_utf8_lossy(event).into_owned().into_bytes());
        };
        if !text.contains(is_unprintable) {
            return Cow::Borrowed(event);
        }
        let mut shown = String::with_capacity(event.len() + 16);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let colour = if self == Self::ColouredText { colour(rest) } else { 0 };
            if colour > 0 {
                shown.push_str(&rest[..colour]);
                rest = &rest[colour..];
                continue;
            }
            match self {
                _ if !is_unprintable(c) => shown.push(c),
                Self::Text | Self::ColouredText => shown.extend(c.escape_default()),
                Self::Json => push_code(&mut shown, c),
            }
            rest = &rest[c.len_utf8()..];
        }
        shown.push_str(end);
        Cow::Owned(shown.into_bytes())
    }
}

/// Returns the length of the colour code, such as `ESC [ 1 m`, at the start of a text.
fn colour(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = codes.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(codes.len());
    if codes[length..].starts_with('m') { "\u{1b}[".len() + length + 1 } else { 0 }
}

/// Makes writers that write events printable, see [`LogLineFormat::printable`].
#[derive(Clone, Debug)]
pub(crate) struct PrintableLog<M> {
    /// Form of the events.
    pub lines: LogLineFormat,
    /// Destination of the events.
    pub to: M,
}

/// Writes each event of the log with one write, made printable.
#[derive(Debug)]
pub(crate) struct PrintableEvents<W> {
    lines: LogLineFormat,
    to: W,
}

impl<'m, M: MakeWriter<'m>> MakeWriter<'m> for PrintableLog<M> {
    type Writer = PrintableEvents<M::Writer>;

    fn make_writer(&'m self) -> Self::Writer {
        PrintableEvents { lines: self.lines, to: self.to.make_writer() }
    }

    fn make_writer_for(&'m self, event: &tracing::Metadata<'_>) -> Self::Writer {
        PrintableEvents { lines: self.lines, to: self.to.make_writer_for(event) }
    }
}

impl<W: Write> Write for PrintableEvents<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.to.write_all(&self.lines.printable(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_unprintable_characters() {
        for (text, shown) in [
            ("a\u{1b}[31mb\u{7}", "a [31mb "),
            ("a\u{9b}31mb", "a 31mb"),
            ("one\r\ntwo\tthree", "one  two three"),
            ("one\u{2028}two\u{2029}three", "one two three"),
            ("user\u{202e}txt.exe\u{2066}", "user\u{fffd}txt.exe\u{fffd}"),
            ("\u{feff}a\u{200b}b\u{e0041}", "\u{fffd}a\u{fffd}b\u{fffd}"),
            (
                "\u{fff9}a\u{fffa}b\u{fffb}\u{61c}\u{200f}",
                "\u{fffd}a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}",
            ),
        ] {
            assert_eq!(one_line(text), shown, "{text:?}");
        }
        assert_eq!(lines("one\ntwo\rthree"), "one\ntwo three");
    }

    #[test]
    fn keeps_text_in_any_language_and_emoji() {
        for text in [
            "Größe übersteigt 90 % – “full”",
            "ディスクがいっぱい",
            "القرص ممتلئ",
            "👩\u{200d}🚒 ❤\u{fe0f} 🇩🇪",
            "می\u{200c}خواهم",
        ] {
            assert!(matches!(one_line(text), Cow::Borrowed(_)), "{text}");
        }
    }

    fn logged(lines: LogLineFormat, event: &str) -> String {
        String::from_utf8(lines.printable(event.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn an_event_of_a_text_log_is_one_line_without_unprintable_characters() {
        let text = |event| logged(LogLineFormat::Text, event);
        let coloured = "\u{1b}[2m12:00\u{1b}[0m all is well\n";
        assert_eq!(logged(LogLineFormat::ColouredText, coloured), coloured);
        assert_eq!(text(coloured), "\\u{1b}[2m12:00\\u{1b}[0m all is well\n");
        assert_eq!(text("one\ntwo\u{202e}\u{1b}[2J\n"), "one\\ntwo\\u{202e}\\u{1b}[2J\n");
        assert_eq!(text("Größe 👩\u{200d}🚒\n"), "Größe 👩\u{200d}🚒\n");
    }

    #[test]
    fn an_event_of_a_json_log_loses_nothing() {
        let reason = "a\u{202e}b\u{9b}c\u{e0041}d\u{7f}e\nf";
        let event = format!("{}\n", serde_json::json!({ "reason": reason }));
        let line = logged(LogLineFormat::Json, &event);
        assert!(!line.trim_end().contains(is_unprintable), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["reason"], reason);
    }

    #[test]
    fn a_log_writes_every_event_printable() {
        use std::sync::{Arc, Mutex};

        let written = Arc::new(Mutex::new(Vec::new()));
        for lines in [LogLineFormat::Text, LogLineFormat::ColouredText, LogLineFormat::Json] {
            #[derive(Clone)]
            struct Shared(Arc<Mutex<Vec<u8>>>);
            impl Write for Shared {
                fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                    self.0.lock().expect("no panic").extend_from_slice(bytes);
                    Ok(bytes.len())
                }
                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }
            let shared = Shared(Arc::clone(&written));
            let to = PrintableLog { lines, to: move || shared.clone() };
            let has_colours = lines == LogLineFormat::ColouredText;
            let log = tracing_subscriber::fmt().with_writer(to).with_ansi(has_colours);
            let work = || {
                let foreign = "x\u{202e}y\nERROR forged";
                tracing::info!(reason = foreign, shown = %foreign, "said {foreign}");
            };
            if lines == LogLineFormat::Json {
                tracing::subscriber::with_default(log.json().finish(), work);
            } else {
                tracing::subscriber::with_default(log.finish(), work);
            }
        }
        let written = String::from_utf8(written.lock().expect("no panic").clone()).expect("UTF-8");
        assert_eq!(written.lines().count(), 3, "{written}");
        let without_colours = written.replace('\u{1b}', "");
        assert!(!without_colours.lines().any(|line| line.contains(is_unprintable)), "{written:?}");
    }
}
