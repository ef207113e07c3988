//! Plans for changes and timers, with routes from a configuration.

use std::path::Path;

use super::*;
use crate::{
    alert::{Actor, ChangeKind, HistoryEntry},
    config::LoadedConfig,
    delivery::Conditions,
};

const DESTINATIONS: &str = "
    [destinations.chat]
    plugin = 'x'
    events = ['opened', 'acknowledged', 'resolved', 'occurred', 'noted']
    [destinations.pager]
    plugin = 'x'
    digest_above = 3
";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

fn rules(routes: &str, silences: Vec<Silence>) -> Rules {
    let text = format!("[integrations.in]\nplugin = 'x'\n{DESTINATIONS}\n{routes}");
    let config = LoadedConfig::parse(Path::new("tocsin.toml"), text, |_| None);
    let (silences, broken) = Silences::new(silences);
    assert_eq!(broken, []);
    Rules {
        routes: config.expect("it is valid").routes,
        silences: Arc::new(silences),
        digest_above: HashMap::from([("chat".into(), 20), ("pager".into(), 3)]),
    }
}

fn silence(ends_at: Timestamp) -> Silence {
    Silence {
        id: 5,
        conditions: Conditions::default(),
        starts_at: at(-100),
        ends_at,
        by: Actor::from("api token anna"),
        reason: "maintenance".into(),
        ended_by: None,
    }
}

fn alert(status: Status) -> HashMap<u64, AlertOutline> {
    let alert = AlertOutline {
        number: 7,
        integration: "in".into(),
        urgency: tocsin_plugin_api::Urgency::High,
        status,
        details: Vec::new(),
    };
    HashMap::from([(7, alert)])
}

/// Returns the memory of destinations that were told of alert 7.
fn told<const N: usize>(names: [&str; N]) -> Told {
    let mut told = Told::default();
    names.iter().for_each(|name| told.insert(7, &(*name).into()));
    told
}

fn change(kind: ChangeKind, place: u64) -> FeedChange {
    let entry = HistoryEntry {
        at: at(0),
        change: kind,
        by: Actor::Integration("in".into()),
        request_id: None,
        count: 1,
        last_at: at(0),
        differences: Vec::new(),
        note: None,
        next: None,
    };
    FeedChange { alert: 7, place, entry }
}

/// Plans changes of alert 7, which are a second old.
fn planned(rules: &Rules, told: &mut Told, kinds: &[ChangeKind]) -> Routed {
    let changes: Vec<_> =
        kinds.iter().enumerate().map(|(place, kind)| change(*kind, place as u64)).collect();
    plan_changes(rules, &changes, &alert(Status::Open), told, at(1))
}

fn fired(rules: &Rules, told: &mut Told, status: Status, timers: &[Timer], now: i64) -> Routed {
    plan_timers(rules, timers, &alert(status), told, at(now))
}

/// Returns the deliveries as texts, such as `chat: opened`.
fn deliveries(routed: &Routed) -> Vec<String> {
    let deliveries = routed.deliveries.iter();
    deliveries.map(|one| format!("{}: {}", one.destination, one.kind)).collect()
}

/// Returns the facts as texts, such as `chat: opened, never_told`.
fn facts(routed: &Routed) -> Vec<String> {
    let fact = |(_, fact): &(u64, Fact)| {
        let reason = match &fact.reason {
            FactReason::NoRoute { routes } => routes.join("; "),
            FactReason::Silenced { silence, .. } => format!("silence {silence}"),
            FactReason::NotNeeded { status } => format!("is {status}"),
            other => format!("{other:?}"),
        };
        format!("{}: {}, {reason}", fact.destination, fact.kind)
    };
    routed.facts.iter().map(fact).collect()
}

fn pair(destination: &str) -> (u64, String) {
    (7, destination.to_owned())
}

#[test]
fn every_destination_is_told_without_routes() {
    let (rules, mut told) = (rules("", Vec::new()), Told::default());
    let routed = planned(&rules, &mut told, &[ChangeKind::Created]);
    assert_eq!(deliveries(&routed), ["chat: opened", "pager: opened"]);
    let pager = &routed.deliveries[1];
    assert_eq!((pager.place, pager.changed_at, pager.digest_above), (Some(0), at(0), 3));
    assert!(routed.facts.is_empty() && routed.timers.is_empty());
    assert!(told.contains(7, "chat") && told.contains(7, "pager"));
}

