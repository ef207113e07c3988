//! Tests of routing: a configuration and an alert in, who is told and why not out.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tocsin_plugin_api::{Detail, Urgency, notification::Kind};

use super::*;
use crate::{
    alert::Actor,
    delivery::{Conditions, Silence, conditions::DetailCondition},
};

mod properties;

/// Noon on a Friday in UTC, and 13:00 in Berlin.
const FRIDAY_NOON: &str = "2026-11-27T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn destination(name: &str) -> RoutedDestination {
    RoutedDestination::new(name, vec![Kind::Opened, Kind::Acknowledged, Kind::Resolved])
}

fn matcher(conditions: &Conditions) -> Matcher {
    Matcher::new(conditions).expect("good patterns")
}

fn from_urgency(urgency: Urgency) -> Matcher {
    matcher(&Conditions { urgency: Some(urgency), ..Conditions::default() })
}

fn working_hours() -> Option<Hours> {
    let hours = Hours::new(Some("mon-fri"), Some("08:00"), Some("18:00"), Some("Europe/Berlin"));
    Some(hours.expect("good hours"))
}

fn route(number: usize, to: &[&str], matcher: Matcher) -> Route {
    with_times(number, to, matcher, None, None, None)
}

fn with_times(
    number: usize,
    to: &[&str],
    matcher: Matcher,
    hours: Option<Hours>,
    after: Option<u64>,
    repeat: Option<u64>,
) -> Route {
    let to = to.iter().map(|name| (*name).to_owned()).collect();
    Route::new(number, to, matcher, hours, (after.map(minutes), repeat.map(minutes)))
}

fn medium(details: &[Detail]) -> Subject<'_> {
    Subject { integration: "prometheus", urgency: Urgency::Medium, details }
}

fn detail(label: &str, value: &str) -> Detail {
    Detail { label: label.into(), value: value.into() }
}

/// Returns a line for each destination, with the outcome and what is due later.
fn verdicts(routes: &Routes, subject: Subject<'_>, time: &str, kind: Kind) -> Vec<String> {
    let mut evaluator = routes.evaluator();
    let verdicts = evaluator.evaluate(subject, at(time), kind);
    verdicts
        .map(|verdict| {
            let outcome = match verdict.outcome() {
                Outcome::Told { route: None, .. } => "told".to_owned(),
                Outcome::Told { route: Some(route), only_if_told: false } => {
                    format!("told by {route}")
                }
                Outcome::Told { route: Some(route), .. } => format!("follows {route}"),
                Outcome::Later => "told later".into(),
                Outcome::NotWanted | Outcome::NoRoute => verdict.reasons().join("; "),
            };
            let later: String = verdict
                .escalations()
                .map(|it| format!(" | {} {} sent {}", it.route, it.due_at, it.sent))
                .collect();
            format!("{}: {outcome}{later}", verdict.destination())
        })
        .collect()
}

#[test]
fn without_routes_every_destination_is_told_of_every_alert() {
    let routes = Routes::new(vec![destination("b"), destination("a")], Vec::new());
    let told = verdicts(&routes, medium(&[]), FRIDAY_NOON, Kind::Opened);
    assert_eq!(told, ["a: told", "b: told"]);
    assert!(Routes::default().is_empty() && !routes.is_empty());
}

