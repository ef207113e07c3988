//! What Alertmanager says: the notification of a group of alerts, read from JSON.
//!
//! It takes what an event can be made of. What the alerts of a group have in common is not read:
//! each alert has all of its labels and annotations itself.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    json::{self, Fault},
    keys,
};

/// The version of the format that is understood.
const VERSION: &str = "4";

/// What Go's `time.Time` is before it is set.
const GO_ZERO_SECONDS: i64 = -62_135_596_800;

/// A notification of a group of alerts.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    /// In the order of Alertmanager, which is that of their labels.
    pub(crate) alerts: Vec<Alert<'a>>,
    /// How many more alerts the group has, left out because of `max_alerts`.
    pub(crate) truncated: u64,
    /// Where Alertmanager itself is found.
    pub(crate) external_url: Option<Cow<'a, str>>,
    /// The name of the receiver in Alertmanager's configuration, unread.
    receiver: Option<&'a RawValue>,
}

/// One alert of a group.
#[derive(Debug)]
pub(crate) struct Alert<'a> {
    pub(crate) status: Status,
    /// What tells it from the others, whichever notification it comes with.
    pub(crate) key: String,
    pub(crate) labels: Pairs<'a>,
    pub(crate) annotations: Pairs<'a>,
    /// When it began to fire; it keeps that time until it is resolved.
    pub(crate) started: Option<Timestamp>,
    /// Where the expression behind it is found.
    pub(crate) generator_url: Option<Cow<'a, str>>,
}

/// Whether an alert is there, or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Firing,
    Resolved,
}

/// Labels or annotations, by their names. None is empty: to Prometheus that is the same as none.
pub(crate) type Pairs<'a> = BTreeMap<String, Cow<'a, str>>;

impl<'a> Notification<'a> {
    /// Reads the whole notification.
    ///
    /// # Errors
    ///
    /// Where it is none of version 4, or an alert of it can't be told from others.
    pub(crate) fn read(body: &'a RawValue) -> Result<Self, Fault> {
        let fields: NotificationFields<'a> = json::object(body)?;
        check_version(fields.version).map_err(|fault| fault.under("version"))?;
        let alerts = fields.alerts.ok_or_else(missing);
        let alerts = alerts.and_then(|list| self::alerts(list, fields.status));
        let truncated = fields.truncated.map(json::count).transpose();
        Ok(Self {
            alerts: alerts.map_err(|fault| fault.under("alerts"))?,
            truncated: truncated
                .map_err(|fault| fault.under("truncatedAlerts"))?
                .unwrap_or_default(),
            external_url: text(fields.external_url, "externalURL")?,
            receiver: fields.receiver,
        })
    }

    /// The name of the receiver in Alertmanager's configuration.
    ///
    /// # Errors
    ///
    /// If it is no string.
    pub(crate) fn receiver(&self) -> Result<Option<Cow<'a, str>>, Fault> {
        text(self.receiver, "receiver")
    }
}

impl<'a> Alert<'a> {
    /// Reads one alert. Without a status of its own it has that of its group.
    fn read(alert: &'a RawValue, group_status: Option<&RawValue>) -> Result<Self, Fault> {
        let fields: AlertFields<'a> = json::object(alert)?;
        let status = status(fields.status, group_status);
        let labels = pairs(fields.labels, "labels")?;
        let fingerprint = text(fields.fingerprint, "fingerprint")?;
        let key = keys::dedup_key(fingerprint.as_deref(), &labels)
            .ok_or_else(|| Fault::new("has neither a fingerprint nor labels"))?;
        Ok(Self {
            status: status.map_err(|fault| fault.under("status"))?,
            key,
            labels,
            annotations: pairs(fields.annotations, "annotations")?,
            started: started(fields.starts_at).map_err(|fault| fault.under("startsAt"))?,
            generator_url: text(fields.generator_url, "generatorURL")?,
        })
    }
}

#[derive(Deserialize)]
struct NotificationFields<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    receiver: Option<&'a RawValue>,
    #[serde(borrow)]
    alerts: Option<&'a RawValue>,
    #[serde(borrow, rename = "truncatedAlerts")]
    truncated: Option<&'a RawValue>,
    #[serde(borrow, rename = "externalURL")]
    external_url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AlertFields<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, rename = "startsAt")]
    starts_at: Option<&'a RawValue>,
    #[serde(borrow, rename = "generatorURL")]
    generator_url: Option<&'a RawValue>,
    #[serde(borrow)]
    fingerprint: Option<&'a RawValue>,
}

fn missing() -> Fault {
    Fault::new("is missing")
}

fn check_version(value: Option<&RawValue>) -> Result<(), Fault> {
    let version = value.map(json::text).transpose()?.flatten().ok_or_else(missing)?;
    if version == VERSION {
        return Ok(());
    }
    Err(Fault::new("only version 4 of Alertmanager's webhook format is supported"))
}

