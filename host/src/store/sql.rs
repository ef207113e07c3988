//! Statements that all databases share.
//!
//! The statements are in SQLite's dialect, as far as other databases understand it too, with parameters
//! `?1`, `?2` and so on. Another database leaves the hints for SQLite's planner out: `INDEXED BY name`, and `+`
//! before a column. The way of a new event into the store is not here: each database has one of its own.

mod alert_changes;
mod alert_queries;
mod audit;
mod database;
mod delivery_changes;
mod delivery_housekeeping;
mod delivery_parts;
mod delivery_queries;
mod delivery_rows;
mod effects;
mod error;
mod eviction;
mod housekeeping;
mod kept_requests;
mod memory;
mod origin;
mod pattern;
mod records;
mod request_queries;
mod routing;
mod row;
mod rows;
mod silences;
mod snapshot;
mod transaction;
mod unresolved_counts;
mod value;

pub(super) use self::{
    alert_changes::state,
    database::Database,
    delivery_parts::{Change, DeliveryChange, DeliveryChangeProgress},
    effects::write_effects,
    error::{SqlError, SqlResult, with_cause},
    memory::{Names, TaskPlaces, WriterMemory},
    origin::{Octets, Origin, cause, event_id, may_be_folded},
    pattern::containing,
    records::unfinished,
    row::Row,
    rows::{ALERT, alert, entry_data, history_entry},
    snapshot::Snapshot,
    transaction::Transaction,
    value::{Value, json, place, values},
};
#[cfg(test)]
pub(super) use self::{
    delivery_changes::{ACTIVE, CHOSEN_ACTIVE, CHOSEN_DEAD, DUE, NEXT_DUE},
    delivery_queries::list as list_of_deliveries,
    delivery_rows::DELIVERY_ROW,
    housekeeping::{FORGET_TRANSACTIONS, OLDEST_RECORDS},
    request_queries::{list as list_of_records, one as one_record},
    routing::{OPEN_DIGEST, OPENINGS},
};

/// Statements on the way of most requests. A database may keep them prepared.
pub(super) static FREQUENT: [&str; 4] =
    [alert_changes::OCCUR, alert_changes::ADD_ENTRY, alert_changes::REPLACE_ENTRY, records::RECORD];
