//! Health checks and metrics: for supervisors, for load balancers, and for Prometheus.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::{PluginList, destination_list};
use crate::http::error::ErrorBody;
use crate::{
    call::{BreakerReport, BreakerState},
    host::Host,
    log,
    metrics::TextFormat,
    problem::{Problem, on_one_line},
    request::Quarantined,
    store::StoreError,
};

/// State of the host, and its problems.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// State of the host.
    pub status: ReadinessStatus,
    /// One sentence on each thing that is wrong.
    pub reasons: Vec<String>,
}

/// State of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadinessStatus {
    /// Everything works: 200.
    Ready,
    /// Webhooks are served, but not everything works: 200.
    Degraded,
    /// No webhooks are served: 503.
    Unready,
}

/// Returns 200 as long as the process runs.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()),
    operation_id = "liveness",
    responses((status = 200, description = "The process runs", body = inline(Liveness))))]
pub(super) async fn live() -> Json<Liveness> {
    Json(Liveness { status: "live" })
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Liveness {
    status: &'static str,
}

/// Returns the state of the host, and its problems.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()),
    operation_id = "readiness",
    responses(
        (status = 200, description = "Webhooks are served", body = Readiness),
        (status = 503, description = "Webhooks are not served", body = Readiness),
    ))]
pub(super) async fn ready(State(host): State<Arc<Host>>) -> Response {
    let mut fatal = Vec::new();
    if host.is_stopping() {
        fatal.push("the host is stopping".to_owned());
    } else if !host.is_serving() {
        fatal.push("the host is starting".to_owned());
    }
    if host.store.last_write_error().is_some()
        // The error may be over although no request was committed since.
        && let Err(error) = host.store.probe().await
    {
        fatal.push(with_hint(&error));
    }
    let is_ready = fatal.is_empty();
    let reasons = [fatal, problems(&host).await].concat();
    let status = match (is_ready, reasons.is_empty()) {
        (false, _) => ReadinessStatus::Unready,
        (true, false) => ReadinessStatus::Degraded,
        (true, true) => ReadinessStatus::Ready,
    };
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { status, reasons })).into_response()
}

/// Returns an error of the store on one line with a hint.
fn with_hint(error: &StoreError) -> String {
    let has_hint = matches!(error, StoreError::Unavailable(Problem { hint: Some(_), .. }));
    let hint = if has_hint { "" } else { "; hint: look at the disk of the store" };
    format!("{}{hint}", on_one_line(&error.to_string()))
}

async fn problems(host: &Host) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(damage) = host.store.damage_found() {
        problems.push(format!(
            "the store is damaged, and only its undamaged data is served: {}",
            damage.one_line()
        ));
    }
    problems.extend(host.store.identity_warning());
    if let Some(over) = &*host.over_size.load() {
        problems.push(format!(
            "the store holds {} bytes, more than `retention.max_store_bytes` ({}); hint: open \
             alerts are never deleted: resolve alerts, or raise the limit",
            over.used, over.most
        ));
    }
    problems.extend(host.connections_notice());
    problems.extend(log::problem());
    problems.extend(host.metrics.limits.recent());
    if let Some(problem) = host.reload_problem() {
        problems.push(format!("the last reload failed, and nothing was changed: {problem}"));
    }
    let in_force = host.in_force();
    let PluginList { plugins, integrations } = PluginList::of(&in_force, &*host.runtime);
    // Readiness has to be known even if the store does not answer.
    let destinations = destination_list(&in_force, Vec::new());
    problems.extend(host.delivery_desk.problems(&in_force, Timestamp::now()));
    drop(in_force);
    if host.stuck_threads() > 0 {
        let integrations = integrations.iter().map(|one| (one.stuck_threads, &one.name));
        let destinations = destinations.iter().map(|one| (one.stuck_threads, &one.name));
        let of = integrations.chain(destinations).filter(|(stuck, _)| *stuck > 0);
        let of: Vec<_> = of.map(|(stuck, name)| format!("{stuck} of `{name}`")).collect();
        let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
        problems.push(format!(
            "{} threads are stuck in calls that did not return{of}; hint: a restart frees them",
            host.stuck_threads()
        ));
    }
    for integration in integrations {
        if let Some(problem) = integration.problem {
            problems.push(format!("integration `{}`: {problem}", integration.name));
        }
    }
    for destination in destinations {
        if let Some(problem) = destination.problem {
            problems.push(format!("destination `{}`: {problem}", destination.name));
        }
    }
    for Quarantined { integration, count, .. } in quarantined(host).await {
        if count > 0 {
            let requests =
                if count == 1 { "1 request waits" } else { &format!("{count} requests wait") };
            problems.push(format!(
                "integration `{integration}`: {requests} for a replay because its plugin failed; \
                 hint: once it is mended, `tocsin requests replay --failed`"
            ));
        }
    }
    for plugin in plugins {
        if let Some(problem) = plugin.problem {
            problems.push(format!("`{}` {problem}", plugin.file));
        }
    }
    problems
}

/// Returns the requests that wait for a replay; none if the store fails, which is reported as another
/// problem.
async fn quarantined(host: &Host) -> Vec<Quarantined> {
    host.store.quarantine().await.unwrap_or_default()
}

/// Returns the host's metrics, as `OpenMetrics` or in the older text format of Prometheus: whichever `Accept`
/// prefers.
#[utoipa::path(get, path = "/metrics", tag = "health", security(("token" = [])),
    operation_id = "metrics",
    responses(
        (status = 200, description = "Metrics", content(
            (String = "application/openmetrics-text"), (String = "text/plain"))),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    ))]
pub(super) async fn metrics(State(host): State<Arc<Host>>, headers: HeaderMap) -> Response {
    // If the store fails, the metrics keep their last values.
    if let Ok(size) = host.store.size_bytes().await {
        host.metrics.store.size_bytes.set(i64::try_from(size).unwrap_or(i64::MAX));
    }
    let lost = &host.metrics.lost_log_lines;
    lost.inc_by(log::lost_lines().saturating_sub(lost.get()));
    host.metrics.store.waiting(&quarantined(&host).await);
    let in_force = host.in_force();
    let integrations = &in_force.integrations;
    let is_open = |breaker: BreakerReport| matches!(breaker.state, BreakerState::Open(_));
    let of_integrations = integrations
        .by_name
        .values()
        .map(|integration| (&*integration.metrics.plugin, integration.breaker().map(is_open)));
    let of_destinations = in_force
        .destinations
        .by_name
        .values()
        .map(|destination| (&*destination.metrics, destination.breaker().map(is_open)));
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = TextFormat::accepted(&accept.collect::<Vec<_>>().join(","));
    let text = host.metrics.encode(format, of_integrations.chain(of_destinations));
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    (headers, text).into_response()
}
