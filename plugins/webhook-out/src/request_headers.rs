//! Headers that the operator adds to every request.

use std::collections::BTreeMap;

use tocsin_plugin_api::{OptionsError, Secret, notification::HOPS_HEADER, step::HttpRequest};

/// Headers that the host or this plugin sets, each with what to do instead.
const TAKEN: [(&str, &str); 14] = [
    ("authorization", "use `bearer` or `basic`"),
    ("connection", "remove it"),
    ("content-encoding", "remove it"),
    ("content-length", "remove it"),
    ("content-type", "use `content_type`"),
    ("expect", "remove it"),
    ("host", "remove it"),
    ("te", "remove it"),
    (HOPS_HEADER, "remove it"),
    ("transfer-encoding", "remove it"),
    ("upgrade", "remove it"),
    ("webhook-id", "remove it"),
    ("webhook-signature", "use `secrets`"),
    ("webhook-timestamp", "remove it"),
];

/// Headers that the operator adds to every request.
pub(crate) struct RequestHeaders {
    shown: Vec<(String, String)>,
    secret: Vec<(String, Secret)>,
}

impl RequestHeaders {
    /// Takes the options `headers` and `secret_headers`.
    ///
    /// # Errors
    ///
    /// If a header cannot be sent, comes twice, or is set elsewhere.
    pub(crate) fn new(
        headers: &BTreeMap<String, String>,
        secret_headers: &BTreeMap<String, Secret>,
    ) -> Result<Self, OptionsError> {
        let mut names = Vec::new();
        let (mut shown, mut secret) = (Vec::new(), Vec::new());
        for (name, value) in headers {
            let name = checked("headers", name, value, &mut names)?;
            shown.push((name, value.clone()));
        }
        for (name, value) in secret_headers {
            let name = checked("secret_headers", name, value.expose(), &mut names)?;
            secret.push((name, value.clone()));
        }
        Ok(Self { shown, secret })
    }

    /// Adds the headers to a request.
    pub(crate) fn add_to(&self, mut request: HttpRequest) -> HttpRequest {
        for (name, value) in &self.shown {
            request = request.header(name, value);
        }
        for (name, value) in &self.secret {
            request = request.secret_header(name, value.expose());
        }
        request
    }
}

/// Returns true if a text can be the value of a header: visible ASCII, with blanks between.
pub(crate) fn is_value(text: &str) -> bool {
    text.trim_matches([' ', '\t']).len() == text.len()
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t')
}

/// Returns the name in lower case.
fn checked(
    table: &str,
    name: &str,
    value: &str,
    names: &mut Vec<String>,
) -> Result<String, OptionsError> {
    let refused = |message: String| Err(OptionsError::at(format!("{table}.{name}"), message));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_name) {
        let message = "has a name that no header can have\nhint: use letters, digits and `-`";
        return Err(OptionsError::at(table, message));
    }
    if let Some((_, instead)) = TAKEN.iter().find(|(taken, _)| *taken == lower) {
        return refused(format!("is a header that is set without this option\nhint: {instead}"));
    }
    if names.contains(&lower) {
        return refused("is set twice, and headers have no case\nhint: remove one of them".into());
    }
    if !is_value(value) {
        return refused(
            "has a value that no header can have\n\
             hint: use ASCII without line ends, and without a blank at either end"
                .into(),
        );
    }
    names.push(lower.clone());
    Ok(lower)
}
