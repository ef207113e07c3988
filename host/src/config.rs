//! The host's configuration: its keys, their defaults, and what can be said of them without looking
//! at a plugin.
//!
//! It opens no database and no plugin: what an integration's options mean is for the plugin to say.

mod admin;
pub mod age;
pub mod change;
mod document;
mod excerpt;
mod integration;
mod lookup;
mod requests;
mod required;

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) use self::lookup::without_line_end;
use self::lookup::{Literal, Lookup, is_place_of_secrets, literals, untidiness};
pub use self::{
    admin::{Admin, AdminToken},
    document::{ConfigError, ConfigErrors, Document},
    integration::{IntegrationConfig, Maintenance, Window},
    lookup::referenced_files,
    requests::{Keep, Requests, Retention},
    required::Required,
};
use crate::{
    file_permissions::{Exposed, HostUser, Reader},
    http::sender::Network,
    plugins::{
        folder::regular_file,
        verification::{
            Policy,
            checksum::{Checksum, Release},
            signature::PublicKey,
        },
    },
};

/// A whole configuration. Every section and every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where webhooks come in.
    pub server: Server,
    /// API, metrics and health.
    pub admin: Admin,
    /// Where alerts are kept.
    pub store: Store,
    /// Where plugins are found, which are trusted, and what their calls may take.
    pub plugins: Plugins,
    /// Which requests are kept as they came.
    pub requests: Requests,
    /// How long anything is kept.
    pub retention: Retention,
    /// Whether changed files are noticed.
    pub watch: Watch,
    /// What is logged.
    pub log: Log,
    /// The integrations by name. The name is the last part of the endpoint's URL.
    pub integrations: BTreeMap<String, IntegrationConfig>,
}

/// `[server]`: where webhooks come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The URL under which senders reach it, shown in endpoint URLs. Default: `http://` and `listen`.
    pub public_url: Option<String>,
    /// The largest body, in bytes; a larger one gets 413. Default 1 MiB.
    pub body_limit_bytes: usize,
    /// The largest request line with headers, in bytes; larger gets 431. At least 8192, default 16384.
    pub header_limit_bytes: usize,
    /// How long the headers of a request may take, and how long a connection may stay idle. Slower
    /// gets 408. Default `10s`.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long the body of a request may take; slower gets 408. Default `10s`.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// How long a client may take to read an answer, or 16 KiB of a long one, before its connection is
    /// closed. Default `10s`.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// How many connections are served at once; more wait to be accepted. Default 1024.
    pub max_connections: usize,
    /// How many of them one address may have; more are answered 503. Addresses of trusted proxies may
    /// have all. Default: a quarter of `max_connections`, but at least 16.
    pub max_connections_per_address: Option<usize>,
    /// How much memory the bodies of all requests may take while they are read and judged, in bytes;
    /// bodies up to 16 KiB do not count. One sender may take half of it. Larger bodies wait for a
    /// moment, and get 503. At least `body_limit_bytes`; default 64 MiB.
    pub body_memory_bytes: usize,
    /// How many wrong tokens an address may send within a minute; further ones get 429. A right token
    /// is never held up by them. 0: any number. Default 1000.
    pub max_wrong_tokens_per_minute: u32,
    /// Answers requests to unknown integrations like wrong tokens, so that nobody can find out which
    /// integrations there are. Default false: they are answered 404.
    pub hide_integrations: bool,
    /// How long requests in flight are waited for when the host is stopped. Default `20s`.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// Addresses or networks of proxies whose `X-Forwarded-For` says who the sender is. Default: none.
    pub trusted_proxies: Vec<Network>,
}

/// One address has a few connections even where there are few in all.
const FEWEST_PER_ADDRESS: usize = 16;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            body_limit_bytes: 1024 * 1024,
            header_limit_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_connections: 1024,
            max_connections_per_address: None,
            body_memory_bytes: 64 * 1024 * 1024,
            max_wrong_tokens_per_minute: 1000,
            hide_integrations: false,
            shutdown_timeout: Duration::from_secs(20),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Server {
    /// Returns how many connections one address may have.
    pub fn connections_per_address(&self) -> usize {
        let quarter = (self.max_connections / 4).max(FEWEST_PER_ADDRESS);
        self.max_connections_per_address.unwrap_or(quarter)
    }

    /// Returns how much memory bodies may take: the largest one always fits.
    pub fn body_memory(&self) -> usize {
        self.body_memory_bytes.max(self.body_limit_bytes)
    }

    /// The URL to which an integration's sender posts.
    pub fn endpoint(&self, integration: &str) -> String {
        let listen = format!("http://{}", self.listen);
        let base = self.public_url.as_deref().unwrap_or(&listen).trim_end_matches('/');
        format!("{base}/in/{integration}")
    }
}

