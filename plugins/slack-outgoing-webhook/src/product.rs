//! Chat product that sent a message, guessed from the fields.
//!
//! No field names the product. Mattermost and Rocket.Chat send a field that no other product sends,
//! Zulip formats timestamps in its own way, and any other message counts as Slack's.

use crate::fields::{Field, Fields};

/// Largest number of digits in a timestamp of seconds. Timestamps of milliseconds have had more
/// digits since 1973.
const SECONDS_DIGITS: usize = 11;

/// Chat product that sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Slack,
    Mattermost,
    Zulip,
    RocketChat,
}

impl Product {
    /// Guesses the product from the [`Fields`] of a message.
    pub(crate) fn of(fields: &Fields<'_>) -> Self {
        if fields.has(Field::PostId) {
            Self::Mattermost
        } else if fields.has(Field::MessageId) {
            Self::RocketChat
        } else if fields.get(Field::Timestamp).is_some_and(is_whole_seconds) {
            Self::Zulip
        } else {
            Self::Slack
        }
    }

    /// Returns whether the product sends text as it was typed. Slack sends it with
    /// [control forms and entities](crate::markup).
    pub(crate) fn is_raw(self) -> bool {
        self != Self::Slack
    }
}

/// Returns whether a timestamp counts whole seconds, so that two messages can share one.
pub(crate) fn is_whole_seconds(timestamp: &str) -> bool {
    (1..=SECONDS_DIGITS).contains(&timestamp.len())
        && timestamp.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, json};

    fn of_form(form: &str) -> Product {
        Product::of(&form::read(form.as_bytes()))
    }

    fn of_json(json: &str) -> Product {
        Product::of(&json::read(json.as_bytes()).expect("an object"))
    }

    #[test]
    fn post_id_means_mattermost_and_message_id_rocket_chat() {
        assert_eq!(of_form("post_id=p&timestamp=1656637300"), Product::Mattermost);
        assert_eq!(of_form("message_id=m&timestamp=1656637300"), Product::RocketChat);
        assert_eq!(of_json(r#"{"post_id":7}"#), Product::Mattermost);
    }

    #[test]
    fn whole_seconds_without_an_id_mean_zulip() {
        for zulip in ["timestamp=1700000100", "timestamp=1700000100&post_id=&message_id="] {
            assert_eq!(of_form(zulip), Product::Zulip, "{zulip}");
        }
        assert_eq!(of_json(r#"{"timestamp":1700000100,"post_id":null}"#), Product::Zulip);
    }

    #[test]
    fn everything_else_means_slack() {
        for timestamp in ["1664813178.766549", "", "1656637234966", "1e9", "-1", "1.5", " 17"] {
            assert_eq!(of_form(&format!("timestamp={timestamp}")), Product::Slack, "{timestamp}");
        }
        assert_eq!(of_form("text=a"), Product::Slack);
    }

    #[test]
    fn only_slack_marks_up_its_text() {
        let raw = [Product::Mattermost, Product::Zulip, Product::RocketChat];
        assert!(raw.into_iter().all(Product::is_raw));
        assert!(!Product::Slack.is_raw());
    }
}
