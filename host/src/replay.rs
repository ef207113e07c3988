//! Replays a kept request: the plugin that serves its integration now judges it, and the store commits its
//! events once, however often it is replayed.
//!
//! The plugin also checks the sender's token again, from the original bytes.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, Method, Request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tocsin_plugin_api::Event;
use tokio::sync::oneshot;
use ulid::Ulid;
use utoipa::ToSchema;

use crate::{
    alert::{Actor, Alert, AlertRef, Difference, PluginId},
    call::IncomingRequest,
    host::Host,
    http::hops::hops,
    ingest::verdict::Verdict,
    integration::{Integration, IntegrationState},
    request::{Content, EventEffect, RawRequest, RequestOutcome, RequestRecord, Submission},
    store::StoreError,
};

/// Result of a replay, or of a dry run of one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub(crate) struct ReplayReport {
    /// Id of the request.
    #[schema(value_type = String)]
    pub id: Ulid,
    /// Integration of the request.
    pub integration: String,
    /// True if nothing was changed.
    pub dry_run: bool,
    /// Plugin that judged the request in this replay.
    pub plugin: Option<PluginId>,
    /// Outcome of this replay.
    pub outcome: RequestOutcome,
    /// Reason for an outcome other than events.
    pub reason: Option<String>,
    /// Effect of each event on alerts, in the order of the events.
    pub effects: Vec<EventEffect>,
    /// Events of the request.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Event>,
    /// Differences from the first outcome: `kept` is the value of that time, `reported` the present one.
    /// `field` is `outcome`, `reason`, or a field of an event, such as `events[0].title`.
    pub differences: Vec<Difference>,
}

/// Reason why a request cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The store has no record of the request.
    #[error("there is no record of a request `{0}`")]
    NotFound(Ulid),
    /// The request was not kept, or its integration cannot serve now.
    #[error("{0}")]
    Conflict(String),
    /// The breaker of the plugin is open for this time.
    #[error("the plugin failed repeatedly and is not called for {0:.0?}")]
    BackingOff(std::time::Duration),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Replays a request, or reports the result that a replay would have. `by` is the user who asks.
///
/// # Errors
///
/// If the request does not exist, or cannot be judged now. Nothing has changed then.
pub(crate) async fn replay(
    host: &Arc<Host>,
    id: Ulid,
    dry_run: bool,
    by: Actor,
) -> Result<ReplayReport, ReplayError> {
    let record = host.store.request(id).await?.ok_or(ReplayError::NotFound(id))?;
    let raw = host.store.raw_request(id).await?.ok_or_else(|| {
        ReplayError::Conflict(format!(
            "request `{id}` was not kept; hint: `requests.keep` decides which requests are kept"
        ))
    })?;
    let integration = integration(host, &record)?;
    let now = Timestamp::now();
    if !dry_run && integration.settings.section.maintenance.at(now).is_some() {
        return Err(ReplayError::Conflict(format!(
            "integration `{}` is in maintenance, so no alert would open; hint: replay the request \
             after the maintenance",
            integration.name
        )));
    }
    let size_bytes = Some(raw.body.len());
    let request = incoming(id, &integration.name, raw);
    let hops = hops(&request.head.headers);
    let verdict = judge(&integration, request, now).await?;
    if let Some(left) = verdict.backing_off {
        return Err(ReplayError::BackingOff(left));
    }
    let submission = Submission {
        request_id: id,
        received_at: now,
        integration: Arc::clone(&integration.name),
        plugin: integration.plugin().cloned(),
        sender: None,
        size_bytes,
        plugin_time: verdict.plugin_time,
        content: verdict.content,
        kept: None,
        replayed_by: Some(by.clone()),
        hops,
        timeline: None,
    };
    let (events, reason) = match &submission.content {
        Content::Events { events, remark, .. } => {
            (events.iter().cloned().map(Event::from).collect(), remark.clone())
        }
        Content::Nothing { reason, .. } => (Vec::new(), Some(reason.clone())),
    };
    let failed_as = match &submission.content {
        Content::Events { .. } => None,
        Content::Nothing { outcome, .. } => Some(*outcome),
    };
    let effects = if dry_run {
        host.store.rehearse(submission).await?
    } else {
        host.store.submit(submission).await?
    };
    let outcome = failed_as.unwrap_or_else(|| RequestOutcome::of_effects(&effects));
    tracing::info!(
        event = "request_replayed",
        request_id = %id,
        integration = &*integration.name,
        outcome = outcome.as_str(),
        dry_run,
        by = by.to_string(),
        "replayed a request",
    );
    let redactor = integration.redactor().await;
    let mut report = ReplayReport {
        id,
        integration: record.integration.clone(),
        dry_run,
        plugin: integration.plugin().map(|plugin| PluginId::clone(plugin)),
        outcome,
        reason: reason.map(|reason| redactor.text(&reason)),
        effects: effects.into_iter().map(EventEffect::from).collect(),
        events,
        differences: Vec::new(),
    };
    report.differences = differences(host, &record, &report).await?;
    Ok(report)
}

