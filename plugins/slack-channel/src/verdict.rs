//! Verdict of an answer.
//!
//! The Web API answers nearly everything with the status 200, and says `"ok": false` and the name of an error
//! in the body. An incoming webhook answers with a status and the name of an error as text.

use serde_json::{Map, Value};
use tocsin_plugin_api::step::{HttpAnswer, Step};

use crate::{
    errors::{self, Failure, Meaning},
    exchange::End,
};

/// Longest name of an error that a reason repeats.
const NAME_LIMIT: usize = 80;

/// Refusal of a request, with its [`Failure`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    /// Reason for operators.
    reason: String,
    advice: Option<String>,
    after_seconds: Option<u64>,
}

/// Reads the answer of the Web API.
pub(crate) fn web_api(answer: &HttpAnswer) -> Result<Value, Refused> {
    let body = serde_json::from_str::<Map<String, Value>>(&answer.body).ok();
    let ok = body.as_ref().and_then(|body| body.get("ok")?.as_bool());
    let error = body.as_ref().and_then(|body| name(body.get("error")?.as_str()?));
    if let Some(error) = error.filter(|_| ok != Some(true)) {
        let needed = body.as_ref().and_then(|body| name(body.get("needed")?.as_str()?));
        return Err(Refused::of_error(answer, error, needed));
    }
    if !answer.is_success() {
        return Err(Refused::of_status(answer));
    }
    body.filter(|_| ok == Some(true)).map(Value::Object).ok_or_else(|| {
        let reason = "the answer is not one of Slack's Web API";
        Refused::new(Failure::InDoubt, reason, answer).advised("check `api_url`")
    })
}

/// Reads the answer of an incoming webhook.
pub(crate) fn webhook(answer: &HttpAnswer) -> Result<(), Refused> {
    let text = answer.body.trim();
    let body = serde_json::from_str::<Map<String, Value>>(text).ok();
    let field = |key: &str| body.as_ref().and_then(|body| body.get(key));
    let error = match &body {
        Some(_) => field("error").or(field("id")).and_then(Value::as_str).and_then(name),
        None => name(text),
    };
    if answer.is_success() {
        let says_yes = [
            ("ok", Value::Bool(true)),
            ("success", Value::Bool(true)),
            ("result", "success".into()),
        ];
        let delivered = text.is_empty()
            || text.eq_ignore_ascii_case("ok")
            || says_yes.iter().any(|(key, value)| field(key) == Some(value));
        if delivered {
            return Ok(());
        }
    }
    match error.filter(|error| errors::meaning(error).is_some()) {
        Some(error) => Err(Refused::of_error(answer, error, None)),
        None if answer.is_success() => {
            let reason = "the answer is not the `ok` of an incoming webhook";
            Err(Refused::new(Failure::InDoubt, reason, answer).advised("check `webhook_url`"))
        }
        None => Err(Refused::of_status(answer)),
    }
}

impl Refused {
    fn new(failure: Failure, reason: impl Into<String>, answer: &HttpAnswer) -> Self {
        let after_seconds =
            answer.header("retry-after").and_then(|value| value.trim().parse().ok());
        Self { failure, reason: reason.into(), advice: None, after_seconds }
    }

    fn advised(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    fn of_error(answer: &HttpAnswer, error: &str, needed_scope: Option<&str>) -> Self {
        let reason = format!("the server answered `{error}`");
        let known = errors::meaning(error);
        // An unknown error of an overloaded server is as harmless as a known one.
        let Some(Meaning { failure, advice }) = known else {
            let by_status = Self::of_status(answer);
            let failure = if answer.is_success() { Failure::Later } else { by_status.failure };
            return Self::new(failure, reason, answer);
        };
        let refused = Self::new(failure, reason, answer);
        match (needed_scope.filter(|_| error == "missing_scope"), advice) {
            (Some(scope), _) => refused
                .advised(format!("add the scope `{scope}` to the app, and install the app again")),
            (None, Some(advice)) => refused.advised(advice),
            (None, None) => refused,
        }
    }

    fn of_status(answer: &HttpAnswer) -> Self {
        let status = answer.status;
        let (failure, advice) = match status {
            300..=399 => (Failure::Broken, Some("the server sends elsewhere: check the URL")),
            401 | 403 => (Failure::Broken, Some("check the credentials and the URL")),
            404 | 405 | 410 => (Failure::Broken, Some("check the URL")),
            408 | 425 | 429 => (Failure::Later, None),
            400..=499 => (Failure::TooRich, None),
            _ => (Failure::Later, None),
        };
        let refused =
            Self::new(failure, format!("the server answered with status {status}"), answer);
        match advice {
            Some(advice) => refused.advised(advice),
            None => refused,
        }
    }

    /// Returns the verdict, if there is no other way to try.
    pub(crate) fn verdict(self) -> End {
        let Self { failure, mut reason, advice, after_seconds } = self;
        if let Some(advice) = advice {
            reason = format!("{reason}: {advice}");
        }
        Box::new(match failure {
            Failure::Later => Step::Retry { reason, after_seconds, in_doubt: false },
            Failure::InDoubt => Step::Retry { reason, after_seconds, in_doubt: true },
            Failure::Broken => Step::destination_broken(reason),
            Failure::Gone | Failure::NoThread | Failure::TooRich | Failure::BadMetadata => {
                Step::rejected(reason)
            }
        })
    }
}

/// Returns the name of an error or a scope, if a text is one. Other texts of a server are not repeated.
fn name(text: &str) -> Option<&str> {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'-' | b',');
    (!text.is_empty() && text.len() <= NAME_LIMIT && text.bytes().all(is_part)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16, body: &str) -> Result<Value, Failure> {
        let answer = HttpAnswer::new("post", status).with_body(body);
        web_api(&answer).map_err(|refused| refused.failure)
    }

