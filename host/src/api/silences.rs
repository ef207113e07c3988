//! Routes for silences: list, add, end. While a silence holds, its alerts are opened and nobody is told.

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
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiResult,
    audit::{ActResult, Acted, Words},
};
use crate::{
    alert::Actor,
    delivery::{Conditions, Silence},
    host::Host,
    http::error::{ApiError, ErrorBody},
    routing::{Matcher, MatcherError},
};

/// Filter of a list of silences.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Also silences that have ended.
    #[serde(default)]
    all: bool,
}

/// Silences, newest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct SilenceList {
    /// The silences.
    pub silences: Vec<Silence>,
}

/// Lists the silences that have not ended, newest first.
#[utoipa::path(get, path = "/api/v1/silences", tag = "deliveries", params(ListParams), security(("token" = [])),
    operation_id = "list_silences",
    responses(
        (status = 200, description = "All silences, newest first", body = SilenceList),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn list(
    State(host): State<Arc<Host>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> ApiResult<SilenceList> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let active_at = (!params.all).then(Timestamp::now);
    Ok(Json(SilenceList { silences: host.store.silences(active_at).await? }))
}

/// A silence to add.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// The alerts that are silenced. Without conditions, every alert is.
    #[serde(default)]
    pub conditions: Conditions,
    /// Beginning; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// End.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Reason, 1 to 1,000 characters.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
}

const LONGEST_REASON: usize = 1000;

/// Adds a silence.
#[utoipa::path(post, path = "/api/v1/silences", tag = "deliveries", security(("token" = [])),
    operation_id = "add_silence",
    request_body = NewSilence,
    responses(
        (status = 200, description = "The new silence", body = Silence),
        (status = 400, description = "A condition, a time or the reason is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn add(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    silence: Result<Json<NewSilence>, JsonRejection>,
) -> ActResult<Silence> {
    let Json(new) = silence.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let now = Timestamp::now();
    let starts_at = new.starts_at.unwrap_or(now);
    if new.reason.trim().is_empty() || new.reason.chars().count() > LONGEST_REASON {
        return Err(ApiError::bad_request("`reason` has to be from 1 to 1000 characters"));
    }
    if new.ends_at <= now || new.ends_at <= starts_at {
        return Err(ApiError::bad_request("`ends_at` has to be later than now and `starts_at`"));
    }
    Matcher::new(&new.conditions).map_err(|errors| invalid_patterns(&errors))?;
    let silence = Silence {
        id: 0,
        conditions: new.conditions,
        starts_at,
        ends_at: new.ends_at,
        by,
        reason: new.reason,
        ended_by: None,
    };
    let body = host.store.add_silence(silence).await?;
    host.delivery_desk.silences_changed();
    let object = Some(format!("silence {}", body.id));
    Ok(Acted { body, words: Words { object, detail: None } })
}

/// Ends a silence. Alerts that it silenced and that are still open and not acknowledged are then told.
#[utoipa::path(post, path = "/api/v1/silences/{id}/end", tag = "deliveries", security(("token" = [])),
    operation_id = "end_silence",
    params(("id" = u64, Path, description = "The silence's number")),
    responses(
        (status = 200, description = "The silence, which has ended", body = Silence),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such silence", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn end(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
) -> ApiResult<Silence> {
    let not_found = || ApiError::not_found(format!("there is no silence `{id}`"));
    let number = id.parse().map_err(|_| not_found())?;
    let ended = host.store.end_silence(number, by, Timestamp::now()).await?;
    host.delivery_desk.silences_changed();
    ended.map(Json).ok_or_else(not_found)
}

fn invalid_patterns(errors: &[MatcherError]) -> ApiError {
    let error = |MatcherError { label, reason }: &MatcherError| {
        format!("the pattern for the detail `{label}` is no regular expression: {reason}")
    };
    ApiError::bad_request(errors.iter().map(error).collect::<Vec<_>>().join("; "))
}
