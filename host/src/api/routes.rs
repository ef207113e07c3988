//! Route that explains the routes: who would be told of an alert, when, and why another destination would
//! not.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, extract::rejection::JsonRejection};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::{Detail, Urgency, notification::Kind};
use utoipa::ToSchema;

use super::{ApiResult, alerts, deliveries};
use crate::{
    alert::UrgencyName,
    delivery::Silence,
    host::Host,
    http::error::{ApiError, ErrorBody},
    routing::{Outcome, Routes, Silences, Subject, Verdict},
};

/// Question about the routes: about a stored alert, or about one that could come.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RouteQuestion {
    /// Number or id of a stored alert. The other fields of the alert must then be absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Name of the integration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// Urgency; that of the integration if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UrgencyName>)]
    pub urgency: Option<Urgency>,
    /// Details: values by their labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// Time of the change; now if absent, and the time of its opening for a stored alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Kind of the news: `opened` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
}

/// Answer to a [`RouteQuestion`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RouteAnswer {
    /// Time for which the routes were evaluated.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Kind of the news.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Silence that would hold; null if none would.
    pub silence: Option<Silence>,
    /// Every destination, sorted by name.
    pub destinations: Vec<RoutedTo>,
    /// Record made when the changes of a stored alert were routed; null for another question.
    pub recorded: Option<deliveries::AlertNotifications>,
}

/// Decision of the present routes about one destination.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RoutedTo {
    /// Name of the destination.
    pub destination: String,
    /// Decision in short.
    pub outcome: RoutedOutcome,
    /// Route that tells the destination at once; null if none does, or if there are no routes.
    pub route: Option<String>,
    /// Messages that are due later, if the alert is still open and not acknowledged then.
    pub later: Vec<LaterMessage>,
    /// For each route to the destination, the first condition that does not hold. Empty if the destination
    /// is told.
    pub reasons: Vec<String>,
}

/// Decision of the present routes in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoutedOutcome {
    /// The destination is told at once.
    Told,
    /// The destination is told only later.
    Later,
    /// The destination's `events` do not name the kind.
    NotWanted,
    /// No route to the destination matches.
    NoRoute,
}

/// Message that is due later.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct LaterMessage {
    /// Route that sends it.
    pub route: String,
    /// Time at which it is due.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Time between further messages, in seconds; null if it is not repeated.
    pub repeat_seconds: Option<u64>,
}

/// Explains who is told of an alert, when, and why another destination is not.
///
/// Nothing is sent. For a stored alert, the answer also has what was recorded at the time.
#[utoipa::path(post, path = "/api/v1/routes/test", tag = "deliveries", security(("token" = [])),
    operation_id = "test_routes",
    request_body = RouteQuestion,
    responses(
        (status = 200, description = "The decision about every destination", body = RouteAnswer),
        (status = 400, description = "The question is invalid", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "There is no such alert or integration", body = ErrorBody),
        (status = 503, description = "The store can't be used now", body = ErrorBody),
    ))]
pub(super) async fn test(
    State(host): State<Arc<Host>>,
    question: Result<Json<RouteQuestion>, JsonRejection>,
) -> ApiResult<RouteAnswer> {
    let Json(question) = question.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let routes = Arc::clone(&host.in_force().config.routes);
    let (silences, _) = Silences::new(host.store.silences(None).await?);
    let kind = question.kind.unwrap_or(Kind::Opened);
    if let Some(alert) = &question.alert {
        if question.integration.is_some()
            || question.urgency.is_some()
            || !question.details.is_empty()
        {
            let message = "give either `alert` or the fields of an alert, not both";
            return Err(ApiError::bad_request(message));
        }
        let found = host.store.alert(alerts::parse(alert)?).await?;
        let found = found.ok_or_else(|| alerts::not_found(alert))?.alert;
        let at = question.at.unwrap_or(found.created_at);
        let mut answer = explain(&routes, &silences, Subject::from(&found), at, kind);
        answer.recorded = Some(deliveries::notifications(&host, found.number).await?);
        return Ok(Json(answer));
    }
    let Some(integration) = &question.integration else {
        return Err(ApiError::bad_request("give either `alert` or `integration`"));
    };
    let urgency = {
        let in_force = host.in_force();
        let section = in_force.config.config.integrations.get(integration);
        let section = section.ok_or_else(|| {
            ApiError::not_found(format!("there is no integration `{integration}`"))
        })?;
        question.urgency.unwrap_or(section.urgency)
    };
    let details = details(&question.details);
    let subject = Subject { integration, urgency, details: &details };
    let at = question.at.unwrap_or_else(Timestamp::now);
    Ok(Json(explain(&routes, &silences, subject, at, kind)))
}

/// Returns details as an alert has them.
pub(crate) fn details(details: &BTreeMap<String, String>) -> Vec<Detail> {
    let details = details.iter();
    details.map(|(label, value)| Detail { label: label.clone(), value: value.clone() }).collect()
}

/// Evaluates routes and silences for a change of an alert.
pub(crate) fn explain(
    routes: &Routes,
    silences: &Silences,
    subject: Subject<'_>,
    at: Timestamp,
    kind: Kind,
) -> RouteAnswer {
    let mut evaluator = routes.evaluator();
    let destinations = evaluator.evaluate(subject, at, kind).map(|verdict| RoutedTo::of(&verdict));
    RouteAnswer {
        at,
        kind,
        silence: silences.holding(subject, at).cloned(),
        destinations: destinations.collect(),
        recorded: None,
    }
}

impl RoutedTo {
    fn of(verdict: &Verdict<'_, '_>) -> Self {
        let (outcome, route) = match verdict.outcome() {
            Outcome::Told { route, .. } => (RoutedOutcome::Told, route.map(str::to_owned)),
            Outcome::Later => (RoutedOutcome::Later, None),
            Outcome::NotWanted => (RoutedOutcome::NotWanted, None),
            Outcome::NoRoute => (RoutedOutcome::NoRoute, None),
        };
        let later = verdict.escalations().map(|later| LaterMessage {
            route: later.route.to_owned(),
            due_at: later.due_at,
            repeat_seconds: later.repeat.map(|repeat| repeat.as_secs()),
        });
        Self {
            destination: verdict.destination().to_owned(),
            outcome,
            route,
            later: later.collect(),
            reasons: verdict.reasons(),
        }
    }
}
