//! What an operator writes under `[integrations.NAME.options]`.
//!
//! It says what may be written; whether it makes sense is judged where it is used, in `new`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Secrets, Urgency};

/// The options of one integration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The token that the sender shows for this webhook, or a list of tokens: of several webhooks,
    /// or an old and a new one while it is being replaced. A message with any other is refused.
    pub token: Option<Secrets>,

    /// Accepts messages without looking at their token: anyone who can reach the endpoint can then
    /// raise alerts. Either this or `token` has to be set.
    #[serde(default)]
    pub unauthenticated: bool,

    /// A regular expression that finds the urgency in place of the built-in rule, such as
    /// `(?i)\bsev:(?<urgency>\w+)`. Its group `urgency` has to capture `low`, `medium`, `high` or
    /// `critical` in any case, or one of `urgencies`: a match that captures something else is passed
    /// over, and of several matches the highest counts. A pattern that can never capture one of them
    /// is refused. It is matched against the text as people see it.
    pub urgency_pattern: Option<String>,

    /// Further words that name an urgency, such as `{ P1 = "critical", dringend = "high" }`. They
    /// work as the four built-in words do: they count if they stand alone, in any case, and the
    /// highest urgency in a message applies. If `urgency_pattern` is set, they count if it captures
    /// them, and may be any text that is not empty.
    #[serde(default)]
    pub urgencies: BTreeMap<String, Urgency>,

    /// What to do with the posts of bots.
    #[serde(default)]
    pub bots: Bots,

    /// Only messages of these channels raise an alert; if empty, those of every channel do. Names,
    /// with or without a leading `#`, or ids.
    #[serde(default)]
    pub channels: Vec<String>,

    /// Only messages that one of these trigger words selected raise an alert; if empty, all do. A
    /// word has to be exactly what the sender reports; where it reports none, what the text begins
    /// with.
    #[serde(default)]
    pub trigger_words: Vec<String>,

    /// An answer that is posted in the channel: a text in which `{title}`, `{urgency}` (`default`
    /// where the message names none), `{channel}`, `{user}` and `{trigger}` are filled in; `{{` and
    /// `}}` are braces. It must not begin with a trigger word, or it would raise the next alert;
    /// where what is filled in makes it begin with one, nothing is posted. What is filled in notifies
    /// nobody: mentions in it are shown without effect. Mentions in the template work, `@{user}` too.
    pub reply: Option<String>,
}

/// What to do with the posts of bots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    /// A bot's post counts only when a trigger word selected it. A webhook on every message of a
    /// channel would otherwise feed on the answers that are posted there.
    #[default]
    Auto,
    /// They count like those of people.
    Accept,
    /// They never count.
    Ignore,
}
