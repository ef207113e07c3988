//! Reading configuration and plugins again, by hand.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ApiResult;
use crate::{
    config::change::ConfigChange,
    host::Host,
    host::reloads::ReloadReason,
    http::error::{ApiError, ErrorBody},
};

/// Whether it is only asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct HowToReload {
    /// Change nothing, and say what would change; no code of a plugin is run.
    dry_run: bool,
}

/// What a reload changed, or would change.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ReloadReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The configuration file that was read.
    #[schema(value_type = String)]
    pub config: PathBuf,
    /// One entry for each thing that is another; none where all is as it was.
    pub changes: Vec<ConfigChange>,
}

/// Reads configuration and plugins again, and goes over to them in one step, or not at all.
#[utoipa::path(post, path = "/api/v1/reload", tag = "status", security(("token" = [])), params(HowToReload),
    responses(
        (status = 200, body = ReloadReport),
        (status = 400, description = "A parameter makes no sense", body = ErrorBody),
        (status = 401, description = "No token, or another one", body = ErrorBody),
        (status = 422, description = "Something is wrong with it, and everything goes on as it was", body = ErrorBody),
    ))]
pub(super) async fn reload(
    State(host): State<Arc<Host>>,
    how: Result<Query<HowToReload>, QueryRejection>,
) -> ApiResult<ReloadReport> {
    let Query(HowToReload { dry_run }) =
        how.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let config = host.in_force().config.document.path.clone();
    // Reading files and loading plugins takes its time.
    let reload =
        move || if dry_run { host.rehearse_reload() } else { host.reload(ReloadReason::Requested) };
    let reloaded = tokio::task::spawn_blocking(reload).await;
    let reloaded = reloaded.unwrap_or_else(|_| Err("the reload panicked".into()));
    let changes = reloaded.map_err(ApiError::not_reloaded)?;
    let config = config.canonicalize().unwrap_or(config);
    Ok(Json(ReloadReport { dry_run, config, changes }))
}
