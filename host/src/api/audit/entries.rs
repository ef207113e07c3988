//! Route that lists the entries of the audit.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{ApiResult, page};
use crate::{
    host::Host,
    http::error::{ApiError, ErrorBody},
    store::audit::{AuditEntry, AuditQuery},
};

/// Filter and page of a list of entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only with this text in the actor. Letters from A to Z match in either case.
    actor: Option<String>,
    /// Only of this act, such as `acknowledge_alert`.
    action: Option<String>,
    /// Only with this object, such as `alert 17`, or with any object of a kind, such as `alert`.
    object: Option<String>,
    /// Only written at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only written before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Number of entries on a page, 1 to 500; 50 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Page of entries of the audit, newest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AuditList {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Lists the acts of people and programs, done and refused, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(ListParams), security(("token" = [])),
    operation_id = "list_audit",
    responses(
        (status = 200, description = "A page of entries, newest first", body = AuditList),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(in crate::api) async fn list(
    State(host): State<Arc<Host>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> ApiResult<AuditList> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let (limit, before) = (page::limit(params.limit)?, page::cursor(params.cursor.as_deref())?);
    let ListParams { actor, action, object, since, until, .. } = params;
    let query = AuditQuery { actor, action, object, since, until, limit, before };
    let page = host.store.audit(query).await?;
    let next_cursor = page.next.map(|number| number.to_string());
    Ok(Json(AuditList { entries: page.entries, next_cursor }))
}
