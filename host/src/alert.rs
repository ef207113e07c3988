//! Alerts as they are stored and shown: fields, history, numbers and ids.
//!
//! The rules that change alerts are in [`life`], and the persons and programs that act in [`Actor`]. A
//! [`Store`](crate::store::Store) keeps alerts.

mod actor;
mod details;
mod event;
pub mod life;

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Detail, Urgency};
use ulid::Ulid;
use utoipa::ToSchema;

pub(crate) use self::details::cut;
pub use self::{
    actor::{Actor, ApiToken},
    details::Details,
    event::Event,
};

/// An alert as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// ULID.
    #[schema(value_type = String, example = "01JD2Z6Q3MWV8K5R9T1X0C4N7B")]
    pub id: Ulid,
    /// 1, 2, 3 ... in the order in which alerts were opened on this database, without a gap.
    pub number: u64,
    /// The integration that received it.
    pub integration: String,
    /// The plugin that made it.
    pub plugin: PluginId,
    /// Title, one line of plain text.
    pub title: String,
    /// Description, plain text with lines.
    pub description: Option<String>,
    /// Urgency: how soon a human has to look.
    #[schema(value_type = UrgencyName)]
    pub urgency: Urgency,
    /// Status: open, acknowledged or resolved.
    pub status: Status,
    /// Key by which further events of the integration are recognized as the same problem.
    pub dedup_key: Option<String>,
    /// Link to more information.
    pub link: Option<String>,
    /// Labelled values, in the plugin's order.
    #[schema(value_type = Vec<DetailBody>)]
    pub details: Vec<Detail>,
    /// Number of reports of the problem, 1 or more. The first report is the one at `created_at`.
    pub occurrences: u64,
    /// Time of the last report.
    #[schema(value_type = String, format = DateTime)]
    pub last_occurred_at: Timestamp,
    /// The number of the resolved alert of the same problem before it, if there was one.
    pub previous: Option<u64>,
    /// Time of the automatic resolve, unless the problem is reported again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolves_at: Option<Timestamp>,
    /// The request that opened it.
    #[schema(value_type = String)]
    pub request_id: Ulid,
    /// Time of the first report.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Number of Tocsin hosts that news of the alert passed through before this one, the largest number of
    /// all reports. Absent if it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The parts of an alert that decide who is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertOutline {
    /// Number of the alert.
    pub number: u64,
    /// The integration that received it.
    pub integration: Arc<str>,
    /// Urgency.
    pub urgency: Urgency,
    /// Status.
    pub status: Status,
    /// Labelled values; empty if they were not asked for.
    pub details: Vec<Detail>,
}

/// An [`Alert`] with its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertWithHistory {
    /// The alert as it is now.
    #[serde(flatten)]
    pub alert: Alert,
    /// History, oldest entry first.
    pub history: Vec<HistoryEntry>,
}

/// Change of an [`Alert`]. Consecutive identical changes are merged and counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Time of the change; of the first one if several are merged.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Kind of the change.
    pub change: ChangeKind,
    /// Person or program that did it: `integration NAME`, `api token NAME`, `command line, USER`,
    /// `replay by ...`, or another text.
    #[schema(value_type = String)]
    pub by: Actor,
    /// Request that caused the change, if one did; the last request if several changes are merged.
    #[schema(value_type = Option<String>)]
    pub request_id: Option<Ulid>,
    /// Number of merged changes.
    pub count: u64,
    /// Time of the last merged change.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// Fields in which a further report differs from the alert. The fields of the alert stay as they are:
    /// a further report changes only `occurrences` and `last_occurred_at`.
    pub differences: Vec<Difference>,
    /// Text of a note.
    pub note: Option<String>,
    /// The number of the alert that was opened for the same problem after this one.
    pub next: Option<u64>,
}

/// Field in which a further report differs from the [`Alert`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// `title`, `description`, `urgency`, `link` or `details`.
    pub field: String,
    /// Value in the alert, cut off if it is long.
    pub kept: String,
    /// Value in the report, cut off if it is long.
    pub reported: String,
}

/// Kind of a [`HistoryEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The alert was opened.
    Created,
    /// The same problem was reported again.
    Occurred,
    /// The alert was acknowledged.
    Acknowledged,
    /// The alert was resolved.
    Resolved,
    /// An event that was seen before came again, and changed nothing.
    Duplicated,
    /// A note was added.
    Noted,
    /// The same problem was reported after the alert was resolved, and opened another alert.
    Reopened,
}

