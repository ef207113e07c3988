//! A route with its conditions compiled, and its name in messages.

use std::{fmt::Write, time::Duration};

use jiff::Timestamp;

use super::{Hours, Matcher, Subject, matcher::Mismatch};

/// A route to destinations.
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) name: String,
    pub(super) to: Vec<String>,
    pub(super) after: Option<Duration>,
    pub(super) repeat: Option<Duration>,
    matcher: Matcher,
    hours: Option<Hours>,
}

/// The first condition of a route that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Condition(Mismatch),
    Hours,
}

impl Route {
    /// Creates the route with that number, from 1.
    pub fn new(
        number: usize,
        to: Vec<String>,
        matcher: Matcher,
        hours: Option<Hours>,
        (after, repeat): (Option<Duration>, Option<Duration>),
    ) -> Self {
        let mut route = Self { name: String::new(), to, after, repeat, matcher, hours };
        route.name = format!("route {number} ({})", route.text());
        route
    }

    /// Returns true if the route has a condition on details.
    pub(super) fn reads_details(&self) -> bool {
        self.matcher.reads_details()
    }

    /// Returns the first condition on the alert itself that does not hold.
    pub(super) fn mismatch(&self, subject: Subject<'_>) -> Option<Mismatch> {
        self.matcher.mismatch(subject)
    }

    /// Returns true if the route has no hours, or the time is within them.
    pub(super) fn is_open(&self, at: Timestamp) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(at))
    }

    /// Returns the time at which the route tells of an alert that is opened at a time.
    pub(super) fn tells_at(&self, opened: Timestamp) -> Timestamp {
        opened.saturating_add(self.after.unwrap_or_default()).unwrap_or(Timestamp::MAX)
    }

    /// Returns a miss as a sentence, for an alert that the route would tell of at a time.
    pub(super) fn explain(&self, miss: Miss, subject: Subject<'_>, at: Timestamp) -> String {
        let reason = match miss {
            Miss::Condition(mismatch) => self.matcher.explain(mismatch, subject),
            Miss::Hours => {
                let local = self.hours.as_ref().map_or_else(String::new, |hours| hours.local(at));
                match self.after {
                    None => format!("the time is {local}"),
                    Some(_) => format!("the time of the escalation is {local}"),
                }
            }
        };
        format!("{}: {reason}", self.name)
    }

    fn text(&self) -> String {
        let mut text = format!("to {}", self.to.join("/"));
        let hours = self.hours.iter().map(ToString::to_string);
        let after = self.after.map(|time| format!("after {}", short(time)));
        let repeat = self.repeat.map(|time| format!("repeat {}", short(time)));
        for part in self.matcher.texts().chain(hours).chain(after).chain(repeat) {
            // Writing to a string cannot fail.
            let _ = write!(text, ", {part}");
        }
        text
    }
}

/// Returns a time such as `90m` in the units that fit.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) if seconds > 0 => format!("{}h", seconds / 3600),
        (_, 0) if seconds > 0 => format!("{}m", seconds / 60),
        _ => format!("{time:?}"),
    }
}
