//! Route that makes a backup of the store on the host's side.
//!
//! The host chooses the name of the file. A client can only choose how many backups are kept.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use axum::extract::{Query, State, rejection::QueryRejection};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::audit::{ActResult, Acted, Words};
use crate::{
    config::StorePaths,
    host::Host,
    http::error::{ApiError, ErrorBody},
    problem::Problem,
    store::backup::{Backup, BackupError},
};

/// Options of a backup.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct BackupParams {
    /// Delete older backups afterwards, so that this many are left. Without it, none is deleted.
    #[param(value_type = Option<u64>, minimum = 1)]
    keep: Option<NonZeroUsize>,
}

/// Backup that was written, verified and synced.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct BackupReport {
    /// Path of the file, on the machine of the host.
    pub path: String,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Number of alerts in it.
    pub alerts: u64,
    /// Version of its schema.
    pub schema: i64,
    /// Time at which the backup began. Everything that was acknowledged before is in it.
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Timestamp,
    /// Paths of the older backups that were deleted.
    pub deleted: Vec<String>,
}

/// Makes a backup of the store beside the work of the host, verifies it, and returns its path. The backup has
/// everything that was acknowledged before the request.
#[utoipa::path(post, path = "/api/v1/backup", tag = "status", operation_id = "back_up", security(("token" = [])), params(BackupParams),
    responses(
        (status = 200, description = "The backup was made and verified", body = BackupReport),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 409, description = "Another backup is being made", body = ErrorBody),
        (status = 500, description = "The backup could not be made, and no file is left", body = ErrorBody),
        (status = 503, description = "The host is stopping", body = ErrorBody),
    ))]
pub(super) async fn back_up(
    State(host): State<Arc<Host>>,
    params: Result<Query<BackupParams>, QueryRejection>,
) -> ActResult<BackupReport> {
    let Query(BackupParams { keep }) =
        params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    // A configuration in force names a known store.
    let paths = host.in_force().config.store_paths();
    let paths = paths.ok_or_else(|| ApiError::conflict("the kind of store is unknown"))?;
    let target = paths.store.backup_in(&paths.backup_dir);
    let backup = match host.store.back_up(target).await? {
        Ok(backup) => backup,
        Err(BackupError::Busy) => {
            return Err(ApiError::conflict("another backup is being made, try again later"));
        }
        Err(BackupError::Failed(problem)) => return Err(ApiError::not_backed_up(&problem)),
    };
    let report =
        tokio::task::spawn_blocking(move || BackupReport::new(&backup, &paths, keep)).await;
    let report = report.unwrap_or_else(|_| Err(Problem::new("backup-failed", "it panicked")));
    let body: BackupReport = report.map_err(|problem| ApiError::not_backed_up(&problem))?;
    let detail = Some(body.path.clone());
    Ok(Acted { body, words: Words { object: None, detail } })
}

impl BackupReport {
    /// Describes a backup, after older ones were deleted.
    ///
    /// # Errors
    ///
    /// If an older backup cannot be deleted. The new one is there nevertheless.
    pub(crate) fn new(
        backup: &Backup,
        paths: &StorePaths,
        keep: Option<NonZeroUsize>,
    ) -> Result<Self, Problem> {
        let Backup { path, bytes, alerts, schema, begun_at } = backup;
        let text = |path: &Path| path.display().to_string();
        let deleted = match keep {
            Some(keep) => paths
                .absolute_backup_dir()
                .and_then(|folder| paths.store.prune_backups(&folder, keep.get())),
            None => Ok(Vec::new()),
        };
        let deleted = deleted.map_err(|error| {
            let message = format!(
                "`{}` was made, but an older backup cannot be deleted: {error}",
                path.display()
            );
            Problem::new("backup-not-deleted", message)
        })?;
        Ok(Self {
            path: text(&path.canonicalize().unwrap_or_else(|_| path.clone())),
            bytes: *bytes,
            alerts: *alerts,
            schema: *schema,
            begun_at: *begun_at,
            deleted: deleted.iter().map(|path| text(path)).collect(),
        })
    }
}
