//! Routes for one destination: send a test, retry or discard all its deliveries.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
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
    host::Host,
    http::error::{ApiError, ErrorBody},
    notify::trial::{self, Trial, TrialError},
    store::deliveries::Which,
};

/// Sends a marked test to a destination, and reports each step.
///
/// The answer comes when the test has ended. Nothing is recorded, and the test waits for no rate limit.
#[utoipa::path(post, path = "/api/v1/destinations/{name}/test", tag = "deliveries", security(("token" = [])),
    operation_id = "test_destination",
    params(("name" = String, Path, description = "The destination's name")),
    responses(
        (status = 200, description = "The steps and the verdict, also if the message was not delivered", body = Trial),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such destination", body = ErrorBody),
        (status = 409, description = "The destination is disabled or broken", body = ErrorBody),
    ))]
pub(super) async fn test(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
) -> ApiResult<Trial> {
    trial::trial(&host, &name, &by).await.map(Json).map_err(|error| match error {
        TrialError::Unknown => not_found(&name),
        TrialError::NotReady(reason) => ApiError::conflict(reason),
    })
}

/// Deliveries of one destination to act on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Dead deliveries.
    #[default]
    Dead,
    /// Waiting and dead deliveries.
    All,
}

/// Parameters of an action on the deliveries of one destination.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScopeParams {
    /// The deliveries; `dead` if absent.
    #[serde(default)]
    #[param(inline)]
    scope: Scope,
}

/// Number of deliveries that an action changed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The number.
    pub deliveries: u64,
}

/// Makes the deliveries of a destination due at once. Ends its parking.
#[utoipa::path(post, path = "/api/v1/destinations/{name}/retry", tag = "deliveries", security(("token" = [])),
    operation_id = "retry_deliveries_of_destination",
    params(("name" = String, Path, description = "The destination's name"), ScopeParams),
    responses(
        (status = 200, description = "The number of deliveries that were changed", body = Changed),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such destination", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn retry_all(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    params: Result<Query<ScopeParams>, QueryRejection>,
) -> ActResult<Changed> {
    let Query(params) = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    known_destination(&host, &name).await?;
    let which = params.scope.of(&name);
    let deliveries = host.store.retry_deliveries(which, by, Timestamp::now()).await?;
    host.store.park(name.clone(), None).await?;
    host.delivery_desk.unpark(&name);
    Ok(acted(deliveries))
}

/// Ends the deliveries of a destination that wait: no further attempt is made.
#[utoipa::path(post, path = "/api/v1/destinations/{name}/discard", tag = "deliveries", security(("token" = [])),
    operation_id = "discard_deliveries_of_destination",
    params(("name" = String, Path, description = "The destination's name")),
    responses(
        (status = 200, description = "The number of deliveries that were changed", body = Changed),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such destination", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn discard_all(
    State(host): State<Arc<Host>>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
) -> ActResult<Changed> {
    known_destination(&host, &name).await?;
    let which = Which::AllOf(name.clone());
    let deliveries = host.store.discard_deliveries(which, by, Timestamp::now()).await?;
    host.delivery_desk.look(&name);
    Ok(acted(deliveries))
}

impl Scope {
    fn of(self, destination: &str) -> Which {
        match self {
            Self::Dead => Which::DeadOf(destination.into()),
            Self::All => Which::AllOf(destination.into()),
        }
    }
}

fn acted(deliveries: u64) -> Acted<Changed> {
    let words =
        if deliveries == 1 { "1 delivery".into() } else { format!("{deliveries} deliveries") };
    let words = Words { object: None, detail: Some(words) };
    Acted { body: Changed { deliveries }, words }
}

/// Refuses a name that is neither configured nor has deliveries.
async fn known_destination(host: &Host, name: &str) -> Result<(), ApiError> {
    if host.in_force().config.config.destinations.contains_key(name)
        || host.store.destinations().await?.iter().any(|state| state.name == name)
    {
        return Ok(());
    }
    Err(not_found(name))
}

fn not_found(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no destination `{name}`"))
}
