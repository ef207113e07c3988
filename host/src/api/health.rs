//! Health checks and metrics: for supervisors, for load balancers, and for Prometheus.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::status::{PluginList, destination_list};
use crate::http::error::{ApiError, ErrorBody};
use crate::{
    call::{BreakerReport, BreakerState},
    config::ConfigError,
    host::{Host, in_force::InForce},
    log,
    metrics::TextFormat,
    plugin_user::PluginState,
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
    /// Code of each reason, in the same order. Codes stay the same if a sentence is reworded.
    #[serde(default)]
    pub codes: Vec<String>,
}

/// Options of a readiness check.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadinessParams {
    /// Answer 503 also if webhooks are served but not everything works. `strict` alone means `strict=true`.
    #[param(value_type = Option<bool>)]
    strict: Option<String>,
}

/// Code and sentence of something that is wrong.
type Reason = (&'static str, String);

/// State of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadinessStatus {
    /// Everything works: 200.
    Ready,
    /// Webhooks are served, but not everything works: 200, or 503 if the check is strict.
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
    operation_id = "readiness", params(ReadinessParams),
    responses(
        (status = 200, description = "Webhooks are served", body = Readiness),
        (status = 400, description = "A parameter is invalid", body = ErrorBody),
        (status = 503, description = "Webhooks are not served, or the check is strict and something is wrong", body = Readiness),
    ))]
pub(super) async fn ready(
    State(host): State<Arc<Host>>,
    params: Result<Query<ReadinessParams>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(ReadinessParams { strict }) =
        params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let is_strict = match strict.as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => return Err(ApiError::bad_request("`strict` is `true` or `false`")),
    };
    let mut fatal = Vec::new();
    if host.is_stopping() {
        fatal.push(("stopping", "the host is stopping".to_owned()));
    } else if !host.is_serving() {
        fatal.push(("starting", "the host is starting".to_owned()));
    }
    if host.store.last_write_error().is_some()
        // The error may be over although no request was committed since.
        && let Err(error) = host.store.probe().await
    {
        fatal.push(("store_unavailable", with_hint(&error)));
    }
    if serves_nothing(&host.in_force()) {
        let sentence =
            "no enabled integration can serve; hint: `tocsin integrations` has the reason of each";
        fatal.push(("no_integration_serves", sentence.to_owned()));
    }
    let is_ready = fatal.is_empty();
    let reasons = [fatal, problems(&host).await].concat();
    let status = match (is_ready, reasons.is_empty()) {
        (false, _) => ReadinessStatus::Unready,
        (true, false) => ReadinessStatus::Degraded,
        (true, true) => ReadinessStatus::Ready,
    };
    let is_well = if is_strict { status == ReadinessStatus::Ready } else { is_ready };
    let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (codes, reasons) = reasons.into_iter().map(|(code, text)| (code.to_owned(), text)).unzip();
    Ok((code, Json(Readiness { status, reasons, codes })).into_response())
}

/// Returns true if there are enabled integrations, and none of them has a plugin. A plugin whose circuit breaker is
/// open is called again soon, and counts as one that serves.
fn serves_nothing(in_force: &InForce) -> bool {
    let mut enabled = in_force
        .integrations
        .by_name
        .values()
        .filter(|integration| !matches!(integration.state, PluginState::Disabled))
        .peekable();
    enabled.peek().is_some() && enabled.all(|integration| integration.caller().is_none())
}

/// Returns an error of the store on one line with a hint.
fn with_hint(error: &StoreError) -> String {
    let has_hint = matches!(error, StoreError::Unavailable(Problem { hint: Some(_), .. }));
    let hint = if has_hint { "" } else { "; hint: look at the disk of the store" };
    format!("{}{hint}", on_one_line(&error.to_string()))
}

