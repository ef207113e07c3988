//! The audit: acts are written to the store and to the log.
//!
//! The API reports the acts of its clients here, see [`api::audit`](crate::api::audit). Reloads that no request
//! asked for are reported by the code that notices their reason.

use jiff::Timestamp;

use super::{Host, reloads::ReloadResult};
use crate::{
    alert::Actor,
    store::{StoreError, audit::AuditEntry},
};

/// Result of an act that succeeded.
pub(crate) const DONE: &str = "done";

impl Host {
    /// Writes an entry to the log and to the store, and returns once the entry is on disk. If the store cannot be
    /// written, a second line of the log says so.
    pub(crate) async fn audit(&self, entry: AuditEntry) {
        log(&entry);
        if let Err(error) = self.store.add_to_audit(entry.clone()).await {
            log_missing(&entry, &error);
        }
    }

    /// Writes a reload that no request asked for, as [`audit`](Self::audit) does, on a thread outside the async
    /// runtime.
    pub(crate) fn audit_reload(&self, actor: Actor, result: &ReloadResult) {
        if self.is_stopping() {
            return;
        }
        let (result, detail) = match result {
            Ok(changes) => (DONE, changes_made(changes.len())),
            Err(_) => ("not_reloaded", None),
        };
        let entry = AuditEntry {
            number: 0,
            at: Timestamp::now(),
            actor,
            action: "reload".into(),
            object: None,
            result: result.into(),
            detail,
            status: None,
            request: None,
            address: None,
        };
        log(&entry);
        if let Err(error) = self.store.add_to_audit(entry.clone()).wait() {
            log_missing(&entry, &error);
        }
    }
}

/// Returns the detail of a reload that made that many changes.
pub(crate) fn changes_made(count: usize) -> Option<String> {
    Some(if count == 1 { "1 change".into() } else { format!("{count} changes") })
}

fn log(entry: &AuditEntry) {
    let AuditEntry { actor, action, object, result, detail, status, request, address, .. } = entry;
    tracing::info!(
        event = "audit",
        %actor,
        action,
        object,
        result,
        detail,
        status,
        request = request.map(tracing::field::display),
        address,
        "acted",
    );
}

fn log_missing(entry: &AuditEntry, error: &StoreError) {
    let AuditEntry { actor, action, object, result, detail, status, request, address, .. } = entry;
    tracing::error!(
        event = "audit_not_stored",
        %error,
        %actor,
        action,
        object,
        result,
        detail,
        status,
        request = request.map(tracing::field::display),
        address,
        "an act is in the log, and cannot be written to the audit in the store",
    );
}
