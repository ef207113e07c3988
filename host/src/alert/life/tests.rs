//! Tests of the rules, one promise each.

use tocsin_plugin_api::Event;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn cause(second: i64) -> Cause {
    let by = Actor::Integration("ops".into());
    Cause { by, request_id: Some(Ulid::from_parts(second.unsigned_abs(), 7)), at: at(second) }
}

fn nothing() -> Found<'static> {
    Found { next_number: 5, seen: None, unresolved: None, last_resolved: None }
}

fn terms() -> Terms {
    Urgency::Low.into()
}

fn decide(event: &Event, terms: Terms, second: i64, found: Found<'_>) -> EventOutcome {
    let event = &event.clone().into();
    on_event(Report { event, terms, cause: &cause(second) }, found)
}

/// Alert 3, opened and last reported at second 10.
fn state(status: Status) -> AlertState {
    AlertState { number: 3, status, updated_at: at(10) }
}

fn unresolved(last_entry: Option<LastEntry>) -> UnresolvedAlert<'static> {
    UnresolvedAlert {
        state: state(Status::Open),
        occurrences: 1,
        last_occurred_at: at(10),
        title: "disk full",
        description: "",
        urgency: Urgency::High,
        link: "",
        details: "",
        last_entry,
    }
}

fn known(last_entry: Option<LastEntry>) -> Found<'static> {
    Found { unresolved: Some(unresolved(last_entry)), ..nothing() }
}

fn occurred(place: u64, by: Actor, differences: Vec<Difference>) -> LastEntry {
    let cause = Cause { by, ..cause(10) };
    LastEntry {
        place,
        entry: HistoryEntry { count: 4, differences, ..entry(ChangeKind::Occurred, &cause) },
    }
}

fn disk_full() -> Event {
    Event::create("disk full").dedup_key("k")
}

#[test]
fn a_free_key_opens_the_next_alert() {
    let outcome = decide(&disk_full(), terms(), 20, nothing());
    assert_eq!((outcome.effect, outcome.is_seen), (Effect::Opened(5), true));
    let urgency = Urgency::Low;
    let open = AlertChange::Open { number: 5, urgency, previous: None, resolves_at: None };
    assert_eq!(outcome.changes, Changes { alert: Some(open), history: None });
}

#[test]
fn the_urgency_of_the_event_takes_precedence_over_that_of_the_integration() {
    let outcome = decide(&disk_full().urgency(Urgency::Critical), terms(), 20, nothing());
    let Some(AlertChange::Open { urgency, .. }) = outcome.changes.alert else { panic!() };
    assert_eq!(urgency, Urgency::Critical);
}

#[test]
fn a_new_alert_resolves_after_the_time_of_its_integration() {
    let terms = Terms { resolve_after: Some(Duration::from_secs(60)), ..terms() };
    let outcome = decide(&disk_full(), terms, 20, nothing());
    let Some(AlertChange::Open { resolves_at, .. }) = outcome.changes.alert else { panic!() };
    assert_eq!(resolves_at, Some(at(80)));
}

#[test]
fn an_endless_time_until_the_automatic_resolve_is_cut_to_the_last_timestamp() {
    let terms = Terms { resolve_after: Some(Duration::MAX), ..terms() };
    let outcome = decide(&disk_full(), terms, 20, nothing());
    let Some(AlertChange::Open { resolves_at, .. }) = outcome.changes.alert else { panic!() };
    assert_eq!(resolves_at, Some(Timestamp::MAX));
}

#[test]
fn a_new_alert_links_to_the_resolved_one_of_the_same_problem_and_back() {
    let found = Found { last_resolved: Some(2), ..nothing() };
    let Changes { alert, history } = decide(&disk_full(), terms(), 20, found).changes;
    assert!(matches!(alert, Some(AlertChange::Open { number: 5, previous: Some(2), .. })));
    let HistoryChange { alert, replaces, entry } = history.expect("an entry");
    assert_eq!((alert, replaces, entry.next), (2, None, Some(5)));
    assert_eq!((entry.change, entry.by), (ChangeKind::Reopened, cause(20).by));
}

#[test]
fn in_maintenance_no_alert_opens_and_the_event_does_not_count_as_seen() {
    let terms = Terms { opens: false, ..terms() };
    let outcome = decide(&disk_full(), terms, 20, nothing());
    let (effect, changes) = (Effect::Suppressed, Changes::default());
    assert_eq!(outcome, EventOutcome { effect, is_seen: false, changes });
}

