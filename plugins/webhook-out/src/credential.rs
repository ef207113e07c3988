//! Value of the header `Authorization`.

use base64::prelude::{BASE64_STANDARD, Engine};
use tocsin_plugin_api::{OptionsError, Secret};

use crate::{options::BasicAuth, request_headers::is_value};

/// Value of the header `Authorization`.
pub(crate) struct Credential(Secret);

impl Credential {
    /// Takes the options `bearer` and `basic`.
    ///
    /// # Errors
    ///
    /// If both are set, or one of them cannot be sent.
    pub(crate) fn new(
        bearer: Option<Secret>,
        basic: Option<BasicAuth>,
    ) -> Result<Option<Self>, OptionsError> {
        match (bearer, basic) {
            (None, None) => Ok(None),
            (Some(token), None) => Self::bearer(&token).map(Some),
            (None, Some(account)) => Self::basic(&account).map(Some),
            (Some(_), Some(_)) => {
                let message = "contradicts `bearer`\nhint: remove one of the two";
                Err(OptionsError::at("basic", message))
            }
        }
    }

    fn bearer(token: &Secret) -> Result<Self, OptionsError> {
        if !is_value(token.expose()) || token.expose().contains(' ') {
            let message = "has a character that a token in a header cannot have\n\
                           hint: remove white space at its ends and line ends";
            return Err(OptionsError::at("bearer", message));
        }
        Ok(Self(Secret::new(format!("Bearer {}", token.expose()))))
    }

    fn basic(BasicAuth { username, password }: &BasicAuth) -> Result<Self, OptionsError> {
        if username.contains(':') {
            let message = "contains a colon, which RFC 7617 does not allow in a user name\n\
                           hint: choose another user name";
            return Err(OptionsError::at("basic.username", message));
        }
        let account = Secret::new(format!("{username}:{}", password.expose()));
        Ok(Self(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(account.expose())))))
    }

    /// Returns the value of the header.
    pub(crate) fn header(&self) -> &str {
        self.0.expose()
    }
}
