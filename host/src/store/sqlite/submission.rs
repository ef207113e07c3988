//! Writes a [`Submission`]: its events, its record, and the kept request.
//!
//! The changes of alerts are in [`super::alert_changes`].

use std::{
    borrow::Cow,
    net::IpAddr,
    ops::{Deref, Range},
    sync::Arc,
};

use rusqlite::{OptionalExtension, params};

use super::{
    eviction::stored,
    long_submission::LongSubmission,
    rows::{self, Stored},
    write_transaction::WriteTransaction,
};
use crate::alert::{Actor, Event, life::Cause};
use crate::request::{Content, Effect, Kept, RequestOutcome, Share, Submission, Terms};
use crate::store::EVENTS_TOGETHER;

/// Values that all events of a [`Submission`] share.
pub(super) struct Origin<'s> {
    pub(super) submission: &'s Submission,
    pub(super) integration: i64,
    pub(super) plugin: Option<i64>,
    pub(super) cause: Cause,
    pub(super) request: [u8; 16],
    /// Address of the sender.
    pub(super) sender: Option<Octets>,
    /// Length of the body.
    pub(super) size: Option<i64>,
    pub(super) plugin_us: Option<i64>,
    /// True if the record of the request belongs into the row of the alert that it opens.
    pub(super) is_folded: bool,
}