#[test]
fn in_maintenance_a_known_problem_still_occurs_and_resolves() {
    let terms = Terms { opens: false, ..terms() };
    assert_eq!(decide(&disk_full(), terms, 20, known(None)).effect, Effect::Occurred(3));
    assert_eq!(decide(&Event::resolve("k"), terms, 20, known(None)).effect, Effect::Resolved(3));
}

#[test]
fn another_report_is_counted_and_extends_the_time_until_the_automatic_resolve() {
    let terms = Terms { resolve_after: Some(Duration::from_secs(60)), ..terms() };
    let outcome = decide(&disk_full(), terms, 20, known(None));
    assert_eq!(outcome.effect, Effect::Occurred(3));
    let occur = AlertChange::Occur {
        number: 3,
        occurrences: 2,
        last_occurred_at: at(20),
        resolves_at: Some(at(80)),
        updated_at: at(20),
    };
    assert_eq!(outcome.changes.alert, Some(occur));
}

#[test]
fn times_never_go_back() {
    let outcome = decide(&disk_full(), terms(), 0, known(None));
    let Some(AlertChange::Occur { last_occurred_at, updated_at, .. }) = outcome.changes.alert
    else {
        panic!()
    };
    assert_eq!((last_occurred_at, updated_at), (at(10), at(10)));
    let changes = on_silence(at(0), state(Status::Open));
    assert!(
        matches!(changes.alert, Some(AlertChange::SetStatus { updated_at, .. }) if updated_at == at(10))
    );
}

#[test]
fn another_report_keeps_the_fields_of_the_alert_and_notes_the_differences() {
    let event = disk_full().description("x".repeat(300)).link("https://example.com");
    let outcome = decide(&event, terms(), 20, known(None));
    let entry = outcome.changes.history.expect("an entry").entry;
    let fields: Vec<_> = entry.differences.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["description", "link"], "no urgency is no difference");
    assert_eq!(entry.differences[0].reported.len(), LONGEST_DIFFERENCE);
}

#[test]
fn details_differ_as_json() {
    let event = disk_full().detail("host", "db1");
    let outcome = decide(&event, terms(), 20, known(None));
    let differences = outcome.changes.history.expect("an entry").entry.differences;
    let [Difference { field, kept, reported }] = &differences[..] else { panic!() };
    let json = r#"[{"label":"host","value":"db1"}]"#;
    assert_eq!((field.as_str(), kept.as_str(), reported.as_str()), ("details", "", json));
}

#[test]
fn consecutive_identical_entries_are_merged_and_counted() {
    let last = occurred(7, cause(0).by, vec![]);
    let history = decide(&disk_full(), terms(), 20, known(Some(last))).changes.history;
    let HistoryChange { alert, replaces, entry } = history.expect("an entry");
    assert_eq!((alert, replaces, entry.count), (3, Some(7), 5));
    assert_eq!((entry.at, entry.last_at), (at(10), at(20)));
    assert_eq!(entry.request_id, cause(20).request_id, "the last one");
}

#[test]
fn an_entry_of_another_actor_or_with_other_differences_is_not_merged() {
    let difference = Difference { field: "title".into(), kept: "a".into(), reported: "b".into() };
    for last in [
        occurred(7, Actor::Api(None), vec![]),
        occurred(7, cause(0).by, vec![difference]),
        LastEntry { place: 7, entry: entry(ChangeKind::Acknowledged, &cause(10)) },
    ] {
        let history = decide(&disk_full(), terms(), 20, known(Some(last))).changes.history;
        let HistoryChange { replaces, entry, .. } = history.expect("an entry");
        assert_eq!((replaces, entry.count), (None, 1));
    }
}

#[test]
fn a_long_history_counts_repeated_reports_whatever_their_differences() {
    let last = || occurred(MOST_ENTRIES, Actor::Api(None), vec![]);
    let event = Event::create("other").dedup_key("k");
    let history = decide(&event, terms(), 20, known(Some(last()))).changes.history;
    let HistoryChange { replaces, entry, .. } = history.expect("an entry");
    assert_eq!((replaces, entry.count), (Some(MOST_ENTRIES), 5));
    assert_eq!((entry.by, entry.differences.len()), (Actor::Api(None), 1));
    let resolve = decide(&Event::resolve("k"), terms(), 20, known(None)).changes.history;
    assert_eq!(resolve.expect("an entry").replaces, None, "other entries are still added");
}

