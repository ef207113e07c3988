//! Sender of alerts to the API of an Alertmanager: one `POST` to `/api/v2/alerts` for each piece of news.
//!
//! Alertmanager recognizes an alert by its labels, so that a repeated request changes nothing.

use base64::prelude::{BASE64_STANDARD, Engine};
use tocsin_plugin_api::{
    OptionsError, Secret, Secrets,
    notification::Notification,
    step::{Description, HttpAnswer, HttpRequest, Step},
};
use tocsin_plugin_kit::{endpoint::Endpoint, verdict};

use crate::{
    options::{BasicAuth, Options},
    sent_alert,
};

/// Path of the API below the base address.
const PATH: &str = "/api/v2/alerts";

/// Name of the only request of an attempt.
const REQUEST: &str = "post";

/// Sender of alerts to one Alertmanager.
pub(crate) struct Sender {
    base: String,
    url: String,
    /// Value of the header `Authorization`.
    authorization: Option<Secret>,
}

impl Sender {
    /// Takes the option `url` and the credentials among the other options.
    ///
    /// # Errors
    ///
    /// If the address is not one, if there is more than one credential, or if an option is set that only
    /// an integration has.
    pub(crate) fn new(url: &str, options: Options) -> Result<Self, OptionsError> {
        let endpoint = Endpoint::parse(url).map_err(|fault| OptionsError::at("url", fault))?;
        if endpoint.has_query() {
            let message = "has a query\nhint: give the base address, such as \
                           `http://alertmanager:9093`";
            return Err(OptionsError::at("url", message));
        }
        let base = endpoint.url().trim_end_matches('/');
        if base.ends_with(PATH) {
            let message = "ends with the path of the API, which is added\n\
                           hint: give the base address, such as `http://alertmanager:9093`";
            return Err(OptionsError::at("url", message));
        }
        refuse_options_of_integrations(&options)?;
        Ok(Self {
            base: endpoint.base().to_owned(),
            url: format!("{base}{PATH}"),
            authorization: authorization(options.bearer_token, options.basic_auth)?,
        })
    }

    /// Describes the sender.
    pub(crate) fn describe(&self) -> Description {
        Description::new([self.base.clone()])
    }

    /// Returns the next step of an attempt.
    pub(crate) fn next(&self, news: &Notification, answers: &[HttpAnswer]) -> Step {
        if let Some(answer) = answers.last() {
            return verdict::by_status(answer.status);
        }
        let Some(alerts) = sent_alert::body(news) else {
            let reason = "this version of the plugin does not know the subject of the news";
            return Step::rejected(reason);
        };
        let mut request = HttpRequest::post_json(REQUEST, &self.url, &alerts);
        if let Some(authorization) = &self.authorization {
            request = request.secret_header("authorization", authorization.expose());
        }
        Step::send(request)
    }
}

fn refuse_options_of_integrations(options: &Options) -> Result<(), OptionsError> {
    let default = Options::default();
    let set = [
        ("unauthenticated", options.unauthenticated),
        ("title_annotations", options.title_annotations != default.title_annotations),
        (
            "description_annotations",
            options.description_annotations != default.description_annotations,
        ),
        ("severity_label", options.severity_label != default.severity_label),
        ("urgencies", !options.urgencies.is_empty()),
        ("reopen", options.reopen != default.reopen),
        ("key_prefix", options.key_prefix.is_some()),
    ];
    match set.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((key, _)) => Err(OptionsError::at(
            *key,
            "an option of integrations, and `url` makes this a destination\n\
             hint: remove it, or remove `url` if this is an integration",
        )),
    }
}

/// Returns the value of the header `Authorization`, if there is a credential.
fn authorization(
    tokens: Option<Secrets>,
    account: Option<BasicAuth>,
) -> Result<Option<Secret>, OptionsError> {
    match (tokens, account) {
        (None, None) => Ok(None),
        (Some(tokens), None) => {
            let token = only("bearer_token", &tokens)?;
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let message = "has a character that a token in a header cannot have\n\
                               hint: remove white space and line ends";
                return Err(OptionsError::at("bearer_token", message));
            }
            Ok(Some(Secret::new(format!("Bearer {token}"))))
        }
        (None, Some(BasicAuth { username, password })) => {
            if username.contains(':') {
                let message = "contains a colon, which RFC 7617 does not allow in a user name\n\
                               hint: choose another user name";
                return Err(OptionsError::at("basic_auth.username", message));
            }
            let password = only("basic_auth.password", &password)?;
            let account = Secret::new(format!("{username}:{password}"));
            Ok(Some(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(account.expose())))))
        }
        (Some(_), Some(_)) => {
            let message = "contradicts `bearer_token`: a destination sends one credential\n\
                           hint: remove one of the two";
            Err(OptionsError::at("basic_auth", message))
        }
    }
}

/// Returns the only secret of a list.
fn only<'s>(key: &str, secrets: &'s Secrets) -> Result<&'s str, OptionsError> {
    let mut all = secrets.iter();
    match (all.next(), all.next()) {
        (Some(secret), None) => Ok(secret.expose()),
        _ => {
            let message = "is a list, and a destination sends one credential\n\
                           hint: give the one that Alertmanager accepts";
            Err(OptionsError::at(key, message))
        }
    }
}
