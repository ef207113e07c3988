//! Feed of changes: the answer to "what changed since this cursor?".
//!
//! The feed keeps no rows of its own. Every store orders its alerts and their histories by the
//! transactions that wrote them.

use std::{fmt, str::FromStr};

use crate::alert::HistoryEntry;

/// Largest number of changes on one page.
pub const MOST_CHANGES: usize = 1000;

/// Change of one [`Alert`](crate::alert::Alert).
#[derive(Clone, Debug, PartialEq)]
pub struct FeedChange {
    /// Number of the alert.
    pub alert: u64,
    /// Place of the entry in the alert's history: 0 for the opening, and growing. A merged entry keeps
    /// its place when it comes again.
    pub place: u64,
    /// Entry of the alert's history: kind, actor, request and time of the change.
    ///
    /// A merged entry comes again, with a higher `count`, after each further report that it counts.
    pub entry: HistoryEntry,
}

/// Page of [changes](FeedChange), oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangePage {
    /// The changes; none if nothing has changed since the cursor.
    pub changes: Vec<FeedChange>,
    /// Cursor after the last of these changes.
    pub cursor: Cursor,
}

/// Place in the feed of one [`Store`](super::Store).
///
/// The text of a cursor can be kept anywhere and read again. Its content is known only to the store that
/// made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Start,
    Now,
    After(Box<str>),
}

/// Text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

/// Largest length of the text of a cursor.
const LONGEST_CURSOR: usize = 128;

impl Cursor {
    /// Returns the cursor before the oldest change.
    pub fn start() -> Self {
        Self(Place::Start)
    }

    /// Returns the cursor after the newest change, whichever that is when the cursor is used. The page
    /// is empty and holds a cursor from which to continue.
    pub fn now() -> Self {
        Self(Place::Now)
    }

    /// Returns the cursor of a place that a store knows under this text.
    pub(super) fn after(place: String) -> Self {
        Self(Place::After(place.into()))
    }

    /// Returns true for [`Cursor::start`].
    pub(super) fn is_start(&self) -> bool {
        self.0 == Place::Start
    }

    /// Returns the text of a place that the store knows; none for start and now.
    pub(super) fn place(&self) -> Option<&str> {
        match &self.0 {
            Place::After(place) => Some(place),
            Place::Start | Place::Now => None,
        }
    }
}

const START: &str = "start";
const NOW: &str = "now";

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match &self.0 {
            Place::Start => START,
            Place::Now => NOW,
            Place::After(place) => place,
        })
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match text {
            START => Ok(Self::start()),
            NOW => Ok(Self::now()),
            _ if (1..=LONGEST_CURSOR).contains(&text.len()) && text.bytes().all(is_allowed) => {
                Ok(Self::after(text.into()))
            }
            _ => Err(InvalidCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [Cursor::start(), Cursor::now(), Cursor::after("a1-2-3".into())] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn a_text_that_no_store_makes_is_no_cursor() {
        for text in ["", "a b", "ä", &"a".repeat(LONGEST_CURSOR + 1)] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
