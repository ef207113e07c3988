//! State of integrations and plugins, as the API shows it.

mod integration;
mod plugin;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::{
    integration::{
        BreakerStateName, IntegrationStatus, WaitingReasonName, WaitingVersion, integration_list,
    },
    plugin::{PluginStatus, VerifiedBy, describe_plugins},
};
use crate::{
    call::PluginRuntime,
    host::{Host, in_force::InForce},
    http::error::ErrorBody,
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

/// Lists the integrations.
#[utoipa::path(get, path = "/api/v1/integrations", tag = "status", security(("token" = [])),
    responses(
        (status = 200, body = IntegrationList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    ))]
pub(super) async fn integrations(State(host): State<Arc<Host>>) -> Json<IntegrationList> {
    Json(IntegrationList { integrations: integration_list(&host.in_force()) })
}

/// Lists every file of the plugins folder with its problem, and the integrations.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "status", security(("token" = [])),
    responses(
        (status = 200, body = PluginList),
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
