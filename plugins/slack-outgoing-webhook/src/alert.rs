//! Event of a message.
//!
//! The event always opens an alert: nothing in the format resolves one.

use sha2::{Digest, Sha256};
use tocsin_plugin_api::{Event, Urgency};
use tocsin_plugin_kit::text::one_line;

use crate::{
    fields::{Field, Fields},
    link::permalink,
    product::{Product, is_whole_seconds},
    text::VisibleText,
};

/// Labels of the details.
pub(crate) mod label {
    pub(crate) const TRIGGER: &str = "Trigger";
    pub(crate) const CHANNEL: &str = "Channel";
    pub(crate) const USER: &str = "User";
    pub(crate) const TEAM: &str = "Team";
}

/// Builds the event of a message.
pub(crate) fn event(
    product: Product,
    fields: &Fields<'_>,
    text: VisibleText,
    urgency: Option<Urgency>,
) -> Event {
    let mut event = Event::create(text.title()).description(text.into_string()).urgency(urgency);
    if let Some(key) = message_key(fields) {
        event = event.dedup_key(key.clone()).event_id(key);
    }
    if let Some(link) = permalink(product, fields) {
        event = event.link(link);
    }
    for (label, value) in details(fields) {
        event = event.detail(label, value);
    }
    event
}

/// Returns the key of a message, which is both dedup key and event id: two messages are never the
/// same problem, and a message that is sent again is a repeat.
///
/// Several messages can share a timestamp of whole seconds. Their keys also have the sender and a
/// hash of the text, which are the same in a retry.
fn message_key(fields: &Fields<'_>) -> Option<String> {
    let channel = fields.get(Field::ChannelId)?;
    if let Some(id) = fields.first([Field::PostId, Field::MessageId]) {
        return Some([channel, ".", id].concat());
    }
    let timestamp = fields.get(Field::Timestamp)?;
    if !is_whole_seconds(timestamp) {
        return Some([channel, ".", timestamp].concat());
    }
    let user = fields.get(Field::UserId).unwrap_or_default();
    Some(format!("{channel}.{timestamp}.{user}.{:016x}", text_hash(fields.text().ok()?)))
}

/// Returns the first 8 bytes of the SHA-256 of a text. The text must be the original one, before
/// any cleaning.
fn text_hash(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text).into();
    let first = hash.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}

fn details(fields: &Fields<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let values: [(_, &[Field]); 4] = [
        (label::TRIGGER, &[Field::TriggerWord]),
        (label::CHANNEL, &[Field::ChannelName, Field::ChannelId]),
        (label::USER, &[Field::UserName, Field::UserId]),
        (label::TEAM, &[Field::TeamDomain]),
    ];
    values.into_iter().filter_map(|(label, names)| {
        Some((label, names.iter().find_map(|name| one_line(fields.get(*name)?))?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, json};

    fn of(fields: &Fields<'_>) -> Event {
        let text = VisibleText::from_raw(" db1  down\nsince noon");
        event(Product::of(fields), fields, text, Some(Urgency::Low))
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
    fn details_have_an_order_and_empty_ones_are_left_out() {
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
    fn details_are_cleaned_and_on_one_line() {
        assert_eq!(details_of("user_name=%E2%80%AEbob%0Ax"), pairs(&[("User", "bob x")]));
        assert_eq!(details_of("user_name=%00"), []);
    }

    #[test]
    fn a_blank_name_is_replaced_by_the_id() {
        let invisible = "user_name=%E2%A0%80&user_id=U1&channel_name=%E3%85%A4&trigger_word=%C2%AD";
        assert_eq!(details_of(invisible), pairs(&[("User", "U1")]));
    }

    #[test]
    fn the_key_keeps_the_spelling_of_ids() {
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
    fn the_key_prefers_the_id_of_the_message_to_its_timestamp() {
        let ids = r#""post_id":"p","message_id":"m","timestamp":1"#;
        let key = |ids: &str| key_of_json(&format!(r#"{{"channel_id":"C1",{ids}}}"#));
        assert_eq!(key(ids).as_deref(), Some("C1.p"));
        assert_eq!(key(&ids.replace(r#""p""#, "null")).as_deref(), Some("C1.m"));
        let neither = ids.replace(r#""p""#, r#""""#).replace(r#""m""#, "{}");
        assert_eq!(key(&neither.replace(":1", ":1.5")).as_deref(), Some("C1.1.5"));
    }

    #[test]
    fn with_whole_seconds_the_key_has_the_sender_and_a_hash_of_the_text() {
        let key = |form: &str| {
            let form = format!("channel_id=C123&timestamp=1532078950&{form}");
            of_form(&form).event_id.expect("both halves are there")
        };
        let text = "text=%40**Pager+Bot**+db1+down+critical";
        // The first 16 digits that `sha256sum` prints of the text.
        assert_eq!(key(&format!("user_id=U21&{text}")), "C123.1532078950.U21.ffd63b1e8936f0f8");
        assert_eq!(key(&format!("user_id=U22&{text}")), "C123.1532078950.U22.ffd63b1e8936f0f8");
        assert_eq!(key(text), "C123.1532078950..ffd63b1e8936f0f8");
        assert_eq!(key("user_id=7&text=a"), "C123.1532078950.7.ca978112ca1bbdca");
    }

    #[test]
    fn the_hash_in_the_key_is_that_of_the_original_text() {
        let key = |text: &str| {
            let json = serde_json::json!({"channel_id": "C1", "timestamp": 17, "text": text});
            key_of_json(&json.to_string()).expect("both halves are there")
        };
        assert_ne!(key("db1 down"), key("db1  down"));
        assert_ne!(key("db1 down"), key("db1 down\n"));
        assert_ne!(key("<@U1>"), key("@U1"));
        assert_ne!(key("a\u{200B}"), key("a"));
    }

    #[test]
    fn with_an_id_or_a_fraction_the_key_has_no_hash() {
        let key = |form: &str| of_form(&format!("channel_id=C1&user_id=U1&text=a&{form}")).event_id;
        assert_eq!(key("timestamp=17&post_id=p").as_deref(), Some("C1.p"));
        assert_eq!(key("timestamp=17&message_id=m").as_deref(), Some("C1.m"));
        assert_eq!(key("timestamp=17.000100").as_deref(), Some("C1.17.000100"));
    }

    #[test]
    fn without_channel_or_id_there_is_no_key() {
        assert_eq!(key_of_json(r#"{"channel_id":"C1"}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":"C1","timestamp":""}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":"","timestamp":"1"}"#), None);
        assert_eq!(key_of_json(r#"{"channel_id":["C1"],"timestamp":"1"}"#), None);
        assert_eq!(key_of_json(r#"{"timestamp":"1"}"#), None);
    }
}
