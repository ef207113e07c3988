//! One configuration, and everything that is made from it and from the plugins folder.

use crate::{
    config::{ConfigError, ConfigErrors, LoadedConfig},
    destination::{Destinations, Notifying},
    integration::{Integrations, Receiving},
    plugin_user::{
        builder::{Builder, PluginUserPlans},
        occasion::Occasion,
        plugins_folder::read_catalog,
        role::Role,
    },
    plugins::Catalog,
};

/// One configuration, and the integrations and destinations made from it. A request sees one of these as
/// a whole.
#[derive(Clone)]
pub(crate) struct InForce {
    /// The configuration.
    pub config: LoadedConfig,
    /// The contents of the plugins folder.
    pub catalog: Catalog,
    /// The integrations.
    pub integrations: Integrations,
    /// The destinations.
    pub destinations: Destinations,
}

/// Changes that a configuration would make.
pub(crate) struct Plans {
    /// Integrations that would be replaced or added.
    pub integrations: PluginUserPlans<Receiving>,
    /// Destinations that would be replaced or added.
    pub destinations: PluginUserPlans<Notifying>,
}

impl InForce {
    /// Creates a configuration without any integration or destination.
    pub(crate) fn empty(config: LoadedConfig) -> Self {
        Self {
            config,
            catalog: Catalog::default(),
            integrations: Integrations::default(),
            destinations: Destinations::default(),
        }
    }

    /// Creates an error at the key that names the plugin of an integration or a destination.
    pub(crate) fn plugin_error<R: Role>(
        &self,
        user: &str,
        message: impl Into<String>,
    ) -> ConfigError {
        self.config.document.error_at(&[R::TABLE, user, "plugin"], message)
    }

    /// Reads the plugins folder of the next configuration, and builds everything for it, see
    /// [`Builder::build`]. This one is in force meanwhile.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] if the folder cannot be listed, or nothing in it can be trusted.
    pub(crate) fn next(
        &self,
        config: LoadedConfig,
        occasion: Occasion<'_>,
    ) -> Result<(Self, Vec<ConfigError>), ConfigErrors> {
        let catalog = read_catalog(&config, &self.catalog)?;
        let builder = Builder::new(&config, &catalog, &self.integrations, occasion);
        let (integrations, mut errors) = builder.build();
        let builder = Builder::new(&config, &catalog, &self.destinations, occasion);
        let (destinations, more) = builder.build();
        errors.extend(more);
        Ok((Self { config, catalog, integrations, destinations }, errors))
    }

    /// Plans what [`next`](Self::next) would change, without running any code of a plugin.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next).
    pub(crate) fn plan(
        &self,
        config: &LoadedConfig,
        occasion: Occasion<'_>,
    ) -> Result<(Plans, Vec<ConfigError>), ConfigErrors> {
        let catalog = read_catalog(config, &self.catalog)?;
        let builder = Builder::new(config, &catalog, &self.integrations, occasion);
        let (integrations, mut errors) = builder.plan();
        let builder = Builder::new(config, &catalog, &self.destinations, occasion);
        let (destinations, more) = builder.plan();
        errors.extend(more);
        Ok((Plans { integrations, destinations }, errors))
    }
}