#[test]
fn further_news_follows_only_what_was_told() {
    let rules = rules("", Vec::new());
    let changes = [ChangeKind::Noted, ChangeKind::Acknowledged, ChangeKind::Duplicated];
    let listed: Vec<_> = changes.iter().map(|kind| change(*kind, 1)).collect();
    let pairs = pairs_to_look_up(&rules, &listed, &alert(Status::Open), &Told::default());
    assert_eq!(pairs, BTreeSet::from([pair("chat"), pair("pager")]));
    let mut told = told(["chat"]);
    let pairs = pairs_to_look_up(&rules, &listed, &alert(Status::Open), &told);
    assert_eq!(pairs, BTreeSet::from([pair("pager")]));
    let routed = planned(&rules, &mut told, &changes);
    assert_eq!(deliveries(&routed), ["chat: noted", "chat: acknowledged"]);
    assert_eq!(facts(&routed), ["pager: acknowledged, NeverTold"]);
}

#[test]
fn news_about_an_alert_of_the_same_page_needs_no_look_up() {
    let (rules, mut told) = (rules("", Vec::new()), Told::default());
    let routed = planned(&rules, &mut told, &[ChangeKind::Created, ChangeKind::Resolved]);
    let expected = ["chat: opened", "pager: opened", "chat: resolved", "pager: resolved"];
    assert_eq!(deliveries(&routed), expected);
}

#[test]
fn a_destination_without_a_route_is_not_told_and_the_reason_is_recorded() {
    let rules = rules("[[routes]]\nto = ['chat']\nurgency = 'critical'", Vec::new());
    let mut told = Told::default();
    let routed = planned(&rules, &mut told, &[ChangeKind::Created, ChangeKind::Resolved]);
    assert!(routed.deliveries.is_empty());
    let facts = facts(&routed);
    assert_eq!(facts.len(), 2, "{facts:?}");
    assert!(facts[0].starts_with("chat: opened, route 1 (to chat, "), "{facts:?}");
    assert_eq!(facts[1], "pager: opened, no route leads to `pager`");
}

#[test]
fn a_silence_holds_back_an_opening_and_tells_of_it_when_it_ends() {
    let (silent, mut told) = (rules("", vec![silence(at(60))]), Told::default());
    let routed = planned(&silent, &mut told, &[ChangeKind::Created]);
    assert!(routed.deliveries.is_empty());
    assert_eq!(facts(&routed), ["chat: opened, silence 5", "pager: opened, silence 5"]);
    let timers = routed.timers;
    assert!(timers.iter().all(|timer| timer.due_at == at(60)));
    let loud = rules("", Vec::new());
    let ended = fired(&loud, &mut told.clone(), Status::Open, &timers, 60);
    assert_eq!(deliveries(&ended), ["chat: opened", "pager: opened"]);
    assert_eq!(ended.deliveries[0].place, Some(0));
    assert_eq!(ended.done_timers.len(), 2);
    let over = fired(&loud, &mut told.clone(), Status::Acknowledged, &timers, 60);
    assert!(over.deliveries.is_empty());
    assert_eq!(facts(&over)[0], "chat: opened, is acknowledged");
    // Another silence begins where the first one ends.
    let longer = rules("", vec![silence(at(90))]);
    let again = fired(&longer, &mut told, Status::Open, &timers, 60);
    assert!(again.deliveries.is_empty());
    assert!(again.timers.iter().all(|timer| timer.due_at == at(90)));
}

#[test]
fn the_end_of_a_silence_is_told_by_the_hours_in_which_it_was_due() {
    // The host was off when the silence ended, at 22:14:20 UTC.
    let hours = "hours = { days = 'mon-sun', from = '22:00', to = '23:00', zone = 'UTC' }";
    let text = format!("[[routes]]\nto = ['chat']\n{hours}");
    let mut told = Told::default();
    let silent = rules(&text, vec![silence(at(60))]);
    let timers = planned(&silent, &mut told, &[ChangeKind::Created]).timers;
    assert_eq!(timers.len(), 1);
    let late = 3 * 3600;
    let ended = fired(&rules(&text, Vec::new()), &mut told.clone(), Status::Open, &timers, late);
    assert_eq!(deliveries(&ended), ["chat: opened"]);
    // Another silence holds that began meanwhile.
    let other = rules(&text, vec![silence(at(late + 60))]);
    let held = fired(&other, &mut told, Status::Open, &timers, late);
    assert!(held.deliveries.is_empty());
}

