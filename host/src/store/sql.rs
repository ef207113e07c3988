//! Statements that all databases share.
//!
//! The statements are in SQLite's dialect, as far as other databases understand it too, with parameters
//! `?1`, `?2` and so on. Another database leaves the hints for SQLite's planner out: `INDEXED BY name`, and `+`
//! before a column. The way of a new event into the store is not here: each database has one of its own.

mod database;
mod error;
mod row;
mod value;

pub(super) use self::{
    database::Database,
    error::SqlError,
    row::{Column, FromColumn, Row},
    value::{Value, json, values},
};
