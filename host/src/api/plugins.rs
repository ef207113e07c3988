//! Route that tries a plugin again.
//!
//! The state of plugins is shown by [`status`](super::status).

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::{ApiResult, status::PluginList};
use crate::{
    host::Host,
    http::error::{ApiError, ErrorBody},
};

/// Tries a plugin again that was set aside or could not be loaded, and returns the state of its files.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/retry", tag = "status", security(("token" = [])),
    operation_id = "retry_plugin",
    params(("name" = String, Path, description = "The plugin's name, not that of its file")),
    responses(
        (status = 200, description = "The state of the plugin's files after the try", body = PluginList),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No file of the plugin waits for another try", body = ErrorBody),
        (status = 409, description = "The reload failed, and nothing changed", body = ErrorBody),
    ))]
pub(super) async fn retry(
    State(host): State<Arc<Host>>,
    Path(name): Path<String>,
) -> ApiResult<PluginList> {
    let (asked, plugin) = (Arc::clone(&host), name.clone());
    // Loading blocks.
    let retried = tokio::task::spawn_blocking(move || asked.retry(&plugin)).await;
    match retried {
        Ok(Ok(true)) => {
            let mut list = PluginList::of(&host.in_force(), &*host.runtime);
            list.plugins.retain(|plugin| plugin.name.as_ref() == Some(&name));
            Ok(Json(list))
        }
        Ok(Ok(false)) => Err(ApiError::not_found(format!(
            "no file of plugin `{name}` was set aside or failed to load; `tocsin plugins` shows \
             every file"
        ))),
        Ok(Err(error)) => Err(ApiError::conflict(format!("nothing was reloaded: {error}"))),
        Err(error) => Err(ApiError::conflict(format!("the try did not finish: {error}"))),
    }
}
