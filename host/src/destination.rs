//! The role of a plugin that sends notifications, and the destinations that use such plugins.
//!
//! A destination is prepared here, and never contacted: the module `notify` sends. The room
//! [`plugin_user`](crate::plugin_user) decides which plugin serves a destination.

mod digest;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, mpsc},
    time::Duration,
};

use semver::VersionReq;
use serde_json::{Map, Value};
use tocsin_plugin_api::{
    manifest,
    notification::Kind,
    step::{Description, NotifyCall},
};

use self::digest::settings_digest;
use crate::{
    alert::PluginId,
    call::{
        BreakerReport, CallFailure, Caller, CallerHealth, NotifierCaller, NotifierOutput,
        RunnablePlugin, StartError,
    },
    config::{Config, ConfigError, DestinationConfig},
    limits::rate_limit::Rate,
    metrics::{Metrics, Owner, PluginMetrics},
    outbound::NetworkRules,
    plugin_user::{
        PluginUser, PluginUsers,
        role::{NoStart, NoStartReason, PluginCaller, PluginSection, Role, StartOrder},
        secrets::secrets,
    },
    problem::Problem,
    redaction::Redactor,
};

/// A destination, its settings, and the plugin that writes its messages.
pub(crate) type Destination = PluginUser<Notifying>;

/// The destinations of one configuration.
pub(crate) type Destinations = PluginUsers<Notifying>;

/// The role of a plugin that writes the messages of a [`Destination`].
pub(crate) struct Notifying;

/// The parts of a [`Destination`] that exist only while its plugin can be used.
pub(crate) struct ReadyDestination {
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
    /// The rules on the servers that may be contacted.
    pub rules: NetworkRules,
    /// A digest of everything that decides if an attempt can succeed: plugin, version, options and network
    /// rules. A parked destination is tried again if the digest has changed.
    pub settings_digest: String,
    /// The secrets among the options, to be removed from records.
    pub redactor: Redactor,
}

impl Destination {
    /// Returns the settings in the configuration.
    pub(crate) fn section(&self) -> &DestinationConfig {
        &self.settings.section
    }

    /// Returns the parts that are needed to send; none if the destination is broken or disabled.
    pub(crate) fn ready(&self) -> Option<&ReadyDestination> {
        self.caller()
    }

    /// Returns the reason why the destination cannot be used now; none if it is ready or disabled.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.health().problem
    }
}

impl Role for Notifying {
    type Section = DestinationConfig;
    type Caller = ReadyDestination;
    type Metrics = PluginMetrics;

    const TABLE: &'static str = "destinations";
    const NOUN: &'static str = "destination";
    const CAPABILITY: &'static str = manifest::NOTIFY;

    fn sections(config: &Config) -> &BTreeMap<String, DestinationConfig> {
        &config.destinations
    }

    fn owner(name: &str) -> Owner {
        Owner::Destination(name.into())
    }

    fn metrics(metrics: &Metrics, name: &str, plugin: &PluginId) -> PluginMetrics {
        metrics.destination(name, plugin)
    }

    fn of(_: &DestinationConfig, _: Option<&Destination>) -> Self {
        Self
    }

    fn incapable(name: &str, plugin: &PluginId) -> Problem {
        let PluginId { name: plugin, version } = plugin;
        let message = format!(
            "plugin `{plugin} {version}` sends no notifications: it only receives webhooks"
        );
        Problem::new("plugin-incapable", message).with_hint(format!(
            "name a plugin that sends notifications, or make it an integration: write \
             `[integrations.{name}]` instead of `[destinations.{name}]`"
        ))
    }

    fn start(
        order: &StartOrder<'_, Self>,
        known: Option<StartError>,
    ) -> Result<ReadyDestination, NoStart<ReadyDestination>> {
        let reason = match known {
            Some(error) => Err(NoStartReason::NoInstance(error)),
            None => ReadyDestination::start(order),
        };
        reason.map_err(|reason| NoStart { reason, caller: None })
    }
}

impl PluginSection for DestinationConfig {
    fn plugin(&self) -> &str {
        &self.plugin
    }

    fn version(&self) -> &VersionReq {
        &self.version
    }

    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn options(&self) -> &Map<String, Value> {
        &self.options
    }
}

impl PluginCaller for ReadyDestination {
    fn plugin(&self) -> &Arc<dyn RunnablePlugin> {
        self.caller.plugin()
    }

    fn is_started(&self) -> bool {
        self.caller.is_started()
    }

