//! Answers in gzip, though every request asks for none.

use std::io::{ErrorKind, Read as _};

use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use super::{KEPT_BODY, OutboundAnswer};

/// Replaces a body in gzip by its text, at most [`KEPT_BODY`] bytes. Other encodings stay as they are.
///
/// # Errors
///
/// The body is not valid gzip.
pub(super) fn decode(answer: &mut OutboundAnswer) -> Result<(), String> {
    let encoding = answer.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    let is_gzip = encoding.is_some_and(|encoding| {
        encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip")
    });
    if !is_gzip || answer.body.is_empty() {
        return Ok(());
    }
    let mut decoded = Vec::new();
    // A byte more than is kept, to notice that there is more.
    let mut decoder = MultiGzDecoder::new(&*answer.body).take(KEPT_BODY as u64 + 1);
    match decoder.read_to_end(&mut decoded) {
        Err(error) if !(answer.truncated && error.kind() == ErrorKind::UnexpectedEof) => {
            return Err(format!("the answer's body is not valid gzip: {error}"));
        }
        _ => {}
    }
    answer.truncated |= decoded.len() > KEPT_BODY;
    decoded.truncate(KEPT_BODY);
    answer.body = decoded.into();
    answer.headers.remove(CONTENT_ENCODING);
    answer.headers.remove(CONTENT_LENGTH);
    Ok(())
}
