//! Notification of Alertmanager: a group of alerts, read from JSON.
//!
//! Only fields that an event is made of are read. The labels and annotations that a group has in
//! common are not read, because each alert repeats them.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tocsin_plugin_kit::json::{self, JsonError, Object};

use crate::{
    dedup_key::dedup_key,
    labels::{self, Pairs},
};

/// Supported version of the format.
const VERSION: &str = "4";

/// Zero value of Go's `time.Time`, which Alertmanager sends for a time that was never set.
const GO_ZERO_SECONDS: i64 = -62_135_596_800;

/// Notification of a group of alerts.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    /// Alerts in the order of Alertmanager, which sorts them by labels.
    pub(crate) alerts: Vec<Alert<'a>>,
    /// Number of alerts that Alertmanager left out because of `max_alerts`.
    pub(crate) truncated: u64,
    /// Address of Alertmanager's own pages.
    pub(crate) external_url: Option<Cow<'a, str>>,
    /// See [`Notification::receiver`].
    receiver: Option<&'a RawValue>,
}

/// Alert of a group.
#[derive(Debug)]
pub(crate) struct Alert<'a> {
    pub(crate) status: Status,
    /// See [`dedup_key`].
    pub(crate) key: String,
    pub(crate) labels: Pairs<'a>,
    pub(crate) annotations: Pairs<'a>,
    /// Time at which the alert began to fire. It stays the same until the alert is resolved.
    pub(crate) started: Option<Timestamp>,
    /// Address of the page that shows the expression behind the alert.
    pub(crate) generator_url: Option<Cow<'a, str>>,
}

/// Status of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Firing,
    Resolved,
}

impl<'a> Notification<'a> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// If the body is not a notification of version 4, or an alert in it has no [`dedup_key`].
    pub(crate) fn read(body: &Object<'a>) -> Result<Self, JsonError> {
        check_version(body)?;
        let alerts = body.list("alerts")?.ok_or_else(|| JsonError::missing("alerts"))?;
        let group_status = body.get("status")?;
        Ok(Self {
            alerts: read_alerts(alerts, group_status).map_err(|error| error.at_key("alerts"))?,
            truncated: body.count("truncatedAlerts")?.unwrap_or_default(),
            external_url: body.string("externalURL")?,
            receiver: body.get("receiver")?,
        })
    }

    /// Removes the alerts that a Tocsin host has sent to Alertmanager, and returns their number. If
    /// they came in, each would open another alert, which would be sent in turn.
    pub(crate) fn remove_sent(&mut self) -> usize {
        let before = self.alerts.len();
        self.alerts.retain(|alert| !alert.labels.contains_key(labels::SENT));
        before - self.alerts.len()
    }

    /// Returns the name of the receiver in Alertmanager's configuration. Only integrations with
    /// `{receiver}` in `key_prefix` need the name, so it is read on demand. For other integrations,
    /// a receiver of another type is no error.
    ///
    /// # Errors
    ///
    /// If the receiver is not a string.
    pub(crate) fn receiver(&self) -> Result<Option<Cow<'a, str>>, JsonError> {
        let receiver = self.receiver.map(json::string).transpose();
        let receiver = receiver.map_err(|error| error.at_key("receiver"))?;
        Ok(receiver.filter(|name| !name.is_empty()))
    }
}

impl<'a> Alert<'a> {
    /// Reads an alert. An alert without a status has the status of its group.
    fn read(alert: &'a RawValue, group_status: Option<&RawValue>) -> Result<Self, JsonError> {
        let alert = Object::read(alert)?;
        let own_status = alert.get("status")?;
        let labels = labels::pairs(&alert, "labels")?;
        let fingerprint = alert.string("fingerprint")?;
        let key = dedup_key(fingerprint.as_deref(), &labels)
            .ok_or_else(|| JsonError::new("has neither a fingerprint nor labels"))?;
        Ok(Self {
            status: status(own_status, group_status).map_err(|error| error.at_key("status"))?,
            key,
            labels,
            annotations: labels::pairs(&alert, "annotations")?,
            started: started(&alert)?,
            generator_url: alert.string("generatorURL")?,
        })
    }
}

