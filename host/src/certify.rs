//! Judges a plugin before anybody ships it: a list of checks, each with a name and one sentence on
//! anything but passed.
//!
//! It runs no plugin in this process: that is for [`trial`](crate::sandbox). What the checks share is
//! found out once, by `examination.rs`.

mod adversaries;
mod corpus;
mod deadline;
mod determinism;
mod examination;
mod fixtures;
mod growth;
mod keys;
mod loading;
mod manifest;
mod panics;
mod purity;
mod refusals;
mod schema;
mod secrets;
mod tables;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tocsin_plugin_api::testing::Fixture;

use self::examination::Examination;

/// What is judged, and how thoroughly.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The library.
    pub file: PathBuf,
    /// What it has to make of which requests.
    pub fixtures: Vec<Fixture>,
    /// Options to use instead of those of the fixtures, or of those made from the schema.
    pub options: Option<serde_json::Value>,
    /// Where the random numbers start.
    pub seed: u64,
    /// How many random and mutated requests.
    pub requests: usize,
    /// What a call may take.
    pub deadline: Duration,
    /// The names of checks that are left out.
    pub left_out: Vec<String>,
}

/// The names of all checks, in the order in which they are made.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// One thing that a plugin has to be.
struct Check {
    name: &'static str,
    needs: Needs,
    run: fn(&mut Examination<'_>) -> Verdict,
}

/// What has to be there before a check makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    File,
    Manifest,
    Library,
    Schema,
    Instance,
}

/// Every check, in the order in which they are made.
const CHECKS: &[Check] = &[
    Check { name: "manifest", needs: Needs::File, run: manifest::check },
    Check { name: "loads", needs: Needs::Manifest, run: loading::check },
    Check { name: "schema-valid", needs: Needs::Library, run: schema::is_valid },
    Check { name: "schema-matches", needs: Needs::Schema, run: schema::matches },
    Check { name: "options-refused", needs: Needs::Schema, run: refusals::check },
    Check { name: "fixtures", needs: Needs::Instance, run: fixtures::check },
    Check { name: "pure", needs: Needs::Instance, run: purity::check },
    Check { name: "deterministic", needs: Needs::Instance, run: determinism::check },
    Check { name: "keys-stable", needs: Needs::Instance, run: keys::check },
    Check { name: "deadline", needs: Needs::Library, run: deadline::check },
    Check { name: "no-panic", needs: Needs::Library, run: panics::check },
    Check { name: "no-growth", needs: Needs::Instance, run: growth::check },
    Check { name: "secrets", needs: Needs::Instance, run: secrets::check },
];

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it has to be.
    Passed,
    /// Not wrong, and worth a look.
    Warned,
    /// Wrong.
    Failed,
    /// Not made.
    Skipped,
}

impl Status {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    status: Status,
    message: String,
}

impl Verdict {
    /// `message` says what was looked at.
    fn passed(message: impl Into<String>) -> Self {
        Self { status: Status::Passed, message: message.into() }
    }

    fn warned(message: impl Into<String>) -> Self {
        Self { status: Status::Warned, message: message.into() }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: message.into() }
    }

    fn skipped(message: impl Into<String>) -> Self {
        Self { status: Status::Skipped, message: message.into() }
    }

    /// Failed with the first of several faults, and how many more there are.
    fn of_faults(faults: &[String], passed: impl Into<String>) -> Self {
        match faults {
            [] => Self::passed(passed),
            [only] => Self::failed(only),
            [first, rest @ ..] => Self::failed(format!("{first}; and {} more", rest.len())),
        }
    }
}

/// What a plugin is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The library.
    pub file: PathBuf,
    /// Its name, as far as its manifest could be read.
    pub plugin: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
    /// What repeats this run.
    pub seed: u64,
    /// How many random and mutated requests were to be made.
    pub requests: usize,
    /// In the order in which they were made.
    pub checks: Vec<CheckReport>,
    /// How many of each.
    pub summary: Summary,
}

/// How one check went.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// A name that does not change.
    pub name: &'static str,
    /// How it went.
    pub status: Status,
    /// What was looked at, or what is wrong.
    pub message: String,
}

/// How many checks went how.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    /// As it has to be.
    pub passed: usize,
    /// Worth a look.
    pub warned: usize,
    /// Wrong.
    pub failed: usize,
    /// Not made.
    pub skipped: usize,
}

/// Makes every check. `progress` is told what is being done, in a few words.
pub fn certify(settings: &Settings, progress: &dyn Fn(&str)) -> Report {
    let mut examination = Examination::new(settings, progress);
    let mut checks = Vec::new();
    let mut summary = Summary::default();
    for check in CHECKS {
        examination.tell(check.name);
        let is_left_out = settings.left_out.iter().any(|name| name == check.name);
        let verdict = match examination.lacks(check.needs) {
            _ if is_left_out => Verdict::skipped("left out"),
            Some(reason) => Verdict::skipped(reason),
            None => (check.run)(&mut examination),
        };
        *match verdict.status {
            Status::Passed => &mut summary.passed,
            Status::Warned => &mut summary.warned,
            Status::Failed => &mut summary.failed,
            Status::Skipped => &mut summary.skipped,
        } += 1;
        checks.push(CheckReport {
            name: check.name,
            status: verdict.status,
            message: one_line(&verdict.message),
        });
    }
    let manifest = examination.manifest();
    Report {
        file: settings.file.clone(),
        plugin: manifest.map(|manifest| manifest.name.clone()),
        version: manifest.map(|manifest| manifest.version.clone()),
        seed: settings.seed,
        requests: settings.requests,
        checks,
        summary,
    }
}

/// A plugin's own words are part of some messages, and may be long and of many lines.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 600;
    let message = crate::problem::on_one_line(message);
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_needs_what_those_before_it_find() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert_eq!(CHECKS[0].needs, Needs::File);
    }

    #[test]
    fn what_is_no_plugin_fails_and_nothing_else_is_tried() {
        let settings = Settings {
            file: "/dev/null".into(),
            fixtures: Vec::new(),
            options: None,
            seed: 1,
            requests: 1,
            deadline: Duration::from_secs(1),
            left_out: Vec::new(),
        };
        let report = certify(&settings, &|_| {});
        assert_eq!(report.checks[0].status, Status::Failed);
        assert_eq!(report.summary.skipped, CHECKS.len() - 1);
        insta::assert_snapshot!(report.checks[0].message, @"is a device and no file; hint: remove it, or give it another name");
        insta::assert_snapshot!(report.checks[1].message, @"no host admits the file");
    }
}
