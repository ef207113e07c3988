//! Masks secrets in messages about a configuration, for [`Document`](super::Document).
//!
//! A value is shown only if its key is in a list of harmless ones. Values of unknown keys are masked.

/// Returns true if any value of a key may be shown, see [`SHOWN_KEYS`]. Keys of secrets and of URLs, which
/// may hold a password, are not among these.
pub(super) fn may_be_shown(key: &[&str]) -> bool {
    let key: Vec<_> = key.iter().map(|part| without_place(part)).collect();
    match key.as_slice() {
        ["server", "public_url"] => false,
        ["server" | "watch" | "requests" | "retention" | "log", name] => {
            SHOWN_KEYS.contains(name) || name.ends_with("_timeout")
        }
        ["server" | "admin", "tls", name] => matches!(*name, "certificate" | "key"),
        ["admin", "tokens", "scopes"] => true,
        ["admin", name] => *name == "listen" || name.starts_with("max_"),
        ["plugins", "checksums", _] => true,
        ["plugins", name] => *name != "public_keys" && SHOWN_KEYS.contains(name),
        ["integrations", _, "maintenance", "from" | "to"] => true,
        ["integrations" | "destinations", _, name] => {
            *name != "options" && SHOWN_KEYS.contains(name)
        }
        ["routes", "details", _] | ["routes", "details", _, "pattern"] => true,
        ["routes", "hours", name] => HOURS_KEYS.contains(name),
        ["routes", name] => ROUTES_KEYS.contains(name),
        ["delivery", name] => {
            matches!(*name, "retry" | "give_up_after" | "ca_file") || name.ends_with("_timeout")
        }
        ["tracing", name] => TRACING_KEYS.contains(name),
        _ => false,
    }
}

/// Returns the part of a key without its place in a list: `rules` for `rules[2]`.
pub(super) fn without_place(part: &str) -> &str {
    part.strip_suffix(']').and_then(|part| part.split('[').next()).unwrap_or(part)
}

/// Names of keys of a route whose values are shown.
const ROUTES_KEYS: &[&str] = &["to", "integrations", "urgency", "after", "repeat"];

/// Names of keys of a route's hours whose values are shown.
const HOURS_KEYS: &[&str] = &["days", "from", "to", "zone"];

/// Names of keys of `[tracing]` whose values are shown.
const TRACING_KEYS: &[&str] = &["ca_file", "sample_ratio", "service_name", "timeout"];

/// Names of keys of all sections whose values are shown.
const SHOWN_KEYS: &[&str] = &[
    "allow_http",
    "allow_networks",
    "allow_writable_by_others",
    "audit",
    "body_limit_bytes",
    "body_memory_bytes",
    "call_deadline",
    "deliveries",
    "description",
    "digest_above",
    "dir",
    "enabled",
    "events",
    "format",
    "header_limit_bytes",
    "hide_integrations",
    "keep",
    "level",
    "listen",
    "lock",
    "look_every",
    "maintenance",
    "max_connections",
    "max_connections_per_address",
    "max_store_bytes",
    "max_wrong_tokens_per_minute",
    "parallel",
    "plugin",
    "quarantine_bytes",
    "quarantine_count",
    "rate_limit",
    "raw_limit_bytes",
    "raw_requests",
    "records",
    "required",
    "resolve_after",
    "resolved_alerts",
    "sender_rate_limit",
    "settle",
    "slow_call",
    "title",
    "trusted_proxies",
    "urgency",
    "verify",
    "version",
];

/// Returns true if a name looks like that of an environment variable. Anything else may be a secret that
/// was written in place of its variable's name.
pub(super) fn is_usual_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Returns a message of serde without the value that it refuses, which may be a secret.
pub(super) fn without_values(message: &str) -> String {
    for what in ["invalid type: ", "invalid value: "] {
        let Some((before, rest)) = message.split_once(what) else { continue };
        let (value, wanted) = match rest.rsplit_once(", expected ") {
            Some((value, wanted)) => (value, format!(", expected {wanted}")),
            None => (rest, String::new()),
        };
        for (kind, name) in [
            ("string \"", "a string"),
            ("character `", "a character"),
            ("integer `", "an integer"),
            ("floating point `", "a floating point number"),
            ("datetime", "a date or time"),
        ] {
            if value.starts_with(kind) {
                return format!("{before}{what}{name}{wanted}");
            }
        }
    }
    message.to_owned()
}

/// Returns a message of serde without the unknown word that it refuses.
pub(super) fn without_variant(message: &str) -> String {
    let Some((before, rest)) = message.split_once("unknown variant `") else {
        return message.to_owned();
    };
    let end = rest.rfind("`, expected ").or_else(|| rest.rfind("`, there are no variants"));
    // If the message has another form, the end of the value is unknown, so all of it goes.
    let known = end.map_or("", |end| &rest[end + 1..]);
    format!("{before}unknown variant{known}")
}
