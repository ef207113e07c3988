//! News about an alert, as a [`Notifier`](crate::capability::Notifier) gets it.
//!
//! A notification crosses the boundary as JSON. A reader ignores fields that it does not know, so that
//! later versions can add fields.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Detail, Urgency};

/// News that the host asks a notifier to deliver to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notification {
    /// The id of the delivery, a ULID. Every attempt of a delivery has the same id, so that a receiver
    /// can recognize a repeated message.
    pub delivery_id: String,
    /// The name of the destination in the operator's configuration.
    pub destination: String,
    /// The kind of the news.
    pub kind: Kind,
    /// The alert as it is now, or a summary of many alerts.
    pub subject: Subject,
    /// The change of the alert that caused the delivery; `None` for a test, a digest and an escalation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Earlier news about the same alert that this destination was not sent: this notification replaces
    /// them. Oldest first. Kinds that only a later version knows are left out.
    #[serde(default, deserialize_with = "known_kinds", skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Kind>,
    /// The number of this attempt: 1 for the first one.
    pub attempt: u32,
    /// The time of this attempt.
    pub attempted_at: Time,
    /// True if nobody knows whether the attempt before this one reached the destination: the connection
    /// was lost, or the host died, after the request was written.
    #[serde(default)]
    pub in_doubt: bool,
    /// The value that the plugin returned when it last delivered something about this alert to this
    /// destination, such as the id of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
}

/// The kind of a [`Notification`].
///
/// Later versions can add kinds. A host sends a notifier only the kinds in its
/// [description](crate::step::Description::kinds), so that a notifier never gets a kind that its version
/// of this crate does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The alert was opened.
    Opened,
    /// The alert was acknowledged.
    Acknowledged,
    /// The alert was resolved.
    Resolved,
    /// The problem was reported again.
    Occurred,
    /// A person added a note.
    Noted,
    /// The alert is still open and not acknowledged after the time that a route gives.
    Escalated,
    /// An operator tests the destination.
    Test,
    /// Many alerts were opened while the destination waited: one message stands for all of them.
    Digest,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Opened,
        Self::Acknowledged,
        Self::Resolved,
        Self::Occurred,
        Self::Noted,
        Self::Escalated,
        Self::Test,
        Self::Digest,
    ];

    /// Returns the name in configurations and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Occurred => "occurred",
            Self::Noted => "noted",
            Self::Escalated => "escalated",
            Self::Test => "test",
            Self::Digest => "digest",
        }
    }

    /// Returns the kind with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads a list of kinds, and leaves out those that only a later version knows.
pub(crate) fn known_kinds<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Kind>, D::Error> {
    let names = Vec::<Cow<'de, str>>::deserialize(from)?;
    Ok(names.iter().filter_map(|name| Kind::from_name(name)).collect())
}

/// The subject of a [`Notification`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// One alert. A [`Kind::Test`] has a made-up alert with the number 0.
    Alert(Box<Alert>),
    /// Many alerts, with the kind [`Kind::Digest`].
    Digest(Digest),
}

/// An alert as a notifier sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// ULID.
    pub id: String,
    /// 1, 2, 3 ... in the order in which alerts were opened; 0 for the alert of a test.
    pub number: u64,
    /// The address of the alert for people; `None` if the operator has not configured a public URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The name of the integration that received it.
    pub integration: String,
    /// Title, one line of plain text.
    pub title: String,
    /// Description, plain text with lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The urgency.
    pub urgency: Urgency,
    /// The status.
    pub status: Status,
    /// The key by which the integration recognizes the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The link to more information, such as the message that caused the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Labelled values, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// The number of reports of the problem, 1 or more.
    pub occurrences: u64,
    /// The time of the first report.
    pub created_at: Time,
    /// The time of the last report.
    pub last_occurred_at: Time,
    /// The time of the last change.
    pub updated_at: Time,
    /// The number of Tocsin hosts that the news has passed through before this one: 0 for an alert that
    /// began here. A notifier that other hosts may receive sends the number plus 1 in the header
    /// [`tocsin-hops`](HOPS_HEADER), so that hosts that notify each other find the loop.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
}

/// The name of the header with the number of Tocsin hosts that the news of a request has passed through.
pub const HOPS_HEADER: &str = "tocsin-hops";

/// The largest number in [`HOPS_HEADER`] that a Tocsin host accepts.
pub const MOST_HOPS: u32 = 5;

