//! Errors in a configuration: the place in the file, what is wrong, and a hint.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::snippet::Snippet;
use crate::printable::one_line;

/// Error in a configuration: the place in the file, what is wrong, and a hint. Made by
/// [`Document::error_at`](super::Document::error_at).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) snippet: Snippet,
    pub(super) key: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl ConfigError {
    /// Adds a hint: what the operator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()).into_owned());
        self
    }

    /// Returns the key with dots between its parts.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the place as `FILE:LINE:COLUMN`.
    pub fn place(&self) -> String {
        one_line(&format!("{}:{}:{}", self.file.display(), self.line, self.column)).into_owned()
    }

    /// Returns what is wrong, without place and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the file, the line and the column.
    pub(crate) fn position(&self) -> (&Path, usize, usize) {
        (&self.file, self.line, self.column)
    }

    /// Returns the hint.
    pub(crate) fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the error on one line, without the [`Snippet`] of the file.
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
        // Keys may hold any character.
        one_line(&sentence).into_owned()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, snippet, key, message, hint } = self;
        write!(f, "{}:{line}:{column}: ", file.display())?;
        if !key.is_empty() {
            write!(f, "`{key}`: ")?;
        }
        writeln!(f, "{message}")?;
        let gutter = line.to_string().len();
        let (shown, indent) = visible_part(&snippet.line, snippet.start);
        let width = snippet.width.min(shown.chars().count().saturating_sub(indent)).max(1);
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:gutter$} | {}{}", "", " ".repeat(indent), "^".repeat(width))?;
        match hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All [`ConfigError`]s of a configuration; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Puts errors of one file in the order of their places.
    pub(crate) fn in_order(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| (error.line, error.column));
        Self(errors)
    }

    /// Returns all errors on one line, see [`ConfigError::sentence`].
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

/// Returns at most 160 characters of a line around a place, and the place within them.
fn visible_part(source: &str, place: usize) -> (String, usize) {
    const BEFORE: usize = 80;
    const LONGEST: usize = 160;
    let start = if source.chars().count() <= LONGEST { 0 } else { place.saturating_sub(BEFORE) };
    (source.chars().skip(start).take(LONGEST).collect(), place - start)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Document;

    #[test]
    fn an_error_fits_on_one_line_even_if_its_key_has_line_breaks() {
        let document = Document::new(Path::new("tocsin.toml"), "'a\u{b}b' = 1".into());
        let error = document.error_at(&["a\nb"], "is\nwrong").hint("look\rup");
        assert_eq!(error.sentence(), "tocsin.toml:1:1: `a b`: is wrong; hint: look up");
    }

    #[test]
    fn shows_only_the_surroundings_of_the_place_in_a_long_line() {
        let key = "k".repeat(100_000);
        let text = format!("server.{key}.listen = {{ {key} = 1 }}\n");
        let document = Document::new(Path::new("tocsin.toml"), text);
        let error = document.error_in(100_008..100_014, "is wrong").to_string();
        let lines: Vec<_> = error.lines().collect();
        assert!(lines[0].starts_with("tocsin.toml:1:100009: `server.kkk"));
        assert_eq!(lines[2], format!("1 | {}.listen = {{ {}", "k".repeat(79), "k".repeat(69)));
        assert_eq!(lines[3], format!("  | {}^^^^^^", " ".repeat(80)));
    }
}
