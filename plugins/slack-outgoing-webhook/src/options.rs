//! Options table that an operator writes under `[integrations.NAME.options]`.
//!
//! Only the types of the options are checked here. The file that uses an option checks the option's
//! value.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Secrets, Urgency};

/// Options of one integration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Token that the chat shows for this webhook, or a list of tokens: of several webhooks, or an
    /// old and a new one during a rotation. A message without one of the tokens is refused.
    pub token: Option<Secrets>,

    /// Accepts messages without checking their token: anyone who can reach the endpoint can then
    /// raise alerts. Required if `token` is not set.
    #[serde(default)]
    pub unauthenticated: bool,

    /// Regular expression that finds the urgency instead of the built-in rule, such as
    /// `(?i)\bsev:(?<urgency>\w+)`. Its group `urgency` must capture `low`, `medium`, `high` or
    /// `critical` in any case, or one of `urgencies`. A match that captures something else is
    /// ignored, and the highest of several urgencies applies. A pattern that can never capture a
    /// name is refused. The pattern is matched against the text as people see it.
    pub urgency_pattern: Option<String>,

    /// Further words that name an urgency, such as `{ P1 = "critical", dringend = "high" }`. They
    /// work like the four built-in words: they count in any case if they stand alone, and the
    /// highest urgency in a message applies. With `urgency_pattern`, they count if the pattern
    /// captures them, and can be any text that is not empty.
    #[serde(default)]
    pub urgencies: BTreeMap<String, Urgency>,

    /// Treatment of messages from bots.
    #[serde(default)]
    pub bots: Bots,

    /// Channels whose messages raise alerts: names, with or without a leading `#`, or ids. If the
    /// list is empty, messages of all channels do.
    #[serde(default)]
    pub channels: Vec<String>,

    /// Trigger words whose messages raise alerts. A word must be the trigger word that the chat
    /// reports; if the chat reports none, the text must begin with the word. If the list is empty,
    /// all messages raise alerts.
    #[serde(default)]
    pub trigger_words: Vec<String>,

    /// Template of a reply that the chat posts in the channel. Placeholders are `{title}`,
    /// `{urgency}` (`default` if the message names none), `{channel}`, `{user}` and `{trigger}`;
    /// `{{` and `}}` are braces. The template must not begin with a trigger word, because the reply
    /// would raise the next alert. If a filled-in value makes the reply begin with a trigger word,
    /// nothing is posted. Mentions in filled-in values notify nobody; mentions in the template
    /// work, `@{user}` too.
    pub reply: Option<String>,
}

/// Treatment of messages from bots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    /// A message from a bot counts only if it begins with a trigger word. Otherwise a webhook on every
    /// message of a channel would raise alerts from its own replies, and from the messages in which
    /// Tocsin tells the channel of an alert.
    #[default]
    Auto,
    /// Messages from bots count like those from people. In a channel to which Tocsin posts, each
    /// message about an alert would then raise another alert.
    Accept,
    /// Messages from bots never count.
    Ignore,
}
