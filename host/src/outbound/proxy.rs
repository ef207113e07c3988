//! An HTTP proxy in front of all receivers.
//!
//! The address of the proxy is not judged: who configures a proxy trusts it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{socket::SocketStream, target::Target};
use crate::problem::Problem;

/// Most bytes of a proxy's answer to `CONNECT`.
const ANSWER: usize = 16 << 10;

/// An HTTP proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) target: Target,
    /// Value of `proxy-authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`.
    ///
    /// # Errors
    ///
    /// The text is no such URL. The message does not repeat the text, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |reason: &str| {
            Problem::new("proxy", format!("cannot use the proxy: {reason}"))
                .with_hint("write `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`")
        };
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("its URL has no scheme"))?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong("only proxies with `http://` are supported"));
        }
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let uri: Uri =
            format!("http://{rest}").parse().map_err(|_| wrong("its URL is not valid"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("its URL has a path"));
        }
        let target = Target::of(&uri).map_err(|problem| wrong(&problem.message))?;
        let authorization = user.map(basic);
        Ok(Self { target, authorization })
    }

    /// Asks the proxy for a tunnel to a receiver.
    ///
    /// # Errors
    ///
    /// The proxy refuses, or its answer cannot be read. Nothing was sent to the receiver.
    pub(super) async fn tunnel(
        &self,
        stream: &mut SocketStream,
        receiver: &Target,
    ) -> Result<(), String> {
        let failed = |reason: String| format!("the proxy `{}` {reason}", self.target);
        let mut request =
            format!("CONNECT {receiver} HTTP/1.1\r\nhost: {receiver}\r\n").into_bytes();
        if let Some(value) = &self.authorization {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let cut = |error| failed(format!("cut the connection: {error}"));
        stream.write_all(&request).await.map_err(cut)?;
        let mut answer = Vec::new();
        // Byte by byte: the bytes behind the head belong to the receiver.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER {
                return Err(failed("sent an endless answer to `CONNECT`".into()));
            }
            answer.push(stream.read_u8().await.map_err(cut)?);
        }
        let line = String::from_utf8_lossy(&answer);
        let mut words = line.split_whitespace();
        let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        match words.next().and_then(|status| status.parse::<u16>().ok()) {
            Some(200..300) if is_http => Ok(()),
            Some(status) if is_http => Err(failed(format!("answered {status} to `CONNECT`"))),
            _ => Err(failed("does not answer in HTTP".into())),
        }
    }
}

/// Hides the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.target)
    }
}

fn basic(user: &str) -> HeaderValue {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_decode_str(name).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
