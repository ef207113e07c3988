//! Route of the hosts that share the store.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use super::ApiResult;
use crate::{
    host::Host,
    hosts::differences::{Vitality, differences},
    http::error::ErrorBody,
    store::hosts::{HostReport, KnownHost, ReportedPlugin},
};

/// List of the hosts that share the store, the oldest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct HostList {
    /// The hosts. A host that stopped or fell silent leaves the list a day later.
    pub hosts: Vec<HostStatus>,
    /// One sentence on each difference between hosts that are alive: other plugins, or another
    /// configuration. Readiness and the log name those that last for more than a minute.
    pub differences: Vec<String>,
}

/// State of a host.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct HostStatus {
    /// Id of the host. Each start of a host has another id.
    #[schema(value_type = String)]
    pub id: Ulid,
    /// Name of the machine, and id of the process on it.
    pub name: String,
    /// True for the host that answers.
    pub is_this: bool,
    /// Version of the host.
    pub version: String,
    /// State in short.
    pub state: HostState,
    /// Time of the start, by the host's own clock.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Time of the last report, or of the stop.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// Time from the start to the last report, in seconds.
    pub uptime_seconds: u64,
    /// Address of the admin API.
    pub address: String,
    /// Duties that the host holds: `housekeeping`, `routing`, and `delivering NAME` for a destination.
    pub duties: Vec<String>,
    /// Plugins that the host has admitted, by name and version.
    pub plugins: Vec<ReportedPlugin>,
    /// Integrations and destinations that are enabled, by name.
    pub serves: Vec<ServedByHost>,
}

/// Integration or destination that is enabled on a host.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct ServedByHost {
    /// Key of the section in the configuration, such as `integrations.ops`.
    pub name: String,
    /// Plugin that serves it; null if its plugin cannot be used.
    pub plugin: Option<ReportedPlugin>,
}

/// State of a host in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostState {
    /// The host reports itself every five seconds.
    Alive,
    /// The host has not reported itself for 15 seconds, although it did not stop.
    Silent,
    /// The host stopped as it should.
    Stopped,
}

impl HostState {
    /// Returns the name in JSON and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Alive => Vitality::Alive.as_str(),
            Self::Silent => Vitality::Silent.as_str(),
            Self::Stopped => Vitality::Stopped.as_str(),
        }
    }
}

impl From<Vitality> for HostState {
    fn from(vitality: Vitality) -> Self {
        match vitality {
            Vitality::Alive => Self::Alive,
            Vitality::Silent => Self::Silent,
            Vitality::Stopped => Self::Stopped,
        }
    }
}

/// Lists the hosts that share the store, with what each serves.
///
/// With SQLite, the list has one host: the one that answers.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "status", security(("token" = [])),
    operation_id = "list_hosts",
    responses(
        (status = 200, description = "All hosts, the oldest first", body = HostList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store does not answer", body = ErrorBody),
    ))]
pub(super) async fn list(State(host): State<Arc<Host>>) -> ApiResult<HostList> {
    let hosts = host.store.hosts().await?;
    let differences = differences(&hosts).into_values().collect();
    let this = host.store.this_host();
    let hosts = hosts.into_iter().map(|known| HostStatus::of(known, this)).collect();
    Ok(Json(HostList { hosts, differences }))
}

impl HostStatus {
    fn of(known: KnownHost, this: Ulid) -> Self {
        let state = Vitality::of(&known).into();
        let KnownHost { id, report, last_seen_at, duties, .. } = known;
        let HostReport {
            name, version, started_at, uptime_seconds, address, plugins, serves, ..
        } = report;
        Self {
            id,
            name,
            is_this: id == this,
            version,
            state,
            started_at,
            last_seen_at,
            uptime_seconds,
            address,
            duties: duties.iter().map(ToString::to_string).collect(),
            plugins,
            serves: serves
                .into_iter()
                .map(|(name, plugin)| ServedByHost { name, plugin })
                .collect(),
        }
    }
}
