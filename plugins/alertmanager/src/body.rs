//! From a request to the JSON in its body.
//!
//! It does not know what the JSON means, and sets no limit of its own to its size: the host has
//! one.

use serde_json::value::RawValue;
use tocsin_plugin_api::{Refusal, Request};

/// The JSON that was posted.
///
/// # Errors
///
/// [`Refusal::Malformed`] where there is none. The reason never quotes the body.
pub(crate) fn json<'a>(request: &Request<'a>) -> Result<&'a RawValue, Refusal> {
    if request.method() != "POST" {
        return Err(Refusal::malformed("only POST is understood"));
    }
    if !is_json(request) {
        return Err(Refusal::unsupported_media_type("not `application/json`"));
    }
    let text = std::str::from_utf8(request.body())
        .map_err(|_| Refusal::malformed("the body is not UTF-8"))?;
    // Of an error in the syntax, serde tells the kind and the place.
    serde_json::from_str(text)
        .map_err(|error| Refusal::malformed(format!("the body is not JSON: {error}")))
}

/// Whether the body is JSON, which it also is where nothing else is said. A type that is not even
/// text says something else.
fn is_json(request: &Request<'_>) -> bool {
    match request.media_type() {
        "" => request.header("content-type").is_none_or(<[u8]>::is_ascii),
        named => named.eq_ignore_ascii_case("application/json"),
    }
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::error::Malformed;

    use super::*;

    fn read(request: &Request<'_>) -> Result<String, (Malformed, String)> {
        match json(request) {
            Ok(raw) => Ok(raw.get().to_owned()),
            Err(Refusal::Malformed { kind, reason }) => Err((kind, reason)),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn typed(content_type: &[u8]) -> Result<String, Malformed> {
        let request = Request::post(b" {} ").with_header("Content-Type", content_type);
        read(&request).map_err(|(kind, _)| kind)
    }

    #[test]
    fn json_is_json_whatever_its_spelling_or_parameters() {
        for content_type in ["application/json", "APPLICATION/JSON; charset=utf-8", "", " ", ";"] {
            assert_eq!(typed(content_type.as_bytes()).as_deref(), Ok("{}"), "{content_type}");
        }
        assert_eq!(read(&Request::post(b"{}")).as_deref(), Ok("{}"));
    }

    #[test]
    fn any_other_type_is_not_understood() {
        let others: [&[u8]; 5] = [
            b"text/plain",
            b"application/x-www-form-urlencoded",
            b"application/jsonx",
            b"json",
            b"\xff",
        ];
        for content_type in others {
            assert_eq!(typed(content_type), Err(Malformed::UnsupportedMediaType));
        }
    }

    #[test]
    fn only_post_is_understood() {
        let (kind, _) = read(&Request::new("PUT", "", &[], b"{}")).expect_err("no POST");
        assert_eq!(kind, Malformed::BadRequest);
    }

    #[test]
    fn what_is_no_json_is_told_by_its_place_and_not_quoted() {
        let error = |body: &[u8]| read(&Request::post(body)).expect_err("no JSON").1;
        assert_eq!(error(b"\"\xff\""), "the body is not UTF-8");
        assert_eq!(
            error(br#"{"a": s3cret}"#),
            "the body is not JSON: expected value at line 1 column 7"
        );
        for broken in ["", "{", "{}{}", "{} s3cret", r#"{"s3cret":1,}"#, "\u{FEFF}{}", "s3cret"] {
            let error = error(broken.as_bytes());
            assert!(error.starts_with("the body is not JSON: "), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