async fn problems(host: &Host) -> Vec<Reason> {
    let mut problems = Vec::new();
    if let Some(damage) = host.store.damage_found() {
        let sentence = format!(
            "the store is damaged, and only its undamaged data is served: {}",
            damage.one_line()
        );
        problems.push(("store_damaged", sentence));
    }
    problems.extend(all("unexpected_store", host.store.identity_warning()));
    if let Some(over) = &*host.over_size.load() {
        let sentence = format!(
            "the store holds {} bytes, more than `retention.max_store_bytes` ({}); hint: open \
             alerts are never deleted: resolve alerts, or raise the limit",
            over.used, over.most
        );
        problems.push(("store_too_large", sentence));
    }
    problems.extend(all("connections_reduced", host.connections_notice()));
    problems.extend(all("log_unwritable", log::problem()));
    problems.extend(all("limit_reached", host.metrics.limits.recent()));
    if let Some(problem) = host.reload_problem() {
        let sentence = format!("the last reload failed, and nothing was changed: {problem}");
        problems.push(("reload_failed", sentence));
    }
    problems.extend(host.host_differences.load().iter().map(|difference| {
        let hint = "hint: give all hosts the same plugins and the same configuration";
        ("hosts_differ", format!("{difference}; {hint}"))
    }));
    let in_force = host.in_force();
    // An expired certificate is a problem now, one that expires soon is not.
    let certificates = in_force.config.certificates(Timestamp::now());
    let invalid = certificates.iter().filter(|certificate| certificate.is_invalid);
    let invalid = invalid.filter_map(|it| it.problem.as_ref()).map(ConfigError::sentence);
    problems.extend(all("certificate_invalid", invalid));
    let PluginList { plugins, integrations } = PluginList::of(&in_force, &*host.runtime);
    // Readiness has to be known even if the store does not answer.
    let destinations = destination_list(&in_force, Vec::new());
    problems.extend(all(
        "deliveries_waiting",
        host.delivery_desk.problems(&in_force, Timestamp::now()),
    ));
    drop(in_force);
    if host.stuck_threads() > 0 {
        let integrations = integrations.iter().map(|one| (one.stuck_threads, &one.name));
        let destinations = destinations.iter().map(|one| (one.stuck_threads, &one.name));
        let of = integrations.chain(destinations).filter(|(stuck, _)| *stuck > 0);
        let of: Vec<_> = of.map(|(stuck, name)| format!("{stuck} of `{name}`")).collect();
        let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
        let sentence = format!(
            "{} threads are stuck in calls that did not return{of}; hint: a restart frees them",
            host.stuck_threads()
        );
        problems.push(("threads_stuck", sentence));
    }
    for integration in integrations {
        if let Some(problem) = integration.problem {
            let sentence = format!("integration `{}`: {problem}", integration.name);
            problems.push(("integration_problem", sentence));
        }
    }
    for destination in destinations {
        if let Some(problem) = destination.problem {
            let sentence = format!("destination `{}`: {problem}", destination.name);
            problems.push(("destination_problem", sentence));
        }
    }
    for Quarantined { integration, count, .. } in quarantined(host).await {
        if count > 0 {
            let requests =
                if count == 1 { "1 request waits" } else { &format!("{count} requests wait") };
            let sentence = format!(
                "integration `{integration}`: {requests} for a replay because its plugin failed; \
                 hint: once it is mended, `tocsin requests replay --failed`"
            );
            problems.push(("requests_waiting", sentence));
        }
    }
    for plugin in plugins {
        if let Some(problem) = plugin.problem {
            problems.push(("plugin_problem", format!("`{}` {problem}", plugin.file)));
        }
    }
    problems
}

/// Gives all sentences the same code.
fn all(
    code: &'static str,
    sentences: impl IntoIterator<Item = String>,
) -> impl Iterator<Item = Reason> {
    sentences.into_iter().map(move |sentence| (code, sentence))
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
    let certificates = in_force.config.certificates(Timestamp::now());
    let expiries = certificates.iter().map(|it| (it.listener.section(), it.expires_at));
    host.metrics.tls.survey(expiries);
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
