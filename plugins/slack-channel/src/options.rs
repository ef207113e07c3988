//! Options table that an operator writes under `[destinations.NAME.options]`, and the checks of its values.

use schemars::JsonSchema;
use serde::Deserialize;
use tocsin_plugin_api::{OptionsError, Secret, Urgency};

use crate::{
    address::Address, incoming_webhook::IncomingWebhook, mentions::Mentions, web_api::WebApi,
};

/// Options of one destination.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// URL of an incoming webhook of Slack, Mattermost or another server that accepts messages in
    /// Slack's format. The webhook decides the channel. Set either `webhook_url`, or `token` and
    /// `channel`.
    pub webhook_url: Option<Secret>,

    /// Bot token of a Slack app, which begins with `xoxb-`. The app needs the scope `chat:write`. With
    /// `channels:history` (`groups:history` for a private channel), the plugin looks for a message
    /// before it sends the message again.
    pub token: Option<Secret>,

    /// Id of the channel for `token`, such as `C0123456789`. Slack shows the id at the end of the
    /// channel's details. The app has to be a member of the channel.
    pub channel: Option<String>,

    /// People and groups that a new alert mentions: ids of users (`U0123456789`) and of user groups
    /// (`S0123456789`), and `here`, `channel` or `everyone`. Texts of an alert never mention anyone.
    #[serde(default)]
    pub mentions: Vec<String>,

    /// Lowest urgency of an alert that mentions them.
    #[serde(default = "lowest_urgency")]
    pub mention_urgency: Urgency,

    /// Format of the messages for `webhook_url`. If left out, messages are blocks, or an attachment if
    /// the path of the URL has a part `hooks`, as the URLs of Mattermost and Rocket.Chat have.
    pub layout: Option<Layout>,

    /// Base URL of the Web API for `token`, for servers that are compatible with Slack. If left out,
    /// `https://slack.com/api`.
    pub api_url: Option<String>,
}

/// Format of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Block Kit inside an attachment, for Slack.
    Blocks,
    /// Attachment with title, text and fields, for servers that do not show blocks, such as Mattermost.
    Attachment,
}

fn lowest_urgency() -> Urgency {
    Urgency::Low
}

/// Way to the channel, with checked [`Options`].
pub(crate) enum Way {
    Webhook(IncomingWebhook),
    WebApi(WebApi),
}

impl Way {
    /// Checks the [`Options`].
    ///
    /// # Errors
    ///
    /// If a value is invalid, or the options name no way or two.
    pub(crate) fn new(options: Options) -> Result<Self, OptionsError> {
        let mentions = Mentions::new(&options.mentions, options.mention_urgency)?;
        match (options.webhook_url, options.token) {
            (Some(url), None) => {
                refuse("channel", options.channel.is_some(), "the webhook decides the channel")?;
                refuse("api_url", options.api_url.is_some(), "it is for `token`")?;
                let url = Address::webhook(&url)?;
                Ok(Self::Webhook(IncomingWebhook::new(url, options.layout, mentions)))
            }
            (None, Some(token)) => {
                let hint = "messages for `token` are always blocks";
                refuse("layout", options.layout.is_some(), hint)?;
                let api = Address::api(options.api_url.as_deref())?;
                check_token(&token)?;
                let channel = channel(options.channel, options.api_url.is_some())?;
                Ok(Self::WebApi(WebApi::new(api, token, channel, mentions)))
            }
            (Some(_), Some(_)) => Err(OptionsError::at(
                "webhook_url",
                "`token` is set as well\nhint: remove `webhook_url` to update messages and to reply in \
                 threads, or remove `token`",
            )),
            (None, None) => Err(OptionsError::at(
                "webhook_url",
                "missing, and so is `token`\nhint: set `webhook_url` to the URL of an incoming webhook, or \
                 `token` and `channel`",
            )),
        }
    }

    /// Returns the base URL of the server that the way contacts.
    pub(crate) fn contact(&self) -> &str {
        match self {
            Self::Webhook(webhook) => webhook.contact(),
            Self::WebApi(api) => api.contact(),
        }
    }
}

