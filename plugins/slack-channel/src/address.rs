//! Addresses of servers: the URL of an incoming webhook, and the base URL of the Web API.

use tocsin_plugin_api::{OptionsError, Secret};
use tocsin_plugin_kit::endpoint::Endpoint;

const SLACK_API: &str = "https://slack.com/api";

/// Checked [`Endpoint`]. Only its base may be shown.
pub(crate) struct Address(Endpoint);

impl Address {
    /// Checks the option `webhook_url`.
    ///
    /// # Errors
    ///
    /// If the URL is no address with a path, or belongs to a workflow of Slack.
    pub(crate) fn webhook(url: &Secret) -> Result<Self, OptionsError> {
        let address = Self::new("webhook_url", url.expose())?;
        let path = address.path();
        if path.is_empty() || path == "/" {
            return Err(OptionsError::at("webhook_url", "has no path, so it is not a whole URL"));
        }
        let is_of_slack = address.base().ends_with(".slack.com");
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
    /// If the URL is no address, or has a query.
    pub(crate) fn api(url: Option<&str>) -> Result<Self, OptionsError> {
        let address = Self::new("api_url", url.unwrap_or(SLACK_API).trim_end_matches('/'))?;
        if address.0.has_query() {
            return Err(OptionsError::at("api_url", "has a query\nhint: remove it"));
        }
        Ok(address)
    }

    fn new(key: &str, url: &str) -> Result<Self, OptionsError> {
        Ok(Self(Endpoint::parse(url).map_err(|message| OptionsError::at(key, message))?))
    }

    /// Returns the whole URL.
    pub(crate) fn url(&self) -> &str {
        self.0.url()
    }

    /// Returns scheme, host and port.
    pub(crate) fn base(&self) -> &str {
        self.0.base()
    }

    /// Returns the path with its query.
    pub(crate) fn path(&self) -> &str {
        &self.url()[self.base().len()..]
    }
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
            assert!(error(url).starts_with("`webhook_url`: "), "{url}");
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
