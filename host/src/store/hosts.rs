//! Hosts that share a store, as they report themselves.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use super::{Pending, duties::Duty};

/// Time after its last report for which a host that stopped or fell silent is listed.
pub const HOSTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Reports of the hosts that share a store.
///
/// Times are those of the store's own clock, so that a host with a wrong clock does not look silent.
/// [Closing](super::Store::close) a store notes that its host has stopped.
pub trait HostStore: Send + Sync {
    /// Returns the id of this host. Each start of a host has another id.
    fn this_host(&self) -> Ulid;

    /// Records that this host is alive, with what it reports. Forgets hosts that stopped or fell silent longer
    /// than [`HOSTS_KEPT`] ago.
    fn report(&self, report: HostReport) -> Pending<()>;

    /// Returns every [`KnownHost`] that is not forgotten, the oldest first.
    fn hosts(&self) -> Pending<Vec<KnownHost>>;
}

/// Report of a host about itself. Fields that an older host does not report have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostReport {
    /// Name of the machine, and id of the process on it.
    pub name: String,
    /// Version of the host.
    pub version: String,
    /// Time of the start, by the host's own clock.
    pub started_at: Timestamp,
    /// Time since the start, in seconds.
    pub uptime_seconds: u64,
    /// Address of the admin API.
    pub address: String,
    /// Plugins that the host has admitted, by name and version.
    pub plugins: Vec<ReportedPlugin>,
    /// Integrations and destinations that are enabled, such as `integrations.ops`, with the plugin that serves each;
    /// none if the plugin cannot be used.
    pub serves: BTreeMap<String, Option<ReportedPlugin>>,
    /// Digests of the parts of the configuration that all hosts should have in common, by their keys, such as
    /// `destinations.ops`.
    pub settings: BTreeMap<String, String>,
}

/// Plugin of a host.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(default)]
pub struct ReportedPlugin {
    /// Name of the plugin.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// SHA-256 hash of the file in hex.
    pub sha256: String,
}

/// A host as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Id of the host.
    pub id: Ulid,
    /// The last [`HostReport`].
    pub report: HostReport,
    /// Time of the last report, or of the stop.
    pub last_seen_at: Timestamp,
    /// Time since then.
    pub silent_for: Duration,
    /// True if the host stopped as it should.
    pub has_stopped: bool,
    /// [Duties](Duty) that the host holds, sorted.
    pub duties: Vec<Duty>,
}
