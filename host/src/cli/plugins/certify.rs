//! `tocsin plugins certify`: prints the report on one plugin.
//!
//! The checks are in [`crate::certify`].

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use clap::{Args, builder::PossibleValuesParser};
use jiff::SignedDuration;
use tocsin_plugin_api::testing::{Fixture, NotifierFixture};

use crate::{
    certify::{self, Report, Settings, Status},
    cli::{UsageError, output},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Certify {
    /// Library of the plugin, a `.so` file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Requests with the outcomes that the plugin has to give, and notifications with the requests that it has
    /// to send: a `.jsonl` or `.json` file of the test kit, or a folder of such files; the plugin is tested
    /// with their options
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// JSON file with options for the plugin, instead of those of the fixtures or ones made from its schema
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Seed of the random requests; the same seed gives the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Number of random and mutated requests
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    requests: usize,
    /// Timeout of one call, like `plugins.call_deadline` of the host
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = deadline)]
    deadline: Duration,
    /// Skip this check; may be given several times
    ///
    /// Other checks need the results of `manifest`, `loads` and `schema-valid`, and are skipped with them.
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(certify::names()))]
    skip: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Certify) -> anyhow::Result<()> {
    let (fixtures, notifier_fixtures) =
        args.fixtures.as_deref().map(fixtures).transpose()?.unwrap_or_default();
    let settings = Settings {
        // A child has the same working folder, but the loader would look elsewhere for a bare name.
        file: std::path::absolute(&args.file)?,
        fixtures,
        notifier_fixtures,
        options: args.options.as_deref().map(options).transpose()?,
        seed: args.seed,
        requests: args.requests,
        deadline: args.deadline,
        left_out: args.skip.clone(),
    };
    let line = ProgressLine { is_shown: io::stderr().is_terminal() };
    let report = certify::certify(&settings, &|what| line.show(what));
    line.clear();
    if args.json {
        output::print_json(&report)?;
    } else {
        print(&report)?;
    }
    match report.summary.failed {
        0 => Ok(()),
        failed => {
            let of = report.checks.len();
            bail!("`{}` failed {failed} of {of} checks", args.file.display())
        }
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    let plugin = match (&report.plugin, &report.version) {
        (Some(plugin), Some(version)) => format!("{plugin} {version}"),
        _ => report.file.display().to_string(),
    };
    output::print_line(&format!("{plugin}, {} requests of seed {}", report.requests, report.seed))?;
    output::print_line("")?;
    for check in &report.checks {
        // Upper case for checks that need attention.
        let status = match check.status {
            Status::Failed => "FAILED".into(),
            Status::Warned => "WARNED".into(),
            other => other.as_str().to_owned(),
        };
        output::print_line(&format!("{status:<8} {:<16} {}", check.name, check.message))?;
    }
    let summary = report.summary;
    output::print_line("")?;
    output::print_line(&format!(
        "{} passed, {} warned, {} failed, {} skipped",
        summary.passed, summary.warned, summary.failed, summary.skipped,
    ))
}

/// Line on a terminal that shows the present check, and is overwritten by the next one.
struct ProgressLine {
    is_shown: bool,
}

impl ProgressLine {
    fn show(&self, what: &str) {
        if self.is_shown {
            // If the terminal is closed, progress need not be shown.
            let _ = write!(io::stderr(), "\r\x1b[K{what} ...");
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    match Duration::try_from(parsed) {
        Ok(deadline) if deadline >= Duration::from_millis(10) => Ok(deadline),
        _ => Err("must be 10ms or more".into()),
    }
}

fn options(path: &Path) -> anyhow::Result<serde_json::Value> {
    let unusable = |why: &dyn std::fmt::Display| {
        UsageError(format!("cannot read options `{}`: {why}", path.display()))
    };
    let text = fs::read(path).map_err(|error| unusable(&error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| unusable(&error))?)
}

/// Reads fixtures for requests from `.jsonl` files, and fixtures for a notifier from `.json` files.
fn fixtures(path: &Path) -> anyhow::Result<(Vec<Fixture>, Vec<NotifierFixture>)> {
    let unusable = |why: &dyn std::fmt::Display| {
        UsageError(format!("cannot read fixtures `{}`: {why}", path.display()))
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| unusable(&error))?;
        let entries: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
        files = entries.map_err(|error| unusable(&error))?;
        files.retain(|file| has_extension(file, "jsonl") || has_extension(file, "json"));
        files.sort();
    }
    let (mut fixtures, mut notifier_fixtures) = (Vec::new(), Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| unusable(&error))?;
        if has_extension(&file, "json") {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            notifier_fixtures.push(NotifierFixture::parse(&name, &text).map_err(|error| {
                UsageError(format!("`{}` is not a fixture: {error}", file.display()))
            })?);
            continue;
        }
        let parsed = Fixture::parse(&text).map_err(|(line, error)| {
            UsageError(format!("`{}`:{line} is not a fixture: {error}", file.display()))
        })?;
        fixtures.extend(parsed);
    }
    if fixtures.is_empty() && notifier_fixtures.is_empty() {
        let hint = "a fixture is a line of a `.jsonl` file, or a `.json` file for a notifier; the test \
                    kit's documentation has their form";
        bail!(UsageError(format!("no fixtures in `{}`\nhint: {hint}", path.display())));
    }
    Ok((fixtures, notifier_fixtures))
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|of_file| of_file == extension)
}
