//! The text of a configuration file: where a key stands, and how an error in it reads.
//!
//! It knows TOML, not what the keys mean.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it was read from, as the operator wrote it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Document {
    /// A path in it, which is relative to its file.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// An error at a key, such as `["integrations", "ops", "options", "rules[2]", "pattern"]`. Where
    /// the key is not there, the nearest table above it is shown.
    pub fn error_at(&self, key: &[&str], message: impl Into<String>) -> ConfigError {
        self.error(self.span_of(key), key.join("."), message)
    }

    /// An error at a place in the text, in the key that stands there.
    pub fn error_in(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let key = self.key_at(&span);
        self.error(span, key, message)
    }

    fn error(&self, span: Range<usize>, key: String, message: impl Into<String>) -> ConfigError {
        let start = span.start.min(self.text.len());
        let before = &self.text[..self.text.floor_char_boundary(start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let source = self.text[line_start..].lines().next().unwrap_or_default().to_owned();
        let column = before[line_start..].chars().count() + 1;
        let width = self.text.get(span).map_or(1, |text| text.lines().next().map_or(1, str::len));
        ConfigError {
            file: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column,
            width: width.clamp(1, source.len().saturating_sub(column - 1).max(1)),
            source,
            key,
            message: message.into(),
            hint: None,
        }
    }

    fn span_of(&self, key: &[&str]) -> Range<usize> {
        let Ok(root) = DeTable::parse(&self.text) else { return 0..0 };
        let mut span = 0..0;
        let mut table = root.get_ref();
        for (depth, part) in key.iter().enumerate() {
            let (name, places) = split_places(part);
            let Some((name, mut value)) = table.get_key_value(name) else { break };
            let is_last = depth + 1 == key.len();
            span = if is_last { value.span() } else { name.span() };
            // A table spans from its header; its name points at it better.
            let mut is_named = true;
            for place in places {
                let DeValue::Array(items) = value.get_ref() else { break };
                let Some(item) = items.get(place) else { break };
                (value, span, is_named) = (item, item.span(), false);
            }
            match value.get_ref() {
                DeValue::Table(inner) => {
                    if is_named {
                        span = name.span();
                    }
                    table = inner;
                }
                _ => break,
            }
        }
        span
    }

    fn key_at(&self, span: &Range<usize>) -> String {
        let Ok(root) = DeTable::parse(&self.text) else { return String::new() };
        let mut path = Vec::new();
        find_key(root.get_ref(), span, &mut path);
        path.join(".")
    }
}

/// A key with places in lists: `rules[2][0]` is `rules`, 2 and 0.
fn split_places(part: &str) -> (&str, Vec<usize>) {
    let places = |text: &str| -> Option<Vec<usize>> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.split("][").map(|place| place.parse().ok()).collect()
    };
    let split = part.find('[').map(|at| part.split_at(at));
    split.and_then(|(name, text)| Some((name, places(text)?))).unwrap_or_else(|| (part, Vec::new()))
}

fn find_key(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (name, value) in table {
        path.push(name.get_ref().to_string());
        let within = match value.get_ref() {
            DeValue::Table(inner) => find_key(inner, span, path),
            _ => false,
        };
        if within || holds(&name.span()) || holds(&value.span()) {
            return true;
        }
        path.pop();
    }
    false
}

/// One thing that is wrong with a configuration: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    line: usize,
    column: usize,
    width: usize,
    source: String,
    key: String,
    message: String,
    hint: Option<String>,
}

impl ConfigError {
    /// Adds what the operator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The key that it is about, with dots between its parts.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error on one line, without the line of the file: a secret may stand there.
    pub fn sentence(&self) -> String {
        let Self { file, line, column, key, message, hint, .. } = self;
        let mut sentence = format!("{}:{line}:{column}: ", file.display());
        if !key.is_empty() {
            sentence.push_str(&format!("`{key}`: "));
        }
        sentence.push_str(message);
        if let Some(hint) = hint {
            sentence.push_str(&format!("; hint: {hint}"));
        }
        // A key may hold anything, and so may what was looked up.
        sentence.replace(char::is_control, " ")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, width, source, key, message, hint } = self;
        write!(f, "{}:{line}:{column}: ", file.display())?;
        if !key.is_empty() {
            write!(f, "`{key}`: ")?;
        }
        writeln!(f, "{message}")?;
        let gutter = line.to_string().len();
        let (shown, indent) = window(source, column - 1);
        let width = (*width).min(shown.chars().count().saturating_sub(indent)).max(1);
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:gutter$} | {}{}", "", " ".repeat(indent), "^".repeat(width))?;
        match hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The part of a line that is shown around a place, and where the place is in it: nobody reads a line
/// of a million characters.
fn window(source: &str, place: usize) -> (String, usize) {
    const BEFORE: usize = 80;
    const LONGEST: usize = 160;
    let start = if source.chars().count() <= LONGEST { 0 } else { place.saturating_sub(BEFORE) };
    (source.chars().skip(start).take(LONGEST).collect(), place - start)
}

/// Everything that is wrong with a configuration, never nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// All of them on one line, see [`ConfigError::sentence`].
    pub fn sentence(&self) -> String {
        let sentences: Vec<_> = self.0.iter().map(ConfigError::sentence).collect();
        sentences.join("; ")
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_whatever_a_key_holds() {
        let document = Document { path: "tocsin.toml".into(), text: "'a\u{b}b' = 1".into() };
        let error = document.error_at(&["a\nb"], "is\nwrong").hint("look\rup");
        assert_eq!(error.sentence(), "tocsin.toml:1:1: `a b`: is wrong; hint: look up");
    }

    #[test]
    fn of_an_endless_line_the_place_is_shown() {
        let text = format!("{}=={}", "k".repeat(100_000), "v".repeat(100_000));
        let document = Document { path: "tocsin.toml".into(), text };
        let error = document.error_in(100_001..100_002, "is wrong").to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[0], "tocsin.toml:1:100002: is wrong");
        assert_eq!(lines[2], format!("1 | {}=={}", "k".repeat(79), "v".repeat(79)));
        assert_eq!(lines[3], format!("  | {}^", " ".repeat(80)));
    }
}
