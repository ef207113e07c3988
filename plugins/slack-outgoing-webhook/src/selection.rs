//! Which genuine requests are passed over: what is no message, bots, and what the operator did not
//! ask for.
//!
//! It does not judge whether a message makes sense.

use tocsin_plugin_api::OptionsError;

use crate::{
    fields::{Field, Fields, Value},
    options::Bots,
};

/// Which messages count.
pub(crate) struct Selection {
    bots: Bots,
    /// Names without their `#`, and ids.
    channels: Vec<String>,
    trigger_words: Vec<String>,
}

impl Selection {
    /// From the options of those names.
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

    pub(crate) fn trigger_words(&self) -> &[String] {
        &self.trigger_words
    }

    /// Why nothing of this sender is taken, if nothing is: it sends no messages, or is a bot.
    pub(crate) fn passes_over_sender(&self, fields: &Fields<'_>) -> Option<&'static str> {
        // Slack checks the certificate of an endpoint this way.
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
            Bots::Auto | Bots::Accept | Bots::Ignore => None,
        }
    }

    /// Why the operator does not want this message, if so.
    pub(crate) fn passes_over_message(
        &self,
        fields: &Fields<'_>,
        text: &str,
    ) -> Option<&'static str> {
        if !self.channels.is_empty() && !self.is_of_a_channel(fields) {
            return Some("its channel is not one of `channels`");
        }
        if !self.trigger_words.is_empty() && !self.is_triggered(fields, text) {
            return Some("its trigger word is not one of `trigger_words`");
        }
        None
    }

    fn is_of_a_channel(&self, fields: &Fields<'_>) -> bool {
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

fn is_bot(fields: &Fields<'_>) -> bool {
    fields.get(Field::UserId) == Some("USLACKBOT")
        || fields.get(Field::UserName) == Some("slackbot")
        || fields.has(Field::BotId)
        || fields.get(Field::Bot) == Some("true")
        // Older versions of Rocket.Chat send an object that names the integration.
        || fields.value(Field::Bot) == Some(&Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, json};

    fn bots(bots: Bots) -> Selection {
        Selection::new(bots, vec![], vec![]).expect("valid")
    }

    fn sender(bots_option: Bots, form: &str) -> Option<&'static str> {
        bots(bots_option).passes_over_sender(&form::read(form.as_bytes()))
    }

    fn json_sender(body: &str) -> Option<&'static str> {
        bots(Bots::Auto).passes_over_sender(&json::read(body.as_bytes()).expect("an object"))
    }

    fn only(channels: &[&str], trigger_words: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Selection::new(Bots::Auto, owned(channels), owned(trigger_words)).expect("valid")
    }

    const AUTO: Option<&str> = Some("posted by a bot without a trigger word, and `bots` is `auto`");
    const IGNORED: Option<&str> = Some("posted by a bot, and `bots` is `ignore`");

    #[test]
    fn what_is_no_message_is_passed_over() {
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
    fn envelopes_of_the_events_api_are_passed_over() {
        let envelope = Some("a request of the Events API, not of an outgoing webhook");
        assert_eq!(json_sender(r#"{"type":"event_callback","event":{}}"#), envelope);
        assert_eq!(json_sender(r#"{"type":"url_verification","challenge":"c"}"#), envelope);
        assert_eq!(json_sender(r#"{"type":"message"}"#), None);
        assert_eq!(json_sender(r#"{"event":{},"challenge":"c"}"#), None);
        assert_eq!(json_sender(r#"{"type":"message","event":null}"#), None);
    }

    #[test]
    fn bots_are_known_by_any_of_four_signs() {
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
    fn the_option_says_which_posts_of_bots_count() {
        assert_eq!(sender(Bots::Auto, "bot_id=B1&trigger_word=outage"), None);
        assert_eq!(sender(Bots::Auto, "bot_id=B1&trigger_word="), AUTO);
        assert_eq!(sender(Bots::Accept, "bot_id=B1"), None);
        assert_eq!(sender(Bots::Ignore, "bot_id=B1&trigger_word=outage"), IGNORED);
    }

    #[test]
    fn channels_are_matched_by_name_or_id() {
        let other = Some("its channel is not one of `channels`");
        let reason = |channels: &[&str], form: &str| {
            only(channels, &[]).passes_over_message(&form::read(form.as_bytes()), "x")
        };
        for channels in [&["ops"][..], &["#ops"], &["C1"], &["other", "#ops"]] {
            assert_eq!(reason(channels, "channel_name=ops&channel_id=C1"), None, "{channels:?}");
        }
        assert_eq!(reason(&["op", "Ops", "c1"], "channel_name=ops&channel_id=C1"), other);
        assert_eq!(reason(&["ops"], "user_name=ops"), other);
    }

    #[test]
    fn trigger_words_are_matched_as_sent_or_else_as_the_beginning() {
        let other = Some("its trigger word is not one of `trigger_words`");
        let reason = |form: &str, text: &str| {
            let fields = form::read(form.as_bytes());
            only(&[], &["outage", "page:"]).passes_over_message(&fields, text)
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
            let selection = Selection::new(Bots::Auto, owned(channels), owned(words));
            selection.err().expect("refused").to_string()
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
