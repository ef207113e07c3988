//! A plugin that is missing at the start breaks only its own integrations until its file arrives,
//! unless the configuration requires the plugin.

use std::{fs, path::Path};

use insta::assert_snapshot;
use tocsin_tests::{
    Site, TestHost,
    libraries::{library, not_elf, with_name, with_version},
    wait,
};

const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";
const MISSING: &str = "[integrations.absent]\nplugin = 'absent'\n";
const WATCHED: &str = "[watch]\nsettle = '50ms'\nlook_every = '100ms'\n";

fn site(config: &str) -> Site {
    Site::new().plugin(&library("well-behaved")).config(config)
}

/// Returns a library of a plugin with this name.
fn plugin(name: &str, into: &Path) -> std::path::PathBuf {
    with_name(&library("well-behaved"), name, into)
}

/// Checks every promise about an integration without its plugin, and returns the sentence about it.
#[track_caller]
fn broken(host: &TestHost, integration: &str) -> String {
    assert_eq!(host.post("good", "disk full").status, 200);
    let answer = host.post(integration, "disk full");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "plugin_failed"));
    assert_eq!(answer.retry_after(), 1);
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()));
    let described = host.integration(integration);
    assert_eq!(described["state"], "broken");
    let problem = described["problem"].as_str().expect("a sentence").to_owned();
    let reason = format!("integration `{integration}`: {problem}");
    assert!(host.reasons().contains(&reason), "{reason}\nis missing in\n{:?}", host.reasons());
    assert_eq!(host.site().run(&["check"]).code, Some(2));
    problem
}

#[test]
fn a_missing_plugin_breaks_only_its_integration_until_its_file_arrives() {
    let host = site(&format!("{WATCHED}{GOOD}{MISSING}")).serve();
    assert_snapshot!(broken(&host, "absent"), @"no plugin is named `absent`; hint: the plugins folder has `well-behaved`");
    assert_eq!(host.times_logged("integration_broken"), 1);

    let folder = tempfile::tempdir().expect("a folder");
    host.site().replace(&plugin("absent", folder.path()), "absent.so");
    wait::until("the integration serves", || {
        (host.post("absent", "disk full").status == 200).then_some(())
    });
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!(host.restart().post("absent", "disk full").status, 200);
}

#[test]
fn a_missing_version_breaks_only_its_integration_until_its_file_arrives() {
    let newer = "[integrations.newer]\nplugin = 'well-behaved'\nversion = '^7.1'\n";
    let host = site(&format!("{WATCHED}{GOOD}{newer}")).serve();
    assert_snapshot!(broken(&host, "newer"), @"no version of plugin `well-behaved` matches `^7.1`; hint: the plugins folder has 1.0.0");
    let folder = tempfile::tempdir().expect("a folder");
    let file = with_version(&library("well-behaved"), "7.1.0", folder.path());
    host.site().replace(&file, "newer.so");
    host.wait_for_version("newer", "7.1.0");
    assert_eq!(host.post("newer", "disk full").status, 200);
}

#[test]
fn a_removed_file_breaks_only_its_integration_at_the_next_start() {
    let site = site(&format!("{GOOD}{MISSING}"));
    let folder = tempfile::tempdir().expect("a folder");
    site.drop_in(&plugin("absent", folder.path()), "absent.so");
    let host = site.serve();
    assert_eq!(host.post("absent", "disk full").status, 200);
    let site = host.stop();
    fs::remove_file(site.plugins().join("absent.so")).expect("it is there");
    broken(&site.serve(), "absent");
}

#[test]
fn applies_other_changes_while_a_plugin_is_missing() {
    let host = site(&format!("[watch]\nenabled = false\n{GOOD}{MISSING}")).serve();
    host.site()
        .configure(&format!("[watch]\nenabled = false\n{GOOD}options.prefix = 'new '\n{MISSING}"));
    let reload = host.reload();
    assert_eq!(reload.status, 200, "{reload:?}");
    assert_eq!(host.post("good", "disk full").status, 200);
    assert_eq!(host.alerts()[0]["title"], "new disk full");
    broken(&host, "absent");
    // Changes of the integration's settings apply, too.
    host.site().configure(&format!("[watch]\nenabled = false\n{GOOD}{MISSING}urgency = 'low'\n"));
    assert_eq!(host.reload().status, 200);
    broken(&host, "absent");
}

#[test]
fn refuses_a_reload_that_names_a_missing_plugin() {
    let host = site(&format!("[watch]\nenabled = false\n{GOOD}")).serve();
    host.site().configure(&format!("[watch]\nenabled = false\n{GOOD}{MISSING}"));
    assert_eq!(host.reload().status, 422);
    assert_eq!(host.post("absent", "disk full").status, 404);
}

#[test]
fn does_not_start_without_a_required_plugin() {
    for required in ["true", "['absent']", "['other', 'absent']"] {
        let config = format!("plugins.required = {required}\n{GOOD}{MISSING}");
        let serve = site(&config).run(&["serve"]);
        assert_eq!(serve.code, Some(2), "{serve:?}");
        assert!(serve.stderr.contains("no plugin is named `absent`"), "{serve:?}");
    }
    for required in ["false", "['well-behaved']"] {
        let config = format!("plugins.required = {required}\n{GOOD}{MISSING}");
        broken(&site(&config).serve(), "absent");
    }
}

#[test]
fn does_not_start_with_an_unusable_file_of_a_required_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("plugins.required = ['absent']\n{GOOD}{MISSING}");
    let site = site(&config).plugin(&not_elf(folder.path()));
    let serve = site.run(&["serve"]);
    assert_eq!(serve.code, Some(2), "{serve:?}");
    let said = serve.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let said = said.split("`integrations").nth(1).expect("the key is named");
    assert_snapshot!(said, @".absent.plugin`: required by `plugins.required`: no usable plugin named `absent`: `libnot_elf.so` is not an ELF file");
}

#[test]
fn required_plugins_are_a_switch_or_a_list_of_names() {
    for wrong in ["'absent'", "1", "[true]"] {
        let serve = site(&format!("plugins.required = {wrong}\n")).run(&["serve"]);
        assert_eq!(serve.code, Some(2), "{serve:?}");
        assert!(serve.stderr.contains("is not true, false or a list of plugin names"), "{serve:?}");
    }
}

#[test]
fn a_plugin_that_is_unused_because_its_name_is_misspelt_is_not_called_removable() {
    let site = Site::new().plugin(&library("well-behaved"));
    // No host answers at that port, so that the command reads the folder itself.
    let config = "[integrations.ops]\nplugin = 'well-behavd'\n[admin]\nlisten = '127.0.0.1:1'\n";
    site.write("tocsin.toml", config);
    for command in [&["check"][..], &["plugins"]] {
        let finished = site.run(command);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        let hint = "tocsin.toml:2:10 names `well-behavd`, which no plugin is called: did you mean `well-behaved`?";
        assert!(said.contains(hint) && !said.contains("remove the file"), "{said}");
    }
}
