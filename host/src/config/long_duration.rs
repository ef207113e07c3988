//! Durations that may be written in days and weeks, such as `30d`. A day has 24 hours.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, de};

/// A duration above zero that may be written in days and weeks, such as `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LongDuration(pub Duration);

impl LongDuration {
    /// Creates a duration of that many days.
    pub(crate) const fn days(days: u64) -> Self {
        Self(Duration::from_secs(days * 24 * 60 * 60))
    }

    /// Creates a duration of that many seconds.
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let duration = Duration::try_from(duration(text)?).ok()?;
        (!duration.is_zero()).then_some(Self(duration))
    }
}

/// Returns the length of time that a text such as `2h` or `30d` means; none for another text.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

impl<'de> Deserialize<'de> for LongDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a duration above zero, such as `30d`"))
        })
    }
}

impl fmt::Display for LongDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds % (24 * 60 * 60), seconds % (60 * 60), seconds % 60) {
            (0, _, _) if seconds > 0 => write!(f, "{}d", seconds / (24 * 60 * 60)),
            (_, 0, _) if seconds > 0 => write!(f, "{}h", seconds / (60 * 60)),
            (_, _, 0) if seconds > 0 => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_and_weeks() {
        for (text, seconds) in [
            ("30d", 30 * 86_400),
            ("2w", 14 * 86_400),
            ("36h", 36 * 3600),
            ("1d 12h", 36 * 3600),
            ("90s", 90),
        ] {
            assert_eq!(
                LongDuration::parse(text),
                Some(LongDuration(Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for text in ["", "0d", "-1d", "30", "soon", "1 month"] {
            assert_eq!(LongDuration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shows_itself_in_the_largest_unit_that_fits() {
        let shown = |seconds| LongDuration(Duration::from_secs(seconds)).to_string();
        assert_eq!([86_400, 7200, 120, 90].map(shown), ["1d", "2h", "2m", "90s"]);
    }
}
