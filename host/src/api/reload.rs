//! Route that reloads the configuration and the plugins.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::extract::{Query, State, rejection::QueryRejection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::audit::{ActResult, Acted, Words};
use crate::{
    config::change::ConfigChange,
    host::{Host, audit::changes_made, reloads::ReloadReason},
    http::error::{ApiError, ErrorBody},
};

/// Options of a reload.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ReloadParams {
    /// Change nothing, only report what would change. No code of a plugin runs.
    dry_run: bool,
}

/// Changes that a reload made, or would make.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct ReloadReport {
    /// True if nothing was changed.
    pub dry_run: bool,
    /// The configuration file that was read.
    #[schema(value_type = String)]
    pub config: PathBuf,
    /// The changes; empty if nothing differs.
    pub changes: Vec<ConfigChange>,
    /// The addresses on which the host listens: for webhooks, and for the API.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub listening: Vec<SocketAddr>,
}

/// Reads the configuration and the plugins again and applies them in one step. If anything is wrong,
/// nothing changes.
#[utoipa::path(post, path = "/api/v1/reload", tag = "status", security(("token" = [])), params(ReloadParams),
    operation_id = "reload",
    responses(
        (status = 200, description = "The changes that the reload made, or would make", body = ReloadReport),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 422, description = "The configuration or a plugin is wrong, and nothing changed", body = ErrorBody),
    ))]
pub(super) async fn reload(
    State(host): State<Arc<Host>>,
    params: Result<Query<ReloadParams>, QueryRejection>,
) -> ActResult<ReloadReport> {
    let Query(ReloadParams { dry_run }) =
        params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let (config, listening) = {
        let in_force = host.in_force();
        let config = &in_force.config.config;
        (in_force.config.document.path.clone(), vec![config.server.listen, config.admin.listen])
    };
    // Reading files and loading plugins blocks.
    let reload =
        move || if dry_run { host.rehearse_reload() } else { host.reload(ReloadReason::Requested) };
    let reloaded = tokio::task::spawn_blocking(reload).await;
    let reloaded = reloaded.unwrap_or_else(|_| Err("the reload panicked".into()));
    let changes = reloaded.map_err(ApiError::not_reloaded)?;
    let config = config.canonicalize().unwrap_or(config);
    let detail = if dry_run { Some("dry run".into()) } else { changes_made(changes.len()) };
    let body = ReloadReport { dry_run, config, changes, listening };
    Ok(Acted { body, words: Words { object: None, detail } })
}
