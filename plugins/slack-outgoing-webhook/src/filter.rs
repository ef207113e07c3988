//! Filter of genuine requests: requests that are not messages, messages from bots, and messages
//! that the operator excluded are ignored, each with a reason.
//!
//! Malformed messages are refused elsewhere: see [`crate::fields`].

use tocsin_plugin_api::OptionsError;

use crate::{
    fields::{Field, Fields, Value},
    options::Bots,
};

/// Filter that decides which genuine requests are ignored, with the operator's options.
pub(crate) struct MessageFilter {
    bots: Bots,
    /// Names (without `#`) and ids of the channels whose messages raise alerts; empty for all
    /// channels.
    channels: Vec<String>,
    trigger_words: Vec<String>,
}

impl MessageFilter {
    /// Takes the options `bots`, `channels` and `trigger_words`.
    ///
    /// # Errors
    ///
    /// If a channel or a trigger word is empty.
    pub(crate) fn new(
        bots: Bots,
        mut channels: Vec<String>,
        trigger_words: Vec<String>,
    ) -> Result<Self, OptionsError> {
        for channel in &mut channels {
            if channel.starts_with('#') {
                channel.remove(0);
            }
        }
        refuse_empty("channels", &channels)?;
        refuse_empty("trigger_words", &trigger_words)?;
        Ok(Self { bots, channels, trigger_words })
    }

    /// Returns the configured trigger words.
    pub(crate) fn trigger_words(&self) -> &[String] {
        &self.trigger_words
    }

    /// Returns the reason to ignore a request because of its kind or its sender, if there is one.
    pub(crate) fn reason_to_ignore_sender(&self, fields: &Fields<'_>) -> Option<&'static str> {
        // Slack sends this field to check the certificate of an endpoint.
        if fields.has(Field::SslCheck) {
            return Some("a check of the certificate, not a message (`ssl_check`)");
        }
        if fields.has(Field::Command) {
            return Some("a slash command, not a message (`command`)");
        }
        if fields.has(Field::Type) && (fields.has(Field::Event) || fields.has(Field::Challenge)) {
            return Some("a request of the Events API, not of an outgoing webhook");
        }
        match self.bots {
            Bots::Ignore if is_bot(fields) => Some("posted by a bot, and `bots` is `ignore`"),
            Bots::Auto if is_bot(fields) && !fields.has(Field::TriggerWord) => {
                Some("posted by a bot without a trigger word, and `bots` is `auto`")
            }
            Bots::Auto if is_bot(fields) && has_trigger_word_elsewhere(fields) => Some(
                "posted by a bot with the trigger word not at the beginning, and `bots` is `auto`",
            ),
            Bots::Auto | Bots::Accept | Bots::Ignore => None,
        }
    }

    /// Returns the reason to ignore a message because of the options `channels` and
    /// `trigger_words`, if there is one.
    pub(crate) fn reason_to_ignore_message(
        &self,
        fields: &Fields<'_>,
        text: &str,
    ) -> Option<&'static str> {
        if !self.channels.is_empty() && !self.is_from_a_channel(fields) {
            return Some("the channel is not one of `channels`");
        }
        if !self.trigger_words.is_empty() && !self.is_triggered(fields, text) {
            return Some("the trigger word is not one of `trigger_words`");
        }
        None
    }

    fn is_from_a_channel(&self, fields: &Fields<'_>) -> bool {
        let sent = [fields.get(Field::ChannelName), fields.get(Field::ChannelId)];
        self.channels.iter().any(|channel| sent.contains(&Some(channel)))
    }

    fn is_triggered(&self, fields: &Fields<'_>, text: &str) -> bool {
        let mut words = self.trigger_words.iter();
        match fields.get(Field::TriggerWord) {
            Some(sent) => words.any(|word| word == sent),
            None => words.any(|word| text.starts_with(word.as_str())),
        }
    }
}

