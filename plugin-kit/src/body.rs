//! Format of a request's body, by method and content type.
//!
//! Bodies themselves are read in [`crate::json`] and [`crate::form`]. This module does not check
//! the size of a body: the host limits it.

use tocsin_plugin_api::{Refusal, Request};

/// Format of a body, as the request announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// No content type, or an empty one. Many senders leave out the content type, so take the
    /// format that the sender documents.
    Unspecified,
    /// Any other content type.
    Other,
}

impl Format {
    /// Reads the content type of a POST request. Case and parameters such as `; charset=utf-8` make
    /// no difference.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] if the method is not POST.
    pub fn of(request: &Request<'_>) -> Result<Self, Refusal> {
        if request.method() != "POST" {
            return Err(Refusal::malformed("the method is not POST"));
        }
        let media_type = request.media_type();
        Ok(if media_type.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::Form
        } else if media_type.is_empty() && has_no_content_type(request) {
            Self::Unspecified
        } else {
            Self::Other
        })
    }
}

/// Returns whether the header is absent or has only white space and parameters. `media_type` is
/// also empty for a header that is not ASCII, although such a header names a type.
fn has_no_content_type(request: &Request<'_>) -> bool {
    request.header("content-type").is_none_or(<[u8]>::is_ascii)
}

/// Returns a body as text.
///
/// # Errors
///
/// [`Refusal::Malformed`] if the body is not UTF-8.
pub fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(body).map_err(|_| Refusal::malformed("the body is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(content_type: &[u8]) -> Format {
        let request = Request::post(b"").with_header("Content-Type", content_type);
        Format::of(&request).expect("a POST")
    }

    #[test]
    fn case_and_parameters_of_the_content_type_make_no_difference() {
        for json in ["application/json", "APPLICATION/JSON; charset=utf-8"] {
            assert_eq!(format(json.as_bytes()), Format::Json, "{json}");
        }
        for form in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
        ] {
            assert_eq!(format(form.as_bytes()), Format::Form, "{form}");
        }
    }

    #[test]
    fn an_absent_or_empty_content_type_is_unspecified() {
        assert_eq!(Format::of(&Request::post(b"")), Ok(Format::Unspecified));
        for empty in ["", " ", ";", "; charset=utf-8"] {
            assert_eq!(format(empty.as_bytes()), Format::Unspecified, "{empty:?}");
        }
    }

    #[test]
    fn any_other_content_type_is_other() {
        let others: [&[u8]; 5] =
            [b"text/plain", b"multipart/form-data", b"application/jsonx", b"json", b"\xff"];
        for other in others {
            assert_eq!(format(other), Format::Other, "{other:?}");
        }
    }

    #[test]
    fn only_post_is_accepted() {
        for method in ["GET", "PUT", "post"] {
            let refusal = Refusal::malformed("the method is not POST");
            assert_eq!(Format::of(&Request::new(method, "", &[], b"")), Err(refusal), "{method}");
        }
    }

    #[test]
    fn a_body_that_is_not_utf8_is_refused() {
        assert_eq!(utf8("é".as_bytes()), Ok("é"));
        assert_eq!(utf8(b"\xff"), Err(Refusal::malformed("the body is not UTF-8")));
    }
}
