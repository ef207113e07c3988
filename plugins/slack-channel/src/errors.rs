//! Names of errors that Slack and Mattermost answer with, and the verdict of each.
//!
//! The names are those of <https://docs.slack.dev/reference/methods/chat.postMessage>,
//! <https://docs.slack.dev/reference/methods/chat.update>, and
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>.

/// Meaning of an error for the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A later attempt may succeed.
    Later,
    /// The message may be in the channel.
    InDoubt,
    /// The message to update is gone, or cannot be changed.
    Gone,
    /// The thread is gone, or the channel has no threads.
    NoThread,
    /// The server refuses the content. It may accept a short text.
    TooRich,
    /// The server refuses the metadata.
    BadMetadata,
    /// Every message fails until an operator changes something.
    Broken,
}

/// Verdict of an error ([`Failure`]), and the advice for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) failure: Failure,
    pub(crate) advice: Option<&'static str>,
}

/// Returns the meaning of an error; `None` if the name is unknown.
pub(crate) fn meaning(error: &str) -> Option<Meaning> {
    let (_, failure, advice) = TABLE.iter().find(|(name, ..)| *name == error)?;
    Some(Meaning { failure: *failure, advice: Some(*advice).filter(|advice| !advice.is_empty()) })
}

use Failure::{BadMetadata, Broken, Gone, InDoubt, Later, NoThread, TooRich};

const NEW_TOKEN: &str = "install the app again and set the new bot token";
const ARCHIVED: &str = "unarchive the channel, or set another one";
const RESTRICTED: &str =
    "the workspace does not let the app post in this channel: ask an admin of Slack";
const NEW_WEBHOOK: &str = "create a new incoming webhook and set its URL";
const INVITE: &str = "invite the app into the channel: `/invite @name-of-the-app`";

