//! Requests and answers of an attempt: as a notifier has them, as they are sent, and as they are recorded.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use tocsin_plugin_api::step::{HttpAnswer, HttpRequest};

use crate::{
    delivery::AttemptRequest,
    outbound::{OutboundAnswer, OutboundRequest},
    printable::one_line,
    redaction::Redactor,
};

/// Largest body of a request.
const LARGEST_BODY_BYTES: usize = 1024 * 1024;
/// Most bytes of an answer in a record.
const RECORDED_BYTES: usize = 1024;
/// Fewest bytes of a part of a URL that is blanked. A shorter part would be found everywhere.
const SHORTEST_SECRET_BYTES: usize = 8;
/// Most bytes of a name, a method or a URL in a record.
const LONGEST_WORD_BYTES: usize = 2048;

/// The secrets of a destination and of one of its requests.
pub(super) struct Secrets<'a> {
    of_destination: &'a Redactor,
    of_request: Redactor,
}

impl<'a> Secrets<'a> {
    /// Returns the secrets of a request: the values of headers that are marked as secret, and the URL if
    /// another text is to be shown in its place.
    pub(super) fn of(request: &HttpRequest, of_destination: &'a Redactor) -> Self {
        let marked = request.headers.iter().filter(|header| header.secret);
        let mut secrets = Vec::new();
        for header in marked {
            secrets.push(header.value.clone());
            // A server may repeat the token without the word before it, such as `Bearer`.
            secrets.extend(header.value.split_once(' ').map(|(_, token)| token.to_owned()));
        }
        if let Some(shown) = &request.shown_url {
            secrets.push(request.url.clone());
            // A part that the notifier shows is no secret.
            secrets.extend(parts_of_url(&request.url).filter(|part| !shown.contains(part)));
        }
        Self { of_destination, of_request: Redactor::new(&secrets) }
    }

    /// Returns a text without the secrets.
    pub(super) fn remove(&self, text: &str) -> String {
        self.of_request.text(&self.of_destination.text(text))
    }

    /// Returns bytes without the secrets.
    pub(super) fn remove_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.of_request.bytes(&self.of_destination.bytes(bytes))
    }
}

/// Returns the parts of a URL that may be secret: the path and the query, together and alone, and what is
/// in them. Each part is given as it stands in the URL, and as a server decodes it.
fn parts_of_url(url: &str) -> impl Iterator<Item = String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?']).map_or("", |start| &rest[start..]);
    let target = target.split('#').next().unwrap_or_default().trim_start_matches('/');
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let parts = [target, path, query].into_iter().chain(path.split('/')).chain(values);
    parts
        .flat_map(|part| {
            [part.to_owned(), percent_decode_str(part).decode_utf8_lossy().into_owned()]
        })
        .filter(|part| part.len() >= SHORTEST_SECRET_BYTES)
}

/// Returns a notifier's request as it is sent.
///
/// # Errors
///
/// A sentence if the request is invalid or too large.
pub(super) fn outbound(request: &HttpRequest) -> Result<OutboundRequest, String> {
    if request.body.len() > LARGEST_BODY_BYTES {
        return Err(format!(
            "its body has {} bytes, more than {LARGEST_BODY_BYTES}",
            request.body.len()
        ));
    }
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| wrong("method", &request.method))?;
    let uri: Uri = request.url.parse().map_err(|_| wrong("URL", &request.url))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong("URL", &request.url));
    }
    let mut headers = HeaderMap::new();
    for header in &request.headers {
        let name: HeaderName = header.name.parse().map_err(|_| wrong("header", &header.name))?;
        // The value may be a secret.
        let mut value: HeaderValue = header
            .value
            .parse()
            .map_err(|_| format!("the value of its header `{name}` is not valid"))?;
        value.set_sensitive(header.secret);
        headers.append(name, value);
    }
    Ok(OutboundRequest { method, uri, headers, body: Bytes::from(request.body.clone()) })
}

fn wrong(what: &str, value: &dyn fmt::Display) -> String {
    format!("its {what} `{}` is not valid", shortened(&value.to_string()))
}

/// Returns an answer as a notifier sees it.
pub(super) fn answer(request: &HttpRequest, answer: &OutboundAnswer) -> HttpAnswer {
    let body = String::from_utf8_lossy(&answer.body);
    let seen = HttpAnswer::new(&*request.name, answer.status.as_u16()).with_body(body);
    answer.headers.iter().fold(seen, |seen, (name, value)| {
        seen.with_header(name.as_str(), String::from_utf8_lossy(value.as_bytes()))
    })
}

/// Returns the record of a request that has no answer yet.
pub(super) fn record(
    request: &HttpRequest,
    secrets: &Secrets<'_>,
    took: Duration,
) -> AttemptRequest {
    let url = request.shown_url.as_ref().unwrap_or(&request.url);
    let shown = |text: &str| shortened(&one_line(&secrets.remove(text)));
    AttemptRequest {
        name: shown(&request.name),
        method: shown(&request.method),
        url: shown(url),
        status: None,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        answer: String::new(),
    }
}

