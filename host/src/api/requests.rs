//! Routes for requests: their outcome, the request as it was sent, and a replay. They answer the question
//! "the webhook was accepted, but where is my alert?".

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiResult,
    audit::{ActResult, Acted, Words},
    page,
};
use crate::{
    alert::Actor,
    host::Host,
    http::error::{ApiError, ErrorBody},
    integration::Integration,
    replay::{self, ReplayError, ReplayReport, header_lines},
    request::{RequestOutcome, RequestQuery, RequestRecord},
    store::StoreError,
};

/// Filter and page of a list of requests.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only with this outcome.
    outcome: Option<RequestOutcome>,
    /// Only of this integration.
    integration: Option<String>,
    /// Only requests that wait for a replay because their plugin failed or returned too many events.
    quarantined: Option<bool>,
    /// Only requests that arrived at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only requests that arrived before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Number of requests on a page, 1 to 500; 50 if absent. A page holds fewer if the requests have very
    /// many effects.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Page of request records, newest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RequestList {
    /// The records.
    pub requests: Vec<RequestRecord>,
    /// `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Lists the records of requests, newest first.
#[utoipa::path(get, path = "/api/v1/requests", tag = "requests", params(ListParams), security(("token" = [])),
    operation_id = "list_requests",
    responses(
        (status = 200, description = "A page of records, newest first", body = RequestList),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn list(
    State(host): State<Arc<Host>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> ApiResult<RequestList> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let page = host.store.requests(params.into_query()?).await?;
    let mut requests = page.requests;
    for record in &mut requests {
        redact(&host, record).await;
    }
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(Json(RequestList { requests, next_cursor }))
}

impl ListParams {
    fn into_query(self) -> Result<RequestQuery, ApiError> {
        let (limit, before) = (page::limit(self.limit)?, page::cursor(self.cursor.as_deref())?);
        let Self { outcome, integration, since, until, .. } = self;
        let quarantined = self.quarantined.unwrap_or(false);
        Ok(RequestQuery { outcome, integration, quarantined, since, until, limit, before })
    }
}

/// Shows the record of a request. Its id is the `X-Request-Id` of its answer.
#[utoipa::path(get, path = "/api/v1/requests/{id}", tag = "requests", security(("token" = [])),
    operation_id = "show_request",
    params(("id" = String, Path, description = "The request's id")),
    responses(
        (status = 200, description = "The record of the request", body = RequestRecord),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no record of such a request", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<RequestRecord> {
    let mut record = host.store.request(parse(&id)?).await?.ok_or_else(|| not_found(&id))?;
    redact(&host, &mut record).await;
    Ok(Json(record))
}

/// Request as it was sent, with secrets redacted.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RawView {
    /// The query string.
    pub query: String,
    /// The headers, in the order of their arrival.
    pub headers: Vec<HeaderView>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Length of the body as it was sent.
    pub size_bytes: usize,
}

/// A header of a request.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct HeaderView {
    /// Name of the header, in lower case.
    pub name: String,
    /// Value of the header.
    pub value: String,
}

/// Shows a request as it was sent, if it is kept. The secrets of its integration are redacted, and so are
/// headers that usually hold secrets.
#[utoipa::path(get, path = "/api/v1/requests/{id}/raw", tag = "requests", security(("token" = [])),
    operation_id = "show_raw_request",
    params(("id" = String, Path, description = "The request's id")),
    responses(
        (status = 200, description = "The request as it arrived, with secrets redacted", body = RawView),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such request, or it is not kept", body = ErrorBody),
        (status = 409, description = "Its integration is no longer configured, so its secrets are not known", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn raw(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<RawView> {
    let ulid = parse(&id)?;
    let record = host.store.request(ulid).await?.ok_or_else(|| not_found(&id))?;
    let raw = host.store.raw_request(ulid).await?;
    let raw = raw.ok_or_else(|| ApiError::not_found(format!("request `{id}` is not kept")))?;
    let integration = find(&host, &record.integration).ok_or_else(|| {
        ApiError::conflict(format!(
            "integration `{}` is no longer configured, so its secrets are not known",
            record.integration
        ))
    })?;
    let redactor = integration.redactor().await;
    let headers = header_lines(&raw.headers).map(|(name, value)| {
        let value = redactor.header(&name, value);
        HeaderView { name, value }
    });
    Ok(Json(RawView {
        query: redactor.text(&raw.query),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&redactor.bytes(&raw.body)).into_owned(),
        size_bytes: raw.body.len(),
    }))
}

/// Options of a replay.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplayParams {
    /// Change nothing, only report the outcome.
    dry_run: Option<bool>,
}

/// Replays a kept request through the plugin that serves its integration now. Each of its events is
/// applied once, however often the request is replayed.
#[utoipa::path(post, path = "/api/v1/requests/{id}/replay", tag = "requests", security(("token" = [])),
    operation_id = "replay_request",
    params(("id" = String, Path, description = "The request's id"), ReplayParams),
    responses(
        (status = 200, description = "The outcome of the replay", body = ReplayReport),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no record of such a request", body = ErrorBody),
        (status = 409, description = "The request is not kept, or its plugin cannot process it now", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn replay(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
    params: Result<Query<ReplayParams>, QueryRejection>,
) -> ActResult<ReplayReport> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let dry_run = params.dry_run.unwrap_or(false);
    let report = replay::replay(&host, parse(&id)?, dry_run, by).await;
    let report = report.map_err(|error| match error {
        ReplayError::NotFound(_) => not_found(&id),
        ReplayError::Conflict(_) | ReplayError::BackingOff(_) => {
            ApiError::conflict(error.to_string())
        }
        ReplayError::Stopping => StoreError::Closed.into(),
        ReplayError::Store(error) => error.into(),
    })?;
    let outcome = report.outcome;
    let detail = if dry_run { format!("dry run: {outcome}") } else { outcome.to_string() };
    Ok(Acted { body: report, words: Words { object: None, detail: Some(detail) } })
}

/// Redacts the reasons in a record: a plugin may repeat a secret that it was sent.
async fn redact(host: &Arc<Host>, record: &mut RequestRecord) {
    let replayed = record.replay.as_mut().and_then(|replay| replay.reason.as_mut());
    let reasons: Vec<_> = record.reason.as_mut().into_iter().chain(replayed).collect();
    if !reasons.is_empty()
        && let Some(integration) = find(host, &record.integration)
    {
        let redactor = integration.redactor().await;
        reasons.into_iter().for_each(|reason| *reason = redactor.text(reason));
    }
}

fn find(host: &Host, integration: &str) -> Option<Arc<Integration>> {
    host.in_force().integrations.by_name.get(integration).cloned()
}

fn parse(id: &str) -> Result<Ulid, ApiError> {
    Ulid::from_string(id).map_err(|_| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no record of a request `{id}`"))
}
