//! Writes the record of a request, and what comes of its replay.

use std::borrow::Cow;

use super::{effects, error::SqlResult, origin::Origin, transaction::Transaction, value::values};
use crate::request::{Content, Effect, RequestOutcome, Submission};

/// Adds a record.
pub(super) static RECORD: &str = "INSERT INTO requests (id, integration, plugin, received_at, \
     outcome, alert, reason, sender, size, plugin_us, transaction_id, effects) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

impl Transaction<'_> {
    /// Writes all of a submission but its events: its record, and the kept request.
    ///
    /// `before` are the effects of the events that earlier transactions have committed, and `part` those of the
    /// rest.
    pub(in crate::store) fn conclude(
        &mut self,
        origin: &Origin<'_>,
        before: &[Effect],
        part: &[Effect],
    ) -> SqlResult<()> {
        let effects = match before {
            [] => Cow::Borrowed(part),
            before => Cow::Owned([before, part].concat()),
        };
        let (outcome, reason) = match &origin.submission.content {
            Content::Events { remark, .. } => {
                (RequestOutcome::of_effects(&effects), remark.as_deref())
            }
            Content::Nothing { outcome, reason } => (*outcome, Some(reason.as_str())),
        };
        if origin.submission.replayed_by.is_some() {
            self.record_replay(origin, outcome, reason, &effects)?;
            return self.release(origin, outcome);
        }
        if !before.is_empty() {
            self.remove_beginning(origin)?;
        }
        if !(origin.is_folded && matches!(*effects, [Effect::Opened(_)])) {
            self.record(origin, outcome, reason, &effects)?;
        }
        match &origin.submission.kept {
            Some(kept) => self.keep(origin, kept),
            None => Ok(()),
        }
    }

    /// Keeps the hops of a further report with its alert, if no report before had more. Most requests have
    /// none.
    pub(in crate::store) fn count_hops(
        &self,
        origin: &Origin<'_>,
        effect: Effect,
    ) -> SqlResult<()> {
        let hops = origin.submission.hops;
        let is_new = matches!(effect, Effect::Opened(_));
        let Some(alert) = effect.alert().filter(|_| hops > 0 && !is_new) else { return Ok(()) };
        let sql = "UPDATE alerts SET hops = ?2 WHERE number = ?1 AND hops < ?2";
        self.database.execute(sql, values![alert, hops]).map(drop)
    }

    /// Returns the outcome of a request before its replay.
    pub(in crate::store) fn first_outcome(
        &self,
        origin: &Origin<'_>,
    ) -> SqlResult<Option<RequestOutcome>> {
        let sql = "SELECT outcome FROM requests WHERE id = ?1 \
                   UNION ALL SELECT outcome FROM folded_requests WHERE id = ?1";
        self.database.first(sql, values![&origin.request], |row| row.get(0))
    }

    /// With the first part of a long submission, records that it is not finished. A replay has a record
    /// already.
    pub(in crate::store) fn record_beginning(
        &mut self,
        origin: &Origin<'_>,
        before: &[Effect],
        part: &[Effect],
    ) -> SqlResult<()> {
        if !before.is_empty() || origin.submission.replayed_by.is_some() {
            return Ok(());
        }
        let reason = unfinished(origin.submission);
        self.record(origin, RequestOutcome::Failed, Some(&reason), part)
    }

    /// Removes what [`Self::record_beginning`] recorded.
    fn remove_beginning(&self, origin: &Origin<'_>) -> SqlResult<()> {
        let sql = "DELETE FROM requests WHERE id = ?1";
        self.database.execute(sql, values![&origin.request]).map(drop)
    }

    fn record(
        &mut self,
        origin: &Origin<'_>,
        outcome: RequestOutcome,
        reason: Option<&str>,
        effects: &[Effect],
    ) -> SqlResult<()> {
        let alert = effects.iter().find_map(|effect| effect.alert());
        // The effect of most requests is one new alert, which the column `alert` says already.
        let effects = match effects {
            [] | [Effect::Opened(_)] => None,
            effects => Some(effects::write_effects(effects)),
        };
        let values = values![
            &origin.request,
            origin.integration,
            origin.plugin,
            origin.cause.at,
            outcome,
            alert,
            reason,
            origin.sender.as_deref(),
            origin.size,
            origin.plugin_us,
            self.memory.transaction()?,
            effects,
        ];
        self.database.execute(RECORD, values).map(drop)
    }

    fn record_replay(
        &self,
        origin: &Origin<'_>,
        outcome: RequestOutcome,
        reason: Option<&str>,
        effects: &[Effect],
    ) -> SqlResult<()> {
        let sql = "INSERT INTO replays \
                   (request, at, by, tries, plugin, outcome, reason, effects) \
                   VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7) \
                   ON CONFLICT (request) DO UPDATE SET at = excluded.at, by = excluded.by, \
                   tries = replays.tries + 1, plugin = excluded.plugin, \
                   outcome = excluded.outcome, reason = excluded.reason, \
                   effects = excluded.effects";
        let Origin { request, plugin, cause, submission, .. } = origin;
        let values = values![
            request,
            cause.at,
            submission.replayed_by.as_ref(),
            *plugin,
            outcome,
            reason,
            effects::write_effects(effects),
        ];
        self.database.execute(sql, values).map(drop)
    }
}

/// Returns the reason in the record of a request whose events are committed in several steps, until the last one.
pub(in crate::store) fn unfinished(submission: &Submission) -> String {
    let count = submission.event_count();
    format!(
        "the store has committed some of its {count} events, but not all of them; hint: if this reason \
         stays, the store failed or the host ended before the last event, and the sender has to try again"
    )
}
