//! News as receivers see it: in the data of a `CloudEvent`, and as the variables of a template.
//!
//! A digest also has an alert, which sums it up, so that a template for alerts works for digests.

use serde::Serialize;
use tocsin_plugin_api::{
    Detail, Urgency,
    notification::{Alert, Digest, Kind, Notification, Subject, Time},
};

/// News about one alert, or a digest. Times are texts by RFC 3339.
#[derive(Debug, Serialize)]
pub(crate) struct News<'n> {
    /// Name of the kind.
    pub(crate) kind: &'static str,
    /// Name of the kind with the beginning `tocsin.alert.`.
    #[serde(rename = "type")]
    pub(crate) kind_of_event: String,
    pub(crate) delivery_id: &'n str,
    pub(crate) destination: &'n str,
    pub(crate) alert: AlertNews<'n>,
    pub(crate) digest: Option<DigestNews<'n>>,
    pub(crate) change: Option<ChangeNews<'n>>,
    /// Kinds of earlier news that this news replaces.
    pub(crate) skipped: Vec<&'static str>,
    /// Number of the attempt.
    pub(crate) attempt: u32,
    /// Time of the change, or else of the attempt.
    pub(crate) time: String,
}

/// Alert, or summary of a digest. Texts are empty if there is no value.
#[derive(Debug, Serialize)]
pub(crate) struct AlertNews<'n> {
    pub(crate) id: &'n str,
    pub(crate) number: u64,
    pub(crate) url: &'n str,
    pub(crate) integration: &'n str,
    pub(crate) title: String,
    pub(crate) description: &'n str,
    pub(crate) urgency: &'static str,
    pub(crate) status: &'static str,
    pub(crate) dedup_key: &'n str,
    pub(crate) link: &'n str,
    pub(crate) details: Vec<DetailNews>,
    pub(crate) occurrences: u64,
    pub(crate) created_at: String,
    pub(crate) last_occurred_at: String,
    pub(crate) updated_at: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct DetailNews {
    pub(crate) label: String,
    pub(crate) value: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct DigestNews<'n> {
    pub(crate) count: u64,
    pub(crate) urgencies: Vec<Count<'n>>,
    pub(crate) integrations: Vec<Count<'n>>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) url: &'n str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Count<'n> {
    pub(crate) name: &'n str,
    pub(crate) count: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangeNews<'n> {
    pub(crate) at: String,
    pub(crate) by: &'n str,
    pub(crate) note: &'n str,
}

impl<'n> News<'n> {
    /// Arranges a notification.
    ///
    /// # Errors
    ///
    /// If the notification is about a subject of a later plugin-api.
    pub(crate) fn of(notification: &'n Notification) -> Result<Self, String> {
        let (alert, digest) = match &notification.subject {
            Subject::Alert(alert) => (AlertNews::of(alert), None),
            Subject::Digest(digest) => (
                AlertNews::summary(digest, notification.attempted_at),
                Some(DigestNews::of(digest)),
            ),
            _ => {
                return Err(
                    "this version of the plugin does not know the subject of the news".into()
                );
            }
        };
        let change = notification.change.as_ref();
        Ok(Self {
            kind: notification.kind.as_str(),
            kind_of_event: format!("tocsin.alert.{}", notification.kind),
            delivery_id: &notification.delivery_id,
            destination: &notification.destination,
            alert,
            digest,
            change: change.map(|change| ChangeNews {
                at: change.at.to_string(),
                by: &change.by,
                note: change.note.as_deref().unwrap_or_default(),
            }),
            skipped: notification.skipped.iter().copied().map(Kind::as_str).collect(),
            attempt: notification.attempt,
            time: change.map_or(notification.attempted_at, |change| change.at).to_string(),
        })
    }
}

impl<'n> AlertNews<'n> {
    fn of(alert: &'n Alert) -> Self {
        Self {
            id: &alert.id,
            number: alert.number,
            url: alert.url.as_deref().unwrap_or_default(),
            integration: &alert.integration,
            title: alert.title.clone(),
            description: alert.description.as_deref().unwrap_or_default(),
            urgency: alert.urgency.as_str(),
            status: alert.status.as_str(),
            dedup_key: alert.dedup_key.as_deref().unwrap_or_default(),
            link: alert.link.as_deref().unwrap_or_default(),
            details: alert.details.iter().map(DetailNews::of).collect(),
            occurrences: alert.occurrences,
            created_at: alert.created_at.to_string(),
            last_occurred_at: alert.last_occurred_at.to_string(),
            updated_at: alert.updated_at.to_string(),
        }
    }

    fn summary(digest: &'n Digest, at: Time) -> Self {
        let at = at.to_string();
        let urgency = digest.urgencies.iter().map(|(urgency, _)| *urgency).max();
        Self {
            id: "",
            number: 0,
            url: digest.url.as_deref().unwrap_or_default(),
            integration: "",
            title: title(digest),
            description: "",
            urgency: urgency.unwrap_or(Urgency::Low).as_str(),
            status: "open",
            dedup_key: "",
            link: "",
            details: digest.integrations.iter().map(DetailNews::count).collect(),
            occurrences: digest.count,
            created_at: at.clone(),
            last_occurred_at: at.clone(),
            updated_at: at,
        }
    }
}

/// Returns the title of a digest, such as `23 new alerts: 2 critical, 21 high`.
fn title(digest: &Digest) -> String {
    let count = |(urgency, count): &(Urgency, u64)| format!("{count} {urgency}");
    let counts: Vec<_> = digest.urgencies.iter().map(count).collect();
    let alerts = if digest.count == 1 { "new alert" } else { "new alerts" };
    match counts.as_slice() {
        [] => format!("{} {alerts}", digest.count),
        counts => format!("{} {alerts}: {}", digest.count, counts.join(", ")),
    }
}

impl DetailNews {
    fn of(detail: &Detail) -> Self {
        Self { label: detail.label.clone(), value: detail.value.clone() }
    }

    fn count((integration, count): &(String, u64)) -> Self {
        Self { label: integration.clone(), value: count.to_string() }
    }
}

impl<'n> DigestNews<'n> {
    fn of(digest: &'n Digest) -> Self {
        let urgencies = digest.urgencies.iter();
        let integrations = digest.integrations.iter();
        Self {
            count: digest.count,
            urgencies: urgencies
                .map(|(urgency, count)| Count { name: urgency.as_str(), count: *count })
                .collect(),
            integrations: integrations.map(|(name, count)| Count { name, count: *count }).collect(),
            first: digest.first,
            last: digest.last,
            url: digest.url.as_deref().unwrap_or_default(),
        }
    }
}
