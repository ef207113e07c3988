//! State of a destination: its plugin, and the deliveries that wait for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BreakerStatus, WaitingVersion, integration::describe_waiting, place_of_plugin};
use crate::{
    alert::PluginId,
    delivery::{DestinationState, Parked},
    destination::{Destination, Notifying},
    host::in_force::InForce,
    plugin_user::{PluginAlternatives, PluginState},
};

/// State of a [`Destination`].
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DestinationStatus {
    /// Name of the destination.
    pub name: String,
    /// State in short.
    pub status: DestinationStatusName,
    /// The plugin that writes the messages.
    pub plugin: Option<PluginId>,
    /// The versions of the plugin that the configuration allows; null if the destination is removed.
    pub version: Option<String>,
    /// Kinds of news that the destination is told of.
    pub events: Vec<String>,
    /// Base URLs of the servers that the plugin contacts, as far as it can be asked.
    pub contacts: Vec<String>,
    /// Shortest time between two attempts, such as `1s`; null if there is none.
    pub pause: Option<String>,
    /// Most attempts at the same time; null if the destination is not ready.
    pub parallel: Option<usize>,
    /// Number of new alerts that wait for the destination above which one message tells of all of them. 0
    /// means never. Null if the destination is not ready.
    pub digest_above: Option<u32>,
    /// Reason why nothing can be sent now, one sentence with a hint.
    pub problem: Option<String>,
    /// Place in the configuration that names the plugin, such as ``tocsin.toml:12:10:
    /// `destinations.ops.plugin` ``, if there is a problem.
    #[serde(default)]
    pub place: Option<String>,
    /// Reason and time, if the destination is parked: nothing is sent until an operator has changed
    /// something.
    pub parked: Option<ParkedStatus>,
    /// Time until which no attempt is made, after the answer 429.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// Number of deliveries that wait.
    pub waiting: u64,
    /// Number of dead deliveries.
    pub dead: u64,
    /// Time of the change that caused the oldest waiting delivery.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_waiting_at: Option<Timestamp>,
    /// Number of times that this host has set up the destination; null if the destination is removed.
    pub generation: Option<u64>,
    /// Start of this generation.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Other versions of its plugin in the folder, highest first.
    pub other_versions: Vec<WaitingVersion>,
    /// Circuit breaker of its plugin; null if no plugin serves the destination.
    pub breaker: Option<BreakerStatus>,
    /// Number of threads that are stuck in calls of this version of its plugin.
    pub stuck_threads: u64,
}

/// State of a destination in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DestinationState)]
pub(crate) enum DestinationStatusName {
    /// Messages are sent.
    Ready,
    /// No plugin can write the messages now. Deliveries wait.
    Broken,
    /// The configuration disables the destination. Deliveries wait.
    Disabled,
    /// The destination does not work until an operator changes something. Deliveries wait.
    Parked,
    /// The configuration no longer has the destination. Its deliveries are kept.
    Removed,
}

impl DestinationStatusName {
    /// Returns the name in JSON and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Broken => "broken",
            Self::Disabled => "disabled",
            Self::Parked => "parked",
            Self::Removed => "removed",
        }
    }
}

/// Mark of a destination that does not work.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct ParkedStatus {
    /// Time at which the destination was parked.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Reason that the plugin gave.
    pub reason: String,
}

/// Describes the destinations of a configuration, with their deliveries in the store, and those that only
/// the store knows.
pub(crate) fn destination_list(
    in_force: &InForce,
    stored: Vec<DestinationState>,
) -> Vec<DestinationStatus> {
    let stored = stored.into_iter().map(|state| (state.name.clone(), state));
    let mut stored: BTreeMap<_, _> = stored.collect();
    let destinations = &in_force.destinations;
    let describe = |destination: &Destination, stored: DestinationState| {
        let alternatives = destinations.alternatives_of(&destination.name);
        let described = describe_destination(destination, &alternatives, stored);
        let place = || place_of_plugin::<Notifying>(in_force, &destination.name);
        DestinationStatus { place: described.problem.as_ref().map(|_| place()), ..described }
    };
    let configured: Vec<_> = destinations
        .sorted()
        .into_iter()
        .map(|destination| {
            describe(destination, stored.remove(&*destination.name).unwrap_or_default())
        })
        .collect();
    // A removed destination without deliveries is of no interest.
    let removed = stored.into_values().filter(|state| state.waiting > 0 || state.dead > 0);
    let mut list: Vec<_> = configured.into_iter().chain(removed.map(describe_removed)).collect();
    list.sort_by(|one, other| one.name.cmp(&other.name));
    list
}

