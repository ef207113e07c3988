//! Secrets, blanked in what is shown of a request.
//!
//! What is stored is as it came: a replay has to verify it again.

use std::{fmt::Write, sync::Arc, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine};
use memchr::memmem::Finder;

use crate::{
    host::Host,
    integration::{Integration, IntegrationState},
    plugins::{Libraries, schema},
    timeout::run_with_timeout,
};

/// What stands where a secret was.
pub const REDACTED: &str = "[blanked]";

/// These carry secrets, whoever's they are.
const SECRET_HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// How long a plugin may take to say which of its options are secrets.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an integration knows that must not be shown.
pub struct Redactor {
    /// In each form in which it may have been sent, the longest first.
    forms: Vec<Vec<u8>>,
}

impl Redactor {
    /// Knows the secrets of an integration: those of its options that its plugin says are some, or
    /// all of them where it does not say.
    pub async fn of(integration: &Arc<Integration>, host: &Arc<Host>) -> Self {
        if integration.secrets.get().is_none() {
            let (integration, host) = (Arc::clone(integration), Arc::clone(host));
            // Its plugin is asked, which may take as long as it likes.
            let found = move || {
                secrets_of(&integration, &host.libraries);
            };
            // Where that thread dies, everything is taken for a secret.
            let _ = tokio::task::spawn_blocking(found).await;
        }
        let all = || schema::strings(&integration.options());
        Self::new(&integration.secrets.get().cloned().unwrap_or_else(all))
    }

    fn new(secrets: &[String]) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        let mut forms: Vec<_> = secrets.flat_map(|secret| forms(secret)).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// The same text without secrets.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// The same bytes without secrets.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for form in &self.forms {
            let finder = Finder::new(form);
            let (mut blanked, mut end) = (Vec::new(), 0);
            for start in finder.find_iter(&bytes) {
                blanked.extend_from_slice(&bytes[end..start]);
                blanked.extend_from_slice(REDACTED.as_bytes());
                end = start + form.len();
            }
            if end > 0 {
                blanked.extend_from_slice(&bytes[end..]);
                bytes = blanked;
            }
        }
        bytes
    }

    /// The value of a header without secrets.
    pub fn header(&self, name: &str, value: &[u8]) -> String {
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return REDACTED.into();
        }
        String::from_utf8_lossy(&self.bytes(value)).into_owned()
    }
}

/// The secrets among the options of an integration. Its plugin is asked once, and may take some seconds.
pub(crate) fn secrets_of<'i>(integration: &'i Integration, libraries: &Libraries) -> &'i [String] {
    integration.secrets.get_or_init(|| secrets(integration, libraries))
}

fn secrets(integration: &Integration, libraries: &Libraries) -> Vec<String> {
    let options = integration.options();
    let schema = match &integration.state {
        IntegrationState::Serving { plugin, .. } => {
            libraries.known(plugin).and_then(Result::ok).and_then(|plugin| {
                let thread = std::thread::Builder::new().name("plugin-schema".into());
                let asked = run_with_timeout(PATIENCE, thread, Vec::new(), move || {
                    plugin.module.options_schema().ok()
                });
                serde_json::from_slice(&asked.ok()??).ok()
            })
        }
        IntegrationState::Disabled | IntegrationState::Broken(_) => None,
    };
    match schema {
        Some(schema) => schema::secrets(&schema, &options),
        None => schema::strings(&options),
    }
}

/// A secret as it is, and as forms, JSON and basic authentication write it.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let escaped = |space: &str, upper: bool| {
        let mut text = String::new();
        for byte in secret.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-_.*~".contains(&byte);
            // Writing to a string cannot fail.
            let _ = match byte {
                b' ' if !space.is_empty() => write!(text, "{space}"),
                byte if is_plain => write!(text, "{}", char::from(byte)),
                byte if upper => write!(text, "%{byte:02X}"),
                byte => write!(text, "%{byte:02x}"),
            };
        }
        text
    };
    let mut forms = vec![
        secret.to_owned(),
        json,
        BASE64_STANDARD.encode(secret),
        escaped("+", true),
        escaped("", true),
        escaped("+", false),
        escaped("", false),
    ];
    forms.dedup();
    forms.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_blanked_in_every_form() {
        let redactor = Redactor::new(&["a b/\"c".to_owned(), "tok".to_owned(), String::new()]);
        for (text, expected) in [
            ("x=a b/\"c&y", "x=[blanked]&y"),
            ("x=a+b%2F%22c", "x=[blanked]"),
            ("x=a%20b%2f%22c", "x=[blanked]"),
            (r#"{"x":"a b/\"c"}"#, r#"{"x":"[blanked]"}"#),
            ("Basic YSBiLyJj", "Basic [blanked]"),
            ("tok tok", "[blanked] [blanked]"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(redactor.text(text), expected);
        }
    }

    #[test]
    fn headers_that_carry_secrets_are_blanked_whoever_s_they_are() {
        let redactor = Redactor::new(&[]);
        assert_eq!(redactor.header("Authorization", b"Bearer x"), REDACTED);
        assert_eq!(redactor.header("content-type", b"text/plain"), "text/plain");
    }
}
