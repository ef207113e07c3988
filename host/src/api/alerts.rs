//! Routes for alerts: list, show, acknowledge, resolve, add a note.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Urgency;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiResult,
    audit::{ActResult, Acted, Words},
    page,
};
use crate::{
    alert::{Actor, Alert, AlertRef, AlertWithHistory, Status, UrgencyName},
    host::Host,
    http::error::{ApiError, ErrorBody},
    store::{AlertQuery, ManualAction, ManualChange, ManualChangeOutcome},
};

/// Filter and page of a list of alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only with this status.
    status: Option<Status>,
    /// Only with this urgency.
    #[param(value_type = Option<UrgencyName>)]
    urgency: Option<Urgency>,
    /// Only of this integration.
    integration: Option<String>,
    /// Only opened at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only with this text in the title, the description, the dedup key or the details. Letters from A to Z
    /// match in either case.
    #[param(min_length = 1, max_length = 200)]
    search: Option<String>,
    /// Number of alerts on a page, 1 to 500; 50 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Page of alerts, newest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AlertList {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Lists alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(ListParams), security(("token" = [])),
    operation_id = "list_alerts",
    responses(
        (status = 200, description = "A page of alerts, newest first", body = AlertList),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn list(
    State(host): State<Arc<Host>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> ApiResult<AlertList> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let page = host.store.alerts(params.into_query()?).await?;
    let next_cursor = page.next.map(|number| number.to_string());
    Ok(Json(AlertList { alerts: page.alerts, next_cursor }))
}

const LONGEST_SEARCH: usize = 200;

impl ListParams {
    fn into_query(self) -> Result<AlertQuery, ApiError> {
        let (limit, before) = (page::limit(self.limit)?, page::cursor(self.cursor.as_deref())?);
        let Self { status, urgency, integration, since, search, .. } = self;
        if search.as_ref().is_some_and(|text| !(1..=LONGEST_SEARCH).contains(&text.chars().count()))
        {
            return Err(ApiError::bad_request("`search` has to be from 1 to 200 characters"));
        }
        Ok(AlertQuery { status, urgency, integration, since, search, limit, before })
    }
}

/// Shows an alert with its history.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", security(("token" = [])),
    operation_id = "show_alert",
    params(("id" = String, Path, description = "The alert's id or number")),
    responses(
        (status = 200, description = "The alert with its history", body = AlertWithHistory),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<AlertWithHistory> {
    let found = host.store.alert(parse(&id)?).await?;
    found.map(Json).ok_or_else(|| not_found(&id))
}

/// Acknowledges an alert: a person works on it.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts", security(("token" = [])),
    operation_id = "acknowledge_alert",
    params(("id" = String, Path, description = "The alert's id or number")),
    responses(
        (status = 200, description = "The alert is acknowledged, now or before", body = AlertWithHistory),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 409, description = "The alert is resolved", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn acknowledge(
    State(host): State<Arc<Host>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> ActResult<AlertWithHistory> {
    change(&host, &id, ManualAction::Acknowledge, actor).await
}

/// Resolves an alert: the problem is over.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/resolve", tag = "alerts", security(("token" = [])),
    operation_id = "resolve_alert",
    params(("id" = String, Path, description = "The alert's id or number")),
    responses(
        (status = 200, description = "The alert is resolved, now or before", body = AlertWithHistory),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn resolve(
    State(host): State<Arc<Host>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> ActResult<AlertWithHistory> {
    change(&host, &id, ManualAction::Resolve, actor).await
}

/// Note on an alert.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// Plain text with lines, 1 to 10,000 characters.
    #[schema(min_length = 1, max_length = 10_000)]
    pub text: String,
}

const LONGEST_NOTE: usize = 10_000;

/// Adds a note to the history of an alert in any status.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/notes", tag = "alerts", security(("token" = [])),
    operation_id = "note_alert",
    params(("id" = String, Path, description = "The alert's id or number")),
    request_body = Note,
    responses(
        (status = 200, description = "The alert with the note in its history", body = AlertWithHistory),
        (status = 400, description = "The text is empty or too long", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn note(
    State(host): State<Arc<Host>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    note: Result<Json<Note>, JsonRejection>,
) -> ActResult<AlertWithHistory> {
    let Json(Note { text }) = note.map_err(|error| ApiError::bad_request(error.body_text()))?;
    if text.trim().is_empty() || text.chars().count() > LONGEST_NOTE {
        return Err(ApiError::bad_request("`text` has to be from 1 to 10000 characters"));
    }
    change(&host, &id, ManualAction::Note(text), actor).await
}

async fn change(
    host: &Host,
    id: &str,
    action: ManualAction,
    by: Actor,
) -> ActResult<AlertWithHistory> {
    let change = ManualChange { action, by, at: Timestamp::now() };
    match host.store.change(parse(id)?, change).await? {
        ManualChangeOutcome::Done(body) => {
            // The path may have the id.
            let object = Some(format!("alert {}", body.alert.number));
            Ok(Acted { body: *body, words: Words { object, detail: None } })
        }
        ManualChangeOutcome::AlreadyResolved => {
            Err(ApiError::conflict("the alert is resolved; a new report opens a new alert"))
        }
        ManualChangeOutcome::NotFound => Err(not_found(id)),
    }
}

/// Reads a number or an id of an alert.
pub(super) fn parse(id: &str) -> Result<AlertRef, ApiError> {
    id.parse().map_err(|_| not_found(id))
}

/// 404: no alert has that number or id.
pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no alert `{id}`"))
}
