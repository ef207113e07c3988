//! Routes for deliveries: list, show, retry, discard. They answer the question "who was told of this
//! alert, and who was not?".

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::{IntoParams, ToSchema};

use super::{ApiResult, alerts, page};
use crate::{
    alert::Actor,
    delivery::{Delivery, DeliveryStatus, DeliveryWithAttempts, Fact},
    host::Host,
    http::error::{ApiError, ErrorBody},
    store::deliveries::{DeliveryQuery, Which},
};

/// Filter and page of a list of deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only with this status.
    status: Option<DeliveryStatus>,
    /// Only to this destination.
    destination: Option<String>,
    /// Only about this alert, by number or id.
    alert: Option<String>,
    /// Number of deliveries on a page, 1 to 500; 50 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Page of deliveries, newest first.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Lists deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(ListParams), security(("token" = [])),
    operation_id = "list_deliveries",
    responses(
        (status = 200, description = "A page of deliveries, newest first", body = DeliveryList),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn list(
    State(host): State<Arc<Host>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> ApiResult<DeliveryList> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let (limit, before) = (page::limit(params.limit)?, page::cursor(params.cursor.as_deref())?);
    let alert = match &params.alert {
        Some(alert) => Some(number_of(&host, alert).await?),
        None => None,
    };
    let ListParams { status, destination, .. } = params;
    let query = DeliveryQuery { status, destination, alert, limit, before };
    let page = host.store.deliveries(query).await?;
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(Json(DeliveryList { deliveries: page.deliveries, next_cursor }))
}

/// Shows a delivery with its attempts.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", security(("token" = [])),
    operation_id = "show_delivery",
    params(("id" = String, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery with its attempts", body = DeliveryWithAttempts),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such delivery", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<DeliveryWithAttempts> {
    let found = host.store.delivery(parse(&id)?).await?;
    found.map(Json).ok_or_else(|| not_found(&id))
}

/// Makes a delivery due at once, also if it is dead.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries", security(("token" = [])),
    operation_id = "retry_delivery",
    params(("id" = String, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery, which is due now", body = DeliveryWithAttempts),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such delivery", body = ErrorBody),
        (status = 409, description = "The delivery was delivered, or an attempt runs", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn retry(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
) -> ApiResult<DeliveryWithAttempts> {
    let ulid = parse(&id)?;
    let changed = host.store.retry_deliveries(Which::One(ulid), by, Timestamp::now()).await?;
    let retried = changed_or_refused(&host, ulid, changed).await?;
    host.delivery_desk.look(&retried.delivery.destination);
    Ok(retried)
}

/// Ends a delivery that waits: no further attempt is made.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/discard", tag = "deliveries", security(("token" = [])),
    operation_id = "discard_delivery",
    params(("id" = String, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery, which is dead now", body = DeliveryWithAttempts),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such delivery", body = ErrorBody),
        (status = 409, description = "The delivery has ended, or an attempt runs", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn discard(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(id): Path<String>,
) -> ApiResult<DeliveryWithAttempts> {
    let ulid = parse(&id)?;
    let changed = host.store.discard_deliveries(Which::One(ulid), by, Timestamp::now()).await?;
    let discarded = changed_or_refused(&host, ulid, changed).await?;
    // Later news about the alert may have waited behind the delivery.
    host.delivery_desk.look(&discarded.delivery.destination);
    Ok(discarded)
}

/// The deliveries about one alert, and the recorded reasons why other news was not sent.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AlertNotifications {
    /// Number of the alert.
    pub alert: u64,
    /// The deliveries, newest first.
    pub deliveries: Vec<Delivery>,
    /// The reasons, oldest first.
    pub not_told: Vec<Fact>,
}

/// Largest number of deliveries that [`AlertNotifications`] lists.
const MOST_OF_ALERT: usize = 500;

/// Shows who was told of an alert, and why others were not.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/notifications", tag = "deliveries", security(("token" = [])),
    operation_id = "list_notifications_of_alert",
    params(("id" = String, Path, description = "The alert's id or number")),
    responses(
        (status = 200, description = "Deliveries about the alert, and reasons why other news was not sent",
            body = AlertNotifications),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn of_alert(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> ApiResult<AlertNotifications> {
    let alert = number_of(&host, &id).await?;
    Ok(Json(notifications(&host, alert).await?))
}

/// Returns the deliveries and the recorded reasons about the alert with that number.
pub(super) async fn notifications(host: &Host, alert: u64) -> Result<AlertNotifications, ApiError> {
    let query =
        DeliveryQuery { alert: Some(alert), limit: MOST_OF_ALERT, ..DeliveryQuery::default() };
    let deliveries = host.store.deliveries(query).await?.deliveries;
    let not_told = host.store.facts(alert).await?;
    Ok(AlertNotifications { alert, deliveries, not_told })
}

/// Returns the delivery after an action, or says why the action changed nothing.
async fn changed_or_refused(
    host: &Host,
    id: Ulid,
    changed: u64,
) -> ApiResult<DeliveryWithAttempts> {
    let found = host.store.delivery(id).await?.ok_or_else(|| not_found(&id.to_string()))?;
    if changed > 0 {
        return Ok(Json(found));
    }
    let delivery = &found.delivery;
    Err(ApiError::conflict(match delivery.told_by {
        Some(by) => format!("delivery `{by}` stands for this one: act on that one"),
        None if delivery.in_flight => "an attempt runs, try again when it has ended".into(),
        None => format!("the delivery is {}", delivery.status),
    }))
}

/// Returns the number of an alert that is named by number or id.
async fn number_of(host: &Host, alert: &str) -> Result<u64, ApiError> {
    let found = host.store.alert(alerts::parse(alert)?).await?;
    Ok(found.ok_or_else(|| alerts::not_found(alert))?.alert.number)
}

fn parse(id: &str) -> Result<Ulid, ApiError> {
    Ulid::from_string(id).map_err(|_| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no delivery `{id}`"))
}
