//! Silences with their conditions compiled.

use jiff::Timestamp;

use super::{Matcher, MatcherError, Subject};
use crate::delivery::Silence;

/// [Silences](Silence) that are ready to be compared with alerts.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    silences: Vec<(Silence, Matcher)>,
}

/// A stored silence that cannot be evaluated. No alert is silenced by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenSilence {
    /// Number of the silence.
    pub id: u64,
    /// The patterns that are no regular expressions.
    pub errors: Vec<MatcherError>,
}

impl Silences {
    /// Compiles silences. Those that cannot be evaluated are returned separately.
    pub fn new(silences: Vec<Silence>) -> (Self, Vec<BrokenSilence>) {
        let (mut compiled, mut broken) = (Vec::new(), Vec::new());
        for silence in silences {
            match Matcher::new(&silence.conditions) {
                Ok(matcher) => compiled.push((silence, matcher)),
                Err(errors) => broken.push(BrokenSilence { id: silence.id, errors }),
            }
        }
        (Self { silences: compiled }, broken)
    }

    /// Returns true if a silence has a condition on details.
    pub fn reads_details(&self) -> bool {
        self.silences.iter().any(|(_, matcher)| matcher.reads_details())
    }

    /// Returns the silence that holds for an alert at a time; of several, the one that ends last. A silence
    /// holds from its beginning, and no longer at its end.
    pub fn holding(&self, subject: Subject<'_>, at: Timestamp) -> Option<&Silence> {
        let holds = |(silence, matcher): &&(Silence, Matcher)| {
            silence.starts_at <= at && at < silence.ends_at && matcher.matches(subject)
        };
        let holding = self.silences.iter().filter(holds).map(|(silence, _)| silence);
        holding.max_by_key(|silence| silence.ends_at)
    }
}