#[test]
fn all_routes_that_match_apply_and_each_other_destination_has_its_reasons() {
    let channel = matcher(&Conditions {
        details: BTreeMap::from([("Channel".into(), DetailCondition::Exactly("ops".into()))]),
        ..Conditions::default()
    });
    let slack =
        matcher(&Conditions { integrations: vec!["slack".into()], ..Conditions::default() });
    let routes = Routes::new(
        ["all", "channel", "nowhere", "pager"].map(destination).to_vec(),
        vec![
            route(1, &["all", "channel"], channel),
            route(2, &["all"], Matcher::default()),
            route(3, &["pager"], from_urgency(Urgency::High)),
            route(4, &["pager"], slack),
        ],
    );
    insta::assert_snapshot!(verdicts(&routes, medium(&[detail("Channel", "dev")]), FRIDAY_NOON, Kind::Opened).join("\n"), @"
    all: told by route 2 (to all)
    channel: route 1 (to all/channel, Channel = ops): the detail `Channel` is `dev`
    nowhere: no route leads to `nowhere`
    pager: route 3 (to pager, urgency >= high): the urgency is medium; route 4 (to pager, integration slack): the integration is `prometheus`
    ");
    let told = verdicts(&routes, medium(&[detail("Channel", "ops")]), FRIDAY_NOON, Kind::Opened);
    assert!(told[1].starts_with("channel: told by route 1"), "{told:?}");
    let none = verdicts(&routes, medium(&[]), FRIDAY_NOON, Kind::Opened);
    assert!(none[1].ends_with("the alert has no detail `Channel`"), "{none:?}");
}

#[test]
fn a_pattern_matches_any_detail_with_its_label() {
    let pattern = DetailCondition::Matches { pattern: "^db[0-9]+$".into() };
    let details = BTreeMap::from([("Host".into(), pattern)]);
    let matcher = matcher(&Conditions { details, ..Conditions::default() });
    assert!(matcher.matches(medium(&[detail("Host", "web1"), detail("Host", "db12")])));
    assert!(!matcher.matches(medium(&[detail("host", "db12")])));
    let long = [detail("Host", &"é".repeat(100))];
    let routes = Routes::new(vec![destination("a")], vec![route(1, &["a"], matcher)]);
    let told = verdicts(&routes, medium(&long), FRIDAY_NOON, Kind::Opened);
    let reason = format!("the detail `Host` is `{}…`", "é".repeat(60));
    assert!(told[0].ends_with(&reason), "{told:?}");
}

#[test]
fn refuses_patterns_that_are_broken_or_too_large() {
    let details = [("Host", "("), ("Text", "(a{1000}){1000}"), ("Zone", "^eu-")];
    let details = details.map(|(label, pattern)| {
        (label.to_owned(), DetailCondition::Matches { pattern: pattern.into() })
    });
    let conditions = Conditions { details: BTreeMap::from(details), ..Conditions::default() };
    let errors = Matcher::new(&conditions).expect_err("two are wrong");
    let errors: Vec<_> = errors.iter().map(|it| (&*it.label, &*it.reason)).collect();
    assert_eq!(errors, [("Host", "unclosed group"), ("Text", "the pattern is too large")]);
}

#[test]
fn hours_of_a_route_count_when_it_tells() {
    let routes = Routes::new(
        ["at-once", "later"].map(destination).to_vec(),
        vec![
            with_times(1, &["at-once"], Matcher::default(), working_hours(), None, None),
            with_times(2, &["later"], Matcher::default(), working_hours(), Some(10), None),
        ],
    );
    // 07:55 in Berlin: the escalation is within the hours.
    insta::assert_snapshot!(verdicts(&routes, medium(&[]), "2026-11-27T06:55:00Z", Kind::Opened).join("\n"), @"
    at-once: route 1 (to at-once, mon-fri 08:00-18:00 Europe/Berlin): the time is fri 07:55 in Europe/Berlin
    later: told later | route 2 (to later, mon-fri 08:00-18:00 Europe/Berlin, after 10m) 2026-11-27T07:05:00Z sent 0
    ");
    // 17:55 in Berlin: the escalation is not.
    insta::assert_snapshot!(verdicts(&routes, medium(&[]), "2026-11-27T16:55:00Z", Kind::Opened).join("\n"), @"
    at-once: told by route 1 (to at-once, mon-fri 08:00-18:00 Europe/Berlin)
    later: route 2 (to later, mon-fri 08:00-18:00 Europe/Berlin, after 10m): the time of the escalation is fri 18:05 in Europe/Berlin
    ");
}

#[test]
fn a_route_that_repeats_reminds_from_the_first_message_on() {
    let routes = Routes::new(
        ["a", "b"].map(destination).to_vec(),
        vec![
            with_times(1, &["a"], Matcher::default(), None, None, Some(30)),
            with_times(2, &["a", "b"], Matcher::default(), None, None, Some(20)),
            with_times(3, &["b"], Matcher::default(), None, Some(10), Some(60)),
        ],
    );
    insta::assert_snapshot!(verdicts(&routes, medium(&[]), FRIDAY_NOON, Kind::Opened).join("\n"), @"
    a: told by route 1 (to a, repeat 30m) | route 2 (to a/b, repeat 20m) 2026-11-27T12:20:00Z sent 1
    b: told by route 2 (to a/b, repeat 20m) | route 3 (to b, after 10m, repeat 1h) 2026-11-27T12:10:00Z sent 0 | route 2 (to a/b, repeat 20m) 2026-11-27T12:20:00Z sent 1
    ");
    let noted = verdicts(&routes, medium(&[]), FRIDAY_NOON, Kind::Resolved);
    assert!(
        noted.iter().all(|line| !line.contains('|')),
        "only an opened alert escalates: {noted:?}"
    );
}

#[test]
fn a_destination_gets_the_kinds_of_news_that_its_events_name() {
    let only_resolved = RoutedDestination::new("log", vec![Kind::Resolved]);
    let routes = Routes::new(
        vec![destination("ops"), only_resolved],
        vec![route(1, &["ops", "log"], Matcher::default())],
    );
    let told = |kind| verdicts(&routes, medium(&[]), FRIDAY_NOON, kind);
    insta::assert_snapshot!(told(Kind::Opened).join("\n"), @"
    log: `destinations.log.events` does not name `opened`
    ops: told by route 1 (to ops/log)
    ");
    insta::assert_snapshot!(told(Kind::Resolved).join("\n"), @"
    log: told by route 1 (to ops/log)
    ops: follows route 1 (to ops/log)
    ");
    assert_eq!(told(Kind::Noted)[1], "ops: `destinations.ops.events` does not name `noted`");
}

#[test]
fn further_news_follows_the_first_message_at_any_hour() {
    let routes = Routes::new(
        vec![destination("ops"), RoutedDestination::new("log", vec![Kind::Resolved])],
        vec![with_times(1, &["ops", "log"], Matcher::default(), working_hours(), None, None)],
    );
    let at_night = verdicts(&routes, medium(&[]), "2026-11-27T23:00:00Z", Kind::Resolved);
    insta::assert_snapshot!(at_night.join("\n"), @"
    log: route 1 (to ops/log, mon-fri 08:00-18:00 Europe/Berlin): the time is sat 00:00 in Europe/Berlin
    ops: follows route 1 (to ops/log, mon-fri 08:00-18:00 Europe/Berlin)
    ");
}

#[test]
fn an_escalation_reaches_a_destination_without_the_event_opened() {
    let routes = Routes::new(
        vec![RoutedDestination::new("boss", vec![Kind::Resolved])],
        vec![with_times(1, &["boss"], Matcher::default(), None, Some(10), None)],
    );
    let told = |kind| verdicts(&routes, medium(&[]), FRIDAY_NOON, kind);
    let escalates = "boss: told later | route 1 (to boss, after 10m) 2026-11-27T12:10:00Z sent 0";
    assert_eq!(told(Kind::Opened), [escalates]);
    assert_eq!(told(Kind::Resolved), ["boss: follows route 1 (to boss, after 10m)"]);
}

#[test]
fn decides_about_an_escalation_when_it_is_due() {
    let old = Routes::new(
        vec![destination("ops")],
        vec![with_times(
            1,
            &["ops"],
            from_urgency(Urgency::Medium),
            working_hours(),
            None,
            Some(30),
        )],
    );
    let subject = medium(&[]);
    let name = "route 1 (to ops, urgency >= medium, mon-fri 08:00-18:00 Europe/Berlin, repeat 30m)";
    let noon = at(FRIDAY_NOON);
    let repeat = Some(minutes(30));
    assert_eq!(old.escalation("ops", name, subject, noon), Due::Tell { route: name, repeat });
    let reason = format!("{name}: the time is fri 19:00 in Europe/Berlin");
    let due = old.escalation("ops", name, subject, at("2026-11-27T18:00:00Z"));
    assert_eq!(due, Due::Skip { route: name, repeat, reason });

    let one_more = [
        route(1, &["ops"], Matcher::default()),
        with_times(2, &["ops"], from_urgency(Urgency::Medium), None, Some(5), None),
    ];
    let moved = Routes::new(vec![destination("ops")], one_more.to_vec());
    let route = "route 2 (to ops, urgency >= medium, after 5m)";
    let due = moved.escalation("ops", name, subject, noon);
    assert_eq!(due, Due::Tell { route, repeat: None }, "another route took its place");
    let reason = format!("{name} is no longer configured");
    let low = Subject { urgency: Urgency::Low, ..subject };
    for (destination, subject) in [("ops", low), ("gone", subject)] {
        let due = moved.escalation(destination, name, subject, noon);
        assert_eq!(due, Due::Gone { reason: reason.clone() });
    }
}

fn silence(id: u64, conditions: Conditions, (from, to): (&str, &str)) -> Silence {
    let (starts_at, ends_at) = (at(from), at(to));
    let (by, reason) = (Actor::Integration("test".into()), String::new());
    Silence { id, conditions, starts_at, ends_at, by, reason, ended_by: None }
}

#[test]
fn the_silence_that_ends_last_holds() {
    let prometheus =
        Conditions { integrations: vec!["prometheus".into()], ..Conditions::default() };
    let high = Conditions { urgency: Some(Urgency::High), ..Conditions::default() };
    let (silences, broken) = Silences::new(vec![
        silence(1, prometheus, ("2026-11-27T10:00:00Z", "2026-11-27T14:00:00Z")),
        silence(2, high, ("2026-11-27T10:00:00Z", "2026-11-27T18:00:00Z")),
        silence(3, Conditions::default(), ("2026-11-27T13:00:00Z", "2026-11-27T13:30:00Z")),
    ]);
    assert_eq!(broken, []);
    let (medium, high) = (medium(&[]), Subject { urgency: Urgency::High, ..medium(&[]) });
    for (subject, time, id) in [
        (medium, "2026-11-27T09:59:59Z", None),
        (medium, "2026-11-27T10:00:00Z", Some(1)),
        (medium, "2026-11-27T13:10:00Z", Some(1)),
        (medium, "2026-11-27T14:00:00Z", None),
        (high, "2026-11-27T13:10:00Z", Some(2)),
        (Subject { integration: "x", ..medium }, "2026-11-27T13:10:00Z", Some(3)),
    ] {
        let holding = silences.holding(subject, at(time)).map(|silence| silence.id);
        assert_eq!(holding, id, "{time}");
    }
}

#[test]
fn a_silence_that_cannot_be_evaluated_silences_nothing_and_is_reported() {
    let pattern = DetailCondition::Matches { pattern: "(".into() };
    let details = BTreeMap::from([("Host".into(), pattern)]);
    let conditions = Conditions { details, ..Conditions::default() };
    let whole_day = ("2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z");
    let (silences, broken) = Silences::new(vec![silence(7, conditions, whole_day)]);
    assert_eq!(broken.iter().map(|it| it.id).collect::<Vec<_>>(), [7]);
    assert_eq!(silences.holding(medium(&[detail("Host", "(")]), at(FRIDAY_NOON)), None);
}
