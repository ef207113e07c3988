//! Eviction of kept requests when a [`Share`] is full.
//!
//! No sender can displace the requests of others by sending more or larger ones: requests of the sender
//! that has most of a share are deleted first.

use super::{error::SqlResult, row::Row, transaction::Transaction, value::values};
use crate::request::{Share, ShareBounds};

/// Largest size of a small request, head and body. Small requests are deleted by age, larger ones by
/// size.
const SMALL_BYTES: i64 = 16 * 1024;

/// Largest number of requests that are deleted for one new request. After an upgrade, or with smaller
/// bounds, the rest is deleted later.
const MOST_AT_ONCE: usize = 100;

/// Request that may be deleted.
struct Candidate {
    seq: i64,
    bytes: u64,
}

impl Transaction<'_> {
    /// Returns whether a large request would be the first to be deleted from a [`Share`]. Such a request is
    /// not written, so that a flood of large requests costs the disk nothing.
    pub(super) fn would_leave(
        &self,
        integration: i64,
        (share, bounds): (Share, ShareBounds),
        sender: &[u8],
        size: usize,
    ) -> SqlResult<bool> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let (count, bytes) = self.taken(integration, share)?;
        let is_full = bytes.saturating_add(size.cast_unsigned()) > bounds.bytes;
        if !is_full || size <= SMALL_BYTES || count == 0 {
            return Ok(false);
        }
        let share = stored(share);
        let number = |row: &Row<'_>| row.get::<i64>(0);
        let sql =
            "SELECT coalesce(max(bytes), 0) FROM kept_shares WHERE integration = ?1 AND share = ?2";
        let most = self.database.one(sql, values![integration, share], number)?;
        let sql = "SELECT coalesce(max(bytes), 0) FROM kept_shares \
                   WHERE integration = ?1 AND share = ?2 AND sender = ?3";
        let values = values![integration, share, sender];
        let own = self.database.one(sql, values, number)?;
        let sql = "SELECT coalesce(max(size), 0) FROM kept_requests \
                   WHERE integration = ?1 AND share = ?2 AND sender = ?3";
        let largest = self.database.one(sql, values, number)?;
        Ok(own.saturating_add(size) >= most && largest <= size)
    }

    /// Deletes requests from a [`Share`] of an integration until the rest fits.
    pub(super) fn make_room(
        &mut self,
        integration: i64,
        share: Share,
        bounds: ShareBounds,
    ) -> SqlResult<()> {
        for _ in 0..MOST_AT_ONCE {
            let (count, bytes) = self.taken(integration, share)?;
            let is_over_bytes = bytes > bounds.bytes;
            if count <= bounds.count.max(1) && !(is_over_bytes && count > 1) {
                return Ok(());
            }
            let Some(leaves) = self.candidate(integration, share, bounds, is_over_bytes)? else {
                return Ok(());
            };
            self.database
                .execute("DELETE FROM kept_requests WHERE seq = ?1", values![leaves.seq])?;
            if share == Share::Quarantine {
                self.memory.left_quarantine(integration, leaves.bytes);
            }
            self.memory.pushed_out(integration, share);
        }
        Ok(())
    }

    /// Returns the number of requests and bytes in a [`Share`] of an integration.
    fn taken(&self, integration: i64, share: Share) -> SqlResult<(u64, u64)> {
        if share == Share::Quarantine
            && let Some(waiting) = self.memory.quarantined(integration)
        {
            return Ok(waiting);
        }
        let sql = "SELECT CAST(coalesce(sum(count), 0) AS BIGINT), \
                   CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM kept_shares \
                   WHERE integration = ?1 AND share = ?2";
        let values = values![integration, stored(share)];
        self.database.one(sql, values, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn candidate(
        &self,
        integration: i64,
        share: Share,
        bounds: ShareBounds,
        is_over_bytes: bool,
    ) -> SqlResult<Option<Candidate>> {
        let share = stored(share);
        let by = if is_over_bytes { "bytes" } else { "count" };
        let sql = format!(
            "SELECT sender FROM kept_shares WHERE integration = ?1 AND share = ?2 \
             ORDER BY {by} DESC LIMIT 1"
        );
        let largest: Option<Vec<u8>> =
            self.database.first(&sql, values![integration, share], |row| row.get(0))?;
        let sender = largest.unwrap_or_default();
        if is_over_bytes {
            let sql = "SELECT seq, size FROM kept_requests \
                       WHERE integration = ?1 AND share = ?2 AND sender = ?3 AND size > ?4 \
                       ORDER BY size DESC, seq DESC LIMIT 1";
            let values = values![integration, share, &*sender, SMALL_BYTES];
            let large = self.database.first(sql, values, candidate)?;
            if large.is_some() {
                return Ok(large);
            }
        }
        let floor = self.floor(integration, share, bounds)?;
        let sql = "SELECT seq, size FROM kept_requests \
                   WHERE integration = ?1 AND share = ?2 AND sender = ?3 AND seq > ?4 \
                   ORDER BY seq LIMIT 1";
        let values = values![integration, share, &*sender, floor];
        let oldest = self.database.first(sql, values, candidate)?;
        if oldest.is_some() {
            return Ok(oldest);
        }
        // All requests of that sender are among the oldest small ones.
        let sql = "SELECT seq, size FROM kept_requests WHERE integration = ?1 AND share = ?2 \
                   ORDER BY seq <= ?3, seq LIMIT 1";
        self.database.first(sql, values![integration, share, floor], candidate)
    }

    /// Returns the place of the last request among the oldest small ones, which stay.
    fn floor(&self, integration: i64, share: i64, bounds: ShareBounds) -> SqlResult<i64> {
        let by_bytes = bounds.bytes / 4 / SMALL_BYTES.cast_unsigned();
        let stay = i64::try_from((bounds.count / 100).min(by_bytes)).unwrap_or(i64::MAX);
        if stay == 0 {
            return Ok(0);
        }
        let sql = "SELECT seq FROM kept_requests WHERE integration = ?1 AND share = ?2 \
                   AND size <= ?3 ORDER BY seq LIMIT 1 OFFSET ?4";
        let values = values![integration, share, SMALL_BYTES, stay - 1];
        let last = self.database.first(sql, values, |row| row.get(0))?;
        Ok(last.unwrap_or(i64::MAX))
    }
}

fn candidate(row: &Row<'_>) -> SqlResult<Candidate> {
    Ok(Candidate { seq: row.get(0)?, bytes: row.get(1)? })
}

/// Returns the stored form of a [`Share`].
pub(super) fn stored(share: Share) -> i64 {
    match share {
        Share::Quarantine => 0,
        Share::Malformed => 1,
    }
}
