//! The check `steps`: every step of a notifier is one that a host accepts, and every attempt ends within
//! the allowed number of requests, whatever the server answers.
//!
//! The check `contacts` compares the servers of the requests with the description.

use http::{HeaderName, HeaderValue, Method, Uri};
use tocsin_plugin_api::step::{Description, HttpRequest, LARGEST_STATE_BYTES, MOST_REQUESTS, Step};

use super::{
    attempts::{Attempted, attempted},
    context::CheckContext,
    verdict::Verdict,
};

/// Headers that the host sets.
const HEADERS_OF_HOST: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "user-agent"];

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let baseline = context.baseline();
    let mut faults: Vec<String> = Vec::new();
    let mut count = 0;
    for attempt in attempted(baseline) {
        count += 1;
        if let Err(fault) = judge(&attempt) {
            faults.push(format!("{fault}, {}", attempt.message.occupation()));
        }
    }
    match count {
        0 => Verdict::skipped("no attempt gave a step"),
        _ => Verdict::of_faults(
            &faults,
            format!("{count} attempts, each with {MOST_REQUESTS} requests or fewer"),
        ),
    }
}

fn judge(attempt: &Attempted<'_>) -> Result<(), String> {
    serde_json::from_value::<Description>(attempt.description.clone())
        .map_err(|error| format!("describes itself in a way that no host can read: {error}"))?;
    let mut requests = 0;
    for step in attempt.steps() {
        let step = step.map_err(|why| format!("gives a step that a host refuses: {why}"))?;
        match step {
            Step::Send { request } => {
                requests += 1;
                if requests > MOST_REQUESTS {
                    return Err(format!("sends more than {MOST_REQUESTS} requests in one attempt"));
                }
                sendable(&request).map_err(|why| {
                    format!("gives the request `{}`, which cannot be sent: {why}", request.name)
                })?;
            }
            Step::Delivered { state: Some(state) } => {
                let bytes = state.to_string().len();
                if bytes > LARGEST_STATE_BYTES {
                    return Err(format!(
                        "keeps a state of {bytes} bytes, at most {LARGEST_STATE_BYTES} are allowed"
                    ));
                }
            }
            Step::Retry { reason, .. }
            | Step::Rejected { reason }
            | Step::DestinationBroken { reason }
                if reason.trim().is_empty() =>
            {
                return Err("gives a verdict without a reason".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the reason why no host can send a request, if there is one.
fn sendable(request: &HttpRequest) -> Result<(), String> {
    if request.name.is_empty() {
        return Err("it has no name".into());
    }
    Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("its method is `{}`", request.method.escape_debug()))?;
    let unusable = |why: &str| format!("its URL {why}");
    let url: Uri =
        request.url.parse().map_err(|error| unusable(&format!("is invalid: {error}")))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(unusable("begins with neither `https://` nor `http://`"));
    }
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            return Err(unusable("has a user name in it; hint: send a header `authorization`"));
        }
        Some(_) => {}
        None => return Err(unusable("names no host")),
    }
    for header in &request.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| format!("a header has the name `{}`", header.name.escape_debug()))?;
        if HEADERS_OF_HOST.contains(&name.as_str()) {
            return Err(format!("the header `{name}` is the host's"));
        }
        HeaderValue::from_str(&header.value)
            .map_err(|_| format!("the value of the header `{name}` is no text of a header"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_a_request_cannot_be_sent() {
        let request = || HttpRequest::new("post", "POST", "https://example.com/hook?a=b");
        assert_eq!(sendable(&request()), Ok(()));
        let refusal = |request: &HttpRequest| sendable(request).expect_err("it cannot be sent");
        let url = |url: &str| refusal(&HttpRequest::new("post", "POST", url));
        insta::assert_snapshot!(url("/hook"), @"its URL begins with neither `https://` nor `http://`");
        insta::assert_snapshot!(url("ftp://example.com"), @"its URL begins with neither `https://` nor `http://`");
        insta::assert_snapshot!(url("https://example.com/a b"), @"its URL is invalid: invalid uri character");
        insta::assert_snapshot!(url("https://me:pass@example.com"), @"its URL has a user name in it; hint: send a header `authorization`");
        insta::assert_snapshot!(refusal(&request().header("x y", "1")), @"a header has the name `x y`");
        insta::assert_snapshot!(refusal(&request().header("x", "a\nb")), @"the value of the header `x` is no text of a header");
        insta::assert_snapshot!(refusal(&request().header("Host", "other")), @"the header `host` is the host's");
        insta::assert_snapshot!(refusal(&HttpRequest::new("", "POST", "https://x")), @"it has no name");
        insta::assert_snapshot!(refusal(&HttpRequest::new("post", "", "https://x")), @"its method is ``");
    }
}
