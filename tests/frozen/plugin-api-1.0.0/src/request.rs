//! What arrives: one HTTP request, borrowed from the host for the time of a call.
//!
//! It carries no clock, no address and no path: a plugin judges what was sent, nothing else.

use std::borrow::Cow;

pub use crate::abi::Header;

/// One HTTP request to an integration's endpoint. Everything in it is borrowed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    query: &'a str,
    headers: Cow<'a, [Header<'a>]>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request as the host received it.
    ///
    /// `method` in upper case, `query` without its question mark and not decoded (empty if there is
    /// none), the names of `headers` in lower case and in the order of their arrival.
    pub fn new(method: &'a str, query: &'a str, headers: &'a [Header<'a>], body: &'a [u8]) -> Self {
        let headers = Cow::Borrowed(headers);
        Self { method, query, headers, body }
    }

    /// A POST without query and headers, for tests.
    pub fn post(body: &'a [u8]) -> Self {
        Self::new("POST", "", &[], body)
    }

    /// The same request with one header more, for tests. `name` is compared in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'a str, value: &'a [u8]) -> Self {
        self.headers.to_mut().push(Header::new(name, value));
        self
    }

    /// The method, in upper case. The host lets only `POST` through.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// What followed the question mark, not decoded; empty if there was none.
    pub fn query(&self) -> &'a str {
        self.query
    }

    /// All header lines, in the order of their arrival.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// The value of the first header of that name, compared without case. Values are bytes: HTTP
    /// does not promise UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers.iter().find(|header| header.name().eq_ignore_ascii_case(name));
        found.map(Header::value)
    }

    /// The media type of the body without parameters and surrounding white space, as it was
    /// written: compare it with [`str::eq_ignore_ascii_case`]. Empty where the header is absent,
    /// empty or not ASCII text.
    pub fn media_type(&self) -> &'a str {
        let value = self.header("content-type").unwrap_or_default();
        let text = std::str::from_utf8(value).unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim()
    }

    /// The body, whole. The host has checked its length against its own limit, nothing else.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case() {
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
