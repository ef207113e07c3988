//! Knowledge that a transaction has gained.

use crate::{
    request::Share,
    store::sql::{Names, TaskPlaces},
};

/// Knowledge that a transaction has gained, to be kept once it is committed.
pub(super) struct Learned {
    pub(super) names: Names,
    /// None if the transaction did not look at them.
    pub(super) places: Option<TaskPlaces>,
    /// True if the transaction may have changed alerts.
    pub(super) has_number: bool,
    pub(super) quarantined: Vec<i64>,
    pub(super) pushed_out: Vec<(i64, Share)>,
}
