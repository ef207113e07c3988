//! The destinations of a configuration, each with the notifier plugin that writes its messages.
//!
//! A destination is prepared here, and never contacted: the module `notify` sends.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use tocsin_plugin_api::{notification::Kind, step::Description};

use crate::{
    call::NotifierCaller, config::DestinationConfig, plugins::admission::AdmittedPlugin,
    problem::Problem, redaction::Redactor,
};

/// A destination, its settings, and the plugin that writes its messages.
pub(crate) struct Destination {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// The section of the configuration.
    section: DestinationConfig,
    /// The plugin, or why there is none.
    state: DestinationState,
}

/// State of a [`Destination`].
pub(crate) enum DestinationState {
    /// Messages can be sent.
    Ready(ReadyDestination),
    /// The operator disabled the destination.
    Disabled,
    /// The plugin cannot be used.
    Broken(Problem),
}

/// The parts of a [`Destination`] that exist only while its plugin can be used.
pub(crate) struct ReadyDestination {
    /// The plugin.
    pub plugin: Arc<AdmittedPlugin>,
    /// The caller of the plugin.
    pub caller: NotifierCaller,
    /// The plugin's description of itself with the destination's options.
    pub description: Description,
    /// The kinds of news that are sent because of a change: those of the configuration that the plugin
    /// can send.
    pub events: Vec<Kind>,
    /// The shortest time between two attempts: by the operator's rate limit, or as the plugin suggests.
    pub pause: Duration,
    /// The most attempts at the same time.
    pub parallel: NonZeroUsize,
    /// The number of waiting alerts above which a digest is sent; 0 for never, also if the plugin cannot
    /// send a digest.
    pub digest_above: u32,
    /// A digest of everything that decides if an attempt can succeed: plugin, version, options and network
    /// rules. A parked destination is tried again if the digest has changed.
    pub settings_digest: String,
    /// The secrets among the options, to be removed from records.
    pub redactor: Redactor,
}

impl Destination {
    /// Returns the settings in the configuration.
    pub(crate) fn section(&self) -> &DestinationConfig {
        &self.section
    }

    /// Returns the reason why the destination cannot be used now; none if it is ready or disabled.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match &self.state {
            DestinationState::Ready(ready) => ready.caller.health().problem,
            DestinationState::Disabled => None,
            DestinationState::Broken(problem) => Some(problem.clone()),
        }
    }

    /// Returns the parts that are needed to send; none if the destination is broken or disabled.
    pub(crate) fn ready(&self) -> Option<&ReadyDestination> {
        match &self.state {
            DestinationState::Ready(ready) => Some(ready),
            DestinationState::Disabled | DestinationState::Broken(_) => None,
        }
    }
}

/// The destinations of one configuration.
#[derive(Clone, Default)]
pub(crate) struct Destinations {
    /// The destinations by name.
    pub by_name: HashMap<Arc<str>, Arc<Destination>>,
}

impl Destinations {
    /// Returns the destinations in the order of their names.
    pub(crate) fn sorted(&self) -> Vec<&Arc<Destination>> {
        let mut sorted: Vec<_> = self.by_name.values().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted
    }
}
