//! `tocsin check` tries what `tocsin serve` needs from the machine: addresses and a store. It changes nothing.

use std::{collections::BTreeSet, fs, net::TcpListener, os::unix::fs::PermissionsExt};

use serde_json::Value;
use tocsin_tests::{Site, libraries::library};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

fn site(config: &str) -> Site {
    Site::new().plugin(&library("well-behaved")).config(&format!("{config}{GOOD}"))
}

#[test]
fn reports_an_address_that_is_in_use_unless_the_same_host_uses_it() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("an address");
    let site = site(&format!("[server]\nlisten = '{address}'\n"));
    let (check, serve) = (site.run(&["check"]), site.run(&["serve"]));
    assert_eq!((check.code, serve.code), (Some(2), Some(1)), "{check:?} {serve:?}");
    let said = format!("`server.listen`: cannot listen on {address}: Address already in use");
    assert!(check.stderr.contains(&said), "{check:?}");
    assert!(check.stderr.contains("hint: stop what uses it, or write another"), "{check:?}");
    assert_eq!(site.run(&["check", "--offline"]).code, Some(0), "no address is tried");

    let host = self::site("").serve();
    let own = format!(
        "[server]\nlisten = '{}'\n[admin]\nlisten = '{}'\n{GOOD}",
        host.webhooks(),
        host.admin()
    );
    host.site().configure(&own);
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    // The same addresses are in use for a host with another store.
    site.configure(&own);
    let check = site.run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    for key in ["`server.listen`: cannot listen on", "`admin.listen`: cannot listen on"] {
        assert!(check.stderr.contains(key), "{check:?}");
    }
}

#[test]
fn the_folder_of_the_store_has_to_exist() {
    let site = site("[store]\nurl = 'sqlite:dtaa/tocsin.db'\n");
    for (verb, code) in [("check", 2), ("serve", 1), ("backup", 1)] {
        let refused = site.run(&[verb]);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(
            refused.stderr.contains("the folder `dtaa` of the store does not exist"),
            "{refused:?}"
        );
        assert!(
            refused.stderr.contains("\nhint: make the folder, owned by the user"),
            "{refused:?}"
        );
    }
    assert!(!site.path("dtaa").exists());
}

#[test]
fn reports_a_store_that_cannot_be_written() {
    let Some(site) = site("").owned_by(65534) else { return };
    let folder = site.path("");
    let set = |mode| {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("root may");
    };
    assert_eq!(site.run(&["check"]).code, Some(0));
    set(0o555);
    let check = site.run(&["check"]);
    set(0o755);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains("Permission denied"), "{check:?}");
    assert!(
        check.stderr.contains("hint: the user that the host runs as has to be able"),
        "{check:?}"
    );
}

#[test]
fn prints_json_for_programs_whether_all_is_good_or_not() {
    let site = site("[store]\nbackup_dir = 'missing'\n").serve().stop();
    let json = |site: &Site, code| -> Value {
        let check = site.run(&["check", "--json"]);
        assert_eq!(check.code, Some(code), "{check:?}");
        serde_json::from_str(&check.stdout).expect("JSON")
    };
    let names = |site: &Site| -> BTreeSet<_> {
        let entries = fs::read_dir(site.path("")).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    };
    let before = names(&site);
    let good = json(&site, 0);
    assert_eq!(names(&site), before, "nothing is changed");
    assert_eq!((&good["is_good"], &good["errors"]), (&true.into(), &Value::Array(Vec::new())));
    assert_eq!((&good["integrations"][0]["name"], &good["reload"]), (&"good".into(), &Value::Null));
    let warning = good["warnings"][0]["message"].as_str().expect("a sentence");
    assert!(warning.contains("`store.backup_dir`: is not a folder"), "{warning}");

    let host = site.serve();
    let check = host.run(&["check", "--json"]);
    let beside: Value = serde_json::from_str(&check.stdout).expect("JSON");
    assert_eq!(beside["reload"]["dry_run"], true, "{check:?}");
    let site = host.stop();
    site.configure("[integrations.good]\nplugin = 'absent'\n");
    let absent = json(&site, 2);
    assert_eq!(absent["is_good"], false);
    let said = absent["errors"].to_string();
    assert!(said.contains("no plugin is named `absent`"), "{said}");
    site.write("tocsin.toml", "[server]\nlisten = 17\n");
    let wrong = &json(&site, 2)["errors"][0];
    assert_eq!((&wrong["key"], &wrong["line"]), (&"server.listen".into(), &2.into()), "{wrong}");
    assert!(wrong["hint"].is_string(), "{wrong}");
}
