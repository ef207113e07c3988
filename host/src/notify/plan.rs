//! The decisions of the router for a page of changes or a number of timers, as pure functions.
//!
//! [`routing`](crate::routing) evaluates routes and silences. This file turns the verdicts into deliveries,
//! timers and facts, which the store records in one transaction.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use tocsin_plugin_api::notification::Kind;

use super::{clock::later, kinds::kind_of, told::Told};
use crate::{
    alert::{AlertOutline, Status},
    delivery::{Fact, FactReason, Silence, Timer, TimerCause},
    http::request_id,
    routing::{Due, Escalation, Outcome, Routes, Silences, Subject},
    store::{
        deliveries::{NewDelivery, Routed},
        feed::FeedChange,
    },
};

/// Everything that decides who is told, apart from the alerts.
pub(super) struct Rules {
    /// The destinations and the routes to them.
    pub routes: Arc<Routes>,
    /// The silences that have not ended.
    pub silences: Arc<Silences>,
    /// The number of waiting alerts above which a digest is sent, by destination.
    pub digest_above: HashMap<Arc<str>, u32>,
}

impl Rules {
    /// Returns true if the details of alerts have to be known.
    pub(super) fn reads_details(&self) -> bool {
        self.routes.reads_details() || self.silences.reads_details()
    }
}

/// Returns which pairs of an alert and a destination decide about these changes, beyond those that `known`
/// holds.
pub(super) fn pairs_to_look_up(
    rules: &Rules,
    changes: &[FeedChange],
    alerts: &HashMap<u64, AlertOutline>,
    known: &Told,
) -> BTreeSet<(u64, String)> {
    let mut pairs = BTreeSet::new();
    let mut evaluator = rules.routes.evaluator();
    for change in changes {
        let (Some(kind), Some(alert)) = (kind_of(change.entry.change), alerts.get(&change.alert))
        else {
            continue;
        };
        if kind == Kind::Opened {
            continue;
        }
        for verdict in evaluator.evaluate(Subject::from(alert), change.entry.last_at, kind) {
            if matches!(verdict.outcome(), Outcome::Told { only_if_told: true, .. }) {
                let (alert, destination) = (alert.number, verdict.destination());
                if !known.contains(alert, destination) {
                    pairs.insert((alert, destination.to_owned()));
                }
            }
        }
    }
    pairs
}

/// Plans the deliveries, timers and facts of a page of changes. `told` gains the pairs that this plan tells.
pub(super) fn plan_changes(
    rules: &Rules,
    changes: &[FeedChange],
    alerts: &HashMap<u64, AlertOutline>,
    told: &mut Told,
    now: Timestamp,
) -> Routed {
    let mut plan = Plan { rules, told, routed: Routed { now, ..Routed::default() } };
    let mut evaluator = rules.routes.evaluator();
    for change in changes {
        let (Some(kind), Some(alert)) = (kind_of(change.entry.change), alerts.get(&change.alert))
        else {
            continue;
        };
        let at = change.entry.last_at;
        // A silence that was added meanwhile holds: its author wants no more messages from now on.
        let silence = rules.silences.holding(Subject::from(alert), now);
        for verdict in evaluator.evaluate(Subject::from(alert), at, kind) {
            let destination = verdict.destination();
            let news = News { alert, destination, kind, place: Some(change.place), at };
            match verdict.outcome() {
                Outcome::Told { only_if_told: true, .. } => plan.follow(&news, silence),
                Outcome::Told { only_if_told: false, .. } => plan.tell(&news, silence),
                Outcome::Later => {}
                Outcome::NotWanted | Outcome::NoRoute if kind == Kind::Opened => {
                    plan.fact(&news, FactReason::NoRoute { routes: verdict.reasons() });
                }
                Outcome::NotWanted | Outcome::NoRoute => {}
            }
            for escalation in verdict.escalations() {
                plan.escalate_later(alert.number, destination, &escalation);
            }
        }
    }
    plan.routed
}

/// Plans the deliveries, timers and facts of timers that are due.
pub(super) fn plan_timers(
    rules: &Rules,
    timers: &[Timer],
    alerts: &HashMap<u64, AlertOutline>,
    told: &mut Told,
    now: Timestamp,
) -> Routed {
    let mut plan = Plan { rules, told, routed: Routed { now, ..Routed::default() } };
    let mut seen = HashSet::new();
    for timer in timers {
        plan.routed.done_timers.push(timer.id);
        let Some(alert) = alerts.get(&timer.alert) else { continue };
        match &timer.cause {
            TimerCause::Escalation { sent, route, .. } => {
                plan.escalate(timer, alert, route, *sent);
            }
            // Several messages about an alert may have been held back. One message tells of it.
            TimerCause::SilenceEnds { .. } if seen.insert((timer.alert, &timer.destination)) => {
                plan.end_silence(timer, alert);
            }
            TimerCause::SilenceEnds { .. } => {}
        }
    }
    plan.routed
}

/// News about an alert for one destination.
struct News<'a> {
    alert: &'a AlertOutline,
    destination: &'a str,
    kind: Kind,
    place: Option<u64>,
    at: Timestamp,
}

struct Plan<'a> {
    rules: &'a Rules,
    told: &'a mut Told,
    routed: Routed,
}

