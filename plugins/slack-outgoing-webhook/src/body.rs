//! [`Fields`] of a request's body.
//!
//! Of the headers, only `Content-Type` is read. The query is not read: proxies log queries and
//! headers, so a token does not belong there.

use tocsin_plugin_api::{Refusal, Request};
use tocsin_plugin_kit::body::Format;

use crate::{fields::Fields, form, json};

/// Size of the largest body. Slack cuts a message at 40,000 characters, the other products at fewer
/// by default.
pub(crate) const LIMIT_BYTES: usize = 1024 * 1024;

/// Reads the fields of a posted form or JSON object. A body without a content type is a form.
///
/// # Errors
///
/// [`Refusal::Malformed`] if the request is neither.
pub(crate) fn read<'a>(request: &Request<'a>) -> Result<Fields<'a>, Refusal> {
    let format = Format::of(request)?;
    if format == Format::Other {
        return Err(Refusal::unsupported_media_type(
            "the body is neither `application/x-www-form-urlencoded` nor `application/json`",
        ));
    }
    let body = request.body();
    if body.len() > LIMIT_BYTES {
        return Err(Refusal::too_large("the body is larger than 1 MiB"));
    }
    if format == Format::Json { json::read(body) } else { Ok(form::read(body)) }
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

    fn text_typed(content_type: &[u8], body: &[u8]) -> Result<Option<String>, Malformed> {
        text(&Request::post(body).with_header("Content-Type", content_type))
    }

    #[test]
    fn a_body_without_a_content_type_is_a_form() {
        for content_type in ["application/x-www-form-urlencoded; charset=utf-8", "", " "] {
            assert_eq!(text_typed(content_type.as_bytes(), b"text=a"), Ok(Some("a".into())));
        }
        assert_eq!(text(&Request::post(b"text=a")), Ok(Some("a".into())));
    }

    #[test]
    fn a_json_body_is_read_as_json() {
        let content_type = b"APPLICATION/JSON;charset=utf-8";
        assert_eq!(text_typed(content_type, br#"{"text":"a"}"#), Ok(Some("a".into())));
    }

    #[test]
    fn any_other_content_type_is_refused() {
        let others: [&[u8]; 3] = [b"text/plain", b"multipart/form-data", b"\xff"];
        for content_type in others {
            assert_eq!(text_typed(content_type, b"text=a"), Err(Malformed::UnsupportedMediaType));
        }
    }

    #[test]
    fn only_post_is_accepted() {
        let get = Request::new("GET", "text=a", &[], b"text=a");
        assert_eq!(text(&get), Err(Malformed::BadRequest));
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let mut body = b"text=".to_vec();
        body.resize(LIMIT_BYTES, b'a');
        assert!(text(&Request::post(&body)).is_ok());
        body.push(b'a');
        assert_eq!(text(&Request::post(&body)), Err(Malformed::TooLarge));
    }
}