fn refuse_empty(key: &str, values: &[String]) -> Result<(), OptionsError> {
    match values.iter().position(|value| value.trim().is_empty()) {
        Some(at) => {
            let hint = "empty\nhint: remove it; with an empty list, all messages count";
            Err(OptionsError::at(format!("{key}[{at}]"), hint))
        }
        None => Ok(()),
    }
}

/// Returns true if the chat reports a trigger word with which the text does not begin, as Rocket.Chat can be
/// set to. The messages in which Tocsin tells of an alert name its title behind words of their own. If
/// they counted, the trigger word of a title would open an alert again and again.
fn has_trigger_word_elsewhere(fields: &Fields<'_>) -> bool {
    let (Some(word), Ok(text)) = (fields.get(Field::TriggerWord), fields.text()) else {
        return false;
    };
    let text = text.trim_start().to_lowercase();
    let word = word.trim().to_lowercase();
    // Slack escapes the text, and the word as it was configured may have such characters.
    let escaped = word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    !text.starts_with(&word) && !text.starts_with(&escaped)
}

fn is_bot(fields: &Fields<'_>) -> bool {
    fields.get(Field::UserId) == Some("USLACKBOT")
        || fields.get(Field::UserName) == Some("slackbot")
        || fields.has(Field::BotId)
        || fields.get(Field::Bot) == Some("true")
        // Older versions of Rocket.Chat send an object with the name of the integration.
        || fields.value(Field::Bot) == Some(&Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, json};

    fn bots(bots: Bots) -> MessageFilter {
        MessageFilter::new(bots, vec![], vec![]).expect("valid")
    }

    fn sender(bots_option: Bots, form: &str) -> Option<&'static str> {
        bots(bots_option).reason_to_ignore_sender(&form::read(form.as_bytes()))
    }

    fn json_sender(body: &str) -> Option<&'static str> {
        bots(Bots::Auto).reason_to_ignore_sender(&json::read(body.as_bytes()).expect("an object"))
    }

    fn only(channels: &[&str], trigger_words: &[&str]) -> MessageFilter {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        MessageFilter::new(Bots::Auto, owned(channels), owned(trigger_words)).expect("valid")
    }

    const AUTO: Option<&str> = Some("posted by a bot without a trigger word, and `bots` is `auto`");
    const IGNORED: Option<&str> = Some("posted by a bot, and `bots` is `ignore`");

    #[test]
    fn certificate_checks_and_slash_commands_are_ignored() {
        let reason = |body| sender(Bots::Accept, body);
        let certificate = Some("a check of the certificate, not a message (`ssl_check`)");
        assert_eq!(reason("ssl_check=1"), certificate);
        assert_eq!(reason("ssl_check=1&ssl_check=1"), certificate);
        assert_eq!(
            reason("command=%2Fpage&text=db1+down"),
            Some("a slash command, not a message (`command`)")
        );
        assert_eq!(reason("ssl_check=&command=&text=a"), None);
    }

    #[test]
    fn requests_of_the_events_api_are_ignored() {
        let envelope = Some("a request of the Events API, not of an outgoing webhook");
        assert_eq!(json_sender(r#"{"type":"event_callback","event":{}}"#), envelope);
        assert_eq!(json_sender(r#"{"type":"url_verification","challenge":"c"}"#), envelope);
        assert_eq!(json_sender(r#"{"type":"message"}"#), None);
        assert_eq!(json_sender(r#"{"event":{},"challenge":"c"}"#), None);
        assert_eq!(json_sender(r#"{"type":"message","event":null}"#), None);
    }

    #[test]
    fn bots_are_recognized_by_any_of_four_fields() {
        for bot in ["user_id=USLACKBOT", "user_name=slackbot", "bot_id=B1", "bot=true"] {
            assert_eq!(sender(Bots::Auto, bot), AUTO, "{bot}");
        }
        for bot in [r#"{"bot":true}"#, r#"{"bot":{"i":"x"}}"#, r#"{"bot_id":"B1","bot":false}"#] {
            assert_eq!(json_sender(bot), AUTO, "{bot}");
        }
    }

    #[test]
    fn people_are_not_bots() {
        for person in ["user_id=U1&bot_id=&bot_name=x", "user_name=Slackbot", "bot=false", ""] {
            assert_eq!(sender(Bots::Ignore, person), None, "{person}");
        }
        assert_eq!(json_sender(r#"{"bot":false,"bot_id":null}"#), None);
    }

    #[test]
    fn the_option_decides_which_messages_from_bots_count() {
        assert_eq!(sender(Bots::Auto, "bot_id=B1&trigger_word=outage"), None);
        assert_eq!(sender(Bots::Auto, "bot_id=B1&trigger_word="), AUTO);
        assert_eq!(sender(Bots::Accept, "bot_id=B1"), None);
        assert_eq!(sender(Bots::Ignore, "bot_id=B1&trigger_word=outage"), IGNORED);
    }

    #[test]
    fn the_trigger_word_of_a_bot_has_to_begin_the_text() {
        let elsewhere = Some(
            "posted by a bot with the trigger word not at the beginning, and `bots` is `auto`",
        );
        let reason = |form: &str| sender(Bots::Auto, form);
        assert_eq!(reason("bot_id=B1&trigger_word=Outage:&text=+outage:+db1"), None);
        assert_eq!(reason("bot_id=B1&trigger_word=a%26b&text=a%26amp;b+is+down"), None);
        assert_eq!(reason("bot_id=B1&trigger_word=outage:&text=Open:+outage:+db1"), elsewhere);
        assert_eq!(reason("user_id=U1&trigger_word=outage:&text=an+outage:+db1"), None, "a person");
        let accepted = sender(Bots::Accept, "bot_id=B1&trigger_word=outage:&text=an+outage:+db1");
        assert_eq!(accepted, None);
    }

    #[test]
    fn channels_are_matched_by_name_or_id() {
        let other = Some("the channel is not one of `channels`");
        let reason = |channels: &[&str], form: &str| {
            only(channels, &[]).reason_to_ignore_message(&form::read(form.as_bytes()), "x")
        };
        for channels in [&["ops"][..], &["#ops"], &["C1"], &["other", "#ops"]] {
            assert_eq!(reason(channels, "channel_name=ops&channel_id=C1"), None, "{channels:?}");
        }
        assert_eq!(reason(&["op", "Ops", "c1"], "channel_name=ops&channel_id=C1"), other);
        assert_eq!(reason(&["ops"], "user_name=ops"), other);
    }

    #[test]
    fn trigger_words_are_matched_with_the_reported_word_or_the_beginning() {
        let other = Some("the trigger word is not one of `trigger_words`");
        let reason = |form: &str, text: &str| {
            let fields = form::read(form.as_bytes());
            only(&[], &["outage", "page:"]).reason_to_ignore_message(&fields, text)
        };
        assert_eq!(reason("trigger_word=outage", "x"), None);
        assert_eq!(reason("trigger_word=Outage", "outage"), other);
        assert_eq!(reason("trigger_word=", "page: db1"), None);
        assert_eq!(reason("", "outage db1"), None);
        assert_eq!(reason("", "an outage"), other);
    }

    #[test]
    fn an_empty_channel_or_trigger_word_is_refused() {
        let error = |channels: &[&str], words: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            let filter = MessageFilter::new(Bots::Auto, owned(channels), owned(words));
            filter.err().expect("refused").to_string()
        };
        assert_eq!(
            error(&["ops", "#"], &[]),
            "`channels[1]`: empty\nhint: remove it; with an empty list, all messages count"
        );
        assert_eq!(
            error(&[], &[" "]),
            "`trigger_words[0]`: empty\nhint: remove it; with an empty list, all messages count"
        );
    }
}