fn describe_destination(
    destination: &Destination,
    alternatives: &PluginAlternatives,
    stored: DestinationState,
) -> DestinationStatus {
    let (section, ready) = (destination.section(), destination.ready());
    let problem = destination.problem().map(|problem| problem.one_line());
    // A parking ends as soon as the settings change.
    let is_present =
        |parked: &Parked| ready.is_none_or(|ready| ready.settings_digest == parked.settings);
    let stored = DestinationState { parked: stored.parked.filter(is_present), ..stored };
    let status = match &destination.state {
        PluginState::Disabled => DestinationStatusName::Disabled,
        _ if problem.is_some() => DestinationStatusName::Broken,
        _ if stored.parked.is_some() => DestinationStatusName::Parked,
        _ => DestinationStatusName::Ready,
    };
    let events = ready.map_or(&section.events, |ready| &ready.events);
    let pause = ready.map(|ready| ready.pause).filter(|pause| !pause.is_zero());
    DestinationStatus {
        status,
        plugin: destination.plugin().map(|plugin| PluginId::clone(plugin)),
        version: Some(section.version.to_string()),
        events: events.iter().map(ToString::to_string).collect(),
        contacts: ready.map(|ready| ready.description.contacts.clone()).unwrap_or_default(),
        pause: pause.map(|pause| format!("{pause:?}")),
        parallel: ready.map(|ready| ready.parallel.get()),
        digest_above: ready.map(|ready| ready.digest_above),
        problem,
        generation: Some(destination.generation),
        since: Some(destination.since),
        other_versions: alternatives.waiting.iter().map(describe_waiting).collect(),
        breaker: destination.breaker().map(BreakerStatus::from),
        // The count is below zero if a thread returns just before it is counted as stuck.
        stuck_threads: u64::try_from(destination.metrics.stuck_threads.get()).unwrap_or(0),
        ..describe_removed(DestinationState { name: destination.name.to_string(), ..stored })
    }
}

/// Describes a destination that only the store knows.
fn describe_removed(stored: DestinationState) -> DestinationStatus {
    let DestinationState { name, parked, paused_until, waiting, dead, oldest_waiting } = stored;
    DestinationStatus {
        name,
        status: DestinationStatusName::Removed,
        plugin: None,
        version: None,
        events: Vec::new(),
        contacts: Vec::new(),
        pause: None,
        parallel: None,
        digest_above: None,
        problem: None,
        place: None,
        parked: parked.map(|parked| ParkedStatus { since: parked.since, reason: parked.reason }),
        paused_until,
        waiting,
        dead,
        oldest_waiting_at: oldest_waiting,
        generation: None,
        since: None,
        other_versions: Vec::new(),
        breaker: None,
        stuck_threads: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::LoadedConfig;

    fn nothing_in_force() -> InForce {
        let config = LoadedConfig::parse(Path::new("tocsin.toml"), String::new(), |_| None);
        InForce::empty(config.expect("an empty configuration is valid"))
    }

    #[test]
    fn a_removed_destination_is_listed_as_long_as_it_has_deliveries() {
        let state = |name: &str, waiting, dead| DestinationState {
            name: name.into(),
            waiting,
            dead,
            ..DestinationState::default()
        };
        let stored = vec![state("a", 0, 0), state("b", 3, 0), state("c", 0, 1)];
        let list = destination_list(&nothing_in_force(), stored);
        let list: Vec<_> =
            list.iter().map(|one| (&*one.name, one.status, one.waiting, one.dead)).collect();
        let removed = DestinationStatusName::Removed;
        assert_eq!(list, [("b", removed, 3, 0), ("c", removed, 0, 1)]);
    }

    #[test]
    fn a_parking_is_shown_without_the_digest_of_the_settings() {
        let parked = Parked {
            since: Timestamp::UNIX_EPOCH,
            reason: "the token is revoked".into(),
            settings: "0123abcd".into(),
        };
        let stored = DestinationState {
            name: "ops".into(),
            parked: Some(parked),
            waiting: 1,
            ..DestinationState::default()
        };
        let list = destination_list(&nothing_in_force(), vec![stored]);
        let json = serde_json::to_value(&list[0].parked).expect("JSON");
        let expected = serde_json::json!({
            "since": "1970-01-01T00:00:00Z",
            "reason": "the token is revoked",
        });
        assert_eq!(json, expected);
    }
}