impl Plan<'_> {
    /// Plans news that only makes sense to a destination that knows of the alert.
    fn follow(&mut self, news: &News<'_>, silence: Option<&Silence>) {
        if !self.was_told(news) {
            return self.fact(news, FactReason::NeverTold);
        }
        // A destination that knows of an open alert hears of its end, or a page would stay open.
        let ends = matches!(news.kind, Kind::Acknowledged | Kind::Resolved);
        self.tell(news, silence.filter(|_| !ends));
    }

    fn tell(&mut self, news: &News<'_>, silence: Option<&Silence>) {
        let Some(silence) = silence else { return self.deliver(news) };
        self.silenced(news, silence);
    }

    fn silenced(&mut self, news: &News<'_>, silence: &Silence) {
        let reason = FactReason::Silenced {
            silence: silence.id,
            by: silence.by.to_string(),
            reason: silence.reason.clone(),
        };
        self.fact(news, reason);
        if matches!(news.kind, Kind::Opened | Kind::Escalated) {
            self.routed.timers.push(Timer {
                id: 0,
                due_at: silence.ends_at,
                alert: news.alert.number,
                destination: news.destination.to_owned(),
                cause: TimerCause::SilenceEnds { silence: silence.id },
            });
        }
    }

    fn deliver(&mut self, news: &News<'_>) {
        let known = self.rules.digest_above.get_key_value(news.destination);
        let (destination, digest_above) = match known {
            Some((name, above)) => (Arc::clone(name), *above),
            None => (news.destination.into(), 0),
        };
        self.told.insert(news.alert.number, &destination);
        self.routed.deliveries.push(NewDelivery {
            id: request_id::next(),
            destination,
            alert: news.alert.number,
            kind: news.kind,
            place: news.place,
            changed_at: news.at,
            urgency: news.alert.urgency,
            integration: Arc::clone(&news.alert.integration),
            digest_above,
        });
    }

    fn escalate_later(&mut self, alert: u64, destination: &str, escalation: &Escalation<'_>) {
        let Escalation { route, due_at, sent, .. } = *escalation;
        let cause = TimerCause::Escalation { sent, route: route.to_owned() };
        let destination = destination.to_owned();
        self.routed.timers.push(Timer { id: 0, due_at, alert, destination, cause });
    }

    /// Plans a message that is due because an alert is still open.
    fn escalate(&mut self, timer: &Timer, alert: &AlertOutline, route: &str, sent: u32) {
        let kind = Kind::Escalated;
        let destination = &*timer.destination;
        let news = News { alert, destination, kind, place: None, at: timer.due_at };
        if alert.status != Status::Open {
            // The end of reminders is no news to anybody.
            if sent == 0 {
                let status = alert.status.as_str().to_owned();
                self.fact(&news, FactReason::NotNeeded { status });
            }
            return;
        }
        let (now, subject) = (self.routed.now, Subject::from(alert));
        let due = self.rules.routes.escalation(destination, route, subject, timer.due_at);
        let (route, repeat) = match due {
            Due::Gone { reason } => {
                return self.fact(&news, FactReason::NoRoute { routes: vec![reason] });
            }
            Due::Skip { route, repeat, reason } => {
                self.fact(&news, FactReason::NoRoute { routes: vec![reason] });
                (route, repeat)
            }
            Due::Tell { route, repeat } => {
                let silence = self.rules.silences.holding(subject, now);
                self.tell(&news, silence);
                (route, repeat)
            }
        };
        if let Some(repeat) = repeat {
            // A host that was off for hours sends one message, not all that it missed.
            let next = later(timer.due_at, repeat);
            let next = if next > now { next } else { later(now, repeat) };
            let sent = sent.saturating_add(1);
            let again = Escalation { route, due_at: next, repeat: Some(repeat), sent };
            self.escalate_later(alert.number, destination, &again);
        }
    }

    /// Plans the message that a silence has held back.
    fn end_silence(&mut self, timer: &Timer, alert: &AlertOutline) {
        let (now, destination) = (self.routed.now, &*timer.destination);
        let news = |kind| News { alert, destination, kind, place: None, at: now };
        if alert.status != Status::Open {
            let status = alert.status.as_str().to_owned();
            return self.fact(&news(Kind::Opened), FactReason::NotNeeded { status });
        }
        let subject = Subject::from(alert);
        let mut evaluator = self.rules.routes.evaluator();
        // A host that was off meanwhile must not miss the hours of a route.
        let found = evaluator
            .evaluate(subject, timer.due_at, Kind::Opened)
            .find(|verdict| verdict.destination() == destination);
        let Some(verdict) = found else {
            let reason = format!("`{destination}` is no longer configured");
            return self.fact(&news(Kind::Opened), FactReason::NoRoute { routes: vec![reason] });
        };
        let mut news = news(Kind::Opened);
        match verdict.outcome() {
            _ if self.was_told(&news) => news.kind = Kind::Escalated,
            Outcome::Told { .. } => {
                // The opening itself was held back.
                news.place = Some(0);
            }
            Outcome::Later => news.kind = Kind::Escalated,
            Outcome::NotWanted | Outcome::NoRoute => {
                return self.fact(&news, FactReason::NoRoute { routes: verdict.reasons() });
            }
        }
        let silence = self.rules.silences.holding(subject, now);
        self.tell(&news, silence);
    }

    fn was_told(&self, news: &News<'_>) -> bool {
        self.told.contains(news.alert.number, news.destination)
    }

    fn fact(&mut self, news: &News<'_>, reason: FactReason) {
        let (at, kind, destination) = (self.routed.now, news.kind, news.destination.to_owned());
        self.routed.facts.push((news.alert.number, Fact { at, kind, destination, reason }));
    }
}

#[cfg(test)]
mod tests;