/// `[store]`: where alerts are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH`, relative to the configuration file. Default `sqlite:tocsin.db`.
    pub url: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:tocsin.db".into() }
    }
}

/// `[plugins]`: where plugins are found, which are trusted, and what their calls may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// The folder of `.so` files, relative to the configuration file. Default `plugins`.
    pub dir: PathBuf,
    /// How long a call of a plugin may take before it is given up; 10 ms or more, default `1s`.
    #[serde(with = "duration")]
    pub call_deadline: Duration,
    /// A call that takes as long is logged and counted as slow; `0s` never, default `100ms`.
    #[serde(with = "duration")]
    pub slow_call: Duration,
    /// What a plugin has to show before it is loaded: `off` (default), `checksum` or `signature`.
    pub verify: Policy,
    /// The file that `tocsin plugins lock` writes, relative to the configuration file; it is read
    /// where `verify` is `checksum`. Default `plugins.lock`.
    pub lock: PathBuf,
    /// SHA-256 of plugins in hex by `NAME VERSION`, beside those of the lock file.
    pub checksums: BTreeMap<Release, Checksum>,
    /// The `minisign` keys whose signatures are trusted where `verify` is `signature`.
    pub public_keys: Vec<PublicKey>,
    /// Files of `dir` by name that others than root and the host's user may change, and `.` for
    /// `dir` itself. Default: none.
    pub allow_writable_by_others: Vec<String>,
    /// The plugins without which `serve` does not start: `true` for all that are used, or names.
    /// Default none: a plugin that is missing breaks its own integrations only.
    pub required: Required,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            dir: "plugins".into(),
            call_deadline: Duration::from_secs(1),
            slow_call: Duration::from_millis(100),
            verify: Policy::default(),
            lock: "plugins.lock".into(),
            checksums: BTreeMap::new(),
            public_keys: Vec::new(),
            allow_writable_by_others: Vec::new(),
            required: Required::default(),
        }
    }
}

/// `[watch]`: whether the configuration, the files it refers to, and the plugins folder are watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Whether what changes is read again by itself. Default true.
    pub enabled: bool,
    /// For how long nothing has to change before it is read; 10 ms or more, default `500ms`.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// How often is looked where no notice of a change comes, as on some network file systems; from
    /// 100 ms to an hour, default `2s`.
    #[serde(with = "duration")]
    pub look_every: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            enabled: true,
            settle: Duration::from_millis(500),
            look_every: Duration::from_secs(2),
        }
    }
}

/// `[log]`: what is logged, to standard error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` (default) for people, `json` for programs.
    pub format: LogFormat,
    /// `error`, `warn`, `info` (default), `debug` or `trace`, or directives such as
    /// `info,tocsin::ingest=debug`.
    pub level: Option<String>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// There is no configuration to read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the configuration `{}`: {}", path.display(), advised(error))]
pub struct UnreadableConfig {
    path: PathBuf,
    error: std::io::Error,
}

fn advised(error: &std::io::Error) -> String {
    let said = error.to_string();
    if said.contains("\nhint: ") {
        return said;
    }
    format!("{said}\nhint: name it with `--config FILE`, or in the environment as TOCSIN_CONFIG")
}

/// Reads a configuration file, whatever it says.
///
/// # Errors
///
/// Where it can't be read, or is a pipe or the like: it is read again and again, and nobody waits for
/// it.
pub fn read(path: &Path) -> Result<Document, UnreadableConfig> {
    Ok(read_file(path)?.0)
}

fn read_file(path: &Path) -> Result<(Document, Metadata), UnreadableConfig> {
    let mut text = String::new();
    let read = regular_file(path).and_then(|mut file| {
        file.read_to_string(&mut text)?;
        file.metadata()
    });
    match read {
        Ok(metadata) => Ok((Document::new(path, text), metadata)),
        Err(error) => Err(UnreadableConfig { path: path.to_owned(), error }),
    }
}

/// The configuration could be changed by others than root and the host's user.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {}\nhint: {}", .0.message, .0.hint)]
pub struct ExposedConfig(Exposed);

/// Where the admin API of a host is and what opens it: all that a client needs of a configuration.
/// What only the host can read, such as the tokens of integrations, is left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// `[admin]`.
    pub admin: Admin,
}

impl ClientConfig {
    /// Reads it from a host's configuration file.
    ///
    /// # Errors
    ///
    /// What is wrong with `[admin]`, with file, line, key and a hint.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(read_part(&read(path)?, "admin", |_| true)?)
    }
}

