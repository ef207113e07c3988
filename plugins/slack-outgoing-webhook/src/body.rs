//! From a request to the fields in its body.
//!
//! Query and other headers are never looked at: proxies log them, so a token has no place there.

use tocsin_plugin_api::{Refusal, Request};

use crate::{fields::Fields, form, json};

/// What a message may weigh. Slack cuts one at 40,000 characters, the others at less by default.
pub(crate) const LIMIT_BYTES: usize = 1024 * 1024;

/// Reads the fields of a posted form or JSON object.
///
/// # Errors
///
/// [`Refusal::Malformed`] where the request is none.
pub(crate) fn read<'a>(request: &Request<'a>) -> Result<Fields<'a>, Refusal> {
    if request.method() != "POST" {
        return Err(Refusal::malformed("only POST is understood"));
    }
    let form = is_form(request);
    if !form && !request.media_type().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::unsupported_media_type(
            "neither `application/x-www-form-urlencoded` nor `application/json`",
        ));
    }
    let body = request.body();
    if body.len() > LIMIT_BYTES {
        return Err(Refusal::too_large("a message has at most 1 MiB"));
    }
    if form { Ok(form::read(body)) } else { json::read(body) }
}

/// Whether the body is a form, which it also is where nothing else is said. A type that is not even
/// text says something else.
fn is_form(request: &Request<'_>) -> bool {
    match request.media_type() {
        "" => request.header("content-type").is_none_or(<[u8]>::is_ascii),
        named => named.eq_ignore_ascii_case("application/x-www-form-urlencoded"),
    }
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::error::Malformed;

    use super::*;
    use crate::fields::Field;

    fn text(request: &Request<'_>) -> Result<Option<String>, Malformed> {
        match read(request) {
            Ok(fields) => Ok(fields.get(Field::Text).map(str::to_owned)),
            Err(Refusal::Malformed { kind, .. }) => Err(kind),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn typed(content_type: &[u8], body: &[u8]) -> Result<Option<String>, Malformed> {
        text(&Request::post(body).with_header("Content-Type", content_type))
    }

    #[test]
    fn a_form_is_a_form_whatever_its_spelling_or_parameters() {
        for content_type in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
            "",
            " ",
            "; charset=utf-8",
        ] {
            assert_eq!(typed(content_type.as_bytes(), b"text=a"), Ok(Some("a".into())));
        }
        assert_eq!(text(&Request::post(b"text=a")), Ok(Some("a".into())));
    }

    #[test]
    fn json_is_json_whatever_its_spelling_or_parameters() {
        for content_type in ["application/json", "APPLICATION/JSON;charset=utf-8"] {
            assert_eq!(typed(content_type.as_bytes(), br#"{"text":"a"}"#), Ok(Some("a".into())));
        }
    }

    #[test]
    fn any_other_type_is_not_understood() {
        let others: [&[u8]; 5] =
            [b"text/plain", b"multipart/form-data", b"application/jsonx", b"json", b"\xff"];
        for content_type in others {
            assert_eq!(typed(content_type, b"text=a"), Err(Malformed::UnsupportedMediaType));
        }
    }

    #[test]
    fn only_post_is_understood() {
        let get = Request::new("GET", "text=a", &[], b"text=a");
        assert_eq!(text(&get), Err(Malformed::BadRequest));
    }

    #[test]
    fn a_body_over_the_limit_is_not_read() {
        let mut body = b"text=".to_vec();
        body.resize(LIMIT_BYTES, b'a');
        assert!(text(&Request::post(&body)).is_ok());
        body.push(b'a');
        assert_eq!(text(&Request::post(&body)), Err(Malformed::TooLarge));
    }
}
