//! Checks of a [`LoadedConfig`] beyond the types of its values.

mod delivery;
mod destinations;
mod routes;
mod tls;
mod tracing;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    Admin, Config, ConfigError, Document, Listener, LoadedConfig, Log, Plugins, Requests, Server,
    Store, Watch,
};
use crate::{
    http::tls::ServerTls, plugins::verification::Policy, problem::did_you_mean, routing::Routes,
    store::StoreConfig, system::file_permissions::HostUser,
};

/// Shortest token of the admin API.
const SHORTEST_TOKEN_BYTES: usize = 16;

impl LoadedConfig {
    /// Checks the values, and makes what the checks need. `host` is the user who alone, besides root, may
    /// change files with authorities; without it, that check is skipped.
    ///
    /// # Errors
    ///
    /// All errors of the configuration, in the order of the sections in [`Config`].
    pub(super) fn check(&self, host: Option<&HostUser>) -> Result<Checked, Vec<ConfigError>> {
        let Config { server, admin, plugins, requests, watch, log, integrations, .. } =
            &self.config;
        let mut checks =
            Checks { document: &self.document, errors: Vec::new(), warnings: Vec::new() };
        checks.check_server(server);
        let server_tls = checks.check_tls(Listener::Server, server.tls.as_ref(), host);
        checks.check_tls_name(server, server_tls.as_deref());
        checks.check_admin(admin, server);
        let admin_tls = checks.check_tls(Listener::Admin, admin.tls.as_ref(), host);
        if let Some(folder) = &self.config.state_dir
            && let Some(file) = self.resolve(folder).ancestors().find(|path| path.exists())
            && !file.is_dir()
        {
            checks.refuse(
                &["state_dir"],
                format!("`{}` is a file, not a folder", file.display()),
                "name a folder, or leave it out for the folder of the store",
            );
        }
        checks.check_store(&self.config.store);
        checks.errors.extend(self.checked_store_paths().err());
        let is_shared = matches!(self.store_config(), Some(StoreConfig::Postgres { .. }));
        if is_shared && self.config.retention.max_store_bytes.is_some() {
            checks.refuse(
                &["retention", "max_store_bytes"],
                "cannot be kept with PostgreSQL, which does not tell how much of its files is in use",
                "leave it out, and set the ages of `[retention]`",
            );
        }
        checks.check_plugins(plugins);
        checks.check_requests(requests);
        checks.check_watch(watch);
        checks.check_log(log);
        for name in integrations.keys().filter(|name| !is_url_part(name)) {
            checks.refuse(
                &["integrations", name],
                format!("`{name}` cannot be part of a URL"),
                "use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`",
            );
        }
        checks.check_destinations(&self.config.destinations);
        let routes = checks.check_routes(&self.config);
        let ca_pem = checks.check_delivery(&self.config.delivery, host);
        let tracing_ca_pem = checks.check_tracing(&self.config.tracing, host);
        if !checks.errors.is_empty() {
            return Err(checks.errors);
        }
        let warnings = checks.warnings;
        Ok(Checked { routes, ca_pem, tracing_ca_pem, server_tls, admin_tls, warnings })
    }
}

/// Parts of a [`LoadedConfig`] that come out of its checks.
pub(super) struct Checked {
    /// The compiled routes.
    pub(super) routes: Routes,
    /// Contents of `delivery.ca_file`.
    pub(super) ca_pem: Option<Vec<u8>>,
    /// Contents of `tracing.ca_file`.
    pub(super) tracing_ca_pem: Option<Vec<u8>>,
    /// Certificate and key of `[server.tls]`.
    pub(super) server_tls: Option<Arc<ServerTls>>,
    /// Certificate and key of `[admin.tls]`.
    pub(super) admin_tls: Option<Arc<ServerTls>>,
    /// Warnings that the checks found.
    pub(super) warnings: Vec<ConfigError>,
}