fn refuse(key: &str, is_set: bool, reason: &str) -> Result<(), OptionsError> {
    if is_set {
        return Err(OptionsError::at(key, format!("has no use here: {reason}\nhint: remove it")));
    }
    Ok(())
}

/// Checks that a token can be sent in a header, and is of a kind that may post.
fn check_token(token: &Secret) -> Result<(), OptionsError> {
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "has a character that no token has, such as a space or a line break";
        return Err(OptionsError::at("token", message));
    }
    if token.expose().starts_with("xapp-") {
        return Err(OptionsError::at(
            "token",
            "an app-level token (`xapp-`), which cannot post messages\nhint: use the bot token (`xoxb-`) \
             from `OAuth & Permissions` in the settings of the app",
        ));
    }
    Ok(())
}

/// Checks the id of a channel. Only Slack's own ids have a form that is known, so the `api_url` of
/// another server allows more.
fn channel(channel: Option<String>, other_server: bool) -> Result<String, OptionsError> {
    let hint = "hint: set it to the channel's id, such as `C0123456789`; Slack shows the id at the end of \
                the channel's details";
    let error = |reason: &str| Err(OptionsError::at("channel", format!("{reason}\n{hint}")));
    let Some(channel) = channel else { return error("missing: `token` needs a channel") };
    let has_form_of_id =
        channel.len() > 1 && channel.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_of_slack = channel.starts_with(['C', 'G', 'D', 'U', 'W'])
        && !channel.contains(|character: char| character.is_ascii_lowercase());
    if !has_form_of_id || !(is_of_slack || other_server) {
        return error("not the id of a channel");
    }
    Ok(channel)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn way(options: Value) -> Result<Way, String> {
        let options: Options =
            serde_json::from_value(options).map_err(|error| error.to_string())?;
        Way::new(options).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn assert_refused(options: Value, reason: &str) {
        let error = way(options).err().expect("refused");
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn accepts_a_webhook_or_a_token_with_a_channel() {
        let webhook = way(json!({"webhook_url": "https://hooks.slack.com/services/T1/B1/x"}));
        assert_eq!(webhook.expect("valid").contact(), "https://hooks.slack.com");
        let token = way(json!({"token": "xoxb-1", "channel": "C0123456789"})).expect("valid");
        assert_eq!(token.contact(), "https://slack.com");
        let other = json!({"token": "x", "channel": "ops1", "api_url": "http://[::1]:8065/api/"});
        assert_eq!(way(other).expect("valid").contact(), "http://[::1]:8065");
    }

    #[test]
    fn refuses_no_way_and_two_ways() {
        assert_refused(json!({}), "`webhook_url`: missing, and so is `token`");
        let both = json!({"webhook_url": "https://x/services/y", "token": "t", "channel": "C1"});
        assert_refused(both, "`token` is set as well");
    }

    #[test]
    fn refuses_options_of_the_other_way() {
        let url = "https://hooks.slack.com/services/T1/B1/x";
        assert_refused(json!({"webhook_url": url, "channel": "C1"}), "`channel`: has no use here");
        assert_refused(
            json!({"webhook_url": url, "api_url": "https://x"}),
            "`api_url`: has no use",
        );
        let layout = json!({"token": "x", "channel": "C1", "layout": "blocks"});
        assert_refused(layout, "`layout`: has no use here");
    }

    #[test]
    fn refuses_names_of_channels() {
        for name in ["#ops", "ops", "C1 ", "", "c0123", "C"] {
            assert_refused(json!({"token": "x", "channel": name}), "`channel`: not the id");
        }
        assert_refused(json!({"token": "x"}), "`channel`: missing");
    }

    #[test]
    fn refuses_tokens_that_cannot_post_and_does_not_repeat_them() {
        assert_refused(json!({"token": "xapp-1", "channel": "C1"}), "app-level token");
        for token in ["a b", "s3cr3t\n", "é"] {
            let error = way(json!({"token": token, "channel": "C1"})).err().expect("refused");
            assert!(error.starts_with("`token`: has a character"), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
