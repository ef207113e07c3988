//! A problem as an operator reads it: a code for programs, a sentence and a hint for people.
//!
//! Nothing is logged or answered here.

mod spelling;

use std::{borrow::Cow, error::Error, fmt, io};

pub(crate) use self::spelling::{did_you_mean, known_names, nearest, suggestion};

use crate::printable::one_line;

/// A sentence that says what is wrong, what to do about it, and a code to branch on.
///
/// [`Display`](fmt::Display) gives the message and, on a line of its own, the hint;
/// [`one_line`](Self::one_line) gives both on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of problem in kebab case, such as `plugin-missing`. Code branches on it, never on the
    /// message.
    pub code: &'static str,
    /// A sentence, lower case, without a full stop.
    pub message: String,
    /// The remedy, if there is one.
    pub hint: Option<String>,
}

/// The start of the line that holds the hint.
const HINT_LINE: &str = "\nhint: ";

/// Puts the text of an error on one line: a `hint:` line follows after a semicolon, and characters that
/// control a terminal are replaced.
pub(crate) fn on_one_line(text: &str) -> String {
    one_line(&text.replace("\nhint:", "; hint:")).into_owned()
}

impl Problem {
    /// Creates a problem without a hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Reads text from outside the host, such as a plugin's: everything after a first `hint:` line is
    /// the hint. The host's own problems are values, and are never read back from text.
    pub fn from_text(code: &'static str, text: &str) -> Self {
        match text.split_once(HINT_LINE) {
            Some((message, hint)) => Self::new(code, message).with_hint(hint),
            None => Self::new(code, text),
        }
    }

    /// Returns the problem that an I/O error carries, if the host made that error from one.
    pub fn in_io_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the message and the hint on one line, as `message; hint: hint`, without characters that
    /// control a terminal.
    pub fn one_line(&self) -> String {
        let text = match &self.hint {
            Some(hint) => Cow::Owned(format!("{}; hint: {hint}", self.message)),
            None => Cow::Borrowed(&*self.message),
        };
        one_line(&text).into_owned()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "{HINT_LINE}{hint}"))
    }
}

impl Error for Problem {}

impl From<Problem> for io::Error {
    fn from(problem: Problem) -> Self {
        Self::other(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_message_and_hint_on_two_lines_or_on_one() {
        let problem = Problem::new("full-disk", "no room\u{7} is left").with_hint("make\nroom");
        assert_eq!(problem.to_string(), "no room\u{7} is left\nhint: make\nroom");
        assert_eq!(problem.one_line(), "no room  is left; hint: make room");
        let bare = Problem::new("full-disk", "no room is left");
        assert_eq!((bare.to_string(), bare.one_line()), (bare.message.clone(), bare.message));
    }

    #[test]
    fn an_error_is_one_line_whatever_its_text_holds() {
        let text = "un\rw\u{b}ind\nhint: mend it\nsoon";
        assert_eq!(on_one_line(text), "un w ind; hint: mend it soon");
    }

    #[test]
    fn reads_a_hint_from_text_from_outside_the_host() {
        let problem = Problem::new("options", "is empty").with_hint("set it\nsoon");
        assert_eq!(Problem::from_text("options", &problem.to_string()), problem);
        assert_eq!(Problem::from_text("options", "is empty"), Problem::new("options", "is empty"));
    }

    #[test]
    fn a_problem_can_be_taken_out_of_the_io_error_made_from_it() {
        let problem = Problem::new("no-proc", "`/proc` is not mounted").with_hint("mount it");
        let error = io::Error::from(problem.clone());
        assert_eq!(error.to_string(), problem.to_string());
        assert_eq!(Problem::in_io_error(&error), Some(&problem));
        assert_eq!(Problem::in_io_error(&io::ErrorKind::NotFound.into()), None);
    }
}
