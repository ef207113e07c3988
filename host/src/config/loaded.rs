//! A configuration that was read and checked.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, ConfigError, ConfigErrors, Document,
    file::{ExposedConfig, read_file},
    recovery::{self, Recovered},
    references::ReferenceResolver,
    syntax,
};
use crate::{
    routing::Routes,
    store::StoreConfig,
    system::file_permissions::{HostUser, Reader},
};

/// A checked [`Config`] with its [`Document`], so that later errors can point into the file.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The values.
    pub(crate) config: Config,
    /// The file.
    pub(crate) document: Document,
    /// The routes to the destinations, ready to be evaluated.
    pub(crate) routes: Arc<Routes>,
    /// Places that an operator should check, though they may be right. Warnings repeat no values.
    pub(crate) warnings: Vec<ConfigError>,
    /// Users besides root and the host's own who can read the file, if there are any.
    pub(super) reader: Option<Reader>,
}

impl LoadedConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// [`UnreadableConfig`](super::UnreadableConfig), [`ExposedConfig`], or [`ConfigErrors`] with all
    /// errors of the file at once.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let host = HostUser::of_this_process();
        let (Document { path, text, .. }, metadata) = read_file(path)?;
        host.check_writers(&path, &metadata).map_err(ExposedConfig)?;
        let env = |name: &str| std::env::var(name).ok();
        Ok(Self::parse_for(&path, text, env, Some((&host, host.reader(&metadata))))?)
    }

    /// Checks the text of a configuration. Unlike [`read`](Self::read), it ignores the permissions of
    /// files. `env` looks up environment variables.
    ///
    /// # Errors
    ///
    /// All errors of the text at once.
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
        let mut root = syntax::parse(&document, &text)?;
        let mut resolver = ReferenceResolver::new(&document, &env, host.map(|(host, _)| host));
        resolver.resolve_in(root.get_mut());
        let (warnings, wrong, mut errors) = (resolver.warnings, resolver.wrong, resolver.errors);
        document.hide(resolver.values);
        let Recovered { value, errors: of_values, removed } =
            recovery::read::<Config>(&document, root, &wrong);
        errors.extend(of_values);
        let Some(config) = value else { return Err(ConfigErrors::in_order(errors)) };
        let reader = host.and_then(|(_, reader)| reader);
        let mut loaded = Self { config, document, routes: Arc::default(), warnings, reader };
        let own = loaded.own_warnings();
        loaded.warnings.extend(own);
        let checked = match loaded.check(host.map(|(host, _)| host)) {
            Ok(checked) if errors.is_empty() => checked,
            Ok(_) => return Err(ConfigErrors::in_order(errors)),
            Err(found) => {
                errors.extend(found.into_iter().filter(|error| !removed.may_explain(error)));
                return Err(ConfigErrors::in_order(errors));
            }
        };
        loaded.routes = Arc::new(checked.routes);
        loaded.config.delivery.ca_pem = checked.ca_pem;
        loaded.config.tracing.ca_pem = checked.tracing_ca_pem;
        loaded.config.put_pairs(checked.server_tls, checked.admin_tls);
        loaded.warnings.extend(checked.warnings);
        Ok(loaded)
    }

    /// Returns a path of the configuration, which is relative to the configuration file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.document.beside(path)
    }

    /// Returns the path of the plugins folder.
    pub fn plugins_dir(&self) -> PathBuf {
        self.resolve(&self.config.plugins.dir)
    }

    /// Creates a [`ConfigError`] at a key of `[plugins]`.
    pub fn plugins_error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.document.error_at(&["plugins", key], message)
    }

    /// Creates a [`ConfigError`] at a key of an integration.
    pub fn integration_error(
        &self,
        name: &str,
        key: &[&str],
        message: impl Into<String>,
    ) -> ConfigError {
        self.document.error_at(&[&["integrations", name], key].concat(), message)
    }

    /// Returns the store that `store.url` names; none if its kind is unknown.
    pub(crate) fn store_config(&self) -> Option<StoreConfig> {
        self.store_paths().map(|paths| paths.store)
    }

    /// Returns the path of the journal of plugin loads, which belongs to a store.
    pub(crate) fn load_journal(&self, store: &StoreConfig) -> PathBuf {
        let folder = match &self.config.state_dir {
            Some(folder) => self.resolve(folder),
            None => store.default_state_dir().to_owned(),
        };
        let mut name = store.name();
        name.push(".loading");
        folder.join(name)
    }
}