/// Where a configuration has plugins, and what they are verified by, whatever else it says.
///
/// # Errors
///
/// What is wrong with these keys.
pub fn places_of_plugins(document: &Document) -> Result<Plugins, ConfigErrors> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Part {
        plugins: Plugins,
    }
    let is_place = |key: &str| matches!(key, "dir" | "verify" | "lock");
    Ok(read_part::<Part>(document, "plugins", is_place)?.plugins)
}

/// Reads some keys of a section, and leaves everything else alone.
fn read_part<T: DeserializeOwned>(
    document: &Document,
    section: &str,
    is_read: impl Fn(&str) -> bool,
) -> Result<T, ConfigErrors> {
    let mut document = document.clone();
    let text = document.text.clone();
    let mut root = DeTable::parse(&text).map_err(|error| syntax(&document, &error))?;
    keep(root.get_mut(), |name| name == section);
    if let Some(DeValue::Table(keys)) = root.get_mut().get_mut(section).map(Spanned::get_mut) {
        keep(keys, is_read);
    }
    let env = |name: &str| std::env::var(name).ok();
    let mut lookup = Lookup::new(&document, &env, None);
    lookup.fill_in(root.get_mut());
    if !lookup.errors.is_empty() {
        return Err(ConfigErrors(lookup.errors));
    }
    document.hide(lookup.values);
    let part = T::deserialize(toml::de::Deserializer::from(root));
    Ok(part.map_err(|error| syntax(&document, &error))?)
}

fn keep(table: &mut DeTable<'_>, is_kept: impl Fn(&str) -> bool) {
    let entries = std::mem::take(table).into_iter();
    *table = entries.filter(|(key, _)| is_kept(key.get_ref())).collect();
}

/// A configuration together with the text it came from, so that later errors can point into it.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// What it says.
    pub config: Config,
    /// Where it says so.
    pub document: Document,
    /// Warnings: an operator should look at these places, though nothing is wrong for certain. They
    /// repeat no values.
    pub warnings: Vec<ConfigError>,
    /// The others who can read the file, if that is known.
    reader: Option<Reader>,
}

