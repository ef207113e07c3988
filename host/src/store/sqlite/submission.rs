//! Writes a [`Submission`]: its events, and what belongs to them.
//!
//! The changes of alerts are in [`super::alert_changes`].

use std::ops::Range;

use super::write_transaction::WriteTransaction;
use crate::{
    alert::Event,
    request::{Content, Effect, RequestOutcome, Submission, Terms},
    store::{
        EVENTS_TOGETHER,
        long_submission::LongSubmission,
        sql::{Origin, SqlResult},
    },
};

impl WriteTransaction<'_> {
    /// Writes a submission, and returns the effects of its events.
    pub(super) fn submit(&mut self, submission: &Submission) -> SqlResult<Vec<Effect>> {
        self.submit_events(submission, &[], usize::MAX)
    }

    /// Writes the next part of a [`LongSubmission`], and returns the effects of its events. The record comes
    /// with the last part.
    pub(super) fn submit_part(&mut self, long: &LongSubmission) -> SqlResult<Vec<Effect>> {
        self.submit_events(long.submission(), long.effects(), EVENTS_TOGETHER)
    }

    /// Writes at most that many events after those whose effects are known.
    fn submit_events(
        &mut self,
        submission: &Submission,
        before: &[Effect],
        most: usize,
    ) -> SqlResult<Vec<Effect>> {
        let origin = self.shared().origin(submission)?;
        let part = match &submission.content {
            Content::Events { events, terms, .. } => {
                let places = before.len()..events.len().min(before.len().saturating_add(most));
                let is_last = places.end == events.len();
                let part = self.events(&origin, events, places, *terms)?;
                if !is_last {
                    self.shared().record_beginning(&origin, before, &part)?;
                    return Ok(part);
                }
                part
            }
            Content::Nothing { .. } => Vec::new(),
        };
        self.shared().conclude(&origin, before, &part)?;
        Ok(part)
    }

    fn events(
        &mut self,
        origin: &Origin<'_>,
        events: &[Event],
        places: Range<usize>,
        terms: Terms,
    ) -> SqlResult<Vec<Effect>> {
        // The events of a replayed request that have no ids were accepted with it.
        let is_accepted = origin.submission.replayed_by.is_some()
            && self.shared().first_outcome(origin)? == Some(RequestOutcome::Events);
        let mut effects = Vec::with_capacity(places.len());
        for (place, event) in places.clone().zip(&events[places]) {
            let effect = if is_accepted && event.event_id.is_none() {
                Effect::Duplicate(None)
            } else {
                self.event(origin, event, origin.event_id(event, place).as_deref(), terms)?
            };
            self.shared().count_hops(origin, effect)?;
            effects.push(effect);
        }
        Ok(effects)
    }
}
