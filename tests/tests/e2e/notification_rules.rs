//! Routes and silences from outside: who is told, who is not, and what is recorded about it.

use serde_json::Value;
use tocsin_tests::{Finished, Site, TestHost, http::Request, libraries::library, loopback, wait};

const NAMES: [&str; 2] = ["chat", "pager"];

/// Returns a site whose destinations cannot be reached: deliveries wait, and nothing else happens.
fn site(routes: &str) -> Site {
    let destination = |name: &str| {
        format!(
            "[destinations.{name}]\nplugin = 'notifier-well-behaved'\nallow_http = true\n\
             allow_networks = ['127.0.0.0/8']\noptions.url = 'http://{}/{name}'\n",
            loopback::free_port()
        )
    };
    let config = format!(
        "[integrations.good]\nplugin = 'well-behaved'\n{}{routes}",
        NAMES.map(destination).concat()
    );
    let site = Site::new().plugin(&library("well-behaved"));
    site.plugin(&library("notifier-well-behaved")).config(&config)
}

fn notifications(host: &TestHost, alert: u64) -> Value {
    host.api(&format!("/api/v1/alerts/{alert}/notifications"))
}

/// Waits until the opening of an alert was routed to every destination, and returns who has a delivery.
fn told(host: &TestHost, alert: u64) -> Vec<String> {
    wait::until("the alert was routed", || {
        let all = notifications(host, alert);
        let (told, facts) = (all["deliveries"].as_array()?, all["not_told"].as_array()?);
        let names = |list: &[Value]| -> Vec<String> {
            let names = list.iter().filter_map(|one| one["destination"].as_str());
            names.map(str::to_owned).collect()
        };
        let (mut told, facts) = (names(told), names(facts));
        told.sort();
        let known = |name: &&str| told.iter().chain(&facts).any(|known| known == name);
        NAMES.iter().all(known).then_some(told)
    })
}

const SECOND_ONLY_IF_HIGH: &str =
    "[[routes]]\nto = ['chat']\n[[routes]]\nto = ['pager']\nurgency = 'high'\n";

#[test]
fn records_who_was_told_and_the_reason_why_another_was_not() {
    let host = site(SECOND_ONLY_IF_HIGH).serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(told(&host, 1), ["chat"]);
    let fact = &notifications(&host, 1)["not_told"][0];
    assert_eq!(fact["reason"]["code"], "no_route");
    let Finished { code, stdout, .. } = host.run(&["routes", "test", "--alert", "1"]);
    assert_eq!(code, Some(0), "{stdout}");
    for part in
        ["chat: told at once", "pager: not told", "the urgency is medium", "recorded for alert #1"]
    {
        assert!(stdout.contains(part), "`{part}` is missing in {stdout}");
    }
}

#[test]
fn explains_the_routes_of_an_alert_that_could_come_with_and_without_a_host() {
    let question = ["routes", "test", "--integration", "good", "--urgency", "critical"];
    let site = site(SECOND_ONLY_IF_HIGH);
    let offline = site.run(&question);
    assert_eq!(offline.code, Some(0), "{offline:?}");
    assert!(offline.stdout.contains("pager: told at once"), "{offline:?}");
    assert!(offline.stderr.contains("no host is running"), "{offline:?}");
    let host = site.serve();
    let online = host.run(&question);
    assert!(online.stdout.contains("pager: told at once"), "{online:?}");
    let unknown = host.run(&["routes", "test", "--integration", "nobody"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("there is no integration `nobody`"), "{unknown:?}");
}

#[test]
fn tells_of_an_open_alert_when_its_silence_ends_and_not_of_a_resolved_one() {
    let host = site("").serve();
    let add =
        ["silences", "add", "--integration", "good", "--for", "2h", "--reason", "planned work"];
    let added = host.run(&add);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.post("good", "fan broken").status, 200);
    assert!(told(&host, 1).is_empty() && told(&host, 2).is_empty());
    assert_eq!(host.alerts().len(), 2, "alerts are opened as usual");
    let fact = &notifications(&host, 1)["not_told"][0]["reason"];
    assert_eq!((&fact["code"], &fact["reason"]), (&"silenced".into(), &"planned work".into()));

    let resolve = Request::post("/api/v1/alerts/2/resolve", "");
    assert_eq!(host.ask_admin(&resolve).status, 200);
    let ended = host.run(&["silences", "end", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait::until("both destinations are told of the open alert", || {
        let told = notifications(&host, 1)["deliveries"].as_array()?.len();
        (told == NAMES.len()).then_some(())
    });
    assert_eq!(notifications(&host, 2)["deliveries"], Value::Array(Vec::new()));
    assert!(host.run(&["silences"]).stdout.contains("no silences"));
    assert!(host.run(&["silences", "--ended"]).stdout.contains("planned work"));
}

#[test]
fn refuses_a_silence_that_is_a_mistake() {
    let host = site("").serve();
    for (arguments, code, part) in [
        (&["--for", "2h"][..], 2, "hint: add `--all`"),
        (&["--all", "--until", "2020-01-01T00:00:00Z"], 1, "`ends_at` has to be later"),
        (&["--detail-pattern", "Channel=(", "--for", "2h"], 1, "is no regular expression"),
        (&["--all", "--for", "soon"], 2, "write a length of time"),
    ] {
        let all = [&["silences", "add", "--reason", "work"], arguments].concat();
        let finished = host.run(&all);
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(finished.stderr.contains(part), "{finished:?}");
    }
}

#[test]
fn discards_and_retries_deliveries_by_hand() {
    let host = site("").serve();
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(told(&host, 1), NAMES);
    let discarded = host.run(&["deliveries", "discard", "--destination", "chat"]);
    assert_eq!(discarded.code, Some(0), "{discarded:?}");
    let dead = wait::until("the delivery is dead", || {
        // An attempt may run just now, and then nothing was discarded.
        host.run(&["deliveries", "discard", "--destination", "chat"]);
        let list = host.api("/api/v1/deliveries?status=dead&destination=chat");
        list["deliveries"].as_array()?.first().cloned()
    });
    assert!(dead["reason"].as_str().is_some_and(|reason| reason.contains("discarded")), "{dead}");
    let id = dead["id"].as_str().expect("an id");
    let again = host.run(&["deliveries", "discard", id]);
    assert_eq!(again.code, Some(1), "{again:?}");
    let retried = host.run(&["deliveries", "retry", id]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let shown = wait::until("another attempt was made", || {
        let shown = host.api(&format!("/api/v1/deliveries/{id}"));
        let attempts = shown["attempt_log"].as_array()?;
        (shown["status"] == "waiting" && !attempts.is_empty()).then_some(shown)
    });
    assert!(shown["attempt_log"][0]["reason"].is_string(), "{shown}");
    let unknown = host.run(&["deliveries", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("there is no delivery"), "{unknown:?}");
}
