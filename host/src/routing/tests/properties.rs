//! Properties of routing, against simple models.

use proptest::prelude::*;

use super::*;

/// Zones with the offsets from UTC that were in force around a change of the clocks, in minutes, and the
/// time of that change. The figures are from the zones' laws, not from the database.
const CHANGES: &[(&str, &str, i64, i64)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z", 60, 120),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", 120, 60),
    ("America/New_York", "2026-03-08T07:00:00Z", -300, -240),
    ("America/New_York", "2026-11-01T06:00:00Z", -240, -300),
    // Half an hour only.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 660, 630),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 630, 660),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z", 345, 345),
    ("UTC", "2026-12-31T00:00:00Z", 0, 0),
];

const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Returns the minutes of a week, from Monday 00:00 on, in which a clock on the wall is within hours.
fn week(days: &[bool; 7], from: i64, to: i64) -> Vec<bool> {
    const WEEK: i64 = 7 * 24 * 60;
    let mut week = vec![false; usize::try_from(WEEK).expect("it is small")];
    for day in (0..7).filter(|day| days[*day]) {
        let start = i64::try_from(day).expect("it is small") * 24 * 60 + from;
        let length = if from < to { to - from } else { to + 24 * 60 - from };
        for minute in start..start + length {
            week[usize::try_from(minute % WEEK).expect("it is not negative")] = true;
        }
    }
    week
}

/// Returns the minute of the week that a clock shows with this offset from UTC.
fn minute_of_week(at: Timestamp, offset: i64) -> usize {
    // The first of January 1970 was a Thursday.
    const THURSDAY: i64 = 3 * 24 * 60;
    let minutes = at.as_second().div_euclid(60) + offset + THURSDAY;
    usize::try_from(minutes.rem_euclid(7 * 24 * 60)).expect("it is not negative")
}

fn clock(minutes: i64) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn some_routes() -> impl Strategy<Value = Vec<Route>> {
    let times = proptest::option::of(1_u64..120);
    let hours = proptest::option::of(Just(()));
    let to = proptest::sample::subsequence(vec!["a", "b", "c"], 1..=3);
    let urgency = proptest::sample::select(Urgency::ALL.to_vec());
    let route = (to, urgency, hours, times.clone(), times);
    proptest::collection::vec(route, 0..6).prop_map(|routes| {
        let routes = routes.into_iter().enumerate();
        routes
            .map(|(place, (to, urgency, hours, after, repeat))| {
                let hours = hours.and_then(|()| working_hours());
                with_times(place + 1, &to, from_urgency(urgency), hours, after, repeat)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hours_agree_with_a_clock_on_the_wall_minute_by_minute_while_clocks_change(
        change in proptest::sample::select(CHANGES.to_vec()),
        days in any::<[bool; 7]>().prop_filter("a day", |days| days.contains(&true)),
        from in 0..24_i64 * 60,
        to in 0..=24_i64 * 60,
    ) {
        prop_assume!(from != to);
        let (zone, change, before, after) = change;
        let names = DAY_NAMES.into_iter().zip(days).filter(|(_, is_on)| *is_on);
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        let hours = Hours::new(Some(&names.join(",")), Some(&clock(from)), Some(&clock(to)), Some(zone))
            .expect("good hours");
        let (week, change) = (week(&days, from, to), at(change));
        for minute in -2 * 24 * 60..2 * 24 * 60 {
            let at = Timestamp::from_second(change.as_second() + minute * 60 + 59).expect("a time");
            let offset = if at < change { before } else { after };
            prop_assert_eq!(hours.contain(at), week[minute_of_week(at, offset)], "{} {}", hours, at);
        }
    }

    #[test]
    fn a_verdict_tells_or_explains_every_destination_exactly_once(
        routes in some_routes(),
        urgency in proptest::sample::select(Urgency::ALL.to_vec()),
        kind in proptest::sample::select(Kind::ALL.to_vec()),
        minute in 0..7_i64 * 24 * 60,
    ) {
        let names = ["a", "b", "c"];
        let at = Timestamp::from_second(1_795_000_000 + minute * 60).expect("a time");
        let subject = Subject { urgency, ..medium(&[]) };
        let of_name = |name: &str| routes.iter().filter(|it| it.to.iter().any(|to| to == name)).count();
        let all = Routes::new(names.map(destination).to_vec(), routes.clone());
        let mut evaluator = all.evaluator();
        let verdicts: Vec<_> = evaluator.evaluate(subject, at, kind).collect();
        let told: Vec<_> = verdicts.iter().map(Verdict::destination).collect();
        prop_assert_eq!(told, names);
        for verdict in verdicts {
            let (outcome, reasons) = (verdict.outcome(), verdict.reasons());
            match outcome {
                Outcome::Told { route, only_if_told } => {
                    prop_assert!(reasons.is_empty());
                    prop_assert_eq!(route.is_none(), routes.is_empty());
                    prop_assert_eq!(only_if_told, kind != Kind::Opened);
                }
                Outcome::Later => {
                    prop_assert!(reasons.is_empty());
                    prop_assert!(verdict.escalations().all(|it| it.sent == 0 && it.due_at > at));
                    prop_assert_ne!(verdict.escalations().count(), 0);
                }
                Outcome::NotWanted => prop_assert_eq!(reasons.len(), 1),
                Outcome::NoRoute => {
                    prop_assert_eq!(reasons.len(), of_name(verdict.destination()).max(1));
                    prop_assert_eq!(verdict.escalations().count(), 0);
                }
            }
            for escalation in verdict.escalations() {
                prop_assert_eq!(kind, Kind::Opened);
                let due = all.escalation(verdict.destination(), escalation.route, subject, escalation.due_at);
                prop_assert!(!matches!(due, Due::Gone { .. }), "{:?}", due);
            }
        }
    }

    #[test]
    fn an_evaluator_that_is_used_again_remembers_nothing(
        routes in some_routes(),
        changes in proptest::collection::vec((0..4_usize, 0..7_i64 * 24 * 60), 1..8),
    ) {
        let routes = Routes::new(["a", "b", "c"].map(destination).to_vec(), routes);
        let mut again = routes.evaluator();
        for (urgency, minute) in changes {
            let at = Timestamp::from_second(1_795_000_000 + minute * 60).expect("a time");
            let subject = Subject { urgency: Urgency::ALL[urgency], ..medium(&[]) };
            let mut new = routes.evaluator();
            let outcome = |verdict: Verdict<'_, '_>| {
                (format!("{:?}", verdict.outcome()), verdict.reasons(), verdict.escalations().count())
            };
            let expected: Vec<_> = new.evaluate(subject, at, Kind::Opened).map(outcome).collect();
            let found: Vec<_> = again.evaluate(subject, at, Kind::Opened).map(outcome).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
