//! Addresses of servers: the URL of an incoming webhook, and the base URL of the Web API.

use tocsin_plugin_api::{OptionsError, Secret};
use tocsin_plugin_kit::link::is_web_address;

const SLACK_API: &str = "https://slack.com/api";

/// Checked URL, and the part of it that may be shown.
pub(crate) struct Address {
    url: Secret,
    /// Scheme, host and port.
    base: String,
}

impl Address {
    /// Checks the option `webhook_url`.
    ///
    /// # Errors
    ///
    /// If the URL is no web address, or belongs to a workflow of Slack.
    pub(crate) fn webhook(url: &Secret) -> Result<Self, OptionsError> {
        let address = Self::new("webhook_url", url.expose())?;
        let path = address.path();
        if path.is_empty() || path == "/" {
            return Err(OptionsError::at("webhook_url", "has no path, so it is not a whole URL"));
        }
        let is_of_slack = address.base.ends_with(".slack.com");
        if is_of_slack && (path.starts_with("/workflows/") || path.starts_with("/triggers/")) {
            return Err(OptionsError::at(
                "webhook_url",
                "belongs to a workflow, which takes no messages\nhint: add an incoming webhook to the app, \
                 and use its URL (`https://hooks.slack.com/services/...`)",
            ));
        }
        Ok(address)
    }

    /// Checks the option `api_url`.
    ///
    /// # Errors
    ///
    /// If the URL is no web address, or has a query.
    pub(crate) fn api(url: Option<&str>) -> Result<Self, OptionsError> {
        let url = url.unwrap_or(SLACK_API);
        if url.contains(['?', '#']) {
            return Err(OptionsError::at("api_url", "has a query or a fragment\nhint: remove it"));
        }
        Self::new("api_url", url.trim_end_matches('/'))
    }

    fn new(key: &str, url: &str) -> Result<Self, OptionsError> {
        let authority = is_web_address(url).then(|| authority_end(url)).flatten();
        let Some(end) = authority.filter(|_| url.is_ascii()) else {
            return Err(OptionsError::at(
                key,
                "not a URL that begins with `https://` or `http://`",
            ));
        };
        if url[..end].contains('@') {
            return Err(OptionsError::at(key, "has a user name before the host\nhint: remove it"));
        }
        Ok(Self { url: Secret::new(url), base: url[..end].to_owned() })
    }

    /// Returns the whole URL.
    pub(crate) fn url(&self) -> &str {
        self.url.expose()
    }

    /// Returns scheme, host and port.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Returns the path with its query.
    pub(crate) fn path(&self) -> &str {
        &self.url()[self.base.len()..]
    }
}

/// Returns the place where the path of a URL begins.
fn authority_end(url: &str) -> Option<usize> {
    let start = url.find("://")? + 3;
    Some(url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Address::webhook(&Secret::new(url)).err().expect("refused").to_string()
    }

    #[test]
    fn the_base_has_no_secret() {
        let address = Address::webhook(&Secret::new("https://chat.example:8443/hooks/k3y?a=b"));
        let address = address.expect("valid");
        assert_eq!(address.base(), "https://chat.example:8443");
        assert_eq!(address.path(), "/hooks/k3y?a=b");
    }

    #[test]
    fn refuses_what_is_no_webhook_and_does_not_repeat_it() {
        for url in ["hooks.slack.com/services/k3y", "ftp://x/k3y", "https://x/k3y y", "https://x/é"]
        {
            assert!(error(url).contains("not a URL"), "{url}");
            assert!(!error(url).contains("k3y"), "{url}");
        }
        assert!(error("https://hooks.slack.com").contains("no path"));
        assert!(error("https://k3y:x@chat.example/hooks/a").contains("user name"));
        assert!(error("https://hooks.slack.com/triggers/T1/k3y").contains("a workflow"));
    }

    #[test]
    fn the_api_is_that_of_slack_by_default() {
        assert_eq!(Address::api(None).expect("valid").url(), "https://slack.com/api");
        let other = Address::api(Some("http://127.0.0.1:1/api/")).expect("valid");
        assert_eq!(other.url(), "http://127.0.0.1:1/api");
        assert!(Address::api(Some("https://x/api?token=a")).is_err());
    }
}
