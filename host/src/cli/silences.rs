//! `tocsin silences`: lists, adds and ends silences through the admin API.

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use super::{
    Connection, UsageError,
    arguments::{parse_detail, parse_urgency},
    client::Client,
    output,
    times::local,
};
use crate::{
    api::silences::{NewSilence, SilenceList},
    config::duration,
    delivery::{Conditions, Silence, conditions::DetailCondition},
};

#[derive(Args, Debug)]
pub(super) struct Silences {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the silences that have not ended, newest first (the default)
    List(List),
    /// Add a silence: alerts are still opened, but nobody is told
    ///
    /// An alert that is still open and not acknowledged when its silence ends is told then.
    Add(Add),
    /// End silences early
    End(End),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Show also silences that have ended
    #[arg(long)]
    ended: bool,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Add {
    #[command(flatten)]
    connection: Connection,
    /// Silence only alerts of this integration; may be given several times
    #[arg(long = "integration", value_name = "NAME")]
    integrations: Vec<String>,
    /// Silence only alerts with this urgency or a higher one: low, medium, high or critical
    #[arg(long, value_parser = parse_urgency)]
    urgency: Option<Urgency>,
    /// Silence only alerts with this value of a detail; may be given several times
    #[arg(long = "detail", value_name = "LABEL=VALUE", value_parser = parse_detail)]
    details: Vec<(String, String)>,
    /// Silence only alerts with a detail that this regular expression matches; may be given several times
    #[arg(long = "detail-pattern", value_name = "LABEL=REGEX", value_parser = parse_detail)]
    patterns: Vec<(String, String)>,
    /// Silence every alert
    #[arg(long, conflicts_with_all = ["integrations", "urgency", "details", "patterns"])]
    all: bool,
    /// Length of the silence, such as `2h` or `3d`
    #[arg(long = "for", value_name = "TIME", value_parser = parse_length, required_unless_present = "until")]
    length: Option<Timestamp>,
    /// End of the silence, such as `2026-11-24T10:00:00Z`
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<Timestamp>,
    /// Beginning of the silence, such as `2026-11-24T10:00:00Z`; now if left out
    #[arg(long, value_name = "TIME", requires = "until")]
    from: Option<Timestamp>,
    /// Reason, 1 to 1000 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct End {
    #[command(flatten)]
    connection: Connection,
    /// Numbers of the silences
    #[arg(value_name = "SILENCE", required = true)]
    silences: Vec<u64>,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

/// Parses a length, and returns the time at its end.
fn parse_length(text: &str) -> Result<Timestamp, String> {
    let end = || Timestamp::now().checked_add(duration(text)?).ok();
    end().ok_or_else(|| "write a length of time, such as `2h` or `3d`".into())
}

pub(super) fn run(options: Silences) -> anyhow::Result<()> {
    match options.verb {
        None => list(&options.list),
        Some(Verb::List(options)) => list(&options),
        Some(Verb::Add(options)) => add(options),
        Some(Verb::End(options)) => end(&options),
    }
}

fn list(options: &List) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let all = if options.ended { "?all=true" } else { "" };
    let list: SilenceList = client.get(&format!("/api/v1/silences{all}"))?;
    if options.json {
        return output::print_json(&list);
    }
    if list.silences.is_empty() {
        return output::print_line("no silences");
    }
    let row = |silence: &Silence| {
        vec![
            silence.id.to_string(),
            format!("{:.0}", local(silence.starts_at)),
            format!("{:.0}", local(silence.ends_at)),
            conditions(&silence.conditions),
            silence.by.to_string(),
            silence.reason.clone(),
        ]
    };
    let header = ["SILENCE", "FROM", "UNTIL", "ALERTS", "BY", "REASON"];
    output::print_table(&header, &list.silences.iter().map(row).collect::<Vec<_>>())
}

fn add(options: Add) -> anyhow::Result<()> {
    let exact = options.details.into_iter();
    let exact = exact.map(|(label, value)| (label, DetailCondition::Exactly(value)));
    let patterns = options.patterns.into_iter();
    let patterns = patterns.map(|(label, pattern)| (label, DetailCondition::Matches { pattern }));
    let conditions = Conditions {
        integrations: options.integrations,
        urgency: options.urgency,
        details: exact.chain(patterns).collect(),
    };
    if conditions == Conditions::default() && !options.all {
        let message = "the silence has no conditions; hint: add `--all` to silence every alert";
        bail!(UsageError(message.into()));
    }
    let Some(ends_at) = options.until.or(options.length) else {
        bail!(UsageError("give the length with `--for` or the end with `--until`".into()));
    };
    let new = NewSilence { conditions, starts_at: options.from, ends_at, reason: options.reason };
    let client = Client::new(&options.connection)?;
    let silence: Silence = client.post_json("/api/v1/silences", &new)?;
    if options.json { output::print_json(&silence) } else { print_silence(&silence) }
}

fn end(options: &End) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    for id in &options.silences {
        let silence: Silence = client.post(&format!("/api/v1/silences/{id}/end"))?;
        if options.json {
            output::print_json(&silence)?;
        } else {
            print_silence(&silence)?;
        }
    }
    Ok(())
}

fn print_silence(silence: &Silence) -> anyhow::Result<()> {
    output::print_line(&format!(
        "silence {} from {:.0} until {:.0}: {}",
        silence.id,
        local(silence.starts_at),
        local(silence.ends_at),
        conditions(&silence.conditions)
    ))
}

/// Returns the conditions in words.
fn conditions(conditions: &Conditions) -> String {
    let integrations = &conditions.integrations;
    let integrations =
        (!integrations.is_empty()).then(|| format!("integration {}", integrations.join(" or ")));
    let urgency = conditions.urgency.map(|urgency| format!("urgency {urgency} or higher"));
    let details = conditions.details.iter().map(|(label, condition)| match condition {
        DetailCondition::Exactly(value) => format!("{label}={value}"),
        DetailCondition::Matches { pattern } => format!("{label} matches {pattern}"),
    });
    let all: Vec<_> = integrations.into_iter().chain(urgency).chain(details).collect();
    if all.is_empty() { "every alert".into() } else { all.join(", ") }
}
