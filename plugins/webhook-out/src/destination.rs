//! Address of the endpoint, from the option `url` or `secret_url`.

use tocsin_plugin_api::{OptionsError, Secret, step::HttpRequest};
use tocsin_plugin_kit::endpoint::Endpoint;

use crate::REQUEST;

/// Address of the endpoint.
pub(crate) struct Destination {
    endpoint: Endpoint,
    is_secret: bool,
}

impl Destination {
    /// Takes the options `url` and `secret_url`.
    ///
    /// # Errors
    ///
    /// If not exactly one of them is set, or it is not a web address.
    pub(crate) fn new(
        url: Option<&str>,
        secret_url: Option<&Secret>,
    ) -> Result<Self, OptionsError> {
        let (key, url) = match (url, secret_url) {
            (Some(url), None) => ("url", url),
            (None, Some(url)) => ("secret_url", url.expose()),
            (None, None) => {
                let message = "missing\nhint: set it to the address to which the news is posted";
                return Err(OptionsError::at("url", message));
            }
            (Some(_), Some(_)) => {
                let message = "contradicts `url`\nhint: remove one of the two";
                return Err(OptionsError::at("secret_url", message));
            }
        };
        let endpoint = Endpoint::parse(url).map_err(|fault| OptionsError::at(key, fault))?;
        Ok(Self { endpoint, is_secret: key == "secret_url" })
    }

    /// Returns scheme, host and port.
    pub(crate) fn base(&self) -> &str {
        self.endpoint.base()
    }

    /// Returns true if the query is part of a secret address.
    pub(crate) fn has_secret_query(&self) -> bool {
        self.is_secret && self.endpoint.has_query()
    }

    /// Returns a request without headers and body.
    pub(crate) fn request(&self) -> HttpRequest {
        let request = HttpRequest::new(REQUEST, "POST", self.endpoint.url());
        if !self.is_secret {
            return request;
        }
        request.secret_url(format!("{}/...", self.endpoint.base()))
    }
}