impl LoadedConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with file, line, key and a hint.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let host = HostUser::of_this_process();
        let (Document { path, text, .. }, metadata) = read_file(path)?;
        host.check_writers(&path, &metadata).map_err(ExposedConfig)?;
        let env = |name: &str| std::env::var(name).ok();
        Ok(Self::parse_for(&path, text, env, Some((&host, host.reader(&metadata))))?)
    }

    /// Checks the text of a configuration, and asks nobody who could read or change it. `env` looks up
    /// environment variables.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn parse(
        path: &Path,
        text: String,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        Self::parse_for(path, text, env, None)
    }

    fn parse_for(
        path: &Path,
        text: String,
        env: impl Fn(&str) -> Option<String>,
        host: Option<(&HostUser, Option<Reader>)>,
    ) -> Result<Self, ConfigErrors> {
        let mut document = Document::new(path, text);
        let text = document.text.clone();
        let mut root = DeTable::parse(&text).map_err(|error| syntax(&document, &error))?;
        let mut lookup = Lookup::new(&document, &env, host.map(|(host, _)| host));
        lookup.fill_in(root.get_mut());
        if !lookup.errors.is_empty() {
            return Err(ConfigErrors(lookup.errors));
        }
        let warnings = lookup.warnings;
        document.hide(lookup.values);
        let config = Config::deserialize(toml::de::Deserializer::from(root))
            .map_err(|error| syntax(&document, &error))?;
        let reader = host.and_then(|(_, reader)| reader);
        let mut loaded = Self { config, document, warnings, reader };
        let own = loaded.own_warnings();
        loaded.warnings.extend(own);
        let errors = loaded.errors();
        if errors.is_empty() { Ok(loaded) } else { Err(ConfigErrors(errors)) }
    }

    /// A path of the configuration, relative to its file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.document.beside(path)
    }

    /// The folder of plugins.
    pub fn plugins_dir(&self) -> PathBuf {
        self.resolve(&self.config.plugins.dir)
    }

    /// An error at a key of `[plugins]`.
    pub fn plugins_error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.document.error_at(&["plugins", key], message)
    }

    /// An error at a key of an integration.
    pub fn integration_error(
        &self,
        name: &str,
        key: &[&str],
        message: impl Into<String>,
    ) -> ConfigError {
        self.document.error_at(&[&["integrations", name], key].concat(), message)
    }

    /// Returns warnings about the literal secrets among an integration's options. Its plugin says which
    /// strings are `secrets`; no value is repeated.
    pub fn warnings_of_options(&self, integration: &str, secrets: &[String]) -> Vec<ConfigError> {
        let place = ["integrations", integration, "options"];
        let is_secret = |literal: &Literal| {
            literal.key.iter().zip(place).filter(|(one, other)| one == other).count() == place.len()
                && secrets.contains(&literal.text)
        };
        let secrets = literals(&self.document).into_iter().filter(is_secret);
        secrets.flat_map(|literal| self.warnings_of_secret(&literal)).collect()
    }

    /// Returns the warnings that need no plugin.
    fn own_warnings(&self) -> Vec<ConfigError> {
        let is_token = |literal: &Literal| {
            literal.key[0] == "admin" && is_place_of_secrets(&literal.key.join("."))
        };
        let tokens = literals(&self.document).into_iter().filter(is_token);
        let mut warnings: Vec<_> =
            tokens.flat_map(|literal| self.warnings_of_secret(&literal)).collect();
        if let Required::Names(names) = &self.config.plugins.required {
            let is_used = |name: &&String| {
                self.config.integrations.values().any(|section| section.plugin == **name)
            };
            warnings.extend(names.iter().filter(|name| !is_used(name)).map(|name| {
                let message = format!("`{name}` is the plugin of no integration");
                self.plugins_error("required", message).hint("look at how it is written")
            }));
        }
        warnings
    }

    fn warnings_of_secret(&self, literal: &Literal) -> Vec<ConfigError> {
        let untidy = untidiness(&self.document, literal.span.clone(), &literal.text);
        let exposed = self.reader.map(|reader| {
            let path = &self.document.path;
            let message = format!("a secret stands here, and `{}` {reader}", path.display());
            let hint = format!("{}, or write {{ file = \"PATH\" }} here", reader.remedy(path));
            self.document.error_in(literal.span.clone(), message).hint(hint)
        });
        untidy.into_iter().chain(exposed).collect()
    }

    fn errors(&self) -> Vec<ConfigError> {
        let Config { server, admin, plugins, watch, log, integrations, requests, .. } =
            &self.config;
        let at = |key: &[&str], message: String| self.document.error_at(key, message);
        let mut errors = Vec::new();
        if !admin.listen.ip().is_loopback() && admin.tokens.is_empty() {
            errors.push(
                at(&["admin", "listen"], format!("`{}` is not loopback and `admin.tokens` is empty, so that anybody who reaches it could use the API", admin.listen))
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
            // A URL may hold a password.
            let message = "is not an http or https URL".into();
            errors.push(
                at(&["server", "public_url"], message)
                    .hint("write it whole, such as `https://alerts.example.com`"),
            );
        }
        if !(8192..=1024 * 1024).contains(&server.header_limit_bytes) {
            let message = "has to be from 8192 to 1048576 bytes".into();
            errors.push(
                at(&["server", "header_limit_bytes"], message).hint("leave it out for 16384"),
            );
        }
        if !(1..=1_000_000).contains(&server.max_connections) {
            let message = "has to be from 1 to 1000000".into();
            errors.push(at(&["server", "max_connections"], message).hint("leave it out for 1024"));
        }
        if !(1..=100_000).contains(&admin.max_connections) {
            let message = "has to be from 1 to 100000".into();
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
                errors.push(error.hint("write `keep = \"none\"` where nothing is to be kept"));
            }
        }
        if self.store_path().is_none() {
            let message = "names no store that this host knows".into();
            errors.push(
                at(&["store", "url"], message)
                    .hint("write `sqlite:PATH`, such as `sqlite:tocsin.db`"),
            );
        }
        if plugins.call_deadline < Duration::from_millis(10) {
            let message = "has to be 10ms or more".into();
            errors.push(at(&["plugins", "call_deadline"], message).hint("leave it out for 1s"));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&watch.settle) {
            let message = "has to be from 10ms to 60s".into();
            errors.push(at(&["watch", "settle"], message).hint("leave it out for 500ms"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&watch.look_every) {
            let message = "has to be from 100ms to 1h".into();
            errors.push(at(&["watch", "look_every"], message).hint("leave it out for 2s"));
        }
        if plugins.verify == Policy::Signature && plugins.public_keys.is_empty() {
            let message = "`public_keys` is empty, so that no signature could be good".into();
            errors.push(
                at(&["plugins", "verify"], message)
                    .hint("add `public_keys = [{ file = \"minisign.pub\" }]`"),
            );
        }
        for name in plugins.allow_writable_by_others.iter().filter(|name| !is_file_name(name)) {
            let message = format!("`{name}` is no name of a file in `plugins.dir`");
            errors.push(
                at(&["plugins", "allow_writable_by_others"], message)
                    .hint("write its name without a folder, or `.` for the folder itself"),
            );
        }
        if let Some(level) = &log.level
            && !is_log_level(level)
        {
            let message = format!("`{level}` is no log level");
            errors.push(
                at(&["log", "level"], message).hint("write error, warn, info, debug or trace"),
            );
        }
        for name in integrations.keys().filter(|name| !is_integration_name(name)) {
            let message = format!("`{name}` can't be part of a URL as it is");
            errors.push(
                at(&["integrations", name], message)
                    .hint("use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`"),
            );
        }
        errors
    }

    /// The file of the SQLite store; none if the URL names another kind.
    pub fn store_path(&self) -> Option<PathBuf> {
        let path = self.config.store.url.strip_prefix("sqlite:")?;
        (!path.is_empty()).then(|| self.resolve(Path::new(path)))
    }
}

/// The least length of a token of the admin API.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// Whether a name can be the last part of an endpoint's URL as it is.
fn is_integration_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether it can be the name of a file in a folder, or `.`, the folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != ".." && !name.contains(['/', '\0'])
}