    fn hook(status: u16, body: &str) -> Result<(), Failure> {
        let answer = HttpAnswer::new("post", status).with_body(body);
        webhook(&answer).map_err(|refused| refused.failure)
    }

    #[test]
    fn the_body_of_the_web_api_counts_more_than_its_status() {
        assert!(api(200, r#"{"ok": true, "ts": "1"}"#).is_ok());
        assert_eq!(api(200, r#"{"ok": false, "error": "is_archived"}"#), Err(Failure::Broken));
        assert_eq!(api(500, r#"{"ok": false, "error": "fatal_error"}"#), Err(Failure::InDoubt));
        assert_eq!(api(503, r#"{"ok": true}"#), Err(Failure::Later));
        assert_eq!(api(200, r#"{"ok": false, "error": "new_error"}"#), Err(Failure::Later));
        assert_eq!(api(200, r#"{"ok": false}"#), Err(Failure::InDoubt));
        assert_eq!(api(200, "<html>sign in</html>"), Err(Failure::InDoubt));
    }

    #[test]
    fn each_status_without_a_known_body_has_a_verdict() {
        for (status, failure) in [
            (301, Failure::Broken),
            (400, Failure::TooRich),
            (401, Failure::Broken),
            (403, Failure::Broken),
            (404, Failure::Broken),
            (408, Failure::Later),
            (410, Failure::Broken),
            (413, Failure::TooRich),
            (429, Failure::Later),
            (500, Failure::Later),
            (502, Failure::Later),
            (503, Failure::Later),
            (599, Failure::Later),
        ] {
            assert_eq!(api(status, ""), Err(failure), "{status}");
            assert_eq!(hook(status, "sorry"), Err(failure), "{status}");
        }
    }

    #[test]
    fn a_webhook_says_ok_in_the_words_of_its_server() {
        for body in [
            "ok",
            "ok\n",
            "OK",
            "",
            r#"{"ok":true}"#,
            r#"{"success":true}"#,
            r#"{"result":"success"}"#,
        ] {
            assert_eq!(hook(200, body), Ok(()), "{body}");
        }
        assert_eq!(hook(204, ""), Ok(()));
        assert_eq!(hook(200, "<html>sign in</html>"), Err(Failure::InDoubt));
        assert_eq!(hook(200, r#"{"ok":false,"error":"invalid_auth"}"#), Err(Failure::Broken));
        assert_eq!(hook(200, "no_service"), Err(Failure::Broken));
    }

    #[test]
    fn a_webhook_names_its_error_as_text_or_json() {
        for (status, body, failure) in [
            (400, "invalid_payload", Failure::TooRich),
            (400, "user_not_found", Failure::Broken),
            (400, "invalid_blocks", Failure::TooRich),
            (403, "action_prohibited", Failure::Broken),
            (403, "invalid_token", Failure::Broken),
            (404, "no_service", Failure::Broken),
            (404, "channel_not_found", Failure::Broken),
            (410, "channel_is_archived", Failure::Broken),
            (500, "rollup_error", Failure::Later),
            (400, r#"{"id":"web.incoming_webhook.invalid.app_error"}"#, Failure::Broken),
            (501, r#"{"id":"web.incoming_webhook.disabled.app_error"}"#, Failure::Broken),
        ] {
            assert_eq!(hook(status, body), Err(failure), "{body}");
        }
    }

    #[test]
    fn a_retry_waits_as_long_as_the_server_says() {
        let answer = HttpAnswer::new("post", 429).with_header("Retry-After", "30");
        let step = web_api(&answer).expect_err("refused").verdict();
        let reason = "the server answered with status 429".to_owned();
        assert_eq!(*step, Step::Retry { reason, after_seconds: Some(30), in_doubt: false });
    }

    #[test]
    fn reasons_say_what_to_do_and_repeat_no_other_text() {
        let body = r#"{"ok":false,"error":"missing_scope","needed":"channels:history"}"#;
        let answer = HttpAnswer::new("post", 200).with_body(body);
        let Step::DestinationBroken { reason } = *web_api(&answer).expect_err("refused").verdict()
        else {
            panic!("broken")
        };
        assert_eq!(
            reason,
            "the server answered `missing_scope`: add the scope `channels:history` to the app, and install \
             the app again"
        );
        let answer = HttpAnswer::new("post", 403).with_body("your secret k3y\u{1b}[2J");
        assert!(!format!("{:?}", webhook(&answer)).contains("k3y"));
    }
}