/// Returns the beginning of an answer's body without secrets.
///
/// Secrets are removed before the body is cut, so that no part of one is left at the end.
pub(super) fn beginning(body: &[u8], secrets: &Secrets<'_>) -> String {
    let clean = secrets.remove_bytes(body);
    let mut text = String::from_utf8_lossy(&clean).into_owned();
    text.truncate(text.floor_char_boundary(RECORDED_BYTES));
    text
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_WORD_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn request() -> HttpRequest {
        HttpRequest::new("post", "POST", "https://hooks.example/T0/secretpath/x")
    }

    fn none() -> Redactor {
        Redactor::new(&[])
    }

    #[test]
    fn sends_what_the_notifier_wants() {
        let request = request().header("X-One", "1").secret_header("x-two", "2").body("hello");
        let sent = outbound(&request).expect("it is valid");
        assert_eq!((sent.method.as_str(), &sent.body[..]), ("POST", &b"hello"[..]));
        assert_eq!(sent.uri, "https://hooks.example/T0/secretpath/x");
        assert_eq!(sent.headers["x-one"], "1");
        assert!(sent.headers["x-two"].is_sensitive() && !sent.headers["x-one"].is_sensitive());
    }

    #[test]
    fn refuses_requests_that_cannot_be_sent() {
        let of = |request: HttpRequest| outbound(&request).expect_err("it is invalid");
        let at = |url: &str| of(HttpRequest::new("post", "POST", url));
        assert_eq!(at("ftp://x/y"), "its URL `ftp://x/y` is not valid");
        assert_eq!(at("/y"), "its URL `/y` is not valid");
        assert_eq!(at("https://x/ y"), "its URL `https://x/ y` is not valid");
        let spaced = HttpRequest::new("post", "P OST", "https://x/");
        assert_eq!(of(spaced), "its method `P OST` is not valid");
        assert_eq!(of(request().header("a b", "c")), "its header `a b` is not valid");
        let split = request().header("a", "c\r\nd: e");
        assert_eq!(of(split), "the value of its header `a` is not valid");
        let large = request().body("x".repeat(LARGEST_BODY_BYTES + 1));
        assert_eq!(of(large), "its body has 1048577 bytes, more than 1048576");
    }

    #[test]
    fn an_answer_is_recorded_without_secrets_and_cut() {
        let options = Redactor::new(&["option-secret".to_owned()]);
        let request = request()
            .secret_url("https://hooks.example/...")
            .secret_header("authorization", "Bearer token-1");
        let secrets = Secrets::of(&request, &options);
        let body = "option-secret token-1 T0/secretpath/x https://hooks.example/T0/secretpath/x";
        assert_eq!(beginning(body.as_bytes(), &secrets), "[blanked] [blanked] [blanked] [blanked]");
        let long = format!("{}option-secret", "é".repeat(508));
        let recorded = beginning(long.as_bytes(), &secrets);
        assert_eq!(recorded, format!("{}[blanke", "é".repeat(508)).replace("[blanke", "[blanked"));
        assert_eq!(beginning("é".repeat(2000).as_bytes(), &secrets).len(), RECORDED_BYTES);
        let record = record(&request, &secrets, Duration::from_millis(7));
        assert_eq!(record.url, "https://hooks.example/...");
        assert_eq!((record.name.as_str(), record.took_ms), ("post", 7));
    }

    #[test]
    fn every_part_of_a_secret_url_is_blanked() {
        let options = none();
        let clean = |url: &str, shown: &str, text: &str| {
            let request = HttpRequest::new("post", "POST", url).secret_url(shown);
            Secrets::of(&request, &options).remove(text)
        };
        let (url, shown) = ("https://x.example/services/T0/secret%2Fpath?a=1&token=12345678", "x");
        for (text, expected) in [
            ("at services/T0/secret%2Fpath", "at [blanked]"),
            ("at /T0/secret%2Fpath", "at /T0/[blanked]"),
            ("at secret/path", "at [blanked]"),
            ("with a=1&token=12345678", "with [blanked]"),
            ("with a=1 and 12345678", "with a=1 and [blanked]"),
            ("to x.example", "to x.example"),
        ] {
            assert_eq!(clean(url, shown, text), expected);
        }
        assert_eq!(clean("https://x?token=12345678", "https://x", "no 12345678"), "no [blanked]");
        // The notifier shows the beginning of the path.
        assert_eq!(clean(url, "https://x.example/services/...", "services"), "services");
    }

    #[test]
    fn a_url_that_is_shown_has_no_secret_option_in_it() {
        let options = Redactor::new(&["secretpath".to_owned()]);
        let secrets = Secrets::of(&request(), &options);
        let record = record(&request(), &secrets, Duration::ZERO);
        assert_eq!(record.url, "https://hooks.example/T0/[blanked]/x");
    }

    #[test]
    fn a_notifier_sees_status_headers_and_body() {
        let headers = [("retry-after", "7")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let came = OutboundAnswer {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: headers.into_iter().collect(),
            body: Bytes::from_static(b"slow\xffdown"),
            truncated: false,
        };
        let seen = answer(&request(), &came);
        assert_eq!((seen.status, seen.header("Retry-After")), (429, Some("7")));
        assert_eq!((seen.request.as_str(), seen.body.as_str()), ("post", "slow\u{fffd}down"));
    }
}