impl ChangeKind {
    /// All kinds, in the order of their stored numbers.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Occurred,
        Self::Acknowledged,
        Self::Resolved,
        Self::Duplicated,
        Self::Noted,
        Self::Reopened,
    ];

    /// Returns the name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Occurred => "occurred",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Duplicated => "duplicated",
            Self::Noted => "noted",
            Self::Reopened => "reopened",
        }
    }
}

/// Status of an [`Alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The alert is neither acknowledged nor resolved.
    Open,
    /// A person works on the problem.
    Acknowledged,
    /// The problem is over. Further reports open a new alert.
    Resolved,
}

impl Status {
    /// All statuses, in the order of an alert's life.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// Returns the name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A plugin in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct PluginId {
    /// Name of the plugin.
    pub name: String,
    /// Version of the plugin, semver.
    pub version: String,
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Reference to an [`Alert`], by number or id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertRef {
    /// 1, 2, 3 ...
    Number(u64),
    /// A ULID.
    Id(Ulid),
}

impl FromStr for AlertRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A ULID can be all digits, but has a length that no number reaches.
        let number = text.strip_prefix('#').unwrap_or(text).parse().map(Self::Number);
        Ulid::from_string(text)
            .map(Self::Id)
            .or(number)
            .map_err(|_| format!("`{text}` is neither the number nor the id of an alert"))
    }
}

impl fmt::Display for AlertRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// Ids of the [alerts](Alert) of one database. An id leads to its alert without an index.
///
/// A ULID has 48 bits of time and 80 of randomness. Of these 80, the upper 40 are drawn once for a
/// database and the lower 40 are the alert's number: unique within the database by the number,
/// between databases by the draw.
#[derive(Clone, Copy, Debug)]
pub struct AlertIds {
    salt: u64,
}

const NUMBER_BITS: u32 = 40;

impl AlertIds {
    /// Returns the ids of the database for which `salt` was drawn. Only the lower 40 bits are used.
    pub fn new(salt: u64) -> Self {
        Self { salt: salt & ((1 << NUMBER_BITS) - 1) }
    }

    /// Returns the number that tells this database from others.
    pub(crate) fn database(self) -> u64 {
        self.salt
    }

    /// Returns the id of an alert.
    pub fn id(self, number: u64, created_at: Timestamp) -> Ulid {
        let random = u128::from(self.salt) << NUMBER_BITS | u128::from(number);
        Ulid::from_parts(created_at.as_millisecond().unsigned_abs(), random)
    }

    /// Returns the number of the alert with this id; none if the id is of another database. The caller has
    /// to compare the time of creation.
    pub fn number(self, id: Ulid) -> Option<u64> {
        let random = id.random();
        let number = random & ((1 << NUMBER_BITS) - 1);
        (random >> NUMBER_BITS == u128::from(self.salt)).then_some(number as u64)
    }
}

/// The names of urgencies, for the API's description.
#[derive(ToSchema)]
#[schema(as = Urgency)]
#[serde(rename_all = "snake_case")]
pub enum UrgencyName {
    /// At some time.
    Low,
    /// In working hours.
    Medium,
    /// Soon, at any hour.
    High,
    /// Now.
    Critical,
}

/// A detail, for the API's description.
#[derive(ToSchema)]
#[schema(as = Detail)]
pub struct DetailBody {
    /// Label of the value.
    pub label: String,
    /// The value, plain text.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_number_only_in_its_own_database() {
        let (ours, theirs) = (AlertIds::new(7), AlertIds::new(8));
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let id = ours.id(42, at);
        assert_eq!(ours.number(id), Some(42));
        assert_eq!(theirs.number(id), None);
        assert_ne!(id, theirs.id(42, at));
        assert!(ours.id(43, at) > id);
    }

    #[test]
    fn an_alert_is_named_by_number_or_id() {
        assert_eq!("17".parse(), Ok(AlertRef::Number(17)));
        assert_eq!("#17".parse(), Ok(AlertRef::Number(17)));
        let id = AlertIds::new(1).id(2, Timestamp::UNIX_EPOCH);
        assert_eq!(id.to_string().parse(), Ok(AlertRef::Id(id)));
        assert!("-1".parse::<AlertRef>().is_err());
        assert!("x".parse::<AlertRef>().is_err());
    }
}