#[test]
fn a_seen_event_changes_nothing_but_the_history() {
    for event in [disk_full().event_id("e"), Event::resolve("k").event_id("e")] {
        let seen = Some(SeenEvent { alert: Some((2, None)) });
        let outcome = decide(&event, terms(), 20, Found { seen, ..known(None) });
        assert_eq!((outcome.effect, outcome.is_seen), (Effect::Duplicate(Some(2)), true));
        assert_eq!(outcome.changes.alert, None);
        let HistoryChange { alert, entry, .. } = outcome.changes.history.expect("an entry");
        assert_eq!((alert, entry.change), (2, ChangeKind::Duplicated));
    }
}

#[test]
fn a_seen_event_of_a_deleted_alert_is_a_duplicate_without_an_alert() {
    let seen = Some(SeenEvent { alert: None });
    let outcome = decide(&disk_full(), terms(), 20, Found { seen, ..nothing() });
    assert_eq!(outcome.effect, Effect::Duplicate(None));
    assert_eq!(outcome.changes, Changes::default());
}

#[test]
fn events_acknowledge_and_resolve() {
    let acknowledged = decide(&Event::acknowledge("k"), terms(), 20, known(None));
    assert_eq!(acknowledged.effect, Effect::Acknowledged(3));
    let status = Status::Acknowledged;
    let change = AlertChange::SetStatus { number: 3, status, updated_at: at(20) };
    assert_eq!(acknowledged.changes.alert, Some(change));
    let resolved = decide(&Event::resolve("k"), terms(), 20, known(None));
    assert_eq!(resolved.effect, Effect::Resolved(3));
    let entry = resolved.changes.history.expect("an entry").entry;
    assert_eq!((entry.change, entry.by), (ChangeKind::Resolved, cause(20).by));
}

#[test]
fn acknowledging_twice_changes_nothing() {
    let mut alert = unresolved(None);
    alert.state.status = Status::Acknowledged;
    let found = Found { unresolved: Some(alert), ..nothing() };
    let outcome = decide(&Event::acknowledge("k"), terms(), 20, found);
    assert_eq!(outcome.effect, Effect::Acknowledged(3));
    assert_eq!(outcome.changes, Changes::default());
}

#[test]
fn acknowledging_or_resolving_an_unknown_key_matches_nothing() {
    for event in [Event::acknowledge("k"), Event::resolve("k")] {
        let outcome = decide(&event, terms(), 20, nothing());
        assert_eq!((outcome.effect, outcome.is_seen), (Effect::NoMatch, true));
        assert_eq!(outcome.changes, Changes::default());
    }
}

#[test]
fn a_resolved_alert_cannot_be_acknowledged_by_hand() {
    let changes = on_manual_action(&ManualAction::Acknowledge, &cause(20), state(Status::Resolved));
    assert_eq!(changes, None);
}

#[test]
fn an_action_by_hand_that_was_done_already_changes_nothing() {
    for (action, status) in [
        (ManualAction::Acknowledge, Status::Acknowledged),
        (ManualAction::Resolve, Status::Resolved),
    ] {
        let changes = on_manual_action(&action, &cause(20), state(status));
        assert_eq!(changes, Some(Changes::default()));
    }
}

#[test]
fn a_note_keeps_the_status_of_any_alert() {
    for status in Status::ALL {
        let note = ManualAction::Note("it was the fan".into());
        let changes = on_manual_action(&note, &cause(20), state(status)).expect("it is allowed");
        let touch = AlertChange::Touch { number: 3, updated_at: at(20) };
        assert_eq!(changes.alert, Some(touch));
        let entry = changes.history.expect("an entry").entry;
        assert_eq!(
            (entry.change, entry.note.as_deref()),
            (ChangeKind::Noted, Some("it was the fan"))
        );
    }
}

#[test]
fn an_alert_that_is_no_longer_reported_is_resolved_by_the_host() {
    let changes = on_silence(at(20), state(Status::Acknowledged));
    let status = Status::Resolved;
    let change = AlertChange::SetStatus { number: 3, status, updated_at: at(20) };
    assert_eq!(changes.alert, Some(change));
    let entry = changes.history.expect("an entry").entry;
    assert_eq!((entry.by, entry.request_id), (Actor::AutomaticResolve, None));
}
