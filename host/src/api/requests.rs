//! What became of a request: the answer to "it was accepted, but where is my alert?".

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use ulid::Ulid;

use super::{
    ApiResult,
    error::{ApiError, ErrorBody},
};
use crate::{host::Host, store::RequestRecord};

/// Shows what became of a request. Its id is the `X-Request-Id` of its answer.
#[utoipa::path(get, path = "/api/v1/requests/{id}", tag = "alerts", security(("token" = [])),
    params(("id" = String, Path, description = "The request's id")),
    responses(
        (status = 200, body = RequestRecord),
        (status = 401, description = "No token, or another one", body = ErrorBody),
        (status = 404, description = "There is no record of such a request", body = ErrorBody),
        (status = 503, description = "The store can't be used just now", body = ErrorBody),
    ))]
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<RequestRecord> {
    let not_found = || ApiError::not_found(format!("there is no record of a request `{id}`"));
    let ulid = Ulid::from_string(&id).map_err(|_| not_found())?;
    host.store.request(ulid).await?.map(Json).ok_or_else(not_found)
}
