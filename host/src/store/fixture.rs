//! Set-up that the tests of every store share.

pub(super) mod deliveries;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{
    AlertQuery, ManualAction, ManualChange, ManualChangeOutcome, Store,
    audit::AuditEntry,
    housekeeping::{HousekeepingProgress, HousekeepingStep, HousekeepingTask},
};
use crate::alert::{Actor, Alert, AlertRef, AlertWithHistory, PluginId};
use crate::request::{
    Content, Effect, Kept, RawRequest, RequestOutcome, Share, ShareBounds, Submission, Terms,
};

/// Place of a store's data, where the store can be opened, closed and opened again.
pub(super) trait StoreFixture {
    /// Opens the store.
    fn open(&self) -> Arc<dyn Store>;

    /// Returns true if several hosts may use the store at once. Numbers of alerts then have gaps, and the order of
    /// transactions is promised for each alert only.
    fn is_shared(&self) -> bool {
        false
    }

    /// Opens the store for another host, while handles of [`open`](Self::open) are in use; none if only one
    /// host can use the store.
    fn open_another(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

/// Returns a [`Submission`] of events as a sender's request makes it.
pub(super) fn submission(integration: &str, events: Vec<Event>) -> Submission {
    let now = Timestamp::now().as_millisecond();
    Submission {
        request_id: Ulid::generate(),
        received_at: Timestamp::from_millisecond(now).unwrap(),
        integration: integration.into(),
        plugin: Some(Arc::new(PluginId { name: "test".into(), version: "1.0.0".into() })),
        sender: Some([192, 0, 2, 1].into()),
        size_bytes: Some(4),
        plugin_time: Some(Duration::from_micros(17)),
        content: self::events(events, Urgency::Medium.into()),
        kept: None,
        replayed_by: None,
        hops: 0,
        timeline: None,
    }
}

pub(super) fn events(events: Vec<Event>, terms: Terms) -> Content {
    let events = events.into_iter().map(Into::into).collect();
    Content::Events { events, terms, remark: None }
}

pub(super) fn nothing(outcome: RequestOutcome, reason: &str) -> Content {
    Content::Nothing { outcome, reason: reason.into() }
}

pub(super) fn with_terms(store: &dyn Store, event: Event, terms: Terms) -> Vec<Effect> {
    let content = events(vec![event], terms);
    store
        .submit(Submission { content, ..submission("ops", Vec::new()) })
        .wait()
        .expect("it commits")
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

/// Returns an entry of the audit, about an act of [`steve`].
pub(super) fn audit_entry(action: &str, second: i64) -> AuditEntry {
    AuditEntry {
        number: 0,
        at: at(second),
        actor: steve(),
        action: action.into(),
        object: None,
        result: "done".into(),
        detail: None,
        status: Some(200),
        request: Some(Ulid::from_parts(1_700_000_000_000, 7)),
        address: Some("192.0.2.1".into()),
    }
}

/// Does one [`HousekeepingStep`], and returns the number of changes.
pub(super) fn housekeep(store: &dyn Store, task: HousekeepingTask, limit: usize) -> usize {
    one_step(store, task, limit).count
}

/// Does all steps of a task, and returns the number of changes of each.
pub(super) fn steps(store: &dyn Store, task: &HousekeepingTask, limit: usize) -> Vec<usize> {
    let mut counts = Vec::new();
    loop {
        let HousekeepingProgress { count, more } = one_step(store, task.clone(), limit);
        counts.push(count);
        if !more {
            return counts;
        }
    }
}

pub(super) fn one_step(
    store: &dyn Store,
    task: HousekeepingTask,
    limit: usize,
) -> HousekeepingProgress {
    store.housekeep(HousekeepingStep { task, limit }).wait().expect("it commits")
}

pub(super) fn commit(store: &dyn Store, event: Event) -> Vec<Effect> {
    store.submit(submission("ops", vec![event])).wait().expect("it commits")
}

pub(super) fn by_hand(store: &dyn Store, number: u64, action: ManualAction) -> AlertWithHistory {
    match store.change(AlertRef::Number(number), by_steve(action)).wait().expect("it commits") {
        ManualChangeOutcome::Done(alert) => *alert,
        other => panic!("{other:?}"),
    }
}

pub(super) fn steve() -> Actor {
    Actor::CommandLine { user: "steve".into(), token: None }
}

pub(super) fn by_steve(action: ManualAction) -> ManualChange {
    ManualChange { action, by: steve(), at: Timestamp::now() }
}

pub(super) fn get(store: &dyn Store, alert: AlertRef) -> AlertWithHistory {
    store.alert(alert).wait().expect("it reads").expect("the alert is there")
}

pub(super) fn all(store: &dyn Store) -> Vec<Alert> {
    let (mut alerts, mut before) = (Vec::new(), None);
    loop {
        let query = AlertQuery { limit: 10, before, ..AlertQuery::default() };
        let page = store.alerts(query).wait().expect("it reads");
        alerts.extend(page.alerts);
        before = page.next;
        if before.is_none() {
            return alerts;
        }
    }
}

pub(super) fn failed(integration: &str, body: &str, bounds: ShareBounds) -> Submission {
    let raw =
        RawRequest { query: "q".into(), headers: "h: v\n".into(), body: body.to_owned().into() };
    let kept = Some(Kept { raw, share: Some((Share::Quarantine, bounds)) });
    let content = nothing(RequestOutcome::Failed, "panicked");
    Submission { content, kept, ..submission(integration, Vec::new()) }
}

pub(super) const WIDE: ShareBounds = ShareBounds { count: 100, bytes: 100_000 };
