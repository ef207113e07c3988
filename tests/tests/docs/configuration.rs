//! Comparison of the configuration reference and of tocsin.example.toml with the program: keys, defaults,
//! and which keys need a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use regex::Regex;
use serde_json::Value;
use tocsin_tests::{Site, libraries};

use crate::markdown::{Page, code_spans};

/// Row of the reference: the default of a key, and when a change takes effect.
struct Entry {
    default: String,
    change: String,
}

#[test]
fn the_reference_and_the_example_have_every_key_of_the_program() {
    let known = keys_of_the_program();
    let listed: BTreeSet<_> = reference().into_keys().collect();
    assert_eq!(listed, known, "the reference first");
    let example: BTreeSet<_> = example().into_keys().collect();
    assert_eq!(example, known, "tocsin.example.toml first");
}

#[test]
fn the_reference_and_the_example_have_the_same_defaults() {
    let example = example();
    for (key, Entry { default, .. }) in reference() {
        // The integration, the destination and the route in the example set further keys.
        let is_integration = key.starts_with("integrations.") && !key.ends_with(".enabled");
        let is_commented = key.starts_with("destinations.") || key.starts_with("routes.");
        let is_sample = is_integration || (is_commented && !default.contains('`'));
        let stands_there = match &example[&key] {
            _ if is_sample => continue,
            Some(value) => format!("`{value}`"),
            None => "none".into(),
        };
        assert_eq!(default, stands_there, "the default of `{key}`, in the reference first");
    }
}