fn alerts<'a>(
    list: &'a RawValue,
    group_status: Option<&RawValue>,
) -> Result<Vec<Alert<'a>>, Fault> {
    let read = |(index, item)| Alert::read(item, group_status).map_err(|fault| fault.at(index));
    json::list(list)?.into_iter().enumerate().map(read).collect()
}

/// The status of an alert: its own, else that of its group.
fn status(own: Option<&RawValue>, group: Option<&RawValue>) -> Result<Status, Fault> {
    if let Some(status) = read_status(own)? {
        return Ok(status);
    }
    match read_status(group) {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err(Fault::new("is missing, and the group has none either")),
        Err(_) => {
            Err(Fault::new("is missing, and that of the group is neither `firing` nor `resolved`"))
        }
    }
}

fn read_status(value: Option<&RawValue>) -> Result<Option<Status>, Fault> {
    match value.map(json::text).transpose()?.flatten().as_deref() {
        None => Ok(None),
        Some("firing") => Ok(Some(Status::Firing)),
        Some("resolved") => Ok(Some(Status::Resolved)),
        Some(_) => Err(Fault::new("neither `firing` nor `resolved`")),
    }
}

fn started(value: Option<&RawValue>) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = value.map(json::text).transpose()?.flatten() else { return Ok(None) };
    let time: Timestamp =
        text.parse().map_err(|_| Fault::new("not a time as RFC 3339 writes it"))?;
    Ok(Some(time).filter(|time| time.as_second() != GO_ZERO_SECONDS))
}

fn text<'a>(value: Option<&'a RawValue>, key: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let text = value.map(json::text).transpose().map_err(|fault| fault.under(key))?;
    Ok(text.flatten())
}

