//! The audit: one entry for each act of a person or a program on the host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use super::Pending;
use crate::alert::Actor;

/// Entries of the audit, in the order in which they were written.
pub trait AuditStore: Send + Sync {
    /// Writes an entry, and returns its number once the entry is on disk. The number in the entry is
    /// ignored. No number is given twice.
    fn add_to_audit(&self, entry: AuditEntry) -> Pending<u64>;

    /// Returns an [`AuditPage`], newest entry first.
    fn audit(&self, query: AuditQuery) -> Pending<AuditPage>;
}

/// Act of a person or a program, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Number of the entry, from 1. Later entries have higher numbers.
    pub number: u64,
    /// Time of the result.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Person or program that acted, as the history of an alert names it; `signal` and `file watch` for
    /// reloads that no request asked for.
    #[schema(value_type = String)]
    pub actor: Actor,
    /// Act: the operation id of its route, such as `acknowledge_alert`.
    pub action: String,
    /// Object of the act: its kind and its number, id or name, such as `alert 17`; null if there is none.
    pub object: Option<String>,
    /// Result: `done`, or the code of the error, such as `forbidden`.
    pub result: String,
    /// Further words about the result, such as `3 deliveries` or `dry run`; null if there are none.
    pub detail: Option<String>,
    /// HTTP status of the answer; null for an act without a request.
    pub status: Option<u16>,
    /// Id of the request, as its answer has it in `X-Request-Id`; null for an act without a request.
    #[schema(value_type = Option<String>)]
    pub request: Option<Ulid>,
    /// Address of the client; null for an act without a request.
    pub address: Option<String>,
}

/// Query for [`AuditStore::audit`]. Filters that are `None` match every entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Text in the actor. ASCII letters match in either case.
    pub actor: Option<String>,
    /// The whole action.
    pub action: Option<String>,
    /// The whole object, or its kind.
    pub object: Option<String>,
    /// Time from which on the entries were written.
    pub since: Option<Timestamp>,
    /// Time before which the entries were written.
    pub until: Option<Timestamp>,
    /// Largest number of entries on the page, 1 or more.
    pub limit: usize,
    /// Exclusive upper bound of the numbers.
    pub before: Option<u64>,
}

/// Page of [entries](AuditEntry), newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Start of the next page, if there is one: a value for [`AuditQuery::before`].
    pub next: Option<u64>,
}
