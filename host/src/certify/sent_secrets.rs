//! The part of the check `secrets` that looks at what a notifier sends: a secret of its options is only
//! where records do not show it.
//!
//! A body may hold a secret, because some servers want it there and no record shows a body. A signature
//! that was made with a secret is not looked for.

use base64::prelude::{BASE64_STANDARD, Engine};
use tocsin_plugin_api::step::{Description, HttpRequest, Step};

use super::attempts::Attempted;

/// The shortest text that is looked for: shorter ones occur by chance.
const SHORTEST: usize = 6;

/// Returns a sentence on the first secret of an attempt that a record would show.
pub(super) fn fault(attempt: &Attempted<'_>, secrets: &[String]) -> Option<String> {
    let needles: Vec<String> = secrets.iter().flat_map(|secret| needles(secret)).collect();
    let shows = |text: &str| needles.iter().any(|needle| text.contains(needle.as_str()));
    if shows(&attempt.description.to_string()) {
        return Some("shows a secret of its options in its description".into());
    }
    let description: Description =
        serde_json::from_value(attempt.description.clone()).unwrap_or_default();
    let place = attempt.steps().find_map(|step| match step.ok()? {
        Step::Send { request } => in_request(&request, description.secret_in_query, &shows),
        verdict => {
            let text = serde_json::to_string(&verdict).ok()?;
            shows(&text).then(|| "its verdict".into())
        }
    })?;
    Some(format!("shows a secret of its options in {place}, {}", attempt.message.occupation()))
}

/// Returns the place of a secret in a request that a record would show.
fn in_request(
    request: &HttpRequest,
    is_query_allowed: bool,
    shows: &dyn Fn(&str) -> bool,
) -> Option<String> {
    if shows(&request.name) {
        return Some("the name of a request".into());
    }
    if request.shown_url.as_deref().is_some_and(shows) {
        return Some("the text that it shows instead of a URL".into());
    }
    let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
    if shows(query) && !is_query_allowed {
        return Some("the query of a URL, where servers log it; hint: send it in a header".into());
    }
    if (shows(path) || shows(query)) && request.shown_url.is_none() {
        return Some("a URL; hint: set `secret_url`".into());
    }
    let mut headers = request.headers.iter();
    let header = headers.find(|header| !header.secret && shows(&header.value))?;
    Some(format!("the header `{}`; hint: use `secret_header`", header.name))
}

/// Returns the texts that give a secret away. Of a secret URL, that is all after the host.
fn needles(secret: &str) -> Vec<String> {
    let after_scheme = secret.split_once("://").map(|(_, rest)| rest);
    let secret = match after_scheme {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => secret,
    };
    let encoded = BASE64_STANDARD.encode(secret);
    let needles = [secret.to_owned(), encoded.trim_end_matches('=').to_owned()];
    needles.into_iter().filter(|_| secret.len() >= SHORTEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cret-token";

    fn place(request: &HttpRequest, is_query_allowed: bool) -> Option<String> {
        in_request(request, is_query_allowed, &|text| text.contains(SECRET))
    }

    #[test]
    fn a_secret_may_be_in_a_body_a_secret_header_and_a_secret_url() {
        let request = HttpRequest::new("post", "POST", format!("https://x/{SECRET}"))
            .secret_url("https://x/...")
            .secret_header("authorization", SECRET)
            .body(SECRET);
        assert_eq!(place(&request, false), None);
        let request = HttpRequest::new("post", "POST", format!("https://x/?key={SECRET}"))
            .secret_url("https://x/?key=...");
        assert_eq!(place(&request, true), None, "if the options allow it");
    }

    #[test]
    fn names_the_place_of_a_secret_that_a_record_would_show() {
        let url = |url: String| place(&HttpRequest::new("post", "POST", url), false);
        insta::assert_snapshot!(url(format!("https://x/{SECRET}")).expect("shown"), @"a URL; hint: set `secret_url`");
        insta::assert_snapshot!(url(format!("https://x/?key={SECRET}")).expect("shown"), @"the query of a URL, where servers log it; hint: send it in a header");
        let request = HttpRequest::new("post", "POST", "https://x/").header("x-key", SECRET);
        insta::assert_snapshot!(place(&request, false).expect("shown"), @"the header `x-key`; hint: use `secret_header`");
        let request = HttpRequest::new("post", "POST", "https://x/").secret_url(SECRET);
        insta::assert_snapshot!(place(&request, false).expect("shown"), @"the text that it shows instead of a URL");
    }

    #[test]
    fn of_a_secret_url_the_part_after_the_host_is_looked_for() {
        assert_eq!(needles("https://hooks.example.com/T1/B2/abcdef")[0], "T1/B2/abcdef");
        assert_eq!(needles("https://hooks.example.com"), Vec::<String>::new());
        assert_eq!(needles("short"), Vec::<String>::new());
    }
}