fn check_version(body: &Object<'_>) -> Result<(), JsonError> {
    let version = body.string("version")?.ok_or_else(|| JsonError::missing("version"))?;
    if version == VERSION {
        return Ok(());
    }
    let message = "only version 4 of Alertmanager's webhook format is supported";
    Err(JsonError::new(message).at_key("version"))
}

fn read_alerts<'a>(
    alerts: Vec<&'a RawValue>,
    group_status: Option<&RawValue>,
) -> Result<Vec<Alert<'a>>, JsonError> {
    let read = |(index, alert)| {
        Alert::read(alert, group_status).map_err(|error: JsonError| error.at_index(index))
    };
    alerts.into_iter().enumerate().map(read).collect()
}

/// Reads the status of an alert, or else that of its group.
fn status(own: Option<&RawValue>, group: Option<&RawValue>) -> Result<Status, JsonError> {
    if let Some(status) = own.map(read_status).transpose()?.flatten() {
        return Ok(status);
    }
    match group.map(read_status).transpose() {
        Ok(status) => status
            .flatten()
            .ok_or_else(|| JsonError::new("is missing, and the group has none either")),
        Err(_) => Err(JsonError::new(
            "is missing, and that of the group is neither `firing` nor `resolved`",
        )),
    }
}

/// Reads a status; an empty text counts as no status.
fn read_status(status: &RawValue) -> Result<Option<Status>, JsonError> {
    match json::string(status)?.as_ref() {
        "" => Ok(None),
        "firing" => Ok(Some(Status::Firing)),
        "resolved" => Ok(Some(Status::Resolved)),
        _ => Err(JsonError::new("neither `firing` nor `resolved`")),
    }
}

