//! Errors of the TOML parser and of serde, each with its place in the file and a hint.
//!
//! The key chooses the hint. Text is taken apart only if it is serde's or the parser's own, which carry
//! what they expected in no other form.

use super::{ConfigError, Document, masking::without_place};
use crate::problem::suggestion;

/// Converts an error of the parser or of serde to a [`ConfigError`], without the values that it repeats.
pub(super) fn parse_error(document: &Document, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let key = document.path_at(&span);
    let masked = document.error_in(span.clone(), error.message().trim());
    if let Some(name) = missing_key(masked.message()) {
        let hint = match name {
            "plugin" => "add `plugin = \"NAME\"`; `tocsin plugins` lists the names".into(),
            name => {
                let all: Vec<_> = key.iter().cloned().chain([name.to_owned()]).collect();
                hint_for(&all).map_or_else(|| format!("add `{name} = ...`"), str::to_owned)
            }
        };
        return document.error_in(span, format!("the key `{name}` is missing")).hint(hint);
    }
    let is_about_names = masked.message().starts_with("unknown ");
    let message = masked.message().replace("unknown field", "unknown key");
    let message = message.replace("unknown variant", "unknown value");
    let error = |message: &str| document.error_in(span.clone(), message);
    let meant = suggestion(&message);
    let (message, expected) = match message.split_once(", expected ") {
        Some((message, expected)) if is_serde_or_syntax(message, &key) => (message, Some(expected)),
        _ => (&*message, None),
    };
    if let (false, Some(hint)) = (is_about_names, hint_for(&key)) {
        return error(in_own_words(message)).hint(in_quotes(hint, message));
    }
    let hint: String = match expected {
        // The plugin API has further kinds, which a configuration cannot name.
        Some(_) if is_about_names && is_events(&key) => {
            "the events are `opened`, `acknowledged`, `resolved`, `occurred` and `noted`".into()
        }
        Some(expected) => match expected.strip_prefix("one of ") {
            Some(names) => format!("the known names are {names}"),
            None => format!("write {} here", in_words(expected)),
        },
        None => "a line is `[section]` or `key = value`, with strings in quotes".into(),
    };
    error(message).hint(meant.map_or_else(|| hint.clone(), |meant| format!("{meant} {hint}")))
}

/// Returns the name of the key that a table lacks.
fn missing_key(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Replaces a message of another library that does not name the mistake.
fn in_own_words(message: &str) -> &str {
    let is_of_durations = message.contains("\"friendly\" duration format");
    if is_of_durations { "is not a duration" } else { message }
}

/// Adds to the hint for a string that it needs quotes, if the value has none.
fn in_quotes(hint: &str, message: &str) -> String {
    let has_none = message.starts_with("invalid type: ") && !message.ends_with("a string");
    let is_for_a_string = hint.starts_with("write a") && hint.contains(", such as `");
    match has_none && is_for_a_string {
        true => format!("{hint}, in quotes"),
        false => hint.into(),
    }
}

/// Returns whether the words after `, expected ` in a message are serde's or the TOML parser's. The
/// types of other keys word their own errors.
fn is_serde_or_syntax(message: &str, key: &[String]) -> bool {
    let is_serde = ["invalid type", "invalid value", "invalid length", "unknown "]
        .iter()
        .any(|start| message.starts_with(start));
    // A text that is no TOML has no keys.
    is_serde || key.is_empty()
}

fn is_events(key: &[String]) -> bool {
    matches!(key, [destinations, _, events] if destinations == "destinations" && events == "events")
}

/// Returns an everyday word for an expectation of serde or of the TOML parser.
fn in_words(expected: &str) -> &str {
    match expected {
        "usize" | "u32" | "u64" => "a whole number",
        "a boolean" => "true or false",
        // For a bare word or address, the parser tries every other type.
        "nothing" => "a string in quotes",
        "literal string" => "a string in quotes",
        "path string" => "a path in quotes",
        expected if expected.starts_with("struct ") => "a table",
        expected => expected,
    }
}

/// Returns the hint for a key whose values have a form of their own.
fn hint_for(key: &[String]) -> Option<&'static str> {
    let key: Vec<_> = key.iter().map(|part| without_place(part)).collect();
    Some(match key.as_slice() {
        ["server" | "admin", "listen"] => {
            "write an IP address and a port, such as `127.0.0.1:8080`"
        }
        ["server" | "admin", "tls"] => {
            "write `tls = { certificate = \"tls.crt\", key = \"tls.key\" }`"
        }
        ["server", "trusted_proxies"] | ["destinations", _, "allow_networks"] => {
            "write an address or a network, such as `10.0.0.1` or `10.0.0.0/8`"
        }
        ["server" | "delivery", name] if name.ends_with("_timeout") => DURATION,
        ["plugins", "call_deadline" | "slow_call"] | ["watch", "settle" | "look_every"] => DURATION,
        ["retention", "records" | "raw_requests" | "resolved_alerts" | "deliveries" | "audit"]
        | ["integrations", _, "resolve_after"] => {
            "write a number with its unit, such as `30d` or `12h`"
        }
        ["admin", "tokens", "scopes"] => {
            "write a list of `read`, `act` or `admin`, such as `scopes = [\"read\"]`"
        }
        ["admin", "tokens", ..] => {
            "write [{ name = \"alice\", token = { env = \"TOCSIN_ADMIN_TOKEN\" } }]"
        }
        ["plugins", "checksums", ..] => {
            "write `\"demo 1.0.0\" = \"SHA-256\"`, with the 64 hex digits that `sha256sum` prints"
        }
        ["plugins", "public_keys"] => {
            "write the line of `minisign.pub`, or { file = \"minisign.pub\" }"
        }
        ["plugins", "required"] => "write `true`, or names, such as `[\"alertmanager\"]`",
        ["integrations" | "destinations", _, "version"] => {
            "write a semver requirement, such as `^1` or `>=1.2, <2`"
        }
        ["integrations", _, "title" | "description"] => {
            "write a Jinja template, such as `{{ title }} ({{ urgency }})`"
        }
        ["integrations", _, "maintenance", ..] => {
            "write `true`, or `[{ from = 2026-12-01T22:00:00Z, to = ... }]`"
        }
        ["destinations", _, "rate_limit"] => {
            "write a rate, such as `1/s`; leave the key out for what the plugin suggests"
        }
        ["destinations", _, "parallel"] => "write a whole number from 1 to 256",
        ["routes"] => {
            "write `[[routes]]`, and below it the destinations, such as `to = [\"ops-channel\"]`"
        }
        ["routes", "to"] => "name the destinations, such as `to = [\"ops-channel\"]`",
        ["routes", "after" | "repeat"] | ["delivery", "retry" | "give_up_after"] => {
            "write a number with its unit, such as `10m` or `2h`"
        }
        ["routes", "details", ..] => {
            "write `{ Channel = \"ops\" }`, or `{ Channel = { pattern = \"^ops-\" } }`"
        }
        ["routes", "hours"] => {
            "write `{ days = \"mon-fri\", from = \"08:00\", to = \"18:00\", zone = \"Europe/Berlin\" }`"
        }
        ["integrations", _, "rate_limit" | "sender_rate_limit"] => {
            "write a rate, such as `100/s`; leave the key out for no limit"
        }
        _ => return None,
    })
}

const DURATION: &str = "write a number with its unit, such as `10s` or `500ms`";
