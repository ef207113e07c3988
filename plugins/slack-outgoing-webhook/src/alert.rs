//! The event that a message becomes.
//!
//! It is always a new alert: nothing in the format says that one is over.

use tocsin_plugin_api::{Event, Urgency};

use crate::{
    fields::{Field, Fields},
    link::permalink,
    text::{VisibleText, on_one_line},
};

/// The labels of details.
pub(crate) mod label {
    pub(crate) const TRIGGER: &str = "Trigger";
    pub(crate) const CHANNEL: &str = "Channel";
    pub(crate) const USER: &str = "User";
    pub(crate) const TEAM: &str = "Team";
}

/// The event that a message becomes.
pub(crate) fn event(fields: &Fields<'_>, text: VisibleText, urgency: Option<Urgency>) -> Event {
    let mut event = Event::create(text.title()).description(text.into_string()).urgency(urgency);
    if let Some(key) = message_key(fields) {
        event = event.dedup_key(key.clone()).event_id(key);
    }
    if let Some(link) = permalink(fields) {
        event = event.link(link);
    }
    for (label, value) in details(fields) {
        event = event.detail(label, value);
    }
    event
}

/// What names the message: two messages are never the same problem, and a message that is sent
/// again is the same delivery.
fn message_key(fields: &Fields<'_>) -> Option<String> {
    let channel = fields.get(Field::ChannelId)?;
    let message = fields.first([Field::PostId, Field::MessageId, Field::Timestamp])?;
    Some([channel, ".", message].concat())
}

fn details(fields: &Fields<'_>) -> impl Iterator<Item = (&'static str, String)> {
    [
        (label::TRIGGER, fields.get(Field::TriggerWord)),
        (label::CHANNEL, fields.first([Field::ChannelName, Field::ChannelId])),
        (label::USER, fields.first([Field::UserName, Field::UserId])),
        (label::TEAM, fields.get(Field::TeamDomain)),
    ]
    .into_iter()
    .filter_map(|(label, value)| Some((label, on_one_line(value?))))
    .filter(|(_, value)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, json};

    fn of(fields: &Fields<'_>) -> Event {
        event(fields, VisibleText::from_raw(" db1  down\nsince noon"), Some(Urgency::Low))
    }

    fn of_form(form: &str) -> Event {
        of(&form::read(form.as_bytes()))
    }

    fn key_of_json(json: &str) -> Option<String> {
        let event = of(&json::read(json.as_bytes()).expect("an object"));
        assert_eq!(event.dedup_key, event.event_id);
        event.dedup_key
    }

    fn details_of(form: &str) -> Vec<(String, String)> {
        of_form(form).details.into_iter().map(|detail| (detail.label, detail.value)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_message_opens_an_alert() {
        let expected = Event::create("db1 down")
            .description("db1 down\nsince noon")
            .urgency(Urgency::Low)
            .dedup_key("C1.1.000005")
            .event_id("C1.1.000005")
            .link("https://team.slack.com/archives/C1/p1000005")
            .detail("Channel", "C1")
            .detail("Team", "team");
        assert_eq!(of_form("channel_id=C1&timestamp=1.000005&team_domain=team"), expected);
    }

    #[test]
    fn details_come_in_order_and_only_where_there_is_something() {
        let all = "team_domain=team&user_name=bob&user_id=U1&channel_id=C1\
                   &channel_name=On-call+%2F+EU&trigger_word=low:";
        let expected =
            [("Trigger", "low:"), ("Channel", "On-call / EU"), ("User", "bob"), ("Team", "team")];
        assert_eq!(details_of(all), pairs(&expected));
        let ids = "user_name=&user_id=U1&channel_id=C1&trigger_word=";
        assert_eq!(details_of(ids), pairs(&[("Channel", "C1"), ("User", "U1")]));
        assert_eq!(details_of("team_id=T1&service_id=1"), []);
    }

    #[test]
    fn details_are_plain_and_fit_on_a_line() {
        assert_eq!(details_of("user_name=%E2%80%AEbob%0Ax"), pairs(&[("User", "bob x")]));
        assert_eq!(details_of("user_name=%00"), []);
    }

    #[test]
    fn the_key_takes_ids_as_they_were_written() {
        let key = |rest: &str| key_of_json(&format!(r#"{{"channel_id":"C1",{rest}}}"#));
        assert_eq!(key(r#""timestamp":1656637234966"#).as_deref(), Some("C1.1656637234966"));
        assert_eq!(
            key(r#""timestamp":1664813178.766540"#).as_deref(),
            Some("C1.1664813178.766540")
        );
        assert_eq!(
            key(r#""timestamp":"2024-05-06T07:08:09.123Z""#).as_deref(),
            Some("C1.2024-05-06T07:08:09.123Z")
        );
        assert_eq!(key_of_json(r#"{"channel_id":7,"post_id":1e3}"#).as_deref(), Some("7.1e3"));
        assert_eq!(key(r#""post_id":" p ""#).as_deref(), Some("C1. p "));
    }

    #[test]
    fn the_key_prefers_the_id_of_the_post() {
        let ids = r#""post_id":"p","message_id":"m","timestamp":1"#;
        let key = |ids: &str| key_of_json(&format!(r#"{{"channel_id":"C1",{ids}}}"#));
        assert_eq!(key(ids).as_deref(), Some("C1.p"));
        assert_eq!(key(&ids.replace(r#""p""#, "null")).as_deref(), Some("C1.m"));
        let neither = ids.replace(r#""p""#, r#""""#).replace(r#""m""#, "{}");
        assert_eq!(key(&neither).as_deref(), Some("C1.1"));
    }

    #[test]
    fn half_a_key_is_none() {
        assert_eq!(key_of_json(r#"{"channel_id":"C1"}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":"C1","timestamp":""}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":"","timestamp":"1"}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":["C1"],"timestamp":"1"}"#), None);
        assert_eq!(key_of_json(r#"{"timestamp":"1"}"#), None);
    }
}
