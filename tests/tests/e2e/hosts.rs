//! `tocsin hosts`: the hosts that share a store, which is one host with SQLite.

use serde_json::{Value, json};
use tocsin_tests::{Site, TestHost, libraries::library, wait};

const CONFIG: &str = "[watch]\nenabled = false\n\
    [integrations.good]\nplugin = 'well-behaved'\n\
    [integrations.off]\nplugin = 'well-behaved'\nenabled = false\n\
    [destinations.ops]\nplugin = 'notifier-well-behaved'\noptions.url = 'https://8.8.8.8/hook'\n";

fn host() -> TestHost {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    site.plugin(&library("notifier-well-behaved")).config(CONFIG).serve()
}

/// Waits until the host has reported itself and holds all its duties.
fn reported(host: &TestHost) -> Value {
    wait::until("the host has its duties", || {
        let mut list = host.api("/api/v1/hosts");
        let duties = list["hosts"][0]["duties"].as_array().map_or(0, Vec::len);
        (duties == 3).then(|| list["hosts"].take())
    })
}

#[test]
fn a_host_on_sqlite_is_the_only_one_and_holds_every_duty() {
    let host = host();
    let hosts = reported(&host);
    assert_eq!(hosts.as_array().map(Vec::len), Some(1));
    let one = &hosts[0];
    assert_eq!(one["duties"], json!(["housekeeping", "routing", "delivering ops"]));
    assert_eq!((&one["state"], &one["is_this"]), (&json!("alive"), &json!(true)));
    let version = host.run(&["--version"]).stdout;
    assert_eq!(one["version"].as_str(), version.trim().strip_prefix("tocsin "));
    assert_eq!(one["address"], host.admin().to_string());
    let plugins = one["plugins"].as_array().expect("a list");
    let named: Vec<_> = plugins.iter().map(|plugin| &plugin["name"]).collect();
    assert_eq!(named, ["notifier-well-behaved", "well-behaved"]);
    let (notifier, receiver) = (&plugins[0], &plugins[1]);
    assert_eq!(receiver["sha256"].as_str().map(str::len), Some(64));
    let serves = json!([
        {"name": "destinations.ops", "plugin": notifier},
        {"name": "integrations.good", "plugin": receiver},
    ]);
    assert_eq!(one["serves"], serves, "what is disabled is left out");
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(host.api("/api/v1/hosts")["differences"], json!([]));
    wait::until("the metrics are set", || {
        (host.metric("tocsin_duties_held") == Some(3.0)).then_some(())
    });
    assert_eq!(host.metric("tocsin_hosts{state=\"alive\"}"), Some(1.0));
    assert_eq!(host.metric("tocsin_hosts{state=\"silent\"}"), Some(0.0));
    assert_eq!(host.metric("tocsin_host_differences"), Some(0.0));
    // Nobody else could have held a duty of this host.
    assert_eq!(host.times_logged("duty_taken"), 0);
}

#[test]
fn people_see_the_hosts_as_a_table_and_one_host_in_detail() {
    let host = host();
    let name = reported(&host)[0]["name"].as_str().expect("a name").to_owned();
    let table = host.run(&["hosts"]);
    assert_eq!((table.code, &*table.stderr), (Some(0), ""), "{table:?}");
    let lines: Vec<_> = table.stdout.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = ["NAME", "VERSION", "STATE", "LAST", "SEEN", "UPTIME", "DUTIES"];
    assert_eq!(words(lines[0]), header);
    let row = words(lines[1]);
    assert_eq!((&*row[0], &*row[2]), (&*name, "alive"));
    assert!(lines[1].contains("housekeeping, routing, delivering ops"), "{table:?}");
    assert_eq!(lines.len(), 2);

    let shown = host.run(&["hosts", &name]).stdout;
    for part in [
        "destinations.ops: notifier-well-behaved 1.0.0",
        "integrations.good: well-behaved 1.0.0",
        "(sha256 ",
        "housekeeping, routing, delivering ops",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let json: Value = serde_json::from_str(&host.run(&["hosts", &name, "--json"]).stdout)
        .expect("JSON of one host");
    assert_eq!(json["name"], name.as_str());
    let unknown = host.run(&["hosts", "nobody"]);
    assert_eq!(unknown.code, Some(2));
    let message = format!("there is no host `nobody`\nhint: the hosts are `{name}`");
    assert!(unknown.stderr.contains(&message), "{unknown:?}");
}