impl Alert {
    /// An open alert that occurred once, with empty optional fields: for tests and for tools.
    pub fn new(number: u64, title: impl Into<String>, urgency: Urgency, created_at: Time) -> Self {
        Self {
            id: format!("{number:026}"),
            number,
            url: None,
            integration: String::new(),
            title: title.into(),
            description: None,
            urgency,
            status: Status::Open,
            dedup_key: None,
            link: None,
            details: Vec::new(),
            occurrences: 1,
            created_at,
            last_occurred_at: created_at,
            updated_at: created_at,
            hops: 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The status of an [`Alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The alert is neither acknowledged nor resolved.
    Open,
    /// A person works on the problem.
    Acknowledged,
    /// The problem is over.
    Resolved,
}

impl Status {
    /// Returns the name in JSON.
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

/// The change of an alert that caused a [`Notification`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The time of the change.
    pub at: Time,
    /// The person or program that made the change, such as `integration ops` or `api token anna`.
    pub by: String,
    /// The text of a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Change {
    /// A change without a note.
    pub fn new(at: Time, by: impl Into<String>) -> Self {
        Self { at, by: by.into(), note: None }
    }

    /// Sets the text of a note.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// A summary of many new alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Digest {
    /// The number of alerts.
    pub count: u64,
    /// The number of alerts of each urgency that occurs, most urgent first.
    pub urgencies: Vec<(Urgency, u64)>,
    /// The number of alerts of each integration that occurs, largest number first.
    pub integrations: Vec<(String, u64)>,
    /// The number of the first alert.
    pub first: u64,
    /// The number of the last alert.
    pub last: u64,
    /// The address of the list of alerts for people; `None` if the operator has not configured a public
    /// URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Notification {
    /// The first attempt to send news of this kind about an alert, with empty optional fields: for tests
    /// and for tools.
    pub fn new(
        delivery_id: impl Into<String>,
        kind: Kind,
        alert: Alert,
        attempted_at: Time,
    ) -> Self {
        Self::about(delivery_id, kind, Subject::Alert(Box::new(alert)), attempted_at)
    }

    /// The first attempt to send news of this kind about a subject, with empty optional fields.
    pub fn about(
        delivery_id: impl Into<String>,
        kind: Kind,
        subject: Subject,
        attempted_at: Time,
    ) -> Self {
        Self {
            delivery_id: delivery_id.into(),
            destination: String::new(),
            kind,
            subject,
            change: None,
            skipped: Vec::new(),
            attempt: 1,
            attempted_at,
            in_doubt: false,
            state: None,
        }
    }

    /// Returns the alert; `None` for a digest.
    pub fn alert(&self) -> Option<&Alert> {
        match &self.subject {
            Subject::Alert(alert) => Some(alert),
            Subject::Digest(_) => None,
        }
    }
}

/// A moment in time, in milliseconds since 1970 in UTC. Its text is RFC 3339, such as
/// `2026-11-27T08:30:00.250Z`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// The time this many milliseconds after the beginning of 1970.
    pub const fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// The time this many seconds after the beginning of 1970.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since the beginning of 1970.
    pub const fn unix_milliseconds(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the beginning of 1970.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time this much later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MILLISECONDS_A_DAY: i64 = 24 * 60 * 60 * 1000;
        let (year, month, day) = date(self.0.div_euclid(MILLISECONDS_A_DAY));
        let in_day = self.0.rem_euclid(MILLISECONDS_A_DAY);
        let (seconds, milliseconds) = (in_day / 1000, in_day % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if milliseconds != 0 {
            write!(f, ".{milliseconds:03}")?;
        }
        f.write_str("Z")
    }
}

/// Returns year, month and day of the Gregorian calendar, for a number of days since the beginning of 1970.
///
/// Counts from the first of March of the year 0, so that the leap day is the last of its year. 400 years
/// always have 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let text = |milliseconds| Time::from_unix_milliseconds(milliseconds).to_string();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_709_251_199_250), "2024-02-29T23:59:59.250Z");
        assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_notification_survives_json() {
        let at = Time::from_unix_seconds(1_700_000_000);
        let mut alert = Alert::new(7, "disk full", Urgency::High, at);
        alert.details.push(Detail { label: "Host".into(), value: "db1".into() });
        alert.hops = 2;
        let mut notification = Notification::new("d1", Kind::Noted, alert, at);
        notification.change = Some(Change::new(at, "api token anna").with_note("on it"));
        notification.skipped = vec![Kind::Opened];
        notification.state = Some(serde_json::json!({"ts": "1.2"}));
        let json = serde_json::to_string(&notification).expect("JSON");
        assert_eq!(serde_json::from_str::<Notification>(&json).expect("read"), notification);
        let digest = Subject::Digest(Digest { count: 3, ..Digest::default() });
        let notification = Notification::about("d2", Kind::Digest, digest, at);
        let json = serde_json::to_string(&notification).expect("JSON");
        assert_eq!(serde_json::from_str::<Notification>(&json).expect("read"), notification);
    }

    #[test]
    fn leaves_out_skipped_kinds_that_only_a_later_version_knows() {
        let at = Time::from_unix_seconds(0);
        let alert = Alert::new(7, "disk full", Urgency::High, at);
        let notification = Notification::new("d1", Kind::Resolved, alert, at);
        let mut json = serde_json::to_value(&notification).expect("JSON");
        json["skipped"] = serde_json::json!(["opened", "merged", "noted"]);
        json["later"] = true.into();
        let read: Notification = serde_json::from_value(json.clone()).expect("it can be read");
        assert_eq!(read.skipped, [Kind::Opened, Kind::Noted]);
        json["kind"] = "merged".into();
        let error = serde_json::from_value::<Notification>(json).expect_err("an unknown kind");
        assert!(error.to_string().starts_with("unknown variant `merged`"), "{error}");
    }

    #[test]
    fn kinds_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
    }
}