#[test]
fn a_silence_does_not_hide_that_an_alert_which_was_told_is_over() {
    let rules = rules("", vec![silence(at(60))]);
    let mut told = told(["chat"]);
    let routed = planned(&rules, &mut told, &[ChangeKind::Occurred, ChangeKind::Resolved]);
    assert_eq!(deliveries(&routed), ["chat: resolved"]);
    assert_eq!(facts(&routed), ["chat: occurred, silence 5", "pager: resolved, NeverTold"]);
    assert!(routed.timers.is_empty(), "a further report is not told later");
}

const ESCALATION: &str = "[[routes]]\nto = ['pager']\nafter = '10m'\nrepeat = '30m'\n";

#[test]
fn an_alert_that_stays_open_is_escalated_and_repeated_until_it_is_acknowledged() {
    let (rules, mut told) = (rules(ESCALATION, Vec::new()), Told::default());
    let routed = planned(&rules, &mut told, &[ChangeKind::Created]);
    assert!(routed.deliveries.is_empty());
    assert_eq!(routed.timers[0].due_at, at(600));
    let first = fired(&rules, &mut told, Status::Open, &routed.timers, 600);
    assert_eq!(deliveries(&first), ["pager: escalated"]);
    assert_eq!(first.timers[0].due_at, at(600 + 1800));
    let over = fired(&rules, &mut told.clone(), Status::Resolved, &routed.timers, 600);
    assert_eq!(facts(&over), ["pager: escalated, is resolved"]);
    let second = fired(&rules, &mut told, Status::Acknowledged, &first.timers, 2400);
    assert!(deliveries(&second).is_empty() && second.timers.is_empty());
    assert!(second.facts.is_empty(), "the end of reminders is no news");
}

#[test]
fn a_host_that_was_off_for_hours_sends_one_reminder() {
    let (rules, mut told) = (rules(ESCALATION, Vec::new()), Told::default());
    let routed = planned(&rules, &mut told, &[ChangeKind::Created]);
    let late = 5 * 3600;
    let fired = fired(&rules, &mut told, Status::Open, &routed.timers, late);
    assert_eq!(deliveries(&fired), ["pager: escalated"]);
    assert_eq!(fired.timers[0].due_at, at(late + 1800));
}

#[test]
fn a_silenced_escalation_is_told_when_the_silence_ends() {
    let mut told = Told::default();
    let silent = rules(ESCALATION, vec![silence(at(900))]);
    let routed = planned(&silent, &mut told, &[ChangeKind::Created]);
    let held = fired(&silent, &mut told, Status::Open, &routed.timers, 600);
    assert!(held.deliveries.is_empty());
    assert_eq!(facts(&held), ["pager: escalated, silence 5"]);
    let ends: Vec<_> = held.timers.into_iter().filter(|timer| timer.due_at == at(900)).collect();
    assert_eq!(ends.len(), 1);
    let ended = fired(&rules(ESCALATION, Vec::new()), &mut told, Status::Open, &ends, 900);
    assert_eq!(deliveries(&ended), ["pager: escalated"]);
}

#[test]
fn an_alert_that_was_deleted_has_no_timers_left() {
    let (rules, mut told) = (rules(ESCALATION, Vec::new()), Told::default());
    let routed = planned(&rules, &mut told, &[ChangeKind::Created]);
    let fired = plan_timers(&rules, &routed.timers, &HashMap::new(), &mut told, at(600));
    assert_eq!((fired.done_timers.len(), fired.deliveries.len()), (1, 0));
}

#[test]
fn a_route_that_was_removed_escalates_nothing() {
    let (before, mut told) = (rules(ESCALATION, Vec::new()), Told::default());
    let routed = planned(&before, &mut told, &[ChangeKind::Created]);
    let after = rules("[[routes]]\nto = ['chat']", Vec::new());
    let fired = fired(&after, &mut told, Status::Open, &routed.timers, 600);
    assert!(fired.deliveries.is_empty() && fired.timers.is_empty());
    assert!(facts(&fired)[0].ends_with("is no longer configured"), "{:?}", facts(&fired));
}