fn started(alert: &Object<'_>) -> Result<Option<Timestamp>, JsonError> {
    let Some(text) = alert.string("startsAt")? else { return Ok(None) };
    let time: Timestamp = text
        .parse()
        .map_err(|_| JsonError::new("not a time in the format of RFC 3339").at_key("startsAt"))?;
    Ok(Some(time).filter(|time| time.as_second() != GO_ZERO_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Notification<'_>, String> {
        let body = Object::from_body(json.as_bytes()).expect("an object");
        Notification::read(&body).map_err(|error| error.to_string())
    }

    fn with_alert(alert: &str) -> String {
        format!(r#"{{"version":"4","alerts":[{alert}]}}"#)
    }

    #[track_caller]
    fn assert_error(json: &str, error: &str) {
        assert_eq!(read(json).err().as_deref(), Some(error), "{json}");
    }

    #[track_caller]
    fn assert_alert_error(alert: &str, error: &str) {
        assert_error(&with_alert(alert), error);
    }

    fn started_of(time: &str) -> Option<String> {
        let alert = format!(r#"{{"status":"firing","fingerprint":"a","startsAt":{time}}}"#);
        let json = with_alert(&alert);
        read(&json).expect("a notification").alerts[0].started.map(|time| time.to_string())
    }

    #[test]
    fn an_error_names_the_key() {
        assert_error(r#"{"version":"4"}"#, "`alerts`: is missing");
        assert_error(r#"{"version":"4","alerts":null}"#, "`alerts`: is missing");
        assert_error(
            r#"{"version":"4","alerts":{}}"#,
            "`alerts`: expected a list, found an object",
        );
        assert_error(
            r#"{"version":"4","alerts":[],"truncatedAlerts":-1}"#,
            "`truncatedAlerts`: expected a whole number, found another number",
        );
        assert_error(
            r#"{"version":"4","alerts":[],"externalURL":[]}"#,
            "`externalURL`: expected a string, found a list",
        );
        assert_error(r#"{"version":"4","alerts":[],"alerts":[]}"#, "`alerts`: is repeated");
    }

    #[test]
    fn an_error_in_an_alert_names_its_index() {
        assert_alert_error("1", "`alerts[0]`: expected an object, found a number");
        assert_alert_error("{}", "`alerts[0]`: has neither a fingerprint nor labels");
        assert_alert_error(
            r#"{"status":"firing","labels":{"a":""},"fingerprint":""}"#,
            "`alerts[0]`: has neither a fingerprint nor labels",
        );
        assert_alert_error(
            r#"{"fingerprint":"a"}"#,
            "`alerts[0].status`: is missing, and the group has none either",
        );
        assert_alert_error(
            r#"{"fingerprint":"a","status":"pending"}"#,
            "`alerts[0].status`: neither `firing` nor `resolved`",
        );
        assert_alert_error(
            r#"{"fingerprint":7}"#,
            "`alerts[0].fingerprint`: expected a string, found a number",
        );
        assert_alert_error(
            r#"{"status":"firing","labels":{"job":["s3cret"]}}"#,
            "`alerts[0].labels.job`: expected a string, found a list",
        );
        assert_alert_error(
            r#"{"status":"firing","fingerprint":"a","annotations":"s3cret"}"#,
            "`alerts[0].annotations`: expected an object, found a string",
        );
        let second = r#"{"status":"resolved","fingerprint":"a"},{"fingerprint":"b","status":""}"#;
        assert_alert_error(second, "`alerts[1].status`: is missing, and the group has none either");
    }

    #[test]
    fn an_alert_without_a_status_takes_that_of_its_group() {
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
            let error = "`alerts[0].status`: is missing, and the group has none either";
            assert_eq!(statuses(none), Err(error.into()), "{none}");
        }
        for wrong in [r#""pending""#, "7", "[]"] {
            let error = "`alerts[0].status`: is missing, and that of the group is neither \
                         `firing` nor `resolved`";
            assert_eq!(statuses(wrong), Err(error.into()), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_status_is_an_error_even_if_the_group_has_one() {
        assert_error(
            r#"{"version":"4","status":"firing","alerts":[{"fingerprint":"a","status":"x"}]}"#,
            "`alerts[0].status`: neither `firing` nor `resolved`",
        );
    }

    #[test]
    fn a_version_other_than_4_is_an_error_before_any_other() {
        let other = "`version`: only version 4 of Alertmanager's webhook format is supported";
        for version in ["3", "5", "4.0", "1", "four"] {
            assert_error(&format!(r#"{{"version":"{version}","alert":1}}"#), other);
        }
        assert_error(r#"{"version":4}"#, "`version`: expected a string, found a number");
        assert_error(r#"{"alerts":[]}"#, "`version`: is missing");
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_their_value() {
        let json = r#"{"version":"4","alerts":[{"status":"firing","fingerprint":"a","x":1e999}],
            "status":7,"receiver":[[[]]],"groupKey":"\ud800","notification_reason":null}"#;
        assert_eq!(read(json).expect("a notification").alerts.len(), 1);
    }

    #[test]
    fn null_and_empty_values_are_none() {
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
    fn times_of_different_zones_are_compared_in_utc() {
        let time = Some("2018-08-03T07:52:26.739266876Z".to_owned());
        assert_eq!(started_of(r#""2018-08-03T09:52:26.739266876+02:00""#), time);
        assert_eq!(started_of(r#""2018-08-03T07:52:26.739266876Z""#), time);
    }

    #[test]
    fn a_time_that_was_never_set_is_none_and_a_bad_one_an_error() {
        for none in [r#""0001-01-01T00:00:00Z""#, r#""""#, "null"] {
            assert_eq!(started_of(none), None, "{none}");
        }
        for wrong in ["yesterday", "2018-08-03", "1533281546", "2018-13-03T09:52:26Z"] {
            let alert = format!(r#"{{"status":"firing","fingerprint":"a","startsAt":"{wrong}"}}"#);
            assert_alert_error(
                &alert,
                "`alerts[0].startsAt`: not a time in the format of RFC 3339",
            );
        }
    }
}