const TABLE: &[(&str, Failure, &str)] = &[
    ("ratelimited", Later, ""),
    ("rate_limited", Later, ""),
    ("service_unavailable", Later, ""),
    ("request_timeout", Later, ""),
    ("message_limit_exceeded", Later, ""),
    ("team_added_to_org", Later, ""),
    ("org_login_required", Later, ""),
    ("external_channel_migrating", Later, ""),
    ("update_failed", Later, ""),
    ("rollup_error", Later, ""),
    ("internal_error", InDoubt, ""),
    ("fatal_error", InDoubt, ""),
    ("message_not_found", Gone, ""),
    ("cant_update_message", Gone, ""),
    ("edit_window_closed", Gone, ""),
    ("is_inactive", Gone, ""),
    ("streaming_state_conflict", Gone, ""),
    ("block_mismatch", Gone, ""),
    ("thread_not_found", NoThread, ""),
    ("cannot_reply_to_message", NoThread, ""),
    ("restricted_action_non_threadable_channel", NoThread, ""),
    ("invalid_blocks", TooRich, ""),
    ("invalid_blocks_format", TooRich, ""),
    ("invalid_attachments", TooRich, ""),
    ("too_many_attachments", TooRich, ""),
    ("attachment_payload_limit_exceeded", TooRich, ""),
    ("msg_blocks_too_long", TooRich, ""),
    ("msg_too_long", TooRich, ""),
    ("invalid_arguments", TooRich, ""),
    ("invalid_payload", TooRich, ""),
    ("no_text", TooRich, ""),
    ("missing_text_or_fallback_or_attachments", TooRich, ""),
    ("invalid_metadata_format", BadMetadata, ""),
    ("invalid_metadata_schema", BadMetadata, ""),
    ("metadata_too_large", BadMetadata, ""),
    ("metadata_must_be_sent_from_app", BadMetadata, ""),
    ("not_authed", Broken, NEW_TOKEN),
    ("invalid_auth", Broken, NEW_TOKEN),
    ("account_inactive", Broken, NEW_TOKEN),
    ("token_revoked", Broken, NEW_TOKEN),
    ("token_expired", Broken, NEW_TOKEN),
    ("not_allowed_token_type", Broken, "set a bot token (`xoxb-`)"),
    ("missing_scope", Broken, "add the scope `chat:write` to the app, and install the app again"),
    ("no_permission", Broken, INVITE),
    ("access_denied", Broken, ""),
    ("accesslimited", Broken, ""),
    ("ekm_access_denied", Broken, ""),
    ("enterprise_is_restricted", Broken, ""),
    ("team_access_not_granted", Broken, ""),
    ("team_not_found", Broken, ""),
    ("two_factor_setup_required", Broken, ""),
    ("deprecated_endpoint", Broken, ""),
    ("method_deprecated", Broken, ""),
    ("unknown_method", Broken, "check `api_url`"),
    ("as_user_not_supported", Broken, ""),
    ("channel_not_found", Broken, "check the channel's id; invite the app into a private channel"),
    ("not_in_channel", Broken, INVITE),
    ("is_archived", Broken, ARCHIVED),
    ("channel_is_archived", Broken, ARCHIVED),
    ("messages_tab_disabled", Broken, ""),
    ("restricted_action", Broken, RESTRICTED),
    ("restricted_action_read_only_channel", Broken, RESTRICTED),
    ("restricted_action_thread_only_channel", Broken, RESTRICTED),
    ("posting_to_general_channel_denied", Broken, RESTRICTED),
    ("action_prohibited", Broken, RESTRICTED),
    ("invalid_token", Broken, NEW_WEBHOOK),
    ("no_active_hooks", Broken, NEW_WEBHOOK),
    ("no_service", Broken, NEW_WEBHOOK),
    ("no_service_id", Broken, NEW_WEBHOOK),
    ("no_team", Broken, NEW_WEBHOOK),
    ("team_disabled", Broken, ""),
    ("user_not_found", Broken, NEW_WEBHOOK),
    // Errors of Mattermost, see `server/channels/web/webhook.go` of its repository.
    ("web.incoming_webhook.parse.app_error", TooRich, ""),
    ("web.incoming_webhook.text.app_error", TooRich, ""),
    ("web.incoming_webhook.invalid.app_error", Broken, NEW_WEBHOOK),
    ("web.incoming_webhook.disabled.app_error", Broken, "enable incoming webhooks in the server"),
    ("web.incoming_webhook.channel.app_error", Broken, NEW_WEBHOOK),
    ("web.incoming_webhook.channel_locked.app_error", Broken, NEW_WEBHOOK),
    ("web.incoming_webhook.permissions.app_error", Broken, RESTRICTED),
    ("web.incoming_webhook.user.app_error", Broken, NEW_WEBHOOK),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_in_the_table_once() {
        let names: BTreeSet<_> = TABLE.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert_eq!(meaning("ok"), None);
    }

    #[track_caller]
    fn assert_all(failure: Failure, names: &str) {
        for name in names.split_whitespace() {
            assert_eq!(meaning(name).map(|meaning| meaning.failure), Some(failure), "{name}");
        }
    }

    #[test]
    fn every_error_has_the_verdict_that_was_decided() {
        assert_all(
            Later,
            "ratelimited rate_limited service_unavailable request_timeout rollup_error",
        );
        assert_all(InDoubt, "internal_error fatal_error");
        assert_all(Gone, "message_not_found cant_update_message edit_window_closed is_inactive");
        assert_all(
            TooRich,
            "invalid_blocks invalid_blocks_format invalid_attachments msg_blocks_too_long msg_too_long \
             too_many_attachments invalid_payload no_text",
        );
        assert_all(
            Broken,
            "not_authed invalid_auth account_inactive token_revoked token_expired missing_scope \
             no_permission not_allowed_token_type ekm_access_denied channel_not_found not_in_channel \
             is_archived channel_is_archived restricted_action action_prohibited invalid_token no_service \
             no_team no_active_hooks user_not_found posting_to_general_channel_denied",
        );
        assert_all(NoThread, "thread_not_found restricted_action_non_threadable_channel");
        assert_all(BadMetadata, "metadata_too_large metadata_must_be_sent_from_app");
    }
}
