//! Keeps requests as they came, and lets them go after a replay.

use super::{
    error::SqlResult, eviction::stored, origin::Origin, transaction::Transaction, value::values,
};
use crate::request::{Kept, RequestOutcome, Share};

impl Transaction<'_> {
    /// Keeps the request, and deletes others above the bounds of its share.
    pub(super) fn keep(&mut self, origin: &Origin<'_>, kept: &Kept) -> SqlResult<()> {
        let Kept { raw, share } = kept;
        let (size, Origin { request, integration, .. }) = (raw.size_bytes(), origin);
        let is_quarantined = matches!(share, Some((Share::Quarantine, _)));
        let sender = origin.subscriber();
        if let Some(share) = *share
            && self.would_leave(*integration, share, sender, size)?
        {
            self.memory.pushed_out(*integration, share.0);
            return Ok(());
        }
        let sql = "INSERT INTO kept_requests \
                   (request, integration, quarantined, size, query, headers, body, share, sender) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = values![
            request,
            *integration,
            is_quarantined,
            size,
            &raw.query,
            raw.headers.as_ref(),
            raw.body.as_ref(),
            share.map(|(share, _)| stored(share)),
            sender,
        ];
        self.database.execute(sql, values)?;
        if is_quarantined {
            let name = &origin.submission.integration;
            self.memory.joined_quarantine(*integration, name, size as u64);
        }
        match share {
            Some((share, bounds)) => self.make_room(*integration, *share, *bounds),
            None => Ok(()),
        }
    }

    /// Ends the waiting of a request after a successful replay, and deletes a request that proved not to be
    /// genuine.
    pub(super) fn release(
        &mut self,
        origin: &Origin<'_>,
        outcome: RequestOutcome,
    ) -> SqlResult<()> {
        if matches!(outcome, RequestOutcome::Failed | RequestOutcome::Refused) {
            return Ok(());
        }
        let sql = "UPDATE kept_requests SET quarantined = 0, share = NULL \
                   WHERE request = ?1 AND quarantined = 1 RETURNING integration, size";
        let released = self
            .database
            .first(sql, values![&origin.request], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let Some((integration, size)) = released {
            self.memory.left_quarantine(integration, size);
        }
        if outcome == RequestOutcome::Unauthorized {
            let sql = "DELETE FROM kept_requests WHERE request = ?1";
            self.database.execute(sql, values![&origin.request])?;
        }
        Ok(())
    }
}
