//! State of integrations, destinations and plugins, as the API shows it.

mod destination;
mod integration;
mod plugin;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::{
    destination::{DestinationStatus, destination_list},
    integration::{
        BreakerStateName, BreakerStatus, IntegrationStatus, WaitingReasonName, WaitingVersion,
        integration_list,
    },
    plugin::{PluginStatus, VerifiedBy, describe_plugins},
};
use super::ApiResult;
use crate::{
    call::PluginRuntime,
    host::{Host, in_force::InForce},
    http::error::ErrorBody,
    plugin_user::role::Role,
};

/// List of all integrations, by name.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct IntegrationList {
    /// The integrations.
    pub integrations: Vec<IntegrationStatus>,
}

/// List of all files in the plugins folder and of all integrations, by name.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct PluginList {
    /// The files.
    pub plugins: Vec<PluginStatus>,
    /// The integrations.
    pub integrations: Vec<IntegrationStatus>,
}

/// List of all destinations, by name.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DestinationList {
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
}

/// Returns the place in the configuration that names the plugin of an integration or a destination, as
/// ``FILE:LINE:COLUMN: `KEY` ``.
fn place_of_plugin<R: Role>(in_force: &InForce, name: &str) -> String {
    let error = in_force.plugin_error::<R>(name, "");
    format!("{}: `{}`", error.place(), error.key())
}

/// Lists the integrations.
#[utoipa::path(get, path = "/api/v1/integrations", tag = "status", security(("token" = [])),
    operation_id = "list_integrations",
    responses(
        (status = 200, description = "All integrations, by name", body = IntegrationList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    ))]
pub(super) async fn integrations(State(host): State<Arc<Host>>) -> Json<IntegrationList> {
    Json(IntegrationList { integrations: integration_list(&host.in_force()) })
}

/// Lists the destinations with the deliveries that wait for them.
#[utoipa::path(get, path = "/api/v1/destinations", tag = "status", security(("token" = [])),
    operation_id = "list_destinations",
    responses(
        (status = 200, description = "All destinations, by name", body = DestinationList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store does not answer", body = ErrorBody),
    ))]
pub(super) async fn destinations(State(host): State<Arc<Host>>) -> ApiResult<DestinationList> {
    let stored = host.store.destinations().await?;
    Ok(Json(DestinationList { destinations: destination_list(&host.in_force(), stored) }))
}

/// Lists every file of the plugins folder with its problem, and the integrations.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "status", security(("token" = [])),
    operation_id = "list_plugins",
    responses(
        (status = 200, description = "All files in the plugins folder, and all integrations", body = PluginList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    ))]
pub(super) async fn plugins(State(host): State<Arc<Host>>) -> Json<PluginList> {
    Json(PluginList::of(&host.in_force(), &*host.runtime))
}

impl PluginList {
    /// Makes both lists from the same configuration and the same folder.
    pub(crate) fn of(in_force: &InForce, runtime: &dyn PluginRuntime) -> Self {
        let plugins = describe_plugins(in_force, runtime);
        Self { plugins, integrations: integration_list(in_force) }
    }
}
