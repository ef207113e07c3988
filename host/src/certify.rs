//! Certification: judges a plugin before its author ships it, by a list of checks. Each check has a name
//! and a result with one sentence.
//!
//! No plugin runs in this process: every check runs it in a [`sandbox`](crate::sandbox). The checks share
//! their findings in `context.rs`.

mod attempts;
mod baseline;
mod contacts;
mod context;
mod deadline;
mod determinism;
mod fixtures;
mod growth;
mod keys;
mod loading;
mod loops;
mod manifest;
mod panics;
mod purity;
mod refusals;
mod samples;
mod schema;
mod secrets;
mod sent_secrets;
mod steps;
mod stress_messages;
mod tables;
mod verdict;

use std::path::PathBuf;

use serde::Serialize;
use tocsin_plugin_api::manifest::{NOTIFY, RECEIVE};

pub(crate) use self::verdict::{Settings, Status};
use self::{
    context::CheckContext,
    verdict::{Needs, Verdict},
};
use crate::problem::on_one_line;

/// Returns the names of all checks, in the order in which they are made.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// A check with its name in reports.
struct Check {
    name: &'static str,
    needs: Needs,
    /// The capability that the check is about; `None` for every plugin.
    capability: Option<&'static str>,
    run: fn(&mut CheckContext<'_>) -> Verdict,
}

/// All checks, in the order in which they are made.
const CHECKS: &[Check] = &[
    Check::new("manifest", Needs::File, manifest::check),
    Check::new("loads", Needs::Manifest, loading::check),
    Check::new("schema-valid", Needs::Library, schema::is_valid),
    Check::new("schema-matches", Needs::Schema, schema::matches),
    Check::new("options-refused", Needs::Schema, refusals::check),
    Check::new("fixtures", Needs::Instance, fixtures::check),
    Check::new("pure", Needs::Instance, purity::check),
    Check::new("deterministic", Needs::Instance, determinism::check),
    Check::new("keys-stable", Needs::Instance, keys::check).of(RECEIVE),
    Check::new("steps", Needs::Instance, steps::check).of(NOTIFY),
    Check::new("contacts", Needs::Instance, contacts::check).of(NOTIFY),
    Check::new("no-loop", Needs::Instance, loops::check).of(NOTIFY),
    Check::new("deadline", Needs::Library, deadline::check),
    Check::new("no-panic", Needs::Library, panics::check),
    Check::new("no-growth", Needs::Instance, growth::check),
    Check::new("secrets", Needs::Instance, secrets::check),
];

impl Check {
    /// A check of every plugin.
    const fn new(
        name: &'static str,
        needs: Needs,
        run: fn(&mut CheckContext<'_>) -> Verdict,
    ) -> Self {
        Self { name, needs, capability: None, run }
    }

    /// Makes the check one of plugins with this capability.
    const fn of(self, capability: &'static str) -> Self {
        Self { capability: Some(capability), ..self }
    }
}

/// The report on a plugin.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The library.
    pub file: PathBuf,
    /// The name of the plugin, if its manifest could be read.
    pub plugin: Option<String>,
    /// The version of the plugin, if its manifest could be read.
    pub version: Option<String>,
    /// The seed of the random numbers: the same seed repeats the same run.
    pub seed: u64,
    /// The number of random and mutated requests.
    pub requests: usize,
    /// The result of each check, in the order in which they were made.
    pub checks: Vec<CheckReport>,
    /// The number of checks with each status.
    pub summary: Summary,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CheckReport {
    /// The name, which never changes.
    pub name: &'static str,
    /// The result.
    pub status: Status,
    /// A sentence on what was examined, or what is wrong.
    pub message: String,
}

/// The number of checks with each status.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// See [`Status::Passed`].
    pub passed: usize,
    /// See [`Status::Warned`].
    pub warned: usize,
    /// See [`Status::Failed`].
    pub failed: usize,
    /// See [`Status::Skipped`].
    pub skipped: usize,
}

/// Makes every check. Calls `progress` with a few words on each step.
pub(crate) fn certify(settings: &Settings, progress: &dyn Fn(&str)) -> Report {
    let mut context = CheckContext::new(settings, progress);
    let mut checks = Vec::new();
    let mut summary = Summary::default();
    for check in CHECKS {
        context.show_progress(check.name);
        let is_left_out = settings.left_out.iter().any(|name| name == check.name);
        let verdict = match context.lacks(check.needs) {
            _ if is_left_out => Verdict::skipped("left out"),
            Some(reason) => Verdict::skipped(reason),
            None => match check.capability.filter(|name| !context.has_capability(name)) {
                Some(name) => {
                    Verdict::skipped(format!("the plugin does not have the capability `{name}`"))
                }
                None => (check.run)(&mut context),
            },
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
    let manifest = context.manifest();
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

/// Puts a message on one line and cuts it if it is long: some messages quote the plugin.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 600;
    let message = on_one_line(message);
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn no_two_checks_have_the_same_name_and_the_first_needs_only_the_file() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert_eq!(CHECKS[0].needs, Needs::File);
    }

    #[test]
    fn a_file_that_is_no_plugin_fails_the_first_check_and_skips_the_others() {
        let settings = Settings {
            file: "/dev/null".into(),
            fixtures: Vec::new(),
            notifier_fixtures: Vec::new(),
            options: None,
            seed: 1,
            requests: 1,
            deadline: Duration::from_secs(1),
            left_out: Vec::new(),
        };
        let report = certify(&settings, &|_| {});
        assert_eq!(report.checks[0].status, Status::Failed);
        assert_eq!(report.summary.skipped, CHECKS.len() - 1);
        insta::assert_snapshot!(report.checks[0].message, @"is a device, not a file; hint: remove it, or give it another name");
        insta::assert_snapshot!(report.checks[1].message, @"a host would refuse the file");
    }
}
