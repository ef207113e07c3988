//! Checks of a [`LoadedConfig`] beyond the types of its values.

use std::time::Duration;

use super::{Config, ConfigError, LoadedConfig};
use crate::plugins::verification::Policy;

impl LoadedConfig {
    pub(super) fn errors(&self) -> Vec<ConfigError> {
        let Config { server, admin, plugins, watch, log, integrations, requests, .. } =
            &self.config;
        let at = |key: &[&str], message: String| self.document.error_at(key, message);
        let mut errors = Vec::new();
        if !admin.listen.ip().is_loopback() && admin.tokens.is_empty() {
            errors.push(
                at(&["admin", "listen"], format!("`{}` is not loopback and `admin.tokens` is empty, so anybody who can reach it could use the API", admin.listen))
                    .hint("add `tokens = [{ env = \"TOCSIN_ADMIN_TOKEN\" }]`, or listen on 127.0.0.1"),
            );
        }
        for (place, token) in admin.tokens.iter().enumerate() {
            if token.token.expose().len() < SHORTEST_TOKEN_BYTES {
                let message = format!(
                    "has less than {SHORTEST_TOKEN_BYTES} bytes, so that it may be guessed"
                );
                errors.push(
                    at(&["admin", &format!("tokens[{place}]")], message)
                        .hint("make one with `head -c 18 /dev/urandom | base64`"),
                );
            }
        }
        if server.listen == admin.listen && server.listen.port() != 0 {
            let message = format!("`{}` is also `server.listen`", admin.listen);
            errors.push(at(&["admin", "listen"], message).hint("choose another port"));
        }
        if let Some(url) = &server.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            // The URL is not repeated: it may hold a password.
            let message = "is not an http or https URL".into();
            errors.push(
                at(&["server", "public_url"], message)
                    .hint("write it whole, such as `https://alerts.example.com`"),
            );
        }
        if !(8192..=1024 * 1024).contains(&server.header_limit_bytes) {
            let message = "must be from 8192 to 1048576 bytes".into();
            errors.push(
                at(&["server", "header_limit_bytes"], message).hint("leave it out for 16384"),
            );
        }
        if !(1..=1_000_000).contains(&server.max_connections) {
            let message = "must be from 1 to 1000000".into();
            errors.push(at(&["server", "max_connections"], message).hint("leave it out for 1024"));
        }
        if !(1..=100_000).contains(&admin.max_connections) {
            let message = "must be from 1 to 100000".into();
            errors.push(at(&["admin", "max_connections"], message).hint("leave it out for 256"));
        }
        for (key, is_zero) in [
            ("body_limit_bytes", server.body_limit_bytes == 0),
            ("header_timeout", server.header_timeout.is_zero()),
            ("body_timeout", server.body_timeout.is_zero()),
            ("write_timeout", server.write_timeout.is_zero()),
            ("max_connections_per_address", server.max_connections_per_address == Some(0)),
            ("body_memory_bytes", server.body_memory_bytes == 0),
        ] {
            if is_zero {
                let error = at(&["server", key], "must be more than 0".into());
                errors.push(error.hint("leave it out for the default"));
            }
        }
        for (key, is_zero) in [
            ("quarantine_count", requests.quarantine_count == 0),
            ("quarantine_bytes", requests.quarantine_bytes == 0),
        ] {
            if is_zero {
                let error = at(&["requests", key], "must be more than 0".into());
                errors.push(error.hint("write `keep = \"none\"` to keep no requests"));
            }
        }
        if self.store_path().is_none() {
            let message = "is not a kind of store that this host supports".into();
            errors.push(
                at(&["store", "url"], message)
                    .hint("write `sqlite:PATH`, such as `sqlite:tocsin.db`"),
            );
        }
        if plugins.call_deadline < Duration::from_millis(10) {
            let message = "must be 10ms or more".into();
            errors.push(at(&["plugins", "call_deadline"], message).hint("leave it out for 1s"));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&watch.settle) {
            let message = "must be from 10ms to 60s".into();
            errors.push(at(&["watch", "settle"], message).hint("leave it out for 500ms"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&watch.look_every) {
            let message = "must be from 100ms to 1h".into();
            errors.push(at(&["watch", "look_every"], message).hint("leave it out for 2s"));
        }
        if plugins.verify == Policy::Signature && plugins.public_keys.is_empty() {
            let message = "`public_keys` is empty, so no signature could be trusted".into();
            errors.push(
                at(&["plugins", "verify"], message)
                    .hint("add `public_keys = [{ file = \"minisign.pub\" }]`"),
            );
        }
        for name in plugins.allow_writable_by_others.iter().filter(|name| !is_file_name(name)) {
            let message = format!("`{name}` is not the name of a file");
            errors.push(
                at(&["plugins", "allow_writable_by_others"], message)
                    .hint("write its name without a folder, or `.` for the folder itself"),
            );
        }
        if let Some(level) = &log.level
            && !is_log_level(level)
        {
            let message = format!("`{level}` is not a log level");
            errors.push(
                at(&["log", "level"], message).hint("write error, warn, info, debug or trace"),
            );
        }
        for name in integrations.keys().filter(|name| !is_url_part(name)) {
            let message = format!("`{name}` cannot be part of a URL");
            errors.push(
                at(&["integrations", name], message)
                    .hint("use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`"),
            );
        }
        errors
    }
}

/// Shortest token of the admin API.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// Returns true if a name can be the last part of an endpoint's URL without escapes.
fn is_url_part(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Returns true if a name can be that of a file in a folder, or is `.`, the folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != ".." && !name.contains(['/', '\0'])
}

/// Returns true if every directive is a level, or a target with a level.
fn is_log_level(directives: &str) -> bool {
    directives.split(',').all(|directive| {
        let level = directive.rsplit('=').next().unwrap_or_default();
        level.trim().parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
    })
}