/// Plans a reload to [`OTHER_VALUES`], which shows for each key if the reload applies its change.
#[test]
fn the_reference_says_which_keys_need_a_restart() {
    let host = Site::new().serve();
    fs::create_dir(host.site().path("other-plugins")).expect("a folder");
    host.site().write("other.pem", AUTHORITY);
    let certified =
        rcgen::generate_simple_self_signed(["alerts.example.com".into()]).expect("a pair");
    host.site().write("other.crt", certified.cert.pem());
    host.site().write("other.key", certified.signing_key.serialize_pem());
    let token = "a-token-of-some-length";
    host.site().write("tocsin.toml", OTHER_VALUES.replace("TOKEN", token));
    let planned = host.run(&["reload", "--dry-run", "--json"]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let planned: Value = serde_json::from_str(&planned.stdout).expect("JSON");
    let changes = planned["changes"].as_array().expect("a list");
    let changes: BTreeMap<_, _> = changes
        .iter()
        .map(|change| {
            let needs_restart = change["change"] == "needs_restart";
            let change_kind = if needs_restart { "restart" } else { "live" };
            (change["key"].as_str().expect("a key").to_owned(), change_kind.to_owned())
        })
        .collect();
    let is_named = |key: &str| {
        ["integrations.", "destinations.", "routes."].iter().any(|table| key.starts_with(table))
    };
    let reference = reference().into_iter().filter(|(key, _)| !is_named(key));
    let reference: BTreeMap<_, _> = reference.map(|(key, entry)| (key, entry.change)).collect();
    assert_eq!(reference, changes, "the reference first");
}

/// Configuration in which every key differs from its default.
const OTHER_VALUES: &str = r#"
state_dir = "other-state"

[server]
listen = "127.0.0.2:8080"
public_url = "https://alerts.example.com"
body_limit_bytes = 1000000
header_limit_bytes = 20000
header_timeout = "11s"
body_timeout = "11s"
write_timeout = "11s"
max_connections = 1000
max_connections_per_address = 100
body_memory_bytes = 60000000
max_wrong_tokens_per_minute = 10
hide_integrations = true
shutdown_timeout = "21s"
trusted_proxies = ["10.0.0.0/8"]
tls = { certificate = "other.crt", key = "other.key" }

[admin]
listen = "127.0.0.2:8081"
max_connections = 200
tokens = ["TOKEN"]
tls = { certificate = "other.crt", key = "other.key" }

[store]
password = "a-password"
connections = 9
statement_timeout = "11s"
url = "sqlite:other.db"
backup_dir = "other-backups"

[plugins]
dir = "other-plugins"
call_deadline = "2s"
slow_call = "200ms"
verify = "checksum"
lock = "other.lock"
public_keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
allow_writable_by_others = ["x.so"]
required = true
checksums = { "demo 1.0.0" = "7230d7f3d1f0468c5ae9dedf30647aa24b70776c20646557c86207d4254e0649" }

[requests]
keep = "all"
raw_limit_bytes = 1000
quarantine_count = 1000
quarantine_bytes = 1000000

[retention]
resolved_alerts = "365d"
records = "30d"
raw_requests = "10d"
audit = "90d"
deliveries = "20d"
max_store_bytes = 1000000000

[watch]
enabled = false
settle = "600ms"
look_every = "3s"

[delivery]
retry = ["1s"]
give_up_after = "1h"
connect_timeout = "11s"
tls_timeout = "11s"
header_timeout = "21s"
body_timeout = "21s"
proxy = "http://127.0.0.1:3128"
ca_file = "other.pem"
alert_url = "https://alerts.example.com/alerts/{number}"
alerts_url = "https://alerts.example.com/alerts"

[tracing]
endpoint = "http://127.0.0.1:4318/v1/traces"
sample_ratio = 0.5
service_name = "other"
headers = { authorization = "TOKEN" }
timeout = "11s"
ca_file = "other.pem"

[log]
format = "text"
level = "debug"
"#;

/// Certificate for `delivery.ca_file`. Nobody has its key.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBkzCCATmgAwIBAgIUB+ZIdmOTDak8Syz1eT+N0doBXX8wCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTQXV0aG9yaXR5IG9mIGEgdGVzdDAgFw0yNjExMjcyMjUxMDda
GA8yMTI2MTEwMzIyNTEwN1owHjEcMBoGA1UEAwwTQXV0aG9yaXR5IG9mIGEgdGVz
dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAvX2kHWFl5Tgh+lwSKh0iNFd0TF
tXQXx5leYs7GZN6QKkGNjqISKpaP++YdJgo1TEea0/Anu15cCFQk4lZRM0ejUzBR
MB0GA1UdDgQWBBQSFZy1CXy8Na8U4PHsvKK+aYIZmzAfBgNVHSMEGDAWgBQSFZy1
CXy8Na8U4PHsvKK+aYIZmzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA
MEUCIQC5P8fFFBF+A2LCAaM2HeI0zJ/bUS69ku+Sc+vz5MHhVwIgFi/ZwqBVc+oE
abJL//vVhK4jpNM2SuO0zK7zUrI8q2M=
-----END CERTIFICATE-----
";

/// Returns each [`Entry`] of the reference by its key.
fn reference() -> BTreeMap<String, Entry> {
    let rows = Page::read("docs/operator/configuration.md").rows();
    let keys = rows.into_iter().filter(|row| row[0].starts_with('`'));
    keys.map(|row| {
        let [key, default, _, _, change] = row.as_slice() else { panic!("five cells: {row:?}") };
        let key = code_spans(key).pop().expect("a key in code");
        (key, Entry { default: default.clone(), change: change.clone() })
    })
    .collect()
}

/// Returns the keys of tocsin.example.toml with their values. A key that is commented out has none, except
/// in a section that is commented out as a whole.
fn example() -> BTreeMap<String, Option<String>> {
    let text = fs::read_to_string(libraries::workspace().join("tocsin.example.toml"));
    let text = text.expect("an example");
    let entry = Regex::new(r"^(# )?([a-z_]+) = (.*?)(?: +#.*)?$").expect("a pattern");
    let (mut section, mut keys) = (String::new(), BTreeMap::new());
    let mut is_commented = false;
    for line in text.lines() {
        let bare = line.strip_prefix("# ").filter(|bare| bare.starts_with('['));
        let header = bare.unwrap_or(line).split(']').next().and_then(|it| it.strip_prefix('['));
        if let Some(name) = header {
            is_commented = bare.is_some();
            let name = name.trim_start_matches('[');
            section = name.replace(".ops-slack", ".NAME").replace(".ops-channel", ".NAME");
            if section.ends_with(".options") {
                keys.insert(section.clone(), Some("{}".into()));
            }
        } else if let Some(found) = entry.captures(line)
            && !section.ends_with(".options")
        {
            let value = (is_commented || found.get(1).is_none()).then(|| found[3].to_owned());
            let key = format!("{section}.{}", &found[2]);
            let known = keys.entry(key.trim_start_matches('.').to_owned()).or_insert(None);
            *known = known.take().or(value);
        }
    }
    keys
}

/// Returns the keys that the program names in its errors on unknown keys.
fn keys_of_the_program() -> BTreeSet<String> {
    let site = Site::new();
    let known = |text: &str| {
        site.write("tocsin.toml", text);
        let checked = site.run(&["check"]);
        let hint = checked.stderr.lines().find(|line| line.starts_with("hint: "));
        code_spans(hint.unwrap_or_else(|| panic!("no hint: {checked:?}")))
    };
    let sections = known("unknown = 1");
    assert!(sections.len() > 5, "{sections:?}");
    let keys = sections.iter().flat_map(|section| {
        let (text, shown) = match &**section {
            "integrations" => {
                ("[integrations.x]\nplugin = 'x'\nunknown = 1".into(), "integrations.NAME")
            }
            "destinations" => {
                ("[destinations.x]\nplugin = 'x'\nunknown = 1".into(), "destinations.NAME")
            }
            "routes" => ("[[routes]]\nto = []\nunknown = 1".into(), "routes"),
            section => (format!("[{section}]\nunknown = 1"), section),
        };
        let keys = known(&text);
        if keys.is_empty() {
            // A key of the top level, which cannot be a table.
            return vec![section.clone()];
        }
        keys.into_iter().map(|key| format!("{shown}.{key}")).collect()
    });
    keys.collect()
}
