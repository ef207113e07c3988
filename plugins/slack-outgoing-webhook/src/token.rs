//! Who may send: the token in the body is one of those configured.
//!
//! It looks at nothing but the token, so that whoever does not have it learns nothing by trying.

use tocsin_plugin_api::{OptionsError, Refusal, Secrets};

use crate::fields::{Field, Fields, Value};

/// Who may send.
pub(crate) enum Senders {
    /// Whoever reaches the endpoint: the operator has said so.
    Anyone,
    /// Whoever shows one of these tokens.
    Holders(Secrets),
}

impl Senders {
    /// From the options `token` and `unauthenticated`, of which exactly one has to be set.
    pub(crate) fn new(token: Option<Secrets>, unauthenticated: bool) -> Result<Self, OptionsError> {
        match (token, unauthenticated) {
            (Some(tokens), false) => Ok(Self::Holders(tokens)),
            (None, true) => Ok(Self::Anyone),
            (None, false) => Err(OptionsError::at(
                "token",
                "missing, so anyone could raise alerts\n\
                 hint: set it to the token that the sender shows for this webhook, or set \
                 `unauthenticated = true` if anyone may",
            )),
            (Some(_), true) => Err(OptionsError::at(
                "unauthenticated",
                "contradicts `token`, which would never be looked at\n\
                 hint: remove one of the two",
            )),
        }
    }

    /// Compares every byte of the token with every one configured, in constant time.
    pub(crate) fn admit(&self, fields: &Fields<'_>) -> Result<(), Refusal> {
        let Self::Holders(tokens) = self else { return Ok(()) };
        if tokens.match_any(shown_token(fields).map_err(Refusal::unauthorized)?) {
            return Ok(());
        }
        Err(Refusal::unauthorized("`token` is not one of those configured"))
    }
}

fn shown_token<'a>(fields: &'a Fields<'_>) -> Result<&'a [u8], &'static str> {
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

    fn holders() -> Senders {
        Senders::new(tokens(&["old", "n&w é"]), false).expect("tokens are enough")
    }

    fn admit_form(body: &str) -> Result<(), Refusal> {
        holders().admit(&form::read(body.as_bytes()))
    }

    fn admit_json(body: &str) -> Result<(), Refusal> {
        holders().admit(&json::read(body.as_bytes()).expect("an object"))
    }

    #[test]
    fn any_configured_token_admits() {
        assert_eq!(admit_form("token=old"), Ok(()));
        assert_eq!(admit_form("tok%65n=n%26w+%C3%A9"), Ok(()));
        assert_eq!(admit_json(r#"{"token":"n\u0026w é"}"#), Ok(()));
    }

    #[test]
    fn a_token_that_is_only_like_one_does_not() {
        let refusal = Err(Refusal::unauthorized("`token` is not one of those configured"));
        for token in ["Old", "old+", "+old", "ol", "oldd", "old%00", "n%26w+%E9", "n%26w+e%CC%81"] {
            assert_eq!(admit_form(&format!("token={token}")), refusal, "{token}");
        }
    }

    #[test]
    fn a_replacement_character_does_not_stand_for_bad_bytes() {
        let lossy = Senders::new(tokens(&["a\u{FFFD}"]), false).expect("a token is enough");
        assert!(lossy.admit(&form::read(b"token=a%FF")).is_err());
        assert_eq!(lossy.admit(&form::read("token=a\u{FFFD}".as_bytes())), Ok(()));
    }

    #[test]
    fn a_token_with_a_lone_surrogate_equals_no_other() {
        for configured in ["a\u{FFFD}", "a", "a\u{FFFD}\u{FFFD}\u{FFFD}", "a\\ud83d", "a\u{FF}"] {
            let senders = Senders::new(tokens(&[configured]), false).expect("a token is enough");
            for sent in [r"a\ud83d", r"a\udd25", r"a\ud83d\ud83d\ud83d"] {
                let body = format!(r#"{{"token":"{sent}"}}"#);
                let fields = json::read(body.as_bytes()).expect("an object");
                let refusal = Refusal::unauthorized("`token` is not one of those configured");
                assert_eq!(senders.admit(&fields), Err(refusal), "{configured} {sent}");
            }
        }
        let fire = Senders::new(tokens(&["a🔥\u{FFFD}"]), false).expect("a token is enough");
        let whole = json::read(br#"{"token":"a\ud83d\udd25\ufffd"}"#).expect("an object");
        assert_eq!(fire.admit(&whole), Ok(()));
    }

    #[test]
    fn a_token_has_to_be_shown_once_and_as_a_string() {
        let refused = |why: &str| Err(Refusal::unauthorized(why));
        assert_eq!(admit_form("text=a"), refused("`token` is missing"));
        assert_eq!(admit_form("token"), refused("`token` is empty"));
        assert_eq!(admit_form("token=old&token=old"), refused("`token` is repeated"));
        assert_eq!(admit_json("{}"), refused("`token` is missing"));
        assert_eq!(admit_json(r#"{"token":null}"#), refused("`token` is missing"));
        assert_eq!(admit_json(r#"{"token":""}"#), refused("`token` is empty"));
        assert_eq!(admit_json(r#"{"token":"old","token":"old"}"#), refused("`token` is repeated"));
        for other in ["1", "true", "[\"old\"]", "{\"old\":1}"] {
            let body = format!(r#"{{"token":{other}}}"#);
            assert_eq!(admit_json(&body), refused("`token` is not a string"), "{other}");
        }
    }

    #[test]
    fn without_tokens_anyone_is_admitted() {
        let anyone = Senders::new(None, true).expect("it was said");
        for body in ["", "token=", "token=a", "token=a&token=b"] {
            assert_eq!(anyone.admit(&form::read(body.as_bytes())), Ok(()));
        }
    }
}