impl WriteTransaction<'_> {
    /// Writes a submission, and returns the effects of its events.
    pub(super) fn submit(&mut self, submission: &Submission) -> rusqlite::Result<Vec<Effect>> {
        self.submit_events(submission, &[], usize::MAX)
    }

    /// Writes the next part of a [`LongSubmission`], and returns the effects of its events. The record comes
    /// with the last part.
    pub(super) fn submit_part(&mut self, long: &LongSubmission) -> rusqlite::Result<Vec<Effect>> {
        self.submit_events(long.submission(), long.effects(), EVENTS_TOGETHER)
    }

    /// Writes at most that many events after those whose effects are known.
    fn submit_events(
        &mut self,
        submission: &Submission,
        before: &[Effect],
        most: usize,
    ) -> rusqlite::Result<Vec<Effect>> {
        let plugin = submission.plugin.as_ref().map(|plugin| self.plugin(plugin)).transpose()?;
        let origin = Origin {
            submission,
            integration: self.integration(&submission.integration)?,
            plugin,
            cause: cause(submission),
            request: submission.request_id.to_bytes(),
            sender: submission.sender.map(Octets::from),
            size: submission.size_bytes.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
            plugin_us: submission
                .plugin_time
                .map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX)),
            is_folded: may_be_folded(submission),
        };
        let (part, known_outcome, reason) = match &submission.content {
            Content::Events { events, terms, remark } => {
                let places = before.len()..events.len().min(before.len().saturating_add(most));
                let is_last = places.end == events.len();
                let part = self.events(&origin, events, places, *terms)?;
                if !is_last {
                    self.record_beginning(&origin, before, &part)?;
                    return Ok(part);
                }
                (part, None, remark.as_deref())
            }
            Content::Nothing { outcome, reason } => {
                (Vec::new(), Some(*outcome), Some(reason.as_str()))
            }
        };
        let effects = match before {
            [] => Cow::Borrowed(&part[..]),
            before => Cow::Owned([before, &part].concat()),
        };
        let outcome = known_outcome.unwrap_or_else(|| RequestOutcome::of_effects(&effects));
        if submission.replayed_by.is_some() {
            self.record_replay(&origin, outcome, reason, &effects)?;
            self.release(&origin, outcome)?;
        } else {
            if !before.is_empty() {
                self.remove_beginning(&origin)?;
            }
            if !(origin.is_folded && matches!(*effects, [Effect::Opened(_)])) {
                self.record(&origin, outcome, reason, &effects)?;
            }
            if let Some(kept) = &submission.kept {
                self.keep(&origin, kept)?;
            }
        }
        Ok(part)
    }

    fn events(
        &mut self,
        origin: &Origin<'_>,
        events: &[Event],
        places: Range<usize>,
        terms: Terms,
    ) -> rusqlite::Result<Vec<Effect>> {
        let first_time = match origin.submission.replayed_by {
            Some(_) => self.outcome_of(&origin.request)?,
            None => None,
        };
        let mut effects = Vec::with_capacity(places.len());
        for (place, event) in places.clone().zip(&events[places]) {
            let effect = match (&event.event_id, &origin.submission.replayed_by) {
                (Some(id), _) => self.event(origin, event, Some(id), terms)?,
                (None, None) => self.event(origin, event, None, terms)?,
                // The original request had no id either, and its events were accepted.
                (None, Some(_)) if first_time == Some(RequestOutcome::Events) => {
                    Effect::Duplicate(None)
                }
                // An id of the host's own lets the events of a request apply once, however often it is
                // replayed.
                (None, Some(_)) => {
                    let id = format!("replay {} {place}", origin.submission.request_id);
                    self.event(origin, event, Some(&id), terms)?
                }
            };
            self.count_hops(origin, effect)?;
            effects.push(effect);
        }
        Ok(effects)
    }

    /// Keeps the hops of a further report with its alert, if no report before had more. Most requests have
    /// none.
    fn count_hops(&self, origin: &Origin<'_>, effect: Effect) -> rusqlite::Result<()> {
        let hops = origin.submission.hops;
        let is_new = matches!(effect, Effect::Opened(_));
        let Some(alert) = effect.alert().filter(|_| hops > 0 && !is_new) else { return Ok(()) };
        let sql = "UPDATE alerts SET hops = ?2 WHERE number = ?1 AND hops < ?2";
        self.statement(sql)?.execute(params![alert.cast_signed(), hops]).map(drop)
    }

    fn outcome_of(&self, request: &[u8; 16]) -> rusqlite::Result<Option<RequestOutcome>> {
        let sql = "SELECT outcome FROM requests WHERE id = ?1 \
                   UNION ALL SELECT outcome FROM folded_requests WHERE id = ?1";
        let outcome = |row: &rusqlite::Row<'_>| row.get(0).map(|Stored(outcome)| outcome);
        self.statement(sql)?.query_row([request.as_slice()], outcome).optional()
    }

    /// With the first part of a long submission, records that it is not finished. A replay has a record
    /// already.
    fn record_beginning(
        &self,
        origin: &Origin<'_>,
        before: &[Effect],
        part: &[Effect],
    ) -> rusqlite::Result<()> {
        if !before.is_empty() || origin.submission.replayed_by.is_some() {
            return Ok(());
        }
        let count = origin.submission.event_count();
        let reason = format!(
            "the store has committed some of its {count} events, but not all of them; hint: if \
             this reason stays, the store failed or the host ended before the last event, and the \
             sender has to try again"
        );
        self.record(origin, RequestOutcome::Failed, Some(&reason), part)
    }

    /// Removes what [`Self::record_beginning`] recorded.
    fn remove_beginning(&self, origin: &Origin<'_>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM requests WHERE id = ?1";
        self.statement(sql)?.execute([origin.request.as_slice()]).map(drop)
    }

    fn record(
        &self,
        origin: &Origin<'_>,
        outcome: RequestOutcome,
        reason: Option<&str>,
        effects: &[Effect],
    ) -> rusqlite::Result<()> {
        let alert = effects.iter().find_map(|effect| effect.alert()).map(u64::cast_signed);
        // The effect of most requests is one new alert, which the column `alert` says already.
        let effects = match effects {
            [] | [Effect::Opened(_)] => None,
            effects => Some(rows::write_effects(effects)),
        };
        let sql = "INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let values = params![
            origin.request.as_slice(),
            origin.integration,
            origin.plugin,
            origin.cause.at.as_millisecond(),
            Stored(outcome),
            alert,
            reason,
            origin.sender.as_deref(),
            origin.size,
            origin.plugin_us,
            self.state.transaction,
            effects,
        ];
        self.kept.execute(sql, values).map(drop)
    }

    fn record_replay(
        &self,
        origin: &Origin<'_>,
        outcome: RequestOutcome,
        reason: Option<&str>,
        effects: &[Effect],
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO replays VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7) \
                   ON CONFLICT (request) DO UPDATE SET at = excluded.at, by = excluded.by, \
                   tries = tries + 1, plugin = excluded.plugin, outcome = excluded.outcome, \
                   reason = excluded.reason, effects = excluded.effects";
        let Origin { request, plugin, cause, submission, .. } = origin;
        let values = params![
            request.as_slice(),
            cause.at.as_millisecond(),
            submission.replayed_by.as_ref().map(Actor::to_string),
            plugin,
            Stored(outcome),
            reason,
            rows::write_effects(effects),
        ];
        self.statement(sql)?.execute(values).map(drop)
    }

    /// Keeps the request, and deletes others above the bounds of its share.
    fn keep(&mut self, origin: &Origin<'_>, kept: &Kept) -> rusqlite::Result<()> {
        let Kept { raw, share } = kept;
        let (size, Origin { request, integration, .. }) = (raw.size_bytes(), origin);
        let is_quarantined = matches!(share, Some((Share::Quarantine, _)));
        // A subscriber of IPv6 has a /64 at the least.
        let sender =
            origin.sender.as_deref().map_or(&[][..], |octets| &octets[..octets.len().min(8)]);
        if let Some(share) = *share
            && self.would_leave(*integration, share, sender, size)?
        {
            self.count_pushed_out(*integration, share.0);
            return Ok(());
        }
        let sql = "INSERT INTO kept_requests VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.statement(sql)?.execute(params![
            request.as_slice(),
            integration,
            is_quarantined,
            i64::try_from(size).unwrap_or(i64::MAX),
            raw.query,
            raw.headers.as_ref(),
            raw.body.as_ref(),
            share.map(|(share, _)| stored(share)),
            sender,
        ])?;
        if is_quarantined {
            let waiting = self.quarantined(*integration, &origin.submission.integration);
            waiting.count += 1;
            waiting.bytes += size as u64;
        }
        match share {
            Some((share, bounds)) => self.make_room(*integration, *share, *bounds),
            None => Ok(()),
        }
    }

    fn quarantined(&mut self, integration: i64, name: &str) -> &mut crate::request::Quarantined {
        self.state.quarantine_changed = true;
        let waiting = self.state.quarantine.entry(integration).or_default();
        if waiting.integration.is_empty() {
            name.clone_into(&mut waiting.integration);
        }
        waiting
    }

    /// Takes a request off the count of those that wait for a replay.
    pub(super) fn left_quarantine(&mut self, integration: i64, size: i64) {
        self.state.quarantine_changed = true;
        let Some(waiting) = self.state.quarantine.get_mut(&integration) else { return };
        waiting.count = waiting.count.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(size.cast_unsigned());
    }

    /// Ends the waiting of a request after a successful replay, and deletes a request that proved not to be
    /// genuine.
    fn release(&mut self, origin: &Origin<'_>, outcome: RequestOutcome) -> rusqlite::Result<()> {
        if matches!(outcome, RequestOutcome::Failed | RequestOutcome::Refused) {
            return Ok(());
        }
        let sql = "UPDATE kept_requests SET quarantined = 0, share = NULL \
                   WHERE request = ?1 AND quarantined = 1 RETURNING integration, size";
        let released: Option<(i64, i64)> = self
            .statement(sql)?
            .query_row([origin.request.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((integration, size)) = released {
            self.left_quarantine(integration, size);
        }
        if outcome == RequestOutcome::Unauthorized {
            let sql = "DELETE FROM kept_requests WHERE request = ?1";
            self.statement(sql)?.execute([origin.request.as_slice()])?;
        }
        Ok(())
    }
}

fn cause(submission: &Submission) -> Cause {
    let by = match &submission.replayed_by {
        Some(by) => Actor::Replay { by: Box::new(by.clone()) },
        None => Actor::Integration(Arc::clone(&submission.integration)),
    };
    Cause { by, request_id: Some(submission.request_id), at: submission.received_at }
}

/// Returns true if the record of a submission would hold nothing that the row of an alert has no place for, as
/// long as the submission opens that alert and nothing else.
fn may_be_folded(submission: &Submission) -> bool {
    let Submission { content, kept, replayed_by, .. } = submission;
    let is_one_event = matches!(
        content,
        Content::Events { events, remark: None, .. } if events.len() == 1
    );
    // Lists of requests that count against a share are made of `requests` alone.
    let has_share = kept.as_ref().is_some_and(|kept| kept.share.is_some());
    is_one_event && replayed_by.is_none() && !has_share
}

/// Stored form of an [`IpAddr`].
pub(super) enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl From<IpAddr> for Octets {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(address.octets()),
        }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }
}
