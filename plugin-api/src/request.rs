//! An HTTP request, borrowed from the host for the duration of a call.
//!
//! A plugin gets the method, the query, the headers and the body. It does not get the sender's IP address,
//! the path or the time.

use std::borrow::Cow;

pub use crate::abi::Header;

/// An HTTP request to an integration's endpoint. Method, query, headers and body are borrowed from the
/// host.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    query: &'a str,
    headers: Cow<'a, [Header<'a>]>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request as the host received it. Tests use [`post`](Self::post).
    ///
    /// `method` is in upper case. `query` has no question mark and is not decoded; it is empty if there
    /// is none. The names of `headers` are in lower case, in the order in which they arrived.
    pub fn new(method: &'a str, query: &'a str, headers: &'a [Header<'a>], body: &'a [u8]) -> Self {
        let headers = Cow::Borrowed(headers);
        Self { method, query, headers, body }
    }

    /// A POST without a query and headers, for tests.
    pub fn post(body: &'a [u8]) -> Self {
        Self::new("POST", "", &[], body)
    }

    /// Adds a header, for tests. [`header`](Self::header) finds the header by its name in upper or lower
    /// case.
    #[must_use]
    pub fn with_header(mut self, name: &'a str, value: &'a [u8]) -> Self {
        self.headers.to_mut().push(Header::new(name, value));
        self
    }

    /// Returns the method in upper case. The host accepts only `POST`.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns the text after the question mark, not decoded; empty if there was none.
    pub fn query(&self) -> &'a str {
        self.query
    }

    /// Returns all headers in the order in which they arrived.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// Returns the value of the first header with this name, in upper or lower case. A value is bytes,
    /// because HTTP does not promise UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers.iter().find(|header| header.name().eq_ignore_ascii_case(name));
        found.map(Header::value)
    }

    /// Returns the media type of the body without parameters and surrounding white space. The case is that
    /// of the sender, so compare it with [`str::eq_ignore_ascii_case`]. The media type is empty if the
    /// header is absent, empty or not UTF-8.
    pub fn media_type(&self) -> &'a str {
        let value = self.header("content-type").unwrap_or_default();
        let text = std::str::from_utf8(value).unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim()
    }

    /// Returns the whole body. The host has checked only its length.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_headers_in_upper_and_lower_case() {
        let request = Request::post(b"").with_header("X-Token", b"a").with_header("x-token", b"b");
        assert_eq!(request.header("x-TOKEN"), Some(&b"a"[..]));
        assert_eq!(request.header("x-other"), None);
    }

    #[test]
    fn the_media_type_has_no_parameters() {
        let typed = |value: &'static [u8]| Request::post(b"").with_header("Content-Type", value);
        assert_eq!(typed(b" application/json ; charset=utf-8").media_type(), "application/json");
        assert_eq!(typed(b"\xff").media_type(), "");
        assert_eq!(Request::post(b"").media_type(), "");
    }
}