fn integration(host: &Host, record: &RequestRecord) -> Result<Arc<Integration>, ReplayError> {
    let in_force = host.in_force();
    let name = record.integration.as_str();
    let conflict = |what: String| ReplayError::Conflict(format!("integration `{name}` {what}"));
    let found = in_force.integrations.by_name.get(name);
    let integration = found.ok_or_else(|| conflict("is no longer configured".into()))?;
    match &integration.state {
        IntegrationState::Serving { .. } => Ok(Arc::clone(integration)),
        IntegrationState::Disabled => Err(conflict("is disabled".into())),
        IntegrationState::Broken(problem) => Err(conflict(format!("is broken: {problem}"))),
    }
}

async fn judge(
    integration: &Arc<Integration>,
    request: IncomingRequest,
    now: Timestamp,
) -> Result<Verdict, ReplayError> {
    let IntegrationState::Serving { caller, .. } = &integration.state else {
        return Err(ReplayError::Stopping);
    };
    let (judged, verdict) = oneshot::channel();
    let of = Arc::clone(integration);
    // Runs on the plugin's thread, as for a webhook, since templates may be slow as well.
    let then = move |result| {
        // The receiver was dropped if the client hung up.
        let _ = judged.send(Verdict::of(result, &of, now));
    };
    caller.call(Arc::new(request), Box::new(then));
    verdict.await.map_err(|_| ReplayError::Stopping)
}

/// Restores the request from its kept bytes.
fn incoming(id: Ulid, integration: &str, raw: RawRequest) -> IncomingRequest {
    let query = if raw.query.is_empty() { String::new() } else { format!("?{}", raw.query) };
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    if let Ok(uri) = format!("/in/{integration}{query}").parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in header_lines(&raw.headers) {
        let name = HeaderName::from_bytes(name.as_bytes());
        // Both parses succeed: the lines were headers of the original request.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    IncomingRequest { id, head: request.into_parts().0, body: raw.body }
}

/// Returns name and value of each header line of a kept request.
pub(crate) fn header_lines(headers: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
    headers.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line.get(colon + 1..)?;
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        Some((name, value.strip_prefix(b" ").unwrap_or(value)))
    })
}

/// Returns the differences between the first outcome and that of a replay.
async fn differences(
    host: &Host,
    record: &RequestRecord,
    report: &ReplayReport,
) -> Result<Vec<Difference>, StoreError> {
    let (then, now) = (record.outcome.as_str(), report.outcome.as_str());
    let mut differences = Vec::new();
    let mut differ = |field: String, kept: &str, reported: &str| {
        if kept != reported {
            differences.push(Difference { field, kept: kept.into(), reported: reported.into() });
        }
    };
    differ("outcome".into(), then, now);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    differ("reason".into(), &text(&record.reason), &text(&report.reason));
    let places = record.effects.len().max(report.events.len());
    for place in 0..places {
        let at = |field: &str| format!("events[{place}].{field}");
        let opened = record.effects.get(place).filter(|effect| effect.effect == "opened");
        let alert = match opened.and_then(|effect| effect.alert) {
            Some(number) => host.store.alert(AlertRef::Number(number)).await?,
            None => None,
        };
        match (alert, report.events.get(place)) {
            (Some(alert), Some(event)) => {
                for (field, kept, reported) in fields(&alert.alert, event) {
                    differ(at(field), &kept, &reported);
                }
            }
            (_, Some(event)) if place >= record.effects.len() => {
                differ(at("title"), "", &event.title);
            }
            (Some(alert), None) => differ(at("title"), &alert.alert.title, ""),
            (None, _) => {}
        }
    }
    Ok(differences)
}

fn fields(alert: &Alert, event: &Event) -> [(&'static str, String, String); 6] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let details = |details: &[tocsin_plugin_api::Detail]| {
        let lines = details.iter().map(|detail| format!("{}: {}", detail.label, detail.value));
        lines.collect::<Vec<_>>().join("\n")
    };
    let urgency = event.urgency.unwrap_or(alert.urgency);
    [
        ("title", alert.title.clone(), event.title.clone()),
        ("description", text(&alert.description), text(&event.description)),
        ("urgency", alert.urgency.to_string(), urgency.to_string()),
        ("dedup_key", text(&alert.dedup_key), text(&event.dedup_key)),
        ("link", text(&alert.link), text(&event.link)),
        ("details", details(&alert.details), details(&event.details)),
    ]
}
