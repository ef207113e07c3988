//! Every plugin of this workspace passes every check of `certify`, and each bad plugin fails the
//! check that is named after its defect, and no other.

use std::{
    fs,
    path::{Path, PathBuf},
};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;
use tocsin_tests::{
    Site,
    libraries::{self, library, tocsin},
};

/// Enough requests to find the defects of the bad plugins.
const FEW_REQUESTS: &[&str] = &["--requests", "500"];
/// Deadline for debug builds on a machine that stalls: a call that takes twice as long counts as one that hangs.
const LONG_DEADLINE: &[&str] = &["--deadline", "60s"];
/// Skips the large adversarial bodies, which are slow in debug builds, for tests that do not need
/// them.
const NO_ADVERSARIES: &[&str] = &["--skip", "deadline"];
/// Deadline for plugins that never return, since the test waits for each of their calls.
const SHORT_DEADLINE: &[&str] = &["--deadline", "2s"];

struct Certified {
    code: Option<i32>,
    report: Value,
}

impl Certified {
    fn checks(&self) -> Vec<(&str, &str, &str)> {
        fn text(value: &Value) -> &str {
            value.as_str().expect("a text")
        }
        let checks = self.report["checks"].as_array().expect("a list").iter();
        checks
            .map(|check| (text(&check["name"]), text(&check["status"]), text(&check["message"])))
            .collect()
    }

    /// Returns the checks that neither passed nor were skipped, one a line.
    fn faults(&self) -> String {
        let faulty = self
            .checks()
            .into_iter()
            .filter(|(_, status, _)| !["passed", "skipped"].contains(status));
        let lines = faulty
            .map(|(name, status, message)| format!("{status} {name}: {}\n", normalized(message)));
        lines.collect()
    }
}

/// Replaces source lines and counts, which differ between runs.
fn normalized(message: &str) -> String {
    let mut text = message.to_owned();
    for (pattern, replacement) in [
        (r"\.rs:\d+:\d+", ".rs:[PLACE]"),
        (r"`\\?.?\d{9,}\\?.?`", "[NUMBER]"),
        (r"; and \d+ more", "; and [N] more"),
        (r"grows by \d+ bytes", "grows by [N] bytes"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into();
    }
    text
}

fn certify(file: &Path, args: &[&[&str]]) -> Certified {
    let file = file.to_str().expect("a path in UTF-8");
    let mut command = std::process::Command::new(tocsin());
    command.args(["plugins", "certify", "--json", file]).args(args.concat());
    let output = command.output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Certified { code: output.status.code(), report }
}

/// Returns the failed checks of a bad plugin.
fn faults(file: &Path, args: &[&str]) -> String {
    let certified = certify(file, &[FEW_REQUESTS, args]);
    assert_eq!(certified.code, Some(1), "{}", certified.report);
    certified.faults()
}

/// Returns the failed checks of a bad habit, which the options of `bad-habits` choose.
fn habit(options: &str) -> String {
    habit_with(options, &[FEW_REQUESTS, LONG_DEADLINE, NO_ADVERSARIES], Some(1))
}

fn habit_with(options: &str, args: &[&[&str]], code: Option<i32>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("options.json");
    fs::write(&file, options).expect("it can be written");
    let options = ["--options", file.to_str().expect("a path in UTF-8")];
    let certified = certify(&library("bad-habits"), &[&options, &args.concat()]);
    assert_eq!(certified.code, code, "{}", certified.report);
    certified.faults()
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in one")
}

#[test]
fn every_plugin_of_this_workspace_passes_every_check() {
    let folders = fs::read_dir(workspace().join("plugins")).expect("there are some");
    let folders: Vec<PathBuf> = folders.map(|entry| entry.expect("it is there").path()).collect();
    assert!(!folders.is_empty());
    for folder in folders {
        let package = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        let fixtures = folder.join("fixtures");
        let fixtures = ["--fixtures", fixtures.to_str().expect("a path in UTF-8")];
        let certified = certify(&library(package), &[&fixtures, LONG_DEADLINE]);
        let is_bad = |(_, status, message): &(&str, &str, &str)| {
            let is_of_others = message.starts_with("the plugin does not have the capability ");
            *status != "passed" && !is_of_others
        };
        let bad: Vec<_> = certified.checks().into_iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "{package}: {bad:#?}");
        assert_eq!(certified.code, Some(0));
        assert_eq!(certified.report["requests"], 100_000);
    }
}

