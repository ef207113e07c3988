//! Writes changes of alerts that exist, as [`life`] decides on them.

use super::{error::SqlResult, row::Row, rows, transaction::Transaction, value::values};
use crate::{
    alert::{
        AlertRef, HistoryEntry, Status,
        life::{self, AlertChange, AlertState, Cause, Changes, HistoryChange},
    },
    store::{ManualChange, ManualChangeOutcome},
};

/// Counts another report of an alert.
pub(super) static OCCUR: &str = "UPDATE alerts SET occurrences = ?2, updated_at = ?3, \
     last_occurred_at = ?4, due_at = ?5 WHERE number = ?1";

/// Adds an entry to a history.
pub(super) static ADD_ENTRY: &str = "INSERT INTO changes \
     (alert, seq, at, change, by, request, count, last_at, data, transaction_id) VALUES (?1, \
     (SELECT coalesce(max(seq), 0) + 1 FROM changes WHERE alert = ?1), \
     ?2, ?3, ?4, ?5, 1, NULL, ?6, ?7)";

/// Counts another report in the last entry of a history.
pub(super) static REPLACE_ENTRY: &str = "UPDATE changes SET count = ?3, request = ?4, \
     last_at = ?5, data = ?6, transaction_id = ?7 WHERE alert = ?1 AND seq = ?2";

impl Transaction<'_> {
    /// Applies a [`ManualChange`].
    pub(in crate::store) fn change(
        &mut self,
        alert: AlertRef,
        change: &ManualChange,
    ) -> SqlResult<ManualChangeOutcome> {
        let Some(number) = rows::resolve(self.database, self.ids, alert)? else {
            return Ok(ManualChangeOutcome::NotFound);
        };
        let sql = format!(
            "SELECT number, status, updated_at FROM alerts WHERE number = ?1{}",
            self.database.row_lock()
        );
        let Some(state) = self.database.first(&sql, values![number], state)? else {
            return Ok(ManualChangeOutcome::NotFound);
        };
        let cause = Cause { by: change.by.clone(), request_id: None, at: change.at };
        let Some(changes) = life::on_manual_action(&change.action, &cause, state) else {
            return Ok(ManualChangeOutcome::AlreadyResolved);
        };
        self.update(&changes)?;
        let changed = rows::with_history(self.database, self.ids, number)?;
        Ok(ManualChangeOutcome::Done(Box::new(changed)))
    }

    /// Writes [`Changes`] of alerts that exist.
    pub(in crate::store) fn update(&mut self, changes: &Changes) -> SqlResult<()> {
        match changes.alert {
            None | Some(AlertChange::Open { .. }) => {}
            Some(AlertChange::Occur {
                number,
                occurrences,
                last_occurred_at,
                resolves_at,
                updated_at,
            }) => {
                let values =
                    values![number, occurrences, updated_at, last_occurred_at, resolves_at];
                self.database.execute(OCCUR, values)?;
            }
            Some(AlertChange::SetStatus { number, status: Status::Resolved, updated_at }) => {
                let sql = "UPDATE alerts SET status = 2, updated_at = ?2, due_at = NULL \
                           WHERE number = ?1";
                self.database.execute(sql, values![number, updated_at])?;
            }
            Some(AlertChange::SetStatus { number, status, updated_at }) => {
                let sql = "UPDATE alerts SET status = ?2, updated_at = ?3 WHERE number = ?1";
                self.database.execute(sql, values![number, status, updated_at])?;
            }
            Some(AlertChange::Touch { number, updated_at }) => {
                let sql = "UPDATE alerts SET updated_at = ?2 WHERE number = ?1";
                self.database.execute(sql, values![number, updated_at])?;
            }
        }
        self.write_history(changes.history.as_ref())
    }

    /// Writes a change of the history of an alert.
    pub(in crate::store) fn write_history(
        &mut self,
        change: Option<&HistoryChange>,
    ) -> SqlResult<()> {
        let Some(HistoryChange { alert, replaces, entry }) = change else { return Ok(()) };
        let HistoryEntry { at, change, by, request_id, count, last_at, .. } = entry;
        let request = request_id.map(|id| id.to_bytes());
        let (request, data) = (request.as_ref(), rows::entry_data(entry));
        let transaction = self.memory.transaction()?;
        let changed = if let Some(place) = replaces {
            let values = values![*alert, *place, *count, request, *last_at, data, transaction];
            self.database.execute(REPLACE_ENTRY, values)
        } else {
            let values = values![*alert, *at, *change, by, request, data, transaction];
            self.database.execute(ADD_ENTRY, values)
        };
        changed.map(drop)
    }
}

/// Reads an [`AlertState`] from the first columns of a row.
pub(in crate::store) fn state(row: &Row<'_>) -> SqlResult<AlertState> {
    Ok(AlertState { number: row.get(0)?, status: row.get(1)?, updated_at: row.get(2)? })
}
