//! Errors of the TOML parser and of serde, with a hint.

use super::{ConfigError, Document};

pub(super) fn syntax(document: &Document, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let message = document.error_in(span.clone(), error.message().trim()).message().to_owned();
    let message = message.replace("unknown field", "unknown key");
    let error = |message: &str| document.error_in(span.clone(), message);
    if message.starts_with("no template: ") {
        let hint = "write a Jinja template, such as `{{ title }} ({{ urgency }})`";
        return error(&message).hint(hint);
    }
    if let Some((what, keys)) = message.split_once(", expected one of ") {
        return error(what).hint(format!("known here are {keys}"));
    }
    if let Some((what, wanted)) = message.split_once(", expected ") {
        let wanted = match wanted {
            "usize" => "a whole number",
            "a boolean" => "true or false",
            // Where a bare word or address stands, for which TOML tries every other type.
            "nothing" => "a string in quotes",
            "path string" => "a path in quotes",
            wanted => wanted,
        };
        return error(what).hint(format!("write {wanted} here"));
    }
    for (sign, hint) in [
        ("version number", "write a semver requirement, such as `^1` or `>=1.2, <2`"),
        ("socket address", "write an IP address and a port, such as `127.0.0.1:8080`"),
        ("SHA-256", "write its 64 digits in hex, as `sha256sum` prints them"),
        ("plugin with its version", "write its name and its version, such as `\"demo 1.0.0\"`"),
        ("minisign public key", "write the line of `minisign.pub`, or { file = \"minisign.pub\" }"),
        ("no time of at least", "write a number with its unit, such as `30d` or `12h`"),
        ("duration", "write a number with its unit, such as `10s` or `500ms`"),
        ("is not a rate", "leave it out where there is no limit"),
        ("is no maintenance", "write `true`, or `[{ from = 2026-12-01T22:00:00Z, to = ... }]`"),
        ("address of a proxy", "write an address or a network, such as `10.0.0.1` or `10.0.0.0/8`"),
        ("nor names of plugins", "write `true`, or names, such as `[\"alertmanager\"]`"),
        ("name of a token", "write { name = \"alice\", token = { env = \"TOCSIN_ADMIN_TOKEN\" } }"),
    ] {
        if message.contains(sign) {
            return error(&message).hint(hint);
        }
    }
    error(&message).hint("a line is `[section]` or `key = value`, with strings in quotes")
}