    fn health(&self) -> CallerHealth {
        self.caller.health()
    }

    fn breaker(&self) -> BreakerReport {
        self.caller.breaker()
    }
}

impl ReadyDestination {
    /// Makes an instance of the plugin, and asks it to describe itself.
    fn start(order: &StartOrder<'_, Notifying>) -> Result<Self, NoStartReason> {
        let StartOrder { resources, settings, plugin, .. } = order;
        let (plugin, options) = (Arc::clone(plugin), order.options.clone());
        let metrics = Arc::clone(order.metrics);
        let (caller, first) =
            Caller::start(resources.notifier_pool, plugin, options, settings.limits, metrics);
        first.map_err(NoStartReason::NoInstance)?;
        let description = describe(&caller).map_err(NoStartReason::NoDescription)?;
        let events = events(order, &description).map_err(NoStartReason::Unable)?;
        let section = &settings.section;
        let options = Value::Object(section.options.clone());
        let suggested = Duration::from_millis(description.pause_ms);
        let sends_digests = description.kinds.contains(&Kind::Digest);
        Ok(Self {
            events,
            pause: section.rate_limit.map_or(suggested, Rate::interval),
            parallel: section.parallel,
            digest_above: if sends_digests { section.digest_above } else { 0 },
            rules: rules(order.name, section),
            settings_digest: settings_digest(&order.plugin.admitted().id, section),
            redactor: Redactor::new(&secrets(&order.plugin, &options)),
            description,
            caller,
        })
    }
}

/// Returns the rules on the servers that a destination may contact.
fn rules(name: &str, section: &DestinationConfig) -> NetworkRules {
    NetworkRules {
        allow_networks: section.allow_networks.clone(),
        allow_http: section.allow_http,
        section: format!("{}.{name}", Notifying::TABLE),
    }
}

/// Asks a notifier to describe itself. The call has a deadline.
fn describe(caller: &NotifierCaller) -> Result<Description, CallFailure> {
    let (answer, answered) = mpsc::channel();
    // The receiver waits as long as the call may take.
    caller.notify(&NotifyCall::Describe, Box::new(move |result| drop(answer.send(result))));
    match answered.recv() {
        Ok(Ok(NotifierOutput::Description(description))) => Ok(description),
        Ok(Ok(NotifierOutput::Step(_))) => {
            Err(CallFailure::Unusable("the plugin gave a step instead".into()))
        }
        Ok(Err(failure)) => Err(failure),
        Err(mpsc::RecvError) => Err(CallFailure::Unusable("the host is stopping".into())),
    }
}

/// Returns the kinds of news that a destination is told of. Of the default kinds, those that the plugin
/// cannot send are left out.
///
/// # Errors
///
/// If the plugin cannot send a kind that the operator wrote, or none of the default kinds.
fn events(
    order: &StartOrder<'_, Notifying>,
    description: &Description,
) -> Result<Vec<Kind>, ConfigError> {
    let StartOrder { config, name, settings, plugin, .. } = order;
    let wanted = &settings.section.events;
    let can_send = |kind: &&Kind| description.kinds.contains(kind);
    let document = &config.document;
    let key = [Notifying::TABLE, *name, "events"];
    let PluginId { name: plugin, version } = &*plugin.admitted().id;
    let list = |kinds: &[Kind]| {
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        kinds.join(", ")
    };
    let choice: Vec<_> =
        SELECTABLE.into_iter().filter(|kind| description.kinds.contains(kind)).collect();
    let hint = match choice.as_slice() {
        [] => "report it to the plugin's author".to_owned(),
        choice => format!("the plugin can send {}", list(choice)),
    };
    if document.has(&key) {
        let wrong = wanted.iter().position(|kind| !can_send(&kind));
        if let Some(place) = wrong {
            let key = [Notifying::TABLE, *name, &format!("events[{place}]")];
            let message = format!("plugin `{plugin} {version}` cannot send `{}`", wanted[place]);
            return Err(document.error_at(&key, message).hint(hint));
        }
    }
    let events: Vec<_> = wanted.iter().filter(can_send).copied().collect();
    if events.is_empty() {
        let message = format!("plugin `{plugin} {version}` can send none of {}", list(wanted));
        return Err(document.error_at(&key, message).hint(hint));
    }
    Ok(events)
}

/// The kinds of news that an operator can choose in `events`.
const SELECTABLE: [Kind; 5] =
    [Kind::Opened, Kind::Acknowledged, Kind::Resolved, Kind::Occurred, Kind::Noted];
