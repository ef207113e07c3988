//! The check `contacts`: a notifier contacts only servers that its description names, so that a host can
//! warn about a network that its configuration forbids before the first delivery.

use std::collections::BTreeSet;

use http::Uri;
use tocsin_plugin_api::step::{Description, Step};

use super::{attempts::attempted, context::CheckContext, verdict::Verdict};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let baseline = context.baseline();
    let (mut servers, mut faults) = (BTreeSet::new(), Vec::new());
    for attempt in attempted(baseline) {
        // The check `steps` reports what cannot be read.
        let description = serde_json::from_value(attempt.description.clone()).unwrap_or_default();
        let Description { contacts, kinds, .. } = description;
        let named: BTreeSet<_> = contacts.iter().filter_map(|url| server(url)).collect();
        if let Some(wrong) = contacts.iter().find(|url| server(url).is_none()) {
            faults.push(format!("names `{wrong:.100}` as a contact, which is no URL of a server"));
        }
        if kinds.is_empty() {
            faults.push("says that it can send no kind of news".into());
        }
        for request in attempt.steps().filter_map(|step| match step {
            Ok(Step::Send { request }) => Some(request),
            _ => None,
        }) {
            match server(&request.url) {
                Some(server) if !named.contains(&server) => faults.push(format!(
                    "contacts `{server}`, which its description does not name, {}",
                    attempt.message.occupation()
                )),
                server => servers.extend(server),
            }
        }
    }
    faults.sort();
    faults.dedup();
    if faults.is_empty() && servers.is_empty() {
        return Verdict::skipped("no attempt sent a request");
    }
    let servers: Vec<_> = servers.into_iter().collect();
    Verdict::of_faults(&faults, format!("only `{}`", servers.join("`, `")))
}

/// Returns scheme, host and port of a URL, with the usual port left out.
fn server(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let (scheme, host) = (url.scheme_str()?, url.host()?.to_ascii_lowercase());
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    Some(match url.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let same = ["https://Example.com/a?b", "https://example.com", "https://example.com:443/"];
        for url in same {
            assert_eq!(server(url).as_deref(), Some("https://example.com"), "{url}");
        }
        assert_eq!(server("http://[::1]:8080/x").as_deref(), Some("http://[::1]:8080"));
        for url in ["example.com", "ftp://example.com", "/x", ""] {
            assert_eq!(server(url), None, "{url}");
        }
    }
}