fn pairs<'a>(value: Option<&'a RawValue>, key: &str) -> Result<Pairs<'a>, Fault> {
    let Some(value) = value else { return Ok(Pairs::new()) };
    let read = || {
        let fields: BTreeMap<String, &RawValue> = json::object(value)?;
        let mut pairs = Pairs::new();
        for (name, value) in fields {
            match json::text(value) {
                Ok(Some(text)) => drop(pairs.insert(name, text)),
                Ok(None) => {}
                Err(fault) => return Err(fault.under(&name)),
            }
        }
        Ok(pairs)
    };
    read().map_err(|fault: Fault| fault.under(key))
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::Refusal;

    use super::*;

    fn read(json: &str) -> Result<Notification<'_>, String> {
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        Notification::read(raw).map_err(|fault| match fault.into() {
            Refusal::Malformed { reason, .. } => reason,
            other => panic!("{other:?}"),
        })
    }

    fn with_alert(alert: &str) -> String {
        format!(r#"{{"version":"4","alerts":[{alert}]}}"#)
    }

    #[track_caller]
    fn assert_fault(json: &str, fault: &str) {
        assert_eq!(read(json).err().as_deref(), Some(fault), "{json}");
    }

    #[track_caller]
    fn assert_alert_fault(alert: &str, fault: &str) {
        assert_fault(&with_alert(alert), fault);
    }

    fn started_of(time: &str) -> Option<String> {
        let alert = format!(r#"{{"status":"firing","fingerprint":"a","startsAt":{time}}}"#);
        let json = with_alert(&alert);
        read(&json).expect("a notification").alerts[0].started.map(|time| time.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        assert_fault("[]", "the body is wrong: expected an object, found a list");
        assert_fault(r#"{"version":"4"}"#, "`alerts`: is missing");
        assert_fault(r#"{"version":"4","alerts":null}"#, "`alerts`: is missing");
        assert_fault(
            r#"{"version":"4","alerts":{}}"#,
            "`alerts`: expected a list, found an object",
        );
        assert_fault(
            r#"{"version":"4","alerts":[],"truncatedAlerts":-1}"#,
            "`truncatedAlerts`: expected a whole number, found another number",
        );
        assert_fault(
            r#"{"version":"4","alerts":[],"externalURL":[]}"#,
            "`externalURL`: expected a string, found a list",
        );
        assert_fault(
            r#"{"version":"4","alerts":[],"alerts":[]}"#,
            "the body is wrong: duplicate field `alerts`",
        );
    }

    #[test]
    fn what_is_wrong_with_an_alert_is_named_by_its_place() {
        assert_alert_fault("1", "`alerts[0]`: expected an object, found a number");
        assert_alert_fault("{}", "`alerts[0]`: has neither a fingerprint nor labels");
        assert_alert_fault(
            r#"{"status":"firing","labels":{"a":""},"fingerprint":""}"#,
            "`alerts[0]`: has neither a fingerprint nor labels",
        );
        assert_alert_fault(
            r#"{"fingerprint":"a"}"#,
            "`alerts[0].status`: is missing, and the group has none either",
        );
        assert_alert_fault(
            r#"{"fingerprint":"a","status":"pending"}"#,
            "`alerts[0].status`: neither `firing` nor `resolved`",
        );
        assert_alert_fault(
            r#"{"fingerprint":7}"#,
            "`alerts[0].fingerprint`: expected a string, found a number",
        );
        assert_alert_fault(
            r#"{"status":"firing","labels":{"job":["s3cret"]}}"#,
            "`alerts[0].labels.job`: expected a string, found a list",
        );
        assert_alert_fault(
            r#"{"status":"firing","fingerprint":"a","annotations":"s3cret"}"#,
            "`alerts[0].annotations`: expected an object, found a string",
        );
        let second = r#"{"status":"resolved","fingerprint":"a"},{"fingerprint":"b","status":""}"#;
        assert_alert_fault(second, "`alerts[1].status`: is missing, and the group has none either");
    }

    #[test]
    fn an_alert_without_a_status_has_that_of_its_group() {
        let statuses = |group: &str| {
            let json = format!(
                r#"{{"version":"4","status":{group},"alerts":[{{"fingerprint":"a"}},
                    {{"fingerprint":"b","status":null}},{{"fingerprint":"c","status":""}},
                    {{"fingerprint":"d","status":"firing"}},
                    {{"fingerprint":"e","status":"resolved"}}]}}"#
            );
            read(&json).map(|read| read.alerts.iter().map(|it| it.status).collect::<Vec<_>>())
        };
        use Status::{Firing, Resolved};
        assert_eq!(statuses(r#""firing""#), Ok(vec![Firing, Firing, Firing, Firing, Resolved]));
        assert_eq!(
            statuses(r#""resolved""#),
            Ok(vec![Resolved, Resolved, Resolved, Firing, Resolved])
        );
        for none in [r#""""#, "null"] {
            let fault = "`alerts[0].status`: is missing, and the group has none either";
            assert_eq!(statuses(none), Err(fault.into()), "{none}");
        }
        for wrong in [r#""pending""#, "7", "[]"] {
            let fault = "`alerts[0].status`: is missing, and that of the group is neither \
                         `firing` nor `resolved`";
            assert_eq!(statuses(wrong), Err(fault.into()), "{wrong}");
        }
    }

    #[test]
    fn a_status_of_its_own_that_makes_no_sense_is_not_replaced_by_that_of_the_group() {
        assert_fault(
            r#"{"version":"4","status":"firing","alerts":[{"fingerprint":"a","status":"x"}]}"#,
            "`alerts[0].status`: neither `firing` nor `resolved`",
        );
    }

    #[test]
    fn only_version_4_is_understood_and_asked_for_first() {
        let other = "`version`: only version 4 of Alertmanager's webhook format is supported";
        for version in ["3", "5", "4.0", "1", "four"] {
            assert_fault(&format!(r#"{{"version":"{version}","alert":1}}"#), other);
        }
        assert_fault(r#"{"version":4}"#, "`version`: expected a string, found a number");
        assert_fault(r#"{"alerts":[]}"#, "`version`: is missing");
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_they_hold() {
        let json = r#"{"version":"4","alerts":[{"status":"firing","fingerprint":"a","x":1e999}],
            "status":7,"receiver":[[[]]],"groupKey":"\ud800","notification_reason":null}"#;
        assert_eq!(read(json).expect("a notification").alerts.len(), 1);
    }

    #[test]
    fn null_and_empty_are_none() {
        let json = with_alert(
            r#"{"status":"firing","fingerprint":"a","labels":{"a":"","b":null,"c":"x"},
                "annotations":null,"startsAt":null,"generatorURL":""}"#,
        );
        let notification = read(&json).expect("a notification");
        let alert = &notification.alerts[0];
        assert_eq!(alert.labels.keys().collect::<Vec<_>>(), ["c"]);
        assert!(alert.annotations.is_empty());
        assert_eq!((&alert.started, &alert.generator_url), (&None, &None));
        assert_eq!((notification.truncated, notification.external_url), (0, None));
    }

    #[test]
    fn a_time_is_the_same_whatever_its_zone() {
        let time = Some("2018-08-03T07:52:26.739266876Z".to_owned());
        assert_eq!(started_of(r#""2018-08-03T09:52:26.739266876+02:00""#), time);
        assert_eq!(started_of(r#""2018-08-03T07:52:26.739266876Z""#), time);
    }

    #[test]
    fn a_time_that_was_never_set_is_none() {
        for none in [r#""0001-01-01T00:00:00Z""#, r#""""#, "null"] {
            assert_eq!(started_of(none), None, "{none}");
        }
        for wrong in ["yesterday", "2018-08-03", "1533281546", "2018-13-03T09:52:26Z"] {
            let alert = format!(r#"{{"status":"firing","fingerprint":"a","startsAt":"{wrong}"}}"#);
            assert_alert_fault(&alert, "`alerts[0].startsAt`: not a time as RFC 3339 writes it");
        }
    }
}