#[test]
fn the_well_behaved_plugin_passes_without_remarks() {
    let certified = certify(&library("well-behaved"), &[FEW_REQUESTS, LONG_DEADLINE]);
    assert_eq!((certified.code, certified.faults().as_str()), (Some(0), ""));
    let habitless = habit_with("{}", &[FEW_REQUESTS, LONG_DEADLINE], Some(0));
    assert_eq!(habitless, "", "only its habits are wrong with `bad-habits`");
}

#[test]
fn prints_a_report_for_people() {
    let site = Site::new();
    let file = library("bad-no-manifest");
    let finished = site.run(&["plugins", "certify", file.to_str().expect("a path in UTF-8")]);
    assert_eq!(finished.code, Some(1));
    let folder = file.parent().and_then(Path::to_str).expect("a folder");
    assert_snapshot!(finished.stdout.replace(folder, "[FOLDER]"), @"
    [FOLDER]/libbad_no_manifest.so, 100000 requests of seed 1

    FAILED   manifest         has no `.tocsin.manifest` section, so it is no Tocsin plugin; hint: export the plugin with `export_plugin!`, and remove what is no plugin
    skipped  loads            a host would refuse the file
    skipped  schema-valid     a host would refuse the file
    skipped  schema-matches   a host would refuse the file
    skipped  options-refused  a host would refuse the file
    skipped  fixtures         a host would refuse the file
    skipped  pure             a host would refuse the file
    skipped  deterministic    a host would refuse the file
    skipped  keys-stable      a host would refuse the file
    skipped  steps            a host would refuse the file
    skipped  contacts         a host would refuse the file
    skipped  no-loop          a host would refuse the file
    skipped  deadline         a host would refuse the file
    skipped  no-panic         a host would refuse the file
    skipped  no-growth        a host would refuse the file
    skipped  secrets          a host would refuse the file

    0 passed, 0 warned, 1 failed, 15 skipped
    ");
    assert_snapshot!(finished.stderr.replace(folder, "[FOLDER]"), @"error: `[FOLDER]/libbad_no_manifest.so` failed 1 of 16 checks");
}

#[test]
fn names_of_checks_are_stable() {
    let certified = certify(Path::new("/dev/null"), &[]);
    let names: Vec<_> = certified.checks().into_iter().map(|(name, _, _)| name).collect();
    assert_snapshot!(names.join(" "), @"manifest loads schema-valid schema-matches options-refused fixtures pure deterministic keys-stable steps contacts no-loop deadline no-panic no-growth secrets");
    assert_snapshot!(certified.report["summary"].to_string(), @r#"{"failed":1,"passed":0,"skipped":15,"warned":0}"#);
}

#[test]
fn files_that_no_host_admits_fail_without_being_run() {
    assert_snapshot!(faults(&library("bad-no-manifest"), LONG_DEADLINE), @"failed manifest: has no `.tocsin.manifest` section, so it is no Tocsin plugin; hint: export the plugin with `export_plugin!`, and remove what is no plugin");
    assert_snapshot!(faults(&libraries::panic_abort(), LONG_DEADLINE), @r#"failed manifest: is plugin `bad-panic-abort` 0.1.0, built with `panic = "abort"`, so that a panic in it would end this host; hint: build it with `panic = "unwind"`, the default"#);
    assert_snapshot!(faults(&library("bad-layout-unchecked"), LONG_DEADLINE), @"failed loads: plugin `bad-layout-unchecked` 0.1.0 has its layout check switched off, so nothing shows that its functions are what they claim; hint: export it with `export_plugin!`");
}

#[test]
fn warns_about_an_unusual_file_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("plugin.so");
    fs::copy(library("well-behaved"), &copy).expect("it can be copied");
    let certified = certify(&copy, &[FEW_REQUESTS, LONG_DEADLINE, NO_ADVERSARIES]);
    assert_eq!(certified.code, Some(0));
    assert_snapshot!(certified.faults(), @"warned manifest: the file is called `plugin.so`, not `libwell_behaved.so`; hint: a host accepts any name; people look for the name that cargo gives");
}

#[test]
fn an_invalid_schema_fails() {
    assert_snapshot!(faults(&library("bad-schema"), LONG_DEADLINE), @r#"failed schema-valid: is no valid JSON Schema at `/type`: "tabel" is not valid under any of the schemas listed in the 'anyOf' keyword"#);
}

#[test]
fn a_schema_that_contradicts_the_plugin_fails() {
    assert_snapshot!(habit(r#"{"habit":"lying-schema"}"#), @r#"failed schema-matches: refuses `{"count":0,"habit":"lying-schema"}`, which its schema allows: invalid type: integer, expected a string for `count`; and [N] more"#);
    assert_snapshot!(habit(r#"{"habit":"loose-types"}"#), @r#"failed schema-matches: accepts `{"count":"no such value","habit":"loose-types"}`, which its schema forbids; and [N] more"#);
}

#[test]
fn an_unhelpful_refusal_fails() {
    assert_snapshot!(habit(r#"{"habit":"silent-refusal"}"#), @r#"failed options-refused: refuses `{"count":"no such value","habit":"silent-refusal"}` with a sentence that does not name `count`: `no`; hint: `OptionsError::at` takes the key; and [N] more"#);
    assert_snapshot!(habit(r#"{"habit":"unknown-keys"}"#), @"failed options-refused: accepts a key that it does not know; hint: derive its options with `#[serde(deny_unknown_fields)]`");
}

#[test]
fn a_fixture_with_another_outcome_fails() {
    let fixtures = workspace().join("tests/bad/bad-habits/fixtures");
    let fixtures = ["--fixtures", fixtures.to_str().expect("a path in UTF-8")];
    let args: [&[&str]; 4] = [&fixtures, FEW_REQUESTS, LONG_DEADLINE, NO_ADVERSARIES];
    let certified = certify(&library("bad-habits"), &args);
    assert_eq!(certified.code, Some(1));
    assert_snapshot!(certified.faults(), @r#"failed fixtures: `a title as it was sent`: title: expected "disk full", got "DISK FULL""#);
}

#[test]
fn access_to_more_than_memory_fails_the_purity_check() {
    assert_snapshot!(habit(r#"{"habit":"file"}"#), @"failed pure: opened, read or changed a file (system call `openat`), receiving `usual empty body`");
    assert_snapshot!(habit(r#"{"habit":"file-in-new"}"#), @"failed pure: opened, read or changed a file (system call `openat`), making an instance");
    assert_snapshot!(habit(r#"{"habit":"socket"}"#), @"failed pure: used a socket (system call `socket`), receiving `usual empty body`");
    assert_snapshot!(habit(r#"{"habit":"thread"}"#), @"failed pure: started a thread or a process, receiving `usual empty body`");
    assert_snapshot!(habit(r#"{"habit":"environment"}"#), @"failed pure: read the environment, receiving `usual empty body`");
    assert_snapshot!(habit(r#"{"habit":"prints"}"#), @"failed pure: opened, read or changed a file (system call `write`), receiving `usual empty body`");
}

#[test]
fn dependence_on_more_than_the_request_fails_the_determinism_check() {
    assert_snapshot!(habit(r#"{"habit":"counter"}"#), @r#"failed deterministic: `usual empty body` gave another outcome asked again: `events[0].details[0].value` was `"0"`, then `"1"`; and [N] more"#);
    // If a second ends between two calls of the first round, the report names that difference
    // instead.
    let is_of_later = |said: &String| said.contains("a second later");
    let clock = (0..5).map(|_| habit(r#"{"habit":"clock"}"#)).find(is_of_later);
    assert_snapshot!(clock.expect("a second that does not end just then"), @"failed deterministic: `usual empty body` gave another outcome in another process, a second later: `events[0].details[0].value` was [NUMBER], then [NUMBER]; and [N] more");
    assert_snapshot!(habit(r#"{"habit":"random"}"#), @"failed deterministic: `usual empty body` gave another outcome asked again: `events[0].details[0].value` was [NUMBER], then [NUMBER]; and [N] more");
}

#[test]
fn changing_keys_fail_and_constant_keys_are_warned_about() {
    assert_snapshot!(habit(r#"{"habit":"counted-key"}"#), @r#"failed keys-stable: `usual empty body` gave another key asked again: `[0].event_id` was `"0 "`, then `"1 "`; and [N] more"#);
    let constant = habit_with(
        r#"{"habit":"constant-id"}"#,
        &[FEW_REQUESTS, LONG_DEADLINE, NO_ADVERSARIES],
        Some(0),
    );
    assert_snapshot!(constant, @"warned keys-stable: all events have the `event_id` `always the same`, so that a host would keep only the first; hint: take it from the request, or leave it out");
}

#[test]
fn a_call_that_never_returns_is_killed_and_reported() {
    let args = [FEW_REQUESTS, SHORT_DEADLINE];
    assert_snapshot!(habit_with(r#"{"habit":"hang-in-new"}"#, &args, Some(1)), @"failed deadline: did not return within 4s and was killed, making an instance with the options of --options");
    assert_snapshot!(faults(&library("bad-never-returns"), SHORT_DEADLINE), @"failed deadline: did not return within 4s and was killed, receiving `usual hang`; and [N] more");
}

#[test]
fn slow_calls_on_adversarial_bodies_are_reported() {
    let args = [FEW_REQUESTS, SHORT_DEADLINE];
    assert_snapshot!(habit_with(r#"{"habit":"quadratic"}"#, &args, Some(1)), @"failed deadline: did not return within 4s and was killed, receiving `a form of a million fields`; and [N] more");
}

#[test]
fn finds_panics_in_new_receive_and_drop() {
    let args = [LONG_DEADLINE, NO_ADVERSARIES].concat();
    assert_snapshot!(faults(&library("bad-panics-in-new"), &args), @"failed no-panic: panicked: asked to panic (tests/bad/bad-panics-in-new/src/lib.rs:[PLACE]), making an instance with the options `{}`; and [N] more");
    assert_snapshot!(faults(&library("bad-panics-in-receive"), &args), @"failed no-panic: panicked: asked to panic (tests/bad/bad-panics-in-receive/src/lib.rs:[PLACE]), receiving `usual kernel panic`; and [N] more");
    assert_snapshot!(faults(&library("bad-panics-in-drop"), &args), @"failed no-panic: panicked: not without a fight (tests/bad/bad-panics-in-drop/src/lib.rs:[PLACE]), dropping an instance with the options `{}`; and [N] more");
}

#[test]
fn a_crash_of_the_child_does_not_end_the_report() {
    assert_snapshot!(habit(r#"{"habit":"exit"}"#), @"failed no-panic: ended its process with exit code 3, receiving `usual kernel panic`");
    let args = [FEW_REQUESTS, LONG_DEADLINE];
    assert_snapshot!(habit_with(r#"{"habit":"overflow"}"#, &args, Some(1)), @"failed no-panic: was ended by SIGABRT (its stack has overflowed), receiving `JSON nested in lists`");
}

#[test]
fn finds_a_leak_of_sixteen_bytes() {
    let args: [&[&str]; 3] = [&["--requests", "50000"], LONG_DEADLINE, NO_ADVERSARIES];
    assert_snapshot!(habit_with(r#"{"habit":"leak"}"#, &args, Some(1)), @"failed no-growth: memory grows by [N] bytes with each request; less than 8 would be noise");
}

#[test]
fn finds_a_leaked_secret() {
    assert_snapshot!(habit(r#"{"habit":"secret-in-event","token":"s3cret"}"#), @"failed secrets: shows a secret of its options in `events`, receiving `usual empty body`; and [N] more");
    assert_snapshot!(habit(r#"{"habit":"secret-in-reason","token":"s3cret"}"#), @"failed secrets: shows a secret of its options in `unauthorized`, receiving `usual empty body`; and [N] more");
    assert_snapshot!(habit(r#"{"habit":"secret-in-refusal","token":"s3cret"}"#), @"failed secrets: repeats a secret of its options, with white space around it: `token`: ` cNry5f1e0c9a7bqX ` has white space in it");
}

#[test]
fn a_seed_reproduces_a_failure() {
    let again = |seed: &str| {
        let args: [&[&str]; 4] = [FEW_REQUESTS, LONG_DEADLINE, NO_ADVERSARIES, &["--seed", seed]];
        certify(&library("bad-panics-in-receive"), &args).report["checks"][13].clone()
    };
    let first = again("7");
    assert_eq!((&first["name"], &first["status"]), (&"no-panic".into(), &"failed".into()));
    assert_eq!(first, again("7"));
}

#[test]
fn refuses_invalid_arguments() {
    let site = Site::new();
    site.write("bad.jsonl", "{\"name\": \"no expectation\"}\n");
    site.write("bad.json", "{");
    fs::create_dir(site.path("empty")).expect("a folder");
    let refused = |args: &[&str]| {
        let finished = site.run(&[&["plugins", "certify", "x.so"], args].concat());
        assert_eq!(finished.code, Some(2), "{finished:?}");
        finished.stderr
    };
    assert_snapshot!(refused(&["--fixtures", "bad.jsonl"]), @"error: `bad.jsonl`:1 is not a fixture: missing field `expect` at line 1 column 26");
    assert_snapshot!(refused(&["--fixtures", "missing"]), @"error: cannot read fixtures `missing`: No such file or directory (os error 2)");
    assert_snapshot!(refused(&["--fixtures", "empty"]), @"
    error: no fixtures in `empty`
    hint: a fixture is a line of a `.jsonl` file, or a `.json` file for a notifier; the test kit's documentation has their form
    ");
    assert_snapshot!(refused(&["--fixtures", "bad.json"]), @"error: `bad.json` is not a fixture: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(refused(&["--options", "bad.json"]), @"error: cannot read options `bad.json`: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(refused(&["--deadline", "1ms"]), @"
    error: invalid value '1ms' for '--deadline <TIME>': must be 10ms or more

    For more information, try '--help'.
    ");
}

#[test]
fn prints_a_schema_by_name_version_or_path() {
    let site = Site::new().plugin(&library("well-behaved"));
    libraries::with_version(&library("well-behaved"), "1.0.1", &site.plugins());
    let by_name = site.run(&["plugins", "schema", "well-behaved"]);
    assert_eq!((by_name.code, by_name.stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&by_name.stdout).expect("JSON");
    assert_eq!(schema["properties"]["prefix"]["type"], "string");
    assert_eq!(schema["additionalProperties"], false);
    for name in ["well-behaved@1.0.0", "plugins/libwell_behaved.so"] {
        let other = site.run(&["plugins", "schema", name]);
        assert_eq!((other.code, other.stdout), (Some(0), by_name.stdout.clone()), "{name}");
    }
    let missing = site.run(&["plugins", "schema", "well-behaved@2.0.0"]);
    assert_eq!(missing.code, Some(2));
    assert_snapshot!(missing.stderr, @"
    error: no version of plugin `well-behaved` matches `=2.0.0`
    hint: the plugins folder has 1.0.0, 1.0.1
    ");
    let unknown = site.run(&["plugins", "schema", "unknown"]);
    assert_eq!(unknown.code, Some(2));
    assert_snapshot!(unknown.stderr, @"
    error: no plugin is named `unknown`
    hint: the plugins folder has `well-behaved`
    ");
    let none = site.run(&["plugins", "schema", "/dev/null"]);
    assert_eq!(none.code, Some(1));
    assert_snapshot!(none.stderr, @"
    error: `/dev/null` can't be loaded: is a device, not a file
    hint: remove it, or give it another name
    ");
}

/// Returns the failed checks of a bad habit of `notifier-bad-habits`.
fn notifier_habit(habit: &str, args: &[&[&str]]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("options.json");
    let options = serde_json::json!({
        "url": "https://chat.example.com/hook", "token": "certify-token", "habit": habit,
    });
    fs::write(&file, options.to_string()).expect("it can be written");
    let options = ["--options", file.to_str().expect("a path in UTF-8")];
    let certified = certify(
        &library("notifier-bad-habits"),
        &[&options, &["--requests", "50"], &args.concat()],
    );
    assert_eq!(certified.code, Some(1), "{habit}: {}", certified.report);
    certified.faults()
}

#[test]
fn the_well_behaved_notifier_passes_without_remarks() {
    let certified = certify(&library("notifier-well-behaved"), &[FEW_REQUESTS, LONG_DEADLINE]);
    assert_eq!((certified.code, certified.faults().as_str()), (Some(0), ""));
    let passed = |name: &str| {
        let check = certified.checks().into_iter().find(|(known, ..)| *known == name);
        let (_, status, message) = check.expect("a check");
        format!("{status}: {message}")
    };
    assert_snapshot!(passed("steps"), @"passed: 105 attempts, each with 5 requests or fewer");
    assert_snapshot!(passed("contacts"), @"passed: only `https://example.com`");
    assert_snapshot!(passed("no-loop"), @"passed: the plugin receives nothing, so nothing comes back to it");
    assert_snapshot!(passed("keys-stable"), @"skipped: the plugin does not have the capability `receive`");
}

#[test]
fn steps_that_no_host_accepts_fail() {
    let habit = |name: &str| notifier_habit(name, &[LONG_DEADLINE, NO_ADVERSARIES]);
    assert_snapshot!(habit("endless"), @"failed steps: sends more than 5 requests in one attempt, sending `usual opened`; and [N] more");
    assert_snapshot!(habit("huge-state"), @"failed steps: keeps a state of 20002 bytes, at most 16384 are allowed, sending `usual opened`; and [N] more");
    assert_snapshot!(habit("invalid-json"), @"failed steps: gives a step that a host refuses: EOF while parsing a value at line 1 column 9, sending `usual opened`; and [N] more");
    assert_snapshot!(habit("unknown-step"), @"failed steps: gives a step that a host refuses: unknown variant `wait`, expected one of `send`, `delivered`, `retry`, `rejected`, `destination_broken`, sending `usual opened`; and [N] more");
    assert_snapshot!(habit("bad-request"), @"failed steps: gives the request `post`, which cannot be sent: its method is ``, sending `usual opened`; and [N] more");
}

#[test]
fn a_notifier_that_contacts_a_server_that_it_does_not_name_fails() {
    let habit = notifier_habit("other-server", &[LONG_DEADLINE, NO_ADVERSARIES]);
    assert_snapshot!(habit, @"failed contacts: contacts `https://elsewhere.example`, which its description does not name, sending `usual acknowledged`; and [N] more");
}

#[test]
fn an_impure_notifier_fails() {
    let habit = |name: &str| notifier_habit(name, &[LONG_DEADLINE, NO_ADVERSARIES]);
    assert_snapshot!(habit("file"), @"failed pure: opened, read or changed a file (system call `openat`), sending `usual opened`");
    assert_snapshot!(habit("counter"), @r#"failed deterministic: `usual opened` gave another outcome asked again: `steps[0].request.body` was `"{\"calls\":0,\"id\":\"01KDVWX2G0000000000000DVRY\",\"kind\"…`, then `"{\"calls\":2,\"id\":\"01KDVWX2G0000000000000DVRY\",\"kind\"…`; and [N] more"#);
    let clock = habit("clock");
    assert!(clock.starts_with("failed deterministic: "), "{clock}");
}

#[test]
fn a_notifier_that_panics_or_hangs_fails() {
    let habit = |name: &str| notifier_habit(name, &[LONG_DEADLINE, NO_ADVERSARIES]);
    assert_snapshot!(habit("panics"), @"failed no-panic: panicked: a bad habit (tests/bad/notifier-bad-habits/src/lib.rs:[PLACE]), sending `usual opened`; and [N] more");
    assert_snapshot!(habit("panics-on-answer"), @r#"failed no-panic: panicked: JSON: Error("EOF while parsing a value", line: 1, column: 0) (tests/bad/notifier-bad-habits/src/lib.rs:[PLACE]), sending `usual opened`; and [N] more"#);
    assert_snapshot!(notifier_habit("hangs", &[SHORT_DEADLINE]), @"failed deadline: did not return within 4s and was killed, sending `usual opened`; and [N] more");
}

#[test]
fn finds_a_secret_that_a_notifier_shows() {
    let habit = |name: &str| notifier_habit(name, &[LONG_DEADLINE, NO_ADVERSARIES]);
    assert_snapshot!(habit("token-in-query"), @"failed secrets: shows a secret of its options in the query of a URL, where servers log it; hint: send it in a header, sending `usual opened`; and [N] more");
    assert_snapshot!(habit("token-in-reason"), @"failed secrets: shows a secret of its options in its verdict, sending `usual answer 400 with ok`; and [N] more");
    assert_snapshot!(habit("token-not-marked"), @"failed secrets: shows a secret of its options in the header `authorization`; hint: use `secret_header`, sending `usual opened`; and [N] more");
}