/// Whether every directive is a level, or a target with one.
fn is_log_level(directives: &str) -> bool {
    directives.split(',').all(|directive| {
        let level = directive.rsplit('=').next().unwrap_or_default();
        level.trim().parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
    })
}

fn syntax(document: &Document, error: &toml::de::Error) -> ConfigError {
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

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tocsin_plugin_api::Urgency;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret-s3cret-s3cret".to_owned());
        LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env)
            .map(|loaded| loaded.config)
            .map_err(|errors| errors.to_string())
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err("the configuration is wrong")
    }

    #[test]
    fn an_empty_configuration_listens_on_loopback_alone() {
        let config = parse("").expect("everything has a default");
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
        assert_eq!(config.server.body_limit_bytes, 1_048_576);
        assert_eq!(config.plugins.call_deadline, Duration::from_secs(1));
        assert!(config.integrations.is_empty());
    }

    #[test]
    fn an_integration_needs_only_its_plugin() {
        let config = parse("[integrations.ops]\nplugin = 'slack'").expect("a plugin is enough");
        let ops = &config.integrations["ops"];
        assert!(ops.enabled && ops.options.is_empty());
        assert_eq!((ops.urgency, ops.version.to_string()), (Urgency::Medium, "*".into()));
        assert_eq!(config.server.endpoint("ops"), "http://127.0.0.1:8080/in/ops");
    }

    #[test]
    fn the_public_url_is_shown_in_endpoints() {
        let config = parse("[server]\npublic_url = 'https://a.example/x/'").expect("a URL");
        assert_eq!(config.server.endpoint("ops"), "https://a.example/x/in/ops");
    }

    #[test]
    fn any_string_can_come_from_the_environment() {
        let config = parse(
            "[admin]\ntokens = [{ env = 'TOKEN' }]\n\
             [integrations.ops]\nplugin = 'slack'\noptions = { token = { env = 'TOKEN' }, deep = [{ x = { env = 'TOKEN' } }] }",
        )
        .expect("the variable is set");
        assert!(config.admin.tokens[0].token.matches(b"s3cret-s3cret-s3cret"));
        let options = serde_json::to_string(&config.integrations["ops"].options).unwrap();
        assert_eq!(
            options,
            r#"{"deep":[{"x":"s3cret-s3cret-s3cret"}],"token":"s3cret-s3cret-s3cret"}"#
        );
        assert!(!format!("{:?}", config.admin).contains("s3cret"));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        insta::assert_snapshot!(refused("[server]\nlisten = '127.0.0.1:1'\nlisen = 1\n"), @"
        tocsin.toml:3:1: `server.lisen`: unknown key `lisen`
          |
        3 | lisen = ***
          | ^^^^^
        hint: known here are `listen`, `public_url`, `body_limit_bytes`, `header_limit_bytes`, `header_timeout`, `body_timeout`, `write_timeout`, `max_connections`, `max_connections_per_address`, `body_memory_bytes`, `max_wrong_tokens_per_minute`, `hide_integrations`, `shutdown_timeout`, `trusted_proxies`
        ");
    }

    #[test]
    fn a_wrong_type_is_an_error() {
        insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\nenabled = 'yes'\n"), @"
        tocsin.toml:3:11: `integrations.ops.enabled`: invalid type: a string
          |
        3 | enabled = 'yes'
          |           ^^^^^
        hint: write true or false here
        ");
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_repeated() {
        let error = refused("[admin]\ntokens = { env = 'TOKEN' }\n");
        assert!(error.contains("invalid type: a string") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_value_from_elsewhere_loses_one_line_end() {
        let place = tempfile::tempdir().expect("a folder");
        for (text, value) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("s3cret\n\n", "s3cret\n"),
            ("s3cret\r", "s3cret\r"),
            (" s3cret \n", " s3cret "),
        ] {
            std::fs::write(place.path().join("token"), text).expect("written");
            let config = "[integrations.ops]\nplugin = 'x'\n\
                          options = { a = { env = 'TOKEN' }, b = { file = 'token' } }\n";
            let path = place.path().join("tocsin.toml");
            let env = |name: &str| (name == "TOKEN").then(|| text.to_owned());
            let loaded = LoadedConfig::parse(&path, config.into(), env).expect("it is good");
            let options = &loaded.config.integrations["ops"].options;
            assert_eq!((&options["a"], &options["b"]), (&value.into(), &value.into()), "{text:?}");
        }
    }

    fn warnings(text: &str, value: &str) -> Vec<String> {
        let env = |name: &str| (name == "TOKEN").then(|| value.to_owned());
        let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env);
        loaded.expect("it is good").warnings.iter().map(ConfigError::sentence).collect()
    }

    #[test]
    fn what_nobody_sees_around_a_secret_is_said_without_the_secret() {
        let token = "[admin]\ntokens = [{ env = 'TOKEN' }]\n";
        assert_eq!(warnings(token, "a-long-enough-token\n"), [""; 0]);
        let bom = warnings(token, "\u{feff}a-long-enough-token");
        insta::assert_snapshot!(bom.join("\n"), @"tocsin.toml:2:11: `admin.tokens`: the value begins with a byte order mark, which counts as a part of it; hint: take it out, unless whoever sends the secret sends that as well");
        for (value, what) in [
            (" a-long-enough-token", "begins with a blank"),
            ("a-long-enough-token\n\n", "ends with another line end"),
            ("a-long-enough-token\r", "ends with another line end"),
            ("a-long-enough-token\t", "ends with a blank"),
            ("a-long-enough-token\u{a0}", "ends with a blank"),
            ("a-long-enough-token\u{feff}", "ends with a blank"),
        ] {
            let option =
                "[integrations.a]\nplugin = 'x'\noptions.deep = [{ x = { env = 'TOKEN' } }]\n";
            for config in [token, option] {
                let said = warnings(config, value);
                assert_eq!(said.len(), 1, "{value:?}: {said:?}");
                assert!(said[0].contains(what) && !said[0].contains("enough"), "{said:?}");
            }
        }
        let literal =
            warnings("[admin]\ntokens = [{ name = 'a', token = 'a-long-enough-token ' }]\n", "");
        assert!(
            literal[0].contains(":2:33: ") && literal[0].contains("ends with a blank"),
            "{literal:?}"
        );
        assert_eq!(warnings("[integrations.a]\nplugin = { env = 'TOKEN' }\n", " x"), [""; 0]);
    }

    #[test]
    fn of_options_the_plugin_says_which_are_secrets() {
        let text = "[integrations.a]\nplugin = 'x'\noptions = { prefix = 'all: ', tokens = ['s3cret '] }\n";
        let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), |_| None);
        let loaded = loaded.expect("it is good");
        let said = loaded.warnings_of_options("a", &["s3cret ".into()]);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].sentence().contains("ends with a blank"), "{said:?}");
        assert_eq!(loaded.warnings_of_options("b", &["s3cret ".into()]), []);
    }

    #[test]
    fn a_required_plugin_that_nothing_uses_is_said() {
        let text = "plugins.required = ['one', 'two']\n[integrations.a]\nplugin = 'one'\n";
        let said = warnings(text, "");
        insta::assert_snapshot!(said.join("\n"), @"tocsin.toml:1:20: `plugins.required`: `two` is the plugin of no integration; hint: look at how it is written");
    }

    /// The secrets of [`with_secrets`]. Each is made of parts that stand nowhere else.
    const SECRETS: [&str; 6] = [
        "Zq7kWx9TtB4n",
        "Hd5fRm2LpC8v",
        "Yw6gJc3NxE1s",
        "Ku4hVb7QaG0z",
        "9154827364519",
        "Ts8yMe5DiF2j",
    ];

    /// A configuration with a secret wherever one may stand.
    fn with_secrets() -> String {
        let [one, two, three, four, number, _] = SECRETS;
        format!(
            "# old: {one}\n[server]\npublic_url = 'https://me:{two}@example.com'\n\
             [admin]\ntokens = ['{one}{one}', {{ name = 'al', token = \"{two}{two}\" }},\n  '{three}{three}',\n]\n\n\
             [integrations.ops]\nplugin = 'x' # {four}\n[integrations.ops.options]\n\
             token = \"{one}\"\nnumber = {number}\nkeys = {{ a = '{two}', b = ['{three}'] }}\n\
             pem = \"\"\"\n{four}=\n{one}==\n\"\"\"\nlast = '''{two}\n{three}'''\n\
             from = {{ env = 'TS' }}\nenabled = true\n"
        )
    }

    /// No part of five letters of any secret.
    #[track_caller]
    fn assert_has_no_secret(said: &str, config: &str) {
        for secret in SECRETS {
            for at in 0..=secret.len() - 5 {
                let part = &secret[at..at + 5];
                assert!(!said.contains(part), "`{part}` is in\n{said}\nof\n{config}");
            }
        }
    }

    fn errors_of(config: &str) -> Option<ConfigErrors> {
        let env = |name: &str| (name == "TS").then(|| SECRETS[5].to_owned());
        LoadedConfig::parse(Path::new("tocsin.toml"), config.to_owned(), env).err()
    }

    #[test]
    fn no_error_shows_a_secret_wherever_a_sign_is_missing_or_too_much() {
        const SIGNS: [&str; 14] =
            ["\"", "'", "\n", "=", " = ", "[", "]", "{", "}", "#", ",", " ", "\\", "1"];
        let good = with_secrets();
        assert_eq!(errors_of(&good), None);
        let mut broken = 0;
        for at in 0..good.len() {
            let (before, after) = good.split_at(at);
            let mut configs = vec![before.to_owned(), format!("{before}{}", &after[1..])];
            configs.extend(SIGNS.map(|sign| format!("{before}{sign}{after}")));
            for config in configs {
                let Some(errors) = errors_of(&config) else { continue };
                broken += 1;
                assert_has_no_secret(&errors.to_string(), &config);
                assert_has_no_secret(&errors.sentence(), &config);
            }
        }
        assert!(broken > 3000, "{broken}");
    }

    #[test]
    fn no_error_shows_a_secret_at_a_key_of_another_kind() {
        let [one, two, _, _, number, _] = SECRETS;
        let from_env = [
            "[server]\nlisten",
            "[server]\nbody_limit_bytes",
            "[server]\nheader_timeout",
            "[log]\nlevel",
            "[log]\nformat",
            "[plugins]\nverify",
            "[plugins.checksums]\n'x 1.0.0'",
            "[requests]\nkeep",
            "[retention]\nrecords",
            "[integrations.a]\nplugin = 'x'\nurgency",
            "[integrations.a]\nplugin = 'x'\nversion",
            "[integrations.a]\nplugin = 'x'\nmaintenance",
            "[integrations.a]\nplugin = 'x'\nrate_limit",
            "[integrations.a]\nplugin = 'x'\nresolve_after",
        ];
        let literal = [
            format!("[server]\npublic_url = '{one}'\n"),
            format!("[server]\ntokens = ['{one}']\n"),
            format!("[store]\nurl = 'postgres://{one}'\n"),
            format!("[store]\nurl = {number}\n"),
            format!("[admin]\ntokens = '{one}'\n"),
            format!("[admin]\ntokens = {number}\n"),
            format!("[admin]\ntokens = [{number}]\n"),
            format!("[admin]\ntokens = [{{ name = '{one} ', token = '{two}' }}]\n"),
            format!("[admin]\ntokens = [{{ name = 'a', tokens = '{two}' }}]\n"),
            format!("[admin]\ntoken = '{one}'\n"),
            format!("token = '{one}'\n"),
            format!("[plugins]\npublic_keys = ['{one}']\n"),
            format!("[integrations.a]\nplugin = 'x'\noptions = '{one}'\n"),
            format!("[integrations.a]\nplugin = 'x'\noptions = {number}\n"),
            format!("[integrations.a]\nplugin = 'x'\noptions = [{number}.5]\n"),
            format!("[integrations.a]\nplugin = 'x'\ntoken = '{one}'\n"),
            format!("[integrations.a]\nplugin = 'x'\noptions.token = {{ env = '{one}' }}\n"),
        ];
        let from_env = from_env.map(|key| format!("{key} = {{ env = 'TS' }}\n"));
        for config in from_env.into_iter().chain(literal) {
            let errors = errors_of(&config).unwrap_or_else(|| panic!("it is good: {config}"));
            assert_has_no_secret(&errors.to_string(), &config);
            assert_has_no_secret(&errors.sentence(), &config);
        }
    }

    #[test]
    fn a_missing_environment_variable_is_an_error() {
        insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\noptions.token = { env = 'NOPE' }\n"), @r#"
        tocsin.toml:3:17: `integrations.ops.options.token`: the environment variable `NOPE` is not set
          |
        3 | options.token = { env = 'NOPE' }
          |                 ^^^^^^^^^^^^^^^^
        hint: set NOPE for the host, or write { file = "PATH" }
        "#);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        insta::assert_snapshot!(refused("[admin]\ntokens = ['a', { file = '/nowhere/token' }]\n"), @"
        tocsin.toml:2:16: `admin.tokens`: cannot read `/nowhere/token`: No such file or directory (os error 2)
          |
        2 | tokens = [***, { file = '/nowhere/token' }]
          |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: a path is relative to this file
        ");
    }

    #[test]
    fn a_pipe_is_an_error_and_not_waited_for() {
        let place = tempfile::tempdir().expect("a folder");
        let pipe = place.path().join("token");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("made");
        let text = format!("[admin]\ntokens = [{{ file = '{}' }}]\n", pipe.display());
        let error = refused(&text).replace(&*pipe.to_string_lossy(), "PIPE");
        insta::assert_snapshot!(error.lines().next().unwrap_or_default(), @"tocsin.toml:2:11: `admin.tokens`: cannot read `PIPE`: it is a pipe and no file");
        let error = LoadedConfig::read(&pipe).expect_err("it is no file").to_string();
        let error = error.replace(&*pipe.to_string_lossy(), "PIPE");
        insta::assert_snapshot!(error, @"
        cannot read the configuration `PIPE`: it is a pipe and no file
        hint: name it with `--config FILE`, or in the environment as TOCSIN_CONFIG
        ");
    }

    #[test]
    fn an_impossible_version_requirement_is_an_error() {
        insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\nversion = 'latest'\n"), @"
        tocsin.toml:3:11: `integrations.ops.version`: unexpected character 'l' while parsing major version number
          |
        3 | version = 'latest'
          |           ^^^^^^^^
        hint: write a semver requirement, such as `^1` or `>=1.2, <2`
        ");
    }

    #[test]
    fn an_admin_listener_off_loopback_needs_a_token() {
        insta::assert_snapshot!(refused("[admin]\nlisten = '0.0.0.0:8081'\n"), @r#"
        tocsin.toml:2:10: `admin.listen`: `0.0.0.0:8081` is not loopback and `admin.tokens` is empty, so that anybody who reaches it could use the API
          |
        2 | listen = '0.0.0.0:8081'
          |          ^^^^^^^^^^^^^^
        hint: add `tokens = [{ env = "TOCSIN_ADMIN_TOKEN" }]`, or listen on 127.0.0.1
        "#);
        parse("[admin]\nlisten = '0.0.0.0:8081'\ntokens = ['a-long-enough-token']\n")
            .expect("it has one");
    }

    #[test]
    fn a_token_that_may_be_guessed_is_an_error() {
        insta::assert_snapshot!(refused("[admin]\ntokens = ['16 bytes or more', { name = 'al', token = '15 bytes or les' }]\n"), @"
        tocsin.toml:2:31: `admin.tokens[1]`: has less than 16 bytes, so that it may be guessed
          |
        2 | tokens = [***, { name = ***, token = *** }]
          |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: make one with `head -c 18 /dev/urandom | base64`
        ");
        let error = refused("[admin]\ntokens = ['']\n");
        assert!(error.contains("a secret must not be empty"), "{error}");
    }

    #[test]
    fn how_often_is_looked_has_bounds() {
        insta::assert_snapshot!(refused("[watch]\nlook_every = '10ms'\n"), @"
        tocsin.toml:2:14: `watch.look_every`: has to be from 100ms to 1h
          |
        2 | look_every = '10ms'
          |              ^^^^^^
        hint: leave it out for 2s
        ");
        parse("[watch]\nlook_every = '1h'\n").expect("an hour");
    }

    #[test]
    fn broken_toml_is_an_error_with_its_place() {
        insta::assert_snapshot!(refused("[server\n"), @"
        tocsin.toml:1:8: unclosed table
          |
        1 | [server
          |        ^
        hint: write `]` here
        ");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        insta::assert_snapshot!(refused("[store]\nurl = 'mysql://x'\n[integrations.'a b']\nplugin = 'x'\n[log]\nlevel = 'loud'\n"), @"
        tocsin.toml:2:7: `store.url`: names no store that this host knows
          |
        2 | url = ***
          |       ^^^
        hint: write `sqlite:PATH`, such as `sqlite:tocsin.db`

        tocsin.toml:6:9: `log.level`: `loud` is no log level
          |
        6 | level = 'loud'
          |         ^^^^^^
        hint: write error, warn, info, debug or trace

        tocsin.toml:3:15: `integrations.a b`: `a b` can't be part of a URL as it is
          |
        3 | [integrations.'a b']
          |               ^^^^^
        hint: use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`
        ");
    }
}
