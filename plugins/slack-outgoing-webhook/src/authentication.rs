//! Authentication of the sender by the token in the body.
//!
//! The token is checked before any other part of the message, so a sender without a token learns
//! nothing from the answer.

use tocsin_plugin_api::{OptionsError, Refusal, Secrets};

use crate::fields::{Field, Fields, Value};

/// Authentication that the operator configured.
pub(crate) enum Authentication {
    /// Every sender is accepted (option `unauthenticated`).
    Unauthenticated,
    /// Senders with one of these tokens are accepted.
    Required(Secrets),
}

impl Authentication {
    /// Takes the options `token` and `unauthenticated`.
    ///
    /// # Errors
    ///
    /// Unless exactly one of them is set.
    pub(crate) fn new(token: Option<Secrets>, unauthenticated: bool) -> Result<Self, OptionsError> {
        match (token, unauthenticated) {
            (Some(tokens), false) => Ok(Self::Required(tokens)),
            (None, true) => Ok(Self::Unauthenticated),
            (None, false) => Err(OptionsError::at(
                "token",
                "missing, so anyone could raise alerts\n\
                 hint: set it to the token that the chat shows for this webhook, or set \
                 `unauthenticated = true` to let anyone raise alerts",
            )),
            (Some(_), true) => Err(OptionsError::at(
                "unauthenticated",
                "contradicts `token`, which would never be checked\n\
                 hint: remove one of the two",
            )),
        }
    }

    /// Accepts or refuses the sender of a message. The token is compared in constant time with all
    /// configured tokens.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthorized`] if the token is missing, repeated, empty, no string or not
    /// configured.
    pub(crate) fn check(&self, fields: &Fields<'_>) -> Result<(), Refusal> {
        let Self::Required(tokens) = self else { return Ok(()) };
        if tokens.match_any(sent_token(fields).map_err(Refusal::unauthorized)?) {
            return Ok(());
        }
        Err(Refusal::unauthorized("`token` is not one of those configured"))
    }
}

fn sent_token<'a>(fields: &'a Fields<'_>) -> Result<&'a [u8], &'static str> {
    let token = match fields.value(Field::Token) {
        Some(Value::Bytes(bytes)) => bytes.as_ref(),
        Some(Value::Text(text)) => text.as_bytes(),
        Some(Value::Repeated) => return Err("`token` is repeated"),
        None | Some(Value::Null) => return Err("`token` is missing"),
        Some(Value::Literal(_) | Value::Array | Value::Object) => {
            return Err("`token` is not a string");
        }
    };
    if token.is_empty() { Err("`token` is empty") } else { Ok(token) }
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::Secret;

    use super::*;
    use crate::{form, json};

    fn tokens(tokens: &[&str]) -> Option<Secrets> {
        Some(Secrets::new(tokens.iter().map(|token| Secret::new(*token))))
    }

    fn required() -> Authentication {
        Authentication::new(tokens(&["old", "n&w é"]), false).expect("a token is enough")
    }

    fn check_form(body: &str) -> Result<(), Refusal> {
        required().check(&form::read(body.as_bytes()))
    }

    fn check_json(body: &str) -> Result<(), Refusal> {
        required().check(&json::read(body.as_bytes()).expect("an object"))
    }

    #[test]
    fn each_configured_token_is_accepted() {
        assert_eq!(check_form("token=old"), Ok(()));
        assert_eq!(check_form("tok%65n=n%26w+%C3%A9"), Ok(()));
        assert_eq!(check_json(r#"{"token":"n\u0026w é"}"#), Ok(()));
    }

    #[test]
    fn a_token_that_only_resembles_a_configured_one_is_refused() {
        let refusal = Err(Refusal::unauthorized("`token` is not one of those configured"));
        for token in ["Old", "old+", "+old", "ol", "oldd", "old%00", "n%26w+%E9", "n%26w+e%CC%81"] {
            assert_eq!(check_form(&format!("token={token}")), refusal, "{token}");
        }
    }

    #[test]
    fn bad_bytes_do_not_match_a_replacement_character() {
        let lossy = Authentication::new(tokens(&["a\u{FFFD}"]), false).expect("a token is enough");
        assert!(lossy.check(&form::read(b"token=a%FF")).is_err());
        assert_eq!(lossy.check(&form::read("token=a\u{FFFD}".as_bytes())), Ok(()));
    }

    #[test]
    fn a_token_with_a_lone_surrogate_is_refused() {
        for configured in ["a\u{FFFD}", "a", "a\u{FFFD}\u{FFFD}\u{FFFD}", "a\\ud83d", "a\u{FF}"] {
            let authentication =
                Authentication::new(tokens(&[configured]), false).expect("a token is enough");
            for sent in [r"a\ud83d", r"a\udd25", r"a\ud83d\ud83d\ud83d"] {
                let body = format!(r#"{{"token":"{sent}"}}"#);
                let fields = json::read(body.as_bytes()).expect("an object");
                let refusal = Refusal::unauthorized("`token` is not one of those configured");
                assert_eq!(authentication.check(&fields), Err(refusal), "{configured} {sent}");
            }
        }
        let fire = Authentication::new(tokens(&["a🔥\u{FFFD}"]), false).expect("a token is enough");
        let whole = json::read(br#"{"token":"a\ud83d\udd25\ufffd"}"#).expect("an object");
        assert_eq!(fire.check(&whole), Ok(()));
    }

    #[test]
    fn a_token_must_come_once_and_be_a_string() {
        let refused = |why: &str| Err(Refusal::unauthorized(why));
        assert_eq!(check_form("text=a"), refused("`token` is missing"));
        assert_eq!(check_form("token"), refused("`token` is empty"));
        assert_eq!(check_form("token=old&token=old"), refused("`token` is repeated"));
        assert_eq!(check_json("{}"), refused("`token` is missing"));
        assert_eq!(check_json(r#"{"token":null}"#), refused("`token` is missing"));
        assert_eq!(check_json(r#"{"token":""}"#), refused("`token` is empty"));
        assert_eq!(check_json(r#"{"token":"old","token":"old"}"#), refused("`token` is repeated"));
        for other in ["1", "true", "[\"old\"]", "{\"old\":1}"] {
            let body = format!(r#"{{"token":{other}}}"#);
            assert_eq!(check_json(&body), refused("`token` is not a string"), "{other}");
        }
    }

    #[test]
    fn every_sender_is_accepted_if_unauthenticated() {
        let unauthenticated = Authentication::new(None, true).expect("the option is enough");
        for body in ["", "token=", "token=a", "token=a&token=b"] {
            assert_eq!(unauthenticated.check(&form::read(body.as_bytes())), Ok(()));
        }
    }
}