/// Errors and warnings found so far in a [`Document`].
struct Checks<'d> {
    document: &'d Document,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Checks<'_> {
    fn refuse(&mut self, key: &[&str], message: impl Into<String>, hint: &str) {
        self.errors.push(self.document.error_at(key, message).hint(hint));
    }

    /// Refuses a value outside a range.
    fn check_range<T: PartialOrd>(
        &mut self,
        key: &[&str],
        value: &T,
        range: &RangeInclusive<T>,
        (message, hint): (&str, &str),
    ) {
        if !range.contains(value) {
            self.refuse(key, message, hint);
        }
    }

    fn check_server(&mut self, server: &Server) {
        if let Some(url) = &server.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            // The URL is not repeated: it may hold a password.
            self.refuse(
                &["server", "public_url"],
                "is not an http or https URL",
                "write the whole URL, such as `https://alerts.example.com`",
            );
        }
        self.check_range(
            &["server", "header_limit_bytes"],
            &server.header_limit_bytes,
            &(8192..=1024 * 1024),
            ("must be from 8192 to 1048576 bytes", "leave it out for 16384"),
        );
        self.check_range(
            &["server", "max_connections"],
            &server.max_connections,
            &(1..=1_000_000),
            ("must be from 1 to 1000000", "leave it out for 1024"),
        );
        for (key, is_zero) in [
            ("body_limit_bytes", server.body_limit_bytes == 0),
            ("header_timeout", server.header_timeout.is_zero()),
            ("body_timeout", server.body_timeout.is_zero()),
            ("write_timeout", server.write_timeout.is_zero()),
            ("max_connections_per_address", server.max_connections_per_address == Some(0)),
            ("body_memory_bytes", server.body_memory_bytes == 0),
        ] {
            if is_zero {
                let hint = "leave it out for the default";
                self.refuse(&["server", key], "must be more than 0", hint);
            }
        }
    }

    fn check_admin(&mut self, admin: &Admin, server: &Server) {
        if !admin.listen.ip().is_loopback() && admin.tokens.is_empty() {
            let message = format!(
                "`{}` is not loopback and `admin.tokens` is empty, so anybody who can reach it could use the API",
                admin.listen
            );
            self.refuse(
                &["admin", "listen"],
                message,
                "add `tokens = [{ env = \"TOCSIN_ADMIN_TOKEN\" }]`, or listen on 127.0.0.1",
            );
        }
        if server.listen == admin.listen && server.listen.port() != 0 {
            let message = format!("`{}` is also `server.listen`", admin.listen);
            self.refuse(&["admin", "listen"], message, "choose another port");
        }
        self.check_range(
            &["admin", "max_connections"],
            &admin.max_connections,
            &(1..=100_000),
            ("must be from 1 to 100000", "leave it out for 256"),
        );
        for (place, token) in admin.tokens.iter().enumerate() {
            if token.token.expose().len() < SHORTEST_TOKEN_BYTES {
                self.refuse(
                    &["admin", &format!("tokens[{place}]")],
                    format!(
                        "has less than {SHORTEST_TOKEN_BYTES} bytes, so that it may be guessed"
                    ),
                    "make one with `head -c 18 /dev/urandom | base64`",
                );
            }
            if token.scope.is_none() {
                self.refuse(
                    &["admin", &format!("tokens[{place}]"), "scopes"],
                    "is empty, so that the token opens nothing",
                    "write a list of `read`, `act` or `admin`, or leave it out for all",
                );
            }
        }
    }

    fn check_plugins(&mut self, plugins: &Plugins) {
        if plugins.call_deadline < Duration::from_millis(10) {
            let key = ["plugins", "call_deadline"];
            self.refuse(&key, "must be 10ms or more", "leave it out for 1s");
        }
        if plugins.verify == Policy::Signature && plugins.public_keys.is_empty() {
            self.refuse(
                &["plugins", "verify"],
                "`public_keys` is empty, so no signature could be trusted",
                "add `public_keys = [{ file = \"minisign.pub\" }]`",
            );
        }
        for name in plugins.allow_writable_by_others.iter().filter(|name| !is_file_name(name)) {
            self.refuse(
                &["plugins", "allow_writable_by_others"],
                format!("`{name}` is not the name of a file"),
                "write its name without a folder, or `.` for the folder itself",
            );
        }
    }

    fn check_store(&mut self, store: &Store) {
        if store.connections == 0 {
            self.refuse(&["store", "connections"], "must be more than 0", "leave it out for 8");
        }
        self.check_range(
            &["store", "statement_timeout"],
            &store.statement_timeout,
            &(Duration::from_millis(100)..=Duration::from_secs(600)),
            ("must be from 100ms to 10m", "leave it out for 10s"),
        );
    }

    fn check_requests(&mut self, requests: &Requests) {
        for (key, is_zero) in [
            ("quarantine_count", requests.quarantine_count == 0),
            ("quarantine_bytes", requests.quarantine_bytes == 0),
        ] {
            if is_zero {
                let hint = "write `keep = \"none\"` to keep no requests";
                self.refuse(&["requests", key], "must be more than 0", hint);
            }
        }
    }

    fn check_watch(&mut self, watch: &Watch) {
        self.check_range(
            &["watch", "settle"],
            &watch.settle,
            &(Duration::from_millis(10)..=Duration::from_secs(60)),
            ("must be from 10ms to 60s", "leave it out for 500ms"),
        );
        self.check_range(
            &["watch", "look_every"],
            &watch.look_every,
            &(Duration::from_millis(100)..=Duration::from_secs(3600)),
            ("must be from 100ms to 1h", "leave it out for 2s"),
        );
    }

    fn check_log(&mut self, log: &Log) {
        if let Some(level) = &log.level
            && !is_log_level(level)
        {
            let message = format!("`{level}` is not a log level");
            let hint = "write error, warn, info, debug or trace";
            let meant = did_you_mean(level, ["error", "warn", "info", "debug", "trace"]);
            let hint = meant.map_or_else(|| hint.into(), |meant| format!("{meant} {hint}"));
            self.refuse(&["log", "level"], message, &hint);
        }
    }
}

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
